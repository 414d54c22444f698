//! Small encoders that more than one place needs.

/// `-ERR '<text>'\r\n`.
pub fn error_line(text: &str) -> Vec<u8> {
    format!("-ERR '{text}'\r\n").into_bytes()
}

/// Appends a number in decimal.
pub fn push_number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Bytes in double quotes with escapes, as Go's `%q` writes a string; error texts quote subjects so.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\x07' => out.push_str("\\a"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x0b' => out.push_str("\\v"),
                c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
                c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// A CONNECT's JSON fit for a log: the values of secrets become `[REDACTED]`.
pub fn redact_connect(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(open) = rest.find('"') {
        let Some(close) = rest[open + 1..].find('"').map(|i| open + 1 + i) else { break };
        let key = &rest[open + 1..close];
        out.push_str(&rest[..=close]);
        rest = &rest[close + 1..];
        let secret = key.starts_with("pass")
            || key.starts_with("auth_token")
            || matches!(key, "proxy_sig" | "nkey" | "sig");
        let gap = rest.len() - rest.trim_start_matches([' ', '\t', ':']).len();
        if !secret || !rest[..gap].contains(':') {
            continue;
        }
        out.push_str(&rest[..gap]);
        rest = &rest[gap..];
        let end = match rest.strip_prefix('"') {
            Some(value) => string_end(value) + 1,
            None => rest.find([',', '}']).unwrap_or(rest.len()),
        };
        out.push_str("\"[REDACTED]\"");
        rest = &rest[end.min(rest.len())..];
    }
    out.push_str(rest);
    out
}

/// Behind the closing quote of a string whose opening quote is already gone.
fn string_end(value: &str) -> usize {
    let mut escaped = false;
    for (i, c) in value.char_indices() {
        match c {
            '"' if !escaped => return i + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for n in [0, 7, 10, 65_536, usize::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, n);
            assert_eq!(out, n.to_string().into_bytes());
        }
    }

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(quote(b"foo.\"x\""), r#""foo.\"x\"""#);
        assert_eq!(quote(b"a\xffb\x01"), r#""a\xffb\x01""#);
        assert_eq!(quote("größe".as_bytes()), "\"größe\"");
    }

    #[test]
    fn secrets_stay_out_of_logs() {
        let json = br#"{"user":"u","pass":"p\"x","auth_token": "t","nkey":"N","sig":"S","name":"pass"}"#;
        let text = redact_connect(json);
        assert_eq!(
            text,
            r#"{"user":"u","pass":"[REDACTED]","auth_token": "[REDACTED]","nkey":"[REDACTED]","sig":"[REDACTED]","name":"pass"}"#
        );
    }
}
