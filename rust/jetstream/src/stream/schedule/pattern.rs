//! Due times of schedules (ADR-51).

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cron::Cron;
use crate::error::{self, ApiError};
use crate::stream::go_duration;
use crate::time::{parse_rfc3339, rfc3339};

const SECOND: i64 = 1_000_000_000;

/// A schedule's times.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// Once, in nanoseconds since 1970.
    At(i64),
    /// Repeatedly, with this many nanoseconds in between.
    Every(i64),
    /// At times of the calendar in a time zone.
    Cron(Box<Cron>, TimeZone),
}

impl Pattern {
    /// Reads the headers `Nats-Schedule` and `Nats-Schedule-Time-Zone`.
    ///
    /// # Errors
    ///
    /// The pattern or the time zone is not valid.
    pub(super) fn parse(text: &[u8], zone: Option<&[u8]>) -> Result<Self, ApiError> {
        let zone = zone.map(time_zone).transpose()?;
        let invalid = || error::MESSAGE_SCHEDULES_PATTERN_INVALID.error();
        let text = std::str::from_utf8(text).map_err(|_| invalid())?;
        let simple = match (text.strip_prefix("@at "), text.strip_prefix("@every ")) {
            (Some(time), _) => Some(strict_rfc3339(time).map(Self::At)),
            (_, Some(duration)) => {
                Some(go_duration(duration).filter(|every| *every >= SECOND).map(Self::Every))
            }
            _ => None,
        };
        if let Some(pattern) = simple {
            // Only patterns of calendar times take a time zone.
            return pattern.filter(|_| zone.is_none()).ok_or_else(invalid);
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 0 1 1 *",
            "@monthly" => "0 0 0 1 * *",
            "@weekly" => "0 0 0 * * 0",
            "@daily" | "@midnight" => "0 0 0 * * *",
            "@hourly" => "0 0 * * * *",
            other => other,
        };
        let cron = Cron::parse(fields).ok_or_else(invalid)?;
        Ok(Self::Cron(Box::new(cron), zone.unwrap_or(TimeZone::UTC)))
    }

    /// Whether the schedule is due more than once.
    pub(super) fn repeats(&self) -> bool {
        !matches!(self, Self::At(_))
    }

    /// Returns the next due time after `after`. Times missed before `now` are skipped; `None` if there is no such time.
    pub(super) fn next(&self, after: i64, now: i64) -> Option<i64> {
        match self {
            Self::At(time) => Some(*time),
            Self::Every(every) => {
                let next = whole_second(after).saturating_add(*every);
                Some(if next < now { whole_second(now).saturating_add(*every) } else { next })
            }
            Self::Cron(cron, zone) => {
                let next = |after: i64| {
                    let after = Timestamp::from_nanosecond(i128::from(after)).ok()?;
                    i64::try_from(cron.next(after, zone)?.as_nanosecond()).ok()
                };
                let found = next(after)?;
                if found < now { next(whole_second(now)) } else { Some(found) }
            }
        }
    }

    /// Formats a time for the headers of a generated message, in the schedule's time zone.
    pub(super) fn show(&self, time: i64) -> String {
        if let (Self::Cron(_, zone), Ok(at)) = (self, Timestamp::from_nanosecond(i128::from(time))) {
            let offset = zone.to_offset(at);
            if offset.seconds() != 0 {
                return at.display_with_offset(offset).to_string();
            }
        }
        rfc3339(time)
    }
}

fn time_zone(name: &[u8]) -> Result<TimeZone, ApiError> {
    let invalid = || error::MESSAGE_SCHEDULES_TIME_ZONE_INVALID.error();
    let name = std::str::from_utf8(name).map_err(|_| invalid())?;
    if name == "Local" {
        return Ok(TimeZone::system());
    }
    let zone = TimeZone::get(name).map_err(|_| invalid())?;
    // Names of time zones are case-sensitive.
    let is_same = zone.iana_name().is_some_and(|known| known == name);
    if is_same { Ok(zone) } else { Err(invalid()) }
}

/// Rounds to the nearest whole second.
fn whole_second(time: i64) -> i64 {
    let up = time.saturating_add(SECOND / 2);
    up - up.rem_euclid(SECOND)
}

/// Parses a time in the strict form of RFC 3339 that Go accepts.
fn strict_rfc3339(text: &str) -> Option<i64> {
    let (head, rest) = text.split_at_checked(19)?;
    let is_digit = |b: u8| b.is_ascii_digit();
    let fits = head.bytes().zip(b"dddd-dd-ddTdd:dd:dd").all(|(b, form)| match form {
        b'd' => is_digit(b),
        form => b == *form,
    });
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let is_fraction = !rest.starts_with('.') || zone.len() + 1 < rest.len();
    let is_zone = zone == "Z"
        || (zone.len() == 6
            && zone.bytes().zip(b"+dd:dd").all(|(b, form)| match form {
                b'd' => is_digit(b),
                b'+' => b == b'+' || b == b'-',
                form => b == *form,
            }));
    if !fits || !is_fraction || !is_zone || head.ends_with("60") {
        return None;
    }
    parse_rfc3339(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read() {
        let is_valid = |text: &str, zone: Option<&str>| {
            Pattern::parse(text.as_bytes(), zone.map(str::as_bytes)).map(|_| ()).map_err(|e| e.err_code)
        };
        for (text, zone, expected) in [
            ("@at 2026-01-01T00:00:00Z", None, Ok(())),
            ("@at 2026-01-01T00:00:00.25+01:00", None, Ok(())),
            ("@at 2026-01-01 00:00:00Z", None, Err(10189)),
            ("@at 2026-01-01T00:00:00", None, Err(10189)),
            ("@at 2026-01-01T00:00:00.Z", None, Err(10189)),
            ("@at 2026-01-01T00:00:60Z", None, Err(10189)),
            ("@at 2026-13-01T00:00:00Z", None, Err(10189)),
            ("@at 2026-01-01T00:00:00Z", Some("UTC"), Err(10189)),
            ("@every 1s", None, Ok(())),
            ("@every 999ms", None, Err(10189)),
            ("@every x", None, Err(10189)),
            ("@every 1s", Some("UTC"), Err(10189)),
            ("@hourly", None, Ok(())),
            ("@hourly", Some("Europe/Paris"), Ok(())),
            ("@hourly", Some("europe/paris"), Err(10223)),
            ("@hourly", Some("Nowhere"), Err(10223)),
            ("@hourly", Some(""), Err(10223)),
            ("@sometimes", None, Err(10189)),
            ("0 0 0 1 1 *", Some("Local"), Ok(())),
        ] {
            assert_eq!(is_valid(text, zone), expected, "{text} in {zone:?}");
        }
    }

    #[test]
    fn missed_times_are_left_out() {
        let every = Pattern::parse(b"@every 10s", None).expect("a pattern");
        assert_eq!(every.next(SECOND / 2, 0), Some(11 * SECOND));
        assert_eq!(every.next(0, 95 * SECOND + 1), Some(105 * SECOND));
        let hourly = Pattern::parse(b"@hourly", None).expect("a pattern");
        assert_eq!(hourly.next(0, 0), Some(3600 * SECOND));
        assert_eq!(hourly.next(0, 7300 * SECOND), Some(10_800 * SECOND));
        let paris = Pattern::parse(b"@hourly", Some(b"Europe/Paris")).expect("a pattern");
        assert_eq!(paris.show(0), "1970-01-01T01:00:00+01:00");
        assert_eq!(hourly.show(SECOND), "1970-01-01T00:00:01Z");
    }
}
