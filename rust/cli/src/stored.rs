//! Output of stored messages: headers, bodies, JSON.

use async_nats::{HeaderMap, Message};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::shown;
use crate::translate::translate;

/// Parses the headers of a stored message, in their order.
pub(crate) fn parse_headers(block: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(block);
    let lines = text.split("\r\n").skip(1);
    let pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// Returns the headers of a delivered message, sorted, because the client keeps them in a hash map.
pub(crate) fn sorted_headers(headers: Option<&HeaderMap>) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = headers
        .into_iter()
        .flat_map(|map| map.iter())
        .flat_map(|(name, values)| {
            values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
        })
        .collect();
    pairs.sort();
    pairs
}

/// Formats headers as indented lines.
pub(crate) fn header_lines(headers: &[(String, String)]) -> String {
    headers.iter().map(|(name, value)| format!("  {}: {}\n", shown(name), shown(value))).collect()
}

/// Formats a body, after the translation command if there is one. Text keeps its lines, but characters that move the cursor are
/// escaped; other data becomes Base64.
///
/// # Errors
/// The command fails.
pub(crate) fn body_text(
    body: &[u8],
    command: Option<&str>,
    subject: &str,
    stream: &str,
) -> Result<Vec<u8>, CliError> {
    if let Some(command) = command {
        return translate(command, body, subject, stream);
    }
    if body.is_empty() {
        return Ok(b"nil body\n\n".to_vec());
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text.lines().map(shown).collect::<Vec<_>>().join("\n"),
        Err(_) => BASE64_STANDARD.encode(body),
    };
    Ok(format!("{text}\n\n").into_bytes())
}

/// Returns a delivered message as JSON, with the fields of a stored message.
pub(crate) fn stored_json(seq: u64, time: &str, message: &Message) -> Value {
    let headers = sorted_headers(message.headers.as_ref());
    let mut value = json!({ "subject": message.subject.as_str(), "seq": seq });
    if !headers.is_empty() {
        let block: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        value["hdrs"] = json!(BASE64_STANDARD.encode(format!("NATS/1.0\r\n{block}\r\n")));
    }
    if !message.payload.is_empty() {
        value["data"] = json!(BASE64_STANDARD.encode(&message.payload));
    }
    value["time"] = json!(time);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_move_no_cursor() {
        let shown = |body: &[u8]| String::from_utf8(body_text(body, None, "s", "S").unwrap()).unwrap();
        assert_eq!(shown(b"two\nlines\n"), "two\nlines\n\n");
        assert_eq!(shown(b"\x1b[2J"), "\\u{1b}[2J\n\n");
        assert_eq!(shown(b"\xff"), "/w==\n\n");
        assert_eq!(shown(b""), "nil body\n\n");
    }

    #[test]
    fn headers_of_a_stored_message() {
        let pairs = parse_headers(b"NATS/1.0\r\nA: 1\r\nA:2\r\nbroken\r\n\r\n");
        assert_eq!(pairs, [("A".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())]);
        assert!(parse_headers(b"\xff").is_empty());
    }
}
