//! Parsers for values on the command line: durations, sizes, subjects, headers.

use std::time::Duration;

use async_nats::{HeaderName, HeaderValue};
use stonechat_buckets::names;

/// Units of durations, as in the `nats` command, in nanoseconds. A longer unit stands before one that is its prefix.
const UNITS: [(&str, f64); 13] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
    ("d", 86_400e9),
    ("D", 86_400e9),
    ("w", 7.0 * 86_400e9),
    ("M", 30.0 * 86_400e9),
    ("y", 365.0 * 86_400e9),
    ("Y", 365.0 * 86_400e9),
];

/// Parses `250ms`, `1h30m`, `7d`; a bare number means seconds. Units: ns, us, ms, s, m, h, d (days), w, M (30 days), y.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write it like 500ms, 2.5s, 1m or 1h30m");
    let mut rest = text;
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        if rest.is_empty() && digits == text.len() {
            nanoseconds = number * 1e9;
            break;
        }
        let (name, factor) = UNITS.iter().find(|(name, _)| rest.starts_with(name)).ok_or_else(wrong)?;
        nanoseconds += number * factor;
        rest = &rest[name.len()..];
    }
    match Duration::try_from_secs_f64(nanoseconds / 1e9) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong()),
    }
}

/// Parses a time limit; `-1` and `0` mean unlimited, and return zero.
pub(crate) fn parse_time_limit(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "-1" => Ok(Duration::ZERO),
        text => parse_duration(text),
    }
}

/// Converts a duration to nanoseconds, as in JetStream's API.
pub(crate) fn api_nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(i64::MAX as u64)
}

/// Parses `512`, `64K`, `10MB`, `1GiB`. All units are powers of 1024; a negative number returns -1, for "unlimited".
pub(crate) fn parse_bytes(text: &str) -> Result<i64, String> {
    let text = text.trim();
    if text.starts_with('-') {
        return Ok(-1);
    }
    let wrong = || format!("{text:?} is no size; write a number with B, K, KB, M, MB, G, GB, T or TB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: i64 = text[..digits].parse().map_err(|_| wrong())?;
    let shift = match text[digits..].to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large a size"))
}

/// As [`parse_bytes`], for sizes that the server stores in 32 bits.
pub(crate) fn parse_bytes_32(text: &str) -> Result<i64, String> {
    let bytes = parse_bytes(text)?;
    match i32::try_from(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(format!("{text:?} is too large: at most {} bytes", i32::MAX)),
    }
}

/// Splits a text with subjects at commas and spaces.
pub(crate) fn split_subjects(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|part| !part.is_empty())
}

/// Parses `name=value`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').or_else(|| text.split_once(':')).ok_or("write it as name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Checks that a text is a valid subject; a space in it would break the protocol's line.
pub(crate) fn parse_subject(text: &str) -> Result<String, String> {
    if text.split('.').any(str::is_empty) {
        return Err("a subject is made of tokens with a dot between them; none may be empty".to_owned());
    }
    if text.split('.').rev().skip(1).any(|token| token == ">") {
        return Err("> stands alone at the end of a subject".to_owned());
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("a subject holds no spaces".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses `Name:Value`; spaces around the value are removed.
pub(crate) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write a header as Name:Value")?;
    let name = name.parse::<HeaderName>().map_err(|error| error.to_string())?;
    let value = value.trim().parse::<HeaderValue>().map_err(|error| error.to_string())?;
    Ok((name, value))
}

/// Checks that a text can name a stream or consumer: the name becomes a token of a subject.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || ">*./\\".contains(c);
    match !text.is_empty() && !text.contains(is_bad) {
        true => Ok(text.to_owned()),
        false => Err("a name holds no spaces, dots, *, >, / or \\".to_owned()),
    }
}

/// Checks that a text can name a bucket (ADR-8, ADR-20): the name becomes part of a stream's name.
pub(crate) fn parse_bucket(text: &str) -> Result<String, String> {
    match names::is_bucket(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("the name of a bucket is {}", names::BUCKET_RULE)),
    }
}

/// Checks that a text can be a key (ADR-8): the key becomes part of a subject.
pub(crate) fn parse_key(text: &str) -> Result<String, String> {
    match names::is_key(text) {
        true => Ok(text.to_owned()),
        false => Err(names::KEY_RULE.to_owned()),
    }
}

/// Checks that a text is a key or a filter of keys: `*` matches one token, `>` the rest.
pub(crate) fn parse_key_filter(text: &str) -> Result<String, String> {
    match names::is_key_filter(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{}; {}", names::KEY_RULE, names::FILTER_RULE)),
    }
}

/// Checks that a text can name an object (ADR-20).
pub(crate) fn parse_object(text: &str) -> Result<String, String> {
    match names::is_object(text) {
        true => Ok(text.to_owned()),
        false => Err(names::OBJECT_RULE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("250ms", 250),
            ("5s", 5000),
            ("2.5s", 2500),
            ("3", 3000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("1M", 2_592_000_000),
            ("1m500ms", 60_500),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "0", "0ms", "-1s", "5 s", "5x", "1e400s", "nan", "infs", "5é", "1s5", "1.2.3s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("12", 12), ("1k", 1024), ("2MB", 2 << 20), ("3GiB", 3 << 30), ("-5", -1)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "x", "1x", "1.5M", "99999999T", "9223372036854775808"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert!(parse_bytes_32("2G").is_err());
    }

    #[test]
    fn subjects() {
        for text in ["a", "a.b", "a.*.c", ">", "$SYS.x", "grüße"] {
            assert_eq!(parse_subject(text).as_deref(), Ok(text));
        }
        for text in ["", ".", "a..b", "a.", ".a", ">.a", "a.>.b", "a b", "a\tb", "a\r\nPUB x 0"] {
            assert!(parse_subject(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn headers() {
        let (name, value) = parse_header("Trace-Id: a:b ").unwrap();
        assert_eq!((name.as_ref(), value.as_str()), ("Trace-Id", "a:b"));
        for text in ["", "no colon", "two words:x", "A:line\r\nbreak"] {
            assert!(parse_header(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_of_streams_and_consumers() {
        for text in ["A", "orders-2_x", "größe", "$x"] {
            assert!(parse_name(text).is_ok(), "{text:?}");
        }
        for text in ["", "a.b", "a b", "a*", ">", "a/b", "a\\b", "a\u{7}"] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_time_limit("-1"), Ok(Duration::ZERO));
        assert_eq!(parse_time_limit("1h"), Ok(Duration::from_secs(3600)));
        assert!(parse_time_limit("-5").is_err());
    }

    #[test]
    fn names_of_buckets_keys_and_objects() {
        assert!(parse_bucket("CONFIG_2-x").is_ok() && parse_bucket("a.b").is_err());
        assert!(parse_key("a.b").is_ok() && parse_key("a.*").is_err());
        assert!(parse_key_filter("a.*").is_ok() && parse_key_filter("a*").is_err());
        assert!(parse_object("a b").is_ok() && parse_object("").is_err());
    }
}
