//! The write-ahead log that all streams and consumers of one JetStream thread share.
//!
//! [`Log::append`] buffers records. [`Log::write`] writes all buffered records to the file as one frame. A [`SyncJob`], run on
//! a thread that may wait, makes all frames written so far durable: frames that queue during one sync share the next.
//!
//! Positions count bytes since the log began and never repeat. The disk holds files `log-N` and a `superblock`. The header of a
//! file names the position of its first frame. Each frame carries the position up to which the log was known to be durable when
//! the frame was written. So recovery can tell damage ([`Damage`]) from a tail that a power cut tore ([`Torn`]).
//!
//! Because positions never repeat, no old content of a reused file can pass for a new record. The log reads no clock, draws no
//! random number and starts no thread.

mod eras;
mod file;
mod frame;
mod record;
mod recovery;
mod room;
#[cfg(test)]
mod simulation;
mod superblock;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use file::LogFile;
pub use record::{GroupId, Record};
pub use recovery::{Damage, Found, Recovery, Torn};
pub use room::release_reserve;
use superblock::Superblock;

use crate::disk::{Disk, DiskFile, is_full};
use crate::encryption::{Keyring, Sealer};

/// The maximum length of a record's body, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 30;

/// Bytes of free log space below which [`Log::reserve`] makes a spare file, and the maximum length of the reserve file.
pub const RESERVE_LEN: u64 = 8 << 20;

/// The reason why an operation of the log failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk is full. The buffered records are still there: [`Log::write`] again, or [`Log::discard`] them.
    #[error("no room on the disk for {file}")]
    Full {
        /// The file that could not be created or written.
        file: String,
    },
    /// The disk failed.
    #[error("can't {action} {file}: {source}")]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file it failed on.
        file: String,
        /// The system's error.
        source: io::Error,
    },
    /// An earlier failure left the content of the disk unknown. The log accepts no writes until it is opened again (storage
    /// rule 6).
    #[error("the log failed before and takes no more")]
    Failed,
    /// The superblock and all file headers are damaged, so that no part of the log can be checked.
    #[error("the superblock and the headers of all log files are damaged")]
    Unreadable,
}

impl Error {
    fn at(action: &'static str, file: &str) -> impl Fn(io::Error) -> Self {
        move |source| match is_full(&source) {
            true => Self::Full { file: file.to_owned() },
            false => Self::Io { action, file: file.to_owned(), source },
        }
    }
}

/// How new log files get their disk space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// Files are filled with zeros beforehand: this reserves the space and makes syncs faster.
    Zeros,
    /// The file system reserves the space (allocation).
    Allocated,
    /// Files get space when they are written. For temporary stores.
    Sparse,
}

/// How the log uses the disk.
#[derive(Debug, Clone)]
pub struct Options {
    /// Maximum length of a file, in bytes. A longer frame gets a file of its own length, and files are shorter on a small disk.
    pub file_len: u64,
    /// Minimum length of a new file, in bytes, on the smallest disks.
    pub file_len_min: u64,
    /// How new files get their disk space.
    pub fill: Fill,
    /// Whether a reserve file keeps space for the time when the disk is full.
    pub reserve: bool,
    /// Keys that encrypt records; without any, records are plain.
    pub keys: Keyring,
    /// Distinguishes this log from others with the same keys.
    pub label: &'static str,
    /// Whether an opening reads everything on the disk, and not only the part behind [`Log::give_up`].
    pub whole: bool,
    /// The position at which a new log begins, in bytes.
    pub begin: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_len: 64 << 20,
            file_len_min: 512 << 10,
            fill: Fill::Zeros,
            reserve: false,
            keys: Keyring::default(),
            label: "log",
            whole: false,
            begin: 0,
        }
    }
}

/// Whether `disk` holds no file of a log.
pub fn is_missing<D: Disk>(disk: &D) -> Result<bool, Error> {
    let names = disk.names().map_err(Error::at("list", "the log's directory"))?;
    Ok(!names.iter().any(|name| name == superblock::NAME || file::number(name).is_some()))
}

/// The log, open for writing.
#[derive(Debug)]
pub struct Log<D: Disk> {
    disk: Arc<D>,
    options: Options,
    superblock: Superblock,
    superblock_file: Arc<D::File>,
    sealer: Option<Arc<Sealer>>,
    /// How often buffered records were discarded. This is part of the nonce, since the same positions are encrypted again.
    turn: u32,
    files: VecDeque<LogFile<D::File>>,
    /// Files without needed content, kept for reuse.
    spares: Vec<LogFile<D::File>>,
    next_number: u64,
    /// Length of the reserve file, in bytes.
    reserved: u64,
    /// The frame being built, with space for its header.
    gathered: Vec<u8>,
    records: u32,
    /// The position of the next frame.
    end: u64,
    /// The position behind the last frame that holds records.
    records_end: u64,
    durable: u64,
    /// The durable position that the newest frame or superblock states.
    marked: u64,
    previous: u32,
    unsynced: Vec<Arc<D::File>>,
    /// Files that [`Log::prove`] wrote to; the next sync includes them.
    proven: Vec<Arc<D::File>>,
    /// Directories whose file names changed since the last sync.
    names_unsynced: Vec<Arc<D>>,
    syncing: bool,
    failed: bool,
}

impl<D: Disk> Log<D> {
    /// Opens the log on `disk`, or begins a new one. Passes all records to `visit` in the order in which they were written, and
    /// each damaged part at its place among them.
    ///
    /// `salt` is a random number, used if the log is new. All records that were found are durable when this returns.
    pub fn open(
        disk: Arc<D>,
        options: Options,
        salt: u64,
        visit: impl FnMut(Found<'_>),
    ) -> Result<(Self, Recovery), Error> {
        recovery::open(disk, options, salt, visit, |_, _| Ok(true))
    }

    /// Opens a log whose records refer to data elsewhere that may not have reached the disk.
    ///
    /// For each frame that is not known to have been durable, `is_whole` gets the log's salt and the frame's records. The log
    /// ends at the first frame for which it returns false. Before it returns true, it must make the data durable.
    pub fn open_whole(
        disk: Arc<D>,
        options: Options,
        salt: u64,
        visit: impl FnMut(Found<'_>),
        is_whole: impl FnMut(u64, &[Record<'_>]) -> Result<bool, Error>,
    ) -> Result<(Self, Recovery), Error> {
        recovery::open(disk, options, salt, visit, is_whole)
    }

    /// Buffers a record and returns its position. The body is the concatenation of `parts`, at most [`BODY_LEN_MAX`] bytes.
    pub fn append(&mut self, group: GroupId, kind: u8, parts: &[&[u8]]) -> u64 {
        debug_assert!(parts.iter().map(|p| p.len()).sum::<usize>() <= BODY_LEN_MAX);
        if self.gathered.is_empty() {
            self.gathered.resize(frame::HEADER_LEN, 0);
        }
        let position = self.next_position();
        let (seal, turn) = (self.seal(), self.turn);
        let sealing = self.sealer.as_deref().map(|sealer| record::Sealing { sealer, turn });
        record::encode(&mut self.gathered, seal, sealing, position, group, kind, parts);
        self.records += 1;
        position
    }

    /// Returns the position of the next record, if nothing is written before it.
    pub fn next_position(&self) -> u64 {
        self.end + self.gathered.len().max(frame::HEADER_LEN) as u64
    }

    /// Returns the number of bytes buffered and not yet written.
    pub fn gathered_len(&self) -> usize {
        self.gathered.len()
    }

    /// Discards the records buffered since the last write.
    pub fn discard(&mut self) {
        if self.records > 0 && self.sealer.is_some() {
            // Part of the frame may be on the disk.
            self.turn += 1;
            self.failed |= self.turn > record::TURNS_MAX;
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.gathered.clear();
        self.records = 0;
    }

    /// Writes the buffered records and returns their end position. They are durable once [`Log::durable`] reaches it.
    pub fn write(&mut self) -> Result<u64, Error> {
        if self.gathered.is_empty() {
            return Ok(self.records_end);
        }
        self.write_frame()?;
        self.records_end = self.end;
        Ok(self.end)
    }

    /// Returns the position up to which the log is durable.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Returns the position behind the last record that was written.
    pub fn records_end(&self) -> u64 {
        self.records_end
    }

    /// Returns the position behind the last frame, with or without records.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Returns the log's random number, also for checksums in other files.
    pub fn salt(&self) -> u64 {
        self.superblock.salt
    }

    /// Returns the number of this opening; each opening has a higher one.
    pub fn epoch(&self) -> u32 {
        self.superblock.epoch
    }

    /// Whether data was written that no sync has covered.
    pub fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Whether [`Log::mark`] would write something.
    pub fn wants_mark(&self) -> bool {
        !self.failed
            && self.marked < self.records_end
            && self.durable >= self.records_end
            && self.gathered.is_empty()
    }

    /// Writes the durable position to disk, if it is not there yet. For a log that has been idle for some milliseconds. Returns
    /// whether there is something to sync.
    pub fn mark(&mut self) -> Result<bool, Error> {
        if self.marked >= self.records_end || self.durable < self.records_end || !self.gathered.is_empty() {
            return Ok(false);
        }
        self.gathered.resize(frame::HEADER_LEN, 0);
        self.write_frame()?;
        self.write_superblock()?;
        Ok(true)
    }

    /// Writes the durable position at once, in an empty frame. This survives a kill. It survives a power cut only after the
    /// next sync, so [`Log::mark`] still has to write. Does nothing while records are buffered: their frame will carry the
    /// position.
    pub fn prove(&mut self) -> Result<(), Error> {
        if self.failed || self.marked >= self.durable || !self.gathered.is_empty() {
            return Ok(());
        }
        let marked = self.marked;
        let is_unsynced = self.is_unsynced();
        self.gathered.resize(frame::HEADER_LEN, 0);
        self.write_frame()?;
        self.marked = marked;
        if !is_unsynced {
            self.proven = std::mem::take(&mut self.unsynced);
        }
        Ok(())
    }

    /// Returns a job that syncs everything written so far. Returns `None` if there is nothing to sync, or while another sync
    /// runs: a later success must not hide an earlier failure.
    pub fn sync_job(&mut self) -> Option<SyncJob<D>> {
        if self.failed || self.syncing || self.unsynced.is_empty() {
            return None;
        }
        self.syncing = true;
        // The end of this sync also covers the frames that `prove` wrote.
        for file in std::mem::take(&mut self.proven) {
            note(&mut self.unsynced, &file);
        }
        Some(SyncJob {
            disks: std::mem::take(&mut self.names_unsynced),
            files: std::mem::take(&mut self.unsynced),
            end: self.end,
        })
    }

    /// Records the result of a sync and returns the durable position. After a failure the log accepts no more writes.
    pub fn synced(&mut self, done: Synced) -> Result<u64, Error> {
        self.syncing = false;
        match done.result {
            Ok(()) => {
                self.durable = self.durable.max(done.end);
                Ok(self.durable)
            }
            Err(e) => {
                self.failed = true;
                Err(e)
            }
        }
    }

    /// Declares that buffered records refer to `files`. The records become durable only after a sync of these files, and of the
    /// file names on `disk`, if given.
    pub fn depend(&mut self, files: &[Arc<D::File>], disk: Option<&Arc<D>>) {
        files.iter().for_each(|file| note(&mut self.unsynced, file));
        disk.into_iter().for_each(|disk| note(&mut self.names_unsynced, disk));
    }

    /// Puts the log into the failed state after a failed sync of files that it depends on (see [`Log::depend`]), and returns
    /// the log's error. The system reports such a failure only once: the log's own sync of the same files would succeed
    /// although data is lost.
    pub fn fail_dependency(&mut self, source: io::Error) -> Error {
        self.fail(Error::Io { action: "sync", file: "a segment that the log refers to".to_owned(), source })
    }

    /// Declares that nothing before `position` is needed any more, as [`Log::trim`] does, and makes that durable. The next
    /// opening reads nothing before `position`. For a clean stop.
    pub fn give_up(&mut self, position: u64) -> Result<(), Error> {
        self.trim(position)?;
        (self.superblock.read_from, self.superblock.read_epoch) = (position, self.superblock.epoch);
        self.write_superblock()?;
        self.superblock_file.sync().map_err(|e| self.fail(Error::at("sync", superblock::NAME)(e)))
    }

    /// Declares that nothing before `position` is needed any more. Whole files before it are reused. This needs a sync of the
    /// superblock first, since a reused file must not be mistaken for an old one.
    pub fn trim(&mut self, position: u64) -> Result<(), Error> {
        let keep = self.files.iter().skip(1).take_while(|f| f.start <= position).count();
        if keep == 0 {
            return Ok(());
        }
        self.superblock.trimmed = self.files[keep].start;
        self.write_superblock()?;
        if let Err(e) = self.superblock_file.sync() {
            return Err(self.fail(Error::at("sync", superblock::NAME)(e)));
        }
        self.fit_reserve();
        for spare in self.files.drain(..keep).collect::<Vec<_>>() {
            if self.is_spare(&spare) {
                self.spares.push(spare);
            } else {
                let name = file::name(spare.number);
                self.disk.remove(&name).map_err(Error::at("remove", &name))?;
                note(&mut self.names_unsynced, &self.disk);
            }
        }
        Ok(())
    }

    fn seal(&self) -> record::Seal {
        record::Seal { salt: self.superblock.salt, epoch: self.superblock.epoch }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed = true;
        error
    }

    fn write_frame(&mut self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        for file in std::mem::take(&mut self.proven) {
            note(&mut self.unsynced, &file);
        }
        let len = self.gathered.len() as u64;
        if self.files.back().is_none_or(|f| self.end < f.start || f.room_end() < self.end + len) {
            self.roll(len)?;
        }
        let header = frame::Header {
            position: self.end,
            durable: self.durable,
            len: (self.gathered.len() - frame::HEADER_LEN) as u32,
            records: self.records,
            epoch: self.superblock.epoch,
            previous: self.previous,
        };
        let (bytes, crc) = header.encode(self.superblock.salt);
        self.gathered[..frame::HEADER_LEN].copy_from_slice(&bytes);
        let Some(file) = self.files.back() else { return Err(self.fail(Error::Failed)) };
        if let Err(e) = file.file.write_at(&self.gathered, file.offset(self.end)) {
            let error = Error::at("write", &file::name(file.number))(e);
            // The same frame can be written here later, once its partly written header is erased.
            let is_erased = || file.file.write_at(&[0; frame::HEADER_LEN], file.offset(self.end)).is_ok();
            if matches!(error, Error::Full { .. }) && is_erased() {
                return Err(error);
            }
            // Part of the frame may be on the disk. Only opening the log again can tell.
            return Err(self.fail(error));
        }
        note(&mut self.unsynced, &file.file);
        self.end = header.end();
        self.previous = crc;
        self.marked = self.durable;
        self.forget();
        Ok(())
    }

    /// Begins a new file for a frame of `len` bytes.
    fn roll(&mut self, len: u64) -> Result<(), Error> {
        let needed = len + file::HEADER_LEN;
        let mut file = match self.spares.iter().position(|s| s.len >= needed) {
            Some(i) => self.spares.swap_remove(i),
            None => self.create_file(needed)?,
        };
        let (salt, epoch) = (self.superblock.salt, self.superblock.epoch);
        file.begin(salt, self.end, epoch, self.sealer.as_deref()).map_err(|e| self.fail(e))?;
        note(&mut self.unsynced, &file.file);
        self.files.push_back(file);
        Ok(())
    }

    fn write_superblock(&mut self) -> Result<(), Error> {
        self.superblock.generation += 1;
        self.superblock.durable = self.durable;
        superblock::write(&*self.superblock_file, &self.superblock).map_err(|e| self.fail(e))?;
        note(&mut self.unsynced, &self.superblock_file);
        Ok(())
    }
}

fn note<F>(files: &mut Vec<Arc<F>>, file: &Arc<F>) {
    if !files.iter().any(|f| Arc::ptr_eq(f, file)) {
        files.push(Arc::clone(file));
    }
}

/// A sync, to be run on any thread that may wait.
#[derive(Debug)]
pub struct SyncJob<D: Disk> {
    /// Directories whose file names changed.
    disks: Vec<Arc<D>>,
    files: Vec<Arc<D::File>>,
    end: u64,
}

impl<D: Disk> SyncJob<D> {
    /// Waits until everything is durable. Pass the result to [`Log::synced`].
    pub fn run(self) -> Synced {
        let sync = || {
            // After any failure, the content of the disk is unknown. So a full disk is no special case here.
            let failed = |file: &str| {
                let file = file.to_owned();
                move |source| Error::Io { action: "sync", file, source }
            };
            self.files.iter().try_for_each(|file| file.sync().map_err(failed("the log")))?;
            self.disks.iter().try_for_each(|disk| disk.sync_names().map_err(failed("the log's directory")))
        };
        Synced { end: self.end, result: sync() }
    }
}

/// How a [`SyncJob`] ended.
#[derive(Debug)]
#[must_use]
pub struct Synced {
    end: u64,
    result: Result<(), Error>,
}
