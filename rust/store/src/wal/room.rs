//! Disk space: the length of log files, and the space that the log reserves for a full disk.
//!
//! The log keeps a spare file for its next frames, and a reserve, which is a file without content. [`Log::release`] removes one
//! after the other, so that a checkpoint has space to write before it frees something. [`Log::reserve`] creates both again.

use std::io::ErrorKind;

use super::file::{self, LogFile};
use super::{Error, Fill, Log, RESERVE_LEN, note};
use crate::disk::{Disk, DiskFile, is_full};

/// Name of the reserve file.
const RESERVE: &str = "reserve";
/// A new file takes at most this fraction (one 16th) of the free space.
const SHARE: u64 = 16;
/// Minimum length of a file on a disk without room for a longer one, in bytes.
const FILE_LEN_LEAST: u64 = 64 << 10;

/// Removes the reserve of the log on `disk`, for a store that otherwise can't be opened on a full disk. Returns false if there
/// is none.
pub fn release_reserve<D: Disk>(disk: &D) -> bool {
    disk.remove(RESERVE).is_ok()
}

impl<D: Disk> Log<D> {
    /// Returns the length of the current file in bytes, at most the usual length. It is shorter on a small disk.
    pub fn file_len(&self) -> u64 {
        let max = self.options.file_len;
        self.files.back().map_or(max, |file| file.len.min(max))
    }

    /// Creates a spare file when the current file is nearly full, and the reserve if it is missing.
    pub fn reserve(&mut self) -> Result<(), Error> {
        if self.failed {
            return Ok(());
        }
        let left = self.files.back().map_or(0, |f| f.room_end().saturating_sub(self.end));
        if left < RESERVE_LEN.min(self.file_len() / 4) && self.spares.is_empty() {
            let spare = self.create_file(0)?;
            self.spares.push(spare);
        }
        if self.reserved == 0 && self.options.reserve {
            self.create_reserve()?;
        }
        Ok(())
    }

    /// Makes sure that records of `len` more bytes fit behind the buffered ones.
    pub fn make_room(&mut self, len: u64) -> Result<(), Error> {
        let needed = self.gathered.len() as u64 + len;
        let left = self.files.back().map_or(0, |f| f.room_end().saturating_sub(self.end));
        let needed_len = needed + file::HEADER_LEN;
        if needed <= left || self.spares.iter().any(|spare| spare.len >= needed_len) {
            return Ok(());
        }
        let spare = self.create_file(needed_len)?;
        self.spares.push(spare);
        Ok(())
    }

    /// Checks whether records of `len` more bytes would fit, without taking space.
    pub fn check_room(&self, len: u64) -> Result<(), Error> {
        let needed = self.gathered.len() as u64 + len;
        let needed_len = needed + file::HEADER_LEN;
        let left = self.files.back().map_or(0, |f| f.room_end().saturating_sub(self.end));
        let fits = needed <= left
            || self.spares.iter().any(|spare| spare.len >= needed_len)
            || self.options.fill == Fill::Sparse
            || self.disk.free().is_none_or(|free| free >= needed_len);
        if fits { Ok(()) } else { Err(Error::Full { file: file::name(self.next_number) }) }
    }

    /// Whether the disk has free space beyond the reserve, so that writing may continue after the disk was full.
    pub fn has_room(&self) -> bool {
        let needed = 2 * self.options.file_len_min.min(self.options.file_len);
        !self.options.reserve || self.disk.free().is_none_or(|free| free >= needed)
    }

    /// Frees reserved space: first spare files, then the reserve. Returns false if there was none.
    pub fn release(&mut self) -> bool {
        while let Some(spare) = self.spares.pop() {
            if self.disk.remove(&file::name(spare.number)).is_ok() {
                note(&mut self.names_unsynced, &self.disk);
                return true;
            }
        }
        std::mem::take(&mut self.reserved) > 0 && release_reserve(&*self.disk)
    }

    /// Reads the length of an existing reserve file.
    pub(super) fn find_reserve(&mut self) -> Result<(), Error> {
        self.reserved = match self.disk.open(RESERVE) {
            Ok(file) => file.len().map_err(Error::at("measure", RESERVE))?,
            Err(e) if e.kind() == ErrorKind::NotFound => 0,
            Err(e) => return Err(Error::at("open", RESERVE)(e)),
        };
        Ok(())
    }

    /// Returns the usual length of a new file, in bytes, for the current free space.
    fn usual_len(&self) -> u64 {
        let max = self.options.file_len;
        let share = self.disk.free().map_or(max, |free| free / SHARE);
        (share & !4095).clamp(self.options.file_len_min.min(max), max)
    }

    /// Creates a file with space for `needed` bytes, of the usual length if possible.
    pub(super) fn create_file(&mut self, needed: u64) -> Result<LogFile<D::File>, Error> {
        let least = needed.max(FILE_LEN_LEAST.min(self.options.file_len));
        let mut len = self.usual_len().max(needed);
        loop {
            match file::create(&*self.disk, self.next_number, len, self.options.fill) {
                Err(Error::Full { .. }) if len > least => len = (len / 2).max(least),
                Err(e) => return Err(e),
                Ok(file) => {
                    self.next_number += 1;
                    note(&mut self.names_unsynced, &self.disk);
                    return Ok(file);
                }
            }
        }
    }

    /// Whether a file without needed content is kept as a spare.
    pub(super) fn is_spare(&self, file: &LogFile<D::File>) -> bool {
        let usual = self.usual_len();
        // A file with plain data, or data under another key, is removed at once: it must not wait to be overwritten.
        self.spares.is_empty()
            && (usual / 2..=usual * 2).contains(&file.len)
            && file.len <= self.options.file_len
            && !file.is_foreign(self.options.keys.current())
    }

    /// Shortens the reserve when the disk fills up.
    pub(super) fn fit_reserve(&mut self) {
        let len = RESERVE_LEN.min(self.usual_len());
        if self.reserved > 2 * len
            && let Ok(file) = self.disk.open(RESERVE)
            && file.set_len(len).is_ok()
        {
            self.reserved = len;
        }
    }

    fn create_reserve(&mut self) -> Result<(), Error> {
        let mut len = RESERVE_LEN.min(self.usual_len());
        let create = |len| {
            let file = match self.disk.create(RESERVE) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => self.disk.open(RESERVE),
                created => created,
            }?;
            file.allocate(len)
        };
        while let Err(e) = create(len) {
            if is_full(&e) {
                release_reserve(&*self.disk);
            }
            if !is_full(&e) || len <= FILE_LEN_LEAST {
                return Err(Error::at("create", RESERVE)(e));
            }
            len = (len / 2).max(FILE_LEN_LEAST);
        }
        self.reserved = len;
        Ok(())
    }
}
