//! Damage to a young store: acknowledged messages are not lost without a report, and streams and consumers are not lost at all.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on may panic"
)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Notice, OpenError, Options};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, ConsumerId, StreamId};
use stonechat_store::disk::Disk;
use stonechat_store::disk::sim::SimDisk;
use support::Store;

/// Bytes that become unreadable together.
const PAGE: usize = 4096;
const CORRUPT: u64 = 10_900;

struct World {
    engine: Engine<SimDisk>,
    account: AccountId,
    now: i64,
}

/// The acknowledged state of a stream: its configuration, its consumers' configurations, and its messages by sequence.
#[derive(Debug, Clone, Default, PartialEq)]
struct Told {
    config: Value,
    consumers: BTreeMap<String, Value>,
    messages: BTreeMap<u64, Value>,
}

#[derive(Debug, Clone, Copy)]
enum Age {
    None,
    Marked,
    Settled,
}

/// Options with which the log's length causes no checkpoint.
fn options() -> Options {
    let mut options = support::options(Durability::Synced);
    options.sizes.log_file = 64 << 10;
    options.sizes.checkpoint = 1 << 30;
    options
}

impl World {
    fn open(store: &Store) -> Self {
        let now = 1_000_000_000;
        let (engine, account) = store.open(options(), support::World::boxed(true), now);
        Self { engine, account, now }
    }

    /// Sends a request and returns its reply, after the jobs that the reply waits for.
    fn ask(&mut self, subject: &str, payload: &Value) -> Value {
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        self.engine.request(&Request {
            account: self.account,
            subject: format!("$JS.API.{subject}").as_bytes(),
            reply: b"reply",
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
        self.answer().unwrap_or_else(|| panic!("no answer to {subject}"))
    }

    fn answer(&mut self) -> Option<Value> {
        self.now += 1000;
        self.engine.set_time(self.now);
        self.engine.commit();
        let mut answer = None;
        for _ in 0..100 {
            self.engine.take_ready(|out| {
                if out.subject == b"reply" {
                    // Messages of a batch before the last one get empty replies.
                    answer = Some(serde_json::from_slice(out.payload()).unwrap_or_default());
                }
            });
            let Some(job) = self.engine.next_job().filter(|_| answer.is_none()) else { break };
            let done = job.run();
            self.engine.job_done(done);
        }
        answer
    }

    fn publish(&mut self, stream: &str, subject: &str, headers: &[u8], payload: &str) -> u64 {
        let groups = self.groups();
        let message = Publish { subject: subject.as_bytes(), headers, payload: payload.as_bytes() };
        self.engine.publish(groups[stream], b"reply", &message);
        self.answer().map_or(0, |answer| answer["seq"].as_u64().unwrap_or(0))
    }

    /// The numbers of the streams, in the order of their creation.
    fn groups(&mut self) -> BTreeMap<&'static str, StreamId> {
        BTreeMap::from([("L", StreamId(1)), ("I", StreamId(2)), ("W", StreamId(5)), ("B", StreamId(8))])
    }

    fn told(&mut self) -> BTreeMap<String, Told> {
        let names = self.ask("STREAM.NAMES", &Value::Null);
        let names: Vec<String> = serde_json::from_value(names["streams"].clone()).unwrap_or_default();
        let mut all = BTreeMap::new();
        for name in names {
            let info = self.ask(&format!("STREAM.INFO.{name}"), &Value::Null);
            let mut told = Told { config: info["config"].clone(), ..Told::default() };
            let consumers = self.ask(&format!("CONSUMER.LIST.{name}"), &Value::Null);
            for consumer in consumers["consumers"].as_array().into_iter().flatten() {
                let name = consumer["name"].as_str().unwrap_or_default().to_owned();
                told.consumers.insert(name, consumer["config"].clone());
            }
            for sequence in 1..=info["state"]["last_seq"].as_u64().unwrap_or(0) {
                let answer = self.ask(&format!("STREAM.MSG.GET.{name}"), &json!({"seq": sequence}));
                match answer.get("error") {
                    Some(error) if error["err_code"] == CORRUPT => {
                        told.messages.insert(sequence, json!(CORRUPT));
                    }
                    Some(_) => {}
                    None => drop(told.messages.insert(sequence, answer["message"]["data"].clone())),
                }
            }
            all.insert(name, told);
        }
        all
    }

    /// Idles until the log writes its durable position.
    fn idle(&mut self) {
        self.turns(20_000_000);
    }

    /// Idles until a checkpoint is made.
    fn settle(&mut self) {
        self.turns(2_100_000_000);
    }

    fn turns(&mut self, pause: i64) {
        for _ in 0..4 {
            self.now += pause;
            self.engine.set_time(self.now);
            self.engine.tick();
            self.engine.commit();
            while let Some(job) = self.engine.next_job() {
                let done = job.run();
                self.engine.job_done(done);
            }
        }
    }
}

/// Fills a store with every kind of record that a young store can have.
fn fill(world: &mut World) {
    let created =
        world.ask("STREAM.CREATE.L", &json!({"name": "L", "subjects": ["l.>"], "max_msgs_per_subject": 50}));
    assert_eq!(created.get("error"), None, "{created}");
    for n in 0..12 {
        assert_eq!(world.publish("L", &format!("l.{}", n % 3), b"", &format!("message {n}")), n + 1);
    }
    world.ask("STREAM.CREATE.I", &json!({"name": "I", "subjects": ["i.>"], "retention": "interest"}));
    for name in ["a", "b"] {
        let config = json!({"durable_name": name, "ack_policy": "explicit"});
        let created =
            world.ask(&format!("CONSUMER.CREATE.I.{name}"), &json!({"stream_name": "I", "config": config}));
        assert_eq!(created.get("error"), None, "{created}");
    }
    for n in 0..6 {
        assert_eq!(world.publish("I", "i.x", b"", &format!("wanted {n}")), n + 1);
    }
    // Consumer 3 acknowledges all messages; the other one needs all of them.
    world.engine.pull(ConsumerId(3), b"in", b"", b"6");
    world.answer();
    for sequence in 1..=6 {
        world.engine.ack(ConsumerId(3), format!("1.{sequence}.{sequence}.1.1").as_bytes(), b"", b"+ACK");
    }
    world.answer();
    let work = json!({"name": "W", "subjects": ["w.>"], "retention": "workqueue"});
    world.ask("STREAM.CREATE.W", &work);
    for n in 0..4 {
        world.publish("W", "w.x", b"", &format!("work {n}"));
    }
    world.ask("STREAM.MSG.DELETE.L", &json!({"seq": 2}));
    world.ask("STREAM.PURGE.W", &json!({"keep": 2}));
    let config = json!({"name": "gone", "ack_policy": "explicit"});
    world.ask("CONSUMER.CREATE.L.gone", &json!({"stream_name": "L", "config": config}));
    world.ask("CONSUMER.DELETE.L.gone", &Value::Null);
    let changed = json!({"durable_name": "b", "ack_policy": "explicit", "description": "changed"});
    world.ask("CONSUMER.CREATE.I.b", &json!({"stream_name": "I", "config": changed}));
    world.ask("STREAM.CREATE.D", &json!({"name": "D", "subjects": ["d.>"]}));
    world.ask("STREAM.DELETE.D", &Value::Null);
    world.ask("STREAM.CREATE.B", &json!({"name": "B", "subjects": ["b.>"], "allow_atomic": true}));
    for n in 1..=3 {
        let commit = if n == 3 { "Nats-Batch-Commit: 1\r\n" } else { "" };
        let headers = format!("NATS/1.0\r\nNats-Batch-Id: id\r\nNats-Batch-Sequence: {n}\r\n{commit}\r\n");
        world.publish("B", "b.x", headers.as_bytes(), "part");
    }
    let update =
        json!({"name": "L", "subjects": ["l.>"], "max_msgs_per_subject": 50, "description": "changed"});
    world.ask("STREAM.UPDATE.L", &update);
}

/// Creates a young store: killed at once, after some milliseconds, or after a checkpoint. Returns its acknowledged state too.
fn young(seed: u64, age: Age) -> (Store, BTreeMap<String, Told>) {
    let store = Store::new(seed);
    let mut world = World::open(&store);
    fill(&mut world);
    let told = world.told();
    assert_eq!(told.keys().map(String::as_str).collect::<Vec<_>>(), ["B", "I", "L", "W"]);
    assert_eq!(told["L"].messages.len(), 11);
    assert_eq!(told["B"].messages.len(), 3);
    assert_eq!((told["I"].messages.len(), told["I"].consumers.len()), (6, 2));
    match age {
        Age::None => {}
        Age::Marked => world.idle(),
        Age::Settled => world.settle(),
    }
    (store.map(SimDisk::kill), told)
}

/// Opens a damaged store and compares it with the acknowledged state. Returns the number of messages that can't be read, and how
/// many of them are not counted.
fn compare(store: &Store, expected: &BTreeMap<String, Told>, context: &str) -> (u64, u64) {
    let mut world = World::open(store);
    let notices = world.engine.take_notices();
    let told = world.told();
    let (mut lost, mut uncounted) = (0, 0);
    for (name, expected) in expected {
        let found = told.get(name).unwrap_or_else(|| panic!("{context}: {name} is gone: {notices:?}"));
        assert_eq!(found.config, expected.config, "{context}: {name} {notices:?}");
        assert_eq!(found.consumers, expected.consumers, "{context}: {name} {notices:?}");
        for (sequence, message) in &expected.messages {
            let found = found.messages.get(sequence);
            if found != Some(message) {
                assert!(found.is_none_or(|found| *found == CORRUPT), "{context}: {name} {sequence}");
                assert!(!notices.is_empty(), "{context}: {name} {sequence} went without a word");
                lost += 1;
                uncounted += u64::from(found.is_none());
            }
        }
    }
    assert_eq!(told.len(), expected.len(), "{context}: {:?}", told.keys());
    assert_eq!(world.engine.quarantined_numbers(), Vec::<u32>::new(), "{context}");
    (lost, uncounted)
}

/// The files of a disk that have content, and the lengths of the content.
fn files(disk: &SimDisk) -> Vec<(String, usize)> {
    let used = |name: &String| {
        disk.bytes(name, |bytes| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |i| i + 1))
    };
    let names = disk.names().expect("names").into_iter();
    names
        .map(|name| (used(&name), name))
        .filter(|(used, _)| *used > 0)
        .map(|(used, name)| (name, used))
        .collect()
}

#[test]
fn no_flipped_bit_costs_a_young_store_a_stream_or_a_consumer() {
    // With `STONECHAT_SEEDS` set, more bytes are tried.
    let every = if std::env::var_os("STONECHAT_SEEDS").is_some() { 1 } else { 11 };
    for (seed, age) in [(0, Age::None), (0, Age::Settled), (1, Age::None), (0, Age::Marked)] {
        let (store, expected) = young(seed, age);
        let mut tried = 0;
        for disk in 0..3 {
            for (name, used) in files(store.disks()[disk]) {
                for at in 0..used {
                    let byte = store.disks()[disk].bytes(&name, |bytes| bytes[at]);
                    // A sample is enough: fewer bytes of empty areas and of an encrypted store.
                    let step = if byte == 0 {
                        499
                    } else if seed == 0 {
                        every
                    } else {
                        7 * every
                    };
                    if at % step != 0 {
                        continue;
                    }
                    let damaged = store.map(SimDisk::kill);
                    damaged.disks()[disk].bytes(&name, |bytes| bytes[at] ^= 1 << (at % 8));
                    let context = format!("seed {seed} {age:?} disk {disk} {name} byte {at}");
                    let (lost, uncounted) = compare(&damaged, &expected, &context);
                    assert!(lost <= 1 && uncounted == 0, "{context}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 100, "{tried}");
    }
}

#[test]
fn no_bad_page_costs_a_young_store_a_stream_or_a_consumer() {
    for (seed, age) in [(0, Age::Marked), (0, Age::Settled), (1, Age::Settled)] {
        let (store, expected) = young(seed, age);
        for disk in 0..2 {
            for (name, used) in files(store.disks()[disk]) {
                for page in 0..used.div_ceil(PAGE) {
                    for fill in [0, 0xff].into_iter().filter(|fill| seed > 0 || *fill == 0) {
                        let damaged = store.map(SimDisk::kill);
                        damaged.disks()[disk].bytes(&name, |bytes| {
                            bytes.chunks_mut(PAGE).nth(page).expect("a page").fill(fill);
                        });
                        let context = format!("seed {seed} {age:?} disk {disk} {name} page {page} {fill}");
                        compare(&damaged, &expected, &context);
                    }
                }
            }
        }
    }
}

/// Makes all records in the log unreadable that contain this text.
fn damage_all(disk: &SimDisk, text: &[u8]) {
    let mut count = 0;
    for (name, _) in files(disk) {
        disk.bytes(&name, |bytes| {
            let found: Vec<usize> =
                bytes.windows(text.len()).enumerate().filter(|(_, w)| *w == text).map(|(i, _)| i).collect();
            count += found.len();
            found.into_iter().for_each(|at| bytes[at] ^= 1);
        });
    }
    assert_eq!(count, 2, "what was created is in the log twice");
}

#[test]
fn a_stream_whose_creation_is_lost_altogether_is_kept_named_and_adopted() {
    let (store, expected) = young(0, Age::Marked);
    damage_all(&store.log, br#"{"name":"W","subjects":["w.>"]"#);
    for _ in 0..3 {
        // The stream stays quarantined over checkpoints and restarts.
        let mut world = World::open(&store);
        let notices = format!("{:?}", world.engine.take_notices());
        assert!(notices.contains("stream number 5 is, it is quarantined: 2 messages"), "{notices}");
        assert!(notices.contains("subjects w.x"), "{notices}");
        assert_eq!(world.engine.quarantined_numbers(), [5]);
        let told = world.told();
        assert_eq!(told.keys().map(String::as_str).collect::<Vec<_>>(), ["B", "I", "L"]);
        assert_eq!(told["I"].messages, expected["I"].messages);
        // A new stream does not get the number of the quarantined one.
        let created = world.ask("STREAM.CREATE.N", &json!({"name": "N", "subjects": ["n"]}));
        assert_eq!(created.get("error"), None, "{created}");
        world.ask("STREAM.DELETE.N", &Value::Null);
        world.settle();
        world.engine.close();
    }
    let mut world = World::open(&store);
    assert!(world.engine.adopt(StreamId(5), "$G", "L").is_err(), "there is one");
    assert!(world.engine.adopt(StreamId(4), "$G", "X").is_err(), "it is not quarantined");
    let config = world.engine.adopt(StreamId(5), "$G", "Again").expect("adopted");
    assert_eq!(config.subjects, ["w.x"]);
    // Once on disk, the adoption survives a crash and a restart.
    world.answer();
    while let Some(job) = world.engine.next_job() {
        let done = job.run();
        world.engine.job_done(done);
    }
    for store in [store.map(SimDisk::kill), store] {
        let mut world = World::open(&store);
        let told = world.told();
        assert_eq!(told["Again"].messages, expected["W"].messages);
        assert_eq!(world.engine.quarantined_numbers(), Vec::<u32>::new());
        assert_eq!(world.publish("W", "w.x", b"", "more"), 5);
    }
}

#[test]
fn a_catalogue_that_is_lost_costs_nothing_that_the_log_has() {
    let (store, expected) = young(1, Age::Settled);
    store
        .catalogue
        .names()
        .expect("names")
        .iter()
        .for_each(|name| store.catalogue.remove(name).expect("removed"));
    compare(&store, &expected, "no catalogue");
    // A clean stop notes that the log is not needed. The log is used nevertheless if the catalogue is lost.
    let mut world = World::open(&store);
    world.engine.close();
    drop(world);
    store
        .catalogue
        .names()
        .expect("names")
        .iter()
        .for_each(|name| store.catalogue.remove(name).expect("removed"));
    compare(&store, &expected, "no catalogue, closed");
}

#[test]
fn files_that_are_left_alone_stay() {
    let (store, _) = young(0, Age::Settled);
    let names = store.streams.names().expect("names");
    assert!(names.len() >= 4);
    for disk in [&store.catalogue, &store.log] {
        disk.names().expect("names").iter().for_each(|name| disk.remove(name).expect("removed"));
    }
    // The files of stream 1 can't be read any more.
    store.streams.bytes("stream-1-1", |bytes| bytes[20] ^= 1);
    let mut world = World::open(&store);
    assert_eq!(world.engine.quarantined_numbers(), [1, 2, 5, 8]);
    world.settle();
    world.engine.close();
    assert_eq!(store.streams.names().expect("names"), names);
    let mut world = World::open(&store);
    let notices = format!("{:?}", world.engine.take_notices());
    assert!(notices.contains("its files can't be read: they are kept"), "{notices}");
    world.engine.discard(StreamId(1)).expect("given up");
    world.engine.close();
    assert_eq!(store.streams.names().expect("names").len(), names.len() - 1);
    assert_eq!(World::open(&store).engine.quarantined_numbers(), [2, 5, 8]);
}

#[test]
fn a_stream_of_which_only_files_are_left_is_adopted() {
    let (store, expected) = young(1, Age::Settled);
    // All records of the streams in the catalogue and the log are lost.
    for disk in [&store.catalogue, &store.log] {
        let names = disk.names().expect("names");
        names
            .iter()
            .filter(|name| *name != "superblock")
            .for_each(|name| disk.remove(name).expect("removed"));
    }
    let mut world = World::open(&store);
    assert_eq!(world.engine.quarantined_numbers(), [1, 2, 5, 8], "{:?}", world.engine.take_notices());
    for (number, name) in [(1, "L"), (2, "I"), (5, "W"), (8, "B")] {
        world.engine.adopt(StreamId(number), "$G", name).expect("adopted");
    }
    world.engine.close();
    let told = World::open(&store).told();
    for (name, expected) in &expected {
        let found = &told[name].messages;
        assert!(
            expected.messages.iter().all(|(sequence, message)| found.get(sequence) == Some(message)),
            "{name}"
        );
    }
}

#[test]
fn a_consumer_that_nobody_describes_keeps_what_it_may_need() {
    let (store, expected) = young(0, Age::Marked);
    let text = br#"{"durable_name":"a""#;
    let is_there = |disk: &SimDisk| {
        files(disk).iter().any(|(name, _)| disk.bytes(name, |b| b.windows(text.len()).any(|w| w == text)))
    };
    assert!(is_there(&store.log));
    for (name, _) in files(&store.log) {
        store.log.bytes(&name, |bytes| {
            let at: Vec<usize> =
                bytes.windows(text.len()).enumerate().filter(|(_, w)| w == text).map(|(i, _)| i).collect();
            at.into_iter().for_each(|at| bytes[at] ^= 1);
        });
    }
    for _ in 0..3 {
        let mut world = World::open(&store);
        let notices = format!("{:?}", world.engine.take_notices());
        assert!(notices.contains("nothing says what consumer number 3 is"), "{notices}");
        // The remaining consumer acknowledges all messages, too.
        world.engine.pull(ConsumerId(4), b"in", b"", b"6");
        world.answer();
        for sequence in 1..=6 {
            world.engine.ack(ConsumerId(4), format!("1.{sequence}.{sequence}.1.1").as_bytes(), b"", b"+ACK");
        }
        world.answer();
        assert_eq!(world.told()["I"].messages, expected["I"].messages);
        world.settle();
        world.engine.close();
    }
    let mut world = World::open(&store);
    let refused = world.engine.adopt(StreamId(3), "$G", "a").err().unwrap_or_default();
    assert!(refused.contains("consumers can't be adopted"), "{refused}");
    world.engine.accept_loss();
    world.engine.close();
    let mut world = World::open(&store);
    assert_eq!(world.engine.take_notices(), []);
    assert_eq!(world.told()["I"].messages.len(), 0);
}

#[test]
fn a_log_that_is_lost_beside_its_catalogue_is_not_begun_anew_without_a_word() {
    for seed in 0..3 {
        let context = format!("seed {seed}");
        let (store, told) = young(seed, Age::Settled);
        let mut world = World::open(&store);
        world.publish("L", "l.lost", b"", "only in the log");
        let store = store.map(SimDisk::kill);
        drop(world);
        for name in store.log.names().unwrap() {
            store.log.remove(&name).unwrap();
        }
        let files = store.streams.names().unwrap();
        let host = || support::World::boxed(true);
        let refused = store.open_with(Engine::open, options(), host(), 1_000_000_000).err();
        assert!(matches!(refused, Some(OpenError::NoLog)), "{context}: {refused:?}");
        assert_eq!(store.log.names().unwrap(), Vec::<String>::new(), "{context}: nothing is written");

        // A caller that accepts the loss finds everything that the catalogue has. The different salt is the one that a new store
        // would get.
        let open: support::Open =
            |disks, options, host, salt, now| Engine::open_without_log(disks, options, host, salt ^ 7, now);
        let (engine, account) = store.open_with(open, options(), host(), 1_000_000_000).unwrap();
        let mut world = World { engine, account, now: 1_000_000_000 };
        let notices = world.engine.take_notices();
        let is_told =
            |notice: &Notice| matches!(notice, Notice::Error(text) if text.contains("the log is missing"));
        assert!(notices.iter().any(is_told), "{context}: {notices:?}");
        assert_eq!(world.told(), told, "{context}");
        let kept = store.streams.names().unwrap();
        assert!(files.iter().all(|name| kept.contains(name)), "{context}: {files:?} {kept:?}");

        // A new message is not mistaken for one that the catalogue already covers.
        let sequence = world.publish("L", "l.new", b"", "new");
        assert_eq!(sequence, 13, "{context}");
        let store = store.map(SimDisk::kill);
        let mut world = World::open(&store);
        let after = world.told();
        assert_eq!(after["L"].messages.len(), 12, "{context}");
        assert_eq!(after["I"], told["I"], "{context}");
        world.engine.accept_loss();
        world.settle();
        world.engine.close();
        let mut world = World::open(&store.map(SimDisk::kill));
        assert_eq!(world.engine.take_notices().len(), 0, "{context}");
        assert_eq!(world.told(), after, "{context}");
    }
}
