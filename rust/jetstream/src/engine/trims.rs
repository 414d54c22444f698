//! Removal, in steps, of messages beyond a stream's limits, after the limits were lowered or one long message displaces very
//! many.
//!
//! Each step is a record of the log of its own, which states the maximum number of messages to remove. So a start replays the
//! same steps. The catalogue notes that a removal is in progress, and the start continues it.

use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;

use super::Engine;
use crate::ids::StreamId;
use crate::stream::Entry;

/// The budget of one turn in subjects that are looked at, and what a removal costs of it. Small in debug builds, for tests.
const TURN: usize = if cfg!(debug_assertions) { 64 } else { 8192 };
const REMOVAL: usize = 8;

/// The removal in progress of a stream.
#[derive(Debug, Default)]
pub(super) struct Trim {
    /// The search for subjects beyond their limit: where it continues, and the subjects found. `None` when it is done.
    subjects: Option<Subjects>,
}

#[derive(Debug, Default)]
struct Subjects {
    after: Option<Vec<u8>>,
    is_all: bool,
    found: Vec<Vec<u8>>,
}

/// The next step of a removal.
enum Next {
    Done,
    /// The budget is used up.
    Later,
    /// Remove at most this number of messages: on a subject, or from the front of the stream if the subject is empty.
    Trim(Vec<u8>, u64),
}

impl<D: Disk> Engine<D> {
    /// Removes messages beyond a stream's limits: at once if they are few, else in later turns. `of_subjects`: subjects may
    /// exceed their limit.
    pub(crate) fn begin_trim(&mut self, stream_id: StreamId, of_subjects: bool) {
        let is_over = self.streams.get(&stream_id).is_some_and(|stream| stream.core.is_over());
        if of_subjects || is_over {
            self.trim_later(stream_id, of_subjects);
            self.trim(stream_id, &mut { TURN });
        }
    }

    /// Like [`Engine::begin_trim`], in later turns.
    pub(super) fn trim_later(&mut self, stream_id: StreamId, of_subjects: bool) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if stream.trim.is_none() {
            self.trimming.push_back(stream_id);
        }
        let trim = stream.trim.get_or_insert_default();
        if of_subjects {
            // The limit has changed, so all subjects are checked anew.
            trim.subjects = Some(Subjects::default());
        }
        self.note_dirty(stream_id);
    }

    /// Continues the removals, within the limits of a turn.
    pub(super) fn run_trims(&mut self) {
        let mut budget = TURN;
        for _ in 0..self.trimming.len() {
            let Some(stream_id) = self.trimming.pop_front() else { break };
            if !self.trim(stream_id, &mut budget) {
                self.trimming.push_back(stream_id);
            }
            if budget == 0 {
                break;
            }
        }
    }

    /// Removes messages within the budget. Returns true if none are left to remove.
    fn trim(&mut self, stream_id: StreamId, budget: &mut usize) -> bool {
        loop {
            let (subject, most) = match self.next_trim(stream_id, budget) {
                Next::Done => break,
                Next::Later => return false,
                Next::Trim(subject, most) => (subject, most),
            };
            let count =
                |engine: &Self| engine.streams.get(&stream_id).map_or(0, |s| s.core.messages().count());
            let before = count(self);
            let is_taken = self.change(stream_id, &Entry::Trim { subject: &subject, most }).is_ok();
            if is_taken && count(self) < before {
                continue;
            }
            // The messages can't be removed, so the step is skipped.
            let subjects = self.streams.get_mut(&stream_id).and_then(|stream| stream.trim.as_mut());
            match subjects.and_then(|trim| trim.subjects.as_mut()) {
                Some(subjects) => drop(subjects.found.pop()),
                None => break,
            }
        }
        if let Some(stream) = self.streams.get_mut(&stream_id) {
            stream.trim = None;
        }
        self.note_dirty(stream_id);
        true
    }

    fn next_trim(&mut self, stream_id: StreamId, budget: &mut usize) -> Next {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return Next::Done };
        let Some(trim) = &mut stream.trim else { return Next::Done };
        let keep = u64::try_from(stream.core.config().max_msgs_per_subject).unwrap_or(0);
        let messages = stream.core.messages();
        while let Some(subjects) = trim.subjects.as_mut().filter(|_| keep > 0) {
            if *budget == 0 {
                return Next::Later;
            }
            if let Some(subject) = subjects.found.last() {
                let over = messages.subject(subject).map_or(0, |known| known.count.saturating_sub(keep));
                let most = over.min((*budget / REMOVAL).max(1) as u64);
                *budget = budget.saturating_sub(1 + most as usize * REMOVAL);
                if over == 0 {
                    subjects.found.pop();
                    continue;
                }
                return Next::Trim(subject.clone(), most);
            }
            if subjects.is_all {
                break;
            }
            let Subjects { after, is_all, found } = subjects;
            *is_all = messages.some_subjects(&Filter::new(b">"), after, budget, &mut |subject, known| {
                if known.count > keep {
                    found.push(subject.to_vec());
                }
            });
        }
        trim.subjects = None;
        if !stream.core.is_over() {
            return Next::Done;
        }
        if *budget == 0 {
            return Next::Later;
        }
        let most = (*budget / REMOVAL).max(1);
        *budget = budget.saturating_sub(most * REMOVAL);
        Next::Trim(Vec::new(), most as u64)
    }
}
