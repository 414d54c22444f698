//! Writing to disk what is known of subjects, on a thread that may wait.

use std::io;
use std::sync::Arc;

use super::merge::Merge;
use super::run::{Run, Writer};
use crate::disk::Disk;
use crate::file::chunk::Packing;
use crate::file::files::Files;
use crate::index::{Filter, SubjectTree};
use crate::messages::SubjectState;

/// Subjects that are to go from memory to a file, together with those of some files before.
#[derive(Debug)]
pub struct IndexJob<D: Disk> {
    pub(super) files: Arc<Files<D>>,
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) packing: Packing,
    pub(super) generation: u64,
    pub(super) tree: Arc<SubjectTree<SubjectState>>,
    /// Runs that the new one takes the place of, the newest first.
    pub(super) merged: Vec<Arc<Run>>,
    /// Whether nothing older is left, so that nothing need be known of what is no more.
    pub(super) is_oldest: bool,
}

/// How an [`IndexJob`] ended; for [`FileStream::indexed`](crate::file::FileStream::indexed).
#[derive(Debug)]
#[must_use]
pub struct Indexed {
    pub(super) generation: u64,
    pub(super) name: String,
    pub(super) merged: usize,
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
    /// Does it.
    pub fn run(self) -> Indexed {
        let result = self.write();
        Indexed { generation: self.generation, name: self.name, merged: self.merged.len(), result }
    }

    fn write(&self) -> Result<Run, Failed> {
        let writing = |_: io::Error| Failed::Writing;
        let all = Filter::new(b">");
        let runs = self.merged.iter().map(|run| &**run);
        let mut merge =
            Merge::new(&*self.files, [&*self.tree], runs, &all, None).map_err(|_| Failed::Reading)?;
        let expected = self.tree.len() + self.merged.iter().map(|run| run.len).sum::<usize>();
        let mut writer = Writer::new(&*self.files, &self.name, self.number, self.packing.clone(), expected)
            .map_err(writing)?;
        while let Some(state) = merge.next().map_err(|_| Failed::Reading)? {
            if state.count > 0 || !self.is_oldest {
                writer.add(merge.subject(), state).map_err(writing)?;
            }
        }
        writer.finish().map_err(writing)
    }
}
