//! Writing to disk what is known of subjects, on a thread that may wait.

use std::io;
use std::sync::Arc;

use super::merge::Merge;
use super::run::{Run, Writer};
use crate::disk::Disk;
use crate::file::chunk::Packing;
use crate::file::files::Files;
use crate::index::{Filter, Step, SubjectTree};
use crate::messages::SubjectState;

/// What a new run is made of.
#[derive(Debug)]
pub(super) enum Content {
    /// What was in memory.
    Tree(Arc<SubjectTree<SubjectState>>),
    /// Runs, the newest first, and the place of the oldest.
    Runs { first: usize, runs: Vec<Arc<Run>> },
}

/// Subjects that are to go from memory to a file, or from several files to one.
#[derive(Debug)]
pub struct IndexJob<D: Disk> {
    pub(super) files: Arc<Files<D>>,
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) packing: Packing,
    pub(super) seed: u64,
    pub(super) generation: u64,
    pub(super) content: Content,
    /// Whether nothing older is left, so that nothing need be known of what is no more.
    pub(super) is_oldest: bool,
}

/// How an [`IndexJob`] ended; for [`FileStream::indexed`](crate::file::FileStream::indexed).
#[derive(Debug)]
#[must_use]
pub struct Indexed {
    pub(super) generation: u64,
    pub(super) name: String,
    pub(super) content: Content,
    pub(super) result: Result<Run, Failed>,
}

/// Why there is no new run.
#[derive(Debug)]
pub(super) enum Failed {
    /// One before can't be read.
    Reading,
    /// The new one can't be written.
    Writing,
}

impl Indexed {
    /// The file that was written: nobody needs it if the stream is no more.
    pub fn into_file(self) -> String {
        self.name
    }
}

impl<D: Disk> IndexJob<D> {
    /// Whether it may take seconds, and nothing waits for it.
    pub fn is_long(&self) -> bool {
        matches!(self.content, Content::Runs { .. })
    }

    /// Does it.
    pub fn run(self) -> Indexed {
        let result = self.write();
        if result.is_err() {
            // On a full disk what was begun takes the room of others; should it stay, the next opening removes it.
            let _ = self.files.remove(&self.name);
        }
        Indexed { generation: self.generation, name: self.name, content: self.content, result }
    }

    fn write(&self) -> Result<Run, Failed> {
        let writing = |_: io::Error| Failed::Writing;
        let (tree, runs) = match &self.content {
            Content::Tree(tree) => (Some(&**tree), &[][..]),
            Content::Runs { runs, .. } => (None, &runs[..]),
        };
        let expected = tree.map_or(0, SubjectTree::len) + runs.iter().map(|run| run.len).sum::<usize>();
        let all = Filter::new(b">");
        let mut merge = Merge::new(&*self.files, tree, runs.iter().map(|run| &**run), &all, None, usize::MAX)
            .map_err(|_| Failed::Reading)?;
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
        writer.finish().map_err(writing)
    }
}
