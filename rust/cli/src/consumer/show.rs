//! Output of `info`, `state`, `add` and `edit` about a consumer.

use serde_json::Value;

use crate::error::CliError;
use crate::message::write_out;
use crate::output::{
    Facts, bytes, count, duration, json, list, local_time, long_duration, nanoseconds, text, text_or_empty,
    time_ago, without_envelope,
};

/// Prints a consumer. Missing fields, and those of unexpected types, show as empty or as their default.
pub(super) fn consumer(info: &Value, is_state_only: bool, as_json: bool) -> Result<(), CliError> {
    if as_json {
        return json(&without_envelope(info));
    }
    let created = local_time(info["created"].as_str().unwrap_or_default());
    let (stream, name) = (text_or_empty(&info["stream_name"]), text_or_empty(&info["name"]));
    let what = if is_state_only { "State" } else { "Information" };
    let mut facts = Facts::new(format!("{what} for Consumer {stream} > {name} created {created}"));
    if !is_state_only {
        configuration(&mut facts, info);
    }
    state(&mut facts, info);
    write_out(facts.render().as_bytes())
}

/// Formats a count, if it is above zero.
fn some_count(value: &Value) -> Option<String> {
    value.as_u64().filter(|number| *number > 0).map(|_| count(value))
}

fn start(config: &Value) -> String {
    match config["deliver_policy"].as_str().unwrap_or_default() {
        "last" => "Last".to_owned(),
        "new" => "New".to_owned(),
        "last_per_subject" => "Last Per Subject".to_owned(),
        "by_start_time" => format!("Since {}", text_or_empty(&config["opt_start_time"])),
        "by_start_sequence" => format!("From Sequence {}", count(&config["opt_start_seq"])),
        _ => "All".to_owned(),
    }
}

fn configuration(facts: &mut Facts, info: &Value) {
    let config = &info["config"];
    let time = |field: &str| nanoseconds(&config[field]).map(duration);
    let target = text(&config["deliver_subject"]);
    let is_push = target.is_some();
    facts.section("Configuration");
    facts.add_some("Name", text(&config["name"]));
    facts.add_some(
        "Durable Name",
        text(&config["durable_name"]).filter(|_| config["durable_name"] != config["name"]),
    );
    facts.add_some("Description", text(&config["description"]));
    match target {
        Some(target) => facts.add("Delivery Subject", target),
        None => facts.add("Pull Mode", "true"),
    }
    facts.add_some("Filter Subject", text(&config["filter_subject"]));
    facts.add_some("Filter Subjects", list(&config["filter_subjects"]));
    facts.add("Deliver Policy", start(config));
    facts.add_some("Deliver Queue Group", text(&config["deliver_group"]).filter(|_| is_push));
    facts.add("Ack Policy", text_or_empty(&config["ack_policy"]));
    facts.add_some("Ack Wait", time("ack_wait").filter(|_| config["ack_policy"] != "none"));
    facts.add("Replay Policy", text_or_empty(&config["replay_policy"]));
    facts.add_some("Maximum Deliveries", some_count(&config["max_deliver"]));
    facts.add_some("Sampling Rate", text(&config["sample_freq"]));
    let rate = config["rate_limit_bps"].as_u64().filter(|rate| *rate > 0);
    facts.add_some("Rate Limit", rate.map(|rate| format!("{} / second", bytes(rate / 8))));
    facts.add_some("Max Ack Pending", some_count(&config["max_ack_pending"]));
    facts.add_some("Max Waiting Pulls", some_count(&config["max_waiting"]));
    facts.add_some("Idle Heartbeat", time("idle_heartbeat"));
    if is_push {
        facts.add("Flow Control", (config["flow_control"] == true).to_string());
    }
    facts.add_some("Headers Only", (config["headers_only"] == true).then_some("true"));
    facts.add_some("Inactive Threshold", time("inactive_threshold").filter(|_| !is_push));
    facts.add_some("Max Pull Expire", time("max_expires"));
    facts.add_some("Max Pull Batch", some_count(&config["max_batch"]));
    facts.add_some("Max Pull MaxBytes", some_count(&config["max_bytes"]));
    facts.add_some("Backoff", backoff(&config["backoff"]));
    facts.add_some("Replicas", some_count(&config["num_replicas"]));
    facts.add_some("Memory Storage", (config["mem_storage"] == true).then_some("true"));
    facts.add_some("Paused Until Deadline", text(&config["pause_until"]).map(|time| local_time(&time)));
    facts.add_some("Priority Policy", text(&config["priority_policy"]).filter(|policy| policy != "none"));
    facts.add_some("Priority Groups", list(&config["priority_groups"]));
    facts.add_some("Pinned TTL", time("priority_timeout"));
    facts.add_metadata(&config["metadata"]);
}

/// Formats the times between deliveries; of many times, those in the middle are left out.
fn backoff(times: &Value) -> Option<String> {
    let times: Vec<String> = times.as_array()?.iter().filter_map(nanoseconds).map(duration).collect();
    match times.len() {
        0 => None,
        1..=15 => Some(times.join(", ")),
        many => {
            let (first, last) = (times[..5].join(", "), times[many - 5..].join(", "));
            Some(format!("{first}, ..., {last} ({many} total)"))
        }
    }
}

fn place(place: &Value, what: &str) -> String {
    let mut text = format!(
        "Consumer sequence: {} Stream sequence: {}",
        count(&place["consumer_seq"]),
        count(&place["stream_seq"])
    );
    if place["last_active"].is_string() {
        text += &format!(" {what}: {} ago", time_ago(&place["last_active"]));
    }
    text
}

fn state(facts: &mut Facts, info: &Value) {
    let config = &info["config"];
    facts.section("State");
    facts.add_some("Host Version", text(&config["metadata"]["_nats.ver"]));
    facts.add_some("Required API Level", text(&config["metadata"]["_nats.req.level"]));
    facts.add("Last Delivered Message", place(&info["delivered"], "Last delivery"));
    if config["ack_policy"] != "none" {
        facts.add("Acknowledgment Floor", place(&info["ack_floor"], "Last Ack"));
        let outstanding = count(&info["num_ack_pending"]);
        facts.add(
            "Outstanding Acks",
            match some_count(&config["max_ack_pending"]) {
                Some(max) => format!("{outstanding} out of maximum {max}"),
                None => outstanding,
            },
        );
        facts.add("Redelivered Messages", count(&info["num_redelivered"]));
    }
    facts.add("Unprocessed Messages", count(&info["num_pending"]));
    if config["deliver_subject"].as_str().is_none_or(str::is_empty) {
        let waiting = count(&info["num_waiting"]);
        let max = some_count(&config["max_waiting"]);
        facts.add(
            "Waiting Pulls",
            max.map_or_else(
                || format!("{waiting} of unlimited"),
                |max| format!("{waiting} of maximum {max}"),
            ),
        );
    } else {
        let group = text(&config["deliver_group"]);
        let interest = match (info["push_bound"] == true, group) {
            (true, Some(group)) => format!("Active using Queue Group {group}"),
            (true, None) => "Active".to_owned(),
            (false, _) => "No interest".to_owned(),
        };
        facts.add("Active Interest", interest);
    }
    if info["paused"] == true {
        let left = nanoseconds(&info["pause_remaining"]).unwrap_or_default();
        facts.add("Paused", format!("{} remaining", long_duration(left)));
    }
    for group in info["priority_groups"].as_array().into_iter().flatten() {
        let client = text(&group["pinned_client_id"]);
        let client = client.map_or_else(|| "No client".to_owned(), |client| format!("pinned {client}"));
        facts.add("Priority Group", format!("{}: {client}", text_or_empty(&group["group"])));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_consumer_of_another_shape_is_shown_as_far_as_it_can_be() {
        for info in [
            json!(null),
            json!({ "config": [], "delivered": "x" }),
            json!({ "config": { "name": "\u{1b}" } }),
        ] {
            let mut facts = Facts::new(String::new());
            configuration(&mut facts, &info);
            state(&mut facts, &info);
            assert!(!facts.render().contains('\u{1b}'));
        }
    }

    #[test]
    fn many_times_are_cut_in_the_middle() {
        let second = 1_000_000_000_u64;
        let times: Vec<u64> = (1..=20).map(|i| i * second).collect();
        let text = backoff(&json!(times)).unwrap();
        assert_eq!(text, "1s, 2s, 3s, 4s, 5s, ..., 16s, 17s, 18s, 19s, 20s (20 total)");
        assert_eq!(backoff(&json!([])), None);
    }
}
