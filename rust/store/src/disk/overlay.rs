//! A disk over another one, which stays unchanged: writes are kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

const PAGE_LEN: u64 = 4096;

/// A writable disk over another one, which it does not change.
#[derive(Debug)]
pub struct Overlay<D: Disk> {
    base: D,
    changes: Mutex<Changes<D::File>>,
}

#[derive(Debug)]
struct Changes<F> {
    /// Files that were opened or created here.
    files: BTreeMap<String, Arc<OverlayFile<F>>>,
    removed: BTreeSet<String>,
}

impl<D: Disk> Overlay<D> {
    /// Creates a disk with the content of `base`.
    pub fn new(base: D) -> Self {
        Self { base, changes: Mutex::new(Changes { files: BTreeMap::new(), removed: BTreeSet::new() }) }
    }

    fn changes(&self) -> MutexGuard<'_, Changes<D::File>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Disk> Disk for Overlay<D> {
    type File = OverlayFile<D::File>;

    fn open(&self, name: &str) -> io::Result<Arc<Self::File>> {
        let mut changes = self.changes();
        if let Some(file) = changes.files.get(name) {
            return Ok(Arc::clone(file));
        }
        if changes.removed.contains(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let base = self.base.open(name)?;
        let file = Arc::new(OverlayFile::new(base.len()?, Some(base)));
        changes.files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn create(&self, name: &str) -> io::Result<Arc<Self::File>> {
        if self.open(name).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(OverlayFile::new(0, None));
        self.changes().files.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.open(name)?;
        let mut changes = self.changes();
        changes.files.remove(name);
        changes.removed.insert(name.to_owned());
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let changes = self.changes();
        let mut names: BTreeSet<String> = self.base.names()?.into_iter().collect();
        names.retain(|name| !changes.removed.contains(name));
        names.extend(changes.files.keys().cloned());
        Ok(names.into_iter().collect())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of an [`Overlay`].
#[derive(Debug)]
pub struct OverlayFile<F> {
    base: Option<Arc<F>>,
    state: Mutex<FileState>,
}

#[derive(Debug)]
struct FileState {
    len: u64,
    /// The length up to which the content of the file below is visible.
    base_len: u64,
    /// Written pages, by number.
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl<F: DiskFile> OverlayFile<F> {
    fn new(len: u64, base: Option<Arc<F>>) -> Self {
        Self { base, state: Mutex::new(FileState { len, base_len: len, pages: BTreeMap::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_base(&self, state: &FileState, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        bytes.fill(0);
        let there = state.base_len.saturating_sub(offset).min(bytes.len() as u64) as usize;
        if let Some(base) = &self.base {
            base.read_at(&mut bytes[..there], offset)?;
        }
        Ok(())
    }
}

impl<F: DiskFile> DiskFile for OverlayFile<F> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.len = len;
        state.base_len = state.base_len.min(len);
        let first_gone = len.div_ceil(PAGE_LEN);
        state.pages.retain(|page, _| *page < first_gone);
        if let Some(last) = state.pages.get_mut(&(len / PAGE_LEN)) {
            last[(len % PAGE_LEN) as usize..].fill(0);
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        // A page takes memory only when it is written.
        self.set_len(len)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state();
        let there = state.len.saturating_sub(offset).min(bytes.len() as u64) as usize;
        let bytes = &mut bytes[..there];
        self.read_base(&state, bytes, offset)?;
        let end = offset + there as u64;
        for (page, content) in state.pages.range(offset / PAGE_LEN..end.div_ceil(PAGE_LEN)) {
            let begin = page * PAGE_LEN;
            let (from, to) = (begin.max(offset), (begin + PAGE_LEN).min(end));
            bytes[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&content[(from - begin) as usize..(to - begin) as usize]);
        }
        Ok(there)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state();
        let end = offset + bytes.len() as u64;
        for page in offset / PAGE_LEN..end.div_ceil(PAGE_LEN) {
            let begin = page * PAGE_LEN;
            let mut content = match state.pages.remove(&page) {
                Some(content) => content,
                None => {
                    let mut content = vec![0; PAGE_LEN as usize].into_boxed_slice();
                    self.read_base(&state, &mut content, begin)?;
                    content
                }
            };
            let (from, to) = (begin.max(offset), (begin + PAGE_LEN).min(end));
            content[(from - begin) as usize..(to - begin) as usize]
                .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            state.pages.insert(page, content);
        }
        state.len = state.len.max(end);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::sim::SimDisk;

    #[derive(Debug, Clone)]
    enum Step {
        Write(usize, u64, u8, usize),
        Cut(usize, u64),
        Remove(usize),
        Create(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (file, at) = (0..3usize, 0..9000u64);
        prop_oneof![
            6 => (file.clone(), at.clone(), any::<u8>(), 0..9000usize)
                .prop_map(|(file, at, byte, len)| Step::Write(file, at, byte, len)),
            2 => (file.clone(), at).prop_map(|(file, len)| Step::Cut(file, len)),
            1 => file.clone().prop_map(Step::Remove),
            1 => file.prop_map(Step::Create),
        ]
    }

    fn apply(disk: &impl Disk, step: &Step) -> bool {
        let name = |file: usize| format!("file-{file}");
        match step {
            Step::Write(file, at, byte, len) => {
                disk.open(&name(*file)).is_ok_and(|f| f.write_at(&vec![*byte; *len], *at).is_ok())
            }
            Step::Cut(file, len) => disk.open(&name(*file)).is_ok_and(|f| f.set_len(*len).is_ok()),
            Step::Remove(file) => disk.remove(&name(*file)).is_ok(),
            Step::Create(file) => disk.create(&name(*file)).is_ok(),
        }
    }

    fn content(disk: &impl Disk) -> Vec<(String, Vec<u8>)> {
        let mut names = disk.names().expect("names");
        names.sort();
        let read = |name: String| {
            let file = disk.open(&name).expect("there");
            let mut bytes = vec![1; file.len().expect("a length") as usize + 10];
            let read = file.read_at(&mut bytes, 0).expect("read");
            bytes.truncate(read);
            (name, bytes)
        };
        names.into_iter().map(read).collect()
    }

    proptest! {
        #[test]
        fn it_does_what_a_disk_does_and_leaves_the_one_below(
            before in prop::collection::vec(step(), 0..20),
            after in prop::collection::vec(step(), 0..40),
        ) {
            let base = SimDisk::default();
            apply(&base, &Step::Create(0));
            for step in &before {
                apply(&base, step);
            }
            let model = base.kill();
            let untouched = content(&base);
            let overlay = Overlay::new(base.kill());
            for step in &after {
                prop_assert_eq!(apply(&overlay, step), apply(&model, step));
                prop_assert_eq!(content(&overlay), content(&model));
            }
            prop_assert_eq!(content(&base), untouched);
        }
    }
}
