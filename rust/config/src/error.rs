//! Errors and warnings of a configuration, with their positions.

use std::fmt;

use crate::{
    flags::FlagError,
    lang::{ParseError, Position},
};

/// One error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The position in the configuration, if there is one.
    pub position: Option<Position>,
    /// The message.
    pub reason: String,
}

impl Issue {
    pub(crate) fn at(position: &Position, reason: impl Into<String>) -> Self {
        Self { position: Some(position.clone()), reason: reason.into() }
    }

    pub(crate) fn general(reason: impl Into<String>) -> Self {
        Self { position: None, reason: reason.into() }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.position {
            Some(position) => write!(f, "{position}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// All errors of a configuration that was refused. Displayed one issue a line, warnings first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors {
    /// Errors, which make the configuration unusable. An error that a load returns has at least one.
    pub errors: Vec<Issue>,
    /// Warnings found besides.
    pub warnings: Vec<Issue>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for issue in self.warnings.iter().chain(&self.errors) {
            write!(f, "{separator}{issue}")?;
            separator = "\n";
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ParseError> for ConfigErrors {
    fn from(error: ParseError) -> Self {
        Self { errors: vec![Issue::general(error.to_string())], warnings: Vec::new() }
    }
}

impl From<FlagError> for ConfigErrors {
    fn from(error: FlagError) -> Self {
        Self { errors: vec![Issue::general(error.to_string())], warnings: Vec::new() }
    }
}
