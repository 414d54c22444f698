//! Timers of consumers: redelivery, heartbeats, ends of pull requests, pauses and the end of unused consumers.
//!
//! One ordered set has the earliest deadline of each consumer. So a consumer costs no time until its deadline.

use stonechat_store::disk::Disk;

use super::Engine;
use crate::consumer::Change;
use crate::ids::ConsumerId;

impl<D: Disk> Engine<D> {
    /// Plans the next deadline of a consumer.
    pub(super) fn plan(&mut self, id: ConsumerId) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let due = c.due(self.now);
        if due < c.planned {
            if c.planned < i64::MAX {
                self.timers.remove(&(c.planned, id));
            }
            c.planned = due;
            self.timers.insert((due, id));
        }
        if !c.is_hot && c.state().holds_messages() {
            c.is_hot = true;
            let stream_id = c.stream;
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                stream.hot.insert(id, &c.config().filters(), c.is_refiltered);
            }
            self.watch_removals_for(stream_id, id);
        }
    }

    /// Runs the timers that are due, for a limited number of consumers.
    pub(super) fn tick_consumers(&mut self) {
        for _ in 0..1024 {
            let Some(&(due, id)) = self.timers.first() else { break };
            if due > self.now {
                break;
            }
            self.timers.pop_first();
            if let Some(c) = self.consumers.get_mut(&id) {
                c.planned = i64::MAX;
            }
            self.tick_consumer(id);
            self.plan(id);
        }
    }

    fn tick_consumer(&mut self, id: ConsumerId) {
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id) else { return };
        if c.is_timed() && c.ack_due <= now {
            self.redeliver_overdue(id);
        }
        let Some(c) = self.consumers.get(&id) else { return };
        let config = c.config();
        let resumes = config.pause_until.is_some_and(|until| until <= now) || c.resume_at > 0;
        let beats = config.is_push()
            && config.idle_heartbeat > 0
            && c.is_active
            && c.last_sent.max(c.created).saturating_add(config.idle_heartbeat) <= now;
        let is_unused = c.lives_unused > 0 && c.last_use.saturating_add(c.lives_unused) <= now;
        let is_unpinned = c.pin.as_ref().is_some_and(|pin| !pin.id.is_empty() && pin.until <= now);
        if is_unpinned {
            self.unpin(id, "timeout");
        }
        if beats {
            self.heartbeat(id);
        }
        self.end_requests(id, true, false);
        if resumes {
            self.wake(id);
        }
        if is_unused {
            self.end_unused(id);
        }
    }

    fn redeliver_overdue(&mut self, id: ConsumerId) {
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let (max, was_full) = (c.max_deliver(), c.is_full());
        let mut exhausted = Vec::new();
        let mut any = false;
        for sequence in c.overdue(now) {
            let Some(count) = c.state().pending.get(&sequence).map(|pending| pending.count) else { continue };
            if max > 0 && count >= max {
                c.change(&Change::Exhausted(sequence));
                exhausted.push((sequence, count));
            } else {
                any |= c.queue(sequence);
            }
        }
        let wakes = any || (was_full && !exhausted.is_empty());
        for (sequence, count) in exhausted {
            self.advise_exhausted(id, sequence, count);
        }
        self.note_unlogged(id);
        if wakes {
            self.wake(id);
        }
    }

    /// Deletes a consumer that was not used for its lifetime.
    fn end_unused(&mut self, id: ConsumerId) {
        let now = self.now;
        self.end_requests(id, false, true);
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let is_push = c.config().is_push();
        let is_used = if is_push { c.is_active } else { !c.requests.is_empty() };
        if is_used {
            c.last_use = now;
            return;
        }
        // A client may still work on messages that it received.
        let busy =
            if is_push || !c.is_timed() { None } else { c.state().pending.values().map(|p| p.due).max() };
        if let Some(until) = busy.filter(|until| until.saturating_add(c.lives_unused) > now) {
            c.last_use = until;
            return;
        }
        self.delete_consumer(id, true);
    }
}
