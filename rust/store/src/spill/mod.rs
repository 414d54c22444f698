//! Message ids, expiries and schedules, which go to disk when memory is short.
//!
//! [`Ids`] holds the message ids that were seen; [`Dues`] holds the times at which messages expire or schedules are due. Both
//! keep new entries in memory. When the indices of a store take too much memory, entries are sorted and written to a *table*, a
//! file of records of one length.
//!
//! Memory then holds only the places of the table's blocks and, for ids, a filter that excludes most absent ids. Several tables
//! of similar size are joined into one, so that there are few.
//!
//! Only this opening of the store uses its tables, which are never synced. The next opening learns their content from the
//! messages. If a table can't be read, the stream does the same: an [`Unreadable`] can be repaired.
//!
//! Ids are dropped in groups, so that no list of ids in the order of time is needed. Times are a priority queue: a table of times
//! is read from its front, and only one of its blocks is in memory.
//!
//! This queue replaces timing wheels with buckets on disk. It needs no bucket width. It writes an entry once and joins it a few
//! times, where wheels would move it from one to the next. Due times far apart cost as much as equal ones.

mod dues;
mod ids;
mod job;
mod table;
mod tables;

use std::fmt::{self, Debug};
use std::io;
use std::sync::Arc;

pub use self::dues::Dues;
pub use self::ids::{Ids, Seen};
pub use self::job::{SpillJob, Spilled};
use crate::budget::Budget;
use crate::disk::{Disk, DiskFile};
use crate::file::{Files, Packing, labelled_packing};

/// Length of the longest record, in bytes.
const RECORD_LEN_MAX: usize = 32;

/// The error for a table that can't be read. Its content can be learned again from the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an index file can't be read")]
pub struct Unreadable;

/// The content of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Message ids.
    Ids,
    /// The times at which messages expire.
    Ttls,
    /// The times at which schedules are due.
    Schedules,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::Ttls => "ttls",
            Self::Schedules => "schedules",
        }
    }

    fn label(self) -> &'static [u8; 8] {
        match self {
            Self::Ids => b"ids     ",
            Self::Ttls => b"ttls    ",
            Self::Schedules => b"schedule",
        }
    }

    /// Returns the length of a record in bytes. Its first [`table::KEY_LEN`] bytes are its key.
    fn record_len(self) -> usize {
        match self {
            Self::Ids => RECORD_LEN_MAX,
            Self::Ttls | Self::Schedules => 16,
        }
    }
}

/// The place of a stream's tables.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<dyn Place>);

impl Shelf {
    /// Returns the place for the stream with the number `group` in the store. `salt` is the store's.
    pub fn new<D: Disk>(files: &Arc<Files<D>>, salt: u64, group: u32) -> Self {
        Self(Arc::new(Drawer { files: Arc::clone(files), salt, group }))
    }

    /// Returns a place without tables: all entries stay in memory.
    pub fn none() -> Self {
        Self(Arc::new(Nowhere(Budget::new(usize::MAX))))
    }
}

/// The file access that tables need.
trait Place: Debug + Send + Sync {
    /// Returns the name of a table's file, and its packing; `None` if there are no files.
    fn target(&self, kind: Kind, number: u32) -> Option<(String, Packing)>;
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn read_at(&self, name: &str, bytes: &mut [u8], at: u64) -> io::Result<usize>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn budget(&self) -> &Arc<Budget>;
    /// Returns the number of the store's opening.
    fn epoch(&self) -> u32;
    /// Whether jobs that only save memory should end early, since the store is about to be closed.
    fn is_in_a_hurry(&self) -> bool;
}

struct Drawer<D: Disk> {
    files: Arc<Files<D>>,
    salt: u64,
    group: u32,
}

impl<D: Disk> Debug for Drawer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drawer").field("group", &self.group).finish_non_exhaustive()
    }
}

impl<D: Disk> Place for Drawer<D> {
    fn target(&self, kind: Kind, number: u32) -> Option<(String, Packing)> {
        let packing = labelled_packing(&self.files, kind.label(), !self.salt, self.group, number);
        Some((format!("stream-{}-{}-{number}", self.group, kind.name()), packing))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.files.create(name)?)
    }

    fn read_at(&self, name: &str, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.files.get(name)?.read_at(bytes, at)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.files.index_budget
    }

    fn epoch(&self) -> u32 {
        self.files.epoch
    }

    fn is_in_a_hurry(&self) -> bool {
        self.files.is_in_a_hurry()
    }
}

/// A place without files, for indices that stay in memory.
#[derive(Debug)]
struct Nowhere(Arc<Budget>);

impl Place for Nowhere {
    fn target(&self, _: Kind, _: u32) -> Option<(String, Packing)> {
        None
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_at(&self, _: &str, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.0
    }

    fn epoch(&self) -> u32 {
        0
    }

    fn is_in_a_hurry(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::encryption::{Cipher, Keyring};

    /// A store with little memory for indices.
    pub(super) struct World {
        pub(super) disk: Arc<SimDisk>,
        files: Arc<Files<SimDisk>>,
    }

    impl World {
        pub(super) fn new(budget: usize) -> Self {
            let disk = Arc::new(SimDisk::default());
            let keys =
                if budget.is_multiple_of(2) { Keyring::default() } else { Keyring::fixed(Cipher::Aes256Gcm) };
            let files = Arc::new(Files::new(Arc::clone(&disk), 1 << 20, keys, 1, budget));
            Self { disk, files }
        }
    }

    pub(super) fn shelf(world: &World) -> Shelf {
        Shelf::new(&world.files, 7, 3)
    }

    #[test]
    fn without_a_place_all_stays_in_memory() {
        let mut ids = Ids::new(&Shelf::none());
        (0..10_000).for_each(|i| ids.note(i, Seen { time: 0, sequence: 1 }, 1));
        assert!(!ids.has_job() && ids.job(0).is_none());
    }
}
