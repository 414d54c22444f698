//! Times as the API writes them.

use jiff::Timestamp;

use crate::json::{DecodeError, Field};

/// Formats nanoseconds since 1970 as RFC 3339 in UTC. 0 stands for no time, which Go shows as the year 1.
pub fn rfc3339(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    Timestamp::from_nanosecond(i128::from(nanoseconds)).map(|t| t.to_string()).unwrap_or_default()
}

/// Parses a time in RFC 3339 into nanoseconds since 1970; `None` if it is not valid.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    if text.starts_with("0001-01-01T00:00:00") {
        return Some(0);
    }
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

/// Reads a time in a request; `None` for `null`.
pub(crate) fn decode(field: &Field<'_>) -> Result<Option<i64>, DecodeError> {
    if field.is_null() {
        return Ok(None);
    }
    let text = field.string()?;
    let bad = || {
        DecodeError::Other(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
        ))
    };
    parse_rfc3339(&text).map(Some).ok_or_else(bad)
}

/// Formats a duration in nanoseconds as Go does: `1m30s`, `1.5s`, `100ms`.
pub fn show_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64, name: &str| {
        let rest = format!("{:09}", value % unit * (1_000_000_000 / unit));
        let rest = rest.trim_end_matches('0');
        let point = if rest.is_empty() { "" } else { "." };
        format!("{}{point}{rest}{name}", value / unit)
    };
    let text = match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{n}ns"),
        1_000..1_000_000 => fraction(n, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(n, 1_000_000, "ms"),
        _ => {
            let seconds = fraction(n % 60_000_000_000, 1_000_000_000, "s");
            match (n / 3_600_000_000_000, n / 60_000_000_000 % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::show_duration;

    #[test]
    fn durations_as_go_shows_them() {
        let shown: Vec<String> = [0, 5, 1_500, 100_000_000, 1_500_000_000, 60_000_000_000, 3_661_000_000_000]
            .map(show_duration)
            .to_vec();
        assert_eq!(shown, ["0s", "5ns", "1.5µs", "100ms", "1.5s", "1m0s", "1h1m1s"]);
    }
}
