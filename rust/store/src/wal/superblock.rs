//! The superblock: what must be known before the log can be read, kept twice.

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
/// Where in a copy the second part is, which older stores do not have.
const MORE_AT: usize = 64;
const MORE_LEN: usize = 96;
/// Where the third part is, which only encrypted stores have.
const ERAS_AT: usize = 128;
/// Bytes of all parts.
const WHOLE_LEN: usize = ERAS_AT + 8 + eras::LEN;

/// What the superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Rises with each write; the higher of two copies counts.
    pub(super) generation: u64,
    /// The store's salt of checksums.
    pub(super) salt: u64,
    /// The highest epoch that frames may have.
    pub(super) epoch: u32,
    /// Proven durable up to here.
    pub(super) durable: u64,
    /// What lies before is no longer needed: files that begin before it are not part of the log any more.
    pub(super) trimmed: u64,
    /// Nobody needs what lies before it, though it is there; no lower than `trimmed` if it counts.
    pub(super) read_from: u64,
    /// No lower is the epoch of what lies behind.
    pub(super) read_epoch: u32,
    /// What its opening drew, and the one before whose records there may be.
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
            // Without it more is read than must be.
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

/// What was found when the file was read.
#[derive(Debug)]
pub(super) struct Read<F> {
    pub(super) file: Arc<F>,
    pub(super) newest: Option<Superblock>,
    /// Copies that are not intact.
    pub(super) damaged: u32,
    /// What both copies know of earlier openings.
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

/// Writes one copy, over the older one. It counts once the file is synced.
pub(super) fn write<F: DiskFile>(file: &F, superblock: &Superblock) -> Result<(), Error> {
    let bytes = superblock.encode();
    let len = if superblock.eras.is_some() { WHOLE_LEN } else { MORE_LEN };
    file.write_at(&bytes[..len], superblock.generation % 2 * SLOT_LEN).map_err(Error::at("write", NAME))
}
