//! A log file: a header with the position of the first frame, then frames, then free space.

use std::sync::Arc;

use super::{Error, Fill, frame};
use crate::checksum::Checksum;
use crate::disk::{Disk, DiskFile};
use crate::encryption::{Draw, Sealer};

/// Bytes of the header, before the first frame.
pub(super) const HEADER_LEN: u64 = 64;
/// Offset in the header of the data key's number. Its bitwise complement follows as a check.
const KEY_AT: usize = 32;
/// Offset in an encrypted file's header of its opening's draw. Behind it is a checksum of everything before.
const DRAW_AT: usize = 34;
const DRAW_CRC_AT: usize = DRAW_AT + Draw::LEN;
const MAGIC: [u8; 8] = *b"STONELG1";
const PREFIX: &str = "log-";

/// A file of the log.
#[derive(Debug)]
pub(super) struct LogFile<F> {
    pub(super) number: u64,
    /// Position of the first frame in the log.
    pub(super) start: u64,
    /// The epoch of the first frame, or a lower one. Recovery tries records from this epoch on if the frame's header is
    /// damaged.
    pub(super) epoch: u32,
    /// Length of the file in bytes.
    pub(super) len: u64,
    /// The data key that encrypts the whole file; 0 for none, `None` if unknown.
    pub(super) key: Option<u8>,
    /// The draw of the opening `epoch`, if the header stated it when it was read.
    pub(super) draw: Option<Draw>,
    pub(super) file: Arc<F>,
}

impl<F: DiskFile> LogFile<F> {
    /// Returns the offset of `position` in the file.
    pub(super) fn offset(&self, position: u64) -> u64 {
        HEADER_LEN + (position - self.start)
    }

    /// Returns the position behind the last byte.
    pub(super) fn room_end(&self) -> u64 {
        self.start + self.len.saturating_sub(HEADER_LEN)
    }

    /// Whether the file may hold data that is not encrypted with the data key `current`.
    pub(super) fn is_foreign(&self, current: u8) -> bool {
        current != 0 && self.key != Some(current)
    }

    /// Writes the file's header: the start position, and the key and draw of everything that follows.
    pub(super) fn begin(
        &mut self,
        salt: u64,
        start: u64,
        epoch: u32,
        sealer: Option<&Sealer>,
    ) -> Result<(), Error> {
        let key = sealer.map_or(0, Sealer::id);
        (self.start, self.epoch, self.key) = (start, epoch, Some(key));
        let mut bytes = [&encode_header(salt, start, epoch)[..], &[key, !key]].concat();
        if let Some(draw) = sealer.and_then(Sealer::draw) {
            bytes.extend_from_slice(draw.bytes());
            let crc = Checksum::new(salt, start).with(&bytes).finish();
            bytes.extend_from_slice(&crc.to_le_bytes());
        }
        self.file.write_at(&bytes, 0).map_err(Error::at("write", &name(self.number)))
    }
}

fn encode_header(salt: u64, start: u64, epoch: u32) -> [u8; 32] {
    let mut out = [0; 32];
    out[..8].copy_from_slice(&MAGIC);
    out[12..16].copy_from_slice(&epoch.to_le_bytes());
    out[16..24].copy_from_slice(&start.to_le_bytes());
    out[24..32].copy_from_slice(&salt.to_le_bytes());
    let crc = Checksum::new(salt, start).with(&out[12..]).finish();
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Returns start, salt and epoch from the header.
pub(super) fn decode_header(bytes: &[u8]) -> Option<(u64, u64, u32)> {
    let bytes: &[u8; 32] = bytes.first_chunk()?;
    let word = |i: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[i..i + 8]);
        u64::from_le_bytes(word)
    };
    let (start, salt, epoch) = (word(16), word(24), (word(8) >> 32) as u32);
    (encode_header(salt, start, epoch) == *bytes && start.is_multiple_of(8) && start < u64::MAX / 2)
        .then_some((start, salt, epoch))
}

/// Returns the number of the data key from the header.
pub(super) fn decode_key(bytes: &[u8]) -> Option<u8> {
    match bytes.get(KEY_AT..)? {
        [key, check, ..] if *key == !check => Some(*key),
        _ => None,
    }
}

/// Returns the draw of the opening that began the file, if the header is intact and states it.
pub(super) fn decode_draw(bytes: &[u8]) -> Option<Draw> {
    let (start, salt, _) = decode_header(bytes)?;
    let crc = bytes.get(DRAW_CRC_AT..)?.first_chunk()?;
    let said = bytes.get(..DRAW_CRC_AT)?;
    let is_intact = Checksum::new(salt, start).with(said).finish() == u32::from_le_bytes(*crc);
    Draw::of(said.get(DRAW_AT..)?).filter(|_| is_intact)
}

/// Returns the start of a file whose header is damaged, from the first intact frame: frames state their position.
pub(super) fn start_from_frames(bytes: &[u8], salt: u64) -> Option<u64> {
    memchr::memmem::find_iter(bytes, &frame::MAGIC).find_map(|at| {
        let (header, _) = frame::Header::decode_anywhere(&bytes[at..], salt)?;
        header.position.checked_sub((at as u64).checked_sub(HEADER_LEN)?)
    })
}

/// Returns the name of file `number`.
pub(super) fn name(number: u64) -> String {
    format!("{PREFIX}{number:08}")
}

/// Returns the number of a log file; `None` for other files.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Creates a file of `len` bytes. If it is filled with zeros, they are synced, so that no later sync has to record their place
/// on the disk.
pub(super) fn create<D: Disk>(
    disk: &D,
    number: u64,
    len: u64,
    fill: Fill,
) -> Result<LogFile<D::File>, Error> {
    static CHUNK: [u8; 64 << 10] = [0; 64 << 10];
    let name = name(number);
    let create = || {
        if fill != Fill::Sparse && disk.free().is_some_and(|free| free < len) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let file = disk.create(&name)?;
        let filled = (|| {
            match fill {
                Fill::Zeros => {}
                Fill::Allocated => return file.allocate(len),
                Fill::Sparse => return file.set_len(len),
            }
            let mut at = 0;
            while at < len {
                let n = (len - at).min(CHUNK.len() as u64);
                file.write_at(&CHUNK[..n as usize], at)?;
                at += n;
            }
            file.sync()
        })();
        if filled.is_err() {
            // Give back the space taken from a full disk. If that fails too, the first error is the one to return.
            let _ = disk.remove(&name);
        }
        filled.map(|()| file)
    };
    let file = create().map_err(Error::at("create", &name))?;
    Ok(LogFile { number, start: 0, epoch: 0, len, key: None, draw: None, file })
}
