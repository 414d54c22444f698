//! A password or token as the configuration holds it: plain text or a bcrypt hash.

use std::fmt;

use subtle::ConstantTimeEq;

/// A configured secret with which clients' secrets are compared.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    text: String,
    hashed: bool,
}

impl Password {
    /// Returns the secret for a configured text. `$2a$10$...` and its variants (`2b`, `2x`, `2y`) are bcrypt hashes.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let hashed = is_bcrypt(&text);
        Self { text, hashed }
    }

    /// Returns whether a comparison takes long (tens of milliseconds or more), so that it must not run on a thread that
    /// serves other connections.
    #[must_use]
    pub fn is_expensive(&self) -> bool {
        self.hashed
    }

    /// Whether nothing but the empty string matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether the secret was configured in plain text, which deserves a warning.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.hashed && !self.text.is_empty()
    }

    /// Compares in constant time, hashing first if the configured text is a hash.
    ///
    /// Like nats-server's, the hash takes the first 72 bytes of the presented text into account. A hash
    /// that is malformed after its prefix matches nothing.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        if self.hashed {
            bcrypt::verify(presented, &self.text).unwrap_or(false)
        } else {
            self.text.as_bytes().ct_eq(presented.as_bytes()).into()
        }
    }

    /// The text as configured. Must not reach a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

/// `$2`, one of `abxy`, `$`, two digits, `$`.
fn is_bcrypt(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [b'$', b'2', b'a' | b'b' | b'x' | b'y', b'$', b'0'..=b'9', b'0'..=b'9', b'$', ..]
    )
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.hashed { "Password(bcrypt)" } else { "Password(plain)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_compared_whole() {
        let password = Password::new("s3cret");
        assert!(password.matches("s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret"] {
            assert!(!password.matches(wrong), "{wrong:?}");
        }
        assert!(Password::new("").matches(""));
    }

    #[test]
    fn every_bcrypt_prefix_is_recognised_and_verified() {
        let parts = bcrypt::hash_with_result("s3cret", 4).unwrap();
        for version in
            [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoX, bcrypt::Version::TwoY]
        {
            let password = Password::new(parts.format_for_version(version.clone()));
            assert!(password.is_expensive(), "{version}");
            assert!(password.matches("s3cret"), "{version}");
            assert!(!password.matches("other"), "{version}");
            assert!(!password.matches(password.reveal()), "the hash itself must not let in");
        }
    }

    #[test]
    fn what_only_resembles_a_hash_is_plain() {
        for text in ["$2a$", "$2a$1$x", "$2c$10$x", "2a$10$x", "$1a$10$x"] {
            assert!(!Password::new(text).is_expensive(), "{text}");
            assert!(Password::new(text).matches(text), "{text}");
        }
    }

    #[test]
    fn a_malformed_hash_matches_nothing() {
        let password = Password::new("$2a$10$short");
        assert!(password.is_expensive());
        assert!(!password.matches("$2a$10$short") && !password.matches(""));
    }

    #[test]
    fn debug_tells_only_the_kind() {
        assert_eq!(format!("{:?}", Password::new("s3cret")), "Password(plain)");
    }
}
