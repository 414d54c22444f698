//! Output of messages on standard output.

use std::collections::BTreeMap;
use std::io::{self, Write};

use async_nats::Message;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::error::CliError;

/// Maximum bytes of a binary payload that are shown.
const HEX_BYTES_MAX: usize = 32;

/// The output format of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    /// Number, subject, payload and headers.
    Full,
    /// The payload unchanged, and a line feed.
    Raw,
    /// A JSON object on one line.
    Json,
}

impl Format {
    pub(crate) fn new(raw: bool, json: bool) -> Self {
        match (raw, json) {
            (true, _) => Self::Raw,
            (_, true) => Self::Json,
            _ => Self::Full,
        }
    }

    /// Prints one message and flushes, so that readers of a pipe get it at once.
    pub(crate) fn print(self, number: u64, message: &Message) -> Result<(), CliError> {
        let mut text = Vec::with_capacity(message.payload.len() + 64);
        let written = match self {
            Self::Full => write_full(&mut text, number, message),
            Self::Raw => text.write_all(&message.payload).and_then(|()| text.write_all(b"\n")),
            Self::Json => writeln!(text, "{}", as_json(message)),
        };
        written.map_err(CliError::Output)?;
        write_out(&text)
    }
}

/// Writes to standard output and flushes.
pub(crate) fn write_out(text: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).map_err(CliError::Output)
}

/// Returns a message as JSON. A payload that is not text is Base64 in `data_base64`.
fn as_json(message: &Message) -> Value {
    let mut object = json!({ "subject": message.subject.as_str() });
    if let Some(reply) = &message.reply {
        object["reply"] = json!(reply.as_str());
    }
    if let Some(headers) = message.headers.as_ref().filter(|headers| !headers.is_empty()) {
        // Sorted, because the client keeps headers in a hash map.
        let headers: BTreeMap<&str, Vec<&str>> = headers
            .iter()
            .map(|(name, values)| (name.as_ref(), values.iter().map(|value| value.as_str()).collect()))
            .collect();
        object["headers"] = json!(headers);
    }
    match std::str::from_utf8(&message.payload) {
        Ok(text) => object["data"] = json!(text),
        Err(_) => object["data_base64"] = json!(BASE64_STANDARD.encode(&message.payload)),
    }
    object
}

/// Writes `[1] subject (reply to inbox): payload`, then the headers, indented.
fn write_full(out: &mut impl Write, number: u64, message: &Message) -> io::Result<()> {
    write!(out, "[{number}] {}", message.subject)?;
    if let Some(reply) = &message.reply {
        write!(out, " (reply to {reply})")?;
    }
    match std::str::from_utf8(&message.payload) {
        Ok("") => writeln!(out, ": (empty)")?,
        Ok(text) => writeln!(out, ": {text}")?,
        Err(_) => {
            write!(out, ": ({} bytes)", message.payload.len())?;
            for byte in message.payload.iter().take(HEX_BYTES_MAX) {
                write!(out, " {byte:02x}")?;
            }
            writeln!(out, "{}", if message.payload.len() > HEX_BYTES_MAX { " ..." } else { "" })?;
        }
    }
    // Sorted for stable output, because the client keeps headers in a hash map.
    let mut headers: Vec<_> = message.headers.iter().flat_map(|map| map.iter()).collect();
    headers.sort_by_key(|(name, _)| AsRef::<str>::as_ref(*name));
    for (name, values) in headers {
        for value in values {
            writeln!(out, "    {name}: {value}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;

    fn full(payload: &'static [u8], reply: Option<&str>, headers: Option<HeaderMap>) -> String {
        let message = Message {
            subject: "a.b".into(),
            reply: reply.map(Into::into),
            payload: payload.into(),
            headers,
            status: None,
            description: None,
            length: 0,
        };
        let mut out = Vec::new();
        write_full(&mut out, 7, &message).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_binary_and_empty_payloads() {
        assert_eq!(full(b"hi", None, None), "[7] a.b: hi\n");
        assert_eq!(full(b"", Some("in.1"), None), "[7] a.b (reply to in.1): (empty)\n");
        assert_eq!(full(b"\xff\x00", None, None), "[7] a.b: (2 bytes) ff 00\n");
        let long = full(&[0xff; 40], None, None);
        assert!(long.starts_with("[7] a.b: (40 bytes) ff ff") && long.ends_with(" ff ...\n"), "{long}");
    }

    #[test]
    fn json_tells_text_from_bytes() {
        let mut message = Message {
            subject: "a.b".into(),
            reply: Some("in.1".into()),
            payload: "h\u{ef}\n".into(),
            headers: Some(HeaderMap::from_iter([("A".parse().unwrap(), "1".parse().unwrap())])),
            status: None,
            description: None,
            length: 0,
        };
        let told = r#"{"subject":"a.b","reply":"in.1","headers":{"A":["1"]},"data":"hï\n"}"#;
        assert_eq!(as_json(&message).to_string(), told);
        message = Message { payload: (&b"\xff\x00"[..]).into(), headers: None, reply: None, ..message };
        assert_eq!(as_json(&message).to_string(), r#"{"subject":"a.b","data_base64":"/wA="}"#);
    }

    #[test]
    fn headers_are_sorted_and_indented() {
        let mut map = HeaderMap::new();
        map.append("Zoo", "1");
        map.append("Ant", "2");
        map.append("Ant", "3");
        assert_eq!(full(b"x", None, Some(map)), "[7] a.b: x\n    Ant: 2\n    Ant: 3\n    Zoo: 1\n");
    }
}
