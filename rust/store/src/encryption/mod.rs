//! Encryption at rest: the keys of a store, and the pieces that they seal.
//!
//! Messages are encrypted with *data keys*, random numbers that never leave the store. The key that the configuration names only wraps
//! those, in [key files](unlock): so a new key takes effect at once, without a word of all that is stored being written again.
//!
//! Each file of the store has a key of its own, derived from a data key, what the file is, and a [`Draw`]. Two copies of a store that both go on
//! have the same data keys, names and places; they never have the same draw, since an opening begins with a random number. So nothing is
//! sealed with the key of a file but by the opening that drew it, and there a nonce is the place of the piece, which is sealed once. The
//! rules that follow for who writes files:
//!
//! - What an opening appends to a file that is there already is sealed with a draw of its own (the log), or goes to another file (segments).
//! - Whatever is written anew to where something may lie gets a new draw (footers, files that are begun again) or a number of its own in
//!   the nonce (the log).

mod key_file;
#[cfg(any(test, feature = "simulation"))]
mod witness;

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use key_file::{KeyError, Unlocked, unlock};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::Prk;

/// How many files with keys a store has.
pub const KEY_FILES: usize = 2;
/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// How messages are encrypted; the two ciphers that nats-server 2.15 knows.
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

/// What the configuration says of encryption.
#[derive(Clone)]
pub struct Secret {
    /// For what is written from now on.
    pub cipher: Cipher,
    /// The key: any text.
    pub key: Vec<u8>,
    /// The one before, with which the store may still be locked.
    pub previous: Option<Vec<u8>>,
}

impl Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("cipher", &self.cipher).finish_non_exhaustive()
    }
}

/// What makes the key of a file unlike all others, those of copies of the store included: the random number of the opening that
/// draws it, and a count. It is no secret; who has lost it can't read the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw([u8; Draw::LEN]);

impl Draw {
    /// Its bytes.
    pub const LEN: usize = OPENING_LEN + 8;

    /// The draw with these bytes; `None` if they are too few.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// Bytes of an opening's random number.
const OPENING_LEN: usize = 16;

/// Draws of one opening.
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

/// The data keys of a store, for one opening of it. Without any, nothing is encrypted.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Arc<[DataKey]>,
    draws: Option<Arc<Draws>>,
}

impl Keyring {
    /// The number of the key for what is written now; 0 if it is not encrypted.
    pub fn current(&self) -> u8 {
        self.keys.last().map_or(0, |key| key.id)
    }

    /// Keys that are always the same ones, and draws that are others each time, for tests.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fixed(cipher: Cipher) -> Self {
        static OPENINGS: AtomicU64 = AtomicU64::new(1);
        let mut opening = [0xd0; OPENING_LEN];
        opening[..8].copy_from_slice(&OPENINGS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let root = Prk::new_less_safe(ring::hkdf::HKDF_SHA256, &[7; key_file::KEY_LEN]);
        Self { keys: [DataKey { id: 1, cipher, root }].into(), draws: Some(Arc::new(Draws::new(opening))) }
    }

    /// The same keys as another process has them that opens the store, or a copy of it, for tests.
    #[cfg(any(test, feature = "simulation"))]
    pub fn reopened(&self) -> Self {
        self.keys.last().map_or_else(Self::default, |key| Self::fixed(key.cipher))
    }

    /// What no other file has; `None` if nothing is encrypted.
    pub fn draw(&self) -> Option<Draw> {
        Some(self.draws.as_ref().filter(|_| self.current() != 0)?.draw())
    }

    /// What seals the pieces of a file that is begun now and that `label` stands for; `None` if nothing is encrypted.
    pub fn fresh(&self, label: &[u8]) -> Option<Arc<Sealer>> {
        let draw = self.draw()?;
        self.sealer(self.current(), label, Some(draw))
    }

    /// What seals the pieces of the file that `label` stands for, with the data key of this number and what was drawn for the file. Files of
    /// older stores have no draw.
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

/// Seals the pieces of one file.
#[derive(Debug)]
pub struct Sealer {
    id: u8,
    draw: Option<Draw>,
    key: LessSafeKey,
    #[cfg(any(test, feature = "simulation"))]
    watched: witness::KeyId,
}

impl Sealer {
    /// The number of its data key.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// What was drawn for the file.
    pub fn draw(&self) -> Option<Draw> {
        self.draw
    }

    fn nonce(number: u32, place: u64) -> [u8; aead::NONCE_LEN] {
        let mut nonce = [0; aead::NONCE_LEN];
        nonce[..4].copy_from_slice(&number.to_le_bytes());
        nonce[4..].copy_from_slice(&place.to_le_bytes());
        nonce
    }

    /// Encrypts `bytes` from `from` on and appends the tag. No `place` is sealed twice with the same `number`; `context` is not encrypted,
    /// but must be the same when it is opened.
    pub fn seal(&self, number: u32, place: u64, context: &[u8], bytes: &mut Vec<u8>, from: usize) {
        let Some(content) = bytes.get_mut(from..) else { return };
        let nonce = Self::nonce(number, place);
        #[cfg(any(test, feature = "simulation"))]
        witness::note(&self.watched, &nonce, context, content);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(context), content);
        match tag {
            Ok(tag) => bytes.extend_from_slice(tag.as_ref()),
            // Only for more than 64 GiB. What is not encrypted must not be written.
            Err(_) => {
                content.fill(0);
                bytes.extend_from_slice(&[0; TAG_LEN]);
            }
        }
    }

    /// Decrypts `bytes`, which end with the tag, in place; `None` if they are not what was sealed.
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
            // Whoever has the draw reads it.
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
