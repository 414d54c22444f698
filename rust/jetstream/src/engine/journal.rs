//! The records of the log and their encoding.

use stonechat_store::file::Reference;
use stonechat_store::messages::Message;
use stonechat_store::wal::{GroupId, Record};

use crate::ids::{ConsumerId, StreamId};
use crate::stream::Entry;

/// The group of records about the store as a whole: creations and deletions.
pub(super) const STORE: GroupId = GroupId(0);

const APPEND: u8 = 1;
const SKIP: u8 = 2;
const REMOVE: u8 = 3;
const CLEAR: u8 = 4;
const CONFIG: u8 = 5;
const SKIP_TO: u8 = 6;
const FED: u8 = 7;
const REFER: u8 = 8;
const CONTENT: u8 = 9;
const TRIM: u8 = 10;
/// As `CONFIG`, but messages beyond the new limits are removed by records of their own.
const CONFIG_KEEPS: u8 = 11;
const CREATE: u8 = 16;
const DELETE: u8 = 17;
const ENDS: u8 = 18;
const CREATE_CONSUMER: u8 = 19;
const DELETE_CONSUMER: u8 = 20;
/// The second copy of a record: see [`twice`](super::twice).
pub(super) const COPY: u8 = 22;
/// Has no content: keeps the copies of records apart.
pub(super) const PADDING: u8 = 23;
/// Changes of a consumer's state.
pub(super) const CONSUMER_CHANGES: u8 = 21;

/// A decoded record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A message, with its sequence.
    Append { sequence: u64, time: i64, subject: &'a [u8], headers: &'a [u8], payload: &'a [u8] },
    /// A reference to a message in a segment, with the message's sequence.
    Refer { sequence: u64, reference: Reference },
    /// The message of an earlier [`Event::Refer`] that could not be written to its segment.
    Content { sequence: u64, time: i64, subject: &'a [u8], headers: &'a [u8], payload: &'a [u8] },
    /// A sequence that is used up without a message.
    Skip { sequence: u64, time: i64, id: &'a [u8] },
    /// Sequences up to `last` that a mirror or a restore skipped.
    SkipTo { last: u64, time: i64 },
    /// A feed of the stream has copied all messages before `next`.
    Fed { next: u64, feed: &'a str },
    /// Removed messages.
    Remove { sequences: Vec<u64> },
    /// The removal of all messages.
    Clear { next: u64 },
    /// The removal of at most `most` messages beyond the limits, on one subject or from the front of the stream.
    Trim { subject: &'a [u8], most: u64 },
    /// A new configuration. `keeps`: messages beyond its limits are removed by records of their own.
    Config { json: &'a [u8], keeps: bool },
    /// The creation of a stream.
    Create { stream_id: StreamId, created: i64, account: &'a str, json: &'a [u8] },
    /// The deletion of a stream.
    Delete { stream_id: StreamId },
    /// The last sequences of the streams in one write, logged behind the write's other records. So damage of a stream's last
    /// record is noticed too.
    Ends { ends: Vec<(StreamId, u64)> },
    /// The creation of a consumer whose first message has at least the sequence `start`.
    CreateConsumer {
        id: ConsumerId,
        stream_id: StreamId,
        created: i64,
        start: u64,
        name: &'a str,
        json: &'a [u8],
    },
    /// The deletion of a consumer.
    DeleteConsumer { id: ConsumerId },
    /// Changes of a consumer's state.
    ConsumerChanges { changes: &'a [u8] },
}

/// The most bytes of numbers at the front of a body: a sequence and a reference.
const HEAD_LEN: usize = 8 + Reference::ENCODED_LEN_MAX;

/// The body of a record, in parts that follow each other.
pub(super) struct Body<'a> {
    pub(super) kind: u8,
    head: [u8; HEAD_LEN],
    head_len: usize,
    owned: Vec<u8>,
    parts: [&'a [u8]; 3],
}

impl<'a> Body<'a> {
    fn new(kind: u8, numbers: &[&[u8]], parts: [&'a [u8]; 3]) -> Self {
        let (mut head, mut head_len) = ([0; HEAD_LEN], 0);
        for number in numbers {
            head[head_len..head_len + number.len()].copy_from_slice(number);
            head_len += number.len();
        }
        Self { kind, head, head_len, owned: Vec::new(), parts }
    }

    /// Encodes a change of a stream; `sequence` is the one that it gives to its message.
    pub(super) fn of(entry: &Entry<'a>, sequence: u64) -> Self {
        match *entry {
            Entry::Append { time, subject, headers, payload } => {
                let numbers: [&[u8]; 4] = [
                    &sequence.to_le_bytes(),
                    &time.to_le_bytes(),
                    &(subject.len() as u32).to_le_bytes(),
                    &(headers.len() as u32).to_le_bytes(),
                ];
                Self::new(APPEND, &numbers, [subject, headers, payload])
            }
            Entry::Skip { time, id } => {
                Self::new(SKIP, &[&sequence.to_le_bytes(), &time.to_le_bytes()], [id, b"", b""])
            }
            Entry::SkipTo { last, time } => {
                Self::new(SKIP_TO, &[&last.to_le_bytes(), &time.to_le_bytes()], [b"", b"", b""])
            }
            Entry::Remove { sequences } => {
                let mut body = Self::new(REMOVE, &[], [b"", b"", b""]);
                body.owned = sequences.iter().flat_map(|s| s.to_le_bytes()).collect();
                body
            }
            Entry::Trim { subject, most } => Self::new(TRIM, &[&most.to_le_bytes()], [subject, b"", b""]),
            Entry::Clear { next } => Self::new(CLEAR, &[&next.to_le_bytes()], [b"", b"", b""]),
        }
    }

    /// Encodes a message with this sequence that is in a segment.
    pub(super) fn refer(sequence: u64, reference: &Reference) -> Self {
        let (bytes, len) = reference.encode();
        Self::new(REFER, &[&sequence.to_le_bytes(), &bytes[..len]], [b"", b"", b""])
    }

    /// Encodes a message that an earlier record only refers to.
    pub(super) fn content(message: &Message<'a>) -> Self {
        let Message { sequence, time, subject, headers, payload } = *message;
        Self { kind: CONTENT, ..Self::of(&Entry::Append { time, subject, headers, payload }, sequence) }
    }

    pub(super) fn fed(next: u64, feed: &'a str) -> Self {
        Self::new(FED, &[&next.to_le_bytes()], [feed.as_bytes(), b"", b""])
    }

    pub(super) fn config(json: &'a [u8]) -> Self {
        Self::new(CONFIG, &[], [json, b"", b""])
    }

    pub(super) fn config_of_stream(json: &'a [u8]) -> Self {
        Self::new(CONFIG_KEEPS, &[], [json, b"", b""])
    }

    pub(super) fn create(stream_id: StreamId, created: i64, account: &'a str, json: &'a [u8]) -> Self {
        let len = (account.len() as u32).to_le_bytes();
        Self::new(
            CREATE,
            &[&stream_id.0.to_le_bytes(), &created.to_le_bytes(), &len],
            [account.as_bytes(), json, b""],
        )
    }

    pub(super) fn delete(stream_id: StreamId) -> Self {
        Self::new(DELETE, &[&stream_id.0.to_le_bytes()], [b"", b"", b""])
    }

    pub(super) fn create_consumer(
        id: ConsumerId,
        stream_id: StreamId,
        created: i64,
        start: u64,
        name: &'a str,
        json: &'a [u8],
    ) -> Self {
        let numbers: [&[u8]; 5] = [
            &id.0.to_le_bytes(),
            &stream_id.0.to_le_bytes(),
            &created.to_le_bytes(),
            &start.to_le_bytes(),
            &(name.len() as u32).to_le_bytes(),
        ];
        Self::new(CREATE_CONSUMER, &numbers, [name.as_bytes(), json, b""])
    }

    pub(super) fn delete_consumer(id: ConsumerId) -> Self {
        Self::new(DELETE_CONSUMER, &[&id.0.to_le_bytes()], [b"", b"", b""])
    }

    pub(super) fn ends(ends: &[(StreamId, u64)]) -> Self {
        let mut body = Self::new(ENDS, &[], [b"", b"", b""]);
        for (stream_id, last) in ends {
            body.owned.extend_from_slice(&stream_id.0.to_le_bytes());
            body.owned.extend_from_slice(&last.to_le_bytes());
        }
        body
    }

    pub(super) fn parts(&self) -> [&[u8]; 5] {
        [&self.head[..self.head_len], &self.owned, self.parts[0], self.parts[1], self.parts[2]]
    }
}

fn number<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

fn split<'a>(bytes: &mut &'a [u8], len: u32) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(len as usize)?;
    *bytes = rest;
    Some(head)
}

impl<'a> Event<'a> {
    /// Decodes a record; `None` if its kind or form is unknown.
    pub(super) fn decode(record: &Record<'a>) -> Option<Self> {
        let mut body = record.body;
        let bytes = &mut body;
        Some(match record.kind {
            APPEND | CONTENT => {
                let (sequence, time) =
                    (u64::from_le_bytes(number(bytes)?), i64::from_le_bytes(number(bytes)?));
                let (subject, headers) =
                    (u32::from_le_bytes(number(bytes)?), u32::from_le_bytes(number(bytes)?));
                let (subject, headers) = (split(bytes, subject)?, split(bytes, headers)?);
                match record.kind {
                    APPEND => Self::Append { sequence, time, subject, headers, payload: bytes },
                    _ => Self::Content { sequence, time, subject, headers, payload: bytes },
                }
            }
            REFER => {
                let sequence = u64::from_le_bytes(number(bytes)?);
                Self::Refer { sequence, reference: Reference::decode(bytes)? }
            }
            SKIP => {
                let (sequence, time) =
                    (u64::from_le_bytes(number(bytes)?), i64::from_le_bytes(number(bytes)?));
                Self::Skip { sequence, time, id: bytes }
            }
            SKIP_TO => {
                let (last, time) = (u64::from_le_bytes(number(bytes)?), i64::from_le_bytes(number(bytes)?));
                Self::SkipTo { last, time }
            }
            FED => {
                let next = u64::from_le_bytes(number(bytes)?);
                Self::Fed { next, feed: std::str::from_utf8(bytes).ok()? }
            }
            REMOVE => {
                let (sequences, rest) = bytes.as_chunks();
                if !rest.is_empty() {
                    return None;
                }
                Self::Remove { sequences: sequences.iter().map(|s| u64::from_le_bytes(*s)).collect() }
            }
            CLEAR => Self::Clear { next: u64::from_le_bytes(number(bytes)?) },
            TRIM => Self::Trim { most: u64::from_le_bytes(number(bytes)?), subject: bytes },
            CONFIG => Self::Config { json: bytes, keeps: false },
            CONFIG_KEEPS => Self::Config { json: bytes, keeps: true },
            CREATE => {
                let stream_id = StreamId(u32::from_le_bytes(number(bytes)?));
                let created = i64::from_le_bytes(number(bytes)?);
                let len = u32::from_le_bytes(number(bytes)?);
                let account = std::str::from_utf8(split(bytes, len)?).ok()?;
                Self::Create { stream_id, created, account, json: bytes }
            }
            ENDS => {
                let mut ends = Vec::new();
                while !bytes.is_empty() {
                    ends.push((
                        StreamId(u32::from_le_bytes(number(bytes)?)),
                        u64::from_le_bytes(number(bytes)?),
                    ));
                }
                Self::Ends { ends }
            }
            CREATE_CONSUMER => {
                let id = ConsumerId(u32::from_le_bytes(number(bytes)?));
                let stream_id = StreamId(u32::from_le_bytes(number(bytes)?));
                let (created, start) =
                    (i64::from_le_bytes(number(bytes)?), u64::from_le_bytes(number(bytes)?));
                let len = u32::from_le_bytes(number(bytes)?);
                let name = std::str::from_utf8(split(bytes, len)?).ok()?;
                Self::CreateConsumer { id, stream_id, created, start, name, json: bytes }
            }
            DELETE_CONSUMER => Self::DeleteConsumer { id: ConsumerId(u32::from_le_bytes(number(bytes)?)) },
            CONSUMER_CHANGES => Self::ConsumerChanges { changes: bytes },
            DELETE => Self::Delete { stream_id: StreamId(u32::from_le_bytes(number(bytes)?)) },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use stonechat_store::wal::GroupId;

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let read = |body: &Body<'_>, expected: Event<'_>| {
            let bytes = body.parts().concat();
            let record = Record::plain(0, GroupId(1), body.kind, &bytes);
            assert_eq!(Event::decode(&record), Some(expected));
        };
        let append = Entry::Append { time: 5, subject: b"a.b", headers: b"H", payload: b"pay" };
        read(
            &Body::of(&append, 7),
            Event::Append { sequence: 7, time: 5, subject: b"a.b", headers: b"H", payload: b"pay" },
        );
        let message = Message { sequence: 7, time: 5, subject: b"a.b", headers: b"H", payload: b"pay" };
        read(
            &Body::content(&message),
            Event::Content { sequence: 7, time: 5, subject: b"a.b", headers: b"H", payload: b"pay" },
        );
        let reference = Reference::decode(&[7; Reference::ENCODED_LEN_MAX]).unwrap();
        read(&Body::refer(7, &reference), Event::Refer { sequence: 7, reference });
        read(
            &Body::of(&Entry::Skip { time: 5, id: b"i" }, 7),
            Event::Skip { sequence: 7, time: 5, id: b"i" },
        );
        read(&Body::of(&Entry::Remove { sequences: &[3, 9] }, 0), Event::Remove { sequences: vec![3, 9] });
        read(&Body::of(&Entry::Clear { next: 4 }, 0), Event::Clear { next: 4 });
        read(&Body::config(b"{}"), Event::Config { json: b"{}", keeps: false });
        read(&Body::config_of_stream(b"{}"), Event::Config { json: b"{}", keeps: true });
        let trim = Entry::Trim { subject: b"a", most: 7 };
        read(&Body::of(&trim, 0), Event::Trim { subject: b"a", most: 7 });
        read(
            &Body::create(StreamId(3), 6, "$G", b"{}"),
            Event::Create { stream_id: StreamId(3), created: 6, account: "$G", json: b"{}" },
        );
        read(&Body::of(&Entry::SkipTo { last: 4, time: 5 }, 0), Event::SkipTo { last: 4, time: 5 });
        read(&Body::fed(7, "S"), Event::Fed { next: 7, feed: "S" });
        read(&Body::delete(StreamId(3)), Event::Delete { stream_id: StreamId(3) });
        read(
            &Body::create_consumer(ConsumerId(4), StreamId(3), 6, 9, "c", b"{}"),
            Event::CreateConsumer {
                id: ConsumerId(4),
                stream_id: StreamId(3),
                created: 6,
                start: 9,
                name: "c",
                json: b"{}",
            },
        );
        read(&Body::delete_consumer(ConsumerId(4)), Event::DeleteConsumer { id: ConsumerId(4) });
        let ends = [(StreamId(3), 9), (StreamId(4), 0)];
        read(&Body::ends(&ends), Event::Ends { ends: ends.to_vec() });
    }
}
