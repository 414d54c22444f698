//! A broker with two clients and no sockets. Sessions are driven as the server's connection tasks drive them.

use crate::{frames, log, script::Step};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};
use stonechat_auth::{
    Authenticator, Authorization, ConnectionKind, Permissions, ResponsePermission, SubjectPermission, User,
};
use stonechat_broker::{
    Broker, BrokerOptions, BrokerSetup, Client, ClientSession, ClosedReason, Flag, Outbound, PeerAddress,
    ProcessUsage, Progress, SYSTEM_ACCOUNT, Transport,
};
use stonechat_wire::Info;

/// Maximum bytes of one read: less than the server's, so that input larger than a read is frequent.
const READ_BUFFER: usize = 12 << 10;
/// Hash of the password "c", with the lowest cost.
const HASH_OF_C: &str = "$2b$04$tStgJ98XSxt4qfhyJ3z6FO9x3Uhj4I6YJC8R6r579bnwbEWmiMPri";
/// Number of subscriptions that an account has without clients, for requests that the server itself answers.
const OWN_SUBSCRIPTIONS: usize = 1;
const OWN_SUBSCRIPTIONS_OF_SYSTEM: usize = 4;

/// A broker and its clients.
pub struct World {
    broker: Arc<Broker>,
    settings: u8,
    reloads: u8,
    now: Instant,
    actor: usize,
    sides: [Side; 2],
    /// Every client that has ever existed; at the end, none may remain.
    past: Vec<Weak<Client>>,
}

impl World {
    /// Creates a world with two clients. The low bits of `settings` select the authorization (two bits), tight limits, and that
    /// no closed clients are kept.
    pub fn new(settings: u8) -> Self {
        log::listen();
        let broker = Broker::new(setup(settings));
        let now = Instant::now();
        let sides = [Side::new(&broker, now), Side::new(&broker, now)];
        let past = sides.iter().map(|side| Arc::downgrade(side.session.client())).collect();
        Self { broker, settings, reloads: 0, now, actor: 0, sides, past }
    }

    /// Performs a step, and the connection tasks' reaction to it.
    pub fn step(&mut self, step: Step) {
        let side = &mut self.sides[self.actor];
        match step {
            Step::Read(bytes) => side.read(&self.broker, &bytes, self.now),
            Step::Actor(actor) => self.actor = actor,
            Step::StopReading => side.peer.stopped.store(true, Relaxed),
            Step::ReadAgain => side.read_again(),
            Step::Wait(seconds) => self.wait(Duration::from_secs(seconds)),
            Step::Reload => {
                self.reloads = self.reloads.wrapping_add(1);
                let settings = self.settings ^ (self.reloads & 0b111);
                let BrokerSetup { info, options, authenticator, .. } = setup(settings);
                self.broker.reload(info, options, authenticator);
            }
            Step::HangUp => {
                side.close(ClosedReason::ClientClosed);
                *side = Side::new(&self.broker, self.now);
                self.past.push(Arc::downgrade(side.session.client()));
            }
            Step::LameDuck => self.broker.enter_lame_duck(),
            Step::SingleBytes => side.single_bytes = !side.single_bytes,
            Step::WriteSize(size) => side.peer.write_size.store(size, Relaxed),
        }
        self.settle();
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        for side in &mut self.sides {
            if !side.closed && side.session.deadline() <= self.now {
                side.session.client().raise(Flag::Timer);
            }
        }
    }

    /// Does the work of the connection tasks after they are woken.
    fn settle(&mut self) {
        for side in &mut self.sides {
            if side.closed {
                continue;
            }
            let client = side.session.client().clone();
            if client.closing().is_some() || client.is_flagged() {
                let progress = side.session.woken(self.now);
                side.go_on(&self.broker, progress, self.now);
            }
            if !side.closed && side.peer.blocked.load(Relaxed) {
                side.session.blocked(self.now);
            }
        }
    }

    /// Closes every connection, and checks that nothing of them remains.
    pub fn end(mut self) {
        for side in &mut self.sides {
            side.close(ClosedReason::ClientClosed);
        }
        assert_eq!(self.broker.client_count(), 0, "clients of the broker");
        for account in self.broker.accounts() {
            let own = if account.is_system() { OWN_SUBSCRIPTIONS_OF_SYSTEM } else { OWN_SUBSCRIPTIONS };
            assert_eq!(account.client_count(), 0, "clients of {}", account.name());
            assert_eq!(account.subscription_count(), own, "subscriptions of {}", account.name());
        }
        let Self { broker, sides, past, .. } = self;
        drop((sides, broker));
        assert!(past.iter().all(|client| client.upgrade().is_none()), "a client outlives its broker");
    }
}

/// The client's end of a connection.
#[derive(Debug, Default)]
struct Peer {
    got: Mutex<Vec<u8>>,
    stopped: AtomicBool,
    /// Maximum bytes that one write takes; 0 means no limit.
    write_size: AtomicUsize,
    /// A write was not taken in full: the connection's task waits until it can continue.
    blocked: AtomicBool,
}

struct Link(Arc<Peer>);

impl Transport for Link {
    fn flush(&self, outbound: &Outbound) {
        let peer = &*self.0;
        let mut next = outbound.begin_write();
        while let Some(batch) = next {
            let bytes: Vec<u8> = batch.with_slices(|slices| slices.iter().flat_map(|s| s.to_vec()).collect());
            let stopped = peer.stopped.load(Relaxed);
            let taken = match peer.write_size.load(Relaxed) {
                _ if stopped => 0,
                0 => bytes.len(),
                size => bytes.len().min(size),
            };
            peer.got.lock().expect("one thread").extend_from_slice(&bytes[..taken]);
            if stopped {
                peer.blocked.store(true, Relaxed);
            }
            next = outbound.end_write(batch, taken, stopped);
        }
    }

    fn wake(&self) {}
}

struct Side {
    session: ClientSession,
    peer: Arc<Peer>,
    buffer: Vec<u8>,
    single_bytes: bool,
    closed: bool,
}

impl Side {
    fn new(broker: &Arc<Broker>, now: Instant) -> Self {
        let peer = Arc::new(Peer::default());
        let address = PeerAddress { ip: "127.0.0.1".into(), port: 4000 };
        let (client, fits) = broker.add_client(address, Box::new(Link(peer.clone())));
        let session = ClientSession::new(broker.clone(), client, now);
        let mut side =
            Self { session, peer, buffer: vec![0; READ_BUFFER], single_bytes: false, closed: false };
        if !fits {
            side.session.refuse();
            side.close(ClosedReason::MaxConnectionsExceeded);
        }
        side
    }

    fn read(&mut self, broker: &Broker, bytes: &[u8], now: Instant) {
        let size = if self.single_bytes { 1 } else { bytes.len() };
        for piece in bytes.chunks(size.max(1)) {
            let mut rest = piece;
            while !rest.is_empty() && !self.closed {
                rest = self.read_once(broker, rest, now);
            }
            if !self.closed {
                self.read_nothing(now);
            }
        }
    }

    /// Reads once from the socket; returns the bytes that are left.
    fn read_once<'b>(&mut self, broker: &Broker, bytes: &'b [u8], now: Instant) -> &'b [u8] {
        let (progress, taken) = match self.session.prepare(&mut self.buffer) {
            Some(start) => {
                let taken = bytes.len().min(self.buffer.len() - start);
                self.buffer[start..start + taken].copy_from_slice(&bytes[..taken]);
                (self.session.ingest(&self.buffer[..start + taken], now), taken)
            }
            None => {
                let space = self.session.partial_space();
                let (len, taken) = (space.len(), bytes.len().min(space.len()));
                space[..taken].copy_from_slice(&bytes[..taken]);
                (self.session.partial_filled(len, taken, now), taken)
            }
        };
        assert!(taken > 0, "a read that has no room reads for ever");
        self.go_on(broker, progress, now);
        &bytes[taken..]
    }

    /// Performs a read that finds no data.
    fn read_nothing(&mut self, now: Instant) {
        match self.session.prepare(&mut self.buffer) {
            Some(_) => self.session.rest(),
            None => {
                let len = self.session.partial_space().len();
                self.session.rest();
                assert!(matches!(self.session.partial_filled(len, 0, now), Progress::Read(_)));
            }
        }
    }

    fn go_on(&mut self, broker: &Broker, mut progress: Progress, now: Instant) {
        loop {
            match progress {
                Progress::Read(pause) => {
                    assert!(pause <= Duration::from_millis(10), "a publisher waits for {pause:?}");
                    return;
                }
                Progress::Authenticate(credentials) => {
                    let verdict = broker.authenticator().check(&credentials, ConnectionKind::Standard);
                    progress = self.session.authenticated(credentials, verdict, now);
                }
                Progress::Yield => progress = self.session.resume(now),
                Progress::Close => return self.close(ClosedReason::ClientClosed),
            }
        }
    }

    /// Lets the socket take data again; the connection's task continues to write.
    fn read_again(&mut self) {
        self.peer.stopped.store(false, Relaxed);
        if self.closed || !self.peer.blocked.swap(false, Relaxed) {
            return;
        }
        let outbound = &self.session.client().outbound;
        outbound.unblock();
        outbound.flush();
        self.session.unblocked();
    }

    /// Flushes the remaining output, closes the session, and checks all output that the client has received.
    fn close(&mut self, reason: ClosedReason) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let client = self.session.client().clone();
        let reason = client.closing().unwrap_or(reason);
        if !reason.is_abrupt() {
            client.outbound.flush();
        }
        let cut = client.outbound.progress().0 > 0 || reason.is_abrupt();
        self.session.close(reason);
        assert_eq!(client.outbound.progress().0, 0, "bytes that wait for a closed connection");
        assert_eq!(client.subscription_count(), 0, "subscriptions of a closed connection");
        frames::check(&self.peer.got.lock().expect("one thread"), cut);
    }
}

fn setup(settings: u8) -> BrokerSetup {
    let info = Info {
        server_id: "NFUZZ".into(),
        server_name: "fuzz".into(),
        headers: true,
        max_payload: 8 << 10,
        ..Info::default()
    };
    BrokerSetup {
        info,
        options: options(settings),
        authenticator: authenticator(settings),
        system_account: SYSTEM_ACCOUNT.into(),
        accounts: vec!["A".into(), "B".into()],
        feature_flags: Default::default(),
        seed: [7; 32],
        start: SystemTime::UNIX_EPOCH,
        format_time: |_| "1970-01-01T00:00:00Z".into(),
        clock: || SystemTime::UNIX_EPOCH,
        usage: Box::new(ProcessUsage::default),
    }
}

fn options(settings: u8) -> BrokerOptions {
    let tight = settings & 4 != 0;
    BrokerOptions {
        max_control_line: if tight { 256 } else { 8 << 10 },
        max_payload: 8 << 10,
        max_pending: if tight { 16 << 10 } else { 1 << 20 },
        max_subscriptions: if tight { 4 } else { 0 },
        max_subscription_tokens: if tight { 3 } else { 0 },
        max_connections: if tight { 2 } else { 100 },
        max_closed_clients: if settings & 8 == 0 { 2 } else { 0 },
        no_fast_producer_stall: settings & 3 == 2,
        headers: settings & 7 != 7,
        trace: true,
        max_traced_msg_len: if tight { 3 } else { 0 },
        ..BrokerOptions::default()
    }
}

/// Returns the authorization for the settings: none; users with one as `no_auth_user`; users; or a token.
fn authenticator(settings: u8) -> Authenticator {
    let authorization = match settings & 3 {
        0 => return Authenticator::open(),
        3 => Authorization { token: Some("t".into()), is_defined: true, ..Authorization::default() },
        kind => Authorization {
            users: Some(users()),
            no_auth_user: (kind == 1).then(|| "guest".into()),
            is_defined: true,
            ..Authorization::default()
        },
    };
    Authenticator::new(&authorization, &[], SYSTEM_ACCOUNT)
}

fn users() -> Vec<User> {
    let list = |subjects: &[&str]| subjects.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
    let permissions = Permissions {
        publish: Some(SubjectPermission { allow: Some(list(&["pub.>", "x"])), deny: list(&["pub.no"]) }),
        subscribe: Some(SubjectPermission {
            allow: Some(list(&["sub.>", "x q", "_INBOX.>"])),
            deny: list(&["sub.no", "sub.*.no"]),
        }),
        responses: Some(ResponsePermission { max_msgs: Some(2), expires: Some(Duration::from_secs(30)) }),
    };
    let of = |account: &str, user: User| User { account: Some(account.into()), ..user };
    vec![
        of("A", User::new("guest", "")),
        of("A", User { permissions: Some(Arc::new(permissions)), ..User::new("ann", "a") }),
        of("B", User::new("bob", "b")),
        of("B", User::new("carl", HASH_OF_C)),
        of(SYSTEM_ACCOUNT, User::new("sys", "s")),
    ]
}
