//! Conversion of a configuration file's tree to options.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use super::{
    Options, WriteTimeout,
    blocks::JETSTREAM,
    reader::{Reader, in_order},
    schema::Kind,
    unsupported::{Effect, UnsupportedBlock},
};
use crate::{
    error::{ConfigErrors, Issue},
    lang::{Map, Node, Position, Value},
};

/// The shortest lame duck duration that a file may configure.
const LAME_DUCK_DURATION_MIN: Duration = Duration::from_secs(30);

/// Overrides `options` with the tree of the file called `name`. Returns the warnings.
///
/// # Errors
/// Returns all errors of the file, with its warnings.
pub(crate) fn read_tree(options: &mut Options, tree: &Map, name: &str) -> Result<Vec<Issue>, ConfigErrors> {
    let mut file = File { reader: Reader::default(), options, users: None, store_dir: None };
    if tree.is_empty() {
        file.reader.warnings.push(Issue::general(format!("{name}: config has no values or is empty")));
    }
    for (key, written, node) in in_order(tree) {
        file.entry(&key, written, node);
    }
    file.check_users();
    file.reader.name_fields(tree);
    let Reader { mut errors, mut warnings, unsupported, .. } = file.reader;
    options.unsupported.extend(unsupported);
    for issues in [&mut errors, &mut warnings] {
        issues.sort_by_key(|issue| issue.position.as_ref().map(|p| (p.line, p.column)));
    }
    // A value that is first checked and then read may cause the same error twice.
    errors.dedup();
    if errors.is_empty() { Ok(warnings) } else { Err(ConfigErrors { errors, warnings }) }
}

struct File<'o> {
    reader: Reader,
    options: &'o mut Options,
    /// The position of the `accounts` block.
    users: Option<Position>,
    /// The position of the storage directory.
    store_dir: Option<Position>,
}

/// Sets an option if its value could be read.
fn set<T>(option: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *option = value;
    }
}

impl File<'_> {
    fn entry(&mut self, key: &str, written: &str, node: &Node) {
        let is_known = self.listener(key, node)
            || self.logging(key, node)
            || self.limit(key, node)
            || self.switch(key, node)
            || self.identity(key, node)
            || self.block(key, node)
            || self.reader.read_security(key, node);
        if !is_known {
            self.reader.unknown(written, node);
        }
    }

    fn listener(&mut self, key: &str, node: &Node) -> bool {
        let Self { reader, options, .. } = self;
        match key {
            "listen" => {
                if let Some((host, port)) = reader.listen(node) {
                    options.host = host;
                    options.port = port;
                }
            }
            "host" | "net" => set(&mut options.host, reader.string(node).map(str::to_owned)),
            "port" => set(&mut options.port, reader.port(node)),
            "client_advertise" => set(&mut options.client_advertise, reader.text(node)),
            "http" => {
                if let Some((host, port)) = reader.listen(node) {
                    options.http_host = Some(host).filter(|host| !host.is_empty());
                    options.http_port = port;
                }
            }
            "http_port" | "monitor_port" => set(&mut options.http_port, reader.port(node)),
            "https_port" => {
                set(&mut options.https_port, reader.port(node));
                if options.https_port != 0 {
                    reader.refuse("https_port", node);
                }
            }
            "http_base_path" => {
                set(&mut options.http_base_path, reader.string(node).map(normal_base_path));
            }
            "prof_port" => {
                set(&mut options.prof_port, reader.port(node));
                if options.prof_port != 0 {
                    reader.ignore("prof_port", node);
                }
            }
            "prof_block_rate" => reader.check(key, node, &Kind::Integer),
            "tls" => options.tls = reader.tls(node).or(options.tls.take()),
            "allow_non_tls" => set(&mut options.allow_non_tls, reader.boolean(node)),
            "proxy_protocol" => {
                set(&mut options.proxy_protocol, reader.boolean(node));
                if options.proxy_protocol {
                    reader.refuse("proxy_protocol", node);
                }
            }
            _ => return false,
        }
        true
    }

    fn logging(&mut self, key: &str, node: &Node) -> bool {
        let Self { reader, options, .. } = self;
        match key {
            "debug" => set(&mut options.debug, reader.boolean(node)),
            "trace" => set(&mut options.trace, reader.boolean(node)),
            "trace_verbose" => {
                set(&mut options.trace_verbose, reader.boolean(node));
                options.trace = options.trace_verbose;
            }
            "trace_headers" => {
                set(&mut options.trace_headers, reader.boolean(node));
                options.trace = options.trace_headers;
            }
            "logtime" => set(&mut options.logtime, reader.boolean(node)),
            "logtime_utc" => set(&mut options.logtime_utc, reader.boolean(node)),
            "logfile" | "log_file" => set(&mut options.log_file, path(reader, node)),
            "logfile_size_limit" | "log_size_limit" => {
                set(&mut options.logfile_size_limit, reader.natural(node));
            }
            "logfile_max_num" | "log_max_num" => set(&mut options.logfile_max_num, reader.natural(node)),
            "syslog" => {
                set(&mut options.syslog, reader.boolean(node));
                if options.syslog {
                    reader.ignore("syslog", node);
                }
            }
            "remote_syslog" => {
                set(&mut options.remote_syslog, reader.text(node));
                reader.ignore("remote_syslog", node);
            }
            "max_traced_msg_len" => set(&mut options.max_traced_msg_len, size(reader, node)),
            "pidfile" | "pid_file" => set(&mut options.pid_file, path(reader, node)),
            "ports_file_dir" => set(&mut options.ports_file_dir, path(reader, node)),
            _ => return false,
        }
        true
    }

    fn limit(&mut self, key: &str, node: &Node) -> bool {
        let defaults = Options::default();
        let Self { reader, options, .. } = self;
        match key {
            // No connection is allowed with zero or a negative number.
            "max_connections" | "max_conn" => set(&mut options.max_connections, reader.natural(node)),
            "max_control_line" => {
                if let Some(number) = int32(reader, key, node) {
                    let length = u32::try_from(number).unwrap_or(0);
                    options.max_control_line = or_default(length, defaults.max_control_line);
                }
            }
            "max_payload" => {
                let payload = int32(reader, key, node);
                set(&mut options.max_payload, payload.map(|n| or_default(n, defaults.max_payload)));
            }
            "max_pending" => {
                let pending = reader.natural(node);
                set(&mut options.max_pending, pending.map(|n| or_default(n, defaults.max_pending)));
            }
            "max_subscriptions" | "max_subs" => set(&mut options.max_subscriptions, reader.natural(node)),
            "max_sub_tokens" | "max_subscription_tokens" => {
                set(&mut options.max_subscription_tokens, tokens(reader, key, node));
            }
            "max_closed_clients" => {
                let clients = size(reader, node);
                set(
                    &mut options.max_closed_clients,
                    clients.map(|n| or_default(n, defaults.max_closed_clients)),
                );
            }
            "ping_interval" => {
                options.ping_interval = reader.positive_duration(key, node).unwrap_or(defaults.ping_interval);
            }
            "ping_max" => {
                let pings = count(reader, node);
                set(&mut options.ping_max, pings.map(|n| or_default(n, defaults.ping_max)));
            }
            "write_deadline" => {
                options.write_deadline =
                    reader.positive_duration(key, node).unwrap_or(defaults.write_deadline);
            }
            "write_timeout" => set(&mut options.write_timeout, write_timeout(reader, node)),
            "lame_duck_duration" => set(&mut options.lame_duck_duration, lame_duck(reader, node)),
            "lame_duck_grace_period" => {
                if let Some(duration) = reader.duration_text(key, node) {
                    match duration.to_std() {
                        Some(period) => {
                            options.lame_duck_grace_period =
                                if period.is_zero() { defaults.lame_duck_grace_period } else { period };
                        }
                        None => {
                            reader.error(
                                &node.position,
                                "invalid lame_duck_grace_period, needs to be positive",
                            );
                        }
                    }
                }
            }
            "connect_error_reports" => {
                let reports = count(reader, node);
                set(
                    &mut options.connect_error_reports,
                    reports.map(|n| or_default(n, defaults.connect_error_reports)),
                );
            }
            "reconnect_error_reports" => {
                let reports = count(reader, node);
                set(
                    &mut options.reconnect_error_reports,
                    reports.map(|n| or_default(n, defaults.reconnect_error_reports)),
                );
            }
            _ => return false,
        }
        true
    }

    fn switch(&mut self, key: &str, node: &Node) -> bool {
        let Self { reader, options, .. } = self;
        match key {
            "no_fast_producer_stall" => set(&mut options.no_fast_producer_stall, reader.boolean(node)),
            "allow_unsupported" => set(&mut options.allow_unsupported, reader.boolean(node)),
            "no_header_support" => set(&mut options.no_header_support, reader.boolean(node)),
            "disable_sublist_cache" | "no_sublist_cache" => {
                set(&mut options.disable_sublist_cache, reader.boolean(node));
            }
            "no_system_account" | "no_system" | "no_sys_acc" => {
                set(&mut options.no_system_account, reader.boolean(node));
            }
            "feature_flags" => {
                for (_, flag, node) in reader.map(node).map(in_order).unwrap_or_default() {
                    match node.value {
                        Value::Bool(value) => drop(options.feature_flags.insert(flag.to_owned(), value)),
                        _ => {
                            let found = node.value.type_name();
                            let reason =
                                format!("error parsing feature flag {flag:?}: expected bool, got {found}");
                            reader.error(&node.position, reason);
                        }
                    }
                }
            }
            _ => return false,
        }
        true
    }

    fn identity(&mut self, key: &str, node: &Node) -> bool {
        let Self { reader, options, .. } = self;
        match key {
            "server_name" => {
                let name = reader.text(node);
                if name.iter().flatten().any(|name| name.contains(' ')) {
                    reader.error(&node.position, "server name cannot contain spaces");
                } else {
                    set(&mut options.server_name, name);
                }
            }
            "server_tags" => {
                for tag in reader.strings(node).unwrap_or_default() {
                    let tag = tag.trim().to_lowercase();
                    if !options.server_tags.contains(&tag) {
                        options.server_tags.push(tag);
                    }
                }
            }
            "server_metadata" => {
                for (_, key, node) in reader.map(node).map(in_order).unwrap_or_default() {
                    if let Some(value) = reader.string(node) {
                        options.server_metadata.insert(key.to_owned(), value.to_owned());
                    }
                }
            }
            "authorization" => {
                if let Some(authorization) = reader.authorization(node) {
                    let no_auth_user = options.authorization.no_auth_user.take();
                    options.authorization = authorization;
                    options.authorization.no_auth_user = no_auth_user;
                }
            }
            "accounts" => {
                options.accounts = reader.accounts(node);
                options.jetstream_accounts = std::mem::take(&mut reader.jetstream_accounts);
                self.users = Some(node.position.clone());
            }
            "no_auth_user" => set(&mut options.authorization.no_auth_user, reader.text(node)),
            "system_account" | "system" => match &node.value {
                Value::String(name) => {
                    options.system_account = Some(name.clone()).filter(|name| !name.is_empty());
                }
                _ => reader.error(&node.position, "system account name must be a string"),
            },
            _ => return false,
        }
        true
    }

    fn block(&mut self, key: &str, node: &Node) -> bool {
        if let Some(block) = UnsupportedBlock::named(key) {
            self.reader.check(key, node, &Kind::Block(block.schema));
            self.reader.unsupported_field(block.name(), node, Effect::Capability);
            return true;
        }
        match key {
            "default_js_domain" => {
                self.reader.check(key, node, &Kind::Entries(&Kind::Text));
                self.reader.ignore("default_js_domain", node);
            }
            "mappings" | "maps" => {
                self.reader.check_mappings(node);
                self.reader.ignore("mappings", node);
            }
            "jetstream" => self.jetstream(node),
            "store_dir" | "storedir" => self.store_dir(node),
            _ => return false,
        }
        true
    }

    fn jetstream(&mut self, node: &Node) {
        let is_enabled = match &node.value {
            Value::Bool(is_enabled) => *is_enabled,
            Value::String(word) if ["enabled", "enable"].iter().any(|w| w.eq_ignore_ascii_case(word)) => true,
            Value::String(word) if ["disabled", "disable"].iter().any(|w| w.eq_ignore_ascii_case(word)) => {
                false
            }
            Value::String(word) => {
                let reason = format!("Expected 'enabled' or 'disabled' for string value, got '{word}'");
                return self.reader.error(&node.position, reason);
            }
            Value::Map(map) => {
                self.reader.check("jetstream", node, &Kind::Block(&JETSTREAM));
                let mut is_enabled = true;
                for (key, _, node) in in_order(map) {
                    match (key.as_str(), &node.value) {
                        ("store" | "store_dir" | "storedir", _) => self.store_dir(node),
                        ("enable" | "enabled", Value::Bool(value)) => is_enabled = *value,
                        _ => {}
                    }
                }
                self.reader.jetstream_block(map, &mut self.options.jetstream_options);
                is_enabled
            }
            _ => return self.reader.wrong_type(node, "a block, a boolean or a string"),
        };
        self.options.jetstream = is_enabled;
    }

    fn store_dir(&mut self, node: &Node) {
        if self.store_dir.is_some() {
            return self.reader.error(&node.position, "Duplicate 'store_dir' configuration");
        }
        self.store_dir = Some(node.position.clone());
        set(&mut self.options.store_dir, path(&mut self.reader, node));
    }

    /// Checks that the authorization block and the users of accounts don't conflict.
    fn check_users(&mut self) {
        let Some(position) = &self.users else { return };
        let auth = &self.options.authorization;
        if self.options.accounts.iter().all(|account| account.users.is_empty()) {
            return;
        }
        if auth.user.is_some() {
            self.reader.error(position, "Can not have a single user/pass and accounts");
        } else if auth.token.is_some() {
            self.reader.error(position, "Can not have a token and accounts");
        }
        let mut names: HashSet<_> = auth.users.iter().flatten().map(|user| &user.name).collect();
        for user in self.options.accounts.iter().flat_map(|account| &account.users) {
            // Duplicates within the accounts were reported at their own positions.
            if names.remove(&user.name) {
                self.reader.error(position, format!("Duplicate user {:?} detected", user.name));
            }
        }
    }
}

fn path(reader: &mut Reader, node: &Node) -> Option<Option<PathBuf>> {
    reader.text(node).map(|text| text.map(PathBuf::from))
}

fn size(reader: &mut Reader, node: &Node) -> Option<usize> {
    reader.natural(node).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

fn count(reader: &mut Reader, node: &Node) -> Option<u32> {
    reader.natural(node).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

fn int32(reader: &mut Reader, key: &str, node: &Node) -> Option<i32> {
    let number = i32::try_from(reader.integer(node)?).ok();
    if number.is_none() {
        reader.error(&node.position, format!("{key} value is too big"));
    }
    number
}

fn or_default<T: Default + PartialEq>(value: T, default: T) -> T {
    if value == T::default() { default } else { value }
}

fn tokens(reader: &mut Reader, key: &str, node: &Node) -> Option<u8> {
    let number = reader.integer(node)?;
    let reason = match u8::try_from(number) {
        Ok(1..) => return u8::try_from(number).ok(),
        Err(_) if number > 0 => "is too big",
        _ => "can not be negative",
    };
    reader.error(&node.position, format!("{key} value {reason}"));
    None
}

fn write_timeout(reader: &mut Reader, node: &Node) -> Option<WriteTimeout> {
    match reader.string(node)? {
        "default" => Some(WriteTimeout::Default),
        "close" => Some(WriteTimeout::Close),
        "retry" => Some(WriteTimeout::Retry),
        _ => {
            reader.error(&node.position, "write_timeout must be 'default', 'close' or 'retry'");
            None
        }
    }
}

fn lame_duck(reader: &mut Reader, node: &Node) -> Option<Duration> {
    let signed = reader.duration_text("lame_duck_duration", node)?;
    let duration = signed.to_std().unwrap_or_default();
    if duration < LAME_DUCK_DURATION_MIN {
        let shown = crate::duration::format(Duration::from_nanos(signed.nanos.unsigned_abs()));
        let sign = if signed.nanos < 0 { "-" } else { "" };
        let reason = format!("invalid lame_duck_duration of {sign}{shown}, minimum is 30 seconds");
        reader.error(&node.position, reason);
        return None;
    }
    Some(duration)
}

/// Returns the path with a leading slash and without a trailing one.
fn normal_base_path(text: &str) -> String {
    let parts: Vec<_> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}
