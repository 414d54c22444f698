//! The configuration language: text in, a tree of values with positions out.
//!
//! It accepts what nats-server accepts, JSON included, and a little more where nats-server trips over
//! plain input (a number right before `]`, a block string that ends with the file). See [`Value`] for what
//! there is to say in it.

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

/// How deep arrays, maps, includes and variables may nest.
pub const DEPTH_MAX: usize = 128;
/// How many values a configuration may consist of, variables counted with what they stand for.
pub const NODES_MAX: usize = 1 << 20;
/// How large one file may be, in bytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// Parses the file at `path` and whatever it includes.
///
/// # Errors
/// The first thing that can't be read or understood.
pub fn parse_file(path: &Path, source: &dyn Source) -> Result<Map, ParseError> {
    parser::parse_file(path, source)
}

/// Parses a text that is called `name` in errors; includes are relative to the working directory.
///
/// # Errors
/// The first thing that can't be read or understood.
pub fn parse_text(text: &str, name: &str, source: &dyn Source) -> Result<Map, ParseError> {
    parser::parse_text(text.as_bytes(), name, source)
}

/// Parses any bytes without touching files or the environment: the entry for fuzzing.
///
/// # Errors
/// The first thing that can't be understood.
pub fn parse_bytes(bytes: &[u8]) -> Result<Map, ParseError> {
    parser::parse_text(bytes, "input", &MemorySource::default())
}
