//! An account: a world of subjects of its own.

use crate::inlet::Inlet;
use crate::service::Service;
use crate::subscription::{Sink, SubRef, Subscription};
use crate::sync::{AtomicU64, Ordering::Relaxed, RwLock};
use std::sync::Arc;
use stonechat_subject::{Generations, Matches, Stamp, Sublist};

/// The account of clients that authentication gives no other.
pub const GLOBAL_ACCOUNT: &str = "$G";
/// The account of the server itself.
pub const SYSTEM_ACCOUNT: &str = "$SYS";

/// An account's interest and figures.
#[derive(Debug)]
pub struct Account {
    name: Arc<str>,
    system: bool,
    interest: RwLock<Sublist<SubRef>>,
    generations: Generations,
    pub(crate) clients: AtomicU64,
}

impl Account {
    pub(crate) fn new(name: &str, system: bool, seed: u64) -> Self {
        let account = Self {
            name: name.into(),
            system,
            interest: RwLock::new(Sublist::new(seed)),
            generations: Generations::new(seed),
            clients: AtomicU64::new(0),
        };
        for service in Service::of_account(system) {
            let subject = service.subject().as_bytes();
            account.subscribe(&SubRef(Arc::new(Subscription::new(
                Sink::Service(*service),
                subject,
                None,
                b"",
                None,
            ))));
        }
        account
    }

    /// The account's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it is the system account.
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// Client connections bound to it.
    pub fn client_count(&self) -> u64 {
        self.clients.load(Relaxed)
    }

    /// Subscriptions in it, the server's own included.
    pub fn subscription_count(&self) -> usize {
        self.interest.read().len()
    }

    /// Every subscription that a subject matches.
    pub fn matches(&self, subject: &[u8]) -> Matches<SubRef> {
        let mut found = Matches::default();
        self.interest.read().collect(subject, &mut found);
        found
    }

    /// Whether somebody but the server's own services would get a message on `subject`.
    pub fn is_wanted(&self, subject: &[u8]) -> bool {
        let found = self.matches(subject);
        !found.queues.is_empty() || found.plain.iter().any(|sub| !matches!(sub.sink, Sink::Service(_)))
    }

    /// Lets messages on `subject` out through an inlet, under a tag of its own.
    pub fn attach(&self, inlet: Arc<dyn Inlet>, tag: u64, subject: &[u8]) -> SubRef {
        let sub = SubRef(Arc::new(Subscription::new(Sink::Inlet(inlet, tag), subject, None, b"", None)));
        self.subscribe(&sub);
        sub
    }

    /// Ends what [`Account::attach`] began.
    pub fn detach(&self, sub: &SubRef) {
        if sub.close() {
            self.unsubscribe(sub);
        }
    }

    pub(crate) fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Collects what a subject matches, and the stamp under which that holds.
    pub(crate) fn look_up(&self, subject: &[u8], found: &mut Matches<SubRef>) -> Stamp {
        let interest = self.interest.read();
        interest.collect(subject, found);
        // Under the read lock, so that no change lies between the look-up and its stamp.
        self.generations.stamp(subject)
    }

    pub(crate) fn subscribe(&self, sub: &SubRef) {
        let mut interest = self.interest.write();
        if interest.insert(&sub.subject, sub.queue.as_deref(), sub.clone()) {
            self.generations.bump(&sub.subject);
        }
    }

    pub(crate) fn unsubscribe(&self, sub: &SubRef) {
        let mut interest = self.interest.write();
        if interest.remove(&sub.subject, sub.queue.as_deref(), sub) {
            self.generations.bump(&sub.subject);
        }
    }
}
