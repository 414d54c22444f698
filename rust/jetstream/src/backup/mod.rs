//! Backups of streams in the form of nats-server 2.15: an archive of entries ([`archive`]) in a stream of S2 frames ([`frames`]).
//! Those of servers before that are read too ([`old`]).
//!
//! Nothing here knows of the wire or the engine: bytes in, entries out, and the other way round.

/// Bytes of the state of a stream or of one consumer, which has some 20 bytes for each message that waits for its acknowledgement.
pub const STATE_MAX: u64 = 16 << 20;
/// Bytes of all consumers, which are kept until the backup is whole.
pub const STATES_MAX: u64 = 64 << 20;

pub mod archive;
pub mod consumer;
pub mod frames;
pub mod old;

/// Why a backup can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The frames are damaged, or there are none.
    #[error("s2: corrupt input")]
    Frames,
    /// The entries are damaged.
    #[error("archive: invalid archive stream")]
    Archive,
    /// An entry is longer than a message may be.
    #[error("archive: message exceeds the maximum size")]
    TooLarge,
    /// What it says of the stream and its consumers is longer than any state.
    #[error("archive: the state of the stream or of a consumer is too large")]
    State,
    /// It was made by a nats-server before 2.15.
    #[error("archive: made by a nats-server before 2.15")]
    Old,
}
