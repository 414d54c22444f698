//! Why a configuration could not be parsed.

use std::fmt;

use super::Position;

/// The first thing in a configuration that could not be read or understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Where; `None` if the file itself could not be opened.
    pub position: Option<Position>,
    /// What.
    pub kind: ParseErrorKind,
}

/// The kinds of [`ParseError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// The text does not follow the grammar. The line number repeats the position's, because programs
    /// look for this wording.
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
        /// Its name, without `$`.
        name: String,
        /// Line of the reference.
        line: u32,
    },
    /// A variable's text in the environment is not a value.
    #[error("variable reference for '{name}' on line {line} could not be parsed: {source}")]
    VariableUnparsable {
        /// Its name, without `$`.
        name: String,
        /// Line of the reference.
        line: u32,
        /// Why not.
        source: Box<ParseError>,
    },
    /// Environment variables refer to each other in a circle.
    #[error("variable reference cycle for '{0}'")]
    VariableCycle(String),
    /// An included file could not be parsed.
    #[error("error parsing include file '{path}', {source}")]
    Include {
        /// As written after `include`.
        path: String,
        /// Why not.
        source: Box<ParseError>,
    },
    /// A file includes itself, maybe by way of others.
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
