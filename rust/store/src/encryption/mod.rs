//! Encryption at rest: the keys of a store, and the encryption of the pieces of its files.
//!
//! Messages are encrypted with *data keys*, random numbers that never leave the store. The configured key only wraps (encrypts)
//! the data keys, in [key files](unlock). So a new configured key takes effect at once, and no stored data is rewritten.
//!
//! Each file of the store has a key of its own, derived from a data key, a label of the file, and a [`Draw`]. Two copies of a
//! store that both continue have the same data keys, labels and places. They never have the same draw, since every opening
//! begins with a random number.
//!
//! So only the opening that made a draw encrypts with the file's key. Within that opening, the nonce is the place of the piece,
//! and no place is encrypted twice. Code that writes files must follow these rules:
//!
//! - Data that an opening appends to an existing file is encrypted with a new draw (the log), or goes to another file
//!   (segments).
//! - Data that is written to a place that may have been used gets a new draw (footers, files that are begun again). In the log it
//!   gets another number in the nonce instead.
//!
//! Encryption is below all code that knows the content of records. The log seals each record; a segment seals each record or
//! chunk, and its footer. So a flipped bit costs as little as without encryption.
//!
//! A segment's draw is in its header, in the stream's manifest, and in each reference of a lazy log.

mod key_file;
#[cfg(any(test, feature = "simulation"))]
mod witness;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use key_file::{KeyError, Unlocked, unlock};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::Prk;

/// Number of key files of a store.
pub const KEY_FILES: usize = 2;
/// Number of bytes that encryption adds to a piece.
pub const TAG_LEN: usize = 16;

/// The cipher for messages: one of the two that nats-server 2.15 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
    /// AES-256-GCM (NIST SP 800-38D).
    Aes256Gcm,
}

impl Cipher {
    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
            Self::Aes256Gcm => &aead::AES_256_GCM,
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::ChaCha20Poly1305 => 1,
            Self::Aes256Gcm => 2,
        }
    }

    fn of_number(number: u64) -> Option<Self> {
        [Self::ChaCha20Poly1305, Self::Aes256Gcm].into_iter().find(|cipher| cipher.number() == number)
    }
}

/// The encryption settings of the configuration.
#[derive(Clone)]
pub struct Secret {
    /// The cipher for new data.
    pub cipher: Cipher,
    /// The key: any text.
    pub key: Vec<u8>,
    /// The previous key, which may still wrap the store's data keys.
    pub previous: Option<Vec<u8>>,
}

impl Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// A value that makes a file's key unique, even among copies of the store: the opening's random number, and a counter. It is
/// not secret, but without it the file can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw([u8; Draw::LEN]);

impl Draw {
    /// Length of a draw in bytes.
    pub const LEN: usize = OPENING_LEN + 8;

    /// Returns the draw at the start of `bytes`; `None` if they are too short.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self)
    }

    /// Returns the draw's bytes.
    pub fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// Length of an opening's random number, in bytes.
const OPENING_LEN: usize = 16;

/// The draws of one opening.
#[derive(Debug)]
struct Draws {
    opening: [u8; OPENING_LEN],
    next: AtomicU64,
}

impl Draws {
    fn new(opening: [u8; OPENING_LEN]) -> Self {
        Self { opening, next: AtomicU64::new(0) }
    }

    fn draw(&self) -> Draw {
        let mut bytes = [0; Draw::LEN];
        bytes[..OPENING_LEN].copy_from_slice(&self.opening);
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        bytes[OPENING_LEN..].copy_from_slice(&count.to_le_bytes());
        Draw(bytes)
    }
}

#[derive(Debug, Clone)]
struct DataKey {
    id: u8,
    cipher: Cipher,
    root: Prk,
}

/// The data keys of a store, for one opening. Without any key, nothing is encrypted.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Arc<[DataKey]>,
    draws: Option<Arc<Draws>>,
}

impl Keyring {
    /// Returns the number of the data key for new data; 0 if new data is not encrypted.
    pub fn current(&self) -> u8 {
        self.keys.last().map_or(0, |key| key.id)
    }

    /// Returns keys that are the same each time, with different draws each time, for tests.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fixed(cipher: Cipher) -> Self {
        static OPENINGS: AtomicU64 = AtomicU64::new(1);
        let mut opening = [0xd0; OPENING_LEN];
        opening[..8].copy_from_slice(&OPENINGS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let root = Prk::new_less_safe(ring::hkdf::HKDF_SHA256, &[7; key_file::KEY_LEN]);
        Self { keys: [DataKey { id: 1, cipher, root }].into(), draws: Some(Arc::new(Draws::new(opening))) }
    }

    /// Returns the same keys as in another process that opens the store or a copy of it, for tests.
    #[cfg(any(test, feature = "simulation"))]
    pub fn reopened(&self) -> Self {
        self.keys.last().map_or_else(Self::default, |key| Self::fixed(key.cipher))
    }

    /// Returns a new draw; `None` if nothing is encrypted.
    pub fn draw(&self) -> Option<Draw> {
        Some(self.draws.as_ref().filter(|_| self.current() != 0)?.draw())
    }

    /// Returns the sealer of a new file with this `label`; `None` if nothing is encrypted.
    pub fn fresh(&self, label: &[u8]) -> Option<Arc<Sealer>> {
        let draw = self.draw()?;
        self.sealer(self.current(), label, Some(draw))
    }

    /// Returns the sealer of the file with this `label`, encrypted with the data key `id` and the file's draw. Files of older
    /// stores have no draw. Returns `None` if the key is unknown.
    pub fn sealer(&self, id: u8, label: &[u8], draw: Option<Draw>) -> Option<Arc<Sealer>> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        let drawn = draw.as_ref().map(|draw| [label, b" drawn ", draw.bytes()]);
        let info = drawn.as_ref().map_or(std::slice::from_ref(&label), |drawn| &drawn[..]);
        let okm = key.root.expand(info, key.cipher.algorithm()).ok()?;
        #[cfg(any(test, feature = "simulation"))]
        let watched = witness::KeyId::of(id, info);
        Some(Arc::new(Sealer {
            id,
            draw,
            key: LessSafeKey::new(UnboundKey::from(okm)),
            #[cfg(any(test, feature = "simulation"))]
            watched,
        }))
    }
}

/// Encrypts and decrypts the pieces of one file.
#[derive(Debug)]
pub struct Sealer {
    id: u8,
    draw: Option<Draw>,
    key: LessSafeKey,
    #[cfg(any(test, feature = "simulation"))]
    watched: witness::KeyId,
}

impl Sealer {
    /// Returns the number of the data key.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Returns the file's draw.
    pub fn draw(&self) -> Option<Draw> {
        self.draw
    }

    fn nonce(number: u32, place: u64) -> [u8; aead::NONCE_LEN] {
        let mut nonce = [0; aead::NONCE_LEN];
        nonce[..4].copy_from_slice(&number.to_le_bytes());
        nonce[4..].copy_from_slice(&place.to_le_bytes());
        nonce
    }

    /// Encrypts `bytes` from `from` on and appends the tag. The same `place` must not be encrypted twice with the same
    /// `number`. `context` is authenticated but not encrypted; decryption needs the same.
    pub fn seal(&self, number: u32, place: u64, context: &[u8], bytes: &mut Vec<u8>, from: usize) {
        let Some(content) = bytes.get_mut(from..) else { return };
        let nonce = Self::nonce(number, place);
        #[cfg(any(test, feature = "simulation"))]
        witness::note(&self.watched, &nonce, context, content);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(context), content);
        match tag {
            Ok(tag) => bytes.extend_from_slice(tag.as_ref()),
            // This happens only above 64 GiB. Plain data must not be written.
            Err(_) => {
                content.fill(0);
                bytes.extend_from_slice(&[0; TAG_LEN]);
            }
        }
    }

    /// Decrypts `bytes`, which end with the tag, in place; `None` if authentication fails.
    pub fn open<'b>(
        &self,
        number: u32,
        place: u64,
        context: &[u8],
        bytes: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        let nonce = Nonce::assume_unique_for_key(Self::nonce(number, place));
        self.key.open_in_place(nonce, Aad::from(context), bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(sealer: &Sealer, text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        sealer.seal(1, 2, b"", &mut bytes, 0);
        bytes
    }

    #[test]
    fn no_two_files_and_no_two_openings_have_the_same_key() {
        let keys = Keyring::fixed(Cipher::Aes256Gcm);
        let copy = keys.reopened();
        let sealers = [keys.fresh(b"a"), keys.fresh(b"a"), keys.fresh(b"b"), copy.fresh(b"a")];
        let pieces: Vec<_> = sealers.iter().map(|s| sealed(s.as_ref().expect("keys"), b"text")).collect();
        for (i, piece) in pieces.iter().enumerate() {
            assert!(pieces[..i].iter().all(|other| other != piece));
            // The draw is enough to read the piece.
            let draw = sealers[i].as_ref().and_then(|sealer| sealer.draw());
            let label: &[u8] = if i == 2 { b"b" } else { b"a" };
            let again = copy.sealer(1, label, draw).expect("keys");
            assert_eq!(again.open(1, 2, b"", &mut piece.clone()).as_deref(), Some(&b"text"[..]));
        }
        assert!(Keyring::default().fresh(b"a").is_none());
    }

    #[test]
    #[should_panic(expected = "keystream")]
    fn the_witness_notices_a_nonce_that_is_used_twice() {
        let sealer = Keyring::fixed(Cipher::ChaCha20Poly1305).fresh(b"a").expect("keys");
        sealed(&sealer, b"the same");
        sealed(&sealer, b"the same");
        sealed(&sealer, b"another");
    }
}
