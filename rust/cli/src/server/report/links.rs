//! Reports on connections between servers: routes, gateways and leaf nodes.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::args::{GatewayOrder, GatewaysArgs, LeafnodeOrder, LeafnodesArgs, RouteOrder, RoutesArgs};
use super::{
    Request, address, by_number, by_text, cut_account, items, json_lines, number, total_bytes, total_count,
};
use crate::error::CliError;
use crate::output::{Table, byte_count, commas, count, long_duration, since, text_or_empty};
use crate::session::Session;

/// A server, and one of its connections.
type Link<'a> = (&'a Value, &'a Value);

/// Returns the connections in a field of each answer.
fn links<'a>(answers: &'a [Value], field: &'static str) -> Vec<Link<'a>> {
    let of = |answer: &'a Value| items(&answer["data"][field]).map(|link| (&answer["server"], link));
    answers.iter().flat_map(of).collect()
}

/// Counts the distinct values.
fn different<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    let mut known: Vec<&Value> = Vec::new();
    for value in values {
        if !known.contains(&value) {
            known.push(value);
        }
    }
    known.len()
}

/// Returns the report on routes, the connections within clusters.
pub(super) async fn routes(
    session: &mut Session,
    request: &Request,
    args: &RoutesArgs,
) -> Result<String, CliError> {
    let answers = request.ask(session, &args.servers, "ROUTEZ", Value::Null).await?;
    if request.json {
        return Ok(json_lines(&answers));
    }
    let mut routes = links(&answers, "routes");
    request.sort(&mut routes, |a, b| compare_routes(args.sort, *a, *b));
    Ok(route_table(&routes))
}

fn compare_routes(order: RouteOrder, a: Link<'_>, b: Link<'_>) -> Ordering {
    let by = |field: &str| by_number(&a.1[field], &b.1[field]);
    let (server, cluster) = (by_text(&a.0["name"], &b.0["name"]), by_text(&a.0["cluster"], &b.0["cluster"]));
    let remote = by_text(&a.1["remote_name"], &b.1["remote_name"]);
    let account = by_text(&a.1["account"], &b.1["account"]);
    let first = match order {
        RouteOrder::Server => server,
        RouteOrder::Cluster => cluster,
        RouteOrder::Name => remote,
        RouteOrder::Account => account,
        RouteOrder::Subs => by("subscriptions"),
        RouteOrder::InBytes => by("in_bytes"),
        RouteOrder::OutBytes => by("out_bytes"),
    };
    first.then(server).then(cluster).then(remote).then(account)
}

fn route_table(routes: &[Link<'_>]) -> String {
    let header = [
        "Server",
        "Cluster",
        "Name",
        "Account",
        "Address",
        "ID",
        "Uptime",
        "RTT",
        "Subs",
        "Bytes In",
        "Bytes Out",
    ];
    let mut table = Table::new("Cluster Report".to_owned(), &header);
    for (server, route) in routes {
        table.row(vec![
            text_or_empty(&server["name"]),
            text_or_empty(&server["cluster"]),
            text_or_empty(&route["remote_name"]),
            cut_account(&route["account"]),
            address(route),
            format!("rid:{}", number(&route["rid"])),
            since(&route["start"]).map(long_duration).unwrap_or_default(),
            text_or_empty(&route["rtt"]),
            count(&route["subscriptions"]),
            byte_count(&route["in_bytes"]),
            byte_count(&route["out_bytes"]),
        ]);
    }
    let sum = |field: &'static str| routes.iter().map(move |(_, route)| number(&route[field]));
    let mut row = vec![String::new(); 11];
    row[0] = different(routes.iter().map(|(server, _)| &server["name"])).to_string();
    row[1] = different(routes.iter().map(|(server, _)| &server["cluster"])).to_string();
    row[4] = commas(routes.len() as u64);
    row[8] = total_count(sum("subscriptions"));
    row[9] = total_bytes(sum("in_bytes"));
    row[10] = total_bytes(sum("out_bytes"));
    table.row(row);
    table.render()
}

/// Returns the report on leaf nodes.
pub(super) async fn leafnodes(
    session: &mut Session,
    request: &Request,
    args: &LeafnodesArgs,
) -> Result<String, CliError> {
    let options = json!({ "account": args.account });
    let answers = request.ask(session, &args.servers, "LEAFZ", options).await?;
    if request.json {
        return Ok(json_lines(&answers));
    }
    let mut leafs = links(&answers, "leafs");
    request.sort(&mut leafs, |a, b| compare_leafs(args.sort, *a, *b));
    let header = [
        "Server",
        "Name",
        "Account",
        "Address",
        "RTT",
        "Msgs In",
        "Msgs Out",
        "Bytes In",
        "Bytes Out",
        "Subs",
        "Compressed",
        "Spoke",
    ];
    let mut table = Table::new("Leafnode Report".to_owned(), &header);
    for (server, leaf) in leafs {
        table.row(vec![
            text_or_empty(&server["name"]),
            text_or_empty(&leaf["name"]),
            cut_account(&leaf["account"]),
            address(leaf),
            text_or_empty(&leaf["rtt"]),
            count(&leaf["in_msgs"]),
            count(&leaf["out_msgs"]),
            byte_count(&leaf["in_bytes"]),
            byte_count(&leaf["out_bytes"]),
            count(&leaf["subscriptions"]),
            text_or_empty(&leaf["compression"]),
            (leaf["is_spoke"] == true).to_string(),
        ]);
    }
    Ok(table.render())
}

fn compare_leafs(order: LeafnodeOrder, a: Link<'_>, b: Link<'_>) -> Ordering {
    let by = |field: &str| by_number(&a.1[field], &b.1[field]);
    match order {
        LeafnodeOrder::Server => by_text(&a.0["name"], &b.0["name"]),
        LeafnodeOrder::Name => by_text(&a.1["name"], &b.1["name"]),
        LeafnodeOrder::Account => by_text(&a.1["account"], &b.1["account"]),
        LeafnodeOrder::Subs => by("subscriptions"),
        LeafnodeOrder::InBytes => by("in_bytes"),
        LeafnodeOrder::OutBytes => by("out_bytes"),
        LeafnodeOrder::InMsgs => by("in_msgs"),
        LeafnodeOrder::OutMsgs => by("out_msgs"),
    }
}

/// Returns the report on gateways, the connections between clusters.
pub(super) async fn gateways(
    session: &mut Session,
    request: &Request,
    args: &GatewaysArgs,
) -> Result<String, CliError> {
    let options = json!({ "name": args.filter_name, "accounts": true });
    let mut answers = request.ask(session, &args.servers, "GATEWAYZ", options).await?;
    request.sort(&mut answers, |a, b| {
        let by = |field: &str| by_text(&a["server"][field], &b["server"][field]);
        match args.sort {
            GatewayOrder::Server => by("name").then(by("cluster")),
            GatewayOrder::Cluster => by("cluster").then(by("name")),
        }
    });
    Ok(if request.json { json_lines(&answers) } else { gateway_table(&answers) })
}

fn gateway_table(answers: &[Value]) -> String {
    let header = ["Server", "Name", "Port", "Kind", "Connection", "ID", "Uptime", "RTT", "Bytes", "Accounts"];
    let mut table = Table::new("Super Cluster Report".to_owned(), &header);
    let (mut found, mut moved) = (0, Vec::new());
    for answer in answers {
        let (server, data) = (&answer["server"], &answer["data"]);
        table.row(vec![
            text_or_empty(&server["name"]),
            text_or_empty(&server["cluster"]),
            data["port"].as_u64().map(|port| port.to_string()).unwrap_or_default(),
        ]);
        for (kind, name, gateway) in gateways_of(data) {
            let connection = &gateway["connection"];
            let bytes = if kind == "Inbound" { &connection["in_bytes"] } else { &connection["out_bytes"] };
            found += 1;
            moved.push(number(bytes));
            let mut row = vec![String::new(); 3];
            row.extend([
                kind.to_owned(),
                format!("{} {}", crate::output::shown(name), address(connection)),
                format!("gid:{}", number(&connection["cid"])),
                text_or_empty(&connection["uptime"]),
                text_or_empty(&connection["rtt"]),
                byte_count(bytes),
                items(&gateway["accounts"]).count().to_string(),
            ]);
            table.row(row);
        }
    }
    let mut row = vec![String::new(); 10];
    row[0] = answers.len().to_string();
    row[1] = different(answers.iter().map(|answer| &answer["server"]["cluster"])).to_string();
    row[4] = found.to_string();
    row[8] = total_bytes(moved.into_iter());
    table.row(row);
    table.render()
}

/// Returns the gateways of a server: their direction, the name of the other cluster, and the connection.
fn gateways_of(data: &Value) -> Vec<(&'static str, &str, &Value)> {
    let inbound = data["inbound_gateways"].as_object().into_iter().flatten();
    let inbound = inbound.flat_map(|(name, list)| items(list).map(|one| ("Inbound", name.as_str(), one)));
    let outbound = data["outbound_gateways"].as_object().into_iter().flatten();
    inbound.chain(outbound.map(|(name, one)| ("Outbound", name.as_str(), one))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_and_gateways_are_counted() {
        let server = json!({ "name": "n1", "cluster": "C" });
        let route = json!({ "rid": 5, "remote_name": "n2", "ip": "10.0.0.1", "port": 6222, "subscriptions": 3, "in_bytes": 2048 });
        let text = route_table(&[(&server, &route), (&server, &Value::Null)]);
        for expected in ["rid:5", "10.0.0.1:6222", "2.0 KiB"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let gateway =
            json!({ "connection": { "cid": 7, "in_bytes": 10, "out_bytes": 20 }, "accounts": [1, 2] });
        let answer = json!({ "server": server, "data": { "port": 7222,
            "inbound_gateways": { "B": [gateway, gateway] }, "outbound_gateways": { "B": gateway } } });
        let text = gateway_table(&[answer, json!([1])]);
        for expected in ["7222", "Inbound", "Outbound", "gid:7", "40 B"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
