//! `stonechat counter`: reads and changes counters (ADR-49), in streams that allow them.

use async_nats::HeaderMap;
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::listing;
use crate::message::write_out;
use crate::output::{Facts, json_line, line, shown};
use crate::session::{JetStreamArgs, Session};
use crate::values::{parse_name, parse_subject};

/// Header with the amount by which a counter changes.
const INCREMENT: &str = "Nats-Incr";
/// Header with the share of each source in a counter.
const SOURCES: &str = "Nats-Counter-Sources";

const EXAMPLES: &str = "\
Examples:
  stonechat stream add HITS --subjects 'hits.>' --allow-counter --defaults
  stonechat counter increment hits.home 1     count, and print the new value
  stonechat counter get hits.home
  stonechat counter ls 'hits.*'";

/// Arguments of `stonechat counter`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CounterArgs {
    #[command(flatten)]
    jetstream: JetStreamArgs,
    #[command(subcommand)]
    command: CounterCommand,
}

/// A counter.
#[derive(Debug, Args)]
struct Place {
    /// The subject that counts
    #[arg(value_parser = parse_subject)]
    subject: String,
    /// The stream, if the subject does not tell
    #[arg(long, value_parser = parse_name)]
    stream: Option<String>,
}

#[derive(Debug, Subcommand)]
enum CounterCommand {
    /// Print the value of a counter
    #[command(visible_alias = "g")]
    Get(Place),
    /// Show a counter, and what it has from which source
    #[command(visible_alias = "v")]
    View(Place),
    /// Count up, and print the new value
    #[command(visible_aliases = ["incr", "inc", "i"])]
    Increment {
        /// The subject that counts
        #[arg(value_parser = parse_subject)]
        subject: String,
        /// By how much
        #[arg(value_parser = parse_integer, allow_negative_numbers = true)]
        value: String,
    },
    /// Count down, and print the new value
    #[command(visible_aliases = ["decr", "dec", "d"])]
    Decrement {
        /// The subject that counts
        #[arg(value_parser = parse_subject)]
        subject: String,
        /// By how much
        #[arg(value_parser = parse_integer, allow_negative_numbers = true)]
        value: String,
    },
    /// List the counters in a stream
    #[command(visible_aliases = ["ls", "l"])]
    List {
        /// Only counters that match this filter
        #[arg(value_parser = parse_subject)]
        subject: Option<String>,
        /// The stream, if the filter does not tell
        #[arg(long, value_parser = parse_name)]
        stream: Option<String>,
    },
}

/// Parses a whole number of any size.
fn parse_integer(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is no whole number")),
    }
}

/// Returns the number, negated if `is_negated`.
fn signed(text: &str, is_negated: bool) -> String {
    let is_negative = text.starts_with('-') != is_negated;
    let digits = text.trim_start_matches(['-', '+']);
    // No plus sign, as in nats.go.
    format!("{}{digits}", if is_negative { "-" } else { "" })
}

/// Runs `stonechat counter`.
pub(crate) async fn run(args: CounterArgs) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    let json = args.jetstream.json;
    let work = async {
        let mut session = Session::open(&args.jetstream).await?;
        match &args.command {
            CounterCommand::Get(place) => get(&mut session, place, json).await,
            CounterCommand::View(place) => view(&mut session, place, json).await,
            CounterCommand::Increment { subject, value } => {
                add(&mut session, subject, &signed(value, false), json).await
            }
            CounterCommand::Decrement { subject, value } => {
                add(&mut session, subject, &signed(value, true), json).await
            }
            CounterCommand::List { subject, stream } => {
                list(&mut session, subject.as_deref(), stream.clone(), json).await
            }
        }
    };
    tokio::select! {
        result = work => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}

/// Returns the stream of a counter: the named one, or the one that takes the subject. It must allow counters.
async fn stream(
    session: &mut Session,
    subject: Option<&str>,
    named: Option<String>,
) -> Result<String, CliError> {
    let name = match (named, subject) {
        (Some(name), _) => name,
        (None, None) => return Err(CliError::Client("name a subject, or a --stream".to_owned())),
        (None, Some(subject)) => {
            let found = listing::stream_names(session, Some(subject)).await?;
            let none = || CliError::Client(format!("no stream takes the subject {:?}", shown(subject)));
            found.into_iter().next().ok_or_else(none)?
        }
    };
    let info = session.ask(&format!("STREAM.INFO.{name}"), None).await?;
    let config = &info["config"];
    match config["allow_msg_counter"] == true && config["allow_direct"] == true {
        true => Ok(name),
        false => Err(CliError::Client(format!(
            "stream {name} has no counters: it needs --allow-counter and --allow-direct"
        ))),
    }
}

/// Returns the last message of a counter: its headers and its value.
async fn last(session: &mut Session, place: &Place) -> Result<(HeaderMap, String), CliError> {
    let name = stream(session, Some(&place.subject), place.stream.clone()).await?;
    let call = format!("DIRECT.GET.{name}.{}", place.subject);
    let message = session.ask_message(&call, Bytes::new()).await?;
    if let Some(status) = message.status {
        return Err(match status.as_u16() {
            404 => CliError::Client(format!("there is no counter {:?} in stream {name}", place.subject)),
            status => CliError::Client(format!("the server answers with status {status}")),
        });
    }
    let body: Value = serde_json::from_slice(&message.payload)
        .map_err(|error| CliError::Client(format!("the counter {:?} is no JSON: {error}", place.subject)))?;
    Ok((message.headers.unwrap_or_default(), value(&body)?))
}

/// Returns the value in a counter's message, or in the answer to a change.
fn value(body: &Value) -> Result<String, CliError> {
    let found = body["val"].as_str().map(shown);
    found.ok_or_else(|| CliError::Client("the server's answer holds no value of a counter".to_owned()))
}

async fn get(session: &mut Session, place: &Place, json: bool) -> Result<(), CliError> {
    let (_, value) = last(session, place).await?;
    told(&place.subject, &value, json)
}

fn told(subject: &str, value: &str, json: bool) -> Result<(), CliError> {
    match json {
        true => json_line(&json!({ "subject": subject, "value": value })),
        false => line(value),
    }
}

async fn view(session: &mut Session, place: &Place, json: bool) -> Result<(), CliError> {
    let (headers, value) = last(session, place).await?;
    let text = |name: &str| headers.get(name).map(|text| text.as_str().to_owned()).unwrap_or_default();
    let increment = text(INCREMENT);
    let sources: Value = serde_json::from_str(&text(SOURCES)).unwrap_or_default();
    if json {
        return json_line(
            &json!({ "subject": place.subject, "value": value, "increment": increment, "sources": sources }),
        );
    }
    let mut facts = Facts::new(format!("Counter {}", shown(&place.subject)));
    facts.add("Value", value);
    facts.add("Increment", shown(&increment));
    facts.add("Subject", shown(&place.subject));
    for (stream, counters) in sources.as_object().into_iter().flatten() {
        facts.section(&format!("Source {}", shown(stream)));
        for (subject, count) in counters.as_object().into_iter().flatten() {
            facts.add(subject, crate::output::text_or_empty(count));
        }
    }
    write_out(facts.render().as_bytes())
}

async fn add(session: &mut Session, subject: &str, by: &str, json: bool) -> Result<(), CliError> {
    stream(session, Some(subject), None).await?;
    let mut headers = HeaderMap::new();
    headers.insert(INCREMENT, by);
    let subject_there = match session.foreign_prefix() {
        Some(prefix) => format!("{prefix}.{subject}"),
        None => subject.to_owned(),
    };
    let answer = session.store(subject_there, Some(headers), Bytes::new()).await?;
    told(subject, &value(&answer)?, json)
}

async fn list(
    session: &mut Session,
    subject: Option<&str>,
    named: Option<String>,
    json: bool,
) -> Result<(), CliError> {
    let name = stream(session, subject, named).await?;
    let found = listing::subjects(session, &name, subject.unwrap_or(">")).await?;
    if found.is_empty() {
        return Err(CliError::Client(format!("no counters found in stream {name}")));
    }
    let mut names: Vec<&String> = found.keys().collect();
    names.sort_unstable();
    names.into_iter().try_for_each(|subject| match json {
        true => json_line(&json!({ "subject": subject })),
        false => line(&shown(subject)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size() {
        assert_eq!((signed("5", false), signed("+5", false)), ("5".to_owned(), "5".to_owned()));
        assert_eq!((signed("-5", true), signed("5", true)), ("5".to_owned(), "-5".to_owned()));
        assert!(parse_integer("99999999999999999999999999").is_ok() && parse_integer("-1").is_ok());
        for text in ["", "-", "1.5", "x", "1e5", "--1"] {
            assert!(parse_integer(text).is_err(), "{text:?}");
        }
    }
}
