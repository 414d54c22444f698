//! Names of cipher suites and curves, which nats-server takes from Go, and its messages for other names.

use super::reader::Reader;
use crate::lang::{Node, Position, Value};

/// The secure cipher suites of Go. Those of TLS 1.3 come first.
const SECURE: [&str; 13] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// The cipher suites of Go that need `allow_insecure_cipher_suites`.
const INSECURE: [&str; 12] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// Go's names of groups for key exchange.
const CURVES: [&str; 7] = [
    "X25519MLKEM768",
    "SecP384r1MLKEM1024",
    "SecP256r1MLKEM768",
    "X25519",
    "CurveP256",
    "CurveP384",
    "CurveP521",
];

impl Reader {
    /// Checks a list of cipher suites. `allow_insecure` is the value of the option with that name. Insecure suites are an
    /// error of the block.
    pub(super) fn check_cipher_suites(&mut self, node: &Node, block: &Position, allow_insecure: bool) {
        let known = |name: &str| SECURE.contains(&name) || INSECURE.contains(&name);
        if !self.check_names(node, "cipher_suites", "cipher", known) || allow_insecure {
            return;
        }
        let insecure: Vec<&str> = texts(node).filter(|name| INSECURE.contains(name)).collect();
        if !insecure.is_empty() {
            let reason = format!(
                "insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: {}",
                insecure.join(", ")
            );
            self.error(block, reason);
        }
    }

    /// Checks a list of curves.
    pub(super) fn check_curve_preferences(&mut self, node: &Node) {
        self.check_names(node, "curve_preferences", "curve preference", |name| CURVES.contains(&name));
    }

    /// Checks that a list has only known names. As in nats-server, only the first unknown name is an error.
    fn check_names(&mut self, node: &Node, key: &str, what: &str, known: impl Fn(&str) -> bool) -> bool {
        let Value::Array(items) = &node.value else { return false };
        if items.is_empty() {
            self.error(&node.position, format!("error parsing tls config, '{key}' cannot be empty"));
            return false;
        }
        for item in items {
            let Value::String(name) = &item.value else { return false };
            if !known(name) {
                self.error(&item.position, format!("unrecognized {what} {name}"));
                return false;
            }
        }
        true
    }

    /// Checks the fingerprints of `pinned_certs`.
    pub(super) fn check_pinned_certs(&mut self, node: &Node) {
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Value::Array(items) = &node.value else { return };
        for item in items {
            if let Value::String(text) = &item.value
                && !is_digest(text)
            {
                let reason = format!(
                    "error parsing tls config, 'pinned_certs' key {} does not look like hex-encoded sha256 of DER \
                     encoded SubjectPublicKeyInfo",
                    text.to_lowercase()
                );
                return self.error(&item.position, reason);
            }
        }
    }
}

fn texts(node: &Node) -> impl Iterator<Item = &str> {
    let items = match &node.value {
        Value::Array(items) => items.as_slice(),
        _ => &[],
    };
    items.iter().filter_map(|item| match &item.value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    })
}
