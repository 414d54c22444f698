//! The broker: its accounts, its connections and its description of the server.

use crate::account::Account;
use crate::client::{Client, Flag, PeerAddress};
use crate::closed::{ClosedClient, ClosedReason};
use crate::exchange::{Import, InfoContext, Sources};
use crate::options::BrokerOptions;
use crate::outbound::{Outbound, Transport};
use crate::service::ServerInfo;
use crate::subscription::{Sink, SubRef};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, RwLock};
use crate::totals::Totals;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;
use stonechat_auth::{AccountDef, Authenticator, Exchange, covering};
use stonechat_wire::Info;

/// Resource usage of the process, measured by the layer above, which may call the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessUsage {
    /// Resident bytes.
    pub mem: u64,
    /// Percent of one core.
    pub cpu: f64,
    /// Cores.
    pub cores: usize,
}

/// Parameters of a new broker.
pub struct BrokerSetup {
    /// INFO without the fields that differ between connections.
    pub info: Info,
    /// Limits and switches.
    pub options: BrokerOptions,
    /// The authenticator of clients.
    pub authenticator: Authenticator,
    /// The account that the server's own services belong to.
    pub system_account: String,
    /// Names of the configured accounts.
    pub accounts: Vec<String>,
    /// Seed of all random values: identifiers that clients must not guess, hashes, queue choices and jitter.
    pub seed: [u8; 32],
    /// When the server started.
    pub start: SystemTime,
    /// Formats a time as RFC 3339 in UTC; this layer has no calendar.
    pub format_time: fn(SystemTime) -> String,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// Feature flags and whether they are set.
    pub feature_flags: BTreeMap<String, bool>,
    /// Measures the resource usage of the process.
    pub usage: Box<dyn Fn() -> ProcessUsage + Send + Sync>,
}

/// Most subscriptions that monitoring keeps of a closed connection. Without a bound, short-lived clients could exhaust
/// memory.
const CLOSED_SUBSCRIPTIONS_MAX: usize = 1024;

/// The broker, shared by all sessions.
pub struct Broker {
    info: RwLock<Arc<Info>>,
    options: RwLock<Arc<BrokerOptions>>,
    authenticator: RwLock<Arc<Authenticator>>,
    /// Number of reloads. A session compares it to detect that its options are outdated.
    generation: AtomicU64,
    system_account: String,
    accounts: RwLock<HashMap<Arc<str>, Arc<Account>>>,
    /// Subscriptions that lead from one account to another.
    links: Mutex<Vec<(Arc<Account>, SubRef)>>,
    clients: RwLock<BTreeMap<u64, Arc<Client>>>,
    closed: Mutex<VecDeque<ClosedClient>>,
    next_cid: AtomicU64,
    next_seq: AtomicU64,
    lame_duck: AtomicBool,
    /// Server-wide counters.
    pub totals: Totals,
    /// Generator of values that clients must not guess. A leaf of the lock order.
    random: Mutex<StdRng>,
    start: SystemTime,
    format_time: fn(SystemTime) -> String,
    clock: fn() -> SystemTime,
    feature_flags: BTreeMap<String, bool>,
    usage: Box<dyn Fn() -> ProcessUsage + Send + Sync>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("server_id", &self.info.read().server_id).finish_non_exhaustive()
    }
}

impl Broker {
    /// Returns a broker without connections.
    pub fn new(setup: BrokerSetup) -> Arc<Self> {
        let broker = Self {
            info: RwLock::new(Arc::new(setup.info)),
            options: RwLock::new(Arc::new(setup.options)),
            authenticator: RwLock::new(Arc::new(setup.authenticator)),
            generation: AtomicU64::new(0),
            system_account: setup.system_account,
            accounts: RwLock::default(),
            links: Mutex::default(),
            clients: RwLock::default(),
            closed: Mutex::default(),
            next_cid: AtomicU64::new(5),
            next_seq: AtomicU64::new(0),
            lame_duck: AtomicBool::new(false),
            totals: Totals::default(),
            random: Mutex::new(StdRng::from_seed(setup.seed)),
            start: setup.start,
            format_time: setup.format_time,
            clock: setup.clock,
            feature_flags: setup.feature_flags,
            usage: setup.usage,
        };
        for name in
            setup.accounts.iter().map(String::as_str).chain([crate::GLOBAL_ACCOUNT, &broker.system_account])
        {
            broker.account(name);
        }
        Arc::new(broker)
    }

    /// Returns the account of this name; creates it if it does not exist.
    pub fn account(&self, name: &str) -> Arc<Account> {
        if let Some(account) = self.accounts.read().get(name) {
            return account.clone();
        }
        let mut accounts = self.accounts.write();
        let system = name == self.system_account;
        accounts.entry(name.into()).or_insert_with(|| Account::new(name, system, self.fork_random())).clone()
    }

    /// Replaces all exports and imports between accounts. The definitions must have been checked.
    pub fn set_exchange(&self, definitions: &[AccountDef]) {
        let mut links = self.links.lock();
        for (account, sub) in links.drain(..) {
            account.detach(&sub);
        }
        let mut sources: HashMap<&str, Sources> = HashMap::new();
        for definition in definitions {
            let importer = self.account(&definition.name);
            for def in &definition.imports {
                let exports = definitions.iter().find(|d| d.name == def.account).map(|d| &d.exports[..]);
                let export =
                    covering(exports.unwrap_or_default(), &definition.name, def.exchange, &def.subject);
                let Some(export) = export else { continue };
                let exporter = self.account(&def.account);
                let (from, to) = match def.exchange {
                    Exchange::Stream => (&exporter, &importer),
                    Exchange::Service => (&importer, &exporter),
                };
                let Some((pattern, import)) = Import::new(def, to, export.response) else { continue };
                let import = Arc::new(import);
                let sub = from.attach_sink(Sink::Import(import.clone()), &pattern, None);
                links.push((from.clone(), sub));
                let source = sources.entry(&definition.name).or_default();
                if def.exchange == Exchange::Stream {
                    source.push((Arc::downgrade(&exporter), import));
                }
                sources.entry(&def.account).or_default();
            }
        }
        for account in self.accounts() {
            let of_account = sources.remove(&**account.name());
            let is_linked = of_account.is_some();
            if is_linked {
                let sub = account.attach_sink(
                    Sink::Replies(account.replies.clone()),
                    &account.replies.pattern(),
                    None,
                );
                links.push((account.clone(), sub));
            }
            account.link(of_account.unwrap_or_default(), is_linked);
        }
    }

    /// Returns the server's contribution to the header `Nats-Request-Info`.
    pub(crate) fn info_context(&self) -> InfoContext {
        InfoContext { server_name: self.info.read().server_name.clone(), format_time: self.format_time }
    }

    /// All accounts.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.read().values().cloned().collect()
    }

    /// Registers a new connection. The flag is false if there are too many; then the caller must refuse the connection.
    pub fn add_client(&self, peer: PeerAddress, transport: Box<dyn Transport>) -> (Arc<Client>, bool) {
        let cid = self.next_cid.fetch_add(1, Ordering::Relaxed);
        let client = Arc::new(Client::new(cid, peer, (self.clock)(), Outbound::new(transport)));
        self.totals.connections.fetch_add(1, Ordering::Relaxed);
        let mut clients = self.clients.write();
        let fits = clients.len() < self.options().max_connections;
        if fits {
            clients.insert(cid, client.clone());
        }
        (client, fits)
    }

    /// Removes an ended connection, and records it and its reason for monitoring.
    pub(crate) fn remove_client(&self, client: &Client, reason: ClosedReason) {
        match reason {
            ClosedReason::SlowConsumerPendingBytes | ClosedReason::SlowConsumerWriteDeadline => {
                Totals::add(&self.totals.slow_consumers, 1);
            }
            ClosedReason::StaleConnection => Totals::add(&self.totals.stale_connections, 1),
            _ => {}
        }
        self.clients.write().remove(&client.cid);
        let max = self.options().max_closed_clients;
        if max == 0 {
            return;
        }
        let mut facts = client.facts(true);
        facts.subs.truncate(CLOSED_SUBSCRIPTIONS_MAX);
        facts.subs.shrink_to_fit();
        let mut closed = self.closed.lock();
        while closed.len() >= max {
            closed.pop_front();
        }
        closed.push_back(ClosedClient { facts, reason, stop: (self.clock)() });
    }

    /// The connection of this id.
    pub fn client(&self, cid: u64) -> Option<Arc<Client>> {
        self.clients.read().get(&cid).cloned()
    }

    /// All connections, by id.
    pub fn clients(&self) -> Vec<Arc<Client>> {
        self.clients.read().values().cloned().collect()
    }

    /// Returns the number of connections.
    pub fn client_count(&self) -> usize {
        self.clients.read().len()
    }

    /// Returns the ended connections that monitoring still keeps, oldest first.
    pub fn closed_clients(&self) -> Vec<ClosedClient> {
        self.closed.lock().iter().cloned().collect()
    }

    /// Returns the current options.
    pub fn options(&self) -> Arc<BrokerOptions> {
        self.options.read().clone()
    }

    /// Returns the current authenticator.
    pub fn authenticator(&self) -> Arc<Authenticator> {
        self.authenticator.read().clone()
    }

    /// Returns the number of reloads.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns an unpredictable seed for a generator or a hash.
    pub(crate) fn draw_seed(&self) -> u64 {
        self.random.lock().next_u64()
    }

    /// Returns a new cryptographic generator, seeded from the broker's.
    fn fork_random(&self) -> StdRng {
        self.random.lock().fork()
    }

    /// When the server started.
    pub fn start(&self) -> SystemTime {
        self.start
    }

    /// Returns INFO without the fields that differ between connections.
    pub fn info(&self) -> Arc<Info> {
        self.info.read().clone()
    }

    /// Applies a reload. Sends INFO to clients that accept it, closes connections beyond `max_connections`, and raises
    /// [`Flag::Reload`] for each session.
    pub fn reload(&self, info: Info, options: BrokerOptions, authenticator: Authenticator) {
        // INFO is sent only if the addresses for clients changed. Clients notice other changes when they are affected,
        // as with nats-server 2.15.
        let old = self.info();
        let moved = (&old.host, old.port, &old.connect_urls) != (&info.host, info.port, &info.connect_urls);
        *self.info.write() = Arc::new(info);
        *self.options.write() = Arc::new(options);
        *self.authenticator.write() = Arc::new(authenticator);
        self.generation.fetch_add(1, Ordering::Release);
        let clients = self.clients();
        let too_many = clients.len().saturating_sub(self.options().max_connections);
        for (i, client) in clients.iter().rev().enumerate() {
            if i < too_many {
                client.outbound.push(&stonechat_wire::error_line(stonechat_wire::texts::MAX_CONNECTIONS));
                client.close(ClosedReason::MaxConnectionsExceeded);
            } else if moved && client.takes_info() {
                self.send_info(client);
            }
            client.raise(Flag::Reload);
        }
    }

    /// Enters lame duck mode. INFO tells the clients that accept it to reconnect elsewhere.
    pub fn enter_lame_duck(&self) {
        if self.lame_duck.swap(true, Ordering::AcqRel) {
            return;
        }
        for client in self.clients() {
            if client.takes_info() {
                self.send_info(&client);
            }
        }
    }

    /// Whether the server is in lame duck mode.
    pub fn is_lame_duck(&self) -> bool {
        self.lame_duck.load(Ordering::Acquire)
    }

    fn send_info(&self, client: &Arc<Client>) {
        let info = Info { ldm: self.is_lame_duck(), ..self.info_for(client) };
        client.outbound.push(&info.line());
        client.outbound.flush();
    }

    /// INFO for one connection.
    pub(crate) fn info_for(&self, client: &Client) -> Info {
        let mut info = Info::clone(&self.info());
        info.client_id = client.cid;
        info.client_ip = client.peer.ip.clone();
        info
    }

    /// Returns the description of this server for the envelope of system replies.
    pub fn server_info(&self) -> ServerInfo {
        let (info, options) = (self.info(), self.options());
        ServerInfo {
            name: info.server_name.clone(),
            host: info.host.clone(),
            id: info.server_id.clone(),
            ver: info.version.clone(),
            tags: options.server_tags.clone(),
            metadata: options.server_metadata.clone(),
            feature_flags: self.feature_flags.clone(),
            jetstream: info.jetstream,
            // JetStream, binary snapshots, and account-wide Raft traffic, as nats-server 2.15.
            flags: if info.jetstream { 7 } else { 0 },
            domain: info.domain.clone(),
            seq: self.next_seq.fetch_add(1, Ordering::Relaxed) + 1,
            time: (self.format_time)((self.clock)()),
        }
    }

    /// Subscriptions of all accounts.
    pub fn subscription_count(&self) -> usize {
        self.accounts().iter().map(|a| a.subscription_count()).sum()
    }

    /// Returns the resource usage of the process.
    pub fn usage(&self) -> ProcessUsage {
        (self.usage)()
    }

    /// The server's figures as `$SYS.REQ.SERVER.PING` reports them.
    pub(crate) fn statsz(&self) -> Value {
        let usage = self.usage();
        let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let t = &self.totals;
        let sent = json!({ "msgs": n(&t.out_msgs), "bytes": n(&t.out_bytes) });
        let received = json!({ "msgs": n(&t.in_msgs), "bytes": n(&t.in_bytes) });
        json!({
            "start": (self.format_time)(self.start),
            "mem": usage.mem,
            "cores": usage.cores,
            "cpu": usage.cpu,
            "connections": self.client_count(),
            "total_connections": n(&t.connections),
            "active_accounts": self.accounts().iter().filter(|a| a.client_count() > 0).count(),
            "subscriptions": self.subscription_count(),
            "sent": sent,
            "sent_to_clients": sent,
            "received": received,
            "received_from_clients": received,
            "slow_consumers": n(&t.slow_consumers),
            "slow_consumer_stats": { "clients": n(&t.slow_consumers), "routes": 0, "gateways": 0, "leafs": 0 },
            "active_servers": 1,
            "gomaxprocs": usage.cores,
        })
    }
}
