//! The [`Runner`]: processes all streams. Only the thread that holds it runs the engine.
//!
//! Mostly that is the JetStream thread. While that thread sleeps, a publisher's task processes a little work inline
//! ([`Runner::run_light`]). Waking another thread takes longer than storing a message, and a publisher that waits for
//! each reply would wait for that too: inline processing shortens its wait by about a third. Checkpoints, API requests,
//! timers and large batches are left to the JetStream thread. If inline work is slow all the same, the JetStream thread
//! does everything for a while.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use stonechat_broker::{Account, Broker, Client, Courier, Inlet, Message, SubRef};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Departing, Engine, Interest, InterestChange, Notice};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, BackupId, ConsumerId, StreamId};
use stonechat_store::disk::RealDisk;
use tracing::{error, warn};

use super::directory::Directory;
use super::inbox::{Arrived, Inbox, Item, Kind, Waiting, ack_numbers, tag};
use super::light::Light;
use super::now;
use super::workers::Workers;
use crate::fault;
use crate::logging::Logger;

/// Messages after which a commit follows.
const BATCH: usize = 512;

/// The engine with everything that it needs to run: inbox, workers, delivery.
pub(super) struct Runner {
    engine: Engine<RealDisk>,
    workers: Workers,
    arrived: Arrived,
    light: Light,
    broker: Arc<Broker>,
    inbox: Arc<Inbox>,
    courier: Courier,
    accounts: Vec<Arc<Account>>,
    /// The count of changes of imports and exports at the last call of `learn_imports`.
    exchanges: Option<u64>,
    /// Subscriptions of streams and backups, with their account.
    attached: HashMap<(Interest, String), (AccountId, SubRef)>,
    /// Subscriptions of the API of each account.
    api: Vec<(AccountId, SubRef)>,
    /// The store's lock, released when the thread ends.
    directory: Directory,
    log: Logger,
}

impl Runner {
    pub(super) fn new(
        engine: Engine<RealDisk>,
        broker: Arc<Broker>,
        inbox: Arc<Inbox>,
        directory: Directory,
        log: Logger,
    ) -> io::Result<Self> {
        let courier = Courier::new(broker.clone());
        let workers = Workers::start(&inbox, &log)?;
        Ok(Self {
            engine,
            workers,
            arrived: Arrived::default(),
            light: Light::default(),
            broker,
            inbox,
            courier,
            accounts: Vec::new(),
            exchanges: None,
            attached: HashMap::new(),
            api: Vec::new(),
            directory,
            log,
        })
    }

    /// Subscribes to the subjects of all streams, then starts the thread.
    pub(super) fn start(mut self) -> io::Result<JoinHandle<()>> {
        self.learn_accounts();
        self.attach_changes();
        self.tell_notices();
        let (inbox, log) = (Arc::clone(&self.inbox), self.log.clone());
        inbox.hold(self);
        std::thread::Builder::new().name("stonechat-js".to_owned()).spawn(move || {
            log.scope(|| {
                inbox.belongs_to(std::thread::current());
                let ended = fault::catch(|| {
                    if let Some(runner) = run(&inbox) {
                        runner.close();
                    }
                });
                if let Err(reason) = ended {
                    inbox.fail(&reason);
                }
            });
        })
    }

    /// Subscribes to the API for new accounts. An account without JetStream has an API too, which replies with an error.
    fn learn_accounts(&mut self) {
        for number in (self.accounts.len() as u32..).map(AccountId) {
            let Some(name) = self.engine.account_name(number) else { break };
            let account = self.broker.account(name);
            let inlet: Arc<dyn Inlet> = self.inbox.clone();
            let tag = tag(Kind::Api, number.0);
            let mut subjects = vec!["$JS.API.>".to_owned(), "$JS.ACK.>".to_owned(), "$JS.FC.>".to_owned()];
            subjects.extend(self.engine.domain().map(|domain| format!("$JS.{domain}.API.>")));
            for subject in subjects {
                self.api.push((number, account.attach(inlet.clone(), tag, subject.as_bytes(), None)));
            }
            self.accounts.push(account);
        }
        let exchanges = Some(self.engine.exchanges());
        if std::mem::replace(&mut self.exchanges, exchanges) != exchanges {
            self.learn_imports();
        }
    }

    /// Tells the inbox which accounts import the API of another account and have no JetStream themselves. Their own API
    /// does not reply, or a request would get two replies. In the other accounts without JetStream it replies with an
    /// error (as nats-server 2.15).
    fn learn_imports(&mut self) {
        let accounts = self.accounts.iter().zip((0..).map(AccountId));
        let importing = accounts.filter(|(account, number)| {
            !self.engine.is_enabled(*number) && account.service_behind(b"$JS.API.INFO").is_some()
        });
        self.inbox.set_importing(importing.map(|(_, id)| id.0).collect());
    }

    /// Processes the inbox and all due timers; true if the thread must stop.
    fn run(&mut self) -> bool {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.inbox.take(&mut arrived);
        self.engine.set_time(now());
        self.engine.hold(self.courier.is_backlogged());
        for done in arrived.done.drain(..) {
            self.engine.job_done(done);
        }
        for command in arrived.commands.drain(..) {
            command(&mut self.engine);
            self.learn_accounts();
        }
        let stop = std::mem::take(&mut arrived.stop);
        arrived.for_each(|i, item, waiting| {
            self.take(item, waiting);
            if (i + 1) % BATCH == 0 {
                // Many messages may have arrived at once, so finished jobs and timers must not wait for all of them.
                self.engine.set_time(now());
                self.inbox.take_done().into_iter().for_each(|done| self.engine.job_done(done));
                self.engine.tick();
                // API requests have their turn after the last message.
                self.engine.commit_messages();
                self.end_commit();
            }
        });
        if arrived.dropped_requests() > 0 {
            self.engine.tell_dropped_requests(arrived.dropped_requests());
        }
        arrived.clear();
        self.arrived = arrived;
        self.engine.tick();
        self.engine.commit();
        self.end_commit();
        stop
    }

    /// Processes a little work inline, on any thread. `until` is the time at which the JetStream thread wakes by itself.
    /// Returns false if that thread must be woken.
    pub(super) fn run_light(&mut self, until: i64) -> bool {
        let began = Instant::now();
        let time = now();
        if !self.light.is_allowed(time) || self.courier.is_busy() || !self.inbox.take_light(&mut self.arrived)
        {
            return false;
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        self.engine.set_time(time);
        for done in arrived.done.drain(..) {
            self.engine.job_done(done);
        }
        arrived.for_each(|_, item, waiting| self.take(item, waiting));
        arrived.clear();
        self.arrived = arrived;
        self.engine.commit_light();
        self.end_commit();
        self.light.took(time, began.elapsed());
        !self.engine.wants_checkpoint()
            && !self.courier.is_busy()
            && self.engine.next_deadline().is_none_or(|deadline| deadline >= until)
    }

    fn take(&mut self, item: &Item, waiting: &Waiting<'_>) {
        let Waiting { subject, reply, headers, payload } = *waiting;
        match item.kind {
            Kind::Publish => {
                self.engine.publish(StreamId(item.number), reply, &Publish { subject, headers, payload })
            }
            Kind::Overflow => self.engine.refuse(StreamId(item.number), reply),
            Kind::Pull => self.engine.pull(ConsumerId(item.number), reply, headers, payload),
            Kind::Ack => {
                self.engine.ack(ConsumerId(item.number), ack_numbers(subject), reply, payload);
            }
            Kind::Flow => self.engine.flow_taken(ConsumerId(item.number), subject, headers),
            Kind::Snapshot => self.engine.snapshot_acked(BackupId(item.number)),
            Kind::Restore => self.engine.restore_chunk(BackupId(item.number), reply, payload),
            Kind::Interest => self.engine.deliver_interest_changed(AccountId(item.number), subject),
            Kind::Direct => {
                let account = self.engine.account_of(StreamId(item.number));
                let client = || serde_json::Value::Null;
                let request = Request { account, subject, reply, headers, payload, client: &client };
                match &item.body {
                    Some(body) => self.engine.large_direct_get(StreamId(item.number), &request, body),
                    None => self.engine.direct_get(StreamId(item.number), &request),
                }
            }
            Kind::Api => {
                let client = || {
                    item.client
                        .as_deref()
                        .map_or(serde_json::Value::Null, |c| self.describe(c, AccountId(item.number)))
                };
                // The description is made before the engine is borrowed, and only if the advisory has a subscriber.
                let is_watched = self
                    .accounts
                    .get(item.number as usize)
                    .is_some_and(|account| account.is_wanted(b"$JS.EVENT.ADVISORY.API"));
                let described = if is_watched { client() } else { serde_json::Value::Null };
                let client = || described.clone();
                let account = AccountId(item.number);
                let request = Request { account, subject, reply, headers, payload, client: &client };
                match &item.body {
                    Some(body) => self.engine.large_request(&request, body),
                    None => self.engine.request(&request),
                }
            }
        }
    }

    /// Returns the description of a requesting client for advisories.
    fn describe(&self, client: &Client, account: AccountId) -> serde_json::Value {
        let facts = client.facts(false);
        let account = self.engine.account_name(account).map_or("", |name| name);
        let mut value = serde_json::json!({
            "start": crate::time::rfc3339(facts.start),
            "host": facts.ip,
            "id": facts.cid,
            "acc": account,
            "user": facts.user.as_deref(),
            "name": facts.name,
            "lang": facts.lang,
            "ver": facts.version,
            "rtt": facts.rtt.map(|rtt| rtt.as_nanos() as u64),
            "server": self.broker.info().server_name,
            "kind": "Client",
            "client_type": "nats",
        });
        if let serde_json::Value::Object(fields) = &mut value {
            fields.retain(|_, v| !(v.is_null() || v.as_str() == Some("") || v.as_u64() == Some(0)));
        }
        value
    }

    fn end_commit(&mut self) {
        self.attach_changes();
        while let Some(job) = self.engine.next_job() {
            self.workers.run(job);
        }
        self.send();
        self.tell_notices();
    }

    fn send(&mut self) {
        let now = Instant::now();
        let (courier, accounts) = (&mut self.courier, &self.accounts);
        let mut failed = Vec::new();
        self.engine.take_ready(|out| {
            if !deliver(courier, accounts, &out, now) {
                failed.extend(out.delivery);
            }
        });
        self.courier.finish();
        failed.into_iter().for_each(|(consumer, sequence)| self.engine.not_delivered(consumer, sequence));
    }

    fn attach_changes(&mut self) {
        for change in self.engine.take_interest_changes() {
            let InterestChange { account: id, interest, subject, begins } = change;
            let Some(account) = self.accounts.get(id.0 as usize) else { continue };
            let inlet: Arc<dyn Inlet> = self.inbox.clone();
            let (kind, number) = match interest {
                Interest::Publish(stream) => (Kind::Publish, stream.0),
                Interest::DirectGet(stream) => (Kind::Direct, stream.0),
                Interest::Snapshot(backup) => (Kind::Snapshot, backup.0),
                Interest::Restore(backup) => (Kind::Restore, backup.0),
                Interest::Consumer(consumer) => {
                    self.inbox.know_consumer(id.0, &subject, begins.then_some(consumer.0));
                    continue;
                }
                Interest::Acks(_) => {
                    self.inbox.know_acks(id.0, &subject);
                    continue;
                }
                Interest::Deliver(_) if begins => {
                    account.watch(inlet, tag(Kind::Interest, id.0), subject.as_bytes());
                    // Subscribers that came between the engine's check and the watch caused no notification.
                    self.engine.deliver_interest_changed(id, subject.as_bytes());
                    continue;
                }
                Interest::Deliver(_) => {
                    account.unwatch(subject.as_bytes());
                    continue;
                }
            };
            let key = (interest, subject);
            if begins {
                // The queue group makes a stream and its mirrors share the requests.
                let queue = (kind == Kind::Direct).then_some(&b"_sys_"[..]);
                let sub = account.attach(inlet, tag(kind, number), key.1.as_bytes(), queue);
                self.attached.insert(key, (id, sub));
            } else if let Some((_, sub)) = self.attached.remove(&key) {
                account.detach(&sub);
            }
        }
    }

    fn tell_notices(&mut self) {
        let notices = self.engine.take_notices();
        if notices.is_empty() {
            return;
        }
        // The current thread may be one without this log.
        self.log.scope(|| {
            for notice in notices {
                match notice {
                    Notice::Warning(text) => warn!("{text}"),
                    Notice::Error(text) => error!("{text}"),
                }
            }
        });
    }

    /// Unsubscribes all streams, backups and APIs.
    fn detach_all(&mut self) {
        for (_, (number, sub)) in self.attached.drain() {
            if let Some(account) = self.accounts.get(number.0 as usize) {
                account.detach(&sub);
            }
        }
        for (number, sub) in self.api.drain(..) {
            if let Some(account) = self.accounts.get(number.0 as usize) {
                account.detach(&sub);
            }
        }
    }

    /// Closes the inbox, processes its rest, and closes the store.
    fn close(mut self) {
        self.engine.hurry();
        self.workers.stop();
        let mut arrived = Arrived::default();
        self.inbox.close(&mut arrived);
        // Removing very many subscriptions takes long, and a broker that ends does not need it.
        if !self.inbox.broker_ends() {
            self.detach_all();
        }
        for done in arrived.done.drain(..) {
            self.engine.job_done(done);
        }
        arrived.for_each(|_, item, waiting| self.take(item, waiting));
        let begun = std::time::Instant::now();
        self.engine.close_while(|| begun.elapsed() < CLOSE_MAX);
        self.send();
        while self.courier.is_busy() && begun.elapsed() < CLOSE_MAX {
            self.courier.proceed();
        }
        self.tell_notices();
        drop(self.directory);
    }
}

/// The longest time of a stop. If its checkpoint takes longer, the next start does the rest.
const CLOSE_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs the loop of the JetStream thread until a stop is requested, then returns the runner; `None` if JetStream has
/// failed.
fn run(inbox: &Inbox) -> Option<Box<Runner>> {
    loop {
        let deadline = {
            let mut held = inbox.runner();
            // The runner is put back only without a panic: after one, the state of the streams is unknown.
            let mut runner = held.take()?;
            let deadline = loop {
                if runner.run() {
                    return Some(runner);
                }
                if inbox.is_failed() {
                    return None;
                }
                if runner.courier.is_busy() {
                    // Messages that arrived meanwhile have their turn before the next slice.
                    runner.courier.proceed();
                    continue;
                }
                let deadline = runner.engine.next_deadline();
                if inbox.fall_asleep(deadline) {
                    break deadline;
                }
            };
            *held = Some(runner);
            deadline
        };
        inbox.sleep(deadline);
    }
}

/// Delivers a message; false if it had no receiver.
fn deliver(courier: &mut Courier, accounts: &[Arc<Account>], out: &Departing<'_>, now: Instant) -> bool {
    let Some(account) = accounts.get(out.account.0 as usize) else { return false };
    let message = Message {
        subject: out.subject,
        reply: out.reply,
        header_len: (out.headers_len > 0).then_some(out.headers_len),
        payload: out.content,
        tail: None,
        sizes: b"",
    };
    courier.deliver_to(account, out.to, &message, now)
}
