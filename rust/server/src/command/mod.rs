//! The `stonechat-server` command: flags, start, signals, end.

mod console;
mod healthcheck;
mod remote_signal;
mod signals;
mod store;
#[cfg(test)]
pub(crate) mod tests;

use self::signals::Signals;
use crate::LogTarget;
use crate::server::{Server, StartError, load_tls, os_error};
use crate::version::{COMPATIBLE_VERSION, VERSION};
use std::ffi::OsString;
use stonechat_config::ConfigErrors;
use stonechat_config::flags::{self, FlagSet, Invocation};

/// Runs the command with these arguments, the first of which is the program's name. Returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> i32 {
    let mut args = args.into_iter().skip(1).peekable();
    if args.next_if(|first| first == "store").is_some() {
        return store::run(args);
    }
    let invocation = match flags::parse(args) {
        Ok(invocation) => invocation,
        Err(error) => {
            if error.shows_usage() {
                console::err(&error);
                console::out(flags::usage());
            } else {
                console::err(format_args!("nats-server: {error}"));
            }
            return error.exit_code();
        }
    };
    match invocation {
        Invocation::Version => {
            console::out(format_args!("nats-server: v{COMPATIBLE_VERSION}"));
            console::out(format_args!("stonechat-server: v{VERSION}"));
            0
        }
        Invocation::Help => {
            console::out(flags::usage());
            0
        }
        Invocation::HelpTls => {
            console::out(flags::TLS_USAGE);
            0
        }
        Invocation::TestConfig(flags) => test_config(&flags),
        Invocation::Signal(request) => remote_signal::send(&request),
        Invocation::Healthcheck { url } => healthcheck::ask(&url),
        Invocation::Run(flags) => serve(flags),
    }
}

/// Checks the configuration file. Warnings count as errors, and so do options that the server would refuse.
fn test_config(flags: &FlagSet) -> i32 {
    let file = flags.config_file().map(|p| p.display().to_string()).unwrap_or_default();
    match stonechat_config::configure(flags) {
        Ok(loaded) if loaded.options.refused().next().is_some() => {
            let lines: Vec<String> = loaded.options.refused().map(ToString::to_string).collect();
            console::err(format_args!("nats-server: {}\n", lines.join("\n")));
            1
        }
        Ok(loaded) if load_tls(&loaded.options).is_err() => {
            if let Err(error) = load_tls(&loaded.options) {
                console::err(format_args!("nats-server: {error}\n"));
            }
            1
        }
        Ok(loaded) if loaded.warnings.is_empty() => {
            let digest = loaded.digest.unwrap_or_default();
            for feature in &loaded.options.unsupported {
                console::err(feature);
            }
            console::err(format_args!("nats-server: configuration file {file} is valid ({digest})"));
            0
        }
        Ok(loaded) => {
            let lines: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
            console::err(format_args!("nats-server: {}\n", lines.join("\n")));
            1
        }
        Err(errors) => complain(&errors),
    }
}

/// Prints the errors of a configuration and returns the exit code. nats-server prints an empty line after a list of
/// errors, but not after an error of the language.
fn complain(errors: &ConfigErrors) -> i32 {
    let of_language = ["Parse error", "variable reference", "error parsing include", "open "];
    let is_list = !errors.errors.iter().any(|e| of_language.iter().any(|start| e.reason.starts_with(start)));
    console::err(format_args!("nats-server: {errors}{}", if is_list { "\n" } else { "" }));
    1
}

fn serve(flags: FlagSet) -> i32 {
    // Raises the limit of file descriptors, as Go programs do: each connection needs one.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let loaded = match stonechat_config::configure(&flags) {
        Ok(loaded) => loaded,
        Err(errors) => return complain(&errors),
    };
    for warning in &loaded.warnings {
        console::err(warning);
    }
    // Before the server logs that it is ready: another program may wait for that line and then send a signal.
    let signals = Signals::install();
    match Server::start_with_flags(loaded.options, flags, LogTarget::Options) {
        Ok(server) => {
            #[cfg(test)]
            tests::started(&server);
            signals.serve(&server);
            // The fault is already in the log.
            i32::from(server.fault().is_some())
        }
        // The error is already in the log, as in nats-server.
        Err(StartError::Listen { .. } | StartError::JetStream(_)) => 1,
        Err(StartError::Io { path, source }) => {
            console::err(format_args!("error opening file: open {}: {}", path.display(), os_error(&source)));
            1
        }
        Err(error) => {
            console::err(format_args!("nats-server: {error}"));
            1
        }
    }
}
