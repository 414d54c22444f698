//! Subjects of several places in one order; what a newer place says of a subject counts.

use super::run::{Run, RunCursor, Unreadable};
use crate::disk::Disk;
use crate::file::files::Files;
use crate::index::{Cursor, Filter, SubjectTree};
use crate::messages::SubjectState;

enum Source<'s, D: Disk> {
    Tree(Cursor<'s, SubjectState>, SubjectState),
    Run(RunCursor<'s, D>),
}

impl<D: Disk> Source<'_, D> {
    fn next(&mut self) -> Result<bool, Unreadable> {
        match self {
            Self::Tree(cursor, state) => match cursor.next() {
                Some(found) => {
                    *state = *found;
                    Ok(true)
                }
                None => Ok(false),
            },
            Self::Run(cursor) => cursor.next(),
        }
    }

    fn subject(&self) -> &[u8] {
        match self {
            Self::Tree(cursor, _) => cursor.subject(),
            Self::Run(cursor) => cursor.subject(),
        }
    }

    fn state(&self) -> SubjectState {
        match self {
            Self::Tree(_, state) => *state,
            Self::Run(cursor) => cursor.state(),
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
}

impl<'s, D: Disk> Merge<'s, D> {
    /// All of these places, the newest first.
    pub(super) fn new(
        files: &'s Files<D>,
        trees: impl IntoIterator<Item = &'s SubjectTree<SubjectState>>,
        runs: impl IntoIterator<Item = &'s Run>,
        filter: &'s Filter,
        after: Option<&'s [u8]>,
    ) -> Result<Self, Unreadable> {
        let trees =
            trees.into_iter().map(|tree| Source::Tree(tree.cursor(filter, after), SubjectState::default()));
        let runs = runs.into_iter().map(|run| Source::Run(RunCursor::new(files, run, filter, after)));
        let mut sources = Vec::new();
        for mut source in trees.chain(runs) {
            if source.next()? {
                sources.push(source);
            }
        }
        Ok(Self { sources, subject: Vec::new(), is_broken: false })
    }

    /// Goes on to the next subject; answers what is known of it. After a failure the subject is still the one before.
    pub(super) fn next(&mut self) -> Result<Option<SubjectState>, Unreadable> {
        if self.is_broken {
            return Err(Unreadable);
        }
        // Of equal ones, the first: that of the newest place.
        let Some(first) = self.sources.iter().min_by(|a, b| a.subject().cmp(b.subject())) else {
            return Ok(None);
        };
        let state = first.state();
        self.subject.clear();
        self.subject.extend_from_slice(first.subject());
        let mut i = 0;
        while i < self.sources.len() {
            if self.sources[i].subject() != self.subject {
                i += 1;
                continue;
            }
            match self.sources[i].next() {
                Ok(true) => i += 1,
                Ok(false) => drop(self.sources.remove(i)),
                Err(Unreadable) => {
                    // This subject is known all the same.
                    self.is_broken = true;
                    break;
                }
            }
        }
        Ok(Some(state))
    }

    /// The subject that [`Merge::next`] went on to.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }
}
