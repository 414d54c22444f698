//! The keyword options of `stonechat.Server`, which override a configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pyo3::prelude::*;
use stonechat_auth::{Password, User};
use stonechat_config::flags::{self, FlagSet, Invocation};
use stonechat_config::lang::{self, DiskSource, Map, Node, Value};
use stonechat_config::{Loaded, Options, RANDOM_PORT, load, load_text};

use crate::errors;

/// The file name in errors of a configuration given as text.
const TEXT_NAME: &str = "<config>";

/// The dictionary `stonechat.options.Settings`. Python has checked it; `None` leaves an option to the configuration.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Settings {
    config_text: Option<String>,
    config_path: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    monitor_port: Option<u16>,
    server_name: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    users: Option<Vec<(String, String)>>,
    auth_timeout: Option<f64>,
    client_advertise: Option<String>,
    max_payload: Option<i32>,
    max_connections: Option<u64>,
    max_subscriptions: Option<u64>,
    max_control_line: Option<u32>,
    max_pending: Option<u64>,
    ping_interval: Option<f64>,
    ping_max: Option<u32>,
    write_deadline: Option<f64>,
    lame_duck_duration: Option<f64>,
    lame_duck_grace_period: Option<f64>,
    debug: Option<bool>,
    trace: Option<bool>,
    jetstream: bool,
    store_dir: Option<String>,
    max_memory: Option<i64>,
    max_file: Option<i64>,
    record: bool,
}

impl Settings {
    /// Returns the options: the defaults of an embedded server, overridden by the configuration, then by the settings.
    pub(crate) fn options(&self, py: Python<'_>) -> PyResult<Options> {
        let mut options = self.load(py)?;
        set(&mut options.host, self.host.clone());
        set(&mut options.port, self.port.map(port_option));
        set(&mut options.http_port, self.monitor_port.map(port_option));
        set_some(&mut options.server_name, self.server_name.clone());
        set_some(&mut options.client_advertise, self.client_advertise.clone());
        set(&mut options.max_payload, self.max_payload);
        set(&mut options.max_connections, self.max_connections);
        set(&mut options.max_subscriptions, self.max_subscriptions);
        set(&mut options.max_control_line, self.max_control_line);
        set(&mut options.max_pending, self.max_pending);
        set(&mut options.ping_interval, self.ping_interval.map(duration));
        set(&mut options.ping_max, self.ping_max);
        set(&mut options.write_deadline, self.write_deadline.map(duration));
        set(&mut options.lame_duck_duration, self.lame_duck_duration.map(duration));
        set(&mut options.lame_duck_grace_period, self.lame_duck_grace_period.map(duration));
        set(&mut options.debug, self.debug);
        set(&mut options.trace, self.trace);
        set_some(&mut options.jetstream_options.max_memory, self.max_memory);
        set_some(&mut options.jetstream_options.max_file, self.max_file);
        set_some(&mut options.store_dir, self.store_dir.as_ref().map(PathBuf::from));
        options.jetstream |= self.jetstream;
        // Without a configured directory, the store is removed when the server ends.
        options.jetstream_options.is_throwaway = options.jetstream && options.store_dir.is_none();
        if self.user.is_some() || self.token.is_some() || self.users.is_some() {
            // Given credentials replace the configured ones. A mixture could admit configured users that the caller did
            // not think of.
            let login = &mut options.authorization;
            login.user = self.user.clone();
            login.password = self.password.clone().map(Password::new);
            login.token = self.token.clone().map(Password::new);
            let user = |(name, secret): &(String, String)| User::new(name, secret);
            login.users = self.users.as_ref().map(|users| users.iter().map(user).collect());
            login.is_defined = true;
        }
        set_some(&mut options.authorization.timeout, self.auth_timeout.map(duration));
        // The embedding program handles signals.
        options.handle_signals = false;
        Ok(options)
    }

    /// Returns whether messages are recorded, through the protocol trace.
    pub(crate) fn record(&self) -> bool {
        self.record
    }

    /// Returns the settings that flags can express: at each reload, a server applies its flags to the file again. Host
    /// and port of an embedded server are among them even if they were not set, because the file has other defaults.
    pub(crate) fn flags(&self, options: &Options) -> FlagSet {
        let embedded = Options::embedded();
        let host = self.host.is_some() || options.host == embedded.host;
        let port = self.port.is_some() || options.port == embedded.port;
        let given = [
            ("addr", host.then(|| options.host.clone())),
            ("port", port.then(|| options.port.to_string())),
            ("http_port", self.monitor_port.map(|port| port_option(port).to_string())),
            ("server_name", self.server_name.clone()),
            ("user", self.user.clone()),
            ("pass", self.password.clone()),
            ("auth", self.token.clone()),
            ("jetstream", self.jetstream.then(|| "true".to_owned())),
            ("store_dir", self.store_dir.clone()),
            ("debug", self.debug.map(|on| on.to_string())),
            ("trace", self.trace.or(self.record.then_some(true)).map(|on| (on || self.record).to_string())),
        ];
        let args = given.into_iter().filter_map(|(name, value)| Some(format!("--{name}={}", value?).into()));
        match flags::parse(args) {
            Ok(Invocation::Run(flags)) => flags,
            // Only reached if a flag was renamed. The server then starts as configured, but its reload fails.
            _ => FlagSet::default(),
        }
    }

    /// Returns the first setting that flags can't express.
    pub(crate) fn not_reloadable(&self) -> Option<&'static str> {
        let given = [
            ("users", self.users.is_some()),
            ("auth_timeout", self.auth_timeout.is_some()),
            ("client_advertise", self.client_advertise.is_some()),
            ("max_payload", self.max_payload.is_some()),
            ("max_connections", self.max_connections.is_some()),
            ("max_subscriptions", self.max_subscriptions.is_some()),
            ("max_control_line", self.max_control_line.is_some()),
            ("max_pending", self.max_pending.is_some()),
            ("ping_interval", self.ping_interval.is_some()),
            ("ping_max", self.ping_max.is_some()),
            ("write_deadline", self.write_deadline.is_some()),
            ("lame_duck_duration", self.lame_duck_duration.is_some()),
            ("lame_duck_grace_period", self.lame_duck_grace_period.is_some()),
            ("max_memory", self.max_memory.is_some()),
            ("max_file", self.max_file.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}

impl Settings {
    /// Loads the configuration over the defaults of an embedded server.
    fn load(&self, py: Python<'_>) -> PyResult<Options> {
        let loaded = match (&self.config_text, &self.config_path) {
            (Some(text), _) => {
                let tree = lang::parse_text(text, TEXT_NAME, &DiskSource)
                    .map_err(|error| errors::parse(py, &error))?;
                load_text(text, TEXT_NAME).map(|loaded| with_embedded_address(loaded, &tree))
            }
            (None, Some(path)) if !Path::new(path).exists() => {
                return Err(errors::config_file_not_found(py, path));
            }
            (None, Some(path)) => {
                let path = Path::new(path);
                let tree = lang::parse_file(path, &DiskSource).map_err(|error| errors::parse(py, &error))?;
                load(path, &FlagSet::default()).map(|loaded| with_embedded_address(loaded, &tree))
            }
            (None, None) => return Ok(Options::embedded()),
        };
        loaded.map(|loaded| loaded.options).map_err(|error| errors::config(py, &error))
    }
}

/// Restores the address of an embedded server where the configuration names none. A test must not open a port to the
/// network because its file has no address.
fn with_embedded_address(mut loaded: Loaded, tree: &Map) -> Loaded {
    let embedded = Options::embedded();
    if !names_host(tree) {
        loaded.options.host = embedded.host;
    }
    if !names(tree, &["port", "listen"]) {
        loaded.options.port = embedded.port;
    }
    loaded
}

fn names_host(tree: &Map) -> bool {
    let in_listen = |node: &Node| match &node.value {
        Value::String(text) => text.rsplit_once(':').is_some_and(|(host, _)| !host.is_empty()),
        _ => false,
    };
    names(tree, &["host", "net"]) || entries(tree, &["listen"]).any(in_listen)
}

fn names(tree: &Map, keys: &[&str]) -> bool {
    entries(tree, keys).next().is_some()
}

/// Returns the entries with one of these keys, in upper or lower case.
fn entries<'a>(tree: &'a Map, keys: &[&str]) -> impl Iterator<Item = &'a Node> {
    tree.iter()
        .filter(|(key, _)| keys.iter().any(|wanted| key.eq_ignore_ascii_case(wanted)))
        .map(|(_, node)| node)
}

/// Returns the option's value for a port: 0, any free port, becomes nats-server's -1.
fn port_option(port: u16) -> i32 {
    if port == 0 { RANDOM_PORT } else { i32::from(port) }
}

/// Converts seconds whose range Python has checked, so the conversion can't fail.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn set<T>(option: &mut T, setting: Option<T>) {
    if let Some(value) = setting {
        *option = value;
    }
}

fn set_some<T>(option: &mut Option<T>, setting: Option<T>) {
    if setting.is_some() {
        *option = setting;
    }
}
