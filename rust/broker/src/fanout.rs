//! Deliveries to very many receivers. They are made in slices, between which the connections of the same thread have their turn.
//!
//! A message that reaches more receivers than a slice has room for is kept as a [`Fanout`]: its own copy of the message, those who
//! were there when it was published, and how far it has come. Until it is over, the session that published it reads nothing more, so
//! that each receiver gets messages in their order, and a PING behind the message is answered when all have it. Who unsubscribes
//! meanwhile gets it no more; who subscribes meanwhile does not get it.

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

/// Deliveries after which others have their turn, and bytes of them. A message that is begun may take as many again.
pub(crate) const SLICE: u64 = if cfg!(feature = "shuttle") { 2 } else { 4096 };
pub(crate) const SLICE_BYTES: u64 = 4 << 20;
/// What an import counts as, which looks up the interest of another account.
const IMPORT_COST: u64 = 16;

/// A message, or a run of them, on its way to very many receivers.
#[derive(Debug)]
pub(crate) struct Fanout {
    pub(crate) account: Arc<Account>,
    pub(crate) subject: Box<[u8]>,
    pub(crate) reply: Box<[u8]>,
    /// Shared by messages that follow each other.
    pub(crate) matched: Arc<Matches<SubRef>>,
    /// Where `matched` is to be kept in the end: its stamp, and whether the session's permissions let it publish.
    pub(crate) kept: Option<(Stamp, bool)>,
    /// Somebody took it.
    pub(crate) taken: bool,
    /// It came from whoever owns the router, not through an import.
    pub(crate) is_own: bool,
    /// The subject whose interest counts, if that is another one.
    pub(crate) to: Option<Box<[u8]>>,
    head: Head,
    /// The tails of all messages, one behind the other.
    tails: Vec<u8>,
    parts: Vec<Part>,
    rare: Option<Box<Rare>>,
    echo: bool,
    now: Instant,
    /// Accounts that it has crossed.
    depth: usize,
    /// The receiver whose turn is next: plain subscriptions first, then queue groups.
    next: usize,
}

/// One message: lengths within its tail, which ends with the payload and a line break.
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
    /// A message for all of `matched`.
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

    /// A run for all of `matched`.
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

    /// All have had their turn.
    pub(crate) fn is_over(&self) -> bool {
        self.next >= self.matched.receivers()
    }

    /// The subject whose interest counts.
    pub(crate) fn to(&self) -> &[u8] {
        self.to.as_deref().unwrap_or(&self.subject)
    }

    /// Bytes that it keeps.
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
    /// Whether so many deliveries are too many for what is left of the slice.
    #[inline]
    pub(crate) fn is_wide(&self, deliveries: usize) -> bool {
        self.delivered_msgs + deliveries as u64 > self.wide_at
    }

    /// Whether others should have their turn.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.delivered_msgs + SLICE >= self.wide_at || self.delivered_bytes >= self.full_bytes
    }

    /// The others had their turn.
    pub(crate) fn begin_slice(&mut self) {
        self.wide_at = self.delivered_msgs + 2 * SLICE;
        self.full_bytes = self.delivered_bytes + SLICE_BYTES;
    }

    /// From here on, so many deliveries are the most that are made at once.
    pub(crate) fn limit(&mut self, deliveries: u64) {
        self.wide_at = self.delivered_msgs + deliveries;
    }

    /// Lets a fan-out wait for the next slice.
    #[cold]
    pub(crate) fn wait(&mut self, mut fanout: Fanout) {
        fanout.depth = self.depth;
        self.waiting.push_back(fanout);
        // Whoever brings messages stops.
        self.wide_at = 0;
    }

    /// Whether fan-outs are not over.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Gives up the fan-outs that are not over.
    pub(crate) fn abandon(&mut self) {
        self.waiting.clear();
        self.depth = 0;
    }

    /// Goes on with the first fan-out that waits, until it is over or the slice is. Returns it if it is over.
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
