//! Chunks: the parts of a packed segment. Each one holds some records, compressed with S2 and then encrypted if the store is.
//!
//! Offsets of records refer to the uncompressed data, so that a record's checksum does not depend on how it is stored.

use std::sync::Arc;

use crate::checksum::Checksum;
use crate::encryption::{Draw, Sealer};

/// Bytes of records after which a chunk ends.
pub(super) const CHUNK_LEN: usize = if cfg!(test) { 512 } else { 64 << 10 };
/// Bytes of a chunk's header: the checksum of the header, that of the content, the offset of the first record, the length of
/// the records, the length of the content, and the epoch.
const HEADER_LEN: usize = 24;
/// Flag in the content's length: the content is not compressed.
const PLAIN: u32 = 1 << 31;

/// The place of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Offset of its first record in the uncompressed data.
    pub(super) begin: u32,
    /// Offset in the file, behind the file's header.
    pub(super) at: u32,
}

/// How the chunks of a file are stored.
#[derive(Debug, Clone)]
pub(crate) struct Packing {
    pub(super) salt: u64,
    pub(super) sealer: Option<Arc<Sealer>>,
}

impl Packing {
    /// Returns the file's draw, if it is encrypted.
    pub(super) fn draw(&self) -> Option<Draw> {
        self.sealer.as_ref()?.draw()
    }

    /// Appends a chunk with `records`, which begin at `begin` in the data. The chunk will lie at `at` in the file.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, at: u64, begin: u32, records: &[u8], epoch: u32) {
        let compressed = minlz::s2::encode(records);
        let is_smaller = compressed.len() < records.len();
        let content = if is_smaller { &compressed } else { records };
        self.put(out, at, begin, records.len(), content, is_smaller, epoch);
    }

    /// Appends a chunk without compression, for chunks that are read one at a time: decompression would take longer than the read.
    pub(crate) fn encode_plain(&self, out: &mut Vec<u8>, at: u64, begin: u32, records: &[u8], epoch: u32) {
        self.put(out, at, begin, records.len(), records, false, epoch);
    }

    /// Appends the header and the content. `len` is the length of the records before compression.
    #[expect(clippy::too_many_arguments, reason = "the fields of the header")]
    fn put(
        &self,
        out: &mut Vec<u8>,
        at: u64,
        begin: u32,
        len: usize,
        content: &[u8],
        is_compressed: bool,
        epoch: u32,
    ) {
        let from = out.len();
        out.resize(from + HEADER_LEN, 0);
        out.extend_from_slice(content);
        if let Some(sealer) = &self.sealer {
            sealer.seal(epoch, at, &[], out, from + HEADER_LEN);
        }
        let stored = (out.len() - from - HEADER_LEN) as u32 | if is_compressed { 0 } else { PLAIN };
        let content = Checksum::new(self.salt, at).with(&out[from + HEADER_LEN..]).finish();
        let header = &mut out[from..from + HEADER_LEN];
        for (i, word) in [content, begin, len as u32, stored, epoch].into_iter().enumerate() {
            header[4 * (i + 1)..4 * (i + 2)].copy_from_slice(&word.to_le_bytes());
        }
        let crc = Checksum::new(self.salt, at).with(&header[4..]).finish();
        header[..4].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the chunk at the start of `bytes`, which lies at `at` in the file, and appends its records to `out`. Returns the
    /// offset of its first record and the length of the chunk, or `None` if it is not intact.
    pub(crate) fn decode(&self, bytes: &[u8], at: u64, out: &mut Vec<u8>) -> Option<(u32, usize)> {
        let (header, rest) = bytes.split_at_checked(HEADER_LEN)?;
        let word = |i: usize| {
            u32::from_le_bytes([header[4 * i], header[4 * i + 1], header[4 * i + 2], header[4 * i + 3]])
        };
        if Checksum::new(self.salt, at).with(&header[4..]).finish() != word(0) {
            return None;
        }
        let (begin, len, stored, epoch) = (word(2), word(3) as usize, word(4), word(5));
        let content = rest.get(..(stored & !PLAIN) as usize)?;
        if Checksum::new(self.salt, at).with(content).finish() != word(1) {
            return None;
        }
        let mut opened;
        let content: &[u8] = match &self.sealer {
            None => content,
            Some(sealer) => {
                opened = content.to_vec();
                sealer.open(epoch, at, &[], &mut opened)?
            }
        };
        let from = out.len();
        if stored & PLAIN != 0 {
            out.extend_from_slice(content);
        } else {
            let (claimed, _) = minlz::s2::decode_len(content).ok()?;
            if claimed != len {
                return None;
            }
            out.extend_from_slice(&minlz::s2::decode(content).ok()?);
        }
        if out.len() - from != len {
            out.truncate(from);
            return None;
        }
        Some((begin, HEADER_LEN + (stored & !PLAIN) as usize))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encryption::{Cipher, Keyring};

    proptest! {
        /// The content of the disk is arbitrary, even where checksums are right.
        #[test]
        fn any_bytes_are_harmless(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            is_sealed in any::<bool>(),
            stored in 0..200u32,
        ) {
            let keys = if is_sealed { Keyring::fixed(Cipher::Aes256Gcm) } else { Keyring::default() };
            let packing = Packing { salt: 3, sealer: keys.fresh(b"segment") };
            prop_assert_eq!(packing.decode(&bytes, 64, &mut Vec::new()), None);
            if let Some(len) = bytes.len().checked_sub(HEADER_LEN) {
                bytes[16..20].copy_from_slice(&stored.min(len as u32).to_le_bytes());
                let content = &bytes[HEADER_LEN..][..stored.min(len as u32) as usize];
                let crc = Checksum::new(3, 64).with(content).finish();
                bytes[4..8].copy_from_slice(&crc.to_le_bytes());
                let crc = Checksum::new(3, 64).with(&bytes[4..HEADER_LEN]).finish();
                bytes[..4].copy_from_slice(&crc.to_le_bytes());
                let mut out = b"before".to_vec();
                let decoded = packing.decode(&bytes, 64, &mut out);
                prop_assert!(decoded.is_some() || out == b"before");
            }
        }
    }

    #[test]
    fn what_was_packed_is_read_and_every_bit_counts() {
        let varied: Vec<u8> = (0..700u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for keys in [Keyring::default(), Keyring::fixed(Cipher::Aes256Gcm)] {
            for records in [&[7u8; 700][..], &varied, b""] {
                let packing = Packing { salt: 3, sealer: keys.fresh(b"segment") };
                let mut bytes = b"xx".to_vec();
                packing.encode(&mut bytes, 64, 900, records, 5);
                let mut bytes = bytes.split_off(2);
                let mut out = b"yy".to_vec();
                assert_eq!(packing.decode(&bytes, 64, &mut out), Some((900, bytes.len())));
                assert_eq!(&out[2..], records);
                assert_eq!(packing.decode(&bytes, 65, &mut out), None);
                for bit in 0..bytes.len() * 8 {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    assert_eq!(packing.decode(&bytes, 64, &mut Vec::new()), None, "bit {bit}");
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
    }
}
