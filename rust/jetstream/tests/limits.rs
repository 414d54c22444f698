//! Messages that accounts hold in memory count against their limits before they are stored.

#![allow(clippy::expect_used, reason = "a test that can't go on may panic")]

mod support;

use serde_json::{Value, json};
use stonechat_jetstream::StreamId;
use stonechat_jetstream::api::Request;
use stonechat_jetstream::engine::{AccountLimits, Durability, Engine};
use stonechat_jetstream::stream::Publish;
use stonechat_store::disk::sim::SimDisk;
use support::Store;

fn answers(engine: &mut Engine<SimDisk>) -> Vec<Value> {
    let mut got = Vec::new();
    engine.commit();
    while let Some(job) = engine.next_job() {
        let done = job.run();
        engine.job_done(done);
    }
    engine.take_ready(|out| {
        if out.subject == b"r" && !out.payload().is_empty() {
            got.push(serde_json::from_slice(out.payload()).expect("JSON"));
        }
    });
    got
}

#[test]
fn batches_that_are_not_committed_count_against_their_account() {
    let options = support::options(Durability::Synced);
    let (mut engine, account) = Store::default().open(options, support::World::boxed(true), 1);
    engine.set_limits("$G", Some(AccountLimits { max_storage: 1 << 20, ..AccountLimits::default() }));
    engine.request(&Request {
        account,
        subject: b"$JS.API.STREAM.CREATE.S",
        reply: b"r",
        headers: b"",
        payload: json!({"name": "S", "subjects": ["s"], "allow_atomic": true}).to_string().as_bytes(),
        client: &|| Value::Null,
    });
    assert!(answers(&mut engine)[0].get("error").is_none());
    let payload = vec![0; 100_000];
    let mut send = |batch: usize, sequence: usize, is_last: bool| {
        let commit = if is_last { "Nats-Batch-Commit: 1\r\n" } else { "" };
        let headers =
            format!("NATS/1.0\r\nNats-Batch-Id: b{batch}\r\nNats-Batch-Sequence: {sequence}\r\n{commit}\r\n");
        engine.publish(
            StreamId(1),
            b"r",
            &Publish { subject: b"s", headers: headers.as_bytes(), payload: &payload },
        );
        answers(&mut engine).first().map(|answer| answer["error"]["err_code"].clone())
    };
    // Five batches share the memory that the account may use.
    for n in 0..10 {
        assert_eq!(send(n % 5, n / 5 + 1, false), None, "{n}");
    }
    assert_eq!(send(5, 1, false), Some(json!(10002)));
    // Batches that fit are committed and make room for others.
    assert_eq!(send(0, 3, true), Some(json!(10002)));
    assert_eq!(send(1, 3, true), Some(Value::Null));
}
