//! A consumer's turn: delivers pending messages within the consumer's limits.
//!
//! One scan continues from the consumer's cursor; new messages are not looked up one by one.

use std::ops::ControlFlow;

use stonechat_store::disk::Disk;
use stonechat_store::messages::{Message, Messages};

use super::outbox::{Outbox, Outgoing};
use super::{Host, Storage, push_number};
use crate::consumer::{AckPolicy, Change, Consumer, Pin, Position, PriorityPolicy};
use crate::ids::{AccountId, ConsumerId};
use crate::stream::headers;

/// Bytes that a consumer sends before its turn ends.
const TURN: usize = 256 << 10;
/// Messages that a consumer looks at in one turn.
const LOOK_MAX: usize = 16_384;
/// Bytes that a consumer with a rate limit may send at once, unless its stream limits the message size: the default
/// `max_payload`.
pub(super) const BURST: u64 = 1 << 20;
/// Nanoseconds between two messages from which on a replay keeps their distance.
const REPLAY_GAP: i64 = 1_000_000;

/// The reason why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// There is no more to deliver.
    End,
    /// There is more to deliver, but other consumers have their turn first.
    More,
    /// No receiver accepts a message now.
    NoReceiver,
    /// The limit of pending acknowledgements is reached.
    Full,
}

/// An event to be reported after the turn.
pub(super) enum Note {
    Exhausted { sequence: u64, count: u64 },
    Deleted { sequence: u64, consumer: u64, count: u64 },
    Lost { sequence: u64 },
    Pinned,
}

/// The state of a consumer's turn.
pub(super) struct Turn<'e> {
    pub(super) id: ConsumerId,
    pub(super) now: i64,
    pub(super) account: AccountId,
    pub(super) account_name: &'e str,
    pub(super) stream_name: &'e str,
    /// Whether messages may leave only when the log is durable.
    pub(super) waits: bool,
    pub(super) outbox: &'e mut Outbox,
    pub(super) host: &'e mut dyn Host,
    pub(super) notes: Vec<Note>,
    /// Messages delivered without acknowledgement that the stream need not keep for this consumer.
    pub(super) done: Vec<u64>,
    pub(super) keeps_done: bool,
    /// Bytes that a consumer with a rate limit may send at once.
    pub(super) burst: u64,
    /// Whether a message was delivered that needs no acknowledgement.
    pub(super) has_passed: bool,
    pub(super) sent: usize,
    /// The number of messages looked at.
    pub(super) looked: usize,
    pub(super) ack: Vec<u8>,
    pub(super) to: Vec<u8>,
    pub(super) headers: Vec<u8>,
}

impl Turn<'_> {
    fn status(&mut self, to: &[u8], line: &str, pending: Option<(i64, i64)>) {
        send_status(self.outbox, self.account, self.waits, to, line, pending);
    }

    /// Whether a receiver may accept a message now.
    pub(super) fn has_receiver(&self, c: &Consumer) -> bool {
        if c.is_paused(self.now) || c.resume_at > self.now {
            return false;
        }
        if c.config().is_push() { c.is_active && !c.is_stalled() } else { !c.requests.is_empty() }
    }

    /// Writes the subject on which a message is acknowledged.
    fn compose_ack(&mut self, c: &Consumer, message: &Message<'_>, count: u64, pending: u64) {
        self.ack.clear();
        self.ack.extend_from_slice(b"$JS.ACK.");
        self.ack.extend_from_slice(self.stream_name.as_bytes());
        self.ack.push(b'.');
        self.ack.extend_from_slice(c.name.as_bytes());
        for number in [count, message.sequence, c.next_delivery(), message.time as u64, pending] {
            self.ack.push(b'.');
            push_number(&mut self.ack, number);
        }
    }

    /// Sends a message to the consumer's receiver. Returns false if no receiver accepts it now.
    fn deliver(&mut self, c: &mut Consumer, message: &Message<'_>, count: u64) -> bool {
        let fresh = u64::from(count == 1);
        let pending = c.waiting_messages.unwrap_or(0).saturating_sub(fresh);
        self.compose_ack(c, message, count, pending);
        let config = c.config();
        let (mut block, mut payload) = (message.headers, message.payload);
        self.headers.clear();
        if config.headers_only {
            self.headers.extend_from_slice(block);
            headers::push(&mut self.headers, "Nats-Msg-Size", payload.len().to_string().as_bytes());
            payload = b"";
        }
        let is_pinned = config.priority_policy == PriorityPolicy::PinnedClient;
        let head_len = if self.headers.is_empty() { block.len() } else { self.headers.len() };
        let size = message.subject.len() + self.ack.len() + head_len + payload.len();
        let mut rest = (0, 0);
        self.to.clear();
        if config.is_push() {
            self.to.extend_from_slice(config.deliver_subject.as_bytes());
        } else {
            if !self.find_request(c, size, pending) {
                return false;
            }
            if let Some(request) = c.requests.front() {
                self.to.extend_from_slice(&request.reply);
                rest = (request.left.saturating_sub(1), request.bytes);
            }
            let prioritized = c.is_prioritized();
            c.requests.served(self.now, prioritized);
        }
        if is_pinned {
            if self.headers.is_empty() {
                self.headers.extend_from_slice(block);
            }
            let id = c.pin.as_ref().map_or("", |pin| &pin.id);
            headers::push(&mut self.headers, "Nats-Pin-Id", id.as_bytes());
        }
        if !self.headers.is_empty() {
            block = &self.headers;
        }
        let out = Outgoing {
            account: self.account,
            to: &self.to,
            subject: message.subject,
            reply: &self.ack,
            headers: block,
            payload,
            delivery: Some((self.id, message.sequence)),
        };
        self.outbox.push(self.waits, &out);
        let len = self.to.len() + self.ack.len() + block.len() + payload.len();
        self.sent += size;
        self.note_delivery(c, message.sequence, count);
        if fresh == 1 {
            c.waiting_messages = Some(pending);
        }
        self.control_flow(c, len as u64);
        if rest.0 <= 0 && rest.1 > 0 {
            let to = std::mem::take(&mut self.to);
            self.status(&to, "409 Batch Completed", Some(rest));
            self.to = to;
        }
        true
    }

    fn note_delivery(&mut self, c: &mut Consumer, sequence: u64, count: u64) {
        let now = self.now;
        let consumer = c.next_delivery();
        if c.config().ack_policy == AckPolicy::None {
            c.change(&Change::Passed(Position { consumer, stream: sequence }));
            self.has_passed = true;
            if self.keeps_done {
                self.done.push(sequence);
            }
        } else {
            let due = if c.is_timed() { now.saturating_add(c.ack_wait(count)) } else { i64::MAX };
            c.change(&Change::Delivered { stream: sequence, consumer, since: now, due, count });
            c.ack_due = c.ack_due.min(due);
        }
        (c.last_delivery, c.last_sent, c.last_use) = (now, now, now);
    }

    /// Counts the bytes in flight, and requests flow control when half of the window is used.
    fn control_flow(&mut self, c: &mut Consumer, len: u64) {
        let is_full = c.config().ack_policy == AckPolicy::FlowControl && c.is_full();
        let Some(flow) = &mut c.flow else { return };
        flow.bytes += len;
        if !flow.reply.is_empty() {
            if flow.bytes.saturating_sub(flow.asked) >= flow.window {
                flow.asked += len;
            }
        } else if flow.bytes > flow.window / 2 || is_full {
            self.ask_flow(c);
        }
    }

    fn ask_flow(&mut self, c: &mut Consumer) {
        let id = self.host.unique_id();
        let reply =
            format!("$JS.FC.{}.{}.{}", self.stream_name, c.name, id.get(..4).unwrap_or(&id)).into_bytes();
        let out = Outgoing {
            account: self.account,
            subject: c.config().deliver_subject.as_bytes(),
            reply: &reply,
            headers: b"NATS/1.0 100 FlowControl Request\r\n\r\n",
            ..Outgoing::default()
        };
        self.outbox.push(self.waits, &out);
        if let Some(flow) = &mut c.flow {
            (flow.asked, flow.reply) = (flow.bytes, reply);
        }
    }

    /// Moves a request to the front that accepts a message of `size` bytes. Returns false if there is none.
    fn find_request(&mut self, c: &mut Consumer, size: usize, pending: u64) -> bool {
        let policy = c.config().priority_policy;
        let needs_pin =
            policy == PriorityPolicy::PinnedClient && c.pin.as_ref().is_none_or(|pin| pin.id.is_empty());
        let acks_pending = c.state().pending.len() as i64;
        let mut rotated = 0;
        loop {
            let waiting = c.requests.len();
            let Some(request) = c.requests.front() else { return false };
            let left = (request.left, request.bytes);
            if request.expires > 0 && request.expires <= self.now {
                let Some(request) = c.requests.pop() else { return false };
                self.status(&request.reply, "408 Request Timeout", Some(left));
                continue;
            }
            let mut assigned = false;
            let id = request.group.as_ref().map_or("", |group| group.id.as_str());
            let current = c.pin.as_ref().map_or("", |pin| pin.id.as_str());
            let is_wrong = if needs_pin && current.is_empty() {
                !id.is_empty()
            } else {
                !current.is_empty() && !id.is_empty() && id != current
            };
            if is_wrong {
                let Some(request) = c.requests.pop() else { return false };
                self.status(&request.reply, "423 Nats-Wrong-Pin-Id", Some(left));
                continue;
            }
            if needs_pin && current.is_empty() {
                assigned = self.assign_pin(c);
            } else if !current.is_empty() && id.is_empty() {
                c.requests.rotate();
                rotated += 1;
                if rotated >= waiting {
                    return false;
                }
                continue;
            }
            let Some(request) = c.requests.front() else { return false };
            if policy == PriorityPolicy::Overflow
                && let Some(group) = &request.group
                && (group.min_pending > 0 || group.min_ack_pending > 0)
            {
                let enough = group.min_pending > 0 && group.min_pending <= pending as i64 + 1;
                let behind = group.min_ack_pending > 0 && group.min_ack_pending <= acks_pending;
                if !enough && !behind {
                    c.requests.rotate();
                    rotated += 1;
                    if rotated >= waiting {
                        return false;
                    }
                    continue;
                }
            }
            if request.bytes > 0 && size as i64 > request.bytes {
                let Some(request) = c.requests.pop() else { return false };
                self.status(&request.reply, "409 Message Size Exceeds MaxBytes", Some(left));
                if assigned && let Some(pin) = &mut c.pin {
                    pin.id.clear();
                }
                continue;
            }
            if request.seen != c.runs {
                if !self.host.has_interest(self.account_name, &request.reply) {
                    c.requests.pop();
                    continue;
                }
                let runs = c.runs;
                if let Some(request) = c.requests.front() {
                    request.seen = runs;
                }
            }
            if let Some(request) = c.requests.front().filter(|request| request.bytes > 0) {
                request.bytes -= size as i64;
                // No bytes are left, so this message is the last one of the request.
                if request.bytes == 0 {
                    request.left = 1;
                }
            }
            return true;
        }
    }

    fn assign_pin(&mut self, c: &mut Consumer) -> bool {
        let timeout = c.config().priority_timeout;
        let Some(group) = c.requests.front().and_then(|request| request.group.as_mut()) else { return false };
        if group.group.is_empty() {
            return false;
        }
        let id = self.host.unique_id();
        group.id.clone_from(&id);
        let pin =
            Pin { id, since: self.now, until: self.now.saturating_add(timeout), group: group.group.clone() };
        c.pin = Some(Box::new(pin));
        self.notes.push(Note::Pinned);
        true
    }

    /// Delivers the messages that are queued for redelivery.
    pub(super) fn redeliver<D: Disk>(&mut self, c: &mut Consumer, messages: &Storage<D>) -> Option<Stop> {
        let mut buffer = Vec::new();
        while c.queued_len() > 0 {
            if !self.has_receiver(c) {
                return Some(Stop::NoReceiver);
            }
            if self.sent > TURN {
                return Some(Stop::More);
            }
            let sequence = c.next_queued()?;
            let Some(pending) = c.state().pending.get(&sequence).copied() else { continue };
            if c.max_deliver() > 0 && pending.count >= c.max_deliver() {
                c.change(&Change::Exhausted(sequence));
                self.notes.push(Note::Exhausted { sequence, count: pending.count });
                continue;
            }
            match messages.read(sequence, &mut buffer) {
                Ok(Some(message)) => {
                    if !self.deliver(c, &message, pending.count + 1) {
                        c.queue_first(sequence);
                        return Some(Stop::NoReceiver);
                    }
                }
                Ok(None) => {
                    c.change(&Change::Acked(sequence));
                    let (consumer, count) = (pending.consumer, pending.count);
                    self.notes.push(Note::Deleted { sequence, consumer, count });
                }
                Err(_) => {
                    c.change(&Change::Acked(sequence));
                    self.notes.push(Note::Lost { sequence });
                }
            }
        }
        None
    }

    /// Delivers the last messages of subjects, with which a consumer of deliver policy `last_per_subject` begins.
    pub(super) fn deliver_firsts<D: Disk>(
        &mut self,
        c: &mut Consumer,
        messages: &Storage<D>,
    ) -> Option<Stop> {
        let mut buffer = Vec::new();
        while let Some(sequence) = c.firsts.min() {
            // Many of the messages may have been removed.
            if self.looked >= LOOK_MAX {
                return Some(Stop::More);
            }
            self.looked += 1;
            if !self.has_receiver(c) {
                return Some(Stop::NoReceiver);
            }
            if c.is_full() {
                return Some(Stop::Full);
            }
            if self.sent > TURN {
                return Some(Stop::More);
            }
            match messages.read(sequence, &mut buffer) {
                Ok(Some(message)) => {
                    if self.has_to_wait(c, &message) || !self.deliver(c, &message, 1) {
                        return Some(Stop::NoReceiver);
                    }
                }
                Ok(None) => {}
                Err(_) => {
                    self.notes.push(Note::Lost { sequence });
                    c.waiting_messages = c.waiting_messages.map(|n| n.saturating_sub(1));
                }
            }
            c.firsts.remove(sequence);
            c.cursor = sequence + 1;
            if c.firsts.is_empty() {
                c.cursor = c.cursor.max(c.firsts_end + 1);
            }
        }
        None
    }

    /// Whether a rate limit or a replay puts a message off.
    fn has_to_wait(&mut self, c: &mut Consumer, message: &Message<'_>) -> bool {
        if c.replay_end >= message.sequence && c.is_replay() {
            if c.replayed > 0 {
                let gap = message.time.saturating_sub(c.replayed);
                let due = c.last_delivery.saturating_add(gap);
                if gap > REPLAY_GAP && due > self.now {
                    c.resume_at = due;
                    return true;
                }
            }
            c.replayed = message.time;
        }
        let rate = c.config().rate_limit_bps;
        if rate > 0 {
            let time_of = |bytes: u64| {
                i64::try_from(u128::from(bytes) * 8_000_000_000 / u128::from(rate)).unwrap_or(i64::MAX)
            };
            let len = message.subject.len() + message.headers.len() + message.payload.len();
            // A token bucket that holds the largest message, and is full at first (as nats-server 2.15).
            let (cost, burst) = (time_of(len as u64), time_of(self.burst));
            let begun = c.paid_until.max(self.now.saturating_sub(burst));
            let paid = begun.saturating_add(cost);
            if paid > self.now && begun > self.now.saturating_sub(burst) {
                c.resume_at = paid;
                return true;
            }
            c.paid_until = paid;
        }
        false
    }

    /// Delivers new messages from the cursor on.
    pub(super) fn deliver_new<D: Disk>(&mut self, c: &mut Consumer, messages: &Storage<D>) -> Stop {
        let end = messages.last_sequence() + 1;
        if c.waiting_messages == Some(0) || c.cursor >= end || skip_ahead(c, messages) {
            c.cursor = c.cursor.max(end);
            return Stop::End;
        }
        let mut stop = Stop::End;
        let mut looked = 0;
        messages.scan(c.cursor, &mut |sequence, message| {
            let Some(message) = message else {
                self.notes.push(Note::Lost { sequence });
                c.waiting_messages = c.waiting_messages.map(|n| n.saturating_sub(1));
                c.cursor = sequence + 1;
                return ControlFlow::Continue(());
            };
            looked += 1;
            self.looked += 1;
            if c.wants(message.subject) {
                if !self.has_receiver(c) {
                    stop = Stop::NoReceiver;
                } else if c.is_full() {
                    stop = Stop::Full;
                } else if self.sent > TURN {
                    stop = Stop::More;
                } else if self.has_to_wait(c, &message) || !self.deliver(c, &message, 1) {
                    stop = Stop::NoReceiver;
                }
                if stop != Stop::End {
                    return ControlFlow::Break(());
                }
            }
            c.cursor = sequence + 1;
            if looked >= LOOK_MAX {
                stop = Stop::More;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if stop == Stop::End {
            c.cursor = c.cursor.max(end);
        }
        stop
    }
}

/// Moves the cursor of a consumer of one subject to its first message. Returns true if there is none left.
fn skip_ahead<D: Disk>(c: &mut Consumer, messages: &Storage<D>) -> bool {
    if c.filters().len() != 1 {
        return false;
    }
    let [filter] = c.config().filters()[..] else { return false };
    if stonechat_subject::has_wildcard(filter.as_bytes()) {
        return false;
    }
    let Some(known) = messages.subject(filter.as_bytes()) else { return true };
    let first = known.first;
    let is_behind = known.last < c.cursor;
    c.cursor = c.cursor.max(first);
    is_behind
}

/// Sends a client the status of its pull request. While the disk stands still and the outbox is clogged, the status is left out,
/// and the client's own timeout ends the request.
pub(super) fn send_status(
    outbox: &mut Outbox,
    account: AccountId,
    waits: bool,
    to: &[u8],
    line: &str,
    pending: Option<(i64, i64)>,
) {
    if waits && outbox.is_clogged() {
        return;
    }
    let block = match pending {
        Some((messages, bytes)) => {
            format!(
                "NATS/1.0 {line}\r\nNats-Pending-Messages: {messages}\r\nNats-Pending-Bytes: {bytes}\r\n\r\n"
            )
        }
        None => format!("NATS/1.0 {line}\r\n\r\n"),
    };
    outbox.push(waits, &Outgoing { account, subject: to, headers: block.as_bytes(), ..Outgoing::default() });
}

pub(super) fn send_heartbeat(
    outbox: &mut Outbox,
    account: AccountId,
    waits: bool,
    to: &[u8],
    reached: Position,
    stalled: &[u8],
) {
    if waits && outbox.is_clogged() {
        return;
    }
    let mut block = format!(
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: {}\r\nNats-Last-Stream: {}\r\n",
        reached.consumer, reached.stream
    )
    .into_bytes();
    if !stalled.is_empty() {
        block.extend_from_slice(b"Nats-Consumer-Stalled: ");
        block.extend_from_slice(stalled);
        block.extend_from_slice(b"\r\n");
    }
    block.extend_from_slice(b"\r\n");
    outbox.push(waits, &Outgoing { account, subject: to, headers: &block, ..Outgoing::default() });
}
