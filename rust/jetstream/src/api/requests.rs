//! The bodies of requests.

use crate::error::{self, ApiError};
use crate::json::{DecodeError, Field, parse, parse_whole};
use crate::time::decode as time;

/// Reads an object with `set`, which returns false for an unknown name.
fn decode<T: Default>(
    payload: &[u8],
    name: &'static str,
    wanted: &'static str,
    strict: bool,
    set: impl Fn(&mut T, &str, &Field<'_>) -> Result<bool, DecodeError>,
) -> Result<T, ApiError> {
    let mut value = T::default();
    let mut at = 0;
    while let Some((document, end)) = parse(payload, at).map_err(DecodeError::from)? {
        let root = Field::root(document.root(), name);
        for (name, field) in root.request(wanted)? {
            if !set(&mut value, &name.to_lowercase(), &field)? && strict {
                return Err(DecodeError::UnknownField(name.into_owned()).into());
            }
        }
        at = end;
    }
    Ok(value)
}

/// Whether a payload is treated as JSON. Other payloads count as empty (as nats-server 2.15).
pub(super) fn is_json(payload: &[u8]) -> bool {
    matches!(payload.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Whether a request is empty: no payload, or an object without fields.
pub(super) fn is_empty(payload: &[u8]) -> bool {
    // Decoding the payload may take long and gives the same result.
    let inner = trim_white(payload).strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    payload.is_empty() || inner.is_some_and(|inner| trim_white(inner).is_empty())
}

/// `bytes` without the white space of JSON around them.
fn trim_white(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let begin = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_text).map_or(begin, |last| last + 1);
    &bytes[begin..end]
}

#[derive(Debug, Default)]
pub(super) struct InfoRequest {
    pub(super) offset: i64,
    pub(super) deleted_details: bool,
    pub(super) subjects_filter: String,
}

impl InfoRequest {
    pub(super) fn decode(payload: &[u8], strict: bool) -> Result<Self, ApiError> {
        if !is_json(payload) {
            return Ok(Self::default());
        }
        decode(
            payload,
            "JSApiStreamInfoRequest",
            "server.JSApiStreamInfoRequest",
            strict,
            |r: &mut Self, name, f| {
                match name {
                    "offset" => r.offset = f.integer("int")?,
                    "deleted_details" => r.deleted_details = f.bool()?,
                    "subjects_filter" => r.subjects_filter = f.string()?,
                    _ => return Ok(false),
                }
                Ok(true)
            },
        )
    }
}

#[derive(Debug, Default)]
pub(super) struct ListRequest {
    pub(super) offset: i64,
    pub(super) subject: String,
}

impl ListRequest {
    /// `types`: Go's names of the request's type, within its package and outside.
    pub(super) fn decode(
        payload: &[u8],
        types: (&'static str, &'static str),
        strict: bool,
    ) -> Result<Self, ApiError> {
        if !is_json(payload) {
            return Ok(Self::default());
        }
        decode(payload, types.0, types.1, strict, |r: &mut Self, name, f| {
            match name {
                "offset" => r.offset = f.integer("int")?,
                "subject" => r.subject = f.string()?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

impl ListRequest {
    /// Decodes a request that has the offset of a page as its only field.
    pub(super) fn decode_offset(payload: &[u8], strict: bool) -> Result<i64, ApiError> {
        const NAME: &str = "JSApiConsumersRequest";
        const WANTED: &str = "server.JSApiConsumersRequest";
        if !is_json(payload) {
            return Ok(0);
        }
        decode(payload, NAME, WANTED, strict, |offset: &mut i64, name, f| {
            if name == "offset" {
                *offset = f.integer("int")?;
            }
            Ok(name == "offset")
        })
    }
}

/// A request to pause a consumer.
#[derive(Debug, Default)]
pub(super) struct PauseRequest {
    pub(super) pause_until: Option<i64>,
}

impl PauseRequest {
    pub(super) fn decode(payload: &[u8], strict: bool) -> Result<Self, ApiError> {
        if !is_json(payload) {
            return Ok(Self::default());
        }
        let name = "server.JSApiConsumerPauseRequest";
        decode(payload, "JSApiConsumerPauseRequest", name, strict, |r: &mut Self, name, f| {
            if name == "pause_until" {
                r.pause_until = time(f)?;
            }
            Ok(name == "pause_until")
        })
    }
}

/// A request about a priority group.
#[derive(Debug, Default)]
pub(super) struct GroupRequest {
    pub(super) group: String,
}

impl GroupRequest {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ApiError> {
        let document = parse_whole(payload)?;
        let mut asked = Self::default();
        let root = Field::root(document.root(), "JSApiConsumerUnpinRequest");
        for (name, field) in root.request("server.JSApiConsumerUnpinRequest")? {
            if name.to_lowercase() == "group" {
                asked.group = field.string()?;
            }
        }
        Ok(asked)
    }
}

/// A request to restart a consumer at this sequence; 0 for the one behind its acknowledgement floor.
#[derive(Debug, Default)]
pub(super) struct ResetRequest {
    pub(super) sequence: u64,
}

impl ResetRequest {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ApiError> {
        let name = "server.JSApiConsumerResetRequest";
        decode(payload, "JSApiConsumerResetRequest", name, false, |r: &mut Self, name, f| {
            if name == "seq" {
                r.sequence = f.integer("uint64")?;
            }
            Ok(name == "seq")
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct PurgeRequest {
    pub(super) sequence: u64,
    pub(super) filter: String,
    pub(super) keep: u64,
}

impl PurgeRequest {
    pub(super) fn decode(payload: &[u8], strict: bool) -> Result<Self, ApiError> {
        if !is_json(payload) {
            return Ok(Self::default());
        }
        let name = "server.JSApiStreamPurgeRequest";
        let request = decode(payload, "JSApiStreamPurgeRequest", name, strict, |r: &mut Self, name, f| {
            match name {
                "seq" => r.sequence = f.integer("uint64")?,
                "filter" => r.filter = f.string()?,
                "keep" => r.keep = f.integer("uint64")?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if request.sequence > 0 && request.keep > 0 {
            return Err(error::BAD_REQUEST.error());
        }
        Ok(request)
    }
}

/// A request for stored messages, by `STREAM.MSG.GET` or as a direct get.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GetRequest {
    pub(super) sequence: u64,
    pub(super) last_for: String,
    pub(super) next_for: String,
    pub(super) start_time: Option<i64>,
    pub(super) batch: i64,
    pub(super) max_bytes: i64,
    pub(super) multi_last: Vec<String>,
    pub(super) up_to_sequence: u64,
    pub(super) up_to_time: Option<i64>,
    pub(super) no_headers: bool,
}

impl GetRequest {
    pub(super) fn decode(payload: &[u8], strict: bool) -> Result<Self, ApiError> {
        decode(payload, "JSApiMsgGetRequest", "server.JSApiMsgGetRequest", strict, |r: &mut Self, name, f| {
            match name {
                "seq" => r.sequence = f.integer("uint64")?,
                "last_by_subj" => r.last_for = f.string()?,
                "next_by_subj" => r.next_for = f.string()?,
                "start_time" => r.start_time = time(f)?,
                "batch" => r.batch = f.integer("int")?,
                "max_bytes" => r.max_bytes = f.integer("int")?,
                "multi_last" => {
                    r.multi_last = f.texts("[]string")?;
                }
                "up_to_seq" => r.up_to_sequence = f.integer("uint64")?,
                "up_to_time" => r.up_to_time = time(f)?,
                "no_hdr" => r.no_headers = f.bool()?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct DeleteRequest {
    pub(super) sequence: u64,
    pub(super) no_erase: bool,
}

impl DeleteRequest {
    pub(super) fn decode(payload: &[u8], strict: bool) -> Result<Self, ApiError> {
        let name = "server.JSApiMsgDeleteRequest";
        decode(payload, "JSApiMsgDeleteRequest", name, strict, |r: &mut Self, name, f| {
            match name {
                "seq" => r.sequence = f.integer("uint64")?,
                "no_erase" => r.no_erase = f.bool()?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_says_nothing_is_told_without_reading_it() {
        for empty in ["", "{}", " { } ", "{\n\t}\r\n"] {
            assert!(is_empty(empty.as_bytes()), "{empty:?}");
        }
        for full in ["{\"a\":1}", "[]", "{", "}", "{} x", "{{}}", "null", " "] {
            assert!(!is_empty(full.as_bytes()), "{full:?}");
        }
    }
}
