//! Subscriptions: their sinks, subjects and limits.

use crate::client::Client;
use crate::exchange::{Import, Replies};
use crate::inlet::Inlet;
use crate::permissions::DenyFilter;
use crate::service::Service;
use crate::sid::Sid;
use crate::sync::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// The destination of a subscription's messages. Routes, gateways and leaf nodes will be further kinds.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A connection of this server.
    Client(Arc<Client>),
    /// A service of the server itself.
    Service(Service),
    /// A receiver outside the broker, and the tag by which it knows the subscription.
    Inlet(Arc<dyn Inlet>, u64),
    /// Another account, which imports a stream or exports a service.
    Import(Arc<Import>),
    /// Requesters in other accounts.
    Replies(Arc<Replies>),
}

/// A subscription of an account.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) sink: Sink,
    /// The client's own id of the subscription.
    pub sid: Sid,
    /// The subject, which may hold wildcards.
    pub subject: Box<[u8]>,
    /// The queue group.
    pub queue: Option<Box<[u8]>>,
    /// Subjects that its owner may not receive although the subscription matches them.
    pub(crate) deny: Option<Arc<DenyFilter>>,
    delivered: AtomicU64,
    max: AtomicU64,
    closed: AtomicBool,
}

/// The effect of a delivery on the subscription's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    /// More deliveries may follow.
    Open,
    /// This delivery is the last.
    Last,
    /// The limit was reached by an earlier delivery.
    Exceeded,
}

impl Subscription {
    pub(crate) fn new(
        sink: Sink,
        subject: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
        deny: Option<Arc<DenyFilter>>,
    ) -> Self {
        Self {
            sink,
            sid: sid.into(),
            subject: subject.into(),
            queue: queue.map(Into::into),
            deny,
            delivered: AtomicU64::new(0),
            max: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Messages delivered so far.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Returns the number of deliveries after which the subscription ends; 0 for no limit.
    pub fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// Limits the subscription to `max` deliveries; false if it already had as many. Called under the receiver's buffer
    /// lock.
    pub(crate) fn limit(&self, max: u64) -> bool {
        let open = max > self.delivered();
        if open {
            self.max.store(max, Relaxed);
        }
        open
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Returns whether the subscription takes no more messages. After its last message it may not be closed yet.
    pub(crate) fn is_over(&self) -> bool {
        let max = self.max();
        self.is_closed() || (max > 0 && self.delivered() >= max)
    }

    /// Closes the subscription; true if it was open.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Relaxed)
    }

    /// Counts deliveries of a subscription without a limit. Called under the receiver's buffer lock.
    #[inline]
    pub(crate) fn count_unlimited(&self, n: u64) {
        self.delivered.store(self.delivered.load(Relaxed) + n, Relaxed);
    }

    /// Counts a delivery. Called under the receiver's buffer lock, which is why no atomic addition is needed.
    #[inline]
    pub(crate) fn count(&self) -> Quota {
        let n = self.delivered.load(Relaxed) + 1;
        let quota = match self.max.load(Relaxed) {
            0 => Quota::Open,
            max if n < max => Quota::Open,
            max if n == max => Quota::Last,
            _ => return Quota::Exceeded,
        };
        self.delivered.store(n, Relaxed);
        quota
    }
}

/// A subscription in the interest index; equal only to itself.
#[derive(Debug, Clone)]
pub struct SubRef(pub(crate) Arc<Subscription>);

impl Deref for SubRef {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.0
    }
}

impl PartialEq for SubRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SubRef {}

impl Hash for SubRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
