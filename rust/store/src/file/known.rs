//! What a stream knows of its subjects: asked, changed, kept within memory, and counted anew where it can't be read.

use std::ops::ControlFlow;

use super::open::{self, merge};
use super::stream::FileStream;
use super::subjects::{IndexJob, Indexed, Unreadable};
use crate::disk::Disk;
use crate::index::SubjectTree;
use crate::messages::SubjectState;

impl<D: Disk> FileStream<D> {
    /// Lets a subject, of which `known` is known, lose a message; `before` is the one before it, if it was the last.
    pub(super) fn forget(&mut self, subject: &[u8], known: SubjectState, sequence: u64, before: Option<u64>) {
        match known.count {
            0 => return,
            1 => {
                self.mend_index();
                return self.subjects.remove(subject);
            }
            _ => {}
        }
        self.change_subject(subject, SubjectState::default(), |known| {
            known.count = known.count.saturating_sub(1);
            // A first one that is gone is looked for when it is asked for.
            if known.last == sequence {
                known.last = before.unwrap_or(known.last);
            } else if known.count == 1 {
                known.first = known.last;
            }
        });
    }

    /// What is known of `subject`.
    pub(super) fn known(&self, subject: &[u8]) -> Option<SubjectState> {
        if self.recounted.get().is_none()
            && let Ok(known) = self.subjects.get(&*self.files, subject)
        {
            return known;
        }
        self.recounted.get_or_init(|| self.counted()).get(subject).copied()
    }

    /// Changes what is known of `subject`, or sets it to `new` if there is nothing, and answers what it was; `None` if there are more
    /// subjects than can be known.
    pub(super) fn change_subject(
        &mut self,
        subject: &[u8],
        new: SubjectState,
        change: impl Fn(&mut SubjectState),
    ) -> Option<SubjectState> {
        self.mend_index();
        self.subjects.update(&*self.files, subject, new, &change).unwrap_or_else(|Unreadable| {
            self.subjects.replace(self.counted());
            self.subjects.update(&*self.files, subject, new, &change).ok().flatten()
        })
    }

    /// Puts what was counted in the place of an index that can't be read.
    fn mend_index(&mut self) {
        if let Some(counted) = self.recounted.take() {
            self.subjects.replace(counted);
        }
    }

    /// What is to be done to keep what is known of subjects within the memory for it.
    pub fn index_job(&mut self) -> Option<IndexJob<D>> {
        let (files, salt, group) = (&self.files, self.salt, self.group);
        self.subjects.job(files, |number| Some(open::index_target(files, salt, group, number)))
    }

    /// Makes room at once, if there is too little: while the store is opened, when nobody waits yet.
    pub fn make_index_room(&mut self) {
        if let Some(job) = self.freezing_job() {
            self.indexed(job.run());
        }
    }

    pub(super) fn freezing_job(&mut self) -> Option<IndexJob<D>> {
        let (files, salt, group) = (&self.files, self.salt, self.group);
        self.subjects.freezing_job(files, |number| Some(open::index_target(files, salt, group, number)))
    }

    /// Takes note of how a job ended.
    pub fn indexed(&mut self, indexed: Indexed) {
        if self.subjects.indexed(indexed) == Err(Unreadable) {
            self.recount();
        }
    }

    /// Counts all messages that can be read anew by their subjects. Else a limit would take one more than it should.
    pub(super) fn recount(&mut self) {
        self.is_miscounted = false;
        self.recounted.take();
        let counted = self.counted();
        self.subjects.replace(counted);
    }

    /// What all messages that can be read say of their subjects.
    pub(super) fn counted(&self) -> SubjectTree<SubjectState> {
        let mut subjects = SubjectTree::default();
        self.walk(self.first, |sequence, message| match message {
            Some(message) => merge(
                &mut subjects,
                message.subject,
                SubjectState { first: sequence, last: sequence, count: 1 },
            ),
            None => ControlFlow::Continue(()),
        });
        subjects
    }

    /// The names of files that are for this opening of the store alone.
    pub fn index_names(&self) -> impl Iterator<Item = &String> {
        self.subjects.file_names()
    }

    /// Whether [`FileStream::index_job`] has something.
    pub fn has_index_job(&self) -> bool {
        self.subjects.has_job()
    }
}
