//! While the disk stands still, what waits for it has a bound, and what does not need it goes on.

#![allow(clippy::expect_used, reason = "a test that can't go on may panic")]

mod support;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine, Interest};
use stonechat_jetstream::stream::Publish;
use stonechat_store::disk::sim::SimDisk;
use support::Store;

const MESSAGES: usize = 4000;
const PAYLOAD: usize = 1000;
/// What may wait, and what a consumer may add in one turn, see `CLOGGED` and `TURN`.
const BOUND: usize = (1 << 20) + (512 << 10);

struct World {
    engine: Engine<SimDisk>,
    account: u32,
    streams: Vec<u32>,
    consumers: Vec<u32>,
    /// What left: where to, how many bytes, and whether it is a message of a stream.
    out: Vec<(Vec<u8>, usize, bool)>,
}

impl World {
    fn new() -> Self {
        let options = support::options(Durability::Synced);
        let (engine, account) =
            Store::new(0).open(options, support::World::boxed(true), 1_790_000_000_000_000_000);
        let (streams, consumers, out) = (Vec::new(), Vec::new(), Vec::new());
        Self { engine, account, streams, consumers, out }
    }

    /// Goes on; `syncs`: the disk does what it is asked to.
    fn turn(&mut self, syncs: bool) {
        self.engine.tick();
        self.engine.commit();
        while syncs && let Some(job) = self.engine.next_job() {
            self.engine.job_done(job.run());
            self.engine.commit();
        }
        let out = &mut self.out;
        self.engine.take_ready(|o| out.push((o.to.to_vec(), o.content.len(), o.delivery.is_some())));
        for change in self.engine.take_interest_changes() {
            match change.interest {
                Interest::Publish => self.streams.push(change.group),
                Interest::Consumer => self.consumers.push(change.group),
                _ => {}
            }
        }
    }

    fn ask(&mut self, path: &str, payload: &Value) {
        self.engine.request(&Request {
            account: self.account,
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: b"ask",
            headers: b"",
            payload: payload.to_string().as_bytes(),
            client: &|| Value::Null,
        });
        (0..1000).for_each(|_| self.turn(true));
        assert_eq!(self.count(b"ask"), 1, "{path}");
        self.out.clear();
    }

    fn publish(&mut self, stream: u32, subject: &str) {
        let message = Publish { subject: subject.as_bytes(), headers: b"", payload: &[b'x'; PAYLOAD] };
        self.engine.publish(stream, b"", &message);
    }

    fn count(&self, to: &[u8]) -> usize {
        self.out.iter().filter(|(subject, ..)| subject == to).count()
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
    // From here on the disk stands still, with a message on its way to it.
    world.publish(world.streams[0], "F.last");
    world.turn(false);
    world.engine.pull(memory, b"memory", b"", json!({"batch": MESSAGES}).to_string().as_bytes());
    world.engine.pull(file, b"file", b"", json!({"batch": MESSAGES + 1}).to_string().as_bytes());
    for _ in 0..1000 {
        // Statuses of those that ask for nothing wait as well.
        for _ in 0..100 {
            world.engine.pull(file, b"status", b"", br#"{"batch":1,"no_wait":true}"#);
        }
        world.turn(false);
    }
    assert_eq!((world.count(b"memory"), world.count(b"file")), (MESSAGES, 0));
    world.out.clear();
    // Now it goes on: what waited leaves, then the rest.
    let job = world.engine.next_job().expect("a sync");
    world.engine.job_done(job.run());
    let out = &mut world.out;
    world.engine.take_ready(|o| out.push((o.to.to_vec(), o.content.len(), o.delivery.is_some())));
    let waited: usize = world.out.iter().map(|(_, len, _)| len).sum();
    assert!((1 << 19..BOUND).contains(&waited), "{waited}");
    for _ in 0..1000 {
        world.turn(true);
    }
    let delivered = world.out.iter().filter(|(.., is_message)| *is_message).count();
    assert_eq!(delivered, MESSAGES + 1);
}
