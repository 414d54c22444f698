//! An account: a world of subjects of its own.

use crate::inlet::Inlet;
use crate::service::Service;
use crate::subscription::{Sink, SubRef, Subscription};
use crate::sync::{AtomicBool, AtomicU64, Ordering::Relaxed, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use stonechat_subject::{Generations, Matches, Stamp, Sublist, has_wildcard, matches};

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
    /// Subjects of which somebody wants to know when interest in them changes.
    watched: RwLock<HashMap<Box<[u8]>, Watch>>,
    is_watching: AtomicBool,
}

/// Who wants to know, under which tag, and how many times it was asked for.
#[derive(Debug)]
struct Watch {
    inlet: Arc<dyn Inlet>,
    tag: u64,
    count: usize,
}

impl Account {
    pub(crate) fn new(name: &str, system: bool, seed: u64) -> Self {
        let account = Self {
            name: name.into(),
            system,
            interest: RwLock::new(Sublist::new(seed)),
            generations: Generations::new(seed),
            clients: AtomicU64::new(0),
            watched: RwLock::new(HashMap::new()),
            is_watching: AtomicBool::new(false),
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

    /// Whether anybody would get a message on `subject`, the server's own services included.
    pub fn has_interest(&self, subject: &[u8]) -> bool {
        self.interest.read().has_interest(subject)
    }

    /// Tells an inlet whenever interest in `subject`, a literal one, may have changed.
    pub fn watch(&self, inlet: Arc<dyn Inlet>, tag: u64, subject: &[u8]) {
        let mut watched = self.watched.write();
        watched.entry(subject.into()).or_insert(Watch { inlet, tag, count: 0 }).count += 1;
        self.is_watching.store(true, Relaxed);
    }

    /// Ends what [`Account::watch`] began.
    pub fn unwatch(&self, subject: &[u8]) {
        let mut watched = self.watched.write();
        let Some(watch) = watched.get_mut(subject) else { return };
        watch.count -= 1;
        if watch.count == 0 {
            watched.remove(subject);
        }
        self.is_watching.store(!watched.is_empty(), Relaxed);
    }

    fn tell_watchers(&self, subject: &[u8]) {
        if !self.is_watching.load(Relaxed) {
            return;
        }
        let watched = self.watched.read();
        if has_wildcard(subject) {
            let matching = watched.iter().filter(|(literal, _)| matches(literal, subject));
            matching.for_each(|(literal, watch)| watch.inlet.interest_changed(watch.tag, literal));
        } else if let Some(watch) = watched.get(subject) {
            watch.inlet.interest_changed(watch.tag, subject);
        }
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
        drop(interest);
        self.tell_watchers(&sub.subject);
    }

    pub(crate) fn unsubscribe(&self, sub: &SubRef) {
        let mut interest = self.interest.write();
        if interest.remove(&sub.subject, sub.queue.as_deref(), sub) {
            self.generations.bump(&sub.subject);
        }
        drop(interest);
        self.tell_watchers(&sub.subject);
    }
}
