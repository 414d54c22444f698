//! `stonechat events`: prints events of servers and of JetStream as they happen.

mod kinds;
mod render;

use std::time::Duration;

use async_nats::Subscriber;
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::select_all;
use jiff::Timestamp;
use regex_lite::{Regex, RegexBuilder};
use serde_json::Value;

use crate::connection::client_error;
use crate::console::say;
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::message::write_out;
use crate::ordered::{Ordered, Reading, beginning};
use crate::output::shown_value;
use crate::session::{JetStreamArgs, Session};
use crate::values::{parse_duration, parse_name, parse_subject};

const EXAMPLES: &str = "\
Examples:
  stonechat events --js-advisory --no-srv-advisory   what happens in JetStream
  stonechat events --user sys --password pw          who connects and disconnects
  stonechat events --all --short --filter orders
  stonechat events --stream ADVISORIES --since 1h --json

Ends with Ctrl-C.";

const ADVISORIES: &str = "$JS.EVENT.ADVISORY.>";
const METRICS: &str = "$JS.EVENT.METRIC.>";
/// Subjects on which servers publish events of clients, in the system account.
const CLIENTS: [&str; 3] =
    ["$SYS.ACCOUNT.*.CONNECT", "$SYS.ACCOUNT.*.DISCONNECT", "$SYS.SERVER.*.CLIENT.AUTH.ERR"];

/// Arguments of `stonechat events`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    jetstream: JetStreamArgs,
    /// All events
    #[arg(short, long)]
    all: bool,
    /// Advisories of JetStream
    #[arg(long)]
    js_advisory: bool,
    /// Metrics of JetStream: samples of acknowledgements
    #[arg(long)]
    js_metric: bool,
    /// Clients that connect, disconnect or are refused (as it is without this flag); needs a user of the system account
    #[arg(long, overrides_with = "no_srv_advisory")]
    srv_advisory: bool,
    /// No events about clients
    #[arg(long)]
    no_srv_advisory: bool,
    /// Events on this subject; may be given several times
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    subjects: Vec<String>,
    /// Events that this stream has stored, and new ones as they come
    #[arg(long, value_name = "STREAM", value_parser = parse_name)]
    stream: Option<String>,
    /// Of a stream only what is not older
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Only events in which this regular expression matches; upper and lower case are the same
    #[arg(long, value_name = "REGEX")]
    filter: Option<String>,
    /// A line for each event
    #[arg(long, conflicts_with_all = ["json", "cloudevent"])]
    short: bool,
    /// Events in the form of CloudEvents 1.0, one a line
    #[arg(long)]
    cloudevent: bool,
}

/// The output form of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Full,
    Short,
    Json,
    CloudEvent,
}

/// Runs `stonechat events`; Ctrl-C is its normal end.
pub(crate) async fn run(args: EventsArgs) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    tokio::select! {
        result = watch(&args) => result,
        () = interrupt.pressed() => Ok(()),
    }
}

async fn watch(args: &EventsArgs) -> Result<(), CliError> {
    let filter = args.filter.as_deref().map(|text| RegexBuilder::new(text).case_insensitive(true).build());
    let filter =
        filter.transpose().map_err(|error| CliError::Client(format!("--filter is wrong: {error}")))?;
    let form = match (args.cloudevent, args.jetstream.json, args.short) {
        (true, ..) => Form::CloudEvent,
        (_, true, _) => Form::Json,
        (.., true) => Form::Short,
        _ => Form::Full,
    };
    let printer = Printer { form, filter };
    let has_subjects = args.all || args.js_advisory || args.js_metric || !args.subjects.is_empty();
    match &args.stream {
        Some(_) if has_subjects => {
            Err(CliError::Client("--stream goes with no flag that names other events".to_owned()))
        }
        Some(stream) => stored(args, stream, &printer).await,
        None => live(args, &printer).await,
    }
}

/// Returns the subjects that the flags select.
fn subjects(args: &EventsArgs) -> Vec<&str> {
    let mut subjects = Vec::new();
    subjects.extend((args.all || args.js_advisory).then_some(ADVISORIES));
    subjects.extend((args.all || args.js_metric).then_some(METRICS));
    if args.all || !args.no_srv_advisory {
        subjects.extend(CLIENTS);
    }
    subjects.extend(args.subjects.iter().map(String::as_str));
    subjects
}

/// Prints events as they are published.
async fn live(args: &EventsArgs, printer: &Printer) -> Result<(), CliError> {
    let subjects = subjects(args);
    if subjects.is_empty() {
        return Err(CliError::Client("no events were chosen".to_owned()));
    }
    let mut session = Session::open(&args.jetstream).await?;
    let mut subscribers: Vec<Subscriber> = Vec::with_capacity(subjects.len());
    for subject in &subjects {
        subscribers
            .push(session.connection.client.subscribe((*subject).to_owned()).await.map_err(client_error)?);
    }
    let timeout = session.timeout();
    session.connection.settle(timeout).await?;
    say(format_args!("listening for events on {}", subjects.join(", ")));
    let mut messages = select_all(subscribers);
    loop {
        let message = tokio::select! {
            message = messages.next() => message.ok_or(CliError::ConnectionLost)?,
            complaint = session.connection.complaint() => return Err(complaint),
        };
        printer.print(&message.subject, &message.payload)?;
    }
}

/// Prints events from a stream.
async fn stored(args: &EventsArgs, stream: &str, printer: &Printer) -> Result<(), CliError> {
    let session = Session::open(&args.jetstream).await?;
    let since = args.since.map(|time| Timestamp::now().checked_sub(time).unwrap_or(Timestamp::UNIX_EPOCH));
    let since = since.map(|time| time.to_string());
    let reading = Reading {
        reader: "stonechat events",
        filter: String::new(),
        from: beginning(None, since.as_deref())?,
        is_headers_only: false,
    };
    let mut messages = Ordered::open(&session, stream, reading).await?;
    say(format_args!("listening for events in the stream {stream}"));
    loop {
        let delivered = messages.next().await?;
        printer.print(&delivered.message.subject, &delivered.message.payload)?;
    }
}

/// Filter and output form of events.
struct Printer {
    form: Form,
    filter: Option<Regex>,
}

impl Printer {
    fn print(&self, subject: &str, payload: &[u8]) -> Result<(), CliError> {
        self.text(subject, payload).map_or(Ok(()), |text| write_out(text.as_bytes()))
    }

    /// Returns the text of an event; `None` if the filter rejects it.
    fn text(&self, subject: &str, payload: &[u8]) -> Option<String> {
        let body = String::from_utf8_lossy(payload);
        if self.filter.as_ref().is_some_and(|filter| !filter.is_match(&body)) {
            return None;
        }
        let event: Option<Value> = serde_json::from_slice(payload).ok();
        Some(match (self.form, event) {
            (Form::Full, Some(event)) => render::full(subject, &event),
            (Form::Short, Some(event)) => render::short(subject, &event),
            (Form::Json, Some(event)) => format!("{event}\n"),
            (Form::CloudEvent, Some(event)) => format!("{}\n", render::cloud_event(subject, &event)),
            (Form::Json | Form::CloudEvent, None) => {
                let shown = shown_value(payload);
                format!("{}\n", serde_json::json!({ "subject": subject, "data": shown }))
            }
            (Form::Full | Form::Short, None) => {
                format!("{} is no event: {}\n", crate::output::shown(subject), shown_value(payload))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(form: Form, filter: Option<&str>, payload: &str) -> Option<String> {
        let filter = filter.map(|text| RegexBuilder::new(text).case_insensitive(true).build().unwrap());
        Printer { form, filter }.text("a.b", payload.as_bytes())
    }

    #[test]
    fn filters_look_at_the_whole_event() {
        let event = r#"{"type":"x","stream":"Orders"}"#;
        assert!(text(Form::Json, Some("orders"), event).is_some());
        assert!(text(Form::Json, Some("^\\{.*S\"}$"), event).is_some());
        assert!(text(Form::Json, Some("other"), event).is_none());
    }

    #[test]
    fn what_is_no_event_is_shown() {
        for form in [Form::Full, Form::Short, Form::Json, Form::CloudEvent] {
            for payload in ["\u{1b}[2J", "5", "[1]", "{}", "{\"type\":7}", "null"] {
                let text = text(form, None, payload).unwrap();
                assert!(text.ends_with('\n') && !text.contains('\u{1b}'), "{text}");
            }
        }
    }
}
