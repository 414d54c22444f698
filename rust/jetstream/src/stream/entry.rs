//! What changes a stream, as the log records it.

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A message is stored under the sequence behind the last one. What it displaces follows from the configuration.
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
    /// The next sequence goes to a message that nobody wants.
    Skip {
        /// Nanoseconds since 1970.
        time: i64,
        /// Its id, or nothing.
        id: &'a [u8],
    },
    /// The sequences up to this one go to messages that a mirror does not have.
    SkipTo {
        /// The last of them.
        last: u64,
        /// Nanoseconds since 1970.
        time: i64,
    },
    /// These messages go; the sequences rise.
    Remove {
        /// Their sequences.
        sequences: &'a [u64],
    },
    /// What is beyond the limits of the configuration goes, the first messages first: with a subject beyond that of its messages.
    Trim {
        /// The subject, or nothing.
        subject: &'a [u8],
        /// How many messages go at most.
        most: u64,
    },
    /// All messages go, and the next one gets this sequence, or the one behind the last if that is higher.
    Clear {
        /// The sequence.
        next: u64,
    },
}
