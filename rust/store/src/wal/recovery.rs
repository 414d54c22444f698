//! Reading the log when it is opened: intact records, damage, and the torn tail.
//!
//! An unreadable part is damage if the log is known, from the superblock or any later frame, to have been durable beyond it.
//! Otherwise it is the place where a power cut tore the tail, and nothing behind it was ever acknowledged.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::eras::{Era, Eras, Known};
use super::file::LogFile;
use super::superblock::{self, Superblock};
use super::{Error, Log, Options, Record, eras, file, frame, record};
use crate::checksum::Ranges;
use crate::disk::{Disk, DiskFile};
use crate::encryption::{Keyring, Sealer};

/// A part of the log that was durable and can't be read any more. Its content is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Position where it begins.
    pub from: u64,
    /// Position behind it.
    pub to: u64,
    /// The name of the file; of the file before it, if the file itself is missing.
    pub file: String,
    /// Offset in the file where the damage begins, in bytes.
    pub offset: u64,
}

/// A tail that was written but not proven durable, and is incomplete. It was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// Position where the log was cut.
    pub from: u64,
    /// Length in bytes, as far as frames could be recognised.
    pub len: u64,
    /// Number of records in the recognised frames.
    pub records: u64,
    /// The name of the file.
    pub file: String,
    /// Offset in the file where the tail begins, in bytes.
    pub offset: u64,
}

/// A part of the log that was found, in the order of positions.
#[derive(Debug)]
pub enum Found<'a> {
    /// An intact record.
    Record(Record<'a>),
    /// A place where records may be missing.
    Damaged(&'a Damage),
}

/// The result of reading the log.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Number of intact records.
    pub records: u64,
    /// The damaged parts.
    pub damaged: Vec<Damage>,
    /// The tail that was cut off.
    pub torn: Option<Torn>,
    /// Number of damaged headers and superblock copies whose loss cost no record.
    pub mended: u64,
    /// Whether some damaged part may have held more than one record.
    pub lost_several: bool,
}

pub(super) fn open<D: Disk>(
    disk: Arc<D>,
    options: Options,
    salt: u64,
    mut visit: impl FnMut(Found<'_>),
    mut is_whole: impl FnMut(u64, &[Record<'_>]) -> Result<bool, Error>,
) -> Result<(Log<D>, Recovery), Error> {
    let read = superblock::read(&*disk)?;
    let mut numbers: Vec<u64> = disk
        .names()
        .map_err(Error::at("list", "the log's directory"))?
        .iter()
        .filter_map(|n| file::number(n))
        .collect();
    numbers.sort_unstable();
    let next_number = numbers.last().map_or(1, |n| n + 1);

    let mut superblock = match read.newest {
        Some(found) => found,
        None => {
            // Log files are created only after the superblock is durable. Without any file, the store is new, or a crash
            // interrupted its creation.
            let (salt, begin) = if numbers.is_empty() {
                (salt, options.begin.next_multiple_of(8))
            } else {
                (salt_of_files(&*disk, &numbers)?.ok_or(Error::Unreadable)?, 0)
            };
            Superblock {
                generation: 0,
                salt,
                epoch: 0,
                durable: begin,
                trimmed: begin,
                read_from: 0,
                read_epoch: 0,
                eras: None,
            }
        }
    };
    let mut files = Files::collect(&*disk, &numbers, &superblock, &options)?;
    let search = || eras::search(&files.used, superblock.salt);
    let known = Known::of(&read.eras, &files.used);
    let mut scan = Scan::new(&superblock, &options, known, &search, &mut visit, &mut is_whole);
    scan.recovery.mended = files.mended + u64::from(read.damaged);
    scan.at = match files.used.first() {
        // The remaining copy of the superblock may be older, and lack the latest trim.
        Some(first) if read.damaged > 0 || read.newest.is_none() => first.start.max(superblock.trimmed),
        _ if options.whole => superblock.trimmed,
        _ if superblock.read_from > superblock.trimmed => {
            // Frames of a dropped tail at this place have a lower epoch, and are ignored.
            scan.epoch = superblock.read_epoch;
            superblock.read_from
        }
        _ => superblock.trimmed,
    };
    scan.records_end = scan.at;
    let kept = scan.run(&files.used)?;
    let before = scan.era_before(superblock.eras);
    let Scan { at: end, epoch, records_end, recovery, .. } = scan;

    for dropped in files.used.drain(kept..).chain(files.useless.drain(..)) {
        let name = file::name(dropped.number);
        disk.remove(&name).map_err(Error::at("remove", &name))?;
    }
    for file in &files.used {
        // Data that a killed process wrote may be in memory only.
        file.file.sync().map_err(Error::at("sync", &file::name(file.number)))?;
    }
    superblock.generation += 1;
    superblock.epoch = superblock.epoch.max(epoch) + 1;
    superblock.durable = end;
    // New records are encrypted with a draw that no other opening has, neither of this log nor of a copy of it.
    let sealer = options.keys.fresh(options.label.as_bytes());
    let draw = sealer.as_ref().and_then(|sealer| sealer.draw());
    superblock.eras = draw.map(|draw| Eras { own: Era { epoch: superblock.epoch, draw }, before });
    superblock::write(&*read.file, &superblock)?;
    read.file.sync().map_err(Error::at("sync", superblock::NAME))?;
    disk.sync_names().map_err(Error::at("sync", "the log's directory"))?;

    let current = options.keys.current();
    let mut log = Log {
        disk,
        options,
        sealer,
        turn: 0,
        superblock,
        superblock_file: read.file,
        files: VecDeque::from(files.used),
        spares: files.spares,
        next_number,
        reserved: 0,
        gathered: Vec::new(),
        records: 0,
        end,
        records_end,
        durable: end,
        marked: end,
        previous: 0,
        unsynced: Vec::new(),
        proven: Vec::new(),
        names_unsynced: Vec::new(),
        syncing: false,
        failed: false,
    };
    // An empty frame of the new epoch makes any remains of a dropped tail invalid: their epoch is lower.
    log.gathered.resize(frame::HEADER_LEN, 0);
    if let Some(eras) = log.superblock.eras {
        log.gathered.extend_from_slice(&eras.encode(log.superblock.salt, log.end));
    }
    log.find_reserve()?;
    while let Err(e) = log.write_frame() {
        if !matches!(e, Error::Full { .. }) || !log.release() {
            return Err(e);
        }
    }
    let end = log.end;
    if let Some(last) = log.files.back_mut().filter(|last| last.is_foreign(current)) {
        // New frames go to another file, so that this one, which has another key or none, can be removed as a whole.
        last.len = last.offset(end);
    }
    if let Some(job) = log.sync_job() {
        log.synced(job.run())?;
    }
    Ok((log, recovery))
}

/// Returns the salt from the first file whose header is intact.
fn salt_of_files<D: Disk>(disk: &D, numbers: &[u64]) -> Result<Option<u64>, Error> {
    for &number in numbers {
        let name = file::name(number);
        let mut bytes = [0; file::HEADER_LEN as usize];
        let file = disk.open(&name).map_err(Error::at("open", &name))?;
        file.read_at(&mut bytes, 0).map_err(Error::at("read", &name))?;
        if let Some((_, salt, _)) = file::decode_header(&bytes) {
            return Ok(Some(salt));
        }
    }
    Ok(None)
}

/// The log's files by use.
struct Files<F> {
    /// Files with frames that count, in the order of the log.
    used: Vec<LogFile<F>>,
    /// At most one file whose content does not matter, kept for reuse.
    spares: Vec<LogFile<F>>,
    /// More files whose content does not matter, to be removed.
    useless: Vec<LogFile<F>>,
    mended: u64,
}

impl<F: DiskFile> Files<F> {
    fn collect<D: Disk<File = F>>(
        disk: &D,
        numbers: &[u64],
        superblock: &Superblock,
        options: &Options,
    ) -> Result<Self, Error> {
        let (file_len, current) = (options.file_len, options.keys.current());
        let mut files = Self { used: Vec::new(), spares: Vec::new(), useless: Vec::new(), mended: 0 };
        for &number in numbers {
            let name = file::name(number);
            let file = disk.open(&name).map_err(Error::at("open", &name))?;
            let len = file.len().map_err(Error::at("measure", &name))?;
            let mut header = [0; file::HEADER_LEN as usize];
            file.read_at(&mut header, 0).map_err(Error::at("read", &name))?;
            let key = file::decode_key(&header);
            let mut found = LogFile { number, start: 0, epoch: 0, len, key, draw: None, file };
            let start = match file::decode_header(&header) {
                Some((start, salt, epoch)) if salt == superblock.salt => {
                    (found.epoch, found.draw) = (epoch, file::decode_draw(&header));
                    Some(start)
                }
                _ => {
                    let start = file::start_from_frames(&contents(&found)?, superblock.salt);
                    files.mended += u64::from(start.is_some());
                    start
                }
            };
            match start {
                Some(start) if start >= superblock.trimmed => {
                    found.start = start;
                    files.used.push(found);
                }
                _ if files.spares.is_empty() && len <= file_len && !found.is_foreign(current) => {
                    files.spares.push(found);
                }
                _ => files.useless.push(found),
            }
        }
        files.used.sort_by_key(|f| (f.start, f.number));
        Ok(files)
    }
}

fn contents<F: DiskFile>(file: &LogFile<F>) -> Result<Vec<u8>, Error> {
    let name = file::name(file.number);
    let mut bytes = vec![0; usize::try_from(file.len).map_err(|_| Error::Unreadable)?];
    let n = file.file.read_at(&mut bytes, 0).map_err(Error::at("read", &name))?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Maximum number of epochs to try behind damage. Each one costs time at every offset.
const EPOCHS_MAX: u32 = 32;

/// Returns whether everything that these records refer to is present; see [`Log::open_whole`].
type IsWhole<'w> = dyn FnMut(u64, &[Record<'_>]) -> Result<bool, Error> + 'w;

struct Scan<'v> {
    salt: u64,
    visit: &'v mut dyn FnMut(Found<'_>),
    is_whole: &'v mut IsWhole<'v>,
    /// The expected position of the next frame.
    at: u64,
    records_end: u64,
    /// The epoch of the last frame; later frames have no lower one.
    epoch: u32,
    /// The highest epoch that frames can have.
    last_epoch: u32,
    /// Checksum of the last header; `None` if something is missing since.
    previous: Option<u32>,
    /// The position up to which the log is known to have been durable.
    proven: u64,
    recovery: Recovery,
    keys: &'v Keyring,
    label: &'static str,
    /// The draws known so far.
    known: Known,
    /// Searches the files for more draws.
    search: &'v dyn Fn() -> Vec<Eras>,
    /// The epoch of the last encrypted record that was read.
    sealed_epoch: Option<u32>,
    /// The decryption of the last encrypted record.
    sealer: Option<Arc<Sealer>>,
    plain: Vec<u8>,
}

impl<'v> Scan<'v> {
    fn new(
        superblock: &Superblock,
        options: &'v Options,
        known: Known,
        search: &'v dyn Fn() -> Vec<Eras>,
        visit: &'v mut dyn FnMut(Found<'_>),
        is_whole: &'v mut IsWhole<'v>,
    ) -> Self {
        Self {
            salt: superblock.salt,
            visit,
            is_whole,
            at: 0,
            records_end: 0,
            epoch: 0,
            last_epoch: superblock.epoch,
            previous: None,
            proven: superblock.durable,
            recovery: Recovery::default(),
            keys: &options.keys,
            label: options.label,
            known,
            search,
            sealed_epoch: None,
            sealer: None,
            plain: Vec::new(),
        }
    }

    /// Passes an intact record to `visit`, decrypted.
    fn give<F: DiskFile>(&mut self, file: &LogFile<F>, record: Record<'_>, epoch: u32, len: usize) {
        if record.kind & record::SEALED == 0 {
            self.recovery.records += 1;
            return (self.visit)(Found::Record(record));
        }
        if record.is_drawn() {
            self.sealed_epoch = Some(epoch);
        }
        let mut plain = std::mem::take(&mut self.plain);
        match self.unseal(&record, epoch, &mut plain) {
            Some(record) => {
                self.recovery.records += 1;
                (self.visit)(Found::Record(record));
            }
            // The bytes are as written, but they can't be decrypted.
            None => {
                self.recovery.lost_several = true;
                self.lose(file, record.position, record.position + len as u64);
            }
        }
        self.plain = plain;
    }

    fn unseal<'p>(&mut self, record: &Record<'_>, epoch: u32, plain: &'p mut Vec<u8>) -> Option<Record<'p>> {
        let draw = match record.is_drawn() {
            true => Some(self.known.draw(epoch, self.search)?),
            false => None,
        };
        let (keys, label, last) = (self.keys, self.label, &mut self.sealer);
        let sealer = |id| {
            if last.as_ref().is_none_or(|last| (last.id(), last.draw()) != (id, draw)) {
                *last = keys.sealer(id, label.as_bytes(), draw);
            }
            last.clone()
        };
        record::unseal(record, epoch, sealer, plain)
    }

    /// Returns the last era that may have records in the log. If no encrypted record was read, this is the superblock's own
    /// era.
    fn era_before(&self, superblock: Option<Eras>) -> Option<Era> {
        let read = self.sealed_epoch.and_then(|epoch| self.known.era(epoch));
        read.or(superblock.map(|eras| eras.own))
    }

    /// Whether everything that the records of a frame refer to is present.
    fn is_whole(&mut self, records: &[Record<'_>], epoch: u32) -> Result<bool, Error> {
        let mut plain: Vec<Vec<u8>> = records.iter().map(|_| Vec::new()).collect();
        let mut opened: Vec<Record<'_>> = Vec::with_capacity(records.len());
        for (record, plain) in records.iter().zip(&mut plain) {
            match record.kind & record::SEALED {
                0 => opened.push(*record),
                // A record that can't be decrypted refers to nothing.
                _ => opened.extend(self.unseal(record, epoch, plain)),
            }
        }
        (self.is_whole)(self.salt, &opened)
    }

    /// Reads all files. Returns how many of them, from the front, still belong to the log.
    fn run<F: DiskFile>(&mut self, files: &[LogFile<F>]) -> Result<usize, Error> {
        for (i, file) in files.iter().enumerate() {
            if files.get(i + 1).is_some_and(|next| next.start <= self.at) {
                // The whole file lies before the position to read from.
                continue;
            }
            let bytes = contents(file)?;
            if file.start > self.at {
                // The end of the previous file is missing, or a whole file is.
                self.look_ahead(files, i, &bytes)?;
                if self.at >= self.proven {
                    self.tear(files.get(i.wrapping_sub(1)), &[], file.start);
                    return Ok(i);
                }
                self.recovery.lost_several = true;
                self.lose(files.get(i.wrapping_sub(1)).unwrap_or(file), self.at, file.start);
                self.at = file.start;
                self.previous = None;
            }
            if !self.read_file(files, i, &bytes)? {
                return Ok(i + 1);
            }
        }
        if self.at < self.proven {
            self.recovery.lost_several = true;
            if let Some(last) = files.last() {
                self.lose(last, self.at, self.proven);
            } else {
                let damage = Damage { from: self.at, to: self.proven, file: file::name(1), offset: 0 };
                self.report(damage);
            }
            self.at = self.proven;
        }
        Ok(files.len())
    }

    /// Reads the frames of one file. Returns false if the log was cut in it.
    fn read_file<F: DiskFile>(
        &mut self,
        files: &[LogFile<F>],
        i: usize,
        bytes: &[u8],
    ) -> Result<bool, Error> {
        let file = &files[i];
        loop {
            let offset = file.offset(self.at) as usize;
            if let Some((header, crc)) = self.frame_at(bytes, offset) {
                let end = offset + frame::HEADER_LEN + header.len as usize;
                let Some(body) = bytes.get(offset + frame::HEADER_LEN..end) else {
                    // The file was truncated within the frame.
                    self.recovery.lost_several = true;
                    return self.unreadable(files, i, bytes, offset, bytes.len(), header.end());
                };
                let seal = record::Seal { salt: self.salt, epoch: header.epoch };
                let records = match header.records {
                    0 => Some(self.first_of_era(&bytes[offset..end], &header)),
                    count => intact(body, seal, header.position + frame::HEADER_LEN as u64, count),
                };
                if let Some(records) = &records
                    && self.at >= self.proven
                    && !self.is_whole(records, header.epoch)?
                {
                    self.look_ahead(files, i, bytes)?;
                    if self.at >= self.proven {
                        self.tear(Some(file), bytes.get(offset..).unwrap_or_default(), header.end());
                        return Ok(false);
                    }
                }
                if let Some(records) = records {
                    for record in records {
                        let len = record::padded_len(record.body.len());
                        self.give(file, record, header.epoch, len);
                    }
                } else {
                    let before = self.recovery.records;
                    let several = std::mem::take(&mut self.recovery.lost_several);
                    if !self.unreadable(files, i, bytes, offset, end, header.end())? {
                        return Ok(false);
                    }
                    // The header is intact and states the number of records.
                    let found = self.recovery.records - before;
                    self.recovery.lost_several = several || found + 1 < u64::from(header.records);
                }
                self.epoch = header.epoch;
                self.previous = Some(crc);
                self.proven = self.proven.max(header.durable);
                self.at = header.end();
                if header.records > 0 {
                    self.records_end = self.at;
                }
                continue;
            }
            let next = self.next_frame(file, bytes, offset + 8);
            let next_start = files.get(i + 1).map(|f| f.start);
            match (next, next_start) {
                (None, Some(start)) if start == self.at => return Ok(true),
                (None, None) if self.at >= self.proven => {
                    // The log ends here, cleanly unless a frame was begun at this place.
                    let begun = bytes
                        .get(offset..offset + 16)
                        .is_some_and(|b| b[..4] == frame::MAGIC && b[8..16] == self.at.to_le_bytes());
                    if begun {
                        let rest = bytes[offset..].iter().rposition(|b| *b != 0).map_or(0, |i| i as u64 + 1);
                        self.tear(Some(file), &bytes[offset..], self.at + rest);
                    }
                    return Ok(!begun);
                }
                (None, None) => {
                    let end = (offset as u64 + (self.proven - self.at)).min(bytes.len() as u64) as usize;
                    let proven = self.proven;
                    return self.unreadable(files, i, bytes, offset, end, proven);
                }
                (None, Some(start)) => return self.unreadable(files, i, bytes, offset, bytes.len(), start),
                (Some((next, position)), _) => {
                    if !self.unreadable(files, i, bytes, offset, next, position)? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Collects the eras that a frame without records may hold. Returns no records.
    fn first_of_era<'b>(&mut self, bytes: &[u8], header: &frame::Header) -> Vec<Record<'b>> {
        match eras::in_frame(bytes, self.salt, header.position) {
            Some(eras) => self.known.note(&eras),
            None => self.recovery.mended += u64::from(header.len > 0),
        }
        Vec::new()
    }

    /// Returns the frame header at `offset` and its checksum, if that frame continues the log.
    fn frame_at(&self, bytes: &[u8], offset: usize) -> Option<(frame::Header, u32)> {
        let (header, crc) = frame::Header::decode(bytes.get(offset..)?, self.salt, self.at)?;
        let follows = header.epoch > self.epoch || self.previous.is_none_or(|p| header.previous == p);
        (header.epoch >= self.epoch && follows).then_some((header, crc))
    }

    /// Returns the offset and the position of the next frame, from offset `from` on, that may belong to the log.
    fn next_frame<F>(&self, file: &LogFile<F>, bytes: &[u8], from: usize) -> Option<(usize, u64)> {
        let from = from.min(bytes.len());
        memchr::memmem::find_iter(&bytes[from..], &frame::MAGIC).find_map(|found| {
            let offset = from + found;
            let position = file.start + (offset as u64).checked_sub(file::HEADER_LEN)?;
            let (header, _) = frame::Header::decode(&bytes[offset..], self.salt, position)?;
            (header.epoch >= self.epoch).then_some((offset, position))
        })
    }

    /// Raises `proven` to what the headers of all following frames state.
    fn look_ahead<F: DiskFile>(&mut self, files: &[LogFile<F>], i: usize, bytes: &[u8]) -> Result<(), Error> {
        for (j, file) in files.iter().enumerate().skip(i) {
            let loaded;
            let bytes = if j == i {
                bytes
            } else {
                loaded = contents(file)?;
                &loaded
            };
            let mut from = 0;
            while let Some((offset, position)) = self.next_frame(file, bytes, from) {
                if let Some((header, _)) = frame::Header::decode(&bytes[offset..], self.salt, position) {
                    self.proven = self.proven.max(header.durable);
                }
                from = offset + 8;
            }
        }
        Ok(())
    }

    /// Handles the unreadable bytes from `offset` to `end`, behind which the log continues at `position`. Returns false if the
    /// log ends here.
    fn unreadable<F: DiskFile>(
        &mut self,
        files: &[LogFile<F>],
        i: usize,
        bytes: &[u8],
        offset: usize,
        end: usize,
        position: u64,
    ) -> Result<bool, Error> {
        let file = &files[i];
        if self.at >= self.proven {
            self.look_ahead(files, i, bytes)?;
        }
        if self.at >= self.proven {
            self.tear(Some(file), bytes.get(offset..).unwrap_or_default(), position);
            return Ok(false);
        }
        // A truncated file may end before the place where the log continued.
        let end = end.min(bytes.len()).max(offset);
        let next = bytes.get(end..).and_then(|next| frame::Header::decode_anywhere(next, self.salt));
        let until = next.map_or(self.last_epoch, |(next, _)| next.epoch);
        self.salvage(file, bytes.get(..end).unwrap_or_default(), offset, until);
        let read_to = self.at + end.min(bytes.len()).saturating_sub(offset) as u64;
        if read_to < position {
            self.lose(file, read_to, position);
        }
        self.at = position;
        self.records_end = position;
        self.previous = None;
        Ok(true)
    }

    /// Passes on the intact records between `offset` and the end of `bytes`, and reports the rest as damage. `until` is the
    /// epoch of the frame that follows.
    fn salvage<F: DiskFile>(&mut self, file: &LogFile<F>, bytes: &[u8], offset: usize, until: u32) {
        if offset >= bytes.len() {
            return;
        }
        let position_of = |offset: usize| file.start + (offset as u64 - file::HEADER_LEN);
        // Epochs never fall, but several openings may have written frames in this part.
        let epoch = self.epoch.max(file.epoch);
        let epochs = match frame::Header::decode(&bytes[offset..], self.salt, self.at) {
            Some((header, _)) => header.epoch..=header.epoch,
            None => epoch..=until.clamp(epoch, epoch.saturating_add(EPOCHS_MAX)),
        };
        // Clients choose the content of records, so trying every offset must take linear time whatever the bytes are.
        let tried = &bytes[offset..];
        let ranges = Ranges::of(tried);
        let mut bad: Option<usize> = None;
        let mut at = offset;
        while at < bytes.len() {
            let found = epochs.clone().find_map(|epoch| {
                let seal = record::Seal { salt: self.salt, epoch };
                let place = at - offset;
                let (record, len) = record::decode_within(tried, place, &ranges, seal, position_of(at))?;
                Some((record, len, epoch))
            });
            let Some((record, len, epoch)) = found else {
                bad.get_or_insert(at);
                at += 8;
                continue;
            };
            if let Some(from) = bad.take() {
                self.bad_run(file, bytes, offset, from..at);
            }
            self.give(file, record, epoch, len);
            at += len;
        }
        if let Some(from) = bad {
            self.bad_run(file, bytes, offset, from..bytes.len());
        }
    }

    /// Handles a run of bytes that is no record. At the start of a frame, it may be only the frame's header, and the eras
    /// behind it. Then no record is lost.
    fn bad_run<F: DiskFile>(&mut self, file: &LogFile<F>, bytes: &[u8], frame: usize, run: Range<usize>) {
        let position_of = |offset: usize| file.start + (offset as u64 - file::HEADER_LEN);
        let behind = frame + frame::HEADER_LEN;
        let is_header = run.end == behind
            || run.end == behind + eras::LEN
                && eras::in_frame(&bytes[frame..], self.salt, position_of(frame)).is_some();
        if run.start == frame && is_header {
            self.recovery.mended += u64::from(self.recovery.damaged.is_empty());
        } else {
            self.recovery.lost_several = true;
            self.lose(file, position_of(run.start), position_of(run.end));
        }
    }

    fn lose<F: DiskFile>(&mut self, file: &LogFile<F>, from: u64, to: u64) {
        // A position before the start of `file` lies in a missing file.
        let offset = if from < file.start { 0 } else { file.offset(from) };
        self.report(Damage { from, to, file: file::name(file.number), offset });
    }

    fn report(&mut self, damage: Damage) {
        (self.visit)(Found::Damaged(&damage));
        self.recovery.damaged.push(damage);
    }

    /// Cuts the log here. `rest` is the content of the file from here on; the tail seems to reach to `to`.
    fn tear<F: DiskFile>(&mut self, file: Option<&LogFile<F>>, rest: &[u8], to: u64) {
        let mut records = 0;
        for at in memchr::memmem::find_iter(rest, &frame::MAGIC) {
            let position = self.at + at as u64;
            if let Some((header, _)) = frame::Header::decode(&rest[at..], self.salt, position) {
                records += u64::from(header.records);
            }
        }
        self.recovery.torn = Some(Torn {
            from: self.at,
            len: to - self.at,
            records,
            file: file.map_or_else(|| file::name(1), |f| file::name(f.number)),
            offset: file.map_or(0, |f| f.offset(self.at)),
        });
    }
}

/// Returns the records of a frame if all of them are intact.
fn intact(mut bytes: &[u8], seal: record::Seal, mut position: u64, count: u32) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, len) = record::decode(bytes, seal, position)?;
        records.push(record);
        // Only a truncated file can lack the padding, which holds no content.
        bytes = bytes.get(len..)?;
        position += len as u64;
    }
    (records.len() == count as usize).then_some(records)
}
