//! A cache of a limited number of open files.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::budget::Budget;
use crate::disk::Disk;
use crate::encryption::Keyring;

/// Maximum number of files that stay open between uses.
const OPEN_MAX: usize = 96;

/// The files of all streams of a JetStream thread.
#[derive(Debug)]
pub struct Files<D: Disk> {
    disk: Arc<D>,
    /// Bytes of data at which a segment ends.
    pub(super) segment_len: u64,
    pub(crate) keys: Keyring,
    /// The number of the store's opening.
    pub(crate) epoch: u32,
    pub(crate) index_budget: Arc<Budget>,
    /// Whether jobs that only save memory should end early.
    in_a_hurry: AtomicBool,
    open: Mutex<Open<D::File>>,
}

#[derive(Debug)]
struct Open<F> {
    files: HashMap<String, (Arc<F>, u64)>,
    clock: u64,
}

impl<D: Disk> Files<D> {
    /// Creates a cache for the files of `disk`, with segments of up to `segment_len` bytes. Files are encrypted if there are
    /// `keys`. `epoch` differs at each opening of the store. Indices take about `index_len` bytes of memory.
    pub fn new(disk: Arc<D>, segment_len: u64, keys: Keyring, epoch: u32, index_len: usize) -> Self {
        let open = Mutex::new(Open { files: HashMap::new(), clock: 0 });
        let (index_budget, in_a_hurry) = (Budget::new(index_len), AtomicBool::new(false));
        Self { disk, segment_len, keys, epoch, index_budget, in_a_hurry, open }
    }

    /// Makes jobs that only save memory end early, since the store is about to be closed.
    pub fn hurry(&self) {
        self.in_a_hurry.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_in_a_hurry(&self) -> bool {
        self.in_a_hurry.load(Ordering::Relaxed)
    }

    /// Returns the disk.
    pub fn disk(&self) -> &Arc<D> {
        &self.disk
    }

    /// Returns the file `name`, and opens it if necessary.
    pub(crate) fn get(&self, name: &str) -> io::Result<Arc<D::File>> {
        {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.clock += 1;
            let now = open.clock;
            if let Some((file, used)) = open.files.get_mut(name) {
                *used = now;
                return Ok(Arc::clone(file));
            }
        }
        let file = self.disk.open(name)?;
        self.keep(name, &file);
        Ok(file)
    }

    /// Creates the file `name`, without the content of a file left from a creation that was never recorded.
    pub(crate) fn create(&self, name: &str) -> io::Result<Arc<D::File>> {
        let file = match self.disk.create(name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(name)?;
                self.disk.create(name)?
            }
            other => other?,
        };
        self.keep(name, &file);
        Ok(file)
    }

    /// Removes the file `name`. A missing file is not an error.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).files.remove(name);
        match self.disk.remove(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn keep(&self, name: &str, file: &Arc<D::File>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.files.len() >= OPEN_MAX {
            // Close a quarter of the files at once, so that this is rare.
            let mut ages: Vec<u64> = open.files.values().map(|(_, used)| *used).collect();
            ages.sort_unstable();
            let limit = ages[ages.len() / 4];
            open.files.retain(|_, (_, used)| *used > limit);
        }
        open.clock += 1;
        let now = open.clock;
        open.files.insert(name.to_owned(), (Arc::clone(file), now));
    }
}
