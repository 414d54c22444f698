//! Ids and times to come, which go to disk when memory is short.
//!
//! [`Ids`] knows which message ids were seen, [`Dues`] what is due when. Both keep what is new in memory. When the indices of a store
//! take too much of it, what they hold is sorted and written to a *table*, a file of records of one length; what stays in memory of a
//! table is where its blocks begin and, of ids, a filter that tells most of those that are not there. When there are several tables of
//! about one size, they are joined, so that there are few.
//!
//! Tables are for this opening of the store alone: they are never synced, and whoever opens the store again learns from the messages
//! what was in them. So does who can't read one, which is why an [`Unreadable`] is an error to be mended, not an end.

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

/// Bytes of the longest record.
const RECORD_LEN_MAX: usize = 32;

/// A table can't be read any more. All of it can be learned again from the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an index file can't be read")]
pub struct Unreadable;

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Message ids.
    Ids,
    /// When messages go.
    Ttls,
    /// When schedules are due.
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

    /// Bytes of a record, the first [`table::KEY_LEN`] of which are its key.
    fn record_len(self) -> usize {
        match self {
            Self::Ids => RECORD_LEN_MAX,
            Self::Ttls | Self::Schedules => 16,
        }
    }
}

/// Where a stream's tables are.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<dyn Place>);

impl Shelf {
    /// That of the stream whose number in the store is `group`; `salt` is the store's.
    pub fn new<D: Disk>(files: &Arc<Files<D>>, salt: u64, group: u32) -> Self {
        Self(Arc::new(Drawer { files: Arc::clone(files), salt, group }))
    }

    /// None: all stays in memory.
    pub fn none() -> Self {
        Self(Arc::new(Nowhere(Budget::new(usize::MAX))))
    }
}

/// What tables ask of the store's files.
trait Place: Debug + Send + Sync {
    /// The name of a table, and how it is written.
    fn target(&self, kind: Kind, number: u32) -> Option<(String, Packing)>;
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn read_at(&self, name: &str, bytes: &mut [u8], at: u64) -> io::Result<usize>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn budget(&self) -> &Arc<Budget>;
    /// Which opening of the store it is.
    fn epoch(&self) -> u32;
    /// The store is to be closed: what only saves memory is to end.
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

/// There is always enough memory.
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
