//! The superblock: the data needed before the log can be read, kept in two copies.

use std::sync::Arc;

use super::Error;
use super::eras::{self, Eras};
use crate::checksum::Checksum;
use crate::disk::{Disk, DiskFile};

/// The file's name.
pub(super) const NAME: &str = "superblock";
const MAGIC: [u8; 8] = *b"STONESB1";
/// Each copy has a page of its own, so that writing one can't tear the other.
const SLOT_LEN: u64 = 4096;
const LEN: usize = 56;
/// Offset in a copy of the second part, which older stores lack.
const MORE_AT: usize = 64;
const MORE_LEN: usize = 96;
/// Offset of the third part, which only encrypted stores have.
const ERAS_AT: usize = 128;
/// Length of all parts, in bytes.
const WHOLE_LEN: usize = ERAS_AT + 8 + eras::LEN;

/// The content of the superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Rises with each write; of two copies, the one with the higher generation counts.
    pub(super) generation: u64,
    /// The store's random number, an input of all checksums.
    pub(super) salt: u64,
    /// The highest epoch that frames can have.
    pub(super) epoch: u32,
    /// The position up to which the log is proven durable.
    pub(super) durable: u64,
    /// The position up to which the log was trimmed: files that begin before it no longer belong to the log.
    pub(super) trimmed: u64,
    /// The position from which an opening reads. Frames before it are there but not needed. Ignored unless above `trimmed`.
    pub(super) read_from: u64,
    /// The minimum epoch of frames behind `read_from`.
    pub(super) read_epoch: u32,
    /// The era of the opening that wrote it, and the earlier one that may have records in the log.
    pub(super) eras: Option<Eras>,
}

impl Superblock {
    fn encode(&self) -> [u8; WHOLE_LEN] {
        let mut out = [0; WHOLE_LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[16..24].copy_from_slice(&self.generation.to_le_bytes());
        out[24..32].copy_from_slice(&self.salt.to_le_bytes());
        out[32..40].copy_from_slice(&u64::from(self.epoch).to_le_bytes());
        out[40..48].copy_from_slice(&self.durable.to_le_bytes());
        out[48..56].copy_from_slice(&self.trimmed.to_le_bytes());
        let crc = Checksum::new(0, 0).with(&out[16..LEN]).finish();
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out[MORE_AT + 8..MORE_AT + 16].copy_from_slice(&self.generation.to_le_bytes());
        out[MORE_AT + 16..MORE_AT + 24].copy_from_slice(&self.read_from.to_le_bytes());
        out[MORE_AT + 24..MORE_LEN].copy_from_slice(&u64::from(self.read_epoch).to_le_bytes());
        let crc = Checksum::new(0, 0).with(&out[MORE_AT + 8..MORE_LEN]).finish();
        out[MORE_AT..MORE_AT + 4].copy_from_slice(&crc.to_le_bytes());
        if let Some(eras) = &self.eras {
            out[ERAS_AT..ERAS_AT + 8].copy_from_slice(&self.generation.to_le_bytes());
            out[ERAS_AT + 8..].copy_from_slice(&eras.encode(self.salt, self.generation));
        }
        out
    }

    fn decode(bytes: &[u8; WHOLE_LEN]) -> Option<Self> {
        let u64_at = |i: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[i..i + 8]);
            u64::from_le_bytes(word)
        };
        let crc = u64::from(Checksum::new(0, 0).with(&bytes[16..LEN]).finish());
        let crc_of_more = u64::from(Checksum::new(0, 0).with(&bytes[MORE_AT + 8..MORE_LEN]).finish());
        let has_more = u64_at(MORE_AT) == crc_of_more && u64_at(MORE_AT + 8) == u64_at(16);
        let superblock = Self {
            generation: u64_at(16),
            salt: u64_at(24),
            epoch: u32::try_from(u64_at(32)).ok()?,
            durable: u64_at(40),
            trimmed: u64_at(48),
            // Without the second part, an opening reads more than it must.
            read_from: if has_more { u64_at(MORE_AT + 16) } else { 0 },
            read_epoch: if has_more { u32::try_from(u64_at(MORE_AT + 24)).ok()? } else { 0 },
            eras: None,
        };
        let eras = Eras::decode(&bytes[ERAS_AT + 8..], superblock.salt, superblock.generation);
        let superblock =
            Self { eras: eras.filter(|_| u64_at(ERAS_AT) == superblock.generation), ..superblock };
        (bytes[..8] == MAGIC && u64_at(8) == crc).then_some(superblock)
    }
}

/// The result of reading the file.
#[derive(Debug)]
pub(super) struct Read<F> {
    pub(super) file: Arc<F>,
    pub(super) newest: Option<Superblock>,
    /// Number of copies that are damaged.
    pub(super) damaged: u32,
    /// The eras that both copies state.
    pub(super) eras: Vec<Eras>,
}

/// Opens and reads the file, or creates it.
pub(super) fn read<D: Disk>(disk: &D) -> Result<Read<D::File>, Error> {
    let file = match disk.open(NAME) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let file = disk.create(NAME).map_err(Error::at("create", NAME))?;
            return Ok(Read { file, newest: None, damaged: 0, eras: Vec::new() });
        }
        Err(e) => return Err(Error::at("open", NAME)(e)),
    };
    let mut read = Read { file, newest: None, damaged: 0, eras: Vec::new() };
    for slot in 0..2 {
        let mut bytes = [0; WHOLE_LEN];
        let n = read.file.read_at(&mut bytes, slot * SLOT_LEN).map_err(Error::at("read", NAME))?;
        let found = Superblock::decode(&bytes);
        read.eras.extend(found.and_then(|found| found.eras));
        match found {
            Some(found) if read.newest.is_none_or(|b| b.generation < found.generation) => {
                read.newest = Some(found)
            }
            Some(_) => {}
            None if n == 0 || bytes == [0; WHOLE_LEN] => {}
            None => read.damaged += 1,
        }
    }
    Ok(read)
}

/// Writes one copy, over the older one. It is valid once the file is synced.
pub(super) fn write<F: DiskFile>(file: &F, superblock: &Superblock) -> Result<(), Error> {
    let bytes = superblock.encode();
    let len = if superblock.eras.is_some() { WHOLE_LEN } else { MORE_LEN };
    file.write_at(&bytes[..len], superblock.generation % 2 * SLOT_LEN).map_err(Error::at("write", NAME))
}
