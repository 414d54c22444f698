//! Subjects of several places in one order; what a newer place says of a subject counts.

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
    /// It goes no further, and all up to its subject was looked at.
    is_paused: bool,
    /// What it may still look at, and what it has.
    budget: usize,
    spent: usize,
}

impl<D: Disk> Source<'_, D> {
    /// False if there is nothing more.
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
        // What is found when nothing is left costs something too.
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

/// Subjects that match a filter, one after the other. One whose count is 0 is no more.
pub(super) struct Merge<'s, D: Disk> {
    /// The newest first; those that are at an end are left out.
    sources: Vec<Source<'s, D>>,
    subject: Vec<u8>,
    /// What comes behind the subject can't be read.
    is_broken: bool,
    /// What those that are at an end have looked at.
    spent: usize,
}

impl<'s, D: Disk> Merge<'s, D> {
    /// All of these places, the newest first. They look at about as much together as `budget` says.
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

    /// How much was looked at.
    pub(super) fn spent(&self) -> usize {
        self.spent + self.sources.iter().map(|source| source.spent).sum::<usize>()
    }

    /// Goes on to the next subject; answers what is known of it. After a failure the subject is still the one before; after a pause
    /// it is one up to which all was looked at.
    pub(super) fn next(&mut self) -> Result<Step<SubjectState>, Unreadable> {
        if self.is_broken {
            return Err(Unreadable);
        }
        // Of equal ones, the first: that of the newest place. Who has paused there has nothing to say of the subject.
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
                    // This subject is known all the same.
                    self.is_broken = true;
                    break;
                }
            }
        }
        Ok(Step::Found(state))
    }

    /// The subject that [`Merge::next`] went on to.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }
}
