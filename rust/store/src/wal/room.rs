//! Room on the disk: how long the log's files are, and what it keeps for the time when the disk is full.
//!
//! The log keeps a spare file for its next frames, and a reserve, a file that holds nothing. [`Log::release`] gives them up one
//! after the other, so that a checkpoint has room to write what it needs before it frees something. [`Log::reserve`] makes both
//! anew.

use std::io::ErrorKind;

use super::file::{self, LogFile};
use super::{Error, Fill, Log, RESERVE_LEN, note};
use crate::disk::{Disk, DiskFile, is_full};

/// The file that holds nothing.
const RESERVE: &str = "reserve";
/// A new file takes at most this part of the free space.
const SHARE: u64 = 16;
/// The shortest file that the log makes for want of room, in bytes.
const FILE_LEN_LEAST: u64 = 64 << 10;

/// Removes the reserve of the log on `disk`, for a store that can't be opened on a full disk otherwise. False if there is none.
pub fn release_reserve<D: Disk>(disk: &D) -> bool {
    disk.remove(RESERVE).is_ok()
}

impl<D: Disk> Log<D> {
    /// The length of the current file in bytes, at most the usual length: shorter on a small disk.
    pub fn file_len(&self) -> u64 {
        let max = self.options.file_len;
        self.files.back().map_or(max, |file| file.len.min(max))
    }

    /// Makes sure that there is a spare file when the current one is nearly full, and that the reserve is there.
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

    /// Makes sure that records of `len` bytes more find room behind those that are gathered.
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

    /// Looks whether records of `len` bytes more would find room, and takes none.
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

    /// Whether the disk has room for more than what is reserved, so that writing may go on after the disk was full.
    pub fn has_room(&self) -> bool {
        let needed = 2 * self.options.file_len_min.min(self.options.file_len);
        !self.options.reserve || self.disk.free().is_none_or(|free| free >= needed)
    }

    /// Gives up room that is kept for a full disk: first spare files, then the reserve. False if there was none.
    pub fn release(&mut self) -> bool {
        while let Some(spare) = self.spares.pop() {
            if self.disk.remove(&file::name(spare.number)).is_ok() {
                note(&mut self.names_unsynced, &self.disk);
                return true;
            }
        }
        std::mem::take(&mut self.reserved) > 0 && release_reserve(&*self.disk)
    }

    /// Learns how much is reserved already.
    pub(super) fn find_reserve(&mut self) -> Result<(), Error> {
        self.reserved = match self.disk.open(RESERVE) {
            Ok(file) => file.len().map_err(Error::at("measure", RESERVE))?,
            Err(e) if e.kind() == ErrorKind::NotFound => 0,
            Err(e) => return Err(Error::at("open", RESERVE)(e)),
        };
        Ok(())
    }

    /// The usual length of a new file with as much free space as there is now, in bytes.
    fn usual_len(&self) -> u64 {
        let max = self.options.file_len;
        let share = self.disk.free().map_or(max, |free| free / SHARE);
        (share & !4095).clamp(self.options.file_len_min.min(max), max)
    }

    /// Creates a file for `needed` bytes, of the usual length if there is room for that.
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

    /// Whether a file that holds nothing needed any more is kept as a spare.
    pub(super) fn is_spare(&self, file: &LogFile<D::File>) -> bool {
        let usual = self.usual_len();
        // What was written in the clear, or with another key, is not to wait for being written over.
        self.spares.is_empty()
            && (usual / 2..=usual * 2).contains(&file.len)
            && file.len <= self.options.file_len
            && !file.is_foreign(self.options.keys.current())
    }

    /// Shortens the reserve on a disk that fills up.
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
