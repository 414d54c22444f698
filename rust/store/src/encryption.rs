//! Encryption at rest: the keys of a store, and the pieces that they seal.
//!
//! Messages are encrypted with *data keys*, random numbers that never leave the store. The key that the configuration names only wraps
//! those, in a [key file](unlock): so a new key takes effect at once, without a word of all that is stored being written again.
//! Each file of the store has a key of its own, derived from a data key.
//!
//! A nonce is the number of the store's opening and the place of the piece in its file. A place is written once an opening.

use std::fmt::Debug;
use std::sync::Arc;

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{self, HKDF_SHA256, Prk};

use crate::checksum::Checksum;
use crate::file::varint;

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;
const KEY_LEN: usize = 32;
const MAGIC: &[u8; 8] = b"STONEKY1";
const SALT_LEN: usize = 16;
/// A key file is no longer.
const FILE_LEN_MAX: usize = 1 << 16;

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

/// Why the keys of a store can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The configuration names no key.
    #[error("the store is encrypted: set `key` in the `jetstream` block to the key that it was written with")]
    Missing,
    /// It names another one.
    #[error(
        "the store is encrypted with another key; `prev_key` in the `jetstream` block may name the one before"
    )]
    Wrong,
    /// The store is encrypted, and the file is gone.
    #[error(
        "the file with the store's keys is missing: put it back from a copy, nothing can be read without it"
    )]
    Gone,
    /// Both copies of the file are damaged.
    #[error(
        "the file with the store's keys is damaged: put it back from a copy, nothing can be read without it"
    )]
    Damaged,
    /// More than 255 data keys.
    #[error("the store has had too many keys: move its streams to a new one by backups")]
    TooMany,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a key")]
    NoRandom,
}

#[derive(Debug, Clone)]
struct DataKey {
    id: u8,
    cipher: Cipher,
    root: Prk,
}

/// The data keys of a store. Without any, nothing is encrypted.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Arc<[DataKey]>,
}

impl Keyring {
    /// The number of the key for what is written now; 0 if it is not encrypted.
    pub fn current(&self) -> u8 {
        self.keys.last().map_or(0, |key| key.id)
    }

    /// Keys that are always the same ones, for tests.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fixed(cipher: Cipher) -> Self {
        let root = Prk::new_less_safe(HKDF_SHA256, &[7; KEY_LEN]);
        Self { keys: [DataKey { id: 1, cipher, root }].into() }
    }

    /// What seals the pieces of the file that `label` stands for, with the data key of this number.
    pub fn sealer(&self, id: u8, label: &[u8]) -> Option<Arc<Sealer>> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        let info = [label];
        let okm = key.root.expand(&info, key.cipher.algorithm()).ok()?;
        Some(Arc::new(Sealer { id, key: LessSafeKey::new(UnboundKey::from(okm)) }))
    }
}

/// Seals the pieces of one file.
#[derive(Debug)]
pub struct Sealer {
    id: u8,
    key: LessSafeKey,
}

impl Sealer {
    /// The number of its data key.
    pub fn id(&self) -> u8 {
        self.id
    }

    fn nonce(epoch: u32, place: u64) -> Nonce {
        let mut nonce = [0; aead::NONCE_LEN];
        nonce[..4].copy_from_slice(&epoch.to_le_bytes());
        nonce[4..].copy_from_slice(&place.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `bytes` from `from` on and appends the tag. In one epoch a place is sealed once; `context` is not encrypted, but
    /// must be the same when it is opened.
    pub fn seal(&self, epoch: u32, place: u64, context: &[u8], bytes: &mut Vec<u8>, from: usize) {
        let Some(content) = bytes.get_mut(from..) else { return };
        let tag = self.key.seal_in_place_separate_tag(Self::nonce(epoch, place), Aad::from(context), content);
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
        epoch: u32,
        place: u64,
        context: &[u8],
        bytes: &'b mut [u8],
    ) -> Option<&'b mut [u8]> {
        self.key.open_in_place(Self::nonce(epoch, place), Aad::from(context), bytes).ok()
    }
}

/// What wraps data keys.
fn wrapping_key(secret: &[u8], salt: &[u8], cipher: Cipher) -> Option<LessSafeKey> {
    let root = hkdf::Salt::new(HKDF_SHA256, salt).extract(secret);
    let okm = root.expand(&[b"stonechat key file"], cipher.algorithm()).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(okm)))
}

/// A data key in the clear.
struct Plain {
    id: u8,
    cipher: Cipher,
    bytes: [u8; KEY_LEN],
}

/// Opens the keys of a store. `file` is the content of its key file, `None` if there is none, which must not be if the store
/// `is_encrypted` already; `random` fills a buffer with random
/// bytes and tells whether it could. Also answers what the key file must hold from now on, if that is something else: it has to be
/// durable before anything is written with these keys.
pub fn unlock(
    file: Option<&[u8]>,
    is_encrypted: bool,
    secret: Option<&Secret>,
    mut random: impl FnMut(&mut [u8]) -> bool,
) -> Result<(Keyring, Option<Vec<u8>>), KeyError> {
    if file.is_none() && is_encrypted {
        return Err(KeyError::Gone);
    }
    let Some(secret) = secret else {
        return if file.is_some() { Err(KeyError::Missing) } else { Ok((Keyring::default(), None)) };
    };
    let (mut keys, mut is_changed) = match file {
        None => (Vec::new(), true),
        Some(file) => {
            let body = intact_copy(file).ok_or(KeyError::Damaged)?;
            match unwrap_keys(body, &secret.key) {
                Some(keys) => (keys, false),
                None => {
                    let previous = secret.previous.as_ref().ok_or(KeyError::Wrong)?;
                    (unwrap_keys(body, previous).ok_or(KeyError::Wrong)?, true)
                }
            }
        }
    };
    if keys.last().is_none_or(|key| key.cipher != secret.cipher) {
        let id = u8::try_from(keys.len() + 1).map_err(|_| KeyError::TooMany)?;
        let mut bytes = [0; KEY_LEN];
        if !random(&mut bytes) {
            return Err(KeyError::NoRandom);
        }
        keys.push(Plain { id, cipher: secret.cipher, bytes });
        is_changed = true;
    }
    let content = match is_changed {
        true => Some(wrap_keys(&keys, &secret.key, &mut random).ok_or(KeyError::NoRandom)?),
        false => None,
    };
    let data_key = |key: &Plain| DataKey {
        id: key.id,
        cipher: key.cipher,
        root: Prk::new_less_safe(HKDF_SHA256, &key.bytes),
    };
    Ok((Keyring { keys: keys.iter().map(data_key).collect() }, content))
}

/// The content of a key file: two copies of the same, each with its length and checksum.
fn wrap_keys(keys: &[Plain], secret: &[u8], random: &mut impl FnMut(&mut [u8]) -> bool) -> Option<Vec<u8>> {
    let mut body = vec![0; SALT_LEN];
    if !random(&mut body) {
        return None;
    }
    let salt: Vec<u8> = body.clone();
    for key in keys {
        varint::put(&mut body, u64::from(key.id));
        varint::put(&mut body, key.cipher.number());
        let from = body.len();
        body.extend_from_slice(&key.bytes);
        let wrapping = Sealer { id: key.id, key: wrapping_key(secret, &salt, key.cipher)? };
        // The salt is new, so that this place was never sealed before.
        wrapping.seal(0, u64::from(key.id), &[key.id], &mut body, from);
    }
    let mut copy = MAGIC.to_vec();
    copy.extend_from_slice(&(body.len() as u32).to_le_bytes());
    copy.extend_from_slice(&Checksum::new(0, body.len() as u64).with(&body).finish().to_le_bytes());
    copy.extend_from_slice(&body);
    Some(copy.repeat(2))
}

/// The content of the first copy that is whole.
fn intact_copy(file: &[u8]) -> Option<&[u8]> {
    let file = &file[..file.len().min(FILE_LEN_MAX)];
    memchr::memmem::find_iter(file, MAGIC).find_map(|at| {
        let (len, rest) = file.get(at + MAGIC.len()..)?.split_first_chunk()?;
        let (crc, rest) = rest.split_first_chunk()?;
        let body = rest.get(..u32::from_le_bytes(*len) as usize)?;
        let found = Checksum::new(0, body.len() as u64).with(body).finish();
        (found == u32::from_le_bytes(*crc)).then_some(body)
    })
}

fn unwrap_keys(body: &[u8], secret: &[u8]) -> Option<Vec<Plain>> {
    let (salt, mut rest) = body.split_at_checked(SALT_LEN)?;
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let id = u8::try_from(varint::take(&mut rest)?).ok()?;
        let cipher = Cipher::of_number(varint::take(&mut rest)?)?;
        let mut wrapped = varint::take_bytes(&mut rest, KEY_LEN + TAG_LEN)?.to_vec();
        let wrapping = Sealer { id, key: wrapping_key(secret, salt, cipher)? };
        let opened = wrapping.open(0, u64::from(id), &[id], &mut wrapped)?;
        keys.push(Plain { id, cipher, bytes: opened.try_into().ok()? });
    }
    (!keys.is_empty()).then_some(keys)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_key_file_is_harmless(body in prop::collection::vec(any::<u8>(), 0..200), has_frame in any::<bool>()) {
            let mut file = body.clone();
            if has_frame {
                file = MAGIC.to_vec();
                file.extend_from_slice(&(body.len() as u32).to_le_bytes());
                file.extend_from_slice(&Checksum::new(0, body.len() as u64).with(&body).finish().to_le_bytes());
                file.extend_from_slice(&body);
            }
            let wanted = secret("one", Some("two"), Cipher::Aes256Gcm);
            let expected = if has_frame { KeyError::Wrong } else { KeyError::Damaged };
            prop_assert_eq!(unlock(Some(&file), true, Some(&wanted), random()).err(), Some(expected));
        }
    }

    fn secret(key: &str, previous: Option<&str>, cipher: Cipher) -> Secret {
        Secret { cipher, key: key.into(), previous: previous.map(|p| p.as_bytes().to_vec()) }
    }

    fn random() -> impl FnMut(&mut [u8]) -> bool {
        let mut next = 0u8;
        move |bytes| {
            bytes.iter_mut().for_each(|byte| (*byte, next) = (next, next.wrapping_add(7)));
            true
        }
    }

    fn sealed(keys: &Keyring, id: u8) -> Vec<u8> {
        let mut bytes = b"clear secret".to_vec();
        keys.sealer(id, b"a").expect("a key").seal(3, 900, b"context", &mut bytes, 6);
        bytes
    }

    fn opened(keys: &Keyring, id: u8, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes[6..].to_vec();
        keys.sealer(id, b"a")?.open(3, 900, b"context", &mut bytes).map(|b| b.to_vec())
    }

    #[test]
    fn a_store_is_opened_with_its_key_alone() {
        use Cipher::{Aes256Gcm, ChaCha20Poly1305};
        let mut random = random();
        assert_eq!(unlock(None, false, None, &mut random).expect("open").0.current(), 0);
        let lost = secret("one", None, ChaCha20Poly1305);
        assert_eq!(unlock(None, true, Some(&lost), &mut random).err(), Some(KeyError::Gone));
        let first = secret("one", None, ChaCha20Poly1305);
        let (keys, file) = unlock(None, false, Some(&first), &mut random).expect("made");
        let file = file.expect("a file");
        let piece = sealed(&keys, 1);
        assert!(piece.starts_with(b"clear ") && !piece[6..].starts_with(b"secret"));
        assert_eq!(opened(&keys, 1, &piece).as_deref(), Some(&b"secret"[..]));

        let (again, unchanged) = unlock(Some(&file), true, Some(&first), &mut random).expect("opened");
        assert_eq!((unchanged, opened(&again, 1, &piece).as_deref()), (None, Some(&b"secret"[..])));
        assert_eq!(unlock(Some(&file), true, None, &mut random).err(), Some(KeyError::Missing));
        let other = secret("two", None, ChaCha20Poly1305);
        assert_eq!(unlock(Some(&file), true, Some(&other), &mut random).err(), Some(KeyError::Wrong));

        // A new key, and another cipher: what was written is read, and the old key is worth nothing any more.
        let moved = secret("two", Some("one"), Aes256Gcm);
        let (keys, moved_file) = unlock(Some(&file), true, Some(&moved), &mut random).expect("moved");
        let moved_file = moved_file.expect("another file");
        assert_eq!((keys.current(), opened(&keys, 1, &piece).as_deref()), (2, Some(&b"secret"[..])));
        assert_eq!(unlock(Some(&moved_file), true, Some(&first), &mut random).err(), Some(KeyError::Wrong));
        assert_eq!(opened(&keys, 2, &sealed(&keys, 2)).as_deref(), Some(&b"secret"[..]));
        assert_eq!(opened(&keys, 2, &piece), None);
    }

    #[test]
    fn one_flipped_bit_in_the_key_file_costs_nothing_and_in_a_piece_everything() {
        let mut random = random();
        let secret = secret("one", None, Cipher::Aes256Gcm);
        let (keys, file) = unlock(None, false, Some(&secret), &mut random).expect("made");
        let mut file = file.expect("a file");
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(unlock(Some(&file), true, Some(&secret), &mut random).is_ok(), "bit {bit}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..file.len() / 2 {
            assert_eq!(
                unlock(Some(&file[..len]), true, Some(&secret), &mut random).err(),
                Some(KeyError::Damaged)
            );
        }
        let mut piece = sealed(&keys, 1);
        for bit in 6 * 8..piece.len() * 8 {
            piece[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&keys, 1, &piece), None, "bit {bit}");
            piece[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
