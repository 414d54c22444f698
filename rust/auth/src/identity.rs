//! The keys that a server makes for itself at each start.

use std::fmt;

use nkeys::{KeyPair, XKey};

/// The server's nkey, whose public part is the server id, and its curve key for sealed messages.
pub struct ServerIdentity {
    id: String,
    xkey_public: String,
    key_pair: KeyPair,
    xkey: XKey,
}

impl ServerIdentity {
    /// A fresh identity from the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        let key_pair = KeyPair::new_server();
        let xkey = XKey::new();
        Self { id: key_pair.public_key(), xkey_public: xkey.public_key(), key_pair, xkey }
    }

    /// The server id, `N...`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public curve key, `X...`.
    #[must_use]
    pub fn xkey_public(&self) -> &str {
        &self.xkey_public
    }

    /// Returns the key pair for the server's signatures.
    #[must_use]
    pub fn key_pair(&self) -> &KeyPair {
        &self.key_pair
    }

    /// The curve key pair.
    #[must_use]
    pub fn xkey(&self) -> &XKey {
        &self.xkey
    }
}

/// Returns whether a text is a public nkey: of a user, an account, an operator, a server, ...; its first letter gives
/// the kind.
#[must_use]
pub fn is_public_key(text: &str) -> bool {
    KeyPair::from_public_key(text).is_ok() || XKey::from_public_key(text).is_ok()
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity").field("id", &self.id).field("xkey", &self.xkey_public).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_kinds_and_lengths_that_clients_expect() {
        let identity = ServerIdentity::generate();
        assert!(identity.id().starts_with('N') && identity.id().len() == 56, "{identity:?}");
        assert!(identity.xkey_public().starts_with('X') && identity.xkey_public().len() == 56);
        assert_ne!(identity.id(), ServerIdentity::generate().id());
    }

    #[test]
    fn public_keys_are_recognised() {
        let identity = ServerIdentity::generate();
        assert!(is_public_key(identity.id()) && is_public_key(identity.xkey_public()));
        for text in ["", "N", "UNOTAKEY", &identity.id()[1..], &identity.id().to_lowercase()] {
            assert!(!is_public_key(text), "{text}");
        }
    }

    #[test]
    fn what_it_signs_verifies_with_the_public_key() {
        let identity = ServerIdentity::generate();
        let signature = identity.key_pair().sign(b"nonce").unwrap();
        KeyPair::from_public_key(identity.id()).unwrap().verify(b"nonce", &signature).unwrap();
    }
}
