//! Checks of blocks that this version ignores. Their keys must exist and their values must have the right type. Otherwise
//! a later version would refuse a configuration that this one accepts.

use super::reader::{Reader, in_order};
use crate::lang::{Node, Value};

/// The allowed type of a value.
pub(super) enum Kind {
    /// Anything.
    Any,
    /// Text.
    Text,
    /// Text that is one of these words, in any case.
    Word(&'static [&'static str]),
    /// A whole number.
    Integer,
    /// A number with or without a fraction.
    Number,
    /// A boolean.
    Boolean,
    /// A duration or a number of seconds (with a warning).
    Duration,
    /// A duration in Go's notation.
    DurationText,
    /// A number of bytes, or text such as `10G`.
    Size,
    /// A port or `host:port`.
    Listen,
    /// A port.
    Port,
    /// A text or a list of texts.
    Texts,
    /// A list of texts.
    TextList,
    /// A block with any keys and values of one kind.
    Entries(&'static Kind),
    /// A list with items of one kind.
    List(&'static Kind),
    /// Permissions of a user.
    Permissions,
    /// A block with known keys.
    Block(&'static Schema),
    /// A `tls` block for clients, leaf nodes or outgoing connections. It has its own message for unknown keys.
    Tls,
    /// A `tls` block for routes and gateways, whose certificates can be checked against the configured URLs.
    PeerTls,
    /// One of several kinds; kinds with structure come first.
    Either(&'static [Kind]),
}

/// A key of a block.
pub(super) struct Field {
    /// The key and its aliases, in lower case.
    pub(super) names: &'static [&'static str],
    /// The type of the value.
    pub(super) kind: Kind,
}

/// Returns a field with these names: the key and its aliases.
pub(super) const fn field(names: &'static [&'static str], kind: Kind) -> Field {
    Field { names, kind }
}

/// The keys of a block.
pub(super) struct Schema(pub(super) &'static [Field]);

impl Schema {
    fn field(&self, key: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.names.contains(&key))
    }
}

impl Kind {
    /// Returns whether the value has the right type. The content is not checked.
    fn suits(&self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Text | Self::Word(_) | Self::DurationText => matches!(value, Value::String(_)),
            Self::Integer | Self::Port => matches!(value, Value::Integer(_)),
            Self::Number => matches!(value, Value::Integer(_) | Value::Float(_)),
            Self::Boolean => matches!(value, Value::Bool(_)),
            Self::Duration | Self::Size | Self::Listen => {
                matches!(value, Value::String(_) | Value::Integer(_))
            }
            Self::Texts => matches!(value, Value::String(_) | Value::Array(_)),
            Self::TextList | Self::List(_) => matches!(value, Value::Array(_)),
            Self::Entries(_) | Self::Permissions | Self::Block(_) | Self::Tls | Self::PeerTls => {
                matches!(value, Value::Map(_))
            }
            Self::Either(kinds) => kinds.iter().any(|kind| kind.suits(value)),
        }
    }

    fn description(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Text | Self::Word(_) => "a string",
            Self::Integer | Self::Port => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Duration | Self::DurationText => "a duration",
            Self::Size => "a size",
            Self::Listen => "a port or host:port",
            Self::Texts => "a string or a list of strings",
            Self::TextList | Self::List(_) => "a list",
            Self::Entries(_) | Self::Permissions | Self::Block(_) | Self::Tls | Self::PeerTls => "a block",
            Self::Either(_) => "a value of another type",
        }
    }
}

impl Reader {
    /// Notes the errors in the value of `key`.
    pub(super) fn check(&mut self, key: &str, node: &Node, kind: &Kind) {
        if !kind.suits(&node.value) {
            return self.wrong_type(node, kind.description());
        }
        match kind {
            Kind::Word(words) => self.check_word(key, node, words),
            Kind::Duration => drop(self.duration(key, node)),
            Kind::DurationText => drop(self.duration_text(key, node)),
            Kind::Size => self.check_size(key, node),
            Kind::Listen => drop(self.listen(node)),
            Kind::Port => drop(self.port(node)),
            Kind::Texts | Kind::TextList => drop(self.strings(node)),
            Kind::Permissions => drop(self.permissions(node)),
            Kind::Entries(kind) => {
                for (_, key, node) in self.map(node).map(in_order).unwrap_or_default() {
                    self.check(key, node, kind);
                }
            }
            Kind::List(kind) => {
                for item in self.list(node).unwrap_or_default() {
                    self.check(key, item, kind);
                }
            }
            Kind::Block(schema) => self.check_block(node, schema),
            Kind::Tls => self.check_tls(node, false),
            Kind::PeerTls => self.check_tls(node, true),
            Kind::Either(kinds) => {
                if let Some(kind) = kinds.iter().find(|kind| kind.suits(&node.value)) {
                    self.check(key, node, kind);
                }
            }
            Kind::Any | Kind::Text | Kind::Integer | Kind::Number | Kind::Boolean => {}
        }
    }

    fn check_block(&mut self, node: &Node, schema: &Schema) {
        for (key, written, node) in self.map(node).map(in_order).unwrap_or_default() {
            match schema.field(&key) {
                Some(field) => self.check(&key, node, &field.kind),
                None => self.unknown(written, node),
            }
        }
    }

    fn check_tls(&mut self, node: &Node, is_for_peers: bool) {
        let Value::Map(map) = &node.value else { return };
        let is_on = |wanted: &str| {
            map.iter().any(|(key, node)| key.eq_ignore_ascii_case(wanted) && node.value == Value::Bool(true))
        };
        for (key, written, entry) in in_order(map) {
            match key.as_str() {
                "cipher_suites" => {
                    let allow_insecure = is_on("allow_insecure_cipher_suites");
                    self.check_cipher_suites(entry, &node.position, allow_insecure);
                }
                "curve_preferences" => self.check_curve_preferences(entry),
                "pinned_certs" => self.check_pinned_certs(entry),
                "verify_cert_and_check_known_urls" if !is_for_peers && is_on(&key) => {
                    self.error(&entry.position, format!("{key} not supported in this context"));
                }
                _ => {}
            }
            match super::blocks::TLS.field(&key) {
                Some(field) => self.check(&key, entry, &field.kind),
                None => {
                    let reason = format!("error parsing tls config, unknown field {written:?}");
                    self.error(&entry.position, reason);
                }
            }
        }
        let names_any = |wanted: &str| {
            map.iter().any(|(key, node)| {
                let is_empty = match &node.value {
                    Value::String(text) => text.is_empty(),
                    Value::Array(items) => items.is_empty(),
                    _ => true,
                };
                key.eq_ignore_ascii_case(wanted) && !is_empty
            })
        };
        if names_any("cert_file") && (names_any("certs") || names_any("certificates")) {
            let reason = "error parsing tls config, cannot combine 'cert_file' option with 'certs' option";
            self.error(&node.position, reason);
        }
    }

    fn check_word(&mut self, key: &str, node: &Node, words: &[&str]) {
        let Some(text) = self.string(node) else { return };
        if !words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
            self.error(&node.position, unknown_word(key, text, words));
        }
    }

    fn check_size(&mut self, key: &str, node: &Node) {
        let Value::String(text) = &node.value else { return };
        let is_size = text.is_empty()
            || text.strip_suffix(['K', 'M', 'G', 'T']).is_some_and(|number| number.parse::<i64>().is_ok());
        if !is_size {
            self.error(&node.position, format!("{key} sizes defined as strings must end in K, M, G, T"));
        }
    }
}

/// Returns nats-server's message for an unknown word, or a list of the known words where that message would not help.
fn unknown_word(key: &str, text: &str, words: &[&str]) -> String {
    match key {
        "jetstream" => format!("Expected 'enabled' or 'disabled' for string value, got '{text}'"),
        "cluster_traffic" => format!("Expected 'system' or 'owner' string value for {key:?}, got {text}"),
        "cipher" => format!("Unknown cipher type: {text:?}"),
        _ => {
            let words: Vec<_> = words.iter().copied().filter(|word| !word.is_empty()).collect();
            format!("{key} must be one of {}, not {text:?}", words.join(", "))
        }
    }
}
