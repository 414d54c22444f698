//! The `authorization` block and lists of users.

use std::{collections::HashSet, sync::Arc, time::Duration};

use stonechat_auth::{Authorization, ConnectionKind, ConnectionKinds, Password, Permissions, User};

use super::reader::{Reader, in_order};
use crate::{
    duration,
    lang::{Node, Value},
};

/// The timeout in seconds above which a warning follows: the file probably has `1m`, a million, instead of `"1m"`.
const TIMEOUT_SECONDS_HIGH: f64 = 60.0;

/// The users of a list.
pub(super) type Users = Vec<User>;

impl Reader {
    pub(super) fn authorization(&mut self, node: &Node) -> Option<Authorization> {
        let mut auth = Authorization { is_defined: true, ..Authorization::default() };
        for (key, written, node) in in_order(self.map(node)?) {
            match key.as_str() {
                "user" | "username" => auth.user = self.text(node).flatten(),
                "pass" | "password" => auth.password = self.text(node).flatten().map(Password::new),
                "token" => auth.token = self.text(node).flatten().map(Password::new),
                "timeout" => auth.timeout = self.auth_timeout(written, node),
                "users" => auth.users = self.users(node, "authorization"),
                "default_permission" | "default_permissions" | "permissions" => {
                    auth.default_permissions = self.permissions(node);
                }
                "auth_callout" | "auth_hook" => {
                    self.check_auth_callout(node);
                    self.refuse("authorization.auth_callout", node);
                }
                "proxy_required" => {
                    if self.boolean(node) == Some(true) {
                        self.refuse("authorization.proxy_required", node);
                    }
                }
                _ => self.unknown(written, node),
            }
        }
        apply_default_permissions(auth.users.iter_mut().flatten(), auth.default_permissions.as_ref());
        self.check_exclusive(&auth, node);
        Some(auth)
    }

    fn check_exclusive(&mut self, auth: &Authorization, node: &Node) {
        if (auth.user.is_some() || auth.password.is_some()) && auth.token.is_some() {
            self.error(&node.position, "Cannot have a user/pass and token");
        } else if let Some(users) = &auth.users {
            if auth.user.is_some() {
                self.error(&node.position, "Can not have a single user/pass and a users array");
            } else if auth.token.is_some() {
                self.error(&node.position, "Can not have a token and a users array");
            }
            self.check_duplicates(users, &mut HashSet::new(), node);
        }
    }

    /// Notes an error for each user whose name is in `taken`, and adds the names.
    pub(super) fn check_duplicates(&mut self, users: &[User], taken: &mut HashSet<String>, node: &Node) {
        for user in users {
            if !taken.insert(user.name.clone()) {
                self.error(&node.position, format!("Duplicate user {:?} detected", user.name));
            }
        }
    }

    /// Reads seconds, whole or not, or a duration.
    pub(super) fn auth_timeout(&mut self, field: &str, node: &Node) -> Option<Duration> {
        let invalid = "error parsing authorization config, 'timeout'";
        let seconds = match &node.value {
            Value::Integer(seconds) => *seconds as f64,
            Value::Float(seconds) => *seconds,
            Value::String(text) => match duration::parse(text) {
                Ok(duration) => duration.nanos as f64 / 1e9,
                Err(error) => {
                    self.error(&node.position, format!("{invalid} {error}"));
                    return None;
                }
            },
            _ => {
                self.error(&node.position, format!("{invalid} wrong type"));
                return None;
            }
        };
        if seconds > TIMEOUT_SECONDS_HIGH {
            let reason = format!(
                "timeout of {seconds} seconds is high, consider keeping it under 60 seconds (an unquoted 1m is a \
                 million; write '1m' for a minute)"
            );
            self.warn(&node.position, field, &reason);
        }
        let timeout = Duration::try_from_secs_f64(seconds).ok();
        if timeout.is_none() {
            self.error(&node.position, format!("{invalid} is out of range"));
        }
        timeout.filter(|timeout| !timeout.is_zero())
    }

    pub(super) fn users(&mut self, node: &Node, block: &str) -> Option<Users> {
        let Value::Array(items) = &node.value else {
            let reason = format!("Expected users field to be an array, got {}", node.value.shown());
            self.error(&node.position, reason);
            return None;
        };
        Some(items.iter().filter_map(|item| self.user(item, block)).collect())
    }

    fn user(&mut self, entry: &Node, block: &str) -> Option<User> {
        let Value::Map(map) = &entry.value else {
            self.error(&entry.position, "Expected user entry to be a map/struct");
            return None;
        };
        let mut user = User::new("", "");
        let mut nkey = None;
        let mut is_well_formed = true;
        for (key, written, node) in in_order(map) {
            match key.as_str() {
                "nkey" => {
                    nkey = self.string(node);
                    self.refuse(&format!("{block}.users.nkey"), node);
                }
                "user" | "username" => match self.string(node) {
                    Some(name) => name.clone_into(&mut user.name),
                    None => is_well_formed = false,
                },
                "pass" | "password" => match self.string(node) {
                    Some(password) => user.password = Password::new(password),
                    None => is_well_formed = false,
                },
                "permission" | "permissions" | "authorization" => user.permissions = self.permissions(node),
                "allowed_connection_types" | "connection_types" | "clients" => {
                    user.allowed_connection_types = self.connection_kinds(node);
                }
                "proxy_required" => {
                    if self.boolean(node) == Some(true) {
                        self.refuse(&format!("{block}.users.proxy_required"), node);
                    }
                }
                _ => self.unknown(written, node),
            }
        }
        match nkey {
            None if user.name.is_empty() && is_well_formed => {
                self.error(&entry.position, "User entry requires a user");
                None
            }
            None => is_well_formed.then_some(user),
            Some(nkey) if !is_public_nkey(nkey, 'U') => {
                self.error(&entry.position, "Not a valid public nkey for a user");
                None
            }
            Some(_) if !user.name.is_empty() || !user.password.is_empty() => {
                self.error(&entry.position, "Nkey users do not take usernames or passwords");
                None
            }
            Some(_) => None,
        }
    }

    fn connection_kinds(&mut self, node: &Node) -> ConnectionKinds {
        let mut kinds = ConnectionKinds::default();
        let mut unknown = Vec::new();
        for name in self.strings(node).unwrap_or_default() {
            match ConnectionKind::from_name(&name) {
                Some(kind) => kinds.insert(kind),
                None => unknown.push(format!("{name:?}")),
            }
        }
        if !unknown.is_empty() {
            self.error(&node.position, format!("invalid connection types [{}]", unknown.join(" ")));
        }
        kinds
    }
}

/// Returns whether a text has the form of a public nkey with this prefix.
pub(super) fn is_public_nkey(text: &str, prefix: char) -> bool {
    text.starts_with(prefix) && stonechat_auth::is_public_key(text)
}

pub(super) fn apply_default_permissions<'u>(
    users: impl Iterator<Item = &'u mut User>,
    defaults: Option<&Arc<Permissions>>,
) {
    for user in users {
        if user.permissions.is_none() {
            user.permissions = defaults.cloned();
        }
    }
}
