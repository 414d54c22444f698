//! Streams: what they are configured to do.

mod check;
mod config;
mod decode;
mod update;

pub use check::{Origins, check};
pub use config::{
    Compression, ConsumerLimits, Discard, External, PersistMode, Placement, Republish, Retention,
    SourceConsumer, Storage, StreamConfig, StreamSource, SubjectTransform,
};
pub use decode::StreamRequest;
pub use update::update;
