//! Formats numbers, times and untrusted texts as the `nats` command shows them.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Escapes control characters in an untrusted text, so that no name or value can move the cursor, change the title or forge a
/// line.
pub(crate) fn shown(text: &str) -> String {
    // Characters that reverse the writing direction are as misleading as control characters.
    let is_bad = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(is_bad) {
        return text.to_owned();
    }
    text.chars().map(|c| if is_bad(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Formats a value: as text if all its characters are printable, otherwise as Base64.
pub(crate) fn shown_value(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.contains(char::is_control) => shown(text),
        _ => BASE64_STANDARD.encode(value),
    }
}

/// Formats a number like `1,234,567`.
pub(crate) fn commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number of bytes like `1.5 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 10 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let value = (value * 10.0).round() / 10.0;
    if value < 10.0 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// Converts a time of the server (RFC 3339) to local time; an invalid time is returned unchanged.
pub(crate) fn local_time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => shown(text),
    }
}

/// Formats a duration of a setting as Go does, like `3h4m5s`.
pub(crate) fn duration(value: Duration) -> String {
    let fraction = |number: f64| format!("{number}");
    let nanos = value.as_nanos() as f64;
    if nanos == 0.0 {
        return "0s".to_owned();
    }
    if value.as_secs() == 0 {
        return match value.subsec_nanos() {
            ns @ ..1_000 => format!("{ns}ns"),
            1_000..1_000_000 => format!("{}µs", fraction(nanos / 1e3)),
            _ => format!("{}ms", fraction(nanos / 1e6)),
        };
    }
    let (hours, minutes) = (value.as_secs() / 3600, value.as_secs() / 60 % 60);
    let seconds = fraction((value.as_secs() % 60) as f64 + f64::from(value.subsec_nanos()) / 1e9);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Formats an age like `2d3h4m5s`, `4.20s` or `13ms`.
pub(crate) fn long_duration(value: Duration) -> String {
    let seconds = value.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 if value < Duration::from_millis(1) => format!("{}µs", value.as_micros()),
        0 => format!("{}ms", value.as_millis()),
        1..60 => format!("{:.2}s", value.as_secs_f64()),
        60..3600 => format!("{minutes}m{}s", seconds % 60),
        3600..86_400 => format!("{hours}h{}m{}s", minutes % 60, seconds % 60),
        _ if days < 365 => format!("{days}d{}h{}m{}s", hours % 24, minutes % 60, seconds % 60),
        _ => format!("{}y{}d{}h{}m{}s", days / 365, days % 365, hours % 24, minutes % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_move_no_cursor() {
        assert_eq!(shown("plain grüße"), "plain grüße");
        assert_eq!(shown("a\x1b[2Jb\r\n\u{202e}c\u{9b}"), "a\\u{1b}[2Jb\\r\\n\\u{202e}c\\u{9b}");
        assert_eq!(shown_value(b"text"), "text");
        assert_eq!(shown_value(b"\x1b[2J"), "G1sySg==");
        assert_eq!(shown_value(b"\xff"), "/w==");
    }

    #[test]
    fn numbers() {
        let shown: Vec<_> = [0, 999, 1000, 1_234_567].map(commas).into();
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        let shown: Vec<_> = [0, 9, 1023, 1024, 1536, 10 << 20, 5 << 40].map(bytes).into();
        assert_eq!(shown, ["0 B", "9 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 MiB", "5.0 TiB"]);
    }

    #[test]
    fn times() {
        let shown: Vec<_> = [0, 1_500, 250_000_000, 1_500_000_000, 90_000_000_000, 3_600_000_000_000]
            .map(|ns| duration(Duration::from_nanos(ns)))
            .into();
        assert_eq!(shown, ["0s", "1.5µs", "250ms", "1.5s", "1m30s", "1h0m0s"]);
        let shown: Vec<_> = [0.013, 4.2, 75.0, 200_000.0, 40_000_000.0]
            .map(|s| long_duration(Duration::from_secs_f64(s)))
            .into();
        assert_eq!(shown, ["13ms", "4.20s", "1m15s", "2d7h33m20s", "1y97d23h6m40s"]);
        assert_eq!(local_time("no time\n"), "no time\\n");
    }
}
