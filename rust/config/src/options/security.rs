//! Keys for security features that this version lacks. They are checked and then refused: a server that ignored them
//! would be open although its configuration restricts access.

use super::{
    authorization::is_public_nkey,
    blocks::{AUTH_CALLOUT, OCSP, OCSP_CACHE, PROXIES, RESOLVER},
    reader::{Reader, in_order},
    schema::Kind,
};
use crate::lang::{Map, Node, Value};

impl Reader {
    pub(super) fn check_auth_callout(&mut self, node: &Node) {
        self.check("auth_callout", node, &Kind::Block(&AUTH_CALLOUT));
    }

    /// Reads the key if it is one of these; else returns false.
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
            _ => return self.read_certificate_status(key, node),
        };
        self.check(key, node, kind);
        self.refuse(key, node);
        true
    }

    /// Reads the options of certificate status (OCSP). `must` and `always` promise that a revoked certificate ends the
    /// server. The other modes promise nothing that a server without them breaks.
    fn read_certificate_status(&mut self, key: &str, node: &Node) -> bool {
        match key {
            "ocsp" => {
                self.check(key, node, &OCSP);
                match &node.value {
                    Value::Bool(false) => {}
                    Value::Map(map) => self.ocsp_mode(map, node),
                    _ => self.ignore(key, node),
                }
            }
            "ocsp_cache" => {
                self.check(key, node, &OCSP_CACHE);
                self.ignore(key, node);
            }
            _ => return false,
        }
        true
    }

    fn ocsp_mode(&mut self, map: &Map, block: &Node) {
        let mode = in_order(map).into_iter().find(|(key, ..)| key == "mode").map(|(_, _, node)| node);
        match mode.map(|node| (node, &node.value)) {
            Some((node, Value::String(word)))
                if ["must", "always"].iter().any(|m| m.eq_ignore_ascii_case(word)) =>
            {
                self.refuse("ocsp.mode", node);
            }
            Some((_, Value::String(word))) if word.eq_ignore_ascii_case("never") => {}
            _ => self.ignore("ocsp", block),
        }
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
