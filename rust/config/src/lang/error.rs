//! Parse errors of a configuration.

use std::fmt;

use super::Position;

/// The first part of a configuration that could not be read or parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The position; `None` if the file itself could not be opened.
    pub position: Option<Position>,
    /// The kind of error.
    pub kind: ParseErrorKind,
}

/// The kinds of [`ParseError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// The text does not follow the grammar. The message repeats the line number of the position, because programs search
    /// for this wording.
    #[error("Parse error on line {line}: '{message}'")]
    Syntax {
        /// Line of the position.
        line: u32,
        /// What was found and what was expected.
        message: String,
    },
    /// The file ends after a key.
    #[error("config is invalid ({0})")]
    MissingValue(Position),
    /// A variable is neither defined above nor in the environment.
    #[error("variable reference for '{name}' on line {line} can not be found")]
    VariableNotFound {
        /// The variable's name, without `$`.
        name: String,
        /// Line of the reference.
        line: u32,
    },
    /// A variable's text in the environment is not a value.
    #[error("variable reference for '{name}' on line {line} could not be parsed: {source}")]
    VariableUnparsable {
        /// The variable's name, without `$`.
        name: String,
        /// Line of the reference.
        line: u32,
        /// The error of the variable's text.
        source: Box<ParseError>,
    },
    /// Environment variables refer to each other in a circle.
    #[error("variable reference cycle for '{0}'")]
    VariableCycle(String),
    /// An included file could not be parsed.
    #[error("error parsing include file '{path}', {source}")]
    Include {
        /// The path as written after `include`.
        path: String,
        /// The error of the included file.
        source: Box<ParseError>,
    },
    /// A file includes itself, directly or through other files.
    #[error("include cycle: '{0}' is being read already")]
    IncludeCycle(String),
    /// A file could not be read.
    #[error("{0}")]
    Unreadable(String),
    /// A limit of this parser is exceeded.
    #[error("{0}")]
    TooLarge(&'static str),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.position {
            Some(position) => write!(f, "{position}: {}", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

impl std::error::Error for ParseError {}
