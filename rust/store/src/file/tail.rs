//! The end of a stream that is gathered in memory, and how its log can refer to it once it is written.
//!
//! A log that need not be durable at once may leave long messages out: it holds a [`Reference`] to the record in the segment
//! instead, which must be written before the log is. So a message is written once and not twice. When the store is opened
//! again, what the log refers to is read from there and appended anew, in segments behind all that are referred to: nothing of
//! it is overwritten until a checkpoint says that it is not needed any more.

use std::io;
use std::sync::Arc;

use super::files::Files;
use super::open;
use super::record::{Frame, Head};
use super::scan::HEADER_LEN;
use super::seal;
use super::segment::{Segment, Stage};
use super::stream::{FileStream, segment_name};
use crate::disk::{Disk, DiskFile};
use crate::encryption::Draw;
use crate::messages::Message;

/// Bytes of a reference to a segment for which nothing was drawn.
const PLAIN_LEN: usize = 33;
/// What a disk writes whole or not at all, in bytes.
const SECTOR: u64 = 512;
/// Bytes gathered in memory before they are written to the segment.
const TAIL_LEN: usize = 256 << 10;

/// Where in a segment a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The segment's number.
    pub number: u32,
    /// The number of the key that encrypts it.
    key: u8,
    base: u64,
    base_time: i64,
    /// Where the record begins, behind the header.
    offset: u64,
    /// Its length in bytes.
    len: u32,
    /// What was drawn for the segment.
    draw: Option<Draw>,
}

impl Reference {
    /// The most bytes that [`Reference::encode`] makes.
    pub const ENCODED_LEN_MAX: usize = PLAIN_LEN + Draw::LEN;

    /// Its bytes, for the log, and how many they are.
    pub fn encode(&self) -> ([u8; Self::ENCODED_LEN_MAX], usize) {
        let mut out = [0; Self::ENCODED_LEN_MAX];
        out[..4].copy_from_slice(&self.number.to_le_bytes());
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..16].copy_from_slice(&self.base.to_le_bytes());
        out[16..24].copy_from_slice(&self.base_time.to_le_bytes());
        out[24..32].copy_from_slice(&self.offset.to_le_bytes());
        out[32] = self.key;
        match &self.draw {
            None => (out, PLAIN_LEN),
            Some(draw) => {
                out[PLAIN_LEN..].copy_from_slice(draw.bytes());
                (out, Self::ENCODED_LEN_MAX)
            }
        }
    }

    /// Reads what [`Reference::encode`] wrote; `None` if it is of another length.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, draw) = bytes.split_first_chunk::<PLAIN_LEN>()?;
        let draw = match draw.len() {
            0 => None,
            Draw::LEN => Draw::of(draw),
            _ => return None,
        };
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        let long = |at: usize| bytes[at..].first_chunk().map_or(0, |long| u64::from_le_bytes(*long));
        Some(Self {
            number: word(0),
            len: word(4),
            base: long(8),
            base_time: long(16) as i64,
            offset: long(24),
            key: bytes[32],
            draw,
        })
    }

    /// The length of the record, in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no record is empty")]
    pub fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// Where it is in the file, in bytes.
    pub fn offset(&self) -> u64 {
        HEADER_LEN.saturating_add(self.offset)
    }
}

/// What is gathered of the last segment.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Records of the last segment, from some point on: those that are not in its file yet, and maybe some before.
    pub(super) bytes: Vec<u8>,
    /// How many of the bytes are in the file.
    written: usize,
    /// The number of the segment that got a record last, and the record's length.
    pub(super) last: (u32, u32),
    /// The first sequence that the log refers to though it is not in the file.
    referred: Option<u64>,
}

impl Tail {
    /// Bytes that are in no file.
    pub(super) fn unwritten(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// See [`FileStream::referred`].
    pub(super) fn referred(&self) -> Option<u64> {
        self.referred
    }

    /// Whether it is so long that it should be written.
    pub(super) fn is_full(&self, segment_len: u64) -> bool {
        self.bytes.len() >= TAIL_LEN.min(segment_len as usize / 4)
    }

    /// Forgets all, since the segment is no more.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.written, self.referred) = (0, None);
    }
}

/// Reads a record into `buffer`, as much of it as is there; answers its head if it is intact.
fn read_referred<F: DiskFile>(
    file: &F,
    frame: &Frame,
    reference: &Reference,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Head>> {
    buffer.clear();
    // No more than the file has, whatever the log says.
    let there = file.len()?.saturating_sub(reference.offset()).min(reference.len());
    buffer.resize(there as usize, 0);
    let read = file.read_at(buffer, reference.offset())?;
    buffer.truncate(read);
    let head = frame.head(buffer).filter(|head| head.len as u64 == reference.len());
    Ok(head.filter(|head| frame.is_intact(head, buffer, reference.offset)))
}

/// What of `bytes` lies in each sector, if they begin so far within one.
fn sectors(bytes: &[u8], from: usize) -> impl Iterator<Item = &[u8]> {
    let (first, rest) = bytes.split_at((SECTOR as usize - from).min(bytes.len()));
    [first].into_iter().filter(|first| !first.is_empty()).chain(rest.chunks(SECTOR as usize))
}

impl<D: Disk> FileStream<D> {
    /// Writes what is gathered in memory to the segment. After an error it is all still there.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.tail.clear();
        if self.tail.bytes.capacity() > 2 * TAIL_LEN {
            self.tail.bytes.shrink_to(TAIL_LEN);
        }
        Ok(())
    }

    /// The same, and keeps it in memory too, for those who read it soon.
    pub fn write_out(&mut self) -> io::Result<()> {
        let unwritten = self.tail.unwritten() as u64;
        let Some(segment) = self.segments.back().filter(|_| unwritten > 0) else { return Ok(()) };
        let written = segment.data_len - unwritten;
        let name = self.name(segment.number);
        let there = match self.files.get(&name) {
            _ if written == 0 => None,
            // Somebody removed it. Its messages are lost, but those to come need not be.
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            there => Some(there?),
        };
        let file = match there {
            Some(file) => file,
            None => {
                let file = self.files.create(&name)?;
                let header = seal::header(self.group, segment.number, &segment.frame, segment.packing.draw());
                file.write_at(&header, 0)?;
                self.names_changed = true;
                file
            }
        };
        let bytes = self.tail.bytes.get(self.tail.written..).unwrap_or_default();
        file.write_at(bytes, HEADER_LEN + written)?;
        self.tail.written = self.tail.bytes.len();
        self.tail.referred = None;
        self.note_dirty(file);
        Ok(())
    }

    /// Bytes gathered in memory.
    pub fn gathered_len(&self) -> usize {
        self.tail.bytes.len()
    }

    /// Where the last message is that was appended, for the log to refer to, which asks for [`FileStream::write_out`] before it is
    /// written. `None` if its segment is no more.
    pub fn refer(&mut self) -> Option<Reference> {
        let (number, len) = self.tail.last;
        let segment = self.segments.back().filter(|segment| segment.number == number)?;
        if self.tail.unwritten() > 0 {
            self.tail.referred.get_or_insert(self.last);
        }
        Some(Reference {
            number,
            key: segment.key,
            draw: segment.packing.draw(),
            base: segment.frame.base,
            base_time: segment.frame.base_time,
            offset: segment.data_len.checked_sub(u64::from(len))?,
            len,
        })
    }

    /// The first sequence that the log refers to and that is not written.
    pub fn referred(&self) -> Option<u64> {
        self.tail.referred
    }

    /// Takes note that the log has what it referred to after all.
    pub fn forget_referred(&mut self) {
        self.tail.referred = None;
    }

    /// Files written since the last checkpoint began, and whether names changed: what the log refers to is in them.
    pub fn unsynced(&self) -> (&[Arc<D::File>], bool) {
        (&self.dirty, self.names_changed)
    }

    /// The message of a record, read into `buffer`; `None` if it can't be read.
    pub fn referred_message<'b>(
        &self,
        reference: &Reference,
        buffer: &'b mut Vec<u8>,
    ) -> Option<Message<'b>> {
        let Reference { number, key, base, base_time, offset, draw, .. } = *reference;
        let packing = open::packing(&self.files, self.salt, self.group, number, key, draw)?;
        let frame = Frame { salt: packing.salt, base, base_time, sealer: packing.sealer };
        let file = self.files.get(&self.name(number)).ok()?;
        let head = read_referred(&*file, &frame, reference, buffer).ok()??;
        frame.unseal(&head, buffer, offset)
    }

    /// Whether the record came to the disk, damaged there or not: in this a bit that flipped is told from a power cut, which leaves
    /// whole sectors empty. `salt` is the log's, `group` the stream's number; the stream itself need not be open.
    pub fn has_come(files: &Files<D>, salt: u64, group: u32, reference: &Reference) -> bool {
        let Reference { number, key, base, base_time, draw, .. } = *reference;
        // Without its key nobody can tell.
        let Some(packing) = open::packing(files, salt, group, number, key, draw) else { return true };
        let frame = Frame { salt: packing.salt, base, base_time, sealer: packing.sealer };
        let file = match files.get(&segment_name(group, number)) {
            Ok(file) => file,
            // A disk that fails to answer does not say that nothing is there.
            Err(e) => return e.kind() != io::ErrorKind::NotFound,
        };
        let mut buffer = Vec::new();
        match read_referred(&*file, &frame, reference, &mut buffer) {
            Ok(Some(_)) | Err(_) => true,
            Ok(None) => {
                let from = (reference.offset() % SECTOR) as usize;
                let is_empty = |part: &[u8]| part.iter().all(|byte| *byte == 0);
                buffer.len() as u64 == reference.len() && !sectors(&buffer, from).any(is_empty)
            }
        }
    }

    /// Makes durable what was written to the file that holds a referred message: a process that was killed may not have.
    pub fn sync_referred(files: &Files<D>, group: u32, reference: &Reference) -> io::Result<()> {
        match files.get(&segment_name(group, reference.number)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            file => file?.sync(),
        }
    }

    /// The name of the file that holds it.
    pub fn referred_file(&self, reference: &Reference) -> String {
        self.name(reference.number)
    }

    /// Appends only where nothing was written that the manifest does not know: not to files with numbers up to `number`, the highest
    /// that there is, and not behind the end of the segment in use, if something lies there. It is what was left of a tail of the log
    /// that was dropped; if the log came to refer to messages in its place and the next power cut took those, it would pass for them,
    /// damaged.
    pub fn begin_anew(&mut self, number: u32) {
        let end = |segment: &Segment| HEADER_LEN + segment.data_len;
        let goes_on = match self.segments.back().filter(|segment| segment.stage == Stage::Active) {
            Some(segment) => match self.files.get(&self.name(segment.number)) {
                Ok(file) => file.len().is_ok_and(|len| len <= end(segment)),
                Err(e) => e.kind() == io::ErrorKind::NotFound,
            },
            None => true,
        };
        match goes_on {
            true => self.next_number = self.next_number.max(number.saturating_add(1)),
            false => self.begin_behind(number),
        }
    }

    /// Appends to segments only whose numbers are above `number`.
    pub fn begin_behind(&mut self, number: u32) {
        self.next_number = self.next_number.max(number.saturating_add(1));
        if self.segments.back().is_some_and(|segment| segment.stage == Stage::Active) {
            self.close_active();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn references_are_read_as_written(
            number: u32, key: u8, base: u64, base_time: i64, offset: u64, len: u32, is_drawn: bool,
        ) {
            let draw = if is_drawn { Draw::of(&[key; Draw::LEN]) } else { None };
            let reference = Reference { number, key, base, base_time, offset, len, draw };
            let (bytes, len) = reference.encode();
            let bytes = &bytes[..len];
            prop_assert_eq!(Reference::decode(bytes), Some(reference));
            prop_assert_eq!(Reference::decode(&bytes[1..]), None);
            prop_assert_eq!(Reference::decode(&[bytes, b"x"].concat()), None);
        }

        #[test]
        fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let is_one = [PLAIN_LEN, Reference::ENCODED_LEN_MAX].contains(&bytes.len());
            prop_assert_eq!(Reference::decode(&bytes).is_some(), is_one);
        }
    }
}
