//! Deadlines of the engine, and the removal of expired messages.

use stonechat_store::disk::Disk;

use super::Engine;
use crate::ids::StreamId;
use crate::stream::Entry;

/// Limit for the messages of all streams that expire in one turn. Small in debug builds, for tests.
const BUDGET: usize = if cfg!(debug_assertions) { 64 } else { 1024 };
/// The cost of a look at a stream, in messages.
const STREAM: usize = 16;
/// Nanoseconds until the removal of expired messages is tried again after a failure.
const AGAIN: i64 = 1_000_000_000;

impl<D: Disk> Engine<D> {
    /// When the engine must be called again even if nothing happens.
    pub fn next_deadline(&self) -> Option<i64> {
        let expiry = self.expiries.first().map(|(time, _)| *time);
        let timer = self.timers.first().map(|(time, _)| *time);
        let is_busy = !self.ready.is_empty()
            || (!self.parked.is_empty() && !self.outbox.is_clogged())
            || !self.feeding.is_empty()
            || self.requests.has_work()
            || !self.holds.is_empty()
            || !self.sweeping.is_empty()
            || !self.trimming.is_empty();
        let ready = is_busy.then_some(self.now);
        let backup = self.next_snapshot().into_iter().chain(self.next_restore()).min();
        let batch = self.next_batch_end().into_iter().chain(self.next_fast_end()).min();
        let others = [self.next_retry(), self.checkpoint_deadline()];
        [ready, expiry, timer, batch, backup].into_iter().chain(others).flatten().min()
    }

    pub(crate) fn plan_expiry(&mut self, stream_id: StreamId, due: Option<i64>) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if stream.expiry == due {
            return;
        }
        if let Some(old) = std::mem::replace(&mut stream.expiry, due) {
            self.expiries.remove(&(old, stream_id));
        }
        if let Some(due) = due {
            self.expiries.insert((due, stream_id));
        }
    }

    /// Does the work that is due: consumers' timers, retries, idle batches, expired messages.
    pub fn tick(&mut self) {
        self.tick_consumers();
        self.retry_feeds();
        self.end_batches();
        self.end_fast_batches();
        let mut budget = BUDGET;
        while budget > 0 {
            let Some(&(due, stream_id)) = self.expiries.first() else { break };
            if due > self.now {
                break;
            }
            self.expiries.pop_first();
            self.expire(stream_id, &mut budget);
        }
    }

    fn expire(&mut self, stream_id: StreamId, budget: &mut usize) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        stream.expiry = None;
        let expiry = stream.core.expire(self.now, *budget);
        *budget = budget.saturating_sub(STREAM + expiry.remove.len() + expiry.markers.len());
        let marker = stream.core.marker_headers();
        if !expiry.remove.is_empty()
            && self.change(stream_id, &Entry::Remove { sequences: &expiry.remove }).is_err()
            && let Some(stream) = self.streams.get_mut(&stream_id)
        {
            stream.core.expire_again(&expiry.remove, self.now.saturating_add(AGAIN));
        }
        for subject in &expiry.markers {
            let entry = Entry::Append { time: self.now, subject, headers: &marker, payload: b"" };
            let _ = self.change(stream_id, &entry);
        }
        self.run_schedules(stream_id);
        // Files of expired ids and times may now be removed.
        self.note_news(stream_id);
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let next =
            if expiry.next == Some(self.now) { expiry.next } else { stream.core.next_expiry(self.now) };
        self.plan_expiry(stream_id, next);
    }
}
