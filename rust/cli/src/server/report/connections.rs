//! Report on the connections of all servers: one by one, or summed by account.

use std::cmp::Ordering;

use regex_lite::Regex;
use serde_json::{Map, Value, json};

use super::args::{
    AccountOrder, AccountsArgs, ConnectionOrder, ConnectionState, ConnectionsArgs, ServerConnectionsArgs,
    ServersArgs,
};
use super::{
    Request, accepted, address, by_number, items, json_lines, number, total, total_bytes, total_count,
};
use crate::error::CliError;
use crate::output::{Table, byte_count, commas, count, since, text_or_empty};
use crate::server::system::{gather, nobody, servers as servers_there};
use crate::session::Session;

/// Maximum connections in one answer.
const PAGE: u64 = 1024;
const PING: &str = "$SYS.REQ.SERVER.PING";
const CONNECTIONS: &str = "$SYS.REQ.SERVER.PING.CONNZ";
/// Maximum characters of a client's name in a table.
const NAME: usize = 40;

/// Returns the report on connections.
pub(super) async fn report(
    session: &mut Session,
    request: &Request,
    args: &ServerConnectionsArgs,
) -> Result<String, CliError> {
    let options = Options { connections: &args.connections, account: args.account.as_deref() };
    let found = all(session, request, &args.servers, &options).await?;
    shown(found, request, &args.connections)
}

/// Returns the report on the connections of the user's own account; it needs no system account.
///
/// # Errors
/// No server answers with a connection.
pub(crate) async fn of_account(
    session: &mut Session,
    args: &ConnectionsArgs,
    reverse: bool,
    json: bool,
) -> Result<String, CliError> {
    let request = Request { json, reverse, domain: None };
    let options = Options { connections: args, account: None };
    let mut pages = Vec::new();
    loop {
        let body = Value::Object(options.body(pages.len() as u64 * PAGE, Map::new()));
        let answers = gather(session, CONNECTIONS, &body, None).await?;
        let page = answers.into_iter().map(|answer| accepted(answer.value)).collect::<Result<Vec<_>, _>>()?;
        let is_last = !page.iter().any(has_more);
        pages.push(page);
        if is_last {
            break;
        }
    }
    let found = flattened(pages, &options)?;
    if found.is_empty() {
        return Err(nobody_told());
    }
    shown(found, &request, args)
}

/// Returns the report on accounts.
pub(super) async fn accounts(
    session: &mut Session,
    request: &Request,
    args: &AccountsArgs,
) -> Result<String, CliError> {
    let connections = ConnectionsArgs { top: args.top, ..ConnectionsArgs::default() };
    let options = Options { connections: &connections, account: args.account.as_deref() };
    let found = all(session, request, &args.servers, &options).await?;
    let mut accounts = by_account(&found);
    if args.account.is_some() {
        return match request.json {
            true => Ok(accounts.iter().map(|account| format!("{account:#}\n")).collect()),
            false => shown(found, request, &connections),
        };
    }
    request.sort(&mut accounts, |a, b| by_number(&a[args.sort.field()], &b[args.sort.field()]));
    keep_most(&mut accounts, args.top, request.reverse);
    if request.json {
        return Ok(json_lines(&accounts));
    }
    let header = ["Account", "Connections", "In Msgs", "Out Msgs", "In Bytes", "Out Bytes", "Subs"];
    let mut table = Table::new(format!("{} Accounts Overview", accounts.len()), &header);
    for account in &accounts {
        table.row(vec![
            text_or_empty(&account["account"]),
            count(&account["connections"]),
            count(&account["in_msgs"]),
            count(&account["out_msgs"]),
            byte_count(&account["in_bytes"]),
            byte_count(&account["out_bytes"]),
            count(&account["subscriptions"]),
        ]);
    }
    Ok(table.render())
}

impl AccountOrder {
    fn field(self) -> &'static str {
        match self {
            Self::InBytes => "in_bytes",
            Self::OutBytes => "out_bytes",
            Self::InMsgs => "in_msgs",
            Self::OutMsgs => "out_msgs",
            Self::Conns => "connections",
            Self::Subs => "subscriptions",
        }
    }
}

/// Filters of a request for connections.
struct Options<'a> {
    connections: &'a ConnectionsArgs,
    account: Option<&'a str>,
}

impl Options<'_> {
    /// Returns the body of a request for the connections from `offset` on.
    fn body(&self, offset: u64, mut body: Map<String, Value>) -> Map<String, Value> {
        let args = self.connections;
        let state = match args.state {
            ConnectionState::Open => 0,
            ConnectionState::Closed => 1,
            ConnectionState::All => 2,
        };
        let fixed = json!({
            "subscriptions": true, "auth": true, "state": state, "limit": PAGE, "offset": offset,
        });
        let named = json!({
            "user": args.username, "acc": self.account, "filter_subject": args.subject,
        });
        for part in [fixed, named] {
            if let Value::Object(fields) = part {
                body.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
            }
        }
        body
    }
}

/// Returns all connections, each with its server. The servers are counted first, so that none is missed and no time is lost with
/// waiting for more answers.
async fn all(
    session: &mut Session,
    request: &Request,
    servers: &ServersArgs,
    options: &Options<'_>,
) -> Result<Vec<Value>, CliError> {
    let expected = match servers.limit {
        Some(limit) => Some(limit),
        None if servers.is_filtered() => None,
        None => {
            let answers = gather(session, PING, &Value::Null, Some(1)).await?;
            answers.first().and_then(|answer| servers_there(&answer.value))
        }
    };
    let mut pages = Vec::new();
    loop {
        let body = Value::Object(options.body(pages.len() as u64 * PAGE, Map::new()));
        let page = request.ask_expecting(session, servers, "CONNZ", body, expected).await?;
        let is_last = !page.iter().any(has_more);
        pages.push(page);
        if is_last {
            break;
        }
    }
    let found = flattened(pages, options)?;
    match found.is_empty() {
        true if servers.is_filtered() || options.account.is_some() => Err(nobody_told()),
        true => Err(nobody(CONNECTIONS)),
        false => Ok(found),
    }
}

fn nobody_told() -> CliError {
    CliError::Client("no server told of such connections".to_owned())
}

/// Whether the server has more connections after this page.
fn has_more(answer: &Value) -> bool {
    let data = &answer["data"];
    items(&data["connections"]).next().is_some()
        && number(&data["offset"]).saturating_add(number(&data["limit"])) < number(&data["total"])
}

/// Collects the connections of all answers, each with its server; drops those closed for another reason than `--closed-reason`.
fn flattened(pages: Vec<Vec<Value>>, options: &Options<'_>) -> Result<Vec<Value>, CliError> {
    let reason = options.connections.closed_reason.as_ref().map(|reason| Regex::new(&reason.to_lowercase()));
    let reason =
        reason.transpose().map_err(|error| CliError::Client(format!("--closed-reason is wrong: {error}")))?;
    let mut found = Vec::new();
    for mut answer in pages.into_iter().flatten() {
        let server = answer.get_mut("server").map(Value::take).unwrap_or_default();
        let Some(Value::Array(connections)) = answer.pointer_mut("/data/connections").map(Value::take) else {
            continue;
        };
        for mut connection in connections {
            let closed = connection["reason"].as_str().unwrap_or_default().to_lowercase();
            if connection.is_object() && reason.as_ref().is_none_or(|reason| reason.is_match(&closed)) {
                connection["server"] = server.clone();
                found.push(connection);
            }
        }
    }
    Ok(found)
}

/// Groups connections by account, with the sums of their figures.
fn by_account(connections: &[Value]) -> Vec<Value> {
    let mut groups: Vec<(&str, Vec<&Value>)> = Vec::new();
    for connection in connections {
        let name = connection["account"].as_str().unwrap_or_default();
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(connection),
            None => groups.push((name, vec![connection])),
        }
    }
    let account = |(name, group): (&str, Vec<&Value>)| {
        let sum = |field: &str| total(group.iter().map(|connection| number(&connection[field])));
        let mut servers: Vec<&Value> = Vec::new();
        for connection in &group {
            let server = &connection["server"];
            if !servers.iter().any(|known| known["id"] == server["id"]) {
                servers.push(server);
            }
        }
        json!({
            "account": name,
            "connections": group.len(),
            "connection_info": group,
            "in_msgs": sum("in_msgs"),
            "out_msgs": sum("out_msgs"),
            "in_bytes": sum("in_bytes"),
            "out_bytes": sum("out_bytes"),
            "subscriptions": total(group.iter().map(|connection| subscriptions(connection))),
            "server": servers,
        })
    };
    groups.into_iter().map(account).collect()
}

/// Counts the subscriptions that the server lists for a connection.
fn subscriptions(connection: &Value) -> u64 {
    items(&connection["subscriptions_list"]).count() as u64
}

/// Keeps the `most` largest items. They are at the end, or at the beginning if the order is reversed.
fn keep_most<T>(values: &mut Vec<T>, most: usize, reverse: bool) {
    if most == 0 || most >= values.len() {
        return;
    }
    match reverse {
        true => values.truncate(most),
        false => drop(values.drain(..values.len() - most)),
    }
}

fn compare(order: ConnectionOrder, a: &Value, b: &Value) -> Ordering {
    let by = |field: &str| by_number(&a[field], &b[field]);
    match order {
        ConnectionOrder::InBytes => by("in_bytes"),
        ConnectionOrder::OutBytes => by("out_bytes"),
        ConnectionOrder::InMsgs => by("in_msgs"),
        ConnectionOrder::OutMsgs => by("out_msgs"),
        ConnectionOrder::Uptime => since(&a["start"]).cmp(&since(&b["start"])),
        ConnectionOrder::Cid => by("cid"),
        ConnectionOrder::Subs => subscriptions(a).cmp(&subscriptions(b)),
    }
}

/// Formats the table of connections, and the table of connection counts per server.
fn shown(mut found: Vec<Value>, request: &Request, args: &ConnectionsArgs) -> Result<String, CliError> {
    request.sort(&mut found, |a, b| compare(args.sort, a, b));
    let all = found.clone();
    keep_most(&mut found, args.top, request.reverse);
    if request.json {
        return Ok(json_lines(&found));
    }
    let has_reason = args.state != ConnectionState::Open;
    let mut header = vec![
        "CID",
        "Name",
        "Server",
        "Cluster",
        "IP",
        "Account",
        "Uptime",
        "In Msgs",
        "Out Msgs",
        "In Bytes",
        "Out Bytes",
        "Subs",
    ];
    header.extend(has_reason.then_some("Reason"));
    let order = clap::ValueEnum::to_possible_value(&args.sort);
    let title = format!(
        "Top {} Connections out of {} by {}",
        found.len(),
        commas(all.len() as u64),
        order.as_ref().map_or("", |order| order.get_name()),
    );
    let mut table = Table::new(title, &header);
    for connection in &found {
        let mut row = row(connection);
        row.extend(has_reason.then(|| text_or_empty(&connection["reason"])));
        table.row(row);
    }
    if all.len() > 1 {
        let sum = |field: &str| all.iter().map(|connection| number(&connection[field])).collect::<Vec<_>>();
        let mut totals = vec![String::new(); 7];
        totals[1] = format!("Totals for {} connections", commas(all.len() as u64));
        totals.push(total_count(sum("in_msgs").into_iter()));
        totals.push(total_count(sum("out_msgs").into_iter()));
        totals.push(total_bytes(sum("in_bytes").into_iter()));
        totals.push(total_bytes(sum("out_bytes").into_iter()));
        totals.push(total_count(sum("subscriptions").into_iter()));
        table.row(totals);
    }
    Ok(format!("{}\n{}", table.render(), per_server(&all)))
}

/// Returns a connection's cells of the table.
fn row(connection: &Value) -> Vec<String> {
    let server = &connection["server"];
    let name = [&connection["name"], &connection["mqtt_client"]].into_iter().find_map(crate::output::text);
    let name = name.unwrap_or_default();
    let name = match name.chars().count() > NAME {
        true => format!("{} ..", name.chars().take(NAME).collect::<String>()),
        false => name,
    };
    // A first letter marks routes, gateways and leaf nodes.
    let kind = connection["kind"].as_str().filter(|kind| *kind != "Client");
    let kind = kind.and_then(|kind| kind.chars().find(char::is_ascii_alphabetic)).map(String::from);
    vec![
        format!("{}{}", kind.unwrap_or_default(), number(&connection["cid"])),
        name,
        text_or_empty(&server["name"]),
        text_or_empty(&server["cluster"]),
        address(connection),
        super::cut_account(&connection["account"]),
        text_or_empty(&connection["uptime"]),
        count(&connection["in_msgs"]),
        count(&connection["out_msgs"]),
        byte_count(&connection["in_bytes"]),
        byte_count(&connection["out_bytes"]),
        commas(subscriptions(connection)),
    ]
}

fn per_server(connections: &[Value]) -> String {
    let mut servers: Vec<(&Value, u64)> = Vec::new();
    for connection in connections {
        let server = &connection["server"];
        match servers.iter_mut().find(|(known, _)| known["name"] == server["name"]) {
            Some((_, count)) => *count += 1,
            None => servers.push((server, 1)),
        }
    }
    servers.sort_by_key(|(_, count)| *count);
    let mut table = Table::new("Connections per server".to_owned(), &["Server", "Cluster", "Connections"]);
    for (server, count) in servers {
        table.row(vec![text_or_empty(&server["name"]), text_or_empty(&server["cluster"]), commas(count)]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_stay() {
        for (reverse, kept) in [(false, [2, 3]), (true, [3, 2])] {
            let mut values = vec![1, 2, 3];
            if reverse {
                values.reverse();
            }
            keep_most(&mut values, 2, reverse);
            assert_eq!(values, kept);
        }
    }

    #[test]
    fn pages_end_where_the_server_says_so() {
        let page = |offset: u64, total: u64, connections: Value| json!({ "data": { "offset": offset, "limit": 1024, "total": total, "connections": connections } });
        assert!(has_more(&page(0, 2000, json!([{}]))));
        assert!(!has_more(&page(1024, 2000, json!([{}]))));
        assert!(!has_more(&page(0, 2000, json!([]))));
        assert!(!has_more(&json!({})));
    }

    #[test]
    fn hostile_answers_are_no_panic() {
        let odd = vec![vec![
            json!({ "data": { "connections": [5, null, { "name": "a\u{1b}[2J", "kind": "\u{7}x" }] } }),
            json!([1]),
            json!({ "data": 5, "server": "x" }),
        ]];
        let args = ConnectionsArgs { state: ConnectionState::All, ..ConnectionsArgs::default() };
        let found = flattened(odd, &Options { connections: &args, account: None }).unwrap();
        assert_eq!(found.len(), 1);
        let request = Request { json: false, reverse: false, domain: None };
        let text = shown(found, &request, &args).unwrap();
        assert!(!text.contains('\u{1b}') && text.contains("x0"), "{text}");
    }
}
