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
use stonechat_subject::Matches;

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
    options: Arc<crate::BrokerOptions>,
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
        let router = Router::new(broker.seed().rotate_left(17));
        Self { router, client, found: Matches::default(), options: broker.options(), broker }
    }

    /// Delivers a message to all who are interested; false if nobody took it. `header_len` and `payload` of the message are
    /// as a client would have sent them.
    pub fn deliver(&mut self, account: &Account, message: &Message<'_>, now: Instant) -> bool {
        self.deliver_to(account, message.subject, message, now)
    }

    /// The same, to those who are interested in `to` whatever the message's own subject is.
    pub fn deliver_to(&mut self, account: &Account, to: &[u8], message: &Message<'_>, now: Instant) -> bool {
        let mut found = std::mem::take(&mut self.found);
        account.look_up(to, &mut found);
        let origin = Origin { client: &self.client, echo: true, now };
        let taken = self.router.deliver(&self.broker, &self.options, account, origin, message, None, &found);
        found.clear();
        self.found = found;
        taken
    }

    /// The end of a batch: everything is sent on its way.
    pub fn finish(&mut self) {
        // Who lags is not waited for: this thread has others to serve.
        let _ = self.router.finish(&self.broker, &self.options);
        self.options = self.broker.options();
    }
}
