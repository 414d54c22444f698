//! Output of `info`, `state`, `add` and `edit` about a stream.

use serde_json::Value;

use crate::error::CliError;
use crate::message::write_out;
use crate::output::{
    Facts, ago_or_never, byte_count, byte_limit, count, duration, json, limit, list, local_time, nanoseconds,
    shown, text, text_or_empty, time, without_envelope,
};

/// Prints a stream. Missing fields, and those of unexpected types, show as empty or as their default.
pub(super) fn stream(info: &Value, is_state_only: bool, as_json: bool) -> Result<(), CliError> {
    if as_json {
        return json(&without_envelope(info));
    }
    let name = text_or_empty(&info["config"]["name"]);
    let created = local_time(info["created"].as_str().unwrap_or_default());
    let what = if is_state_only { "State" } else { "Information" };
    let mut facts = Facts::new(format!("{what} for Stream {name} created {created}"));
    if !is_state_only {
        configuration(&mut facts, &info["config"]);
        origins(&mut facts, info);
    }
    state(&mut facts, info);
    write_out(facts.render().as_bytes())
}

fn yes(value: &Value) -> String {
    value.as_bool().unwrap_or_default().to_string()
}

fn not(value: &Value) -> String {
    (!value.as_bool().unwrap_or_default()).to_string()
}

fn capital(value: &Value) -> String {
    let text = text_or_empty(value);
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn configuration(facts: &mut Facts, config: &Value) {
    facts.add_some("Description", text(&config["description"]));
    facts.add_some("Subjects", list(&config["subjects"]));
    facts.add("Replicas", count(&config["num_replicas"]));
    facts.add_some("Sealed", config["sealed"].as_bool().filter(|is_sealed| *is_sealed).map(|_| "true"));
    facts.add("Storage", capital(&config["storage"]));
    facts.add_some("Compression", text(&config["compression"]).filter(|name| name != "none"));
    facts.add_some("Persistence Mode", text(&config["persist_mode"]).filter(|name| name != "default"));
    facts.add_some(
        "First Sequence",
        config["first_seq"].as_u64().filter(|seq| *seq > 0).map(|_| count(&config["first_seq"])),
    );
    facts.add_some("Placement Cluster", text(&config["placement"]["cluster"]));
    facts.add_some("Placement Tags", list(&config["placement"]["tags"]));
    options(facts, config);
    limits(facts, config);
    facts.add_metadata(&config["metadata"]);
}

fn options(facts: &mut Facts, config: &Value) {
    facts.section("Options");
    let transform = &config["subject_transform"];
    facts.add_some("Subject Transform", arrow(transform));
    let republish = &config["republish"];
    let is_headers = republish["headers_only"] == true;
    let name = if is_headers { "Republishing Headers" } else { "Republishing" };
    facts.add_some(name, arrow(republish));
    let retention = &config["retention"];
    facts.add(
        "Retention",
        if *retention == "workqueue" { "WorkQueue".to_owned() } else { capital(retention) },
    );
    facts.add("Acknowledgments", not(&config["no_ack"]));
    let is_per_subject = config["discard_new_per_subject"] == true;
    let discard = if is_per_subject { "New Per Subject".to_owned() } else { capital(&config["discard"]) };
    facts.add("Discard Policy", discard);
    facts.add("Duplicate Window", duration(nanoseconds(&config["duplicate_window"]).unwrap_or_default()));
    facts.add_some("Direct Get", (config["allow_direct"] == true).then_some("true"));
    facts.add_some("Mirror Direct Get", (config["mirror_direct"] == true).then_some("true"));
    facts.add("Allows Atomic Batch Publish", yes(&config["allow_atomic"]));
    facts.add("Allows Fast Batch Publish", yes(&config["allow_batched"]));
    facts.add("Allows Counters", yes(&config["allow_msg_counter"]));
    facts.add("Allows Msg Delete", not(&config["deny_delete"]));
    facts.add("Allows Per-Message TTL", yes(&config["allow_msg_ttl"]));
    facts.add("Allows Purge", not(&config["deny_purge"]));
    facts.add("Allows Schedules", yes(&config["allow_msg_schedules"]));
    let marker = nanoseconds(&config["subject_delete_marker_ttl"]);
    facts.add_some("Subject Delete Markers TTL", marker.map(duration));
    facts.add("Allows Rollups", yes(&config["allow_rollup_hdrs"]));
}

fn limits(facts: &mut Facts, config: &Value) {
    facts.section("Limits");
    facts.add("Maximum Messages", limit(&config["max_msgs"]));
    facts.add("Maximum Per Subject", limit(&config["max_msgs_per_subject"]));
    facts.add("Maximum Bytes", byte_limit(&config["max_bytes"]));
    let age = nanoseconds(&config["max_age"]);
    facts.add("Maximum Age", age.map_or_else(|| "unlimited".to_owned(), duration));
    facts.add("Maximum Message Size", byte_limit(&config["max_msg_size"]));
    facts.add("Maximum Consumers", limit(&config["max_consumers"]));
    let of_consumers = &config["consumer_limits"];
    let threshold = nanoseconds(&of_consumers["inactive_threshold"]);
    facts.add_some("Consumer Inactive Threshold", threshold.map(duration));
    let pending = of_consumers["max_ack_pending"].as_u64().filter(|pending| *pending > 0);
    facts.add_some("Consumer Max Ack Pending", pending.map(|_| count(&of_consumers["max_ack_pending"])));
}

/// Formats a mapping as `a.* to b.*`; `None` if it has no destination.
fn arrow(mapping: &Value) -> Option<String> {
    let to = text(&mapping["dest"])?;
    Some(format!("{} to {to}", text(&mapping["src"]).unwrap_or_else(|| ">".to_owned())))
}

/// Adds the mirror and the sources of a stream.
fn origins(facts: &mut Facts, info: &Value) {
    if info["mirror"].is_object() {
        facts.section("Mirror Information");
        origin(facts, &info["mirror"]);
    }
    for source in info["sources"].as_array().into_iter().flatten() {
        facts.section("Source Information");
        origin(facts, source);
    }
}

fn origin(facts: &mut Facts, source: &Value) {
    facts.add("Stream Name", text_or_empty(&source["name"]));
    facts.add_some("Subject Filter", text(&source["filter_subject"]));
    for transform in source["subject_transforms"].as_array().into_iter().flatten() {
        let untransformed = || format!("{} untransformed", text_or_empty(&transform["src"]));
        facts.add("Subject Filter and Transform", arrow(transform).unwrap_or_else(untransformed));
    }
    facts.add("Lag", count(&source["lag"]));
    facts.add("Last Seen", ago_or_never(&source["active"]));
    facts.add_some("Ext. API Prefix", text(&source["external"]["api"]));
    facts.add_some("Ext. Delivery Prefix", text(&source["external"]["deliver"]));
    facts.add_some("Error", text(&source["error"]["description"]));
}

fn state(facts: &mut Facts, info: &Value) {
    let state = &info["state"];
    facts.section("State");
    facts.add_some("Host Version", text(&info["config"]["metadata"]["_nats.ver"]));
    facts.add_some("Required API Level", text(&info["config"]["metadata"]["_nats.req.level"]));
    facts.add("Messages", count(&state["messages"]));
    facts.add("Bytes", byte_count(&state["bytes"]));
    if let Some(lost) = state["lost"]["msgs"].as_array().filter(|lost| !lost.is_empty()) {
        facts.add("Lost Messages", format!("{} ({})", lost.len(), byte_count(&state["lost"]["bytes"])));
    }
    for (name, seq, at) in
        [("First Sequence", "first_seq", "first_ts"), ("Last Sequence", "last_seq", "last_ts")]
    {
        let number = count(&state[seq]);
        facts.add(name, time(&state[at]).map_or_else(|| number.clone(), |at| format!("{number} @ {at}")));
    }
    let deleted = state["num_deleted"].as_u64().filter(|deleted| *deleted > 0);
    facts.add_some("Deleted Messages", deleted.map(|_| count(&state["num_deleted"])));
    facts.add("Active Consumers", count(&state["consumer_count"]));
    let subjects = state["num_subjects"].as_u64().filter(|subjects| *subjects > 0);
    facts.add_some("Number of Subjects", subjects.map(|_| count(&state["num_subjects"])));
    for alternate in info["alternates"].as_array().into_iter().flatten() {
        let name = alternate["name"].as_str().unwrap_or_default();
        facts.add("Alternate", format!("{} Cluster: {}", shown(name), text_or_empty(&alternate["cluster"])));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_of_another_shape_is_shown_as_far_as_it_can_be() {
        for info in [
            json!(null),
            json!({ "config": 5, "state": [] }),
            json!({ "config": { "name": "A\u{1b}[2J", "subjects": "x" } }),
        ] {
            let mut facts = Facts::new(String::new());
            configuration(&mut facts, &info["config"]);
            origins(&mut facts, &info);
            state(&mut facts, &info);
            assert!(!facts.render().contains('\u{1b}'));
        }
    }
}
