//! The write-ahead log that all streams and consumers of one JetStream thread share.
//!
//! [`Log::append`] gathers records, [`Log::write`] puts all that were gathered into the file as one frame, and a [`SyncJob`],
//! run on a thread that may wait, makes all frames written so far durable: one sync for whatever queued while the one before
//! ran.
//!
//! Positions count bytes since the log began and never repeat. On disk are files `log-N`, each holding the positions from the
//! one its header names, and a `superblock`. Frames carry the position up to which the log was known to be durable when
//! they were written, so that reading it again tells damage ([`Damage`]) from a tail that a power cut tore ([`Torn`]).

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

/// The longest body of a record, in bytes.
pub const BODY_LEN_MAX: usize = 1 << 30;

/// Room that [`Log::reserve`] sees to, in bytes.
pub const RESERVE_LEN: u64 = 8 << 20;

/// Why the log can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk has no room. What was gathered is still there: [`Log::write`] again, or [`Log::discard`] it.
    #[error("no room on the disk for {file}")]
    Full {
        /// The file that could not be made.
        file: String,
    },
    /// The disk failed.
    #[error("can't {action} {file}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// An earlier failure left unknown what is on disk; nothing can be written until the log is opened anew (storage rule 6).
    #[error("the log failed before and takes no more")]
    Failed,
    /// The superblock and all headers are damaged, so that nothing in the log can be checked.
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

/// How new files of the log get their room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// They are written full of zeros beforehand: syncs are faster then, and the room is there.
    Zeros,
    /// The file system keeps the room for them.
    Allocated,
    /// They get room when they are written. For stores that are thrown away.
    Sparse,
}

/// How the log uses the disk.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a file, at most; a longer frame gets a file of its own length, and files are shorter on a small disk.
    pub file_len: u64,
    /// Bytes of a new file on the smallest disks, at least.
    pub file_len_min: u64,
    /// How new files get their room.
    pub fill: Fill,
    /// Whether room is kept for the time when the disk is full.
    pub reserve: bool,
    /// Records are encrypted with them, if there are any.
    pub keys: Keyring,
    /// Tells this log from others with the same keys.
    pub label: &'static str,
    /// Read all that is there when it is opened, and not only what comes behind [`Log::give_up`].
    pub whole: bool,
    /// Where a log begins of which there is nothing, in bytes.
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

/// Whether `disk` holds nothing of a log.
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
    /// How many times what was gathered was given up: the same positions are sealed again then.
    turn: u32,
    files: VecDeque<LogFile<D::File>>,
    /// Files that hold nothing needed, to be used again.
    spares: Vec<LogFile<D::File>>,
    next_number: u64,
    /// Bytes that are kept for a full disk.
    reserved: u64,
    /// The frame that is being gathered, with room for its header.
    gathered: Vec<u8>,
    records: u32,
    /// Where the next frame goes.
    end: u64,
    /// Behind the last frame that holds records.
    records_end: u64,
    durable: u64,
    /// What the newest frame or superblock says is durable.
    marked: u64,
    previous: u32,
    unsynced: Vec<Arc<D::File>>,
    /// What [`Log::prove`] wrote to, and is synced with what comes next.
    proven: Vec<Arc<D::File>>,
    /// Disks whose names changed.
    names_unsynced: Vec<Arc<D>>,
    syncing: bool,
    failed: bool,
}

impl<D: Disk> Log<D> {
    /// Opens the log on `disk`, or begins one. All records that are there are given to `visit` in the order in which they
    /// were written, and so is damage, where it lies.
    ///
    /// `salt` is a random number, used if the log is new. Returns when all that was found is durable.
    pub fn open(
        disk: Arc<D>,
        options: Options,
        salt: u64,
        visit: impl FnMut(Found<'_>),
    ) -> Result<(Self, Recovery), Error> {
        recovery::open(disk, options, salt, visit, |_, _| Ok(true))
    }

    /// The same of a log whose records refer to what lies elsewhere and may not have come to the disk. `is_whole` is asked of the
    /// records of each frame that is not known to have been durable, with the log's salt; where it says no, the log ends. What it says
    /// yes to it has made durable.
    pub fn open_whole(
        disk: Arc<D>,
        options: Options,
        salt: u64,
        visit: impl FnMut(Found<'_>),
        is_whole: impl FnMut(u64, &[Record<'_>]) -> Result<bool, Error>,
    ) -> Result<(Self, Recovery), Error> {
        recovery::open(disk, options, salt, visit, is_whole)
    }

    /// Gathers a record, whose body is the `parts` in a row, [`BODY_LEN_MAX`] bytes at most. Answers its position.
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

    /// The position that the next record will have, if nothing is written before.
    pub fn next_position(&self) -> u64 {
        self.end + self.gathered.len().max(frame::HEADER_LEN) as u64
    }

    /// Bytes gathered and not yet written.
    pub fn gathered_len(&self) -> usize {
        self.gathered.len()
    }

    /// Forgets what was gathered since the last write.
    pub fn discard(&mut self) {
        if self.records > 0 && self.sealer.is_some() {
            // Part of it may be on the disk.
            self.turn += 1;
            self.failed |= self.turn > record::TURNS_MAX;
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.gathered.clear();
        self.records = 0;
    }

    /// Writes what was gathered. All of it is durable once [`Log::durable`] has reached the answer.
    pub fn write(&mut self) -> Result<u64, Error> {
        if self.gathered.is_empty() {
            return Ok(self.records_end);
        }
        self.write_frame()?;
        self.records_end = self.end;
        Ok(self.end)
    }

    /// Everything before this position is durable.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// The position behind the last record that was written.
    pub fn records_end(&self) -> u64 {
        self.records_end
    }

    /// The position behind all that was written.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// A random number of this log, for checksums elsewhere.
    pub fn salt(&self) -> u64 {
        self.superblock.salt
    }

    /// The number of its opening: another one each time.
    pub fn epoch(&self) -> u32 {
        self.superblock.epoch
    }

    /// Whether something was written that no sync has covered.
    pub fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// Whether [`Log::mark`] would have something to say.
    pub fn wants_mark(&self) -> bool {
        !self.failed
            && self.marked < self.records_end
            && self.durable >= self.records_end
            && self.gathered.is_empty()
    }

    /// Says on disk what is durable, if it does not say so yet; for a log that has been idle for some milliseconds. Tells
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

    /// Says at once, in an empty frame, what is durable: then a kill leaves no doubt about it. A power cut may, until the next sync,
    /// so that [`Log::mark`] still has something to do. Does nothing while records are gathered: their frame will say it.
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

    /// A sync of all that was written so far; `None` if there is nothing to sync, or while another one runs: a later one that
    /// ends well must not hide that the one before failed.
    pub fn sync_job(&mut self) -> Option<SyncJob<D>> {
        if self.failed || self.syncing || self.unsynced.is_empty() {
            return None;
        }
        self.syncing = true;
        // Its end is behind what was proven too.
        for file in std::mem::take(&mut self.proven) {
            note(&mut self.unsynced, &file);
        }
        Some(SyncJob {
            disks: std::mem::take(&mut self.names_unsynced),
            files: std::mem::take(&mut self.unsynced),
            end: self.end,
        })
    }

    /// Takes note of how a sync ended. After a failure the log takes no more.
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

    /// Says that what is gathered refers to these files, so that it is not durable before they are, and before the names on
    /// `disk` are, if there is one.
    pub fn depend(&mut self, files: &[Arc<D::File>], disk: Option<&Arc<D>>) {
        files.iter().for_each(|file| note(&mut self.unsynced, file));
        disk.into_iter().for_each(|disk| note(&mut self.names_unsynced, disk));
    }

    /// Ends the log after a failed sync of files that it depends on (see [`Log::depend`]), and returns the log's error. The system
    /// reports such a failure only once: the log's own sync of the same files would succeed although data is lost.
    pub fn fail_dependency(&mut self, source: io::Error) -> Error {
        self.fail(Error::Io { action: "sync", file: "a segment that the log refers to".to_owned(), source })
    }

    /// Says that nothing before `position` is needed any more, as [`Log::trim`] does, and makes it durable, so that the next opening
    /// reads nothing before it. For the end.
    pub fn give_up(&mut self, position: u64) -> Result<(), Error> {
        self.trim(position)?;
        (self.superblock.read_from, self.superblock.read_epoch) = (position, self.superblock.epoch);
        self.write_superblock()?;
        self.superblock_file.sync().map_err(|e| self.fail(Error::at("sync", superblock::NAME)(e)))
    }

    /// Says that nothing before `position` is needed any more. Whole files before it are used again; this takes a sync of
    /// the superblock, since a file in new use must not be taken for an old one.
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
            // The same frame can be written there later, if what came to the disk of it can't be taken for one.
            let is_erased = || file.file.write_at(&[0; frame::HEADER_LEN], file.offset(self.end)).is_ok();
            if matches!(error, Error::Full { .. }) && is_erased() {
                return Err(error);
            }
            // Part of it may be there. Only opening the log again can tell.
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

/// A sync to be run wherever waiting is allowed.
#[derive(Debug)]
pub struct SyncJob<D: Disk> {
    /// Those whose names changed too.
    disks: Vec<Arc<D>>,
    files: Vec<Arc<D::File>>,
    end: u64,
}

impl<D: Disk> SyncJob<D> {
    /// Waits until all is durable. Hand the answer to [`Log::synced`].
    pub fn run(self) -> Synced {
        let sync = || {
            // Whatever the reason, what is on disk is unknown then: a sync that finds no room is no better than another.
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
