//! From a message to its receivers: the one way out for every kind of session.
//!
//! A session owns a router, whose scratch memory is reused from message to message. Messages are appended to the
//! receivers' buffers at once; the receivers are flushed together at the end of the session's read batch.

use crate::account::Account;
use crate::broker::Broker;
use crate::client::Client;
use crate::closed::ClosedReason;
use crate::options::BrokerOptions;
use crate::outbound::Pending;
use crate::service::Service;
use crate::subscription::{Quota, Sink, SubRef};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use stonechat_subject::Matches;
use stonechat_wire::{Publish, push_number};
use tracing::{info, trace};

/// From this size on a message for several receivers is shared rather than copied to each.
const SHARE_FROM: usize = 4096;
/// How long a publisher pauses for a receiver above 75% of its limit, above it, and at most in one batch.
const STALL: Duration = Duration::from_millis(2);
const STALL_FULL: Duration = Duration::from_millis(5);
const STALL_MAX: Duration = Duration::from_millis(10);

/// A message on its way.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// What it is delivered on.
    pub subject: &'a [u8],
    /// Where replies go; empty if nowhere.
    pub reply: &'a [u8],
    /// Bytes of the payload that are headers; `None` without.
    pub header_len: Option<usize>,
    /// Headers and body.
    pub payload: &'a [u8],
    /// See [`Publish::tail`].
    pub tail: Option<&'a [u8]>,
    /// See [`Publish::sizes`]; empty for messages of the server's own.
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

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) client: &'a Arc<Client>,
    pub(crate) echo: bool,
    pub(crate) now: Instant,
}

/// The scratch memory and the open ends of a session's batch.
#[derive(Debug)]
pub struct Router {
    touched: Vec<Arc<Client>>,
    /// The frames of the current message: its head up to the sid, and what follows the sid.
    head: Vec<u8>,
    tail: Vec<u8>,
    /// The tail for receivers that know no headers.
    bare_tail: Vec<u8>,
    random: u64,
    delivered_msgs: u64,
    delivered_bytes: u64,
}

/// What became of one delivery.
enum Outcome {
    Delivered,
    Refused,
}

/// One message in the form in which receivers get it.
struct Frame<'f> {
    head: &'f [u8],
    tail: &'f [u8],
    size: usize,
}

impl Router {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            touched: Vec::new(),
            head: Vec::new(),
            tail: Vec::new(),
            bare_tail: Vec::new(),
            random: seed | 1,
            delivered_msgs: 0,
            delivered_bytes: 0,
        }
    }

    /// Notes a connection that something was appended to, so that it is flushed with the batch.
    pub(crate) fn touch(&mut self, client: &Arc<Client>) {
        if client.outbound.lock().note() {
            self.touched.push(client.clone());
        }
    }

    /// Delivers a message to all that it matches; false if nobody took it.
    pub(crate) fn deliver(
        &mut self,
        broker: &Broker,
        options: &BrokerOptions,
        account: &Account,
        origin: Origin<'_>,
        message: &Message<'_>,
        matched: &Matches<SubRef>,
    ) -> bool {
        if matched.is_empty() {
            return false;
        }
        let mut frames = Frames::new(self, message, matched.plain.len() + matched.queues.len() > 1);
        let mut services = Vec::new();
        let mut taken = false;
        for sub in &matched.plain {
            taken |= self.offer(options, account, origin, message, &mut frames, sub, &mut services);
        }
        for queue in &matched.queues {
            let members = &queue.members;
            let start = self.next_random() as usize % members.len().max(1);
            let (after, first) = members.split_at(start);
            // From a random member on; the next one, if one can't take it.
            taken |= first
                .iter()
                .chain(after)
                .any(|sub| self.offer(options, account, origin, message, &mut frames, sub, &mut services));
        }
        frames.give_back(self);
        for service in services {
            self.serve(broker, options, account, origin, message, service);
        }
        taken
    }

    /// Offers a message to one subscription; false if it can't take it.
    #[expect(
        clippy::too_many_arguments,
        reason = "the hot path passes borrowed parts, not a struct built per message"
    )]
    #[inline]
    fn offer<'m>(
        &mut self,
        options: &BrokerOptions,
        account: &Account,
        origin: Origin<'_>,
        message: &Message<'m>,
        frames: &mut Frames<'m>,
        sub: &SubRef,
        services: &mut Vec<Service>,
    ) -> bool {
        let client = match &sub.sink {
            Sink::Client(client) => client,
            Sink::Service(service) => {
                services.push(*service);
                return true;
            }
        };
        if !origin.echo && client.cid == origin.client.cid {
            return false;
        }
        if sub.deny.as_ref().is_some_and(|d| d.denies(message.subject, sub.queue.as_deref())) {
            return false;
        }
        matches!(self.append(options, account, origin, message, frames, sub, client), Outcome::Delivered)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the hot path passes borrowed parts, not a struct built per message"
    )]
    #[inline]
    fn append<'m>(
        &mut self,
        options: &BrokerOptions,
        account: &Account,
        origin: Origin<'_>,
        message: &Message<'m>,
        frames: &mut Frames<'m>,
        sub: &SubRef,
        client: &Arc<Client>,
    ) -> Outcome {
        let mut pending = client.outbound.lock();
        if pending.is_closed() || sub.is_closed() {
            return Outcome::Refused;
        }
        let share = frames.share;
        let frame = frames.frame(message, pending.headers);
        let len = frame.head.len() + sub.sid.len() + frame.tail.len();
        if pending.bytes() + len > options.max_pending {
            drop(pending);
            // What was appended in this very batch is not the receiver's fault: write first, then judge.
            client.outbound.flush();
            pending = client.outbound.lock();
            if pending.bytes() + len > options.max_pending {
                drop(pending);
                Self::close_slow(options, client);
                return Outcome::Refused;
            }
        }
        if options.no_fast_producer_stall && pending.bytes() > options.max_pending / 4 * 3 {
            return Outcome::Refused;
        }
        let quota = sub.count();
        if quota == Quota::Exceeded {
            drop(pending);
            end_subscription(account, client, sub);
            return Outcome::Refused;
        }
        pending.counts.msgs += 1;
        pending.counts.bytes += frame.size as u64;
        self.delivered_msgs += 1;
        self.delivered_bytes += frame.size as u64;
        if !message.reply.is_empty() {
            note_request(&mut pending, client, message.reply, origin.now);
        }
        if share && frame.tail.len() >= SHARE_FROM {
            pending.append(&[frame.head, &sub.sid]);
            let shared = frames.shared(pending.headers);
            pending.append_shared(&shared);
        } else {
            pending.append(&[frame.head, &sub.sid, frame.tail]);
        }
        let first = pending.note();
        drop(pending);
        if first {
            self.touched.push(client.clone());
        }
        if quota == Quota::Last {
            end_subscription(account, client, sub);
        }
        if options.trace {
            trace_delivery(options, client, sub, message);
        }
        Outcome::Delivered
    }

    fn close_slow(options: &BrokerOptions, client: &Client) {
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
        // A service can't be asked through the reply subject of another: that would never end.
        matched.plain.retain(|sub| matches!(sub.sink, Sink::Client(_)));
        let reply = Message {
            subject: message.reply,
            reply: b"",
            header_len: None,
            payload: &payload,
            tail: None,
            sizes: b"",
        };
        let origin = Origin { echo: true, ..origin };
        self.deliver(broker, options, account, origin, &reply, &matched);
    }

    /// Ends a batch: flushes every receiver once and adds up the figures. Returns how long the publisher is to pause
    /// because receivers lag.
    pub(crate) fn finish(&mut self, broker: &Broker, options: &BrokerOptions) -> Duration {
        let mut stall = Duration::ZERO;
        while let Some(client) = self.touched.pop() {
            client.outbound.flush();
            let (bytes, _) = client.outbound.progress();
            if bytes > options.max_pending / 4 * 3 && !options.no_fast_producer_stall {
                stall += if bytes >= options.max_pending { STALL_FULL } else { STALL };
                client.outbound.lock().counts.stalls += 1;
            }
        }
        if self.delivered_msgs > 0 {
            broker.totals.out_msgs.fetch_add(std::mem::take(&mut self.delivered_msgs), Relaxed);
            broker.totals.out_bytes.fetch_add(std::mem::take(&mut self.delivered_bytes), Relaxed);
        }
        if !stall.is_zero() {
            broker.totals.stalled_clients.fetch_add(1, Relaxed);
        }
        stall.min(STALL_MAX)
    }

    /// xorshift64*: fair enough to choose a queue member, and seeded, so that a simulation repeats.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }
}

/// The receiver was sent a request: it may answer where only that allows it, and its round trip is of interest.
fn note_request(pending: &mut Pending, client: &Client, reply: &[u8], now: Instant) {
    if let Some(replies) = &mut pending.replies {
        replies.note(reply, now);
    }
    if pending.wants_rtt_ping && client.rtt_ns.load(Relaxed) == 0 {
        pending.wants_rtt_ping = false;
        pending.append(&[b"PING\r\n"]);
    }
}

/// Removes a subscription that has had its last message.
pub(crate) fn end_subscription(account: &Account, client: &Client, sub: &SubRef) {
    if sub.close() {
        client.subs.lock().remove(&sub.sid);
        account.unsubscribe(sub);
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

/// The forms of one message, made when the first receiver needs them.
struct Frames<'m> {
    head: Vec<u8>,
    /// `None` while the publisher's own bytes serve.
    tail: Vec<u8>,
    own_tail: Option<&'m [u8]>,
    bare_tail: Vec<u8>,
    share: bool,
    shared: [Option<Bytes>; 2],
}

impl<'m> Frames<'m> {
    #[inline]
    fn new(router: &mut Router, message: &Message<'m>, several: bool) -> Self {
        let mut head = std::mem::take(&mut router.head);
        head.clear();
        head.extend_from_slice(if message.header_len.is_some() { b"HMSG " } else { b"MSG " });
        head.extend_from_slice(message.subject);
        head.push(b' ');
        let mut tail = std::mem::take(&mut router.tail);
        tail.clear();
        let own_tail = message.tail;
        if own_tail.is_none() {
            let own_sizes;
            let sizes = if message.sizes.is_empty() {
                let mut text = Vec::new();
                if let Some(header_len) = message.header_len {
                    push_number(&mut text, header_len);
                    text.push(b' ');
                }
                push_number(&mut text, message.payload.len());
                own_sizes = text;
                &own_sizes[..]
            } else {
                message.sizes
            };
            write_tail(&mut tail, message.reply, sizes, message.payload);
        }
        let mut bare_tail = std::mem::take(&mut router.bare_tail);
        bare_tail.clear();
        Self { head, tail, own_tail, bare_tail, share: several, shared: [None, None] }
    }

    /// The message for a receiver that does, or does not, take headers.
    #[inline]
    fn frame(&mut self, message: &Message<'m>, headers: bool) -> Frame<'_> {
        match message.header_len {
            Some(header_len) if !headers => {
                let body = &message.payload[header_len..];
                if self.bare_tail.is_empty() {
                    let mut size = Vec::new();
                    push_number(&mut size, body.len());
                    write_tail(&mut self.bare_tail, message.reply, &size, body);
                }
                // "HMSG " without its H.
                Frame { head: &self.head[1..], tail: &self.bare_tail, size: body.len() }
            }
            _ => Frame {
                head: &self.head,
                tail: self.own_tail.unwrap_or(&self.tail),
                size: message.payload.len(),
            },
        }
    }

    /// The tail in memory that all receivers of its form share.
    fn shared(&mut self, headers: bool) -> Bytes {
        let bare = !headers && !self.bare_tail.is_empty();
        let tail = if bare { &self.bare_tail } else { self.own_tail.unwrap_or(&self.tail) };
        self.shared[usize::from(bare)].get_or_insert_with(|| Bytes::copy_from_slice(tail)).clone()
    }

    fn give_back(self, router: &mut Router) {
        router.head = self.head;
        router.tail = self.tail;
        router.bare_tail = self.bare_tail;
    }
}

fn write_tail(out: &mut Vec<u8>, reply: &[u8], sizes: &[u8], payload: &[u8]) {
    out.reserve(reply.len() + sizes.len() + payload.len() + 6);
    out.push(b' ');
    if !reply.is_empty() {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    // Whatever separates the sizes becomes one space.
    let mut parts = sizes.split(|b| matches!(b, b' ' | b'\t' | b'\r')).filter(|p| !p.is_empty());
    if let Some(first) = parts.next() {
        out.extend_from_slice(first);
    }
    for part in parts {
        out.push(b' ');
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}
