//! Lists of the consumers of a stream.

use serde_json::{Value, json};

use crate::error::CliError;
use crate::listing;
use crate::output::{
    Table, count, duration, json_line, line, nanoseconds, shown, text_or_empty, time, time_ago,
    without_envelope,
};
use crate::session::Session;

pub(super) async fn run(
    session: &mut Session,
    stream: &str,
    names: bool,
    json: bool,
) -> Result<(), CliError> {
    if names {
        let names = listing::consumer_names(session, stream).await?;
        return names.iter().try_for_each(|name| match json {
            true => json_line(&json!({ "name": name })),
            false => line(&shown(name)),
        });
    }
    let found = listing::consumers(session, stream).await?;
    if json {
        return found.iter().try_for_each(|info| json_line(&without_envelope(info)));
    }
    if found.is_empty() {
        return line("No Consumers defined");
    }
    let header = ["Name", "Description", "Created", "Ack Pending", "Unprocessed", "Last Delivery"];
    let mut table = Table::new("Consumers".to_owned(), &header);
    for info in &found {
        table.row(vec![
            text_or_empty(&info["name"]),
            text_or_empty(&info["config"]["description"]),
            time(&info["created"]).unwrap_or_default(),
            count(&info["num_ack_pending"]),
            count(&info["num_pending"]),
            time_ago(&info["delivered"]["last_active"]),
        ]);
    }
    line(table.render().trim_end())
}

/// Whether a consumer is a pull consumer.
pub(super) fn is_pull(info: &Value) -> bool {
    info["config"]["deliver_subject"].as_str().is_none_or(str::is_empty)
}

/// Returns the API level that a consumer requires.
pub(super) fn level(info: &Value) -> u64 {
    let level = info["config"]["metadata"]["_nats.req.level"].as_str();
    level.and_then(|level| level.parse().ok()).unwrap_or_default()
}

pub(super) async fn report(
    session: &mut Session,
    stream: &str,
    state: &Value,
    is_raw: bool,
    json: bool,
) -> Result<(), CliError> {
    let found = listing::consumers(session, stream).await?;
    if json {
        return found.iter().try_for_each(|info| json_line(&summary(info)));
    }
    let title = format!("Consumer report for {stream} with {} consumers", found.len());
    let header = [
        "Consumer",
        "Mode",
        "Ack Policy",
        "Ack Wait",
        "Ack Pending",
        "Redelivered",
        "Unprocessed",
        "Ack Floor",
        "API Level",
    ];
    let mut table = Table::new(title, &header);
    let number = |value: &Value| match is_raw {
        true => value.as_u64().unwrap_or_default().to_string(),
        false => count(value),
    };
    let messages = state["messages"].as_u64().unwrap_or_default();
    for info in &found {
        let pending = info["num_pending"].as_u64().unwrap_or_default();
        let share = pending.saturating_mul(100).checked_div(messages).unwrap_or_default().min(100);
        let unprocessed = number(&info["num_pending"]);
        table.row(vec![
            text_or_empty(&info["name"]),
            if is_pull(info) { "Pull" } else { "Push" }.to_owned(),
            text_or_empty(&info["config"]["ack_policy"]),
            nanoseconds(&info["config"]["ack_wait"]).map(duration).unwrap_or_default(),
            number(&info["num_ack_pending"]),
            number(&info["num_redelivered"]),
            if is_raw || pending == 0 { unprocessed } else { format!("{unprocessed} / {share}%") },
            number(&info["ack_floor"]["stream_seq"]),
            level(info).to_string(),
        ]);
    }
    line(table.render().trim_end())
}

/// Returns a row of the report as JSON.
fn summary(info: &Value) -> Value {
    json!({
        "name": info["name"],
        "mode": if is_pull(info) { "pull" } else { "push" },
        "ack_policy": info["config"]["ack_policy"],
        "ack_wait": info["config"]["ack_wait"],
        "num_ack_pending": info["num_ack_pending"],
        "num_redelivered": info["num_redelivered"],
        "num_pending": info["num_pending"],
        "ack_floor": info["ack_floor"]["stream_seq"],
        "api_level": level(info),
    })
}
