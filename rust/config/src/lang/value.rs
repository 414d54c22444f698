//! The tree of a parsed configuration.

use std::collections::BTreeMap;

use super::Position;

/// The entries of a map. If a key occurs several times, its last entry counts.
pub type Map = BTreeMap<String, Node>;

/// A value with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The position of the key if the value has one, else of the value.
    pub position: Position,
    /// Whether a variable refers to this key. Such a key may have any name.
    pub is_used_variable: bool,
}

/// A value of the configuration language.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, bare or quoted.
    String(String),
    /// A whole number, with its size suffix applied.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true`, `yes`, `on` and their opposites.
    Bool(bool),
    /// A point in time, as written: `2006-01-02T15:04:05Z`.
    Datetime(String),
    /// `[ ... ]`
    Array(Vec<Node>),
    /// `{ ... }`
    Map(Map),
}

impl Value {
    /// Returns the name of the type for error messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "a list",
            Self::Map(_) => "a block",
        }
    }

    /// Returns the value in the form of nats-server's errors (Go's `%v`).
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::String(text) | Self::Datetime(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(is_true) => is_true.to_string(),
            Self::Array(items) => {
                format!("[{}]", items.iter().map(|node| node.value.shown()).collect::<Vec<_>>().join(" "))
            }
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| format!("{key}:{}", node.value.shown()));
                format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// Returns the number of values in it, itself included.
    #[must_use]
    pub fn node_count(&self) -> usize {
        1 + match self {
            Self::Array(items) => items.iter().map(|node| node.value.node_count()).sum(),
            Self::Map(entries) => entries.values().map(|node| node.value.node_count()).sum(),
            _ => 0,
        }
    }

    /// Returns the number of levels in it, itself included.
    #[must_use]
    pub fn depth(&self) -> usize {
        1 + match self {
            Self::Array(items) => items.iter().map(|node| node.value.depth()).max().unwrap_or(0),
            Self::Map(entries) => entries.values().map(|node| node.value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }
}
