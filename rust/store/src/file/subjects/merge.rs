//! A merge of several sources of subjects into one order. Of several entries for a subject, the newest source's counts.

use super::run::{Run, RunCursor, Unreadable};
use crate::disk::Disk;
use crate::file::files::Files;
use crate::index::{Cursor, Filter, Step, SubjectTree};
use crate::messages::SubjectState;

enum Place<'s, D: Disk> {
    Tree(Cursor<'s, SubjectState>, SubjectState),
    Run(RunCursor<'s, D>),
}

struct Source<'s, D: Disk> {
    place: Place<'s, D>,
    /// Whether the source used up its budget. Everything up to its subject was visited.
    is_paused: bool,
    /// The number of entries that it may still visit, and the number visited.
    budget: usize,
    spent: usize,
}

impl<D: Disk> Source<'_, D> {
    /// Moves to the next subject. Returns false at the end.
    fn next(&mut self) -> Result<bool, Unreadable> {
        let Self { place, is_paused, budget, spent } = self;
        let before = *budget;
        let step = match place {
            Place::Tree(cursor, state) => match cursor.step(budget) {
                Step::Found(found) => {
                    *state = *found;
                    Step::Found(())
                }
                Step::End => Step::End,
                Step::Paused => Step::Paused,
            },
            Place::Run(cursor) => cursor.next(budget)?,
        };
        // A step with an exhausted budget costs one too.
        *spent += (before - *budget).max(1);
        *is_paused = step == Step::Paused;
        Ok(step != Step::End)
    }

    fn subject(&self) -> &[u8] {
        match &self.place {
            Place::Tree(cursor, _) => cursor.subject(),
            Place::Run(cursor) => cursor.subject(),
        }
    }

    fn state(&self) -> SubjectState {
        match &self.place {
            Place::Tree(_, state) => *state,
            Place::Run(cursor) => cursor.state(),
        }
    }
}

/// A cursor over the subjects that match a filter. A subject with the count 0 has no messages any more.
pub(super) struct Merge<'s, D: Disk> {
    /// The sources, the newest first, without those at their end.
    sources: Vec<Source<'s, D>>,
    subject: Vec<u8>,
    /// Whether the entries behind the subject can't be read.
    is_broken: bool,
    /// Number of entries visited by the sources at their end.
    spent: usize,
}

impl<'s, D: Disk> Merge<'s, D> {
    /// Merges these trees and runs, given from the newest to the oldest. Together they visit about `budget` entries.
    pub(super) fn new(
        files: &'s Files<D>,
        trees: impl IntoIterator<Item = &'s SubjectTree<SubjectState>>,
        runs: impl IntoIterator<Item = &'s Run>,
        filter: &'s Filter,
        after: Option<&'s [u8]>,
        budget: usize,
    ) -> Result<Self, Unreadable> {
        let trees =
            trees.into_iter().map(|tree| Place::Tree(tree.cursor(filter, after), SubjectState::default()));
        let runs = runs.into_iter().map(|run| Place::Run(RunCursor::new(files, run, filter, after)));
        let places: Vec<_> = trees.chain(runs).collect();
        let share = (budget / places.len().max(1)).max(1);
        let mut merge = Self { sources: Vec::new(), subject: Vec::new(), is_broken: false, spent: 0 };
        for place in places {
            let mut source = Source { place, is_paused: false, budget: share, spent: 0 };
            if source.next()? {
                merge.sources.push(source);
            } else {
                merge.spent += source.spent;
            }
        }
        Ok(merge)
    }

    /// Returns the number of entries visited.
    pub(super) fn spent(&self) -> usize {
        self.spent + self.sources.iter().map(|source| source.spent).sum::<usize>()
    }

    /// Moves to the next subject and returns its state. After an error the subject is still the previous one. After a pause,
    /// everything up to the subject was visited.
    pub(super) fn next(&mut self) -> Result<Step<SubjectState>, Unreadable> {
        if self.is_broken {
            return Err(Unreadable);
        }
        // Of equal subjects, the first one counts, since it comes from the newest source. A source that paused there has no
        // state for it.
        let order = |source: &Source<'_, D>, other: &Source<'_, D>| {
            let by_subject = source.subject().cmp(other.subject());
            by_subject.then(source.is_paused.cmp(&other.is_paused))
        };
        let Some(first) = self.sources.iter().min_by(|a, b| order(a, b)) else {
            return Ok(Step::End);
        };
        let (state, is_paused) = (first.state(), first.is_paused);
        self.subject.clear();
        self.subject.extend_from_slice(first.subject());
        if is_paused {
            return Ok(Step::Paused);
        }
        let mut i = 0;
        while i < self.sources.len() {
            if self.sources[i].is_paused || self.sources[i].subject() != self.subject {
                i += 1;
                continue;
            }
            match self.sources[i].next() {
                Ok(true) => i += 1,
                Ok(false) => self.spent += self.sources.remove(i).spent,
                Err(Unreadable) => {
                    // The state of this subject is known, in spite of the error.
                    self.is_broken = true;
                    break;
                }
            }
        }
        Ok(Step::Found(state))
    }

    /// Returns the subject that [`Merge::next`] went on to.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }
}
