//! The command line: nats-server's flags, parsed like Go's `flag` package.
//!
//! One dash or two make no difference. A value follows after `=` or as the next argument; booleans take a value only
//! after `=`. The first argument that is no flag ends the flags.

mod apply;
mod error;
mod flag_set;
mod redact;
mod signal;
mod table;
mod usage;

use std::ffi::OsString;

pub use error::FlagError;
pub use flag_set::FlagSet;
pub use redact::redact;
pub use signal::{SignalCommand, SignalRequest};
pub use usage::{TLS_USAGE, usage};

use flag_set::parse_flags;
use table::Flag;

/// The action that a command line requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// Run a server.
    Run(FlagSet),
    /// Print the version.
    Version,
    /// Print the usage.
    Help,
    /// Print the usage of TLS.
    HelpTls,
    /// Check the configuration file, which the flags name.
    TestConfig(FlagSet),
    /// Send a signal to a running server.
    Signal(SignalRequest),
    /// Ask a running server whether it is healthy.
    Healthcheck {
        /// The address of its health endpoint.
        url: String,
    },
}

/// The default monitoring port of a health check.
const HEALTHCHECK_PORT: u16 = 8222;

/// Parses a command line without the name of the program.
///
/// # Errors
/// Fails if an argument is invalid. [`FlagError::exit_code`] and [`FlagError::shows_usage`] tell how the command then
/// ends.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, FlagError> {
    let args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.first().is_some_and(|first| first == "healthcheck") {
        return healthcheck(&args[1..]);
    }
    let (flags, rest) = parse_flags(&args, Flag::of_server)?;
    if flags.is_on(Flag::Version) {
        return Ok(Invocation::Version);
    }
    if flags.is_on(Flag::Help) {
        return Ok(Invocation::Help);
    }
    if flags.is_on(Flag::HelpTls) {
        return Ok(Invocation::HelpTls);
    }
    match rest.first().map(|word| word.to_lowercase()).as_deref() {
        Some("version") => return Ok(Invocation::Version),
        Some("help") => return Ok(Invocation::Help),
        Some(_) => return Err(FlagError::UnrecognizedCommand(rest[0].clone())),
        None => {}
    }
    if let Some(request) = flags.text(Flag::Signal).filter(|text| !text.is_empty()) {
        return SignalRequest::parse(request).map(Invocation::Signal);
    }
    if flags.is_on(Flag::TestConfig) {
        return match flags.config_file() {
            Some(_) => Ok(Invocation::TestConfig(flags)),
            None => Err(FlagError::NoConfigToTest),
        };
    }
    Ok(Invocation::Run(flags))
}

fn healthcheck(args: &[String]) -> Result<Invocation, FlagError> {
    let (flags, rest) = parse_flags(args, Flag::of_healthcheck)?;
    if let Some(word) = rest.first() {
        return Err(FlagError::UnrecognizedCommand(word.clone()));
    }
    if flags.is_on(Flag::Help) {
        return Ok(Invocation::Help);
    }
    let port = flags.integer(Flag::HttpPort).unwrap_or(i64::from(HEALTHCHECK_PORT));
    let url = match flags.text(Flag::Url) {
        Some(url) => url.to_owned(),
        None => format!("http://127.0.0.1:{port}/healthz"),
    };
    Ok(Invocation::Healthcheck { url })
}

#[cfg(test)]
mod tests;
