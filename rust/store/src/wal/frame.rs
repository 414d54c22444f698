//! A frame: the records of one write, behind a header that states their position in the log.

use crate::checksum::Checksum;

/// Bytes of the header, before the records.
pub(super) const HEADER_LEN: usize = 40;

/// The first bytes of every frame.
pub(super) const MAGIC: [u8; 4] = *b"\xf5SCf";

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The position of the frame in the log.
    pub(super) position: u64,
    /// The durable position when the frame was written. Damage before it is corruption, not a torn tail.
    pub(super) durable: u64,
    /// Bytes of records behind the header, a multiple of 8.
    pub(super) len: u32,
    /// Number of records.
    pub(super) records: u32,
    /// The number of the log's opening that wrote the frame; rises with each opening.
    pub(super) epoch: u32,
    /// Checksum of the header before; 0 in the first frame of an opening.
    pub(super) previous: u32,
}

impl Header {
    /// Returns the position behind the frame.
    pub(super) fn end(&self) -> u64 {
        self.position + HEADER_LEN as u64 + u64::from(self.len)
    }

    /// Returns the header's bytes, and the checksum in them.
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

    /// Reads a header and its checksum. Returns `None` if it is not intact or its position is not `position`.
    pub(super) fn decode(bytes: &[u8], salt: u64, position: u64) -> Option<(Self, u32)> {
        let (header, crc) = Self::decode_anywhere(bytes, salt)?;
        (header.position == position).then_some((header, crc))
    }

    /// Reads a header with any position.
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
        // A header with an overflowing or unaligned position is invalid, whatever its checksum.
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
