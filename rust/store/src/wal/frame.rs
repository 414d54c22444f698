//! A frame: the records that were written together, behind a header that places them in the log.

use crate::checksum::Checksum;

/// Bytes before the records.
pub(super) const HEADER_LEN: usize = 40;

/// The first bytes of every frame.
pub(super) const MAGIC: [u8; 4] = *b"\xf5SCf";

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the frame begins in the log.
    pub(super) position: u64,
    /// What was known to be durable when it was written: damage before this is corruption, not a torn tail.
    pub(super) durable: u64,
    /// Bytes of records behind the header, a multiple of 8.
    pub(super) len: u32,
    /// How many records these are.
    pub(super) records: u32,
    /// The opening of the log that wrote it; rises with each.
    pub(super) epoch: u32,
    /// Checksum of the header before, or 0.
    pub(super) previous: u32,
}

impl Header {
    /// The position behind the frame.
    pub(super) fn end(&self) -> u64 {
        self.position + HEADER_LEN as u64 + u64::from(self.len)
    }

    /// The bytes, and the checksum in them.
    pub(super) fn encode(&self, salt: u64) -> ([u8; HEADER_LEN], u32) {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[8..16].copy_from_slice(&self.position.to_le_bytes());
        out[16..24].copy_from_slice(&self.durable.to_le_bytes());
        out[24..28].copy_from_slice(&self.len.to_le_bytes());
        out[28..32].copy_from_slice(&self.records.to_le_bytes());
        out[32..36].copy_from_slice(&self.epoch.to_le_bytes());
        out[36..40].copy_from_slice(&self.previous.to_le_bytes());
        let crc = Checksum::new(salt, self.position).with(&out[8..]).finish();
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// Reads a header and its checksum; `None` if it is not intact or does not belong at `position`.
    pub(super) fn decode(bytes: &[u8], salt: u64, position: u64) -> Option<(Self, u32)> {
        let (header, crc) = Self::decode_anywhere(bytes, salt)?;
        (header.position == position).then_some((header, crc))
    }

    /// Reads a header wherever it belongs.
    pub(super) fn decode_anywhere(bytes: &[u8], salt: u64) -> Option<(Self, u32)> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        let u32_at = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        let u64_at = |i: usize| u64::from(u32_at(i)) | u64::from(u32_at(i + 4)) << 32;
        let header = Self {
            position: u64_at(8),
            durable: u64_at(16),
            len: u32_at(24),
            records: u32_at(28),
            epoch: u32_at(32),
            previous: u32_at(36),
        };
        let crc = Checksum::new(salt, header.position).with(&bytes[8..]).finish();
        // A header that wraps around or is not aligned can't be ours, whatever its checksum.
        let sane = header.len.is_multiple_of(8)
            && header.position.is_multiple_of(8)
            && header.position < u64::MAX / 2;
        (bytes[..4] == MAGIC && crc == u32_at(4) && sane).then_some((header, crc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let header =
            Header { position: 800, durable: 640, len: 64, records: 2, epoch: 5, previous: 0x0102_0304 };
        let (mut bytes, crc) = header.encode(99);
        assert_eq!(Header::decode(&bytes, 99, 800), Some((header, crc)));
        assert_eq!(Header::decode(&bytes, 98, 800), None);
        assert_eq!(Header::decode(&bytes, 99, 808), None);
        assert_eq!(header.end(), 800 + 40 + 64);
        for bit in 0..HEADER_LEN * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes, 99, 800), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
