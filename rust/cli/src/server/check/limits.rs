//! Checks of JetStream's limits, and of key-value buckets.

use clap::Args;
use serde_json::{Value, json};

use super::KvCheck;
use super::result::{Metric, Outcome};
use crate::error::CliError;
use crate::session::Session;

#[derive(Debug, Args)]
pub(super) struct JetStreamCheck {
    /// Percent of the memory that are worth a warning; -1 for none
    #[arg(long, default_value_t = 75, allow_hyphen_values = true, value_name = "PERCENT")]
    mem_warn: i64,
    /// Percent of the memory that are critical; -1 for none
    #[arg(long, default_value_t = 90, allow_hyphen_values = true, value_name = "PERCENT")]
    mem_critical: i64,
    /// Percent of the disk that are worth a warning; -1 for none
    #[arg(long, default_value_t = 75, allow_hyphen_values = true, value_name = "PERCENT")]
    store_warn: i64,
    /// Percent of the disk that are critical; -1 for none
    #[arg(long, default_value_t = 90, allow_hyphen_values = true, value_name = "PERCENT")]
    store_critical: i64,
    /// Percent of the streams that are worth a warning; -1 for none
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "PERCENT")]
    streams_warn: i64,
    /// Percent of the streams that are critical; -1 for none
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "PERCENT")]
    streams_critical: i64,
    /// Percent of the consumers that are worth a warning; -1 for none
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "PERCENT")]
    consumers_warn: i64,
    /// Percent of the consumers that are critical; -1 for none
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "PERCENT")]
    consumers_critical: i64,
}

pub(super) async fn jetstream(
    session: &mut Session,
    check: &JetStreamCheck,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let info = session.ask("INFO", None).await?;
    let limits = &info["limits"];
    for (item, unit, used, limit, warn, critical) in [
        ("memory", "B", &info["memory"], &limits["max_memory"], check.mem_warn, check.mem_critical),
        ("storage", "B", &info["storage"], &limits["max_storage"], check.store_warn, check.store_critical),
        ("streams", "", &info["streams"], &limits["max_streams"], check.streams_warn, check.streams_critical),
        (
            "consumers",
            "",
            &info["consumers"],
            &limits["max_consumers"],
            check.consumers_warn,
            check.consumers_critical,
        ),
    ] {
        share(outcome, (item, unit), used, limit, warn, critical);
    }
    outcome.ok_otherwise("JetStream is within its limits");
    Ok(())
}

/// Checks the used share of a limit.
fn share(
    outcome: &mut Outcome,
    (item, unit): (&str, &'static str),
    used: &Value,
    limit: &Value,
    warn: i64,
    critical: i64,
) {
    let used = used.as_f64().unwrap_or_default();
    let percent = match limit.as_f64() {
        Some(limit) if limit > 0.0 => (used / limit * 100.0).trunc(),
        _ => 0.0,
    };
    outcome.metric(Metric::new(item, used, unit, "JetStream resource usage"));
    outcome.metric(
        Metric::new(&format!("{item}_pct"), percent, "%", "JetStream resource usage in percent")
            .limits(warn as f64, critical as f64),
    );
    if warn != -1 && critical != -1 && warn >= critical {
        outcome.critical(format!("{item}: invalid thresholds"));
    } else if percent > 100.0 {
        outcome.critical(format!("{item}: exceed server limits"));
    } else if warn >= 0 && critical >= 0 && percent > critical as f64 {
        outcome.critical(format!("{percent}% {item}"));
    } else if warn >= 0 && critical >= 0 && percent > warn as f64 {
        outcome.warn(format!("{percent}% {item}"));
    }
}

pub(super) async fn kv(
    session: &mut Session,
    check: &KvCheck,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    const STREAM_NOT_FOUND: u64 = 10059;
    const NO_MESSAGE: u64 = 10037;
    let bucket = &check.bucket;
    let info = match session.ask(&format!("STREAM.INFO.KV_{bucket}"), None).await {
        Err(CliError::Api { err_code: STREAM_NOT_FOUND, .. }) => {
            outcome.critical(format!("bucket {bucket} not found"));
            return Ok(());
        }
        info => info?,
    };
    outcome.ok(format!("bucket {bucket}"));
    let values = info["state"]["messages"].as_f64().unwrap_or_default();
    let (warn, critical) = (check.values_warn, check.values_critical);
    outcome.metric(
        Metric::new("values", values, "", "How many values are stored in the bucket")
            .limits(warn as f64, critical as f64),
    );
    if let Some(key) = &check.key {
        let origin = info["config"]["mirror"]["name"].as_str().and_then(|name| name.strip_prefix("KV_"));
        let subject = format!("$KV.{}.{key}", origin.unwrap_or(bucket));
        let call = format!("STREAM.MSG.GET.KV_{bucket}");
        match session.ask(&call, Some(&json!({ "last_by_subj": subject }))).await {
            Err(CliError::Api { err_code: NO_MESSAGE, .. }) => {
                outcome.critical(format!("key {key} not found"))
            }
            Err(error) => return Err(error),
            Ok(answer) if is_deleted(&answer["message"]) => outcome.critical(format!("key {key} not found")),
            Ok(_) => outcome.ok(format!("key {key} found")),
        }
    }
    if warn > -1 || critical > -1 {
        let some = |limit: i64| Some(limit).filter(|limit| *limit > -1).map(|limit| limit as f64);
        match critical < warn && critical < 0 {
            // A warning limit alone warns of too few values, as in the `nats` command.
            true if values <= warn as f64 => outcome.warn(format!("{values} values")),
            true => outcome.ok(format!("{values} values")),
            false => outcome.compare("values", values, some(warn), some(critical)),
        }
    }
    outcome.metric(Metric::new(
        "bytes",
        info["state"]["bytes"].as_f64().unwrap_or_default(),
        "B",
        "Bytes stored in the bucket",
    ));
    outcome.metric(Metric::new(
        "replicas",
        info["config"]["num_replicas"].as_f64().unwrap_or_default(),
        "",
        "Copies of the bucket",
    ));
    Ok(())
}

/// Whether the last message of a key is a marker of its deletion.
fn is_deleted(message: &Value) -> bool {
    let headers = message["hdrs"].as_str().unwrap_or_default();
    let headers = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, headers).unwrap_or_default();
    crate::stored::parse_headers(&headers)
        .iter()
        .any(|(name, value)| (name == "KV-Operation" && value != "PUT") || name == "Nats-Marker-Reason")
}
