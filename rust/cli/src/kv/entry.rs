//! An entry: one revision of a key, from whatever message it comes.

use std::fmt;

use async_nats::{HeaderMap, Message};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::ordered::Delivered;

/// The header that tells a deletion from a value.
pub(super) const OPERATION: &str = "KV-Operation";
/// The header of the markers that the server writes where a limit has removed a key.
const MARKER: &str = "Nats-Marker-Reason";

/// What was done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Put,
    Delete,
    Purge,
}

impl Operation {
    /// What the headers say; a marker of the server counts as a purge, or as a deletion if somebody removed the message.
    pub(super) fn of(headers: Option<&HeaderMap>) -> Self {
        let Some(headers) = headers else { return Self::Put };
        let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        match (text(OPERATION).as_deref(), text(MARKER).as_deref()) {
            (Some("DEL"), _) | (None, Some("Remove")) => Self::Delete,
            (Some("PURGE"), _) | (None, Some("MaxAge" | "Purge")) => Self::Purge,
            _ => Self::Put,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Purge => "PURGE",
        })
    }
}

/// One revision of a key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) value: Bytes,
    pub(super) revision: u64,
    /// When it was written, as the server says it (RFC 3339).
    pub(super) created: String,
    pub(super) operation: Operation,
    /// How many entries follow of those that a consumer delivers.
    pub(super) pending: u64,
}

impl Entry {
    /// From the answer to a direct get; `None` if there is no such message.
    pub(super) fn from_direct(
        bucket: &str,
        prefix: &str,
        message: &Message,
    ) -> Result<Option<Self>, CliError> {
        let status = message.status.as_ref().map(async_nats::StatusCode::as_u16);
        if status == Some(404) {
            return Ok(None);
        }
        let header = |name: &str| {
            let headers = message.headers.as_ref()?;
            Some(headers.get(name)?.as_str().to_owned())
        };
        let (Some(subject), Some(revision)) = (header("Nats-Subject"), header("Nats-Sequence")) else {
            let reason = message.description.as_deref().unwrap_or("an answer without a sequence");
            return Err(CliError::Client(format!("the server answers: {}", crate::output::shown(reason))));
        };
        Ok(Some(Self {
            bucket: bucket.to_owned(),
            key: subject.strip_prefix(prefix).unwrap_or(&subject).to_owned(),
            value: message.payload.clone(),
            revision: revision.parse().unwrap_or_default(),
            created: header("Nats-Time-Stamp").unwrap_or_default(),
            operation: Operation::of(message.headers.as_ref()),
            pending: 0,
        }))
    }

    /// From the answer of `STREAM.MSG.GET`.
    pub(super) fn from_stored(bucket: &str, prefix: &str, answer: &Value) -> Result<Self, CliError> {
        let message = &answer["message"];
        let bytes = |name: &str| BASE64_STANDARD.decode(message[name].as_str().unwrap_or_default());
        let wrong = |error| CliError::Client(format!("the server's answer is no Base64: {error}"));
        let headers = String::from_utf8_lossy(&bytes("hdrs").map_err(wrong)?).into_owned();
        let subject = message["subject"].as_str().unwrap_or_default();
        Ok(Self {
            bucket: bucket.to_owned(),
            key: subject.strip_prefix(prefix).unwrap_or(subject).to_owned(),
            value: bytes("data").map_err(wrong)?.into(),
            revision: message["seq"].as_u64().unwrap_or_default(),
            created: message["time"].as_str().unwrap_or_default().to_owned(),
            operation: Operation::of(parse_headers(&headers).as_ref()),
            pending: 0,
        })
    }

    /// From a message of a consumer.
    pub(super) fn from_delivered(bucket: &str, prefix: &str, delivered: Delivered) -> Self {
        let Delivered { message, sequence, time, pending } = delivered;
        Self {
            bucket: bucket.to_owned(),
            key: message.subject.strip_prefix(prefix).unwrap_or(&message.subject).to_owned(),
            value: message.payload.clone(),
            revision: sequence,
            created: time,
            operation: Operation::of(message.headers.as_ref()),
            pending,
        }
    }

    /// As JSON; a value that is no text stands as Base64 under `value_base64`.
    pub(super) fn as_json(&self) -> Value {
        let mut object = json!({
            "bucket": self.bucket,
            "key": self.key,
            "revision": self.revision,
            "operation": self.operation.to_string(),
            "created": self.created,
        });
        if self.operation == Operation::Put {
            match std::str::from_utf8(&self.value) {
                Ok(text) => object["value"] = json!(text),
                Err(_) => object["value_base64"] = json!(BASE64_STANDARD.encode(&self.value)),
            }
        }
        object
    }
}

/// The two headers that matter, of a block of headers.
fn parse_headers(block: &str) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in block.lines().skip(1) {
        if let Some((name, value)) = line.split_once(':')
            && (name == OPERATION || name == MARKER)
        {
            map.insert(name, value.trim());
        }
    }
    Some(map).filter(|map| !map.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations() {
        let of = |block: &str| Operation::of(parse_headers(block).as_ref());
        assert_eq!(of(""), Operation::Put);
        assert_eq!(of("NATS/1.0\r\nOther: x\r\n\r\n"), Operation::Put);
        assert_eq!(of("NATS/1.0\r\nKV-Operation: DEL\r\n\r\n"), Operation::Delete);
        assert_eq!(of("NATS/1.0\r\nKV-Operation: PURGE\r\n\r\n"), Operation::Purge);
        assert_eq!(of("NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n"), Operation::Purge);
        assert_eq!(of("NATS/1.0\r\nNats-Marker-Reason: Remove\r\n\r\n"), Operation::Delete);
    }

    #[test]
    fn what_a_hostile_server_answers_is_no_panic() {
        for answer in
            ["{}", r#"{"message": 5}"#, r#"{"message": {"data": "AQ==", "seq": -1, "subject": "x"}}"#]
        {
            let answer: Value = serde_json::from_str(answer).unwrap();
            assert_eq!(Entry::from_stored("A", "$KV.A.", &answer).unwrap().revision, 0);
        }
        let answer = json!({"message": {"data": "%%"}});
        assert!(Entry::from_stored("A", "$KV.A.", &answer).is_err());
    }
}
