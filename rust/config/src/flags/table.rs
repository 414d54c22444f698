//! The table of all flags: names, kinds of value, and usage texts.

/// A flag, independent of which of its names was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Flag {
    Addr,
    Port,
    Name,
    Pid,
    HttpPort,
    HttpsPort,
    Config,
    TestConfig,
    AllowUnsupported,
    Signal,
    ClientAdvertise,
    PortsFileDir,
    Log,
    Logtime,
    LogtimeUtc,
    Syslog,
    RemoteSyslog,
    Debug,
    Trace,
    // The order of these three is the order in which they take effect.
    DebugTrace,
    DebugTraceVerbose,
    TraceVerbose,
    LogSizeLimit,
    MaxTracedMsgLen,
    JetStream,
    StoreDir,
    User,
    Pass,
    Auth,
    Tls,
    TlsVerify,
    TlsCert,
    TlsKey,
    TlsCaCert,
    Routes,
    Cluster,
    ClusterName,
    ClusterAdvertise,
    NoAdvertise,
    ConnectRetries,
    Profile,
    Help,
    Version,
    HelpTls,
    Url,
}

/// The kind of a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Text,
}

/// A row of the table.
pub(super) struct Spec {
    pub(super) flag: Flag,
    /// Names without dashes, the usual ones first.
    pub(super) names: &'static [&'static str],
    pub(super) kind: Kind,
    /// The placeholder of the value in the usage.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
}

/// A group of flags in the usage.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) specs: &'static [Spec],
}

const fn bool(flag: Flag, names: &'static [&'static str], help: &'static str) -> Spec {
    Spec { flag, names, kind: Kind::Bool, value: "", help }
}

const fn int(flag: Flag, names: &'static [&'static str], value: &'static str, help: &'static str) -> Spec {
    Spec { flag, names, kind: Kind::Int, value, help }
}

const fn text(flag: Flag, names: &'static [&'static str], value: &'static str, help: &'static str) -> Spec {
    Spec { flag, names, kind: Kind::Text, value, help }
}

pub(super) static SERVER: &[Group] = &[
    Group {
        title: "Server",
        specs: &[
            text(Flag::Addr, &["a", "addr", "net"], "<host>", "Address to listen on (default: 0.0.0.0)"),
            int(Flag::Port, &["p", "port"], "<port>", "Port for clients (default: 4222; -1: any free port)"),
            text(Flag::Name, &["n", "name", "server_name"], "<name>", "Name of the server (default: its id)"),
            text(
                Flag::ClientAdvertise,
                &["client_advertise"],
                "<host:port>",
                "Address to tell clients about",
            ),
            text(Flag::Pid, &["P", "pid"], "<file>", "Write the process id to this file"),
            text(
                Flag::PortsFileDir,
                &["ports_file_dir"],
                "<dir>",
                "Write <program>_<pid>.ports to this directory",
            ),
            int(Flag::HttpPort, &["m", "http_port"], "<port>", "Port for monitoring (-1: any free port)"),
            int(Flag::HttpsPort, &["ms", "https_port"], "<port>", "Port for monitoring over TLS"),
            int(Flag::Profile, &["profile"], "<port>", "Port for profiling"),
        ],
    },
    Group {
        title: "Configuration",
        specs: &[
            text(Flag::Config, &["c", "config"], "<file>", "Configuration file; flags override it"),
            bool(Flag::TestConfig, &["t"], "Test the configuration file and exit"),
            bool(
                Flag::AllowUnsupported,
                &["allow_unsupported", "allow-unsupported"],
                "Start without the blocks that this version lacks (cluster, ...)",
            ),
            text(
                Flag::Signal,
                &["sl", "signal"],
                "<cmd>[=<pid>]",
                "Signal a running server: stop, quit, term, reopen, reload, ldm;\n<pid> is a process id or the path of \
                 a pid file",
            ),
        ],
    },
    Group {
        title: "Logging",
        specs: &[
            text(Flag::Log, &["l", "log"], "<file>", "Log to this file"),
            int(
                Flag::LogSizeLimit,
                &["log_size_limit"],
                "<bytes>",
                "Rotate the log file at this size (default: never)",
            ),
            bool(Flag::Logtime, &["T", "logtime"], "Begin log lines with the time (default: true)"),
            bool(Flag::LogtimeUtc, &["logtime_utc"], "... in UTC instead of local time"),
            bool(Flag::Syslog, &["s", "syslog"], "Log to syslog"),
            text(
                Flag::RemoteSyslog,
                &["r", "remote_syslog"],
                "<url>",
                "Remote syslog server (udp://127.0.0.1:514)",
            ),
            bool(Flag::Debug, &["D", "debug"], "Log debug messages"),
            bool(Flag::Trace, &["V", "trace"], "Log the protocol"),
            bool(Flag::TraceVerbose, &["VV"], "... that of the system account too"),
            bool(Flag::DebugTrace, &["DV"], "Like -D -V"),
            bool(Flag::DebugTraceVerbose, &["DVV"], "Like -D -VV"),
            int(
                Flag::MaxTracedMsgLen,
                &["max_traced_msg_len"],
                "<bytes>",
                "Trace at most this much of a payload (default: all)",
            ),
        ],
    },
    Group {
        title: "JetStream",
        specs: &[
            bool(Flag::JetStream, &["js", "jetstream"], "Enable JetStream"),
            text(Flag::StoreDir, &["sd", "store_dir"], "<dir>", "Directory to store streams in"),
        ],
    },
    Group {
        title: "Authorization",
        specs: &[
            text(Flag::User, &["user"], "<user>", "User name that clients must present"),
            text(Flag::Pass, &["pass"], "<password>", "Password that clients must present"),
            text(Flag::Auth, &["auth"], "<token>", "Token that clients must present"),
        ],
    },
    Group {
        title: "TLS",
        specs: &[
            bool(Flag::Tls, &["tls"], "Encrypt client connections"),
            text(Flag::TlsCert, &["tlscert"], "<file>", "Certificate of the server"),
            text(Flag::TlsKey, &["tlskey"], "<file>", "Private key of the certificate"),
            bool(Flag::TlsVerify, &["tlsverify"], "Encrypt, and ask clients for a certificate"),
            text(Flag::TlsCaCert, &["tlscacert"], "<file>", "Authority that signs clients' certificates"),
        ],
    },
    Group {
        title: "Cluster",
        specs: &[
            text(Flag::Routes, &["routes"], "<url>[,<url>...]", "Servers of the cluster to connect to"),
            text(
                Flag::Cluster,
                &["cluster", "cluster_listen"],
                "<url>",
                "Address to accept other servers at",
            ),
            text(
                Flag::ClusterName,
                &["cluster_name"],
                "<name>",
                "Name of the cluster (default: a generated one)",
            ),
            text(
                Flag::ClusterAdvertise,
                &["cluster_advertise"],
                "<host:port>",
                "Address to tell other servers about",
            ),
            bool(Flag::NoAdvertise, &["no_advertise"], "Don't tell clients of the other servers"),
            int(
                Flag::ConnectRetries,
                &["connect_retries"],
                "<number>",
                "Attempts to connect to servers heard of",
            ),
        ],
    },
    Group {
        title: "Other",
        specs: &[
            bool(Flag::Help, &["h", "help"], "Print this text"),
            bool(Flag::HelpTls, &["help_tls"], "Print help on TLS"),
            bool(Flag::Version, &["v", "version"], "Print the version"),
        ],
    },
];

pub(super) static HEALTHCHECK: &[Group] = &[Group {
    title: "Health check",
    specs: &[
        text(Flag::Url, &["url", "u"], "<url>", "Endpoint to ask (default: http://127.0.0.1:8222/healthz)"),
        int(Flag::HttpPort, &["m", "http_port"], "<port>", "Monitoring port to ask on this machine"),
        bool(Flag::Help, &["h", "help"], "Print this text"),
    ],
}];

impl Flag {
    /// Returns the server's flag with this name.
    pub(super) fn of_server(name: &str) -> Option<&'static Spec> {
        find(SERVER, name)
    }

    /// Returns the health check's flag with this name.
    pub(super) fn of_healthcheck(name: &str) -> Option<&'static Spec> {
        find(HEALTHCHECK, name)
    }

    /// Returns the flag's first name.
    pub(super) fn name(self) -> &'static str {
        let specs = SERVER.iter().chain(HEALTHCHECK).flat_map(|group| group.specs);
        specs.into_iter().find(|spec| spec.flag == self).map_or("", |spec| spec.names[0])
    }
}

fn find(groups: &'static [Group], name: &str) -> Option<&'static Spec> {
    groups.iter().flat_map(|group| group.specs).find(|spec| spec.names.contains(&name))
}
