//! Changes of options that a running server can apply.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use crate::duration;

/// A changed option with its new value. Displayed like the log line after `Reloaded: `.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant is the option of its name, with the option's new value")]
pub enum Change {
    ClientAdvertise(Option<String>),
    Trace(bool),
    Debug(bool),
    TraceVerbose(bool),
    TraceHeaders(bool),
    Logtime(bool),
    LogtimeUtc(bool),
    MaxConnections(u64),
    Tls(bool),
    TlsTimeout(Duration),
    Users,
    Accounts,
    Username,
    Password,
    Token,
    PingInterval(Duration),
    PingMax(u32),
    AuthTimeout(Duration),
    MaxControlLine(u32),
    MaxPayload(i32),
    NoFastProducerStall(bool),
    PidFile(Option<PathBuf>),
    PortsFileDir(Option<PathBuf>),
    LogFile(Option<PathBuf>),
    Syslog(bool),
    RemoteSyslog(Option<String>),
    WriteDeadline(Duration),
    MaxTracedMsgLen(usize),
    ConnectErrorReports(u32),
    ReconnectErrorReports(u32),
    Tags(Vec<String>),
    Metadata(BTreeMap<String, String>),
    JetStream,
}

impl Change {
    /// Returns whether logging must be set up again.
    #[must_use]
    pub fn is_logging(&self) -> bool {
        matches!(
            self,
            Self::Trace(_)
                | Self::Debug(_)
                | Self::TraceVerbose(_)
                | Self::TraceHeaders(_)
                | Self::Logtime(_)
                | Self::LogtimeUtc(_)
                | Self::LogFile(_)
                | Self::Syslog(_)
                | Self::RemoteSyslog(_)
        )
    }

    /// Returns whether connections must be checked against the new users and permissions.
    #[must_use]
    pub fn is_authorization(&self) -> bool {
        matches!(self, Self::Users | Self::Accounts | Self::Username | Self::Password | Self::Token)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let path =
            |value: &Option<PathBuf>| value.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        match self {
            Self::ClientAdvertise(value) => write!(f, "client_advertise = {}", text(value)),
            Self::Trace(value) => write!(f, "trace = {value}"),
            Self::Debug(value) => write!(f, "debug = {value}"),
            Self::TraceVerbose(value) => write!(f, "trace_verbose = {value}"),
            Self::TraceHeaders(value) => write!(f, "trace_headers = {value}"),
            Self::Logtime(value) => write!(f, "logtime = {value}"),
            Self::LogtimeUtc(value) => write!(f, "logtime_utc = {value}"),
            // nats-server shows -1 if no connection is allowed.
            Self::MaxConnections(0) => f.write_str("max_connections = -1"),
            Self::MaxConnections(value) => write!(f, "max_connections = {value}"),
            Self::Tls(true) => f.write_str("tls = enabled"),
            Self::Tls(false) => f.write_str("tls = disabled"),
            Self::TlsTimeout(value) => write!(f, "tls timeout = {}", value.as_secs_f64()),
            Self::Users => f.write_str("authorization users"),
            Self::Accounts => f.write_str("accounts"),
            Self::Username => f.write_str("authorization username"),
            Self::Password => f.write_str("authorization password"),
            Self::Token => f.write_str("authorization token"),
            Self::PingInterval(value) => write!(f, "ping_interval = {}", duration::format(*value)),
            Self::PingMax(value) => write!(f, "ping_max = {value}"),
            Self::AuthTimeout(value) => write!(f, "authorization timeout = {}", value.as_secs_f64()),
            Self::MaxControlLine(value) => write!(f, "max_control_line = {value}"),
            Self::MaxPayload(value) => write!(f, "max_payload = {value}"),
            Self::NoFastProducerStall(value) => {
                write!(f, "fast producers will {}be stalled", if *value { "not " } else { "" })
            }
            Self::PidFile(value) => write!(f, "pid_file = {}", path(value)),
            Self::PortsFileDir(value) => write!(f, "ports_file_dir = {}", path(value)),
            Self::LogFile(value) => write!(f, "log_file = {}", path(value)),
            Self::Syslog(value) => write!(f, "syslog = {value}"),
            Self::RemoteSyslog(value) => write!(f, "remote_syslog = {}", text(value)),
            Self::WriteDeadline(value) => write!(f, "write_deadline = {}", duration::format(*value)),
            Self::MaxTracedMsgLen(value) => write!(f, "max_traced_msg_len = {value}"),
            Self::ConnectErrorReports(value) => write!(f, "connect_error_reports = {value}"),
            Self::ReconnectErrorReports(value) => write!(f, "reconnect_error_reports = {value}"),
            Self::Tags(_) => f.write_str("tags"),
            Self::Metadata(_) => f.write_str("metadata"),
            Self::JetStream => f.write_str("JetStream"),
        }
    }
}
