//! A stream on disk.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use roaring::{RoaringBitmap, RoaringTreemap};

use super::files::Files;
use super::open;
use super::read::{Scratch, Unpacked};
use super::record::{self, Frame};
use super::scan::HEADER_LEN;
use super::segment::{Form, SLOTS_MAX, Segment, Stage};
use super::subjects::SubjectIndex;
use super::tail::Tail;
use crate::disk::{Disk, DiskFile};
use crate::index::{Filter, SubjectTree};
use crate::messages::{Appended, Lost, Message, Messages, Progress, State, SubjectState, tell_gap};
use crate::visits;

/// Bytes of a message that count like one more message against the budget of a search.
const LONG: usize = 512;

/// The active segment is removed early if it has no messages and at least this much data, in bytes.
const GIVE_UP_LEN: u64 = if cfg!(test) { 1000 } else { 1 << 20 };

/// A range of stored messages that can't be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// The name of the file.
    pub file: String,
    /// Approximate offset in the file, in bytes.
    pub offset: u64,
    /// The first and the last damaged sequence. Every message between them that was not removed is damaged.
    pub sequences: RangeInclusive<u64>,
}

impl Damaged {
    /// Whether `next` continues this range in the same file.
    fn goes_on_in(&self, next: &Self) -> bool {
        self.file == next.file && self.sequences.end().checked_add(1) == Some(*next.sequences.start())
    }
}

/// A part of a segment's data that is to be overwritten.
#[derive(Debug)]
pub(super) struct Erasure {
    number: u32,
    offset: u64,
    len: usize,
}

/// A stream whose messages are in files.
#[derive(Debug)]
pub struct FileStream<D: Disk> {
    pub(super) files: Arc<Files<D>>,
    pub(super) salt: u64,
    pub(super) group: u32,
    pub(super) subjects: SubjectIndex,
    /// The subjects as counted from the segments, if the index can't be read. They replace the index at the next change.
    pub(super) recounted: OnceCell<SubjectTree<SubjectState>>,
    pub(super) segments: VecDeque<Segment>,
    /// The buffered end of the last segment.
    pub(super) tail: Tail,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) last_time: i64,
    pub(super) first_time: Cell<Option<i64>>,
    pub(super) next_number: u32,
    pub(super) dirty: Vec<Arc<D::File>>,
    pub(super) names_changed: bool,
    /// Whether a write of buffered records failed, as on a full disk.
    lacks_room: bool,
    pub(super) obsolete: Vec<String>,
    /// Number of segments without a footer that don't grow any more.
    pub(super) closed: usize,
    pub(super) damaged: RefCell<Vec<Damaged>>,
    /// Whether an unreadable message was removed. Its subject is unknown, so that subject's count is too high.
    pub(super) is_miscounted: bool,
    pub(super) erasures: Vec<Erasure>,
    /// Erasures whose removals are part of the last checkpoint, to be run once it is durable.
    pub(super) due_erasures: Vec<Erasure>,
    pub(super) scratch: RefCell<Scratch>,
    /// The chunk that was read last.
    pub(super) unpacked: RefCell<Unpacked>,
    /// Whether full segments are compressed.
    pub(super) is_compressed: bool,
    /// Number of segments with a footer that are to be rewritten.
    pub(super) rewrites: usize,
    /// The number of the segment that is being rewritten, and whether a message in it was erased meanwhile.
    pub(super) rewriting: Option<(u32, bool)>,
    /// The number and the data length of the last segment at the last checkpoint.
    rested: (u32, u64),
}

/// Returns the name of a segment's file.
pub(super) fn segment_name(group: u32, number: u32) -> String {
    format!("stream-{group}-{number}")
}

impl<D: Disk> FileStream<D> {
    /// Returns an empty stream. Its first message gets the sequence `first`, or 1 if that is 0. `group` is the stream's number
    /// in the store, `salt` the store's salt.
    pub fn new(files: Arc<Files<D>>, salt: u64, group: u32, first: u64) -> Self {
        let subjects = SubjectIndex::new(&files.index_budget, salt);
        Self {
            files,
            salt,
            group,
            subjects,
            recounted: OnceCell::new(),
            segments: VecDeque::new(),
            tail: Tail::default(),
            messages: 0,
            bytes: 0,
            first,
            last: first.saturating_sub(1),
            last_time: 0,
            first_time: Cell::new(None),
            next_number: 1,
            dirty: Vec::new(),
            names_changed: false,
            lacks_room: false,
            obsolete: Vec::new(),
            closed: 0,
            damaged: RefCell::default(),
            is_miscounted: false,
            erasures: Vec::new(),
            due_erasures: Vec::new(),
            scratch: RefCell::default(),
            unpacked: RefCell::default(),
            is_compressed: false,
            rewrites: 0,
            rewriting: None,
            rested: (0, 0),
        }
    }

    pub(super) fn name(&self, number: u32) -> String {
        segment_name(self.group, number)
    }

    /// Schedules the bytes of a message to be overwritten. The caller must remove the message now. [`FileStream::run_erasures`]
    /// overwrites it once a manifest made after the next [`FileStream::rest`] is durable.
    pub fn erase(&mut self, sequence: u64) {
        let Some(i) = self.segment_of(sequence) else { return };
        let Some(slot) = self.segments[i].slot(sequence) else { return };
        if let Some((number, is_spoilt)) = &mut self.rewriting {
            *is_spoilt |= *number == self.segments[i].number;
        }
        if self.segments[i].form != Form::Plain {
            // A message in a chunk is erased together with the file.
            return self.want_rewrite(i);
        }
        if let Some(found) = self.with_scratch(|buffer| self.record(i, slot, buffer)) {
            let (from, to) = found.head.content();
            self.erasures.push(Erasure {
                number: self.segments[i].number,
                offset: found.offset + from as u64,
                len: to - from,
            });
        }
    }

    /// Overwrites the messages that were scheduled at the last [`FileStream::rest`], whose manifest must be durable now. The
    /// heads of records stay, so that the records behind them are found. Returns whether anything was written.
    pub fn run_erasures(&mut self) -> bool {
        let due = std::mem::take(&mut self.due_erasures);
        let any = !due.is_empty();
        for Erasure { number, offset, len } in due {
            if !self.segments.iter().any(|segment| segment.number == number) {
                continue;
            }
            // If the write fails, the message is still removed, like any other.
            if let Ok(file) = self.files.get(&self.name(number))
                && file.write_at(&vec![0; len], HEADER_LEN + offset).is_ok()
            {
                self.note_dirty(file);
            }
        }
        any
    }

    /// Does work that can wait for a checkpoint. Must be called before the checkpoint's manifest is made.
    pub fn rest(&mut self) {
        if let Some(last) = self.segments.back_mut().filter(|segment| segment.stage == Stage::Active) {
            let (number, data_len) = std::mem::replace(&mut self.rested, (last.number, last.data_len));
            if number == last.number && last.data_len - data_len < self.files.segment_len / 4 {
                last.gathered = None;
            }
        }
        self.due_erasures.append(&mut self.erasures);
        if self.tail.bytes.is_empty() {
            self.tail.bytes = Vec::new();
        }
        self.scratch.take();
        self.unpacked.take();
        self.subjects.rest();
    }

    /// Returns the names of the stream's files, including those that the next checkpoint makes obsolete.
    pub fn file_names(&self) -> Vec<String> {
        let needed = self.segments.iter().map(|segment| self.name(segment.number));
        needed.chain(self.obsolete.iter().cloned()).collect()
    }

    pub(super) fn note_dirty(&mut self, file: Arc<D::File>) {
        if !self.dirty.iter().any(|f| Arc::ptr_eq(f, &file)) {
            self.dirty.push(file);
        }
    }

    /// Takes the files written since the last call, and whether file names changed.
    pub fn take_dirty(&mut self) -> (Vec<Arc<D::File>>, bool) {
        (std::mem::take(&mut self.dirty), std::mem::take(&mut self.names_changed))
    }

    /// Takes the names of obsolete files. They may be removed once a manifest made after this call is durable.
    pub fn take_obsolete(&mut self) -> Vec<String> {
        self.obsolete.append(&mut self.subjects.take_obsolete());
        std::mem::take(&mut self.obsolete)
    }

    /// Makes all files obsolete, for a stream that is deleted.
    pub fn into_obsolete(mut self) -> Vec<String> {
        self.clear(0);
        self.take_obsolete()
    }

    /// Whether [`FileStream::take_damaged`], [`FileStream::index_job`] or [`FileStream::seal_job`] may return something.
    pub fn has_news(&self) -> bool {
        self.lacks_room
            || self.has_index_job()
            || self.closed > 0
            || self.rewrites > 0
            || !self.damaged.borrow().is_empty()
    }

    /// Returns whether a write of buffered records failed since the last call, as on a full disk.
    pub fn take_lacks_room(&mut self) -> bool {
        std::mem::take(&mut self.lacks_room)
    }

    /// Whether the stream has files that the next checkpoint makes obsolete.
    pub fn has_obsolete(&self) -> bool {
        !self.obsolete.is_empty()
    }

    /// Takes the damaged ranges found since the last call.
    pub fn take_damaged(&mut self) -> Vec<Damaged> {
        let mut damaged: Vec<Damaged> = Vec::new();
        let mut told = RoaringTreemap::new();
        for found in std::mem::take(self.damaged.get_mut()) {
            // Every reader sees the same damage; report it once.
            if told.insert_range(found.sequences.clone()) == 0 {
                continue;
            }
            match damaged.last_mut() {
                Some(last) if last.goes_on_in(&found) => {
                    last.sequences = *last.sequences.start()..=*found.sequences.end();
                }
                _ => damaged.push(found),
            }
        }
        for found in &damaged {
            let Some(i) = self.segment_of(*found.sequences.start()) else { continue };
            let segment = &mut self.segments[i];
            let (Some(first), Some(last)) =
                (segment.slot(*found.sequences.start()), segment.slot(*found.sequences.end()))
            else {
                continue;
            };
            let mut lost = RoaringBitmap::new();
            lost.insert_range(first..=last);
            segment.lost |= lost - &segment.gone;
        }
        damaged
    }

    /// Returns the number of messages that can't be read any more.
    pub fn lost(&self) -> u64 {
        self.segments.iter().map(|segment| segment.lost.len()).sum()
    }

    /// Returns the sequences of the messages that can't be read any more.
    pub fn lost_sequences(&self) -> Vec<u64> {
        let of = |segment: &Segment| {
            segment.lost.iter().map(|s| segment.frame.base + u64::from(s)).collect::<Vec<_>>()
        };
        self.segments.iter().flat_map(of).collect()
    }

    /// Assigns the sequences up to `last` to messages that are lost.
    pub fn lose_until(&mut self, last: u64, time: i64) {
        while self.last < last {
            let slot = self.slot_for(0, time);
            let Some(segment) = self.segments.back_mut() else { return };
            let room = SLOTS_MAX.saturating_sub(slot).max(1);
            let end = slot + u32::try_from(last - self.last).unwrap_or(u32::MAX).min(room);
            let count = u64::from(end - slot);
            segment.slots = end;
            segment.live += count;
            segment.lost.insert_range(slot..end);
            if self.messages == 0 {
                self.first = self.last + 1;
            }
            self.messages += count;
            self.last += count;
        }
    }

    /// Returns the first sequence of the first segment that may hold a special message stored at `time` or later. The headers
    /// of special messages must be known after a restart.
    pub fn special_from(&self, time: i64) -> Option<u64> {
        let segment = self.segments.iter().find(|s| s.special && s.last_time >= time)?;
        Some(segment.frame.base)
    }

    pub(super) fn segment_of(&self, sequence: u64) -> Option<usize> {
        let behind = self.segments.partition_point(|segment| segment.frame.base <= sequence);
        let i = behind.checked_sub(1)?;
        (sequence < self.segments[i].end()).then_some(i)
    }

    /// Returns the slot of the next sequence, in the last segment or a new one.
    fn slot_for(&mut self, len: usize, time: i64) -> u32 {
        let sequence = self.last + 1;
        let fits = self.segments.back().is_some_and(|segment| {
            let distance = sequence - segment.end();
            segment.stage == Stage::Active
                && segment.key == self.files.keys.current()
                && !segment.is_full(len, distance + 1, self.files.segment_len)
        });
        if !fits {
            self.begin_segment(sequence, time);
        }
        let Some(segment) = self.segments.back_mut() else { return 0 };
        let slot = (sequence - segment.frame.base) as u32;
        // Sequences that were skipped meanwhile have no message.
        segment.gone.insert_range(segment.slots..slot);
        slot
    }

    fn begin_segment(&mut self, sequence: u64, time: i64) {
        // If buffered records can't be written, they stay in memory, and their segment continues to grow.
        if !self.close_active() {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        let packing = open::fresh_packing(&self.files, self.salt, self.group, number);
        let frame = Frame { salt: packing.salt, base: sequence, base_time: time, sealer: packing.sealer };
        self.segments.push_back(Segment::new(number, frame));
    }

    /// Closes the last segment. Returns false if its buffered records can't be written: then it stays active and grows beyond
    /// its size.
    pub(super) fn close_active(&mut self) -> bool {
        if self.flush().is_err() {
            return false;
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.stage = Stage::Closed;
            self.closed += 1;
            if segment.live == 0 {
                self.give_up(self.segments.len() - 1);
            }
        }
        true
    }

    /// Removes a segment.
    pub(super) fn give_up(&mut self, i: usize) {
        let is_last = i + 1 == self.segments.len();
        if is_last && self.tail.referred().is_some() {
            // The log may refer to these records. They should stay readable until the removal is durable.
            let _ = self.write_out();
        }
        let Some(segment) = self.segments.remove(i) else { return };
        self.closed -= usize::from(segment.stage == Stage::Closed);
        self.rewrites -= usize::from(segment.is_rewrite_counted());
        let in_memory = if is_last { self.tail.unwritten() as u64 } else { 0 };
        if is_last {
            self.tail.clear();
        }
        // A rewritten segment has a file even if it has no data.
        if segment.data_len > in_memory || matches!(segment.stage, Stage::Sealed { .. }) {
            self.obsolete.push(self.name(segment.number));
        }
    }

    /// Visits all messages in order; `None` stands for an unreadable message.
    pub fn walk_all(&self, visit: &mut dyn FnMut(Option<Message<'_>>)) {
        self.walk(self.first, |_, message| {
            visit(message);
            ControlFlow::Continue(())
        });
    }

    /// Returns the first sequence from `sequence` on that holds a message.
    fn next_held(&self, sequence: u64) -> Option<u64> {
        let behind = self.segments.partition_point(|segment| segment.end() <= sequence);
        self.segments.range(behind..).find_map(|segment| {
            let slot = segment.slot(sequence).unwrap_or(0);
            segment.next_held(slot).map(|slot| segment.frame.base + u64::from(slot))
        })
    }
}

impl<D: Disk> Messages for FileStream<D> {
    fn state(&self) -> State {
        let first_time = self.first_time.get().unwrap_or_else(|| {
            let mut time = 0;
            if self.messages > 0 {
                self.walk(self.first, |_, message| {
                    time = message.map_or(0, |m| m.time);
                    if time == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
            }
            self.first_time.set(Some(time));
            time
        });
        State {
            messages: self.messages,
            bytes: self.bytes,
            first_sequence: self.first,
            first_time,
            last_sequence: self.last,
            last_time: self.last_time,
            subjects: self.recounted.get().map_or(self.subjects.len(), SubjectTree::len) as u64,
        }
    }

    fn last_sequence(&self) -> u64 {
        self.last
    }

    fn count(&self) -> u64 {
        self.messages
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn counted_bytes(&self, subject_len: usize, headers_len: usize, payload_len: usize) -> u64 {
        record::counted_bytes(subject_len, headers_len, payload_len)
    }

    fn append(&mut self, time: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Option<Appended> {
        let sequence = self.last + 1;
        let new = SubjectState { first: sequence, last: sequence, count: 1 };
        let known = self.change_subject(subject, new, |known| {
            (known.last, known.count) = (sequence, known.count + 1);
        })?;
        let before = if known.last == 0 { 0 } else { sequence - known.last };
        let len = subject.len() + headers.len() + payload.len() + 40;
        let slot = self.slot_for(len, time);
        let segment = self.segments.back_mut()?;
        segment.note_record(slot, before, subject);
        let begin = self.tail.bytes.len();
        let message = Message { sequence, time, subject, headers, payload };
        let epoch = self.files.epoch;
        segment.frame.encode(&mut self.tail.bytes, segment.data_len, &message, before, epoch);
        let record_len = self.tail.bytes.len() - begin;
        segment.data_len += record_len as u64;
        self.tail.last = (segment.number, record_len as u32);
        let counted = record::counted_bytes(subject.len(), headers.len(), payload.len());
        segment.slots = slot + 1;
        segment.live += 1;
        segment.live_bytes += counted;
        segment.last_time = time;
        segment.special |= is_special(headers);
        self.bytes += counted;
        self.messages += 1;
        if self.messages == 1 {
            self.first = sequence;
            self.first_time.set(Some(time));
        }
        (self.last, self.last_time) = (sequence, time);
        if self.tail.is_full(self.files.segment_len) {
            // If this fails, the next checkpoint tries again. Acknowledged messages are in the log.
            self.lacks_room |= self.flush().is_err();
        }
        // A wrong count is mended by `remove_first_on`, which must be asked then.
        let on_subject = if self.is_miscounted { u64::MAX } else { known.count + 1 };
        Some(Appended { sequence, on_subject })
    }

    fn skip(&mut self, time: i64) -> u64 {
        self.last += 1;
        self.last_time = time;
        if self.messages == 0 {
            self.first = self.last + 1;
        }
        self.last
    }

    fn skip_to(&mut self, sequence: u64, time: i64) {
        if sequence > self.last {
            self.last = sequence - 1;
            self.skip(time);
        }
    }

    fn read<'a>(&'a self, sequence: u64, buffer: &'a mut Vec<u8>) -> Result<Option<Message<'a>>, Lost> {
        let Some(i) = self.segment_of(sequence) else { return Ok(None) };
        let segment = &self.segments[i];
        let Some(slot) = segment.slot(sequence).filter(|slot| segment.holds(*slot)) else { return Ok(None) };
        if segment.lost.contains(slot) {
            return Err(Lost { sequence });
        }
        let found = self.record(i, slot, buffer);
        match found.and_then(|found| self.message(i, &found, buffer)) {
            Some(message) => Ok(Some(message)),
            None => Err(self.lost_here(i, slot)),
        }
    }

    fn contains(&self, sequence: u64) -> bool {
        self.segment_of(sequence).is_some_and(|i| {
            let segment = &self.segments[i];
            segment.slot(sequence).is_some_and(|slot| segment.holds(slot))
        })
    }

    fn subject(&self, subject: &[u8]) -> Option<SubjectState> {
        self.known(subject)
    }

    fn first_on(&self, subject: &[u8]) -> Option<u64> {
        self.known(subject).map(|known| self.resolve_first(subject, known))
    }

    fn subjects(
        &self,
        filter: &Filter,
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let behind = match self.recounted.get() {
            Some(_) => None,
            None => match self.subjects.matches(&*self.files, filter, after, visit) {
                Ok(flow) => return flow,
                Err(behind) => behind,
            },
        };
        let counted = self.recounted.get_or_init(|| self.counted());
        counted.matches(filter, behind.as_deref().or(after), |subject, known| visit(subject, *known))
    }

    fn some_subjects(
        &self,
        filter: &Filter,
        after: &mut Option<Vec<u8>>,
        budget: &mut usize,
        visit: &mut dyn FnMut(&[u8], SubjectState),
    ) -> bool {
        if self.recounted.get().is_none() {
            match self.subjects.some_matches(&*self.files, filter, after, budget, visit) {
                Ok(is_all) => return is_all,
                Err(behind) => *after = behind,
            }
        }
        let counted = self.recounted.get_or_init(|| self.counted());
        counted.some_matches(filter, after, budget, |subject, known| visit(subject, *known))
    }

    fn next_matching(&self, filter: Option<&Filter>, sequence: u64, budget: usize) -> Progress<Option<u64>> {
        let Some(filter) = filter else { return Progress::Done(self.next_held(sequence)) };
        let (mut progress, mut looked) = (Progress::Done(None), 0);
        self.walk(sequence, |sequence, message| {
            if looked >= budget {
                progress = Progress::More(sequence);
                return ControlFlow::Break(());
            }
            // Long messages take longer to read.
            looked += message.map_or(1, |message| 1 + (message.headers.len() + message.payload.len()) / LONG);
            if message.is_none_or(|message| filter.matches(message.subject)) {
                progress = Progress::Done(Some(sequence));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        progress
    }

    fn at_time(&self, time: i64) -> Option<u64> {
        let behind = self.segments.partition_point(|segment| segment.last_time < time);
        let segment = self.segments.get(behind)?;
        // The walk starts at the block before the first one that begins at `time` or later.
        let blocks = self.layout(segment).map_or(&[][..], |layout| &layout.blocks);
        // A block whose first record can't be read, or was erased, may begin at any time. It counts as late, so the walk starts
        // early.
        let early = self.with_scratch(|buffer| {
            blocks.partition_point(|block| {
                let time_of =
                    self.record(behind, block.slot, buffer).map_or(i64::MAX, |found| found.head.time);
                time_of < time
            })
        });
        let slot = early.checked_sub(1).map_or(0, |i| blocks[i].slot);
        let mut found = None;
        self.walk(segment.frame.base + u64::from(slot), |sequence, message| {
            if message.is_some_and(|message| message.time >= time) {
                found = Some(sequence);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }

    fn some_gaps(
        &self,
        from: &mut u64,
        budget: &mut usize,
        visit: &mut dyn FnMut(RangeInclusive<u64>),
    ) -> bool {
        *from = self.first.max(*from);
        while *from <= self.last {
            let held = self.next_held(*from).unwrap_or(self.last + 1);
            if !tell_gap(from, held, budget, visit) {
                return false;
            }
            // Continue at the next slot without a message.
            *from = match self.segment_of(held) {
                Some(i) => {
                    let segment = &self.segments[i];
                    let slot = (held - segment.frame.base) as u32;
                    let gone = segment.gone.range(slot..).next().unwrap_or(segment.slots);
                    segment.frame.base + u64::from(gone)
                }
                None => return true,
            };
        }
        true
    }

    fn scan(&self, sequence: u64, visit: &mut dyn FnMut(u64, Option<Message<'_>>) -> ControlFlow<()>) {
        self.walk(sequence, visit);
    }

    fn count_from(&self, sequence: u64) -> u64 {
        let behind = self.segments.partition_point(|segment| segment.end() <= sequence);
        let mut segments = self.segments.range(behind..);
        let partial = segments.next().map_or(0, |segment| match segment.slot(sequence) {
            Some(slot) => {
                u64::from(segment.slots - slot) - segment.gone.range_cardinality(slot..segment.slots)
            }
            None => segment.live,
        });
        partial + segments.map(|segment| segment.live).sum::<u64>()
    }

    fn remove(&mut self, sequence: u64) -> bool {
        let Some(i) = self.segment_of(sequence) else { return false };
        let Some(slot) = self.segments[i].slot(sequence) else { return false };
        if !self.segments[i].holds(slot) {
            return false;
        }
        visits::note();
        let mut scratch = self.scratch.take();
        let is_lost = self.segments[i].lost.contains(slot);
        // Messages are mostly removed in sequence order, so nearby records share one read.
        let found = if is_lost { None } else { self.record_near(i, slot, &mut scratch) };
        // The clone allows changes to the stream while the message borrows the scratch buffer.
        let frame = self.segments[i].frame.clone();
        let message = found.and_then(|found| {
            let bytes = scratch.bytes.get_mut(found.at..)?;
            Some((found.head, frame.unseal(&found.head, bytes, found.offset)?))
        });
        // An unreadable message counts as the average of its segment.
        let average = self.segments[i].live_bytes / self.segments[i].live.max(1);
        let counted = message.map_or(average, |(head, _)| head.counted_bytes());
        self.is_miscounted |= message.is_none();
        if let Some((_, message)) = message {
            let known = self.known(message.subject).unwrap_or_default();
            let is_last = known.last == sequence && known.count > 1;
            let before = if is_last { self.last_before(sequence, message.subject) } else { None };
            self.forget(message.subject, known, sequence, before);
        }
        self.scratch.replace(scratch);
        let segment = &mut self.segments[i];
        segment.gone.insert(slot);
        segment.lost.remove(slot);
        segment.live -= 1;
        let counted = counted.min(segment.live_bytes);
        segment.live_bytes -= counted;
        self.bytes -= counted.min(self.bytes);
        self.messages -= 1;
        let give_up =
            segment.live == 0 && (segment.stage != Stage::Active || segment.data_len >= GIVE_UP_LEN);
        if give_up {
            self.give_up(i);
        } else if !segment_wants(&self.segments[i]) && self.is_wasteful(i) {
            self.want_rewrite(i);
        }
        if sequence == self.first {
            self.first = self.next_held(sequence).unwrap_or(self.last + 1);
            self.first_time.set(None);
        }
        true
    }

    fn remove_first_on(&mut self, subject: &[u8], keep: u64) -> Option<u64> {
        if self.is_miscounted {
            self.recount();
        }
        let known = self.known(subject)?;
        if known.count <= keep {
            return None;
        }
        let first = self.resolve_first(subject, known);
        self.remove(first).then_some(first)
    }

    fn clear(&mut self, next: u64) {
        while !self.segments.is_empty() {
            self.give_up(self.segments.len() - 1);
        }
        self.recounted.take();
        self.subjects.replace(SubjectTree::default());
        (self.messages, self.bytes) = (0, 0);
        self.last = self.last.max(next.saturating_sub(1));
        self.first = self.last + 1;
        self.first_time.set(None);
    }
}

/// Whether a rewrite can't be requested: it is requested already, or the segment is active.
fn segment_wants(segment: &Segment) -> bool {
    segment.wants_rewrite || segment.stage == Stage::Active
}

/// Whether a restart must know these headers.
pub(super) fn is_special(headers: &[u8]) -> bool {
    !headers.is_empty() && memchr::memmem::find(headers, b"\r\nNats-").is_some()
}
