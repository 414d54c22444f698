//! The decoded bodies of requests. The subject of a request tells the type of its body.

use std::collections::BTreeMap;

use serde_json::Value;

use super::is_create;
use super::requests::{
    DeleteRequest, GetRequest, GroupRequest, InfoRequest, ListRequest, PauseRequest, PurgeRequest,
    ResetRequest, is_empty,
};
use crate::consumer::{ConsumerRequest, PullRequest};
use crate::engine::SnapshotRequest;
use crate::error::{self, ApiError};
use crate::json::{DecodeError, parse};
use crate::stream::{METADATA_LEN_MAX, StreamRequest};

/// The decoded body of a request, or the error that it can't be decoded.
#[derive(Debug)]
pub(super) enum Asked {
    /// The body is ignored.
    Nothing,
    /// The body should be empty; true if it is.
    Empty(bool),
    /// A stream's configuration.
    Stream(Result<StreamRequest, ApiError>),
    /// A consumer's configuration.
    Consumer(Result<ConsumerRequest, ApiError>),
    Info(Result<InfoRequest, ApiError>),
    List(Result<ListRequest, ApiError>),
    /// The offset of a page of consumers.
    Offset(Result<i64, ApiError>),
    Purge(Result<PurgeRequest, ApiError>),
    Get(Result<GetRequest, ApiError>),
    Delete(Result<DeleteRequest, ApiError>),
    Pause(Result<PauseRequest, ApiError>),
    Group(Result<GroupRequest, ApiError>),
    Reset(Result<ResetRequest, ApiError>),
    /// `None` if the body is empty.
    Snapshot(Option<Result<SnapshotRequest, ApiError>>),
    /// A configuration, and the fields of the state that are needed.
    Restore(Result<(StreamRequest, Value), ApiError>),
    /// A request for a consumer's messages.
    Pull(Result<PullRequest, DecodeError>),
    /// The delay of a negative acknowledgement, see [`nak_delay`](crate::consumer::nak_delay).
    Delay(Option<Option<i64>>),
}

/// Go's names of the types of requests, within their package and outside.
const NAMES: (&str, &str) = ("JSApiStreamNamesRequest", "server.JSApiStreamNamesRequest");
const LIST: (&str, &str) = ("JSApiStreamListRequest", "server.JSApiStreamListRequest");

impl Asked {
    /// Decodes the body of a request of the API; `tokens` are those of its subject.
    pub(super) fn read(tokens: &[&str], payload: &[u8], strict: bool) -> Self {
        match *tokens {
            ["STREAM", "CREATE" | "UPDATE", _] => {
                Self::Stream(stream(StreamRequest::decode(payload, strict)))
            }
            ["STREAM", "INFO", _] => Self::Info(InfoRequest::decode(payload, strict)),
            ["STREAM", "NAMES"] => Self::List(ListRequest::decode(payload, NAMES, strict)),
            ["STREAM", "LIST"] => Self::List(ListRequest::decode(payload, LIST, strict)),
            ["STREAM", "DELETE", _] => Self::Empty(is_empty(payload)),
            ["STREAM", "PURGE", _] => Self::Purge(PurgeRequest::decode(payload, strict)),
            ["STREAM", "MSG", "GET", _] => {
                Self::Get(not_empty(payload).and_then(|()| GetRequest::decode(payload, strict)))
            }
            ["STREAM", "MSG", "DELETE", _] => {
                Self::Delete(not_empty(payload).and_then(|()| DeleteRequest::decode(payload, strict)))
            }
            ["STREAM", "SNAPSHOT", _] => Self::Snapshot(
                (!says_nothing(payload))
                    .then(|| SnapshotRequest::decode(payload, strict).map_err(ApiError::from)),
            ),
            ["STREAM", "RESTORE", name] => Self::Restore(read_restore(name, payload, strict)),
            ["CONSUMER", "NAMES" | "LIST", _] => Self::Offset(ListRequest::decode_offset(payload, strict)),
            ["CONSUMER", "INFO" | "DELETE", _, _] => Self::Empty(is_empty(payload)),
            ["CONSUMER", "PAUSE", _, _] => Self::Pause(PauseRequest::decode(payload, strict)),
            ["CONSUMER", "UNPIN", _, _] => Self::Group(GroupRequest::decode(payload)),
            ["CONSUMER", "RESET", _, _] => Self::Reset(ResetRequest::decode(payload)),
            ["CONSUMER", ref rest @ ..] if is_create(rest) => {
                Self::Consumer(consumer(ConsumerRequest::decode(payload, strict)))
            }
            _ => Self::Nothing,
        }
    }
}

/// Bytes of a subject, at most: each of its tokens takes time and memory. nats-server has no limit, but no client can publish on
/// a subject that is longer than a line of the protocol.
const SUBJECT_LEN_MAX: usize = 16 << 10;

fn within_len<'s>(mut subjects: impl Iterator<Item = &'s String>) -> Result<(), ApiError> {
    match subjects.find(|subject| subject.len() > SUBJECT_LEN_MAX) {
        None => Ok(()),
        Some(long) => {
            let text =
                format!("a subject of {} bytes is too long: {SUBJECT_LEN_MAX} are possible", long.len());
            Err(error::STREAM_INVALID_CONFIG.with("err", text))
        }
    }
}

fn stream(decoded: Result<StreamRequest, DecodeError>) -> Result<StreamRequest, ApiError> {
    let mut asked = decoded?;
    shorten(&mut asked.config.metadata);
    within_len(asked.config.all_subjects()).map(|()| asked)
}

/// Delays between deliveries that a consumer may have; nats-server has no limit.
const BACKOFFS_MAX: usize = 10_000;

fn consumer(decoded: Result<ConsumerRequest, DecodeError>) -> Result<ConsumerRequest, ApiError> {
    let mut asked = decoded?;
    shorten(&mut asked.config.metadata);
    let backoffs = asked.config.backoff.len();
    if backoffs > BACKOFFS_MAX {
        let text = format!("{backoffs} values of backoff are too many: {BACKOFFS_MAX} are possible");
        return Err(error::STREAM_INVALID_CONFIG.with("err", text));
    }
    within_len(asked.config.all_subjects()).map(|()| asked)
}

/// Truncates metadata that is too long. Enough of it stays for the later check to refuse it.
fn shorten(metadata: &mut BTreeMap<String, String>) {
    let mut len = 0;
    metadata.retain(|key, value| {
        let stays = len <= METADATA_LEN_MAX;
        len += key.len() + value.len();
        stays
    });
}

fn not_empty(payload: &[u8]) -> Result<(), ApiError> {
    if is_empty(payload) { Err(error::BAD_REQUEST.error()) } else { Ok(()) }
}

/// Whether the body of a request about a backup is empty.
fn says_nothing(payload: &[u8]) -> bool {
    let payload = payload.trim_ascii();
    let inner = payload.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    payload.is_empty() || inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

/// Decodes the configuration of the stream that is to be restored, and the numbers of its state.
fn read_restore(name: &str, payload: &[u8], strict: bool) -> Result<(StreamRequest, Value), ApiError> {
    if says_nothing(payload) {
        return Err(error::BAD_REQUEST.error());
    }
    // Parsed here only for the syntax errors of nats-server; the content is decoded below.
    parse(payload, 0).map_err(DecodeError::from)?;
    let mut body: Value = serde_json::from_slice(payload).map_err(|e| error::INVALID_JSON.with("err", e))?;
    let unknown = body.as_object().and_then(|o| o.keys().find(|k| *k != "config" && *k != "state").cloned());
    if let Some(unknown) = unknown.filter(|_| strict) {
        return Err(DecodeError::UnknownField(unknown).into());
    }
    let mut config = body.get_mut("config").map(Value::take).unwrap_or_default();
    if config.get("name").and_then(Value::as_str).unwrap_or_default().is_empty() && config.is_object() {
        config["name"] = name.into();
    }
    let request = stream(StreamRequest::decode(config.to_string().as_bytes(), strict))?;
    Ok((request, state_of(&body["state"])))
}

/// The numbers of a stream's state that a restore needs, without its lists.
fn state_of(state: &Value) -> Value {
    let fields = ["messages", "bytes", "first_seq", "last_seq", "consumer_count"];
    let known =
        fields.into_iter().filter_map(|name| Some((name.to_owned(), state.get(name)?.as_u64()?.into())));
    Value::Object(known.collect())
}
