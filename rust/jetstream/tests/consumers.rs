//! Consumers against a plain model: random publishes, fetches, acknowledgements, removals, time, restarts and crashes.
//!
//! `STONECHAT_SEEDS=10000` runs more seeds, `STONECHAT_SEED=17` only this one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on may panic"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Interest};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, ConsumerId, StreamId};
use stonechat_store::disk::Disk;
use stonechat_store::disk::sim::{Random, SimDisk};
use support::Store;

/// The retention policy of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retention {
    Limits,
    Interest,
    Workqueue,
}

#[derive(Debug, Clone)]
struct Consumer {
    filters: &'static [&'static str],
    policy: &'static str,
    /// Deliveries by sequence.
    delivered: BTreeMap<u64, u64>,
    /// The acknowledgement subject of the last delivery, for messages not acknowledged yet.
    open: BTreeMap<u64, String>,
    /// Messages whose acknowledgement was confirmed, and messages that may be acknowledged.
    acked: BTreeSet<u64>,
    maybe_acked: BTreeSet<u64>,
    /// The highest delivered sequence.
    reached: u64,
}

struct World {
    engine: Engine<SimDisk>,
    account: AccountId,
    now: i64,
    retention: Retention,
    group: StreamId,
    ids: BTreeMap<String, ConsumerId>,
    consumers: BTreeMap<String, Consumer>,
    /// The subjects of messages whose publish was acknowledged.
    stored: BTreeMap<u64, String>,
    removed: BTreeSet<u64>,
    /// Publishes and acknowledgements without a reply yet, by reply subject.
    publishes: BTreeMap<String, String>,
    acks: BTreeMap<String, (String, u64)>,
    next: u64,
    storage: &'static str,
    /// Whether changes may be refused because the disk is full.
    may_be_full: bool,
    /// Whether limits were lowered and not yet raised again.
    is_limited: bool,
    /// The number of refused changes and acknowledgements.
    refused: usize,
}

const SUBJECTS: [&str; 4] = ["s.a", "s.b", "s.c.x", "s.c.y"];

fn matches(filters: &[&str], subject: &str) -> bool {
    let is_match = |filter: &&str| stonechat_subject::matches(subject.as_bytes(), filter.as_bytes());
    filters.is_empty() || filters.iter().any(is_match)
}

impl World {
    fn open(store: &Store, durability: Durability, now: i64) -> (Engine<SimDisk>, AccountId) {
        store.open(support::options(durability), support::World::boxed(true), now)
    }

    fn new(store: &Store, durability: Durability, random: &mut Random, storage: &'static str) -> Self {
        let (engine, account) = Self::open(store, durability, 1_000_000_000);
        let retention = [Retention::Limits, Retention::Interest, Retention::Workqueue][random.below(3)];
        let mut world = Self {
            engine,
            account,
            now: 1_000_000_000,
            retention,
            group: StreamId(0),
            ids: BTreeMap::new(),
            consumers: BTreeMap::new(),
            stored: BTreeMap::new(),
            removed: BTreeSet::new(),
            publishes: BTreeMap::new(),
            acks: BTreeMap::new(),
            next: 0,
            storage,
            may_be_full: false,
            is_limited: false,
            refused: 0,
        };
        world.ask("STREAM.CREATE.S", &world.config(-1, -1));
        let filters: &[&'static [&'static str]] = match retention {
            Retention::Workqueue => &[&["s.a", "s.c.x"], &["s.c.y"]],
            _ => &[&[], &["s.*"], &["s.c.y"], &["s.a", "s.c.*"]],
        };
        for (i, filters) in filters.iter().enumerate() {
            let explicit = retention == Retention::Workqueue || random.one_in(2);
            let policy = if explicit { "explicit" } else { ["all", "none"][random.below(2)] };
            let name = format!("c{i}");
            let mut config = json!({
                "durable_name": name, "name": name, "ack_policy": policy,
                "filter_subjects": filters, "max_ack_pending": if random.one_in(2) { 5 } else { 100 },
            });
            if policy == "none" {
                config.as_object_mut().expect("an object").remove("max_ack_pending");
            } else {
                config["ack_wait"] = json!(1_000_000_000);
            }
            world.ask(&format!("CONSUMER.CREATE.S.{name}"), &json!({"stream_name": "S", "config": config}));
            let consumer = Consumer {
                filters,
                policy,
                delivered: BTreeMap::new(),
                open: BTreeMap::new(),
                acked: BTreeSet::new(),
                maybe_acked: BTreeSet::new(),
                reached: 0,
            };
            world.consumers.insert(name, consumer);
        }
        world.learn();
        world
    }

    fn config(&self, max_msgs: i64, per_subject: i64) -> Value {
        json!({
            "name": "S", "subjects": ["s.>"], "storage": self.storage, "allow_rollup_hdrs": true,
            "max_msgs": max_msgs, "max_msgs_per_subject": per_subject,
            "retention": match self.retention {
                Retention::Limits => "limits",
                Retention::Interest => "interest",
                Retention::Workqueue => "workqueue",
            },
        })
    }

    fn learn(&mut self) {
        for change in self.engine.take_interest_changes().into_iter().filter(|change| change.begins) {
            match change.interest {
                Interest::Publish(id) => self.group = id,
                Interest::Consumer(id) => {
                    let name = change.subject.rsplit('.').next().expect("a name").to_owned();
                    self.ids.insert(name, id);
                }
                _ => {}
            }
        }
    }

    /// Runs the jobs of a turn: all of them, or with `random` only a few.
    fn settle(&mut self, random: Option<&mut Random>) {
        self.engine.set_time(self.now);
        self.engine.tick();
        self.engine.commit();
        let jobs = random.map_or(usize::MAX, |random| random.below(4));
        for _ in 0..jobs {
            let Some(job) = self.engine.next_job() else { break };
            let done = job.run();
            self.engine.job_done(done);
        }
        self.collect();
    }

    fn collect(&mut self) {
        self.collect_answer("");
    }

    /// Takes the messages that leave. Returns the reply sent to `wanted`.
    fn collect_answer(&mut self, wanted: &str) -> Value {
        let mut out = Vec::new();
        self.engine.take_ready(|o| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let is_refused = o.headers().starts_with(b"NATS/1.0 503");
            out.push((
                text(o.to),
                text(o.subject),
                text(o.reply),
                o.payload().to_vec(),
                o.delivery,
                is_refused,
            ));
        });
        let mut answer = Value::Null;
        for (to, subject, reply, payload, delivery, is_refused) in out {
            if let Some((id, sequence)) = delivery {
                self.delivered(id, sequence, &subject, reply);
            } else if to == wanted {
                answer = serde_json::from_slice(&payload).expect("JSON");
            } else if let Some(stored) = self.publishes.remove(&to) {
                let ack: Value = serde_json::from_slice(&payload).expect("JSON");
                if let Some(sequence) = ack["seq"].as_u64().filter(|_| ack.get("error").is_none()) {
                    self.stored.insert(sequence, stored);
                }
            } else if is_refused && self.acks.remove(&to).is_some() {
                assert!(self.may_be_full, "an acknowledgement was refused");
                self.refused += 1;
            } else if let Some((name, sequence)) = self.acks.remove(&to) {
                let consumer = self.consumers.get_mut(&name).expect("a consumer");
                consumer.acked.insert(sequence);
                consumer.open.remove(&sequence);
                if consumer.policy == "all" {
                    let below: Vec<u64> = consumer.delivered.range(..sequence).map(|(s, _)| *s).collect();
                    consumer.acked.extend(below);
                    consumer.open = consumer.open.split_off(&sequence);
                }
            }
        }
        answer
    }

    fn delivered(&mut self, id: ConsumerId, sequence: u64, subject: &str, reply: String) {
        let name = self.ids.iter().find(|(_, known)| **known == id).expect("a known consumer").0.clone();
        let consumer = self.consumers.get_mut(&name).expect("a consumer");
        assert!(matches(consumer.filters, subject), "{name} got {subject}");
        assert!(!consumer.acked.contains(&sequence), "{name} got {sequence} again, which is done");
        let pending: u64 = reply.rsplit('.').next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(pending < 1 << 40, "{name}: {reply}");
        *consumer.delivered.entry(sequence).or_default() += 1;
        consumer.reached = consumer.reached.max(sequence);
        if consumer.policy != "none" {
            consumer.open.insert(sequence, reply);
        }
    }

    fn ask(&mut self, path: &str, payload: &Value) -> Value {
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        self.engine.request(&Request {
            account: self.account,
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: b"ask",
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
        // The reply waits for the disk, or the request takes several turns.
        for _ in 0..10_000 {
            self.engine.commit();
            let answer = self.collect_answer("ask");
            if !answer.is_null() {
                return answer;
            }
            if let Some(job) = self.engine.next_job() {
                let done = job.run();
                self.engine.job_done(done);
            }
        }
        panic!("no answer to {path}");
    }

    fn pick(&self, random: &mut Random) -> String {
        let names: Vec<&String> = self.consumers.keys().collect();
        names[random.below(names.len())].clone()
    }

    fn step(&mut self, random: &mut Random) {
        self.now += random.below(200_000_000) as i64;
        self.engine.set_time(self.now);
        if self.is_limited {
            self.raise_limits(true);
        }
        let name = self.pick(random);
        let id = self.ids[&name];
        match random.below(16) {
            0..5 => {
                self.publish(SUBJECTS[random.below(4)], b"");
            }
            5..9 => {
                let batch = random.below(6);
                let request = json!({"batch": batch, "expires": 100_000_000, "no_wait": random.one_in(2)});
                self.engine.pull(id, b"inbox", b"", request.to_string().as_bytes());
            }
            9..13 => self.acknowledge(&name, random),
            13 if random.one_in(3) => {
                let Some(sequence) = self.any_stored(random) else { return };
                let answer = self.ask("STREAM.MSG.DELETE.S", &json!({"seq": sequence, "no_erase": true}));
                if self.is_done(&answer) {
                    self.removed.insert(sequence);
                }
            }
            14 if random.one_in(8) => {
                let Some(sequence) = self.any_stored(random) else { return };
                let answer = self.ask("STREAM.PURGE.S", &json!({"seq": sequence}));
                if self.is_done(&answer) {
                    self.removed.extend(1..sequence);
                }
            }
            14 if random.one_in(4) => self.remove_many(random),
            15 => self.now += 1_500_000_000,
            _ => {}
        }
    }

    fn publish(&mut self, subject: &str, headers: &[u8]) {
        self.next += 1;
        let reply = format!("p{}", self.next);
        self.publishes.insert(reply.clone(), subject.to_owned());
        let message = Publish { subject: subject.as_bytes(), headers, payload: b"payload" };
        self.engine.publish(self.group, reply.as_bytes(), &message);
    }

    /// Removes messages by a purge with a filter, a roll-up, or a limit that is lowered and raised again.
    fn remove_many(&mut self, random: &mut Random) {
        let there = self.existing();
        let on = |filter: &str| -> Vec<u64> {
            there.iter().filter(|(_, subject)| matches(&[filter], subject)).map(|(s, _)| *s).collect()
        };
        let subject = SUBJECTS[random.below(4)];
        match random.below(6) {
            0..3 => {
                let filter = ["s.a", "s.b", "s.*", "s.c.*", "s.c.y", "s.>", "s.nobody"][random.below(7)];
                let mut gone = on(filter);
                let mut request = json!({"filter": filter});
                if random.one_in(3) {
                    let keep = random.below(3);
                    gone.truncate(gone.len().saturating_sub(keep));
                    request["keep"] = json!(keep);
                } else if random.one_in(3) {
                    let below = self.any_stored(random).unwrap_or(1);
                    gone.retain(|sequence| *sequence < below);
                    request["seq"] = json!(below);
                }
                let answer = self.ask("STREAM.PURGE.S", &request);
                if self.is_done(&answer) {
                    self.removed.extend(gone);
                }
            }
            3 => {
                self.removed.extend(on(subject));
                self.publish(subject, b"NATS/1.0\r\nNats-Rollup: sub\r\n\r\n");
            }
            4 => {
                self.removed.extend(on("s.>"));
                self.publish(subject, b"NATS/1.0\r\nNats-Rollup: all\r\n\r\n");
            }
            _ => {
                let most = 1 + random.below(5) as i64;
                let (all, each) = if random.one_in(2) { (most, -1) } else { (-1, most) };
                let answer = self.ask("STREAM.UPDATE.S", &self.config(all, each));
                if !self.is_done(&answer) {
                    return;
                }
                let left = self.existing();
                self.removed.extend(there.keys().filter(|sequence| !left.contains_key(sequence)));
                self.raise_limits(false);
            }
        }
    }

    /// Raises the lowered limits again, which a full disk may put off. Messages removed meanwhile are not expected any more.
    fn raise_limits(&mut self, was_put_off: bool) {
        let answer = self.ask("STREAM.UPDATE.S", &self.config(-1, -1));
        self.is_limited = !self.is_done(&answer);
        if was_put_off && !self.is_limited {
            let left = self.existing();
            self.removed.extend(self.stored.keys().filter(|sequence| !left.contains_key(sequence)));
        }
    }

    /// Whether a request was carried out. It may be refused only on a full disk.
    fn is_done(&mut self, answer: &Value) -> bool {
        let is_refused = answer["error"]["err_code"] == 10_047;
        assert!(self.may_be_full || !is_refused, "{answer}");
        self.refused += usize::from(is_refused);
        !is_refused
    }

    fn any_stored(&self, random: &mut Random) -> Option<u64> {
        let sequences: Vec<u64> = self.stored.keys().copied().collect();
        sequences.get(random.below(sequences.len().max(1))).copied()
    }

    fn acknowledge(&mut self, name: &str, random: &mut Random) {
        let consumer = self.consumers.get_mut(name).expect("a consumer");
        let open: Vec<(u64, String)> = consumer.open.iter().map(|(s, r)| (*s, r.clone())).collect();
        let Some((sequence, reply)) = open.get(random.below(open.len().max(1))).cloned() else { return };
        let rest = reply.splitn(5, '.').nth(4).expect("the rest").to_owned();
        let verb: &[u8] = match random.below(8) {
            0 => b"-NAK",
            1 => b"+WPI",
            2 => b"-NAK 50ms",
            _ => b"+ACK",
        };
        let mut answer = String::new();
        if verb == b"+ACK" {
            self.next += 1;
            answer = format!("a{}", self.next);
            self.acks.insert(answer.clone(), (name.to_owned(), sequence));
            consumer.maybe_acked.insert(sequence);
            if consumer.policy == "all" {
                let below: Vec<u64> = consumer.delivered.range(..sequence).map(|(s, _)| *s).collect();
                consumer.maybe_acked.extend(below);
            }
        }
        self.engine.ack(self.ids[name], rest.as_bytes(), answer.as_bytes(), verb);
    }

    /// The subjects of the stored messages, by sequence.
    fn existing(&mut self) -> BTreeMap<u64, String> {
        let last = self.ask("STREAM.INFO.S", &Value::Null)["state"]["last_seq"].as_u64().expect("a sequence");
        let mut there = BTreeMap::new();
        for sequence in 1..=last {
            let answer = self.ask("STREAM.MSG.GET.S", &json!({"seq": sequence}));
            if let Some(subject) = answer["message"]["subject"].as_str() {
                there.insert(sequence, subject.to_owned());
            }
        }
        there
    }

    /// Compares the figures of consumers with the model, when no acknowledgements are in flight.
    fn check(&mut self, context: &str) {
        let there = self.existing();
        for name in self.consumers.keys().cloned().collect::<Vec<_>>() {
            let info = self.ask(&format!("CONSUMER.INFO.S.{name}"), &Value::Null);
            let c = &self.consumers[&name];
            let waiting =
                there.iter().filter(|(s, subject)| **s > c.reached && matches(c.filters, subject)).count();
            assert_eq!(info["num_pending"], waiting, "{context} {name} {c:?}\n{info}\n{there:?}");
            let open = c.open.keys().filter(|s| there.contains_key(s) && !c.acked.contains(s)).count();
            assert_eq!(info["num_ack_pending"], open, "{context} {name} {c:?}\n{info}\n{there:?}");
            let twice = c.open.keys().filter(|s| there.contains_key(s) && c.delivered[s] > 1).count();
            assert_eq!(info["num_redelivered"], twice, "{context} {name} {c:?}\n{info}");
            let floor = info["ack_floor"]["stream_seq"].as_u64().expect("a sequence");
            let below = c.open.keys().find(|s| **s <= floor && there.contains_key(s));
            assert_eq!(below, None, "{context} {name}: the floor is {floor}\n{info}");
        }
        self.check_retention(&there, context);
    }

    /// Checks that the stream holds exactly the messages that its retention policy keeps.
    fn check_retention(&self, there: &BTreeMap<u64, String>, context: &str) {
        for (sequence, subject) in self.stored.iter().filter(|(s, _)| !self.removed.contains(s)) {
            let mut wanting = self.consumers.values().filter(|c| matches(c.filters, subject));
            let is_done = |c: &Consumer| match c.policy {
                "none" => c.delivered.contains_key(sequence),
                _ => c.acked.contains(sequence),
            };
            let is_kept = match self.retention {
                Retention::Limits => true,
                Retention::Interest => wanting.any(|c| !is_done(c)),
                Retention::Workqueue => !wanting.any(is_done),
            };
            assert_eq!(
                there.contains_key(sequence),
                is_kept,
                "{context}: {sequence} {subject} {:?}",
                self.retention
            );
        }
    }

    /// Fetches and acknowledges all messages. Then every consumer must have received each message that matches its filters.
    fn drain(&mut self, context: &str) {
        for _ in 0..200 {
            self.now += 1_200_000_000;
            for name in self.ids.keys().cloned().collect::<Vec<_>>() {
                let id = self.ids[&name];
                let request = json!({"batch": 1000, "no_wait": true}).to_string();
                self.engine.pull(id, b"inbox", b"", request.as_bytes());
                self.settle(None);
                let open: Vec<(u64, String)> =
                    self.consumers[&name].open.iter().map(|(s, r)| (*s, r.clone())).collect();
                for (sequence, reply) in open {
                    self.next += 1;
                    let answer = format!("a{}", self.next);
                    self.acks.insert(answer.clone(), (name.clone(), sequence));
                    let rest = reply.splitn(5, '.').nth(4).expect("the rest").to_owned();
                    self.engine.ack(id, rest.as_bytes(), answer.as_bytes(), b"+ACK");
                    self.settle(None);
                }
            }
            let idle = self.ids.keys().cloned().collect::<Vec<_>>().iter().all(|name| {
                let info = self.ask(&format!("CONSUMER.INFO.S.{name}"), &Value::Null);
                info["num_pending"] == 0 && info["num_ack_pending"] == 0
            });
            if idle {
                break;
            }
        }
        for (name, c) in &self.consumers {
            for (sequence, subject) in &self.stored {
                // With policy `all`, an acknowledgement also covers earlier messages that a crash kept from being delivered.
                let is_covered = c.policy == "all" && c.acked.last().is_some_and(|last| last > sequence);
                let wants = matches(c.filters, subject) && !self.removed.contains(sequence) && !is_covered;
                assert!(
                    !wants || c.delivered.contains_key(sequence),
                    "{context}: {name} never got {sequence} {subject} {c:?}"
                );
            }
        }
    }

    fn reopen(&mut self, store: &Store, durability: Durability) {
        (self.engine, self.account) = Self::open(store, durability, self.now);
        self.publishes.clear();
        self.acks.clear();
        self.learn();
    }
}

fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|s| s.parse().ok());
    match number("STONECHAT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STONECHAT_SEEDS").unwrap_or(usual),
    }
}

#[test]
fn figures_are_those_of_a_plain_model() {
    for seed in seeds(60) {
        let mut random = Random(seed);
        let storage = if seed % 3 == 0 { "memory" } else { "file" };
        let mut store = Store::new(seed);
        let mut world = World::new(&store, Durability::None, &mut random, storage);
        for round in 0..4 {
            for step in 0..40 {
                world.step(&mut random);
                world.settle(None);
                if step % 4 == 0 {
                    world.check(&format!("seed {seed} round {round} step {step}"));
                }
            }
            // A restart changes nothing.
            if world.storage == "file" {
                world.engine.close();
                world.collect();
                store = store.map(|disk| disk.kill());
                world.reopen(&store, Durability::None);
                world.check(&format!("seed {seed} round {round}, restarted"));
            }
        }
        world.drain(&format!("seed {seed}"));
    }
}

#[test]
fn nobody_misses_a_message_and_what_is_done_is_done_through_crashes() {
    for seed in seeds(40) {
        let mut random = Random(seed ^ 0x9999);
        let mut store = Store::new(seed);
        let mut world = World::new(&store, Durability::Synced, &mut random, "file");
        for _ in 0..5 {
            for _ in 0..random.below(80) {
                world.step(&mut random);
                if !random.one_in(3) {
                    world.settle(Some(&mut random));
                }
            }
            store = match random.below(3) {
                0 => store.map(|disk| disk.kill()),
                _ => store.map(|disk| disk.power_cut(&mut random)),
            };
            world.reopen(&store, Durability::Synced);
            // Acknowledgements in flight may count or not, so their messages may be delivered again.
            for consumer in world.consumers.values_mut() {
                let maybe = std::mem::take(&mut consumer.maybe_acked);
                for sequence in maybe {
                    consumer.open.remove(&sequence);
                }
            }
        }
        world.drain(&format!("seed {seed}"));
    }
}

#[test]
fn a_full_disk_lets_consumers_go_on() {
    for seed in seeds(15) {
        let mut random = Random(seed ^ 0x1234);
        let mut store = Store::new(seed);
        let mut world = World::new(&store, Durability::Synced, &mut random, "file");
        for _ in 0..40 {
            world.step(&mut random);
            world.settle(None);
        }
        world.may_be_full = true;
        for _ in 0..3 {
            for full in [true, false] {
                [&store.log, &store.catalogue, &store.streams]
                    .iter()
                    .for_each(|disk| disk.faults(|faults| faults.full = full));
                for _ in 0..60 {
                    world.step(&mut random);
                    world.settle(None);
                }
                // Publishes, acknowledgements and reads get replies all the while.
                assert!(world.acks.is_empty(), "seed {seed}: {:?}", world.acks);
                assert!(world.publishes.is_empty(), "seed {seed}: {:?}", world.publishes);
                assert!(world.ask("STREAM.INFO.S", &Value::Null).get("error").is_none(), "seed {seed}");
            }
        }
        if world.is_limited {
            world.raise_limits(true);
        }
        world.may_be_full = false;
        store = store.map(|disk| disk.power_cut(&mut random));
        world.reopen(&store, Durability::Synced);
        for consumer in world.consumers.values_mut() {
            for sequence in std::mem::take(&mut consumer.maybe_acked) {
                consumer.open.remove(&sequence);
            }
        }
        world.drain(&format!("seed {seed}"));
    }
}

#[test]
fn a_disk_without_room_refuses_changes_as_a_whole() {
    for seed in seeds(6) {
        let mut random = Random(seed ^ 0x4321);
        let store = Store::new(seed);
        let mut world = World::new(&store, Durability::Synced, &mut random, "file");
        world.ask("STREAM.CREATE.T", &json!({"name": "T", "subjects": ["t"]}));
        for _ in 0..40 {
            world.step(&mut random);
            world.settle(None);
        }
        store.disks().iter().for_each(|disk| disk.faults(|faults| faults.full = true));
        world.may_be_full = true;
        // Uses up the last room: each purge is a record of the log.
        let purge = |world: &mut World| world.ask("STREAM.PURGE.T", &Value::Null);
        let is_refused = (0..5000).any(|_| purge(&mut world)["error"]["err_code"] == 10_047);
        assert!(is_refused, "seed {seed}");
        let there = world.existing();
        let of_consumer = |world: &mut World| {
            let info = world.ask("CONSUMER.INFO.S.c0", &Value::Null);
            json!([info["config"], info["num_ack_pending"], info["ack_floor"]["stream_seq"]])
        };
        let consumer = of_consumer(&mut world);
        let config = world.config(1, 1);
        for (path, payload) in [
            ("STREAM.PURGE.S", Value::Null),
            ("STREAM.PURGE.S", json!({"filter": "s.>"})),
            ("STREAM.PURGE.S", json!({"seq": 1_000_000})),
            ("STREAM.MSG.DELETE.S", json!({"seq": there.keys().next().copied().unwrap_or(1)})),
            ("STREAM.UPDATE.S", config),
            ("STREAM.DELETE.S", Value::Null),
            ("STREAM.CREATE.U", json!({"name": "U", "subjects": ["u"]})),
            ("CONSUMER.CREATE.S.c9", json!({"stream_name": "S", "config": {"name": "c9"}})),
            ("CONSUMER.PAUSE.S.c0", json!({"pause_until": "2100-01-01T00:00:00Z"})),
            ("CONSUMER.RESET.S.c0", Value::Null),
            ("CONSUMER.DELETE.S.c0", Value::Null),
        ] {
            let answer = world.ask(path, &payload);
            assert_eq!(answer["error"]["err_code"], 10_047, "seed {seed}: {path} {answer}");
        }
        // Checking a long change reserves no room for it.
        let files = store.log.names().expect("names");
        for n in 1..10 {
            let config = json!({"name": "U", "description": "x".repeat(n * 50_000)});
            assert_eq!(world.ask("STREAM.CREATE.U", &config)["error"]["err_code"], 10_047, "seed {seed}");
        }
        assert_eq!(store.log.names().expect("names"), files, "seed {seed}");
        let (asked, before) = (world.consumers.clone(), world.refused);
        for (name, id) in world.ids.clone() {
            for (sequence, reply) in &asked[&name].open {
                let rest = reply.splitn(5, '.').nth(4).expect("the rest");
                world.acks.insert("ack".to_owned(), (name.clone(), *sequence));
                world.engine.ack(id, rest.as_bytes(), b"ack", b"+ACK");
                world.collect();
                assert!(world.acks.is_empty(), "seed {seed}: {name} {sequence}");
            }
        }
        let open = asked.values().map(|consumer| consumer.open.len()).sum::<usize>();
        assert_eq!(world.refused - before, open, "seed {seed}");
        assert_eq!(world.existing(), there, "seed {seed}");
        assert_eq!(of_consumer(&mut world), consumer, "seed {seed}");

        store.disks().iter().for_each(|disk| disk.faults(|faults| faults.full = false));
        world.now += 1_000_000_000;
        world.settle(None);
        world.may_be_full = false;
        assert_eq!(purge(&mut world)["success"], true, "seed {seed}");
        assert_eq!(world.ask("STREAM.PURGE.S", &Value::Null)["success"], true, "seed {seed}");
        assert_eq!(world.existing(), BTreeMap::new(), "seed {seed}");
    }
}
