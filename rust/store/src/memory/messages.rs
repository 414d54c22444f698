//! Messages by sequence, in blocks, so that messages removed in the middle take no space.

use std::collections::BTreeMap;

use super::arena::{Arena, Place};
use crate::messages::Message;
use crate::visits;

/// A block holds 2 to the power of this many sequences.
const BLOCK_BITS: u32 = 8;

/// A message, linked to its neighbours on the same subject.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) time: i64,
    /// The previous and the next message on the same subject; 0 for none.
    pub(super) before: u64,
    pub(super) behind: u64,
    subject_len: u32,
    headers_len: u32,
    place: Place,
}

impl Entry {
    /// Returns the size that counts against limits, in bytes, as nats-server 2.15 counts it in memory.
    pub(super) fn counted_bytes(&self) -> u64 {
        self.place.len() as u64 + 16
    }
}

/// All messages of a stream in memory.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Each block's entries are in order, and none is empty.
    blocks: BTreeMap<u64, Vec<Entry>>,
    len: u64,
    arena: Arena,
}

impl Messages {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a message behind all others. `before` is the previous message on its subject. Returns the size that counts against
    /// limits, in bytes.
    pub(super) fn push(&mut self, message: &Message<'_>, before: u64) -> u64 {
        let Message { sequence, time, subject, headers, payload } = *message;
        let place = self.arena.push(sequence, [subject, headers, payload]);
        let (subject_len, headers_len) = (subject.len() as u32, headers.len() as u32);
        let entry = Entry { sequence, time, before, behind: 0, subject_len, headers_len, place };
        let counted = entry.counted_bytes();
        self.len += 1;
        self.blocks.entry(sequence >> BLOCK_BITS).or_default().push(entry);
        counted
    }

    /// Returns the message of an entry.
    pub(super) fn message(&self, entry: &Entry) -> Message<'_> {
        let (subject, rest) = self.arena.get(entry.place).split_at(entry.subject_len as usize);
        let (headers, payload) = rest.split_at(entry.headers_len as usize);
        Message { sequence: entry.sequence, time: entry.time, subject, headers, payload }
    }

    pub(super) fn get(&self, sequence: u64) -> Option<&Entry> {
        let block = self.blocks.get(&(sequence >> BLOCK_BITS))?;
        block.binary_search_by_key(&sequence, |e| e.sequence).ok().map(|i| &block[i])
    }

    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Entry> {
        let block = self.blocks.get_mut(&(sequence >> BLOCK_BITS))?;
        let found = block.binary_search_by_key(&sequence, |e| e.sequence).ok()?;
        block.get_mut(found)
    }

    /// Removes the message of this entry.
    pub(super) fn remove(&mut self, entry: &Entry) {
        if self.take_out(entry.sequence).is_none() {
            return;
        }
        self.arena.release(entry.place);
        while let Some(region) = self.arena.wasteful() {
            let pushed: Vec<(u64, Place)> = self.arena.pushed(region).collect();
            for (sequence, place) in pushed {
                let Some(entry) = self.get(sequence).filter(|entry| entry.place == place) else { continue };
                let message = self.arena.get(entry.place).to_vec();
                let place = self.arena.push(sequence, [&message, b"", b""]);
                if let Some(entry) = self.get_mut(sequence) {
                    let before = std::mem::replace(&mut entry.place, place);
                    self.arena.release(before);
                }
            }
        }
    }

    fn take_out(&mut self, sequence: u64) -> Option<Entry> {
        let number = sequence >> BLOCK_BITS;
        let block = self.blocks.get_mut(&number)?;
        let entry = block.remove(block.binary_search_by_key(&sequence, |e| e.sequence).ok()?);
        if block.is_empty() {
            self.blocks.remove(&number);
        } else if block.len() * 4 < block.capacity() {
            block.shrink_to(block.len() * 2);
        }
        self.len -= 1;
        Some(entry)
    }

    /// Returns the entries from `sequence` on, in order.
    pub(super) fn from(&self, sequence: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        self.blocks
            .range(sequence >> BLOCK_BITS..)
            .flat_map(|(_, block)| block)
            .filter(move |e| e.sequence >= sequence)
    }

    /// Returns the messages from `sequence` on, in order.
    pub(super) fn messages_from(&self, sequence: u64) -> impl DoubleEndedIterator<Item = Message<'_>> {
        self.from(sequence).map(|entry| {
            visits::note();
            self.message(entry)
        })
    }

    /// Returns the number of messages from `sequence` on.
    pub(super) fn count_from(&self, sequence: u64) -> u64 {
        let number = sequence >> BLOCK_BITS;
        let before = |block: &Vec<Entry>| block.partition_point(|e| e.sequence < sequence);
        let partial = self.blocks.get(&number).map_or(0, |block| block.len() - before(block));
        let behind: usize = self.blocks.range(number + 1..).map(|(_, block)| block.len()).sum();
        (partial + behind) as u64
    }

    /// Returns the first message that was stored at `time` or later. Times never fall.
    pub(super) fn at_time(&self, time: i64) -> Option<&Entry> {
        // This searches by block number, since a map of blocks can't be cut in half.
        let (mut low, mut high) = (*self.blocks.first_key_value()?.0, *self.blocks.last_key_value()?.0 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.blocks.range(middle..).next() {
                Some((number, block)) if block.last().is_some_and(|e| e.time < time) => low = number + 1,
                _ => high = middle,
            }
        }
        let (_, block) = self.blocks.range(low..).next()?;
        block.get(block.partition_point(|e| e.time < time))
    }
}
