//! Server-wide counters. Sessions add to them once a batch, not once a message.

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Server-wide counters since the start.
#[derive(Debug, Default)]
pub struct Totals {
    /// Messages received from clients.
    pub in_msgs: AtomicU64,
    /// Bytes of the received messages, headers included.
    pub in_bytes: AtomicU64,
    /// Messages delivered to clients.
    pub out_msgs: AtomicU64,
    /// Bytes of the delivered messages, headers included.
    pub out_bytes: AtomicU64,
    /// Connections that were ever accepted.
    pub connections: AtomicU64,
    /// Connections closed as slow consumers.
    pub slow_consumers: AtomicU64,
    /// Connections closed as stale.
    pub stale_connections: AtomicU64,
    /// Times that a publisher was stalled.
    pub stalled_clients: AtomicU64,
    /// Subscriptions that were ever made.
    pub inserts: AtomicU64,
    /// Subscriptions that were ever removed.
    pub removes: AtomicU64,
    /// Look-ups of a published subject.
    pub matches: AtomicU64,
    /// Look-ups answered by a session's match cache.
    pub cache_hits: AtomicU64,
}

impl Totals {
    /// Adds to a counter. Relaxed ordering is enough for monitoring.
    #[inline]
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        if n > 0 {
            counter.fetch_add(n, Relaxed);
        }
    }
}
