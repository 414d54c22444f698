//! Keys whose meaning is security of a kind that this version lacks. They are checked, and then refused:
//! a server that ignored them would be open where its owner thinks it closed.

use super::{
    authorization::is_public_nkey,
    blocks::{AUTH_CALLOUT, OCSP, OCSP_CACHE, PROXIES, RESOLVER},
    reader::Reader,
    schema::Kind,
};
use crate::lang::{Node, Value};

impl Reader {
    pub(super) fn check_auth_callout(&mut self, node: &Node) {
        self.check("auth_callout", node, &Kind::Block(&AUTH_CALLOUT));
    }

    /// Handles the key if it is one of these.
    pub(super) fn read_security(&mut self, key: &str, node: &Node) -> bool {
        let kind: &Kind = match key {
            "resolver_tls" => &Kind::Tls,
            "operator" | "operators" | "roots" | "root" | "root_operators" | "root_operator" => &Kind::Texts,
            "trusted" | "trusted_keys" => {
                self.check_trusted_keys(node);
                &Kind::Texts
            }
            "resolver" | "account_resolver" | "accounts_resolver" => &RESOLVER,
            "resolver_preload" => &Kind::Entries(&Kind::Text),
            "resolver_pinned_accounts" => &Kind::Texts,
            "default_sentinel" => &Kind::Text,
            "proxies" => &Kind::Block(&PROXIES),
            "https" => &Kind::Listen,
            _ => return self.read_harmless_security(key, node),
        };
        self.check(key, node, kind);
        self.refuse(key, node);
        true
    }

    /// Settings of TLS that mean nothing without a `tls` block.
    fn read_harmless_security(&mut self, key: &str, node: &Node) -> bool {
        let kind: &Kind = match key {
            "ocsp" => &OCSP,
            "ocsp_cache" => &OCSP_CACHE,
            _ => return false,
        };
        self.check(key, node, kind);
        self.ignore(key, node);
        true
    }

    fn check_trusted_keys(&mut self, node: &Node) {
        let texts: Vec<&str> = match &node.value {
            Value::String(text) => vec![text],
            Value::Array(items) => items
                .iter()
                .filter_map(|item| match &item.value {
                    Value::String(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        for text in texts {
            if !is_public_nkey(text, 'O') {
                let reason = format!("trust key {text:?} required to be a valid public operator nkey");
                self.error(&node.position, reason);
            }
        }
    }
}
