//! Subjects on disk in byte order, each with its state at the time of writing.
//!
//! A run is written once and then only read. It consists of chunks of about 4 KiB in the format of segments, so they are
//! checked, compressed and encrypted in the same way. Memory holds a filter, which excludes most absent subjects, and the
//! places of chunks.

use std::cmp::Ordering;
use std::io;

use fastbloom::BloomFilter;

use crate::disk::{Disk, DiskFile};
use crate::file::chunk::Packing;
use crate::file::files::Files;
use crate::file::varint;
use crate::index::{Filter, Step};
use crate::messages::SubjectState;
use crate::visits;

/// Bytes of subjects after which a chunk ends.
const BLOCK_LEN: usize = if cfg!(test) { 48 } else { 4 << 10 };
/// Bytes written at once.
const WRITE_LEN: usize = 1 << 20;
/// Rate of false positives of the filter: of 100 absent subjects, about one costs a read.
const FALSE_POSITIVES: f64 = 0.01;

/// The error for a run that can't be read. Its content can be learned again from the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::file) struct Unreadable;

/// The place of a chunk.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Offset of its key in `keys`.
    key: u32,
    /// Offset in the file.
    at: u64,
}

/// Subjects in a file, in byte order.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) number: u32,
    /// Number of entries, including those of subjects without messages.
    pub(super) len: usize,
    packing: Packing,
    filter: BloomFilter,
    /// The chunks' keys. A key is above all subjects of the previous chunk, and not above any of its own.
    keys: Vec<u8>,
    blocks: Vec<Block>,
    /// Length of the file in bytes.
    end: u64,
}

/// A decoded chunk.
#[derive(Debug, Default)]
pub(super) struct OpenBlock {
    run: u32,
    block: usize,
    bytes: Vec<u8>,
    /// The chunk's bytes as stored.
    raw: Vec<u8>,
}

impl Run {
    /// Returns the hash of a subject for [`Run::may_have`]. It is the same for all runs of a stream.
    pub(super) fn hash(&self, subject: &[u8]) -> u64 {
        self.filter.source_hash(subject)
    }

    /// Whether the run may have a subject. False is certain.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.filter.contains_hash(hash)
    }

    /// Returns the entry of `subject`, if there is one.
    pub(super) fn get<D: Disk>(
        &self,
        files: &Files<D>,
        open: &mut OpenBlock,
        subject: &[u8],
    ) -> Result<Option<SubjectState>, Unreadable> {
        let Some(block) = self.block_of(subject) else { return Ok(None) };
        if (open.run, open.block) != (self.number, block) || open.bytes.is_empty() {
            self.open(files, block, open)?;
        }
        let mut entries = &open.bytes[..];
        let mut key = Vec::new();
        while !entries.is_empty() {
            let state = take_entry(&mut entries, &mut key).ok_or(Unreadable)?;
            match key[..].cmp(subject) {
                Ordering::Less => {}
                Ordering::Equal => return Ok(Some(state)),
                Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// Returns the index of the only chunk that can have `subject`.
    fn block_of(&self, subject: &[u8]) -> Option<usize> {
        let mut below = 0..self.blocks.len();
        while !below.is_empty() {
            let middle = below.start + below.len() / 2;
            if self.key(middle) <= subject {
                below.start = middle + 1;
            } else {
                below.end = middle;
            }
        }
        below.start.checked_sub(1)
    }

    fn key(&self, block: usize) -> &[u8] {
        let end = self.blocks.get(block + 1).map_or(self.keys.len(), |next| next.key as usize);
        &self.keys[self.blocks[block].key as usize..end]
    }

    /// Reads and decodes a chunk.
    fn open<D: Disk>(&self, files: &Files<D>, block: usize, open: &mut OpenBlock) -> Result<(), Unreadable> {
        open.bytes.clear();
        let begin = self.blocks[block].at;
        let end = self.blocks.get(block + 1).map_or(self.end, |next| next.at);
        open.raw.resize((end - begin) as usize, 0);
        let file = files.get(&self.name).map_err(|_| Unreadable)?;
        let read = file.read_at(&mut open.raw, begin).map_err(|_| Unreadable)?;
        let decoded = self.packing.decode(&open.raw[..read], begin, &mut open.bytes);
        if decoded.is_none_or(|(number, _)| number != block as u32) {
            open.bytes.clear();
            return Err(Unreadable);
        }
        (open.run, open.block) = (self.number, block);
        Ok(())
    }
}

fn put_entry(out: &mut Vec<u8>, before: &[u8], subject: &[u8], state: SubjectState) {
    let common = before.iter().zip(subject).take_while(|(a, b)| a == b).count();
    varint::put(out, common as u64);
    varint::put(out, (subject.len() - common) as u64);
    out.extend_from_slice(&subject[common..]);
    varint::put(out, state.count);
    varint::put(out, state.last);
    varint::put(out, state.last.wrapping_sub(state.first));
}

/// Takes an entry off the front. `key` holds the previous subject, and then this one's.
fn take_entry(entries: &mut &[u8], key: &mut Vec<u8>) -> Option<SubjectState> {
    let common = usize::try_from(varint::take(entries)?).ok()?;
    let len = usize::try_from(varint::take(entries)?).ok()?;
    key.truncate(common);
    key.extend_from_slice(varint::take_bytes(entries, len)?);
    let (count, last) = (varint::take(entries)?, varint::take(entries)?);
    let first = last.wrapping_sub(varint::take(entries)?);
    Some(SubjectState { first, last, count })
}

/// Writes a run.
pub(super) struct Writer<'f, D: Disk> {
    files: &'f Files<D>,
    run: Run,
    /// The entries of the chunk being built.
    entries: Vec<u8>,
    /// The subject that was added last.
    last: Vec<u8>,
    /// Encoded chunks that are not written yet.
    out: Vec<u8>,
    file: std::sync::Arc<D::File>,
}

impl<'f, D: Disk> Writer<'f, D> {
    /// Creates a file for a run of at most `expected` subjects.
    pub(super) fn new(
        files: &'f Files<D>,
        name: &str,
        number: u32,
        packing: Packing,
        seed: u64,
        expected: usize,
    ) -> io::Result<Self> {
        let run = Run {
            name: name.to_owned(),
            number,
            len: 0,
            packing,
            filter: BloomFilter::with_false_pos(FALSE_POSITIVES)
                .seed(&u128::from(seed))
                .expected_items(expected),
            keys: Vec::new(),
            blocks: Vec::new(),
            end: 0,
        };
        let (entries, last, out) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { files, run, entries, last, out, file: files.create(name)? })
    }

    /// Adds a subject, which must be above all previous ones.
    pub(super) fn add(&mut self, subject: &[u8], state: SubjectState) -> io::Result<()> {
        if self.entries.len() >= BLOCK_LEN {
            self.end_block()?;
        }
        if self.entries.is_empty() {
            // The key is the shortest prefix that is above the previous subject.
            let common = self.last.iter().zip(subject).take_while(|(a, b)| a == b).count();
            let key = &subject[..subject.len().min(common + 1)];
            let begin = u32::try_from(self.run.keys.len())
                .map_err(|_| io::Error::other("too many subjects for an index"))?;
            self.run.keys.extend_from_slice(key);
            self.run.blocks.push(Block { key: begin, at: self.run.end });
            self.last.clear();
        }
        put_entry(&mut self.entries, &self.last, subject, state);
        self.last.clear();
        self.last.extend_from_slice(subject);
        self.run.filter.insert(subject);
        self.run.len += 1;
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let number = (self.run.blocks.len() - 1) as u32;
        let before = self.out.len();
        self.run.packing.encode(&mut self.out, self.run.end, number, &self.entries, self.files.epoch);
        self.run.end += (self.out.len() - before) as u64;
        self.entries.clear();
        if self.out.len() >= WRITE_LEN { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.out, self.run.end - self.out.len() as u64)?;
        self.out.clear();
        Ok(())
    }

    /// Completes the run. It need not be durable, since the next opening does not use it.
    pub(super) fn finish(mut self) -> io::Result<Run> {
        self.end_block()?;
        self.write()?;
        self.run.keys.shrink_to_fit();
        self.run.blocks.shrink_to_fit();
        Ok(self.run)
    }
}

/// A cursor over the subjects of a run that match a filter.
pub(super) struct RunCursor<'r, D: Disk> {
    files: &'r Files<D>,
    run: &'r Run,
    filter: &'r Filter,
    after: Option<&'r [u8]>,
    /// The index of the next chunk.
    block: usize,
    open: OpenBlock,
    /// Number of the chunk's bytes that were visited.
    seen: usize,
    subject: Vec<u8>,
    state: SubjectState,
}

impl<'r, D: Disk> RunCursor<'r, D> {
    /// Creates a cursor before the first match behind `after`.
    pub(super) fn new(
        files: &'r Files<D>,
        run: &'r Run,
        filter: &'r Filter,
        after: Option<&'r [u8]>,
    ) -> Self {
        let from = after.unwrap_or_default().max(filter.prefix());
        let block = run.block_of(from).unwrap_or(0);
        let (open, subject, state) = (OpenBlock::default(), Vec::new(), SubjectState::default());
        Self { files, run, filter, after, block, open, seen: 0, subject, state }
    }

    /// Moves to the next match, within `budget`. After a pause, everything up to [`RunCursor::subject`] was visited.
    pub(super) fn next(&mut self, budget: &mut usize) -> Result<Step<()>, Unreadable> {
        loop {
            while self.seen < self.open.bytes.len() {
                let mut rest = &self.open.bytes[self.seen..];
                self.state = take_entry(&mut rest, &mut self.subject).ok_or(Unreadable)?;
                self.seen = self.open.bytes.len() - rest.len();
                let is_behind = self.after.is_none_or(|after| after < &self.subject[..]);
                if is_behind {
                    // Skipping entries up to `after` within a chunk is free. Otherwise it would use up a small budget every
                    // time.
                    visits::note();
                    *budget = budget.saturating_sub(1);
                }
                if is_behind && self.filter.matches(&self.subject) {
                    return Ok(Step::Found(()));
                }
                let prefix = self.filter.prefix();
                if &self.subject[..] > prefix && !self.subject.starts_with(prefix) {
                    self.block = self.run.blocks.len();
                    self.seen = self.open.bytes.len();
                } else if is_behind && *budget == 0 {
                    return Ok(Step::Paused);
                }
            }
            let Some(block) = self.run.blocks.get(self.block).map(|_| self.block) else {
                return Ok(Step::End);
            };
            self.block += 1;
            if self.may_match(block) {
                self.run.open(self.files, block, &mut self.open)?;
                self.seen = 0;
                self.subject.clear();
                continue;
            }
            visits::note();
            *budget = budget.saturating_sub(1);
            // Neither this chunk nor a later one has a subject below this key.
            let key = self.run.key(block);
            if *budget == 0 && self.after.is_none_or(|after| after < key) {
                self.subject.clear();
                self.subject.extend_from_slice(key);
                return Ok(Step::Paused);
            }
        }
    }

    /// Whether a chunk may have a match, judging by its key and the next one.
    fn may_match(&self, block: usize) -> bool {
        if block + 1 >= self.run.blocks.len() {
            return true;
        }
        let (from, to) = (self.run.key(block), self.run.key(block + 1));
        let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        self.filter.may_match_behind(&from[..common])
    }

    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(super) fn state(&self) -> SubjectState {
        self.state
    }
}
