//! Durations in Go's notation: `300ms`, `1.5h`, `2h45m`.

use std::{fmt::Write, time::Duration};

const SECOND: u128 = 1_000_000_000;
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];

/// A duration with Go's range: nanoseconds with a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedDuration {
    /// Nanoseconds.
    pub nanos: i64,
}

impl SignedDuration {
    /// Returns a duration of `seconds`; `None` if the nanoseconds overflow.
    #[must_use]
    pub fn from_secs(seconds: i64) -> Option<Self> {
        Some(Self { nanos: seconds.checked_mul(1_000_000_000)? })
    }

    /// Returns the duration as a [`Duration`]; `None` if it is negative.
    #[must_use]
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.nanos).ok().map(Duration::from_nanos)
    }
}

/// The reason why a text is no duration, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text has another form, or the duration is too large.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that Go does not know.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Parses a duration: an optional sign, then numbers with units. The units are ns, us, µs, ms, s, m and h.
///
/// # Errors
/// Fails if the text has another form or the duration is too large.
pub fn parse(text: &str) -> Result<SignedDuration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (is_negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration { nanos: 0 });
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c| !is_number_part(c)).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(is_number_part).unwrap_or(after.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(text.to_owned()));
        }
        let Some(&(_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        total = nanos(whole, fraction, scale).and_then(|n| total.checked_add(n)).ok_or_else(invalid)?;
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = after;
    }
    let signed = i128::try_from(total).map_err(|_| invalid())?;
    let nanos = i64::try_from(if is_negative { -signed } else { signed }).map_err(|_| invalid())?;
    Ok(SignedDuration { nanos })
}

fn is_number_part(character: char) -> bool {
    character.is_ascii_digit() || character == '.'
}

fn nanos(whole: &str, fraction: &str, scale: u128) -> Option<u128> {
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    // Further digits are below a nanosecond for every unit.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let below =
        digits(fraction)?.checked_mul(scale)? / 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    digits(whole)?.checked_mul(scale)?.checked_add(below)
}

/// Formats a duration like Go: `1h2m3.5s`, `2m0s`, `1.5ms`, `0s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < SECOND {
        let (unit, scale) = match nanos {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return decimal(nanos, scale) + unit;
    }
    let (hours, minutes) = (nanos / SECOND / 3600, nanos / SECOND / 60 % 60);
    let mut text = String::new();
    // Writing to a String can't fail.
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    text + &decimal(nanos % (60 * SECOND), SECOND) + "s"
}

/// Returns `nanos / scale` without trailing zeros.
fn decimal(nanos: u128, scale: u128) -> String {
    let (whole, mut rest, mut digits) = (nanos / scale, nanos % scale, String::new());
    let mut place = scale;
    while rest > 0 {
        place /= 10;
        let _ = write!(digits, "{}", rest / place);
        rest %= place;
    }
    if digits.is_empty() { whole.to_string() } else { format!("{whole}.{digits}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_durations() {
        let cases = [
            ("0", 0),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            ("2h45m", 9_900_000_000_000),
            ("-10s", -10_000_000_000),
            ("+1us", 1_000),
            ("1µs2ns", 1_002),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("0.3333333333333333333333h", 1_200_000_000_000 - 1),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Ok(SignedDuration { nanos }), "{text}");
        }
    }

    #[test]
    fn texts_that_are_not() {
        let cases = [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            ("x", "time: invalid duration \"x\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5 s", "time: unknown unit \" s\" in duration \"5 s\""),
            ("5d", "time: unknown unit \"d\" in duration \"5d\""),
            (".s", "time: invalid duration \".s\""),
            ("1..5s", "time: invalid duration \"1..5s\""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("99999999999999999999999999999999999999999h", "time: invalid duration"),
        ];
        for (text, message) in cases {
            assert!(parse(text).unwrap_err().to_string().starts_with(message), "{text}");
        }
    }

    #[test]
    fn durations_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (120_000_000_000, "2m0s"),
            (245_000_000_000, "4m5s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (3_600_000_000_000, "1h0m0s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
            assert_eq!(parse(text).map(SignedDuration::to_std), Ok(Some(Duration::from_nanos(nanos))));
        }
    }
}
