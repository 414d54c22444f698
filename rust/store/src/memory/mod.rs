//! Streams in memory.

mod messages;
mod stream;

pub use messages::Message;
pub use stream::{MemoryStream, Progress, State};
