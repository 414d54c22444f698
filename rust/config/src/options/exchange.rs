//! The exports and imports of accounts, whose types were checked.

use stonechat_auth::{AccountDef, Exchange, Export, Import, ImportError, ResponseType};

use super::{
    imports::{GoodImports, NoImport},
    reader::{Reader, in_order},
};
use crate::lang::{Map, Node, Position, Value};

impl Reader {
    /// Reads the exports of an account.
    pub(super) fn exports(&mut self, field: &str, node: &Node) -> Vec<Export> {
        let Value::Array(items) = &node.value else { return Vec::new() };
        items.iter().filter_map(|item| self.export(field, item)).collect()
    }

    fn export(&mut self, field: &str, node: &Node) -> Option<Export> {
        let Value::Map(map) = &node.value else { return None };
        let mut found: Option<(Exchange, String)> = None;
        let (mut accounts, mut response) = (Vec::new(), ResponseType::Singleton);
        let mut of_services: Vec<(&str, &Node)> = Vec::new();
        for (key, _, node) in in_order(map) {
            match key.as_str() {
                "latency" => of_services.push(("latency", node)),
                "allow_trace" => of_services.push(("allow_trace", node)),
                "stream" | "service" | "accounts" | "account_token_position" => {}
                _ => of_services.push(("response", node)),
            }
            match key.as_str() {
                "stream" | "service" => {
                    let exchange = if key == "stream" { Exchange::Stream } else { Exchange::Service };
                    let subject = self.string(node)?.to_owned();
                    if found.is_some() {
                        let other = if key == "stream" { "service" } else { "stream" };
                        let reason = format!("Detected {key} {subject:?} but already saw a {other}");
                        self.error(&node.position, reason);
                        continue;
                    }
                    found = Some((exchange, subject));
                }
                "response" | "response_type" => {
                    response = match self.string(node)?.to_ascii_lowercase().as_str() {
                        "stream" => ResponseType::Stream,
                        "chunk" | "chunked" => ResponseType::Chunked,
                        _ => ResponseType::Singleton,
                    };
                }
                "accounts" => {
                    let Value::Array(items) = &node.value else { continue };
                    accounts = items.iter().filter_map(|item| self.string(item).map(str::to_owned)).collect();
                }
                // The longest response time. It is only checked: the server keeps reply subjects longer anyway.
                "threshold" | "response_threshold" | "response_max_time" | "response_time" => {
                    let text = self.string(node)?;
                    if crate::duration::parse(text).is_err() {
                        let reason = format!(
                            "Expected response threshold to be a parseable time duration, got {text:?}"
                        );
                        self.error(&node.position, reason);
                    }
                }
                // Without this restriction, accounts would get messages that are meant for others.
                "account_token_position" if self.integer(node)? > 0 => {
                    self.refuse(&format!("{field}.{key}"), node);
                }
                "account_token_position" => {}
                "latency" => {
                    self.check_latency(node);
                    self.ignore(&format!("{field}.latency"), node);
                }
                _ => self.ignore(&format!("{field}.{key}"), node),
            }
        }
        let (exchange, subject) = found?;
        for (directive, node) in of_services.into_iter().filter(|_| exchange == Exchange::Stream) {
            self.error(&node.position, format!("Detected {directive} directive on non-service"));
        }
        Some(Export { exchange, subject, accounts, response })
    }

    /// Checks the share of a service's requests whose latency is measured, and the subject of the samples.
    fn check_latency(&mut self, node: &Node) {
        let Value::Map(map) = &node.value else { return };
        let mut has_subject = false;
        for (key, _, node) in in_order(map) {
            match (key.as_str(), &node.value) {
                ("subject", _) => has_subject = true,
                ("sampling", Value::String(text)) if text.trim().eq_ignore_ascii_case("headers") => {}
                ("sampling", value) => match percent(value) {
                    Some(1..=100) => {}
                    Some(_) => self.error(&node.position, "bad sampling percentage, should be 1-100"),
                    None => self.error(&node.position, "Failed to parse latency sample: it is no percentage"),
                },
                _ => {}
            }
        }
        if !has_subject {
            self.error(&node.position, "Latency subject required, but missing");
        }
    }

    /// Reads the imports of an account.
    pub(super) fn imports(&mut self, field: &str, node: &Node) -> Vec<Import> {
        let Value::Array(items) = &node.value else { return Vec::new() };
        items.iter().filter_map(|item| self.import(field, item)).collect()
    }

    fn import(&mut self, field: &str, node: &Node) -> Option<Import> {
        let Value::Map(map) = &node.value else { return None };
        let mut found: Option<(Exchange, String, String)> = None;
        let (mut to, mut prefix, mut share) = (None, None, false);
        let mut to_position: Option<Position> = None;
        for (key, _, node) in in_order(map) {
            match key.as_str() {
                "stream" | "service" => {
                    let exchange = if key == "stream" { Exchange::Stream } else { Exchange::Service };
                    if found.is_some() {
                        let other = if key == "stream" { "service" } else { "stream" };
                        self.error(&node.position, format!("Detected {key} but already saw a {other}"));
                        continue;
                    }
                    let Value::Map(source) = &node.value else { continue };
                    let (account, subject) = self.import_source(source);
                    if account.is_empty() || subject.is_empty() {
                        self.error(&node.position, "Expect an account name and a subject");
                        continue;
                    }
                    found = Some((exchange, account, subject));
                }
                "to" => {
                    to = self.string(node).map(str::to_owned);
                    to_position = Some(node.position.clone());
                }
                "prefix" => prefix = self.string(node).map(str::to_owned),
                "share" => share = self.boolean(node).unwrap_or(false),
                _ => self.ignore(&format!("{field}.{key}"), node),
            }
        }
        let (exchange, account, subject) = found?;
        if exchange == Exchange::Service
            && let Some((.., node)) = in_order(map).into_iter().find(|(key, ..)| key == "allow_trace")
        {
            self.error(&node.position, "Detected allow_trace directive on a non-stream");
        }
        if exchange == Exchange::Stream
            && prefix.is_some()
            && let Some(position) = to_position
        {
            self.error(&position, "Stream import can not have a 'prefix' and a 'to' property");
            return None;
        }
        Some(Import { exchange, account, subject, to, prefix, share })
    }

    fn import_source(&mut self, map: &Map) -> (String, String) {
        let (mut account, mut subject) = (String::new(), String::new());
        for (key, _, node) in in_order(map) {
            let text = self.string(node).unwrap_or_default().to_owned();
            *(if key == "account" { &mut account } else { &mut subject }) = text;
        }
        (account, subject)
    }

    /// Checks the exports and imports of all accounts, once all accounts are known, and removes invalid imports. As in
    /// nats-server, the errors have the position of the whole block.
    pub(super) fn check_exchange(&mut self, accounts: &mut [AccountDef], position: &Position) {
        let names: Vec<String> = accounts.iter().map(|account| account.name.clone()).collect();
        for export in accounts.iter_mut().flat_map(|account| &mut account.exports) {
            let kind = export.exchange.name();
            for name in export.accounts.iter().filter(|name| !names.contains(name)) {
                self.error(position, format!("{name:?} account not defined for {kind} export"));
            }
            export.accounts.retain(|name| names.contains(name));
        }
        // As in nats-server, the streams of all accounts come first.
        let mut good = GoodImports::new(accounts);
        for exchange in [Exchange::Stream, Exchange::Service] {
            for (at, account) in accounts.iter().enumerate() {
                for import in account.imports.iter().filter(|import| import.exchange == exchange) {
                    let kind = exchange.name();
                    match good.add(at, import) {
                        Ok(()) => {}
                        Err(NoImport::UnknownAccount) => {
                            let reason =
                                format!("{:?} account not defined for {kind} import", import.account);
                            self.error(position, reason);
                        }
                        Err(NoImport::Refused(e @ ImportError::DuplicateService { .. })) => {
                            self.error(position, e.to_string());
                        }
                        Err(NoImport::Refused(e)) => {
                            let reason = format!("Error adding {kind} import {:?}: {e}", import.subject);
                            self.error(position, reason);
                        }
                    }
                }
            }
        }
        let good = good.imports;
        for (account, imports) in accounts.iter_mut().zip(good) {
            account.imports = imports;
        }
    }
}

/// Returns a percentage from a whole number, or from a text such as `25%`.
pub(super) fn percent(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::String(text) => text.strip_suffix('%').unwrap_or(text).parse().ok(),
        _ => None,
    }
}
