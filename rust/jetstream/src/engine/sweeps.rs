//! What no consumer of an interest stream needs any more, since one went or wants less: it is looked for in steps, in all of the stream.
//!
//! Nothing of this is logged but the removals: a start looks through all such streams anyway.

use std::ops::ControlFlow;

use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::Engine;
use crate::consumer::Consumer;
use crate::ids::StreamId;
use crate::stream::Retention;

/// Messages that are looked at in one turn, if a consumer or two may need them; few where it is tested.
const TURN: usize = if cfg!(debug_assertions) { 64 } else { 8192 };
/// What it costs to take one out.
const REMOVAL: usize = 8;

/// A look for what is not needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    /// Where it goes on, and up to where: what is behind came later, and was judged when it came.
    at: u64,
    end: u64,
    /// Something changed since it began: it is to begin once more.
    again: bool,
}

impl<D: Disk> Engine<D> {
    /// Takes out what no consumer of an interest stream needs any more: at once if that is little, else in the turns to come.
    pub(crate) fn release_unneeded(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if stream.core.config().retention != Retention::Interest {
            return;
        }
        let end = stream.core.messages().last_sequence();
        match &mut stream.sweep {
            Some(sweep) => (sweep.again, sweep.end) = (true, end),
            None => {
                // Up to there a consumer may be missing that needs them.
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

    /// Whether something that was asked of a stream is still being carried out.
    pub(crate) fn is_settling(&self, stream_id: StreamId) -> bool {
        self.streams.get(&stream_id).is_some_and(|stream| stream.sweep.is_some() || stream.trim.is_some())
    }

    /// Goes on, as much as there is time for in one turn.
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

    /// Looks through all of a stream: while the store is opened, when nobody waits yet.
    pub(super) fn sweep_all(&mut self, stream_id: StreamId) {
        self.release_unneeded(stream_id);
        while !self.sweep(stream_id, &mut { usize::MAX }) {}
    }

    /// Looks at some messages of a stream more; true if those were all.
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
