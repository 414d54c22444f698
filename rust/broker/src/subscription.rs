//! One subscription: whose it is, on what, and how much of it is left.

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

/// Where a subscription's messages go. Routes, gateways and leaf nodes will be further kinds.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A connection of this server.
    Client(Arc<Client>),
    /// A service of the server itself.
    Service(Service),
    /// Out of the broker, under a tag that the inlet knows.
    Inlet(Arc<dyn Inlet>, u64),
    /// Another account.
    Import(Arc<Import>),
    /// Those of other accounts who asked.
    Replies(Arc<Replies>),
}

/// A subscription of an account.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) sink: Sink,
    /// The client's own name of it.
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

/// What a delivery means for the subscription's own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    /// More may come.
    Open,
    /// This is the last one.
    Last,
    /// It had its last one before.
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

    /// Deliveries after which it ends; 0 for none.
    pub fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// Limits it to so many deliveries; false if it has had them. Called under the receiver's buffer lock.
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

    /// Whether it takes no more, though who delivered the last message may not have ended it yet.
    pub(crate) fn is_over(&self) -> bool {
        let max = self.max();
        self.is_closed() || (max > 0 && self.delivered() >= max)
    }

    /// Ends it; true for the first to do so.
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

/// A subscription in the interest index; equal to itself only.
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
