//! Delivering: a consumer has its turn, and sends what there is to whom it may.

use std::ops::ControlFlow;

use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Message, Messages, Progress};

use super::outbox::{Outbox, Outgoing};
use super::{Engine, Host, Storage, push_number};
use crate::consumer::{AckPolicy, Change, Consumer, FLOW_CONTROL_MAX, Pin, Position, PriorityPolicy};
use crate::stream::{Entry, Retention, headers};

/// Bytes that a consumer sends in one turn.
const TURN: usize = 256 << 10;
/// Bytes that may wait to leave before no more consumers have their turn.
const OUTBOX_MAX: usize = 4 << 20;
/// Messages that a consumer looks at in one turn.
const LOOK_MAX: usize = 16_384;
/// Bytes that a consumer with a rate limit may send at once, unless its stream has a limit for messages: the usual max_payload.
const BURST: u64 = 1 << 20;
/// From this distance on, a message's time in a replay is kept.
const REPLAY_GAP: i64 = 1_000_000;

/// Why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// There is no more to deliver.
    End,
    /// There is more, but others want their turn.
    More,
    /// Nobody takes more now.
    NoReceiver,
    /// Too much waits for acknowledgement.
    Full,
}

/// Something to be told when the turn is over.
enum Note {
    Exhausted { sequence: u64, count: u64 },
    Deleted { sequence: u64, consumer: u64, count: u64 },
    Lost { sequence: u64 },
    Pinned,
}

/// Messages that were sent and need no acknowledgement.
#[derive(Debug)]
pub(super) struct Passed {
    id: u32,
    position: Position,
    /// Those that the stream need not keep for this consumer.
    done: Vec<u64>,
    /// They leave when the log is durable up to here.
    after: u64,
}

/// A consumer's turn.
struct Turn<'e> {
    id: u32,
    now: i64,
    account: u32,
    account_name: &'e str,
    stream_name: &'e str,
    /// Messages may leave only when the log is durable.
    waits: bool,
    outbox: &'e mut Outbox,
    host: &'e mut dyn Host,
    notes: Vec<Note>,
    /// Messages that nobody acknowledges and that are done.
    done: Vec<u64>,
    keeps_done: bool,
    /// Bytes that a limited consumer may send at once.
    burst: u64,
    /// Something was delivered that nobody acknowledges.
    has_passed: bool,
    sent: usize,
    ack: Vec<u8>,
    to: Vec<u8>,
    headers: Vec<u8>,
}

impl Turn<'_> {
    fn status(&mut self, to: &[u8], line: &str, pending: Option<(i64, i64)>) {
        send_status(self.outbox, self.account, self.waits, to, line, pending);
    }

    /// Whether somebody might take a message now.
    fn has_receiver(&self, c: &Consumer) -> bool {
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

    /// Sends a message to whom it may go; false if to nobody now.
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

    /// Counts bytes under way, and asks the receiver to say when it has them.
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

    /// Brings a request to the front that takes a message of `size` bytes; false if there is none.
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
                // Nothing is left: this is the last one.
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

    /// Delivers what is to be delivered again.
    fn redeliver<D: Disk>(&mut self, c: &mut Consumer, messages: &Storage<D>) -> Option<Stop> {
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

    /// Delivers the last messages of subjects.
    fn deliver_firsts<D: Disk>(&mut self, c: &mut Consumer, messages: &Storage<D>) -> Option<Stop> {
        let mut buffer = Vec::new();
        while let Some(sequence) = c.firsts.front().copied() {
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
            c.firsts.pop_front();
            c.cursor = sequence + 1;
            if c.firsts.is_empty() {
                c.firsts = std::collections::VecDeque::new();
                c.cursor = c.cursor.max(c.firsts_end + 1);
            }
        }
        None
    }

    /// Whether a message is not to be delivered yet: a rate limit, or a replay.
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
            // A bucket that holds the largest message, and is full at first (as nats-server 2.15).
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

    /// Delivers what was not delivered before.
    fn deliver_new<D: Disk>(&mut self, c: &mut Consumer, messages: &Storage<D>) -> Stop {
        let end = messages.state_last() + 1;
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

/// Moves the cursor to where the first message on the only subject may be; true if there is none.
fn skip_ahead<D: Disk>(c: &mut Consumer, messages: &Storage<D>) -> bool {
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

/// How many messages wait for a consumer.
pub(super) fn count_waiting<M: Messages>(c: &Consumer, messages: &M) -> u64 {
    let from = if c.firsts.is_empty() { c.cursor } else { c.cursor.max(c.firsts_end + 1) };
    let firsts = c.firsts.len() as u64;
    let state = messages.state();
    if from > state.last_sequence {
        return firsts;
    }
    if c.filters().is_empty() {
        return firsts + messages.count_from(from);
    }
    let config = c.config();
    let one = |(filter, text): (&Filter, &str)| -> u64 {
        if from <= state.first_sequence {
            return messages.count_matching(filter);
        }
        let last = match stonechat_subject::has_wildcard(text.as_bytes()) {
            true => messages.last_matching(filter),
            false => messages.subject(text.as_bytes()).map_or(0, |known| known.last),
        };
        let (mut count, mut at) = (0, from);
        while at <= last {
            match messages.next_matching(Some(filter), at, usize::MAX) {
                Progress::Done(Some(found)) => (count, at) = (count + 1, found + 1),
                Progress::More(next) => at = next,
                Progress::Done(None) => break,
            }
        }
        count
    };
    firsts + c.filters().iter().zip(config.filters()).map(one).sum::<u64>()
}

pub(super) fn send_status(
    outbox: &mut Outbox,
    account: u32,
    waits: bool,
    to: &[u8],
    line: &str,
    pending: Option<(i64, i64)>,
) {
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

impl<D: Disk> Engine<D> {
    /// Lets a consumer have a turn soon.
    pub(crate) fn wake(&mut self, id: u32) {
        if let Some(c) = self.consumers.get_mut(&id)
            && !std::mem::replace(&mut c.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Lets consumers that have something to do have a turn each.
    pub(super) fn deliver(&mut self) {
        for _ in 0..self.ready.len() {
            if self.outbox.len() > OUTBOX_MAX {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            self.turn(id);
        }
    }

    /// Whether what consumers are sent must wait: a message in it, or before it, is not durable.
    pub(crate) fn must_wait(&self) -> bool {
        self.options.durability == super::Durability::Synced
            && (self.is_staged || self.outbox.is_open() || self.log.durable() < self.barrier)
    }

    fn turn(&mut self, id: u32) {
        let Some(mut c) = self.consumers.remove(&id) else { return };
        c.is_ready = false;
        c.runs += 1;
        let waits = self.must_wait();
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let retention = stream.core.config().retention;
        let messages = stream.core.messages();
        if c.waiting_messages.is_none() {
            c.waiting_messages = Some(count_waiting(&c, messages));
        }
        let account = stream.account;
        let mut turn = Turn {
            id,
            now: self.now,
            account,
            account_name: self.accounts.get(account as usize).map_or("", |account| &account.name),
            stream_name: &stream.core.config().name,
            waits: waits && stream.is_logged(),
            outbox: &mut self.outbox,
            host: &mut *self.host,
            notes: Vec::new(),
            done: Vec::new(),
            keeps_done: retention != Retention::Limits,
            burst: u64::try_from(stream.core.config().max_msg_size).ok().filter(|n| *n > 0).unwrap_or(BURST),
            has_passed: false,
            sent: 0,
            ack: std::mem::take(&mut self.scratch),
            to: Vec::new(),
            headers: Vec::new(),
        };
        let stop = if turn.has_receiver(&c) {
            let early = turn.redeliver(&mut c, messages).or_else(|| match c.is_full() {
                true => Some(Stop::Full),
                false => turn.deliver_firsts(&mut c, messages),
            });
            early.unwrap_or_else(|| turn.deliver_new(&mut c, messages))
        } else {
            Stop::NoReceiver
        };
        let (notes, done) = (std::mem::take(&mut turn.notes), std::mem::take(&mut turn.done));
        let (has_passed, waits) = (turn.has_passed, turn.waits);
        self.scratch = std::mem::take(&mut turn.ack);
        if !c.is_hot && (!c.requests.is_empty() || c.is_active) {
            self.heat(id, &mut c);
        }
        if !c.is_hot {
            // Nobody will tell it of what comes.
            c.waiting_messages = None;
        }
        let group = c.stream;
        self.consumers.insert(id, c);
        self.watch_removals(group);
        for note in notes {
            self.tell(id, note);
        }
        if has_passed {
            self.pass(id, waits, done);
        }
        if stop == Stop::More {
            self.wake(id);
        }
        self.end_requests(id, stop == Stop::End, false);
        self.note_unlogged(id);
        self.plan(id);
    }

    /// Messages were sent that nobody acknowledges: they are done when they have left, so that a crash before loses none.
    fn pass(&mut self, id: u32, waits: bool, done: Vec<u64>) {
        let Some(c) = self.consumers.get(&id) else { return };
        let passed = Passed { id, position: c.state().delivered, done, after: u64::MAX };
        if waits {
            self.passing.push_back(passed);
        } else {
            self.finish_passed(&passed);
        }
    }

    fn finish_passed(&mut self, passed: &Passed) {
        let Some(c) = self.consumers.get_mut(&passed.id) else { return };
        c.note_passed(passed.position);
        let group = c.stream;
        self.release(group, passed.id, &passed.done);
        self.note_unlogged(passed.id);
    }

    /// Finishes what has left since the last call.
    pub(super) fn finish_all_passed(&mut self) {
        let durable = self.log.durable();
        while self.passing.front().is_some_and(|passed| passed.after <= durable) {
            let Some(passed) = self.passing.pop_front() else { return };
            self.finish_passed(&passed);
        }
    }

    /// What was sent waits until the log is durable up to `end`.
    pub(super) fn close_passed(&mut self, end: u64) {
        self.passing
            .iter_mut()
            .rev()
            .take_while(|passed| passed.after == u64::MAX)
            .for_each(|p| p.after = end);
    }

    fn tell(&mut self, id: u32, note: Note) {
        match note {
            Note::Exhausted { sequence, count } => self.advise_exhausted(id, sequence, count),
            Note::Deleted { sequence, consumer, count } => {
                self.advise_terminated(id, sequence, consumer, count, super::consumers::DELETED);
                self.release_of(id, &[sequence]);
            }
            Note::Lost { sequence } => {
                let Some(c) = self.consumers.get(&id) else { return };
                let (group, name) = (c.stream, c.name.clone());
                let stream = self.streams.get(&group).map_or(String::new(), |s| s.core.config().name.clone());
                self.complain(format!(
                    "JetStream consumer '{stream} > {name}' passes over message {sequence}, which can't be read any more"
                ));
                self.note_news(group);
                self.advise_terminated(id, sequence, 0, 0, "Message can't be read: its bytes are damaged");
            }
            Note::Pinned => self.advise_pinned(id),
        }
    }

    /// Ends requests whose time is over, and those that do not wait when there is nothing more (`at_end`). With `all`, those
    /// too for which nobody listens any more.
    pub(super) fn end_requests(&mut self, id: u32, at_end: bool, all: bool) {
        let (now, waits) = (self.now, self.must_wait());
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let has_one_shot = at_end && c.requests.iter().any(|request| request.no_wait);
        if c.requests.is_empty() || !(all || has_one_shot || c.requests.due().is_some_and(|due| due <= now)) {
            return;
        }
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let (account, waits) = (stream.account, waits && stream.is_logged());
        let Some(account_name) = self.accounts.get(account as usize).map(|account| &*account.name) else {
            return;
        };
        let reached = c.reached();
        let (outbox, host) = (&mut self.outbox, &*self.host);
        let before = c.requests.len();
        c.requests.retain(|request| {
            let left = (request.left, request.bytes);
            if request.expires > 0 && request.expires <= now {
                send_status(outbox, account, waits, &request.reply, "408 Request Timeout", Some(left));
                return false;
            }
            if at_end && request.no_wait && (request.expires == 0 || request.delivered > 0) {
                send_status(outbox, account, waits, &request.reply, "404 No Messages", None);
                return false;
            }
            if (all || (request.heartbeat_at > 0 && request.heartbeat_at <= now))
                && !host.has_interest(account_name, &request.reply)
            {
                return false;
            }
            if request.heartbeat_at > 0 && request.heartbeat_at <= now {
                send_heartbeat(outbox, account, waits, &request.reply, reached, b"");
                request.heartbeat_at = now.saturating_add(request.heartbeat);
            }
            true
        });
        if c.requests.len() < before {
            c.last_use = now;
        }
    }

    /// Says how far a push consumer is.
    pub(super) fn heartbeat(&mut self, id: u32) {
        let (now, waits) = (self.now, self.must_wait());
        let Some(c) = self.consumers.get_mut(&id) else { return };
        c.last_sent = now;
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let stalled = c.flow.as_ref().map_or(&b""[..], |flow| &flow.reply);
        let to = c.config().deliver_subject.as_bytes();
        let waits = waits && stream.is_logged();
        send_heartbeat(&mut self.outbox, stream.account, waits, to, c.reached(), stalled);
    }

    /// A receiver has taken the bytes that it was asked about.
    pub fn flow_taken(&mut self, id: u32, subject: &[u8], block: &[u8]) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let Some(flow) = c.flow.as_mut().filter(|flow| flow.reply == subject) else { return };
        flow.window = (flow.window * 2).min(FLOW_CONTROL_MAX);
        flow.bytes = flow.bytes.saturating_sub(flow.asked);
        (flow.asked, flow.reply) = (0, Vec::new());
        if c.config().ack_policy == AckPolicy::FlowControl {
            let number = |name: &[u8]| -> u64 {
                let value = headers::value(block, name).and_then(|v| std::str::from_utf8(v).ok());
                value.and_then(|v| v.parse().ok()).unwrap_or(0)
            };
            let position =
                Position { consumer: number(b"Nats-Last-Consumer"), stream: number(b"Nats-Last-Stream") };
            if position.stream > 0 {
                self.ack_to(id, position);
            }
        }
        self.wake(id);
    }

    /// Nobody took a message that was sent.
    pub fn not_delivered(&mut self, id: u32, sequence: u64) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let is_push = c.config().is_push();
        if is_push {
            c.is_active = false;
            c.last_use = self.now;
        }
        if c.state().pending.contains_key(&sequence) && !is_push {
            c.queue(sequence);
            if !c.requests.is_empty() {
                self.wake(id);
            }
        }
        if is_push {
            self.learn_interest(id);
        }
        self.plan(id);
    }

    /// Takes messages out that a consumer is done with, if nobody else needs them.
    pub(super) fn release(&mut self, group: u32, id: u32, sequences: &[u64]) {
        let Some(stream) = self.streams.get(&group) else { return };
        let retention = stream.core.config().retention;
        if retention == Retention::Limits {
            return;
        }
        let mut buffer = Vec::new();
        for sequence in sequences {
            let Some(stream) = self.streams.get(&group) else { return };
            if !stream.core.messages().contains(*sequence) {
                continue;
            }
            if !stream.followers.is_empty()
                || (retention == Retention::Interest && stream.consumers.len() > 1)
            {
                let Some(stream) = self.streams.get(&group) else { return };
                let Ok(Some(message)) = stream.core.messages().read(*sequence, &mut buffer) else { continue };
                if self.is_followed(group, *sequence, message.subject) {
                    continue;
                }
                let others = stream.consumers.values().filter(|other| **other != id);
                let mut others = others.filter_map(|other| self.consumers.get(other));
                let is_shared = retention == Retention::Interest;
                if is_shared && others.any(|other| other.needs(*sequence, message.subject)) {
                    continue;
                }
            }
            let Some(stream) = self.streams.get_mut(&group) else { return };
            stream.released.push(*sequence);
            if !std::mem::replace(&mut stream.is_released, true) {
                self.released.push(group);
            }
        }
    }

    /// As [`Engine::release`], of a consumer.
    pub(super) fn release_of(&mut self, id: u32, sequences: &[u64]) {
        if let Some(c) = self.consumers.get(&id) {
            self.release(c.stream, id, sequences);
        }
    }

    /// Takes out what was released since the last call.
    pub(crate) fn remove_released(&mut self) {
        for group in std::mem::take(&mut self.released) {
            let Some(stream) = self.streams.get_mut(&group) else { continue };
            stream.is_released = false;
            let mut sequences = std::mem::take(&mut stream.released);
            sequences.sort_unstable();
            sequences.dedup();
            // It may come when the disk is full: it takes nothing that was not reserved.
            let _ = self.change(group, &Entry::Remove { sequences: &sequences });
        }
    }
}

fn send_heartbeat(
    outbox: &mut Outbox,
    account: u32,
    waits: bool,
    to: &[u8],
    reached: Position,
    stalled: &[u8],
) {
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
