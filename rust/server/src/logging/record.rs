//! Log lines and their destinations.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// The server ends.
    Fatal,
    /// Something failed.
    Error,
    /// An unexpected state that the server can handle.
    Warn,
    /// A normal event.
    Info,
    /// Details for debugging.
    Debug,
    /// Each protocol operation.
    Trace,
}

impl LogLevel {
    /// Returns nats-server's label.
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
    /// The severity.
    pub level: LogLevel,
    /// The text.
    pub message: String,
    /// The time of the event.
    pub time: SystemTime,
}

/// The destination of a server's log.
#[derive(Clone)]
pub enum LogTarget {
    /// The destination in the options: standard error or a file.
    Options,
    /// The program that embeds the server. The server's threads call the function, so it must not block.
    Callback(Arc<dyn Fn(LogRecord) + Send + Sync>),
    /// No destination.
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
