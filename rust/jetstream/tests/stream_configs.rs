//! Requests to create a stream against the answers of nats-server 2.15.1, recorded in `data/stream_configs.json`.

use serde_json::{Value, json};
use stonechat_jetstream::error::{self, ApiError};
use stonechat_jetstream::stream::{StreamConfig, StreamRequest, check, update};

/// Creates a stream as the API does, as far as the configuration is concerned.
fn create(stream: &str, payload: &[u8]) -> Result<StreamConfig, ApiError> {
    read(stream, payload, true)
}

/// Decodes and checks a configuration, for a new or an existing stream.
fn read(stream: &str, payload: &[u8], new: bool) -> Result<StreamConfig, ApiError> {
    let request = StreamRequest::decode(payload, true).map_err(|e| error::INVALID_JSON.with("err", e))?;
    if request.config.name != stream {
        return Err(error::STREAM_MISMATCH.error());
    }
    if request.config.name.contains(['/', '\\']) {
        return Err(error::STREAM_NAME_CONTAINS_PATH_SEPARATORS.error());
    }
    if request.config.sealed && new {
        return Err(
            error::STREAM_INVALID_CONFIG.with("err", "stream configuration for create can not be sealed")
        );
    }
    if request.config.mirror_direct && request.config.mirror.is_none() && new {
        return Err(
            error::STREAM_INVALID_CONFIG.with("err", "stream has no mirror but does have mirror direct")
        );
    }
    let config = check(request.config, request.pedantic, 0, &())?;
    if config.num_replicas > 1 {
        return Err(error::STREAM_REPLICAS_NOT_SUPPORTED.error());
    }
    if let Some(source) = config.sources.iter().find(|s| s.filter_subject.contains("..")) {
        let text = format!("subject filter '{}' for the source: invalid subject", source.filter_subject);
        return Err(error::STREAM_CREATE.with("err", text));
    }
    Ok(config)
}

/// The reply as JSON, without fields that the server adds.
fn answer(result: Result<StreamConfig, ApiError>) -> Value {
    match result {
        Ok(mut config) => {
            config.metadata.retain(|name, _| !name.starts_with("_nats."));
            json!({ "config": config })
        }
        Err(ApiError { code, err_code, description }) => {
            json!({"error": {"code": code, "err_code": err_code, "description": description}})
        }
    }
}

/// The recorded reply, without the request.
fn expected(case: &Value) -> Value {
    let name = if case["error"].is_null() { "config" } else { "error" };
    json!({ name: case[name] })
}

#[test]
fn updates_as_recorded() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("data/stream_updates.json")).expect("JSON");
    assert!(recorded.len() > 30);
    for case in &recorded {
        let (old, new) = (case["old"].as_str().expect("text"), case["new"].as_str().expect("text"));
        let old = create("S", old.as_bytes()).expect("a stream");
        let got = answer(read("S", new.as_bytes(), false).and_then(|new| update(&old, new)));
        assert_eq!(got, expected(case), "{new}");
    }
}

#[test]
fn as_recorded() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("data/stream_configs.json")).expect("JSON");
    assert!(recorded.len() > 380);
    let mut wrong = Vec::new();
    for case in &recorded {
        let (stream, request) =
            (case["stream"].as_str().expect("text"), case["request"].as_str().expect("text"));
        let (got, expected) = (answer(create(stream, request.as_bytes())), expected(case));
        if got != expected {
            wrong.push(format!("{request}\n  ours   {got}\n  theirs {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), recorded.len(), wrong.join("\n"));
}

mod hostile {
    use proptest::prelude::*;

    use super::create;

    /// Nearly valid requests.
    fn request() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"name\"",
            "\"S\"",
            "\"sources\"",
            "\"mirror\"",
            "\"subjects\"",
            "\"a.>\"",
            "null",
            "-1",
            "1e9",
            "\"\\ud800\"",
            "\"opt_start_time\"",
            "\"2020-01-01T00:00:00+00:00\"",
            "\"max_age\"",
            "\"metadata\"",
            "true",
            "\"subject_transform\"",
            "\"src\"",
            "\"dest\"",
            "\"{{partition(3,1)}}\"",
            "\"republish\"",
            "\u{e9}",
            "\\",
        ]);
        let pieces = prop::collection::vec(piece, 0..40).prop_map(|p| p.concat().into_bytes());
        prop_oneof![pieces, prop::collection::vec(any::<u8>(), 0..60)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn any_bytes_get_an_answer(request in request()) {
            let _ = create("S", &request);
        }
    }

    #[test]
    fn nesting_is_no_recursion() {
        let deep = "[".repeat(200_000);
        let error = create("S", format!("{{\"metadata\":{deep}").as_bytes()).expect_err("refused");
        assert_eq!(error.description, "invalid JSON: exceeded max depth at offset 10012");
        let even = format!("{{\"nope\":{}{}}}", "[".repeat(9_000), "]".repeat(9_000));
        assert_eq!(
            create("S", even.as_bytes()).expect_err("refused").description,
            "invalid JSON: json: unknown field \"nope\""
        );
    }
}
