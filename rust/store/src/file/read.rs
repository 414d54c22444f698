//! Reading messages: finding a record, walking a range, and going back to the previous message on a subject.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use super::footer::{self, Footer};
use super::open;
use super::record::Head;
use super::scan::{self, HEADER_LEN, Shape};
use super::segment::{Form, Layout, Segment, Stage};
use super::stream::{Damaged, FileStream};
use crate::checksum::Ranges;
use crate::disk::{Disk, DiskFile};
use crate::messages::{Lost, Message, Messages, SubjectState};
use crate::visits;

/// Maximum number of blocks that a long walk reads at a time.
const RUN_MAX: usize = 16;
/// A subject's first message is found by going back from its last one if it has at most this many messages.
const WALK_MAX: u64 = if cfg!(test) { 3 } else { 64 };

/// The cost of one step back, in steps forward.
const STEP_BACK: u64 = if cfg!(test) { 1 } else { 16 };

/// The place of a record that was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) head: Head,
    /// Offset in the buffer.
    pub(super) at: usize,
    /// Offset in the segment's data.
    pub(super) offset: u64,
}

/// The records of the chunk that was read last.
#[derive(Debug, Default)]
pub(super) struct Unpacked {
    /// The segment's number, and the chunk's offset in its file.
    place: Option<(u32, u32)>,
    records: Vec<u8>,
}

/// A reusable buffer.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) bytes: Vec<u8>,
    /// The record that was last looked up, if the buffer still holds its block as read.
    last: Option<Near>,
}

/// A record in a buffer.
#[derive(Debug, Clone, Copy)]
struct Near {
    /// The segment's number.
    number: u32,
    /// Offset of the block in the segment's data.
    begin: u64,
    slot: u32,
    /// Offset of the record in the buffer.
    at: usize,
}

impl<D: Disk> FileStream<D> {
    /// Calls `f` with the reusable buffer.
    pub(super) fn with_scratch<T>(&self, f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut scratch = self.scratch.take();
        scratch.last = None;
        let result = f(&mut scratch.bytes);
        self.scratch.replace(scratch);
        result
    }

    /// Returns the places of a segment's blocks and chunks.
    pub(super) fn layout<'s>(&self, segment: &'s Segment) -> Option<&'s Layout> {
        if let Some(layout) = segment.layout.get() {
            return Some(layout);
        }
        let file = self.files.get(&self.name(segment.number)).ok()?;
        let footer = || {
            let Stage::Sealed { footer_len, footer_crc } = segment.stage else { return None };
            let mut bytes = vec![0; footer_len as usize];
            let read = file.read_at(&mut bytes, HEADER_LEN + segment.stored_len()).ok()?;
            let good = read == bytes.len() && footer::crc(segment.frame.salt, &bytes) == footer_crc;
            let sealer =
                |draw| open::footer_sealer(&self.files, self.group, segment.number, segment.key, draw);
            let bytes = footer::open(&mut bytes, &segment.packing, sealer).filter(|_| good)?;
            Footer::decode(bytes, segment.form != Form::Plain, false).map(|footer| footer.layout)
        };
        let layout = match footer() {
            Some(layout) => layout,
            None => scan::contents(&*file, &Shape::of(segment), |_, _| {}).ok()?.layout,
        };
        Some(segment.layout.get_or_init(|| Arc::new(layout)))
    }

    /// Reads the block with this slot into `buffer`. Returns the offset of the block in the data.
    fn load(&self, i: usize, slot: u32, buffer: &mut Vec<u8>) -> Option<u64> {
        self.load_run(i, slot, 1, buffer)
    }

    /// Reads `blocks` blocks into `buffer`, starting at the one with this slot. Returns their offset in the data.
    fn load_run(&self, i: usize, slot: u32, blocks: usize, buffer: &mut Vec<u8>) -> Option<u64> {
        let segment = &self.segments[i];
        let layout = self.layout(segment)?;
        let (begin, end) = segment.blocks_of(&layout.blocks, slot, blocks);
        if let Form::Packed { stored_len } = segment.form {
            buffer.clear();
            self.load_chunks(segment, layout, stored_len, begin..end, buffer)?;
            return Some(begin);
        }
        let in_memory = if i + 1 == self.segments.len() { self.tail.bytes.len() as u64 } else { 0 };
        let written = segment.data_len - in_memory;
        if begin < written {
            let file = self.files.get(&self.name(segment.number)).ok()?;
            // The buffer need not be cleared, since the read overwrites it.
            buffer.resize(usize::try_from(end.min(written) - begin).ok()?, 0);
            let read = file.read_at(buffer, HEADER_LEN + begin).ok()?;
            buffer.truncate(read);
        } else {
            buffer.clear();
        }
        if end > written {
            let from = begin.max(written) - written;
            buffer.extend_from_slice(self.tail.bytes.get(from as usize..(end - written) as usize)?);
        }
        Some(begin)
    }

    /// Appends the bytes `wanted` of a packed segment's records, up to the first chunk that can't be read. Returns `None` if
    /// that is the first chunk.
    fn load_chunks(
        &self,
        segment: &Segment,
        layout: &Layout,
        stored_len: u64,
        wanted: Range<u64>,
        buffer: &mut Vec<u8>,
    ) -> Option<()> {
        let mut unpacked = self.unpacked.borrow_mut();
        let behind = layout.chunks.partition_point(|chunk| u64::from(chunk.begin) <= wanted.start);
        let first = behind.checked_sub(1)?;
        for (n, chunk) in layout.chunks.iter().enumerate().skip(first) {
            let begin = u64::from(chunk.begin);
            if begin >= wanted.end {
                break;
            }
            if unpacked.place != Some((segment.number, chunk.at)) {
                unpacked.place = None;
                let end = layout.chunks.get(n + 1).map_or(stored_len, |next| u64::from(next.at));
                let file = self.files.get(&self.name(segment.number)).ok()?;
                let mut stored = vec![0; usize::try_from(end - u64::from(chunk.at)).ok()?];
                let read = file.read_at(&mut stored, HEADER_LEN + u64::from(chunk.at)).ok()?;
                stored.truncate(read);
                unpacked.records.clear();
                let decoded = segment.packing.decode(&stored, u64::from(chunk.at), &mut unpacked.records);
                match decoded.filter(|(at, _)| *at == chunk.begin) {
                    Some(_) => unpacked.place = Some((segment.number, chunk.at)),
                    None if n == first => return None,
                    None => break,
                }
            }
            let from = wanted.start.saturating_sub(begin) as usize;
            let to = ((wanted.end - begin) as usize).min(unpacked.records.len());
            buffer.extend_from_slice(unpacked.records.get(from..to).unwrap_or_default());
        }
        Some(())
    }

    /// Reads the record of a slot into `buffer`, even if its message is removed. Returns its head and its place.
    pub(super) fn record(&self, i: usize, slot: u32, buffer: &mut Vec<u8>) -> Option<Place> {
        let frame = &self.segments[i].frame;
        let begin = self.load(i, slot, buffer)?;
        let place = |at: usize, head: Head| Place { head, at, offset: begin + at as u64 };
        let mut at = 0;
        while let Some(head) = buffer.get(at..).and_then(|bytes| frame.head(bytes)) {
            if head.slot == slot && frame.is_intact(&head, &buffer[at..], begin + at as u64) {
                return Some(place(at, head));
            }
            if head.slot >= slot {
                break;
            }
            at += head.len;
        }
        let mut at = 0;
        while let Some(head) = buffer.get(at..).and_then(|bytes| frame.head(bytes)) {
            if !frame.is_intact(&head, &buffer[at..], begin + at as u64) {
                break;
            }
            if head.slot > slot {
                return None;
            }
            at += head.len;
        }
        // Behind damage, the record may begin at any byte.
        let found = frame.search(buffer, &Ranges::of(buffer), at, begin, |found| found == slot);
        found.map(|(at, head)| place(at, head))
    }

    /// Does the same as [`Self::record`] for lookups in mostly ascending order: each block is read and walked once.
    pub(super) fn record_near(&self, i: usize, slot: u32, scratch: &mut Scratch) -> Option<Place> {
        let segment = &self.segments[i];
        let near = scratch.last.take().filter(|near| near.number == segment.number && near.slot <= slot);
        let found = near.and_then(|near| self.record_behind(segment, slot, &near, &scratch.bytes));
        let found = found.or_else(|| self.record(i, slot, &mut scratch.bytes))?;
        // Encrypted records are decrypted in place, so their buffer can't be used again.
        if segment.frame.sealer.is_none() {
            let begin = found.offset - found.at as u64;
            scratch.last = Some(Near { number: segment.number, begin, slot, at: found.at });
        }
        Some(found)
    }

    /// Returns the record of a slot, if it lies in the same block as the record `near`, at it or behind it.
    fn record_behind(&self, segment: &Segment, slot: u32, near: &Near, buffer: &[u8]) -> Option<Place> {
        let (begin, _) = segment.block_of(&self.layout(segment)?.blocks, slot);
        if begin != near.begin {
            return None;
        }
        let mut at = near.at;
        loop {
            let bytes = buffer.get(at..)?;
            let head = segment.frame.head(bytes)?;
            let offset = begin + at as u64;
            if head.slot >= slot {
                let is_it = head.slot == slot && segment.frame.is_intact(&head, bytes, offset);
                return is_it.then_some(Place { head, at, offset });
            }
            at += head.len;
        }
    }

    /// Returns the message of a record found in `buffer`. This decrypts it in place, so it works only once.
    pub(super) fn message<'b>(&self, i: usize, found: &Place, buffer: &'b mut [u8]) -> Option<Message<'b>> {
        self.segments[i].frame.unseal(&found.head, buffer.get_mut(found.at..)?, found.offset)
    }

    pub(super) fn lost_here(&self, i: usize, slot: u32) -> Lost {
        let segment = &self.segments[i];
        let sequence = segment.frame.base + u64::from(slot);
        if !segment.lost.contains(slot) {
            let offset = segment.layout.get().map_or(0, |layout| segment.block_of(&layout.blocks, slot).0);
            self.damaged.borrow_mut().push(Damaged {
                file: self.name(segment.number),
                offset: HEADER_LEN + offset,
                sequences: sequence..=sequence,
            });
        }
        Lost { sequence }
    }

    /// Walks messages from `sequence` on. Unreadable ones are passed as `None`.
    pub(super) fn walk(
        &self,
        sequence: u64,
        mut visit: impl FnMut(u64, Option<Message<'_>>) -> ControlFlow<()>,
    ) {
        let _ = self.with_scratch(|buffer| self.walk_with(buffer, sequence, &mut visit));
    }

    fn walk_with(
        &self,
        buffer: &mut Vec<u8>,
        sequence: u64,
        visit: &mut dyn FnMut(u64, Option<Message<'_>>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let behind = self.segments.partition_point(|segment| segment.end() <= sequence);
        // A long walk reads more blocks at a time than a short one.
        let mut run = 1;
        for i in behind..self.segments.len() {
            let segment = &self.segments[i];
            let frame = &segment.frame;
            let mut slot = segment.slot(sequence).unwrap_or(0);
            while let Some(next) = segment.next_held(slot) {
                visits::note();
                slot = next;
                // Visit as many messages as possible with one read.
                let begin = match segment.lost.contains(slot) {
                    true => None,
                    false => self.load_run(i, slot, run, buffer),
                };
                run = (run * 2).min(RUN_MAX);
                let mut at = 0;
                while let (Some(begin), Some(bytes)) = (begin, buffer.get_mut(at..)) {
                    let Some(head) = frame.head(bytes) else { break };
                    if head.slot >= slot {
                        let offset = begin + at as u64;
                        if head.slot > slot || !frame.is_intact(&head, bytes, offset) {
                            break;
                        }
                        let Some(message) = frame.unseal(&head, bytes, offset) else { break };
                        visit(message.sequence, Some(message))?;
                        match segment.next_held(slot + 1) {
                            Some(next) => {
                                visits::note();
                                slot = next;
                            }
                            None => {
                                slot = segment.slots;
                                break;
                            }
                        }
                    }
                    at += head.len;
                }
                if slot == next {
                    // The walk through the blocks did not reach this message: read it alone.
                    let found = if segment.lost.contains(slot) { None } else { self.record(i, slot, buffer) };
                    let message = found.and_then(|found| self.message(i, &found, buffer));
                    if message.is_none() {
                        let _ = self.lost_here(i, slot);
                    }
                    visit(frame.base + u64::from(slot), message)?;
                    slot += 1;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Returns the previous message on the subject of `sequence` that still exists.
    fn previous_on(&self, sequence: u64) -> Option<u64> {
        let mut at = sequence;
        self.with_scratch(|buffer| {
            loop {
                let before = self
                    .segment_of(at)
                    .and_then(|i| self.record(i, self.segments[i].slot(at)?, buffer))
                    .map_or(0, |found| found.head.before);
                at = at.checked_sub(before).filter(|_| before > 0)?;
                if self.contains(at) {
                    return Some(at);
                }
            }
        })
    }

    /// Returns the last message on `subject` before `sequence`, which is on it too.
    pub(super) fn last_before(&self, sequence: u64, subject: &[u8]) -> Option<u64> {
        // The chain of previous messages ends where a whole segment was removed.
        self.previous_on(sequence).or_else(|| {
            let mut found = None;
            self.walk(self.known(subject)?.first, |at, message| {
                if at >= sequence {
                    return ControlFlow::Break(());
                }
                if message.is_some_and(|message| message.subject == subject) {
                    found = Some(at);
                }
                ControlFlow::Continue(())
            });
            found
        })
    }

    /// Returns the first message on `subject`; `known` may name a first sequence that has been removed.
    pub(super) fn resolve_first(&self, subject: &[u8], known: SubjectState) -> u64 {
        if known.count <= 1 {
            return known.last;
        }
        if self.contains(known.first) {
            return known.first;
        }
        let mut forward = None;
        // Go forward first if the subject's next message is likely near: one block has several messages, while each step back
        // reads a block.
        let between = self.messages / known.count;
        if between <= STEP_BACK * (known.count - 1) {
            match self.first_within(subject, known.first, STEP_BACK * known.count) {
                Ok(found) => return found.unwrap_or(known.last),
                Err(next) => forward = Some(next),
            }
        }
        if known.count <= WALK_MAX {
            let mut first = Some(known.last);
            for _ in 1..known.count {
                first = first.and_then(|first| self.previous_on(first));
            }
            if let Some(first) = first {
                return first;
            }
        }
        let found = self.first_within(subject, forward.unwrap_or(known.first), u64::MAX);
        found.ok().flatten().unwrap_or(known.last)
    }

    /// Returns the first message on `subject` from `sequence` on, if there is one. After `most` messages, fails with the
    /// sequence to continue at.
    fn first_within(&self, subject: &[u8], sequence: u64, most: u64) -> Result<Option<u64>, u64> {
        let (mut passed, mut found) = (0, Ok(None));
        self.walk(sequence, |at, message| {
            if message.is_some_and(|message| message.subject == subject) {
                found = Ok(Some(at));
                return ControlFlow::Break(());
            }
            passed += 1;
            if passed >= most {
                found = Err(at + 1);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }
}
