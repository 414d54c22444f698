//! Backups of streams in the form of nats-server 2.15: an archive of entries ([`archive`]) in a stream of S2 frames ([`frames`]).
//! Those of servers before that are read too ([`old`]).
//!
//! Nothing here knows of the wire or the engine: bytes in, entries out, and the other way round.

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
    /// It was made by a nats-server before 2.15.
    #[error("archive: made by a nats-server before 2.15")]
    Old,
}
