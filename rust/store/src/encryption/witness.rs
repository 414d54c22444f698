//! A check in tests that no nonce is used for two contents with the same key. It compares everything that one thread encrypts,
//! copies of a store included.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Maximum number of pieces to remember. At this number all are forgotten.
const NOTED_MAX: usize = 1 << 20;

thread_local! {
    static NOTED: RefCell<HashMap<(u64, u64), u64>> = RefCell::default();
}

/// Identifies a key by the input of its derivation.
#[derive(Debug)]
pub(super) struct KeyId(u64);

impl KeyId {
    pub(super) fn of(id: u8, info: &[&[u8]]) -> Self {
        Self(hash(&(id, info)))
    }
}

/// Notes that a piece is encrypted. Panics if its nonce was used for another content.
pub(super) fn note(key: &KeyId, nonce: &[u8], context: &[u8], content: &[u8]) {
    NOTED.with_borrow_mut(|noted| {
        if noted.len() >= NOTED_MAX {
            noted.clear();
        }
        let content = hash(&(context, content));
        let known = *noted.entry((key.0, hash(&nonce))).or_insert(content);
        assert!(known == content, "keystream is used twice: key {key:?}, nonce {nonce:02x?}");
    });
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
