//! Streams in memory.

mod messages;
mod stream;

pub use stream::MemoryStream;
