//! Mirrors and sources through crashes: no message is lost or doubled, and headers take effect in a copy only as its
//! configuration allows.
//!
//! `STONECHAT_SEEDS=10000` runs more seeds.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't go on may panic")]

mod support;

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, StreamId};
use stonechat_store::disk::sim::{Random, SimDisk};
use support::Store;

struct World {
    engine: Engine<SimDisk>,
    account: AccountId,
    now: i64,
    /// The ids of streams, by the subject of their subscription.
    groups: BTreeMap<String, StreamId>,
    /// The acknowledged messages, by stream and sequence.
    stored: BTreeMap<(String, u64), (String, u64)>,
    asked: BTreeMap<String, (String, u64)>,
    next: u64,
    /// The published roll-ups: subject, and whether they concern all subjects.
    rolled: BTreeMap<u64, (String, bool)>,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    subject: String,
    number: u64,
    headers: String,
}

impl Held {
    fn came_from(&self, origin: &str) -> bool {
        self.headers.contains(&format!("Nats-Stream-Source: {origin} "))
    }
}

type Content = BTreeMap<u64, Held>;

fn numbers<'a>(content: impl IntoIterator<Item = &'a Held>) -> Vec<u64> {
    content.into_iter().map(|held| held.number).collect()
}

impl World {
    fn open(store: &Store, now: i64) -> Self {
        let (engine, account) =
            store.open(support::options(Durability::Synced), support::World::boxed(false), now);
        let (stored, asked) = (BTreeMap::new(), BTreeMap::new());
        let mut world = Self {
            engine,
            account,
            now,
            groups: BTreeMap::new(),
            stored,
            asked,
            next: 0,
            rolled: BTreeMap::new(),
        };
        world.learn();
        world
    }

    fn learn(&mut self) {
        for change in self.engine.take_interest_changes() {
            if let Some(id) = change.stream().filter(|_| change.begins) {
                self.groups.insert(change.subject, id);
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
                let stream = body["stream"].as_str().expect("a stream").to_owned();
                stored.insert((stream, sequence), message);
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

    fn publish(&mut self, subject: &str, headers: &str, len: usize) {
        self.next += 1;
        if headers.contains("Nats-Rollup") {
            self.rolled.insert(self.next, (subject.to_owned(), headers.contains("all")));
        }
        let reply = format!("p{}", self.next);
        self.asked.insert(reply.clone(), (subject.to_owned(), self.next));
        let payload = format!("{:0len$}", self.next);
        let block = if headers.is_empty() { String::new() } else { format!("NATS/1.0\r\n{headers}\r\n") };
        let message =
            Publish { subject: subject.as_bytes(), headers: block.as_bytes(), payload: payload.as_bytes() };
        let group = self.groups[&format!("{}.*", &subject[..1])];
        self.engine.publish(group, reply.as_bytes(), &message);
    }

    fn step(&mut self, random: &mut Random, mut publish: impl FnMut(&mut Self, &mut Random)) {
        self.now += 1_000_000;
        self.engine.set_time(self.now);
        for _ in 0..random.below(20) {
            publish(self, random);
        }
        self.engine.commit();
        for _ in 0..random.below(5) {
            let Some(job) = self.engine.next_job() else { break };
            let done = job.run();
            self.engine.job_done(done);
        }
        self.collect("");
    }

    /// Plays random steps and crashes.
    fn live(
        mut self,
        mut store: Store,
        random: &mut Random,
        mut publish: impl FnMut(&mut Self, &mut Random),
    ) -> Self {
        for _ in 0..4 {
            for _ in 0..random.below(40) {
                self.step(random, &mut publish);
            }
            let is_kill = random.one_in(3);
            store = store.map(|disk| if is_kill { disk.kill() } else { disk.power_cut(random) });
            let (stored, next, rolled, now) = (self.stored, self.next, self.rolled, self.now);
            self = Self::open(&store, now);
            (self.stored, self.next, self.rolled) = (stored, next, rolled);
        }
        self.settle();
        self
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            self.engine.commit();
        }
    }

    /// The messages of a stream by sequence.
    fn content(&mut self, name: &str) -> Content {
        let state = self.ask(&format!("STREAM.INFO.{name}"), &Value::Null)["state"].clone();
        let mut content = BTreeMap::new();
        for sequence in 1..=state["last_seq"].as_u64().expect("a sequence") {
            let answer = self.ask(&format!("STREAM.MSG.GET.{name}"), &json!({"seq": sequence}));
            let message = &answer["message"];
            let Some(subject) = message["subject"].as_str() else { continue };
            let text = |name: &str| {
                let text = message[name].as_str().unwrap_or_default();
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
                String::from_utf8(bytes).expect("text")
            };
            let number = text("data").parse().expect("a number");
            let held = Held { subject: subject.to_owned(), number, headers: text("hdrs") };
            content.insert(sequence, held);
        }
        assert_eq!(state["messages"].as_u64(), Some(content.len() as u64), "{name}: {state}");
        content
    }
}

fn seeds() -> u64 {
    std::env::var("STONECHAT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(25)
}

#[test]
fn what_is_taken_over_is_taken_once() {
    for seed in 0..seeds() {
        let mut random = Random(seed);
        let store = Store::new(seed);
        let mut world = World::open(&store, 1_000_000_000);
        world.ask("STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s.*"]}));
        world.ask("STREAM.CREATE.M", &json!({"name": "M", "mirror": {"name": "S"}}));
        let source = json!({"name": "S", "filter_subject": "s.a"});
        world.ask("STREAM.CREATE.A", &json!({"name": "A", "sources": [source]}));
        let mut world = world.live(store, &mut random, |world, random| {
            world.publish(["s.a", "s.b"][random.below(2)], "", 1);
        });
        let origin = world.content("S");
        for ((_, sequence), (_, number)) in &world.stored {
            assert_eq!(origin.get(sequence).map(|held| held.number), Some(*number), "seed {seed}");
        }
        assert_eq!(world.content("M"), origin, "seed {seed}: the mirror");
        let expected = numbers(origin.values().filter(|held| held.subject == "s.a"));
        assert_eq!(numbers(world.content("A").values()), expected, "seed {seed}: the source");
    }
}

/// Roll-ups at the origins, limits of the copies, and messages that are too large for a copy.
#[test]
fn copies_do_what_they_allow() {
    for seed in 0..seeds().div_ceil(3) {
        let mut random = Random(seed);
        let store = Store::new(seed);
        let mut world = World::open(&store, 1_000_000_000);
        let sources = json!([{"name": "S"}, {"name": "T"}]);
        let mirror = json!({"name": "S"});
        for config in [
            json!({"name": "S", "subjects": ["s.*"], "allow_rollup_hdrs": true}),
            json!({"name": "T", "subjects": ["t.*"], "allow_rollup_hdrs": true}),
            json!({"name": "PLAIN", "mirror": mirror}),
            json!({"name": "DENIES", "mirror": mirror, "deny_purge": true}),
            json!({"name": "SAME", "mirror": mirror, "allow_rollup_hdrs": true}),
            json!({"name": "FULL", "mirror": mirror, "discard": "new", "max_msgs": 5}),
            json!({"name": "SMALL", "mirror": mirror, "max_bytes": 250}),
            json!({"name": "KEEPS", "sources": sources}),
            json!({"name": "A", "subjects": ["a.*"], "sources": sources, "allow_rollup_hdrs": true}),
            json!({"name": "COPY", "mirror": {"name": "A"}, "allow_rollup_hdrs": true}),
            json!({"name": "FAR", "sources": [{"name": "A"}], "allow_rollup_hdrs": true}),
        ] {
            let name = config["name"].as_str().expect("a name");
            let answer = world.ask(&format!("STREAM.CREATE.{name}"), &config);
            assert!(answer.get("error").is_none(), "{answer}");
        }
        let mut world = world.live(store, &mut random, |world, random| {
            let subject = ["s.a", "s.b", "s.c", "t.a", "t.b", "a.a"][random.below(6)];
            // A roll-up of all subjects has a subject of its own. Else a roll-up of one subject could replace it before a copy
            // has seen it.
            let all = format!("{}.z", &subject[..1]);
            let (subject, headers) = match random.below(12) {
                _ if subject == "a.a" => (subject, ""),
                0 => (all.as_str(), "Nats-Rollup: all\r\n"),
                1 | 2 => (subject, "Nats-Rollup: sub\r\n"),
                _ => (subject, ""),
            };
            let is_large = random.one_in(20);
            world.publish(subject, headers, if is_large { 300 } else { 1 });
        });
        check_copies(&mut world, seed);
    }
}

fn check_copies(world: &mut World, seed: u64) {
    let names = ["S", "T", "PLAIN", "DENIES", "SAME", "FULL", "SMALL", "KEEPS", "A", "COPY", "FAR"];
    let [s, t, plain, denies, same, full, small, keeps, a, copy, far] = names.map(|name| world.content(name));
    for ((stream, sequence), (subject, number)) in &world.stored {
        let content = [&s, &t, &a][["S", "T", "A"].iter().position(|name| name == stream).expect("one")];
        let is_there = content.get(sequence).map(|held| held.number) == Some(*number);
        let later = world.rolled.range(number + 1..).map(|(_, rolled)| rolled);
        let is_replaced =
            later.into_iter().any(|(by, of_all)| by == subject || (*of_all && by[..1] == subject[..1]));
        assert!(is_there || is_replaced, "seed {seed}: {stream} has lost {sequence}");
    }
    assert_eq!(same, s, "seed {seed}: a mirror that rolls up");
    for copy in [&plain, &denies] {
        assert!(s.iter().all(|(sequence, held)| copy.get(sequence) == Some(held)), "seed {seed}");
    }
    assert_eq!(plain, denies, "seed {seed}");
    assert_eq!(full.len(), plain.len().min(5), "seed {seed}: it stops when it is full");
    assert!(full.iter().all(|(sequence, held)| plain.get(sequence) == Some(held)), "seed {seed}");
    let (last, newest) = (full.keys().last().copied(), plain.keys().nth(4));
    assert!(last.is_none() || last <= newest.copied().or(last), "seed {seed}: it holds the oldest");
    let fits = |held: &&Held| held.number.to_string().len() + held.subject.len() + held.headers.len() < 100;
    assert!(small.values().all(|held| fits(&held)), "seed {seed}");
    for (origin, content) in [("S", &s), ("T", &t)] {
        let of = |copy: &Content| numbers(copy.values().filter(|held| held.came_from(origin)));
        let expected = numbers(content.values());
        assert_eq!(of(&a), expected, "seed {seed}: what came from {origin}, and nothing else of it");
        let kept = of(&keeps);
        assert!(kept.windows(2).all(|two| two[0] < two[1]), "seed {seed}: none comes twice");
        assert!(expected.iter().all(|number| kept.contains(number)), "seed {seed}");
    }
    let own = |content: &Content| numbers(content.values().filter(|held| held.subject == "a.a"));
    let acknowledged = world.stored.iter().filter(|((stream, _), _)| stream == "A");
    assert!(acknowledged.into_iter().all(|(_, (_, number))| own(&a).contains(number)), "seed {seed}");
    assert_eq!(copy, a, "seed {seed}: a mirror of several sources");
    let (all, far) = (numbers(a.values()), numbers(far.values()));
    assert!(all.iter().all(|number| far.contains(number)), "seed {seed}: roll-ups of sources go no further");
}

/// Creates a world with these streams.
fn world_of(configs: &[Value]) -> World {
    let mut world = World::open(&Store::new(0), 1_000_000_000);
    for config in configs {
        let name = config["name"].as_str().expect("a name");
        let answer = world.ask(&format!("STREAM.CREATE.{name}"), config);
        assert!(answer.get("error").is_none(), "{answer}");
    }
    world
}

fn headers_of(world: &mut World, name: &str) -> Vec<String> {
    world.settle();
    world.content(name).into_values().map(|held| held.headers).collect()
}

/// The effect of each header in a copy.
#[test]
fn headers_of_copies() {
    let mut world = world_of(&[
        json!({"name": "S", "subjects": ["s.*"], "allow_rollup_hdrs": true, "allow_msg_ttl": true,
               "allow_msg_schedules": true, "allow_atomic": true}),
        json!({"name": "M", "mirror": {"name": "S"}}),
        json!({"name": "A", "sources": [{"name": "S"}], "duplicate_window": 10_000_000_000_i64}),
        json!({"name": "ROLLS", "sources": [{"name": "S"}], "allow_rollup_hdrs": true}),
        json!({"name": "AGES", "mirror": {"name": "S"}, "allow_msg_ttl": true}),
    ]);
    world.publish("s.a", "Nats-Expected-Stream: S\r\nNats-Msg-Id: i\r\nOther: x\r\n", 1);
    world.publish(
        "s.b",
        "Nats-Batch-Id: b\r\nNats-Batch-Sequence: 1\r\nNats-Batch-Commit: 1\r\nNats-TTL: 2s\r\n",
        1,
    );
    let plan = "Nats-Schedule: @at 2099-01-01T00:00:00Z\r\nNats-Schedule-Target: s.target\r\n";
    world.publish("s.plan", plan, 1);
    world.settle();
    world.publish(
        "s.c",
        "Nats-Expected-Last-Msg-Id: \r\nNats-Schedule-Next: purge\r\nNats-Scheduler: s.plan\r\n",
        1,
    );
    let mirrored = headers_of(&mut world, "M");
    assert_eq!(mirrored.len(), 4, "a mirror ends no schedules unless it rolls up: {mirrored:?}");
    assert_eq!(mirrored[0], "NATS/1.0\r\nNats-Msg-Id: i\r\nOther: x\r\n\r\n");
    assert_eq!(mirrored[1], "NATS/1.0\r\nNats-TTL: 2s\r\n\r\n");
    let sourced = headers_of(&mut world, "A");
    assert_eq!(sourced.len(), 4);
    assert!(sourced.iter().all(|block| !block.contains("Nats-Expected-") && !block.contains("Nats-Batch-")));
    assert_eq!(headers_of(&mut world, "ROLLS").len(), 3, "the schedule is over");
    world.now += 5_000_000_000;
    world.engine.set_time(world.now);
    world.engine.tick();
    for (name, left) in [("S", 2), ("AGES", 3), ("M", 4), ("A", 4)] {
        assert_eq!(
            headers_of(&mut world, name).len(),
            left,
            "{name}: times to live count where they are allowed"
        );
    }
    // A mirror that becomes a stream of its own applies the headers of its messages.
    world.ask("STREAM.UPDATE.M", &json!({"name": "M", "subjects": ["m.*"], "allow_msg_ttl": true}));
    world.engine.tick();
    world.now += 1_000_000_000;
    world.engine.set_time(world.now);
    world.engine.tick();
    assert_eq!(headers_of(&mut world, "M").len(), 3);
}

/// Message ids count in the stream that stores the message. A stream with counters stores nothing but counter messages.
#[test]
fn ids_and_counters_of_copies() {
    let mut world = world_of(&[
        json!({"name": "S", "subjects": ["s.*"]}),
        json!({"name": "T", "subjects": ["t.*"]}),
        json!({"name": "A", "sources": [{"name": "S"}, {"name": "T"}], "duplicate_window": 10_000_000_000_i64}),
        json!({"name": "SUM", "sources": [{"name": "S"}], "allow_msg_counter": true}),
    ]);
    world.publish("s.a", "Nats-Msg-Id: i\r\n", 1);
    world.publish("t.a", "Nats-Msg-Id: i\r\n", 1);
    assert_eq!(headers_of(&mut world, "A").len(), 1);
    assert_eq!(headers_of(&mut world, "SUM"), Vec::<String>::new());
    let taken: Vec<Option<u64>> = world.ask("STREAM.INFO.A", &Value::Null)["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .map(|source| source["seq"].as_u64())
        .collect();
    assert_eq!(taken, [Some(1), None], "only what was stored is told");
}

/// A full copy continues as soon as it has room, even if nothing happens at its origin.
#[test]
fn a_full_copy_goes_on_when_it_has_room() {
    let mut world = world_of(&[
        json!({"name": "S", "subjects": ["s.*"]}),
        json!({"name": "M", "mirror": {"name": "S"}, "discard": "new", "max_msgs": 2}),
        json!({"name": "A", "sources": [{"name": "S"}], "discard": "new", "max_msgs": 2}),
        json!({"name": "PER", "sources": [{"name": "S"}], "discard": "new", "max_msgs_per_subject": 2,
               "discard_new_per_subject": true}),
        json!({"name": "SIZE", "mirror": {"name": "S"}, "max_msg_size": 1}),
    ]);
    (0..5).for_each(|_| world.publish("s.a", "", 1));
    world.publish("s.a", "", 9);
    world.settle();
    for name in ["M", "A", "PER"] {
        assert_eq!(numbers(world.content(name).values()), [1, 2], "{name}");
        world.ask(&format!("STREAM.MSG.DELETE.{name}"), &json!({"seq": 1}));
        world.settle();
        assert_eq!(numbers(world.content(name).values()), [2, 3], "{name}");
        world.ask(&format!("STREAM.PURGE.{name}"), &Value::Null);
        world.settle();
        assert_eq!(numbers(world.content(name).values()), [4, 5], "{name}");
    }
    assert_eq!(numbers(world.content("SIZE").values()), [1, 2, 3, 4, 5]);
    world.ask("STREAM.UPDATE.SIZE", &json!({"name": "SIZE", "mirror": {"name": "S"}}));
    world.settle();
    assert_eq!(world.content("SIZE").len(), 6, "it stopped before what it could not store");
    assert!(world.engine.next_deadline().is_some_and(|due| due <= world.now + 1_000_000_000), "tries again");
}

/// Lowered limits remove nothing from a stream that discards new messages.
#[test]
fn lower_limits_of_streams_that_discard_new_messages() {
    for limits in [json!({"max_msgs": 2}), json!({"max_bytes": 60})] {
        let mut config = json!({"name": "S", "subjects": ["s.*"], "discard": "new"});
        let mut world = world_of(std::slice::from_ref(&config));
        (0..4).for_each(|_| world.publish("s.a", "", 20));
        for (name, value) in limits.as_object().expect("limits") {
            config[name] = value.clone();
        }
        world.ask("STREAM.UPDATE.S", &config);
        world.publish("s.b", "", 20);
        world.settle();
        assert_eq!(numbers(world.content("S").values()), [1, 2, 3, 4], "{limits}");
        config["discard"] = "old".into();
        world.ask("STREAM.UPDATE.S", &config);
        assert!(world.content("S").len() < 3, "{limits}");
    }
}

/// A message longer than the limit of a copy removes nothing from it.
#[test]
fn messages_larger_than_a_copy() {
    let mut world = world_of(&[
        json!({"name": "S", "subjects": ["s.*"]}),
        json!({"name": "M", "mirror": {"name": "S"}, "max_bytes": 300}),
        json!({"name": "A", "sources": [{"name": "S"}], "max_bytes": 300}),
    ]);
    for len in [1, 1, 400, 1, 400] {
        world.publish("s.a", "", len);
    }
    world.settle();
    for name in ["M", "A"] {
        assert_eq!(numbers(world.content(name).values()), [1, 2, 4], "{name}");
    }
    assert_eq!(world.ask("STREAM.INFO.M", &Value::Null)["state"]["last_seq"], 5);
}
