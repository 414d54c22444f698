//! Positions in configuration files.

use std::{fmt, sync::Arc};

/// A position in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file's name as given.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, as nats-server counts it: the byte offset in the line, from 0 on a file's first line and from 1 on all
    /// others.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
