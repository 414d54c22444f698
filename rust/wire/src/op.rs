//! The operations that a client sends.

/// One operation, borrowed from the bytes that it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    /// `CONNECT <json>`.
    Connect(&'a [u8]),
    /// `PUB` or `HPUB` with its payload.
    Publish(Publish<'a>),
    /// `SUB <subject> [queue] <sid>`.
    Subscribe {
        /// The subject, not validated.
        subject: &'a [u8],
        /// The queue group, if one is named.
        queue: Option<&'a [u8]>,
        /// The client's own id of the subscription.
        sid: &'a [u8],
    },
    /// `UNSUB <sid> [max]`.
    Unsubscribe {
        /// The client's own id of the subscription.
        sid: &'a [u8],
        /// Deliveries after which the subscription ends; `None` if absent or not a number.
        max: Option<u64>,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `INFO <json>`, which a client may send and the server ignores.
    Info(&'a [u8]),
    /// `+OK`, ignored.
    Ok,
    /// `-ERR <text>`, after which the server closes the connection.
    Err(&'a [u8]),
}

/// A message as its publisher wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The subject, not validated.
    pub subject: &'a [u8],
    /// The reply subject; empty if there is none.
    pub reply: &'a [u8],
    /// Length of the headers at the start of `payload`, in bytes; `None` without headers.
    pub header_len: Option<usize>,
    /// The sizes as written: one number, or for `HPUB` two with one space between.
    pub sizes: &'a [u8],
    /// Headers and body.
    pub payload: &'a [u8],
    /// The message from the space after the subject to its end (` [reply] sizes\r\npayload\r\n`), if it has the form of
    /// a delivery: single spaces and `\r\n`. A delivery can then copy it as a whole.
    pub tail: Option<&'a [u8]>,
}
