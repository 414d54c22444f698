//! Permission blocks.

use std::sync::Arc;

use stonechat_auth::{Permissions, ResponsePermission, SubjectPermission};
use stonechat_subject::is_valid_subject;

use super::reader::{Reader, in_order};
use crate::lang::{Node, Value};

impl Reader {
    /// Reads `{ publish: .., subscribe: .., allow_responses: .. }`.
    pub(super) fn permissions(&mut self, node: &Node) -> Option<Arc<Permissions>> {
        let Value::Map(map) = &node.value else {
            let reason = format!("Expected permissions to be a map/struct, got {}", node.value.shown());
            self.error(&node.position, reason);
            return None;
        };
        let mut permissions = Permissions::default();
        for (key, written, node) in in_order(map) {
            match key.as_str() {
                "pub" | "publish" | "import" => {
                    permissions.publish = self.subject_permission(node, false);
                }
                "sub" | "subscribe" | "export" => {
                    permissions.subscribe = self.subject_permission(node, true);
                }
                "publish_allow_responses" | "allow_responses" => {
                    permissions.responses = self.response_permission(node);
                }
                _ => self.unknown_permission(written, node),
            }
        }
        Some(Arc::new(permissions))
    }

    fn unknown_permission(&mut self, key: &str, node: &Node) {
        if !node.is_used_variable {
            self.error(&node.position, format!("Unknown field {key:?} parsing permissions"));
        }
    }

    /// Reads a subject, a list of subjects, or `{ allow: .., deny: .. }`.
    fn subject_permission(&mut self, node: &Node, allow_queue: bool) -> Option<SubjectPermission> {
        let Value::Map(map) = &node.value else {
            let allow = self.subjects(node, allow_queue)?;
            return Some(SubjectPermission { allow: non_empty(allow), deny: Vec::new() });
        };
        if map.is_empty() {
            return None;
        }
        let mut permission = SubjectPermission::default();
        for (key, written, node) in in_order(map) {
            match key.as_str() {
                "allow" => permission.allow = self.subjects(node, allow_queue).and_then(non_empty),
                "deny" => permission.deny = self.subjects(node, allow_queue).unwrap_or_default(),
                _ if node.is_used_variable => {}
                _ => self.error(
                    &node.position,
                    format!(
                        "Unknown field name {written:?} parsing subject permissions, only 'allow' or 'deny' are \
                         permitted"
                    ),
                ),
            }
        }
        Some(permission)
    }

    fn subjects(&mut self, node: &Node, allow_queue: bool) -> Option<Vec<String>> {
        let subjects = self.strings(node)?;
        for subject in &subjects {
            if let Err(reason) = check_subject(subject, allow_queue) {
                self.error(&node.position, reason);
                return None;
            }
        }
        Some(subjects)
    }

    /// Reads `true`, or `{ max: .., expires: .. }`.
    fn response_permission(&mut self, node: &Node) -> Option<ResponsePermission> {
        let map = match &node.value {
            Value::Bool(allowed) => return allowed.then(ResponsePermission::default),
            Value::Map(map) => map,
            _ => {
                let reason = "error parsing response permissions, expected a boolean or a map";
                self.error(&node.position, reason);
                return None;
            }
        };
        let mut permission = ResponsePermission::default();
        for (key, written, node) in in_order(map) {
            match key.as_str() {
                // Zero means the default, a negative number means no limit.
                "max" | "max_msgs" | "max_messages" | "max_responses" => match self.integer(node)? {
                    0 => {}
                    max => permission.max_msgs = u64::try_from(max).ok(),
                },
                "expires" | "expiration" | "ttl" => {
                    if !matches!(node.value, Value::String(_)) {
                        self.error(&node.position, "error parsing expires, not a duration string");
                        return None;
                    }
                    let expires = self.duration_text("expires", node)?;
                    if expires.nanos != 0 {
                        permission.expires = expires.to_std();
                    }
                }
                _ => self.unknown_permission(written, node),
            }
        }
        Some(permission)
    }
}

/// Returns `None` for an empty list, which counts as absent, as in nats-server.
fn non_empty(subjects: Vec<String>) -> Option<Vec<String>> {
    (!subjects.is_empty()).then_some(subjects)
}

fn check_subject(text: &str, allow_queue: bool) -> Result<(), String> {
    let is_valid = |text: &str| !text.contains(char::is_whitespace) && is_valid_subject(text.as_bytes());
    let invalid = |text: &str| Err(format!("subject {text:?} is not a valid subject"));
    if is_valid(text) {
        return Ok(());
    }
    let parts: Vec<_> = text.split_whitespace().collect();
    match parts[..] {
        [subject, _] if allow_queue && !is_valid(subject) => invalid(subject),
        [_, queue] if allow_queue && !is_valid(queue) => Err(format!("queue {queue:?} is not a valid queue")),
        [_, _] if allow_queue => Ok(()),
        _ => invalid(text),
    }
}
