//! The thread that owns all streams.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stonechat_broker::{Account, Broker, Client, Courier, Inlet, Message, SubRef};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Departing, Engine, Interest, InterestChange, Notice};
use stonechat_jetstream::stream::Publish;
use stonechat_store::disk::RealDisk;
use tracing::{error, warn};

use super::directory::Directory;
use super::inbox::{Arrived, Inbox, Item, Kind, QUEUES, Waiting, ack_numbers, tag};
use super::now;
use super::workers::Workers;
use crate::logging::Logger;

/// Messages after which what can leave leaves.
const BATCH: usize = 512;

/// What the thread owns.
pub(super) struct JetStreamThread {
    engine: Engine<RealDisk>,
    broker: Arc<Broker>,
    inbox: Arc<Inbox>,
    courier: Courier,
    accounts: Vec<Arc<Account>>,
    /// What streams and backups listen to, with the number of the account.
    attached: HashMap<(u32, Interest, String), (u32, SubRef)>,
    /// The API of each account.
    api: Vec<(u32, SubRef)>,
    /// Unlocked when the thread ends.
    directory: Directory,
    log: Logger,
}

impl JetStreamThread {
    pub(super) fn new(
        engine: Engine<RealDisk>,
        broker: Arc<Broker>,
        inbox: Arc<Inbox>,
        directory: Directory,
        log: Logger,
    ) -> Self {
        let courier = Courier::new(broker.clone());
        Self {
            engine,
            broker,
            inbox,
            courier,
            accounts: Vec::new(),
            attached: HashMap::new(),
            api: Vec::new(),
            directory,
            log,
        }
    }

    /// Attaches what streams listen to, then lets the thread run.
    pub(super) fn start(mut self) -> io::Result<JoinHandle<()>> {
        let mut workers = Workers::start(&self.inbox, &self.log)?;
        self.learn_accounts();
        self.attach_changes();
        self.tell_notices();
        let log = self.log.clone();
        std::thread::Builder::new().name("stonechat-js".to_owned()).spawn(move || {
            log.scope(|| {
                self.inbox.belongs_to(std::thread::current());
                self.run(&mut workers);
                self.engine.hurry();
                workers.stop();
                self.close();
            });
        })
    }

    /// Every account has an API, if only to say that it may not use it.
    fn learn_accounts(&mut self) {
        for number in self.accounts.len() as u32.. {
            let Some(name) = self.engine.account_name(number) else { break };
            let account = self.broker.account(name);
            let inlet: Arc<dyn Inlet> = self.inbox.clone();
            let tag = tag(Kind::Api, number);
            let mut subjects = vec!["$JS.API.>".to_owned(), "$JS.ACK.>".to_owned(), "$JS.FC.>".to_owned()];
            subjects.extend(self.engine.domain().map(|domain| format!("$JS.{domain}.API.>")));
            for subject in subjects {
                self.api.push((number, account.attach(inlet.clone(), tag, subject.as_bytes(), None)));
            }
            self.accounts.push(account);
        }
    }

    fn run(&mut self, workers: &mut Workers) {
        let mut arrived = Arrived::default();
        loop {
            let timeout = self.engine.next_deadline().map(|deadline| {
                Duration::from_nanos(u64::try_from(deadline.saturating_sub(now())).unwrap_or(0))
            });
            self.inbox.take(&mut arrived, timeout);
            self.engine.set_time(now());
            for done in arrived.done.drain(..) {
                self.engine.job_done(done);
            }
            for command in arrived.commands.drain(..) {
                command(&mut self.engine);
                self.learn_accounts();
            }
            let stop = std::mem::take(&mut arrived.stop);
            for (queue, dropped) in QUEUES.iter().zip(arrived.dropped).filter(|(_, dropped)| *dropped > 0) {
                self.engine.requests_dropped(queue, dropped);
            }
            arrived.for_each(|i, item, waiting| {
                self.take(item, waiting);
                if (i + 1) % BATCH == 0 {
                    // Much may have come at once, and nothing else waits until it is done.
                    self.engine.set_time(now());
                    self.inbox.take_done().into_iter().for_each(|done| self.engine.job_done(done));
                    self.engine.tick();
                    self.end_batch(workers);
                }
            });
            arrived.clear();
            self.engine.tick();
            self.end_batch(workers);
            if stop {
                return;
            }
        }
    }

    fn take(&mut self, item: &Item, waiting: &Waiting<'_>) {
        let Waiting { subject, reply, headers, payload } = *waiting;
        match item.kind {
            Kind::Publish => self.engine.publish(item.number, reply, &Publish { subject, headers, payload }),
            Kind::Overflow => self.engine.refuse(item.number, reply),
            Kind::Dropped => {}
            Kind::Pull => self.engine.pull(item.number, reply, headers, payload),
            Kind::Ack => {
                self.engine.ack(item.number, ack_numbers(subject), reply, payload);
            }
            Kind::Flow => self.engine.flow_taken(item.number, subject, headers),
            Kind::Snapshot => self.engine.snapshot_acked(item.number),
            Kind::Restore => self.engine.restore_chunk(item.number, reply, payload),
            Kind::Interest => self.engine.deliver_interest_changed(item.number, subject),
            Kind::Direct => {
                let account = self.engine.account_of(item.number);
                let client = || serde_json::Value::Null;
                self.engine.direct_get(
                    item.number,
                    &Request { account, subject, reply, headers, payload, client: &client },
                );
            }
            Kind::Api => {
                let client = || {
                    item.client.as_deref().map_or(serde_json::Value::Null, |c| self.describe(c, item.number))
                };
                // The description is made before the engine is borrowed, and only if somebody listens.
                let is_watched = self
                    .accounts
                    .get(item.number as usize)
                    .is_some_and(|account| account.is_wanted(b"$JS.EVENT.ADVISORY.API"));
                let described = if is_watched { client() } else { serde_json::Value::Null };
                let client = || described.clone();
                let account = item.number;
                self.engine.request(&Request { account, subject, reply, headers, payload, client: &client });
            }
        }
    }

    /// Who asks, as advisories tell it.
    fn describe(&self, client: &Client, account: u32) -> serde_json::Value {
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
            "server": self.broker.info().server_id,
            "kind": "Client",
            "client_type": "nats",
        });
        if let serde_json::Value::Object(fields) = &mut value {
            fields.retain(|_, v| !(v.is_null() || v.as_str() == Some("") || v.as_u64() == Some(0)));
        }
        value
    }

    fn end_batch(&mut self, workers: &mut Workers) {
        self.engine.commit();
        self.attach_changes();
        while let Some(job) = self.engine.next_job() {
            workers.run(job);
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
            let InterestChange { account: number, group, interest, subject, begins } = change;
            let Some(account) = self.accounts.get(number as usize) else { continue };
            let inlet: Arc<dyn Inlet> = self.inbox.clone();
            let kind = match interest {
                Interest::Publish => Kind::Publish,
                Interest::DirectGet => Kind::Direct,
                Interest::Snapshot => Kind::Snapshot,
                Interest::Restore => Kind::Restore,
                Interest::Consumer => {
                    self.inbox.know_consumer(number, &subject, begins.then_some(group));
                    continue;
                }
                Interest::Deliver if begins => {
                    account.watch(inlet, tag(Kind::Interest, number), subject.as_bytes());
                    // Who came between the look and the watch was not told of.
                    self.engine.deliver_interest_changed(number, subject.as_bytes());
                    continue;
                }
                Interest::Deliver => {
                    account.unwatch(subject.as_bytes());
                    continue;
                }
            };
            let key = (group, interest, subject);
            if begins {
                // A stream and its mirrors share the requests.
                let queue = (kind == Kind::Direct).then_some(&b"_sys_"[..]);
                let sub = account.attach(inlet, tag(kind, group), key.2.as_bytes(), queue);
                self.attached.insert(key, (number, sub));
            } else if let Some((_, sub)) = self.attached.remove(&key) {
                account.detach(&sub);
            }
        }
    }

    fn tell_notices(&mut self) {
        for notice in self.engine.take_notices() {
            match notice {
                Notice::Warning(text) => warn!("{text}"),
                Notice::Error(text) => error!("{text}"),
            }
        }
    }

    /// Ends what streams and the API listen to.
    fn detach_all(&mut self) {
        for (_, (number, sub)) in self.attached.drain() {
            if let Some(account) = self.accounts.get(number as usize) {
                account.detach(&sub);
            }
        }
        for (number, sub) in self.api.drain(..) {
            if let Some(account) = self.accounts.get(number as usize) {
                account.detach(&sub);
            }
        }
    }

    /// Writes all there is; nothing comes in any more.
    fn close(mut self) {
        self.detach_all();
        let mut arrived = Arrived::default();
        self.inbox.take(&mut arrived, Some(Duration::ZERO));
        for done in arrived.done.drain(..) {
            self.engine.job_done(done);
        }
        arrived.for_each(|_, item, waiting| self.take(item, waiting));
        self.engine.close();
        self.send();
        self.tell_notices();
        drop(self.directory);
    }
}

/// Sends a message on its way; false if nobody took it.
fn deliver(courier: &mut Courier, accounts: &[Arc<Account>], out: &Departing<'_>, now: Instant) -> bool {
    let Some(account) = accounts.get(out.account as usize) else { return false };
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
