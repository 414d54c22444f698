//! Discovery of services: their descriptions, figures and round-trip times.

use std::time::{Duration, Instant};

use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use regex_lite::Regex;
use serde_json::{Value, json};

use super::args::{Place, RequestArgs};
use crate::connection::client_error;
use crate::error::CliError;
use crate::message::{Format, write_out};
use crate::output::{Facts, Table, count, duration, json_line, line, local_time, text, text_or_empty};
use crate::session::Session;

/// Wait for further answers after the last one; the number of services is unknown.
const SILENCE: Duration = Duration::from_millis(300);

/// An answer, and the time until it arrived.
struct Answer {
    value: Value,
    took: Duration,
}

/// Asks all services, those with a name, or one instance.
///
/// # Errors
/// No service answers.
async fn gather(
    session: &mut Session,
    verb: &str,
    name: Option<&str>,
    id: Option<&str>,
) -> Result<Vec<Answer>, CliError> {
    let mut subject = format!("$SRV.{verb}");
    for token in name.into_iter().chain(id) {
        subject.push('.');
        subject.push_str(token);
    }
    let client = session.connection.client.clone();
    let inbox = client.new_inbox();
    let mut incoming = client.subscribe(inbox.clone()).await.map_err(client_error)?;
    let began = Instant::now();
    client.publish_with_reply(subject, inbox, Bytes::new()).await.map_err(client_error)?;
    let mut answers: Vec<Answer> = Vec::new();
    loop {
        let left = if answers.is_empty() { session.timeout() } else { SILENCE };
        let message = tokio::select! {
            biased;
            message = tokio::time::timeout(left, incoming.next()) => message,
            complaint = session.connection.complaint() => return Err(complaint),
        };
        let Ok(message) = message else { break };
        let message = message.ok_or(CliError::ConnectionLost)?;
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            break;
        }
        // An answer that is not JSON does not come from a service.
        if let Ok(value) = serde_json::from_slice(&message.payload) {
            answers.push(Answer { value, took: began.elapsed() });
        }
    }
    if answers.is_empty() {
        let whom = name.map_or_else(|| "no service".to_owned(), |name| format!("no service {name}"));
        return Err(CliError::Client(format!("{whom} answers")));
    }
    let key = |answer: &Answer| (text_or_empty(&answer.value["name"]), text_or_empty(&answer.value["id"]));
    answers.sort_by_cached_key(key);
    Ok(answers)
}

pub(super) async fn list(session: &mut Session, name: Option<&str>, json: bool) -> Result<(), CliError> {
    let answers = gather(session, "INFO", name, None).await?;
    if json {
        return answers.iter().try_for_each(|answer| json_line(&answer.value));
    }
    let title = name.map_or_else(|| "Services".to_owned(), |name| format!("Instances of {name}"));
    let mut table = Table::new(title, &["Name", "Version", "ID", "Description"]);
    for Answer { value, .. } in &answers {
        table
            .row(["name", "version", "id", "description"].map(|field| text_or_empty(&value[field])).to_vec());
    }
    write_out(table.render().as_bytes())
}

pub(super) async fn info(
    session: &mut Session,
    place: &Place,
    endpoint: Option<&str>,
    json: bool,
) -> Result<(), CliError> {
    let pattern = endpoint.map(Regex::new).transpose();
    let pattern = pattern.map_err(|error| CliError::Client(format!("--endpoint: {error}")))?;
    let (name, id) = (Some(place.name.as_str()), place.id.as_deref());
    let infos = gather(session, "INFO", name, id).await?;
    let Some(info) = infos.into_iter().next().map(|answer| answer.value) else { return Ok(()) };
    // If there are several instances, show the first, with its own figures.
    let shown_id = info["id"].as_str().unwrap_or_default();
    let stats = gather(session, "STATS", name, Some(shown_id)).await?;
    let mut stats = stats.into_iter().next().map_or_else(|| json!({}), |answer| answer.value);
    if stats.is_object() && stats.get("metadata").is_none() {
        // Some libraries omit the metadata here.
        stats["metadata"] = info["metadata"].clone();
    }
    if json {
        return crate::output::json(&json!({ "info": info, "stats": stats }));
    }
    let mut facts = Facts::new(format!("Service {}", text_or_empty(&info["name"])));
    facts.section("Description");
    facts.add("ID", text_or_empty(&info["id"]));
    facts.add_some("Version", text(&info["version"]));
    facts.add_some("Description", text(&info["description"]));
    facts.add_some("Started", stats["started"].as_str().map(local_time));
    facts.add_metadata(&info["metadata"]);
    let of_stats = stats["endpoints"].as_array().into_iter().flatten();
    let of_stats: Vec<&Value> = of_stats.collect();
    for described in info["endpoints"].as_array().into_iter().flatten() {
        let name = text_or_empty(&described["name"]);
        if pattern.as_ref().is_some_and(|pattern| !pattern.is_match(&name)) {
            continue;
        }
        facts.section(&format!("Endpoint {name}"));
        facts.add("Subject", text_or_empty(&described["subject"]));
        facts.add_some("Queue Group", text(&described["queue_group"]));
        if let Some(counted) = of_stats.iter().find(|counted| counted["name"] == described["name"]) {
            facts.add("Requests", count(&counted["num_requests"]));
            facts.add("Errors", count(&counted["num_errors"]));
            facts.add("Processing Time", nanoseconds(&counted["processing_time"]));
            facts.add("Average Time", nanoseconds(&counted["average_processing_time"]));
            facts.add_some("Last Error", text(&counted["last_error"]));
        }
    }
    write_out(facts.render().as_bytes())
}

/// Formats a time in nanoseconds.
fn nanoseconds(value: &Value) -> String {
    duration(Duration::from_nanos(value.as_u64().unwrap_or_default()))
}

pub(super) async fn stats(session: &mut Session, place: &Place, json: bool) -> Result<(), CliError> {
    let answers = gather(session, "STATS", Some(&place.name), place.id.as_deref()).await?;
    if json {
        return answers.iter().try_for_each(|answer| json_line(&answer.value));
    }
    let header = ["ID", "Endpoint", "Requests", "Queue Group", "Errors", "Processing Time", "Average Time"];
    let mut table = Table::new(format!("Statistics of {}", place.name), &header);
    let (mut requests, mut errors, mut busy) = (0, 0, 0);
    for Answer { value, .. } in &answers {
        for endpoint in value["endpoints"].as_array().into_iter().flatten() {
            let number = |field: &str| endpoint[field].as_u64().unwrap_or_default();
            requests += number("num_requests");
            errors += number("num_errors");
            busy += number("processing_time");
            table.row(vec![
                text_or_empty(&value["id"]),
                text_or_empty(&endpoint["name"]),
                count(&endpoint["num_requests"]),
                text_or_empty(&endpoint["queue_group"]),
                count(&endpoint["num_errors"]),
                nanoseconds(&endpoint["processing_time"]),
                nanoseconds(&endpoint["average_processing_time"]),
            ]);
        }
    }
    table.row(vec![
        "together".to_owned(),
        String::new(),
        count(&json!(requests)),
        String::new(),
        count(&json!(errors)),
        nanoseconds(&json!(busy)),
        nanoseconds(&json!(busy.checked_div(requests).unwrap_or_default())),
    ]);
    write_out(table.render().as_bytes())
}

pub(super) async fn ping(session: &mut Session, name: Option<&str>, json: bool) -> Result<(), CliError> {
    for Answer { value, took } in gather(session, "PING", name, None).await? {
        match json {
            true => json_line(&json!({
                "name": value["name"], "id": value["id"], "version": value["version"],
                "rtt": crate::values::api_nanoseconds(took),
            }))?,
            false => line(&format!(
                "{} {} rtt={}",
                text_or_empty(&value["name"]),
                text_or_empty(&value["id"]),
                duration(Duration::from_micros(took.as_micros() as u64))
            ))?,
        }
    }
    Ok(())
}

pub(super) async fn request(session: &mut Session, args: &RequestArgs, json: bool) -> Result<(), CliError> {
    let payload = match args.payload.as_deref() {
        None => Bytes::new(),
        Some("-") => crate::args::read_input()?,
        Some(text) => Bytes::copy_from_slice(text.as_bytes()),
    };
    let mut headers = HeaderMap::new();
    args.headers.iter().for_each(|(name, value)| headers.append(name.clone(), value.clone()));
    let headers = Some(headers).filter(|headers| !headers.is_empty());
    let infos = gather(session, "INFO", Some(&args.name), None).await?;
    let endpoints =
        infos.iter().flat_map(|answer| answer.value["endpoints"].as_array().into_iter().flatten());
    let found = endpoints.into_iter().find(|endpoint| endpoint["name"] == *args.endpoint);
    let subject = found.and_then(|endpoint| endpoint["subject"].as_str()).ok_or_else(|| {
        CliError::Client(format!(
            "service {} has no endpoint {:?}; \"stonechat service info {}\" shows those that it has",
            args.name, args.endpoint, args.name
        ))
    })?;
    let subject = crate::values::parse_subject(subject).map_err(CliError::Client)?;
    let format = Format::new(args.raw, json);
    for number in 1..=args.count {
        let answer = session.ask_service(&subject, headers.clone(), payload.clone()).await?;
        format.print(number, &answer)?;
        let said =
            |name: &str| answer.headers.as_ref()?.get(name).map(|value| crate::output::shown(value.as_str()));
        if let Some(error) = said("Nats-Service-Error") {
            let code = said("Nats-Service-Error-Code").unwrap_or_default();
            return Err(CliError::Client(format!("the service refuses: {error} (code {code})")));
        }
    }
    Ok(())
}
