//! Outgoing messages: they leave at once, or when the changes before them are durable.

use crate::ids::{AccountId, ConsumerId};
use std::collections::VecDeque;

/// A message to be sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outgoing<'a> {
    /// The number of the account, see [`Engine::account_name`](super::Engine::account_name).
    pub account: AccountId,
    /// The subject to deliver to, if it is not `subject`.
    pub to: &'a [u8],
    /// The subject of the message.
    pub subject: &'a [u8],
    /// The reply subject, or nothing.
    pub reply: &'a [u8],
    /// The header block, or nothing.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// The consumer that delivers it and its sequence, for [`Engine::not_delivered`](super::Engine::not_delivered).
    pub delivery: Option<(ConsumerId, u64)>,
}

/// A message that leaves: like [`Outgoing`], with headers and payload in one piece.
#[derive(Debug, Clone, Copy)]
pub struct Departing<'a> {
    /// See [`Outgoing::account`].
    pub account: AccountId,
    /// The subject to deliver to.
    pub to: &'a [u8],
    /// The subject of the message.
    pub subject: &'a [u8],
    /// The reply subject, or nothing.
    pub reply: &'a [u8],
    /// The length of the headers at the front of `content`, in bytes.
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
    /// The consumer's number; 0 for none.
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
    /// The log position up to which the log must be durable before they leave.
    after: u64,
    items: Vec<Item>,
    bytes: Vec<u8>,
}

/// Capacity in bytes up to which a batch's buffer is kept for reuse.
const KEPT: usize = 1 << 20;

/// Bytes to leave with this batch, and batches waiting for the log, above which the outbox is crowded.
const CROWDED: usize = 4 << 20;
const BATCHES: usize = 64;
/// Bytes of memory waiting for the log above which the outbox is clogged. This happens only while the disk is full or stands
/// still. Then messages that clients can do without are left out, and consumers of streams on disk wait.
const CLOGGED: usize = if cfg!(debug_assertions) { 1 << 20 } else { 64 << 20 };

/// The messages that wait to leave.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    now: Batch,
    open: Batch,
    waiting: VecDeque<Batch>,
    /// Bytes of memory of the waiting batches.
    held: usize,
    spare: Vec<Batch>,
}

impl Batch {
    fn memory(&self) -> usize {
        size_of::<Self>() + self.items.len() * size_of::<Item>() + self.bytes.len()
    }
}

impl Outbox {
    /// Adds a message. With `waits` it leaves only when all changes logged before are durable.
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

    /// Bytes of messages in this batch, whether they wait for the log or not.
    pub(crate) fn len(&self) -> usize {
        self.now.bytes.len() + self.open.bytes.len()
    }

    /// Whether senders that can wait should add no more messages.
    pub(crate) fn is_crowded(&self) -> bool {
        self.len() > CROWDED || self.waiting.len() >= BATCHES
    }

    /// Whether too much waits for the log: then consumers do not deliver, and statuses and advisories are left out.
    pub(crate) fn is_clogged(&self) -> bool {
        self.held > CLOGGED
    }

    /// Whether messages of this batch wait for the log.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.items.is_empty()
    }

    /// Ends the batch: its waiting messages leave when the log is durable up to `position`.
    pub(crate) fn close(&mut self, position: u64) {
        if !self.open.items.is_empty() {
            let fresh = self.spare.pop().unwrap_or_default();
            let mut batch = std::mem::replace(&mut self.open, fresh);
            batch.after = position;
            self.held += batch.memory();
            self.waiting.push_back(batch);
        }
    }

    /// Hands out the messages that may leave now that the log is durable up to `durable`.
    pub(crate) fn take_ready(&mut self, durable: u64, mut send: impl FnMut(Departing<'_>)) {
        // Waiting messages were added earlier, so a consumer's messages leave in order.
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

    /// Whether any messages wait for the log.
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
