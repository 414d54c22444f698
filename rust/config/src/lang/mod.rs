//! The configuration language: parses text into a tree of values with positions.
//!
//! It accepts all that nats-server accepts, JSON included. It also accepts some plain input that nats-server refuses: a
//! number right before `]`, a block string that ends with the file. See [`Value`] for the types of values.

mod cursor;
mod digest;
mod error;
mod parser;
mod position;
mod scalar;
mod source;
mod value;

use std::path::Path;

pub use digest::{digest, to_json};
pub use error::{ParseError, ParseErrorKind};
pub use position::Position;
pub use source::{DiskSource, MemorySource, Source};
pub use value::{Map, Node, Value};

/// The maximum depth of nested arrays, maps, includes and variables.
pub const DEPTH_MAX: usize = 128;
/// The maximum number of values in a configuration. A variable counts with all values that it stands for.
pub const NODES_MAX: usize = 1 << 20;
/// The maximum size of one file in bytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Parses the file at `path` and all files that it includes.
///
/// # Errors
/// Returns the first part that can't be read or parsed.
pub fn parse_file(path: &Path, source: &dyn Source) -> Result<Map, ParseError> {
    parser::parse_file(path, source)
}

/// Parses a text. Errors use `name` as the file's name; includes are relative to the working directory.
///
/// # Errors
/// Returns the first part that can't be read or parsed.
pub fn parse_text(text: &str, name: &str, source: &dyn Source) -> Result<Map, ParseError> {
    parser::parse_text(text.as_bytes(), name, source)
}

/// Parses any bytes without touching files or the environment, for fuzzing.
///
/// # Errors
/// Returns the first part that can't be parsed.
pub fn parse_bytes(bytes: &[u8]) -> Result<Map, ParseError> {
    parser::parse_text(bytes, "input", &MemorySource::default())
}
