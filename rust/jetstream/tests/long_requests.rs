//! Requests that take several steps: messages published meanwhile are kept, and other work goes on.

#![allow(clippy::expect_used, reason = "a test that can't go on may panic")]
// Release builds take longer steps.
#![cfg(debug_assertions)]

mod support;

use std::collections::VecDeque;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, InterestChange};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, StreamId};
use stonechat_store::disk::sim::SimDisk;
use support::Store;

struct World {
    engine: Engine<SimDisk>,
    account: AccountId,
    group: StreamId,
    answers: VecDeque<Value>,
}

impl World {
    fn new() -> Self {
        let (engine, account) =
            Store::default().open(support::options(Durability::None), support::World::boxed(false), 1);
        let mut world = Self { engine, account, group: StreamId(0), answers: VecDeque::new() };
        world.send("STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s.*"]}));
        assert!(world.answer()["error"].is_null());
        let changes = world.engine.take_interest_changes();
        world.group = changes.iter().find_map(InterestChange::stream).expect("a stream");
        world
    }

    fn send(&mut self, path: &str, payload: &Value) {
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        self.engine.request(&Request {
            account: self.account,
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: b"ask",
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
    }

    /// Runs one turn. Returns the next reply, if there is one.
    fn turn(&mut self) -> Option<Value> {
        self.engine.commit();
        let answers = &mut self.answers;
        self.engine.take_ready(|out| {
            if out.to == b"ask" {
                answers.push_back(serde_json::from_slice(out.payload()).expect("JSON"));
            }
        });
        answers.pop_front()
    }

    fn answer(&mut self) -> Value {
        (0..10_000).find_map(|_| self.turn()).expect("an answer")
    }

    fn publish(&mut self, count: usize) {
        self.publish_on(count, 3);
    }

    fn publish_on(&mut self, count: usize, subjects: usize) {
        for number in 0..count {
            let subject = format!("s.{}", number % subjects);
            let message = Publish { subject: subject.as_bytes(), headers: b"", payload: b"x" };
            self.engine.publish(self.group, b"", &message);
        }
    }

    fn purge(&mut self, request: &Value) -> Value {
        self.send("STREAM.PURGE.S", request);
        self.answer()
    }

    fn left(&mut self) -> u64 {
        self.send("STREAM.INFO.S", &json!({}));
        self.answer()["state"]["messages"].as_u64().expect("a count")
    }
}

#[test]
fn a_long_purge_lets_others_go_first() {
    let mut world = World::new();
    world.publish(3000);
    world.send("STREAM.PURGE.S", &json!({"filter": "s.1"}));
    assert_eq!(world.turn(), None, "it takes several turns");
    // Messages published meanwhile are stored at once, and kept.
    world.publish(30);
    world.send("STREAM.NAMES", &json!({}));
    let answer = world.turn().expect("an answer within a turn");
    assert_eq!(answer["streams"], json!(["S"]));
    assert_eq!(world.answer()["purged"], 1000);
    assert_eq!(world.left(), 2030);
}

#[test]
fn limits_of_a_purge_hold_over_its_steps() {
    for (request, purged) in [
        (json!({"filter": "s.1", "keep": 7}), 993),
        (json!({"filter": "s.1", "seq": 1501}), 500),
        (json!({"keep": 100}), 2900),
        (json!({"seq": 2001}), 2000),
        (json!({"filter": "s.*", "seq": 100_000}), 3000),
        (json!({"filter": "none"}), 0),
    ] {
        let mut world = World::new();
        world.publish(3000);
        assert_eq!(world.purge(&request)["purged"], purged, "{request}");
        assert_eq!(world.left(), 3000 - purged, "{request}");
    }
}

#[test]
fn a_purge_ends_with_its_stream() {
    let mut world = World::new();
    world.publish(3000);
    world.send("STREAM.PURGE.S", &json!({"filter": "s.1"}));
    assert_eq!(world.turn(), None);
    world.send("STREAM.DELETE.S", &Value::Null);
    let answers = [world.answer(), world.answer()];
    assert!(answers.iter().any(|a| a["type"] == "io.nats.jetstream.api.v1.stream_delete_response"));
    let purged = answers.iter().find(|a| a["purged"] == 0).expect("the purge's answer");
    assert_eq!(purged["error"]["err_code"], 10059);
}

#[test]
fn many_subjects_are_told_in_steps() {
    let mut world = World::new();
    world.publish_on(1500, 500);
    world.send("STREAM.INFO.S", &json!({"subjects_filter": "s.*", "offset": 3}));
    assert_eq!(world.turn(), None, "it takes several turns");
    world.send("STREAM.NAMES", &json!({}));
    assert_eq!(world.turn().expect("an answer within a turn")["streams"], json!(["S"]));
    let info = world.answer();
    let subjects = info["state"]["subjects"].as_object().expect("subjects");
    assert_eq!((&info["total"], &info["offset"], subjects.len()), (&json!(500), &json!(3), 497));
    assert!(subjects.values().all(|count| *count == 3) && !subjects.contains_key("s.10"), "{info}");
    world.send("STREAM.INFO.S", &json!({"subjects_filter": "s.*"}));
    assert_eq!(world.turn(), None);
    world.send("STREAM.DELETE.S", &Value::Null);
    let answers = [world.answer(), world.answer()];
    assert!(answers.iter().any(|answer| answer["error"]["err_code"] == 10059), "{answers:?}");
}

#[test]
fn a_purge_counts_many_subjects_in_steps() {
    for (request, purged) in [
        (json!({"filter": "s.*", "keep": 100}), 1400),
        (json!({"filter": "s.1*", "keep": 1}), 0),
        (json!({"filter": "s.*", "seq": 701}), 700),
    ] {
        let mut world = World::new();
        world.publish_on(1500, 500);
        assert_eq!(world.purge(&request)["purged"], purged, "{request}");
        assert_eq!(world.left(), 1500 - purged, "{request}");
    }
}
