//! The headers of a published message that concern a stream.

use std::borrow::Cow;

/// Bytes of a header block, at most. A message with more is refused.
pub(crate) const LEN_MAX: usize = 65_535;

/// The part of a header block that is parsed. A longer block is refused, but only by a later check.
pub(crate) fn looked_at(block: &[u8]) -> &[u8] {
    &block[..block.len().min(LEN_MAX)]
}

/// The headers of a published message that concern the stream. An empty value counts as a missing header, except for the time
/// zone, the marker reason and the request info.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "the fields are the headers: jetstream-api.md, section 9")]
pub struct PublishHeaders<'a> {
    pub msg_id: Option<&'a [u8]>,
    pub expected_stream: Option<&'a [u8]>,
    pub expected_last_sequence: Option<&'a [u8]>,
    pub expected_last_subject_sequence: Option<&'a [u8]>,
    pub expected_last_subject_sequence_subject: Option<&'a [u8]>,
    pub expected_last_msg_id: Option<&'a [u8]>,
    pub rollup: Option<&'a [u8]>,
    pub ttl: Option<&'a [u8]>,
    pub incr: Option<&'a [u8]>,
    pub schedule: Option<&'a [u8]>,
    pub schedule_zone: Option<&'a [u8]>,
    pub schedule_next: Option<&'a [u8]>,
    pub scheduler: Option<&'a [u8]>,
    pub batch_id: Option<&'a [u8]>,
    pub stream_source: Option<&'a [u8]>,
    pub marker_reason: Option<&'a [u8]>,
    pub required_api_level: Option<&'a [u8]>,
    pub request_info: Option<&'a [u8]>,
}

impl<'a> PublishHeaders<'a> {
    /// Parses a header block. The first header of a name counts, and names are case-sensitive (as nats-server 2.15).
    pub fn parse(block: &'a [u8]) -> Self {
        let mut found = Self::default();
        for (name, value) in lines(block) {
            let Some(name) = name.strip_prefix(b"Nats-") else { continue };
            let field = match name {
                b"Msg-Id" => &mut found.msg_id,
                b"Expected-Stream" => &mut found.expected_stream,
                b"Expected-Last-Sequence" => &mut found.expected_last_sequence,
                b"Expected-Last-Subject-Sequence" => &mut found.expected_last_subject_sequence,
                b"Expected-Last-Subject-Sequence-Subject" => {
                    &mut found.expected_last_subject_sequence_subject
                }
                b"Expected-Last-Msg-Id" => &mut found.expected_last_msg_id,
                b"Rollup" => &mut found.rollup,
                b"TTL" => &mut found.ttl,
                b"Incr" => &mut found.incr,
                b"Schedule" => &mut found.schedule,
                b"Schedule-Time-Zone" => &mut found.schedule_zone,
                b"Schedule-Next" => &mut found.schedule_next,
                b"Scheduler" => &mut found.scheduler,
                b"Batch-Id" => &mut found.batch_id,
                b"Stream-Source" => &mut found.stream_source,
                b"Marker-Reason" => &mut found.marker_reason,
                b"Required-Api-Level" => &mut found.required_api_level,
                b"Request-Info" => &mut found.request_info,
                _ => continue,
            };
            if field.is_none() {
                *field = Some(value);
            }
        }
        for field in [
            &mut found.msg_id,
            &mut found.expected_stream,
            &mut found.expected_last_sequence,
            &mut found.expected_last_subject_sequence,
            &mut found.expected_last_subject_sequence_subject,
            &mut found.expected_last_msg_id,
            &mut found.rollup,
            &mut found.ttl,
            &mut found.incr,
            &mut found.schedule,
            &mut found.schedule_next,
            &mut found.scheduler,
            &mut found.batch_id,
            &mut found.stream_source,
            &mut found.required_api_level,
        ] {
            *field = field.filter(|value| !value.is_empty());
        }
        found
    }
}

/// The headers of a block, without the spaces before values.
pub fn lines(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let end = memchr::memmem::find(rest, b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        stonechat_store::visits::note();
        Some(line)
    })
    .skip(1)
    .filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let value = &line[colon + 1..];
        let spaces = value.iter().take_while(|b| **b == b' ').count();
        Some((&line[..colon], &value[spaces..]))
    })
}

/// The value of the first header of this name; `None` if there is none or it is empty.
pub fn value<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    lines(block).find(|(n, _)| *n == name).map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// A block without the headers whose names `drop` accepts; empty if none is left.
pub fn without(block: &[u8], drop: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len());
    let mut rest = block;
    let mut kept = false;
    for i in 0.. {
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else { break };
        let (line, behind) = rest.split_at(end + 2);
        let name = memchr::memchr(b':', line).map(|colon| &line[..colon]);
        if i == 0 || !name.is_some_and(&drop) {
            out.extend_from_slice(line);
            kept |= i > 0 && name.is_some();
        }
        rest = behind;
    }
    if kept { out } else { Vec::new() }
}

/// The headers that a message keeps when a mirror or source copies it (as nats-server 2.15). Expectations and batches are
/// dropped: they apply only where the message was published.
pub fn of_copy(block: &[u8]) -> Cow<'_, [u8]> {
    let is_left = |name: &[u8]| name.starts_with(b"Nats-Expected-") || name.starts_with(b"Nats-Batch-");
    match lines(block).any(|(name, _)| is_left(name)) {
        true => Cow::Owned(without(block, is_left)),
        false => Cow::Borrowed(block),
    }
}

/// Appends a header to `block`, which may be empty.
pub fn push(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    if block.is_empty() {
        block.extend_from_slice(b"NATS/1.0\r\n\r\n");
    }
    // A client's block may be malformed.
    block.truncate(block.len().saturating_sub(2));
    for part in [name.as_bytes(), b": ", value, b"\r\n\r\n"] {
        block.extend_from_slice(part);
    }
}

/// Sets the value of the first header of this name; appends the header if there is none.
pub fn set(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut at = 0;
    while let Some(len) = block.get(at..).and_then(|rest| memchr::memmem::find(rest, b"\r\n")) {
        let line = &block[at..at + len];
        if line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b":")) {
            let new = [name.as_bytes(), b": ", value].concat();
            block.splice(at..at + len, new);
            return;
        }
        at += len + 2;
    }
    push(block, name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[u8] =
        b"NATS/1.0\r\nA: b\r\nNats-Msg-Id:  x y\r\nnats-ttl: 1\r\nNats-Msg-Id: z\r\nNats-TTL: \r\n\r\n";

    #[test]
    fn the_first_of_a_name_counts() {
        let headers = PublishHeaders::parse(BLOCK);
        assert_eq!(headers.msg_id, Some(&b"x y"[..]));
        assert_eq!(headers.ttl, None);
        assert_eq!(value(BLOCK, b"A"), Some(&b"b"[..]));
    }

    #[test]
    fn headers_come_and_go() {
        assert_eq!(without(b"NATS/1.0\r\nA: b\r\nC: d\r\n\r\n", |n| n == b"A"), b"NATS/1.0\r\nC: d\r\n\r\n");
        assert_eq!(without(b"NATS/1.0\r\nA: b\r\n\r\n", |n| n == b"A"), b"");
        let mut block = b"NATS/1.0\r\nA: b\r\nC: d\r\n\r\n".to_vec();
        set(&mut block, "A", b"long one");
        set(&mut block, "E", b"f");
        assert_eq!(block, b"NATS/1.0\r\nA: long one\r\nC: d\r\nE: f\r\n\r\n");
        let mut block = Vec::new();
        push(&mut block, "A", b"b");
        push(&mut block, "C", b"d");
        assert_eq!(block, b"NATS/1.0\r\nA: b\r\nC: d\r\n\r\n");
    }
}
