//! Small encoders that several modules use.

use serde_json::{Map, Value};

/// Returns the line `-ERR '<text>'\r\n`.
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

/// Returns bytes in double quotes with escapes, as Go's `%q` writes a string. Error texts quote subjects in this way.
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

/// Returns CONNECT's JSON for a log. The values of secrets become `[REDACTED]`, and unreadable JSON is not shown.
pub fn redact_connect(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(&text) else {
        return "[unreadable]".into();
    };
    let mut redacted = false;
    for (key, value) in &mut fields {
        let key = key.to_lowercase();
        if key.starts_with("pass")
            || key.starts_with("auth_token")
            || matches!(key.as_str(), "proxy_sig" | "nkey" | "sig" | "jwt")
        {
            *value = Value::String("[REDACTED]".into());
            redacted = true;
        }
    }
    // Text without secrets is shown unchanged.
    if redacted { Value::Object(fields).to_string() } else { text.into_owned() }
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
        for json in [
            r#"{"user":"u","pass":"sesame","name":"n"}"#,
            r#"{"pass"  : "sesame"}"#,
            r#"{"PASS":"sesame","pass":"sesame"}"#,
            r#"{"name":"a\"","password":"sesame"}"#,
            r#"{"pa\u0073s":"sesame"}"#,
            r#"{"pass":{"a":"x,sesame"}}"#,
            r#"{"auth_token":"sesame","sig":"sesame","nkey":"sesame"}"#,
            r#"{"pass":"sesame""#,
        ] {
            let shown = redact_connect(json.as_bytes());
            assert!(!shown.contains("sesame"), "{shown}");
        }
        assert_eq!(redact_connect(br#"{"name": "x"}"#), r#"{"name": "x"}"#);
        assert_eq!(redact_connect(br#"{"user":"u","pass":"p"}"#), r#"{"user":"u","pass":"[REDACTED]"}"#);
    }
}
