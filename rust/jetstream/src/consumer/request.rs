//! Pull requests, and the delays of negative acknowledgements.

use crate::json::{DecodeError, Field, parse, parse_whole};
use crate::stream::go_duration;

/// The fields of a pull request about priority groups (ADR-42).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Group {
    pub group: String,
    pub min_pending: i64,
    pub min_ack_pending: i64,
    pub id: String,
    pub priority: i64,
}

/// A request for messages. Durations are nanoseconds, 0 for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct PullRequest {
    pub batch: i64,
    pub expires: i64,
    pub max_bytes: i64,
    pub no_wait: bool,
    pub heartbeat: i64,
    /// Present if the request was an object.
    pub group: Option<Box<Group>>,
}

impl PullRequest {
    /// Decodes a payload: an empty one, a number, or an object.
    ///
    /// # Errors
    ///
    /// The error, in nats-server's words.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let text = payload.trim_ascii();
        if text.first() == Some(&b'{') {
            return Self::decode_object(text);
        }
        let batch = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).unwrap_or(1);
        Ok(Self { batch, ..Self::default() })
    }

    fn decode_object(text: &[u8]) -> Result<Self, DecodeError> {
        let (mut request, mut group) = (Self::default(), Group::default());
        let document = parse_whole(text)?;
        let root = Field::root(document.root(), "");
        for (name, f) in root.request("server.JSApiConsumerGetNextRequest")? {
            match name.to_lowercase().as_str() {
                "batch" => request.batch = f.integer("int")?,
                "expires" => request.expires = f.integer("time.Duration")?,
                "max_bytes" => request.max_bytes = f.integer("int")?,
                "no_wait" => request.no_wait = f.bool()?,
                "idle_heartbeat" => request.heartbeat = f.integer("time.Duration")?,
                "group" => group.group = f.string()?,
                "min_pending" => group.min_pending = f.integer("int64")?,
                "min_ack_pending" => group.min_ack_pending = f.integer("int64")?,
                "id" => group.id = f.string()?,
                "priority" => group.priority = f.integer("int")?,
                _ => {}
            }
        }
        if request.heartbeat > 0 && request.heartbeat.saturating_mul(2) > request.expires {
            return Err(DecodeError::Other("heartbeat value too large".to_owned()));
        }
        request.group = Some(Box::new(group));
        Ok(request)
    }
}

/// Decodes the delay of a negative acknowledgement in nanoseconds: `Some(None)` for none, `None` if it can't be read.
pub(crate) fn nak_delay(arg: &[u8]) -> Option<Option<i64>> {
    if arg.is_empty() {
        return Some(None);
    }
    if arg.first() == Some(&b'{') {
        let (document, _) = parse(arg, 0).ok()??;
        let mut delay = 0;
        for (name, field) in Field::root(document.root(), "ConsumerNakOptions").request("").ok()? {
            if name.eq_ignore_ascii_case("delay") {
                delay = field.integer("time.Duration").ok()?;
            }
        }
        return Some(Some(delay));
    }
    go_duration(std::str::from_utf8(arg).ok()?).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_number_or_an_object() {
        let batch = |payload: &[u8]| PullRequest::decode(payload).expect("decoded").batch;
        assert_eq!((batch(b""), batch(b" 10 "), batch(b"abc"), batch(b"{}")), (1, 10, 1, 0));
        let request =
            PullRequest::decode(br#"{"batch":3,"no_wait":true,"group":"a","expires":5}"#).expect("decoded");
        assert_eq!((request.batch, request.no_wait, request.expires), (3, true, 5));
        assert_eq!(request.group.map(|g| g.group), Some("a".to_owned()));
        assert!(PullRequest::decode(br#"{"expires":10,"idle_heartbeat":6}"#).is_err());
        assert!(PullRequest::decode(b"{").is_err());
    }
}
