//! Published messages that wait. A message may expect a sequence of the last message on subjects with wildcards, which takes a
//! search through very many subjects. The search goes in steps. Messages published to the stream meanwhile wait behind it, so
//! that all are judged in the order of their arrival. Waiting messages are not acknowledged, so a crash may lose them.
//!
//! The result of a search is kept up to date for later messages (`stream/lasts.rs`).

use std::collections::VecDeque;

use stonechat_store::disk::Disk;

use super::{Engine, fast};
use crate::ids::StreamId;
use crate::stream::{Publish, headers};

/// The budget of one turn in places of an index that are looked at, and what a message costs of it. Small in debug builds, for
/// tests.
const TURN: usize = if cfg!(debug_assertions) { 64 } else { 8192 };
const MESSAGE: usize = 8;
/// The cost of a message whose batch needs another search.
const AGAIN: usize = TURN / 16;
/// Limits for waiting messages: of one stream, as in nats-server 2.15, and the bytes of all streams.
const MESSAGES_MAX: usize = 10_000;
const BYTES_MAX: usize = 64 << 20;
/// The header with the subjects whose last message is checked.
const EXPECTED: &[u8] = b"Nats-Expected-Last-Subject-Sequence-Subject";

/// The waiting messages of a stream.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// The subjects whose last message the first waiting message needs.
    filter: Option<Vec<u8>>,
    waiting: VecDeque<Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    subject: Box<[u8]>,
    reply: Box<[u8]>,
    headers: Box<[u8]>,
    payload: Box<[u8]>,
}

/// All streams with waiting messages.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    groups: VecDeque<StreamId>,
    bytes: usize,
}

impl Held {
    fn new(reply: &[u8], message: &Publish<'_>) -> Self {
        let Publish { subject, headers, payload } = *message;
        Self {
            subject: subject.into(),
            reply: reply.into(),
            headers: headers.into(),
            payload: payload.into(),
        }
    }

    fn len(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.reply.len() + self.headers.len() + self.payload.len()
    }

    fn publish(&self) -> Publish<'_> {
        Publish { subject: &self.subject, headers: &self.headers, payload: &self.payload }
    }
}

impl Holds {
    /// Whether no messages wait.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Removes the waiting messages of a deleted stream from the byte count.
    pub(crate) fn forget(&mut self, hold: &Hold) {
        self.bytes -= hold.bytes;
    }
}

impl<D: Disk> Engine<D> {
    /// Begins a hold: a message needs the last one on the subjects of `filter`, and later messages wait behind it.
    pub(super) fn begin_hold(
        &mut self,
        stream_id: StreamId,
        reply: &[u8],
        message: &Publish<'_>,
        filter: Vec<u8>,
    ) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        stream.hold = Some(Box::new(Hold { filter: Some(filter), ..Hold::default() }));
        self.holds.groups.push_back(stream_id);
        self.hold_message(stream_id, reply, message);
    }

    /// Adds a message to the stream's hold.
    pub(super) fn hold_message(&mut self, stream_id: StreamId, reply: &[u8], message: &Publish<'_>) {
        let Some(hold) = self.streams.get_mut(&stream_id).and_then(|stream| stream.hold.as_mut()) else {
            return;
        };
        let held = Held::new(reply, message);
        let len = held.len();
        if hold.waiting.len() >= MESSAGES_MAX || self.holds.bytes + len > BYTES_MAX {
            return self.refuse(stream_id, reply);
        }
        hold.bytes += len;
        self.holds.bytes += len;
        hold.waiting.push_back(held);
    }

    /// Continues the searches and publishes, within the limits of a turn.
    pub(super) fn run_holds(&mut self) {
        let mut budget = TURN;
        for _ in 0..self.holds.groups.len() {
            let Some(stream_id) = self.holds.groups.pop_front() else { break };
            if !self.run_hold(stream_id, &mut budget) {
                self.holds.groups.push_back(stream_id);
            }
            if budget == 0 {
                break;
            }
        }
    }

    /// Continues the hold of one stream. Returns true when no message waits any more.
    fn run_hold(&mut self, stream_id: StreamId, budget: &mut usize) -> bool {
        loop {
            let Some(stream) = self.streams.get_mut(&stream_id) else { return true };
            let Some(hold) = &mut stream.hold else { return true };
            if let Some(filter) = &hold.filter {
                if !stream.core.seek_last(filter, budget) {
                    return false;
                }
                hold.filter = None;
            }
            if *budget == 0 {
                return false;
            }
            let Some(held) = hold.waiting.pop_front() else {
                stream.hold = None;
                return true;
            };
            let len = held.len();
            *budget = budget.saturating_sub(MESSAGE + len / 512);
            let filter = self.try_publish(stream_id, &held.reply, &held.publish());
            let Some(stream) = self.streams.get_mut(&stream_id) else { return true };
            let Some(hold) = &mut stream.hold else { return true };
            if filter.is_some() {
                *budget = budget.saturating_sub(AGAIN);
                hold.filter = filter;
                hold.waiting.push_front(held);
                continue;
            }
            stream.core.tidy_lasts();
            hold.bytes -= len;
            self.holds.bytes -= len;
        }
    }

    /// Returns the subjects whose last message must be looked up before a message of a batch is processed. An atomic batch is
    /// checked as a whole, with its last message.
    pub(super) fn unknown_last(
        &self,
        stream_id: StreamId,
        reply: &[u8],
        message: &Publish<'_>,
    ) -> Option<Vec<u8>> {
        if message.headers.is_empty() {
            return None;
        }
        let core = &self.streams.get(&stream_id)?.core;
        let unknown = |block: &[u8]| {
            let filter = headers::value(block, EXPECTED)?;
            let is_unknown = stonechat_subject::has_wildcard(filter) && !core.knows_last(filter);
            is_unknown.then(|| filter.to_vec())
        };
        if reply.ends_with(fast::SUFFIX) {
            return unknown(headers::looked_at(message.headers));
        }
        let block = headers::looked_at(message.headers);
        if !core.config().allow_atomic || headers::value(block, b"Nats-Batch-Commit").is_none() {
            return None;
        }
        let id = headers::value(block, b"Nats-Batch-Id")?;
        let staged = self.batches.get(&(stream_id, id.to_vec()));
        let staged = staged.into_iter().flat_map(super::batches::Batch::headers);
        staged.chain([block]).find_map(unknown)
    }
}
