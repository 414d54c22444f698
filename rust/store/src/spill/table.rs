//! A table: records of one length in a file, in the order of their keys.

use std::io;
use std::sync::Arc;

use fastbloom::BloomFilter;

use super::{Kind, Place, Unreadable};
use crate::disk::DiskFile;
use crate::file::Packing;

/// Length of a key in bytes. A key is a big-endian number.
pub(super) const KEY_LEN: usize = 16;
/// Maximum number of bytes of records in a block.
const BLOCK_LEN: usize = if cfg!(test) { 96 } else { 4 << 10 };
/// Bytes written at once.
const WRITE_LEN: usize = 1 << 20;

/// Returns the key of a record.
pub(super) fn key(record: &[u8]) -> u128 {
    record.first_chunk::<KEY_LEN>().map_or(0, |key| u128::from_be_bytes(*key))
}

/// The start of a block: its first key, and its offset in the file.
#[derive(Debug, Clone, Copy)]
struct Block {
    first: [u8; KEY_LEN],
    at: u64,
}

/// Records in a file, in the order of their keys.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Number of records.
    pub(super) len: usize,
    /// A value that the table's writer provides. For ids, it is the time of the newest one.
    pub(super) newest: i64,
    packing: Packing,
    filter: Option<BloomFilter>,
    blocks: Vec<Block>,
    /// Length of the file in bytes.
    end: u64,
}

impl Table {
    fn per_block(&self) -> usize {
        BLOCK_LEN / self.kind.record_len()
    }

    /// Whether the table may have a key. False is certain.
    pub(super) fn may_have(&self, key: u128) -> bool {
        // In tables with a filter, keys are hashes.
        self.filter.as_ref().is_none_or(|filter| filter.contains_hash(key as u64))
    }

    /// Appends the record with the key `wanted` to `out`. Returns whether there is one.
    pub(super) fn get(&self, place: &dyn Place, wanted: u128, out: &mut Vec<u8>) -> Result<bool, Unreadable> {
        let behind = self.blocks.partition_point(|block| u128::from_be_bytes(block.first) <= wanted);
        let Some(block) = behind.checked_sub(1) else { return Ok(false) };
        let mut records = Vec::new();
        self.read(place, block, &mut records)?;
        let found = records.chunks_exact(self.kind.record_len()).find(|record| key(record) == wanted);
        out.extend_from_slice(found.unwrap_or_default());
        Ok(found.is_some())
    }

    /// Reads the records of a block into `out`.
    fn read(&self, place: &dyn Place, block: usize, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        out.clear();
        let Some(begin) = self.blocks.get(block).map(|block| block.at) else { return Ok(()) };
        let end = self.blocks.get(block + 1).map_or(self.end, |next| next.at);
        let mut raw = vec![0; (end - begin) as usize];
        let read = place.read_at(&self.name, &mut raw, begin).map_err(|_| Unreadable)?;
        let decoded = self.packing.decode(&raw[..read], begin, out);
        let is_whole = decoded.is_some_and(|(number, _)| number == block as u32)
            && out.len().is_multiple_of(self.kind.record_len());
        if is_whole { Ok(()) } else { Err(Unreadable) }
    }
}

/// Writes a table.
pub(super) struct Writer<'p> {
    place: &'p dyn Place,
    table: Table,
    records: Vec<u8>,
    /// Blocks that are not written yet.
    out: Vec<u8>,
    file: Arc<dyn DiskFile>,
}

impl<'p> Writer<'p> {
    /// Creates a file for a table of at most `expected` records.
    pub(super) fn new(
        place: &'p dyn Place,
        kind: Kind,
        (name, packing): (String, Packing),
        expected: usize,
    ) -> io::Result<Self> {
        let filter = (kind == Kind::Ids).then(|| {
            let bits = place.budget().filter_bits(expected);
            // Callers provide the hashes, so the filter's own seed does not matter.
            BloomFilter::with_num_bits(bits).seed(&0).expected_items(expected.max(1))
        });
        let file = place.create(&name)?;
        let table =
            Table { name, kind, len: 0, newest: i64::MIN, packing, filter, blocks: Vec::new(), end: 0 };
        Ok(Self { place, table, records: Vec::new(), out: Vec::new(), file })
    }

    /// Adds a record, whose key must be above all previous ones.
    pub(super) fn add(&mut self, record: &[u8]) -> io::Result<()> {
        if self.records.len() + record.len() > BLOCK_LEN {
            self.end_block()?;
        }
        if self.records.is_empty() {
            let first = key(record).to_be_bytes();
            self.table.blocks.push(Block { first, at: self.table.end });
        }
        if let Some(filter) = &mut self.table.filter {
            filter.insert_hash(key(record) as u64);
        }
        self.records.extend_from_slice(record);
        self.table.len += 1;
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let (at, number, before) = (self.table.end, (self.table.blocks.len() - 1) as u32, self.out.len());
        self.table.packing.encode(&mut self.out, at, number, &self.records, self.place.epoch());
        self.table.end += (self.out.len() - before) as u64;
        self.records.clear();
        if self.out.len() >= WRITE_LEN { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.out, self.table.end - self.out.len() as u64)?;
        self.out.clear();
        Ok(())
    }

    /// Completes the table. It need not be durable, since the next opening does not use it.
    pub(super) fn finish(mut self, newest: i64) -> io::Result<Table> {
        self.end_block()?;
        self.write()?;
        self.table.blocks.shrink_to_fit();
        self.table.newest = newest;
        Ok(self.table)
    }
}

/// A cursor over the records of a table.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) table: Arc<Table>,
    /// Number of records before the cursor.
    seen: usize,
    /// The block with the next record, if it was read.
    records: Vec<u8>,
}

impl Cursor {
    /// Creates a cursor before the record with the number `seen`.
    pub(super) fn new(table: Arc<Table>, seen: usize) -> Self {
        Self { table, seen, records: Vec::new() }
    }

    /// Returns the number of records before the cursor.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Returns the next record; `None` at the end.
    pub(super) fn next(&mut self, place: &dyn Place) -> Result<Option<&[u8]>, Unreadable> {
        if self.seen >= self.table.len {
            self.records = Vec::new();
            return Ok(None);
        }
        let in_block = self.seen % self.table.per_block();
        if self.records.is_empty() || in_block == 0 {
            self.table.read(place, self.seen / self.table.per_block(), &mut self.records)?;
        }
        let len = self.table.kind.record_len();
        let record = self.records.get(in_block * len..(in_block + 1) * len).ok_or(Unreadable)?;
        self.seen += 1;
        Ok(Some(record))
    }
}
