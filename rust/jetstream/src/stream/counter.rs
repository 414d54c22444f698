//! Counter messages (ADR-49): the payload of each is the total of its subject. The header `Nats-Counter-Sources` keeps the last
//! total of each source and subject, so that a message from a source adds only what the source's total grew by.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use stonechat_store::messages::Messages;

use super::headers::{self, PublishHeaders};
use crate::error::{self, ApiError};
use crate::json::{Field, parse};

/// Checks the increment of a published message; `None` if it has none and the stream is no counter.
pub(super) fn check(
    h: &PublishHeaders<'_>,
    payload: &[u8],
    is_counter: bool,
) -> Result<Option<BigInt>, ApiError> {
    let Some(text) = h.incr else {
        return if is_counter { Err(error::MESSAGE_INCR_MISSING.error()) } else { Ok(None) };
    };
    let increment = number(text).ok_or_else(|| error::MESSAGE_INCR_INVALID.error())?;
    if !is_counter {
        return Err(error::MESSAGE_INCR_DISABLED.error());
    }
    if !payload.is_empty() {
        return Err(error::MESSAGE_INCR_PAYLOAD.error());
    }
    let contrary = [
        h.rollup,
        h.expected_stream,
        h.expected_last_msg_id,
        h.expected_last_sequence,
        h.expected_last_subject_sequence,
        h.expected_last_subject_sequence_subject,
    ];
    match contrary.iter().any(Option::is_some) {
        true => Err(error::MESSAGE_INCR_INVALID.error()),
        false => Ok(Some(increment)),
    }
}

/// Returns the increment of a message from a source, whose own stream has checked the message. A counter stream refuses messages
/// without increment.
pub(super) fn of_source(h: &PublishHeaders<'_>, is_counter: bool) -> Result<Option<BigInt>, ApiError> {
    if !is_counter {
        return Ok(None);
    }
    let increment = h.incr.and_then(number).ok_or_else(|| error::MESSAGE_INCR_MISSING.error())?;
    Ok(Some(increment))
}

/// Last totals by source, then by its subject.
type Sources = BTreeMap<String, BTreeMap<String, String>>;

const SOURCES: &str = "Nats-Counter-Sources";
const INCREMENT: &str = "Nats-Incr";

/// The result of counting a message.
#[derive(Debug)]
pub(super) struct Counted {
    /// The total.
    pub(super) total: String,
    /// The increment for the header, if it differs from the message's own.
    increment: Option<String>,
    sources: Option<String>,
}

impl Counted {
    /// Writes the increment and the totals of sources into the message's headers.
    pub(super) fn note(&self, block: &mut Vec<u8>) {
        for (name, value) in [(INCREMENT, &self.increment), (SOURCES, &self.sources)] {
            if let Some(value) = value {
                headers::set(block, name, value.as_bytes());
            }
        }
    }

    pub(super) fn changes_headers(&self) -> bool {
        self.increment.is_some() || self.sources.is_some()
    }
}

/// Adds `increment` to the total of `subject`. For a message from a source, `source` holds its label and payload; then the growth
/// of the source's total is added instead.
pub(super) fn count<M: Messages>(
    messages: &M,
    subject: &[u8],
    mut increment: BigInt,
    source: Option<(&[u8], &[u8])>,
) -> Result<Counted, ApiError> {
    let broken = || error::MESSAGE_COUNTER_BROKEN.error();
    let (mut before, mut sources) = (BigInt::default(), Sources::new());
    let mut buffer = Vec::new();
    if let Some(last) = messages.subject(subject).map(|known| known.last)
        && let Some(message) = messages.read(last, &mut buffer).map_err(|_| broken())?
    {
        before = value(message.payload).ok_or_else(broken)?;
        if let Some(json) = headers::value(message.headers, SOURCES.as_bytes()) {
            sources = serde_json::from_slice(json).map_err(|_| broken())?;
        }
    }
    let mut is_changed = None;
    if let Some((label, payload)) = source {
        let now = value(payload).ok_or_else(broken)?;
        let label = String::from_utf8_lossy(label);
        let mut fields = label.split(' ');
        let name = fields.next().unwrap_or_default().to_owned();
        let origin =
            fields.nth(3).map_or_else(|| String::from_utf8_lossy(subject).into_owned(), str::to_owned);
        let known = sources.entry(name).or_default().insert(origin, now.to_string());
        let known = known.and_then(|known| number(known.as_bytes())).unwrap_or_default();
        increment = now - known;
        is_changed = Some(increment.to_string());
    }
    // A map of strings always serializes.
    let json = (!sources.is_empty()).then(|| serde_json::to_string(&sources).unwrap_or_default());
    Ok(Counted { total: (before + increment).to_string(), increment: is_changed, sources: json })
}

/// The payload of a message with this total.
pub(crate) fn payload(total: &str) -> Vec<u8> {
    format!("{{\"val\":\"{total}\"}}").into_bytes()
}

/// Reads the total from a payload. A total that is no number counts as 0, as in nats-server 2.15; `None` if the payload has no
/// total at all.
fn value(payload: &[u8]) -> Option<BigInt> {
    let (document, _) = parse(payload, 0).ok()??;
    let mut value = BigInt::default();
    for (name, field) in Field::root(document.root(), "CounterValue").request("").ok()? {
        if name.eq_ignore_ascii_case("val") {
            value = number(field.string().ok()?.as_bytes()).unwrap_or_default();
        }
    }
    Some(value)
}

/// Parses a whole number of any length, with or without a sign.
fn number(text: &[u8]) -> Option<BigInt> {
    let digits = text.strip_prefix(b"+").or(text.strip_prefix(b"-")).unwrap_or(text);
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then(|| BigInt::parse_bytes(text, 10))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length() {
        assert_eq!(number(b"+5").map(|n| n.to_string()), Some("5".to_owned()));
        assert_eq!(
            number(b"-123456789012345678901234567890").map(|n| n.to_string()).as_deref(),
            Some("-123456789012345678901234567890")
        );
        for bad in [&b""[..], b"+", b"1.5", b"1_0", b"--1", b" 1"] {
            assert_eq!(number(bad), None);
        }
        assert_eq!(value(br#"{"val":"7"}"#).map(|n| n.to_string()), Some("7".to_owned()));
        assert_eq!(value(b"7"), None);
    }
}
