//! Errors of commands, and their exit codes for scripts.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failure: no server, no responder, no message in time.
pub(crate) const EXIT_FAILURE: i32 = 1;
/// A wrong command line (clap's own exit code for it).
pub(crate) const EXIT_USAGE: i32 = 2;
/// An interruption by Ctrl-C, with the number that shells use: 128 + SIGINT.
pub(crate) const EXIT_INTERRUPTED: i32 = 130;

/// An error of the command line tool.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    #[error("cannot connect to {server}: {reason}")]
    Connect { server: String, reason: String },
    #[error("cannot use the context {name:?}: {}: {reason}", path.display())]
    Context { name: String, path: PathBuf, reason: String },
    #[error("cannot use {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("the server says: {0}")]
    Server(String),
    #[error("no responders for {0:?}")]
    NoResponders(String),
    #[error("no reply from {subject:?} within {seconds} s")]
    NoReply { subject: String, seconds: f64 },
    #[error("{received} of {expected} messages came in time")]
    TooFew { received: u64, expected: u64 },
    #[error("{description} (code {code}, error {err_code})")]
    Api { code: u64, err_code: u64, description: String },
    #[error(
        "nobody answers on {subject:?}: JetStream is not enabled for this account, or the server has none"
    )]
    NoJetStream { subject: String },
    #[error("bucket {0} not found; \"stonechat kv add {0}\" creates it")]
    NoBucket(String),
    #[error("stream {0} not found; \"stonechat stream add {0}\" creates it")]
    NoStream(String),
    #[error(
        "stream {stream} has no consumer {consumer}; \"stonechat consumer add {stream} {consumer}\" creates it"
    )]
    NoConsumer { stream: String, consumer: String },
    #[error("bucket {0} not found; \"stonechat object add {0}\" creates it")]
    NoObjectBucket(String),
    #[error("object {object:?} not found in bucket {bucket}")]
    NoObject { bucket: String, object: String },
    #[error("object {object:?} of bucket {bucket} can't be had: {reason}")]
    Damaged { bucket: String, object: String, reason: String },
    #[error("cannot store {object:?}: {reason}")]
    Upload { object: String, reason: String },
    #[error("a check ended with {0}")]
    Exit(i32),
    #[error("something is wrong in what was checked")]
    Unsound,
    #[error("key {key:?} not found in bucket {bucket}")]
    NoKey { bucket: String, key: String },
    #[error("nobody can be asked without a terminal; --force acts at once")]
    NotConfirmed,
    #[error("{question:?} can't be asked without a terminal; {flag} answers it")]
    NotAsked { question: String, flag: String },
    #[error("the configuration would change")]
    Differs,
    #[error("nothing was done")]
    Refused,
    #[error("{0}")]
    Client(String),
    #[error("the connection was lost")]
    ConnectionLost,
    #[error("cannot read messages from standard input: {0}")]
    Stdin(#[source] io::Error),
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// Whether the reader of the output has closed the pipe (`stonechat sub '>' | head -1`): that is not a failure.
    fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn is_worth_saying(&self) -> bool {
        !self.is_closed_pipe()
            && !matches!(self, Self::Interrupted | Self::Differs | Self::Unsound | Self::Exit(_))
    }

    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Interrupted => EXIT_INTERRUPTED,
            Self::Refused => 0,
            Self::Exit(code) => *code,
            _ if self.is_closed_pipe() => 0,
            _ => EXIT_FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_a_quiet_success() {
        let error = CliError::Output(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit_code(), error.is_worth_saying()), (0, false));
        let error = CliError::Output(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!((error.exit_code(), error.is_worth_saying()), (EXIT_FAILURE, true));
    }

    #[test]
    fn an_interrupt_has_the_code_that_shells_give_it() {
        assert_eq!(
            (CliError::Interrupted.exit_code(), CliError::Interrupted.is_worth_saying()),
            (130, false)
        );
    }
}
