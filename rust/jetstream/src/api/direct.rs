//! Direct gets: reads that answer with the message itself (ADR-31).

use std::sync::Arc;

use stonechat_store::disk::Disk;
use stonechat_store::messages::{Message, Messages};

use super::asides::To;
use super::asked::Asked;
use super::find::{Find, Form};
use super::long::LARGE;
use super::messages::lost_error;
use super::queue::{Owned, is_large};
use super::requests::GetRequest;
use super::{Request, is_level_met};
use crate::engine::{Engine, Outgoing};
use crate::error::ApiError;
use crate::ids::StreamId;
use crate::time::rfc3339;

impl<D: Disk> Engine<D> {
    /// Answers a direct get of a stream.
    pub fn direct_get(&mut self, stream_id: StreamId, request: &Request<'_>) {
        if !is_large(request) {
            self.direct(stream_id, request, is_level_met(request.headers), None, false);
        } else if !request.reply.is_empty() {
            self.may_begin(request, To::Direct(stream_id));
        }
    }

    /// As [`Engine::direct_get`], for a large request: its payload `body` is shared instead of copied once more.
    pub fn large_direct_get(&mut self, stream_id: StreamId, request: &Request<'_>, body: &Arc<Vec<u8>>) {
        if !request.reply.is_empty() {
            self.queue(Owned::with_body(request, To::Direct(stream_id), body));
        }
    }

    /// Answers a direct get that has waited for its turn.
    pub(super) fn direct_get_now(&mut self, stream_id: StreamId, request: &Request<'_>) {
        self.direct(stream_id, request, is_level_met(request.headers), None, true);
    }

    /// Answers a direct get that was decoded before. A body that is left in `asked` was not needed.
    pub(super) fn direct_read(
        &mut self,
        stream_id: StreamId,
        request: &Request<'_>,
        is_level_met: bool,
        asked: &mut Asked,
    ) {
        match asked {
            Asked::Get(asked) => self.direct(stream_id, request, is_level_met, Some(asked), true),
            _ => self.direct(stream_id, request, is_level_met, None, true),
        }
    }

    fn direct(
        &mut self,
        stream_id: StreamId,
        request: &Request<'_>,
        is_level_met: bool,
        read: Option<&mut Result<GetRequest, ApiError>>,
        has_waited: bool,
    ) {
        if request.reply.is_empty() {
            return;
        }
        let Some(stream) = self.streams.get(&stream_id) else { return };
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
        if !is_level_met {
            return self.direct_status(request, "412 Required Api Level", &[]);
        }
        // Decoding many subjects takes long.
        let is_large = request.payload.len() > LARGE;
        if is_large && !has_waited && !self.may_begin(request, To::Direct(stream_id)) {
            return;
        }
        let has_waited = has_waited || is_large;
        let mut own;
        let asked = match read {
            Some(read) => read,
            None => {
                own = match subject {
                    Some(_) if request.payload.is_empty() => Ok(GetRequest::default()),
                    None if request.payload.is_empty() => {
                        return self.direct_status(request, "408 Empty Request", &[]);
                    }
                    _ => GetRequest::decode(request.payload, self.options.strict),
                };
                &mut own
            }
        };
        match asked {
            Ok(asked) => self.direct_asked(stream_id, request, subject, asked, has_waited),
            Err(_) => self.direct_status(request, "408 Malformed Request", &[]),
        }
    }

    /// Answers a direct get with this body. What is left of the body was not needed.
    fn direct_asked(
        &mut self,
        stream_id: StreamId,
        request: &Request<'_>,
        subject: Option<&[u8]>,
        asked: &mut GetRequest,
        has_waited: bool,
    ) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        if let Some(subject) = subject {
            if *asked != (GetRequest { no_headers: asked.no_headers, ..GetRequest::default() }) {
                return self.direct_status(request, "408 Bad Request", &[]);
            }
            let find = Find::last(stream_id, stream.core.messages(), subject, asked.no_headers);
            return self.direct_find(stream_id, request, find, has_waited);
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
        if multi || asked.batch != 0 {
            if has_waited || self.may_begin(request, To::Direct(stream_id)) {
                self.begin_direct(stream_id, request, std::mem::take(asked));
            }
            return;
        }
        let find = Find::new(stream_id, stream.core.messages(), asked, Form::Direct);
        self.direct_find(stream_id, request, find, has_waited);
    }

    /// Answers a direct get of one message. If it takes a search, it waits for other requests of the account first.
    fn direct_find(&mut self, stream_id: StreamId, request: &Request<'_>, find: Find, has_waited: bool) {
        if find.is_known() || has_waited || self.may_begin(request, To::Direct(stream_id)) {
            self.find_message(request, find);
        }
    }

    pub(super) fn direct_status(&mut self, request: &Request<'_>, status: &str, headers: &[(&str, u64)]) {
        let mut block = format!("NATS/1.0 {status}\r\n");
        for (name, value) in headers {
            block.push_str(&format!("{name}: {value}\r\n"));
        }
        block.push_str("\r\n");
        self.direct_send(request, block.as_bytes(), b"");
    }

    fn direct_send(&mut self, request: &Request<'_>, headers: &[u8], payload: &[u8]) {
        let waits = self.reads_wait();
        let (account, subject) = (request.account, request.reply);
        self.outbox.push(waits, &Outgoing { account, subject, headers, payload, ..Outgoing::default() });
    }

    pub(super) fn direct_message(
        &mut self,
        stream_id: StreamId,
        request: &Request<'_>,
        sequence: u64,
        no_headers: bool,
    ) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        let mut block = std::mem::take(&mut self.block);
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let found = stream.core.messages().read(sequence, &mut buffer);
        let waits = stream.is_logged() && self.reads_wait();
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
                self.note_news(stream_id);
                let status = format!("500 {}", lost_error(&lost).description);
                self.direct_status(request, &status, &[]);
            }
        }
        (self.read_buffer, self.block) = (buffer, block);
    }

    /// Sends one of several messages; returns its size in bytes.
    pub(super) fn direct_one(
        &mut self,
        stream_id: StreamId,
        request: &Request<'_>,
        sequence: u64,
        pending: u64,
        last: u64,
        no_headers: bool,
    ) -> Option<i64> {
        let mut buffer = Vec::new();
        let stream = self.streams.get(&stream_id)?;
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
}

/// Writes the headers of a stored message, without the line that ends them.
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
