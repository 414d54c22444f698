//! A disk in memory that fails as real ones do. A power cut loses, keeps or tears unsynced writes; bits flip; space runs out; a
//! sync fails and drops its writes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// The unit that a device writes atomically, in bytes.
const SECTOR: usize = 512;

/// A random number generator with a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// Returns the next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    /// Returns true once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A write that was not synced.
#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Len(usize),
}

#[derive(Debug, Default, Clone)]
struct Content {
    /// The content that every power cut leaves.
    durable: Vec<u8>,
    /// The content that reads return.
    seen: Vec<u8>,
    pending: Vec<Pending>,
}

impl Content {
    fn apply(bytes: &mut Vec<u8>, change: &Pending) {
        match change {
            Pending::Len(len) => bytes.resize(*len, 0),
            Pending::Write(at, data) => {
                if bytes.len() < at + data.len() {
                    bytes.resize(at + data.len(), 0);
                }
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

/// The active faults.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Every sync fails, and a power cut loses what it should have made durable.
    pub sync_fails: bool,
    /// Files can't be created or grow.
    pub full: bool,
    /// Maximum length of all files together, in bytes.
    pub capacity: Option<u64>,
    /// Length of all files together, in bytes.
    used: u64,
}

impl Faults {
    /// Accounts for a file that changes from `len` to `new_len` bytes. Fails if there is no space.
    fn resize(&mut self, len: usize, new_len: usize) -> io::Result<()> {
        let used = (self.used + new_len as u64).saturating_sub(len as u64);
        if new_len > len && (self.full || self.capacity.is_some_and(|capacity| used > capacity)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.used = used;
        Ok(())
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Arc<SimFile>>,
    durable_names: BTreeMap<String, Arc<SimFile>>,
}

/// A simulated disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    faults: Arc<Mutex<Faults>>,
}

/// A file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    content: Mutex<Content>,
    faults: Arc<Mutex<Faults>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// Returns another disk that shares the space and the faults of this one.
    pub fn beside(&self) -> SimDisk {
        SimDisk { state: Arc::default(), faults: Arc::clone(&self.faults) }
    }

    /// Changes the active faults.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.faults));
    }

    /// Returns the disk as it is after a power cut. Each unsynced write is there, missing or torn, independently of the others.
    /// Each unsynced name is there or missing.
    pub fn power_cut(&self, random: &mut Random) -> SimDisk {
        let state = lock(&self.state);
        let mut names = state.durable_names.clone();
        for (name, file) in &state.files {
            if !names.contains_key(name) && random.one_in(2) {
                names.insert(name.clone(), Arc::clone(file));
            }
        }
        for name in state.durable_names.keys() {
            if !state.files.contains_key(name) && random.one_in(2) {
                names.remove(name);
            }
        }
        let after = SimDisk::default();
        for (name, file) in names {
            let content = lock(&file.content);
            let mut bytes = content.durable.clone();
            for change in &content.pending {
                match change {
                    Pending::Len(_) if random.one_in(2) => Content::apply(&mut bytes, change),
                    Pending::Len(_) => {}
                    Pending::Write(at, data) => tear(&mut bytes, *at, data, random),
                }
            }
            after.put(&name, bytes);
        }
        after
    }

    /// Returns the disk as it is after a kill of the process. All writes are there, and unsynced ones are still not durable.
    pub fn kill(&self) -> SimDisk {
        let after = SimDisk::default();
        let mut copies: BTreeMap<*const SimFile, Arc<SimFile>> = BTreeMap::new();
        let mut copy = |(name, file): (&String, &Arc<SimFile>)| {
            let copied = copies.entry(Arc::as_ptr(file)).or_insert_with(|| {
                let content = Mutex::new(lock(&file.content).clone());
                Arc::new(SimFile { content, faults: Arc::clone(&after.faults) })
            });
            (name.clone(), Arc::clone(copied))
        };
        let state = lock(&self.state);
        let files: BTreeMap<_, _> = state.files.iter().map(&mut copy).collect();
        let durable_names = state.durable_names.iter().map(&mut copy).collect();
        lock(&after.faults).used = files.values().map(|file| lock(&file.content).seen.len() as u64).sum();
        *lock(&after.state) = State { files, durable_names };
        after
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        lock(&self.faults).used += bytes.len() as u64;
        let content = Content { seen: bytes.clone(), durable: bytes, pending: Vec::new() };
        let file = Arc::new(SimFile { content: Mutex::new(content), faults: Arc::clone(&self.faults) });
        let mut state = lock(&self.state);
        state.files.insert(name.to_owned(), Arc::clone(&file));
        state.durable_names.insert(name.to_owned(), file);
    }

    /// Calls `change` with the bytes of a file, to look at them or to damage them.
    pub fn bytes<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let file = Arc::clone(&lock(&self.state).files[name]);
        let mut content = lock(&file.content);
        let mut bytes = content.seen.clone();
        let result = change(&mut bytes);
        *content = Content { durable: bytes.clone(), seen: bytes, pending: Vec::new() };
        result
    }
}

/// Applies all, none or some of the sectors of a write.
fn tear(bytes: &mut Vec<u8>, at: usize, data: &[u8], random: &mut Random) {
    let whole = random.below(3);
    if whole == 0 {
        return;
    }
    let mut from = 0;
    while from < data.len() {
        let to = (((at + from) / SECTOR + 1) * SECTOR - at).min(data.len());
        if whole == 1 || random.one_in(2) {
            Content::apply(bytes, &Pending::Write(at + from, data[from..to].to_vec()));
        }
        from = to;
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn open(&self, name: &str) -> io::Result<Arc<SimFile>> {
        lock(&self.state).files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&self, name: &str) -> io::Result<Arc<SimFile>> {
        if lock(&self.faults).full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut state = lock(&self.state);
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(SimFile { content: Mutex::default(), faults: Arc::clone(&self.faults) });
        state.files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let file = lock(&self.state).files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        // The store never writes to a file that it removed.
        let len = lock(&file.content).seen.len() as u64;
        let mut faults = lock(&self.faults);
        faults.used = faults.used.saturating_sub(len);
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.state).files.keys().cloned().collect())
    }

    fn sync_names(&self) -> io::Result<()> {
        if lock(&self.faults).sync_fails {
            return Err(io::Error::other("simulated"));
        }
        let mut state = lock(&self.state);
        state.durable_names = state.files.clone();
        Ok(())
    }

    fn free(&self) -> Option<u64> {
        let faults = lock(&self.faults);
        match faults.full {
            true => Some(0),
            false => faults.capacity.map(|capacity| capacity.saturating_sub(faults.used)),
        }
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.content).seen.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = lock(&self.content);
        lock(&self.faults).resize(content.seen.len(), len as usize)?;
        content.seen.resize(len as usize, 0);
        content.pending.push(Pending::Len(len as usize));
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.content);
        let rest = content.seen.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(bytes.len());
        bytes[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = lock(&self.content);
        let len = content.seen.len();
        lock(&self.faults).resize(len, len.max(offset as usize + bytes.len()))?;
        let change = Pending::Write(offset as usize, bytes.to_vec());
        Content::apply(&mut content.seen, &change);
        content.pending.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = lock(&self.content);
        let pending = std::mem::take(&mut content.pending);
        if lock(&self.faults).sync_fails {
            return Err(io::Error::other("simulated"));
        }
        for change in &pending {
            Content::apply(&mut content.durable, change);
        }
        Ok(())
    }
}
