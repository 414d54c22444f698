//! Publishes to streams in memory, compared with the replies of nats-server 2.15 (`data/publishes.json`).

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't go on may panic")]

use serde_json::{Value, json};
use std::ops::ControlFlow;
use stonechat_jetstream::stream::{Entry, Publish, StreamCore, StreamRequest, Verdict, check};
use stonechat_store::index::Filter;
use stonechat_store::memory::MemoryStream;
use stonechat_store::messages::Messages;
use stonechat_store::spill::Shelf;

fn text(value: &Value) -> String {
    match value {
        Value::Object(o) => {
            o["repeat"].as_str().unwrap_or("").repeat(o["times"].as_u64().unwrap_or(0) as usize)
        }
        value => value.as_str().unwrap_or_default().to_owned(),
    }
}

fn block(headers: &Value) -> String {
    let headers = headers.as_object().expect("headers");
    if headers.is_empty() {
        return String::new();
    }
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {}\r\n", text(value))).collect();
    format!("NATS/1.0\r\n{lines}\r\n")
}

/// Returns the reply that a server would send.
fn publish(core: &mut StreamCore<MemoryStream>, now: i64, message: &Publish<'_>) -> Value {
    let sequence = match core.judge(now, message, false) {
        Ok(Verdict::Append { subject, headers, .. }) => core.apply(&Entry::Append {
            time: now,
            subject: &subject,
            headers: &headers,
            payload: message.payload,
        }),
        Ok(Verdict::Skip { id }) => core.apply(&Entry::Skip { time: now, id }),
        Ok(Verdict::Search { .. }) => unreachable!("so few subjects are looked at at once"),
        Ok(Verdict::Duplicate { sequence }) => {
            return json!({"stream": "S", "seq": sequence, "duplicate": true});
        }
        Err(error) => Err(error),
    };
    match sequence {
        Ok(sequence) => json!({"stream": "S", "seq": sequence}),
        Err(e) => {
            let error = json!({"code": e.code, "err_code": e.err_code, "description": e.description});
            json!({"error": error, "stream": "S", "seq": 0})
        }
    }
}

fn state(messages: &MemoryStream) -> Value {
    let state = messages.state();
    let mut value = json!({
        "messages": state.messages,
        "bytes": state.bytes,
        "first_seq": state.first_sequence,
        "last_seq": state.last_sequence,
    });
    let mut deleted = Vec::new();
    if state.messages > 0 {
        messages.some_gaps(&mut 0, &mut { usize::MAX }, &mut |gap| deleted.extend(gap));
        value["num_subjects"] = state.subjects.into();
        let mut subjects = serde_json::Map::new();
        let _ = messages.subjects(&Filter::new(b">"), None, &mut |subject, known| {
            subjects.insert(String::from_utf8_lossy(subject).into_owned(), known.count.into());
            ControlFlow::Continue(())
        });
        value["subjects"] = subjects.into();
    }
    if !deleted.is_empty() {
        value["deleted"] = deleted.into();
    }
    value
}

#[test]
fn answers_and_states_agree() {
    let scenarios: Value = serde_json::from_str(include_str!("data/publishes.json")).expect("JSON");
    let mut count = 0;
    for scenario in scenarios.as_array().expect("an array") {
        let config = scenario["config"].to_string();
        let request = StreamRequest::decode(config.as_bytes(), true).expect("a request");
        let checked = check(request.config, false, 0, &()).expect("a configuration");
        let mut core = StreamCore::new(checked.clone(), MemoryStream::new(checked.first_seq), &Shelf::none());
        for (i, publish_) in scenario["publishes"].as_array().expect("an array").iter().enumerate() {
            let (subject, headers, payload) = (text(&publish_[0]), block(&publish_[1]), text(&publish_[2]));
            let message = Publish {
                subject: subject.as_bytes(),
                headers: headers.as_bytes(),
                payload: payload.as_bytes(),
            };
            // A subject without a stream got no reply.
            if publish_[3].is_null() {
                continue;
            }
            let answer = publish(&mut core, i as i64 + 1, &message);
            assert_eq!(answer, publish_[3], "{config} publish {i}: {publish_}");
            count += 1;
        }
        assert_eq!(state(core.messages()), scenario["state"], "{config}");
    }
    assert!(count > 180, "{count}");
}
