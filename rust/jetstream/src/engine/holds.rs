//! Publishers that wait: one expects something of the last message on subjects with wildcards, which may take a look at very many
//! subjects. It is looked for in steps. What is published to the same stream meanwhile waits behind it, so that all is judged in the
//! order in which it came; what is not durable was not acknowledged, so a crash loses nothing that counts.

use std::collections::VecDeque;

use stonechat_store::disk::Disk;

use super::{Engine, fast};
use crate::ids::StreamId;
use crate::stream::{Publish, headers};

/// What is done for them in one turn: places of an index that are looked at, or so many times fewer messages.
const TURN: usize = if cfg!(debug_assertions) { 64 } else { 8192 };
const MESSAGE: usize = 8;
/// What it costs of that to find out that a batch needs to know more.
const AGAIN: usize = TURN / 16;
/// Messages that wait for one stream, as many as nats-server 2.15 lets wait; and their bytes, of all streams.
const MESSAGES_MAX: usize = 10_000;
const BYTES_MAX: usize = 64 << 20;
/// Expects something of the last message on these subjects.
const EXPECTED: &[u8] = b"Nats-Expected-Last-Subject-Sequence-Subject";

/// Messages for a stream that wait.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    /// The subjects whose last message the first of them needs.
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

/// All streams whose publishers wait.
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
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes note of a stream that is gone, with those who wait for it.
    pub(crate) fn forget(&mut self, hold: &Hold) {
        self.bytes -= hold.bytes;
    }
}

impl<D: Disk> Engine<D> {
    /// A message that needs the last one on the subjects of a filter, and with which others begin to wait.
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

    /// Lets a message wait behind others.
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

    /// Goes on for those who wait, as much as there is time for in one turn.
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

    /// Goes on for those who wait for one stream; true when nobody does any more.
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

    /// The subjects whose last message has to be looked for before a message can be stored that belongs to a batch: all of it is stored
    /// with its last one.
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
