//! The footer of a sealed segment: the places of its blocks, and its subjects.
//!
//! All of its content can also be found by reading the records. This happens if the footer is damaged.

use std::ops::ControlFlow;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::chunk::{Chunk, Packing};
use super::segment::{BLOCK_LEN, Block, Layout};
use super::varint;
use crate::checksum::Checksum;
use crate::encryption::{Draw, Sealer};
use crate::messages::SubjectState;

/// In place of a distance: the slot has no readable record.
const NO_RECORD: u32 = u32::MAX;
/// In place of an epoch: a draw follows.
const DRAWN: u32 = u32::MAX;

/// The content of a footer, as found by reading all records of a segment.
#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    pub(super) layout: Layout,
    /// For each slot, the distance to the previous slot with its subject; 0 if that is not within the segment.
    before: Vec<u32>,
    /// Subjects in the order of their first slots.
    subjects: Vec<First>,
    texts: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct First {
    slot: u32,
    text: u32,
    text_len: u32,
    last: u32,
    count: u32,
}

impl Contents {
    /// Adds the record of a slot, at `offset`. Slots must rise. `before` is the record's field.
    pub(super) fn note(&mut self, slot: u32, before: u64, subject: &[u8], offset: u64) {
        let offset = offset as u32;
        if self.layout.blocks.last().is_none_or(|block| offset - block.offset >= BLOCK_LEN) {
            self.layout.blocks.push(Block { slot, offset });
        }
        // Slots between two records have no record.
        self.before.resize(slot as usize, NO_RECORD);
        let within = u32::try_from(before).ok().filter(|before| *before <= slot && *before > 0);
        // If the previous record can't be read, a new chain begins here.
        let within = within.filter(|b| self.before.get((slot - b) as usize).is_some_and(|b| *b != NO_RECORD));
        let within = within.unwrap_or(0);
        self.before.push(within);
        if within == 0 {
            let (text, text_len) = (self.texts.len() as u32, subject.len() as u32);
            self.subjects.push(First { slot, text, text_len, last: slot, count: 1 });
            self.texts.extend_from_slice(subject);
        }
    }

    /// Returns for each slot the first slot of its subject's chain.
    fn heads(before: &[u32]) -> Vec<u32> {
        let mut heads: Vec<u32> = Vec::with_capacity(before.len());
        for (slot, before) in before.iter().enumerate() {
            let at = slot.checked_sub(*before as usize).unwrap_or(slot);
            let head = heads.get(at).copied().unwrap_or(slot as u32);
            heads.push(head);
        }
        heads
    }

    /// Returns the bytes of the footer.
    fn encode(mut self, is_packed: bool) -> Vec<u8> {
        let heads = Self::heads(&self.before);
        for (slot, head) in heads.iter().enumerate() {
            if slot as u32 != *head
                && let Ok(i) = self.subjects.binary_search_by_key(head, |s| s.slot)
            {
                (self.subjects[i].last, self.subjects[i].count) = (slot as u32, self.subjects[i].count + 1);
            }
        }
        drop(heads);
        let text = |s: &First| &self.texts[s.text as usize..(s.text + s.text_len) as usize];
        // A subject has two chains, and so two entries, if a record between them can't be read.
        self.subjects.sort_unstable_by(|a, b| text(a).cmp(text(b)).then(a.slot.cmp(&b.slot)));
        let mut out = Vec::with_capacity(self.before.len() + 12 * self.subjects.len());
        if is_packed {
            varint::put(&mut out, self.layout.chunks.len() as u64);
            let mut last = Chunk { begin: 0, at: 0 };
            for chunk in &self.layout.chunks {
                varint::put(&mut out, u64::from(chunk.begin - last.begin));
                varint::put(&mut out, u64::from(chunk.at - last.at));
                last = *chunk;
            }
        }
        varint::put(&mut out, self.layout.blocks.len() as u64);
        let mut last = Block { slot: 0, offset: 0 };
        for block in &self.layout.blocks {
            varint::put(&mut out, u64::from(block.slot - last.slot));
            varint::put(&mut out, u64::from(block.offset - last.offset));
            last = *block;
        }
        varint::put(&mut out, self.before.len() as u64);
        for before in &self.before {
            varint::put(&mut out, if *before == NO_RECORD { 0 } else { u64::from(*before) });
        }
        varint::put(&mut out, self.subjects.len() as u64);
        let mut previous: &[u8] = b"";
        for subject in &self.subjects {
            let text = &self.texts[subject.text as usize..(subject.text + subject.text_len) as usize];
            let common = previous.iter().zip(text).take_while(|(a, b)| a == b).count();
            varint::put(&mut out, common as u64);
            varint::put(&mut out, (text.len() - common) as u64);
            out.extend_from_slice(&text[common..]);
            varint::put(&mut out, u64::from(subject.slot));
            varint::put(&mut out, u64::from(subject.last - subject.slot));
            varint::put(&mut out, u64::from(subject.count));
            previous = text;
        }
        out
    }
}

/// Returns the checksum of a footer.
pub(super) fn crc(salt: u64, bytes: &[u8]) -> u32 {
    Checksum::new(salt, u64::MAX).with(bytes).finish()
}

/// Returns a footer as it is stored in the file. An encrypted footer has a key of its own, since it may be rewritten, and by
/// another opening than the one that wrote the segment.
pub(super) fn write(contents: Contents, is_packed: bool, sealer: Option<&Sealer>) -> Vec<u8> {
    let bytes = contents.encode(is_packed);
    let Some((sealer, draw)) = sealer.and_then(|sealer| Some((sealer, sealer.draw()?))) else { return bytes };
    let mut out = DRAWN.to_le_bytes().to_vec();
    out.extend_from_slice(draw.bytes());
    let from = out.len();
    out.extend_from_slice(&bytes);
    sealer.seal(0, u64::MAX, &[], &mut out, from);
    out
}

/// Returns the content of an intact footer from the file. `sealer` returns the decryption for the footer's own draw.
pub(super) fn open<'b>(
    bytes: &'b mut [u8],
    packing: &Packing,
    sealer: impl FnOnce(Draw) -> Option<Arc<Sealer>>,
) -> Option<&'b [u8]> {
    let Some(own) = &packing.sealer else { return Some(bytes) };
    let (epoch, rest) = bytes.split_first_chunk_mut()?;
    match u32::from_le_bytes(*epoch) {
        DRAWN => {
            let (draw, sealed) = rest.split_at_mut_checked(Draw::LEN)?;
            sealer(Draw::of(draw)?)?.open(0, u64::MAX, &[], sealed).map(|bytes| &*bytes)
        }
        // This is a footer of an older store.
        epoch => own.open(epoch, u64::MAX, &[], rest).map(|bytes| &*bytes),
    }
}

/// A decoded footer.
#[derive(Debug)]
pub(super) struct Footer<'a> {
    pub(super) layout: Layout,
    before: Vec<u32>,
    subject_count: u64,
    subjects: &'a [u8],
}

impl<'a> Footer<'a> {
    /// Decodes a footer; `None` if it is invalid. `wants_slots` must be set if [`Footer::subjects`] will be called for a
    /// segment with removed messages.
    pub(super) fn decode(mut bytes: &'a [u8], is_packed: bool, wants_slots: bool) -> Option<Self> {
        let bytes = &mut bytes;
        let mut chunks = Vec::new();
        if is_packed {
            let count = usize::try_from(varint::take(bytes)?).ok().filter(|n| *n <= bytes.len())?;
            let mut last = Chunk { begin: 0, at: 0 };
            for _ in 0..count {
                let begin = u32::try_from(varint::take(bytes)?).ok()?;
                let at = u32::try_from(varint::take(bytes)?).ok()?;
                last = Chunk { begin: last.begin.checked_add(begin)?, at: last.at.checked_add(at)? };
                chunks.push(last);
            }
        }
        let count = usize::try_from(varint::take(bytes)?).ok().filter(|n| *n <= bytes.len())?;
        let mut blocks = Vec::with_capacity(count);
        let mut last = Block { slot: 0, offset: 0 };
        for _ in 0..count {
            let slot = u32::try_from(varint::take(bytes)?).ok()?;
            let offset = u32::try_from(varint::take(bytes)?).ok()?;
            last = Block { slot: last.slot.checked_add(slot)?, offset: last.offset.checked_add(offset)? };
            blocks.push(last);
        }
        let count = usize::try_from(varint::take(bytes)?).ok().filter(|n| *n <= bytes.len())?;
        let mut before = Vec::with_capacity(if wants_slots { count } else { 0 });
        for slot in 0..count {
            let distance = u32::try_from(varint::take(bytes)?).ok().filter(|d| *d as usize <= slot)?;
            if wants_slots {
                before.push(distance);
            }
        }
        let subject_count = varint::take(bytes)?;
        Some(Self { layout: Layout { blocks, chunks }, before, subject_count, subjects: bytes })
    }

    /// Returns the subjects, if no message was taken out of the segment; `base` is the sequence of slot 0.
    pub(super) fn all_subjects(&self, base: u64) -> FooterSubjects {
        FooterSubjects { entries: self.subjects.to_vec(), count: self.subject_count, base }
    }

    /// Visits each subject with the state that it has without the slots in `gone`. `base` is the sequence of slot 0. Returns
    /// `None` if the footer is invalid or `visit` breaks.
    pub(super) fn subjects(
        &self,
        base: u64,
        gone: &RoaringBitmap,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> ControlFlow<()>,
    ) -> Option<()> {
        let left = if gone.is_empty() { Vec::new() } else { self.left(gone) };
        let mut rest = self.subjects;
        let mut text = Vec::new();
        for _ in 0..self.subject_count {
            let (first, last, count) = take_subject(&mut rest, &mut text)?;
            let state = if gone.is_empty() {
                SubjectState { first: base + first, last: base + last, count }
            } else {
                let left = left.get(usize::try_from(first).ok()?)?;
                let (first, last) = (base + u64::from(left.first), base + u64::from(left.last));
                SubjectState { first, last, count: u64::from(left.count) }
            };
            if state.count > 0 && visit(&text, state).is_break() {
                return None;
            }
        }
        Some(())
    }

    /// Returns what remains of each subject's chain, at the index of the chain's first slot.
    fn left(&self, gone: &RoaringBitmap) -> Vec<Left> {
        let heads = Contents::heads(&self.before);
        let mut left = vec![Left::default(); heads.len()];
        let mut gone = gone.iter().peekable();
        for (slot, head) in heads.iter().enumerate() {
            let slot = slot as u32;
            if gone.next_if_eq(&slot).is_some() {
                continue;
            }
            let left = &mut left[*head as usize];
            if left.count == 0 {
                left.first = slot;
            }
            (left.last, left.count) = (slot, left.count + 1);
        }
        left
    }
}

/// Takes a subject off the front. `text` holds the previous subject, and then this one. Returns its first and last slot, and the number
/// of its messages; `None` if the entry is malformed.
fn take_subject(rest: &mut &[u8], text: &mut Vec<u8>) -> Option<(u64, u64, u64)> {
    let common = usize::try_from(varint::take(rest)?).ok().filter(|n| *n <= text.len())?;
    let len = usize::try_from(varint::take(rest)?).ok()?;
    text.truncate(common);
    text.extend_from_slice(varint::take_bytes(rest, len)?);
    let first = varint::take(rest)?;
    let last = first.checked_add(varint::take(rest)?)?;
    Some((first, last, varint::take(rest)?))
}

/// The subjects of a footer, in byte order.
#[derive(Debug)]
pub(super) struct FooterSubjects {
    entries: Vec<u8>,
    count: u64,
    base: u64,
}

impl FooterSubjects {
    /// Returns the bytes of memory that they take.
    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.len()
    }

    /// Returns a cursor before the first subject.
    pub(super) fn cursor(&self) -> FooterCursor<'_> {
        let (left, base, state) = (self.count, self.base, SubjectState::default());
        FooterCursor { rest: &self.entries, left, base, subject: Vec::new(), state }
    }
}

/// A cursor over the subjects of a footer.
pub(super) struct FooterCursor<'f> {
    rest: &'f [u8],
    left: u64,
    base: u64,
    subject: Vec<u8>,
    state: SubjectState,
}

impl FooterCursor<'_> {
    /// Moves to the next subject. Returns false at the end, `None` if the footer is malformed.
    pub(super) fn next(&mut self) -> Option<bool> {
        let Some(left) = self.left.checked_sub(1) else { return Some(false) };
        self.left = left;
        let (first, last, count) = take_subject(&mut self.rest, &mut self.subject)?;
        self.state = SubjectState { first: self.base + first, last: self.base + last, count };
        Some(true)
    }

    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(super) fn state(&self) -> SubjectState {
        self.state
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Left {
    first: u32,
    last: u32,
    count: u32,
}
