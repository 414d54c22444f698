//! Commands that print or remove a single message of a stream.

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;

use super::manage;
use crate::ask;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{json_line, local_time, text_or_empty, time_ago};
use crate::session::Session;
use crate::stored::{body_text, header_lines, parse_headers};

/// Parses the sequence of a message from the user's answer.
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
        text += &header_lines(&headers);
        text += "
";
    }
    let body = decoded("data")?;
    write_out(text.as_bytes())?;
    write_out(&body_text(&body, command, subject, stream)?)
}
