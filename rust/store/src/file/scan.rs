//! Reading all records of a segment, in spite of damage.

use std::io;

use super::chunk::{Chunk, Packing};
use super::footer::Contents;
use super::record::{Frame, Head};
use super::segment::{Form, Segment};
use crate::checksum::Ranges;
use crate::disk::DiskFile;
use crate::messages::Message;

/// Bytes of the header of a segment's file, before the data.
pub(super) const HEADER_LEN: u64 = 64;
/// Bytes read at once.
const PIECE_LEN: usize = if cfg!(test) { 64 } else { 1 << 20 };
/// Bytes that suffice to try a record before more are read.
const ENOUGH: usize = PIECE_LEN / 4;

/// The properties of a segment that are needed to read its file.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) frame: Frame,
    pub(super) packing: Packing,
    pub(super) form: Form,
    pub(super) data_len: u64,
    /// Number of slots. A record with a higher slot is damage that only looks like a record.
    pub(super) slots: u32,
}

impl Shape {
    pub(super) fn of(segment: &Segment) -> Self {
        Self {
            frame: segment.frame.clone(),
            packing: segment.packing.clone(),
            form: segment.form,
            data_len: segment.data_len,
            slots: segment.slots,
        }
    }
}

/// Visits the intact records of `file` in order, with their offsets in the data, and skips damaged ones. Returns the places of
/// chunks.
pub(super) fn records<F: DiskFile>(
    file: &F,
    shape: &Shape,
    mut visit: impl FnMut(&Head, &Message<'_>, u64),
) -> io::Result<Vec<Chunk>> {
    match shape.form {
        Form::Plain => plain_records(file, shape, &mut visit).map(|()| Vec::new()),
        Form::Packed { stored_len } => packed_records(file, shape, stored_len, &mut visit),
    }
}

fn plain_records<F: DiskFile>(
    file: &F,
    shape: &Shape,
    visit: &mut impl FnMut(&Head, &Message<'_>, u64),
) -> io::Result<()> {
    let frame = &shape.frame;
    let mut piece = Piece { file, data_len: shape.data_len, begin: 0, bytes: Vec::new() };
    let (mut at, mut next_slot, mut enough) = (0, 0, ENOUGH);
    // The checksums of the piece, which covers the whole rest once damage was found.
    let mut ranges = None;
    let mut record = Vec::new();
    while at < piece.data_len {
        piece.load(at, enough)?;
        let data_len = piece.data_len;
        let bytes = piece.at(at);
        let is_rest = at + bytes.len() as u64 >= data_len;
        let head = frame.head(bytes);
        if head.is_none() && !is_rest {
            // The record may be longer than the bytes read so far.
            enough = bytes.len().saturating_mul(2);
            continue;
        }
        let range = next_slot..shape.slots;
        let intact = |head: &Head| range.contains(&head.slot) && frame.is_intact(head, bytes, at);
        let Some(head) = head.filter(intact) else {
            // The next record may begin at any byte.
            piece.load(at, usize::MAX)?;
            let ranges = ranges.get_or_insert_with(|| Ranges::of(&piece.bytes));
            let from = (at - piece.begin) as usize + 1;
            let next = frame.search(&piece.bytes, ranges, from, piece.begin, |slot| range.contains(&slot));
            let Some((found, _)) = next else { break };
            at = piece.begin + found as u64;
            continue;
        };
        // Decryption happens in place, and the piece must stay unchanged.
        record.clear();
        record.extend_from_slice(&bytes[..head.len]);
        if let Some(message) = frame.unseal(&head, &mut record, at) {
            visit(&head, &message, at);
        }
        (at, next_slot, enough) = (at + head.len as u64, head.slot + 1, ENOUGH);
    }
    Ok(())
}

fn packed_records<F: DiskFile>(
    file: &F,
    shape: &Shape,
    stored_len: u64,
    visit: &mut impl FnMut(&Head, &Message<'_>, u64),
) -> io::Result<Vec<Chunk>> {
    let frame = &shape.frame;
    let stored_len = usize::try_from(stored_len.min(file.len()?)).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut stored = vec![0; stored_len];
    let read = file.read_at(&mut stored, HEADER_LEN)?;
    stored.truncate(read);
    let (mut chunks, mut records, mut next_slot) = (Vec::new(), Vec::new(), 0);
    let mut at = 0;
    while at < stored.len() {
        records.clear();
        let Some((begin, len)) = shape.packing.decode(&stored[at..], at as u64, &mut records) else {
            at += 1;
            continue;
        };
        chunks.push(Chunk { begin, at: at as u32 });
        at += len;
        let mut within = 0;
        while let Some(head) = records.get(within..).and_then(|bytes| frame.head(bytes)) {
            let offset = u64::from(begin) + within as u64;
            let bytes = &mut records[within..within + head.len];
            if !(next_slot..shape.slots).contains(&head.slot) || !frame.is_intact(&head, bytes, offset) {
                break;
            }
            if let Some(message) = frame.unseal(&head, bytes, offset) {
                visit(&head, &message, offset);
            }
            (within, next_slot) = (within + head.len, head.slot + 1);
        }
    }
    Ok(chunks)
}

/// A piece of the data in memory.
struct Piece<'f, F> {
    file: &'f F,
    data_len: u64,
    begin: u64,
    bytes: Vec<u8>,
}

impl<F: DiskFile> Piece<'_, F> {
    /// Reads a piece of the usual length from `at` on, or `enough` bytes if that is more. Does nothing if `enough` bytes are
    /// there already.
    fn load(&mut self, at: u64, enough: usize) -> io::Result<()> {
        let there = (self.begin + self.bytes.len() as u64).saturating_sub(at);
        let rest = self.data_len - at;
        if there >= rest.min(enough as u64) {
            return Ok(());
        }
        let wanted = rest.min(enough.max(PIECE_LEN) as u64);
        self.bytes.resize(usize::try_from(wanted).map_err(|_| io::ErrorKind::OutOfMemory)?, 0);
        self.begin = at;
        let read = self.file.read_at(&mut self.bytes, HEADER_LEN + at)?;
        self.bytes.truncate(read);
        if (read as u64) < wanted {
            // The file is shorter than its manifest states.
            self.data_len = at + read as u64;
        }
        Ok(())
    }

    fn at(&self, at: u64) -> &[u8] {
        self.bytes.get((at - self.begin) as usize..).unwrap_or_default()
    }
}

/// Collects the content of a footer by reading all records, and visits each of them.
pub(super) fn contents<F: DiskFile>(
    file: &F,
    shape: &Shape,
    mut visit: impl FnMut(&Head, &Message<'_>),
) -> io::Result<Contents> {
    let mut contents = Contents::default();
    contents.layout.chunks = records(file, shape, |head, message, at| {
        contents.note(head.slot, head.before, message.subject, at);
        visit(head, message);
    })?;
    Ok(contents)
}
