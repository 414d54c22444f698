//! Messages that leave: at once, or when what they tell of is durable.

use crate::ids::{AccountId, ConsumerId};
use std::collections::VecDeque;

/// A message on its way out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// The number of the account, see [`Engine::account_name`](super::Engine::account_name).
    pub account: AccountId,
    /// Where it goes, if not to its subject.
    pub to: &'a [u8],
    /// Its subject.
    pub subject: &'a [u8],
    /// Where replies to it go; empty for nowhere.
    pub reply: &'a [u8],
    /// Its header block, or nothing.
    pub headers: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
    /// The consumer that delivers it and its sequence, for [`Engine::not_delivered`](super::Engine::not_delivered).
    pub delivery: Option<(ConsumerId, u64)>,
}

/// A message that leaves: as [`Outgoing`], with headers and payload in one piece.
#[derive(Debug, Clone, Copy)]
pub struct Departing<'a> {
    /// See [`Outgoing::account`].
    pub account: AccountId,
    /// Where it goes.
    pub to: &'a [u8],
    /// Its subject.
    pub subject: &'a [u8],
    /// Where replies to it go; empty for nowhere.
    pub reply: &'a [u8],
    /// How much of `content` is headers.
    pub headers_len: usize,
    /// Headers and payload.
    pub content: &'a [u8],
    /// See [`Outgoing::delivery`].
    pub delivery: Option<(ConsumerId, u64)>,
}

impl<'a> Departing<'a> {
    /// The payload.
    pub fn payload(&self) -> &'a [u8] {
        self.content.get(self.headers_len..).unwrap_or_default()
    }

    /// The header block, or nothing.
    pub fn headers(&self) -> &'a [u8] {
        self.content.get(..self.headers_len).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
struct Item {
    account: AccountId,
    /// 0 for none.
    consumer: u32,
    sequence: u64,
    to_len: u32,
    subject_len: u32,
    reply_len: u32,
    headers_len: u32,
    payload_len: u32,
}

/// Messages that leave together.
#[derive(Debug, Default)]
struct Batch {
    /// When the log is durable up to here.
    after: u64,
    items: Vec<Item>,
    bytes: Vec<u8>,
}

/// Bytes of a batch that are kept for the next one.
const KEPT: usize = 1 << 20;

/// So many bytes, or batches that wait for the log, are much.
const CROWDED: usize = 4 << 20;
const BATCHES: usize = 64;
/// So much memory may wait for the log. It is reached only while the disk is full or stands still: then what clients can do without is
/// left out, and consumers of streams on disk wait.
const CLOGGED: usize = if cfg!(debug_assertions) { 1 << 20 } else { 64 << 20 };

/// All that waits to leave.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    now: Batch,
    open: Batch,
    waiting: VecDeque<Batch>,
    /// Memory that those take that wait.
    held: usize,
    spare: Vec<Batch>,
}

impl Batch {
    fn memory(&self) -> usize {
        size_of::<Self>() + self.items.len() * size_of::<Item>() + self.bytes.len()
    }
}

impl Outbox {
    /// Adds a message; `waits`: it may leave only when all that was logged before is durable.
    pub(crate) fn push(&mut self, waits: bool, message: &Outgoing<'_>) {
        let batch = if waits { &mut self.open } else { &mut self.now };
        batch.items.push(Item {
            account: message.account,
            consumer: message.delivery.map_or(0, |(consumer, _)| consumer.0),
            sequence: message.delivery.map_or(0, |(_, sequence)| sequence),
            to_len: message.to.len() as u32,
            subject_len: message.subject.len() as u32,
            reply_len: message.reply.len() as u32,
            headers_len: message.headers.len() as u32,
            payload_len: message.payload.len() as u32,
        });
        for part in [message.to, message.subject, message.reply, message.headers, message.payload] {
            batch.bytes.extend_from_slice(part);
        }
    }

    /// Bytes that are to leave with this batch, waiting or not.
    pub(crate) fn len(&self) -> usize {
        self.now.bytes.len() + self.open.bytes.len()
    }

    /// Whether so much waits that who can wait should add no more.
    pub(crate) fn is_crowded(&self) -> bool {
        self.len() > CROWDED || self.waiting.len() >= BATCHES
    }

    /// Whether no more should wait for the log: deliveries stay where they are, and statuses and advisories are left out.
    pub(crate) fn is_clogged(&self) -> bool {
        self.held > CLOGGED
    }

    /// Whether something was added that waits for the log.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.items.is_empty()
    }

    /// What was added since the last call waits until the log is durable up to `position`.
    pub(crate) fn close(&mut self, position: u64) {
        if !self.open.items.is_empty() {
            let fresh = self.spare.pop().unwrap_or_default();
            let mut batch = std::mem::replace(&mut self.open, fresh);
            batch.after = position;
            self.held += batch.memory();
            self.waiting.push_back(batch);
        }
    }

    /// Hands out what may leave now that the log is durable up to `durable`.
    pub(crate) fn take_ready(&mut self, durable: u64, mut send: impl FnMut(Departing<'_>)) {
        // What waited was added before: a consumer's messages leave in their order.
        while self.waiting.front().is_some_and(|batch| batch.after <= durable) {
            let Some(mut batch) = self.waiting.pop_front() else { return };
            self.held -= batch.memory();
            Self::drain(&mut batch, &mut send);
            if self.spare.len() < 4 {
                self.spare.push(batch);
            }
        }
        Self::drain(&mut self.now, &mut send);
    }

    /// Whether something waits for the log.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.open.items.is_empty()
    }

    fn drain(batch: &mut Batch, send: &mut impl FnMut(Departing<'_>)) {
        let mut rest = &batch.bytes[..];
        let mut part = |len: u32| {
            let (part, behind) = rest.split_at_checked(len as usize).unwrap_or_default();
            rest = behind;
            part
        };
        for item in &batch.items {
            let (to, subject, reply) = (part(item.to_len), part(item.subject_len), part(item.reply_len));
            send(Departing {
                account: item.account,
                to: if to.is_empty() { subject } else { to },
                subject,
                reply,
                headers_len: item.headers_len as usize,
                content: part(item.headers_len + item.payload_len),
                delivery: (item.consumer > 0).then_some((ConsumerId(item.consumer), item.sequence)),
            });
        }
        batch.items.clear();
        batch.bytes.clear();
        if batch.bytes.capacity() > KEPT {
            (batch.bytes, batch.items) = (Vec::new(), Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted() {
        let mut outbox = Outbox::default();
        let message = Outgoing { subject: b"a", payload: &[0; 1000], ..Outgoing::default() };
        let mut position = 0;
        while !outbox.is_clogged() {
            outbox.push(true, &message);
            position += 1;
            outbox.close(position);
            assert!(position <= CLOGGED as u64 / 1000);
        }
        let mut sent = 0;
        outbox.take_ready(position - 1, |_| sent += 1);
        assert!(!outbox.is_clogged() && outbox.held > 1000);
        outbox.take_ready(position, |_| sent += 1);
        assert_eq!((outbox.held, sent), (0, position));
    }
}
