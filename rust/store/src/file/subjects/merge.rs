//! A merge of several sources of subjects into one order.

use super::run::{Run, RunCursor, Unreadable};
use crate::disk::Disk;
use crate::file::files::Files;
use crate::file::footer::{FooterCursor, FooterSubjects};
use crate::index::{Cursor, Filter, Step, SubjectTree};
use crate::messages::SubjectState;

/// A place that has subjects.
pub(super) enum Place<'s, D: Disk> {
    Tree(Cursor<'s, SubjectState>, SubjectState),
    Run(RunCursor<'s, D>),
    Footer(FooterCursor<'s>),
}

impl<'s, D: Disk> Place<'s, D> {
    /// Returns the subjects of a tree that match `filter` and are above `after`.
    pub(super) fn tree(
        tree: &'s SubjectTree<SubjectState>,
        filter: &'s Filter,
        after: Option<&'s [u8]>,
    ) -> Self {
        Self::Tree(tree.cursor(filter, after), SubjectState::default())
    }

    /// Returns the subjects of a run that match `filter` and are above `after`.
    pub(super) fn run(
        files: &'s Files<D>,
        run: &'s Run,
        filter: &'s Filter,
        after: Option<&'s [u8]>,
    ) -> Self {
        Self::Run(RunCursor::new(files, run, filter, after))
    }

    /// Returns all subjects of a segment's footer.
    pub(super) fn footer(footer: &'s FooterSubjects) -> Self {
        Self::Footer(footer.cursor())
    }
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
            Place::Footer(cursor) => match cursor.next() {
                Some(true) => Step::Found(()),
                Some(false) => Step::End,
                None => return Err(Unreadable),
            },
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
            Place::Footer(cursor) => cursor.subject(),
        }
    }

    fn state(&self) -> SubjectState {
        match &self.place {
            Place::Tree(_, state) => *state,
            Place::Run(cursor) => cursor.state(),
            Place::Footer(cursor) => cursor.state(),
        }
    }
}

/// How the entries that several sources have for one subject are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Union {
    /// The newest source's entry counts.
    Newest,
    /// The entries are added up: each source covers other messages.
    Sum,
}

/// A cursor over the subjects that match a filter. A subject with the count 0 has no messages any more.
pub(super) struct Merge<'s, D: Disk> {
    /// The sources, the newest first.
    sources: Vec<Source<'s, D>>,
    /// Indices of the sources that are not at their end, sorted by subject, the smallest last. Of equal subjects, the newest source
    /// comes first. A source that paused at a subject has no entry for it, and comes behind the others.
    order: Vec<usize>,
    union: Union,
    subject: Vec<u8>,
    /// Whether the entries behind the subject can't be read.
    is_broken: bool,
}

impl<'s, D: Disk> Merge<'s, D> {
    /// Merges these trees and runs, given from the newest to the oldest. Together they visit about `budget` entries.
    pub(super) fn new(
        places: impl IntoIterator<Item = Place<'s, D>>,
        union: Union,
        budget: usize,
    ) -> Result<Self, Unreadable> {
        let source = |place| Source { place, is_paused: false, budget, spent: 0 };
        let mut sources: Vec<_> = places.into_iter().map(source).collect();
        let share = (budget / sources.len().max(1)).max(1);
        sources.iter_mut().for_each(|source| source.budget = share);
        let (order, subject) = (Vec::with_capacity(sources.len()), Vec::new());
        let mut merge = Self { sources, order, union, subject, is_broken: false };
        for i in 0..merge.sources.len() {
            merge.go_on(i)?;
        }
        Ok(merge)
    }

    /// Moves a source to its next subject and inserts it into the order, unless it is at its end.
    fn go_on(&mut self, i: usize) -> Result<(), Unreadable> {
        if !self.sources[i].next()? {
            return Ok(());
        }
        let key = |i: usize| {
            let source = &self.sources[i];
            (source.subject(), source.is_paused, i)
        };
        let at = self.order.partition_point(|other| key(*other) > key(i));
        self.order.insert(at, i);
        Ok(())
    }

    /// Returns the number of entries visited.
    pub(super) fn spent(&self) -> usize {
        self.sources.iter().map(|source| source.spent).sum()
    }

    /// Moves to the next subject and returns its state. After an error the subject is still the previous one. After a pause,
    /// everything up to the subject was visited.
    pub(super) fn next(&mut self) -> Result<Step<SubjectState>, Unreadable> {
        if self.is_broken {
            return Err(Unreadable);
        }
        let Some(first) = self.order.last().map(|i| &self.sources[*i]) else { return Ok(Step::End) };
        self.subject.clear();
        self.subject.extend_from_slice(first.subject());
        if first.is_paused {
            return Ok(Step::Paused);
        }
        let mut state = first.state();
        let mut is_newest = true;
        while let Some(i) = self.order.last().copied() {
            let source = &self.sources[i];
            if source.is_paused || source.subject() != self.subject {
                break;
            }
            if self.union == Union::Sum && !is_newest {
                state = state.with(source.state());
            }
            is_newest = false;
            self.order.pop();
            if self.go_on(i).is_err() {
                // The newest entry of this subject is known in spite of the error. A sum is not.
                self.is_broken = true;
                if self.union == Union::Sum {
                    return Err(Unreadable);
                }
                break;
            }
        }
        Ok(Step::Found(state))
    }

    /// Returns the subject that [`Merge::next`] went on to.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }
}
