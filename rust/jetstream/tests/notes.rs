//! Message ids, times to live and schedules with so little memory that most of them are on disk, through restarts and damaged
//! files.
//!
//! `STONECHAT_SEEDS=N` runs seeds 0 to N.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, InterestChange};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::time::rfc3339;
use stonechat_jetstream::{AccountId, StreamId};
use stonechat_store::disk::Disk;
use stonechat_store::disk::sim::{Random, SimDisk};
use support::Store;

const SECOND: i64 = 1_000_000_000;
const WINDOW: i64 = 20 * SECOND;
/// The most nanoseconds by which a due message may be late.
const LATE: i64 = 3_000_000;

struct World {
    store: Store,
    engine: Engine<SimDisk>,
    account: AccountId,
    group: StreamId,
    now: i64,
    /// The time and the sequence at which each id was stored.
    ids: BTreeMap<u64, (i64, u64)>,
    /// The times at which messages expire, by sequence.
    ends: BTreeMap<u64, i64>,
    /// The times at which schedules are due, by number.
    schedules: BTreeMap<u64, i64>,
    last: u64,
}

impl World {
    fn new(seed: u64, storage: &str) -> Self {
        let store = Store::new(seed);
        let now = 1_790_000_000 * SECOND;
        let (engine, account) = Self::open(&store, now);
        let mut world = Self {
            store,
            engine,
            account,
            group: StreamId(0),
            now,
            ids: BTreeMap::new(),
            ends: BTreeMap::new(),
            schedules: BTreeMap::new(),
            last: 0,
        };
        let config = json!({
            "name": "S", "subjects": ["s.*", "at.*", "out.*"], "storage": storage, "allow_msg_ttl": true,
            "allow_msg_schedules": true, "duplicate_window": WINDOW, "allow_rollup_hdrs": true,
        });
        let answer = world.ask("$JS.API.STREAM.CREATE.S", &config);
        assert_eq!(answer["error"], Value::Null);
        world.learn_group();
        world
    }

    fn open(store: &Store, now: i64) -> (Engine<SimDisk>, AccountId) {
        store.open(support::options(Durability::None), support::World::boxed(false), now)
    }

    fn learn_group(&mut self) {
        let changes = self.engine.take_interest_changes();
        self.group = changes.iter().find_map(InterestChange::stream).expect("a stream");
    }

    fn ask(&mut self, subject: &str, payload: &Value) -> Value {
        self.engine.request(&Request {
            account: self.account,
            subject: subject.as_bytes(),
            reply: b"ask",
            headers: b"",
            payload: payload.to_string().as_bytes(),
            client: &|| Value::Null,
        });
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut answer = None;
        for _ in 0..100 {
            self.engine.commit();
            self.engine.take_ready(|out| {
                if out.to == b"ask" {
                    answer = Some(serde_json::from_slice(out.payload()).expect("JSON"));
                }
            });
            if let Some(answer) = answer {
                return answer;
            }
        }
        panic!("no answer")
    }

    /// Publishes a message. Returns its sequence, and whether it was a duplicate.
    fn publish(&mut self, subject: &str, headers: &str) -> (u64, bool) {
        let headers = format!("NATS/1.0\r\n{headers}\r\n");
        let message = Publish { subject: subject.as_bytes(), headers: headers.as_bytes(), payload: b"x" };
        self.engine.publish(self.group, b"ask", &message);
        let answer = self.answer();
        let sequence = answer["seq"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        self.last = self.last.max(sequence);
        (sequence, answer["duplicate"] == true)
    }

    fn pass(&mut self, time: i64) {
        self.now += time;
        self.engine.set_time(self.now);
        for _ in 0..8 {
            self.engine.tick();
            self.engine.commit();
            self.engine.take_ready(|_| {});
        }
    }

    fn run_jobs(&mut self, count: usize) {
        for _ in 0..count {
            let Some(job) = self.engine.next_job() else { return };
            self.engine.job_done(job.run());
        }
    }

    /// The names of files of a kind.
    fn files(&self, kind: &str) -> Vec<String> {
        let mut names = self.store.streams.names().expect("names");
        names.retain(|name| name.contains(kind));
        names
    }

    /// Subjects and headers of all messages, by sequence.
    fn messages(&mut self) -> BTreeMap<u64, (String, String)> {
        let mut found = BTreeMap::new();
        let state = self.ask("$JS.API.STREAM.INFO.S", &json!({}));
        let last = state["state"]["last_seq"].as_u64().expect("a sequence");
        for sequence in 1..=last {
            let got = self.ask("$JS.API.STREAM.MSG.GET.S", &json!({"seq": sequence}));
            if let Some(subject) = got["message"]["subject"].as_str() {
                let headers = got["message"]["hdrs"].as_str().unwrap_or_default();
                found.insert(sequence, (subject.to_owned(), headers.to_owned()));
            }
        }
        found
    }
}

fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("STONECHAT_SEEDS").ok().and_then(|text| text.parse().ok());
    0..asked.unwrap_or(usual)
}

#[test]
fn ids_times_to_live_and_schedules_are_kept_on_disk() {
    let mut spilled = BTreeSet::new();
    for seed in seeds(40) {
        let mut random = Random(seed);
        let is_file = !random.one_in(4);
        let mut world = World::new(seed, if is_file { "file" } else { "memory" });
        // When ids are learned anew, those of removed messages may be forgotten.
        let (mut learned_at, mut learned_when, mut spoilt) = (0, 0, false);
        let mut repeated = BTreeMap::new();
        for number in 0..300u64 {
            match random.below(20) {
                0..12 => {
                    let id = if random.one_in(3) { random.below(300) as u64 } else { 1000 + number };
                    let ttl = 1 + random.below(30) as i64;
                    let live_on = random.one_in(2);
                    let ttl_header = if live_on { format!("Nats-TTL: {ttl}\r\n") } else { String::new() };
                    let (sequence, duplicate) = world
                        .publish(&format!("s.{}", id % 7), &format!("Nats-Msg-Id: {id}\r\n{ttl_header}"));
                    let known = world.ids.get(&id).copied().filter(|(time, _)| world.now - time < WINDOW);
                    match known {
                        Some((_, first)) if duplicate => assert_eq!(sequence, first, "seed {seed}"),
                        Some((_, first)) => {
                            let is_gone = world.ends.get(&first).is_some_and(|end| *end <= world.now);
                            assert!(is_gone && first <= learned_at, "seed {seed}: {id} was there");
                        }
                        None => assert!(!duplicate, "seed {seed}: {id} was not there"),
                    }
                    if !duplicate {
                        world.ids.insert(id, (world.now, sequence));
                        if live_on {
                            world.ends.insert(sequence, world.now + ttl * SECOND);
                        }
                    }
                }
                12 => {
                    let headers =
                        format!("Nats-Schedule: @every 2s\r\nNats-Schedule-Target: out.{number}\r\n");
                    world.publish(&format!("at.{number}"), &headers);
                    repeated.insert(number, world.now);
                }
                13 => {
                    let due = world.now + (1 + random.below(40) as i64) * SECOND;
                    let at = rfc3339(due);
                    let headers =
                        format!("Nats-Schedule: @at {at}\r\nNats-Schedule-Target: out.{number}\r\n");
                    world.publish(&format!("at.{number}"), &headers);
                    world.schedules.insert(number, due);
                }
                14..17 => world.run_jobs(1 + random.below(6)),
                17 if is_file && random.one_in(3) => {
                    world.engine.close();
                    assert!(world.files("-ids-").is_empty() && world.files("-ttls-").is_empty());
                    (world.engine, world.account) = World::open(&world.store, world.now);
                    world.learn_group();
                    (learned_at, learned_when) = (learned_at.max(world.last), world.now);
                }
                18 if random.one_in(3) => {
                    let mut names = world.files("-ids-");
                    names.extend(world.files("-ttls-"));
                    names.extend(world.files("-schedules-"));
                    if !names.is_empty() {
                        world.store.streams.bytes(&names[random.below(names.len())], |bytes| {
                            if !bytes.is_empty() {
                                let bit = random.below(bytes.len() * 8);
                                bytes[bit / 8] ^= 1 << (bit % 8);
                                // The damage may be noticed at any time.
                                (learned_at, spoilt) = (u64::MAX, true);
                            }
                        });
                    }
                }
                _ => world.pass(random.below(2 * SECOND as usize) as i64),
            }
            for kind in ["-ids-", "-ttls-", "-schedules-"] {
                if !world.files(kind).is_empty() {
                    spilled.insert(kind);
                }
            }
        }
        for _ in 0..4 {
            world.pass(LATE);
            world.run_jobs(20);
        }
        let found = world.messages();
        for (sequence, end) in &world.ends {
            let (is_there, in_time) = (found.contains_key(sequence), *end > world.now);
            let only_just = world.now - end < 4 * LATE && *end <= world.now;
            assert!(is_there == in_time || only_just, "seed {seed}: {sequence}, there {is_there}");
        }
        for (number, due) in &world.schedules {
            let made = found.values().filter(|(subject, _)| *subject == format!("out.{number}")).count();
            let is_kept = found.values().any(|(subject, _)| *subject == format!("at.{number}"));
            let is_due = *due <= world.now;
            let only_just = is_due && world.now - due < 4 * LATE;
            let is_right = made == usize::from(is_due) && is_kept != is_due;
            assert!(is_right || only_just, "seed {seed}: schedule {number} made {made}, kept {is_kept}");
        }
        for (number, began) in repeated {
            let made = found.values().filter(|(subject, _)| *subject == format!("out.{number}"));
            let made: Vec<&String> = made.map(|(_, headers)| headers).collect();
            // The headers of each message contain the time of the next one.
            let different: BTreeSet<&&String> = made.iter().collect();
            assert_eq!(made.len(), different.len(), "seed {seed}: schedule {number} made one twice");
            // Schedules that are learned anew skip the times that were missed.
            let is_young = world.now - learned_when.max(began) < 3 * SECOND;
            assert!(!made.is_empty() || is_young || spoilt, "seed {seed}: schedule {number}");
        }
        // Jobs are running while the stream is deleted.
        let (mut jobs, mut i) = (Vec::new(), 0);
        while jobs.len() < 3 && i < 20 {
            world.publish("s.1", &format!("Nats-Msg-Id: last {i}\r\nNats-TTL: 1h\r\n"));
            jobs.extend(world.engine.next_job());
            i += 1;
        }
        world.ask("$JS.API.STREAM.DELETE.S", &json!({}));
        jobs.into_iter().for_each(|job| world.engine.job_done(job.run()));
        for _ in 0..4 {
            world.pass(3 * SECOND);
            world.run_jobs(100);
        }
        assert_eq!(world.files("stream-"), Vec::<String>::new(), "seed {seed}");
    }
    assert_eq!(spilled.len(), 3, "little memory");
}
