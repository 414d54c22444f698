//! The texts inside `-ERR '...'`, byte for byte as nats-server 2.15 sends them.

/// Input that is not an operation of the protocol.
pub const UNKNOWN_OPERATION: &str = "Unknown Protocol Operation";
/// Failed authentication, or an operation before a required CONNECT.
pub const AUTHORIZATION_VIOLATION: &str = "Authorization Violation";
/// No CONNECT within the authentication timeout.
pub const AUTHENTICATION_TIMEOUT: &str = "Authentication Timeout";
/// `max_connections` is reached.
pub const MAX_CONNECTIONS: &str = "maximum connections exceeded";
/// The account's own limit of connections is reached.
pub const MAX_ACCOUNT_CONNECTIONS: &str = "maximum account active connections exceeded";
/// `max_subscriptions` is reached.
pub const MAX_SUBSCRIPTIONS: &str = "maximum subscriptions exceeded";
/// A message larger than `max_payload`.
pub const MAX_PAYLOAD: &str = "Maximum Payload Violation";
/// Arguments longer than `max_control_line`.
pub const MAX_CONTROL_LINE: &str = "maximum control line exceeded";
/// Pings stayed unanswered.
pub const STALE_CONNECTION: &str = "Stale Connection";
/// A pedantic client published on a subject that is not a valid literal.
pub const INVALID_PUBLISH_SUBJECT: &str = "Invalid Publish Subject";
/// A subscription on a malformed subject.
pub const INVALID_SUBJECT: &str = "Invalid Subject";
/// CONNECT named a protocol other than 0 and 1.
pub const INVALID_CLIENT_PROTOCOL: &str = "invalid client protocol";
/// `no_responders` without `headers`.
pub const NO_RESPONDERS_NEEDS_HEADERS: &str = "no responders requires headers support";
