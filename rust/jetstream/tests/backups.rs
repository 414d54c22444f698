//! Backups and restores through crashes, and restores of invalid backups.
//!
//! `STONECHAT_SEEDS=10000` runs more seeds.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't go on may panic")]

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::backup::STATE_MAX;
use stonechat_jetstream::backup::archive::{self, Entry};
use stonechat_jetstream::backup::frames::Compressor;
use stonechat_jetstream::engine::{Durability, Engine, Interest};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, BackupId, ConsumerId, StreamId};
use stonechat_store::disk::sim::{Random, SimDisk};
use support::Store;

struct World {
    engine: Engine<SimDisk>,
    account: AccountId,
    /// The messages sent to each subject since the last request.
    got: Vec<(String, Vec<u8>)>,
    restore: BackupId,
}

impl World {
    fn open(store: &Store) -> Self {
        let (engine, account) =
            store.open(support::options(Durability::Synced), support::World::boxed(true), 1);
        Self { engine, account, got: Vec::new(), restore: BackupId(0) }
    }

    fn turn(&mut self, jobs: usize) {
        self.engine.tick();
        self.engine.commit();
        for _ in 0..jobs {
            let Some(job) = self.engine.next_job() else { break };
            let done = job.run();
            self.engine.job_done(done);
        }
        for change in self.engine.take_interest_changes() {
            if let Interest::Restore(id) = change.interest
                && change.begins
            {
                self.restore = id;
            }
        }
        let got = &mut self.got;
        self.engine.take_ready(|out| {
            got.push((String::from_utf8_lossy(out.to).into_owned(), out.payload().to_vec()));
        });
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
            self.turn(4);
            if let Some(at) = self.got.iter().position(|(to, _)| to == "ask") {
                return serde_json::from_slice(&self.got.remove(at).1).expect("JSON");
            }
        }
    }

    fn back_up(&mut self) -> (Value, Vec<u8>) {
        let request = json!({"deliver_subject": "snap", "chunk_size": 1024, "window_size": 4096});
        let answer = self.ask("STREAM.SNAPSHOT.S", &request);
        let mut data = Vec::new();
        loop {
            self.turn(4);
            for (to, payload) in std::mem::take(&mut self.got) {
                match to.as_str() {
                    "snap" if payload.is_empty() => return (answer, data),
                    "snap" => data.extend(payload),
                    // Advisories are skipped.
                    _ => continue,
                }
                self.engine.snapshot_acked(BackupId(1));
            }
        }
    }

    fn names(&mut self) -> Value {
        self.ask("STREAM.NAMES", &Value::Null)["streams"].clone()
    }

    /// The description of the stream and its consumer, and the stream's messages.
    fn content(&mut self) -> Vec<Value> {
        let info = self.ask("STREAM.INFO.S", &json!({"deleted_details": true, "subjects_filter": ">"}));
        let last = info["state"]["last_seq"].as_u64().unwrap_or(0);
        let mut state = info["state"].clone();
        state["last_ts"] = Value::Null;
        let mut content = vec![info["config"].clone(), state];
        for sequence in 1..=last {
            content.push(self.ask("STREAM.MSG.GET.S", &json!({"seq": sequence}))["message"].clone());
        }
        let consumer = self.ask("CONSUMER.INFO.S.C", &Value::Null);
        for field in ["config", "num_ack_pending", "num_pending", "num_redelivered"] {
            content.push(consumer[field].clone());
        }
        for field in ["delivered", "ack_floor"] {
            content.push(json!([consumer[field]["consumer_seq"], consumer[field]["stream_seq"]]));
        }
        content
    }
}

/// Creates a stream with gaps and a consumer in the middle of it. Returns its content, the reply and the data of its backup.
fn fill(random: &mut Random) -> (Vec<Value>, Value, Vec<u8>) {
    let mut world = World::open(&Store::default());
    let config = json!({"name": "S", "subjects": ["s.*"], "allow_msg_ttl": true, "max_msgs": 150});
    world.ask("STREAM.CREATE.S", &config);
    let consumer = json!({"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}});
    world.ask("CONSUMER.CREATE.S.C", &consumer);
    for n in 0..20 + random.below(180) {
        let (subject, payload) = (format!("s.{}", n % 5), vec![n as u8; random.below(300)]);
        let headers = if random.one_in(3) { &b"NATS/1.0\r\nNats-TTL: 1h\r\n\r\n"[..] } else { b"" };
        world.engine.publish(
            StreamId(1),
            b"",
            &Publish { subject: subject.as_bytes(), headers, payload: &payload },
        );
    }
    world.turn(9);
    for _ in 0..random.below(20) {
        let sequence = 1 + random.below(150);
        world.ask("STREAM.MSG.DELETE.S", &json!({"seq": sequence}));
    }
    world.engine.pull(ConsumerId(2), b"in", b"", b"15");
    world.turn(9);
    for stream in [1, 2, 5] {
        world.engine.ack(ConsumerId(2), format!("1.{stream}.{stream}.1.1").as_bytes(), b"", b"+ACK");
    }
    world.turn(9);
    let content = world.content();
    let (answer, data) = world.back_up();
    (content, answer, data)
}

fn same(got: &[Value], expected: &[Value], seed: u64, when: &str) {
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected, "seed {seed}, {when}");
    }
    assert_eq!(got.len(), expected.len(), "seed {seed}, {when}");
}

#[test]
fn a_restore_is_whole_or_not_there() {
    let seeds = std::env::var("STONECHAT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(30);
    for seed in 0..seeds {
        let mut random = Random(seed);
        let (content, answer, data) = fill(&mut random);
        let mut store = Store::new(seed);
        let mut world = World::open(&store);
        let request = json!({"config": answer["config"], "state": answer["state"]});
        for attempt in 0.. {
            let begun = world.ask("STREAM.RESTORE.S", &request);
            assert!(begun["deliver_subject"].is_string(), "seed {seed}: {begun}");
            let id = world.restore;
            let size = 1 + random.below(2000);
            let chunks: Vec<&[u8]> = data.chunks(size).chain([&b""[..]]).collect();
            let crash = if attempt < 3 { random.below(chunks.len() + 2) } else { usize::MAX };
            for chunk in chunks.iter().take(crash) {
                world.engine.restore_chunk(id, b"chunk", chunk);
                world.turn(random.below(3));
            }
            if crash >= chunks.len() {
                for _ in 0..50 {
                    world.turn(4);
                }
                same(&world.content(), &content, seed, "restored");
                // The restored stream survives a crash.
                store = store.map(|disk| disk.power_cut(&mut random));
                world = World::open(&store);
                same(&world.content(), &content, seed, "after a crash");
                break;
            }
            let is_kill = random.one_in(2);
            store = store.map(|disk| if is_kill { disk.kill() } else { disk.power_cut(&mut random) });
            world = World::open(&store);
            let there = world.names();
            if there == json!(["S"]) {
                // The last step was durable, but its reply was not sent.
                same(&world.content(), &content, seed, "restored without a word");
                break;
            }
            assert_eq!(there, Value::Null, "seed {seed}");
        }
    }
}

#[test]
fn a_restore_takes_no_message_that_the_stream_would_not() {
    let (_, mut answer, data) = fill(&mut Random(1));
    answer["config"]["max_msg_size"] = json!(100);
    let mut world = World::open(&Store::default());
    world.ask("STREAM.RESTORE.S", &json!({"config": answer["config"], "state": answer["state"]}));
    let id = world.restore;
    for chunk in data.chunks(1000).chain([&b""[..]]) {
        world.engine.restore_chunk(id, b"chunk", chunk);
        world.turn(4);
    }
    let error = b"message exceeds the maximum size";
    assert!(world.got.iter().any(|(_, payload)| payload.windows(error.len()).any(|w| w == error)));
    assert_eq!(world.names(), Value::Null);
}

#[test]
fn what_restores_keep_in_memory_is_bounded() {
    let mut world = World::open(&Store::default());
    let mut ids = Vec::new();
    for n in 0..9 {
        let request =
            json!({"config": {"name": format!("S{n}"), "subjects": [format!("s{n}.>")]}, "state": {}});
        let begun = world.ask(&format!("STREAM.RESTORE.S{n}"), &request);
        assert_eq!(begun["deliver_subject"] == "", n == 8, "{begun}");
        ids.push(world.restore);
    }
    // Chunks sent without waiting for replies, too many by bytes and by number.
    for (id, len, count) in [(ids[0], 1 << 20, 33), (ids[1], 1, 1025)] {
        for _ in 0..count {
            world.engine.restore_chunk(id, b"chunk", &vec![0; len]);
        }
        world.turn(0);
        let error = b"too much was sent";
        let is_told = |(_, payload): &(String, Vec<u8>)| payload.windows(error.len()).any(|w| w == error);
        assert!(std::mem::take(&mut world.got).iter().any(is_told), "{len}");
    }
}

/// Packs entries, followed by `tail`, into a backup.
fn packed(entries: &[Entry<'_>], tail: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::default();
    archive::begin(compressor.plain());
    for entry in entries {
        entry.encode(compressor.plain());
        compressor.pack(false);
    }
    compressor.plain().extend_from_slice(tail);
    compressor.pack(true);
    compressor.take(usize::MAX)
}

/// The memory for an incomplete restore is limited, however small the backup is: its state, each consumer, and all consumers.
#[test]
fn the_states_in_a_backup_are_bounded() {
    let state =
        json!({"messages": 0, "first_seq": 1, "last_seq": 0, "consumer_count": 1_000_000}).to_string();
    let state = Entry { name: b"state.json", content: state.as_bytes(), ..Entry::default() };
    let claim = |name: &[u8], len: usize| {
        let content = vec![b' '; len];
        let mut entry = Vec::new();
        Entry { name, content: &content, ..Entry::default() }.encode(&mut entry);
        // The backup contains only the beginning of the entry: a reader that waited for the rest would hold all of it.
        entry.truncate(100);
        entry
    };
    let large = STATE_MAX as usize + 1;
    let backups =
        [packed(&[], &claim(b"state.json", large)), packed(&[state], &claim(b"consumers/c", large))];
    for data in backups {
        let mut world = World::open(&Store::default());
        world.ask("STREAM.RESTORE.S", &json!({"config": {"name": "S", "subjects": ["s.>"]}, "state": {}}));
        let id = world.restore;
        world.engine.restore_chunk(id, b"chunk", &data);
        world.turn(4);
        let error = b"the state of the stream or of a consumer is too large";
        assert!(world.got.iter().any(|(_, payload)| payload.windows(error.len()).any(|w| w == error)));
        assert_eq!(world.names(), Value::Null);
    }
}

/// Backups recorded with nats-server 2.10, 2.12 and 2.14, which have another form.
#[test]
fn backups_of_old_servers_are_read() {
    use base64::Engine as _;
    let recorded: Vec<Value> =
        serde_json::from_str(include_str!("data/old_backups.json")).expect("recorded backups");
    assert!(!recorded.is_empty());
    for backup in recorded {
        let data = backup["data"].as_str().expect("text");
        let data = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        for size in [data.len(), 700, 33] {
            let mut world = World::open(&Store::default());
            world.ask("STREAM.RESTORE.S", &json!({"config": backup["config"], "state": backup["state"]}));
            let id = world.restore;
            for chunk in data.chunks(size).chain([&b""[..]]) {
                world.engine.restore_chunk(id, b"chunk", chunk);
                world.turn(4);
            }
            world.turn(4);
            let when = backup["version"].as_str().expect("a version");
            let messages = backup["messages"].as_array().expect("messages");
            let state = world.ask("STREAM.INFO.S", &Value::Null)["state"].clone();
            for field in ["messages", "first_seq", "last_seq", "num_deleted"] {
                assert_eq!(state[field], backup["state"][field], "{when}: {field}");
            }
            let first = state["first_seq"].as_u64().expect("a sequence");
            for (sequence, expected) in (first..).zip(messages) {
                let got = world.ask("STREAM.MSG.GET.S", &json!({"seq": sequence}))["message"].clone();
                assert_eq!(&got, expected, "{when}");
            }
            let consumer = world.ask("CONSUMER.INFO.S.C", &Value::Null);
            for field in ["num_ack_pending", "num_pending", "num_redelivered"] {
                assert_eq!(consumer[field], backup["consumer"][field], "{when}: {field}");
            }
            for field in ["delivered", "ack_floor"] {
                let got = &consumer[field];
                assert_eq!(got["consumer_seq"], backup["consumer"][field]["consumer_seq"], "{when}: {field}");
                assert_eq!(got["stream_seq"], backup["consumer"][field]["stream_seq"], "{when}: {field}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_no_backup_leaves_nothing(seed in 0u64..50, flips in prop::collection::vec((any::<usize>(), 0u8..8), 1..4)) {
        let (_, answer, mut data) = fill(&mut Random(seed));
        for (at, bit) in flips {
            let at = at % data.len();
            data[at] ^= 1 << bit;
        }
        let mut world = World::open(&Store::default());
        world.ask("STREAM.RESTORE.S", &json!({"config": answer["config"], "state": answer["state"]}));
        let id = world.restore;
        for chunk in data.chunks(1000).chain([&b""[..]]) {
            world.engine.restore_chunk(id, b"chunk", chunk);
            world.turn(4);
        }
        for _ in 0..20 {
            world.turn(4);
        }
        let told = world.got.iter().any(|(_, payload)| payload.windows(5).any(|w| w == b"10062"));
        let there = world.names();
        prop_assert!(told || there == json!(["S"]), "neither an error nor a stream");
        prop_assert!(!told || there == Value::Null);
    }
}
