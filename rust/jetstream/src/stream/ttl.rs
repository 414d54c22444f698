//! The time to live of a message, from its header `Nats-TTL` (ADR-43).

const SECOND: i64 = 1_000_000_000;

/// A time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// The message never expires, not even by the stream's `max_age`.
    Never,
    /// Nanoseconds until the message expires, in whole seconds.
    For(i64),
}

impl Ttl {
    /// Reads a header's value; `None` if it is not valid. Fractions of a second are cut off, as nats-server 2.15.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        if text.eq_ignore_ascii_case("never") {
            return Some(Self::Never);
        }
        let seconds = match go_duration(text) {
            Some(nanoseconds) => nanoseconds / SECOND,
            None if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().unwrap_or(i64::MAX)
            }
            None => return None,
        };
        (seconds >= 1).then(|| Self::For(seconds.saturating_mul(SECOND)))
    }
}

/// Parses a duration in Go's notation into nanoseconds.
pub(crate) fn go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, behind) = rest.split_at(digits);
        let number: f64 = if number == "." { return None } else { number.parse().ok()? };
        let unit_len = behind.bytes().take_while(|b| !b.is_ascii_digit() && *b != b'.').count();
        let (unit, behind) = behind.split_at(unit_len);
        total += number
            * match unit {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = behind;
    }
    (total < i64::MAX as f64).then_some(sign * total as i64)
}

/// Formats a duration of whole seconds as Go does: `1h2m3s`.
pub(crate) fn show_seconds(nanoseconds: i64) -> String {
    let seconds = nanoseconds / SECOND;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_real_server_reads_them() {
        for (text, seconds) in [
            ("100s", Some(100)),
            ("100", Some(100)),
            ("0", None),
            ("500ms", None),
            ("-1", None),
            ("abc", None),
            ("1h2m3s", Some(3723)),
            ("1.5s", Some(1)),
            ("1d", None),
            ("", None),
            ("1500ms", Some(1)),
            ("1m1", None),
            ("+5s", Some(5)),
            ("-5s", None),
            ("1e3s", None),
            (".5m", Some(30)),
            ("never ", None),
            (".", None),
            ("+", None),
        ] {
            assert_eq!(Ttl::parse(text.as_bytes()), seconds.map(|s: i64| Ttl::For(s * SECOND)), "{text}");
        }
        assert_eq!(Ttl::parse(b"Never"), Some(Ttl::Never));
        assert_eq!(Ttl::parse(b"99999999999999999999"), Some(Ttl::For(i64::MAX)));
    }
}
