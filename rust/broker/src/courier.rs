//! Delivery of the server's own messages, from a thread that has no session.
//!
//! A message to very many receivers is delivered in slices; the thread calls [`Courier::proceed`] for each. Messages to
//! other subjects overtake it; messages to the same subject wait behind it.

use crate::account::Account;
use crate::broker::Broker;
use crate::client::{Client, PeerAddress};
use crate::fanout::Fanout;
use crate::outbound::{Outbound, Transport};
use crate::router::{BATCH_DELIVERIES, BATCH_RECEIVERS, FLUSHES, Message, Origin, Router};
use crate::subscription::SubRef;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use stonechat_subject::{Matches, Stamp};

/// Most receivers to which a message is delivered at once.
const NARROW: usize = 512;
/// Waiting messages, and their bytes, above which their producer should stop.
const BACKLOG: usize = 256;
const BACKLOG_BYTES: usize = 8 << 20;
/// Multiple of both backlog limits above which the thread delivers waiting messages before it does anything else.
const BACKLOG_TIMES: usize = 8;

/// The transport of the server itself, which has no connection.
struct Nowhere;

impl Transport for Nowhere {
    fn flush(&self, _: &Outbound) {}
    fn wake(&self) {}
}

/// The sender of the server's own messages; one for each thread that has such messages.
pub struct Courier {
    broker: Arc<Broker>,
    router: Router,
    client: Arc<Client>,
    found: Matches<SubRef>,
    /// The destination of the last message, with the stamp of its look-up: messages of one consumer have the same
    /// destination.
    last: Option<Last>,
    options: Arc<crate::BrokerOptions>,
    /// A copy of `found` that waiting messages share.
    shared: Option<Arc<Matches<SubRef>>>,
    /// The accounts and subjects to which messages wait, with the number of messages.
    busy: Vec<(Arc<str>, Box<[u8]>, usize)>,
    backlog: usize,
    backlog_bytes: usize,
    /// Receivers of fan-outs that must be flushed, and the deliveries since the last flush.
    wide: Vec<Arc<Client>>,
    since_flush: u64,
    is_flushing: bool,
}

struct Last {
    account: Arc<str>,
    to: Vec<u8>,
    stamp: Stamp,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

impl Courier {
    /// Returns a courier of this broker.
    pub fn new(broker: Arc<Broker>) -> Self {
        let peer = PeerAddress { ip: String::new(), port: 0 };
        let client = Arc::new(Client::new(0, peer, broker.start(), Outbound::new(Box::new(Nowhere))));
        let router = Router::new(broker.draw_seed());
        Self {
            router,
            client,
            found: Matches::default(),
            last: None,
            options: broker.options(),
            shared: None,
            busy: Vec::new(),
            backlog: 0,
            backlog_bytes: 0,
            wide: Vec::new(),
            since_flush: 0,
            is_flushing: false,
            broker,
        }
    }

    /// Delivers a message to all subscriptions on its subject; false if none took it. `header_len` and `payload` of the
    /// message have the form of a client's publish.
    pub fn deliver(&mut self, account: &Account, message: &Message<'_>, now: Instant) -> bool {
        self.deliver_to(account, message.subject, message, now)
    }

    /// Delivers a message to all subscriptions on `to`, whatever its own subject is; false if none took it.
    pub fn deliver_to(&mut self, account: &Account, to: &[u8], message: &Message<'_>, now: Instant) -> bool {
        let mut found = std::mem::take(&mut self.found);
        let is_known = self.last.as_ref().is_some_and(|last| {
            last.to == to
                && Arc::ptr_eq(&last.account, account.name())
                && account.generations().is_current(&last.stamp)
        });
        if !is_known {
            found.clear();
            self.shared = None;
            let stamp = account.look_up(to, &mut found);
            let mut kept = self.last.take().map(|last| last.to).unwrap_or_default();
            kept.clear();
            kept.extend_from_slice(to);
            self.last = Some(Last { account: Arc::clone(account.name()), to: kept, stamp });
        }
        let origin =
            Origin { client: &self.client, echo: true, now, to: (to != message.subject).then_some(to) };
        let is_wide = found.receivers() > NARROW || self.is_behind(account, to);
        let taken = match account.shared().filter(|_| is_wide && !found.is_empty()) {
            Some(account) => {
                let matched = self.shared.get_or_insert_with(|| Arc::new(found.clone()));
                let mut fanout = Fanout::new(account, origin, message, Arc::clone(matched));
                fanout.is_own = true;
                self.wait(fanout);
                true
            }
            None => {
                self.router.limit(2 * NARROW as u64);
                self.router.deliver_now(&self.broker, &self.options, account, origin, message, None, &found)
            }
        };
        self.found = found;
        taken
    }

    /// Returns whether messages to the same subject wait.
    #[inline]
    fn is_behind(&self, account: &Account, to: &[u8]) -> bool {
        !self.busy.is_empty()
            && self
                .busy
                .iter()
                .any(|(name, subject, _)| Arc::ptr_eq(name, account.name()) && **subject == *to)
    }

    #[cold]
    fn wait(&mut self, fanout: Fanout) {
        let (name, to) = (fanout.account.name(), fanout.to());
        let known =
            self.busy.iter_mut().find(|(known, subject, _)| Arc::ptr_eq(known, name) && **subject == *to);
        match known {
            Some((_, _, count)) => *count += 1,
            None => self.busy.push((Arc::clone(name), to.into(), 1)),
        }
        self.backlog += 1;
        self.backlog_bytes += fanout.kept_bytes();
        self.router.wait(fanout);
        while self.backlog > BACKLOG_TIMES * BACKLOG || self.backlog_bytes > BACKLOG_TIMES * BACKLOG_BYTES {
            self.proceed();
        }
    }

    /// Removes a complete fan-out from the backlog.
    fn note_over(&mut self, fanout: &Fanout) {
        let (name, to) = (fanout.account.name(), fanout.to());
        let known =
            self.busy.iter().position(|(known, subject, _)| Arc::ptr_eq(known, name) && **subject == *to);
        // A fan-out that came through an import is not counted in the backlog.
        let Some(at) = known.filter(|_| fanout.is_own) else { return };
        self.backlog -= 1;
        self.backlog_bytes -= fanout.kept_bytes();
        self.busy[at].2 -= 1;
        if self.busy[at].2 == 0 {
            self.busy.swap_remove(at);
        }
    }

    /// Returns whether messages to very many receivers are undelivered or unflushed. [`Courier::proceed`] continues
    /// them.
    pub fn is_busy(&self) -> bool {
        self.router.is_waiting() || !self.wide.is_empty()
    }

    /// Returns whether so many messages wait that their producer should stop.
    pub fn is_backlogged(&self) -> bool {
        self.backlog > BACKLOG || self.backlog_bytes > BACKLOG_BYTES
    }

    /// Delivers or flushes waiting messages for about a millisecond.
    pub fn proceed(&mut self) {
        if !self.is_flushing {
            std::mem::swap(&mut self.router.touched, &mut self.wide);
            self.router.begin_slice();
            let before = self.router.delivered_msgs;
            while !self.router.is_full() {
                let Some(over) = self.router.deliver_on(&self.broker, &self.options, &self.client) else {
                    break;
                };
                self.note_over(&over);
            }
            self.since_flush += self.router.delivered_msgs - before;
            std::mem::swap(&mut self.router.touched, &mut self.wide);
            self.is_flushing = !self.router.is_waiting()
                || self.wide.len() >= BATCH_RECEIVERS
                || self.since_flush >= BATCH_DELIVERIES;
            return;
        }
        for _ in 0..FLUSHES {
            let Some(client) = self.wide.pop() else { break };
            client.outbound.flush();
        }
        if self.wide.is_empty() {
            (self.is_flushing, self.since_flush) = (false, 0);
        }
    }

    /// Ends a batch and flushes all its receivers.
    pub fn finish(&mut self) {
        // The thread does not pause for lagging receivers, since it serves others too.
        while !self.router.finish(&self.broker, &self.options, &self.client) {}
        let _ = self.router.take_stall(&self.broker);
        // References to receivers are dropped, or they would keep closed connections in memory.
        self.found.clear();
        self.shared = None;
        self.last = None;
        self.options = self.broker.options();
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;
    use crate::GLOBAL_ACCOUNT;
    use crate::session::fixture::{QUIET, Side, broker};

    /// Subscriptions that need several slices.
    const MANY: usize = 10_000;

    fn message<'m>(subject: &'m [u8], payload: &'m [u8]) -> Message<'m> {
        Message { subject, reply: b"", header_len: None, payload, tail: None, sizes: b"" }
    }

    struct World {
        courier: Courier,
        account: Arc<Account>,
        many: Side,
        one: Side,
    }

    impl World {
        fn new() -> Self {
            let broker = broker();
            let (mut many, mut one) = (Side::new(&broker), Side::new(&broker));
            one.says(QUIET);
            one.says("SUB one 1\r\n");
            many.says(QUIET);
            many.says(&(0..MANY).map(|sid| format!("SUB wide {sid}\r\n")).collect::<String>());
            let account = broker.account(GLOBAL_ACCOUNT);
            Self { courier: Courier::new(broker), account, many, one }
        }

        fn deliver(&mut self, subject: &str, payload: &str) -> bool {
            let message = message(subject.as_bytes(), payload.as_bytes());
            self.courier.deliver(&self.account, &message, Instant::now())
        }

        /// Calls `proceed` until no message waits; returns the number of calls.
        fn proceed(&mut self) -> usize {
            let mut slices = 0;
            while self.courier.is_busy() {
                self.courier.proceed();
                slices += 1;
            }
            slices
        }
    }

    #[test]
    fn a_wide_message_is_passed_by_those_to_other_subjects() {
        let mut world = World::new();
        assert!(world.deliver("wide", "m1") && world.deliver("wide", "m2") && world.deliver("one", "hi"));
        world.courier.finish();
        assert_eq!(world.one.output(), "MSG one 1 2\r\nhi\r\n", "before the first slice");
        assert_eq!(world.many.output(), "");
        world.courier.proceed();
        // Although only one receiver is left, the next message waits behind the others.
        let got = world.many.says(&(1..MANY).map(|sid| format!("UNSUB {sid}\r\n")).collect::<String>());
        assert!(world.deliver("wide", "m3"));
        world.courier.finish();
        assert!(world.proceed() > 2);
        let got = got + &world.many.output();
        let at = |text: &str| got.find(&format!("MSG wide 0 2\r\n{text}")).unwrap();
        assert!(at("m1") < at("m2") && at("m2") < at("m3"));
        assert!(!world.courier.is_busy() && world.courier.busy.is_empty());
        assert_eq!((world.courier.backlog, world.courier.backlog_bytes), (0, 0));
        assert!(world.deliver("wide", "m4"));
        world.courier.finish();
        assert_eq!(world.many.output(), "MSG wide 0 2\r\nm4\r\n", "at once again");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut world = World::new();
        world.many.says(&(NARROW + 1..MANY).map(|sid| format!("UNSUB {sid}\r\n")).collect::<String>());
        for n in 0..BACKLOG_TIMES * BACKLOG + 20 {
            assert!(world.deliver("wide", "m"));
            if n < BACKLOG_TIMES * BACKLOG {
                assert_eq!(world.courier.is_backlogged(), n >= BACKLOG, "message {n}");
            }
            assert!(world.courier.backlog <= BACKLOG_TIMES * BACKLOG);
            world.courier.finish();
        }
        world.proceed();
        assert!(!world.courier.is_backlogged());
        let all = (NARROW + 1) * (BACKLOG_TIMES * BACKLOG + 20);
        assert_eq!(world.many.output().matches("MSG wide").count(), all);
    }
}
