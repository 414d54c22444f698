//! Streams in memory.

mod arena;
mod messages;
mod stream;

pub use stream::MemoryStream;
