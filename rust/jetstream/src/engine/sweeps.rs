//! Search, in steps, for messages of an interest stream that no consumer needs, after a consumer was deleted or got narrower
//! filters.
//!
//! Only the removals are logged: a start searches all such streams anyway.

use std::ops::ControlFlow;

use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::Engine;
use crate::consumer::Consumer;
use crate::ids::StreamId;
use crate::stream::Retention;

/// Messages looked at in one turn, with at most a few consumers. Small in debug builds, for tests.
const TURN: usize = if cfg!(debug_assertions) { 64 } else { 8192 };
/// The cost of a removal, in messages looked at.
const REMOVAL: usize = 8;

/// The search in progress of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// The next sequence, and the last one. Messages behind it were judged when they were stored.
    at: u64,
    end: u64,
    /// Whether consumers changed during the search, so that it begins again.
    again: bool,
}

impl<D: Disk> Engine<D> {
    /// Removes messages of an interest stream that no consumer needs: at once if it is little work, else in later turns.
    pub(crate) fn release_unneeded(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if stream.core.config().retention != Retention::Interest {
            return;
        }
        let end = stream.core.messages().last_sequence();
        match &mut stream.sweep {
            Some(sweep) => (sweep.again, sweep.end) = (true, end),
            None => {
                // A missing consumer may need the messages up to `held`.
                stream.sweep = Some(Sweep { at: stream.held + 1, end, again: false });
                self.sweeping.push_back(stream_id);
            }
        }
        let mut budget = self.sweep_left;
        if budget > 0 {
            self.sweep(stream_id, &mut budget);
        }
        self.sweep_left = budget;
    }

    /// Whether a search or a removal of messages is still in progress for a stream.
    pub(crate) fn is_settling(&self, stream_id: StreamId) -> bool {
        self.streams.get(&stream_id).is_some_and(|stream| stream.sweep.is_some() || stream.trim.is_some())
    }

    /// Continues the searches, within the limits of a turn.
    pub(super) fn run_sweeps(&mut self) {
        self.sweep_left = TURN;
        for _ in 0..self.sweeping.len() {
            let mut budget = self.sweep_left;
            let Some(stream_id) = self.sweeping.pop_front().filter(|_| budget > 0) else { break };
            if !self.sweep(stream_id, &mut budget) {
                self.sweeping.push_back(stream_id);
            }
            self.sweep_left = budget;
        }
    }

    /// Searches a whole stream while the store is opened, when no client waits yet.
    pub(super) fn sweep_all(&mut self, stream_id: StreamId) {
        self.release_unneeded(stream_id);
        while !self.sweep(stream_id, &mut { usize::MAX }) {}
    }

    /// Searches some messages of a stream. Returns true when the search is done.
    fn sweep(&mut self, stream_id: StreamId, budget: &mut usize) -> bool {
        let Some(stream) = self.streams.get(&stream_id) else { return true };
        let Some(mut sweep) = stream.sweep else { return true };
        let consumers: Vec<&Consumer> =
            stream.consumers.values().filter_map(|id| self.consumers.get(id).map(|c| &**c)).collect();
        let cost = 1 + consumers.len() / 4;
        let (mut unneeded, mut is_cut) = (Vec::new(), false);
        stream.core.messages().scan(sweep.at, &mut |sequence, message| {
            is_cut = *budget == 0 && sequence <= sweep.end;
            if is_cut || sequence > sweep.end {
                return ControlFlow::Break(());
            }
            sweep.at = sequence + 1;
            let len = message.map_or(0, |message| message.headers.len() + message.payload.len());
            *budget = budget.saturating_sub(cost + len / 512);
            let is_needed = |subject: &[u8]| {
                consumers.iter().any(|c| c.needs(sequence, subject))
                    || self.is_followed(stream_id, sequence, subject)
            };
            if message.is_some_and(|m| !is_needed(m.subject)) {
                unneeded.push(sequence);
                *budget = budget.saturating_sub(REMOVAL);
            }
            ControlFlow::Continue(())
        });
        let Some(stream) = self.streams.get_mut(&stream_id) else { return true };
        let is_over = !is_cut && !sweep.again;
        if !is_cut {
            (sweep.at, sweep.again) = (stream.held + 1, false);
        }
        stream.sweep = (!is_over).then_some(sweep);
        if !unneeded.is_empty() {
            stream.released.append(&mut unneeded);
            if !std::mem::replace(&mut stream.is_released, true) {
                self.released.push(stream_id);
            }
            self.remove_released();
        }
        is_over
    }
}
