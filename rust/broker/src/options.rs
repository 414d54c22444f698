//! The configuration that the broker requires. It is immutable; a reload replaces it as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

/// Limits and switches of the client protocol, with nats-server's defaults.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// Most argument bytes of a client's control line.
    pub max_control_line: usize,
    /// Most bytes of headers and body of a message.
    pub max_payload: usize,
    /// Most bytes that may wait for a client before it is closed as a slow consumer.
    pub max_pending: usize,
    /// Most subscriptions of a connection; 0 for no limit.
    pub max_subscriptions: usize,
    /// Most tokens of a subscription's subject; 0 for no limit.
    pub max_subscription_tokens: usize,
    /// Most client connections.
    pub max_connections: usize,
    /// Closed connections that monitoring remembers.
    pub max_closed_clients: usize,
    /// Time between pings.
    pub ping_interval: Duration,
    /// Most unanswered pings.
    pub ping_max: u32,
    /// Whether the first ping comes after the whole interval, not after two seconds.
    pub disable_short_first_ping: bool,
    /// Longest time that writing pending bytes may take.
    pub write_deadline: Duration,
    /// How long a client may take to authenticate.
    pub auth_timeout: Duration,
    /// Whether messages for a lagging receiver are dropped, rather than their publisher slowed.
    pub no_fast_producer_stall: bool,
    /// Headers are supported.
    pub headers: bool,
    /// Trace every operation.
    pub trace: bool,
    /// Bytes of a payload that a trace shows; 0 for all.
    pub max_traced_msg_len: usize,
    /// The server's tags.
    pub server_tags: Vec<String>,
    /// The operator's metadata about the server.
    pub server_metadata: BTreeMap<String, String>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            max_control_line: 4096,
            max_payload: 1 << 20,
            max_pending: 64 << 20,
            max_subscriptions: 0,
            max_subscription_tokens: 0,
            max_connections: 65_536,
            max_closed_clients: 10_000,
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            disable_short_first_ping: false,
            write_deadline: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(2),
            no_fast_producer_stall: false,
            headers: true,
            trace: false,
            max_traced_msg_len: 0,
            server_tags: Vec::new(),
            server_metadata: BTreeMap::new(),
        }
    }
}
