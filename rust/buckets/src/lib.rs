//! The rules of key-value buckets (ADR-8) and object stores (ADR-20) over streams: names, configurations, entries, descriptions
//! of objects, and checks of their chunks. This crate does no I/O: the command uses it over async-nats, the Python module over a
//! pipe.
//!
//! Clients may have written anything into a stream. All functions here read as much of it as can be read, and never panic.

mod config;
mod damage;
mod description;
mod entry;
mod json;
pub mod names;
mod status;

pub use config::{BucketOptions, DUPLICATE_WINDOW_NS, Republish, Storage, StoreOptions, merged_placement};
pub use damage::{ChunkCheck, Damage};
pub use description::{CHUNK_SIZE, Description, Facts, LINKS_MAX, Link, digest_text};
pub use entry::{Operation, Write, last_header};
pub use status::{KeyPlace, KvStatus, StoreStatus};

/// Codes of errors of JetStream's API.
pub mod code {
    /// There is no such message.
    pub const NO_MESSAGE: u64 = 10037;
    /// A stream of this name has another configuration.
    pub const NAME_IN_USE: u64 = 10058;
    /// There is no such stream.
    pub const STREAM_NOT_FOUND: u64 = 10059;
    /// The subject's last sequence differs from the one that the publisher expects.
    pub const WRONG_LAST_SEQUENCE: u64 = 10071;
}

/// Headers of messages that buckets and object stores use.
pub mod header {
    /// Makes a write depend on the last revision of its subject.
    pub const EXPECTED_REVISION: &str = "Nats-Expected-Last-Subject-Sequence";
    /// Gives a message a time to live of its own.
    pub const TTL: &str = "Nats-TTL";
    /// Removes the older messages of the subject.
    pub const ROLLUP: &str = "Nats-Rollup";
    /// Distinguishes a deletion from a value.
    pub const OPERATION: &str = "KV-Operation";
    /// Why the server wrote a marker in place of a message.
    pub const MARKER_REASON: &str = "Nats-Marker-Reason";
    /// The subject of a message in the answer to a direct get.
    pub const SUBJECT: &str = "Nats-Subject";
    /// The sequence of a message in the answer to a direct get.
    pub const SEQUENCE: &str = "Nats-Sequence";
    /// The time of a message in the answer to a direct get.
    pub const TIME: &str = "Nats-Time-Stamp";
    /// The length of a message that is delivered without its payload.
    pub const SIZE: &str = "Nats-Msg-Size";
}
