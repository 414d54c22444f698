//! One line of the log, and where lines may go.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// The server ends.
    Fatal,
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What happens.
    Info,
    /// For those who look closely.
    Debug,
    /// Every operation.
    Trace,
}

impl LogLevel {
    /// nats-server's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fatal => "FTL",
            Self::Error => "ERR",
            Self::Warn => "WRN",
            Self::Info => "INF",
            Self::Debug => "DBG",
            Self::Trace => "TRC",
        }
    }

    pub(crate) fn colour(self) -> u8 {
        match self {
            Self::Info => 32,
            Self::Debug => 36,
            Self::Warn => 93,
            Self::Error | Self::Fatal => 31,
            Self::Trace => 33,
        }
    }
}

/// One line of the log.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// How much it matters.
    pub level: LogLevel,
    /// The text.
    pub message: String,
    /// When.
    pub time: SystemTime,
}

/// Where a server's log goes.
#[derive(Clone)]
pub enum LogTarget {
    /// Where the options say: standard error or a file.
    Options,
    /// To the program that embeds the server. Called on the server's threads: it must not block.
    Callback(Arc<dyn Fn(LogRecord) + Send + Sync>),
    /// Nowhere.
    Discard,
}

impl fmt::Debug for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Options => "Options",
            Self::Callback(_) => "Callback",
            Self::Discard => "Discard",
        })
    }
}
