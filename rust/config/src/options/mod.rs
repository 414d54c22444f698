//! All options of a server, from a configuration file and flags.

mod accounts;
mod authorization;
mod blocks;
mod exchange;
mod file;
mod imports;
mod jetstream;
mod permissions;
mod reader;
mod schema;
mod security;
mod tls;
mod tls_names;
mod unsupported;
mod validate;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use stonechat_auth::{AccountDef, Authorization, SYSTEM_ACCOUNT};

pub(crate) use file::read_tree;
pub use jetstream::{
    AccountJetStream, JetStreamAccounts, JetStreamOptions, StoreCipher, StoreKey, SyncInterval,
};
pub use tls::{CertificateFiles, HandshakeFirst, TlsOptions};
pub(crate) use unsupported::UnsupportedBlock;
pub use unsupported::{Effect, Unsupported};
pub use validate::InvalidOptions;

/// The value of a port option that means any free port.
pub const RANDOM_PORT: i32 = -1;
/// The default client port.
pub const DEFAULT_PORT: i32 = 4222;

/// The handling of a connection whose write takes longer than `write_deadline`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WriteTimeout {
    /// Depends on the kind of connection: clients are closed.
    #[default]
    Default,
    /// Close the connection.
    Close,
    /// Continue with the rest of the output.
    Retry,
}

/// The options of a server, with nats-server's names and defaults.
///
/// Zero or missing values that mean a default in the configuration file are already replaced.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// Address to bind for clients.
    pub host: String,
    /// Port for clients; [`RANDOM_PORT`] for any free one.
    pub port: i32,
    /// Name of the server; the server id if none.
    pub server_name: Option<String>,
    /// `host[:port]` to tell clients and other servers instead of the bound address.
    pub client_advertise: Option<String>,
    /// Tags shown in monitoring.
    pub server_tags: Vec<String>,
    /// Key/value pairs shown in monitoring.
    pub server_metadata: BTreeMap<String, String>,
    /// Switches for behaviour under development.
    pub feature_flags: BTreeMap<String, bool>,

    /// Address to bind for monitoring; `host` if none.
    pub http_host: Option<String>,
    /// Port for monitoring; 0 for none, [`RANDOM_PORT`] for any free one.
    pub http_port: i32,
    /// Port for monitoring over TLS; 0 for none.
    pub https_port: i32,
    /// Path below which the monitoring endpoints are, with leading slash, `/` by default.
    pub http_base_path: String,

    /// Most client connections; 0 allows none.
    pub max_connections: u64,
    /// Longest control line in bytes.
    pub max_control_line: u32,
    /// Largest message payload in bytes; negative for no limit.
    pub max_payload: i32,
    /// Bytes that may wait for a client before it counts as a slow consumer.
    pub max_pending: u64,
    /// Most subscriptions of a connection; 0 for no limit.
    pub max_subscriptions: u64,
    /// Most tokens in a subscription's subject; 0 for no limit.
    pub max_subscription_tokens: u8,
    /// Number of closed connections that monitoring keeps.
    pub max_closed_clients: usize,
    /// Time between pings of a silent client.
    pub ping_interval: Duration,
    /// Unanswered pings before a connection counts as stale.
    pub ping_max: u32,
    /// Longest time for one write to a client.
    pub write_deadline: Duration,
    /// The handling of a write that exceeds `write_deadline`.
    pub write_timeout: WriteTimeout,
    /// Drop messages for a receiver that can't keep up, instead of slowing the publisher down.
    pub no_fast_producer_stall: bool,
    /// Don't support message headers.
    pub no_header_support: bool,
    /// Match subjects without the cache.
    pub disable_sublist_cache: bool,
    /// Expect a PROXY protocol header on client connections.
    pub proxy_protocol: bool,
    /// Time over which lame duck mode closes the clients.
    pub lame_duck_duration: Duration,
    /// Time before lame duck mode begins to close clients.
    pub lame_duck_grace_period: Duration,
    /// Interval, in failed attempts to connect to another server, at which one is logged. The first is always logged.
    pub connect_error_reports: u32,
    /// The same interval for attempts to reconnect.
    pub reconnect_error_reports: u32,

    /// Log debug messages.
    pub debug: bool,
    /// Log the protocol.
    pub trace: bool,
    /// Log the protocol of the system account too.
    pub trace_verbose: bool,
    /// Log headers only, not payloads.
    pub trace_headers: bool,
    /// Log lines begin with the time.
    pub logtime: bool,
    /// Whether that time is UTC.
    pub logtime_utc: bool,
    /// Log file; standard error if none.
    pub log_file: Option<PathBuf>,
    /// Size in bytes at which the log file is rotated; 0 for never.
    pub logfile_size_limit: u64,
    /// Number of log files to keep; 0 for all.
    pub logfile_max_num: u64,
    /// Log to syslog.
    pub syslog: bool,
    /// Address of a remote syslog server.
    pub remote_syslog: Option<String>,
    /// Longest part of a payload that is traced, in bytes; 0 for all.
    pub max_traced_msg_len: usize,
    /// File to write the process id to.
    pub pid_file: Option<PathBuf>,
    /// Directory to write the ports file to.
    pub ports_file_dir: Option<PathBuf>,
    /// Port for profiling; 0 for none.
    pub prof_port: i32,

    /// Encryption of client connections; `None` for no TLS.
    pub tls: Option<TlsOptions>,
    /// Clients may stay unencrypted although TLS is configured.
    pub allow_non_tls: bool,
    /// The users that may connect.
    pub authorization: Authorization,
    /// The accounts of the `accounts` block, in order of their appearance.
    pub accounts: Vec<AccountDef>,
    /// The configured system account.
    pub system_account: Option<String>,
    /// There is no system account.
    pub no_system_account: bool,

    /// JetStream is enabled.
    pub jetstream: bool,
    /// Directory for JetStream.
    pub store_dir: Option<PathBuf>,
    /// The rest of the `jetstream` block.
    pub jetstream_options: JetStreamOptions,
    /// Accounts of the `accounts` block that may use JetStream.
    pub jetstream_accounts: JetStreamAccounts,

    /// Signals are handled (never for a server embedded in another program).
    pub handle_signals: bool,
    /// The configuration file.
    pub config_file: Option<PathBuf>,
    /// The file's digest, `sha256:<hex>`.
    pub config_digest: Option<String>,
    /// Start without the capabilities that this version lacks.
    pub allow_unsupported: bool,
    /// The configured features that this version lacks.
    pub unsupported: Vec<Unsupported>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".into(),
            port: DEFAULT_PORT,
            server_name: None,
            client_advertise: None,
            server_tags: Vec::new(),
            server_metadata: BTreeMap::new(),
            feature_flags: BTreeMap::new(),
            http_host: None,
            http_port: 0,
            https_port: 0,
            http_base_path: "/".into(),
            max_connections: 64 * 1024,
            max_control_line: 4096,
            max_payload: 1024 * 1024,
            max_pending: 64 * 1024 * 1024,
            max_subscriptions: 0,
            max_subscription_tokens: 0,
            max_closed_clients: 10_000,
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            write_timeout: WriteTimeout::Default,
            no_fast_producer_stall: false,
            no_header_support: false,
            disable_sublist_cache: false,
            proxy_protocol: false,
            lame_duck_duration: Duration::from_secs(120),
            lame_duck_grace_period: Duration::from_secs(10),
            connect_error_reports: 3600,
            reconnect_error_reports: 1,
            debug: false,
            trace: false,
            trace_verbose: false,
            trace_headers: false,
            logtime: true,
            logtime_utc: false,
            log_file: None,
            logfile_size_limit: 0,
            logfile_max_num: 0,
            syslog: false,
            remote_syslog: None,
            max_traced_msg_len: 0,
            pid_file: None,
            ports_file_dir: None,
            prof_port: 0,
            tls: None,
            allow_non_tls: false,
            authorization: Authorization::default(),
            accounts: Vec::new(),
            system_account: None,
            no_system_account: false,
            jetstream: false,
            store_dir: None,
            jetstream_options: JetStreamOptions::default(),
            jetstream_accounts: JetStreamAccounts::new(),
            handle_signals: true,
            config_file: None,
            config_digest: None,
            allow_unsupported: false,
            unsupported: Vec::new(),
        }
    }
}

impl Options {
    /// Returns the defaults for a server inside another program: loopback, any free port, no signal handling.
    #[must_use]
    pub fn embedded() -> Self {
        Self { host: "127.0.0.1".into(), port: RANDOM_PORT, handle_signals: false, ..Self::default() }
    }

    /// Replaces zero values and empty texts by the defaults that they stand for.
    pub(crate) fn resolve(&mut self) {
        let defaults = Self::default();
        if self.host.is_empty() {
            self.host = defaults.host;
        }
        if self.port == 0 {
            self.port = DEFAULT_PORT;
        }
        if self.http_base_path.is_empty() {
            self.http_base_path = defaults.http_base_path;
        }
        if self.allow_unsupported {
            unsupported::allow_capabilities(&mut self.unsupported);
        }
    }

    /// Returns the time in which a client must authenticate. With TLS, the default is one second more than the handshake
    /// may take.
    #[must_use]
    pub fn auth_timeout(&self) -> Duration {
        match (&self.tls, self.authorization.timeout) {
            (Some(tls), None) => tls.timeout + Duration::from_secs(1),
            _ => self.authorization.timeout(),
        }
    }

    /// Returns the configured features without which the server must not start.
    pub fn refused(&self) -> impl Iterator<Item = &Unsupported> {
        self.unsupported.iter().filter(|feature| feature.is_fatal())
    }

    /// Returns the address to bind for monitoring.
    #[must_use]
    pub fn http_host(&self) -> &str {
        self.http_host.as_deref().unwrap_or(&self.host)
    }

    /// Returns the name of the system account; `None` if there is none.
    #[must_use]
    pub fn system_account(&self) -> Option<&str> {
        match &self.system_account {
            Some(name) => Some(name),
            None if self.no_system_account => None,
            None => Some(SYSTEM_ACCOUNT),
        }
    }

    /// Returns whether a password or token is configured in plain text, which causes a warning.
    #[must_use]
    pub fn has_plain_passwords(&self) -> bool {
        let auth = &self.authorization;
        let users = auth.users.iter().flatten().chain(self.accounts.iter().flat_map(|a| &a.users));
        auth.password
            .iter()
            .chain(&auth.token)
            .chain(users.map(|user| &user.password))
            .any(|password| password.is_plain())
    }
}

#[cfg(test)]
mod tests;
