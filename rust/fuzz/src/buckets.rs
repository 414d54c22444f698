//! Checks of the rules of buckets and object stores with arbitrary input.

use serde_json::{Map, Value};
use stonechat_buckets::{
    BucketOptions, ChunkCheck, Description, KeyPlace, KvStatus, Operation, StoreOptions, StoreStatus,
    digest_text, header, last_header, names,
};

/// Checks an input. The first line says what the rest is: `name`, `headers`, `stream` or `object`.
///
/// # Panics
/// If an answer contradicts another.
pub fn check(data: &[u8]) {
    let (kind, rest) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or_default());
    let rest = rest.get(1..).unwrap_or_default();
    match kind {
        b"name" => name(&String::from_utf8_lossy(rest)),
        b"headers" => headers(&String::from_utf8_lossy(rest)),
        b"stream" => stream(rest),
        _ => object(rest),
    }
}

fn is_one_token(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || ".*>".contains(c))
}

fn name(text: &str) {
    assert!(!names::is_bucket(text) || is_one_token(&names::kv_stream(text)));
    assert!(!names::is_key(text) || text.split('.').all(is_one_token));
    assert!(!names::is_key(text) || names::is_key_filter(text));
    let is_subject =
        |text: &str| text.split('.').all(|token| matches!(token, "*" | ">") || is_one_token(token));
    assert!(!names::is_key_filter(text) || is_subject(text));
    if names::is_object(text) {
        let subject = names::description_subject("B", text);
        assert!(subject.starts_with("$O.B.M.") && is_one_token(&subject["$O.B.M.".len()..]));
    }
}

fn headers(block: &str) {
    let operation =
        Operation::of(last_header(block, header::OPERATION), last_header(block, header::MARKER_REASON));
    assert_eq!(operation.to_string(), operation.name().to_uppercase());
}

fn stream(json: &[u8]) {
    let Ok(info) = serde_json::from_slice::<Value>(json) else { return };
    let status = KvStatus::of(&info);
    assert!(status.metadata.iter().all(|(name, _)| !name.starts_with("_nats.")));
    assert_eq!(StoreStatus::of(&info).bytes, status.bytes);
    let place = KeyPlace::of("B", &info["config"], None);
    assert_eq!(place.key(&place.subject("k")), "k");
    // Apply options, in the form that Python uses, to a configuration of any shape.
    let options: BucketOptions = serde_json::from_value(info["options"].clone()).unwrap_or_default();
    let Value::Object(before) = &info["config"] else { return };
    let mut after = before.clone();
    options.apply("B", &mut after);
    BucketOptions::detach("B", &mut after);
    kept(before, &after);
    let mut after = before.clone();
    let options: StoreOptions = serde_json::from_value(info["options"].clone()).unwrap_or_default();
    options.apply(&mut after);
    kept(before, &after);
}

/// Checks that fields that no option names are unchanged.
fn kept(before: &Map<String, Value>, after: &Map<String, Value>) {
    const NAMED: [&str; 18] = [
        "allow_msg_ttl",
        "compression",
        "description",
        "duplicate_window",
        "max_age",
        "max_bytes",
        "max_msg_size",
        "max_msgs_per_subject",
        "metadata",
        "mirror",
        "mirror_direct",
        "num_replicas",
        "placement",
        "republish",
        "sources",
        "storage",
        "subject_delete_marker_ttl",
        "subjects",
    ];
    for (name, value) in before {
        assert!(NAMED.contains(&name.as_str()) || after.get(name) == Some(value), "{name} has changed");
    }
}

fn object(payload: &[u8]) {
    let Some(info) = Description::read(payload) else { return };
    assert!(info.chunk_id().is_none_or(is_one_token));
    assert!(info.chunk_size() > 0);
    let _ = (info.name(), info.link(), info.digest(), info.headers(), info.metadata());
    if let Ok(check) = ChunkCheck::of(&info) {
        chunks(&info, check);
    }
    let gone = info.deleted();
    assert!(gone.is_deleted() && gone.digest().is_none() && gone.size() == 0 && gone.chunks() == 0);
    assert!(Description::read(gone.value.to_string().as_bytes()).is_some());
}

/// Checks the chunks that the description states, and every smaller number of them.
fn chunks(info: &Description, mut check: ChunkCheck) {
    let most = info.chunks().min(100);
    let places: Vec<u64> = (1..=most).collect();
    for there in 0..=places.len() {
        let damage = check.miscounted(&places[..there], info.size());
        assert_eq!(damage.is_none(), there as u64 == info.chunks());
    }
    let _ = check.late().to_string();
    let mut left = info.size();
    for chunk in 1..=most {
        let bytes = if chunk == info.chunks() { left } else { left.min(info.chunk_size()) };
        if let Err(damage) = check.take(info.chunks() - chunk, bytes) {
            let _ = (damage.to_string(), damage.chunk());
            return;
        }
        left -= bytes;
    }
    if check.is_whole() {
        assert_eq!(check.finish(&info.digest().unwrap_or_default()).is_ok(), left == 0 && fits(info));
    }
}

/// Whether the digest in a description can be right.
fn fits(info: &Description) -> bool {
    let is_nothing = info.chunks() == 0 && info.text("digest").is_empty();
    is_nothing || info.digest().is_some_and(|digest| digest_text(&digest).starts_with("SHA-256="))
}
