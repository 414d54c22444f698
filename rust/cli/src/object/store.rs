//! A bucket of objects: access to descriptions and chunks.

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::{HeaderMap, HeaderValue, Message};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use serde_json::{Value, json};
use stonechat_buckets::{Description, StoreStatus, code, header, names};

use super::info::ObjectInfo;
use crate::error::CliError;
use crate::ordered::{Ordered, Reading};
use crate::session::Session;

/// An existing bucket.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) name: String,
    /// The server's info about its stream.
    pub(super) info: Value,
    pub(super) stream: String,
}

impl Store {
    /// Looks up the bucket.
    ///
    /// # Errors
    /// [`CliError::NoObjectBucket`] if it does not exist.
    pub(super) async fn open(session: &mut Session, name: &str) -> Result<Self, CliError> {
        let stream = names::object_stream(name);
        match session.ask(&format!("STREAM.INFO.{stream}"), None).await {
            Ok(info) => Ok(Self { name: name.to_owned(), info, stream }),
            Err(CliError::Api { err_code: code::STREAM_NOT_FOUND, .. }) => {
                Err(CliError::NoObjectBucket(name.to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the subject of the chunks with an id.
    pub(super) fn chunk_subject(&self, id: &str) -> String {
        names::chunk_subject(&self.name, id)
    }

    /// Whether the stream allows direct gets.
    pub(super) fn is_direct(&self) -> bool {
        StoreStatus::of(&self.info).is_direct
    }

    /// Returns the description of an object, even of a deleted one; `None` if there is none.
    pub(super) async fn find(
        &self,
        session: &mut Session,
        object: &str,
    ) -> Result<Option<ObjectInfo>, CliError> {
        let subject = names::description_subject(&self.name, object);
        match last_message(session, self, &subject).await? {
            Some(found) => Ok(Some(ObjectInfo::read(&found.payload, found.sequence, &found.time)?)),
            None => Ok(None),
        }
    }

    /// Returns the description of an existing object.
    ///
    /// # Errors
    /// [`CliError::NoObject`] if there is none, or the object was deleted.
    pub(super) async fn object(&self, session: &mut Session, object: &str) -> Result<ObjectInfo, CliError> {
        let found = self.find(session, object).await?.filter(|info| !info.is_deleted());
        found.ok_or_else(|| CliError::NoObject { bucket: self.name.clone(), object: object.to_owned() })
    }

    /// Writes a description and returns its sequence.
    pub(super) async fn describe(
        &self,
        session: &mut Session,
        description: &Description,
    ) -> Result<u64, CliError> {
        let subject = names::description_subject(&self.name, description.text("name"));
        let mut headers = HeaderMap::new();
        headers.insert(header::ROLLUP, "sub");
        let subject = match session.foreign_prefix() {
            Some(prefix) => format!("{prefix}.{subject}"),
            None => subject,
        };
        let answer = session.store(subject, Some(headers), description.value.to_string().into()).await?;
        Ok(answer["seq"].as_u64().unwrap_or_default())
    }

    /// Removes the chunks with an id.
    pub(super) async fn purge_chunks(&self, session: &mut Session, nuid: &str) -> Result<u64, CliError> {
        let body = json!({ "filter": self.chunk_subject(nuid) });
        let answer = session.ask(&format!("STREAM.PURGE.{}", self.stream), Some(&body)).await?;
        Ok(answer["purged"].as_u64().unwrap_or_default())
    }

    /// Reads the descriptions of all objects, in order; new ones follow as they arrive.
    pub(super) async fn descriptions(&self, session: &Session, is_all: bool) -> Result<Ordered, CliError> {
        let reading = Reading {
            reader: "stonechat object",
            filter: names::description_subjects(&self.name),
            from: if is_all { DeliverPolicy::All } else { DeliverPolicy::LastPerSubject },
            is_headers_only: false,
        };
        Ordered::open(session, &self.stream, reading).await
    }

    /// Reads the bucket's info again.
    pub(super) async fn reload(self, session: &mut Session) -> Result<Self, CliError> {
        Self::open(session, &self.name).await
    }
}

/// A message of a stream.
pub(super) struct Stored {
    pub(super) payload: Bytes,
    pub(super) sequence: u64,
    pub(super) time: String,
}

/// Returns the last message of a subject; `None` if there is none.
pub(super) async fn last_message(
    session: &mut Session,
    store: &Store,
    subject: &str,
) -> Result<Option<Stored>, CliError> {
    if store.is_direct() {
        let call = format!("DIRECT.GET.{}.{subject}", store.stream);
        return from_direct(&session.ask_message(&call, Bytes::new()).await?);
    }
    from_api(session, store, &json!({ "last_by_subj": subject })).await
}

/// Reads the answer to a direct get; `None` if there is no such message.
pub(super) fn from_direct(message: &Message) -> Result<Option<Stored>, CliError> {
    if message.status.as_ref().map(async_nats::StatusCode::as_u16) == Some(404) {
        return Ok(None);
    }
    // Use the last value: the server's headers follow those of the message.
    let told = |name: &'static str| message.headers.as_ref()?.get_all(name).last().map(HeaderValue::as_str);
    match told(header::SEQUENCE).and_then(|sequence| sequence.parse().ok()) {
        Some(sequence) => Ok(Some(Stored {
            payload: message.payload.clone(),
            sequence,
            time: told(header::TIME).unwrap_or_default().to_owned(),
        })),
        None => {
            let reason = message.description.as_deref().unwrap_or("an answer without a sequence");
            Err(CliError::Client(format!("the server answers: {}", crate::output::shown(reason))))
        }
    }
}

/// Requests a message through the API, for streams without direct gets.
pub(super) async fn from_api(
    session: &mut Session,
    store: &Store,
    body: &Value,
) -> Result<Option<Stored>, CliError> {
    let answer = match session.ask(&format!("STREAM.MSG.GET.{}", store.stream), Some(body)).await {
        Ok(answer) => answer,
        Err(CliError::Api { err_code: code::NO_MESSAGE, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let message = &answer["message"];
    let data = BASE64_STANDARD.decode(message["data"].as_str().unwrap_or_default());
    Ok(Some(Stored {
        payload: data
            .map_err(|error| CliError::Client(format!("the server's answer is no Base64: {error}")))?
            .into(),
        sequence: message["seq"].as_u64().unwrap_or_default(),
        time: message["time"].as_str().unwrap_or_default().to_owned(),
    }))
}
