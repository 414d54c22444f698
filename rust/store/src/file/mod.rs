//! Streams on disk.
//!
//! A stream's messages lie in segments, files of up to 16 MiB that are only appended to. What is new is gathered in memory (it is
//! in the log, or the log waits until it is written, so that nothing is lost) and written in large pieces. A segment that is full gets a footer, so that
//! it can be opened without being read. What was taken out of a segment is known by a bitmap; a segment without messages is
//! removed, and one that is mostly empty is written anew. So is one that is to be compressed, or encrypted with another key: then it
//! gets another number, so that the file before stays until the next checkpoint is durable.
//!
//! The list of segments, their lengths, counts and bitmaps are the stream's *manifest*, which the caller keeps
//! ([`FileStream::manifest`]) and brings along when the stream is opened again: so a file that is missing or short is noticed.

mod chunk;
mod files;
mod footer;
mod jobs;
mod known;
mod open;
mod read;
mod rebuild;
mod record;
mod scan;
mod seal;
mod segment;
mod stream;
mod subjects;
mod tail;
#[cfg(test)]
mod tests;
pub mod varint;

pub(crate) use chunk::Packing;
pub use files::Files;
pub(crate) use open::labelled_packing;
pub use seal::{SealJob, Sealed};
pub use stream::{Damaged, FileStream};
pub use subjects::{IndexJob, Indexed};
pub use tail::Reference;

/// The usual length of a segment, in bytes.
pub const SEGMENT_LEN: u64 = 16 << 20;

/// The usual memory for indices, in bytes.
pub const INDEX_LEN: usize = 256 << 20;
