//! `stonechat account report`: reports on the user's own account.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::message::write_out;
use crate::output::{Table, byte_count, bytes, commas, count, list, text, text_or_empty};
use crate::server::gather;
use crate::server::report::{ConnectionsArgs, of_account};
use crate::session::Session;

const STATISTICS: &str = "$SYS.REQ.ACCOUNT.PING.STATZ";

/// Arguments of `stonechat account report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[command(subcommand)]
    command: ReportCommand,
}

#[derive(Debug, Subcommand)]
enum ReportCommand {
    /// The connections of the account
    #[command(visible_aliases = ["conns", "conn", "connz"])]
    Connections(OwnConnectionsArgs),
    /// What the account's connections do on each server
    #[command(visible_aliases = ["stats", "statsz"])]
    Statistics,
}

#[derive(Debug, Args)]
struct OwnConnectionsArgs {
    #[command(flatten)]
    connections: ConnectionsArgs,
    /// Turn the order around
    #[arg(short = 'R', long)]
    reverse: bool,
}

pub(super) async fn run(session: &mut Session, args: &ReportArgs, json: bool) -> Result<(), CliError> {
    let text = match &args.command {
        ReportCommand::Connections(args) => of_account(session, &args.connections, args.reverse, json).await,
        ReportCommand::Statistics => statistics(session, json).await,
    };
    let text = text.map_err(|error| match error {
        CliError::NoResponders(subject) => CliError::Client(format!(
            "the server does not answer on {subject:?}: it tells nothing about accounts"
        )),
        other => other,
    })?;
    write_out(text.as_bytes())
}

async fn statistics(session: &mut Session, json: bool) -> Result<String, CliError> {
    let answers = gather(session, STATISTICS, &json!({}), None).await?;
    if answers.is_empty() {
        return Err(CliError::NoResponders(STATISTICS.to_owned()));
    }
    let answers: Vec<Value> = answers.into_iter().map(|answer| answer.value).collect();
    if let Some(reason) = answers.iter().find_map(|answer| text(&answer["error"]["description"])) {
        return Err(CliError::Client(format!("a server refuses to answer: {reason}")));
    }
    match json {
        true => Ok(answers.iter().map(|answer| format!("{answer}\n")).collect()),
        false => Ok(table(&answers)),
    }
}

fn table(answers: &[Value]) -> String {
    let header = [
        "Server",
        "Cluster",
        "Version",
        "Tags",
        "Connections",
        "Subscriptions",
        "Leafnodes",
        "Sent Bytes",
        "Sent Messages",
        "Received Bytes",
        "Received Messages",
        "Slow Consumers",
    ];
    let mut table = Table::new("Server Statistics".to_owned(), &header);
    // A server without connections of the account has no figures for it.
    let told = answers.iter().map(|answer| (&answer["server"], &answer["data"]["account_statz"][0]));
    let told: Vec<(&Value, &Value)> = told.filter(|(_, account)| account.is_object()).collect();
    for (server, account) in &told {
        table.row(vec![
            text_or_empty(&server["host"]),
            text_or_empty(&server["cluster"]),
            text_or_empty(&server["ver"]),
            list(&server["tags"]).unwrap_or_default(),
            count(&account["conns"]),
            count(&account["num_subscriptions"]),
            count(&account["leafnodes"]),
            byte_count(&account["sent"]["bytes"]),
            count(&account["sent"]["msgs"]),
            byte_count(&account["received"]["bytes"]),
            count(&account["received"]["msgs"]),
            count(&account["slow_consumers"]),
        ]);
    }
    let sum = |pointer: &str| {
        let numbers = told.iter().filter_map(|(_, account)| account.pointer(pointer).and_then(Value::as_u64));
        numbers.fold(0, u64::saturating_add)
    };
    let mut row = vec![answers.len().to_string(), String::new(), String::new(), String::new()];
    row.extend(["/conns", "/num_subscriptions", "/leafnodes"].map(|pointer| commas(sum(pointer))));
    row.extend([bytes(sum("/sent/bytes")), commas(sum("/sent/msgs"))]);
    row.extend([
        bytes(sum("/received/bytes")),
        commas(sum("/received/msgs")),
        commas(sum("/slow_consumers")),
    ]);
    table.row(row);
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_summed_up() {
        let account =
            json!({ "conns": 2, "sent": { "msgs": 1000, "bytes": 2048 }, "received": { "msgs": 1 } });
        let answer = json!({ "server": { "host": "h\u{1b}", "tags": ["a", "b"] }, "data": { "account_statz": [account] } });
        let text = table(&[answer.clone(), answer, json!({ "data": { "account_statz": [] } }), json!(5)]);
        for expected in ["a, b", "2,000", "4.0 KiB", "┆           4 ┆"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
