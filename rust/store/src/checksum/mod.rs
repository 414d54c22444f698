//! Checksums of data on disk: CRC-32C (Castagnoli), salted.
//!
//! The salt is random and belongs to one store. Clients choose payloads. Without the salt, a client could publish bytes that
//! look like a record of another stream. After damage beside them, they could be taken for one.

mod ranges;

use crc_fast::{CrcAlgorithm, Digest};

pub use ranges::Ranges;

/// A checksum that is being computed.
#[derive(Debug)]
pub struct Checksum(Digest);

impl Checksum {
    /// Starts a checksum with the store's `salt` and the `position` of the bytes, so that bytes in a wrong place fail the
    /// check.
    pub fn new(salt: u64, position: u64) -> Self {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&salt.to_le_bytes());
        seed[8..].copy_from_slice(&position.to_le_bytes());
        digest.update(&seed);
        Self(digest)
    }

    /// Adds `bytes`.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// Returns the checksum.
    pub fn finish(self) -> u32 {
        finished(self.state())
    }

    /// Returns the remainder before it is inverted.
    fn state(&self) -> u32 {
        // A 32-bit checksum in a 64-bit carrier.
        !((self.0.finalize() & u64::from(u32::MAX)) as u32)
    }
}

/// Returns the checksum for a remainder.
fn finished(state: u32) -> u32 {
    #[cfg(feature = "simulation")]
    if fuzzing::ALL_PASS.load(std::sync::atomic::Ordering::Relaxed) {
        return 0;
    }
    !state
}

/// A switch for fuzzers, which can't guess checksums.
#[cfg(feature = "simulation")]
pub mod fuzzing {
    use std::sync::atomic::AtomicBool;

    /// While this is set, all checksums are 0, so that fuzzers reach the code behind them. A store must be written and read
    /// with the same setting.
    pub static ALL_PASS: AtomicBool = AtomicBool::new(false);
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn salt_position_and_bytes_all_count() {
        let one = Checksum::new(1, 2).with(b"abc").finish();
        assert_eq!(one, Checksum::new(1, 2).with(b"a").with(b"bc").finish());
        assert_ne!(one, Checksum::new(2, 2).with(b"abc").finish());
        assert_ne!(one, Checksum::new(1, 3).with(b"abc").finish());
        assert_ne!(one, Checksum::new(1, 2).with(b"abd").finish());
    }
}
