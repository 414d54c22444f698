//! The `accounts` block and subject mappings.

use std::collections::{HashMap, HashSet};

use stonechat_auth::{AccountDef, AccountLimits, GLOBAL_ACCOUNT};
use stonechat_subject::{Transform, is_valid_literal, is_valid_subject};

use super::{
    authorization::{apply_default_permissions, is_public_nkey},
    blocks::{ACCOUNT_JETSTREAM, EXPORTS, IMPORTS, MAPPING_DESTINATION, MSG_TRACE},
    exchange::percent,
    reader::{Reader, in_order},
    schema::Kind,
};
use crate::{
    error::Issue,
    lang::{Map, Node, Position, Value},
};

impl Reader {
    /// Reads accounts from a list of names, or from a block with a block for each account.
    pub(super) fn accounts(&mut self, node: &Node) -> Vec<AccountDef> {
        match &node.value {
            Value::Array(items) => self.account_names(items),
            Value::Map(map) => self.account_blocks(map, &node.position),
            _ => {
                self.wrong_type(node, "a list of accounts or a block");
                Vec::new()
            }
        }
    }

    fn account_names(&mut self, items: &[Node]) -> Vec<AccountDef> {
        let mut accounts: Vec<AccountDef> = Vec::new();
        for item in items {
            let Some(name) = self.string(item) else { continue };
            if accounts.iter().any(|account| account.name == name) {
                self.error(&item.position, format!("Duplicate Account Entry: {name}"));
            } else if self.is_free_account_name(name, item) {
                accounts.push(AccountDef { name: name.to_owned(), ..AccountDef::default() });
            }
        }
        accounts
    }

    fn is_free_account_name(&mut self, name: &str, node: &Node) -> bool {
        let is_free = name != GLOBAL_ACCOUNT;
        if !is_free {
            self.error(&node.position, format!("{name:?} is a Reserved Account"));
        }
        is_free
    }

    fn account_blocks(&mut self, map: &Map, position: &Position) -> Vec<AccountDef> {
        let mut accounts = Vec::new();
        let mut taken = HashSet::new();
        for (_, name, node) in in_order(map) {
            // The entry only holds values for variables.
            if node.is_used_variable {
                continue;
            }
            let Value::Map(entries) = &node.value else {
                self.error(&node.position, "Expected map entries for accounts");
                continue;
            };
            if self.is_free_account_name(name, node) {
                accounts.push(self.account(name, entries, &mut taken));
            }
        }
        self.check_exchange(&mut accounts, position);
        accounts
    }

    fn account(&mut self, name: &str, entries: &Map, taken: &mut HashSet<String>) -> AccountDef {
        let mut account = AccountDef { name: name.to_owned(), ..AccountDef::default() };
        let field = |key: &str| format!("accounts.{name}.{key}");
        for (key, written, node) in in_order(entries) {
            match key.as_str() {
                "users" => {
                    account.users = self.users(node, &format!("accounts.{name}")).unwrap_or_default();
                    self.check_duplicates(&account.users, taken, node);
                }
                "default_permissions" => account.default_permissions = self.permissions(node),
                "limits" => {
                    account.limits = self.account_limits(&field("limits"), node).unwrap_or_default();
                }
                "nkey" => {
                    if self.string(node).is_some_and(|nkey| !is_public_nkey(nkey, 'A')) {
                        self.error(&node.position, "Not a valid public nkey for an account");
                    }
                    self.refuse(&field("nkey"), node);
                }
                "imports" => {
                    self.check(&key, node, &IMPORTS);
                    account.imports = self.imports(&field("imports"), node);
                }
                "exports" => {
                    self.check(&key, node, &EXPORTS);
                    account.exports = self.exports(&field("exports"), node);
                }
                "jetstream" => {
                    self.check(&key, node, &ACCOUNT_JETSTREAM);
                    if let Some(limits) = self.account_jetstream(node) {
                        self.jetstream_accounts.insert(name.to_owned(), limits);
                    }
                }
                "mappings" | "maps" => {
                    self.check_mappings(node);
                    self.ignore(&field("mappings"), node);
                }
                "msg_trace" | "trace_dest" => {
                    self.check(&key, node, &MSG_TRACE);
                    self.check_trace(node);
                    self.ignore(&field("msg_trace"), node);
                }
                _ => self.unknown(written, node),
            }
        }
        for user in &mut account.users {
            user.account = Some(name.to_owned());
        }
        apply_default_permissions(account.users.iter_mut(), account.default_permissions.as_ref());
        account
    }

    fn account_limits(&mut self, field: &str, node: &Node) -> Option<AccountLimits> {
        let Value::Map(map) = &node.value else {
            self.error(&node.position, "Expected account limits to be a map/struct");
            return None;
        };
        let mut limits = AccountLimits::default();
        for (key, written, node) in in_order(map) {
            let limit = match key.as_str() {
                "max_connections" | "max_conn" => &mut limits.max_connections,
                "max_subscriptions" | "max_subs" => &mut limits.max_subscriptions,
                "max_payload" | "max_pay" => &mut limits.max_payload,
                "max_leafnodes" | "max_leafs" => &mut limits.max_leafnodes,
                _ => {
                    if !node.is_used_variable {
                        let reason = format!("Unknown field {written:?} parsing account limits");
                        self.error(&node.position, reason);
                    }
                    continue;
                }
            };
            *limit = self.integer(node).and_then(|number| u64::try_from(number).ok());
            // There are no leaf nodes to limit, and a negative number means no limit.
            if limit.is_some() && !key.starts_with("max_leaf") {
                self.refuse(&format!("{field}.{key}"), node);
            }
        }
        Some(limits)
    }

    /// Checks the destination of an account's traces and the share of messages that are traced.
    fn check_trace(&mut self, node: &Node) {
        let map = match &node.value {
            Value::String(subject) => return self.check_trace_destination(subject, node),
            Value::Map(map) => map,
            _ => return,
        };
        let (mut has_destination, mut has_sampling) = (false, false);
        for (key, _, node) in in_order(map) {
            match (key.as_str(), &node.value) {
                ("dest", Value::String(subject)) => {
                    has_destination = !subject.is_empty();
                    self.check_trace_destination(subject, node);
                }
                ("sampling", value) => {
                    has_sampling = true;
                    let reason = match (percent(value), value) {
                        (Some(1..=100), _) => continue,
                        // The typo is nats-server's, whose message this is.
                        (Some(number), _) => {
                            format!(
                                "Ttrace destination sampling value {number} is invalid, needs to be [1..100]"
                            )
                        }
                        (None, Value::String(text)) => {
                            format!("Invalid trace destination sampling value {text:?}")
                        }
                        (None, _) => continue,
                    };
                    self.error(&node.position, reason);
                }
                _ => {}
            }
        }
        if has_sampling && !has_destination {
            let reason = "Trace destination sampling ignored since no destination was set";
            self.warnings.push(Issue::at(&node.position, reason));
        }
    }

    fn check_trace_destination(&mut self, subject: &str, node: &Node) {
        if !is_valid_literal(subject.as_bytes()) {
            self.error(&node.position, format!("Trace destination {subject:?} is not valid"));
        }
    }

    /// Checks `source: destination`, or a source with one or several weighted destinations.
    pub(super) fn check_mappings(&mut self, node: &Node) {
        let Some(map) = self.map(node) else { return };
        for (_, subject, node) in in_order(map) {
            if !is_valid_subject(subject.as_bytes()) {
                self.error(&node.position, format!("Subject {subject:?} is not a valid subject"));
            }
            let before = self.errors.len();
            match &node.value {
                Value::String(_) => {}
                Value::Array(items) => items.iter().for_each(|item| self.check_mapping_destination(item)),
                _ => self.check_mapping_destination(node),
            }
            if self.errors.len() == before
                && let Err(reason) = check_mapping(subject, node)
            {
                self.error(&node.position, reason);
            }
        }
    }

    fn check_mapping_destination(&mut self, node: &Node) {
        let Value::Map(map) = &node.value else {
            return self.error(&node.position, "Expected an entry for the mapping destination");
        };
        self.check("", node, &Kind::Block(&MAPPING_DESTINATION));
        let Some(weight) =
            map.iter().find(|(key, _)| key.eq_ignore_ascii_case("weight")).map(|(_, node)| node)
        else {
            return self.error(&node.position, "Missing weight for mapping destination");
        };
        match percent(&weight.value) {
            Some(0..=100) => {}
            Some(number) => {
                let reason = format!("Invalid weight {number} for mapping destination");
                self.error(&weight.position, reason);
            }
            None => self.error(&weight.position, "Invalid weight for mapping destination"),
        }
    }
}

/// Checks the destinations of a mapping together. Their types were checked.
fn check_mapping(source: &str, node: &Node) -> Result<(), String> {
    if let Value::String(destination) = &node.value {
        let made = Transform::new(source.as_bytes(), destination.as_bytes());
        return made
            .map(drop)
            .map_err(|error| format!("Error adding mapping for {source:?} to {destination:?} : {error}"));
    }
    let items = match &node.value {
        Value::Array(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let failed = |reason: String| format!("Error adding mapping for {source:?} : {reason}");
    let mut seen = HashSet::new();
    let mut totals: HashMap<&str, i64> = HashMap::new();
    for item in items {
        let Value::Map(map) = &item.value else { continue };
        let value = |names: [&str; 2]| {
            map.iter()
                .find(|(key, _)| names.iter().any(|n| key.eq_ignore_ascii_case(n)))
                .map(|(_, node)| &node.value)
        };
        let text = |names| match value(names) {
            Some(Value::String(text)) => text.as_str(),
            _ => "",
        };
        let destination = text(["dest", "destination"]);
        if !seen.insert(destination) {
            return Err(failed(format!("duplicate entry for {destination:?}")));
        }
        let total = totals.entry(text(["cluster", "cluster"])).or_default();
        *total += value(["weight", "weight"]).and_then(percent).unwrap_or_default();
        if *total > 100 {
            return Err(failed("total weight needs to be <= 100".into()));
        }
        Transform::new(source.as_bytes(), destination.as_bytes()).map_err(|e| failed(e.to_string()))?;
    }
    Ok(())
}
