//! Delivery: the turns of consumers, and the results of their deliveries.

use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::Engine;
use super::turn::{BURST, Note, Stop, Turn, send_heartbeat, send_status};
use crate::consumer::{AckPolicy, FLOW_CONTROL_MAX, Position};
use crate::ids::{ConsumerId, StreamId};
use crate::stream::{Entry, Retention, headers};

/// Bytes waiting to leave above which consumers get no more turns.
const OUTBOX_MAX: usize = 4 << 20;
/// Limits of a turn of the engine, for all consumers together: messages looked at, and messages counted. Small in debug builds,
/// for tests.
const LOOKS: usize = 64 << 10;
const COUNTS: usize = if cfg!(debug_assertions) { 64 } else { 8192 };

/// Messages that were sent to a consumer without acknowledgement.
#[derive(Debug)]
pub(super) struct Passed {
    id: ConsumerId,
    position: Position,
    /// Messages that the stream need not keep for this consumer.
    done: Vec<u64>,
    /// The log position up to which the log must be durable before the messages leave.
    after: u64,
}

impl<D: Disk> Engine<D> {
    /// Queues a consumer for a turn.
    pub(crate) fn wake(&mut self, id: ConsumerId) {
        if let Some(c) = self.consumers.get_mut(&id)
            && !std::mem::replace(&mut c.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Gives each waiting consumer a turn, within the limits of the engine's turn.
    pub(super) fn deliver(&mut self) {
        if self.is_held {
            return;
        }
        if !self.outbox.is_clogged() {
            self.ready.extend(self.parked.drain(..));
        }
        (self.counts_left, self.looks_left) = (COUNTS, LOOKS);
        for _ in 0..self.ready.len() {
            if self.outbox.len() > OUTBOX_MAX || self.looks_left == 0 {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            self.turn(id);
        }
    }

    /// Stops or resumes all consumers. The caller stops them while it still sends their earlier messages.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Whether messages to consumers must wait, because one of them, or a change before it, is not durable.
    pub(crate) fn must_wait(&self) -> bool {
        self.options.durability == super::Durability::Synced
            && (self.is_staged || self.outbox.is_open() || self.log.durable() < self.barrier)
    }

    /// Like [`Engine::must_wait`], for replies to reads, which do not wait while the log can't be written.
    pub(crate) fn reads_wait(&self) -> bool {
        self.refuses.is_none() && self.must_wait()
    }

    /// Whether a consumer's stream is logged.
    fn is_of_logged(&self, id: ConsumerId) -> bool {
        let stream = self.consumers.get(&id).and_then(|c| self.streams.get(&c.stream));
        stream.is_some_and(super::Stream::is_logged)
    }

    fn turn(&mut self, id: ConsumerId) {
        let waits = self.must_wait();
        if waits && self.outbox.is_clogged() && self.is_of_logged(id) {
            return self.parked.push(id);
        }
        let Some(mut c) = self.consumers.remove(&id) else { return };
        c.is_ready = false;
        c.runs += 1;
        // Only a consumer that delivers needs the number of messages that wait for it.
        if c.waiting_messages.is_none() && (!c.requests.is_empty() || c.is_active) {
            let mut left = self.counts_left;
            let is_known = left > 0 && self.count_some(id, &mut c, &mut left);
            self.counts_left = left;
            if !is_known {
                let stream_id = c.stream;
                self.consumers.insert(id, c);
                self.watch_removals_for(stream_id, id);
                return self.wake(id);
            }
        }
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let retention = stream.core.config().retention;
        let messages = stream.core.messages();
        let account = stream.account;
        let mut turn = Turn {
            id,
            now: self.now,
            account,
            account_name: self.accounts.get(account.index()).map_or("", |account| &account.name),
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
            looked: 0,
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
        self.looks_left = self.looks_left.saturating_sub(turn.looked);
        self.scratch = std::mem::take(&mut turn.ack);
        if !c.is_hot && (!c.requests.is_empty() || c.is_active) {
            self.heat(id, &mut c);
        }
        if !c.is_hot {
            // A cold consumer is not told of new messages, so its count would become wrong.
            c.forget_count();
        }
        let stream_id = c.stream;
        self.consumers.insert(id, c);
        self.watch_removals_for(stream_id, id);
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

    /// Handles messages sent without acknowledgement. They count as done once they have left, so that a crash before loses none.
    fn pass(&mut self, id: ConsumerId, waits: bool, done: Vec<u64>) {
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
        let stream_id = c.stream;
        self.release(stream_id, Some(passed.id), &passed.done);
        self.note_unlogged(passed.id);
    }

    /// Completes the messages without acknowledgement that have left since the last call.
    pub(super) fn finish_all_passed(&mut self) {
        let durable = self.log.durable();
        while self.passing.front().is_some_and(|passed| passed.after <= durable) {
            let Some(passed) = self.passing.pop_front() else { return };
            self.finish_passed(&passed);
        }
    }

    /// Makes the messages sent without acknowledgement wait until the log is durable up to `end`.
    pub(super) fn close_passed(&mut self, end: u64) {
        self.passing
            .iter_mut()
            .rev()
            .take_while(|passed| passed.after == u64::MAX)
            .for_each(|p| p.after = end);
    }

    fn tell(&mut self, id: ConsumerId, note: Note) {
        match note {
            Note::Exhausted { sequence, count } => self.advise_exhausted(id, sequence, count),
            Note::Deleted { sequence, consumer, count } => {
                self.advise_terminated(id, sequence, consumer, count, super::removals::DELETED);
                self.release_of(id, &[sequence]);
            }
            Note::Lost { sequence } => {
                let Some(c) = self.consumers.get(&id) else { return };
                let (stream_id, name) = (c.stream, c.name.clone());
                let stream =
                    self.streams.get(&stream_id).map_or(String::new(), |s| s.core.config().name.clone());
                self.complain(format!(
                    "JetStream consumer '{stream} > {name}' passes over message {sequence}, which can't be read any more"
                ));
                self.note_news(stream_id);
                self.advise_terminated(id, sequence, 0, 0, "Message can't be read: its bytes are damaged");
            }
            Note::Pinned => self.advise_pinned(id),
        }
    }

    /// Ends requests that have timed out, and requests with `no_wait` if there are no more messages (`at_end`). With `all`, also
    /// ends requests whose reply subject has no subscriber.
    pub(super) fn end_requests(&mut self, id: ConsumerId, at_end: bool, all: bool) {
        let (now, waits) = (self.now, self.must_wait());
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let has_one_shot = at_end && c.requests.iter().any(|request| request.no_wait);
        if c.requests.is_empty() || !(all || has_one_shot || c.requests.due().is_some_and(|due| due <= now)) {
            return;
        }
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let (account, waits) = (stream.account, waits && stream.is_logged());
        let Some(account_name) = self.accounts.get(account.index()).map(|account| &*account.name) else {
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

    /// Sends a push consumer's idle heartbeat.
    pub(super) fn heartbeat(&mut self, id: ConsumerId) {
        let (now, waits) = (self.now, self.must_wait());
        let Some(c) = self.consumers.get_mut(&id) else { return };
        c.last_sent = now;
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let stalled = c.flow.as_ref().map_or(&b""[..], |flow| &flow.reply);
        let to = c.config().deliver_subject.as_bytes();
        let waits = waits && stream.is_logged();
        send_heartbeat(&mut self.outbox, stream.account, waits, to, c.reached(), stalled);
    }

    /// Processes a flow control reply: the receiver has taken the bytes that it was asked about.
    pub fn flow_taken(&mut self, id: ConsumerId, subject: &[u8], block: &[u8]) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let Some(flow) = c.flow.as_mut().filter(|flow| flow.reply == subject) else { return };
        flow.window = (flow.window * 2).min(FLOW_CONTROL_MAX);
        flow.bytes = flow.bytes.saturating_sub(flow.asked);
        (flow.asked, flow.reply) = (0, Vec::new());
        if c.config().ack_policy == AckPolicy::FlowControl {
            let number = |name: &[u8]| -> u64 {
                let value =
                    headers::value(headers::looked_at(block), name).and_then(|v| std::str::from_utf8(v).ok());
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

    /// Handles a message that reached no receiver.
    pub fn not_delivered(&mut self, id: ConsumerId, sequence: u64) {
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

    /// Releases messages that a consumer, or a following stream, is done with, if no other consumer or follower needs them.
    pub(super) fn release(&mut self, stream_id: StreamId, by: Option<ConsumerId>, sequences: &[u64]) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let retention = stream.core.config().retention;
        if retention == Retention::Limits {
            return;
        }
        let mut buffer = Vec::new();
        for sequence in sequences {
            let Some(stream) = self.streams.get(&stream_id) else { return };
            let is_held = retention == Retention::Interest && *sequence <= stream.held;
            if is_held || !stream.core.messages().contains(*sequence) {
                continue;
            }
            if !stream.followers.is_empty()
                || (retention == Retention::Interest && stream.consumers.len() > 1)
            {
                let Some(stream) = self.streams.get(&stream_id) else { return };
                let Ok(Some(message)) = stream.core.messages().read(*sequence, &mut buffer) else { continue };
                if self.is_followed(stream_id, *sequence, message.subject) {
                    continue;
                }
                let others = stream.consumers.values().filter(|other| Some(**other) != by);
                let mut others = others.filter_map(|other| self.consumers.get(other));
                let is_shared = retention == Retention::Interest;
                if is_shared && others.any(|other| other.needs(*sequence, message.subject)) {
                    continue;
                }
            }
            let Some(stream) = self.streams.get_mut(&stream_id) else { return };
            stream.released.push(*sequence);
            if !std::mem::replace(&mut stream.is_released, true) {
                self.released.push(stream_id);
            }
        }
    }

    /// Like [`Engine::release`], for the stream of a consumer.
    pub(super) fn release_of(&mut self, id: ConsumerId, sequences: &[u64]) {
        if let Some(c) = self.consumers.get(&id) {
            self.release(c.stream, Some(id), sequences);
        }
    }

    /// Removes the messages that were released since the last call.
    pub(crate) fn remove_released(&mut self) {
        for stream_id in std::mem::take(&mut self.released) {
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            stream.is_released = false;
            let mut sequences = std::mem::take(&mut stream.released);
            sequences.sort_unstable();
            sequences.dedup();
            // The removal may happen on a full disk: it uses only room that was reserved.
            let _ = self.change(stream_id, &Entry::Remove { sequences: &sequences });
        }
    }
}
