//! Streams on disk.
//!
//! A stream's messages lie in *segments*: append-only files of up to 16 MiB. New messages are buffered in memory and written in
//! large pieces. They are safe meanwhile: either the log holds them, or the log is written only after them. A full segment gets
//! a footer, so that an opening need not read its records.
//!
//! A bitmap for each segment marks removed messages. A segment without messages is removed. A segment is rewritten in three
//! cases: most of its messages are removed, it is to be compressed, or it is to be encrypted with another key. The rewritten
//! segment gets a new number, and the old file stays until the next checkpoint is durable.
//!
//! The list of segments with their lengths, counts and bitmaps is the stream's *manifest*. The caller stores it
//! ([`FileStream::manifest`]) and passes it in when the stream is opened again. So an opening notices a missing or short file.
//!
//! Damaged messages stay counted. Reading one is an error, and [`FileStream::take_damaged`] returns file, offset and sequences.
//! Behind damage, the next record is searched at every offset.

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

/// The usual maximum length of a segment, in bytes.
pub const SEGMENT_LEN: u64 = 16 << 20;

/// The usual memory limit for indices, in bytes.
pub const INDEX_LEN: usize = 256 << 20;
