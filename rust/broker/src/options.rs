//! What the configuration says that the broker must know. Immutable once made; a reload swaps the whole.

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
    /// Between pings.
    pub ping_interval: Duration,
    /// Pings that may be unanswered.
    pub ping_max: u32,
    /// Ping first after the whole interval, not after two seconds.
    pub disable_short_first_ping: bool,
    /// How long what is pending may take to be written.
    pub write_deadline: Duration,
    /// How long a client may take to authenticate.
    pub auth_timeout: Duration,
    /// Drop messages for a consumer that lags, rather than slow their publisher.
    pub no_fast_producer_stall: bool,
    /// Headers are supported.
    pub headers: bool,
    /// Trace every operation.
    pub trace: bool,
    /// Bytes of a payload that a trace shows; 0 for all.
    pub max_traced_msg_len: usize,
    /// Tags that the server gives of itself.
    pub server_tags: Vec<String>,
    /// What its operator says of it.
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
