//! `/connz`: open and closed connections.

use super::query::{BadQuery, Query};
use super::{MonitorState, time};
use serde_json::{Map, Value, json};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use stonechat_broker::{ClientFacts, ClosedReason, Subscription};
use stonechat_jetstream::json::List;

/// The default number of connections in a response.
const LIMIT: usize = 1024;

/// A connection, with the reason and time of its end if it is closed.
struct Row {
    facts: ClientFacts,
    closed: Option<(ClosedReason, SystemTime)>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Closed,
    All,
}

#[derive(Clone, Copy, PartialEq)]
enum Subs {
    No,
    Names,
    Detail,
}

impl Subs {
    fn key(self) -> &'static str {
        match self {
            Self::Detail => "subscriptions_list_detail",
            _ => "subscriptions_list",
        }
    }
}

impl MonitorState {
    /// Returns the response of `/connz` in JSON.
    pub(super) fn connz(&self, query: &Query) -> Result<String, BadQuery> {
        let auth = query.boolean("auth")?;
        let subs = subs(query)?;
        let offset = query.number("offset")?.max(0) as usize;
        let limit = query.number("limit")?;
        let cid = query.id("cid")?;
        let limit = match limit {
            _ if cid > 0 => 1,
            n if n > 0 => n as usize,
            _ => LIMIT,
        };
        let state = match query.text("state").to_lowercase().as_str() {
            "" | "open" => State::Open,
            "closed" => State::Closed,
            "any" | "all" => State::All,
            other => return Err(BadQuery(format!("Error decoding state for {other}"))),
        };
        let mut rows = self.rows(state, subs != Subs::No);
        let sort = query.text("sort");
        check_sort(sort, state)?;
        let (user, account) = (query.text("user"), query.text("acc"));
        // As in nats-server 2.15, the total depends on no filter but the account.
        rows.retain(|row| account.is_empty() || row.facts.account.as_deref() == Some(account));
        let total = rows.len();
        rows.retain(|row| {
            (cid == 0 || row.facts.cid == cid)
                && (cid > 0 || user.is_empty() || row.facts.user.as_deref() == Some(user))
                // This server has no MQTT connections.
                && query.text("mqtt_client").is_empty()
        });
        let now = SystemTime::now();
        sort_rows(&mut rows, sort, now);
        let mut page = List::default();
        for row in rows.iter().skip(offset).take(limit) {
            let list = listed(row, subs);
            page.push_text(&list.within(&connection(row, now, auth), subs.key()));
        }
        let mut answer = json!({
            "server_id": self.broker.info().server_id,
            "now": time(now),
            "num_connections": page.len(),
            "total": total,
            "offset": offset,
            "limit": limit,
        });
        if page.is_empty() {
            answer["connections"] = json!([]);
        }
        Ok(page.within(&answer, "connections"))
    }

    fn rows(&self, state: State, with_subs: bool) -> Vec<Row> {
        let mut rows = Vec::new();
        if state != State::Closed {
            rows.extend(
                self.broker.clients().iter().map(|c| Row { facts: c.facts(with_subs), closed: None }),
            );
        }
        if state != State::Open {
            let closed = self.broker.closed_clients().into_iter();
            rows.extend(closed.map(|c| Row { facts: c.facts, closed: Some((c.reason, c.stop)) }));
        }
        rows
    }
}

fn subs(query: &Query) -> Result<Subs, BadQuery> {
    if query.text("subs").eq_ignore_ascii_case("detail") {
        return Ok(Subs::Detail);
    }
    Ok(if query.boolean("subs")? { Subs::Names } else { Subs::No })
}

fn check_sort(sort: &str, state: State) -> Result<(), BadQuery> {
    match sort {
        "" | "cid" | "start" | "subs" | "pending" | "msgs_to" | "msgs_from" | "bytes_to" | "bytes_from"
        | "last" | "idle" | "uptime" | "rtt" => Ok(()),
        "stop" | "reason" if state == State::Closed => Ok(()),
        "stop" | "reason" => Err(BadQuery(format!("sort by {sort} only valid on closed connections"))),
        other => Err(BadQuery(format!("invalid sorting option: {other}"))),
    }
}

/// Sorts the rows. Figures descend, so that the busiest connections come first; ids, times and uptimes ascend.
fn sort_rows(rows: &mut [Row], sort: &str, now: SystemTime) {
    let stop = |r: &Row| r.closed.map(|(_, at)| at);
    match sort {
        "start" => rows.sort_by_key(|r| r.facts.start),
        "subs" => rows.sort_by_key(|r| Reverse(r.facts.subscriptions)),
        "pending" => rows.sort_by_key(|r| Reverse(r.facts.pending_bytes)),
        "msgs_to" => rows.sort_by_key(|r| Reverse(r.facts.out.msgs)),
        "msgs_from" => rows.sort_by_key(|r| Reverse(r.facts.in_msgs)),
        "bytes_to" => rows.sort_by_key(|r| Reverse(r.facts.out.bytes)),
        "bytes_from" => rows.sort_by_key(|r| Reverse(r.facts.in_bytes)),
        "last" => rows.sort_by_key(|r| Reverse(r.facts.last_activity)),
        "idle" => rows.sort_by_key(|r| r.facts.last_activity),
        "uptime" => {
            let end = |r: &Row| stop(r).unwrap_or(now);
            rows.sort_by_key(|r| end(r).duration_since(r.facts.start).unwrap_or_default());
        }
        "rtt" => rows.sort_by_key(|r| Reverse(r.facts.rtt)),
        "stop" => rows.sort_by_key(|r| Reverse(stop(r))),
        "reason" => rows.sort_by_key(|r| r.closed.map(|(reason, _)| reason.to_string())),
        _ => rows.sort_by_key(|r| r.facts.cid),
    }
}

fn connection(row: &Row, now: SystemTime, auth: bool) -> Value {
    let facts = &row.facts;
    let end = row.closed.map_or(now, |(_, stop)| stop);
    let since = |from: SystemTime| crate::time::uptime(end.duration_since(from).unwrap_or_default());
    let mut fields = Map::new();
    let mut put = |key: &str, value: Value| drop(fields.insert(key.into(), value));
    put("cid", json!(facts.cid));
    put("kind", json!("Client"));
    put("type", json!("nats"));
    put("ip", json!(facts.ip));
    put("port", json!(facts.port));
    put("start", time(facts.start));
    put("last_activity", time(facts.last_activity));
    if let Some((reason, stop)) = row.closed {
        put("stop", time(stop));
        put("reason", json!(reason.to_string()));
    }
    if let Some(rtt) = facts.rtt {
        put("rtt", json!(crate::time::go_duration(precise_enough(rtt))));
    }
    put("uptime", json!(since(facts.start)));
    put("idle", json!(since(facts.last_activity)));
    put("pending_bytes", json!(facts.pending_bytes));
    put("in_msgs", json!(facts.in_msgs));
    put("out_msgs", json!(facts.out.msgs));
    put("in_bytes", json!(facts.in_bytes));
    put("out_bytes", json!(facts.out.bytes));
    if facts.out.stalls > 0 {
        put("stalls", json!(facts.out.stalls));
    }
    put("subscriptions", json!(facts.subscriptions));
    for (key, value) in [("name", &facts.name), ("lang", &facts.lang), ("version", &facts.version)] {
        if !value.is_empty() {
            put(key, json!(value));
        }
    }
    if let Some(tls) = &facts.tls {
        put("tls_version", json!(tls.version));
        put("tls_cipher_suite", json!(tls.cipher_suite));
        if tls.first {
            put("tls_first", json!(true));
        }
    }
    if auth {
        if let Some(user) = &facts.user {
            put("authorized_user", json!(**user));
        }
        if let Some(account) = &facts.account {
            if **account != *stonechat_broker::GLOBAL_ACCOUNT {
                put("account", json!(**account));
            }
            put("name_tag", json!(**account));
        }
    }
    Value::Object(fields)
}

/// Returns the subscriptions of a connection, in the requested detail.
fn listed(row: &Row, subs: Subs) -> List {
    let mut list = List::default();
    for sub in row.facts.subs.iter().filter(|_| subs != Subs::No) {
        match subs {
            Subs::Detail => list.push(&subscription(sub, "", row.facts.cid)),
            _ => list.push(&json!(String::from_utf8_lossy(&sub.subject))),
        }
    }
    list
}

/// Rounds a time below a millisecond down to whole microseconds, as nats-server 2.15.
fn precise_enough(rtt: Duration) -> Duration {
    match rtt {
        rtt if rtt > Duration::from_micros(1) && rtt < Duration::from_millis(1) => {
            Duration::from_micros(rtt.as_micros() as u64)
        }
        rtt => rtt,
    }
}

/// Returns a subscription in the form of connz and subsz.
pub(super) fn subscription(sub: &Arc<Subscription>, account: &str, cid: u64) -> Value {
    let mut fields = Map::new();
    if !account.is_empty() {
        fields.insert("account".into(), json!(account));
        fields.insert("account_tag".into(), json!(account));
    }
    fields.insert("subject".into(), json!(String::from_utf8_lossy(&sub.subject)));
    if let Some(queue) = &sub.queue {
        fields.insert("qgroup".into(), json!(String::from_utf8_lossy(queue)));
    }
    fields.insert("sid".into(), json!(String::from_utf8_lossy(&sub.sid)));
    fields.insert("msgs".into(), json!(sub.delivered()));
    if sub.max() > 0 {
        fields.insert("max".into(), json!(sub.max()));
    }
    fields.insert("cid".into(), json!(cid));
    Value::Object(fields)
}
