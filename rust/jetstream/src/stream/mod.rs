//! Streams: their configurations, and how they judge and store messages.

mod check;
mod config;
mod core;
pub(crate) mod counter;
mod decode;
mod dedupe;
mod entry;
mod expiry;
pub mod headers;
mod lasts;
mod notes;
mod rollup;
mod schedule;
mod ttl;
mod update;

pub use self::core::{Publish, Removed, StreamCore, Verdict};
pub(crate) use check::{METADATA_LEN_MAX, check_with};
pub use check::{Origins, check};
pub use config::{
    Compression, ConsumerLimits, Discard, External, PersistMode, Placement, Republish, Retention,
    SourceConsumer, Storage, StreamConfig, StreamSource, SubjectTransform,
};
pub use decode::StreamRequest;
pub use entry::Entry;
pub use expiry::Expiry;
pub use schedule::Scheduled;
pub use ttl::Ttl;
pub(crate) use ttl::go_duration;
pub use update::update;
