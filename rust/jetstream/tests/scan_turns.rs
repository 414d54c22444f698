//! However many subjects and messages a request has to look at, a turn of the engine looks at few of them, and what comes meanwhile is
//! neither lost nor told twice.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on may panic")]
// A release takes longer steps, and does not count what it looks at.
#![cfg(debug_assertions)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Interest};
use stonechat_jetstream::stream::Publish;
use stonechat_store::disk::sim::SimDisk;
use stonechat_store::visits;
use support::Store;

/// Messages and places in indices that one turn may look at: what requests and consumers may, and the way to where they go on.
const VISITS_MAX: usize = 2600;
/// More than that by far.
const SUBJECTS: usize = 4000;

struct World {
    engine: Engine<SimDisk>,
    account: u32,
    now: i64,
    /// The stream, and the last consumer.
    group: u32,
    consumer: u32,
    /// What was delivered: subjects by sequence.
    delivered: Vec<(u64, String)>,
    answers: Vec<(String, Vec<u8>)>,
    /// The most that a turn looked at since this was set to 0, and how many turns there were.
    most: usize,
    turns: usize,
}

impl World {
    fn new(config: &Value) -> Self {
        let (engine, account) =
            Store::default().open(support::options(Durability::None), support::World::boxed(true), 1);
        let mut world = Self {
            engine,
            account,
            now: 1,
            group: 0,
            consumer: 0,
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
                Interest::Publish => self.group = change.group,
                Interest::Consumer => self.consumer = change.group,
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
        for _ in 0..10_000 {
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

    /// The same, of what is too much for one turn.
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
        // What is known at once takes no turns of its own.
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
    let payload = json!({"seq": SUBJECTS}).to_string();
    w.engine.request(&Request {
        account: w.account,
        subject: b"$JS.API.STREAM.MSG.DELETE.S",
        reply: b"deleted",
        headers: b"",
        payload: payload.as_bytes(),
        client: &|| Value::Null,
    });
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
            let payload = json!({"seq": gone}).to_string();
            // Another account would have to ask; so it goes as a purge of a subject does, in the engine.
            w.send("STREAM.MSG.DELETE.S", &serde_json::from_str(&payload).expect("JSON"));
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
        // All that matches goes: the consumer goes on behind the end.
        let purged = w.ask_much("STREAM.PURGE.S", &json!({"filter": "s.5.>"}));
        assert_eq!(purged["purged"], info["num_pending"]);
        let info = w.ask("CONSUMER.INFO.S.C", &Value::Null);
        assert_eq!((&info["ack_floor"]["stream_seq"], &info["num_pending"]), (&json!(SUBJECTS), &json!(0)));
    }
}
