//! Backups of streams in the format of nats-server 2.15: an archive of entries ([`archive`]) in a stream of S2 frames
//! ([`frames`]). Backups of older servers can be read too ([`old`]).
//!
//! This module depends on neither the wire nor the engine: it turns bytes into entries and entries into bytes.

/// Bytes of the state of a stream or of one consumer, at most. A consumer's state takes some 20 bytes for each pending message.
pub const STATE_MAX: u64 = 16 << 20;
/// Bytes of the states of all consumers, at most. They are held in memory until the backup is complete.
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
    /// The state of the stream, or that of its consumers, is too long.
    #[error("archive: the state of the stream or of a consumer is too large")]
    State,
    /// The backup was made by a nats-server before 2.15.
    #[error("archive: made by a nats-server before 2.15")]
    Old,
}
