//! Why connections end, and what is remembered of them.

use crate::client::ClientFacts;
use std::fmt;
use std::time::SystemTime;

/// Why a connection ended; the texts are those that nats-server's monitoring shows.
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

    /// The reason with this discriminant; 0 is none.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// Whether the peer has stopped reading or can't be spoken to, so that what is pending is not sent.
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

/// What monitoring keeps of a connection that has ended.
#[derive(Debug, Clone)]
pub struct ClosedClient {
    /// As it was when it ended.
    pub facts: ClientFacts,
    /// Why.
    pub reason: ClosedReason,
    /// When.
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
