//! A reader for JSON that any client may have written.

use std::borrow::Cow;

use serde_json::Value;

/// Reads JSON as Go does: invalid UTF-8 and unpaired surrogates become U+FFFD. `None` if it is no JSON, or nested more than 128
/// levels deep.
pub(crate) fn read(bytes: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some(value);
    }
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&whole_surrogates(&text)).ok()
}

/// Replaces unpaired surrogates in a JSON text.
fn whole_surrogates(text: &str) -> Cow<'_, str> {
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (front, escape) = rest.split_at(at);
        whole.push_str(front);
        let length = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => 12,
            (Some(0xD800..0xE000), _) => {
                whole.push_str("\\uFFFD");
                rest = &escape[6..];
                continue;
            }
            (Some(_), _) => 6,
            // Any other escape is a backslash and one character, which may be a backslash too.
            (None, _) => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
        };
        let (kept, behind) = escape.split_at(length);
        whole.push_str(kept);
        rest = behind;
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// Parses the UTF-16 unit of the `\uXXXX` at the beginning of a text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_as_go_reads_it() {
        for (json, text) in [
            (&br#""\ud83d\ude00""#[..], "😀"),
            (br#""a\ud83db""#, "a\u{fffd}b"),
            (br#""\ude00\ud83d\ud83d\ude00""#, "\u{fffd}\u{fffd}😀"),
            (br#""\\ud800""#, "\\ud800"),
            (b"\"\xff\xfe\"", "\u{fffd}\u{fffd}"),
            (br#""\ud800\n\ud8""#, ""),
        ] {
            let read = read(json);
            assert_eq!(read.as_ref().and_then(Value::as_str).unwrap_or_default(), text, "{json:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_no_panic() {
        let deep = "[".repeat(100_000);
        for text in ["", "\\", "\"\\u", "\"\\ud8", "\"\\ud800\\", "\\u00é", "\"\\é\\ud800", &deep] {
            assert_eq!(read(text.as_bytes()), None, "{text:?}");
        }
    }
}
