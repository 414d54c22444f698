//! Single messages of a stream: printed, and removed.

use async_nats::HeaderMap;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use super::manage;
use crate::ask;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{json_line, local_time, shown, text_or_empty, time_ago};
use crate::session::Session;
use crate::translate::translate;

/// Reads the sequence of a message from an answer.
fn sequence(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|seq| *seq > 0).ok_or_else(|| format!("{text:?} is no sequence of a message"))
}

pub(super) async fn remove(
    session: &mut Session,
    stream: &str,
    id: Option<u64>,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let seq = match id {
        Some(seq) => seq,
        None => {
            let answer =
                ask::input("Message Sequence to remove", None, "the sequence of the message").await?;
            sequence(&answer).map_err(CliError::Client)?
        }
    };
    manage::warn_of_bucket(stream).await?;
    ask::agree(&format!("Really remove message {seq} from Stream {stream}"), force).await?;
    session.ask(&format!("STREAM.MSG.DELETE.{stream}"), Some(&json!({ "seq": seq }))).await?;
    if json { json_line(&json!({ "stream": stream, "seq": seq, "deleted": true })) } else { Ok(()) }
}

pub(super) async fn get(
    session: &mut Session,
    stream: &str,
    id: Option<u64>,
    last_for: Option<String>,
    command: Option<&str>,
    json: bool,
) -> Result<(), CliError> {
    let body = match (id, last_for) {
        (Some(seq), _) => json!({ "seq": seq }),
        (None, Some(subject)) => json!({ "last_by_subj": subject }),
        (None, None) => {
            let flag = "the sequence of the message, or --last-for,";
            let answer = ask::input("Message Sequence to retrieve", None, flag).await?;
            json!({ "seq": sequence(&answer).map_err(CliError::Client)? })
        }
    };
    let answer = session.ask(&format!("STREAM.MSG.GET.{stream}"), Some(&body)).await?;
    let message = &answer["message"];
    if json {
        return json_line(message);
    }
    let decoded = |field: &str| {
        let text = message[field].as_str().unwrap_or_default();
        BASE64_STANDARD
            .decode(text)
            .map_err(|_| CliError::Client(format!("the server's {field} is no Base64")))
    };
    let subject = message["subject"].as_str().unwrap_or_default();
    let time = message["time"].as_str().unwrap_or_default();
    let mut text = format!(
        "Item: {stream}#{} received {} ({} ago) on Subject {}\n\n",
        message["seq"],
        local_time(time),
        time_ago(&message["time"]),
        text_or_empty(&message["subject"]),
    );
    let headers = parse_headers(&decoded("hdrs")?);
    if !headers.is_empty() {
        text += "Headers:\n";
        headers.iter().for_each(|(name, value)| text += &format!("  {}: {}\n", shown(name), shown(value)));
        text += "\n";
    }
    let body = decoded("data")?;
    write_out(text.as_bytes())?;
    write_out(&body_text(&body, command, subject, stream)?)
}

/// The headers of a stored message, in their order.
fn parse_headers(block: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(block);
    let lines = text.split("\r\n").skip(1);
    let pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// The headers of a delivered message, sorted.
pub(super) fn sorted_headers(headers: Option<&HeaderMap>) -> Vec<(String, String)> {
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

/// A body as it is shown: through the command if there is one; lines of text as they are, but for characters that would
/// move the cursor, and what is no text as Base64.
pub(super) fn body_text(
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

/// A delivered message as JSON, with the fields of a stored one.
pub(super) fn as_json(seq: u64, time: &str, message: &async_nats::Message) -> Value {
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
