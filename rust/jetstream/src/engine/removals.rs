//! Tells consumers about every message that leaves their stream, whatever removed it.
//!
//! Every removal ends in [`Engine::tell_removals`], which runs after each change of a stream. Causes are purges, roll-ups,
//! limits, ages, times to live, deletions, acknowledgements on a work queue, batches, counters, schedules and lowered limits.

use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::Engine;
use crate::consumer::{Change, Consumer};
use crate::ids::{ConsumerId, StreamId};

/// The reason in the advisory about a pending message that was removed.
pub(super) const DELETED: &str = "Unacknowledged message was deleted";

/// Up to this number of filtered consumers, all are checked whenever one of them changes.
const FEW: usize = 16;

impl<D: Disk> Engine<D> {
    /// Sets the sequence from which on a stream reports the subjects of removed messages.
    pub(crate) fn watch_removals(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let consumers = &self.consumers;
        let filtered = stream.hot.filtered().filter_map(|id| consumers.get(&id));
        let from = filtered.map(|c| c.cursor).min().unwrap_or(u64::MAX);
        let is_watched = !stream.hot.is_empty();
        stream.core.watch_removals(is_watched, from);
        stream.watch_changes = 0;
    }

    /// Like [`Engine::watch_removals`], after one consumer of the stream moved, was added or was removed. With many consumers,
    /// all of them are checked only once for as many changes as there are consumers. Meanwhile the stream may report subjects
    /// from a lower sequence on than necessary, never from a higher one.
    pub(crate) fn watch_removals_for(&mut self, stream_id: StreamId, id: ConsumerId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        stream.watch_changes += 1;
        let filtered = stream.hot.filtered_len();
        if filtered <= FEW || stream.watch_changes > filtered {
            return self.watch_removals(stream_id);
        }
        let cursor = self.consumers.get(&id).filter(|_| stream.hot.is_filtered(id)).map(|c| c.cursor);
        let is_watched = !stream.hot.is_empty();
        stream.core.watch_removals(is_watched, cursor.unwrap_or(u64::MAX).min(stream.core.watched_from()));
    }

    /// Tells the consumers of a stream about the messages that its last change removed.
    pub(super) fn tell_removals(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let Some(removed) = stream.core.take_removed() else { return };
        let mut told = std::mem::take(&mut self.told);
        if removed.all {
            self.pass_purged(stream_id, "", None);
        }
        if removed.many
            && let Some(stream) = self.streams.get_mut(&stream_id)
        {
            stream.hot.concerned(None, &mut told);
            told.iter().for_each(|id| self.tell_many_removed(*id));
        }
        for (sequence, subject) in &removed.messages {
            let Some(stream) = self.streams.get_mut(&stream_id) else { break };
            stream.hot.concerned(subject.as_deref(), &mut told);
            told.iter().for_each(|id| self.tell_one_removed(*id, *sequence, subject.as_deref()));
        }
        self.told = told;
    }

    fn tell_one_removed(&mut self, id: ConsumerId, sequence: u64, subject: Option<&[u8]>) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let is_first = !c.firsts.is_empty() && sequence <= c.firsts_end;
        let counts = match is_first {
            true => c.firsts.contains(sequence),
            false => sequence >= c.cursor,
        };
        if counts {
            match subject {
                Some(subject) if !c.wants(subject) => {}
                // A message that can't be read may or may not have been counted.
                None if !c.filters().is_empty() => c.forget_count(),
                _ => c.note_gone(sequence, subject, is_first),
            }
        }
        self.drop_removed(id, sequence);
        self.note_unlogged(id);
    }

    /// Removes the pending messages of a consumer that its stream no longer holds.
    fn tell_many_removed(&mut self, id: ConsumerId) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let Some(stream) = self.streams.get(&c.stream) else { return };
        c.forget_count();
        for sequence in missing(c, stream.core.messages()) {
            self.drop_removed(id, sequence);
        }
        self.wake(id);
        self.note_unlogged(id);
    }

    /// Removes a message from a consumer's pending and exhausted ones after its stream removed it.
    fn drop_removed(&mut self, id: ConsumerId, sequence: u64) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        if let Some(pending) = c.state().pending.get(&sequence).copied() {
            c.unqueue(sequence);
            c.last_ack = self.now;
            c.change(&Change::Acked(sequence));
            // As nats-server 2.15 counts it here.
            let count = pending.count.saturating_sub(1).max(1);
            self.advise_terminated(id, sequence, pending.consumer, count, DELETED);
            self.wake(id);
        } else if c.state().exhausted.contains_key(&sequence) {
            c.change(&Change::Acked(sequence));
        }
    }

    /// Moves consumers behind the messages that a purge with `filter` removed (all messages without a filter). `rest` is the
    /// sequence of the first matching message that is left, if it is known.
    ///
    /// Pending messages that are still stored stay pending. No consumer passes over a stored message that matches one of its
    /// filters.
    pub(crate) fn pass_purged(&mut self, stream_id: StreamId, filter: &str, rest: Option<u64>) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let state = stream.core.messages().state();
        let first = rest.unwrap_or(state.first_sequence);
        let ids: Vec<ConsumerId> = stream.consumers.values().copied().collect();
        for id in ids {
            let Some(c) = self.consumers.get(&id) else { continue };
            match concern(c, filter) {
                Concern::None => continue,
                Concern::Part => self.pass_to(id, state.first_sequence),
                Concern::All => self.pass_to(id, first),
            }
        }
        self.watch_removals(stream_id);
    }

    /// Moves a consumer to `start`, or to an earlier stored message that is pending or exhausted.
    fn pass_to(&mut self, id: ConsumerId, start: u64) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let messages = stream.core.messages();
        let held = c.state().pending.keys().chain(c.state().exhausted.keys());
        let start =
            held.filter(|sequence| messages.contains(**sequence)).min().map_or(start, |n| start.min(*n));
        let gone = missing(c, messages);
        c.forget_count();
        c.cursor = c.cursor.max(start);
        // Removed messages behind the first sequence are passed over in the consumer's turn.
        c.firsts.remove_range(..messages.state().first_sequence);
        if c.state().floor.stream < start {
            c.change(&Change::Purged(start));
        }
        if !gone.is_empty() {
            c.last_ack = self.now;
        }
        for sequence in gone {
            c.change(&Change::Acked(sequence));
        }
        c.tidy_queue();
        self.note_unlogged(id);
        self.wake(id);
    }
}

/// The part of a consumer's subjects that a purge concerns.
enum Concern {
    None,
    Part,
    All,
}

fn concern(c: &Consumer, purged: &str) -> Concern {
    let config = c.config();
    let filters = config.filters();
    let is_within = |f: &&str| stonechat_subject::is_subset(f.as_bytes(), purged.as_bytes());
    let overlaps = |f: &&str| stonechat_subject::overlaps(f.as_bytes(), purged.as_bytes());
    if purged.is_empty() || (!filters.is_empty() && filters.iter().all(is_within)) {
        Concern::All
    } else if filters.is_empty() || filters.iter().any(overlaps) {
        Concern::Part
    } else {
        Concern::None
    }
}

/// The pending and exhausted messages of a consumer that its stream no longer holds.
pub(super) fn missing<M: Messages>(c: &Consumer, messages: &M) -> Vec<u64> {
    let held = c.state().pending.keys().chain(c.state().exhausted.keys());
    held.filter(|sequence| !messages.contains(**sequence)).copied().collect()
}
