//! Jobs that write the subject index to disk, on a thread that may wait.

use std::io;
use std::sync::Arc;

use super::merge::{Merge, Place, Union};
use super::run::{Run, Unreadable, Writer};
use crate::disk::Disk;
use crate::file::chunk::Packing;
use crate::file::files::Files;
use crate::file::footer::FooterSubjects;
use crate::index::{Filter, Step, SubjectTree};
use crate::messages::SubjectState;

/// The source of a new run.
#[derive(Debug)]
pub(super) enum Content {
    /// A frozen tree.
    Tree(Arc<SubjectTree<SubjectState>>),
    /// Runs, the newest first, and the index of the oldest one in the list of runs.
    Runs { first: usize, runs: Vec<Arc<Run>> },
    /// Trees and runs with parts that are added up, the newest first.
    Parts { trees: Vec<Arc<SubjectTree<SubjectState>>>, runs: Vec<Arc<Run>> },
    /// The footers of segments, which become a part.
    Footers(Vec<FooterSubjects>),
}

impl Content {
    /// Returns the subjects of all sources in a tree, added up.
    pub(super) fn sum<D: Disk>(&self, files: &Files<D>) -> Result<SubjectTree<SubjectState>, Unreadable> {
        let all = Filter::new(b">");
        let (places, _) = self.places(files, &all);
        let mut merge = Merge::new(places, Union::Sum, usize::MAX)?;
        let mut sum = SubjectTree::default();
        while let Step::Found(state) = merge.next()? {
            sum.get_or_insert(merge.subject(), state).ok_or(Unreadable)?;
        }
        Ok(sum)
    }

    /// Returns the places of all sources, and the number of their entries where it is known.
    fn places<'s, D: Disk>(&'s self, files: &'s Files<D>, all: &'s Filter) -> (Vec<Place<'s, D>>, usize) {
        let (trees, runs, footers) = match self {
            Self::Tree(tree) => (std::slice::from_ref(tree), &[][..], &[][..]),
            Self::Runs { runs, .. } => (&[][..], &runs[..], &[][..]),
            Self::Parts { trees, runs } => (&trees[..], &runs[..], &[][..]),
            Self::Footers(footers) => (&[][..], &[][..], &footers[..]),
        };
        let entries = trees.iter().map(|tree| tree.len()).chain(runs.iter().map(|run| run.len)).sum();
        let trees = trees.iter().map(|tree| Place::tree(tree, all, None));
        let runs = runs.iter().map(|run| Place::run(files, run, all, None));
        (trees.chain(runs).chain(footers.iter().map(Place::footer)).collect(), entries)
    }

    /// Returns how entries for one subject are combined.
    fn union(&self) -> Union {
        match self {
            Self::Tree(_) | Self::Runs { .. } => Union::Newest,
            Self::Parts { .. } | Self::Footers(_) => Union::Sum,
        }
    }
}

/// A job that writes subjects from memory to a file, or from several files to one.
#[derive(Debug)]
pub struct IndexJob<D: Disk> {
    pub(super) files: Arc<Files<D>>,
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) packing: Packing,
    pub(super) seed: u64,
    pub(super) generation: u64,
    pub(super) content: Content,
    /// Whether no older run remains, so that entries of subjects without messages can be dropped.
    pub(super) is_oldest: bool,
    /// Whether the new run is a part, to be added up with others: no single subject is looked up in it.
    pub(super) is_part: bool,
}

/// The result of an [`IndexJob`]; for [`FileStream::indexed`](crate::file::FileStream::indexed).
#[derive(Debug)]
#[must_use]
pub struct Indexed {
    pub(super) generation: u64,
    pub(super) name: String,
    pub(super) content: Content,
    pub(super) result: Result<Run, Failed>,
}

/// The reason why there is no new run.
#[derive(Debug)]
pub(super) enum Failed {
    /// An existing run can't be read.
    Reading,
    /// The new run can't be written.
    Writing,
}

impl Indexed {
    /// Returns the name of the written file. It is not needed if the stream was deleted.
    pub fn into_file(self) -> String {
        self.name
    }
}

impl<D: Disk> IndexJob<D> {
    /// Whether the job may take seconds. Nothing waits for such a job.
    pub fn is_long(&self) -> bool {
        matches!(self.content, Content::Runs { .. })
    }

    /// Runs the job.
    pub fn run(self) -> Indexed {
        let result = self.write();
        if result.is_err() {
            // On a full disk, a partial file would take the space of others. If its removal fails, the next opening removes it.
            let _ = self.files.remove(&self.name);
        }
        Indexed { generation: self.generation, name: self.name, content: self.content, result }
    }

    fn write(&self) -> Result<Run, Failed> {
        let writing = |_: io::Error| Failed::Writing;
        let all = Filter::new(b">");
        let (places, expected) = self.content.places(&*self.files, &all);
        // A subject has an entry in many parts, so the filter of their sum gets its size at the end.
        let is_sum = matches!(self.content, Content::Parts { .. });
        let expected = Some(expected).filter(|_| !self.is_part && !is_sum);
        let mut merge = Merge::new(places, self.content.union(), usize::MAX).map_err(|_| Failed::Reading)?;
        let mut writer =
            Writer::new(&*self.files, &self.name, self.number, self.packing.clone(), self.seed, expected)
                .map_err(writing)?;
        while let Step::Found(state) = merge.next().map_err(|_| Failed::Reading)? {
            if self.files.is_in_a_hurry() {
                return Err(Failed::Writing);
            }
            if state.count > 0 || !self.is_oldest {
                writer.add(merge.subject(), state).map_err(writing)?;
            }
        }
        let run = writer.finish().map_err(writing)?;
        if is_sum { run.with_filter(&*self.files, self.seed).map_err(|_| Failed::Reading) } else { Ok(run) }
    }
}
