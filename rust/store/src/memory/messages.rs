//! Messages by sequence, in blocks, so that what is deleted in the middle takes no room.

use std::collections::BTreeMap;

use crate::messages::Message;

/// Sequences to a block.
const BLOCK_BITS: u32 = 8;

/// A message with its place among those of its subject.
#[derive(Debug)]
pub(super) struct Entry {
    sequence: u64,
    time: i64,
    /// The message before and the one behind on the same subject; 0 for none.
    pub(super) before: u64,
    pub(super) behind: u64,
    subject_len: u32,
    headers_len: u32,
    bytes: Box<[u8]>,
}

impl Entry {
    pub(super) fn new(message: Message<'_>, before: u64) -> Self {
        let bytes = [message.subject, message.headers, message.payload].concat().into_boxed_slice();
        Self {
            sequence: message.sequence,
            time: message.time,
            before,
            behind: 0,
            subject_len: message.subject.len() as u32,
            headers_len: message.headers.len() as u32,
            bytes,
        }
    }

    pub(super) fn message(&self) -> Message<'_> {
        let (subject, rest) = self.bytes.split_at(self.subject_len as usize);
        let (headers, payload) = rest.split_at(self.headers_len as usize);
        Message { sequence: self.sequence, time: self.time, subject, headers, payload }
    }

    /// What the message counts against limits: as nats-server 2.15 counts it in memory.
    pub(super) fn counted_bytes(&self) -> u64 {
        self.bytes.len() as u64 + 16
    }
}

/// All messages of a stream.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Each block's entries are in order, and none is empty.
    blocks: BTreeMap<u64, Vec<Entry>>,
    len: u64,
}

impl Messages {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds an entry behind all others.
    pub(super) fn push(&mut self, entry: Entry) {
        self.len += 1;
        self.blocks.entry(entry.sequence >> BLOCK_BITS).or_default().push(entry);
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

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Entry> {
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

    /// The messages from `sequence` on, in order.
    pub(super) fn from(&self, sequence: u64) -> impl DoubleEndedIterator<Item = &Entry> {
        self.blocks
            .range(sequence >> BLOCK_BITS..)
            .flat_map(|(_, block)| block)
            .filter(move |e| e.sequence >= sequence)
    }

    /// How many messages there are from `sequence` on.
    pub(super) fn count_from(&self, sequence: u64) -> u64 {
        let number = sequence >> BLOCK_BITS;
        let before = |block: &Vec<Entry>| block.partition_point(|e| e.sequence < sequence);
        let partial = self.blocks.get(&number).map_or(0, |block| block.len() - before(block));
        let behind: usize = self.blocks.range(number + 1..).map(|(_, block)| block.len()).sum();
        (partial + behind) as u64
    }

    /// The first message that was stored at `time` or later; times never fall.
    pub(super) fn at_time(&self, time: i64) -> Option<&Entry> {
        // A search among block numbers, since a map of blocks can't be cut in half.
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
