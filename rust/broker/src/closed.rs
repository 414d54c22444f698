//! Reasons for which connections end, and records of ended connections.

use crate::client::ClientFacts;
use std::fmt;
use std::time::SystemTime;

/// The reason for which a connection ended. The texts are those of nats-server's monitoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each says what its text says")]
pub enum ClosedReason {
    ClientClosed = 1,
    AuthenticationTimeout,
    AuthenticationFailure,
    SlowConsumerPendingBytes,
    SlowConsumerWriteDeadline,
    WriteError,
    ReadError,
    ParseError,
    StaleConnection,
    ProtocolViolation,
    BadClientProtocolVersion,
    MaxAccountConnectionsExceeded,
    MaxConnectionsExceeded,
    MaxPayloadExceeded,
    MaxControlLineExceeded,
    MaxSubscriptionsExceeded,
    ServerShutdown,
    AuthenticationExpired,
    NoRespondersRequiresHeaders,
    Kicked,
    TlsHandshakeFailure,
    InternalError,
}

impl ClosedReason {
    const ALL: [Self; 22] = [
        Self::ClientClosed,
        Self::AuthenticationTimeout,
        Self::AuthenticationFailure,
        Self::SlowConsumerPendingBytes,
        Self::SlowConsumerWriteDeadline,
        Self::WriteError,
        Self::ReadError,
        Self::ParseError,
        Self::StaleConnection,
        Self::ProtocolViolation,
        Self::BadClientProtocolVersion,
        Self::MaxAccountConnectionsExceeded,
        Self::MaxConnectionsExceeded,
        Self::MaxPayloadExceeded,
        Self::MaxControlLineExceeded,
        Self::MaxSubscriptionsExceeded,
        Self::ServerShutdown,
        Self::AuthenticationExpired,
        Self::NoRespondersRequiresHeaders,
        Self::Kicked,
        Self::TlsHandshakeFailure,
        Self::InternalError,
    ];

    /// Returns the reason with this discriminant; `None` for 0.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Returns whether pending output is not sent, because the peer has stopped reading or can't be reached.
    pub fn is_abrupt(self) -> bool {
        matches!(
            self,
            Self::SlowConsumerPendingBytes
                | Self::SlowConsumerWriteDeadline
                | Self::WriteError
                | Self::ReadError
                | Self::TlsHandshakeFailure
                | Self::InternalError
        )
    }
}

impl fmt::Display for ClosedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientClosed => "Client Closed",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthenticationFailure => "Authentication Failure",
            Self::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::WriteError => "Write Error",
            Self::ReadError => "Read Error",
            Self::ParseError => "Parse Error",
            Self::StaleConnection => "Stale Connection",
            Self::ProtocolViolation => "Protocol Violation",
            Self::BadClientProtocolVersion => "Bad Client Protocol Version",
            Self::MaxAccountConnectionsExceeded => "Maximum Account Connections Exceeded",
            Self::MaxConnectionsExceeded => "Maximum Connections Exceeded",
            Self::MaxPayloadExceeded => "Maximum Message Payload Exceeded",
            Self::MaxControlLineExceeded => "Maximum Control Line Exceeded",
            Self::MaxSubscriptionsExceeded => "Maximum Subscriptions Exceeded",
            Self::ServerShutdown => "Server Shutdown",
            Self::AuthenticationExpired => "Authentication Expired",
            Self::NoRespondersRequiresHeaders => "No Responders Requires Headers",
            Self::Kicked => "Kicked",
            Self::TlsHandshakeFailure => "TLS Handshake Failure",
            Self::InternalError => "Internal Error",
        })
    }
}

/// Record of an ended connection, for monitoring.
#[derive(Debug, Clone)]
pub struct ClosedClient {
    /// The connection's state when it ended.
    pub facts: ClientFacts,
    /// The reason for the end.
    pub reason: ClosedReason,
    /// The time of the end.
    pub stop: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_agree() {
        assert_eq!(ClosedReason::from_code(0), None);
        for (i, reason) in ClosedReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i + 1);
            assert_eq!(ClosedReason::from_code(reason as u8), Some(reason));
        }
        assert_eq!(ClosedReason::from_code(23), None);
    }
}
