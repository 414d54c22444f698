//! Messages of a consumer: fetched from a pull consumer, or received from a push consumer.

use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::args::{AnswerArgs, NextArgs, SubArgs};
use super::list::is_pull;
use super::select;
use crate::connection::client_error;
use crate::console::say;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{json_line, local_time, shown};
use crate::session::Session;
use crate::stored::{body_text, header_lines, sorted_headers, stored_json};
use crate::values::api_nanoseconds;

/// The kind of acknowledgement for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Ack,
    Nak,
    Term,
}

impl Answer {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Ack => b"+ACK",
            Self::Nak => b"-NAK",
            Self::Term => b"+TERM",
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Ack => "Acknowledged message",
            Self::Nak => "Negative Acknowledged message",
            Self::Term => "Terminated message",
        }
    }
}

pub(super) async fn next(session: &mut Session, args: &NextArgs, json: bool) -> Result<(), CliError> {
    let answer = match (args.term, args.nak, args.answer.no_ack) {
        (true, ..) => Some(Answer::Term),
        (_, true, _) => Some(Answer::Nak),
        (.., false) => Some(Answer::Ack),
        (.., true) => None,
    };
    for _ in 0..args.count {
        fetch(session, &args.stream, &args.consumer, args.answer.raw, json, answer, args.wait).await?;
    }
    Ok(())
}

/// Fetches one message, prints it and acknowledges it.
async fn fetch(
    session: &mut Session,
    stream: &str,
    consumer: &str,
    is_raw: bool,
    json: bool,
    answer: Option<Answer>,
    delay: Option<Duration>,
) -> Result<(), CliError> {
    let body = json!({ "batch": 1, "expires": api_nanoseconds(session.timeout()) });
    let call = format!("CONSUMER.MSG.NEXT.{stream}.{consumer}");
    let reason = match session.ask_for_delivery(&call, body.to_string().into()).await {
        Ok(message) if message.status.is_none() => {
            return taken(session, &message, stream, is_raw, json, answer, delay).await;
        }
        Ok(message) => message.description.unwrap_or_else(|| "no reason given".to_owned()),
        Err(CliError::NoJetStream { .. } | CliError::NoReply { .. }) => {
            "the server does not answer".to_owned()
        }
        Err(error) => return Err(error),
    };
    // The server does not answer requests to a consumer that does not exist: check that it exists.
    let info = select::info(session, stream, consumer).await?;
    Err(CliError::Client(match is_pull(&info) {
        true => format!("no message came from {stream} > {consumer}: {}", shown(&reason)),
        false => format!("consumer {stream} > {consumer} is not asked for messages: it sends them"),
    }))
}

/// Prints a message and acknowledges it.
async fn taken(
    session: &mut Session,
    message: &Message,
    stream: &str,
    is_raw: bool,
    json: bool,
    answer: Option<Answer>,
    delay: Option<Duration>,
) -> Result<(), CliError> {
    print(message, stream, is_raw, json)?;
    let Some(answer) = answer else { return Ok(()) };
    if let Some(longest) = delay {
        tokio::time::sleep(random_part(longest)).await;
    }
    respond(session, message, answer).await?;
    if is_raw || json { Ok(()) } else { write_out(format!("\n{}\n\n", answer.told()).as_bytes()) }
}

/// Returns a random part of `longest`, so that clients that started together do not answer together.
fn random_part(longest: Duration) -> Duration {
    let nanoseconds = jiff::Timestamp::now().subsec_nanosecond().unsigned_abs();
    longest.mul_f64(f64::from(nanoseconds % 1_000) / 1_000.0)
}

/// Sends an acknowledgement, and waits until the server has processed it.
async fn respond(session: &mut Session, message: &Message, answer: Answer) -> Result<(), CliError> {
    let Some(reply) = message.reply.clone() else { return Ok(()) };
    let client = &session.connection.client;
    client.publish(reply, Bytes::from_static(answer.as_bytes())).await.map_err(client_error)?;
    let timeout = session.timeout();
    session.connection.settle(timeout).await
}

/// Figures in the ack subject of a message: `$JS.ACK.STREAM.CONSUMER.TRIES.SEQ.CONSUMER_SEQ.TIME.PENDING`. The long form has a
/// domain and an account before the stream, and a random token at the end.
#[derive(Debug, PartialEq, Eq)]
struct Told<'a> {
    tries: &'a str,
    stream_seq: u64,
    consumer_seq: &'a str,
    nanoseconds: i128,
    pending: &'a str,
}

impl<'a> Told<'a> {
    fn read(reply: &'a str) -> Option<Self> {
        let tokens: Vec<&str> = reply.split('.').collect();
        let rest = match tokens.as_slice() {
            ["$JS", "ACK", _, _, rest @ ..] if rest.len() == 5 => rest,
            ["$JS", "ACK", _, _, _, _, rest @ ..] if rest.len() >= 5 => rest,
            _ => return None,
        };
        Some(Self {
            tries: rest[0],
            stream_seq: rest[1].parse().ok()?,
            consumer_seq: rest[2],
            nanoseconds: rest[3].parse().ok()?,
            pending: rest[4],
        })
    }

    fn time(&self) -> String {
        jiff::Timestamp::from_nanosecond(self.nanoseconds).map(|time| time.to_string()).unwrap_or_default()
    }
}

fn print(message: &Message, stream: &str, is_raw: bool, json: bool) -> Result<(), CliError> {
    if is_raw {
        write_out(&message.payload)?;
        return write_out(b"\n");
    }
    let told = message.reply.as_ref().and_then(|reply| Told::read(reply));
    if json {
        let (seq, time) = told.map_or((0, String::new()), |told| (told.stream_seq, told.time()));
        return json_line(&stored_json(seq, &time, message));
    }
    let now = local_time(&jiff::Timestamp::now().to_string());
    let subject = shown(message.subject.as_str());
    let text = match told {
        Some(told) => format!(
            "[{now}] subj: {subject} / tries: {} / cons seq: {} / str seq: {} / pending: {}\n",
            shown(told.tries),
            shown(told.consumer_seq),
            told.stream_seq,
            shown(told.pending),
        ),
        None => format!("--- subject: {subject}\n"),
    };
    write_out(format!("{text}{}\n", headers(message.headers.as_ref())).as_bytes())?;
    write_out(&body_text(&message.payload, None, message.subject.as_str(), stream)?)
}

fn headers(headers: Option<&HeaderMap>) -> String {
    let pairs = sorted_headers(headers);
    if pairs.is_empty() {
        return String::new();
    }
    format!("\nHeaders:\n\n{}\nData:\n", header_lines(&pairs))
}

/// Prints the messages that a consumer delivers.
pub(super) async fn subscribe(
    session: &mut Session,
    info: &Value,
    args: &SubArgs,
    json: bool,
) -> Result<(), CliError> {
    let AnswerArgs { no_ack, raw, .. } = args.answer;
    let (stream, consumer) = select::names(info);
    let is_acknowledged = !no_ack && info["config"]["ack_policy"] != "none";
    if is_pull(info) {
        let answer = is_acknowledged.then_some(Answer::Ack);
        return fetch(session, stream, consumer, raw, json, answer, None).await;
    }
    let subject = info["config"]["deliver_subject"].as_str().unwrap_or_default().to_owned();
    let group = args.deliver_group.as_deref().or_else(|| info["config"]["deliver_group"].as_str());
    let client = session.connection.client.clone();
    let mut messages = match group.filter(|group| !group.is_empty()) {
        Some(group) => client.queue_subscribe(subject.clone(), group.to_owned()).await,
        None => client.subscribe(subject.clone()).await,
    }
    .map_err(client_error)?;
    if !raw && !json {
        say(format_args!("subscribed to {} of {stream} > {consumer}", shown(&subject)));
    }
    while let Some(message) = messages.next().await {
        // A heartbeat or a flow control request. A reply subject, or a header with one, requires an answer.
        if message.status.map(|status| status.as_u16()) == Some(100) {
            let stalled = message.headers.as_ref().and_then(|headers| headers.get("Nats-Consumer-Stalled"));
            let reply = stalled.map(|value| value.as_str().into()).or(message.reply);
            if let Some(reply) = reply {
                client.publish(reply, Bytes::new()).await.map_err(client_error)?;
            }
            continue;
        }
        print(&message, stream, raw, json)?;
        if let Some(reply) = message.reply.filter(|_| is_acknowledged) {
            client.publish(reply, Bytes::from_static(Answer::Ack.as_bytes())).await.map_err(client_error)?;
        }
    }
    Err(CliError::ConnectionLost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reply_says() {
        let short = Told::read("$JS.ACK.S.C.1.22.3.1700000000000000000.4").unwrap();
        let long = Told::read("$JS.ACK.hub.ACCOUNT.S.C.1.22.3.1700000000000000000.4.token").unwrap();
        assert_eq!(short, long);
        assert_eq!((short.stream_seq, short.pending), (22, "4"));
        assert!(short.time().starts_with("2023-11-14T22:13:20"));
        for reply in ["", "_INBOX.1", "$JS.ACK.S.C.1.x.3.1.4", "$JS.ACK.S"] {
            assert_eq!(Told::read(reply), None, "{reply}");
        }
    }
}
