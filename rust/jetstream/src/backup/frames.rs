//! S2 streams: frames of compressed bytes with their checksums, as klauspost's S2 writes them (an extension of Snappy's framing).

use super::BackupError;

/// The first bytes of a stream, in S2 and in Snappy.
const S2_MAGIC: &[u8; 10] = b"\xff\x06\x00\x00S2sTwO";
const SNAPPY_MAGIC: &[u8; 10] = b"\xff\x06\x00\x00sNaPpY";
const COMPRESSED: u8 = 0;
const PLAIN: u8 = 1;
/// Unknown kinds of frames from here on are skipped; those below are errors.
const SKIPPED: u8 = 0x80;
/// Uncompressed bytes of a frame: at most in a stream that is read, and in one that is written.
const BLOCK_MAX: usize = 4 << 20;
const BLOCK: usize = 128 << 10;

/// Compresses a stream of bytes.
#[derive(Debug, Default)]
pub struct Compressor {
    plain: Vec<u8>,
    out: Vec<u8>,
    has_begun: bool,
}

impl Compressor {
    /// The buffer to which uncompressed bytes are added. Call [`Compressor::pack`] from time to time.
    pub fn plain(&mut self) -> &mut Vec<u8> {
        &mut self.plain
    }

    /// Compresses the blocks of the buffer that are full; at the `end` all of it.
    pub fn pack(&mut self, end: bool) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.out.extend_from_slice(S2_MAGIC);
        }
        let mut rest = &self.plain[..];
        while rest.len() >= BLOCK || (end && !rest.is_empty()) {
            let (block, behind) = rest.split_at(rest.len().min(BLOCK));
            let packed = minlz::s2::encode(block);
            let (kind, body) =
                if packed.len() < block.len() { (COMPRESSED, &packed[..]) } else { (PLAIN, block) };
            self.out.push(kind);
            self.out.extend_from_slice(&(body.len() as u32 + 4).to_le_bytes()[..3]);
            self.out.extend_from_slice(&minlz::crc::crc(block).to_le_bytes());
            self.out.extend_from_slice(body);
            rest = behind;
        }
        let left = rest.len();
        self.plain.drain(..self.plain.len() - left);
    }

    /// Compressed bytes that wait to be taken.
    pub fn ready(&self) -> usize {
        self.out.len()
    }

    /// Takes compressed bytes, `len` at most.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        let rest = self.out.split_off(len.min(self.out.len()));
        std::mem::replace(&mut self.out, rest)
    }
}

/// Reads a stream of frames that arrives in pieces.
#[derive(Debug, Default)]
pub struct Decompressor {
    bytes: Vec<u8>,
    at: usize,
    has_begun: bool,
}

impl Decompressor {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// Number of received bytes that were not read.
    pub fn unread(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether all received bytes were read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Returns the content of the next frame; `None` until more bytes are received.
    ///
    /// # Errors
    ///
    /// The bytes are no frames, or damaged ones.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some((head, behind)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            let [kind, len @ ..] = *head;
            let len = u32::from_le_bytes([len[0], len[1], len[2], 0]) as usize;
            let is_magic = kind == 0xff;
            if (is_magic && len != 6) || !(self.has_begun || is_magic) || len > BLOCK_MAX + (BLOCK_MAX >> 2) {
                return Err(BackupError::Frames);
            }
            let Some(body) = behind.get(..len) else { return Ok(None) };
            self.at += 4 + len;
            match kind {
                0xff if rest.starts_with(S2_MAGIC) || rest.starts_with(SNAPPY_MAGIC) => self.has_begun = true,
                COMPRESSED | PLAIN => return block(kind, body).map(Some).ok_or(BackupError::Frames),
                0xff | 0..SKIPPED => return Err(BackupError::Frames),
                _ => {}
            }
        }
    }
}

fn block(kind: u8, body: &[u8]) -> Option<Vec<u8>> {
    let (crc, body) = body.split_first_chunk::<4>()?;
    let plain = match kind {
        PLAIN => body.to_vec(),
        _ => {
            let (len, _) = minlz::s2::decode_len(body).ok()?;
            if len > BLOCK_MAX {
                return None;
            }
            minlz::s2::decode(body).ok()?
        }
    };
    (plain.len() <= BLOCK_MAX && minlz::crc::crc(&plain) == u32::from_le_bytes(*crc)).then_some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut compressor = Compressor::default();
        for piece in pieces {
            compressor.plain().extend_from_slice(piece);
            compressor.pack(false);
        }
        compressor.pack(true);
        compressor.take(usize::MAX)
    }

    fn read(stream: &[u8], step: usize) -> Result<Vec<u8>, BackupError> {
        let mut frames = Decompressor::default();
        let mut out = Vec::new();
        for piece in stream.chunks(step) {
            frames.push(piece);
            while let Some(bytes) = frames.next_frame()? {
                out.extend_from_slice(&bytes);
            }
        }
        Ok(out)
    }

    proptest! {
        #[test]
        fn what_was_packed_is_read(
            pieces in prop::collection::vec((any::<u8>(), 0usize..100_000), 0..6),
            step in 1usize..70_000,
        ) {
            let pieces: Vec<Vec<u8>> =
                pieces.iter().map(|(byte, len)| (0..*len).map(|i| byte.wrapping_mul((i / 7) as u8)).collect()).collect();
            prop_assert_eq!(read(&packed(&pieces), step), Ok(pieces.concat()));
        }

        #[test]
        fn damage_is_noticed_or_harmless(bytes in prop::collection::vec(any::<u8>(), 1..2000), at in any::<usize>(), bit in 0u8..8) {
            let mut stream = packed(std::slice::from_ref(&bytes));
            let at = at % stream.len();
            stream[at] ^= 1 << bit;
            // A length that is too large waits for more, another kind of frame may be one that is skipped.
            if let Ok(read) = read(&stream, 1000) {
                prop_assert!(read == bytes || read.is_empty());
            }
        }

        #[test]
        fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = read(&[S2_MAGIC, &bytes[..]].concat(), 100);
        }
    }
}
