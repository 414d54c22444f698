//! No account keeps others waiting: a turn of the engine does only a little of a large request, and every account has its turn.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that can't go on may panic")]
// Release builds take longer steps.
#![cfg(debug_assertions)]

mod support;

use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{AccountLimits, Detail, Durability, Engine, Surveyed};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, StreamId};
use stonechat_store::disk::sim::SimDisk;
use support::Store;

/// A reply: subject, headers, payload.
type Answer = (String, String, Vec<u8>);

struct World {
    engine: Engine<SimDisk>,
    accounts: [AccountId; 2],
    groups: Vec<StreamId>,
    answers: Vec<Answer>,
}

impl World {
    fn new() -> Self {
        let (mut engine, first) =
            Store::default().open(support::options(Durability::None), support::World::boxed(false), 1);
        engine.set_limits("other", Some(AccountLimits::default()));
        let other = engine.account("other");
        Self { engine, accounts: [first, other], groups: Vec::new(), answers: Vec::new() }
    }

    fn send(&mut self, account: usize, path: &str, payload: &Value, reply: &str) {
        let payload = if payload.is_null() { String::new() } else { payload.to_string() };
        self.engine.request(&Request {
            account: self.accounts[account],
            subject: format!("$JS.API.{path}").as_bytes(),
            reply: reply.as_bytes(),
            headers: b"",
            payload: payload.as_bytes(),
            client: &|| Value::Null,
        });
    }

    fn turn(&mut self) {
        self.engine.tick();
        self.engine.commit();
        for change in self.engine.take_interest_changes() {
            if let Some(id) = change.stream().filter(|id| change.begins && !self.groups.contains(id)) {
                self.groups.push(id);
            }
        }
        let answers = &mut self.answers;
        self.engine.take_ready(|out| {
            let (head, payload) = out.content.split_at(out.headers_len);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            answers.push((text(out.to), text(head), payload.to_vec()));
        });
        while let Some(job) = self.engine.next_job() {
            let done = job.run();
            self.engine.job_done(done);
        }
    }

    /// Returns the number of turns until a reply to `reply` leaves, and the reply.
    fn wait(&mut self, reply: &str) -> (usize, Value) {
        for turns in 1..100_000 {
            self.turn();
            if let Some(at) = self.answers.iter().position(|(to, ..)| to == reply) {
                let (_, _, payload) = self.answers.swap_remove(at);
                return (turns, serde_json::from_slice(&payload).expect("JSON"));
            }
        }
        panic!("no answer to {reply}");
    }

    fn ask(&mut self, account: usize, path: &str, payload: &Value) -> Value {
        self.send(account, path, payload, "ask");
        let (_, answer) = self.wait("ask");
        assert!(answer["error"].is_null(), "{answer}");
        answer
    }

    fn publish(&mut self, subject: &str) {
        let message = Publish { subject: subject.as_bytes(), headers: b"", payload: b"x" };
        self.engine.publish(self.groups[0], b"", &message);
    }

    /// Returns the reply to a direct get of several messages: the sequences, and the headers of its last message.
    fn direct(&mut self, payload: &Value) -> (Vec<u64>, String) {
        let payload = payload.to_string();
        self.answers.clear();
        let (account, group) = (self.accounts[0], self.groups[0]);
        self.engine.direct_get(
            group,
            &Request {
                account,
                subject: b"$JS.API.DIRECT.GET.S",
                reply: b"direct",
                headers: b"",
                payload: payload.as_bytes(),
                client: &|| Value::Null,
            },
        );
        let mut sequences = Vec::new();
        for _ in 0..100_000 {
            self.turn();
            for (_, head, _) in self.answers.drain(..).filter(|(to, ..)| to == "direct") {
                let value = |name: &str| {
                    head.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned())
                };
                match value("Nats-Sequence:") {
                    Some(sequence) => sequences.push(sequence.parse().expect("a number")),
                    None => return (sequences, head),
                }
            }
        }
        panic!("no end");
    }
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("orders.region.{i}")).collect()
}

#[test]
fn a_stream_of_very_many_subjects_is_made_in_steps() {
    let mut world = World::new();
    world.ask(0, "STREAM.CREATE.A", &json!({"name": "A", "subjects": ["a.>"]}));
    let mut subjects = many(5000);
    world.send(0, "STREAM.CREATE.M", &json!({"name": "M", "subjects": subjects}), "many");
    // Later requests of the same account wait; those of others are answered at once.
    world.send(0, "STREAM.INFO.M", &Value::Null, "info");
    world.send(1, "STREAM.NAMES", &Value::Null, "other");
    assert!(world.wait("other").0 <= 2);
    let (turns, answer) = world.wait("many");
    assert!(answer["error"].is_null() && turns > 10, "{turns}");
    assert_eq!(world.wait("info").1["config"]["subjects"].as_array().map(Vec::len), Some(5000));
    // Overlapping subjects are found, in the same configuration and in other streams.
    subjects.push("orders.*.77".to_owned());
    for (name, list) in [("M2", vec!["orders.region.4999".to_owned()]), ("M3", subjects)] {
        world.send(0, &format!("STREAM.CREATE.{name}"), &json!({"name": name, "subjects": list}), "bad");
        let code = world.wait("bad").1["error"]["err_code"].as_u64();
        assert!(matches!(code, Some(10065 | 10052)), "{code:?}");
    }
    // An update removes the subjects that it does not list.
    world.ask(0, "STREAM.UPDATE.M", &json!({"name": "M", "subjects": many(4000)}));
    world.ask(0, "STREAM.CREATE.M2", &json!({"name": "M2", "subjects": ["orders.region.4999"]}));
    world.ask(0, "STREAM.DELETE.M", &Value::Null);
    world.ask(0, "STREAM.CREATE.M4", &json!({"name": "M4", "subjects": ["orders.region.17"]}));
}

#[test]
fn a_consumer_of_very_many_filters_is_made_in_steps() {
    let mut world = World::new();
    world.ask(0, "STREAM.CREATE.S", &json!({"name": "S", "subjects": ["orders.>"]}));
    for i in 0..50 {
        world.publish(&format!("orders.region.{}", i * 200));
    }
    let mut filters = many(5000);
    let request = |filters: &[String], name: &str| {
        json!({"stream_name": "S", "config":
            {"name": name, "durable_name": name, "ack_policy": "explicit", "filter_subjects": filters}})
    };
    world.send(0, "CONSUMER.CREATE.S.C", &request(&filters, "C"), "many");
    world.send(1, "STREAM.NAMES", &Value::Null, "other");
    assert!(world.wait("other").0 <= 2);
    let (turns, answer) = world.wait("many");
    assert!(answer["error"].is_null() && turns > 5, "{turns} {answer}");
    assert_eq!(answer["num_pending"], 25);
    filters.insert(7, "orders.region.*".to_owned());
    world.send(0, "CONSUMER.CREATE.S.D", &request(&filters, "D"), "bad");
    assert_eq!(world.wait("bad").1["error"]["err_code"], 10138);
}

#[test]
fn a_flood_of_requests_keeps_only_its_own_account_waiting() {
    let mut world = World::new();
    for i in 0..300 {
        let config = json!({"name": format!("S{i}"), "subjects": [format!("s{i}.>")]});
        world.ask(0, &format!("STREAM.CREATE.S{i}"), &config);
    }
    for _ in 0..9000 {
        world.send(0, "STREAM.LIST", &Value::Null, "flood");
    }
    world.turn();
    let before = world.answers.iter().filter(|(to, ..)| to == "flood").count();
    assert!(before < 5, "{before} in one turn");
    for round in 0..5 {
        let reply = format!("other{round}");
        world.send(1, "STREAM.NAMES", &Value::Null, &reply);
        let (turns, _) = world.wait(&reply);
        assert!(turns <= 3, "{turns}");
    }
}

#[test]
fn several_messages_are_found_in_steps() {
    for storage in ["memory", "file"] {
        find_several(storage);
    }
}

fn find_several(storage: &str) {
    let mut world = World::new();
    let config = json!({"name": "S", "subjects": ["s.>"], "allow_direct": true, "storage": storage});
    world.ask(0, "STREAM.CREATE.S", &config);
    for i in 0..3000 {
        world.publish(&format!("s.{}", i % 3));
        if i == 3 {
            let (sequences, end) = world.direct(&json!({"multi_last": ["s.>"], "up_to_seq": 3}));
            assert_eq!(sequences, [1, 2, 3], "{end}");
            assert_eq!(world.direct(&json!({"multi_last": ["s.>"], "up_to_seq": 2})).0, [1, 2]);
        }
    }
    // One that comes before all others, and one that comes late.
    world.publish("s.late");
    let (sequences, end) = world.direct(&json!({"multi_last": ["s.>"], "up_to_seq": 1500}));
    assert_eq!(sequences, [1498, 1499, 1500]);
    assert!(end.contains("204 EOB") && end.contains("Nats-UpTo-Sequence: 1500"), "{end}");
    let (sequences, _) = world.direct(&json!({"multi_last": ["s.1", "s.late", "s.none"]}));
    assert_eq!(sequences, [2999, 3001]);
    let filters: Vec<String> = (0..3000).map(|i| format!("s.x{i}")).collect();
    assert!(world.direct(&json!({"multi_last": filters})).1.contains("404 No Results"));
    let (sequences, end) = world.direct(&json!({"next_by_subj": "s.2", "seq": 1000, "batch": 3}));
    assert_eq!(sequences, [1002, 1005, 1008]);
    assert!(end.contains("Nats-Num-Pending: 664") && end.contains("Nats-Last-Sequence: 1008"), "{end}");
    assert!(world.direct(&json!({"next_by_subj": "t", "seq": 1, "batch": 3})).1.contains("404"));
}

#[test]
fn what_waits_for_a_consumer_is_counted_in_steps_while_messages_come_and_go() {
    for filters in [json!(["s.1"]), json!(["s.1", "t.*", "*.none"]), json!(["s.1", "s.7"]), json!(["*.1"])] {
        for start in [1, 700] {
            count_waiting(&filters, start);
        }
    }
}

fn count_waiting(filters: &Value, start: u64) {
    let mut world = World::new();
    world.ask(0, "STREAM.CREATE.S", &json!({"name": "S", "subjects": ["s.*"]}));
    // There are many subjects, so that both ways of counting take several steps.
    for i in 0..1500 {
        let subject = if i % 3 == 1 { "s.1".to_owned() } else { format!("s.x{i}") };
        world.publish(&subject);
    }
    let policy = if start > 1 { "by_start_sequence" } else { "all" };
    let mut config = json!({"name": "C", "durable_name": "C", "ack_policy": "explicit",
        "deliver_policy": policy, "filter_subjects": filters});
    if start > 1 {
        config["opt_start_seq"] = start.into();
    }
    let request = json!({"stream_name": "S", "config": config});
    world.send(0, "CONSUMER.CREATE.S.C", &request, "created");
    let mut left = (1..=1500_u64).filter(|i| i % 3 == 2 && *i >= start).count() as u64;
    for sequence in [2_u64, 701, 1499, 704, 5] {
        world.turn();
        world.send(0, "STREAM.MSG.DELETE.S", &json!({"seq": sequence}), "deleted");
        left -= u64::from(sequence >= start);
        world.publish("s.1");
        world.publish("s.other");
        left += 1;
    }
    let answer = match world.answers.iter().position(|(to, ..)| to == "created") {
        Some(_) => world.ask(0, "CONSUMER.INFO.S.C", &Value::Null),
        None => world.wait("created").1,
    };
    for _ in 0..100 {
        world.turn();
    }
    let settled = world.ask(0, "CONSUMER.INFO.S.C", &Value::Null);
    assert_eq!(settled["num_pending"], left, "{filters} {start}");
    assert!(answer["error"].is_null());
}

#[test]
fn a_list_of_large_configurations_ends_where_a_page_is_full() {
    let mut world = World::new();
    let pad = "x".repeat(100_000);
    for i in 0..30 {
        let subjects = json!([format!("a.{i}"), format!("b.{i}")]);
        let config = json!({"name": format!("S{i:02}"), "subjects": subjects, "metadata": {"pad": pad}});
        world.ask(0, &format!("STREAM.CREATE.S{i:02}"), &config);
        let config = json!({"durable_name": format!("C{i:02}"), "metadata": {"pad": pad}});
        let request = json!({"stream_name": "S00", "config": config});
        world.ask(0, &format!("CONSUMER.DURABLE.CREATE.S00.C{i:02}"), &request);
    }
    for (path, list) in [("STREAM.LIST", "streams"), ("CONSUMER.LIST.S00", "consumers")] {
        let (mut names, mut pages) = (Vec::new(), 0);
        while names.len() < 30 {
            world.send(0, path, &json!({"offset": names.len()}), "page");
            world.send(1, "STREAM.NAMES", &Value::Null, "other");
            assert!(world.wait("other").0 <= 4);
            let page = world.wait("page").1;
            assert_eq!((&page["total"], &page["offset"]), (&json!(30), &json!(names.len())));
            let told = page[list].as_array().expect("a list");
            assert!(!told.is_empty() && page.to_string().len() < 1_500_000);
            // Some clients add `limit` to the offset, others the length of the list.
            assert!(page["limit"] == told.len() || names.len() + told.len() == 30);
            let name =
                |item: &Value| item["config"]["name"].as_str().or(item["name"].as_str()).map(str::to_owned);
            names.extend(told.iter().filter_map(name));
            pages += 1;
        }
        assert!(names.is_sorted() && pages == 3, "{pages}");
    }
    world.send(0, "STREAM.NAMES", &json!({"subject": "*.1*"}), "none");
    assert_eq!(world.wait("none").1["streams"], Value::Null);
    let found = world.ask(0, "STREAM.NAMES", &json!({"subject": "*.17", "offset": 0}));
    assert_eq!(found["streams"], json!(["S17"]));
    let found = world.ask(0, "STREAM.LIST", &json!({"subject": "b.*", "offset": 28}));
    assert_eq!((&found["total"], &found["streams"][1]["config"]["name"]), (&json!(30), &json!("S29")));
}

#[test]
fn figures_are_collected_in_steps() {
    let mut world = World::new();
    for i in 0..20 {
        let name = format!("S{i:02}");
        world.ask(0, &format!("STREAM.CREATE.{name}"), &json!({"name": name}));
        for c in 0..i {
            let request = json!({"stream_name": name, "config": {"durable_name": format!("C{c}")}});
            world.ask(0, &format!("CONSUMER.DURABLE.CREATE.{name}.C{c}"), &request);
        }
    }
    let detail = Detail {
        accounts: true,
        streams: true,
        consumers: true,
        config: true,
        limit: 10,
        ..Detail::default()
    };
    let (mut survey, mut steps) = (world.engine.survey(detail), 1);
    let figures = loop {
        match survey.step(&mut world.engine) {
            Surveyed::Figures(figures) => break figures,
            Surveyed::More(more) => survey = more,
        }
        if steps == 1 {
            // A stream deleted meanwhile is left out.
            world.ask(0, "STREAM.DELETE.S19", &Value::Null);
        }
        steps += 1;
    };
    assert!(steps > 3, "{steps}");
    let accounts: Vec<Value> = serde_json::from_str(&figures.accounts.into_json()).expect("accounts");
    let names: Vec<&Value> = accounts.iter().map(|account| &account["name"]).collect();
    assert_eq!(names, ["$G", "other"]);
    let streams = accounts[0]["stream_detail"].as_array().expect("streams");
    assert_eq!(streams.len(), 19);
    for (i, stream) in streams.iter().enumerate() {
        assert_eq!(stream["name"], format!("S{i:02}"));
        let consumers = stream["consumer_detail"].as_array().map_or(0, Vec::len);
        assert_eq!(consumers, i);
        assert!(i == 0 || stream["consumer_detail"][0]["config"]["durable_name"] == "C0");
    }
    assert!(accounts[1]["stream_detail"].is_null());
}

#[test]
fn a_stream_of_many_consumers_is_deleted_in_steps() {
    for retention in ["limits", "interest"] {
        let mut world = World::new();
        world.ask(0, "STREAM.CREATE.S", &json!({"name": "S", "retention": retention}));
        for i in 0..200 {
            let config =
                json!({"durable_name": format!("C{i}"), "filter_subject": "S", "ack_policy": "explicit"});
            let path = format!("CONSUMER.DURABLE.CREATE.S.C{i}");
            world.ask(0, &path, &json!({"stream_name": "S", "config": config}));
        }
        world.send(0, "STREAM.DELETE.S", &Value::Null, "deleted");
        // Later requests of the same account wait for the end; those of others are answered meanwhile.
        world.send(0, "STREAM.INFO.S", &Value::Null, "info");
        world.send(1, "STREAM.NAMES", &Value::Null, "other");
        assert!(world.wait("other").0 <= 4);
        let (turns, answer) = world.wait("deleted");
        assert!(turns > 5 && answer["success"] == true, "{turns} {answer}");
        assert_eq!(world.wait("info").1["error"]["err_code"], 10059);
        assert_eq!(world.ask(0, "INFO", &Value::Null)["consumers"], 0);
        world.ask(0, "STREAM.CREATE.S", &json!({"name": "S"}));
        assert_eq!(world.ask(0, "CONSUMER.NAMES.S", &Value::Null)["total"], 0);
    }
}
