//! Times as the API writes them.

use jiff::Timestamp;

/// RFC 3339 in UTC, from nanoseconds since 1970; 0 is no time, which Go shows as the year 1.
pub fn rfc3339(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    Timestamp::from_nanosecond(i128::from(nanoseconds)).map(|t| t.to_string()).unwrap_or_default()
}

/// Nanoseconds since 1970 of a time in RFC 3339; `None` if it is not one.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    if text.starts_with("0001-01-01T00:00:00") {
        return Some(0);
    }
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}
