//! Typed access to the values of a configuration, which collects all errors and warnings.

use std::{collections::HashMap, time::Duration};

use super::{Unsupported, unsupported::Effect};
use crate::{
    duration::{self, SignedDuration},
    error::Issue,
    lang::{Map, Node, Position, Value},
};

/// The identity of a node: its address, since the tree does not move while it is read.
type NodeId = usize;

fn node_id(node: &Node) -> NodeId {
    std::ptr::from_ref(node).addr()
}

/// A collector of errors and warnings. If a value is unsuitable, the method that reads it notes an error and returns
/// `None`, so that reading continues with the next value.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) errors: Vec<Issue>,
    /// Errors whose reason does not name the field yet: the index in `errors`, and the node.
    unnamed: Vec<(usize, NodeId)>,
    pub(super) warnings: Vec<Issue>,
    pub(super) unsupported: Vec<Unsupported>,
    /// Accounts that may use JetStream. They are separate because the definition of an account belongs to the crate
    /// `auth`.
    pub(super) jetstream_accounts: super::JetStreamAccounts,
}

impl Reader {
    pub(super) fn error(&mut self, position: &Position, reason: impl Into<String>) {
        self.errors.push(Issue::at(position, reason));
    }

    pub(super) fn warn(&mut self, position: &Position, field: &str, reason: &str) {
        self.warnings.push(Issue::at(position, format!("invalid use of field {field:?}: {reason}")));
    }

    /// Notes an error about a value. [`Reader::name_fields`] later puts the field before the reason.
    pub(super) fn error_of_field(&mut self, node: &Node, reason: impl Into<String>) {
        self.unnamed.push((self.errors.len(), node_id(node)));
        self.error(&node.position, reason);
    }

    /// Adds the fields to the errors of [`Reader::error_of_field`], as paths from the top of `tree`.
    pub(super) fn name_fields(&mut self, tree: &Map) {
        let mut unnamed: HashMap<NodeId, Vec<usize>> = HashMap::new();
        for (error, node) in self.unnamed.drain(..) {
            unnamed.entry(node).or_default().push(error);
        }
        // The blocks still to be searched.
        let mut open: Vec<(String, &Node)> = tree.iter().map(|(key, node)| (key.clone(), node)).collect();
        while !unnamed.is_empty()
            && let Some((path, node)) = open.pop()
        {
            for error in unnamed.remove(&node_id(node)).unwrap_or_default() {
                self.errors[error].reason.insert_str(0, &format!("{path}: "));
            }
            match &node.value {
                Value::Map(map) => open.extend(map.iter().map(|(key, node)| (format!("{path}.{key}"), node))),
                Value::Array(items) => open.extend(items.iter().map(|item| (path.clone(), item))),
                _ => {}
            }
        }
    }

    /// Notes an unknown key, unless variables refer to it.
    pub(super) fn unknown(&mut self, key: &str, node: &Node) {
        if !node.is_used_variable {
            self.error(&node.position, format!("unknown field {key:?}"));
        }
    }

    /// Notes a feature without which the server must refuse to start, because it would be less safe than configured.
    pub(super) fn refuse(&mut self, field: &str, node: &Node) {
        self.unsupported_field(field, node, Effect::Restriction);
    }

    /// Notes a feature that is left out with a warning.
    pub(super) fn ignore(&mut self, field: &str, node: &Node) {
        self.unsupported_field(field, node, Effect::Ignored);
    }

    /// Notes a feature that this version lacks.
    pub(super) fn unsupported_field(&mut self, field: &str, node: &Node, effect: Effect) {
        let position = Some(node.position.clone());
        self.unsupported.push(Unsupported { field: field.to_owned(), position, effect });
    }

    pub(super) fn wrong_type(&mut self, node: &Node, wanted: &str) {
        let found = node.value.type_name();
        self.error_of_field(node, format!("expected {wanted}, found {found}"));
    }

    pub(super) fn string<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::String(text) => Some(text),
            _ => {
                self.wrong_type(node, "a string");
                None
            }
        }
    }

    /// Reads a string; an empty one counts as absent.
    pub(super) fn text(&mut self, node: &Node) -> Option<Option<String>> {
        self.string(node).map(|text| (!text.is_empty()).then(|| text.to_owned()))
    }

    pub(super) fn boolean(&mut self, node: &Node) -> Option<bool> {
        match node.value {
            Value::Bool(truth) => Some(truth),
            _ => {
                self.wrong_type(node, "a boolean");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, node: &Node) -> Option<i64> {
        match node.value {
            Value::Integer(number) => Some(number),
            _ => {
                self.wrong_type(node, "an integer");
                None
            }
        }
    }

    /// Reads an integer; negative numbers count as zero, which means unset.
    pub(super) fn natural(&mut self, node: &Node) -> Option<u64> {
        self.integer(node).map(|number| u64::try_from(number).unwrap_or(0))
    }

    /// Reads a port: -1 for a random one, 0 for the default.
    pub(super) fn port(&mut self, node: &Node) -> Option<i32> {
        let number = self.integer(node)?;
        let port = port_in_range(number);
        if port.is_none() {
            self.error_of_field(node, format!("port {number} is out of range"));
        }
        port
    }

    pub(super) fn map<'n>(&mut self, node: &'n Node) -> Option<&'n Map> {
        match &node.value {
            Value::Map(map) => Some(map),
            _ => {
                self.wrong_type(node, "a block");
                None
            }
        }
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.value {
            Value::Array(items) => Some(items),
            _ => {
                self.wrong_type(node, "a list");
                None
            }
        }
    }

    /// Reads a string or a list of strings.
    pub(super) fn strings(&mut self, node: &Node) -> Option<Vec<String>> {
        match &node.value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => items.iter().map(|item| self.string(item).map(str::to_owned)).collect(),
            _ => {
                self.wrong_type(node, "a string or a list of strings");
                None
            }
        }
    }

    /// Reads a duration, or a number of seconds, which causes a warning.
    pub(super) fn duration(&mut self, field: &str, node: &Node) -> Option<SignedDuration> {
        match &node.value {
            Value::String(_) => self.duration_text(field, node),
            Value::Integer(seconds) => {
                self.warn(&node.position, field, &format!("{field} should be converted to a duration"));
                let duration = SignedDuration::from_secs(*seconds);
                if duration.is_none() {
                    self.error(&node.position, format!("{field} value is too big"));
                }
                duration
            }
            _ => {
                self.wrong_type(node, "a duration");
                None
            }
        }
    }

    /// Reads a duration in Go's notation.
    pub(super) fn duration_text(&mut self, field: &str, node: &Node) -> Option<SignedDuration> {
        match duration::parse(self.string(node)?) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.error(&node.position, format!("error parsing {field}: {error}"));
                None
            }
        }
    }

    /// Reads a duration that must not be negative. Zero stands for the default and gives `None`.
    pub(super) fn positive_duration(&mut self, field: &str, node: &Node) -> Option<Duration> {
        let duration = self.duration(field, node)?.to_std();
        if duration.is_none() {
            self.error(&node.position, format!("{field} can not be negative"));
        }
        duration.filter(|duration| !duration.is_zero())
    }

    /// Reads `host:port` or only a port.
    pub(super) fn listen(&mut self, node: &Node) -> Option<(String, i32)> {
        let text = match &node.value {
            Value::Integer(_) => return self.port(node).map(|port| (String::new(), port)),
            Value::String(text) => text,
            _ => {
                self.wrong_type(node, "a port or host:port");
                return None;
            }
        };
        let Some((host, port)) = split_host_port(text) else {
            self.error(&node.position, format!("could not parse address string {text:?}"));
            return None;
        };
        let Some(port_number) = port.parse().ok().and_then(port_in_range) else {
            self.error(&node.position, format!("could not parse port {port:?}"));
            return None;
        };
        Some((host.to_owned(), port_number))
    }
}

fn port_in_range(number: i64) -> Option<i32> {
    (-1..=65_535).contains(&number).then(|| i32::try_from(number).ok()).flatten()
}

/// Splits `host:port` or `[v6]:port`; an address with several colons needs the brackets.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, port) = bracketed.split_once("]:")?;
        return (!host.contains(['[', ']']) && !port.contains([':', '[', ']'])).then_some((host, port));
    }
    let (host, port) = text.split_once(':')?;
    (!port.contains([':', '[', ']']) && !host.contains([']', '['])).then_some((host, port))
}

/// Returns the entries of a map in the order of their positions.
pub(super) fn in_order(map: &Map) -> Vec<(String, &str, &Node)> {
    let mut entries: Vec<_> =
        map.iter().map(|(key, node)| (key.to_lowercase(), key.as_str(), node)).collect();
    entries.sort_by(|(_, _, a), (_, _, b)| {
        (a.position.line, a.position.column).cmp(&(b.position.line, b.position.column))
    });
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split() {
        let cases = [
            ("localhost:4222", Some(("localhost", "4222"))),
            (":4222", Some(("", "4222"))),
            ("[::1]:4222", Some(("::1", "4222"))),
            ("h:-1", Some(("h", "-1"))),
            ("::1:4222", None),
            ("localhost", None),
            ("[::1]", None),
            ("[::1]4222", None),
            ("a]:1", None),
        ];
        for (text, parts) in cases {
            assert_eq!(split_host_port(text), parts, "{text}");
        }
    }
}
