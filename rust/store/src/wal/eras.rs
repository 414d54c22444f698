//! The draws of an encrypted log. An *era* is the part of the log that one opening wrote. Its *draw* is the random value from
//! which, with a data key, its encryption key is derived.
//!
//! Without its draw, an era's records can't be decrypted. So each draw is stored in two places at any time, which lie apart:
//!
//! - the superblock, or the first frame of the next era;
//! - the first frame of its own era, or the headers of the files that the era began.
//!
//! If the first frames of two eras lie within one page, a single bad page can destroy both copies. Then all records between
//! these frames are lost.

use std::collections::BTreeMap;

use super::file::{self, LogFile};
use super::frame;
use crate::checksum::Checksum;
use crate::disk::DiskFile;
use crate::encryption::Draw;

/// Length of the result of [`Eras::encode`], in bytes.
pub(super) const LEN: usize = 8 + 2 * ERA_LEN;
const ERA_LEN: usize = 8 + Draw::LEN;
const MAGIC: [u8; 4] = *b"\xf5SCe";

/// The era of an opening: its epoch and its draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Era {
    pub(super) epoch: u32,
    pub(super) draw: Draw,
}

/// An opening's own era, and the last earlier one that may have records in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Eras {
    pub(super) own: Era,
    pub(super) before: Option<Era>,
}

impl Eras {
    /// Returns the encoded eras; `place` is where they will lie, and goes into the checksum.
    pub(super) fn encode(&self, salt: u64, place: u64) -> [u8; LEN] {
        let mut out = [0; LEN];
        for (i, era) in [Some(self.own), self.before].into_iter().flatten().enumerate() {
            let at = 8 + i * ERA_LEN;
            out[at..at + 4].copy_from_slice(&era.epoch.to_le_bytes());
            // A mark, so that zeros don't decode as an era.
            out[at + 4] = 1;
            out[at + 8..at + ERA_LEN].copy_from_slice(era.draw.bytes());
        }
        let crc = Checksum::new(salt, place).with(&out[8..]).finish();
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads what [`Eras::encode`] wrote at `place`; `None` if it is not intact.
    pub(super) fn decode(bytes: &[u8], salt: u64, place: u64) -> Option<Self> {
        let bytes = bytes.get(..LEN)?;
        let crc = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
        if !bytes.starts_with(&MAGIC) || Checksum::new(salt, place).with(&bytes[8..]).finish() != crc {
            return None;
        }
        let era = |i: usize| {
            let bytes = bytes.get(8 + i * ERA_LEN..)?;
            let epoch = u32::from_le_bytes(*bytes.first_chunk()?);
            let draw = Draw::of(bytes.get(8..)?)?;
            (bytes.get(4) == Some(&1)).then_some(Era { epoch, draw })
        };
        Some(Self { own: era(0)?, before: era(1) })
    }
}

/// The eras known so far while a log is read.
#[derive(Debug, Default)]
pub(super) struct Known {
    draws: BTreeMap<u32, Draw>,
    /// Whether the files were searched already.
    is_complete: bool,
}

impl Known {
    /// Collects the eras that the superblock and the headers of files state.
    pub(super) fn of<'e, F: 'e>(eras: &[Eras], files: impl IntoIterator<Item = &'e LogFile<F>>) -> Self {
        let mut known = Self::default();
        eras.iter().for_each(|eras| known.note(eras));
        for file in files {
            if let Some(draw) = file.draw {
                known.draws.entry(file.epoch).or_insert(draw);
            }
        }
        known
    }

    pub(super) fn note(&mut self, eras: &Eras) {
        for era in [Some(eras.own), eras.before].into_iter().flatten() {
            self.draws.entry(era.epoch).or_insert(era.draw);
        }
    }

    /// Returns the draw of the opening `epoch`. Calls `search` once, when a draw is not known yet.
    pub(super) fn draw(&mut self, epoch: u32, search: &dyn Fn() -> Vec<Eras>) -> Option<Draw> {
        if !self.draws.contains_key(&epoch) && !self.is_complete {
            self.is_complete = true;
            search().iter().for_each(|eras| self.note(eras));
        }
        self.draws.get(&epoch).copied()
    }

    /// Returns the era of this opening, if its draw is known.
    pub(super) fn era(&self, epoch: u32) -> Option<Era> {
        self.draws.get(&epoch).map(|draw| Era { epoch, draw: *draw })
    }
}

/// Reads the eras in the first frame of an era, which begins `bytes` and lies at `position`. Returns `None` if they are not
/// intact.
pub(super) fn in_frame(bytes: &[u8], salt: u64, position: u64) -> Option<Eras> {
    Eras::decode(bytes.get(frame::HEADER_LEN..)?, salt, position)
}

/// Returns the eras in all first frames in these files.
pub(super) fn search<F: DiskFile>(files: &[LogFile<F>], salt: u64) -> Vec<Eras> {
    let mut found = Vec::new();
    for file in files {
        let mut bytes = vec![0; usize::try_from(file.len).unwrap_or(0)];
        // A file that can't be read is reported when the log itself is read.
        let Ok(read) = file.file.read_at(&mut bytes, 0) else { continue };
        bytes.truncate(read);
        for at in memchr::memmem::find_iter(&bytes, &MAGIC) {
            // The position follows from the offset in the file, so the frame's header need not be intact.
            let Some(position) = (at as u64)
                .checked_sub(file::HEADER_LEN + frame::HEADER_LEN as u64)
                .map(|distance| file.start + distance)
            else {
                continue;
            };
            found.extend(Eras::decode(&bytes[at..], salt, position));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::{Cipher, Keyring};

    #[test]
    fn eras_are_read_as_written_and_every_bit_counts() {
        let keys = Keyring::fixed(Cipher::Aes256Gcm);
        let era = |epoch| Era { epoch, draw: keys.draw().expect("keys") };
        for before in [None, Some(era(3))] {
            let eras = Eras { own: era(4), before };
            let mut bytes = eras.encode(7, 800);
            assert_eq!(Eras::decode(&bytes, 7, 800), Some(eras));
            assert_eq!((Eras::decode(&bytes, 8, 800), Eras::decode(&bytes, 7, 808)), (None, None));
            for bit in 0..LEN * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Eras::decode(&bytes, 7, 800), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        assert_eq!(Eras::decode(&[0; LEN], 7, 800), None);
    }
}
