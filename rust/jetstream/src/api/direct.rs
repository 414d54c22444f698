//! Direct gets: reads that answer with the message itself (ADR-31).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Message, Messages};

use super::messages::{last_of, lost_error, next, sequence_of};
use super::requests::GetRequest;
use super::{Request, is_level_met};
use crate::engine::{Engine, Outgoing};
use crate::time::rfc3339;

/// Subjects of one request.
const MULTI_MAX: usize = 1024;
/// Bytes of messages that one request gets, if it does not say less.
const BYTES_MAX: i64 = 64 << 20;

impl<D: Disk> Engine<D> {
    /// Answers a direct get of the stream `group`.
    pub fn direct_get(&mut self, group: u32, request: &Request<'_>) {
        if request.reply.is_empty() {
            return;
        }
        let Some(stream) = self.streams.get(&group) else { return };
        // A mirror may answer for its origin.
        let config = stream.core.config();
        let names = [Some(&config.name), config.mirror.as_ref().map(|mirror| &mirror.name)];
        let rest = request.subject.strip_prefix(b"$JS.API.DIRECT.GET.").unwrap_or_default();
        let end = rest.iter().position(|b| *b == b'.').unwrap_or(rest.len());
        let is_meant = names.into_iter().flatten().any(|name| name.as_bytes() == &rest[..end]);
        let subject = rest.get(end..).filter(|_| is_meant);
        let subject = match subject {
            Some([]) => None,
            Some([b'.', subject @ ..]) => Some(subject),
            _ => return,
        };
        if !is_level_met(request.headers) {
            return self.direct_status(request, "412 Required Api Level", &[]);
        }
        let asked = match subject {
            Some(_) if request.payload.is_empty() => Ok(GetRequest::default()),
            None if request.payload.is_empty() => {
                return self.direct_status(request, "408 Empty Request", &[]);
            }
            _ => GetRequest::decode(request.payload, self.options.strict),
        };
        let Ok(mut asked) = asked else { return self.direct_status(request, "408 Malformed Request", &[]) };
        if let Some(subject) = subject {
            if asked != (GetRequest { no_headers: asked.no_headers, ..GetRequest::default() }) {
                return self.direct_status(request, "408 Bad Request", &[]);
            }
            let Some(last) = last_of(stream.core.messages(), subject) else {
                return self.direct_status(request, "404 Message Not Found", &[]);
            };
            return self.direct_message(group, request, last, asked.no_headers);
        }
        let is_empty = asked.sequence == 0
            && asked.last_for.is_empty()
            && asked.next_for.is_empty()
            && asked.multi_last.is_empty()
            && asked.start_time.is_none();
        if is_empty {
            return self.direct_status(request, "408 Empty Request", &[]);
        }
        let has_start = asked.sequence > 0 || asked.start_time.is_some();
        let multi = !asked.multi_last.is_empty();
        let is_bad = (!asked.last_for.is_empty() && (has_start || !asked.next_for.is_empty()))
            || (!asked.last_for.is_empty() && (asked.batch != 0 || multi))
            || (asked.sequence > 0 && asked.start_time.is_some())
            || (multi && !asked.next_for.is_empty())
            || (asked.up_to_sequence > 0 && asked.up_to_time.is_some());
        if is_bad {
            return self.direct_status(request, "408 Bad Request", &[]);
        }
        if multi {
            return self.direct_multi(group, request, &asked);
        }
        if asked.batch != 0 {
            return self.direct_batch(group, request, &mut asked);
        }
        match sequence_of(stream.core.messages(), &asked) {
            Some(sequence) => self.direct_message(group, request, sequence, asked.no_headers),
            None => self.direct_status(request, "404 Message Not Found", &[]),
        }
    }

    fn direct_status(&mut self, request: &Request<'_>, status: &str, headers: &[(&str, u64)]) {
        let mut block = format!("NATS/1.0 {status}\r\n");
        for (name, value) in headers {
            block.push_str(&format!("{name}: {value}\r\n"));
        }
        block.push_str("\r\n");
        self.direct_send(request, block.as_bytes(), b"");
    }

    fn direct_send(&mut self, request: &Request<'_>, headers: &[u8], payload: &[u8]) {
        let waits = self.must_wait();
        let (account, subject) = (request.account, request.reply);
        self.outbox.push(waits, &Outgoing { account, subject, headers, payload, ..Outgoing::default() });
    }

    fn direct_message(&mut self, group: u32, request: &Request<'_>, sequence: u64, no_headers: bool) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut block = std::mem::take(&mut self.block);
        let Some(stream) = self.streams.get(&group) else { return };
        let found = stream.core.messages().read(sequence, &mut buffer);
        let waits = stream.is_logged() && self.must_wait();
        match found {
            Ok(Some(message)) => {
                if no_headers {
                    block.clear();
                } else {
                    head(&mut block, &stream.core.config().name, &message);
                    block.extend_from_slice(b"\r\n");
                }
                let out = Outgoing {
                    account: request.account,
                    subject: request.reply,
                    headers: &block,
                    payload: message.payload,
                    ..Outgoing::default()
                };
                self.outbox.push(waits, &out);
            }
            Ok(None) => self.direct_status(request, "404 Message Not Found", &[]),
            Err(lost) => {
                self.note_news(group);
                let status = format!("500 {}", lost_error(&lost).description);
                self.direct_status(request, &status, &[]);
            }
        }
        (self.read_buffer, self.block) = (buffer, block);
    }

    fn direct_batch(&mut self, group: u32, request: &Request<'_>, asked: &mut GetRequest) {
        let Some(stream) = self.streams.get(&group) else { return };
        let messages = stream.core.messages();
        let filter = (!asked.next_for.is_empty()).then(|| Filter::new(asked.next_for.as_bytes()));
        let all = Filter::new(b">");
        let filter = filter.as_ref().unwrap_or(&all);
        let start = asked.start_time.map_or(Some(asked.sequence), |time| messages.at_time(time));
        let first = start.and_then(|start| next(messages, filter, start));
        let Some(first) = first else { return self.direct_status(request, "404 Message Not Found", &[]) };
        let mut pending = count_from(messages, filter, first);
        let most = if asked.max_bytes > 0 { asked.max_bytes } else { BYTES_MAX };
        let (mut at, mut last, mut bytes) = (Some(first), 0, 0);
        let mut sent = 0;
        while let Some(sequence) = at.filter(|_| sent < asked.batch) {
            let Some(size) = self.direct_one(group, request, sequence, pending - 1, last, asked.no_headers)
            else {
                break;
            };
            (last, sent, bytes, pending) = (sequence, sent + 1, bytes + size, pending - 1);
            let Some(stream) = self.streams.get(&group) else { return };
            if bytes >= most {
                break;
            }
            at = next(stream.core.messages(), filter, sequence + 1);
        }
        let headers = [("Nats-Num-Pending", pending), ("Nats-Last-Sequence", last)];
        self.direct_status(request, "204 EOB", &headers);
    }

    /// Sends one of several messages; answers its size.
    fn direct_one(
        &mut self,
        group: u32,
        request: &Request<'_>,
        sequence: u64,
        pending: u64,
        last: u64,
        no_headers: bool,
    ) -> Option<i64> {
        let mut buffer = Vec::new();
        let stream = self.streams.get(&group)?;
        let message = stream.core.messages().read(sequence, &mut buffer).ok().flatten()?;
        let size = (message.subject.len() + message.headers.len() + message.payload.len()) as i64;
        let mut block = Vec::new();
        if !no_headers {
            head(&mut block, &stream.core.config().name, &message);
            let tail = format!("Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {last}\r\n\r\n");
            block.extend_from_slice(tail.as_bytes());
        }
        let payload = message.payload.to_vec();
        self.direct_send(request, &block, &payload);
        Some(size)
    }

    fn direct_multi(&mut self, group: u32, request: &Request<'_>, asked: &GetRequest) {
        let Some(stream) = self.streams.get(&group) else { return };
        let messages = stream.core.messages();
        let state = messages.state();
        let up_to = match (asked.up_to_sequence, asked.up_to_time) {
            (0, None) => state.last_sequence,
            (0, Some(time)) => messages.at_time(time).map_or(state.last_sequence, |sequence| sequence - 1),
            (sequence, _) => sequence,
        };
        let start =
            asked.start_time.map_or(Some(asked.sequence), |time| messages.at_time(time)).unwrap_or(u64::MAX);
        let mut found = BTreeSet::new();
        for text in &asked.multi_last {
            let filter = Filter::new(text.as_bytes());
            let mut subjects = Vec::new();
            let _ = messages.subjects(&filter, None, &mut |subject, known| {
                if known.last <= up_to {
                    found.insert(known.last);
                } else {
                    subjects.push(subject.to_vec());
                }
                match found.len() + subjects.len() > MULTI_MAX {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            // Those whose last message is too new: the last one before that.
            for subject in subjects {
                if let Some(sequence) = last_up_to(messages, &subject, up_to) {
                    found.insert(sequence);
                }
            }
            if found.len() > MULTI_MAX {
                return self.direct_status(request, "413 Too Many Results", &[]);
            }
        }
        found.retain(|sequence| *sequence >= start);
        if found.is_empty() {
            return self.direct_status(request, "404 No Results", &[]);
        }
        let most = if asked.max_bytes > 0 { asked.max_bytes } else { BYTES_MAX };
        let batch = if asked.batch > 0 { asked.batch as usize } else { usize::MAX };
        let (mut pending, mut last, mut bytes) = (found.len() as u64, 0, 0);
        for sequence in found.into_iter().take(batch) {
            pending -= 1;
            let Some(size) = self.direct_one(group, request, sequence, pending, last, asked.no_headers)
            else {
                break;
            };
            (last, bytes) = (sequence, bytes + size);
            if bytes >= most {
                break;
            }
        }
        let headers =
            [("Nats-Num-Pending", pending), ("Nats-Last-Sequence", last), ("Nats-UpTo-Sequence", up_to)];
        self.direct_status(request, "204 EOB", &headers);
    }
}

/// The headers of a message that was read, without the line that ends them.
fn head(block: &mut Vec<u8>, stream: &str, message: &Message<'_>) {
    block.clear();
    match message.headers.strip_suffix(b"\r\n") {
        Some(own) => block.extend_from_slice(own),
        None => block.extend_from_slice(b"NATS/1.0\r\n"),
    }
    for (name, value) in [("Nats-Stream", stream.as_bytes()), ("Nats-Subject", message.subject)] {
        block.extend_from_slice(name.as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value);
        block.extend_from_slice(b"\r\n");
    }
    let rest =
        format!("Nats-Sequence: {}\r\nNats-Time-Stamp: {}\r\n", message.sequence, rfc3339(message.time));
    block.extend_from_slice(rest.as_bytes());
}

/// How many messages from `first` on match.
fn count_from<M: Messages>(messages: &M, filter: &Filter, first: u64) -> u64 {
    if first <= messages.state().first_sequence {
        return messages.count_matching(filter);
    }
    let (mut count, mut at) = (0, first);
    while let Some(sequence) = next(messages, filter, at) {
        (count, at) = (count + 1, sequence + 1);
    }
    count
}

/// The last message on `subject` up to a sequence.
fn last_up_to<M: Messages>(messages: &M, subject: &[u8], up_to: u64) -> Option<u64> {
    let filter = Filter::new(subject);
    let (mut last, mut at) = (None, messages.first_on(subject)?);
    while let Some(sequence) = next(messages, &filter, at).filter(|s| *s <= up_to) {
        (last, at) = (Some(sequence), sequence + 1);
    }
    last
}
