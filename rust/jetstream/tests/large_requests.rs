//! Large requests are decoded beside the engine, which runs other work meanwhile. They get the same replies as short ones.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on may panic")]
// Visits are counted in debug builds only.
#![cfg(debug_assertions)]

mod support;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{AccountLimits, Durability, Engine, Host, Interest, Job};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, ConsumerId, StreamId};
use stonechat_store::disk::sim::SimDisk;
use stonechat_store::visits;
use support::Store;

/// The most values and headers that a turn may look at.
const VISITS_MAX: usize = 2000;
/// A number of values far too large for one turn.
const MANY: usize = 100_000;

/// A host with interest in every subject, advisories too.
struct Everything(u64);

impl Host for Everything {
    fn is_wanted(&self, _account: &str, _subject: &[u8]) -> bool {
        true
    }

    fn unique_id(&mut self) -> String {
        self.0 += 1;
        format!("{:022}", self.0)
    }
}

/// A reply: subject, headers, payload.
type Answer = (String, String, Vec<u8>);

struct World {
    engine: Engine<SimDisk>,
    accounts: [AccountId; 2],
    group: StreamId,
    consumer: ConsumerId,
    answers: Vec<Answer>,
    most: usize,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl World {
    fn new() -> Self {
        let host = Box::new(Everything(0));
        let (mut engine, first) = Store::default().open(support::options(Durability::None), host, 1);
        engine.set_limits("other", Some(AccountLimits::default()));
        let accounts = [first, engine.account("other")];
        let mut world = Self {
            engine,
            accounts,
            group: StreamId(0),
            consumer: ConsumerId(0),
            answers: Vec::new(),
            most: 0,
        };
        let config = json!({"name": "S", "subjects": ["s.*"], "storage": "memory", "allow_direct": true});
        world.ask("STREAM.CREATE.S", config.to_string().as_bytes());
        let config = json!({"durable_name": "C", "ack_policy": "explicit"});
        let create = json!({"stream_name": "S", "config": config});
        world.ask("CONSUMER.CREATE.S.C", create.to_string().as_bytes());
        let message = Publish { subject: b"s.1", headers: b"", payload: b"x" };
        world.engine.publish(world.group, b"", &message);
        world.settle();
        world.answers.clear();
        world.most = 0;
        world
    }

    fn request(&mut self, account: usize, path: &str, headers: &[u8], payload: &[u8], reply: &str) {
        visits::take();
        self.engine.request(&Request {
            account: self.accounts[account],
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: reply.as_bytes(),
            headers,
            payload,
            client: &|| Value::Null,
        });
        self.note();
    }

    fn note(&mut self) {
        self.most = self.most.max(visits::take());
    }

    /// Runs a turn of the engine, without the jobs.
    fn turn(&mut self) {
        visits::take();
        self.engine.tick();
        self.engine.commit();
        let answers = &mut self.answers;
        self.engine
            .take_ready(|out| answers.push((text(out.to), text(out.headers()), out.payload().to_vec())));
        for change in self.engine.take_interest_changes().into_iter().filter(|change| change.begins) {
            match change.interest {
                Interest::Publish(id) => self.group = id,
                Interest::Consumer(id) => self.consumer = id,
                _ => {}
            }
        }
        self.note();
    }

    fn jobs(&mut self) -> Vec<Job<SimDisk>> {
        std::iter::from_fn(|| self.engine.next_job()).collect()
    }

    /// Runs jobs on another thread.
    fn run(&mut self, jobs: Vec<Job<SimDisk>>) {
        for job in jobs {
            let done = std::thread::spawn(|| job.run()).join().expect("a job");
            self.engine.job_done(done);
            self.note();
        }
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            self.turn();
            let jobs = self.jobs();
            self.run(jobs);
        }
    }

    fn take(&mut self, reply: &str) -> Option<Answer> {
        let at = self.answers.iter().position(|(to, ..)| to == reply)?;
        Some(self.answers.remove(at))
    }

    fn wait(&mut self, reply: &str) -> Answer {
        for _ in 0..10_000 {
            if let Some(answer) = self.take(reply) {
                return answer;
            }
            self.turn();
            let jobs = self.jobs();
            self.run(jobs);
        }
        panic!("no answer to {reply}");
    }

    /// The headers of the first reply to a direct get.
    fn direct(&mut self, payload: &[u8]) -> String {
        self.engine.direct_get(
            self.group,
            &Request {
                account: self.accounts[0],
                subject: b"$JS.API.DIRECT.GET.S",
                reply: b"got",
                headers: b"",
                payload,
                client: &|| Value::Null,
            },
        );
        self.wait("got").1
    }

    fn ask(&mut self, path: &str, payload: &[u8]) -> Value {
        self.request(0, path, b"", payload, "ask");
        serde_json::from_slice(&self.wait("ask").2).expect("JSON")
    }
}

/// A body with many values in an unknown field.
fn body(values: usize) -> Vec<u8> {
    format!("{{\"nobody\":[{}0]}}", "{},".repeat(values)).into_bytes()
}

/// A body with many values, the last of which is invalid.
fn broken(values: usize) -> Vec<u8> {
    format!("{{\"nobody\":[{}x]}}", "{},".repeat(values)).into_bytes()
}

const PATHS: [&str; 22] = [
    "INFO",
    "STREAM.CREATE.T",
    "STREAM.UPDATE.S",
    "STREAM.INFO.S",
    "STREAM.NAMES",
    "STREAM.LIST",
    "STREAM.DELETE.X",
    "STREAM.PURGE.X",
    "STREAM.MSG.GET.S",
    "STREAM.MSG.DELETE.S",
    "STREAM.SNAPSHOT.S",
    "STREAM.RESTORE.T",
    "STREAM.LEADER.STEPDOWN.S",
    "CONSUMER.NAMES.S",
    "CONSUMER.LIST.S",
    "CONSUMER.INFO.S.C",
    "CONSUMER.DELETE.S.C",
    "CONSUMER.PAUSE.S.C",
    "CONSUMER.UNPIN.S.C",
    "CONSUMER.RESET.S.X",
    "CONSUMER.CREATE.S.D",
    "CONSUMER.DURABLE.CREATE.S.D",
];

#[test]
fn large_requests_get_the_answers_of_short_ones_and_no_turn_reads_them() {
    for path in PATHS {
        for body in [body as fn(usize) -> Vec<u8>, broken] {
            let (mut short, mut long) = (World::new(), World::new());
            let mut expected = short.ask(path, &body(1));
            let mut answer = long.ask(path, &body(MANY));
            for answer in [&mut expected, &mut answer] {
                // The position of the error differs.
                let description = answer["error"]["description"].as_str().unwrap_or_default().to_owned();
                let place = description.find(" at offset").unwrap_or(description.len());
                answer["error"]["description"] = description[..place].into();
            }
            assert_eq!(answer, expected, "{path}");
            assert!(long.most < VISITS_MAX, "{path}: {} visits in a turn", long.most);
        }
    }
}

#[test]
fn requests_behind_a_large_one_wait_and_those_of_others_do_not() {
    let mut world = World::new();
    let subjects: Vec<String> = (0..10_000).map(|n| format!("t.{n}")).collect();
    let config = json!({"name": "T", "subjects": subjects, "storage": "memory"}).to_string();
    world.request(0, "STREAM.CREATE.T", b"", config.as_bytes(), "create");
    world.request(0, "STREAM.INFO.T", b"", b"", "info");
    world.request(1, "STREAM.NAMES", b"", b"", "other");
    world.turn();
    assert!(world.take("other").is_some(), "others have their answer at once");
    let jobs = world.jobs();
    assert!(jobs.iter().any(Job::is_aside));
    for _ in 0..100 {
        world.turn();
    }
    let is_answered = world.answers.iter().any(|(to, ..)| to == "create" || to == "info");
    assert!(!is_answered, "it is not read yet");
    assert!(world.engine.next_deadline().is_none_or(|deadline| deadline > 1), "the engine waits, and sleeps");
    world.run(jobs);
    let created = world.wait("create");
    assert!(text(&created.2).contains("did_create"), "{}", text(&created.2));
    assert!(text(&world.wait("info").2).contains("t.9999"), "what came behind it found the stream");
}

#[test]
fn one_request_of_each_account_is_read_at_a_time() {
    let mut world = World::new();
    for account in [0, 0, 0, 1] {
        world.request(account, "STREAM.NAMES", b"", &body(MANY), "names");
    }
    world.turn();
    let jobs = world.jobs();
    assert_eq!(jobs.iter().filter(|job| job.is_aside()).count(), 2);
    world.run(jobs);
    (0..4).for_each(|_| drop(world.wait("names")));
}

#[test]
fn large_direct_gets_pulls_and_acknowledgements_are_read_beside_the_engine() {
    let mut world = World::new();
    let filters: Vec<String> = (0..20_000).map(|n| format!("s.{n}")).collect();
    let got = world.direct(json!({"multi_last": filters}).to_string().as_bytes());
    assert!(got.contains("Nats-Sequence: 1\r\n"), "{got}");
    assert!(world.wait("got").1.contains("204 EOB"));
    assert!(world.direct(&body(MANY)).contains("408 Malformed Request"));
    let bad = json!({"multi_last": filters, "next_by_subj": "x"});
    assert!(world.direct(bad.to_string().as_bytes()).contains("408 Bad Request"));

    world.engine.pull(
        world.consumer,
        b"pulled",
        b"",
        &[b"{\"batch\":1,".as_slice(), &body(MANY)[1..]].concat(),
    );
    let (_, _, payload) = world.wait("pulled");
    assert_eq!(payload, b"x");
    world.engine.pull(world.consumer, b"pulled", b"", &broken(MANY));
    assert!(world.wait("pulled").1.contains("400 Bad Request - invalid character 'x'"));
    // The message is redelivered once the acknowledgement is decoded.
    world.engine.pull(world.consumer, b"pulled", b"", b"1");
    world.engine.ack(world.consumer, b"1.1.1.1.0", b"", &[b"-NAK ".as_slice(), &body(MANY)].concat());
    world.turn();
    assert!(world.take("pulled").is_none());
    assert_eq!(world.wait("pulled").2, b"x");
    assert!(world.most < VISITS_MAX, "{} visits in a turn", world.most);
}

#[test]
fn long_headers_are_no_way_to_a_long_turn() {
    let mut world = World::new();
    let block = format!("NATS/1.0\r\n{}\r\n", "a:b\r\n".repeat(MANY));
    world.request(0, "STREAM.NAMES", block.as_bytes(), b"", "names");
    assert!(text(&world.wait("names").2).contains("\"S\""));
    let message = Publish { subject: b"s.1", headers: block.as_bytes(), payload: b"x" };
    visits::take();
    world.engine.publish(world.group, b"stored", &message);
    // The bound is twice the number of headers that fit into 64 KiB, the most that a stream stores.
    let looked = visits::take();
    assert!(looked < 2 * 65_535 / 5, "{looked} visits for a message that is refused");
    assert!(text(&world.wait("stored").2).contains("10097"));
    assert!(world.most < VISITS_MAX, "{} visits in a turn", world.most);
}

#[test]
fn who_watches_the_api_is_told_of_large_requests_too() {
    let mut world = World::new();
    let body = body(MANY);
    world.request(0, "STREAM.NAMES", b"", &body, "names");
    let answer = text(&world.wait("names").2);
    let told: Value = serde_json::from_slice(&world.wait("$JS.EVENT.ADVISORY.API").2).expect("JSON");
    for (field, expected) in
        [("request", text(&body)), ("response", answer), ("subject", "$JS.API.STREAM.NAMES".into())]
    {
        assert!(told[field] == expected, "{field}");
    }
    assert_eq!(told["type"], "io.nats.jetstream.advisory.v1.api_audit");
}

#[test]
fn a_subject_of_megabytes_is_no_subject() {
    let long = "a.".repeat(500_000) + "b";
    let source = |source: Value| json!({"name": "T", "sources": [source]});
    for config in [
        json!({"name": "T", "subjects": [long]}),
        json!({"name": "T", "subject_transform": {"src": long, "dest": "x"}}),
        json!({"name": "T", "republish": {"src": ">", "dest": long}}),
        json!({"name": "T", "mirror": {"name": "S", "filter_subject": long}}),
        source(json!({"name": "S", "subject_transforms": [{"src": long, "dest": ""}]})),
        source(json!({"name": "S", "external": {"api": "$JS.x.API", "deliver": long}})),
    ] {
        let mut world = World::new();
        for path in ["STREAM.CREATE.T", "STREAM.UPDATE.S"] {
            let answer = world.ask(path, config.to_string().as_bytes());
            assert_eq!(answer["error"]["err_code"], 10_052, "{path} {}", answer["error"]);
        }
        let restore = json!({"config": config, "state": {"messages": 0}});
        assert_eq!(
            world.ask("STREAM.RESTORE.T", restore.to_string().as_bytes())["error"]["err_code"],
            10_052
        );
    }
    for field in ["filter_subject", "deliver_subject", "filter_subjects"] {
        let mut config = json!({"durable_name": "D", "ack_policy": "explicit"});
        config[field] = if field == "filter_subjects" { json!(["s.1", long]) } else { json!(long) };
        let create = json!({"stream_name": "S", "config": config});
        let answer = World::new().ask("CONSUMER.CREATE.S.D", create.to_string().as_bytes());
        assert_eq!(answer["error"]["err_code"], 10_052, "{field} {}", answer["error"]);
    }
}

#[test]
fn more_of_a_configuration_than_is_possible_is_refused() {
    let metadata: serde_json::Map<_, _> = (0..100_000).map(|n| (format!("key{n}"), "v".into())).collect();
    let stream = json!({"name": "T", "metadata": metadata});
    let answer = World::new().ask("STREAM.CREATE.T", stream.to_string().as_bytes());
    assert_eq!(answer["error"]["err_code"], 10_052);
    assert_eq!(answer["error"]["description"], "stream metadata exceeds maximum size of 131072 bytes");
    let create = |field: &str, value: Value| {
        let mut config = json!({"durable_name": "D", "ack_policy": "explicit", "max_deliver": -1});
        config[field] = value;
        let create = json!({"stream_name": "S", "config": config});
        World::new().ask("CONSUMER.CREATE.S.D", create.to_string().as_bytes())
    };
    assert_eq!(create("metadata", metadata.into())["error"]["err_code"], 10_135);
    assert_eq!(create("backoff", vec![1; 10_001].into())["error"]["err_code"], 10_052);
    assert_eq!(create("backoff", vec![1; 10_000].into())["error"], Value::Null);
}

#[test]
fn an_error_shows_little_of_a_long_text() {
    let mut world = World::new();
    for payload in [json!({"x".repeat(1 << 20): 1}), json!({"retention": "x".repeat(1 << 20)})] {
        let answer = world.ask("STREAM.CREATE.T", payload.to_string().as_bytes());
        assert_eq!(answer["error"]["err_code"], 10_025);
        let len = answer["error"]["description"].as_str().expect("a text").len();
        assert!((1000..100_000).contains(&len), "{len}");
    }
}
