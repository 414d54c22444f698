//! The engine under crashes: power cuts, kills, flipped bits, a full disk, against a list of what it acknowledged.
//!
//! `STONECHAT_SEEDS=10000` runs more seeds.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that can't go on may panic"
)]

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Notice};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, StreamId};
use stonechat_store::disk::Disk;
use stonechat_store::disk::sim::{Random, SimDisk};
use support::Store;

/// The expected content of a stream: its acknowledged messages, by sequence.
#[derive(Debug, Clone, Default)]
struct Expected {
    subjects: Vec<String>,
    /// Message number by sequence.
    acked: BTreeMap<u64, u64>,
    /// Sequences whose removal was requested, acknowledged or not.
    removed: std::collections::BTreeSet<u64>,
    /// Messages with numbers up to this one may have been purged before they were acknowledged.
    purged: u64,
}

struct World {
    engine: Engine<SimDisk>,
    /// Whether streams are created with compression.
    is_compressed: bool,
    /// Whether the disk is to fill up: then the first stream has no limits, and nothing is purged.
    fills: bool,
    account: AccountId,
    now: i64,
    streams: BTreeMap<String, Expected>,
    groups: BTreeMap<String, StreamId>,
    /// Requests and publishes without a reply yet, by reply subject.
    asked: BTreeMap<String, Asked>,
    /// The `max_msgs_per_subject` of creations with such a limit, acknowledged or not, by stream.
    keeps: BTreeMap<String, u64>,
    /// The last sequences that must have survived a power cut, by stream; `None` if all acknowledged messages must have.
    durable: Option<BTreeMap<String, u64>>,
    next: u64,
}

#[derive(Debug, Clone)]
enum Asked {
    Publish(String, u64),
    Create(String, Expected),
    /// May wait behind other requests; messages stored until its reply may be purged too.
    Purge(String),
    Other,
}

fn payload(number: u64) -> Vec<u8> {
    format!("{number}-").into_bytes().repeat(1 + (number % 40) as usize)
}

impl World {
    fn open(store: &Store, durability: Durability, now: i64) -> (Engine<SimDisk>, AccountId) {
        store.open(support::options(durability), support::World::boxed(false), now)
    }

    fn new(store: &Store, durability: Durability) -> Self {
        let (engine, account) = Self::open(store, durability, 1);
        Self {
            engine,
            is_compressed: false,
            fills: false,
            account,
            now: 1,
            streams: BTreeMap::new(),
            groups: BTreeMap::new(),
            asked: BTreeMap::new(),
            keeps: BTreeMap::new(),
            durable: None,
            next: 0,
        }
    }

    fn reopen(&mut self, store: &Store, durability: Durability) {
        (self.engine, self.account) = Self::open(store, durability, self.now);
        self.groups.clear();
        for asked in std::mem::take(&mut self.asked).into_values() {
            if let Asked::Purge(name) = asked {
                self.streams.entry(name).or_default().purged = self.next;
            }
        }
        self.learn_groups();
    }

    fn learn_groups(&mut self) {
        for change in self.engine.take_interest_changes() {
            let Some(id) = change.stream() else { continue };
            let name = change.subject.split('.').next().unwrap_or_default().to_owned();
            if change.begins {
                self.groups.insert(name, id);
            } else {
                self.groups.remove(&name);
            }
        }
    }

    fn request(&mut self, subject: &str, payload: &Value, asked: Asked) {
        self.next += 1;
        let reply = format!("r{}", self.next);
        self.asked.insert(reply.clone(), asked);
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        self.engine.request(&Request {
            account: self.account,
            subject: subject.as_bytes(),
            reply: reply.as_bytes(),
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
    }

    fn step(&mut self, random: &mut Random) {
        self.now += random.below(50_000_000) as i64;
        self.engine.set_time(self.now);
        for _ in 0..random.below(12) {
            match random.below(20) {
                0 if self.streams.len() < 4 => {
                    let name = format!("S{}", random.below(5));
                    let is_first = self.fills && self.streams.is_empty();
                    let keep = if random.one_in(2) || is_first { 0 } else { 3 };
                    let expected = Expected { subjects: vec![format!("{name}.>")], ..Expected::default() };
                    let config = json!({
                        "name": name, "subjects": expected.subjects, "max_msgs_per_subject": if keep > 0 { 3 } else { -1 },
                        "compression": if self.is_compressed { "s2" } else { "none" },
                    });
                    if keep > 0 {
                        self.keeps.insert(name.clone(), keep);
                    }
                    let subject = format!("$JS.API.STREAM.CREATE.{name}");
                    self.request(&subject, &config, Asked::Create(name, expected));
                    self.learn_groups();
                }
                1 => {
                    let Some((name, sequence)) = self.any_message(random) else { continue };
                    if let Some(stream) = self.streams.get_mut(&name) {
                        stream.removed.insert(sequence);
                    }
                    let subject = format!("$JS.API.STREAM.MSG.DELETE.{name}");
                    self.request(&subject, &json!({"seq": sequence}), Asked::Other);
                }
                2 if random.one_in(10) && !self.fills => {
                    let Some((name, sequence)) = self.any_message(random) else { continue };
                    if let Some(stream) = self.streams.get_mut(&name) {
                        let gone: Vec<u64> = stream.acked.keys().copied().filter(|s| *s < sequence).collect();
                        stream.removed.extend(gone);
                    }
                    let subject = format!("$JS.API.STREAM.PURGE.{name}");
                    self.request(&subject, &json!({"seq": sequence}), Asked::Other);
                }
                3 if random.one_in(10) && !self.fills => {
                    let Some((name, _)) = self.any_message(random) else { continue };
                    if let Some(stream) = self.streams.get_mut(&name) {
                        stream.purged = self.next;
                    }
                    self.request(&format!("$JS.API.STREAM.PURGE.{name}"), &Value::Null, Asked::Purge(name));
                }
                _ => {
                    let names: Vec<String> = self.groups.keys().cloned().collect();
                    if names.is_empty() {
                        continue;
                    }
                    let name = names[random.below(names.len())].clone();
                    self.next += 1;
                    let number = self.next;
                    let reply = format!("r{number}");
                    self.asked.insert(reply.clone(), Asked::Publish(name.clone(), number));
                    let subject = format!("{name}.{}", number % 7);
                    let payload = payload(number);
                    let message = Publish { subject: subject.as_bytes(), headers: b"", payload: &payload };
                    self.engine.publish(self.groups[&name], reply.as_bytes(), &message);
                }
            }
        }
        self.engine.tick();
        self.engine.commit();
        self.learn_groups();
        for _ in 0..random.below(6) {
            let Some(job) = self.engine.next_job() else { break };
            let done = job.run();
            self.engine.job_done(done);
        }
        self.collect();
    }

    fn any_message(&self, random: &mut Random) -> Option<(String, u64)> {
        let names: Vec<&String> = self.streams.keys().collect();
        let name = names.get(random.below(names.len().max(1)))?;
        let sequences: Vec<u64> = self.streams[*name].acked.keys().copied().collect();
        Some(((*name).clone(), *sequences.get(random.below(sequences.len().max(1)))?))
    }

    /// Takes the replies, and records the acknowledged changes.
    fn collect(&mut self) {
        let mut answers = Vec::new();
        self.engine.take_ready(|out| {
            answers.push((String::from_utf8_lossy(out.subject).into_owned(), out.payload().to_vec()));
        });
        for (reply, payload) in answers {
            let answer: Value = serde_json::from_slice(&payload).expect("JSON");
            let is_error = answer.get("error").is_some();
            match self.asked.remove(&reply) {
                Some(Asked::Publish(name, number)) if !is_error => {
                    let stream = self.streams.entry(name.clone()).or_default();
                    let sequence = answer["seq"].as_u64().expect("a sequence");
                    stream.acked.insert(sequence, number);
                }
                Some(Asked::Purge(name)) => {
                    self.streams.entry(name).or_default().purged = self.next;
                }
                Some(Asked::Create(name, expected)) if !is_error => {
                    self.streams.entry(name).or_insert(expected);
                }
                _ => {}
            }
        }
    }

    /// Compares the stored messages with the acknowledged ones. Returns the number of messages that can't be read.
    fn check(&mut self, context: &str) -> u64 {
        let mut lost = 0;
        let streams = self.streams.clone();
        for (name, expected) in &streams {
            let keep = self.keeps.get(name).copied().unwrap_or(0);
            for (sequence, number) in &expected.acked {
                let subject = format!("{name}.{}", number % 7);
                let later =
                    expected.acked.range(sequence + 1..).filter(|(_, n)| *n % 7 == number % 7).count() as u64;
                // A later message on the subject may have been stored and not acknowledged.
                let may_be_gone = expected.removed.contains(sequence)
                    || *number <= expected.purged
                    || (keep > 0 && later + 3 >= keep);
                let may_be_lost = self
                    .durable
                    .as_ref()
                    .is_some_and(|durable| durable.get(name).is_none_or(|last| last < sequence));
                let answer = self.get(name, *sequence);
                match answer.get("error") {
                    Some(_) if may_be_lost => {}
                    Some(error) if error["err_code"] == 10_900 => lost += 1,
                    Some(error) => assert!(may_be_gone, "{context}: {name} {sequence}: {error}"),
                    None => {
                        use base64::Engine as _;
                        let data = answer["message"]["data"].as_str().unwrap_or_default();
                        let data = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
                        assert_eq!(data, payload(*number), "{context}: {name} {sequence}");
                        assert_eq!(answer["message"]["subject"], subject, "{context}: {name} {sequence}");
                    }
                }
            }
        }
        lost
    }

    /// Waits until all acknowledged changes are on disk, and records that they are. Runs only the urgent jobs, unless a
    /// `checkpoint` is to be made too.
    fn settle(&mut self, checkpoint: bool) {
        for _ in 0..if checkpoint { 3 } else { 1 } {
            self.now += if checkpoint { 2_000_000_000 } else { 1_100_000_000 };
            self.engine.set_time(self.now);
            self.engine.tick();
            self.engine.commit();
            while let Some(job) = self.engine.next_job() {
                // Dropping a job simulates one that takes very long.
                if checkpoint || job.is_urgent() {
                    let done = job.run();
                    self.engine.job_done(done);
                }
            }
        }
        self.collect();
        let last = |expected: &Expected| expected.acked.keys().last().copied().unwrap_or(0);
        self.durable =
            Some(self.streams.iter().map(|(name, expected)| (name.clone(), last(expected))).collect());
    }

    /// Removes the messages that a power cut took before they were synced from the expected ones. Their sequences are assigned
    /// again, and messages whose removal was lost may be there again.
    fn forget_unsynced(&mut self, context: &str) {
        let durable = self.durable.take().unwrap_or_default();
        let names: Vec<String> = self.streams.keys().cloned().collect();
        for name in names {
            let info = self.ask(&format!("$JS.API.STREAM.INFO.{name}"), "");
            let last = info["state"]["last_seq"].as_u64().unwrap_or(0);
            let synced = durable.get(&name).copied().unwrap_or(0);
            assert!(last >= synced, "{context}: {name} ends with {last}, {synced} was synced");
            if let Some(expected) = self.streams.get_mut(&name) {
                expected.acked.retain(|sequence, _| *sequence <= last);
                expected.removed.retain(|sequence| *sequence <= last);
            }
            if !info["error"].is_null() {
                self.streams.remove(&name);
                self.keeps.remove(&name);
            }
        }
    }

    fn get(&mut self, name: &str, sequence: u64) -> Value {
        self.ask(&format!("$JS.API.STREAM.MSG.GET.{name}"), &json!({"seq": sequence}).to_string())
    }

    /// Sends an API request and returns its reply.
    fn ask(&mut self, subject: &str, payload: &str) -> Value {
        self.engine.request(&Request {
            account: self.account,
            subject: subject.as_bytes(),
            reply: b"check",
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
        let mut answer = Value::Null;
        // The reply waits for the disk, or for requests that take several turns.
        for _ in 0..10_000 {
            self.engine.commit();
            self.engine.take_ready(|out| {
                if out.subject == b"check" {
                    answer = serde_json::from_slice(out.payload()).expect("JSON");
                }
            });
            if !answer.is_null() {
                return answer;
            }
            if let Some(job) = self.engine.next_job() {
                let done = job.run();
                self.engine.job_done(done);
            }
        }
        panic!("no answer to {subject} {payload}");
    }
}

/// The seeds to run: the usual number, the number in `STONECHAT_SEEDS`, or the one in `STONECHAT_SEED`.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|s| s.parse().ok());
    match number("STONECHAT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STONECHAT_SEEDS").unwrap_or(usual),
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts_and_kills() {
    for seed in seeds(40) {
        let mut random = Random(seed);
        let mut store = Store::new(seed);
        let mut world = World::new(&store, Durability::Synced);
        world.is_compressed = seed % 2 == 0;
        for round in 0..6 {
            for _ in 0..random.below(150) {
                world.step(&mut random);
            }
            let how = random.below(4);
            store = match how {
                0 => {
                    world.engine.close();
                    world.collect();
                    store.map(|disk| disk.power_cut(&mut random))
                }
                1 => store.map(|disk| disk.kill()),
                _ => store.map(|disk| disk.power_cut(&mut random)),
            };
            world.reopen(&store, Durability::Synced);
            let lost = world.check(&format!("seed {seed} round {round} how {how}"));
            assert_eq!(lost, 0, "seed {seed} round {round} how {how}");
        }
    }
}

#[test]
fn lazy_stores_survive_kills() {
    for seed in seeds(20) {
        let mut random = Random(seed ^ 0x5555);
        let mut store = Store::new(seed);
        let durability = if seed % 2 == 0 { Durability::Within(1_000_000_000) } else { Durability::None };
        let mut world = World::new(&store, durability);
        world.is_compressed = seed % 2 == 0;
        for round in 0..4 {
            for _ in 0..random.below(150) {
                world.step(&mut random);
            }
            store = store.map(|disk| disk.kill());
            world.reopen(&store, durability);
            let told = world.engine.take_notices();
            assert!(told.is_empty(), "seed {seed} round {round}: {told:?}");
            assert_eq!(world.check(&format!("seed {seed} round {round}")), 0, "seed {seed} round {round}");
        }
    }
}

#[test]
fn lazy_stores_keep_what_was_synced_through_a_power_cut() {
    for seed in seeds(20) {
        let mut random = Random(seed ^ 0x1111);
        let mut store = Store::new(seed);
        let durability = Durability::Within(1_000_000_000);
        let mut world = World::new(&store, durability);
        world.is_compressed = seed % 2 == 0;
        for _ in 0..random.below(150) {
            world.step(&mut random);
        }
        world.settle(random.one_in(2));
        for _ in 0..random.below(100) {
            world.step(&mut random);
        }
        store = store.map(|disk| disk.power_cut(&mut random));
        for round in 0..3 {
            world.reopen(&store, durability);
            let told = world.engine.take_notices();
            let context = format!("seed {seed} round {round}");
            assert_eq!(world.check(&context), 0, "{context} {told:?}");
            // The log ends where messages were not synced, so streams have no holes.
            assert_eq!(world.engine.lost(), 0, "{context} {told:?}");
            for _ in 0..random.below(3) {
                world.engine.commit();
                if let Some(job) = world.engine.next_job() {
                    world.engine.job_done(job.run());
                }
            }
            store = store.map(|disk| disk.kill());
        }
    }
}

/// Power cuts and kills in a row: each server continues with the store that the previous one left.
#[test]
fn lazy_stores_have_no_holes_after_one_power_cut_and_another() {
    for seed in seeds(20) {
        let mut random = Random(seed ^ 0x7777);
        let mut store = Store::new(seed);
        let durability = Durability::Within(1_000_000_000);
        let mut world = World::new(&store, durability);
        world.is_compressed = seed % 2 == 0;
        for round in 0..8 {
            for _ in 0..random.below(60) {
                world.step(&mut random);
            }
            match random.below(4) {
                0 => {}
                1 => world.settle(false),
                _ => world.settle(true),
            }
            for _ in 0..random.below(40) {
                world.step(&mut random);
            }
            let is_cut = !random.one_in(3);
            store = store.map(|disk| if is_cut { disk.power_cut(&mut random) } else { disk.kill() });
            world.reopen(&store, durability);
            let told = world.engine.take_notices();
            let context = format!("seed {seed} round {round} is_cut {is_cut}");
            assert_eq!(world.engine.lost(), 0, "{context} {told:?}");
            if is_cut {
                world.forget_unsynced(&context);
            }
            assert_eq!(world.check(&context), 0, "{context} {told:?}");
        }
    }
}

#[test]
fn a_flipped_bit_loses_at_most_what_is_named() {
    for seed in seeds(40) {
        let mut random = Random(seed ^ 0xaaaa);
        let mut store = Store::new(seed);
        let is_lazy = seed % 4 == 3;
        let durability = if is_lazy { Durability::Within(1_000_000_000) } else { Durability::Synced };
        let mut world = World::new(&store, durability);
        world.is_compressed = seed % 2 == 0;
        for _ in 0..100 + random.below(200) {
            world.step(&mut random);
        }
        // Idle long enough that the log writes its durable position.
        for _ in 0..if random.one_in(2) { 3 } else { 80 } {
            world.now += 50_000_000;
            world.engine.set_time(world.now);
            world.engine.tick();
            world.engine.commit();
            while let Some(job) = world.engine.next_job() {
                let done = job.run();
                world.engine.job_done(done);
            }
        }
        world.collect();
        store = store.map(|disk| disk.kill());
        // A lazy log may end anywhere, so only its streams are damaged.
        let disks = store.disks();
        let disk = if is_lazy { &store.streams } else { disks[random.below(3)] };
        let mut names = disk.names().expect("names");
        names.retain(|name| disk.bytes(name, |bytes| !bytes.is_empty()));
        if names.is_empty() {
            continue;
        }
        let name = &names[random.below(names.len())];
        disk.bytes(name, |bytes| {
            let len = bytes.iter().rposition(|b| *b != 0).map_or(1, |i| i + 1);
            let bit = random.below(len * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        });
        let messages = world.engine.message_count();
        let streams = world.engine.stream_count();
        world.reopen(&store, durability);
        let context = format!("seed {seed} {name}");
        assert_eq!(world.engine.stream_count(), streams, "{context}");
        let lost = world.check(&context);
        // Damage costs a whole compressed chunk.
        assert!(lost <= 1 || world.is_compressed, "{context}: {lost} lost");
        let told = world.engine.take_notices();
        assert!(lost == 0 || !told.is_empty(), "{context}");
        // A lost removal may bring a message back, but no message may disappear.
        assert!(
            world.engine.message_count() >= messages,
            "{context}: {} of {messages}",
            world.engine.message_count()
        );
    }
}

#[test]
fn a_full_disk_refuses_and_heals() {
    for seed in seeds(8) {
        let mut random = Random(seed ^ 0x7777);
        let mut store = Store::new(seed);
        let is_lazy = seed % 4 == 3;
        let durability = if is_lazy { Durability::Within(1_000_000_000) } else { Durability::Synced };
        let mut world = World::new(&store, durability);
        world.is_compressed = seed % 2 == 0;
        for _ in 0..50 {
            world.step(&mut random);
        }
        for _ in 0..3 {
            store.disks().iter().for_each(|disk| disk.faults(|f| f.full = true));
            for _ in 0..100 {
                world.step(&mut random);
            }
            world.check(&format!("seed {seed}, full"));
            store.disks().iter().for_each(|disk| disk.faults(|f| f.full = false));
            for _ in 0..100 {
                world.step(&mut random);
            }
        }
        if is_lazy && random.one_in(2) {
            // Messages that could not be written to their segment must be in the log.
            store.disks().iter().for_each(|disk| disk.faults(|f| f.full = true));
            for _ in 0..random.below(20) {
                world.step(&mut random);
            }
        }
        store = store.map(|disk| if is_lazy { disk.kill() } else { disk.power_cut(&mut random) });
        store.disks().iter().for_each(|disk| disk.faults(|f| f.full = false));
        world.reopen(&store, durability);
        let told = world.engine.take_notices();
        assert_eq!(world.check(&format!("seed {seed}")), 0, "seed {seed} {told:?}");
    }
}

/// The log refers to a long message whose segment can't be written and is removed in the same batch. The frame must not look like
/// one whose messages never reached the disk.
#[test]
fn a_purge_on_a_full_disk_costs_no_other_message_of_its_batch() {
    for removal in ["purge", "rollup", "delete"] {
        let mut store = Store::new(0);
        let durability = Durability::Within(1_000_000_000);
        let mut world = World::new(&store, durability);
        for name in ["S0", "S1"] {
            let config = json!({"name": name, "subjects": [format!("{name}.>")], "allow_rollup_hdrs": true});
            world.ask(&format!("$JS.API.STREAM.CREATE.{name}"), &config.to_string());
        }
        world.learn_groups();
        world.settle(true);
        store.disks().iter().for_each(|disk| disk.faults(|f| f.full = true));
        let long = [b'x'; 300];
        for name in ["S1", "S0"] {
            let subject = format!("{name}.a");
            let message = Publish { subject: subject.as_bytes(), headers: b"", payload: &long };
            world.engine.publish(world.groups[name], b"stored", &message);
        }
        match removal {
            "purge" => world.request("$JS.API.STREAM.PURGE.S1", &Value::Null, Asked::Other),
            "delete" => world.request("$JS.API.STREAM.DELETE.S1", &Value::Null, Asked::Other),
            _ => {
                let headers = b"NATS/1.0\r\nNats-Rollup: all\r\n\r\n";
                let message = Publish { subject: b"S1.b", headers, payload: &long };
                world.engine.publish(world.groups["S1"], b"stored", &message);
            }
        }
        world.engine.commit();
        let mut stored = 0;
        world.engine.take_ready(|out| {
            stored += usize::from(out.subject == b"stored" && !out.payload().starts_with(b"{\"error"))
        });
        assert!(stored >= 2, "{removal}: {stored}");
        store = store.map(SimDisk::kill);
        world.reopen(&store, durability);
        let answer = world.get("S0", 1);
        assert!(answer["error"].is_null(), "{removal}: {answer} {:?}", world.engine.take_notices());
    }
}

#[test]
fn removals_free_a_full_disk() {
    for seed in seeds(6) {
        let mut random = Random(seed ^ 0x4141);
        let disk = SimDisk::default();
        disk.faults(|faults| faults.capacity = Some(400 << 10));
        let mut store = Store::new(seed);
        (store.catalogue, store.streams, store.log) = (disk.beside(), disk.beside(), disk);
        let is_lazy = seed % 4 == 3;
        let durability = if is_lazy { Durability::Within(1_000_000_000) } else { Durability::Synced };
        let mut world = World::new(&store, durability);
        for round in 0..3 {
            let context = format!("seed {seed}, round {round}");
            let is_refused =
                |notice: &Notice| matches!(notice, Notice::Error(text) if text.contains("refused"));
            let mut steps = 0;
            world.fills = true;
            while !world.engine.take_notices().iter().any(is_refused) {
                world.step(&mut random);
                steps += 1;
                assert!(steps < 20_000, "{context}: the disk never fills up");
            }
            world.fills = false;
            for _ in 0..random.below(60) {
                world.step(&mut random);
            }
            assert_eq!(world.check(&context), 0, "{context}");
            let names: Vec<String> = world.groups.keys().cloned().collect();
            for name in names {
                // Messages that were never acknowledged are not expected.
                world.streams.entry(name.clone()).or_default().purged = world.next;
                world.request(&format!("$JS.API.STREAM.PURGE.{name}"), &Value::Null, Asked::Purge(name));
            }
            if round == 1 && random.one_in(2) {
                // A power cut during the purge.
                for _ in 0..random.below(10) {
                    world.step(&mut random);
                }
                store = store.map(|disk| if is_lazy { disk.kill() } else { disk.power_cut(&mut random) });
                world.reopen(&store, durability);
                assert_eq!(world.check(&context), 0, "{context}");
                break;
            }
            let count =
                |world: &World| world.streams.values().map(|stream| stream.acked.len()).sum::<usize>();
            let before = count(&world);
            for _ in 0..4 {
                world.settle(true);
            }
            world.durable = None;
            for _ in 0..40 {
                world.step(&mut random);
            }
            let told = world.engine.take_notices();
            assert!(count(&world) > before + 50, "{context}: {before} {} {told:?}", count(&world));
        }
        store = store.map(|disk| if is_lazy { disk.kill() } else { disk.power_cut(&mut random) });
        world.reopen(&store, durability);
        assert_eq!(world.check(&format!("seed {seed}")), 0, "seed {seed}");
    }
}

#[test]
fn a_sync_that_fails_is_never_taken_for_one_that_did_not() {
    for seed in seeds(20) {
        let mut random = Random(seed ^ 0x3333);
        let mut store = Store::new(seed);
        let mut world = World::new(&store, Durability::Synced);
        world.is_compressed = seed % 2 == 0;
        for _ in 0..30 + random.below(100) {
            world.step(&mut random);
        }
        store.disks().iter().for_each(|disk| disk.faults(|f| f.sync_fails = true));
        for _ in 0..40 {
            world.step(&mut random);
        }
        store.disks().iter().for_each(|disk| disk.faults(|f| f.sync_fails = false));
        for _ in 0..40 {
            world.step(&mut random);
        }
        store = store.map(|disk| disk.power_cut(&mut random));
        world.reopen(&store, Durability::Synced);
        let told = world.engine.take_notices();
        assert_eq!(world.check(&format!("seed {seed}")), 0, "seed {seed} {told:?}");
    }
}

#[test]
fn a_segment_whose_sync_failed_is_never_taken_for_durable() {
    for seed in seeds(20) {
        let mut random = Random(seed ^ 0x5151);
        let mut store = Store::new(seed);
        let durability = Durability::Within(60_000_000_000);
        let mut world = World::new(&store, durability);
        for _ in 0..30 + random.below(100) {
            world.step(&mut random);
        }
        let run_all = |world: &mut World, later: i64, fails: bool| {
            world.now += later;
            world.engine.set_time(world.now);
            world.engine.tick();
            world.engine.commit();
            while let Some(job) = world.engine.next_job() {
                // The checkpoint's sync fails; the log's sync of the same files, which comes later, succeeds.
                store.streams.faults(|f| f.sync_fails = fails && !job.is_urgent());
                let done = job.run();
                world.engine.job_done(done);
            }
            store.streams.faults(|f| f.sync_fails = false);
        };
        // Within the interval of 60 s only a checkpoint syncs the log.
        run_all(&mut world, 2_000_000_000, true);
        world.step(&mut random);
        run_all(&mut world, 61_000_000_000, false);
        world.step(&mut random);
        run_all(&mut world, 61_000_000_000, false);
        store = store.map(|disk| disk.power_cut(&mut random));
        world.reopen(&store, durability);
        let told = world.engine.take_notices();
        let context = format!("seed {seed}");
        assert_eq!(world.engine.lost(), 0, "{context} {told:?}");
        world.forget_unsynced(&context);
        assert_eq!(world.check(&context), 0, "{context} {told:?}");
    }
}
