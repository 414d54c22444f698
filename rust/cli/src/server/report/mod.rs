//! `stonechat server report`: reports on connections, accounts, JetStream and more of all servers.

mod args;
mod connections;
mod jetstream;
mod links;
mod usage;

use std::cmp::Ordering;
use std::io::IsTerminal;
use std::time::Duration;

pub(crate) use args::{ConnectionsArgs, ReportArgs};
pub(crate) use connections::of_account;
use serde_json::{Map, Value, json};

use self::args::{ReportCommand, ServersArgs};
use super::system::{explained, gather};
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{bytes, commas, text};
use crate::session::Session;

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Runs the command: prints one report, or repeats it with `--watch`.
pub(super) async fn run(args: &ReportArgs) -> Result<(), CliError> {
    let mut session = Session::open(&args.jetstream).await?;
    let Some(seconds) = args.command.servers().watch else {
        return show(&mut session, args, "").await.map_err(explained);
    };
    let mut ticks = tokio::time::interval(Duration::from_secs(seconds));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let clear = if std::io::stdout().is_terminal() && !args.jetstream.json { CLEAR } else { "" };
    loop {
        ticks.tick().await;
        show(&mut session, args, clear).await.map_err(explained)?;
    }
}

/// Prints a report in one write, so that a watched report does not flicker.
async fn show(session: &mut Session, args: &ReportArgs, before: &str) -> Result<(), CliError> {
    let request = Request { json: args.jetstream.json, reverse: args.reverse, domain: domain(args) };
    let text = match &args.command {
        ReportCommand::Accounts(args) => connections::accounts(session, &request, args).await?,
        ReportCommand::Connections(args) => connections::report(session, &request, args).await?,
        ReportCommand::Cpu(args) => usage::cpu(session, &request, args).await?,
        ReportCommand::Mem(args) => usage::memory(session, &request, args).await?,
        ReportCommand::Health(args) => usage::health(session, &request, args).await?,
        ReportCommand::Jetstream(args) => jetstream::report(session, &request, args).await?,
        ReportCommand::Gateways(args) => links::gateways(session, &request, args).await?,
        ReportCommand::Leafnodes(args) => links::leafnodes(session, &request, args).await?,
        ReportCommand::Routes(args) => links::routes(session, &request, args).await?,
    };
    write_out(format!("{before}{text}").as_bytes())
}

impl ReportCommand {
    fn servers(&self) -> &ServersArgs {
        match self {
            Self::Accounts(args) => &args.servers,
            Self::Connections(args) => &args.servers,
            Self::Cpu(args) | Self::Mem(args) => args,
            Self::Gateways(args) => &args.servers,
            Self::Health(args) => &args.servers,
            Self::Jetstream(args) => &args.servers,
            Self::Leafnodes(args) => &args.servers,
            Self::Routes(args) => &args.servers,
        }
    }
}

fn domain(args: &ReportArgs) -> Option<String> {
    args.jetstream.js_domain.clone()
}

/// Options that all reports share.
struct Request {
    json: bool,
    reverse: bool,
    domain: Option<String>,
}

impl Request {
    /// Requests monitoring data from the servers; `kind` is the last token of the subject.
    async fn ask(
        &self,
        session: &mut Session,
        servers: &ServersArgs,
        kind: &str,
        options: Value,
    ) -> Result<Vec<Value>, CliError> {
        self.ask_expecting(session, servers, kind, options, servers.limit).await
    }

    /// As [`Request::ask`], with the number of servers to wait for.
    async fn ask_expecting(
        &self,
        session: &mut Session,
        servers: &ServersArgs,
        kind: &str,
        options: Value,
        expected: Option<usize>,
    ) -> Result<Vec<Value>, CliError> {
        let mut body = servers.filter(self.domain.as_deref());
        if let Value::Object(options) = options {
            body.extend(options.into_iter().filter(|(_, value)| !value.is_null()));
        }
        let subject = format!("$SYS.REQ.SERVER.PING.{kind}");
        let answers = gather(session, &subject, &Value::Object(body), expected).await?;
        answers.into_iter().map(|answer| accepted(answer.value)).collect()
    }

    /// Sorts items in ascending order, or descending if the order is reversed.
    fn sort<T>(&self, items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
        items.sort_by(|a, b| if self.reverse { compare(b, a) } else { compare(a, b) });
    }
}

impl ServersArgs {
    /// Whether the flags select some servers only.
    fn is_filtered(&self) -> bool {
        self.host.is_some() || self.cluster.is_some() || !self.tags.is_empty()
    }

    /// Returns the fields of a request that select the servers.
    fn filter(&self, domain: Option<&str>) -> Map<String, Value> {
        let mut body = Map::new();
        for (field, value) in
            [("server_name", self.host.as_deref()), ("cluster", self.cluster.as_deref()), ("domain", domain)]
        {
            if let Some(value) = value {
                body.insert(field.to_owned(), json!(value));
            }
        }
        if !self.tags.is_empty() {
            body.insert("tags".to_owned(), json!(self.tags));
        }
        body.insert("exact_match".to_owned(), json!(true));
        body
    }
}

/// Returns the answer, or its error.
fn accepted(answer: Value) -> Result<Value, CliError> {
    match answer.get("error").filter(|error| !error.is_null()) {
        None => Ok(answer),
        Some(error) => {
            let reason = text(&error["description"]).unwrap_or_else(|| "no reason given".to_owned());
            Err(CliError::Client(format!("a server refuses to answer: {reason}")))
        }
    }
}

/// Formats answers as JSON, one a line.
fn json_lines(values: &[Value]) -> String {
    values.iter().map(|value| format!("{value}\n")).collect()
}

/// Returns the items of a JSON list.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns a JSON number; zero if it is missing.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Compares texts.
fn by_text(a: &Value, b: &Value) -> Ordering {
    a.as_str().unwrap_or_default().cmp(b.as_str().unwrap_or_default())
}

/// Compares counts.
fn by_number(a: &Value, b: &Value) -> Ordering {
    number(a).cmp(&number(b))
}

/// Shortens a long account name in the middle.
fn cut_account(account: &Value) -> String {
    let name = crate::output::text_or_empty(account);
    let count = name.chars().count();
    if count <= 23 {
        return name;
    }
    let (start, end): (String, String) =
        (name.chars().take(10).collect(), name.chars().skip(count - 10).collect());
    format!("{start}...{end}")
}

/// Returns the sum of counts.
fn total(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

fn total_count(values: impl Iterator<Item = u64>) -> String {
    commas(total(values))
}

fn total_bytes(values: impl Iterator<Item = u64>) -> String {
    bytes(total(values))
}

/// Returns `host:port` of a connection.
fn address(connection: &Value) -> String {
    format!("{}:{}", crate::output::text_or_empty(&connection["ip"]), number(&connection["port"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_the_servers_that_are_meant() {
        let servers = ServersArgs {
            limit: None,
            host: Some("a".into()),
            cluster: None,
            tags: vec!["t".into()],
            watch: None,
        };
        assert!(servers.is_filtered());
        let body = Value::Object(servers.filter(Some("d")));
        assert_eq!(body, json!({ "server_name": "a", "domain": "d", "tags": ["t"], "exact_match": true }));
    }

    #[test]
    fn refusals_are_errors() {
        assert!(accepted(json!({ "server": {}, "data": {} })).is_ok());
        assert!(accepted(json!({ "error": { "code": 400, "description": "bad" } })).is_err());
        assert!(accepted(json!({ "error": null })).is_ok());
    }

    #[test]
    fn long_accounts_are_cut_in_the_middle() {
        assert_eq!(cut_account(&json!("APP")), "APP");
        assert_eq!(cut_account(&json!("A".repeat(20) + &"ü".repeat(20))), "AAAAAAAAAA...üüüüüüüüüü");
    }
}
