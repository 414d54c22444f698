//! Copies of an encrypted store that are used beside each other, and stores that are rolled back. No key and nonce may ever
//! encrypt two different contents; `store/src/encryption/witness.rs` panics if they do.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't go on may panic")]

mod support;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, StreamId};
use stonechat_store::disk::sim::{Random, SimDisk};
use support::Store;

/// The seeds with which `Store::new` creates an encrypted store.
fn seeds(usual: u64) -> impl Iterator<Item = u64> {
    let wanted = std::env::var("STONECHAT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual);
    (0..wanted).map(|seed| 3 * seed + 1)
}

/// A store in use.
struct World {
    store: Store,
    engine: Engine<SimDisk>,
    account: AccountId,
    groups: Vec<(String, StreamId)>,
    durability: Durability,
    now: i64,
}

impl World {
    fn open(store: Store, durability: Durability, now: i64) -> Self {
        let (engine, account) = store.open(support::options(durability), support::World::boxed(false), now);
        let mut world = Self { store, engine, account, groups: Vec::new(), durability, now };
        world.learn_groups();
        world
    }

    /// The store as another process finds it on the same disks, or on copies of them.
    fn left(&self, random: &mut Random) -> Store {
        let lazy = self.durability != Durability::Synced;
        let is_cut = !lazy && random.one_in(2);
        self.store.map(|disk| if is_cut { disk.power_cut(random) } else { disk.kill() }).reopened()
    }

    fn learn_groups(&mut self) {
        for change in self.engine.take_interest_changes() {
            let name = change.subject.split('.').next().unwrap_or_default().to_owned();
            if let Some(id) = change.stream() {
                self.groups.retain(|(known, _)| *known != name);
                self.groups.extend(change.begins.then_some((name, id)));
            }
        }
    }

    fn request(&mut self, subject: &str, payload: &Value) {
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        self.engine.request(&Request {
            account: self.account,
            subject: subject.as_bytes(),
            reply: b"r",
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
    }

    fn act(&mut self, random: &mut Random) {
        let name = format!("S{}", random.below(3));
        match random.below(40) {
            0 | 1 => {
                let compression = if random.one_in(2) { "s2" } else { "none" };
                let keep = if random.one_in(2) { -1 } else { 3 };
                let config = json!({
                    "name": name, "subjects": [format!("{name}.>")], "compression": compression,
                    "max_msgs_per_subject": keep,
                });
                self.request(&format!("$JS.API.STREAM.CREATE.{name}"), &config);
                let config = json!({"durable_name": "c", "ack_policy": "explicit"});
                let request = json!({"stream_name": name, "config": config});
                self.request(&format!("$JS.API.CONSUMER.CREATE.{name}.c"), &request);
                self.learn_groups();
            }
            2 => self.request(&format!("$JS.API.STREAM.PURGE.{name}"), &Value::Null),
            3 if random.one_in(4) => self.request(&format!("$JS.API.STREAM.DELETE.{name}"), &Value::Null),
            4 | 5 => {
                let seq = random.below(100) + 1;
                self.request(&format!("$JS.API.STREAM.MSG.DELETE.{name}"), &json!({"seq": seq}));
            }
            6 => self.request(&format!("$JS.API.CONSUMER.MSG.NEXT.{name}.c"), &json!({"batch": 5})),
            _ => {
                let Some((name, group)) = self.groups.get(random.below(self.groups.len().max(1))).cloned()
                else {
                    return;
                };
                let subject = format!("{name}.{}", random.below(30));
                let mut payload = vec![0; random.below(150)];
                payload.iter_mut().for_each(|byte| *byte = random.draw() as u8);
                let message = Publish { subject: subject.as_bytes(), headers: b"", payload: &payload };
                self.engine.publish(group, b"r", &message);
            }
        }
    }

    fn step(&mut self, random: &mut Random) {
        self.now += random.below(300_000_000) as i64;
        self.engine.set_time(self.now);
        (0..random.below(12)).for_each(|_| self.act(random));
        self.engine.tick();
        self.engine.commit();
        self.learn_groups();
        for _ in 0..random.below(6) {
            let Some(job) = self.engine.next_job() else { break };
            let done = job.run();
            self.engine.job_done(done);
        }
        self.engine.take_ready(|_| {});
    }

    fn set_full(&self, is_full: bool) {
        self.store.disks().iter().for_each(|disk| disk.faults(|faults| faults.full = is_full));
    }
}

#[test]
fn copies_that_both_go_on_never_encrypt_with_the_same_key_and_nonce() {
    for seed in seeds(10) {
        let mut random = Random(seed);
        let durability = if seed % 2 == 0 { Durability::Synced } else { Durability::Within(1_000_000_000) };
        // Stores to continue from; each may be continued any number of times.
        let mut copies = vec![Store::new(seed)];
        let mut now = 1;
        for _ in 0..12 {
            let copy = copies[random.below(copies.len())].clone();
            let mut world = World::open(copy.map(|disk| disk.kill()).reopened(), durability, now);
            for _ in 0..random.below(60) {
                world.step(&mut random);
                if random.one_in(20) {
                    copies.push(world.left(&mut random));
                }
                if random.one_in(20) {
                    world.set_full(true);
                    (0..random.below(10)).for_each(|_| world.step(&mut random));
                    world.set_full(false);
                }
            }
            if random.one_in(3) {
                world.engine.close();
            }
            copies.push(world.left(&mut random));
            now = world.now;
        }
    }
}
