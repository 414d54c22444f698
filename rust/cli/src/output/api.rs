//! Formats values of JetStream's API. A missing value, or one of another type, is shown as empty or zero.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::text::{bytes, commas, local_time, long_duration, shown};

/// Returns a text that is not empty.
pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(shown)
}

/// Returns a text; empty if it is missing.
pub(crate) fn text_or_empty(value: &Value) -> String {
    text(value).unwrap_or_default()
}

/// Formats a count.
pub(crate) fn count(value: &Value) -> String {
    commas(value.as_u64().unwrap_or_default())
}

/// Formats a number of bytes.
pub(crate) fn byte_count(value: &Value) -> String {
    bytes(value.as_u64().unwrap_or_default())
}

/// Reads a duration of the API, in nanoseconds; `None` if none is set.
pub(crate) fn nanoseconds(value: &Value) -> Option<Duration> {
    let nanoseconds = value.as_i64().filter(|ns| (1..i64::MAX).contains(ns))?;
    Some(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

/// Formats a duration; "never" if none is set.
pub(crate) fn ago_or_never(value: &Value) -> String {
    nanoseconds(value).map_or_else(|| "never".to_owned(), long_duration)
}

/// Formats a limit in bytes.
pub(crate) fn byte_limit(value: &Value) -> String {
    match value.as_i64() {
        Some(limit) if limit >= 0 => bytes(limit.unsigned_abs()),
        _ => "unlimited".to_owned(),
    }
}

/// Formats the limit of a count; zero and negative numbers mean no limit.
pub(crate) fn limit(value: &Value) -> String {
    match value.as_i64() {
        Some(limit) if limit > 0 => commas(limit.unsigned_abs()),
        _ => "unlimited".to_owned(),
    }
}

/// Formats the time since a time of the server; the year 1 means "never".
pub(crate) fn time_ago(value: &Value) -> String {
    since(value).map_or_else(|| "never".to_owned(), long_duration)
}

/// Returns the time that has passed since a time of the server.
pub(crate) fn since(value: &Value) -> Option<Duration> {
    let time = value.as_str()?.parse::<Timestamp>().ok()?;
    if time <= Timestamp::UNIX_EPOCH {
        return None;
    }
    Some(Timestamp::now().duration_since(time).try_into().unwrap_or_default())
}

/// Formats a time of the server as local time; `None` for the year 1.
pub(crate) fn time(value: &Value) -> Option<String> {
    since(value)?;
    value.as_str().map(local_time)
}

/// Joins the texts of a list with commas.
pub(crate) fn list(value: &Value) -> Option<String> {
    let items: Vec<String> = value.as_array()?.iter().filter_map(text).collect();
    Some(items.join(", ")).filter(|text| !text.is_empty())
}

/// Returns an answer without the fields of its envelope.
pub(crate) fn without_envelope(info: &Value) -> Value {
    let mut info = info.clone();
    if let Value::Object(fields) = &mut info {
        fields
            .retain(|name, _| !matches!(name.as_str(), "type" | "total" | "offset" | "limit" | "did_create"));
    }
    info
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_another_kind_are_no_panic() {
        for value in [json!(null), json!([1]), json!({"a": 1}), json!(-1), json!("x"), json!(1e300)] {
            let _ = (text(&value), count(&value), byte_count(&value), nanoseconds(&value));
            let _ = (ago_or_never(&value), byte_limit(&value), limit(&value), time_ago(&value));
            let _ = (time(&value), list(&value));
        }
        assert_eq!((limit(&json!(0)), limit(&json!(1234))), ("unlimited".to_owned(), "1,234".to_owned()));
        assert_eq!(byte_limit(&json!(-1)), "unlimited");
        assert_eq!(time_ago(&json!("0001-01-01T00:00:00Z")), "never");
        assert_eq!(list(&json!(["a", 5, "b"])).as_deref(), Some("a, b"));
    }
}
