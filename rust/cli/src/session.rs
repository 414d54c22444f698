//! A connection to JetStream: requests to its API, and their answers.

use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;

use crate::args::ConnectionArgs;
use crate::connection::{Connection, client_error};
use crate::context::Context;
use crate::error::CliError;
use crate::values::parse_duration;

/// Where JetStream is, and how long to wait for it.
#[derive(Clone, Debug, Args)]
pub(crate) struct JetStreamArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// How long to wait for answers of the server
    #[arg(long, env = "NATS_TIMEOUT", default_value = "5s", value_parser = parse_duration, value_name = "TIME", global = true)]
    pub(crate) timeout: Duration,
    /// JetStream domain to talk to
    #[arg(long, value_name = "DOMAIN", global = true)]
    pub(crate) js_domain: Option<String>,
    /// Prefix of the subjects of JetStream's API, where an account imports it under another name
    #[arg(long, value_name = "PREFIX", conflicts_with = "js_domain", global = true)]
    pub(crate) js_api_prefix: Option<String>,
    /// Print JSON: a value a line for lists
    #[arg(short, long, global = true)]
    pub(crate) json: bool,
}

impl JetStreamArgs {
    /// Returns arguments for commands that do not use JetStream.
    pub(crate) fn new(connection: ConnectionArgs, timeout: Duration) -> Self {
        Self { connection, timeout, js_domain: None, js_api_prefix: None, json: false }
    }
}

/// Minimum time to wait for the next part of an answer in several parts.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// Additional wait for the server's own answer that its time limit has passed.
const LATE: Duration = Duration::from_secs(2);

/// The default prefix of JetStream's API.
const API: &str = "$JS.API";

/// A connection to a server with JetStream.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) context: jetstream::Context,
    prefix: String,
    timeout: Duration,
}

impl Session {
    /// Connects to the server.
    ///
    /// # Errors
    /// No server can be reached, or the login fails.
    pub(crate) async fn open(args: &JetStreamArgs) -> Result<Self, CliError> {
        let named = Context::active(args.connection.context.as_deref())?;
        let connection = Connection::open(&args.connection, args.timeout).await?;
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let domain = args.js_domain.clone().or_else(|| some(&named.jetstream_domain));
        let prefix = args.js_api_prefix.clone().or_else(|| some(&named.jetstream_api_prefix));
        let prefix = match (domain, prefix) {
            (Some(domain), _) => format!("$JS.{domain}.API"),
            (None, Some(prefix)) => prefix.trim_end_matches('.').to_owned(),
            (None, None) => API.to_owned(),
        };
        let mut context = jetstream::with_prefix(connection.client.clone(), &prefix);
        context.set_timeout(args.timeout);
        Ok(Self { connection, context, prefix, timeout: args.timeout })
    }

    /// Returns the prefix of JetStream's API, if it is not the default; messages for its streams begin with it too.
    pub(crate) fn foreign_prefix(&self) -> Option<&str> {
        Some(self.prefix.as_str()).filter(|prefix| *prefix != API)
    }

    /// Returns the subject of a request to JetStream's API.
    pub(crate) fn subject(&self, call: &str) -> String {
        format!("{}.{call}", self.prefix)
    }

    /// Sends a request to JetStream's API. `call` is the subject after the prefix, such as `STREAM.INFO.ORDERS`.
    ///
    /// # Errors
    /// [`CliError::Api`] if the server refuses the request.
    pub(crate) async fn ask(&mut self, call: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let subject = self.subject(call);
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let message = self.request(subject, None, body).await?;
        let answer: Value = serde_json::from_slice(&message.payload)
            .map_err(|error| CliError::Client(format!("the server's answer is no JSON: {error}")))?;
        if !answer.is_object() {
            return Err(CliError::Client("the server's answer is no JSON object".to_owned()));
        }
        refusal(&answer).map_or(Ok(answer), Err)
    }

    /// Stores a message, and returns the server's answer.
    ///
    /// # Errors
    /// [`CliError::Api`] if the stream refuses the message.
    pub(crate) async fn store(
        &mut self,
        subject: String,
        headers: Option<async_nats::HeaderMap>,
        payload: Bytes,
    ) -> Result<Value, CliError> {
        let message = self.request(subject, headers, payload).await?;
        let answer: Value = serde_json::from_slice(&message.payload)
            .map_err(|_| CliError::Client("no stream takes this subject".to_owned()))?;
        refusal(&answer).map_or(Ok(answer), Err)
    }

    /// Sends a request to a service other than JetStream.
    ///
    /// # Errors
    /// No service listens, or no answer arrives in time.
    pub(crate) async fn ask_service(
        &mut self,
        subject: &str,
        headers: Option<async_nats::HeaderMap>,
        payload: Bytes,
    ) -> Result<async_nats::Message, CliError> {
        self.request(subject.to_owned(), headers, payload).await.map_err(|error| match error {
            CliError::NoJetStream { subject } => CliError::NoResponders(subject),
            other => other,
        })
    }

    /// Sends a request whose answer is a message, such as a direct get; `call` as in [`Session::ask`].
    pub(crate) async fn ask_message(
        &mut self,
        call: &str,
        body: Bytes,
    ) -> Result<async_nats::Message, CliError> {
        self.request(self.subject(call), None, body).await
    }

    /// Returns the time to wait for the next part of an answer. It is longer than for a whole answer, since the server may be
    /// busy.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout.max(LEAST_PATIENCE)
    }

    /// Returns the time to wait for answers.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request whose answer is a message of a stream, under its own subject, or a status. The server itself answers when
    /// the request expires.
    ///
    /// # Errors
    /// No answer arrives.
    pub(crate) async fn ask_for_delivery(
        &mut self,
        call: &str,
        body: Bytes,
    ) -> Result<async_nats::Message, CliError> {
        let client = self.connection.client.clone();
        let inbox = client.new_inbox();
        let subject = self.subject(call);
        let seconds = self.timeout.as_secs_f64();
        let mut answers = client.subscribe(inbox.clone()).await.map_err(client_error)?;
        client.publish_with_reply(subject.clone(), inbox, body).await.map_err(client_error)?;
        let answer = tokio::select! {
            biased;
            answer = tokio::time::timeout(self.timeout + LATE, answers.next()) => answer,
            complaint = self.connection.complaint() => return Err(complaint),
        };
        match answer {
            Ok(Some(message)) if message.status == Some(async_nats::StatusCode::NO_RESPONDERS) => {
                Err(CliError::NoJetStream { subject })
            }
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(CliError::ConnectionLost),
            Err(_) => Err(CliError::NoReply { subject, seconds }),
        }
    }

    /// Returns the version of the server.
    pub(crate) fn server_version(&self) -> String {
        self.connection.client.server_info().version
    }

    /// Sends bytes to a subject that the server chose, and waits up to `patience` for the answer.
    ///
    /// # Errors
    /// [`CliError::Api`] if the server refuses.
    pub(crate) async fn ask_raw(
        &mut self,
        subject: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<(), CliError> {
        let timeout = std::mem::replace(&mut self.timeout, patience);
        let answer = self.request(subject.to_owned(), None, body).await;
        self.timeout = timeout;
        let answer = serde_json::from_slice(&answer?.payload).unwrap_or(Value::Null);
        refusal(&answer).map_or(Ok(()), Err)
    }

    /// Sends a request. An error that the server sends meanwhile, such as a missing permission, ends the wait: no answer follows
    /// it.
    async fn request(
        &mut self,
        subject: String,
        headers: Option<async_nats::HeaderMap>,
        payload: Bytes,
    ) -> Result<async_nats::Message, CliError> {
        let max = self.connection.client.server_info().max_payload;
        if payload.len() > max {
            let len = payload.len();
            return Err(CliError::Client(format!(
                "{len} bytes are more than the server's max_payload of {max} takes"
            )));
        }
        let request = async_nats::Request::new().payload(payload).timeout(Some(self.timeout));
        let request = headers.into_iter().fold(request, async_nats::Request::headers);
        let client = self.connection.client.clone();
        let seconds = self.timeout.as_secs_f64();
        tokio::select! {
            biased;
            result = client.send_request(subject.clone(), request) => result.map_err(|error| match error.kind() {
                async_nats::client::RequestErrorKind::NoResponders => CliError::NoJetStream { subject },
                async_nats::client::RequestErrorKind::TimedOut => CliError::NoReply { subject, seconds },
                _ => client_error(error),
            }),
            complaint = self.connection.complaint() => Err(complaint),
        }
    }
}

/// Returns the error in an answer of JetStream's API.
fn refusal(answer: &Value) -> Option<CliError> {
    let error = answer.get("error")?;
    let number = |name: &str| error.get(name).and_then(Value::as_u64).unwrap_or_default();
    Some(CliError::Api {
        code: number("code"),
        err_code: number("err_code"),
        description: crate::output::shown(
            error.get("description").and_then(Value::as_str).unwrap_or("no reason given"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_have_code_and_reason() {
        assert!(refusal(&json!({"stream": "A", "seq": 1})).is_none());
        let error =
            refusal(&json!({"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}));
        assert!(matches!(error, Some(CliError::Api { code: 404, err_code: 10059, .. })));
        assert!(refusal(&json!({"error": 5})).is_some());
    }
}
