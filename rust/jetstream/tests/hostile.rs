//! Random API requests and published messages: the engine answers or ignores them, and goes on.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't go on may panic")]

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{Durability, Engine};
use stonechat_jetstream::stream::Publish;
use stonechat_jetstream::{AccountId, BackupId, ConsumerId, StreamId};
use stonechat_store::disk::sim::SimDisk;
use support::Store;

fn engine() -> (Engine<SimDisk>, AccountId) {
    let options = support::tight_options(Durability::None);
    Store::default().open(options, support::World::boxed(true), 1)
}

fn path() -> impl Strategy<Value = String> {
    let words = [
        "STREAM", "CREATE", "UPDATE", "INFO", "NAMES", "LIST", "DELETE", "PURGE", "MSG", "GET", "DIRECT",
        "CONSUMER", "S", "T", "", "*", ">", "\u{e9}", "PEER", "REMOVE",
    ];
    let usual = [
        "STREAM.CREATE.S",
        "STREAM.UPDATE.S",
        "STREAM.INFO.S",
        "STREAM.PURGE.S",
        "STREAM.MSG.GET.S",
        "STREAM.MSG.DELETE.S",
        "STREAM.LIST",
        "STREAM.NAMES",
        "INFO",
        "STREAM.DELETE.S",
        "STREAM.SNAPSHOT.S",
        "STREAM.RESTORE.S",
        "STREAM.RESTORE.T",
    ];
    prop_oneof![
        3 => prop::sample::select(usual.to_vec()).prop_map(str::to_owned),
        1 => prop::collection::vec(prop::sample::select(words.to_vec()), 0..6).prop_map(|tokens| tokens.join(".")),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3i64..20).prop_map(Value::from),
        "[a-z.*>$ \u{0}\u{e9}]{0,8}".prop_map(Value::from),
        Just(Value::from("2020-01-01T00:00:00Z")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Value::from))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let fields = [
        "name",
        "subjects",
        "seq",
        "keep",
        "filter",
        "last_by_subj",
        "next_by_subj",
        "start_time",
        "batch",
        "max_bytes",
        "multi_last",
        "up_to_seq",
        "up_to_time",
        "no_hdr",
        "offset",
        "subject",
        "subjects_filter",
        "deleted_details",
        "max_msgs",
        "max_age",
        "max_msgs_per_subject",
        "storage",
        "retention",
        "discard",
        "first_seq",
        "republish",
        "duplicate_window",
        "allow_msg_ttl",
        "subject_delete_marker_ttl",
        "sealed",
        "metadata",
        "no_erase",
        "expires",
        "no_wait",
        "idle_heartbeat",
        "group",
        "min_pending",
        "id",
        "priority",
        "pause_until",
        "deliver_subject",
        "chunk_size",
        "window_size",
        "config",
        "state",
        "allow_msg_schedules",
        "allow_batched",
    ];
    let object = prop::collection::btree_map(prop::sample::select(fields.to_vec()), value(), 0..5);
    prop_oneof![
        4 => object.prop_map(|fields| serde_json::to_vec(&fields).expect("JSON")),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ]
}

/// A request that creates a consumer of `S`, mostly with valid values.
fn consumer() -> impl Strategy<Value = Vec<u8>> {
    let field = |name: &'static str, values: Vec<Value>| {
        prop::sample::select(values).prop_map(move |value| (name.to_owned(), value))
    };
    let sensible = prop_oneof![
        field(
            "deliver_policy",
            ["all", "last", "new", "last_per_subject", "by_start_sequence"].map(Value::from).to_vec()
        ),
        field("ack_policy", ["none", "all", "explicit", "flow_control"].map(Value::from).to_vec()),
        field("filter_subject", ["s.a", "s.>", "s.*", "x"].map(Value::from).to_vec()),
        field("filter_subjects", vec![json!(["s.a", "s.b"]), json!(["s.a"]), json!([""])]),
        field("opt_start_seq", vec![json!(1), json!(u64::MAX), json!(5)]),
        field("ack_wait", vec![json!(1), json!(i64::MAX), json!(1_000_000_000)]),
        field("backoff", vec![json!([1, i64::MAX]), json!([0])]),
        field("max_deliver", vec![json!(1), json!(i64::MAX)]),
        field("deliver_subject", vec![json!("out"), json!("s.a")]),
        field("idle_heartbeat", vec![json!(100_000_000), json!(i64::MAX)]),
        field("flow_control", vec![json!(true)]),
        field("rate_limit_bps", vec![json!(1), json!(u64::MAX)]),
        field("replay_policy", vec![json!("original")]),
        field("inactive_threshold", vec![json!(1), json!(i64::MAX)]),
        field("priority_policy", ["overflow", "pinned_client", "prioritized"].map(Value::from).to_vec()),
        field("priority_groups", vec![json!(["a"])]),
        field("priority_timeout", vec![json!(1), json!(i64::MAX)]),
        field("max_ack_pending", vec![json!(1), json!(-1)]),
        field("headers_only", vec![json!(true)]),
        field("sample_freq", vec![json!("100"), json!("99999999999999999999")]),
    ];
    let odd = ("[a-z_]{1,12}", value());
    prop::collection::vec(prop_oneof![9 => sensible.boxed(), 1 => odd.boxed()], 0..6).prop_map(|fields| {
        let config: serde_json::Map<String, Value> = fields.into_iter().collect();
        json!({"stream_name": "S", "config": config}).to_string().into_bytes()
    })
}

fn headers() -> impl Strategy<Value = Vec<u8>> {
    let names = [
        "Nats-Msg-Id",
        "Nats-Rollup",
        "Nats-TTL",
        "Nats-Expected-Last-Sequence",
        "Nats-Expected-Last-Subject-Sequence",
        "Nats-Expected-Last-Subject-Sequence-Subject",
        "Nats-Incr",
        "Nats-Schedule",
        "Nats-Schedule-Target",
        "Nats-Schedule-Source",
        "Nats-Schedule-Time-Zone",
        "Nats-Schedule-Next",
        "Nats-Scheduler",
        "A",
    ];
    let text = prop_oneof![
        3 => "[a-z0-9.*>: ]{0,8}",
        1 => prop::sample::select(vec![
            "@every 1s", "@at 1970-01-01T00:00:09Z", "@at 9999-12-31T23:59:59Z", "* * * * * *", "s.a", "s.b", "purge", "sub",
            "0 0 0 31 2 *", "@every 2562047h", "Europe/Paris",
        ]).prop_map(str::to_owned),
    ];
    let line = (prop::sample::select(names.to_vec()), text).prop_map(|(n, v)| format!("{n}: {v}\r\n"));
    prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::collection::vec(line, 0..4).prop_map(|l| format!("NATS/1.0\r\n{}\r\n", l.concat()).into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 1..40),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_consumer_brings_it_down(
        steps in prop::collection::vec((consumer(), body(), headers(), 0..9u8, "[a-c]", -2i64..4_000_000_000), 1..60),
    ) {
        let (mut engine, account) = engine();
        let request = |subject: &str, payload: &[u8], engine: &mut Engine<SimDisk>| {
            engine.request(&Request {
                account, subject: subject.as_bytes(), reply: b"r", headers: b"", payload, client: &|| Value::Null,
            });
        };
        request("$JS.API.STREAM.CREATE.S", br#"{"name":"S","subjects":["s.>"],"allow_atomic":true}"#, &mut engine);
        request("$JS.API.STREAM.CREATE.M", br#"{"name":"M","sources":[{"name":"S"}]}"#, &mut engine);
        let mut now = 1_000_000_000;
        for (consumer, body, headers, what, name, pause) in &steps {
            now += pause;
            engine.set_time(now);
            let ids: Vec<ConsumerId> = (0..12).map(ConsumerId).collect();
            match what {
                0 | 1 => request(&format!("$JS.API.CONSUMER.CREATE.S.{name}"), consumer, &mut engine),
                2 => engine.publish(StreamId(1), b"r", &Publish { subject: format!("s.{name}").as_bytes(), headers, payload: body }),
                3 | 4 => ids.iter().for_each(|id| engine.pull(*id, b"inbox", headers, body)),
                5 => {
                    let verbs = [&b"+ACK"[..], b"-NAK", b"-NAK 1h", b"+TERM", b"+WPI", b"+NXT", body];
                    for (i, id) in ids.iter().enumerate() {
                        engine.ack(*id, b"1.1.1.1.1", b"r", verbs[i % verbs.len()]);
                        engine.ack(*id, b"1.2.2.1.1", b"r", verbs[(i + 1) % verbs.len()]);
                        engine.not_delivered(*id, 1);
                    }
                }
                6 => request(&format!("$JS.API.CONSUMER.PAUSE.S.{name}"), body, &mut engine),
                7 => request(&format!("$JS.API.CONSUMER.RESET.S.{name}"), body, &mut engine),
                _ => request("$JS.API.STREAM.PURGE.S", body, &mut engine),
            }
            engine.tick();
            engine.commit();
            if let Some(job) = engine.next_job() {
                let done = job.run();
                engine.job_done(done);
            }
            engine.take_ready(|_| {});
        }
        let mut answers = 0;
        request("$JS.API.INFO", b"", &mut engine);
        while let Some(job) = engine.next_job() {
            let done = job.run();
            engine.job_done(done);
        }
        engine.commit();
        while let Some(job) = engine.next_job() {
            let done = job.run();
            engine.job_done(done);
        }
        engine.take_ready(|_| answers += 1);
        prop_assert!(answers > 0);
    }

    #[test]
    fn nothing_brings_it_down(
        steps in prop::collection::vec((path(), body(), headers(), 0..7u8, "[a-c.*>]{1,5}"), 1..60),
    ) {
        let (mut engine, account) = engine();
        let config = json!({"name": "S", "subjects": ["s.>"], "allow_rollup_hdrs": true, "allow_msg_ttl": true, "allow_direct": true, "allow_msg_schedules": true, "allow_batched": true});
        let request = |subject: &str, payload: &[u8], headers: &[u8], engine: &mut Engine<SimDisk>| {
            engine.request(&Request {
                account, subject: subject.as_bytes(), reply: b"r", headers, payload, client: &|| Value::Null,
            });
        };
        request("$JS.API.STREAM.CREATE.S", config.to_string().as_bytes(), b"", &mut engine);
        for (i, (path, body, headers, what, subject)) in steps.iter().enumerate() {
            engine.set_time(i as i64 * 700_000_000);
            match what {
                0 => engine.publish(StreamId(1), b"r", &Publish { subject: format!("s.{subject}").as_bytes(), headers, payload: body }),
                1 => engine.direct_get(StreamId(1), &Request {
                    account, subject: format!("$JS.API.DIRECT.GET.S.{subject}").as_bytes(), reply: b"r", headers, payload: b"",
                    client: &|| Value::Null,
                }),
                2 => engine.direct_get(StreamId(1), &Request {
                    account, subject: b"$JS.API.DIRECT.GET.S", reply: b"r", headers, payload: body, client: &|| Value::Null,
                }),
                3 => {
                    let reply = format!("in.b.{}.{}.{}.{}.$FI", i % 3, ["ok", "fail"][i % 2], i % 7, body.len() % 5);
                    engine.publish(StreamId(1), reply.as_bytes(), &Publish { subject: format!("s.{subject}").as_bytes(), headers, payload: body });
                }
                4 => {
                    engine.restore_chunk(BackupId(i as u32 % 4), b"r", body);
                    engine.snapshot_acked(BackupId(i as u32 % 4));
                }
                _ => request(&format!("$JS.API.{path}"), body, headers, &mut engine),
            }
            engine.tick();
            engine.commit();
            if let Some(job) = engine.next_job() {
                let done = job.run();
                engine.job_done(done);
            }
            engine.take_ready(|_| {});
        }
        // The engine still answers.
        let mut answers = 0;
        request("$JS.API.INFO", b"", b"", &mut engine);
        engine.commit();
        engine.take_ready(|_| answers += 1);
        prop_assert!(answers > 0);
    }
}
