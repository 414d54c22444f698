//! The key files of a store, with its data keys wrapped by the configured key. There are two equal files, and each holds two
//! copies. The copies are so far apart that one of them survives even if one file is lost and the other has a bad page.

use std::sync::Arc;

use ring::hkdf::{self, HKDF_SHA256, Prk};

use super::{Cipher, DataKey, Draws, KEY_FILES, Keyring, OPENING_LEN, Sealer, Secret, TAG_LEN};
use crate::checksum::Checksum;
use crate::file::varint;

pub(super) const KEY_LEN: usize = 32;
const MAGIC: &[u8; 8] = b"STONEKY1";
const SALT_LEN: usize = 16;
/// Maximum length of a key file, in bytes.
const FILE_LEN_MAX: usize = 1 << 16;
/// Bytes between two copies: as many as may become unreadable together, wherever they begin.
const PAGE_LEN: usize = 4096;

/// The reason why the keys of a store are not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The configuration names no key.
    #[error("the store is encrypted: set `key` in the `jetstream` block to the key that it was written with")]
    Missing,
    /// The configuration names another key.
    #[error(
        "the store is encrypted with another key; `prev_key` in the `jetstream` block may name the one before"
    )]
    Wrong,
    /// The store is encrypted, and its key files are missing.
    #[error(
        "the file with the store's keys is missing: put it back from a copy, nothing can be read without it"
    )]
    Gone,
    /// All copies of the keys are damaged.
    #[error(
        "the file with the store's keys is damaged: put it back from a copy, nothing can be read without it"
    )]
    Damaged,
    /// The store would have more than 255 data keys.
    #[error("the store has had too many keys: move its streams to a new one by backups")]
    TooMany,
    /// The system provides no random numbers.
    #[error("the system gives no random numbers for a key")]
    NoRandom,
}

/// Returns the sealer that wraps a data key.
fn wrapping(secret: &[u8], salt: &[u8], id: u8, cipher: Cipher) -> Option<Arc<Sealer>> {
    let root = hkdf::Salt::new(HKDF_SHA256, salt).extract(secret);
    let keys = [DataKey { id, cipher, root }].into();
    Keyring { keys, draws: None }.sealer(id, b"stonechat key file", None)
}

/// An unwrapped data key.
struct Plain {
    id: u8,
    cipher: Cipher,
    bytes: [u8; KEY_LEN],
}

/// The keys of an opened store.
#[derive(Debug)]
pub struct Unlocked {
    /// The keys.
    pub keys: Keyring,
    /// The new content of every key file, if it must change. It must be durable before anything is written with these keys.
    pub content: Option<Vec<u8>>,
    /// Whether a copy of the keys was damaged or missing; `content` repairs it.
    pub is_mended: bool,
}

/// Unwraps the keys of a store. `files` is the content of its key files, with `None` for missing ones. They must not all be
/// missing if the store `is_encrypted` already. `random` fills a buffer with random bytes and returns whether it succeeded.
pub fn unlock(
    files: [Option<&[u8]>; KEY_FILES],
    is_encrypted: bool,
    secret: Option<&Secret>,
    mut random: impl FnMut(&mut [u8]) -> bool,
) -> Result<Unlocked, KeyError> {
    let is_new = files.iter().all(Option::is_none);
    if is_new && is_encrypted {
        return Err(KeyError::Gone);
    }
    let Some(secret) = secret else {
        let nothing = Unlocked { keys: Keyring::default(), content: None, is_mended: false };
        return if is_new { Ok(nothing) } else { Err(KeyError::Missing) };
    };
    let found = if is_new { Found::default() } else { Found::search(&files, secret)? };
    let Found { mut keys, is_mended, mut is_changed } = found;
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
    let mut opening = [0; OPENING_LEN];
    if !random(&mut opening) {
        return Err(KeyError::NoRandom);
    }
    let data_key = |key: &Plain| DataKey {
        id: key.id,
        cipher: key.cipher,
        root: Prk::new_less_safe(HKDF_SHA256, &key.bytes),
    };
    let keys =
        Keyring { keys: keys.iter().map(data_key).collect(), draws: Some(Arc::new(Draws::new(opening))) };
    Ok(Unlocked { keys, content, is_mended })
}

/// The content of a store's key files.
#[derive(Default)]
struct Found {
    keys: Vec<Plain>,
    /// Whether the files must be rewritten.
    is_changed: bool,
    /// Whether a copy was damaged or missing.
    is_mended: bool,
}

impl Found {
    fn search(files: &[Option<&[u8]>; KEY_FILES], secret: &Secret) -> Result<Self, KeyError> {
        let bodies: Vec<&[u8]> = files.iter().flatten().flat_map(|file| intact_copies(file)).collect();
        if bodies.is_empty() {
            return Err(KeyError::Damaged);
        }
        // A crash during a change leaves the files different. The newer file has more keys, or is wrapped with the newer
        // secret.
        let opened = |secret: &[u8]| {
            let opened = bodies.iter().filter_map(|body| Some((unwrap_keys(body, secret)?, *body)));
            opened.max_by_key(|(keys, _)| keys.len())
        };
        let (keys, body, is_locked_anew) = match opened(&secret.key) {
            Some((keys, body)) => (keys, body, false),
            None => {
                let (keys, body) = secret.previous.as_ref().and_then(|p| opened(p)).ok_or(KeyError::Wrong)?;
                (keys, body, true)
            }
        };
        let copy = copy_of(body);
        let is_whole = files.iter().all(|file| file.is_some_and(|file| file == laid_out(&copy)));
        // Older versions wrote a single file, with its two copies side by side.
        let is_old = files[0] == Some(&copy.repeat(2)) && files[1..].iter().all(Option::is_none);
        Ok(Self { keys, is_changed: is_locked_anew || !is_whole, is_mended: !is_whole && !is_old })
    }
}

/// Returns the content of a key file.
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
        // The salt is new, and so is the wrapping key: it never encrypted this place before.
        wrapping(secret, &salt, key.id, key.cipher)?.seal(0, u64::from(key.id), &[key.id], &mut body, from);
    }
    Some(laid_out(&copy_of(&body)))
}

/// Returns a copy of `body` behind its length and checksum.
fn copy_of(body: &[u8]) -> Vec<u8> {
    let mut copy = MAGIC.to_vec();
    copy.extend_from_slice(&(body.len() as u32).to_le_bytes());
    copy.extend_from_slice(&Checksum::new(0, body.len() as u64).with(body).finish().to_le_bytes());
    copy.extend_from_slice(body);
    copy
}

/// Returns the content of a key file: the copy, a page of zeros, and the copy again. So the file is too long for the place that
/// some file systems have for small files, where it could lie beside the other one.
fn laid_out(copy: &[u8]) -> Vec<u8> {
    [copy, &[0; PAGE_LEN], copy].concat()
}

/// Returns the content of all intact copies.
fn intact_copies(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let file = &file[..file.len().min(FILE_LEN_MAX)];
    memchr::memmem::find_iter(file, MAGIC).filter_map(move |at| {
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
        let opened = wrapping(secret, salt, id, cipher)?.open(0, u64::from(id), &[id], &mut wrapped)?;
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
            let file = if has_frame { copy_of(&body) } else { body };
            let wanted = secret("one", Some("two"), Cipher::Aes256Gcm);
            let expected = if has_frame { KeyError::Wrong } else { KeyError::Damaged };
            prop_assert_eq!(unlock([Some(&file), None], true, Some(&wanted), random()).err(), Some(expected));
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
        keys.sealer(id, b"a", None).expect("a key").seal(3, 900, b"context", &mut bytes, 6);
        bytes
    }

    fn opened(keys: &Keyring, id: u8, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = bytes[6..].to_vec();
        keys.sealer(id, b"a", None)?.open(3, 900, b"context", &mut bytes).map(|b| b.to_vec())
    }

    /// Opens a store whose key files are equal.
    fn open(file: &[u8], secret: &Secret) -> Result<Unlocked, KeyError> {
        unlock([Some(file), Some(file)], true, Some(secret), random())
    }

    #[test]
    fn a_store_is_opened_with_its_key_alone() {
        use Cipher::{Aes256Gcm, ChaCha20Poly1305};
        let mut random = random();
        let mut make =
            |secret: Option<&Secret>, is_encrypted| unlock([None, None], is_encrypted, secret, &mut random);
        assert_eq!(make(None, false).expect("open").keys.current(), 0);
        let first = secret("one", None, ChaCha20Poly1305);
        assert_eq!(make(Some(&first), true).err(), Some(KeyError::Gone));
        let made = make(Some(&first), false).expect("made");
        let (keys, file) = (made.keys, made.content.expect("a file"));
        let piece = sealed(&keys, 1);
        assert!(piece.starts_with(b"clear ") && !piece[6..].starts_with(b"secret"));
        assert_eq!(opened(&keys, 1, &piece).as_deref(), Some(&b"secret"[..]));

        let again = open(&file, &first).expect("opened");
        assert_eq!((again.content, again.is_mended), (None, false));
        assert_eq!(opened(&again.keys, 1, &piece).as_deref(), Some(&b"secret"[..]));
        let none = unlock([Some(&file), None], true, None, |_| true);
        assert_eq!(none.err(), Some(KeyError::Missing));
        let other = secret("two", None, ChaCha20Poly1305);
        assert_eq!(open(&file, &other).err(), Some(KeyError::Wrong));

        // A new key and another cipher: old data can be read, and the old key is of no use any more.
        let moved = secret("two", Some("one"), Aes256Gcm);
        let Unlocked { keys, content, is_mended } = open(&file, &moved).expect("moved");
        let moved_file = content.expect("another file");
        assert!(!is_mended);
        assert_eq!((keys.current(), opened(&keys, 1, &piece).as_deref()), (2, Some(&b"secret"[..])));
        assert_eq!(open(&moved_file, &first).err(), Some(KeyError::Wrong));
        assert_eq!(opened(&keys, 2, &sealed(&keys, 2)).as_deref(), Some(&b"secret"[..]));
        assert_eq!(opened(&keys, 2, &piece), None);

        // A crash between the writes of the two files: the newer file counts.
        for files in [[&file, &moved_file], [&moved_file, &file]] {
            let mixed = files.map(|file| Some(&file[..]));
            let after = secret("two", None, Aes256Gcm);
            let unlocked = unlock(mixed, true, Some(&after), |_| true).expect("opened");
            assert_eq!((unlocked.keys.current(), unlocked.content.is_some()), (2, true));
        }
    }

    #[test]
    fn keys_survive_any_flipped_bit_any_bad_page_and_a_lost_file() {
        let secret = secret("one", None, Cipher::Aes256Gcm);
        let made = unlock([None, None], false, Some(&secret), random()).expect("made");
        let (piece, file) = (sealed(&made.keys, 1), made.content.expect("a file"));
        let check = |files: [Option<&[u8]>; KEY_FILES], what: &str| {
            let Unlocked { keys, content, is_mended } =
                unlock(files, true, Some(&secret), random()).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(opened(&keys, 1, &piece).as_deref(), Some(&b"secret"[..]), "{what}");
            assert!(is_mended && content.is_some(), "{what}");
        };
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            check([Some(&flipped), None], "a flipped bit and a lost file");
        }
        for at in (0..file.len()).step_by(97) {
            let mut bad = file.clone();
            let end = file.len().min(at + PAGE_LEN);
            bad[at..end].fill(0x5a);
            check([Some(&bad), None], "a bad page and a lost file");
            check([Some(&[]), Some(&bad)], "a bad page and an empty file");
        }
        check([None, Some(&file)], "the first file");
        for len in 0..made_copy_len(&file) {
            let short = unlock([Some(&file[..len]), None], true, Some(&secret), random());
            assert_eq!(short.err(), Some(KeyError::Damaged));
        }
        let mut piece = piece.clone();
        for bit in 6 * 8..piece.len() * 8 {
            piece[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&made.keys, 1, &piece), None, "bit {bit}");
            piece[bit / 8] ^= 1 << (bit % 8);
        }
    }

    fn made_copy_len(file: &[u8]) -> usize {
        (file.len() - PAGE_LEN) / 2
    }

    #[test]
    fn a_file_of_an_older_version_is_read_and_written_anew() {
        let secret = secret("one", None, Cipher::Aes256Gcm);
        let made = unlock([None, None], false, Some(&secret), random()).expect("made");
        let file = made.content.expect("a file");
        let old = file[..made_copy_len(&file)].repeat(2);
        let unlocked = unlock([Some(&old), None], true, Some(&secret), random()).expect("opened");
        assert!(!unlocked.is_mended);
        let content = unlocked.content.expect("another file");
        assert!(open(&content, &secret).expect("opened").content.is_none());
    }
}
