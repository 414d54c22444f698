//! A service that echoes its requests.

use async_nats::service::ServiceExt;
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use futures_util::StreamExt;
use serde_json::json;

use crate::console::say;
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::output::{json_line, line, shown};
use crate::session::Session;

/// Serves until Ctrl-C.
pub(super) async fn run(
    session: &mut Session,
    name: &str,
    headers: &[(HeaderName, HeaderValue)],
    json: bool,
    mut interrupt: Interrupt,
) -> Result<(), CliError> {
    let failed = |error: async_nats::Error| CliError::Client(error.to_string());
    let mut answer_headers = HeaderMap::new();
    headers.iter().for_each(|(name, value)| answer_headers.append(name.clone(), value.clone()));
    let description = format!("A service of stonechat that echoes ({name})");
    let client = session.connection.client.clone();
    let service =
        client.service_builder().description(description).start(name, "1.0.0").await.map_err(failed)?;
    let subject = format!("{name}.echo");
    let mut requests = service.endpoint_builder().name("echo").add(subject.clone()).await.map_err(failed)?;
    session.connection.settle(session.timeout()).await?;
    say(format_args!("serving {subject} until Ctrl-C"));
    loop {
        let request = tokio::select! {
            request = requests.next() => request.ok_or(CliError::ConnectionLost)?,
            complaint = session.connection.complaint() => return Err(complaint),
            () = interrupt.pressed() => break,
        };
        let mut headers = request.message.headers.clone().unwrap_or_default();
        for (name, values) in answer_headers.iter() {
            values.iter().for_each(|value| headers.append(name.clone(), value.clone()));
        }
        let (subject, body) = (shown(&request.message.subject), request.message.payload.clone());
        match json {
            true => json_line(&json!({ "subject": subject, "bytes": body.len() }))?,
            false => line(&format!("{subject}: {} bytes", body.len()))?,
        }
        // The requester may be gone meanwhile.
        let _ = request.respond_with_headers(Ok(body), headers).await;
    }
    service.stop().await.map_err(failed)
}
