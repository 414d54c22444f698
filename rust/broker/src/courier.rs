//! Messages of the server's own, from a thread that has no session.

use crate::account::Account;
use crate::broker::Broker;
use crate::client::{Client, PeerAddress};
use crate::outbound::{Outbound, Transport};
use crate::router::{Message, Origin, Router};
use crate::subscription::SubRef;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use stonechat_subject::{Matches, Stamp};

/// The server itself has no connection.
struct Nowhere;

impl Transport for Nowhere {
    fn flush(&self, _: &Outbound) {}
    fn wake(&self) {}
}

/// Delivers messages of the server's own; one for each thread that has some.
pub struct Courier {
    broker: Arc<Broker>,
    router: Router,
    client: Arc<Client>,
    found: Matches<SubRef>,
    /// Where the last message went and when that was looked up: messages of one consumer go the same way.
    last: Option<Last>,
    options: Arc<crate::BrokerOptions>,
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
    /// A courier of this broker.
    pub fn new(broker: Arc<Broker>) -> Self {
        let peer = PeerAddress { ip: String::new(), port: 0 };
        let client = Arc::new(Client::new(0, peer, broker.start(), Outbound::new(Box::new(Nowhere))));
        let router = Router::new(broker.draw_seed());
        Self { router, client, found: Matches::default(), last: None, options: broker.options(), broker }
    }

    /// Delivers a message to all who are interested; false if nobody took it. `header_len` and `payload` of the message are
    /// as a client would have sent them.
    pub fn deliver(&mut self, account: &Account, message: &Message<'_>, now: Instant) -> bool {
        self.deliver_to(account, message.subject, message, now)
    }

    /// The same, to those who are interested in `to` whatever the message's own subject is.
    pub fn deliver_to(&mut self, account: &Account, to: &[u8], message: &Message<'_>, now: Instant) -> bool {
        let mut found = std::mem::take(&mut self.found);
        let is_known = self.last.as_ref().is_some_and(|last| {
            last.to == to
                && Arc::ptr_eq(&last.account, account.name())
                && account.generations().is_current(&last.stamp)
        });
        if !is_known {
            found.clear();
            let stamp = account.look_up(to, &mut found);
            let mut kept = self.last.take().map(|last| last.to).unwrap_or_default();
            kept.clear();
            kept.extend_from_slice(to);
            self.last = Some(Last { account: Arc::clone(account.name()), to: kept, stamp });
        }
        let origin =
            Origin { client: &self.client, echo: true, now, to: (to != message.subject).then_some(to) };
        let taken = self.router.deliver(&self.broker, &self.options, account, origin, message, None, &found);
        self.found = found;
        taken
    }

    /// The end of a batch: everything is sent on its way.
    pub fn finish(&mut self) {
        // Who lags is not waited for: this thread has others to serve.
        let _ = self.router.finish(&self.broker, &self.options);
        // Nobody is kept alive by having been sent something.
        self.found.clear();
        self.last = None;
        self.options = self.broker.options();
    }
}
