//! The buffered end of a stream, and the references by which the log can refer to it once it is written.
//!
//! A log that need not be durable at once may leave out long messages. It holds a [`Reference`] to the record in the segment
//! instead, and the segment must be written before the log. So a message is written once, not twice.
//!
//! When the store is opened again, referenced messages are read from their segments and appended again, to segments behind all
//! referenced ones. Nothing that the log refers to is overwritten before a checkpoint makes it unneeded.

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

/// Length of a reference to a segment without a draw, in bytes.
const PLAIN_LEN: usize = 33;
/// The unit that a disk writes atomically, in bytes.
const SECTOR: u64 = 512;
/// Maximum number of bytes buffered in memory before they are written to the segment.
const TAIL_LEN: usize = 256 << 10;

/// The place of a record in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// The segment's number.
    pub number: u32,
    /// The number of the data key that encrypts the segment.
    key: u8,
    base: u64,
    base_time: i64,
    /// Offset of the record in the segment's data, behind the file's header.
    offset: u64,
    /// Length of the record in bytes.
    len: u32,
    /// The segment's draw.
    draw: Option<Draw>,
}

impl Reference {
    /// Maximum length of an encoded reference, in bytes.
    pub const ENCODED_LEN_MAX: usize = PLAIN_LEN + Draw::LEN;

    /// Returns the encoded reference, and its length.
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

    /// Decodes the result of [`Reference::encode`]; `None` if its length is wrong.
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

    /// Returns the length of the record in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no record is empty")]
    pub fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// Returns the offset of the record in the file, in bytes.
    pub fn offset(&self) -> u64 {
        HEADER_LEN.saturating_add(self.offset)
    }
}

/// The buffered end of the last segment.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Records at the end of the last segment: those that are not in its file yet, and maybe some before them.
    pub(super) bytes: Vec<u8>,
    /// Number of bytes that are in the file already.
    written: usize,
    /// The number of the segment that last got a record, and the record's length in bytes.
    pub(super) last: (u32, u32),
    /// The first sequence that the log refers to and that is not in the file yet.
    referred: Option<u64>,
}

impl Tail {
    /// Returns the number of bytes that are not in the file yet.
    pub(super) fn unwritten(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// See [`FileStream::referred`].
    pub(super) fn referred(&self) -> Option<u64> {
        self.referred
    }

    /// Whether it is long enough to be written.
    pub(super) fn is_full(&self, segment_len: u64) -> bool {
        self.bytes.len() >= TAIL_LEN.min(segment_len as usize / 4)
    }

    /// Drops everything, since the segment was removed or everything is written.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.written, self.referred) = (0, None);
    }
}

/// Reads a record, or the part that exists of it, into `buffer`. Returns its head if it is intact.
fn read_referred<F: DiskFile>(
    file: &F,
    frame: &Frame,
    reference: &Reference,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Head>> {
    buffer.clear();
    // The log may state a wrong length: read no more than the file has.
    let there = file.len()?.saturating_sub(reference.offset()).min(reference.len());
    buffer.resize(there as usize, 0);
    let read = file.read_at(buffer, reference.offset())?;
    buffer.truncate(read);
    let head = frame.head(buffer).filter(|head| head.len as u64 == reference.len());
    Ok(head.filter(|head| frame.is_intact(head, buffer, reference.offset)))
}

/// Splits `bytes`, which begin at offset `from` of a sector, at the borders of sectors.
fn sectors(bytes: &[u8], from: usize) -> impl Iterator<Item = &[u8]> {
    let (first, rest) = bytes.split_at((SECTOR as usize - from).min(bytes.len()));
    [first].into_iter().filter(|first| !first.is_empty()).chain(rest.chunks(SECTOR as usize))
}

impl<D: Disk> FileStream<D> {
    /// Writes the buffered records to the segment. After an error they are all still in memory.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.tail.clear();
        if self.tail.bytes.capacity() > 2 * TAIL_LEN {
            self.tail.bytes.shrink_to(TAIL_LEN);
        }
        Ok(())
    }

    /// Does the same as [`Self::flush`], but also keeps the records in memory, for readers.
    pub fn write_out(&mut self) -> io::Result<()> {
        let unwritten = self.tail.unwritten() as u64;
        let Some(segment) = self.segments.back().filter(|_| unwritten > 0) else { return Ok(()) };
        let written = segment.data_len - unwritten;
        let name = self.name(segment.number);
        let there = match self.files.get(&name) {
            _ if written == 0 => None,
            // The file was removed by someone. Its messages are lost, but new ones need not be.
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

    /// Returns the number of bytes buffered in memory.
    pub fn gathered_len(&self) -> usize {
        self.tail.bytes.len()
    }

    /// Returns a reference to the last appended message, for the log. The caller must call [`FileStream::write_out`] before it
    /// writes the log. Returns `None` if the message's segment was removed.
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

    /// Returns the first sequence that the log refers to and that is not in its segment's file yet.
    pub fn referred(&self) -> Option<u64> {
        self.tail.referred
    }

    /// Clears [`FileStream::referred`], once the log holds those messages itself.
    pub fn forget_referred(&mut self) {
        self.tail.referred = None;
    }

    /// Returns the files written since the last checkpoint began, and whether file names changed. They hold the messages that
    /// the log refers to.
    pub fn unsynced(&self) -> (&[Arc<D::File>], bool) {
        (&self.dirty, self.names_changed)
    }

    /// Returns the message of a referenced record, read into `buffer`; `None` if it can't be read.
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

    /// Whether the record reached the disk, even if it is damaged. This distinguishes a flipped bit from a power cut, which
    /// leaves whole sectors empty. `salt` is the log's salt, `group` the stream's number. The stream itself need not be open.
    pub fn has_come(files: &Files<D>, salt: u64, group: u32, reference: &Reference) -> bool {
        let Reference { number, key, base, base_time, draw, .. } = *reference;
        // Without its key, the record can't be checked.
        let Some(packing) = open::packing(files, salt, group, number, key, draw) else { return true };
        let frame = Frame { salt: packing.salt, base, base_time, sealer: packing.sealer };
        let file = match files.get(&segment_name(group, number)) {
            Ok(file) => file,
            // A read error does not prove that the record is missing.
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

    /// Syncs the file that holds a referenced message. A process that was killed may have written it without a sync.
    pub fn sync_referred(files: &Files<D>, group: u32, reference: &Reference) -> io::Result<()> {
        match files.get(&segment_name(group, reference.number)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            file => file?.sync(),
        }
    }

    /// Returns the name of the file that holds a referenced message.
    pub fn referred_file(&self, reference: &Reference) -> String {
        self.name(reference.number)
    }

    /// Makes sure that new messages go only where no data lies that the manifest does not know. They don't go to files with
    /// numbers up to `number`, the highest existing one. They don't go behind the end of the current segment if its file has
    /// data there.
    ///
    /// Such data comes from a dropped tail of the log. If the log referred to new messages in its place, and the next power cut
    /// lost those, the old data would pass for damaged messages.
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

    /// Appends only to segments with numbers above `number`.
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
