//! Conversions of strings and characters between JSON, Rust and Go's notation.

use std::borrow::Cow;

/// Returns the content of a JSON string that was checked before.
pub(super) fn unquote(raw: &[u8]) -> Cow<'_, str> {
    let inner = raw.strip_prefix(b"\"").and_then(|r| r.strip_suffix(b"\"")).unwrap_or_default();
    if !inner.contains(&b'\\')
        && let Ok(text) = std::str::from_utf8(inner)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.iter().position(|b| *b == b'\\') {
        push_lossy(&mut out, &rest[..at]);
        rest = unescape(&mut out, &rest[at + 1..]);
    }
    push_lossy(&mut out, rest);
    Cow::Owned(out)
}

/// Appends text, with one replacement character for each invalid byte.
fn push_lossy(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// Appends the character of an escape sequence; `rest` begins behind its backslash. Returns the bytes that follow.
fn unescape<'r>(out: &mut String, rest: &'r [u8]) -> &'r [u8] {
    let Some((&kind, rest)) = rest.split_first() else { return rest };
    let character = match kind {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let high = hex(rest);
            let rest = rest.get(4..).unwrap_or_default();
            if let Some(tail) = rest.strip_prefix(b"\\u")
                && let Some(Ok(pair)) = char::decode_utf16([high, hex(tail)]).next()
                && (0xd800..0xdc00).contains(&high)
            {
                out.push(pair);
                return tail.get(4..).unwrap_or_default();
            }
            out.push(char::from_u32(u32::from(high)).unwrap_or(char::REPLACEMENT_CHARACTER));
            return rest;
        }
        other => char::from(other),
    };
    out.push(character);
    rest
}

fn hex(digits: &[u8]) -> u16 {
    let digits = digits.get(..4).and_then(|d| std::str::from_utf8(d).ok()).unwrap_or_default();
    u16::from_str_radix(digits, 16).unwrap_or(0)
}

/// Formats the first character of `bytes` in quotes, as Go does. Returns also its length in bytes.
pub(super) fn go_character(bytes: &[u8]) -> (String, usize) {
    let (Some(&first), chunk) = (bytes.first(), &bytes[..bytes.len().min(4)]) else {
        return (String::new(), 0);
    };
    let valid = chunk.utf8_chunks().next().map_or("", |c| c.valid());
    match valid.chars().next() {
        None => (format!("'\\x{first:02x}'"), 1),
        Some('\'') => ("'\\''".to_owned(), 1),
        Some(c) => (format!("'{}'", escaped(c)), c.len_utf8()),
    }
}

/// Formats text in double quotes, as Go's `%q` does.
pub(super) fn go_text(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '"' { out.push_str("\\\"") } else { out.push_str(&escaped(c)) }
        }
        out.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    out + "\""
}

fn escaped(c: char) -> String {
    match c {
        '\\' => "\\\\".to_owned(),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        c if c < ' ' || c == '\u{7f}' => format!("\\x{:02x}", u32::from(c)),
        // Format characters and private characters. Of these, only the byte order mark is common.
        '\u{80}'..='\u{a0}'
        | '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{feff}' => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    }
}
