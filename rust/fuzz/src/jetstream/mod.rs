//! JetStream on simulated disks, with a client that may send arbitrary requests.

mod backup;
mod damage;
mod script;
#[path = "../../../jetstream/tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Host, Interest, Notice};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, BackupId, ConsumerId, StreamId};
use stonechat_store::disk::sim::{Random, SimDisk};
use stonechat_subject::{is_valid_literal, matches};

pub use backup::restore;
pub use damage::open_damaged;
use script::Step;
use support::Store;

/// The reply subject of requests.
const INBOX: &[u8] = b"inbox";
/// The time at which scripts start, in nanoseconds since 1970.
const BEGINNING: i64 = 1_700_000_000 * 1_000_000_000;
/// Maximum number of a stream's messages that are compared.
const READS_MAX: u64 = 40;

/// The host of the engine; it reports that there is interest in deliveries, or that there is none.
struct World {
    is_wanted: Arc<AtomicBool>,
    ids: u64,
}

impl World {
    /// Creates a host that reports interest, and the switch that changes this.
    fn new() -> (Box<dyn Host>, Arc<AtomicBool>) {
        let is_wanted = Arc::new(AtomicBool::new(true));
        (Box::new(Self { is_wanted: Arc::clone(&is_wanted), ids: 0 }), is_wanted)
    }
}

impl Host for World {
    fn is_wanted(&self, _account: &str, _subject: &[u8]) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    fn unique_id(&mut self) -> String {
        self.ids += 1;
        format!("{:022}", self.ids)
    }
}

/// Returns the stream to which messages on this interest's subject are published.
fn stream(interest: &Interest) -> Option<StreamId> {
    if let Interest::Publish(id) = interest { Some(*id) } else { None }
}

/// Returns the stream that direct gets on this interest's subject read.
fn read_stream(interest: &Interest) -> Option<StreamId> {
    if let Interest::DirectGet(id) = interest { Some(*id) } else { None }
}

fn consumer(interest: &Interest) -> Option<ConsumerId> {
    if let Interest::Consumer(id) = interest { Some(*id) } else { None }
}

/// Returns the consumer whose deliver subject is watched for interest.
fn receiver(interest: &Interest) -> Option<ConsumerId> {
    if let Interest::Deliver(id) = interest { Some(*id) } else { None }
}

fn sending(interest: &Interest) -> Option<BackupId> {
    if let Interest::Snapshot(id) = interest { Some(*id) } else { None }
}

fn restoring(interest: &Interest) -> Option<BackupId> {
    if let Interest::Restore(id) = interest { Some(*id) } else { None }
}

/// The JetStream of a server, and the interests that its engine has registered.
pub struct Server {
    store: Store,
    engine: Engine<SimDisk>,
    account: AccountId,
    is_wanted: Arc<AtomicBool>,
    /// Registered interests, sorted by subject.
    listens: BTreeSet<(String, Interest)>,
    now: i64,
    /// Payloads that arrived on the inbox.
    answers: Vec<Vec<u8>>,
}

impl Default for Server {
    fn default() -> Self {
        Self::start(Store::default(), BEGINNING)
    }
}

impl Server {
    fn start(store: Store, now: i64) -> Self {
        let (world, is_wanted) = World::new();
        let (engine, account) = store.open(support::tight_options(Durability::Synced), world, now);
        let mut server =
            Self { store, engine, account, is_wanted, listens: BTreeSet::new(), now, answers: Vec::new() };
        server.settle();
        server
    }

    /// Runs a script, and returns the resulting store.
    fn fill(mut self, script: &[u8]) -> Store {
        for step in script::parse(script) {
            self.step(&step);
        }
        self.store
    }

    /// Runs a [script](script::Step), then kills and stops the server. It must still answer afterwards, and its streams must
    /// survive both unchanged.
    pub fn play(mut self, script: &[u8]) {
        for step in script::parse(script) {
            self.step(&step);
        }
        self.step(&Step::Kill);
        self.step(&Step::Close);
        assert!(self.ask("INFO", &Value::Null)["error"].is_null(), "no more answers");
    }

    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Request { path, body } => self.request(path, body),
            Step::Publish { subject, headers, payload, reply } => {
                self.publish(subject, headers, payload, reply)
            }
            Step::Burst(count) => {
                for n in 0..*count {
                    self.publish(format!("s.{}", n % 7).as_bytes(), b"", &[b'x'; 100], INBOX);
                }
            }
            Step::Direct { subject, headers, body } => self.direct(subject, headers, body),
            Step::Pull { consumer: which, headers, body } => {
                let Some(id) = self.nth(consumer, *which) else { return };
                self.engine.pull(id, b"pulled", headers, body);
            }
            Step::Ack { consumer: which, tokens, verb } => {
                let Some(id) = self.nth(consumer, *which) else { return };
                self.engine.ack(id, tokens, INBOX, verb);
            }
            Step::NotDelivered { consumer: which, sequence } => {
                let Some(id) = self.nth(consumer, *which) else { return };
                self.engine.not_delivered(id, *sequence);
            }
            Step::FlowTaken { consumer: which, subject } => {
                let Some(id) = self.nth(consumer, *which) else { return };
                self.engine.flow_taken(id, subject, b"");
            }
            Step::Wait(milliseconds) => {
                self.now = self.now.saturating_add(milliseconds.saturating_mul(1_000_000));
                self.engine.set_time(self.now);
            }
            Step::Chunk { restore: which, data } => {
                let Some(id) = self.nth(restoring, *which) else { return };
                self.engine.restore_chunk(id, INBOX, data);
            }
            Step::SnapshotAck(which) => {
                let Some(id) = self.nth(sending, *which) else { return };
                self.engine.snapshot_acked(id);
            }
            Step::Interest => {
                self.is_wanted.fetch_xor(true, Ordering::Relaxed);
                let subjects: Vec<String> = self.of(receiver).map(|(subject, _)| subject.clone()).collect();
                for subject in subjects {
                    self.engine.deliver_interest_changed(self.account, subject.as_bytes());
                }
            }
            Step::Kill => self.restart(|store, _| store.map(SimDisk::kill)),
            Step::Close => self.restart(|store, engine| {
                engine.close();
                store
            }),
            Step::PowerCut(seed) => {
                self.settle();
                let mut random = Random(*seed | 1);
                let store = self.store.map(|disk| disk.power_cut(&mut random));
                *self = Self::start(store, self.now);
                assert_eq!(self.engine.lost(), 0, "a power cut lost something that was told");
            }
        }
        self.turn();
        self.check_answers();
    }

    /// Restarts the server, and checks that its streams are unchanged.
    fn restart(&mut self, stop: impl FnOnce(Store, &mut Engine<SimDisk>) -> Store) {
        self.settle();
        let before = self.content();
        let store = stop(self.store.clone(), &mut self.engine);
        *self = Self::start(store, self.now);
        let after = self.content();
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(after, before, "a restart changed it");
        }
        assert_eq!(after.len(), before.len(), "a restart brought streams, or took them");
        let errors: Vec<Notice> = self
            .engine
            .take_notices()
            .into_iter()
            .filter(|notice| matches!(notice, Notice::Error(_)))
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// Returns what a restart must preserve: streams on disk, their states, and the messages of each.
    fn content(&mut self) -> Vec<Value> {
        let mut content = Vec::new();
        let names = self.ask("STREAM.NAMES", &Value::Null)["streams"].clone();
        for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let info = self.ask(&format!("STREAM.INFO.{name}"), &json!({"deleted_details": true}));
            let mut state = info["state"].clone();
            if info["config"]["storage"] == "memory" {
                continue;
            }
            // Consumers in memory are lost.
            state["consumer_count"] = Value::Null;
            content.push(json!([info["config"], info["created"], state]));
            let number = |field: &str| state[field].as_u64().unwrap_or(0);
            let (first, last) = (number("first_seq"), number("last_seq"));
            for sequence in (first..=last).take(READS_MAX as usize) {
                let request = json!({"seq": sequence});
                content.push(self.ask(&format!("STREAM.MSG.GET.{name}"), &request)["message"].clone());
            }
        }
        content
    }

    fn publish(&mut self, subject: &[u8], headers: &[u8], payload: &[u8], reply: &[u8]) {
        // The server rejects other subjects before they reach the engine.
        if !is_valid_literal(subject) {
            return;
        }
        let reply = if reply.is_empty() { INBOX } else { reply };
        let streams: Vec<StreamId> = self
            .of(stream)
            .filter(|(pattern, _)| matches(subject, pattern.as_bytes()))
            .map(|(_, id)| id)
            .collect();
        for id in streams {
            self.engine.publish(id, reply, &Publish { subject, headers, payload });
        }
    }

    fn direct(&mut self, subject: &[u8], headers: &[u8], payload: &[u8]) {
        let subject = [b"$JS.API.DIRECT.GET.", subject].concat();
        if !is_valid_literal(&subject) {
            return;
        }
        let streams: Vec<StreamId> = self
            .of(read_stream)
            .filter(|(pattern, _)| matches(&subject, pattern.as_bytes()))
            .map(|(_, id)| id)
            .collect();
        for id in streams {
            let request = self.engine_request(&subject, headers, payload, b"direct");
            self.engine.direct_get(id, &request);
        }
    }

    fn request(&mut self, path: &[u8], payload: &[u8]) {
        let subject = [b"$JS.API.", path].concat();
        if is_valid_literal(&subject) {
            let request = self.engine_request(&subject, b"", payload, INBOX);
            self.engine.request(&request);
        }
    }

    fn engine_request<'a>(
        &self,
        subject: &'a [u8],
        headers: &'a [u8],
        payload: &'a [u8],
        reply: &'a [u8],
    ) -> Request<'a> {
        Request { account: self.account, subject, reply, headers, payload, client: &|| Value::Null }
    }

    fn ask(&mut self, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.answers.clear();
        self.request(path.as_bytes(), body.as_bytes());
        self.settle();
        let answer = self.answers.pop().unwrap_or_else(|| panic!("no answer to {path} {body}"));
        serde_json::from_slice(&answer)
            .unwrap_or_else(|e| panic!("{e} in {:?}", String::from_utf8_lossy(&answer)))
    }

    fn check_answers(&mut self) {
        for answer in self.answers.drain(..) {
            // Positions of fast batches and chunks of restores are not JSON.
            if answer.first() == Some(&b'{') {
                let parsed: Result<Value, _> = serde_json::from_slice(&answer);
                assert!(parsed.is_ok(), "{parsed:?} in {:?}", String::from_utf8_lossy(&answer));
            }
        }
    }

    /// Returns the registered interests that `id` selects, with their subjects.
    fn of<T>(&self, id: fn(&Interest) -> Option<T>) -> impl Iterator<Item = (&String, T)> {
        self.listens.iter().filter_map(move |(subject, interest)| Some((subject, id(interest)?)))
    }

    fn nth<T: Copy>(&self, id: fn(&Interest) -> Option<T>, n: usize) -> Option<T> {
        let ids: Vec<T> = self.of(id).map(|(_, id)| id).collect();
        ids.get(n.checked_rem(ids.len())?).copied()
    }

    /// Performs one turn of the server's thread, and one job of the disk thread.
    fn turn(&mut self) -> bool {
        self.engine.tick();
        self.engine.commit();
        let job = self.engine.next_job();
        let worked = job.is_some();
        if let Some(job) = job {
            let done = job.run();
            self.engine.job_done(done);
        }
        for change in self.engine.take_interest_changes() {
            let entry = (change.subject, change.interest);
            match change.begins {
                true => self.listens.insert(entry),
                false => self.listens.remove(&entry),
            };
        }
        let answers = &mut self.answers;
        self.engine.take_ready(|out| {
            if out.to == INBOX {
                answers.push(out.payload().to_vec());
            }
        });
        worked
    }

    /// Performs turns until nothing is left to do.
    fn settle(&mut self) {
        let mut turns = 0;
        while self.turn() || self.engine.is_waiting() {
            turns += 1;
            assert!(turns < 10_000, "it does not come to rest");
        }
        self.turn();
    }
}
