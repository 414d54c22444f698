//! Files of the log: a header that says where in the log the file begins, then frames, then room.

use std::sync::Arc;

use super::{Error, Fill, frame};
use crate::checksum::Checksum;
use crate::disk::{Disk, DiskFile};
use crate::encryption::{Draw, Sealer};

/// Bytes before the first frame.
pub(super) const HEADER_LEN: u64 = 64;
/// Where in the header the data key's number is, and the same with all bits turned.
const KEY_AT: usize = 32;
/// Where in the header of an encrypted file is what its opening drew, and behind it a checksum of all before.
const DRAW_AT: usize = 34;
const DRAW_CRC_AT: usize = DRAW_AT + Draw::LEN;
const MAGIC: [u8; 8] = *b"STONELG1";
const PREFIX: &str = "log-";

/// One file.
#[derive(Debug)]
pub(super) struct LogFile<F> {
    pub(super) number: u64,
    /// Position in the log of the first frame.
    pub(super) start: u64,
    /// Of the first frame, or less: what is looked for if that frame's header is damaged.
    pub(super) epoch: u32,
    /// Bytes of the file.
    pub(super) len: u64,
    /// All in it is sealed with this data key, 0 for none; `None` if nobody knows.
    pub(super) key: Option<u8>,
    /// What the opening of `epoch` drew, as far as the header said so when it was read.
    pub(super) draw: Option<Draw>,
    pub(super) file: Arc<F>,
}

impl<F: DiskFile> LogFile<F> {
    /// Where in the file `position` lies.
    pub(super) fn offset(&self, position: u64) -> u64 {
        HEADER_LEN + (position - self.start)
    }

    /// The position behind the last byte.
    pub(super) fn room_end(&self) -> u64 {
        self.start + self.len.saturating_sub(HEADER_LEN)
    }

    /// Whether it may hold what the data key `current` does not seal.
    pub(super) fn is_foreign(&self, current: u8) -> bool {
        current != 0 && self.key != Some(current)
    }

    /// Says in the file's header that it begins at `start`, and what all that comes is sealed with.
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

/// Start, salt and epoch, as the header says.
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

/// The data key that the header names.
pub(super) fn decode_key(bytes: &[u8]) -> Option<u8> {
    match bytes.get(KEY_AT..)? {
        [key, check, ..] if *key == !check => Some(*key),
        _ => None,
    }
}

/// What the opening that began the file drew, if its header is intact and says so.
pub(super) fn decode_draw(bytes: &[u8]) -> Option<Draw> {
    let (start, salt, _) = decode_header(bytes)?;
    let crc = bytes.get(DRAW_CRC_AT..)?.first_chunk()?;
    let said = bytes.get(..DRAW_CRC_AT)?;
    let is_intact = Checksum::new(salt, start).with(said).finish() == u32::from_le_bytes(*crc);
    Draw::of(said.get(DRAW_AT..)?).filter(|_| is_intact)
}

/// The start of a file whose header is damaged, from the first frame in it that is intact: frames know where they belong.
pub(super) fn start_from_frames(bytes: &[u8], salt: u64) -> Option<u64> {
    memchr::memmem::find_iter(bytes, &frame::MAGIC).find_map(|at| {
        let (header, _) = frame::Header::decode_anywhere(&bytes[at..], salt)?;
        header.position.checked_sub((at as u64).checked_sub(HEADER_LEN)?)
    })
}

/// The name of file `number`.
pub(super) fn name(number: u64) -> String {
    format!("{PREFIX}{number:08}")
}

/// The number of a file of the log; `None` for other files.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Creates a file of `len` bytes. Zeros that it is filled with are synced, so that no later sync has to record where they lie.
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
            // What was taken from a full disk is given back; if that fails too, the first error tells.
            let _ = disk.remove(&name);
        }
        filled.map(|()| file)
    };
    let file = create().map_err(Error::at("create", &name))?;
    Ok(LogFile { number, start: 0, epoch: 0, len, key: None, draw: None, file })
}
