//! Subjects on disk in byte order, each with its state at the time of writing.
//!
//! A run is written once and then only read. It consists of chunks of about 2 KiB in the format of segments, so they are
//! checked and encrypted in the same way. Memory holds a filter, which excludes most absent subjects, and the places of chunks.
//!
//! Chunks are not compressed: an update of a subject reads one chunk, and decompression would take longer than everything else.
//! Within a chunk, an entry omits the bytes that its subject shares with the previous one. Every 16th entry has its whole subject and
//! begins a group; a table at the end of the chunk has the places of groups, so that a lookup decodes one group.

use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use fastbloom::BloomFilter;
use lru::LruCache;

use crate::budget::{Budget, Share};
use crate::disk::{Disk, DiskFile};
use crate::file::chunk::Packing;
use crate::file::files::Files;
use crate::file::varint;
use crate::index::{Filter, Matched, Step};
use crate::messages::SubjectState;
use crate::visits;

/// Bytes of subjects after which a chunk ends.
const BLOCK_LEN: usize = if cfg!(test) { 48 } else { 2 << 10 };
/// Number of entries in a group, of which the first has its whole subject.
const GROUP: usize = if cfg!(test) { 3 } else { 16 };
/// Bytes of a number in the table of groups.
const WORD: usize = 4;
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
    /// `None` for a part, in which no single subject is looked up.
    filter: Option<BloomFilter>,
    /// The chunks' keys. A key is above all subjects of the previous chunk, and not above any of its own.
    keys: Vec<u8>,
    blocks: Vec<Block>,
    /// Length of the file in bytes.
    end: u64,
}

/// A cache of decoded chunks, for lookups of single subjects.
#[derive(Debug)]
pub(super) struct Chunks {
    kept: LruCache<(u32, usize), Vec<u8>>,
    /// Bytes of memory that they take.
    bytes: usize,
    share: Share,
    /// The chunk's bytes as stored.
    raw: Vec<u8>,
}

impl Chunks {
    /// Creates an empty cache. It keeps as much as `budget` allows, and always the last chunk.
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self { kept: LruCache::unbounded(), bytes: 0, share: Share::new(budget), raw: Vec::new() }
    }

    /// Removes all chunks.
    pub(super) fn clear(&mut self) {
        (self.kept, self.bytes, self.raw) = (LruCache::unbounded(), 0, Vec::new());
        self.share.set(0);
    }

    /// Returns a chunk of a run, and reads it if needed.
    fn get<D: Disk>(&mut self, run: &Run, files: &Files<D>, block: usize) -> Result<&[u8], Unreadable> {
        let place = (run.number, block);
        if !self.kept.contains(&place) {
            let mut bytes = Vec::new();
            let file = files.get(&run.name).map_err(|_| Unreadable)?;
            run.read(&*file, block, &mut self.raw, &mut bytes)?;
            self.bytes += bytes.capacity();
            let most = self.share.budget().kept();
            while self.bytes > most
                && let Some((_, oldest)) = self.kept.pop_lru()
            {
                self.bytes -= oldest.capacity();
            }
            self.kept.put(place, bytes);
            self.share.set(self.bytes);
        }
        self.kept.get(&place).map(Vec::as_slice).ok_or(Unreadable)
    }
}

impl Run {
    /// Returns the hash of a subject for [`Run::may_have`]. It is the same for all runs of a stream.
    pub(super) fn hash(&self, subject: &[u8]) -> u64 {
        self.filter.as_ref().map_or(0, |filter| filter.source_hash(subject))
    }

    /// Whether the run may have a subject. False is certain.
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.contains_hash(hash))
    }

    /// Returns the entry of `subject`, if there is one.
    pub(super) fn get<D: Disk>(
        &self,
        files: &Files<D>,
        chunks: &mut Chunks,
        subject: &[u8],
    ) -> Result<Option<SubjectState>, Unreadable> {
        let Some(block) = self.block_of(subject) else { return Ok(None) };
        let entries = Entries::of(chunks.get(self, files, block)?).ok_or(Unreadable)?;
        entries.find(subject).ok_or(Unreadable)
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

    /// Reads and decodes a chunk into `bytes`. `raw` is a buffer for the stored form.
    fn read(
        &self,
        file: &impl DiskFile,
        block: usize,
        raw: &mut Vec<u8>,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let begin = self.blocks[block].at;
        let end = self.blocks.get(block + 1).map_or(self.end, |next| next.at);
        raw.resize((end - begin) as usize, 0);
        let read = file.read_at(raw, begin).map_err(|_| Unreadable)?;
        bytes.clear();
        bytes.reserve_exact(read);
        match self.packing.decode(&raw[..read], begin, bytes) {
            Some((number, _)) if number == block as u32 => Ok(()),
            _ => Err(Unreadable),
        }
    }

    /// Adds the filter to a run that was written without one.
    pub(super) fn with_filter<D: Disk>(mut self, files: &Files<D>, seed: u64) -> Result<Self, Unreadable> {
        let mut filter = new_filter(seed, self.len);
        let all = Filter::new(b">");
        let mut cursor = RunCursor::new(files, &self, &all, None);
        while cursor.next(&mut { usize::MAX })? == Step::Found(()) {
            filter.insert(cursor.subject());
        }
        self.filter = Some(filter);
        Ok(self)
    }
}

fn new_filter(seed: u64, subjects: usize) -> BloomFilter {
    BloomFilter::with_false_pos(FALSE_POSITIVES).seed(&u128::from(seed)).expected_items(subjects)
}

/// The content of a decoded chunk.
#[derive(Clone, Copy)]
struct Entries<'b> {
    entries: &'b [u8],
    /// The places of groups in `entries`.
    groups: &'b [[u8; WORD]],
}

impl<'b> Entries<'b> {
    /// Splits a chunk. Returns `None` if it is malformed.
    fn of(chunk: &'b [u8]) -> Option<Self> {
        let (rest, count) = chunk.split_last_chunk::<WORD>()?;
        let table = (u32::from_le_bytes(*count) as usize).checked_mul(WORD)?;
        let (entries, table) = rest.split_at_checked(rest.len().checked_sub(table)?)?;
        Some(Self { entries, groups: table.as_chunks::<WORD>().0 })
    }

    /// Returns the entries from the nth group on.
    fn group(&self, n: usize) -> Option<&'b [u8]> {
        self.entries.get(u32::from_le_bytes(*self.groups.get(n)?) as usize..)
    }

    /// Returns the first subject of the nth group.
    fn first(&self, n: usize) -> Option<&'b [u8]> {
        let mut entries = self.group(n)?;
        let (_, subject) = take_subject(&mut entries)?;
        Some(subject)
    }

    /// Returns the entry of `subject`, `Some(None)` if it is absent, or `None` if the chunk is malformed.
    fn find(&self, subject: &[u8]) -> Option<Option<SubjectState>> {
        let mut below = 0..self.groups.len();
        while !below.is_empty() {
            let middle = below.start + below.len() / 2;
            if self.first(middle)? <= subject {
                below.start = middle + 1;
            } else {
                below.end = middle;
            }
        }
        let Some(group) = below.start.checked_sub(1) else { return Some(None) };
        let mut left = self.group(group)?;
        // Length of the prefix that `subject` shares with the previous entry, which is below it.
        let mut matched = 0;
        for _ in 0..GROUP {
            if left.is_empty() {
                break;
            }
            let (common, rest) = take_subject(&mut left)?;
            let state = take_state(&mut left)?;
            if common > matched {
                // The entry differs from `subject` at the same byte as the previous one, so it is below it, too.
                continue;
            }
            if common < matched {
                break;
            }
            let wanted = &subject[matched..];
            match rest.cmp(wanted) {
                Ordering::Less => matched += common_len(rest, wanted),
                Ordering::Equal => return Some(Some(state)),
                Ordering::Greater => break,
            }
        }
        Some(None)
    }
}

/// Returns the length of the prefix that two subjects share.
fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn put_entry(out: &mut Vec<u8>, before: &[u8], subject: &[u8], state: SubjectState) {
    let common = common_len(before, subject);
    varint::put(out, common as u64);
    varint::put(out, (subject.len() - common) as u64);
    out.extend_from_slice(&subject[common..]);
    varint::put(out, state.count);
    varint::put(out, state.last);
    varint::put(out, state.last.wrapping_sub(state.first));
}

/// Takes a subject off the front: the number of bytes that it shares with the previous one, and the rest.
fn take_subject<'e>(entries: &mut &'e [u8]) -> Option<(usize, &'e [u8])> {
    let common = usize::try_from(varint::take(entries)?).ok()?;
    let len = usize::try_from(varint::take(entries)?).ok()?;
    Some((common, varint::take_bytes(entries, len)?))
}

/// Takes a subject's state off the front.
fn take_state(entries: &mut &[u8]) -> Option<SubjectState> {
    let (count, last) = (varint::take(entries)?, varint::take(entries)?);
    let first = last.wrapping_sub(varint::take(entries)?);
    Some(SubjectState { first, last, count })
}

/// Writes a run.
pub(super) struct Writer<'f, D: Disk> {
    files: &'f Files<D>,
    run: Run,
    /// The entries of the chunk being built, and their number.
    entries: Vec<u8>,
    count: usize,
    /// The table of groups of that chunk.
    groups: Vec<u8>,
    /// The subject that was added last.
    last: Vec<u8>,
    /// Encoded chunks that are not written yet.
    out: Vec<u8>,
    file: Arc<D::File>,
}

impl<'f, D: Disk> Writer<'f, D> {
    /// Creates a file for a run of at most `expected` subjects. `None`: the run is a part, in which no single subject is looked up.
    pub(super) fn new(
        files: &'f Files<D>,
        name: &str,
        number: u32,
        packing: Packing,
        seed: u64,
        expected: Option<usize>,
    ) -> io::Result<Self> {
        let filter = expected.map(|expected| new_filter(seed, expected));
        let run = Run {
            name: name.to_owned(),
            number,
            len: 0,
            packing,
            filter,
            keys: Vec::new(),
            blocks: Vec::new(),
            end: 0,
        };
        let (entries, groups, last, out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { files, run, entries, count: 0, groups, last, out, file: files.create(name)? })
    }

    /// Adds a subject, which must be above all previous ones.
    pub(super) fn add(&mut self, subject: &[u8], state: SubjectState) -> io::Result<()> {
        if self.entries.len() >= BLOCK_LEN {
            self.end_block()?;
        }
        if self.entries.is_empty() {
            // The key is the shortest prefix that is above the previous subject.
            let common = common_len(&self.last, subject);
            let key = &subject[..subject.len().min(common + 1)];
            let begin = u32::try_from(self.run.keys.len())
                .map_err(|_| io::Error::other("too many subjects for an index"))?;
            self.run.keys.extend_from_slice(key);
            self.run.blocks.push(Block { key: begin, at: self.run.end });
        }
        if self.count.is_multiple_of(GROUP) {
            self.groups.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
            self.last.clear();
        }
        self.count += 1;
        put_entry(&mut self.entries, &self.last, subject, state);
        self.last.clear();
        self.last.extend_from_slice(subject);
        if let Some(filter) = &mut self.run.filter {
            filter.insert(subject);
        }
        self.run.len += 1;
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let number = (self.run.blocks.len() - 1) as u32;
        self.entries.extend_from_slice(&self.groups);
        self.entries.extend_from_slice(&((self.groups.len() / WORD) as u32).to_le_bytes());
        let before = self.out.len();
        self.run.packing.encode_plain(&mut self.out, self.run.end, number, &self.entries, self.files.epoch);
        self.run.end += (self.out.len() - before) as u64;
        self.entries.clear();
        self.groups.clear();
        self.count = 0;
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
    /// The run's file, once a chunk was read.
    file: Option<Arc<D::File>>,
    filter: &'r Filter,
    after: Option<&'r [u8]>,
    /// Whether the subject is above `after`.
    is_behind: bool,
    /// The index of the next chunk.
    block: usize,
    bytes: Vec<u8>,
    raw: Vec<u8>,
    /// Number of the entries' bytes that were visited, and of all of them.
    seen: usize,
    end: usize,
    subject: Vec<u8>,
    /// The filter's state after each byte of the subject, up to the first byte that fails.
    states: Vec<Matched>,
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
        let (bytes, raw, subject, states) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (is_behind, state) = (after.is_none(), SubjectState::default());
        Self {
            files,
            run,
            file: None,
            filter,
            after,
            is_behind,
            block,
            bytes,
            raw,
            seen: 0,
            end: 0,
            subject,
            states,
            state,
        }
    }

    /// Moves to the next entry of the chunk and returns whether its subject matches. `None` if the chunk is malformed.
    fn take(&mut self) -> Option<bool> {
        let mut rest = self.bytes.get(self.seen..self.end)?;
        let (common, new) = take_subject(&mut rest)?;
        self.state = take_state(&mut rest)?;
        self.seen = self.end - rest.len();
        self.subject.truncate(common);
        self.subject.extend_from_slice(new);
        // A match that failed within the shared prefix fails for this subject, too.
        if self.states.len() < common {
            return Some(false);
        }
        self.states.truncate(common);
        let mut at = self.states.last().copied().unwrap_or(Filter::start());
        for byte in self.subject.get(common..)? {
            let Some(next) = self.filter.advance(at, *byte) else { return Some(false) };
            self.states.push(next);
            at = next;
        }
        Some(self.filter.accepts(at))
    }

    /// Moves to the next match, within `budget`. After a pause, everything up to [`RunCursor::subject`] was visited.
    pub(super) fn next(&mut self, budget: &mut usize) -> Result<Step<()>, Unreadable> {
        loop {
            while self.seen < self.end {
                let matches = self.take().ok_or(Unreadable)?;
                self.is_behind = self.is_behind || self.after.is_none_or(|after| after < &self.subject[..]);
                if self.is_behind {
                    // Skipping entries up to `after` within a chunk is free. Otherwise it would use up a small budget every
                    // time.
                    visits::note();
                    *budget = budget.saturating_sub(1);
                    if matches {
                        return Ok(Step::Found(()));
                    }
                }
                let prefix = self.filter.prefix();
                if !matches && self.states.len() < prefix.len() && &self.subject[..] > prefix {
                    self.block = self.run.blocks.len();
                    self.seen = self.end;
                } else if self.is_behind && *budget == 0 {
                    return Ok(Step::Paused);
                }
            }
            let Some(block) = self.run.blocks.get(self.block).map(|_| self.block) else {
                return Ok(Step::End);
            };
            self.block += 1;
            if self.may_match(block) {
                let file = match self.file.take() {
                    Some(file) => file,
                    None => self.files.get(&self.run.name).map_err(|_| Unreadable)?,
                };
                self.run.read(&**self.file.insert(file), block, &mut self.raw, &mut self.bytes)?;
                self.end = Entries::of(&self.bytes).ok_or(Unreadable)?.entries.len();
                self.seen = 0;
                self.subject.clear();
                self.states.clear();
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
        let common = common_len(from, to);
        self.filter.may_match_behind(&from[..common])
    }

    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(super) fn state(&self) -> SubjectState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::encryption::Keyring;

    fn state(n: u64) -> SubjectState {
        SubjectState { first: n, last: n * 3, count: n % 5 }
    }

    fn write(files: &Files<SimDisk>, number: u32, entries: &BTreeMap<Vec<u8>, SubjectState>) -> Run {
        let packing = Packing { salt: 7, sealer: None };
        let name = format!("index-{number}");
        let mut writer = Writer::new(files, &name, number, packing, 5, Some(entries.len())).expect("created");
        for (subject, state) in entries {
            writer.add(subject, *state).expect("added");
        }
        writer.finish().expect("written")
    }

    fn files(index_len: usize) -> Files<SimDisk> {
        Files::new(Arc::new(SimDisk::default()), 1 << 20, Keyring::default(), 1, index_len)
    }

    fn subject() -> impl Strategy<Value = String> {
        let token = prop_oneof![4 => "[ab]{1,3}", 2 => "[0-9]{1,2}", 1 => "c{100,3000}"];
        prop::collection::vec(token, 1..5).prop_map(|tokens| tokens.join("."))
    }

    fn filter() -> impl Strategy<Value = String> {
        let token = prop_oneof!["[ab]{1,2}", "[0-9]", Just("*".to_owned())];
        (prop::collection::vec(token, 0..4), any::<bool>()).prop_map(|(mut tokens, rest)| {
            if rest || tokens.is_empty() {
                tokens.push(">".to_owned());
            }
            tokens.join(".")
        })
    }

    proptest! {
        /// With one chunk in memory, with some, and with all.
        #[test]
        fn each_subject_is_found_and_no_other(
            subjects in prop::collection::btree_set(subject(), 1..200),
            absent in prop::collection::vec(subject(), 50),
            index_len in prop_oneof![Just(0), Just(1usize << 15), Just(1 << 24)],
        ) {
            let files = files(index_len);
            let entries: BTreeMap<_, _> =
                subjects.iter().zip(1..).map(|(subject, n)| (subject.clone().into_bytes(), state(n))).collect();
            let others: BTreeMap<_, _> = entries.keys().map(|s| (s.clone(), state(1_000_000))).collect();
            let (run, other) = (write(&files, 1, &entries), write(&files, 2, &others));
            let mut chunks = Chunks::new(&files.index_budget);
            let neighbours = subjects.iter().flat_map(|s| [format!("{s}a"), s[..s.len() - 1].to_owned()]);
            for subject in subjects.iter().cloned().chain(absent).chain(neighbours) {
                let found = run.get(&files, &mut chunks, subject.as_bytes());
                prop_assert_eq!(found, Ok(entries.get(subject.as_bytes()).copied()));
                let found = other.get(&files, &mut chunks, subject.as_bytes());
                prop_assert_eq!(found, Ok(others.get(subject.as_bytes()).copied()));
                prop_assert_eq!(chunks.bytes, chunks.kept.iter().map(|(_, chunk)| chunk.capacity()).sum::<usize>());
                prop_assert!(chunks.kept.len() == 1 || chunks.bytes <= (index_len / 32).max(8192));
                if entries.contains_key(subject.as_bytes()) {
                    prop_assert!(run.may_have(run.hash(subject.as_bytes())));
                }
            }
            chunks.clear();
            prop_assert_eq!(chunks.bytes, 0);
        }

        #[test]
        fn a_cursor_sees_what_matches(
            subjects in prop::collection::btree_set(subject(), 1..150),
            filters in prop::collection::vec(filter(), 1..5),
            after in prop::option::of(subject()),
        ) {
            let files = files(1 << 20);
            let entries: BTreeMap<_, _> =
                subjects.iter().zip(1..).map(|(subject, n)| (subject.clone().into_bytes(), state(n))).collect();
            let run = write(&files, 1, &entries);
            for filter in filters {
                let filter = Filter::new(filter.as_bytes());
                let is_wanted = |subject: &&Vec<u8>| {
                    filter.matches(subject) && after.as_ref().is_none_or(|after| after.as_bytes() < &subject[..])
                };
                let expected: Vec<_> = entries.keys().filter(is_wanted).cloned().collect();
                for budget in [0, 1, 5, usize::MAX] {
                    let (mut found, mut from) = (Vec::new(), after.clone().map(String::into_bytes));
                    'all: loop {
                        let mut cursor = RunCursor::new(&files, &run, &filter, from.as_deref());
                        let mut left = budget;
                        loop {
                            match cursor.next(&mut left).expect("readable") {
                                Step::Found(()) => {
                                    prop_assert_eq!(Some(&cursor.state()), entries.get(cursor.subject()));
                                    found.push(cursor.subject().to_vec());
                                }
                                Step::Paused => break,
                                Step::End => break 'all,
                            }
                        }
                        let to = cursor.subject().to_vec();
                        prop_assert!(from.is_none_or(|from| from < to), "no way forward");
                        from = Some(to);
                    }
                    prop_assert_eq!(&found, &expected);
                }
            }
        }
    }
}
