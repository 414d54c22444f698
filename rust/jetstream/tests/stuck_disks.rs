//! Disks that stand still, are full, or have failed. Waiting messages are bounded, no request waits for ever, and work without
//! the disk goes on.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on may panic")]

mod support;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Departing, Durability, Engine, Interest};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, ConsumerId, StreamId};
use stonechat_store::disk::sim::SimDisk;
use support::Store;

const MESSAGES: usize = 4000;
const PAYLOAD: usize = 1000;
/// The bytes that may wait, and those that a consumer may add in one turn: see `CLOGGED` and `TURN`.
const BOUND: usize = (1 << 20) + (512 << 10);

struct World {
    store: Store,
    engine: Engine<SimDisk>,
    account: AccountId,
    streams: Vec<StreamId>,
    consumers: Vec<ConsumerId>,
    out: Vec<Left>,
}

struct Left {
    to: Vec<u8>,
    text: String,
    len: usize,
    is_message: bool,
}

fn left(out: Departing<'_>) -> Left {
    Left {
        to: out.to.to_vec(),
        text: String::from_utf8_lossy(out.content).into_owned(),
        len: out.content.len(),
        is_message: out.delivery.is_some(),
    }
}

impl World {
    fn new() -> Self {
        let options = support::options(Durability::Synced);
        let store = Store::new(0);
        let (engine, account) = store.open(options, support::World::boxed(true), 1_790_000_000_000_000_000);
        let (streams, consumers, out) = (Vec::new(), Vec::new(), Vec::new());
        Self { store, engine, account, streams, consumers, out }
    }

    /// Runs a turn; `syncs`: the disk completes its jobs.
    fn turn(&mut self, syncs: bool) {
        self.engine.tick();
        self.engine.commit();
        while syncs && let Some(job) = self.engine.next_job() {
            self.engine.job_done(job.run());
            self.engine.commit();
        }
        let out = &mut self.out;
        self.engine.take_ready(|o| out.push(left(o)));
        for change in self.engine.take_interest_changes() {
            match change.interest {
                Interest::Publish(id) => self.streams.push(id),
                Interest::Consumer(id) => self.consumers.push(id),
                _ => {}
            }
        }
    }

    fn ask(&mut self, path: &str, payload: &Value) -> String {
        self.engine.request(&Request {
            account: self.account,
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: b"ask",
            headers: b"",
            payload: if payload.is_null() { String::new() } else { payload.to_string() }.as_bytes(),
            client: &|| Value::Null,
        });
        self.answer(b"ask", path)
    }

    /// Returns the last reply to this subject, after a limited number of turns.
    fn answer(&mut self, to: &[u8], of: &str) -> String {
        (0..1000).for_each(|_| self.turn(true));
        let out = std::mem::take(&mut self.out);
        let answer = out.into_iter().rfind(|left| left.to == to);
        answer.unwrap_or_else(|| panic!("{of}: no answer")).text
    }

    fn publish(&mut self, stream: StreamId, subject: &str) {
        let message = Publish { subject: subject.as_bytes(), headers: b"", payload: &[b'x'; PAYLOAD] };
        self.engine.publish(stream, b"", &message);
    }

    fn count(&self, to: &[u8]) -> usize {
        self.out.iter().filter(|left| left.to == to).count()
    }
}

#[test]
fn what_waits_for_the_disk_has_a_bound() {
    let mut world = World::new();
    for (name, storage) in [("F", "file"), ("M", "memory")] {
        let config = json!({"name": name, "subjects": [format!("{name}.>")], "storage": storage});
        world.ask(&format!("STREAM.CREATE.{name}"), &config);
        for n in 0..MESSAGES {
            let stream = *world.streams.last().expect("a stream");
            world.publish(stream, &format!("{name}.{n}"));
            if n % 16 == 0 {
                world.turn(true);
            }
        }
        world.turn(true);
        let config = json!({"durable_name": "P", "ack_policy": "none"});
        let body = json!({"stream_name": name, "config": config});
        world.ask(&format!("CONSUMER.CREATE.{name}.P"), &body);
    }
    let [file, memory] = world.consumers[..] else { unreachable!("two consumers") };
    // From here on the disk stands still, with a message being written.
    world.publish(world.streams[0], "F.last");
    world.turn(false);
    world.engine.pull(memory, b"memory", b"", json!({"batch": MESSAGES}).to_string().as_bytes());
    world.engine.pull(file, b"file", b"", json!({"batch": MESSAGES + 1}).to_string().as_bytes());
    for _ in 0..1000 {
        // The statuses of requests without messages wait as well.
        for _ in 0..100 {
            world.engine.pull(file, b"status", b"", br#"{"batch":1,"no_wait":true}"#);
        }
        world.turn(false);
    }
    assert_eq!((world.count(b"memory"), world.count(b"file")), (MESSAGES, 0));
    world.out.clear();
    // The disk goes on: the waiting messages leave, then the others.
    let job = world.engine.next_job().expect("a sync");
    world.engine.job_done(job.run());
    let out = &mut world.out;
    world.engine.take_ready(|o| out.push(left(o)));
    let waited: usize = world.out.iter().map(|left| left.len).sum();
    assert!((1 << 19..BOUND).contains(&waited), "{waited}");
    for _ in 0..1000 {
        world.turn(true);
    }
    let delivered = world.out.iter().filter(|left| left.is_message).count();
    assert_eq!(delivered, MESSAGES + 1);
}

/// API requests, and whether each changes something.
fn requests() -> Vec<(&'static str, Value, bool)> {
    let stream = |name: &str, max: u64| json!({"name": name, "subjects": [format!("{name}.>")], "max_msgs": max, "allow_direct": true, "allow_batched": true});
    let consumer =
        |name: &str| json!({"stream_name": "S", "config": {"durable_name": name, "ack_policy": "explicit"}});
    vec![
        ("STREAM.INFO.S", Value::Null, false),
        ("STREAM.LIST", Value::Null, false),
        ("STREAM.NAMES", Value::Null, false),
        ("STREAM.MSG.GET.S", json!({"seq": 2}), false),
        ("CONSUMER.INFO.S.C", Value::Null, false),
        ("CONSUMER.LIST.S", Value::Null, false),
        ("INFO", Value::Null, false),
        ("STREAM.CREATE.N", stream("N", 10), true),
        ("STREAM.UPDATE.S", stream("S", 100_000), true),
        ("STREAM.PURGE.S", json!({"filter": "S.1"}), true),
        ("STREAM.MSG.DELETE.S", json!({"seq": 3}), true),
        ("CONSUMER.CREATE.S.N", consumer("N"), true),
        ("CONSUMER.PAUSE.S.C", json!({"pause_until": "2100-01-01T00:00:00Z"}), true),
        ("CONSUMER.DELETE.S.C", Value::Null, true),
        ("STREAM.DELETE.S", Value::Null, true),
    ]
}

/// A stream `S` with messages, and a consumer `C` with one of them pending. Returns the acknowledgement subject too.
fn world_with_stream() -> (World, Vec<u8>) {
    let mut world = World::new();
    for (path, payload, _) in
        requests().into_iter().filter(|(path, ..)| path.ends_with(".S") || path.ends_with(".S.N"))
    {
        let begin = |verb: &str| path.starts_with(verb);
        if begin("STREAM.UPDATE") {
            world.ask("STREAM.CREATE.S", &payload);
        } else if begin("CONSUMER.CREATE") {
            let mut payload = payload;
            payload["config"]["durable_name"] = "C".into();
            world.ask("CONSUMER.CREATE.S.C", &payload);
        }
    }
    for n in 1..=20 {
        world.publish(world.streams[0], &format!("S.{n}"));
        world.turn(true);
    }
    let first = Publish { subject: b"S.20", headers: b"", payload: b"x" };
    world.engine.publish(world.streams[0], b"inbox.begun.10.ok.1.0.$FI", &first);
    world.turn(true);
    let mut replies = Vec::new();
    world.engine.pull(world.consumers[0], b"pull", b"", b"1");
    world.engine.tick();
    world.engine.commit();
    world.engine.take_ready(|o| replies.push(o.reply.to_vec()));
    (world, replies.pop().expect("a message"))
}

/// Checks that all requests get a reply: an error with `code` if they change something. `may_change`: some changes may be carried
/// out.
fn check_answers(mut world: World, ack: &[u8], code: &str, may_change: bool) {
    let (stream, consumer, account) = (world.streams[0], world.consumers[0], world.account);
    let gets = [
        (r#"{"seq":2}"#, "Nats-Sequence: 2"),
        (r#"{"multi_last":["S.y"]}"#, "404 "),
        (r#"{"last_by_subj":"S.x"}"#, "404 "),
    ];
    for (payload, expected) in gets {
        let subject = b"$JS.API.DIRECT.GET.S";
        let (headers, client) = (b"", || Value::Null);
        let payload = payload.as_bytes();
        let request = Request { account, subject, reply: b"get", headers, payload, client: &client };
        world.engine.direct_get(stream, &request);
        (0..100).for_each(|_| world.turn(true));
        let answers: String = std::mem::take(&mut world.out).into_iter().map(|left| left.text).collect();
        assert!(answers.contains(expected), "{expected}: {answers}");
    }
    let steps = ["inbox.begun.10.ok.2.1.$FI", "inbox.id.1.fail.1.0.$FI", "inbox.other.10.fail.1.2.$FI"];
    for reply in steps.into_iter().chain(["pub"]) {
        let message = Publish { subject: b"S.1", headers: b"", payload: b"x" };
        world.engine.publish(stream, reply.as_bytes(), &message);
        let answer = world.answer(reply.as_bytes(), reply);
        assert!(answer.contains(code), "{reply}: {answer}");
    }
    let numbers = ack.splitn(5, |byte| *byte == b'.').last().expect("numbers");
    world.engine.ack(consumer, numbers, b"acked", b"+ACK");
    let answer = world.answer(b"acked", "+ACK");
    assert!(answer.contains("503") || (may_change && answer.is_empty()), "{answer}");
    for (path, payload, is_change) in requests() {
        let answer = world.ask(path, &payload);
        let is_refused = answer.contains(code);
        assert!(is_refused == is_change || (may_change && is_change), "{path}: {answer}");
        assert_eq!(is_refused, answer.contains("\"error\""), "{path}: {answer}");
    }
}

#[test]
fn a_failed_log_keeps_nobody_waiting() {
    let (mut world, ack) = world_with_stream();
    world.store.disks().iter().for_each(|disk| disk.faults(|f| f.sync_fails = true));
    world.publish(world.streams[0], "S.last");
    (0..10).for_each(|_| world.turn(true));
    world.out.clear();
    check_answers(world, &ack, "10077", false);
}

#[test]
fn a_full_disk_keeps_nobody_waiting() {
    let (mut world, ack) = world_with_stream();
    world.store.disks().iter().for_each(|disk| disk.faults(|f| f.full = true));
    for n in 0..1000 {
        world.publish(world.streams[0], &format!("S.{n}"));
        world.turn(true);
    }
    world.out.clear();
    check_answers(world, &ack, "10047", true);
}
