//! A stream's subject index: lookups, changes, its memory limit, and its repair from the segments when it can't be read.

use std::ops::ControlFlow;

use super::footer::FooterSubjects;
use super::open::{self, merge};
use super::stream::FileStream;
use super::subjects::{IndexJob, Indexed, Unreadable};
use crate::disk::Disk;
use crate::index::SubjectTree;
use crate::messages::SubjectState;

impl<D: Disk> FileStream<D> {
    /// Removes the message `sequence` from the state of `subject`, of which `known` is the present value. If the message was
    /// the last one, `before` is the previous one on the subject.
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
            // A removed first sequence is replaced when it is looked up.
            if known.last == sequence {
                known.last = before.unwrap_or(known.last);
            } else if known.count == 1 {
                known.first = known.last;
            }
        });
    }

    /// Returns the state of `subject`.
    pub(super) fn known(&self, subject: &[u8]) -> Option<SubjectState> {
        if self.recounted.get().is_none()
            && let Ok(known) = self.subjects.get(&*self.files, subject)
        {
            return known;
        }
        self.recounted.get_or_init(|| self.counted()).get(subject).copied()
    }

    /// Applies `change` to the state of `subject`, or sets it to `new` if there is none. Returns the previous state, or `None`
    /// if there are too many subjects.
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

    /// Replaces an unreadable index by the subjects counted from the segments.
    fn mend_index(&mut self) {
        if let Some(counted) = self.recounted.take() {
            self.subjects.replace(counted);
        }
    }

    /// Returns the next job that keeps the index within its memory limit.
    pub fn index_job(&mut self) -> Option<IndexJob<D>> {
        let (files, salt, group) = (&self.files, self.salt, self.group);
        self.subjects.job(files, |number| Some(open::index_target(files, salt, group, number)))
    }

    /// Writes part of the index to disk at once if memory is short. For use while the store is opened and no client waits.
    pub fn make_index_room(&mut self) {
        if let Some(job) = self.freezing_job() {
            self.indexed(job.run());
        }
    }

    pub(super) fn freezing_job(&mut self) -> Option<IndexJob<D>> {
        let (files, salt, group) = (&self.files, self.salt, self.group);
        self.subjects.freezing_job(files, |number| Some(open::index_target(files, salt, group, number)))
    }

    /// Adds the subjects of footers to the index while the stream is opened.
    pub(super) fn learn_footers(&mut self, footers: Vec<FooterSubjects>) {
        if footers.is_empty() {
            return;
        }
        let (files, salt, group) = (&self.files, self.salt, self.group);
        let target = |number| Some(open::index_target(files, salt, group, number));
        if self.subjects.learn_footers(files, target, footers).is_err() {
            self.subjects.give_up();
        }
    }

    /// Completes the index after [`FileStream::open`] has learned all segments.
    ///
    /// # Errors
    ///
    /// The subjects must be counted again from the messages.
    pub(super) fn end_learning(&mut self) -> Result<(), Unreadable> {
        if self.subjects.is_incomplete() {
            return Err(Unreadable);
        }
        let (files, salt, group) = (&self.files, self.salt, self.group);
        self.subjects.end_learning(files, |number| Some(open::index_target(files, salt, group, number)))
    }

    /// Applies the result of an index job.
    pub fn indexed(&mut self, indexed: Indexed) {
        if self.subjects.indexed(indexed) == Err(Unreadable) {
            self.recount();
        }
    }

    /// Counts the messages of each subject again, from all readable messages. Without this, a limit would remove one message
    /// too many.
    pub(super) fn recount(&mut self) {
        self.is_miscounted = false;
        self.recounted.take();
        let counted = self.counted();
        self.subjects.replace(counted);
    }

    /// Returns the subjects of all readable messages.
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

    /// Returns the names of the index's files, which only this opening of the store uses.
    pub fn index_names(&self) -> impl Iterator<Item = &String> {
        self.subjects.file_names()
    }

    /// Whether [`FileStream::index_job`] would return a job.
    pub fn has_index_job(&self) -> bool {
        self.subjects.has_job()
    }
}
