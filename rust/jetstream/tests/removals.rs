//! Consumers are told of every message that leaves their stream, whatever removed it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on may panic")]

mod support;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Interest};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, ConsumerId, StreamId};
use stonechat_store::disk::sim::SimDisk;
use support::Store;

const SECOND: i64 = 1_000_000_000;
const STORAGES: [&str; 2] = ["memory", "file"];

/// A store with one stream `S` on `q.>` and one consumer `C`.
struct World {
    store: Store,
    engine: Engine<SimDisk>,
    account: AccountId,
    now: i64,
    stream: StreamId,
    consumer: ConsumerId,
    config: Value,
}

impl World {
    fn new(storage: &str, stream: Value, consumer: Value) -> Self {
        let store = Store::new(1);
        let now = 1_790_000_000 * SECOND;
        let (engine, account) =
            store.open(support::options(Durability::None), support::World::boxed(true), now);
        let mut config = json!({
            "name": "S", "subjects": ["q.>"], "storage": storage, "allow_rollup_hdrs": true,
            "allow_atomic": true, "allow_msg_ttl": true,
        });
        extend(&mut config, stream);
        let mut world =
            Self { store, engine, account, now, stream: StreamId(0), consumer: ConsumerId(0), config };
        world.ask("STREAM.CREATE.S", &world.config.clone());
        let mut config = json!({"durable_name": "C", "ack_policy": "explicit", "ack_wait": 3600 * SECOND, "max_ack_pending": 2});
        extend(&mut config, consumer);
        world.ask("CONSUMER.CREATE.S.C", &json!({"stream_name": "S", "config": config}));
        world.learn();
        world
    }

    fn learn(&mut self) {
        for change in self.engine.take_interest_changes() {
            match change.interest {
                Interest::Publish(id) => self.stream = id,
                Interest::Consumer(id) => self.consumer = id,
                _ => {}
            }
        }
    }

    /// Runs a turn with its jobs. Returns the messages that left: destination, sequence if it is a delivery, payload, reply
    /// subject.
    fn settle(&mut self) -> Vec<(String, Option<u64>, Vec<u8>, String)> {
        self.engine.set_time(self.now);
        self.engine.tick();
        self.engine.commit();
        while let Some(job) = self.engine.next_job() {
            let done = job.run();
            self.engine.job_done(done);
            self.engine.commit();
        }
        let mut out = Vec::new();
        self.engine.take_ready(|o| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            out.push((text(o.to), o.delivery.map(|d| d.1), o.payload().to_vec(), text(o.reply)));
        });
        out
    }

    fn try_ask(&mut self, path: &str, payload: &Value) -> Value {
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        self.engine.request(&Request {
            account: self.account,
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: b"ask",
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
        // The request may take several turns.
        let answer = (0..10_000).find_map(|_| self.settle().into_iter().find(|(to, ..)| to == "ask"));
        serde_json::from_slice(&answer.expect("an answer").2).expect("JSON")
    }

    fn ask(&mut self, path: &str, payload: &Value) -> Value {
        let answer = self.try_ask(path, payload);
        assert!(answer.get("error").is_none(), "{path} {payload}: {answer}");
        answer
    }

    fn publish(&mut self, subject: &str, headers: &[(&str, &str)]) {
        let mut block = String::new();
        if !headers.is_empty() {
            block.push_str("NATS/1.0\r\n");
            headers.iter().for_each(|(name, value)| block.push_str(&format!("{name}: {value}\r\n")));
            block.push_str("\r\n");
        }
        self.engine.set_time(self.now);
        let message =
            Publish { subject: subject.as_bytes(), headers: block.as_bytes(), payload: b"0123456789" };
        self.engine.publish(self.stream, b"pub", &message);
        for (to, _, payload, _) in self.settle().iter().filter(|(to, ..)| to == "pub") {
            assert!(!String::from_utf8_lossy(payload).contains("error"), "{to}: {payload:?}");
        }
    }

    /// Requests messages. Returns the sequences delivered at once, with their acknowledgement subjects.
    fn pull(&mut self, batch: u64) -> Vec<(u64, String)> {
        let request = json!({"batch": batch, "expires": 3600 * SECOND}).to_string();
        self.engine.pull(self.consumer, b"inbox", b"", request.as_bytes());
        self.deliveries()
    }

    fn deliveries(&mut self) -> Vec<(u64, String)> {
        self.settle().into_iter().filter_map(|(_, delivery, _, reply)| Some((delivery?, reply))).collect()
    }

    fn sequences(&mut self, batch: u64) -> Vec<u64> {
        self.pull(batch).into_iter().map(|(sequence, _)| sequence).collect()
    }

    fn ack(&mut self, reply: &str, verb: &str) {
        let rest = reply.splitn(5, '.').nth(4).expect("the rest").to_owned();
        self.engine.ack(self.consumer, rest.as_bytes(), b"", verb.as_bytes());
    }

    /// The numbers of messages that wait for delivery, and for acknowledgement.
    fn figures(&mut self) -> (u64, u64) {
        let info = self.ask("CONSUMER.INFO.S.C", &Value::Null);
        let number = |name: &str| info[name].as_u64().expect("a number");
        (number("num_pending"), number("num_ack_pending"))
    }

    fn update(&mut self, change: Value) {
        extend(&mut self.config, change);
        self.ask("STREAM.UPDATE.S", &self.config.clone());
    }

    fn restart(&mut self) {
        self.engine.close();
        self.settle();
        self.store = self.store.map(SimDisk::kill);
        (self.engine, self.account) =
            self.store.open(support::options(Durability::None), support::World::boxed(true), self.now);
        self.learn();
    }
}

fn extend(value: &mut Value, with: Value) {
    let (Value::Object(value), Value::Object(with)) = (value, with) else { panic!("two objects") };
    value.extend(with);
}

/// A consumer with two pending messages that may have no more; the stream has six messages, all on `q.a`.
fn full(storage: &str, stream: Value, consumer: Value) -> World {
    let mut world = World::new(storage, stream, consumer);
    (0..6).for_each(|_| world.publish("q.a", &[]));
    assert_eq!(world.sequences(20), [1, 2]);
    assert_eq!(world.figures(), (4, 2));
    world
}

#[test]
fn a_purge_of_one_filter_leaves_the_messages_of_the_others() {
    for storage in STORAGES {
        for retention in ["limits", "workqueue", "interest"] {
            for purged in ["q.b", "q.c", "q.b.>", "q.*.x"] {
                let filters = json!({"filter_subjects": ["q.a", "q.b"], "max_ack_pending": 10});
                let mut world = World::new(storage, json!({"retention": retention}), filters);
                let told = format!("{storage} {retention} {purged}");
                world.publish("q.a", &[]);
                world.publish("q.a", &[]);
                let (sequence, reply) = world.pull(1).remove(0);
                assert_eq!(sequence, 1);
                world.publish("q.a", &[]);
                world.ask("STREAM.PURGE.S", &json!({"filter": purged}));
                assert_eq!(world.figures(), (2, 1), "{told}");
                if storage == "file" {
                    world.restart();
                    assert_eq!(world.figures(), (2, 1), "{told}, restarted");
                }
                world.ack(&reply, "-NAK");
                assert_eq!(world.sequences(3), [1, 2, 3], "{told}");
            }
        }
    }
}

#[test]
fn a_purge_of_some_messages_is_judged_message_by_message() {
    for storage in STORAGES {
        let filters = json!({"filter_subjects": ["q.a", "q.b"], "max_ack_pending": 10});
        let mut world = World::new(storage, json!({}), filters);
        ["q.a", "q.b", "q.c", "q.a", "q.b", "q.a", "q.b"].iter().for_each(|s| world.publish(s, &[]));
        assert_eq!(world.sequences(4), [1, 2, 4, 5]);
        assert_eq!(world.figures(), (2, 4));
        // The last message on `q.b` stays; of the delivered ones, 2 and 5 are removed.
        world.ask("STREAM.PURGE.S", &json!({"filter": "q.b", "keep": 1}));
        assert_eq!(world.figures(), (2, 2), "{storage}");
        world.ask("STREAM.PURGE.S", &json!({"filter": "q.a", "seq": 4}));
        assert_eq!(world.figures(), (2, 1), "{storage}");
        world.ask("STREAM.PURGE.S", &json!({"filter": "q.*", "seq": 7}));
        assert_eq!(world.figures(), (1, 0), "{storage}");
        assert_eq!(world.sequences(4), [7]);
    }
}

#[test]
fn a_changed_filter_keeps_pending_messages_through_a_purge() {
    for storage in STORAGES {
        let mut world = full(storage, json!({}), json!({"filter_subject": "q.a"}));
        let config = json!({
            "durable_name": "C", "ack_policy": "explicit", "ack_wait": 3600 * SECOND, "max_ack_pending": 2,
            "filter_subject": "q.b",
        });
        world.ask("CONSUMER.CREATE.S.C", &json!({"stream_name": "S", "config": config}));
        world.publish("q.b", &[]);
        world.ask("STREAM.PURGE.S", &json!({"filter": "q.b"}));
        assert_eq!(world.figures(), (0, 2), "{storage}");
        world.ask("STREAM.PURGE.S", &json!({"filter": "q.a"}));
        assert_eq!(world.figures(), (0, 0), "{storage}");
    }
}

#[test]
fn a_changed_filter_keeps_consumers_informed_after_a_restart() {
    for restarts in [1, 2] {
        let mut world = full("file", json!({}), json!({"filter_subject": "q.a"}));
        let consumer = |name: &str, filter: &str, max: u64| {
            let config = json!({
                "durable_name": name, "ack_policy": "explicit", "ack_wait": 3600 * SECOND,
                "max_ack_pending": max, "filter_subject": filter,
            });
            json!({"stream_name": "S", "config": config})
        };
        world.ask("CONSUMER.CREATE.S.C", &consumer("C", "q.b", 2));
        world.engine.take_interest_changes();
        // Consumer D is behind, so the stream reports the subject of the second message.
        world.ask("CONSUMER.CREATE.S.D", &consumer("D", "q.a", 1));
        world.learn();
        assert_eq!(world.sequences(1), [1]);
        (0..restarts).for_each(|_| world.restart());
        world.ask("STREAM.MSG.DELETE.S", &json!({"seq": 2}));
        assert_eq!(world.figures(), (0, 1), "{restarts}");
    }
}

#[test]
fn a_full_consumer_goes_on_when_its_pending_messages_are_removed() {
    type Remove = fn(&mut World);
    let cases: [(&str, Value, Remove, u64); 12] = [
        ("roll-up of all", json!({}), |w| w.publish("q.x", &[("Nats-Rollup", "all")]), 7),
        ("roll-up of a subject", json!({}), |w| w.publish("q.a", &[("Nats-Rollup", "sub")]), 7),
        (
            "batch",
            json!({}),
            |w| {
                w.publish(
                    "q.x",
                    &[("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "1"), ("Nats-Rollup", "all")],
                );
                w.publish(
                    "q.y",
                    &[("Nats-Batch-Id", "b"), ("Nats-Batch-Sequence", "2"), ("Nats-Batch-Commit", "1")],
                );
            },
            7,
        ),
        ("lowered max_msgs", json!({}), |w| w.update(json!({"max_msgs": 3})), 4),
        ("lowered max_bytes", json!({}), |w| w.update(json!({"max_bytes": 100})), 4),
        ("lowered max_msgs_per_subject", json!({}), |w| w.update(json!({"max_msgs_per_subject": 2})), 5),
        (
            "lowered max_age",
            json!({}),
            |w| {
                w.now += 2 * SECOND;
                w.publish("q.a", &[]);
                w.update(json!({"max_age": SECOND}));
                w.now += SECOND / 10;
            },
            7,
        ),
        ("max_msgs", json!({"max_msgs": 6}), |w| (0..2).for_each(|_| w.publish("q.b", &[])), 3),
        (
            "max_msgs_per_subject",
            json!({"max_msgs_per_subject": 6}),
            |w| {
                (0..2).for_each(|_| w.publish("q.a", &[]));
            },
            3,
        ),
        ("purge", json!({}), |w| drop(w.ask("STREAM.PURGE.S", &json!({"seq": 4}))), 4),
        (
            "deletion",
            json!({}),
            |w| {
                (1..3).for_each(|seq| drop(w.ask("STREAM.MSG.DELETE.S", &json!({"seq": seq}))));
            },
            3,
        ),
        (
            "purge of all",
            json!({}),
            |w| {
                w.ask("STREAM.PURGE.S", &Value::Null);
                w.publish("q.a", &[]);
            },
            7,
        ),
    ];
    for storage in STORAGES {
        for (name, stream, remove, next) in &cases {
            for consumer in [
                json!({}),
                json!({"filter_subjects": ["q.>"]}),
                json!({"filter_subjects": ["q.a", "q.x", "q.b"]}),
            ] {
                let told = format!("{storage}, {name}, {consumer}");
                let mut world = full(storage, stream.clone(), consumer);
                remove(&mut world);
                world.settle();
                let (_, unacked) = world.figures();
                let info = world.ask("CONSUMER.INFO.S.C", &Value::Null);
                let first = world.ask("STREAM.INFO.S", &Value::Null)["state"]["first_seq"].as_u64();
                let first = first.expect("a sequence");
                // The bytes that a message counts depend on the storage.
                assert!(first == *next || (*name == "lowered max_bytes" && first > 2), "{told}: {first}");
                assert!((1..3).contains(&unacked), "{told}: {info}");
                assert_eq!(info["delivered"]["stream_seq"], first + unacked - 1, "{told}: {info}");
            }
        }
    }
}

#[test]
fn messages_that_were_delivered_too_often_are_forgotten_when_they_are_removed() {
    for storage in STORAGES {
        let consumer = json!({"max_deliver": 2, "ack_wait": SECOND});
        let mut world = World::new(storage, json!({}), consumer);
        (0..6).for_each(|_| world.publish("q.a", &[]));
        for _ in 0..2 {
            assert_eq!(world.sequences(2), [1, 2]);
            world.now += 2 * SECOND;
            world.settle();
        }
        // The consumer is unused for a long time.
        for _ in 0..4 {
            world.now += 20 * SECOND;
            world.publish("q.a", &[]);
        }
        let redelivered = |w: &mut World| w.ask("CONSUMER.INFO.S.C", &Value::Null)["num_redelivered"].clone();
        assert_eq!(redelivered(&mut world), 2, "{storage}");
        world.ask("STREAM.PURGE.S", &json!({"filter": "q.a", "keep": 1}));
        assert_eq!(redelivered(&mut world), 0, "{storage}");
    }
}

#[test]
fn a_removal_of_very_many_messages_is_told_as_one() {
    for storage in STORAGES {
        let config = json!({"allow_rollup_hdrs": true});
        let mut world = full(storage, config, json!({"filter_subject": "q.a"}));
        for _ in 0..20_000 {
            let message = Publish { subject: b"q.b", headers: b"", payload: b"" };
            world.engine.publish(world.stream, b"", &message);
        }
        world.settle();
        // Lowered limits would remove the messages in steps.
        world.publish("q.b", &[("Nats-Rollup", "sub")]);
        world.publish("q.a", &[]);
        world.update(json!({"max_msgs": 1}));
        assert_eq!(world.figures(), (0, 1), "{storage}");
    }
}

#[test]
fn a_consumer_that_starts_behind_the_end_counts_from_there() {
    for storage in STORAGES {
        let mut world = World::new(storage, json!({}), json!({"max_ack_pending": 100}));
        (0..3).for_each(|_| world.publish("q.a", &[]));
        assert_eq!(world.sequences(1), [1]);
        world.ask("CONSUMER.RESET.S.C", &json!({"seq": 10}));
        if storage == "file" {
            world.restart();
        }
        let mut counted = Vec::new();
        for _ in 0..9 {
            world.publish("q.a", &[]);
            counted.push(world.figures().0);
        }
        assert_eq!(counted, [0, 0, 0, 0, 0, 0, 1, 2, 3], "{storage}");
        assert_eq!(world.sequences(9), [10, 11, 12]);
    }
}

#[test]
fn a_reset_is_answered_and_refused_far_beyond_the_end() {
    for storage in STORAGES {
        let mut world = World::new(storage, json!({}), json!({}));
        (0..3).for_each(|_| world.publish("q.a", &[]));
        for (path, code) in [("S.NOPE", 10_014), ("NOPE.C", 10_059)] {
            let answer = world.try_ask(&format!("CONSUMER.RESET.{path}"), &json!({"seq": 1}));
            assert_eq!(answer["error"]["err_code"], code, "{answer}");
            assert_eq!(answer["type"], "io.nats.jetstream.api.v1.consumer_reset_response");
        }
        for sequence in [1_000_004, 1 << 63, u64::MAX] {
            let answer = world.try_ask("CONSUMER.RESET.S.C", &json!({"seq": sequence}));
            let text = answer["error"]["description"].as_str().unwrap_or_default();
            assert!(text.contains(&format!("sequence {sequence} is more than 1000000 beyond")), "{answer}");
        }
        assert_eq!(world.ask("CONSUMER.RESET.S.C", &json!({"seq": 1_000_003}))["reset_seq"], 1_000_003);
        world.ask("CONSUMER.RESET.S.C", &json!({"seq": 1}));
        assert_eq!(world.sequences(2), [1, 2]);
    }
}
