//! The subject index of a stream on disk, within a memory budget.
//!
//! Recently used subjects are in a tree. When all trees of a store take too much memory, the tree of the growing stream is
//! *frozen*. It is written to a file in subject order, a [run](run::Run), and dropped.
//!
//! A lookup asks the tree, then the frozen tree, then the runs from the newest to the oldest. The first one that knows the
//! subject is right, even if its entry says that the subject has no messages. Each run keeps about two bytes per subject in
//! memory, beyond the budget. Several runs of similar size are *joined* into one, so that there are few.
//!
//! The index is a map, not a list of differences: an update copies the subject's whole state into the tree. So every lookup has
//! one answer, and the number of subjects is exact.
//!
//! An opening is the exception. It learns the subjects segment by segment and looks nothing up: trees and runs hold *parts*, and
//! these runs have no filter. At the end, one pass adds up the parts into one run, unless all of them are in one tree.
//!
//! Only this opening of the store uses its run files. The next opening learns all subjects from the segments' footers. If a run
//! can't be read, the stream counts all subjects again from its messages.
//!
//! Runs do not survive a restart on purpose. They would be a second record of the subjects, which would have to agree with the
//! footers and the log after a crash.

mod job;
mod merge;
mod run;

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use self::job::{Content, Failed};
pub use self::job::{IndexJob, Indexed};
use self::merge::{Merge, Place, Union};
pub(super) use self::run::Unreadable;
use self::run::{Chunks, Run};
use super::chunk::Packing;
use super::files::Files;
use super::footer::FooterSubjects;
use crate::budget::{Budget, Share};
use crate::disk::Disk;
use crate::index::{Filter, Step, SubjectTree};
use crate::messages::SubjectState;

/// Minimum number of runs that are joined at once.
const JOINED: usize = 4;
/// A run is joined with newer ones if it has at most this many times as many subjects as they have together.
const LARGER: usize = 2;

/// A map from subjects to their states.
#[derive(Debug)]
pub(super) struct SubjectIndex {
    tree: SubjectTree<SubjectState>,
    /// The tree that is being written.
    frozen: Option<Arc<SubjectTree<SubjectState>>>,
    /// The runs, the oldest first.
    runs: Vec<Arc<Run>>,
    /// Number of subjects with messages.
    live: usize,
    next_number: u32,
    /// Rises when the whole index is replaced. Results of jobs with another generation are ignored.
    generation: u64,
    is_freezing: bool,
    is_joining: bool,
    /// Whether runs may be joined: not after a failed write, until a tree was written.
    may_join: bool,
    /// Number of runs to be joined, counted from the newest.
    to_join: usize,
    wants_freezing: bool,
    /// Number of subjects in the tree at which memory use is checked again.
    look_at: usize,
    share: Share,
    /// Input of all hashes.
    seed: u64,
    chunks: RefCell<Chunks>,
    obsolete: Vec<String>,
    is_incomplete: bool,
    /// Whether the stream is being opened: trees and runs hold parts that must be added up.
    is_learning: bool,
}

impl SubjectIndex {
    /// Returns an empty index. `seed` is any number that clients do not know.
    pub(super) fn new(budget: &Arc<Budget>, seed: u64) -> Self {
        Self {
            tree: SubjectTree::default(),
            frozen: None,
            runs: Vec::new(),
            live: 0,
            next_number: 1,
            generation: 0,
            is_freezing: false,
            is_joining: false,
            may_join: true,
            to_join: 0,
            wants_freezing: false,
            look_at: budget.step(),
            share: Share::new(budget),
            seed,
            chunks: RefCell::new(Chunks::new(budget)),
            obsolete: Vec::new(),
            is_incomplete: false,
            is_learning: false,
        }
    }

    /// Returns the number of subjects with messages.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Returns the state of `subject`.
    pub(super) fn get<D: Disk>(
        &self,
        files: &Files<D>,
        subject: &[u8],
    ) -> Result<Option<SubjectState>, Unreadable> {
        let known = match self.tree.get(subject) {
            Some(known) => Some(*known),
            None => self.get_below(files, subject)?,
        };
        Ok(known.filter(|known| known.count > 0))
    }

    /// Returns the state of `subject` from the frozen tree and the runs.
    fn get_below<D: Disk>(
        &self,
        files: &Files<D>,
        subject: &[u8],
    ) -> Result<Option<SubjectState>, Unreadable> {
        if let Some(known) = self.frozen.as_ref().and_then(|frozen| frozen.get(subject)) {
            return Ok(Some(*known));
        }
        let Some(hash) = self.runs.first().map(|run| run.hash(subject)) else { return Ok(None) };
        let mut chunks = self.chunks.borrow_mut();
        for run in self.runs.iter().rev().filter(|run| run.may_have(hash)) {
            if let Some(known) = run.get(files, &mut chunks, subject)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    fn may_be_below(&self, subject: &[u8]) -> bool {
        self.frozen.as_ref().is_some_and(|frozen| frozen.get(subject).is_some())
            || self.runs.first().is_some_and(|first| {
                let hash = first.hash(subject);
                self.runs.iter().any(|run| run.may_have(hash))
            })
    }

    /// Applies `change` to the state of `subject`, or sets it to `new` if there is none. Returns the previous state, or `None`
    /// if there are too many subjects.
    pub(super) fn update<D: Disk>(
        &mut self,
        files: &Files<D>,
        subject: &[u8],
        new: SubjectState,
        change: impl FnOnce(&mut SubjectState),
    ) -> Result<Option<SubjectState>, Unreadable> {
        if let Some(known) = self.tree.get_mut(subject) {
            let before = *known;
            if before.count == 0 {
                *known = new;
                self.live += 1;
            } else {
                change(known);
            }
            return Ok(Some(before));
        }
        let below = self.get_below(files, subject)?.filter(|known| known.count > 0);
        let mut state = below.unwrap_or(new);
        if below.is_some() {
            change(&mut state);
        }
        if self.tree.get_or_insert(subject, state).is_none() {
            return Ok(None);
        }
        self.live += usize::from(below.is_none());
        self.look();
        Ok(Some(below.unwrap_or_default()))
    }

    /// Removes `subject`, which must have a state.
    pub(super) fn remove(&mut self, subject: &[u8]) {
        self.live = self.live.saturating_sub(1);
        if self.may_be_below(subject) {
            let none = SubjectState::default();
            if let Some(known) = self.tree.get_or_insert(subject, none) {
                *known = none;
            }
            self.look();
        } else {
            self.tree.remove(subject);
        }
    }

    /// Visits the subjects that match `filter` in byte order, only those behind `after`, until `visit` breaks. An error carries
    /// the last visited subject.
    pub(super) fn matches<D: Disk>(
        &self,
        files: &Files<D>,
        filter: &Filter,
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Option<Vec<u8>>> {
        if self.frozen.is_none() && self.runs.is_empty() {
            return Ok(self.tree.matches(filter, after, |subject, known| visit(subject, *known)));
        }
        if let Some(subject) = filter.literal() {
            let known = self.get(files, subject).map_err(|_| None)?;
            let known = known.filter(|_| after.is_none_or(|after| after < subject));
            return Ok(known.map_or(ControlFlow::Continue(()), |known| visit(subject, known)));
        }
        let mut merge = self.merge(files, filter, after, usize::MAX).map_err(|_| None)?;
        loop {
            match merge.next() {
                Ok(Step::Found(state)) if state.count == 0 => {}
                Ok(Step::Found(state)) => {
                    if visit(merge.subject(), state).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(Step::End | Step::Paused) => return Ok(ControlFlow::Continue(())),
                Err(Unreadable) => return Err(Some(merge.subject().to_vec())),
            }
        }
    }

    /// Does the same as [`Self::matches`] within `budget`. Moves `after` to where to continue. Returns true if no subjects are
    /// left. An error carries the last visited subject.
    pub(super) fn some_matches<D: Disk>(
        &self,
        files: &Files<D>,
        filter: &Filter,
        after: &mut Option<Vec<u8>>,
        budget: &mut usize,
        visit: &mut dyn FnMut(&[u8], SubjectState),
    ) -> Result<bool, Option<Vec<u8>>> {
        if self.frozen.is_none() && self.runs.is_empty() {
            return Ok(self
                .tree
                .some_matches(filter, after, budget, |subject, known| visit(subject, *known)));
        }
        let from = after.take();
        if let Some(subject) = filter.literal() {
            *budget = budget.saturating_sub(1);
            let known = self.get(files, subject).map_err(|_| from.clone())?;
            if let Some(known) = known.filter(|_| from.as_deref().is_none_or(|after| after < subject)) {
                visit(subject, known);
            }
            return Ok(true);
        }
        let whole = *budget;
        let mut merge = self.merge(files, filter, from.as_deref(), whole).map_err(|_| from.clone())?;
        loop {
            let step = match merge.next() {
                Ok(step) => step,
                Err(Unreadable) if merge.subject().is_empty() => return Err(from.clone()),
                Err(Unreadable) => return Err(Some(merge.subject().to_vec())),
            };
            *budget = whole.saturating_sub(merge.spent());
            match step {
                Step::End => return Ok(true),
                Step::Found(state) if state.count > 0 => visit(merge.subject(), state),
                Step::Found(_) => {}
                // The rest of the budget is too small to start again.
                Step::Paused => *budget = 0,
            }
            if *budget == 0 {
                *after = Some(merge.subject().to_vec());
                return Ok(false);
            }
        }
    }

    fn merge<'s, D: Disk>(
        &'s self,
        files: &'s Files<D>,
        filter: &'s Filter,
        after: Option<&'s [u8]>,
        budget: usize,
    ) -> Result<Merge<'s, D>, Unreadable> {
        let trees = std::iter::once(&self.tree).chain(self.frozen.as_deref());
        let trees = trees.map(|tree| Place::tree(tree, filter, after));
        let runs = self.runs.iter().rev().map(|run| Place::run(files, run, filter, after));
        Merge::new(trees.chain(runs), Union::Newest, budget)
    }

    /// Begins an opening: [`SubjectIndex::learn`] adds the subjects of segments, the oldest first. There are no lookups until
    /// [`SubjectIndex::end_learning`].
    pub(super) fn begin_learning(&mut self) {
        self.is_learning = true;
    }

    /// Adds the state of a subject in one segment. Parts on disk are not looked up, but added up at the end. Returns `None` if the index
    /// can hold no more subjects.
    pub(super) fn learn(&mut self, subject: &[u8], part: SubjectState) -> Option<()> {
        let known = self.tree.get_or_insert(subject, SubjectState { count: 0, ..part })?;
        *known = known.with(part);
        self.look();
        Some(())
    }

    /// Whether parts went to disk: then footers are merged by [`SubjectIndex::footers_job`] faster than they are learned one by one.
    pub(super) fn has_parts(&self) -> bool {
        self.frozen.is_some() || !self.runs.is_empty()
    }

    /// Adds the subjects of some segments' footers as one part.
    ///
    /// # Errors
    ///
    /// A footer is malformed. The subjects must be counted again from the messages.
    pub(super) fn learn_footers<D: Disk>(
        &mut self,
        files: &Arc<Files<D>>,
        target: impl Fn(u32) -> Option<(String, Packing)>,
        footers: Vec<FooterSubjects>,
    ) -> Result<(), Unreadable> {
        let job = self.write_job(files, target, Content::Footers(footers), false).ok_or(Unreadable)?;
        let Indexed { name, content, result, .. } = job.run();
        match (result, content) {
            (Ok(run), _) => self.runs.push(Arc::new(run)),
            // Without space on the disk, they stay in memory.
            (Err(Failed::Writing), Content::Footers(footers)) => {
                self.obsolete.push(name);
                for footer in &footers {
                    let mut cursor = footer.cursor();
                    while cursor.next().ok_or(Unreadable)? {
                        self.learn(cursor.subject(), cursor.state()).ok_or(Unreadable)?;
                    }
                }
            }
            (Err(_), _) => {
                self.obsolete.push(name);
                return Err(Unreadable);
            }
        }
        Ok(())
    }

    /// Ends an opening: adds up the parts, if some went to disk.
    ///
    /// # Errors
    ///
    /// A part can't be read, or the sum can't be written. The subjects must be counted again from the messages.
    pub(super) fn end_learning<D: Disk>(
        &mut self,
        files: &Arc<Files<D>>,
        target: impl Fn(u32) -> Option<(String, Packing)>,
    ) -> Result<(), Unreadable> {
        self.is_learning = false;
        self.live = self.tree.len();
        if self.runs.is_empty() && self.frozen.is_none() {
            return Ok(());
        }
        let tree = Arc::new(std::mem::take(&mut self.tree));
        let trees = std::iter::once(tree).chain(self.frozen.take()).collect();
        let runs: Vec<_> = self.runs.drain(..).rev().collect();
        let names: Vec<_> = runs.iter().map(|run| run.name.clone()).collect();
        let job = self.write_job(files, target, Content::Parts { trees, runs }, true).ok_or(Unreadable)?;
        let Indexed { name, content, result, .. } = job.run();
        let summed = match result {
            Ok(run) => {
                self.live = run.len;
                self.runs.push(Arc::new(run));
                self.look_at = 0;
                self.look();
                Ok(())
            }
            Err(failed) => {
                self.obsolete.push(name);
                match failed {
                    Failed::Reading => Err(Unreadable),
                    // Without space on the disk, the sum stays in memory.
                    Failed::Writing => content.sum(files).map(|sum| self.replace(sum)),
                }
            }
        };
        // Nothing reads the parts any more, and no catalogue names them.
        self.obsolete.extend(names.into_iter().filter(|name| files.remove(name).is_err()));
        summed
    }

    /// Marks the index as incomplete: all subjects must be learned again.
    pub(super) fn give_up(&mut self) {
        self.is_incomplete = true;
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Replaces the whole index by `tree`.
    pub(super) fn replace(&mut self, tree: SubjectTree<SubjectState>) {
        (self.is_incomplete, self.is_learning) = (false, false);
        self.live = tree.len();
        self.tree = tree;
        self.frozen = None;
        self.obsolete.extend(self.runs.drain(..).map(|run| run.name.clone()));
        self.generation += 1;
        (self.is_freezing, self.is_joining, self.wants_freezing, self.to_join) = (false, false, false, 0);
        self.look_at = 0;
        self.look();
    }

    /// Checks memory use now and then, and requests freezing if memory is short.
    fn look(&mut self) {
        if self.tree.len() < self.look_at {
            return;
        }
        self.look_at = self.tree.len() + self.share.budget().step();
        let tree = self.tree.heap_bytes();
        let frozen = self.frozen.as_ref().map_or(0, |frozen| frozen.heap_bytes());
        self.share.set(tree + frozen);
        let is_worth_it = !self.tree.is_empty() && tree > self.share.budget().smallest();
        self.wants_freezing = !self.is_freezing && is_worth_it && self.share.budget().is_tight();
    }

    /// Whether [`SubjectIndex::job`] would return a job.
    pub(super) fn has_job(&self) -> bool {
        self.wants_freezing || self.to_join > 0
    }

    /// Determines how many runs are to be joined.
    fn plan_joining(&mut self) {
        self.to_join = 0;
        if self.is_joining || !self.may_join || self.is_learning {
            return;
        }
        let (mut len, mut count) = (0, 0);
        for run in self.runs.iter().rev() {
            if count > 0 && run.len > LARGER * len {
                break;
            }
            (len, count) = (len + run.len, count + 1);
        }
        if count >= JOINED {
            self.to_join = count;
        }
    }

    /// Returns the next job that keeps the index within its budget. `target` returns the name and the packing of the file with
    /// a given number.
    pub(super) fn job<D: Disk>(
        &mut self,
        files: &Arc<Files<D>>,
        target: impl Fn(u32) -> Option<(String, Packing)>,
    ) -> Option<IndexJob<D>> {
        self.freezing_job(files, &target).or_else(|| self.joining_job(files, &target))
    }

    /// Returns the job that writes the tree to disk, if memory is short.
    pub(super) fn freezing_job<D: Disk>(
        &mut self,
        files: &Arc<Files<D>>,
        target: impl Fn(u32) -> Option<(String, Packing)>,
    ) -> Option<IndexJob<D>> {
        if !std::mem::take(&mut self.wants_freezing) {
            return None;
        }
        // A frozen tree whose write failed is tried again, before the next one.
        let frozen = self.frozen.get_or_insert_with(|| Arc::new(std::mem::take(&mut self.tree)));
        let tree = Arc::clone(frozen);
        self.look_at = self.share.budget().step();
        let is_oldest = self.runs.is_empty();
        let job = self.write_job(files, target, Content::Tree(tree), is_oldest)?;
        self.is_freezing = true;
        Some(job)
    }

    fn joining_job<D: Disk>(
        &mut self,
        files: &Arc<Files<D>>,
        target: impl Fn(u32) -> Option<(String, Packing)>,
    ) -> Option<IndexJob<D>> {
        let count = std::mem::take(&mut self.to_join);
        if count == 0 {
            return None;
        }
        let first = self.runs.len() - count;
        let runs = self.runs[first..].iter().rev().cloned().collect();
        let job = self.write_job(files, target, Content::Runs { first, runs }, first == 0)?;
        self.is_joining = true;
        Some(job)
    }

    fn write_job<D: Disk>(
        &mut self,
        files: &Arc<Files<D>>,
        target: impl Fn(u32) -> Option<(String, Packing)>,
        content: Content,
        is_oldest: bool,
    ) -> Option<IndexJob<D>> {
        let number = self.next_number;
        let (name, packing) = target(number)?;
        self.next_number += 1;
        let files = Arc::clone(files);
        let (generation, seed) = (self.generation, self.seed);
        let is_part = self.is_learning;
        Some(IndexJob { files, name, number, packing, seed, generation, content, is_oldest, is_part })
    }

    /// Applies the result of a job. Fails if all subjects must be learned again.
    pub(super) fn indexed(&mut self, indexed: Indexed) -> Result<(), Unreadable> {
        let Indexed { generation, name, content, result } = indexed;
        if generation != self.generation {
            self.obsolete.push(name);
            return Ok(());
        }
        match &content {
            Content::Tree(_) => self.is_freezing = false,
            Content::Runs { .. } => self.is_joining = false,
            Content::Parts { .. } | Content::Footers(_) => {}
        }
        match (result, content) {
            (Ok(run), Content::Tree(_)) => {
                self.runs.push(Arc::new(run));
                self.frozen = None;
                self.may_join = true;
                self.look_at = 0;
                self.look();
            }
            (Ok(run), Content::Runs { first, runs }) => {
                // Runs that were added meanwhile are behind these.
                let joined = self.runs.splice(first..first + runs.len(), [Arc::new(run)]);
                self.obsolete.extend(joined.map(|run| run.name.clone()));
            }
            // Parts are made and added up in place, so no such job ends here.
            (Ok(_), Content::Parts { .. } | Content::Footers(_)) => self.obsolete.push(name),
            (Err(Failed::Reading), _) => {
                self.obsolete.push(name);
                return Err(Unreadable);
            }
            (Err(Failed::Writing), _) => {
                // The frozen tree stays in memory until the next attempt, and the runs stay valid.
                self.obsolete.push(name);
                self.may_join = false;
                self.look_at = self.tree.len() + self.share.budget().step();
            }
        }
        self.plan_joining();
        Ok(())
    }

    /// Returns the names of the index's files, including obsolete ones.
    pub(super) fn file_names(&self) -> impl Iterator<Item = &String> {
        self.runs.iter().map(|run| &run.name).chain(&self.obsolete)
    }

    /// Takes the names of obsolete files.
    pub(super) fn take_obsolete(&mut self) -> Vec<String> {
        std::mem::take(&mut self.obsolete)
    }

    /// Drops cached data that can be read again.
    pub(super) fn rest(&mut self) {
        self.chunks.get_mut().clear();
    }
}
