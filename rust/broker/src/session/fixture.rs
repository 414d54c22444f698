//! Sessions without sockets, and the broker that they belong to, for tests.

use super::*;
use crate::outbound::{Outbound, Transport};
use crate::sync::Mutex;
use crate::{BrokerSetup, PeerAddress, ProcessUsage};
use std::io::ErrorKind;
use std::time::SystemTime;
use stonechat_auth::{AccountDef, Authenticator, Authorization};
use stonechat_wire::Info;

/// A peer that accepts every byte at once, unless a test blocks it.
#[derive(Clone, Default)]
pub(crate) struct Peer(pub(super) Arc<Mutex<(Vec<u8>, bool)>>);

impl Transport for Peer {
    fn flush(&self, outbound: &Outbound) {
        outbound.write_out(usize::MAX, |slices| {
            let mut state = self.0.lock();
            if state.1 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let before = state.0.len();
            slices.iter().for_each(|slice| state.0.extend_from_slice(slice));
            Ok(state.0.len() - before)
        });
    }

    fn wake(&self) {}
}

/// A session, its peer, and the time that the test gives it.
pub(crate) struct Side {
    pub(crate) session: ClientSession,
    pub(crate) peer: Peer,
    pub(crate) now: Instant,
}

impl Side {
    pub(crate) fn new(broker: &Arc<Broker>) -> Self {
        let peer = Peer::default();
        let address = PeerAddress { ip: "127.0.0.1".into(), port: 1 };
        let (client, fits) = broker.add_client(address, Box::new(peer.clone()));
        let now = Instant::now();
        let mut session = ClientSession::new(broker.clone(), client, now);
        if !fits {
            session.refuse();
        }
        peer.0.lock().0.clear();
        Self { session, peer, now }
    }

    pub(crate) fn send(&mut self, text: &str) -> Progress {
        let mut progress = self.begin(text);
        while matches!(progress, Progress::Yield) {
            progress = self.session.resume(self.now);
        }
        progress
    }

    /// Sends `text` and processes only the first slice.
    pub(crate) fn begin(&mut self, text: &str) -> Progress {
        let mut input = std::mem::take(&mut self.session.partial);
        input.extend_from_slice(text.as_bytes());
        self.session.ingest(&input, self.now)
    }

    pub(crate) fn output(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.peer.0.lock().0)).unwrap()
    }

    pub(crate) fn says(&mut self, text: &str) -> String {
        let _ = self.send(text);
        self.output()
    }

    #[cfg(not(feature = "shuttle"))]
    pub(crate) fn after(&mut self, wait: Duration) -> String {
        self.now += wait;
        self.session.client().raise(Flag::Timer);
        let _ = self.session.woken(self.now);
        self.output()
    }
}

pub(crate) fn broker_of(options: BrokerOptions, authorization: Authorization) -> Arc<Broker> {
    Broker::new(BrokerSetup {
        info: Info { server_name: "test".into(), ..Info::default() },
        options,
        authenticator: Authenticator::new(&authorization, &Vec::<AccountDef>::new(), "$SYS"),
        system_account: "$SYS".into(),
        accounts: Vec::new(),
        seed: [7; 32],
        start: SystemTime::UNIX_EPOCH,
        format_time: |_| String::new(),
        clock: || SystemTime::UNIX_EPOCH,
        feature_flags: std::collections::BTreeMap::new(),
        usage: Box::new(ProcessUsage::default),
    })
}

pub(crate) fn broker() -> Arc<Broker> {
    broker_of(BrokerOptions::default(), Authorization::default())
}

/// The CONNECT of clients that turn `+OK` off.
pub(crate) const QUIET: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";
