//! Checks of the connection, of services, and of the last stored message.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::json;

use super::result::{Metric, Outcome};
use super::{MessageCheck, RequestCheck};
use crate::connection::client_error;
use crate::error::CliError;
use crate::output::{duration, since};
use crate::session::{JetStreamArgs, Session};
use crate::values::parse_duration;

#[derive(Debug, Args)]
pub(super) struct ConnectionCheck {
    /// Warn of a connection that takes longer
    #[arg(long, default_value = "500ms", value_parser = parse_duration, value_name = "TIME")]
    connect_warn: Duration,
    /// A connection must not take longer
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "TIME")]
    connect_critical: Duration,
    /// Warn of a round trip to the server that takes longer
    #[arg(long, default_value = "500ms", value_parser = parse_duration, value_name = "TIME")]
    rtt_warn: Duration,
    /// A round trip to the server must not take longer
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "TIME")]
    rtt_critical: Duration,
    /// Warn of a message to ourselves that takes longer
    #[arg(long, default_value = "500ms", value_parser = parse_duration, value_name = "TIME")]
    req_warn: Duration,
    /// A message to ourselves must not take longer
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "TIME")]
    req_critical: Duration,
}

/// Compares a time with its limits.
fn judge(outcome: &mut Outcome, what: &str, took: Duration, warn: Duration, critical: Duration) {
    match took {
        took if took >= critical => outcome.critical(format!("{what} exceeded {}", duration(critical))),
        took if took >= warn => outcome.warn(format!("{what} exceeded {}", duration(warn))),
        took => outcome.ok(format!("{what} {}", duration(took))),
    }
}

fn time(name: &str, took: Duration, warn: Duration, critical: Duration, help: &'static str) -> Metric {
    Metric::new(name, took.as_secs_f64(), "s", help).limits(warn.as_secs_f64(), critical.as_secs_f64())
}

pub(super) async fn connection(
    args: &JetStreamArgs,
    check: &ConnectionCheck,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let began = Instant::now();
    let mut session = Session::open(args).await?;
    let took = began.elapsed();
    let (warn, critical) = (check.connect_warn, check.connect_critical);
    outcome.metric(time("connect_time", took, warn, critical, "Time taken to connect to NATS"));
    judge(outcome, "connect time", took, warn, critical);

    let began = Instant::now();
    session.connection.settle(args.timeout).await?;
    let took = began.elapsed();
    let (warn, critical) = (check.rtt_warn, check.rtt_critical);
    outcome.metric(time("rtt", took, warn, critical, "The round-trip-time of the connection"));
    judge(outcome, "rtt time", took, warn, critical);

    let client = session.connection.client.clone();
    let inbox = client.new_inbox();
    let mut incoming = client.subscribe(inbox.clone()).await.map_err(client_error)?;
    let began = Instant::now();
    let body = Bytes::from(inbox.clone());
    client.publish(inbox, body.clone()).await.map_err(client_error)?;
    let received = tokio::select! {
        biased;
        received = tokio::time::timeout(args.timeout, incoming.next()) => received,
        complaint = session.connection.complaint() => return Err(complaint),
    };
    let took = began.elapsed();
    let (warn, critical) = (check.req_warn, check.req_critical);
    outcome.metric(time(
        "request_time",
        took,
        warn,
        critical,
        "Time taken for a full Request-Reply operation",
    ));
    match received {
        Ok(Some(message)) if message.payload == body => judge(outcome, "round trip", took, warn, critical),
        Ok(_) => outcome.critical("did not receive expected message"),
        Err(_) => outcome.critical("a message to ourselves did not come"),
    }
    Ok(())
}

/// Compares a time with limits that may be missing.
fn judge_some(
    outcome: &mut Outcome,
    took: Duration,
    warn: Option<Duration>,
    critical: Option<Duration>,
    tell: impl Fn(Duration) -> String,
) {
    if critical.is_some_and(|limit| took > limit) {
        outcome.critical(tell(took));
    } else if warn.is_some_and(|limit| took > limit) {
        outcome.warn(tell(took));
    }
}

fn seconds(limit: Option<Duration>) -> f64 {
    limit.unwrap_or_default().as_secs_f64()
}

pub(super) async fn message(
    session: &mut Session,
    check: &MessageCheck,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    const NO_MESSAGE: u64 = 10037;
    if check.subject.split('.').any(|token| token == "*" || token == ">") {
        return Err(CliError::Client(format!("invalid subject {:?}: it holds wildcards", check.subject)));
    }
    let call = format!("STREAM.MSG.GET.{}", check.stream);
    let answer = match session.ask(&call, Some(&json!({ "last_by_subj": check.subject }))).await {
        Err(CliError::Api { err_code: NO_MESSAGE, .. }) => {
            outcome.critical("no message found");
            return Ok(());
        }
        answer => answer?,
    };
    let data = answer["message"]["data"].as_str().unwrap_or_default();
    let body = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data).unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let stored = match check.body_timestamp {
        false => answer["message"]["time"].clone(),
        true => match text.trim().parse::<i64>().ok().and_then(|time| Timestamp::from_second(time).ok()) {
            Some(time) => json!(time.to_string()),
            None => return Err(CliError::Client("the body is no time in seconds".to_owned())),
        },
    };
    let age = since(&stored).unwrap_or_default();
    let (warn, critical) = (check.age_warn, check.age_critical);
    outcome.metric(
        Metric::new("age", age.as_secs_f64(), "s", "The age of the message")
            .limits(seconds(warn), seconds(critical)),
    );
    outcome.metric(Metric::new("size", body.len() as f64, "B", "The size of the message"));
    judge_some(outcome, age, warn, critical, |age| format!("{} old", duration(age)));
    if !check.content.is_match(&text) {
        outcome.critical(format!("does not match regex: {}", check.content));
    }
    outcome.ok_otherwise(format!("Valid message on {} > {}", check.stream, check.subject));
    Ok(())
}

pub(super) async fn request(
    session: &mut Session,
    check: &RequestCheck,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in &check.headers {
        let (name, value) =
            crate::values::parse_header(&format!("{name}:{value}")).map_err(CliError::Client)?;
        headers.append(name, value);
    }
    let headers = Some(headers).filter(|headers| !headers.is_empty());
    let began = Instant::now();
    let answer = session.ask_service(&check.subject, headers, Bytes::from(check.payload.clone())).await;
    let took = began.elapsed();
    let (warn, critical) = (check.response_warn, check.response_critical);
    outcome.metric(
        Metric::new("time", took.as_secs_f64(), "s", "How long the request took")
            .limits(seconds(warn), seconds(critical)),
    );
    let answer = answer?;
    let body = String::from_utf8_lossy(&answer.payload);
    if check.match_payload.as_ref().is_some_and(|pattern| !pattern.is_match(&body)) {
        outcome.critical("response does not match regexp");
    }
    judge_some(outcome, took, warn, critical, |took| format!("response took {}", duration(took)));
    outcome.ok_otherwise("Valid response");
    Ok(())
}
