//! What openings of an encrypted log drew: an *era* is one opening's part of the log.
//!
//! Whoever has lost an era's draw can't read its records, so it is known in two places at any time, which lie apart: in the superblock or in
//! the first frame of the next era, and in the first frame of its own or in the headers of the files that it began. Only where two first frames
//! lie within a page of each other does one bad page cost both, and with them all records between.

use std::collections::BTreeMap;

use super::file::{self, LogFile};
use super::frame;
use crate::checksum::Checksum;
use crate::disk::DiskFile;
use crate::encryption::Draw;

/// Bytes of [`Eras::encode`].
pub(super) const LEN: usize = 8 + 2 * ERA_LEN;
const ERA_LEN: usize = 8 + Draw::LEN;
const MAGIC: [u8; 4] = *b"\xf5SCe";

/// The era of an opening: its epoch, and what it drew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Era {
    pub(super) epoch: u32,
    pub(super) draw: Draw,
}

/// An opening's own era, and the last one before of which there may be records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Eras {
    pub(super) own: Era,
    pub(super) before: Option<Era>,
}

impl Eras {
    /// Their bytes, which will lie at `place`.
    pub(super) fn encode(&self, salt: u64, place: u64) -> [u8; LEN] {
        let mut out = [0; LEN];
        for (i, era) in [Some(self.own), self.before].into_iter().flatten().enumerate() {
            let at = 8 + i * ERA_LEN;
            out[at..at + 4].copy_from_slice(&era.epoch.to_le_bytes());
            // So that no era is one of zeros.
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

/// The eras that are known while a log is read.
#[derive(Debug, Default)]
pub(super) struct Known {
    draws: BTreeMap<u32, Draw>,
    /// The files were looked through.
    is_complete: bool,
}

impl Known {
    /// Learns from the superblock and from the headers of files.
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

    /// What the opening `epoch` drew. `search` looks for it where it was not met yet.
    pub(super) fn draw(&mut self, epoch: u32, search: &dyn Fn() -> Vec<Eras>) -> Option<Draw> {
        if !self.draws.contains_key(&epoch) && !self.is_complete {
            self.is_complete = true;
            search().iter().for_each(|eras| self.note(eras));
        }
        self.draws.get(&epoch).copied()
    }

    /// The era of this opening, if its draw is known.
    pub(super) fn era(&self, epoch: u32) -> Option<Era> {
        self.draws.get(&epoch).map(|draw| Era { epoch, draw: *draw })
    }
}

/// What the first frame of an era says, which begins `bytes` and lies at `position`; `None` if that is not intact.
pub(super) fn in_frame(bytes: &[u8], salt: u64, position: u64) -> Option<Eras> {
    Eras::decode(bytes.get(frame::HEADER_LEN..)?, salt, position)
}

/// All first frames of eras in these files.
pub(super) fn search<F: DiskFile>(files: &[LogFile<F>], salt: u64) -> Vec<Eras> {
    let mut found = Vec::new();
    for file in files {
        let mut bytes = vec![0; usize::try_from(file.len).unwrap_or(0)];
        // What can't be read now is named by who reads the log.
        let Ok(read) = file.file.read_at(&mut bytes, 0) else { continue };
        bytes.truncate(read);
        for at in memchr::memmem::find_iter(&bytes, &MAGIC) {
            // By what the place says of itself, so that the frame's header need not be intact.
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
