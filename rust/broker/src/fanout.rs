//! Deliveries to very many receivers. They are made in slices, between which the other connections of the thread run.
//!
//! A message with more receivers than a slice allows becomes a [`Fanout`]: a copy of the message, its receivers at the
//! time of publishing, and the progress of the delivery. Until the fan-out is complete, the publisher's session reads
//! no more input. So each receiver gets messages in order, and a PING behind the message is answered when all receivers
//! have it. A client that unsubscribes meanwhile no longer gets the message; a client that subscribes meanwhile does
//! not get it.

use crate::account::Account;
use crate::broker::Broker;
use crate::client::Client;
use crate::frame::{Frames, Head, Rare, write_tail};
use crate::options::BrokerOptions;
use crate::router::{Delivery, Message, Origin, Router, SHARE_FROM};
use crate::run::{Repeats, Run};
use crate::subscription::{Sink, SubRef};
use std::sync::Arc;
use std::time::Instant;
use stonechat_subject::{Matches, Stamp};
use stonechat_wire::Repeat;

/// Deliveries and bytes after which a slice ends. A message begun in the slice may add as many deliveries again.
pub(crate) const SLICE: u64 = if cfg!(feature = "shuttle") { 2 } else { 4096 };
pub(crate) const SLICE_BYTES: u64 = 4 << 20;
/// Deliveries that an import counts as, because it looks up the interest in another account.
const IMPORT_COST: u64 = 16;

/// A message, or a run of messages, in delivery to very many receivers.
#[derive(Debug)]
pub(crate) struct Fanout {
    pub(crate) account: Arc<Account>,
    pub(crate) subject: Box<[u8]>,
    pub(crate) reply: Box<[u8]>,
    /// The receivers, shared by successive messages.
    pub(crate) matched: Arc<Matches<SubRef>>,
    /// Data with which `matched` returns to the session's cache at the end: its stamp, and whether the session's
    /// permissions allow publishing on the subject.
    pub(crate) kept: Option<(Stamp, bool)>,
    /// Whether a receiver took the message.
    pub(crate) taken: bool,
    /// Whether the message is the router owner's own, not one that came through an import.
    pub(crate) is_own: bool,
    /// The subject whose subscriptions are the receivers, if it is not `subject`.
    pub(crate) to: Option<Box<[u8]>>,
    head: Head,
    /// The tails of all messages, one behind the other.
    tails: Vec<u8>,
    parts: Vec<Part>,
    rare: Option<Box<Rare>>,
    echo: bool,
    now: Instant,
    /// Number of accounts that the message has crossed.
    depth: usize,
    /// Index of the next receiver: plain subscriptions first, then queue groups.
    next: usize,
}

/// Lengths of the parts of one message. Its tail ends with the payload and a line break.
#[derive(Debug, Clone, Copy)]
struct Part {
    header_len: Option<usize>,
    payload_len: usize,
    tail_len: usize,
}

impl Part {
    fn payload<'t>(&self, tail: &'t [u8]) -> &'t [u8] {
        let end = tail.len().saturating_sub(2);
        tail.get(end.saturating_sub(self.payload_len)..end).unwrap_or_default()
    }
}

impl Fanout {
    /// Returns the fan-out of a message to all of `matched`.
    pub(crate) fn new(
        account: Arc<Account>,
        origin: Origin<'_>,
        message: &Message<'_>,
        matched: Arc<Matches<SubRef>>,
    ) -> Self {
        let mut tails = Vec::new();
        match message.tail {
            Some(tail) => tails.extend_from_slice(tail),
            None => write_tail(&mut tails, message),
        }
        let (header_len, payload_len) = (message.header_len, message.payload.len());
        let parts = vec![Part { header_len, payload_len, tail_len: tails.len() }];
        Self {
            account,
            subject: message.subject.into(),
            reply: message.reply.into(),
            matched,
            kept: None,
            taken: false,
            is_own: false,
            to: origin.to.map(Into::into),
            head: Head::new(message.subject),
            tails,
            parts,
            rare: None,
            echo: origin.echo,
            now: origin.now,
            depth: 0,
            next: 0,
        }
    }

    /// Returns the fan-out of a run to all of `matched`.
    pub(crate) fn of_run(
        account: Arc<Account>,
        origin: Origin<'_>,
        subject: &[u8],
        messages: &[Repeat<'_>],
        matched: Arc<Matches<SubRef>>,
    ) -> Self {
        let nothing =
            Message { subject, reply: b"", header_len: None, payload: b"", tail: Some(b""), sizes: b"" };
        let part = |m: &Repeat<'_>| Part {
            header_len: (m.header_len > 0).then_some(m.header_len),
            payload_len: m.payload.len(),
            tail_len: m.tail.len(),
        };
        Self {
            tails: messages.iter().flat_map(|m| m.tail).copied().collect(),
            parts: messages.iter().map(part).collect(),
            ..Self::new(account, origin, &nothing, matched)
        }
    }

    /// Returns whether the message was offered to all receivers.
    pub(crate) fn is_over(&self) -> bool {
        self.next >= self.matched.receivers()
    }

    /// Returns the subject whose subscriptions are the receivers.
    pub(crate) fn to(&self) -> &[u8] {
        self.to.as_deref().unwrap_or(&self.subject)
    }

    /// Returns the bytes of memory that the copy of the message takes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.tails.len() + self.subject.len() + self.reply.len() + size_of::<Self>()
    }

    fn repeats(&self) -> Repeats<'_> {
        let mut rest = &self.tails[..];
        let parts = self.parts.iter().map(|part| {
            let (tail, behind) = rest.split_at_checked(part.tail_len).unwrap_or_default();
            rest = behind;
            let header_len = part.header_len.unwrap_or(0);
            Repeat { header_len, payload: part.payload(tail), tail, used: 0 }
        });
        parts.collect()
    }

    fn message(&self) -> Message<'_> {
        let part = self.parts.first().copied();
        Message {
            subject: &self.subject,
            reply: &self.reply,
            header_len: part.and_then(|part| part.header_len),
            payload: part.map_or(b"", |part| part.payload(&self.tails)),
            tail: Some(&self.tails),
            sizes: b"",
        }
    }
}

impl Router {
    /// Returns whether this number of deliveries exceeds the rest of the slice.
    #[inline]
    pub(crate) fn is_wide(&self, deliveries: usize) -> bool {
        self.delivered_msgs + deliveries as u64 > self.wide_at
    }

    /// Returns whether the slice is used up, so that other connections should run.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.delivered_msgs + SLICE >= self.wide_at || self.delivered_bytes >= self.full_bytes
    }

    /// Begins a slice, after other connections have run.
    pub(crate) fn begin_slice(&mut self) {
        self.wide_at = self.delivered_msgs + 2 * SLICE;
        self.full_bytes = self.delivered_bytes + SLICE_BYTES;
    }

    /// Limits the further deliveries of this slice to this number.
    pub(crate) fn limit(&mut self, deliveries: u64) {
        self.wide_at = self.delivered_msgs + deliveries;
    }

    /// Queues a fan-out for the next slices.
    #[cold]
    pub(crate) fn wait(&mut self, mut fanout: Fanout) {
        fanout.depth = self.depth;
        self.waiting.push_back(fanout);
        // Ends the slice, so that the publisher's session stops processing input.
        self.wide_at = 0;
    }

    /// Returns whether any fan-out is incomplete.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Drops incomplete fan-outs.
    pub(crate) fn abandon(&mut self) {
        self.waiting.clear();
        self.depth = 0;
    }

    /// Continues the first fan-out until it is complete or the slice ends. Returns it if it is complete.
    pub(crate) fn deliver_on(
        &mut self,
        broker: &Broker,
        options: &BrokerOptions,
        client: &Arc<Client>,
    ) -> Option<Fanout> {
        let mut fanout = self.waiting.pop_front()?;
        self.depth = fanout.depth;
        let account = Arc::clone(&fanout.account);
        let to = fanout.to.take();
        let origin = Origin { client, echo: fanout.echo, now: fanout.now, to: to.as_deref() };
        let matched = Arc::clone(&fanout.matched);
        match fanout.parts.len() {
            1 => self.deliver_some(broker, options, &account, origin, &mut fanout, &matched),
            _ => self.run_some(broker, options, &account, origin, &mut fanout, &matched),
        }
        self.depth = 0;
        fanout.to = to;
        if fanout.is_over() {
            return Some(fanout);
        }
        self.waiting.push_front(fanout);
        None
    }

    fn deliver_some(
        &mut self,
        broker: &Broker,
        options: &BrokerOptions,
        account: &Account,
        origin: Origin<'_>,
        fanout: &mut Fanout,
        matched: &Matches<SubRef>,
    ) {
        let (mut next, mut taken, rare) = (fanout.next, fanout.taken, fanout.rare.take());
        let message = fanout.message();
        let share = message.payload.len() >= SHARE_FROM;
        let delivery = Delivery { broker, options, account, origin, message: &message, share };
        let mut frames = Frames::go_on(&fanout.head, &fanout.tails, &message, rare);
        let mut cost = 0;
        while cost < SLICE && !self.is_full() {
            let is_taken = match (matched.plain.get(next), next.checked_sub(matched.plain.len())) {
                (Some(sub), _) => {
                    cost += if matches!(sub.sink, Sink::Import(_)) { IMPORT_COST } else { 1 };
                    self.offer(&delivery, &mut frames, sub)
                }
                (None, Some(at)) => {
                    let Some(queue) = matched.queues.get(at) else { break };
                    cost += 1;
                    self.offer_queue(&delivery, &mut frames, &queue.members)
                }
                (None, None) => break,
            };
            taken |= is_taken;
            next += 1;
        }
        self.serve_asked(&delivery);
        let rare = frames.into_rare();
        (fanout.next, fanout.taken, fanout.rare) = (next, taken, rare);
    }

    fn run_some(
        &mut self,
        broker: &Broker,
        options: &BrokerOptions,
        account: &Account,
        origin: Origin<'_>,
        fanout: &mut Fanout,
        matched: &Matches<SubRef>,
    ) {
        let mut next = fanout.next;
        let messages = fanout.repeats();
        let Fanout { subject, head, .. } = &*fanout;
        let run = Run { broker, options, account, origin, subject, head, messages: &messages };
        let mut cost = 0;
        while cost < SLICE && !self.is_full() {
            match (matched.plain.get(next), next.checked_sub(matched.plain.len())) {
                (Some(sub), _) => self.offer_run(&run, sub),
                (None, Some(at)) => {
                    let Some(queue) = matched.queues.get(at) else { break };
                    self.deliver_run_to_queue(&run, &queue.members);
                }
                (None, None) => break,
            }
            cost += messages.len() as u64;
            next += 1;
        }
        self.asked.clear();
        drop(messages);
        fanout.next = next;
    }
}
