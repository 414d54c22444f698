//! Acknowledgements of delivered messages, and pull requests for more.

use serde_json::json;
use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::turn::send_status;
use super::{Engine, Outgoing};
use crate::api::{Request, To, fields, is_large};
use crate::consumer::{
    AckPolicy, AckSubject, Change, Consumer, Position, PriorityPolicy, PullRequest, Verb, Waiting, nak_delay,
};
use crate::error::shown;
use crate::ids::ConsumerId;
use crate::json::DecodeError;
use crate::time::show_duration;

/// Bytes of an invalid value that a warning shows.
const SHOWN_MAX: usize = 256;

impl<D: Disk> Engine<D> {
    /// Processes an acknowledgement; `rest` is the part of its subject behind the consumer's name.
    pub fn ack(&mut self, id: ConsumerId, rest: &[u8], reply: &[u8], payload: &[u8]) {
        let mut at = AckSubject::parse(rest);
        let verb = Verb::parse(payload);
        if self.refuses.is_some() && !reply.is_empty() && at.is_some() && !self.has_room_for_ack(id) {
            match verb {
                // The message is redelivered; the pull request is still valid.
                Verb::Next(_) => at = None,
                _ => return self.refuse_ack(id, reply),
            }
        }
        let mut answers = at.is_some();
        let mut is_ack = false;
        match verb {
            Verb::Ack => {
                is_ack = true;
                answers = at.is_some_and(|at| self.acked(id, at, true));
            }
            Verb::Next(request) => {
                if let Some(at) = at {
                    self.acked(id, at, true);
                }
                self.pull(id, reply, b"", request);
                answers = false;
            }
            Verb::Nak(arg) => at.into_iter().for_each(|at| self.nak(id, at, arg)),
            Verb::Progress => at.into_iter().for_each(|at| self.progress(id, at.stream)),
            Verb::Term(reason) => {
                is_ack = true;
                answers = at.is_some_and(|at| self.term(id, at, &String::from_utf8_lossy(reason)));
            }
            Verb::Unknown => {}
        }
        self.note_unlogged(id);
        if answers && !reply.is_empty() {
            let Some(c) = self.consumers.get(&id) else { return };
            let Some(stream) = self.streams.get(&c.stream) else { return };
            // A message whose acknowledgement got a reply is never redelivered, so the reply waits for the log.
            let waits = is_ack && c.is_logged;
            let out = Outgoing { account: stream.account, subject: reply, ..Outgoing::default() };
            self.outbox.push(waits, &out);
        }
    }

    /// Whether the log has room for an acknowledgement that expects a reply.
    fn has_room_for_ack(&mut self, id: ConsumerId) -> bool {
        let is_logged = self.consumers.get(&id).is_some_and(|c| c.is_logged);
        !is_logged || self.check_change(true, 0).is_ok()
    }

    /// Rejects an acknowledgement with status 503, which all clients report as an error.
    fn refuse_ack(&mut self, id: ConsumerId, reply: &[u8]) {
        let Some(c) = self.consumers.get(&id) else { return };
        let Some(stream) = self.streams.get(&c.stream) else { return };
        send_status(
            &mut self.outbox,
            stream.account,
            false,
            reply,
            "503 Insufficient Storage Resources",
            None,
        );
    }

    /// Acknowledges one message, or all up to it, as the consumer's policy says. Returns whether the acknowledgement gets a
    /// reply.
    fn acked(&mut self, id: ConsumerId, at: AckSubject, samples: bool) -> bool {
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id) else { return false };
        if at.stream >= c.cursor {
            return false;
        }
        match c.config().ack_policy {
            AckPolicy::None => return false,
            AckPolicy::All | AckPolicy::FlowControl => {
                return self.ack_to(id, Position { consumer: at.consumer, stream: at.stream });
            }
            AckPolicy::Explicit => {}
        }
        c.last_ack = now;
        c.last_use = now;
        let was_full = c.is_full();
        let since = c.state().pending.get(&at.stream).map(|pending| pending.since);
        let sampled = c.sampled();
        c.unqueue(at.stream);
        if !c.change(&Change::Acked(at.stream)) {
            return true;
        }
        let stream_id = c.stream;
        if samples
            && sampled > 0
            && let Some(since) = since
        {
            self.sample(id, at, now.saturating_sub(since), sampled);
        }
        self.release(stream_id, Some(id), &[at.stream]);
        if was_full {
            self.wake(id);
        }
        true
    }

    /// Acknowledges all messages up to a position. Returns whether the acknowledgement gets a reply.
    pub(super) fn ack_to(&mut self, id: ConsumerId, to: Position) -> bool {
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id).filter(|c| to.stream < c.cursor) else { return false };
        (c.last_ack, c.last_use) = (now, now);
        let was_full = c.is_full();
        let done: Vec<u64> = c.state().pending.range(..=to.stream).map(|(sequence, _)| *sequence).collect();
        if !c.change(&Change::AckedTo(to)) {
            return true;
        }
        c.tidy_queue();
        let stream_id = c.stream;
        self.release(stream_id, Some(id), &done);
        if !done.contains(&to.stream) {
            self.release(stream_id, Some(id), &[to.stream]);
        }
        if was_full {
            self.wake(id);
        }
        self.note_unlogged(id);
        true
    }

    fn nak(&mut self, id: ConsumerId, at: AckSubject, arg: &[u8]) {
        let Some(c) = self.consumers.get(&id) else { return };
        // A position one delivery ahead is accepted, as by nats-server 2.15: a reply subject from before a reset may have it.
        let is_known = at.consumer > c.state().floor.consumer && at.consumer <= c.next_delivery();
        if !is_known || !c.state().pending.contains_key(&at.stream) {
            return;
        }
        self.advise_nak(id, at);
        if !self.is_elsewhere(id, To::Nak(id, at), b"", b"", arg) {
            self.nak_read(id, at, nak_delay(arg), arg);
        }
    }

    /// Applies a negative acknowledgement once its delay is decoded, see [`nak_delay`].
    pub(crate) fn nak_read(
        &mut self,
        id: ConsumerId,
        at: AckSubject,
        delay: Option<Option<i64>>,
        arg: &[u8],
    ) {
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id) else { return };
        if !c.state().pending.contains_key(&at.stream) {
            return;
        }
        match delay {
            Some(Some(delay)) => {
                c.unqueue(at.stream);
                let due = now.saturating_add(delay);
                c.change(&Change::Due { stream: at.stream, due });
                c.ack_due = c.ack_due.min(due);
                self.plan(id);
            }
            other => {
                c.queue(at.stream);
                let name = c.name.clone();
                if other.is_none() {
                    let shown = String::from_utf8_lossy(&arg[..arg.len().min(SHOWN_MAX)]);
                    self.warn(format!("JetStream consumer '{name}': bad NAK delay value: {shown:?}"));
                }
                self.wake(id);
            }
        }
    }

    fn progress(&mut self, id: ConsumerId, sequence: u64) {
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let Some(pending) = c.state().pending.get(&sequence) else { return };
        if c.is_timed() {
            let due = now.saturating_add(c.ack_wait(pending.count));
            c.change(&Change::Due { stream: sequence, due });
            c.last_use = now;
        }
    }

    fn term(&mut self, id: ConsumerId, at: AckSubject, reason: &str) -> bool {
        let answers = self.acked(id, at, false);
        self.advise_terminated(id, at.stream, at.consumer, at.deliveries, reason);
        answers
    }

    fn sample(&mut self, id: ConsumerId, at: AckSubject, took: i64, sampled: i64) {
        // The nanoseconds of the clock are random enough for a sample.
        if sampled < 100 && (self.now / 7) % 100 > sampled {
            return;
        }
        let body = json!({
            "consumer_seq": at.consumer, "stream_seq": at.stream, "ack_time": took, "deliveries": at.deliveries,
        });
        self.advise_consumer(id, "METRIC.CONSUMER.ACK", "metric.v1.consumer_ack", fields(body));
    }

    /// Processes a pull request.
    pub fn pull(&mut self, id: ConsumerId, reply: &[u8], block: &[u8], payload: &[u8]) {
        if reply.is_empty() || self.is_elsewhere(id, To::Pull(id), reply, block, payload) {
            return;
        }
        self.pull_read(id, reply, crate::api::is_level_met(block), PullRequest::decode(payload));
    }

    /// Continues a pull request once its payload is decoded.
    pub(crate) fn pull_read(
        &mut self,
        id: ConsumerId,
        reply: &[u8],
        is_level_met: bool,
        asked: Result<PullRequest, DecodeError>,
    ) {
        let now = self.now;
        if let Err((line, sends)) = self.try_pull(id, reply, is_level_met, asked) {
            let waits = self.must_wait();
            let Some(c) = self.consumers.get_mut(&id) else { return };
            c.last_use = now;
            let Some(stream) = self.streams.get(&c.stream) else { return };
            if sends {
                let waits = waits && stream.is_logged();
                send_status(&mut self.outbox, stream.account, waits, reply, &line, None);
            }
        }
        self.plan(id);
    }

    /// Whether a consumer's message is so large that it is decoded beside the engine.
    fn is_elsewhere(&mut self, id: ConsumerId, to: To, reply: &[u8], headers: &[u8], payload: &[u8]) -> bool {
        let stream = self.consumers.get(&id).and_then(|c| self.streams.get(&c.stream));
        let Some(account) = stream.map(|stream| stream.account) else { return false };
        let client = || serde_json::Value::Null;
        let request = Request { account, subject: b"", reply, headers, payload, client: &client };
        is_large(&request) && !self.may_begin(&request, to)
    }

    fn try_pull(
        &mut self,
        id: ConsumerId,
        reply: &[u8],
        is_level_met: bool,
        asked: Result<PullRequest, DecodeError>,
    ) -> Result<(), (String, bool)> {
        let now = self.now;
        let refused = |line: String| Err((line, true));
        let Some(c) = self.consumers.get_mut(&id) else { return Ok(()) };
        if c.config().is_push() {
            return refused("409 Consumer is push based".to_owned());
        }
        if !is_level_met {
            return refused("412 Required Api Level".to_owned());
        }
        let request = asked.map_err(|e| (format!("400 Bad Request - {}", shown(&e.to_string())), true))?;
        let config = c.config();
        if config.max_batch > 0 && request.batch > config.max_batch {
            return refused(format!("409 Exceeded MaxRequestBatch of {}", config.max_batch));
        }
        if config.max_expires > 0 && request.expires > config.max_expires {
            return refused(format!(
                "409 Exceeded MaxRequestExpires of {}",
                show_duration(config.max_expires)
            ));
        }
        if request.max_bytes > 0 && config.max_bytes > 0 && request.max_bytes > config.max_bytes {
            return refused(format!("409 Exceeded MaxRequestMaxBytes of {}", config.max_bytes));
        }
        check_group(c, &request, now)?;
        let max_waiting = c.config().max_waiting.max(1) as usize;
        if c.requests.len() >= max_waiting {
            self.end_requests(id, false, true);
        }
        if request.no_wait {
            self.check_one_shot(id, &request)?;
        }
        let Some(c) = self.consumers.get_mut(&id) else { return Ok(()) };
        if c.requests.len() >= max_waiting {
            // A client that gets heartbeats would repeat the request at once, again and again.
            return Err(("409 Exceeded MaxWaiting".to_owned(), request.heartbeat == 0));
        }
        let after = |duration: i64| if duration > 0 { now.saturating_add(duration) } else { 0 };
        let waiting = Waiting {
            reply: reply.into(),
            left: request.batch,
            delivered: 0,
            bytes: request.max_bytes.max(0),
            no_wait: request.no_wait,
            expires: if request.expires < 0 { now } else { after(request.expires) },
            heartbeat: request.heartbeat.max(0),
            heartbeat_at: after(request.heartbeat),
            group: request.group,
            seen: 0,
        };
        let prioritized = c.is_prioritized();
        c.requests.add(waiting, prioritized);
        c.last_use = now;
        self.wake(id);
        Ok(())
    }

    /// Rejects a request with `no_wait` that can't be served.
    fn check_one_shot(&mut self, id: ConsumerId, request: &PullRequest) -> Result<(), (String, bool)> {
        self.remove_released();
        // If counting takes long, the request is checked in its turn.
        let mut left = self.counts_left;
        let is_known = left > 0 && self.count_for(id, &mut left);
        self.counts_left = left;
        if !is_known {
            return Ok(());
        }
        let there = self.waiting_for(id);
        let Some(c) = self.consumers.get(&id) else { return Ok(()) };
        let there = there + c.queued_len() as u64;
        if there == 0 && request.expires == 0 {
            return Err(("404 No Messages".to_owned(), true));
        }
        if there > 0 {
            self.end_requests(id, false, true);
            let Some(c) = self.consumers.get(&id) else { return Ok(()) };
            let wanted = c.requests.iter().fold(0i64, |sum, request| sum.saturating_add(request.left));
            if (there as i64) < wanted {
                return Err(("408 Requests Pending".to_owned(), true));
            }
        }
        Ok(())
    }

    /// Returns the number of messages that wait for a consumer.
    pub(crate) fn waiting_for(&mut self, id: ConsumerId) -> u64 {
        while !self.count_for(id, &mut { usize::MAX }) {}
        let Some(c) = self.consumers.get_mut(&id) else { return 0 };
        let count = c.waiting_messages.unwrap_or(0);
        if !c.is_hot {
            // Only a hot consumer is told of changes, so only its count stays right.
            c.forget_count();
        }
        count
    }

    /// Counts some of the messages that wait for a consumer. Returns true when the count is complete.
    pub(crate) fn count_for(&mut self, id: ConsumerId, budget: &mut usize) -> bool {
        let Some(mut c) = self.consumers.remove(&id) else { return true };
        let is_done = self.count_some(id, &mut c, budget);
        let stream_id = c.stream;
        self.consumers.insert(id, c);
        if !is_done {
            self.watch_removals_for(stream_id, id);
        }
        is_done
    }

    /// Like [`Engine::count_for`], for a consumer taken out of the map. Makes the consumer hot while the count is incomplete.
    pub(super) fn count_some(&mut self, id: ConsumerId, c: &mut Consumer, budget: &mut usize) -> bool {
        let Some(stream) = self.streams.get(&c.stream) else { return true };
        let is_done = c.count_some(stream.core.messages(), budget);
        if !is_done {
            self.heat(id, c);
        }
        is_done
    }

    /// Resets a consumer to start at a sequence.
    pub(crate) fn reset_to(&mut self, id: ConsumerId, start: u64) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        c.change(&Change::Reset(start));
        (c.last_delivery, c.last_ack) = (0, 0);
        c.tidy_queue();
        c.cursor = start;
        c.firsts.clear();
        c.forget_count();
        let stream_id = c.stream;
        self.note_unlogged(id);
        self.watch_removals_for(stream_id, id);
        if let Some(stream) = self.streams.get(&stream_id) {
            let below = stream.core.messages().last_sequence();
            if stream.core.config().retention == crate::stream::Retention::Interest && start <= below + 1 {
                self.release_unneeded(stream_id);
            }
        }
        self.wake(id);
    }
}

/// Checks the priority group of a pull request.
fn check_group(c: &mut Consumer, request: &PullRequest, now: i64) -> Result<(), (String, bool)> {
    let bad = |text: &str| Err((format!("400 Bad Request - {text}"), true));
    let policy = c.config().priority_policy;
    let Some(group) = &request.group else { return Ok(()) };
    if (group.min_pending != 0 || group.min_ack_pending != 0) && policy != PriorityPolicy::Overflow {
        return bad("Not a Overflow Priority consumer");
    }
    if !group.id.is_empty() && policy != PriorityPolicy::PinnedClient {
        return bad("Not a Pinned Client Priority consumer");
    }
    if !(0..=9).contains(&group.priority) {
        return bad("Priority must be between 0 and 9");
    }
    if policy == PriorityPolicy::None {
        return Ok(());
    }
    if group.group.is_empty() {
        return bad("Priority Group missing");
    }
    if !c.config().priority_groups.contains(&group.group) {
        return bad("Invalid Priority Group");
    }
    let timeout = c.config().priority_timeout;
    if let Some(pin) = c.pin.as_mut().filter(|pin| !pin.id.is_empty()) {
        if pin.id == group.id {
            pin.until = now.saturating_add(timeout);
        } else if !group.id.is_empty() {
            return Err(("423 Nats-Pin-Id mismatch".to_owned(), true));
        }
    }
    Ok(())
}
