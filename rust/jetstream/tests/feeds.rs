//! Mirrors and sources through crashes: nothing is lost, nothing comes twice.
//!
//! `STONECHAT_SEEDS=10000` tries more.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't go on may panic")]

mod support;

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Interest};
use stonechat_jetstream::stream::Publish;
use stonechat_store::disk::sim::{Random, SimDisk};
use support::Store;

struct World {
    engine: Engine<SimDisk>,
    account: u32,
    now: i64,
    group: u32,
    /// What was published, by sequence, as far as it was acknowledged.
    stored: BTreeMap<u64, (String, u64)>,
    asked: BTreeMap<String, (String, u64)>,
    next: u64,
}

impl World {
    fn open(store: &Store, now: i64) -> Self {
        let (engine, account) =
            store.open(support::options(Durability::Synced), support::World::boxed(false), now);
        let (stored, asked) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self { engine, account, now, group: 0, stored, asked, next: 0 };
        world.learn();
        world
    }

    fn learn(&mut self) {
        for change in self.engine.take_interest_changes() {
            if change.interest == Interest::Publish && change.begins && change.subject == "s.*" {
                self.group = change.group;
            }
        }
    }

    fn collect(&mut self, wanted: &str) -> Value {
        let mut answer = Value::Null;
        let (stored, asked) = (&mut self.stored, &mut self.asked);
        self.engine.take_ready(|out| {
            let to = String::from_utf8_lossy(out.to).into_owned();
            let body: Value = serde_json::from_slice(out.payload()).unwrap_or_default();
            if to == wanted {
                answer = body;
            } else if let (Some(message), Some(sequence)) = (asked.remove(&to), body["seq"].as_u64()) {
                stored.insert(sequence, message);
            }
        });
        answer
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
        loop {
            self.engine.commit();
            let answer = self.collect("ask");
            if !answer.is_null() {
                self.learn();
                return answer;
            }
            let job = self.engine.next_job().expect("something to wait for");
            let done = job.run();
            self.engine.job_done(done);
        }
    }

    fn step(&mut self, random: &mut Random) {
        self.now += 1_000_000;
        self.engine.set_time(self.now);
        for _ in 0..random.below(20) {
            self.next += 1;
            let subject = ["s.a", "s.b"][random.below(2)];
            let reply = format!("p{}", self.next);
            self.asked.insert(reply.clone(), (subject.to_owned(), self.next));
            let payload = self.next.to_string();
            let message = Publish { subject: subject.as_bytes(), headers: b"", payload: payload.as_bytes() };
            self.engine.publish(self.group, reply.as_bytes(), &message);
        }
        self.engine.commit();
        for _ in 0..random.below(5) {
            let Some(job) = self.engine.next_job() else { break };
            let done = job.run();
            self.engine.job_done(done);
        }
        self.collect("");
    }

    /// The messages of a stream: subject and payload by sequence.
    fn content(&mut self, name: &str) -> BTreeMap<u64, (String, u64)> {
        let state = self.ask(&format!("STREAM.INFO.{name}"), &Value::Null)["state"].clone();
        let mut content = BTreeMap::new();
        for sequence in 1..=state["last_seq"].as_u64().expect("a sequence") {
            let answer = self.ask(&format!("STREAM.MSG.GET.{name}"), &json!({"seq": sequence}));
            let Some(subject) = answer["message"]["subject"].as_str() else { continue };
            let data = answer["message"]["data"].as_str().expect("data");
            let data = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
            let number = String::from_utf8(data).expect("text").parse().expect("a number");
            content.insert(sequence, (subject.to_owned(), number));
        }
        content
    }
}

#[test]
fn what_is_taken_over_is_taken_once() {
    let seeds = std::env::var("STONECHAT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(25);
    for seed in 0..seeds {
        let mut random = Random(seed);
        let mut store = Store::new(seed);
        let mut world = World::open(&store, 1_000_000_000);
        world.ask("STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s.*"]}));
        world.ask("STREAM.CREATE.M", &json!({"name": "M", "mirror": {"name": "S"}}));
        let source = json!({"name": "S", "filter_subject": "s.a"});
        world.ask("STREAM.CREATE.A", &json!({"name": "A", "sources": [source]}));
        for _ in 0..4 {
            for _ in 0..random.below(40) {
                world.step(&mut random);
            }
            let is_kill = random.one_in(3);
            store = store.map(|disk| if is_kill { disk.kill() } else { disk.power_cut(&mut random) });
            let (stored, next, now) = (world.stored, world.next, world.now);
            world = World::open(&store, now);
            (world.stored, world.next) = (stored, next);
        }
        for _ in 0..50 {
            world.engine.commit();
        }
        let origin = world.content("S");
        for (sequence, message) in &world.stored {
            assert_eq!(origin.get(sequence), Some(message), "seed {seed}");
        }
        assert_eq!(world.content("M"), origin, "seed {seed}: the mirror");
        let expected: Vec<u64> =
            origin.values().filter(|(s, _)| s == "s.a").map(|(_, number)| *number).collect();
        let sourced: Vec<u64> = world.content("A").into_values().map(|(_, number)| number).collect();
        assert_eq!(sourced, expected, "seed {seed}: the source");
    }
}
