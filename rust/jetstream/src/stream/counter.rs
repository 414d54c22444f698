//! Messages that count (ADR-49): each holds the total of its subject.

use num_bigint::BigInt;
use stonechat_store::messages::Messages;

use super::headers::PublishHeaders;
use crate::error::{self, ApiError};
use crate::json::{Field, parse};

/// Checks what a message adds.
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

/// The total of a subject when so much is added.
pub(super) fn total<M: Messages>(
    messages: &M,
    subject: &[u8],
    increment: &BigInt,
) -> Result<String, ApiError> {
    let broken = || error::MESSAGE_COUNTER_BROKEN.error();
    let Some(last) = messages.subject(subject).map(|known| known.last) else {
        return Ok(increment.to_string());
    };
    let mut buffer = Vec::new();
    let message = messages.read(last, &mut buffer).map_err(|_| broken())?;
    let before = match message {
        Some(message) => value(message.payload).ok_or_else(broken)?,
        None => BigInt::default(),
    };
    Ok((before + increment).to_string())
}

/// The payload of a message with this total.
pub(crate) fn payload(total: &str) -> Vec<u8> {
    format!("{{\"val\":\"{total}\"}}").into_bytes()
}

/// A total that is no number counts as 0, as with nats-server 2.15; `None` if there is none at all.
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

/// A whole number of any length, with or without a sign.
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
