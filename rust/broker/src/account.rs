//! Accounts: separate subject spaces.

use crate::exchange::{DEPTH_MAX, Replies, Sources};
use crate::inlet::Inlet;
use crate::service::Service;
use crate::subscription::{Sink, SubRef, Subscription};
use crate::sync::{AtomicBool, AtomicU64, Ordering::Relaxed, RwLock};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use stonechat_auth::Exchange;
use stonechat_subject::{Generations, Matches, QueueMatch, Stamp, Sublist, has_wildcard, matches};

/// The account of clients to which authentication assigns no other account.
pub const GLOBAL_ACCOUNT: &str = "$G";
/// The account of the server itself.
pub const SYSTEM_ACCOUNT: &str = "$SYS";

/// An account: its subscriptions and counters.
#[derive(Debug)]
pub struct Account {
    name: Arc<str>,
    system: bool,
    interest: RwLock<Sublist<SubRef>>,
    generations: Generations,
    pub(crate) clients: AtomicU64,
    /// Subjects for which changes of interest are reported to an inlet.
    watched: RwLock<HashMap<Box<[u8]>, Watch>>,
    is_watching: AtomicBool,
    myself: Weak<Account>,
    /// Requests that crossed into this account from others.
    pub(crate) replies: Arc<Replies>,
    /// The accounts whose streams this account imports. Interest in this account counts as interest in them.
    sources: RwLock<Sources>,
    /// Whether an import connects this account with another one.
    is_linked: AtomicBool,
}

/// A watch of a subject: the inlet to notify, its tag, and the number of [`Account::watch`] calls.
#[derive(Debug)]
struct Watch {
    inlet: Arc<dyn Inlet>,
    tag: u64,
    count: usize,
}

impl Account {
    pub(crate) fn new(name: &str, system: bool, mut random: StdRng) -> Arc<Self> {
        let account = Arc::new_cyclic(|myself: &Weak<Self>| Self {
            name: name.into(),
            system,
            interest: RwLock::new(Sublist::new(random.next_u64())),
            generations: Generations::new(random.next_u64()),
            clients: AtomicU64::new(0),
            watched: RwLock::new(HashMap::new()),
            is_watching: AtomicBool::new(false),
            myself: myself.clone(),
            replies: Arc::new(Replies::new(random)),
            sources: RwLock::new(Vec::new()),
            is_linked: AtomicBool::new(false),
        });
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

    /// Returns the number of its subscriptions, including the server's own.
    pub fn subscription_count(&self) -> usize {
        self.interest.read().len()
    }

    /// Returns every subscription that matches a subject.
    pub fn matches(&self, subject: &[u8]) -> Matches<SubRef> {
        let mut found = Matches::default();
        self.interest.read().collect(subject, &mut found);
        found
    }

    /// Returns whether a message on `subject` would reach a receiver other than the server's own services.
    pub fn is_wanted(&self, subject: &[u8]) -> bool {
        self.is_wanted_within(subject, 0)
    }

    fn is_wanted_within(&self, subject: &[u8], depth: usize) -> bool {
        let found = self.matches(subject);
        let mut plain = found.plain.iter();
        !found.queues.is_empty()
            || plain.any(|sub| match &sub.sink {
                Sink::Service(_) => false,
                Sink::Replies(replies) => replies.is_awaited(subject),
                Sink::Import(import) => {
                    let target = import.to.upgrade().filter(|_| depth < DEPTH_MAX);
                    target.is_some_and(|target| target.is_wanted_within(&import.map(subject), depth + 1))
                }
                Sink::Client(_) | Sink::Inlet(..) => true,
            })
    }

    /// Returns whether a message on `subject` would reach a receiver. The server's own services count, unless an import
    /// connects this account with another one.
    pub fn has_interest(&self, subject: &[u8]) -> bool {
        match self.is_linked.load(Relaxed) {
            true => self.is_wanted(subject),
            false => self.interest.read().has_interest(subject),
        }
    }

    /// Returns whether a push consumer that delivers to `subject` has a receiver: a plain subscriber, or with `group` a
    /// member of this queue group. As in nats-server 2.15, wildcard subscriptions do not count.
    pub fn has_receiver(&self, subject: &[u8], group: Option<&[u8]>) -> bool {
        self.has_receiver_within(subject, group, 0)
    }

    fn has_receiver_within(&self, subject: &[u8], group: Option<&[u8]>, depth: usize) -> bool {
        let found = self.matches(subject);
        let is_exact = |sub: &SubRef| *sub.subject == *subject;
        let is_member = |queue: &QueueMatch<SubRef>| {
            group.is_some_and(|group| *queue.name == *group) && queue.members.iter().any(is_exact)
        };
        found.queues.iter().any(is_member)
            || found.plain.iter().any(|sub| match &sub.sink {
                Sink::Service(_) => false,
                Sink::Replies(replies) => group.is_none() && replies.is_awaited(subject),
                Sink::Import(import) => {
                    let target = import.to.upgrade().filter(|_| depth < DEPTH_MAX);
                    target.is_some_and(|to| to.has_receiver_within(&import.map(subject), group, depth + 1))
                }
                Sink::Client(_) | Sink::Inlet(..) => group.is_none() && is_exact(sub),
            })
    }

    /// Returns whether a subscription outside queue groups names exactly this subject.
    pub fn has_subscriber(&self, subject: &[u8]) -> bool {
        self.matches(subject).plain.iter().any(|sub| *sub.subject == *subject)
    }

    /// Returns the account whose service a request on `subject` reaches through imports, and the subject in that
    /// account. `None` if no service import matches.
    pub fn service_behind(&self, subject: &[u8]) -> Option<(Arc<Self>, Vec<u8>)> {
        let step = |account: &Self, subject: &[u8]| {
            account.matches(subject).plain.iter().find_map(|sub| match &sub.sink {
                Sink::Import(import) if import.exchange == Exchange::Service => {
                    Some((import.to.upgrade()?, import.map(subject)))
                }
                _ => None,
            })
        };
        let mut found = step(self, subject)?;
        for _ in 0..DEPTH_MAX {
            match step(&found.0, &found.1) {
                Some(next) => found = next,
                None => return Some(found),
            }
        }
        None
    }

    /// Returns whether messages published here on `subject` reach `other` on the same subject, by a stream import.
    pub fn exports_to(&self, other: &Arc<Self>, subject: &[u8]) -> bool {
        self.matches(subject).plain.iter().any(|sub| match &sub.sink {
            Sink::Import(import) => {
                import.exchange == Exchange::Stream
                    && std::ptr::eq(import.to.as_ptr(), Arc::as_ptr(other))
                    && import.map(subject) == subject
            }
            _ => false,
        })
    }

    /// Returns a shared reference to this account.
    pub(crate) fn shared(&self) -> Option<Arc<Self>> {
        self.myself.upgrade()
    }

    /// Sets the accounts whose streams this account imports, and whether any import connects it with another one.
    pub(crate) fn link(&self, sources: Sources, is_linked: bool) {
        *self.sources.write() = sources;
        self.is_linked.store(is_linked, Relaxed);
    }

    /// Notifies an inlet whenever interest in `subject`, a literal subject, may have changed.
    pub fn watch(&self, inlet: Arc<dyn Inlet>, tag: u64, subject: &[u8]) {
        let mut watched = self.watched.write();
        watched.entry(subject.into()).or_insert(Watch { inlet, tag, count: 0 }).count += 1;
        self.is_watching.store(true, Relaxed);
    }

    /// Ends one [`Account::watch`] of this subject.
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
        if self.is_watching.load(Relaxed) {
            if has_wildcard(subject) {
                self.tell_those_who_watch(|literal| matches(literal, subject));
            } else if let Some(watch) = self.watched.read().get(subject) {
                watch.inlet.interest_changed(watch.tag, subject);
            }
        }
        if self.is_linked.load(Relaxed) {
            for (exporter, import) in &*self.sources.read() {
                let exporter = exporter.upgrade().filter(|exporter| exporter.is_watching.load(Relaxed));
                if let Some(exporter) = exporter {
                    exporter.tell_those_who_watch(|literal| matches(&import.map(literal), subject));
                }
            }
        }
    }

    fn tell_those_who_watch(&self, is_meant: impl Fn(&[u8]) -> bool) {
        let watched = self.watched.read();
        let meant = watched.iter().filter(|(literal, _)| is_meant(literal));
        meant.for_each(|(literal, watch)| watch.inlet.interest_changed(watch.tag, literal));
    }

    /// Subscribes an inlet to `subject`; `tag` identifies the subscription to the inlet. Subscriptions of one `queue`
    /// group share the messages.
    pub fn attach(&self, inlet: Arc<dyn Inlet>, tag: u64, subject: &[u8], queue: Option<&[u8]>) -> SubRef {
        self.attach_sink(Sink::Inlet(inlet, tag), subject, queue)
    }

    /// Subscribes a sink to `subject`.
    pub(crate) fn attach_sink(&self, sink: Sink, subject: &[u8], queue: Option<&[u8]>) -> SubRef {
        let sub = SubRef(Arc::new(Subscription::new(sink, subject, queue, b"", None)));
        self.subscribe(&sub);
        sub
    }

    /// Ends a subscription that [`Account::attach`] made.
    pub fn detach(&self, sub: &SubRef) {
        if sub.close() {
            self.unsubscribe(sub);
        }
    }

    pub(crate) fn generations(&self) -> &Generations {
        &self.generations
    }

    /// Collects the subscriptions that match a subject. Returns the stamp that tells whether the result is still
    /// current.
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
