//! Reading all records of a segment, whatever happened to some of them.

use std::io;

use super::footer::Contents;
use super::record::{Frame, Head};
use super::segment::{BLOCK_LEN, Block};
use crate::disk::DiskFile;

/// Bytes before the data of a segment's file.
pub(super) const HEADER_LEN: u64 = 64;
/// Bytes read at once.
const CHUNK_LEN: usize = 1 << 20;

/// Visits the intact records of `file` in order, with their offsets in the data; those that are damaged are passed over.
pub(super) fn records<F: DiskFile>(
    file: &F,
    frame: Frame,
    data_len: u64,
    mut visit: impl FnMut(&Head, &[u8], u64),
) -> io::Result<()> {
    let mut chunk = Chunk { file, data_len, begin: 0, bytes: Vec::new() };
    let (mut at, mut next_slot, mut wanted) = (0, 0, CHUNK_LEN);
    while at < chunk.data_len {
        chunk.load(at, wanted)?;
        let bytes = chunk.at(at);
        let is_rest = at + bytes.len() as u64 >= chunk.data_len;
        let head = frame.head(bytes);
        if head.is_none() && !is_rest {
            // It may be longer than what was read.
            wanted = bytes.len().saturating_mul(2).max(CHUNK_LEN);
            continue;
        }
        match head.filter(|head| head.slot >= next_slot && frame.is_intact(head, bytes, at)) {
            Some(head) => {
                visit(&head, &bytes[..head.len], at);
                (at, next_slot, wanted) = (at + head.len as u64, head.slot + 1, CHUNK_LEN);
            }
            // Where the next one begins is unknown: any byte may be the place.
            None => at += 1,
        }
    }
    Ok(())
}

/// A piece of the data.
struct Chunk<'f, F> {
    file: &'f F,
    data_len: u64,
    begin: u64,
    bytes: Vec<u8>,
}

impl<F: DiskFile> Chunk<'_, F> {
    /// Reads what lies from `at` on, unless enough of it is there: `wanted` bytes, or a quarter of a usual chunk.
    fn load(&mut self, at: u64, wanted: usize) -> io::Result<()> {
        let there = (self.begin + self.bytes.len() as u64).saturating_sub(at);
        let wanted = (wanted as u64).min(self.data_len - at);
        let enough = if wanted > CHUNK_LEN as u64 { wanted } else { wanted.min(CHUNK_LEN as u64 / 4) };
        if there >= enough {
            return Ok(());
        }
        self.bytes.resize(usize::try_from(wanted).map_err(|_| io::ErrorKind::OutOfMemory)?, 0);
        self.begin = at;
        let read = self.file.read_at(&mut self.bytes, HEADER_LEN + at)?;
        self.bytes.truncate(read);
        if (read as u64) < wanted {
            // The file is shorter than it was said to be.
            self.data_len = at + read as u64;
        }
        Ok(())
    }

    fn at(&self, at: u64) -> &[u8] {
        self.bytes.get((at - self.begin) as usize..).unwrap_or_default()
    }
}

/// Reads all records to find what a footer tells; visits each of them.
pub(super) fn contents<F: DiskFile>(
    file: &F,
    frame: Frame,
    data_len: u64,
    mut visit: impl FnMut(&Head, &[u8]),
) -> io::Result<Contents> {
    let mut contents = Contents::default();
    records(file, frame, data_len, |head, bytes, at| {
        let offset = at as u32;
        if contents.blocks.last().is_none_or(|block| offset - block.offset >= BLOCK_LEN) {
            contents.blocks.push(Block { slot: head.slot, offset });
        }
        if let Some(message) = frame.message(head, bytes) {
            contents.note(head.slot, head.before, message.subject);
        }
        visit(head, bytes);
    })?;
    Ok(contents)
}
