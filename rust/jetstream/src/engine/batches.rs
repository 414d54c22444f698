//! Atomic batches: all messages are stored, or none (ADR-50).
//!
//! Staged messages are in memory only. A batch counts once its last message is acknowledged, when all of its messages are in the
//! log.

use std::collections::HashSet;

use serde_json::json;
use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::{Engine, Stored};
use crate::api::fields;
use crate::error::{self, ApiError};
use crate::ids::StreamId;
use crate::stream::{Discard, Publish, Verdict, headers};

/// The most messages in a batch.
const MESSAGES_MAX: u64 = 1000;
/// Limits for uncommitted batches: of a stream, and of all streams.
const OF_STREAM_MAX: usize = 50;
const OF_SERVER_MAX: usize = 1000;
const ID_LEN_MAX: usize = 64;
/// The most bytes of all uncommitted batches.
const STAGED_MAX: usize = 128 << 20;
/// A batch is checked against the byte limits, with all others, each time it has grown by this number of bytes.
const MEASURED_EVERY: usize = 64 << 10;
/// Nanoseconds without a message after which a batch is abandoned.
const IDLE: i64 = 10_000_000_000;

impl Batch {
    /// The header blocks of the messages.
    pub(super) fn headers(&self) -> impl Iterator<Item = &[u8]> {
        self.messages.iter().map(|staged| &staged.headers[..])
    }
}

/// A batch that is not committed yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<Staged>,
    bytes: usize,
    /// When the batch is abandoned, unless another message arrives.
    until: i64,
}

#[derive(Debug)]
struct Staged {
    subject: Box<[u8]>,
    headers: Vec<u8>,
    payload: Box<[u8]>,
}

impl Staged {
    fn publish(&self) -> Publish<'_> {
        Publish { subject: &self.subject, headers: &self.headers, payload: &self.payload }
    }
}

impl<D: Disk> Engine<D> {
    /// Processes a message of an atomic batch.
    pub(super) fn batch(
        &mut self,
        stream_id: StreamId,
        id: &[u8],
        message: &Publish<'_>,
    ) -> Result<Stored, ApiError> {
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let config = stream.core.config();
        if config.sealed {
            return Err(error::STREAM_SEALED.error());
        }
        let len = message.headers.len() + message.payload.len();
        if config.max_msg_size > 0 && len > config.max_msg_size as usize {
            return Err(error::STREAM_MESSAGE_EXCEEDS_MAXIMUM.error());
        }
        if id.len() > ID_LEN_MAX {
            return Err(error::ATOMIC_PUBLISH_INVALID_BATCH_ID.error());
        }
        let block = headers::looked_at(message.headers);
        let sequence = headers::value(block, b"Nats-Batch-Sequence");
        let sequence = sequence.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        let sequence = sequence.ok_or_else(|| error::ATOMIC_PUBLISH_MISSING_SEQ.error())?;
        let commit = headers::value(block, b"Nats-Batch-Commit");
        let is_end = commit == Some(b"eob");
        let size = sequence.saturating_sub(u64::from(is_end));
        let too_large = || error::ATOMIC_PUBLISH_TOO_LARGE_BATCH.with("size", MESSAGES_MAX);
        let key = (stream_id, id.to_vec());
        if !self.batches.contains_key(&key) {
            if sequence != 1 {
                let incomplete = error::ATOMIC_PUBLISH_INCOMPLETE_BATCH.error();
                return Err(if size > MESSAGES_MAX { too_large() } else { incomplete });
            }
            let of_stream = self.batches.keys().filter(|(stream, _)| *stream == stream_id).count();
            if of_stream >= OF_STREAM_MAX || self.batches.len() >= OF_SERVER_MAX {
                return Err(error::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT.error());
            }
        }
        let mut batch = self.batches.remove(&key).unwrap_or_default();
        if commit.is_some_and(|commit| commit != b"1" && !is_end) {
            return Err(error::ATOMIC_PUBLISH_INVALID_BATCH_COMMIT.error());
        }
        if !crate::api::is_level_met(block) {
            self.abandon(stream_id, id, "unsupported");
            return Err(error::REQUIRED_API_LEVEL.error());
        }
        if batch.messages.len() as u64 + 1 != sequence || (sequence == 1 && is_end) {
            self.abandon(stream_id, id, "incomplete");
            return Err(error::ATOMIC_PUBLISH_INCOMPLETE_BATCH.error());
        }
        if size > MESSAGES_MAX {
            self.abandon(stream_id, id, "large");
            return Err(too_large());
        }
        let before = batch.bytes;
        batch.bytes += message.subject.len() + len;
        if (sequence == 1 || before / MEASURED_EVERY != batch.bytes / MEASURED_EVERY)
            && let Err(e) = self.check_staged(stream_id, batch.bytes)
        {
            self.abandon(stream_id, id, "large");
            return Err(e);
        }
        if !is_end {
            batch.messages.push(Staged {
                subject: message.subject.into(),
                headers: headers::without(message.headers, |name| name == b"Nats-Required-Api-Level"),
                payload: message.payload.into(),
            });
        }
        if commit.is_none() {
            batch.until = self.now + IDLE;
            self.batches.insert(key, batch);
            return Ok(Stored::Staged);
        }
        if is_end && let Some(last) = batch.messages.last_mut() {
            headers::push(&mut last.headers, "Nats-Batch-Commit", b"1");
        }
        self.commit_batch(stream_id, id, &batch)
    }

    /// Whether the server and the stream's account may hold `bytes` more in memory beside their other uncommitted batches.
    fn check_staged(&self, stream_id: StreamId, bytes: usize) -> Result<(), ApiError> {
        let account = self.account_of(stream_id);
        let (mut of_account, mut total) = (bytes, bytes);
        for ((stream, _), batch) in &self.batches {
            total += batch.bytes;
            of_account += if self.account_of(*stream) == account { batch.bytes } else { 0 };
        }
        if total > STAGED_MAX {
            return Err(error::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT.error());
        }
        self.check_resources(stream_id, of_account)
    }

    fn commit_batch(&mut self, stream_id: StreamId, id: &[u8], batch: &Batch) -> Result<Stored, ApiError> {
        let bytes = self.check_batch(stream_id, batch)?;
        self.check_room(stream_id, batch.messages.len(), bytes)?;
        let mut last = 0;
        for staged in &batch.messages {
            match self.ingest(stream_id, &staged.publish())? {
                Stored::At { sequence, .. } => last = sequence,
                Stored::Staged | Stored::Search(_) => {}
            }
        }
        let id = serde_json::Value::from(String::from_utf8_lossy(id));
        let more = format!(",\"batch\":{id},\"count\":{}", batch.messages.len());
        Ok(Stored::At { sequence: last, more: more.into() })
    }

    /// Checks whether all messages of a batch can be stored. Returns their bytes.
    fn check_batch(&self, stream_id: StreamId, batch: &Batch) -> Result<usize, ApiError> {
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
        if let Some(refusal) = self.refuses.as_ref().filter(|_| stream.is_logged()) {
            return Err(refusal.clone());
        }
        let unsupported =
            |name: &str| Err(error::ATOMIC_PUBLISH_UNSUPPORTED_HEADER_BATCH.with("header", name));
        let (mut ids, mut subjects) = (HashSet::new(), HashSet::new());
        let mut bytes = 0;
        for (i, staged) in batch.messages.iter().enumerate() {
            let h = headers::PublishHeaders::parse(&staged.headers);
            if h.expected_last_msg_id.is_some() {
                return unsupported("Nats-Expected-Last-Msg-Id");
            }
            if i > 0 && h.expected_last_sequence.is_some() {
                return unsupported("Nats-Expected-Last-Sequence");
            }
            let is_known = h.msg_id.is_some_and(|id| !ids.insert(id));
            // An expected-sequence check can't see earlier messages of the same batch, so it fails if there is one on the
            // subject.
            if h.expected_last_subject_sequence.is_some() && subjects.contains(&staged.subject) {
                return Err(error::STREAM_WRONG_LAST_SEQUENCE.with("seq", 0));
            }
            subjects.insert(&staged.subject);
            let verdict = stream.core.judge(self.now, &staged.publish(), true)?;
            if is_known || matches!(verdict, Verdict::Duplicate { .. }) {
                return Err(error::ATOMIC_PUBLISH_CONTAINS_DUPLICATE_MESSAGE.error());
            }
            bytes += staged.subject.len() + staged.headers.len() + staged.payload.len();
        }
        self.check_resources(stream_id, bytes)?;
        let (config, messages) = (stream.core.config(), stream.core.messages());
        let full = |text: &str| Err(error::STREAM_STORE_FAILED.with("err", text));
        if config.discard == Discard::New {
            let count = messages.count() + batch.messages.len() as u64;
            if config.max_msgs > 0 && count > config.max_msgs as u64 {
                return full("maximum messages exceeded");
            }
            if config.max_bytes > 0 && messages.bytes() + bytes as u64 > config.max_bytes as u64 {
                return full("maximum bytes exceeded");
            }
        }
        Ok(bytes)
    }

    fn abandon(&mut self, stream_id: StreamId, id: &[u8], reason: &str) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let (account, name) = (stream.account, stream.core.config().name.clone());
        let id = String::from_utf8_lossy(id);
        let body = json!({"stream": name, "batch": id, "reason": reason});
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.{name}");
        self.advise(account, &subject, "advisory.v1.stream_batch_abandoned", fields(body));
    }

    /// When the next batch is abandoned.
    pub(super) fn next_batch_end(&self) -> Option<i64> {
        self.batches.values().map(|batch| batch.until).min()
    }

    /// Abandons idle batches.
    pub(super) fn end_batches(&mut self) {
        let now = self.now;
        let over: Vec<(StreamId, Vec<u8>)> =
            self.batches.iter().filter(|(_, batch)| batch.until <= now).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.batches.remove(&key);
            self.abandon(key.0, &key.1, "timeout");
        }
    }
}
