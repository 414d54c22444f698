//! Checks of streams and consumers. A limit in the metadata of a stream or consumer overrides the limit of a flag.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::result::{Metric, Outcome};
use crate::error::CliError;
use crate::output::{duration, nanoseconds, since};
use crate::session::Session;
use crate::values::{parse_duration, parse_name};

#[derive(Debug, Args)]
pub(super) struct StreamCheck {
    /// The stream
    #[arg(long, value_parser = parse_name)]
    pub(super) stream: String,
    /// How many messages a source or mirror must not be behind
    #[arg(long, value_name = "N")]
    lag_critical: Option<u64>,
    /// How long ago a source or mirror may have been seen
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    seen_critical: Option<Duration>,
    /// How many sources there must be
    #[arg(long, value_name = "N")]
    min_sources: Option<u64>,
    /// How many sources there may be
    #[arg(long, value_name = "N")]
    max_sources: Option<u64>,
    /// Warn of so few messages
    #[arg(long, value_name = "N")]
    msgs_warn: Option<u64>,
    /// There must be more messages
    #[arg(long, value_name = "N")]
    msgs_critical: Option<u64>,
    /// How many subjects are worth a warning
    #[arg(long, value_name = "N")]
    subjects_warn: Option<u64>,
    /// How many subjects are critical; less than --subjects-warn turns both around
    #[arg(long, value_name = "N")]
    subjects_critical: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct ConsumerCheck {
    /// The stream
    #[arg(long, value_parser = parse_name)]
    pub(super) stream: String,
    /// The consumer
    #[arg(long, value_parser = parse_name)]
    pub(super) consumer: String,
    /// How many unacknowledged messages are critical
    #[arg(long, value_name = "N")]
    outstanding_ack_critical: Option<u64>,
    /// How many waiting requests are critical
    #[arg(long, value_name = "N")]
    waiting_critical: Option<u64>,
    /// How many messages that wait to be delivered are critical
    #[arg(long, value_name = "N")]
    unprocessed_critical: Option<u64>,
    /// How long ago the last message may have been delivered
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    last_delivery_critical: Option<Duration>,
    /// How long ago the last message may have been acknowledged
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    last_ack_critical: Option<Duration>,
    /// How many redelivered messages are critical
    #[arg(long, value_name = "N")]
    redelivery_critical: Option<u64>,
    /// All priority groups must have a client
    #[arg(long)]
    pinned: bool,
}

/// Limits in the metadata of a stream or consumer, under `io.nats.monitor.`.
struct Noted<'a>(&'a Value);

impl Noted<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0[format!("io.nats.monitor.{name}")].as_str()
    }

    fn number(&self, flag: Option<u64>, name: &str) -> Result<Option<u64>, CliError> {
        let wrong = |text: &str| CliError::Client(format!("the metadata {name} is no number: {text:?}"));
        let noted = self.text(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()?;
        Ok(noted.or(flag).filter(|limit| *limit > 0))
    }

    fn time(&self, flag: Option<Duration>, name: &str) -> Result<Option<Duration>, CliError> {
        let noted = self.text(name).map(|text| parse_duration(text).map_err(CliError::Client)).transpose()?;
        Ok(noted.or(flag))
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn limit(limit: Option<u64>) -> f64 {
    limit.unwrap_or_default() as f64
}

pub(super) async fn stream(
    session: &mut Session,
    check: &StreamCheck,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let info = session.ask(&format!("STREAM.INFO.{}", check.stream), None).await?;
    let noted = Noted(&info["config"]["metadata"]);
    messages(&info, check, &noted, outcome)?;
    subjects(&info, check, &noted, outcome)?;
    let lag = noted.number(check.lag_critical, "lag-critical")?;
    let seen = noted.time(check.seen_critical, "seen-critical")?;
    sources(&info, check, &noted, [lag, seen.map(|time| time.as_nanos() as u64)], outcome)?;
    let is_sourced = info["sources"].as_array().is_some_and(|sources| !sources.is_empty());
    if (lag.is_some() || seen.is_some()) && !is_sourced {
        mirror(&info, lag, seen, outcome);
    }
    Ok(())
}

fn messages(
    info: &Value,
    check: &StreamCheck,
    noted: &Noted<'_>,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let warn = noted.number(check.msgs_warn, "msgs-warn")?;
    let critical = noted.number(check.msgs_critical, "msgs-critical")?;
    if warn.is_none() && critical.is_none() {
        return Ok(());
    }
    let there = number(&info["state"]["messages"]);
    let metric = Metric::new("messages", there as f64, "", "Messages stored in the stream");
    outcome.metric(metric.limits(limit(warn), limit(critical)));
    let text = format!("{there} messages");
    if critical.is_some_and(|limit| there <= limit) {
        outcome.critical(text);
    } else if warn.is_some_and(|limit| there <= limit) {
        outcome.warn(text);
    } else {
        outcome.ok(text);
    }
    Ok(())
}

fn subjects(
    info: &Value,
    check: &StreamCheck,
    noted: &Noted<'_>,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let warn = noted.number(check.subjects_warn, "subjects-warn")?;
    let critical = noted.number(check.subjects_critical, "subjects-critical")?;
    if warn.is_none() && critical.is_none() {
        return Ok(());
    }
    let there = number(&info["state"]["num_subjects"]) as f64;
    let metric = Metric::new("subjects", there, "", "Number of subjects stored in the stream");
    outcome.metric(metric.limits(limit(warn), limit(critical)));
    // A missing limit is zero here, as in the `nats` command.
    outcome.compare("subjects", there, Some(limit(warn)), Some(limit(critical)));
    Ok(())
}

fn sources(
    info: &Value,
    check: &StreamCheck,
    noted: &Noted<'_>,
    [lag, seen]: [Option<u64>; 2],
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let found: &[Value] = info["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let there = found.len() as u64;
    let min = noted.number(check.min_sources, "min-sources")?;
    let max = noted.number(check.max_sources, "max-sources")?;
    let metric = Metric::new("sources", there as f64, "", "Number of sources being consumed by this stream");
    outcome.metric(metric.limits(limit(min), limit(max)));
    match min.is_some_and(|min| there < min) || max.is_some_and(|max| there > max) {
        true => outcome.critical(format!("{there} sources")),
        false => outcome.ok(format!("{there} sources")),
    }
    if lag.is_none() && seen.is_none() {
        return Ok(());
    }
    let over = |field: &str, limit: Option<u64>| {
        found.iter().filter(|source| limit.is_some_and(|limit| number(&source[field]) >= limit)).count()
    };
    for (name, count, help) in [
        ("lagged", over("lag", lag), "Number of sources that are behind more than the configured threshold"),
        ("inactive", over("active", seen), "Number of sources that are inactive"),
    ] {
        outcome.metric(Metric::new(&format!("sources_{name}"), count as f64, "", help));
        match count {
            0 => outcome.ok(format!("{there} sources not {name}")),
            count => outcome.critical(format!("{count} sources are {name}")),
        }
    }
    Ok(())
}

fn mirror(info: &Value, lag: Option<u64>, seen: Option<Duration>, outcome: &mut Outcome) {
    let mirror = &info["mirror"];
    if !mirror.is_object() {
        return outcome.critical("not mirrored");
    }
    let (behind, active) = (number(&mirror["lag"]), nanoseconds(&mirror["active"]).unwrap_or_default());
    outcome.metric(
        Metric::new("lag", behind as f64, "", "Number of operations this peer is behind its origin")
            .limits(0.0, limit(lag)),
    );
    outcome.metric(
        Metric::new(
            "active",
            active.as_secs_f64(),
            "s",
            "Indicates if this peer is active and catching up if lagged",
        )
        .limits(0.0, seen.unwrap_or_default().as_secs_f64()),
    );
    if lag.is_some_and(|limit| behind >= limit) {
        outcome.critical(format!("Mirror Lag {behind}"));
    }
    if seen.is_some_and(|limit| active >= limit) {
        outcome.critical(format!("Mirror Seen {}", duration(active)));
    }
    outcome.ok_otherwise(format!("Mirror {}", crate::output::text_or_empty(&mirror["name"])));
}

pub(super) async fn consumer(
    session: &mut Session,
    check: &ConsumerCheck,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let info = session.ask(&format!("CONSUMER.INFO.{}.{}", check.stream, check.consumer), None).await?;
    let noted = Noted(&info["config"]["metadata"]);
    for (metric, field, flag, note, text, help) in [
        (
            "ack_pending",
            "num_ack_pending",
            check.outstanding_ack_critical,
            "outstanding-ack-critical",
            "Ack Pending",
            "The number of messages waiting to be Acknowledged",
        ),
        (
            "pull_waiting",
            "num_waiting",
            check.waiting_critical,
            "waiting-critical",
            "Waiting Pulls",
            "The number of waiting Pull requests",
        ),
        (
            "pending",
            "num_pending",
            check.unprocessed_critical,
            "unprocessed-critical",
            "Unprocessed Messages",
            "The number of messages that have not yet been consumed",
        ),
        (
            "redelivered",
            "num_redelivered",
            check.redelivery_critical,
            "redelivery-critical",
            "Redelivered",
            "The number of messages currently being redelivered",
        ),
    ] {
        let critical = noted.number(flag, note)?;
        let there = number(&info[field]);
        outcome.metric(Metric::new(metric, there as f64, "", help).limits(0.0, limit(critical)));
        match critical {
            Some(critical) if there >= critical => outcome.critical(format!("{text}: {there}")),
            Some(_) => outcome.ok(format!("{text}: {there}")),
            None => {}
        }
    }
    for (metric, place, flag, note, what, help) in [
        (
            "last_delivery",
            "delivered",
            check.last_delivery_critical,
            "last-delivery-critical",
            ["deliveries", "delivery"],
            "Seconds since the last message was delivered",
        ),
        (
            "last_ack",
            "ack_floor",
            check.last_ack_critical,
            "last-ack-critical",
            ["acks", "ack"],
            "Seconds since the last message was acknowledged",
        ),
    ] {
        let critical = noted.time(flag, note)?;
        let passed = since(&info[place]["last_active"]);
        if let Some(passed) = passed {
            let metric = Metric::new(metric, passed.as_secs_f64(), "s", help);
            outcome.metric(metric.limits(0.0, critical.unwrap_or_default().as_secs_f64()));
        }
        match (critical, passed) {
            (None, _) => {}
            (Some(_), None) => outcome.critical(format!("No {}", what[0])),
            (Some(limit), Some(passed)) if passed >= limit => {
                outcome.critical(format!("Last {} {} ago", what[1], duration(passed)));
            }
            (Some(_), Some(passed)) => outcome.ok(format!("Last {} {} ago", what[1], duration(passed))),
        }
    }
    if check.pinned || noted.text("pinned") == Some("true") {
        pinned(&info, outcome);
    }
    outcome.ok_otherwise("consumer is there");
    Ok(())
}

fn pinned(info: &Value, outcome: &mut Outcome) {
    let groups = info["config"]["priority_groups"].as_array().map_or(0, Vec::len);
    let states = info["priority_groups"].as_array().into_iter().flatten();
    let pinned =
        states.filter(|group| group["pinned_client_id"].as_str().is_some_and(|id| !id.is_empty())).count();
    match (info["config"]["priority_policy"] == "pinned_client", pinned == groups) {
        (false, _) => outcome.critical("Not pinned client priority mode"),
        (true, false) => outcome.critical(format!("{pinned} / {groups} pinned clients")),
        (true, true) => outcome.ok(format!("{pinned} pinned clients")),
    }
}
