//! A disk in memory that fails as real ones do: a power cut loses, keeps or tears whatever was not synced, bits rot, room
//! runs out, a sync fails and forgets what it should have written.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// What a device writes whole or not at all.
const SECTOR: usize = 512;

/// Numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    /// True once in `n` times.
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
    /// What a power cut leaves for sure.
    durable: Vec<u8>,
    /// What reads see.
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

/// Which faults strike from now on.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Every sync fails, and what it should have written is lost in a power cut.
    pub sync_fails: bool,
    /// Files can't grow, nor be created.
    pub full: bool,
    /// Bytes of all files together that there is room for.
    pub capacity: Option<u64>,
    /// Bytes of all files.
    used: u64,
}

impl Faults {
    /// Takes note that a file of `len` bytes is to have `new_len`.
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

/// The disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    faults: Arc<Mutex<Faults>>,
}

/// A file of it.
#[derive(Debug)]
pub struct SimFile {
    content: Mutex<Content>,
    faults: Arc<Mutex<Faults>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// Another disk with the same room and the same faults.
    pub fn beside(&self) -> SimDisk {
        SimDisk { state: Arc::default(), faults: Arc::clone(&self.faults) }
    }

    /// Changes which faults strike.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.faults));
    }

    /// The disk as it is found after a power cut: each unsynced write is there, or not, or in part, in any order; each
    /// unsynced name likewise.
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

    /// The disk as it is found after the process was killed: all that was written is there, and what was not synced still is not.
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

    /// The bytes of a file, to be looked at or damaged.
    pub fn bytes<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let file = Arc::clone(&lock(&self.state).files[name]);
        let mut content = lock(&file.content);
        let mut bytes = content.seen.clone();
        let result = change(&mut bytes);
        *content = Content { durable: bytes.clone(), seen: bytes, pending: Vec::new() };
        result
    }
}

/// Puts some of the sectors of a write in place, mostly all or none.
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
        // Nothing in the store writes to a file that it removed.
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
