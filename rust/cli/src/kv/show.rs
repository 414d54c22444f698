//! Output of `add`, `edit` and `info` about a bucket.

use std::time::Duration;

use serde_json::{Value, json};
use stonechat_buckets::{KvStatus, names};

use super::bucket::Bucket;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{
    Facts, ago_or_never, bytes, commas, count, duration, json, local_time, long_duration, shown, text,
};

/// Prints a bucket. Missing fields, and those of unexpected types, show as empty or as their default.
pub(super) fn bucket(bucket: &Bucket, as_json: bool) -> Result<(), CliError> {
    if as_json {
        return json(&json!({ "bucket": bucket.name, "stream": bucket.info }));
    }
    write_out(facts(bucket).render().as_bytes())
}

fn facts(bucket: &Bucket) -> Facts {
    let config = &bucket.info["config"];
    let status = KvStatus::of(&bucket.info);
    let created = local_time(bucket.info["created"].as_str().unwrap_or_default());
    let heading = format!("Information for Key-Value Store Bucket {} created {created}", bucket.name);
    let mut facts = Facts::new(heading);
    let limit = status.marker_ttl_ns.map(Duration::from_nanos);
    facts.section("Configuration");
    facts.add("Bucket Name", &bucket.name);
    facts.add("History Kept", commas(status.history.try_into().unwrap_or_default()));
    facts.add("Values Stored", commas(status.values));
    facts.add("Compressed", status.is_compressed.to_string());
    facts.add("Per-Key TTL Supported", limit.is_some().to_string());
    facts.add_some("Limit Marker TTL", limit.map(long_duration));
    facts.add("Backing Store Kind", "JetStream");
    facts.add_some("Description", text(&config["description"]));
    facts.add("Bucket Size", bytes(status.bytes));
    facts.add("Maximum Bucket Size", status.max_bytes.map_or_else(|| "unlimited".to_owned(), bytes));
    facts.add("Maximum Value Size", status.max_value_size.map_or_else(|| "unlimited".to_owned(), bytes));
    let age = status.ttl_ns.map(Duration::from_nanos);
    facts.add("Maximum Age", age.map_or_else(|| "unlimited".to_owned(), duration));
    facts.add_some("JetStream Stream", text(&config["name"]));
    facts.add("Storage", if status.storage == "memory" { "Memory" } else { "File" });
    let republish = &config["republish"];
    if let (Some(from), Some(to)) = (text(&republish["src"]), text(&republish["dest"])) {
        let is_headers = republish["headers_only"].as_bool().unwrap_or_default();
        let name = if is_headers { "Republishing Headers" } else { "Republishing" };
        facts.add(name, format!("{from} to {to}"));
    }
    origins(&mut facts, &bucket.info);
    facts.add_metadata(&config["metadata"]);
    facts
}

/// Adds the mirror and the sources of a bucket.
fn origins(facts: &mut Facts, info: &Value) {
    if info["mirror"].is_object() {
        facts.section("Mirror Information");
        origin(facts, "Origin Bucket", &info["mirror"]);
    }
    if let Some(sources) = info["sources"].as_array().filter(|sources| !sources.is_empty()) {
        facts.section("Sources Information");
        sources.iter().for_each(|source| origin(facts, "Source Bucket", source));
    }
}

fn origin(facts: &mut Facts, name: &str, source: &Value) {
    let stream = source["name"].as_str().unwrap_or_default();
    facts.add(name, shown(names::kv_bucket(stream).unwrap_or(stream)));
    facts.add_some("External API", text(&source["external"]["api"]));
    facts.add("Last Seen", ago_or_never(&source["active"]));
    facts.add("Lag", count(&source["lag"]));
}
