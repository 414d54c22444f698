//! A request may concern many subjects and messages, but a turn of the engine looks at few of them. Messages stored or removed
//! meanwhile are neither missed nor reported twice.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on may panic")]
// Release builds take longer steps, and do not count visits.
#![cfg(debug_assertions)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Interest};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, ConsumerId, StreamId};
use stonechat_store::disk::sim::{Random, SimDisk};
use stonechat_store::visits;
use support::Store;

/// The most messages and index places that one turn may look at: the budgets of requests and consumers, and the searches for
/// where to continue.
const VISITS_MAX: usize = 2600;
/// A number of subjects far above `VISITS_MAX`.
const SUBJECTS: usize = 4000;

struct World {
    engine: Engine<SimDisk>,
    account: AccountId,
    now: i64,
    /// The stream, and the consumer created last.
    group: StreamId,
    consumer: ConsumerId,
    /// The delivered messages: sequence and subject.
    delivered: Vec<(u64, String)>,
    answers: Vec<(String, Vec<u8>)>,
    /// The most visits in a turn, and the number of turns, since both were set to 0.
    most: usize,
    turns: usize,
}

impl World {
    fn new(config: &Value) -> Self {
        Self::on(&Store::default(), config, Durability::None)
    }

    fn reopen(&mut self, store: &Store) {
        let options = support::options(Durability::Synced);
        (self.engine, self.account) = store.open(options, support::World::boxed(true), self.now);
        self.answers.clear();
        self.turn();
    }

    fn state(&mut self) -> Value {
        self.ask("STREAM.INFO.S", &Value::Null)["state"].take()
    }

    fn on(store: &Store, config: &Value, durability: Durability) -> Self {
        let (engine, account) = store.open(support::options(durability), support::World::boxed(true), 1);
        let mut world = Self {
            engine,
            account,
            now: 1,
            group: StreamId(0),
            consumer: ConsumerId(0),
            delivered: Vec::new(),
            answers: Vec::new(),
            most: 0,
            turns: 0,
        };
        world.ask("STREAM.CREATE.S", config);
        world
    }

    fn filled(storage: &str) -> Self {
        let config = json!({"name": "S", "subjects": ["s.>"], "storage": storage, "allow_direct": true});
        let mut world = Self::new(&config);
        for i in 0..SUBJECTS {
            world.publish(&subject(i), "");
            if i % 100 == 0 {
                world.turn();
            }
        }
        world.turn();
        world
    }

    fn turn(&mut self) {
        self.now += 1;
        self.engine.set_time(self.now);
        self.engine.tick();
        self.engine.commit();
        let (answers, delivered) = (&mut self.answers, &mut self.delivered);
        self.engine.take_ready(|out| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            match out.delivery {
                Some((_, sequence)) => delivered.push((sequence, text(out.subject))),
                None => answers.push((text(out.to), out.content.to_vec())),
            }
        });
        (self.most, self.turns) = (self.most.max(visits::take()), self.turns + 1);
        while let Some(job) = self.engine.next_job() {
            let done = job.run();
            self.engine.job_done(done);
        }
        visits::take();
        for change in self.engine.take_interest_changes().into_iter().filter(|change| change.begins) {
            match change.interest {
                Interest::Publish(id) => self.group = id,
                Interest::Consumer(id) => self.consumer = id,
                _ => {}
            }
        }
    }

    fn send(&mut self, path: &str, payload: &Value) {
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        let reply = path.split('.').take(3).collect::<Vec<_>>().join(".");
        self.engine.request(&Request {
            account: self.account,
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: reply.as_bytes(),
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
    }

    fn wait(&mut self, reply: &str) -> Vec<u8> {
        for _ in 0..100_000 {
            self.turn();
            if let Some(at) = self.answers.iter().position(|(to, _)| to == reply) {
                return self.answers.swap_remove(at).1;
            }
        }
        panic!("no answer to {reply}");
    }

    fn ask(&mut self, path: &str, payload: &Value) -> Value {
        self.send(path, payload);
        let reply = path.split('.').take(3).collect::<Vec<_>>().join(".");
        serde_json::from_slice(&self.wait(&reply)).expect("JSON")
    }

    /// Like `ask`, for a request that is too much for one turn.
    fn ask_much(&mut self, path: &str, payload: &Value) -> Value {
        (self.most, self.turns) = (0, 0);
        visits::take();
        let answer = self.ask(path, payload);
        self.check(&format!("{path} {payload}"));
        answer
    }

    fn check(&self, what: &str) {
        assert!(self.most <= VISITS_MAX, "{what}: {} visits in a turn of {}", self.most, self.turns);
        assert!(
            self.turns > 1 && self.most > 0,
            "{what}: {} turns, at most {} visits",
            self.turns,
            self.most
        );
    }

    fn direct(&mut self, payload: &Value) -> String {
        let payload = payload.to_string();
        (self.most, self.turns) = (0, 0);
        visits::take();
        let request = Request {
            account: self.account,
            subject: b"$JS.API.DIRECT.GET.S",
            reply: b"direct",
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        };
        self.engine.direct_get(self.group, &request);
        let answer = self.wait("direct");
        self.check(&payload);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The replies to publishes, in order, once there are `count` of them.
    fn acks(&mut self, count: usize) -> Vec<Value> {
        for _ in 0..10_000 {
            // Messages of a batch before the last one get empty replies.
            self.answers.retain(|(to, answer)| to != "ack" || !answer.is_empty());
            if self.answers.iter().filter(|(to, _)| to == "ack").count() >= count {
                break;
            }
            self.turn();
        }
        let acks = self.answers.extract_if(.., |(to, _)| to == "ack");
        acks.map(|(_, answer)| serde_json::from_slice(&answer).expect("JSON")).collect()
    }

    /// Sends a request without waiting for its reply.
    fn order(&mut self, path: &str, payload: &Value) {
        self.engine.request(&Request {
            account: self.account,
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: b"nobody",
            headers: b"",
            payload: payload.to_string().as_bytes(),
            client: &|| Value::Null,
        });
    }

    fn publish(&mut self, subject: &str, headers: &str) {
        let message = Publish { subject: subject.as_bytes(), headers: headers.as_bytes(), payload: b"x" };
        self.engine.publish(self.group, b"ack", &message);
    }
}

fn subject(i: usize) -> String {
    format!("s.{}.{i}.x", i % 40)
}

fn consumer(name: &str, policy: &str, filters: &[&str]) -> Value {
    json!({"stream_name": "S", "config": {"name": name, "durable_name": name, "ack_policy": "none",
        "deliver_policy": policy, "filter_subjects": filters}})
}

#[test]
fn gaps_are_told_in_steps() {
    for storage in ["memory", "file"] {
        let mut w = World::filled(storage);
        w.ask("STREAM.PURGE.S", &json!({"filter": "s.*.*.x", "seq": 2000, "keep": 0}));
        w.publish(&subject(0), "");
        w.ask("STREAM.MSG.DELETE.S", &json!({"seq": 2500}));
        // Every second message behind sequence 2600 is deleted.
        for sequence in (2600..3600).step_by(2) {
            w.ask("STREAM.MSG.DELETE.S", &json!({"seq": sequence}));
        }
        let expected: Vec<u64> = std::iter::once(2500).chain((2600..3600).step_by(2)).collect();
        let state = w.ask_much("STREAM.INFO.S", &json!({"deleted_details": true}))["state"].take();
        assert_eq!(state["deleted"], json!(expected), "{storage}");
        assert_eq!(state["num_deleted"], expected.len());
        let both = w.ask("STREAM.INFO.S", &json!({"deleted_details": true, "subjects_filter": "s.0.0.*"}));
        assert_eq!(both["state"]["deleted"], json!(expected), "{storage}");
        assert_eq!(both["state"]["subjects"], json!({"s.0.0.x": 1}), "{storage}");
    }
}

#[test]
fn of_a_gap_beyond_all_measure_a_part_is_told() {
    let mut w = World::new(&json!({"name": "S", "subjects": ["s.>"], "storage": "memory"}));
    w.publish("s.1", "");
    let group = w.group;
    w.ask("STREAM.CREATE.M", &json!({"name": "M", "mirror": {"name": "S"}, "storage": "memory"}));
    (0..10).for_each(|_| w.turn());
    w.ask("STREAM.PURGE.S", &json!({"seq": 1_000_000_000_000_u64}));
    w.group = group;
    w.publish("s.1", "");
    (0..10).for_each(|_| w.turn());
    let state = w.ask("STREAM.INFO.M", &json!({"deleted_details": true}))["state"].take();
    assert_eq!(state["num_deleted"], 999_999_999_998_u64, "{state}");
    assert_eq!(state["deleted"].as_array().map(Vec::len), Some(1_000_000));
}

#[test]
fn messages_are_looked_for_in_steps() {
    for storage in ["memory", "file"] {
        let mut w = World::filled(storage);
        let info = w.ask_much("STREAM.INFO.S", &json!({"subjects_filter": "*.*.*.none"}));
        assert_eq!(info["total"], 0);
        let found = w.ask_much("STREAM.MSG.GET.S", &json!({"last_by_subj": "*.*.*.none"}));
        assert_eq!(found["error"]["err_code"], 10037);
        let found = w.ask_much("STREAM.MSG.GET.S", &json!({"last_by_subj": "*.*.*.x"}));
        assert_eq!(found["message"]["seq"], SUBJECTS);
        let found = w.ask_much("STREAM.MSG.GET.S", &json!({"seq": 2, "next_by_subj": "s.*.3999.>"}));
        assert_eq!(found["message"]["seq"], 4000);
        let found = w.ask_much("STREAM.MSG.GET.S", &json!({"seq": 2, "next_by_subj": "*.none.>"}));
        assert_eq!(found["error"]["err_code"], 10037);
        assert!(w.direct(&json!({"last_by_subj": "*.*.*.none"})).contains("404"));
        assert!(w.direct(&json!({"last_by_subj": "*.*.*.x"})).contains("Nats-Sequence: 4000"));
        assert!(w.direct(&json!({"seq": 2, "next_by_subj": "*.none.>"})).contains("404"));
        assert!(w.direct(&json!({"multi_last": ["*.*.*.none"]})).contains("404"));
        // A result that is known at once takes one turn.
        (w.most, w.turns) = (0, 0);
        let found = w.ask("STREAM.MSG.GET.S", &json!({"seq": 2, "next_by_subj": "none"}));
        assert_eq!((&found["error"]["err_code"], w.turns), (&json!(10037), 1));
    }
}

#[test]
fn the_last_message_that_is_removed_meanwhile_is_not_the_answer() {
    let mut w = World::filled("memory");
    w.send("STREAM.MSG.GET.S", &json!({"last_by_subj": "s.>"}));
    for _ in 0..3 {
        w.turn();
    }
    w.order("STREAM.MSG.DELETE.S", &json!({"seq": SUBJECTS}));
    let found: Value = serde_json::from_slice(&w.wait("STREAM.MSG.GET")).expect("JSON");
    assert_eq!(found["message"]["seq"], SUBJECTS - 1);
}

#[test]
fn where_a_consumer_begins_is_found_in_steps() {
    for storage in ["memory", "file"] {
        let mut w = World::filled(storage);
        for (i, (policy, filters, waiting)) in [
            ("last", &["*.*.*.x"][..], 1),
            ("last", &["*.*.*.none"], 0),
            ("last", &["s.1.>", "s.*.*.none"], 1),
            ("last_per_subject", &["s.>"], SUBJECTS),
            ("last_per_subject", &["s.5.>", "*.*.*.none"], SUBJECTS / 40),
            ("last_per_subject", &["*.*.*.none"], 0),
            ("all", &["*.*.*.none"], 0),
            ("all", &["*.*.*.x"], SUBJECTS),
        ]
        .into_iter()
        .enumerate()
        {
            let name = format!("c{i}");
            let info = w.ask_much(&format!("CONSUMER.CREATE.S.{name}"), &consumer(&name, policy, filters));
            assert_eq!(info["num_pending"], waiting, "{policy} {filters:?} {info}");
        }
    }
}

#[test]
fn a_consumer_of_last_messages_misses_nothing_that_comes_while_it_is_made() {
    for storage in ["memory", "file"] {
        let mut w = World::filled(storage);
        let mut last: BTreeMap<String, u64> = (0..SUBJECTS).map(|i| (subject(i), i as u64 + 1)).collect();
        w.send("CONSUMER.CREATE.S.C", &consumer("C", "last_per_subject", &["s.>"]));
        let mut next = SUBJECTS as u64 + 1;
        let mut deleted = Vec::new();
        while !w.answers.iter().any(|(to, _)| to == "CONSUMER.CREATE.S") {
            w.turn();
            let i = (next as usize * 37) % SUBJECTS;
            w.publish(&subject(i), "");
            last.insert(subject(i), next);
            let gone = next % 1000 + 1;
            // A request of the same account waits, and runs right behind the creation.
            w.order("STREAM.MSG.DELETE.S", &json!({"seq": gone}));
            deleted.push(gone);
            next += 1;
        }
        assert!(next > SUBJECTS as u64 + 4);
        w.publish("s.new", "");
        last.insert("s.new".to_owned(), next);
        let id = w.consumer;
        w.engine.pull(id, b"inbox", b"", json!({"batch": 10_000, "no_wait": true}).to_string().as_bytes());
        for _ in 0..1000 {
            w.turn();
        }
        let mut seen: Vec<u64> = w.delivered.iter().map(|(sequence, _)| *sequence).collect();
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count, "twice");
        assert!(seen.is_sorted());
        for (subject, sequence) in &last {
            let is_there = seen.binary_search(sequence).is_ok() || deleted.contains(sequence);
            assert!(is_there, "{storage}: {subject} {sequence}");
        }
    }
}

#[test]
fn a_purge_looks_for_what_is_left_in_steps() {
    for storage in ["memory", "file"] {
        let mut w = World::filled(storage);
        w.ask("CONSUMER.CREATE.S.C", &consumer("C", "all", &["s.5.>"]));
        let purged = w.ask_much("STREAM.PURGE.S", &json!({"filter": "*.*.*.none"}));
        assert_eq!(purged["purged"], 0);
        let purged = w.ask_much("STREAM.PURGE.S", &json!({"filter": "s.>", "keep": SUBJECTS - 500}));
        assert_eq!(purged["purged"], 500);
        let info = w.ask("CONSUMER.INFO.S.C", &Value::Null);
        assert_eq!(info["ack_floor"]["stream_seq"], 500, "{info}");
        assert_eq!(info["num_pending"], (SUBJECTS - 500) / 40 + 1 - 1);
        // All messages of the consumer are removed, so it continues behind the end of the stream.
        let purged = w.ask_much("STREAM.PURGE.S", &json!({"filter": "s.5.>"}));
        assert_eq!(purged["purged"], info["num_pending"]);
        let info = w.ask("CONSUMER.INFO.S.C", &Value::Null);
        assert_eq!((&info["ack_floor"]["stream_seq"], &info["num_pending"]), (&json!(SUBJECTS), &json!(0)));
    }
}

fn expecting(sequence: u64, filter: &str) -> String {
    format!(
        "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {sequence}\r\n\
         Nats-Expected-Last-Subject-Sequence-Subject: {filter}\r\n\r\n"
    )
}

#[test]
fn what_a_publisher_expects_is_looked_for_in_steps_and_others_wait_behind() {
    for storage in ["memory", "file"] {
        let mut w = World::filled(storage);
        w.acks(0);
        let last = SUBJECTS as u64;
        (w.most, w.turns) = (0, 0);
        visits::take();
        w.publish("s.1.1.x", &expecting(last, "*.*.*.x"));
        w.publish("s.1.1.x", "");
        w.publish("s.1.1.x", &expecting(last + 2, "s.*.*.x"));
        w.publish("s.1.1.x", &expecting(last, "*.*.*.x"));
        w.publish("s.1.1.x", &expecting(0, "*.*.*.none"));
        // Other requests run meanwhile.
        assert!(w.ask("STREAM.NAMES", &json!({}))["error"].is_null() && w.turns <= 2);
        let acks = w.acks(5);
        w.check("expected");
        let sequences: Vec<_> = acks.iter().map(|ack| ack["seq"].as_u64().expect("a sequence")).collect();
        assert_eq!(sequences, [last + 1, last + 2, last + 3, 0, last + 4], "{acks:?}");
        let text = acks[3]["error"]["description"].as_str().expect("a text");
        assert_eq!(text, format!("wrong last sequence: {}", last + 3));
        // The result stays known, until the message is removed.
        w.turns = 0;
        w.publish("s.1.2.x", &expecting(last + 4, "*.*.*.x"));
        assert_eq!((w.acks(1)[0]["seq"].as_u64(), w.turns), (Some(last + 5), 1));
        w.publish("s.1.2.x", &expecting(last + 4, "*.*.*.x"));
        w.order("STREAM.MSG.DELETE.S", &json!({"seq": last + 5}));
        w.publish("s.1.2.x", &expecting(last + 4, "*.*.*.x"));
        let acks = w.acks(2);
        assert!(!acks[0]["error"].is_null() && acks[1]["seq"] == last + 6, "{acks:?}");
        // Deleting a stream discards its waiting messages.
        w.publish("s.1.2.x", &expecting(9, "*.*.*.other"));
        w.ask("STREAM.DELETE.S", &Value::Null);
        (0..3).for_each(|_| w.turn());
        assert!(w.engine.next_deadline().is_none_or(|deadline| deadline > w.now));
    }
}

#[test]
fn what_batches_expect_is_looked_for_first() {
    let config = json!({"name": "S", "subjects": ["s.>"], "storage": "memory", "allow_atomic": true,
        "allow_batched": true, "allow_rollup_hdrs": true});
    let mut w = World::new(&config);
    (0..SUBJECTS).for_each(|i| w.publish(&subject(i), ""));
    w.acks(SUBJECTS);
    let last = SUBJECTS as u64;
    for round in 0..2 {
        (w.most, w.turns) = (0, 0);
        visits::take();
        for i in 1..=20 {
            let filter = format!("s.*.{i}.x");
            let expected = if round == 1 && i == 20 { 9 } else { i + 1 };
            let commit = if i == 20 { "Nats-Batch-Commit: 1\r\n" } else { "" };
            let batch =
                format!("NATS/1.0\r\nNats-Batch-Id: b{round}\r\nNats-Batch-Sequence: {i}\r\n{commit}");
            w.publish(&format!("s.new.{i}"), &expecting(expected, &filter).replace("NATS/1.0\r\n", &batch));
        }
        let acks = w.acks(1);
        w.check("a batch");
        match round {
            0 => {
                assert_eq!((&acks[0]["seq"], &acks[0]["count"]), (&json!(last + 20), &json!(20)), "{acks:?}")
            }
            _ => assert_eq!(acks[0]["error"]["err_code"], 10071, "{acks:?}"),
        }
    }
}

#[test]
fn publishers_that_expect_something_are_judged_in_order_through_kills() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut store = Store::new(seed);
        let config = json!({"name": "S", "subjects": ["s.>"]});
        let mut w = World::on(&store, &config, Durability::Synced);
        let mut stored: BTreeMap<u64, String> = BTreeMap::new();
        let mut under_way: Vec<(String, Option<(u64, &str)>)> = Vec::new();
        for step in 0..400 {
            let subject = format!("s.{}.{}", random.below(4), random.below(80));
            let filter = ["s.*.7", "*.1.>", "s.>", "*.*.none", "s.*.*"][random.below(5)];
            let matches = |s: &String| stonechat_subject::matches(s.as_bytes(), filter.as_bytes());
            let right = stored.iter().rev().find(|(_, s)| matches(s)).map_or(0, |(sequence, _)| *sequence);
            let expected = random.one_in(3).then(|| (right + random.below(2) as u64, filter));
            let headers = expected.map_or(String::new(), |(sequence, filter)| expecting(sequence, filter));
            w.publish(&subject, &headers);
            under_way.push((subject, expected));
            if random.one_in(5) {
                w.turn();
            }
            if random.one_in(30) {
                let acks = w.acks(under_way.len());
                assert_eq!(acks.len(), under_way.len(), "seed {seed} step {step}");
                for (ack, (subject, expected)) in acks.iter().zip(under_way.drain(..)) {
                    let is_right = expected.is_none_or(|(sequence, filter)| {
                        let matches =
                            |s: &String| stonechat_subject::matches(s.as_bytes(), filter.as_bytes());
                        let last = stored.iter().rev().find(|(_, s)| matches(s)).map_or(0, |(s, _)| *s);
                        last == sequence
                    });
                    assert_eq!(
                        ack["error"].is_null(),
                        is_right,
                        "seed {seed} step {step} {expected:?} {ack}"
                    );
                    if is_right {
                        stored.insert(ack["seq"].as_u64().expect("a sequence"), subject);
                    }
                }
            }
            if random.one_in(60) {
                // Messages without acknowledgement may be stored or not; acknowledged ones are.
                store = store.map(|disk| disk.kill());
                w.reopen(&store);
                under_way.clear();
                let last = w.state()["last_seq"].as_u64().expect("a sequence");
                stored.clear();
                for sequence in 1..=last {
                    let found = w.ask("STREAM.MSG.GET.S", &json!({"seq": sequence}));
                    let subject = found["message"]["subject"].as_str().expect("a message");
                    stored.insert(sequence, subject.to_owned());
                }
            }
        }
    }
}

#[test]
fn what_no_consumer_needs_is_looked_for_in_steps() {
    for storage in ["memory", "file"] {
        let config = json!({"name": "S", "subjects": ["s.>"], "storage": storage, "retention": "interest"});
        let mut w = World::new(&config);
        let durable = |name: &str, filters: &[&str]| {
            json!({"stream_name": "S", "config":
            {"name": name, "durable_name": name, "ack_policy": "explicit", "filter_subjects": filters}})
        };
        w.ask("CONSUMER.CREATE.S.A", &durable("A", &["s.>"]));
        w.ask("CONSUMER.CREATE.S.B", &durable("B", &["s.1.>", "s.2.>"]));
        for i in 0..SUBJECTS {
            w.publish(&subject(i), "");
            if i % 100 == 0 {
                w.turn();
            }
        }
        w.turn();
        // One consumer's filters become narrower, then the other one is deleted, then the first.
        w.ask_much("CONSUMER.CREATE.S.A", &durable("A", &["s.3.>", "s.2.>"]));
        assert_eq!(w.state()["messages"], SUBJECTS * 3 / 40);
        w.send("CONSUMER.DELETE.S.B", &Value::Null);
        for _ in 0..3 {
            w.turn();
        }
        // Messages published meanwhile are judged at once.
        w.publish("s.1.1", "");
        w.publish("s.3.1", "");
        w.wait("CONSUMER.DELETE.S");
        assert_eq!(w.state()["messages"], SUBJECTS * 2 / 40 + 1);
        w.ask_much("CONSUMER.DELETE.S.A", &Value::Null);
        assert_eq!(w.state()["messages"], 0);
    }
}

#[test]
fn a_kill_does_not_end_the_look_for_what_no_consumer_needs() {
    let mut store = Store::new(2);
    let config = json!({"name": "S", "subjects": ["s.>"], "retention": "interest"});
    let mut w = World::on(&store, &config, Durability::Synced);
    let durable =
        json!({"stream_name": "S", "config": {"name": "A", "durable_name": "A", "ack_policy": "explicit"}});
    w.ask("CONSUMER.CREATE.S.A", &durable);
    (0..SUBJECTS).for_each(|i| w.publish(&subject(i), ""));
    w.acks(SUBJECTS);
    w.send("CONSUMER.DELETE.S.A", &Value::Null);
    (0..4).for_each(|_| w.turn());
    let left = w.engine.message_count() as usize;
    assert!(left > 100 && left < SUBJECTS, "{left}");
    store = store.map(|disk| disk.kill());
    w.reopen(&store);
    assert_eq!(w.state()["messages"], 0);
}

#[test]
fn pulls_that_do_not_wait_count_in_steps_too() {
    let mut w = World::filled("memory");
    w.ask("CONSUMER.CREATE.S.C", &consumer("C", "all", &["*.*.*.none"]));
    let id = w.consumer;
    // The messages must be counted once more.
    w.ask("STREAM.PURGE.S", &json!({"filter": "s.0.0.>"}));
    (w.most, w.turns) = (0, 0);
    visits::take();
    for _ in 0..20 {
        w.engine.pull(id, b"pull", b"", br#"{"batch":1,"no_wait":true}"#);
    }
    let answer = String::from_utf8_lossy(&w.wait("pull")).into_owned();
    w.check("pulls");
    assert!(answer.contains("404 No Messages"), "{answer}");
}

#[test]
fn what_is_too_old_goes_in_steps() {
    for storage in ["memory", "file"] {
        let config = json!({"name": "S", "subjects": ["s.>"], "storage": storage, "max_age": 1_000_000_000});
        let mut w = World::new(&config);
        (0..SUBJECTS).for_each(|i| w.publish(&subject(i), ""));
        w.acks(SUBJECTS);
        w.now += 10_000_000_000;
        (w.most, w.turns) = (0, 0);
        while w.engine.message_count() > 0 {
            w.turn();
        }
        w.check("too old");
    }
}

#[test]
fn lowered_limits_are_kept_in_steps() {
    for storage in ["memory", "file"] {
        let mut config = json!({"name": "S", "subjects": ["s.>"], "storage": storage});
        let mut w = World::new(&config);
        (0..SUBJECTS).for_each(|i| w.publish(&format!("s.{}", i % 1000), ""));
        w.acks(SUBJECTS);
        config["max_msgs_per_subject"] = 1.into();
        w.ask_much("STREAM.UPDATE.S", &config);
        let state = w.state();
        assert_eq!((&state["messages"], &state["first_seq"]), (&json!(1000), &json!(SUBJECTS - 999)));
        config["max_msgs"] = 7.into();
        w.send("STREAM.UPDATE.S", &config);
        (0..3).for_each(|_| w.turn());
        // Messages published meanwhile are stored at the end.
        (0..5).for_each(|i| w.publish(&format!("s.new.{i}"), ""));
        w.wait("STREAM.UPDATE.S");
        w.check("max_msgs");
        let state = w.state();
        assert_eq!((&state["messages"], &state["last_seq"]), (&json!(7), &json!(SUBJECTS + 5)));
        // One long message displaces very many.
        config["max_msgs"] = (-1).into();
        config["max_bytes"] = 200_000.into();
        w.ask("STREAM.UPDATE.S", &config);
        (0..1000).for_each(|i| w.publish(&format!("s.x.{i}"), ""));
        w.acks(1005);
        let large = vec![b'x'; 190_000];
        (w.most, w.turns) = (0, 0);
        visits::take();
        w.engine.publish(w.group, b"ack", &Publish { subject: b"s.large", headers: b"", payload: &large });
        w.acks(1);
        while w.engine.next_deadline().is_some_and(|deadline| deadline <= w.now) {
            w.turn();
        }
        w.check("max_bytes");
        assert!(w.state()["bytes"].as_u64().is_some_and(|bytes| bytes <= 200_000));
    }
}

#[test]
fn lowered_limits_are_kept_through_kills() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut store = Store::new(seed);
        let mut config = json!({"name": "S", "subjects": ["s.>"], "allow_rollup_hdrs": true});
        let mut w = World::on(&store, &config, Durability::Synced);
        let mut published = 0;
        for _ in 0..6 {
            config["max_msgs_per_subject"] = (-1).into();
            config["max_msgs"] = (-1).into();
            w.ask("STREAM.UPDATE.S", &config);
            for _ in 0..300 {
                w.publish(&format!("s.{}", random.below(12)), "");
                published += 1;
            }
            w.acks(300);
            let (each, all) = (1 + random.below(4) as i64, 5 + random.below(40) as i64);
            config[if random.one_in(2) { "max_msgs" } else { "max_msgs_per_subject" }] =
                all.min(each * 4).into();
            config["max_msgs_per_subject"] = each.into();
            w.send("STREAM.UPDATE.S", &config);
            for _ in 0..random.below(12) {
                w.turn();
                if random.one_in(3) {
                    let roll_up = if random.one_in(3) { "NATS/1.0\r\nNats-Rollup: sub\r\n\r\n" } else { "" };
                    w.publish(&format!("s.{}", random.below(12)), roll_up);
                    published += 1;
                }
                if random.one_in(4) {
                    // A checkpoint may come at any time.
                    w.now += 3_000_000_000;
                }
            }
            w.turn();
            // A kill removes no messages; the trim continues in the reopened store.
            let before = w.engine.message_count();
            store = store.map(|disk| disk.kill());
            let options = support::options(Durability::Synced);
            (w.engine, w.account) = store.open(options, support::World::boxed(true), w.now);
            w.answers.clear();
            assert_eq!(w.engine.message_count(), before, "seed {seed}");
            for _ in 0..2000 {
                w.turn();
            }
            let state = w.ask("STREAM.INFO.S", &json!({"subjects_filter": ">"}))["state"].take();
            let is_updated = w.ask("STREAM.INFO.S", &Value::Null)["config"]["max_msgs_per_subject"] == each;
            assert!(is_updated, "seed {seed}");
            let subjects = state["subjects"].as_object().expect("subjects");
            assert!(subjects.values().all(|count| count.as_i64() <= Some(each)), "seed {seed} {state}");
            assert_eq!(state["last_seq"], published, "seed {seed}");
        }
    }
}
