//! Times and durations in nats-server's formats.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::{Duration, SystemTime};

/// Formats a time by RFC 3339 in UTC, with as many decimals of a second as it needs.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time).map(|t| t.to_string()).unwrap_or_else(|_| "0001-01-01T00:00:00Z".into())
}

/// Formats the timestamp of a log line: `2026/11/23 20:04:20.906330`, in local time or UTC.
pub(crate) fn log_stamp(time: SystemTime, utc: bool) -> String {
    let zone = if utc { TimeZone::UTC } else { TimeZone::system() };
    match Timestamp::try_from(time) {
        Ok(t) => t.to_zoned_datetime(zone).strftime("%Y/%m/%d %H:%M:%S.%6f").to_string(),
        Err(_) => String::new(),
    }
}

/// Formats the timestamp in the name of a rotated log file: `2026.11.23.20.04.20.906330000`.
pub(crate) fn backup_stamp(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(t) => t.to_zoned_datetime(TimeZone::system()).strftime("%Y.%m.%d.%H.%M.%S.%9f").to_string(),
        Err(_) => String::new(),
    }
}

/// Formats an uptime in whole seconds: `5s`, `3m10s`, `2h3m4s`, `1d2h3m4s`, `1y2d3h4m5s`.
pub(crate) fn uptime(up: Duration) -> String {
    let secs = up.as_secs();
    let (m, s) = (secs / 60, secs % 60);
    let (h, d, y) = (m / 60, m / 60 / 24, m / 60 / 24 / 365);
    match (y, d, h, m) {
        (0, 0, 0, 0) => format!("{s}s"),
        (0, 0, 0, m) => format!("{m}m{s}s"),
        (0, 0, h, m) => format!("{h}h{}m{s}s", m % 60),
        (0, d, h, m) => format!("{d}d{}h{}m{s}s", h % 24, m % 60),
        (y, d, h, m) => format!("{y}y{}d{}h{}m{s}s", d % 365, h % 24, m % 60),
    }
}

/// Formats a short duration in Go's notation: `309µs`, `1.5ms`, `2.25s`.
pub(crate) fn go_duration(d: Duration) -> String {
    let fraction = |value: f64, unit: &str| {
        let text = format!("{value:.9}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match d {
        d if d.is_zero() => "0s".into(),
        d if d < Duration::from_micros(1) => format!("{}ns", d.as_nanos()),
        d if d < Duration::from_millis(1) => fraction(d.as_nanos() as f64 / 1e3, "µs"),
        d if d < Duration::from_secs(1) => fraction(d.as_nanos() as f64 / 1e6, "ms"),
        d => {
            let (m, s) =
                (d.as_secs() / 60, fraction((d.as_secs() % 60) as f64 + d.subsec_nanos() as f64 / 1e9, "s"));
            match (m / 60, m % 60) {
                (0, 0) => s,
                (0, m) => format!("{m}m{s}"),
                (h, m) => format!("{h}h{m}m{s}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let day = 24 * 3600;
        for (secs, text) in
            [(5, "5s"), (190, "3m10s"), (7384, "2h3m4s"), (day + 7384, "1d2h3m4s"), (367 * day, "1y2d0h0m0s")]
        {
            assert_eq!(uptime(Duration::from_secs(secs)), text);
        }
        for (nanos, text) in [
            (0, "0s"),
            (309_000, "309µs"),
            (1_500_000, "1.5ms"),
            (2_250_000_000, "2.25s"),
            (90_000_000_000, "1m30s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn stamps() {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 5_000);
        assert_eq!(rfc3339(time), "2001-09-09T01:46:40.000005Z");
        assert_eq!(log_stamp(time, true), "2001/09/09 01:46:40.000005");
    }
}
