//! `stonechat trace`: shows the path of a message through the servers, from their trace events.

use std::time::{Duration, Instant};

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::Value;

use crate::args::ConnectionArgs;
use crate::connection::{Connection, client_error};
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::message::write_out;
use crate::output::{duration, json_line, shown, text_or_empty};
use crate::values::{parse_duration, parse_header, parse_subject};

const EXAMPLES: &str = "\
Examples:
  stonechat trace orders.new                     who would get it
  stonechat trace orders.new '{}' --deliver -T   deliver it too, and show when what happened";

/// Header with the subject to which servers send their trace events of a message.
const DESTINATION: &str = "Nats-Trace-Dest";
/// Header that tells servers to trace a message without delivering it.
const ONLY: &str = "Nats-Trace-Only";
/// Header that identifies the hop on which a message reached a server.
const HOP: &str = "Nats-Trace-Hop";

/// Arguments of `stonechat trace`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Subject of the message
    #[arg(value_parser = parse_subject)]
    subject: String,
    /// Text of the message
    #[arg(default_value = "")]
    payload: String,
    /// Deliver the message; without it servers only tell where it would go
    #[arg(long)]
    deliver: bool,
    /// Show when what happened
    #[arg(short = 'T', long)]
    timestamp: bool,
    /// Header, as Name:Value; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// How long to wait for what servers tell
    #[arg(long, env = "NATS_TIMEOUT", default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// Print what each server tells as JSON, one a line
    #[arg(short, long)]
    json: bool,
}

/// Runs `stonechat trace`.
pub(crate) async fn run(args: TraceArgs) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    tokio::select! {
        result = trace(&args) => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}

async fn trace(args: &TraceArgs) -> Result<(), CliError> {
    let mut connection = Connection::open(&args.connection, args.timeout).await?;
    // Servers without tracing ignore the headers and would deliver the message. nats-server has its Go version in this field.
    if !connection.client.server_info().go.starts_with("go") {
        return Err(CliError::Client(
            "this server does not trace messages: it would deliver the message and tell nothing".to_owned(),
        ));
    }
    let told = gather(&mut connection, args).await?;
    if args.json {
        return told.iter().try_for_each(json_line);
    }
    let Some(origin) = told.iter().find(|event| hop_of(event).is_none()) else {
        return Err(CliError::NoReply { subject: args.subject.clone(), seconds: args.timeout.as_secs_f64() });
    };
    let mut view = View {
        told: &told,
        began: began(origin),
        shows_times: args.timestamp,
        text: String::new(),
        reached: Vec::new(),
    };
    view.event(origin, 0);
    let how = if args.deliver { ", delivered" } else { ", not delivered" };
    let mut text = format!("Way of a message on {}{how}:\n\n{}", shown(&args.subject), view.text);
    if !view.reached.is_empty() {
        text += "\nReached:\n\n";
        for (kind, count) in &view.reached {
            text += &format!("  {kind}: {count}\n");
        }
    }
    let streams = view.reached.iter().find(|(kind, _)| *kind == "JetStream");
    if let Some((_, count)) = streams.filter(|(_, count)| *count > 1) {
        text += &format!("\nWARNING: {count} streams take this message\n");
    }
    let missing = expected(&told).saturating_sub(told.len());
    if missing > 0 {
        text += &format!("\nWARNING: {missing} servers told nothing in time\n");
    }
    write_out(text.as_bytes())
}

/// Sends the message and collects trace events, until every server has sent one or the time is over.
async fn gather(connection: &mut Connection, args: &TraceArgs) -> Result<Vec<Value>, CliError> {
    let client = connection.client.clone();
    let inbox = client.new_inbox();
    let mut incoming = client.subscribe(inbox.clone()).await.map_err(client_error)?;
    connection.settle(args.timeout).await?;
    let mut headers = HeaderMap::new();
    for (name, value) in &args.headers {
        headers.append(name.clone(), value.clone());
    }
    headers.insert(DESTINATION, inbox.as_str());
    if !args.deliver {
        headers.insert(ONLY, "true");
    }
    let payload = Bytes::copy_from_slice(args.payload.as_bytes());
    client.publish_with_headers(args.subject.clone(), headers, payload).await.map_err(client_error)?;
    let began = Instant::now();
    let mut told: Vec<Value> = Vec::new();
    while !is_complete(&told) {
        let left = args.timeout.saturating_sub(began.elapsed());
        let message = tokio::select! {
            biased;
            message = tokio::time::timeout(left, incoming.next()) => message,
            complaint = connection.complaint() => return Err(complaint),
        };
        let Ok(message) = message else { break };
        let message = message.ok_or(CliError::ConnectionLost)?;
        let event = serde_json::from_slice(&message.payload)
            .map_err(|error| CliError::Client(format!("a server's trace is no JSON: {error}")))?;
        told.push(event);
    }
    match told.is_empty() {
        true => Err(CliError::Client(format!(
            "no server told of the message within {} s: the server must trace messages, and the user may need a permission for it",
            args.timeout.as_secs_f64()
        ))),
        false => Ok(told),
    }
}

/// Whether all servers have sent their event. Events arrive in any order, and only the first server's event starts the count.
fn is_complete(told: &[Value]) -> bool {
    told.iter().any(|event| hop_of(event).is_none()) && told.len() >= expected(told)
}

/// Returns the number of expected events: each event has the number of servers to which its server forwarded the message.
fn expected(told: &[Value]) -> usize {
    let hops = told.iter().map(|event| event["hops"].as_u64().unwrap_or_default());
    usize::try_from(hops.fold(1, u64::saturating_add)).unwrap_or(usize::MAX)
}

/// Returns the hop on which the message reached a server; `None` for the server that received it first.
fn hop_of(event: &Value) -> Option<&str> {
    event["request"]["header"][HOP][0].as_str()
}

/// Returns the time at which the first server received the message.
fn began(origin: &Value) -> Option<Timestamp> {
    steps(origin).find(|step| step["type"] == "in").and_then(time)
}

fn steps(event: &Value) -> impl Iterator<Item = &Value> {
    event["events"].as_array().into_iter().flatten()
}

fn time(step: &Value) -> Option<Timestamp> {
    step["ts"].as_str()?.parse().ok()
}

/// Maximum depth of servers that are shown; real paths are shorter.
const DEEPEST: usize = 32;

/// The text of a trace while it is built.
struct View<'a> {
    told: &'a [Value],
    began: Option<Timestamp>,
    shows_times: bool,
    text: String,
    /// Number of destinations that the message reached, by kind.
    reached: Vec<(&'static str, usize)>,
}

impl View<'_> {
    /// Writes what a server did with the message, and below it the servers to which it forwarded the message.
    fn event(&mut self, event: &Value, depth: usize) {
        let mut is_lost = true;
        for step in steps(event) {
            self.step(event, step, depth);
            if matches!(step["type"].as_str(), Some("js" | "eg")) || step["error"].is_string() {
                is_lost = false;
            }
            let next = step["hop"].as_str().filter(|_| depth < DEEPEST);
            let next = next.and_then(|hop| self.told.iter().find(|event| hop_of(event) == Some(hop)));
            if let Some(next) = next {
                self.event(next, depth + 1);
            }
        }
        if is_lost && depth == 0 {
            self.line(event, depth, "--X nobody is interested");
        }
    }

    fn step(&mut self, event: &Value, step: &Value, depth: usize) {
        let text = |field: &str| text_or_empty(&step[field]);
        let line = match step["type"].as_str() {
            Some("in") => format!("{} {}", connection(step), server(event)),
            Some("sm") => format!("    mapped to {:?}", text("to")),
            Some("se") => format!("    exported as {:?} to account {:?}", text("to"), text("acc")),
            Some("si") => {
                format!(
                    "    imported service {:?} as {:?}, account {:?}",
                    text("from"),
                    text("to"),
                    text("acc")
                )
            }
            Some("js") => {
                self.count("JetStream");
                let action = if step["nointerest"] == true { "no interest" } else { "stored" };
                format!("--J stream {:?}, subject {:?}: {action}", text("stream"), text("subject"))
            }
            Some("eg") => {
                self.count(kind(step).0);
                let mut line = format!("{} {}", kind(step).1, connection(step));
                for (name, field) in [("account", "acc"), ("subject", "sub"), ("queue", "queue")] {
                    if step[field].is_string() {
                        line += &format!(" {name}:{:?}", text(field));
                    }
                }
                line
            }
            _ => shown(&step.to_string()),
        };
        self.line(step, depth, &line);
        if step["error"].is_string() {
            self.line(step, depth, &format!("    --X error: {}", text("error")));
        }
    }

    fn line(&mut self, step: &Value, depth: usize, line: &str) {
        self.text += &" ".repeat(depth * 4);
        if self.shows_times {
            let since =
                time(step).zip(self.began).map(|(now, began)| Duration::try_from(now.duration_since(began)));
            let since = match since {
                Some(Ok(since)) => duration(Duration::from_micros(since.as_micros() as u64)),
                // The servers' clocks may differ.
                Some(Err(_)) => "earlier".to_owned(),
                None => String::new(),
            };
            self.text += &format!("[{since}] ");
        }
        self.text += line;
        self.text.push('\n');
    }

    fn count(&mut self, kind: &'static str) {
        match self.reached.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => self.reached.push((kind, 1)),
        }
    }
}

/// Returns a connection's kind as three texts: its name, an arrow, and the prefix of its id.
fn kind(step: &Value) -> (&'static str, &'static str, &'static str) {
    match step["kind"].as_u64() {
        Some(0) => ("Client", "--C", "cid"),
        Some(1) => ("Router", "-->", "rid"),
        Some(2) => ("Gateway", "==>", "gid"),
        Some(3) => ("System", "---", "id"),
        Some(4) => ("Leafnode", "~~>", "lid"),
        Some(5) => ("JetStream", "--J", "id"),
        Some(6) => ("Account", "---", "id"),
        _ => ("Unknown", "---", "id"),
    }
}

/// Formats a connection's kind, name and id.
fn connection(step: &Value) -> String {
    let (kind, _, letters) = kind(step);
    let name = crate::output::text(&step["name"]).map(|name| format!(" {name:?}")).unwrap_or_default();
    format!("{kind}{name} {letters}:{}", step["cid"].as_u64().unwrap_or_default())
}

fn server(event: &Value) -> String {
    let server = &event["server"];
    let cluster = crate::output::text(&server["cluster"]).map(|name| format!("cluster:{name:?} "));
    format!(
        "{}server:{:?} version:{:?}",
        cluster.unwrap_or_default(),
        text_or_empty(&server["name"]),
        text_or_empty(&server["ver"])
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown_of(told: &[Value], shows_times: bool) -> String {
        let mut view =
            View { told, began: began(&told[0]), shows_times, text: String::new(), reached: Vec::new() };
        view.event(&told[0], 0);
        view.text
    }

    #[test]
    fn servers_stand_below_the_one_that_sent_on() {
        let told = [
            json!({ "server": { "name": "n1", "ver": "2.15.2", "cluster": "C" }, "hops": 1, "events": [
                { "type": "in", "ts": "2026-11-30T00:00:00Z", "kind": 0, "cid": 5, "name": "x" },
                { "type": "js", "ts": "2026-11-30T00:00:00.0015Z", "stream": "S", "subject": "a" },
                { "type": "eg", "ts": "2026-11-30T00:00:00.002Z", "kind": 1, "cid": 7, "hop": "1", "name": "n2" }] }),
            json!({ "server": { "name": "n2" }, "request": { "header": { HOP: ["1"] } }, "events": [
                { "type": "in", "kind": 1, "cid": 9 },
                { "type": "eg", "kind": 0, "cid": 3, "sub": "a.>", "queue": "q", "error": "gone" }] }),
        ];
        assert_eq!(expected(&told), 2);
        assert!(is_complete(&told) && !is_complete(&told[..1]) && !is_complete(&told[1..]));
        let text = shown_of(&told, true);
        for line in [
            "[0s] Client \"x\" cid:5 cluster:\"C\" server:\"n1\" version:\"2.15.2\"\n",
            "[1.5ms] --J stream \"S\", subject \"a\": stored\n",
            "    [] Router rid:9 server:\"n2\"",
            "    [] --C Client cid:3 subject:\"a.>\" queue:\"q\"\n",
            "--X error: gone\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains("nobody is interested"));
    }

    #[test]
    fn odd_traces_are_no_panic() {
        let told = [
            json!({ "events": [5, null, { "type": "eg", "hop": "1", "name": "\u{1b}[2J" }, { "type": "new" }] }),
        ];
        assert!(!shown_of(&told, true).contains('\u{1b}'));
        // A server that claims to have sent the message to itself.
        let circle =
            [json!({ "request": { "header": { HOP: ["1"] } }, "events": [{ "type": "eg", "hop": "1" }] })];
        assert!(shown_of(&circle, false).lines().count() > DEEPEST);
        let lost = [json!({ "events": [{ "type": "in", "kind": 0, "cid": 1 }] })];
        assert!(shown_of(&lost, false).contains("nobody is interested"));
        assert_eq!(expected(&[json!({ "hops": u64::MAX }), json!({ "hops": 5 })]), usize::MAX);
    }
}
