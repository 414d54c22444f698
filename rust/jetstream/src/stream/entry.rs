//! Changes of a stream, as the log records them.

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A message is stored under the sequence behind the last one. The messages that it displaces follow from the configuration.
    Append {
        /// Nanoseconds since 1970.
        time: i64,
        /// The subject.
        subject: &'a [u8],
        /// The header block, or nothing.
        headers: &'a [u8],
        /// The payload.
        payload: &'a [u8],
    },
    /// The next sequence is used up by a message that is not stored, since no consumer is interested in it.
    Skip {
        /// Nanoseconds since 1970.
        time: i64,
        /// The message's id, or nothing.
        id: &'a [u8],
    },
    /// The sequences up to this one are used up by messages that a mirror does not have.
    SkipTo {
        /// The last of these sequences.
        last: u64,
        /// Nanoseconds since 1970.
        time: i64,
    },
    /// These messages are removed. The sequences rise.
    Remove {
        /// Their sequences.
        sequences: &'a [u64],
    },
    /// Messages beyond the limits of the configuration are removed, oldest first: with a subject those beyond
    /// `max_msgs_per_subject`, without one those beyond the stream's limits.
    Trim {
        /// The subject, or nothing.
        subject: &'a [u8],
        /// Number of removed messages, at most.
        most: u64,
    },
    /// All messages are removed. The next message gets this sequence, or the one behind the last if that is higher.
    Clear {
        /// The sequence.
        next: u64,
    },
}
