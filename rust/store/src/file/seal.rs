//! The job for a full segment, run on a thread that may wait. It writes the segment's footer, or rewrites the segment: without
//! removed messages, compressed, or with another key.
//!
//! The content of a footer is collected while the segment grows. For a segment that grows slowly, or is older than this opening,
//! the job reads the segment instead. If a message in the segment is erased during a rewrite, the result is dropped, and the
//! rewrite starts again.

use std::io;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::chunk::{CHUNK_LEN, Chunk, Packing};
use super::files::Files;
use super::footer::{self, Contents};
use super::open;
use super::record::{Frame, Head};
use super::scan::{self, HEADER_LEN, Shape};
use super::segment::{Form, Layout};
use crate::disk::{Disk, DiskFile};
use crate::encryption::Draw;
use crate::messages::Message;

const MAGIC: &[u8; 8] = b"stonesg1";
/// Bytes written at once.
const WRITE_LEN: usize = 1 << 20;

/// Offset in the header of an encrypted segment's draw. Behind it is a checksum of everything before.
const DRAW_AT: usize = 36;
const DRAW_CRC_AT: usize = DRAW_AT + Draw::LEN;

/// Returns the header of a segment's file.
pub(super) fn header(
    group: u32,
    number: u32,
    frame: &Frame,
    draw: Option<Draw>,
) -> [u8; HEADER_LEN as usize] {
    let mut header = [0; HEADER_LEN as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&group.to_le_bytes());
    header[12..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&frame.base.to_le_bytes());
    header[24..32].copy_from_slice(&frame.base_time.to_le_bytes());
    let crc = footer::crc(frame.salt, &header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    if let Some(draw) = draw {
        header[DRAW_AT..DRAW_CRC_AT].copy_from_slice(draw.bytes());
        let crc = footer::crc(frame.salt, &header[..DRAW_CRC_AT]);
        header[DRAW_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    }
    header
}

/// Returns the draw that the header of an encrypted segment states.
pub(super) fn decode_draw(header: &[u8; HEADER_LEN as usize], salt: u64) -> Option<Draw> {
    let (said, crc) = header.split_at_checked(DRAW_CRC_AT)?;
    let is_intact = footer::crc(salt, said).to_le_bytes() == crc;
    Draw::of(said.get(DRAW_AT..)?).filter(|_| is_intact)
}

/// Returns the first sequence and its time from a header, if it is intact. `salt` is the segment's.
pub(super) fn decode_header(header: &[u8; HEADER_LEN as usize], salt: u64) -> Option<(u64, i64)> {
    let word = |at: usize| header.get(at..at + 8)?.first_chunk().map(|word| u64::from_le_bytes(*word));
    let crc = header.get(32..36)?.first_chunk().map(|crc| u32::from_le_bytes(*crc))?;
    let is_intact = header.starts_with(MAGIC) && crc == footer::crc(salt, header.get(..32)?);
    Some((word(16)?, word(24)? as i64)).filter(|_| is_intact)
}

/// A job that writes a segment's footer, or rewrites the segment.
#[derive(Debug)]
pub struct SealJob<D: Disk> {
    pub(super) files: Arc<Files<D>>,
    pub(super) file: Arc<D::File>,
    pub(super) group: u32,
    pub(super) number: u32,
    pub(super) shape: Shape,
    pub(super) target: Option<Target>,
    /// The content of the footer, if it was collected while the segment grew.
    pub(super) gathered: Option<Box<Contents>>,
}

/// The segment that is to replace another one.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) number: u32,
    pub(super) name: String,
    /// The frame of its records.
    pub(super) frame: Frame,
    pub(super) packing: Packing,
    pub(super) is_packed: bool,
    /// Slots whose message was removed.
    pub(super) gone: RoaringBitmap,
    /// Slots with a readable message.
    pub(super) held: RoaringBitmap,
}

/// The result of a [`SealJob`]; for [`FileStream::sealed`](super::FileStream::sealed).
#[derive(Debug)]
#[must_use]
pub struct Sealed {
    pub(super) number: u32,
    pub(super) result: io::Result<Footing>,
    pub(super) rewritten: Option<Rewritten>,
}

/// A written footer.
#[derive(Debug)]
pub(super) struct Footing {
    pub(super) len: u32,
    pub(super) crc: u32,
    pub(super) layout: Layout,
}

/// A rewritten segment.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) frame: Frame,
    pub(super) packing: Packing,
    pub(super) form: Form,
    pub(super) data_len: u64,
    /// Slots whose message was expected and could not be read.
    pub(super) missing: RoaringBitmap,
}

impl Sealed {
    /// Returns the name of the new file, if there is one. It is not needed if the stream was deleted.
    pub fn into_file(self) -> Option<String> {
        self.rewritten.map(|rewritten| rewritten.name)
    }
}

impl<D: Disk> SealJob<D> {
    /// Runs the job. Its output is durable with the next sync of the file.
    pub fn run(self) -> Sealed {
        let number = self.number;
        match self.target {
            None => Sealed { number, result: self.write_footer(), rewritten: None },
            Some(_) => self.rewrite(),
        }
    }

    fn write_footer(mut self) -> io::Result<Footing> {
        let contents = match self.gathered.take() {
            Some(contents) => *contents,
            None => scan::contents(&*self.file, &self.shape, |_, _| {})?,
        };
        self.footing(&*self.file, self.number, contents, &self.shape)
    }

    fn rewrite(mut self) -> Sealed {
        let number = self.number;
        let Some(mut target) = self.target.take() else {
            return Sealed { number, result: self.write_footer(), rewritten: None };
        };
        let written = self.write_target(&mut target);
        let Target { number: new_number, name, frame, packing, held, .. } = target;
        let rewritten = |form, data_len| {
            let missing = held;
            Some(Rewritten { number: new_number, name, frame, packing, form, data_len, missing })
        };
        match written {
            Ok((footing, form, data_len)) => {
                Sealed { number, result: Ok(footing), rewritten: rewritten(form, data_len) }
            }
            Err(e) => Sealed { number, result: Err(e), rewritten: rewritten(Form::Plain, 0) },
        }
    }

    fn write_target(&self, target: &mut Target) -> io::Result<(Footing, Form, u64)> {
        let file = self.files.create(&target.name)?;
        let header = header(self.group, target.number, &target.frame, target.packing.draw());
        file.write_at(&header, 0)?;
        let mut writer = Writer::new(&*file, target, self.files.epoch);
        // For each slot, the distance in sequences to the previous message on its subject that still exists; 0 without one.
        let mut before: Vec<u64> = Vec::new();
        let mut failed = Ok(());
        let mut found = RoaringBitmap::new();
        scan::records(&*self.file, &self.shape, |head, message, _| {
            before.resize(head.slot as usize, 0);
            let within = u32::try_from(head.before).ok().filter(|b| *b > 0 && *b <= head.slot);
            let distance = match within {
                Some(distance) if target.gone.contains(head.slot - distance) => {
                    match before[(head.slot - distance) as usize] {
                        0 => 0,
                        further => u64::from(distance) + further,
                    }
                }
                _ => head.before,
            };
            before.push(distance);
            if !target.gone.contains(head.slot) && failed.is_ok() {
                found.insert(head.slot);
                failed = writer.put(head, message, distance);
            }
        })?;
        failed?;
        let (contents, form, data_len) = writer.finish()?;
        target.held -= &found;
        let (frame, packing) = (target.frame.clone(), target.packing.clone());
        let shape = Shape { frame, packing, form, data_len, slots: self.shape.slots };
        let footing = self.footing(&*file, target.number, contents, &shape)?;
        Ok((footing, form, data_len))
    }

    /// Writes the footer of the segment `number`.
    fn footing(&self, file: &D::File, number: u32, contents: Contents, shape: &Shape) -> io::Result<Footing> {
        let layout = contents.layout.clone();
        let (is_packed, stored_len) = match shape.form {
            Form::Plain => (false, shape.data_len),
            Form::Packed { stored_len } => (true, stored_len),
        };
        let sealer = match &shape.packing.sealer {
            None => None,
            Some(own) => {
                let draw = self.files.keys.draw();
                let made = draw
                    .and_then(|draw| open::footer_sealer(&self.files, self.group, number, own.id(), draw));
                Some(made.ok_or_else(|| io::Error::other("nobody has the key of the segment"))?)
            }
        };
        let bytes = footer::write(contents, is_packed, sealer.as_deref());
        file.write_at(&bytes, HEADER_LEN + stored_len)?;
        let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        Ok(Footing { len, crc: footer::crc(shape.frame.salt, &bytes), layout })
    }
}

/// Writes records to a new file.
struct Writer<'t, F> {
    file: &'t F,
    frame: Frame,
    packing: Packing,
    is_packed: bool,
    epoch: u32,
    contents: Contents,
    /// Bytes of records so far.
    data_len: u64,
    /// The records of the chunk being built.
    chunk: Vec<u8>,
    /// Bytes to be written at offset `written`.
    out: Vec<u8>,
    written: u64,
}

impl<'t, F: DiskFile> Writer<'t, F> {
    fn new(file: &'t F, target: &Target, epoch: u32) -> Self {
        Self {
            file,
            frame: target.frame.clone(),
            packing: target.packing.clone(),
            is_packed: target.is_packed,
            epoch,
            contents: Contents::default(),
            data_len: 0,
            chunk: Vec::new(),
            out: Vec::new(),
            written: 0,
        }
    }

    fn put(&mut self, head: &Head, message: &Message<'_>, before: u64) -> io::Result<()> {
        let to = if self.is_packed { &mut self.chunk } else { &mut self.out };
        let begin = to.len();
        self.frame.encode(to, self.data_len, message, before, self.epoch);
        let len = (to.len() - begin) as u64;
        self.contents.note(head.slot, before, message.subject, self.data_len);
        self.data_len += len;
        if self.chunk.len() >= CHUNK_LEN {
            self.end_chunk();
        }
        if self.out.len() >= WRITE_LEN { self.write() } else { Ok(()) }
    }

    fn end_chunk(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let begin = (self.data_len - self.chunk.len() as u64) as u32;
        let at = self.written + self.out.len() as u64;
        self.contents.layout.chunks.push(Chunk { begin, at: at as u32 });
        self.packing.encode(&mut self.out, at, begin, &self.chunk, self.epoch);
        self.chunk.clear();
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_at(&self.out, HEADER_LEN + self.written)?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<(Contents, Form, u64)> {
        self.end_chunk();
        self.write()?;
        let form = match self.is_packed && self.written > 0 {
            true => Form::Packed { stored_len: self.written },
            false => Form::Plain,
        };
        Ok((self.contents, form, self.data_len))
    }
}
