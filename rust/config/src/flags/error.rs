//! Errors of a command line.

/// An error of a command line, in the words of Go's `flag` package and of nats-server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// There is no such flag.
    #[error("flag provided but not defined: -{0}")]
    Undefined(String),
    /// The last flag lacks its value.
    #[error("flag needs an argument: -{0}")]
    NeedsArgument(String),
    /// A malformed flag, such as `-=x` or `---x`.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// A value of the wrong type.
    #[error("invalid value {value:?} for flag -{flag}: {reason}")]
    InvalidValue {
        /// The flag as it was written.
        flag: String,
        /// The value.
        value: String,
        /// The reason.
        reason: &'static str,
    },
    /// A boolean flag whose value is no boolean.
    #[error("invalid boolean value {value:?} for -{flag}: parse error")]
    InvalidBoolean {
        /// The flag as it was written.
        flag: String,
        /// The value.
        value: String,
    },
    /// An argument that is no flag.
    #[error("unrecognized command: {0:?}")]
    UnrecognizedCommand(String),
    /// `-t` without `-c`.
    #[error("must specify [-c, --config] option to check configuration file syntax")]
    NoConfigToTest,
    /// An unknown word after `--signal`.
    #[error("unknown signal {0:?}")]
    UnknownSignal(String),
    /// More than `command=pid` after `--signal`.
    #[error("invalid signal parameters: [{0}]")]
    InvalidSignalParameters(String),
    /// The process to signal is neither a number nor a pid file.
    #[error("invalid pid: {0}")]
    InvalidPid(String),
    /// A TLS flag without the certificate.
    #[error("TLS Server certificate must be present and valid")]
    NoTlsCertificate,
    /// A TLS flag without the key.
    #[error("TLS Server private key must be present and valid")]
    NoTlsKey,
    /// The value of `--cluster` is no URL with host and port.
    #[error("invalid cluster URL {0:?}: it must be of the form nats://host:port")]
    InvalidClusterUrl(String),
    /// The URL of `--cluster` has a user but no password.
    #[error("expected cluster password to be set")]
    NoClusterPassword,
    /// `--routes` without a cluster.
    #[error("solicited routes require cluster capabilities, e.g. --cluster")]
    RoutesWithoutCluster,
    /// A port number is out of range.
    #[error("port {port} for flag -{flag} is out of range")]
    PortOutOfRange {
        /// The flag's first name.
        flag: &'static str,
        /// The port number.
        port: i64,
    },
}

impl FlagError {
    /// Returns whether the usage follows the message.
    #[must_use]
    pub fn shows_usage(&self) -> bool {
        matches!(
            self,
            Self::Undefined(_)
                | Self::NeedsArgument(_)
                | Self::BadSyntax(_)
                | Self::InvalidValue { .. }
                | Self::InvalidBoolean { .. }
        )
    }

    /// Returns the exit code. As in nats-server, it is zero where the usage is shown.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        i32::from(!self.shows_usage())
    }
}
