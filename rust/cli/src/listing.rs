//! Lists of JetStream's API, which the server returns in pages.

use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::session::Session;

/// Returns all items of a list, from all its pages: those under `field` in the answers to `call`.
///
/// # Errors
/// The server refuses a request, or does not answer.
pub(crate) async fn all(
    session: &mut Session,
    call: &str,
    body: Value,
    field: &str,
) -> Result<Vec<Value>, CliError> {
    let mut body = body;
    let mut found = Vec::new();
    loop {
        body["offset"] = json!(found.len());
        let mut answer = session.ask(call, Some(&body)).await?;
        let Some(Value::Array(items)) = answer.get_mut(field).map(Value::take) else { break };
        let is_last = items.is_empty();
        found.extend(items);
        if is_last || found.len() as u64 >= answer["total"].as_u64().unwrap_or_default() {
            break;
        }
    }
    Ok(found)
}

/// Returns the infos of all streams, or of those that accept messages on a subject.
///
/// # Errors
/// As [`all`].
pub(crate) async fn streams(session: &mut Session, subject: Option<&str>) -> Result<Vec<Value>, CliError> {
    all(session, "STREAM.LIST", filter(subject), "streams").await
}

/// Returns the names of streams, sorted.
///
/// # Errors
/// As [`all`].
pub(crate) async fn stream_names(
    session: &mut Session,
    subject: Option<&str>,
) -> Result<Vec<String>, CliError> {
    Ok(names(all(session, "STREAM.NAMES", filter(subject), "streams").await?))
}

/// Returns the infos of a stream's consumers.
///
/// # Errors
/// As [`all`].
pub(crate) async fn consumers(session: &mut Session, stream: &str) -> Result<Vec<Value>, CliError> {
    all(session, &format!("CONSUMER.LIST.{stream}"), json!({}), "consumers").await
}

/// Returns the names of a stream's consumers, sorted.
///
/// # Errors
/// As [`all`].
pub(crate) async fn consumer_names(session: &mut Session, stream: &str) -> Result<Vec<String>, CliError> {
    Ok(names(all(session, &format!("CONSUMER.NAMES.{stream}"), json!({}), "consumers").await?))
}

/// Returns the subjects in a stream that match a filter, with the number of messages of each.
///
/// # Errors
/// As [`all`].
pub(crate) async fn subjects(
    session: &mut Session,
    stream: &str,
    filter: &str,
) -> Result<Map<String, Value>, CliError> {
    let mut found = Map::new();
    loop {
        let body = json!({ "subjects_filter": filter, "offset": found.len() });
        let mut answer = session.ask(&format!("STREAM.INFO.{stream}"), Some(&body)).await?;
        let total = answer["total"].as_u64().unwrap_or_default();
        let Some(Value::Object(page)) = answer["state"].get_mut("subjects").map(Value::take) else { break };
        let is_last = page.is_empty();
        found.extend(page);
        if is_last || found.len() as u64 >= total {
            break;
        }
    }
    Ok(found)
}

fn filter(subject: Option<&str>) -> Value {
    match subject {
        Some(subject) => json!({ "subject": subject }),
        None => json!({}),
    }
}

fn names(values: Vec<Value>) -> Vec<String> {
    let mut names: Vec<String> =
        values.into_iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    names.sort_unstable();
    names
}
