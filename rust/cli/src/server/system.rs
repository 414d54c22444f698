//! Requests to all servers, which answer in the system account.

use std::time::{Duration, Instant};

use async_nats::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value;

use crate::connection::client_error;
use crate::error::CliError;
use crate::session::{JetStreamArgs, Session};

/// Wait for further answers after the last one, if the number of servers is unknown.
const SILENCE: Duration = Duration::from_millis(300);

/// An answer of a server, and the time until it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) value: Value,
    pub(crate) took: Duration,
}

/// Sends a request, and collects answers until the expected number has arrived, or the number of servers that an answer states.
///
/// # Errors
/// No server answers: the user does not belong to the system account, or the servers do not support the request.
pub(crate) async fn ask_all(
    args: &JetStreamArgs,
    subject: &str,
    body: &Value,
    expected: Option<usize>,
) -> Result<Vec<Answer>, CliError> {
    let mut session = Session::open(args).await?;
    let answers = gather(&mut session, subject, body, expected).await.map_err(explained)?;
    if answers.is_empty() { Err(nobody(subject)) } else { Ok(answers) }
}

/// As [`ask_all`], on an existing connection. Servers that the request does not select stay silent, so having no answer is not an
/// error.
///
/// # Errors
/// [`CliError::NoResponders`] if no server listens; also if an answer is not valid JSON.
pub(crate) async fn gather(
    session: &mut Session,
    subject: &str,
    body: &Value,
    expected: Option<usize>,
) -> Result<Vec<Answer>, CliError> {
    let timeout = session.timeout();
    let client = session.connection.client.clone();
    let inbox = client.new_inbox();
    let mut incoming = client.subscribe(inbox.clone()).await.map_err(client_error)?;
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    let began = Instant::now();
    client.publish_with_reply(subject.to_owned(), inbox, body).await.map_err(client_error)?;
    let mut answers: Vec<Answer> = Vec::new();
    let mut expected = expected.filter(|count| *count > 0);
    loop {
        let left = timeout.saturating_sub(began.elapsed());
        let left = if answers.is_empty() || expected.is_some() { left } else { left.min(SILENCE) };
        let message = tokio::select! {
            biased;
            message = tokio::time::timeout(left, incoming.next()) => message,
            complaint = session.connection.complaint() => return Err(complaint),
        };
        let Ok(message) = message else { break };
        let message = message.ok_or(CliError::ConnectionLost)?;
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(CliError::NoResponders(subject.to_owned()));
        }
        let value: Value = serde_json::from_slice(&message.payload)
            .map_err(|error| CliError::Client(format!("a server's answer is no JSON: {error}")))?;
        expected = expected.or_else(|| servers(&value));
        answers.push(Answer { value, took: began.elapsed() });
        if expected.is_some_and(|count| answers.len() >= count) {
            break;
        }
    }
    Ok(answers)
}

/// Converts an error of [`gather`] to one that explains how to use the system account.
pub(super) fn explained(error: CliError) -> CliError {
    match error {
        CliError::NoResponders(subject) => nobody(&subject),
        other => other,
    }
}

pub(super) fn nobody(subject: &str) -> CliError {
    CliError::Client(format!(
        "no server answers on {subject:?}: the user must be of the system account, and the server must know the request"
    ))
}

/// Returns the number of servers, if the answer states it.
pub(super) fn servers(answer: &Value) -> Option<usize> {
    let count = answer["statsz"]["active_servers"].as_u64()?;
    usize::try_from(count).ok().filter(|count| *count > 0)
}
