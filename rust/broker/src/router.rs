//! Message delivery from the broker to receivers, used by every kind of session.
//!
//! A session owns a router, whose scratch memory is reused from message to message. Messages are appended to the
//! receivers' buffers at once; the receivers are flushed together at the end of the session's read batch.

use crate::account::Account;
use crate::broker::Broker;
use crate::client::Client;
use crate::closed::ClosedReason;
use crate::exchange::{self, DEPTH_MAX, Import, Replies};
use crate::fanout::{Fanout, SLICE, SLICE_BYTES};
use crate::frame::{Frames, Head, Scratch, write_tail};
use crate::inlet::Inlet;
use crate::options::BrokerOptions;
use crate::outbound::Pending;
use crate::service::Service;
use crate::subscription::{Quota, Sink, SubRef, Subscription};
use crate::sync::Ordering::Relaxed;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use stonechat_auth::Exchange;
use stonechat_subject::Matches;
use stonechat_wire::Publish;
use tracing::{info, trace};

/// Payload size in bytes from which several receivers share one copy of a message.
pub(crate) const SHARE_FROM: usize = 4096;
/// Pause of a publisher per receiver above 75% of `max_pending`, per receiver above all of it, and the most per batch.
const STALL: Duration = Duration::from_millis(2);
const STALL_FULL: Duration = Duration::from_millis(5);
const STALL_MAX: Duration = Duration::from_millis(10);
/// Limits of one flush slice: receivers, and bytes. Batches of at most `FLUSHES_MIN` receivers skip the computation of
/// a limit.
pub(crate) const FLUSHES: usize = if cfg!(feature = "shuttle") { 2 } else { 256 };
const FLUSH_BYTES: u64 = 4 << 20;
const FLUSHES_MIN: usize = if cfg!(feature = "shuttle") { 1 } else { 8 };
/// Batch limits: receivers, deliveries and bytes. At any of them the batch is flushed early, since receivers get
/// nothing before a flush.
pub(crate) const BATCH_RECEIVERS: usize = if cfg!(feature = "shuttle") { 3 } else { 4096 };
pub(crate) const BATCH_DELIVERIES: u64 = 16 * SLICE;
const BATCH_BYTES: u64 = 16 * SLICE_BYTES;

/// A message to deliver.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// The subject on which the message is delivered.
    pub subject: &'a [u8],
    /// The reply subject; empty if there is none.
    pub reply: &'a [u8],
    /// Length of the headers at the start of `payload`, in bytes; `None` without headers.
    pub header_len: Option<usize>,
    /// Headers and body.
    pub payload: &'a [u8],
    /// See [`Publish::tail`].
    pub tail: Option<&'a [u8]>,
    /// See [`Publish::sizes`]; empty for the server's own messages.
    pub sizes: &'a [u8],
}

impl<'a> From<&Publish<'a>> for Message<'a> {
    fn from(p: &Publish<'a>) -> Self {
        Self {
            subject: p.subject,
            reply: p.reply,
            header_len: p.header_len,
            payload: p.payload,
            tail: p.tail,
            sizes: p.sizes,
        }
    }
}

/// Source of a message: the publishing client, its `echo` option and the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) client: &'a Arc<Client>,
    pub(crate) echo: bool,
    pub(crate) now: Instant,
    /// The subject whose subscriptions receive the message, if it is not the message's own subject.
    pub(crate) to: Option<&'a [u8]>,
}

/// Delivery state of one session or courier: reused scratch memory, and the unfinished work of the current batch.
#[derive(Debug)]
pub struct Router {
    pub(crate) touched: Vec<Arc<Client>>,
    /// Inlets that received messages in this batch; rarely more than one.
    inlets: Vec<Arc<dyn Inlet>>,
    /// The server's own services that the current message addresses.
    pub(crate) asked: Vec<Service>,
    scratch: Scratch,
    random: SmallRng,
    /// Number of accounts that the current message has crossed.
    pub(crate) depth: usize,
    pub(crate) delivered_msgs: u64,
    pub(crate) delivered_bytes: u64,
    /// Totals of `delivered_msgs` and `delivered_bytes` that bound the current slice. A message that would exceed
    /// `wide_at` becomes a `Fanout`.
    pub(crate) wide_at: u64,
    pub(crate) full_bytes: u64,
    /// Incomplete fan-outs: messages with more receivers than one slice allows.
    pub(crate) waiting: VecDeque<Fanout>,
    /// Whether the batch is being flushed in slices.
    is_flushing: bool,
    /// Pause of the publisher, summed over the lagging receivers of the batch.
    stall: Duration,
    /// The longest pause that an inlet of the batch asks for.
    inlet_pause: Duration,
}

/// Parameters that are the same for all receivers of a message.
pub(crate) struct Delivery<'d> {
    pub(crate) broker: &'d Broker,
    pub(crate) options: &'d BrokerOptions,
    pub(crate) account: &'d Account,
    pub(crate) origin: Origin<'d>,
    pub(crate) message: &'d Message<'d>,
    /// Whether the receivers share one copy of the payload: the message is large and has several receivers.
    pub(crate) share: bool,
}

impl Router {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            touched: Vec::new(),
            inlets: Vec::new(),
            asked: Vec::new(),
            scratch: Scratch::default(),
            random: SmallRng::seed_from_u64(seed),
            depth: 0,
            delivered_msgs: 0,
            delivered_bytes: 0,
            wide_at: 2 * SLICE,
            full_bytes: SLICE_BYTES,
            waiting: VecDeque::new(),
            is_flushing: false,
            stall: Duration::ZERO,
            inlet_pause: Duration::ZERO,
        }
    }

    /// Marks a connection with new output, so that it is flushed with the batch.
    pub(crate) fn touch(&mut self, client: &Arc<Client>) {
        if client.outbound.lock().note() {
            self.touched.push(client.clone());
        }
    }

    /// Delivers a message to all matching subscriptions; false if none took it. A message with very many receivers is
    /// only queued as a fan-out when this returns, and counts as taken.
    pub(crate) fn deliver(
        &mut self,
        broker: &Broker,
        options: &BrokerOptions,
        account: &Account,
        origin: Origin<'_>,
        message: &Message<'_>,
        matched: &Matches<SubRef>,
    ) -> bool {
        if self.is_wide(matched.receivers())
            && !matched.is_empty()
            && let Some(account) = account.shared()
        {
            self.wait(Fanout::new(account, origin, message, Arc::new(matched.clone())));
            return true;
        }
        self.deliver_now(broker, options, account, origin, message, None, matched)
    }

    /// Delivers a message at once to all matching subscriptions; false if none took it. The caller ensures that they
    /// are not too many. `head` is the subject's head, if the caller has it prepared.
    #[expect(clippy::too_many_arguments, reason = "the session lends its parts one by one")]
    #[inline]
    pub(crate) fn deliver_now(
        &mut self,
        broker: &Broker,
        options: &BrokerOptions,
        account: &Account,
        origin: Origin<'_>,
        message: &Message<'_>,
        head: Option<&Head>,
        matched: &Matches<SubRef>,
    ) -> bool {
        if matched.is_empty() {
            return false;
        }
        let share = message.payload.len() >= SHARE_FROM && matched.receivers() > 1;
        let delivery = Delivery { broker, options, account, origin, message, share };
        let taken = match (head, message.tail) {
            (Some(head), Some(tail)) => {
                self.deliver_all(&delivery, &mut Frames::new(head, tail, message), matched)
            }
            _ => self.deliver_composed(&delivery, matched),
        };
        self.serve_asked(&delivery);
        taken
    }

    /// Has each addressed service answer the current message.
    #[inline]
    pub(crate) fn serve_asked(&mut self, delivery: &Delivery<'_>) {
        let Delivery { broker, options, account, origin, message, .. } = *delivery;
        while let Some(service) = self.asked.pop() {
            self.serve(broker, options, account, origin, message, service);
        }
    }

    /// Delivers a message whose head or tail must be composed first.
    fn deliver_composed(&mut self, delivery: &Delivery<'_>, matched: &Matches<SubRef>) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.head.set(delivery.message.subject);
        let tail = delivery.message.tail.unwrap_or_else(|| {
            write_tail(&mut scratch.tail, delivery.message);
            &scratch.tail
        });
        let mut frames = Frames::new(&scratch.head, tail, delivery.message);
        let taken = self.deliver_all(delivery, &mut frames, matched);
        scratch.trim();
        self.scratch = scratch;
        taken
    }

    #[inline]
    fn deliver_all(
        &mut self,
        delivery: &Delivery<'_>,
        frames: &mut Frames<'_>,
        matched: &Matches<SubRef>,
    ) -> bool {
        let mut taken = false;
        for sub in &matched.plain {
            taken |= self.offer(delivery, frames, sub);
        }
        for queue in &matched.queues {
            taken |= self.offer_queue(delivery, frames, &queue.members);
        }
        taken
    }

    /// Offers a message to the members of a queue group until one takes it; false if none does.
    #[inline]
    pub(crate) fn offer_queue(
        &mut self,
        delivery: &Delivery<'_>,
        frames: &mut Frames<'_>,
        members: &[SubRef],
    ) -> bool {
        // Starts at a random member and goes on until a member takes the message.
        let start = self.next_random() as usize % members.len().max(1);
        let (after, first) = members.split_at(start);
        first.iter().chain(after).any(|sub| self.offer(delivery, frames, sub))
    }

    /// Offers a message to one subscription; false if it can't take it.
    #[inline]
    pub(crate) fn offer(&mut self, delivery: &Delivery<'_>, frames: &mut Frames<'_>, sub: &SubRef) -> bool {
        let origin = &delivery.origin;
        let client = match &sub.sink {
            Sink::Client(client) => client,
            Sink::Service(service) => {
                self.asked.push(*service);
                return true;
            }
            Sink::Inlet(inlet, tag) => return self.push(inlet, *tag, delivery, sub),
            Sink::Import(import) => return self.import(delivery, import),
            Sink::Replies(replies) => return self.answer(delivery, replies),
        };
        if !origin.echo && client.cid == origin.client.cid {
            return false;
        }
        if sub.deny.as_ref().is_some_and(|d| d.denies(delivery.message.subject, sub.queue.as_deref())) {
            return false;
        }
        self.append(delivery, frames, sub, client)
    }

    /// Delivers a message through an import: a stream's message into the importing account, a request into the
    /// exporting account. False if no subscription there takes it.
    #[cold]
    fn import(&mut self, delivery: &Delivery<'_>, import: &Import) -> bool {
        let Delivery { account, origin, message, .. } = *delivery;
        let Some(target) = import.to.upgrade().filter(|_| self.depth < DEPTH_MAX) else { return false };
        let to = import.map(origin.to.unwrap_or(message.subject));
        let is_service = import.exchange == Exchange::Service;
        let found = import.interest(&target, &to, is_service);
        if found.is_empty() {
            return false;
        }
        let mut crossed = Message { tail: None, sizes: b"", ..message.clone() };
        let (mut reply, mut content) = (Vec::new(), (Vec::new(), 0));
        if is_service {
            if let Some(asking) = account.shared().filter(|_| !exchange::is_kept(message.reply)) {
                reply = target.replies.expect(&asking, message.reply, import.response, origin.now);
                crossed.reply = &reply;
            }
            // The server's own messages (`cid` 0) have no client to describe.
            if origin.client.cid > 0 {
                let context = delivery.broker.info_context();
                let share = import.share;
                content =
                    exchange::with_info(origin.client, account, share, self.depth > 0, message, &context);
                (crossed.payload, crossed.header_len) = (&content.0, Some(content.1));
            }
        }
        let taken = self.cross(delivery, &target, &to, crossed, &found);
        drop(content);
        if !taken && !reply.is_empty() {
            target.replies.forget(&reply);
        }
        taken
    }

    /// Delivers a reply into the requester's account; false if no subscription there takes it. A reply that no request
    /// awaits counts as taken and is discarded, as by nats-server 2.15.
    #[cold]
    fn answer(&mut self, delivery: &Delivery<'_>, replies: &Replies) -> bool {
        let Delivery { account, origin, message, .. } = *delivery;
        if self.depth >= DEPTH_MAX {
            return false;
        }
        let subject = origin.to.unwrap_or(message.subject);
        let asked = replies.answer(subject, message.payload.is_empty(), origin.now);
        let Some((target, to, response)) = asked else { return true };
        let mut found = Matches::default();
        target.look_up(&to, &mut found);
        let mut crossed = Message { tail: None, sizes: b"", ..message.clone() };
        let mut reply = Vec::new();
        // The reply may have a reply subject of its own.
        if let Some(asking) = account.shared().filter(|_| !exchange::is_kept(message.reply)) {
            reply = target.replies.expect(&asking, message.reply, response, origin.now);
            crossed.reply = &reply;
        }
        let taken = self.cross(delivery, &target, &to, crossed, &found);
        if !taken && !reply.is_empty() {
            target.replies.forget(&reply);
        }
        taken
    }

    /// Delivers a message in another account to the subscriptions on `to`. The message keeps its subject if the origin
    /// already has a separate `to`; otherwise `to` becomes its subject.
    fn cross<'m>(
        &mut self,
        delivery: &Delivery<'_>,
        target: &Account,
        to: &'m [u8],
        mut message: Message<'m>,
        found: &Matches<SubRef>,
    ) -> bool {
        let mut origin = delivery.origin;
        if origin.to.is_some() {
            origin.to = Some(to);
        } else {
            message.subject = to;
        }
        let asked = std::mem::take(&mut self.asked);
        self.depth += 1;
        let taken = self.deliver(delivery.broker, delivery.options, target, origin, &message, found);
        self.depth -= 1;
        self.asked = asked;
        taken
    }

    /// Hands a message to an inlet; false if the subscription is closed or the inlet rejects the message.
    fn push(&mut self, inlet: &Arc<dyn Inlet>, tag: u64, delivery: &Delivery<'_>, sub: &SubRef) -> bool {
        if sub.is_closed() || !inlet.push(tag, delivery.origin.client, delivery.message) {
            return false;
        }
        if !self.inlets.iter().any(|known| Arc::ptr_eq(known, inlet)) {
            self.inlets.push(Arc::clone(inlet));
        }
        true
    }

    /// Appends a message to a receiver's buffer; false if it was refused.
    #[inline]
    fn append(
        &mut self,
        delivery: &Delivery<'_>,
        frames: &mut Frames<'_>,
        sub: &SubRef,
        client: &Arc<Client>,
    ) -> bool {
        let Delivery { options, account, message, .. } = *delivery;
        let mut pending = client.outbound.lock();
        if pending.is_closed() || sub.is_closed() {
            return false;
        }
        let bare = message.header_len.is_some() && !pending.headers;
        let frame = if bare { frames.bare(message) } else { frames.usual() };
        let size = frame.size as u64;
        let len = frame.head.len() + sub.sid.len() + frame.tail.len();
        if pending.bytes() + len > options.max_pending {
            drop(pending);
            // The receiver is not to blame for bytes appended in this batch: flush before judging it a slow consumer.
            client.outbound.flush();
            pending = client.outbound.lock();
            if pending.is_closed() || sub.is_closed() {
                return false;
            }
            if pending.bytes() + len > options.max_pending {
                drop(pending);
                Self::close_slow(options, client);
                return false;
            }
        }
        if options.no_fast_producer_stall && pending.bytes() > options.max_pending / 4 * 3 {
            return false;
        }
        let quota = sub.count();
        if quota == Quota::Exceeded {
            drop(pending);
            end_subscription(options, account, client, sub);
            return false;
        }
        pending.counts.msgs += 1;
        pending.counts.bytes += size;
        self.delivered(1, size);
        if !message.reply.is_empty() {
            note_request(&mut pending, client, message.reply, delivery.origin.now);
        }
        if delivery.share {
            pending.append_frame(frame.head, &sub.sid, &[]);
            pending.append_shared(&frames.shared(bare));
        } else {
            pending.append_frame(frame.head, &sub.sid, frame.tail);
        }
        let first = pending.note();
        drop(pending);
        if first {
            self.touched.push(client.clone());
        }
        if options.trace {
            trace_delivery(options, client, sub, message);
        }
        if quota == Quota::Last {
            end_subscription(options, account, client, sub);
        }
        true
    }

    /// Counts deliveries for the server's totals.
    #[inline]
    pub(crate) fn delivered(&mut self, msgs: u64, bytes: u64) {
        self.delivered_msgs += msgs;
        self.delivered_bytes += bytes;
    }

    /// Closes a connection as a slow consumer; it accepts no more output.
    pub(crate) fn close_slow(options: &BrokerOptions, client: &Client) {
        if client.closing().is_none() {
            info!(
                "{} - Slow Consumer Detected: MaxPending of {} Exceeded",
                client.label(),
                options.max_pending
            );
        }
        client.close(ClosedReason::SlowConsumerPendingBytes);
        client.outbound.close();
    }

    /// Answers a request to a service of the server itself.
    fn serve(
        &mut self,
        broker: &Broker,
        options: &BrokerOptions,
        account: &Account,
        origin: Origin<'_>,
        message: &Message<'_>,
        service: Service,
    ) {
        if message.reply.is_empty() {
            return;
        }
        let body = &message.payload[message.header_len.unwrap_or(0)..];
        let Some(payload) = service.answer(broker, origin.client, body) else { return };
        let mut matched = Matches::default();
        account.look_up(message.reply, &mut matched);
        // A reply never reaches another service: two services could answer each other for ever.
        matched.plain.retain(|sub| !matches!(sub.sink, Sink::Service(_)));
        let reply = Message {
            subject: message.reply,
            reply: b"",
            header_len: None,
            payload: &payload,
            tail: None,
            sizes: b"",
        };
        let origin = Origin { echo: true, to: None, ..origin };
        self.deliver(broker, options, account, origin, &reply, &matched);
    }

    /// Returns whether the batch must be flushed before it grows further.
    pub(crate) fn is_large(&self) -> bool {
        self.is_flushing
            || self.touched.len() >= BATCH_RECEIVERS
            || self.delivered_msgs >= BATCH_DELIVERIES
            || self.delivered_bytes >= BATCH_BYTES
    }

    /// Returns whether the batch is being flushed in slices.
    pub(crate) fn is_flushing(&self) -> bool {
        self.is_flushing
    }

    /// Ends a batch: flushes every receiver once and adds the delivery counts to the server's totals. Very many
    /// receivers take several calls, between which other connections run. False if another call is needed.
    #[inline]
    pub(crate) fn finish(&mut self, broker: &Broker, options: &BrokerOptions, own: &Client) -> bool {
        let flushes = match self.touched.len() {
            few if few <= FLUSHES_MIN => FLUSHES_MIN,
            _ => self.begin_flush(own),
        };
        for _ in 0..flushes {
            let Some(client) = self.touched.pop() else { break };
            client.outbound.flush();
            let (bytes, _) = client.outbound.progress();
            if bytes > options.max_pending / 4 * 3 && !options.no_fast_producer_stall {
                self.stall += if bytes >= options.max_pending { STALL_FULL } else { STALL };
                client.outbound.lock().counts.stalls += 1;
            }
        }
        if !self.touched.is_empty() {
            return false;
        }
        while let Some(inlet) = self.inlets.pop() {
            self.inlet_pause = self.inlet_pause.max(inlet.flush());
        }
        if self.delivered_msgs > 0 {
            broker.totals.out_msgs.fetch_add(std::mem::take(&mut self.delivered_msgs), Relaxed);
            broker.totals.out_bytes.fetch_add(std::mem::take(&mut self.delivered_bytes), Relaxed);
        }
        self.is_flushing = false;
        (self.wide_at, self.full_bytes) = (2 * SLICE, SLICE_BYTES);
        true
    }

    /// Returns the number of receivers to flush in this slice, and begins a flush in slices if the batch has more.
    #[cold]
    fn begin_flush(&mut self, own: &Client) -> usize {
        let receivers = self.touched.len();
        let each = self.delivered_bytes / receivers.max(1) as u64 + 1;
        let flushes = FLUSHES.min((FLUSH_BYTES / each) as usize).max(FLUSHES_MIN);
        if !self.is_flushing && receivers > flushes {
            self.is_flushing = true;
            // The session's own output, such as a PONG, is sent after all receivers have the messages published before
            // it.
            self.touched.retain(|client| client.cid != own.cid);
            // `finish` pops from the end, and receivers are flushed in the order in which they were marked.
            self.touched.reverse();
        }
        flushes
    }

    /// Returns how long the publisher must pause because receivers of its batch lag, and resets the pause. Clients that lag cost a
    /// publisher little, since it has other receivers. An inlet asks for as much as it needs in order to refuse nothing.
    #[inline]
    pub(crate) fn take_stall(&mut self, broker: &Broker) -> Duration {
        let pause = std::mem::take(&mut self.inlet_pause);
        let stall = std::mem::take(&mut self.stall).min(STALL_MAX).max(pause);
        if !stall.is_zero() {
            broker.totals.stalled_clients.fetch_add(1, Relaxed);
        }
        stall
    }

    /// Returns a random number for the choice of queue members. The generator is seeded, so that a simulation repeats.
    pub(crate) fn next_random(&mut self) -> u64 {
        self.random.next_u64() >> 33
    }
}

/// Handles the delivery of a request: allows a reply to it (`allow_responses`), and pings the receiver if its
/// round-trip time is unknown.
fn note_request(pending: &mut Pending, client: &Client, reply: &[u8], now: Instant) {
    if let Some(replies) = &mut pending.replies {
        replies.note(reply, now);
    }
    if pending.wants_rtt_ping && client.rtt_ns.load(Relaxed) == 0 {
        pending.wants_rtt_ping = false;
        pending.append(b"PING\r\n");
    }
}

/// Closes a subscription and removes it from its client and its account.
pub(crate) fn end_subscription(options: &BrokerOptions, account: &Account, client: &Client, sub: &SubRef) {
    if sub.close() {
        trace_end(options, client, sub);
        client.forget(sub);
        account.unsubscribe(sub);
    }
}

/// Traces the end of a subscription.
pub(crate) fn trace_end(options: &BrokerOptions, client: &Client, sub: &Subscription) {
    if options.trace {
        trace!("{} - <-> [DELSUB {}]", client.label(), String::from_utf8_lossy(&sub.sid));
    }
}

fn trace_delivery(options: &BrokerOptions, client: &Client, sub: &SubRef, message: &Message<'_>) {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let label = client.label();
    let reply = if message.reply.is_empty() { String::new() } else { format!(" {}", text(message.reply)) };
    let (op, sizes) = match message.header_len {
        Some(h) => ("HMSG", format!("{h} {}", message.payload.len())),
        None => ("MSG", message.payload.len().to_string()),
    };
    trace!("{label} - ->> [{op} {} {}{reply} {sizes}]", text(message.subject), text(&sub.sid));
    if !message.payload.is_empty() {
        trace!("{label} - ->> MSG_PAYLOAD: [{}]", traced_payload(options, message.payload));
    }
}

/// A payload in a trace line: quoted, and cut at `max_traced_msg_len`.
pub(crate) fn traced_payload(options: &BrokerOptions, payload: &[u8]) -> String {
    match options.max_traced_msg_len {
        max if max > 0 && payload.len() > max => {
            let quoted = stonechat_wire::quote(&payload[..max]);
            format!("{}...\"", quoted.trim_end_matches('"'))
        }
        _ => stonechat_wire::quote(payload),
    }
}
