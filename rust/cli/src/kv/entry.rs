//! An entry: one revision of a key, from any kind of message.

use async_nats::{HeaderMap, HeaderValue, Message};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use serde_json::{Value, json};
use stonechat_buckets::{KeyPlace, Operation, header, last_header};

use crate::error::CliError;
use crate::ordered::Delivered;

/// Returns the operation on the key that the headers of a message state.
fn operation(headers: Option<&HeaderMap>) -> Operation {
    Operation::of(last(headers, header::OPERATION), last(headers, header::MARKER_REASON))
}

/// Returns the last value of a header: the server's headers follow those of the message.
fn last<'a>(headers: Option<&'a HeaderMap>, name: &'static str) -> Option<&'a str> {
    headers?.get_all(name).last().map(HeaderValue::as_str)
}

/// One revision of a key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) value: Bytes,
    pub(super) revision: u64,
    /// The time at which the server stored it (RFC 3339).
    pub(super) created: String,
    pub(super) operation: Operation,
    /// Number of entries that the consumer will deliver after this one.
    pub(super) pending: u64,
}

impl Entry {
    /// Reads the answer to a direct get; `None` if there is no such message.
    pub(super) fn from_direct(
        bucket: &str,
        place: &KeyPlace,
        message: &Message,
    ) -> Result<Option<Self>, CliError> {
        let status = message.status.as_ref().map(async_nats::StatusCode::as_u16);
        if status == Some(404) {
            return Ok(None);
        }
        let headers = message.headers.as_ref();
        let (Some(subject), Some(revision)) =
            (last(headers, header::SUBJECT), last(headers, header::SEQUENCE))
        else {
            let reason = message.description.as_deref().unwrap_or("an answer without a sequence");
            return Err(CliError::Client(format!("the server answers: {}", crate::output::shown(reason))));
        };
        Ok(Some(Self {
            bucket: bucket.to_owned(),
            key: place.key(subject).to_owned(),
            value: message.payload.clone(),
            revision: revision.parse().unwrap_or_default(),
            created: last(headers, header::TIME).unwrap_or_default().to_owned(),
            operation: operation(message.headers.as_ref()),
            pending: 0,
        }))
    }

    /// Reads an answer of `STREAM.MSG.GET`.
    pub(super) fn from_stored(bucket: &str, place: &KeyPlace, answer: &Value) -> Result<Self, CliError> {
        let message = &answer["message"];
        let bytes = |name: &str| BASE64_STANDARD.decode(message[name].as_str().unwrap_or_default());
        let wrong = |error| CliError::Client(format!("the server's answer is no Base64: {error}"));
        let headers = String::from_utf8_lossy(&bytes("hdrs").map_err(wrong)?).into_owned();
        let subject = message["subject"].as_str().unwrap_or_default();
        Ok(Self {
            bucket: bucket.to_owned(),
            key: place.key(subject).to_owned(),
            value: bytes("data").map_err(wrong)?.into(),
            revision: message["seq"].as_u64().unwrap_or_default(),
            created: message["time"].as_str().unwrap_or_default().to_owned(),
            operation: Operation::of(
                last_header(&headers, header::OPERATION),
                last_header(&headers, header::MARKER_REASON),
            ),
            pending: 0,
        })
    }

    /// Reads a message of a consumer.
    pub(super) fn from_delivered(bucket: &str, place: &KeyPlace, delivered: Delivered) -> Self {
        let Delivered { message, sequence, time, pending } = delivered;
        Self {
            bucket: bucket.to_owned(),
            key: place.key(&message.subject).to_owned(),
            value: message.payload.clone(),
            revision: sequence,
            created: time,
            operation: operation(message.headers.as_ref()),
            pending,
        }
    }

    /// Returns the entry as JSON; a value that is not text is Base64 in `value_base64`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hostile_server_answers_is_no_panic() {
        let place = KeyPlace::of("A", &json!({}), None);
        for answer in
            ["{}", r#"{"message": 5}"#, r#"{"message": {"data": "AQ==", "seq": -1, "subject": "x"}}"#]
        {
            let answer: Value = serde_json::from_str(answer).unwrap();
            assert_eq!(Entry::from_stored("A", &place, &answer).unwrap().revision, 0);
        }
        let answer = json!({"message": {"data": "%%"}});
        assert!(Entry::from_stored("A", &place, &answer).is_err());
    }
}
