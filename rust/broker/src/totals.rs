//! Server-wide counters. Sessions add to them once a batch, not once a message.

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// What the server has carried since it started.
#[derive(Debug, Default)]
pub struct Totals {
    /// Messages received from clients.
    pub in_msgs: AtomicU64,
    /// Their bytes, headers included.
    pub in_bytes: AtomicU64,
    /// Messages delivered to clients.
    pub out_msgs: AtomicU64,
    /// Their bytes, headers included.
    pub out_bytes: AtomicU64,
    /// Connections that were ever accepted.
    pub connections: AtomicU64,
    /// Connections closed as slow consumers.
    pub slow_consumers: AtomicU64,
    /// Connections closed as stale.
    pub stale_connections: AtomicU64,
    /// Times that a publisher was stalled.
    pub stalled_clients: AtomicU64,
    /// Subscriptions that were ever made, and that were ever removed.
    pub inserts: AtomicU64,
    /// Subscriptions that were ever removed.
    pub removes: AtomicU64,
    /// Look-ups of a subject, and those answered by a session's match cache.
    pub matches: AtomicU64,
    /// Look-ups answered by a session's match cache.
    pub cache_hits: AtomicU64,
}

impl Totals {
    /// Adds, without ordering: these are figures for people.
    #[inline]
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        if n > 0 {
            counter.fetch_add(n, Relaxed);
        }
    }
}
