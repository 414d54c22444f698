//! The figures of one server at one moment, as rows of tables.

use std::collections::HashMap;
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;

use super::args::View;
use super::table::{Cell, Row};
use crate::output::shown;

/// General figures of the server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Variables {
    pub(super) server_name: String,
    pub(super) version: String,
    pub(super) uptime: String,
    pub(super) cpu: f64,
    pub(super) mem: u64,
    pub(super) connections: u64,
    pub(super) total_connections: u64,
    pub(super) subscriptions: u64,
    pub(super) slow_consumers: u64,
    pub(super) in_msgs: u64,
    pub(super) out_msgs: u64,
    pub(super) in_bytes: u64,
    pub(super) out_bytes: u64,
}

/// A connection. A missing field, or one of another type, has its default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Connection {
    cid: u64,
    ip: String,
    port: u32,
    name: String,
    account: String,
    authorized_user: String,
    lang: String,
    version: String,
    uptime: String,
    idle: String,
    rtt: String,
    reason: String,
    pending_bytes: u64,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    subscriptions: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connections {
    connections: Vec<Connection>,
}

/// The figures of one server at one moment.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) at: Instant,
    pub(super) variables: Variables,
    connections: Vec<Connection>,
    closed: Vec<Connection>,
    streams: Vec<Stream>,
}

/// A stream with its account.
#[derive(Debug)]
struct Stream {
    account: String,
    info: Value,
}

impl Figures {
    /// Parses the answers of a server.
    ///
    /// # Errors
    /// An answer is not valid JSON.
    pub(super) fn read(
        variables: &[u8],
        connections: &[u8],
        streams: &[u8],
        closed: Option<&[u8]>,
    ) -> Result<Self, serde_json::Error> {
        let mut jetstream: Value = serde_json::from_slice(streams)?;
        let mut found = Vec::new();
        for account in jetstream["account_details"].as_array_mut().into_iter().flatten() {
            let name = shown(account["name"].as_str().unwrap_or_default());
            for info in account["stream_detail"].as_array_mut().into_iter().flatten() {
                found.push(Stream { account: name.clone(), info: info.take() });
            }
        }
        let read = |bytes: &[u8]| serde_json::from_slice::<Connections>(bytes).map(|page| page.connections);
        Ok(Self {
            at: Instant::now(),
            variables: serde_json::from_slice(variables)?,
            connections: read(connections)?,
            closed: closed.map_or_else(|| Ok(Vec::new()), read)?,
            streams: found,
        })
    }

    /// Returns the rows of a view; rates are averages since the earlier figures.
    pub(super) fn rows(&self, view: View, before: Option<&Self>) -> Vec<Row> {
        let seconds = before.map(|before| self.at.duration_since(before.at).as_secs_f64().max(0.001));
        match view {
            View::Connections => self.connection_rows(before, seconds),
            View::Streams => {
                self.streams.iter().map(|stream| self.stream_row(stream, before, seconds)).collect()
            }
            View::Consumers => self.streams.iter().flat_map(consumer_rows).collect(),
            View::Buckets => self.streams.iter().filter_map(bucket_row).collect(),
            View::Slow => self.slow_rows(),
        }
    }

    fn connection_rows(&self, before: Option<&Self>, seconds: Option<f64>) -> Vec<Row> {
        let earlier = before.map(|before| before.connections.as_slice()).unwrap_or_default();
        let earlier: HashMap<u64, &Connection> = earlier.iter().map(|one| (one.cid, one)).collect();
        let rate = |one: &Connection, of: fn(&Connection) -> u64| {
            let then = earlier.get(&one.cid).map_or(0, |then| of(then));
            seconds.map_or(0.0, |seconds| of(one).saturating_sub(then) as f64 / seconds)
        };
        let row = |one: &Connection| Row {
            id: one.cid.to_string(),
            cells: vec![
                Cell::Number(one.cid as f64),
                Cell::Text(label(one)),
                Cell::Rate(rate(one, |one| one.in_msgs)),
                Cell::Rate(rate(one, |one| one.out_msgs)),
                Cell::Bytes(one.pending_bytes as f64),
                Cell::Number(one.subscriptions as f64),
                Cell::Text(shown(&one.uptime)),
                Cell::Text(shown(&one.account)),
                Cell::Text(shown(&one.authorized_user)),
                Cell::Text(shown(&one.rtt)),
                Cell::Text(shown(&format!("{} {}", one.lang, one.version))),
                Cell::Bytes(one.in_bytes as f64),
                Cell::Bytes(one.out_bytes as f64),
                Cell::Text(shown(&one.idle)),
            ],
        };
        self.connections.iter().map(row).collect()
    }

    fn stream_row(&self, stream: &Stream, before: Option<&Self>, seconds: Option<f64>) -> Row {
        let state = &stream.info["state"];
        let earlier = before.and_then(|before| before.streams.iter().find(|one| one.id() == stream.id()));
        let last = |stream: &Stream| number(&stream.info["state"]["last_seq"]);
        let rate = match (earlier, seconds) {
            (Some(earlier), Some(seconds)) => (last(stream) - last(earlier)).max(0.0) / seconds,
            _ => 0.0,
        };
        let subjects = stream.info["config"]["subjects"].as_array().into_iter().flatten();
        let subjects: Vec<String> = subjects.filter_map(Value::as_str).map(shown).collect();
        Row {
            id: stream.id(),
            cells: vec![
                Cell::Text(stream.name()),
                Cell::Number(number(&state["messages"])),
                Cell::Bytes(number(&state["bytes"])),
                Cell::Rate(rate),
                Cell::Number(number(&state["consumer_count"])),
                Cell::Number(number(&state["num_subjects"])),
                Cell::Text(text(&stream.info["config"]["storage"])),
                Cell::Number(number(&state["first_seq"])),
                Cell::Number(number(&state["last_seq"])),
                Cell::Text(stream.account.clone()),
                Cell::Text(subjects.join(" ")),
            ],
        }
    }

    /// Returns connections with pending bytes, and connections that the server closed as slow or stale.
    fn slow_rows(&self) -> Vec<Row> {
        let is_slow =
            |one: &&Connection| one.reason.contains("Slow Consumer") || one.reason.contains("Stale");
        let open = self.connections.iter().filter(|one| one.pending_bytes > 0);
        let all = open
            .map(|one| (one, "open"))
            .chain(self.closed.iter().filter(is_slow).map(|one| (one, "closed")));
        let row = |(one, state): (&Connection, &str)| Row {
            id: one.cid.to_string(),
            cells: vec![
                Cell::Number(one.cid as f64),
                Cell::Text(label(one)),
                Cell::Bytes(one.pending_bytes as f64),
                Cell::Text(state.to_owned()),
                Cell::Text(shown(&one.reason)),
                Cell::Text(shown(&one.account)),
            ],
        };
        all.map(row).collect()
    }

    /// Returns the details of a row as JSON.
    pub(super) fn details(&self, view: View, id: &str) -> Option<Value> {
        match view {
            View::Connections | View::Slow => None,
            View::Streams | View::Buckets => {
                self.streams.iter().find(|stream| stream.id() == id).map(|stream| stream.info.clone())
            }
            View::Consumers => self.streams.iter().find_map(|stream| {
                let found = consumers(stream).find(|consumer| consumer_id(stream, consumer) == id);
                found.cloned()
            }),
        }
    }
}

impl Stream {
    fn name(&self) -> String {
        text(&self.info["name"])
    }

    fn id(&self) -> String {
        format!("{}\n{}", self.account, self.name())
    }
}

/// Returns the name of a connection, and its address.
fn label(one: &Connection) -> String {
    let address = format!("{}:{}", one.ip, one.port);
    if one.name.is_empty() { shown(&address) } else { shown(&format!("{} {address}", one.name)) }
}

fn consumers(stream: &Stream) -> impl Iterator<Item = &Value> {
    stream.info["consumer_detail"].as_array().into_iter().flatten()
}

fn consumer_id(stream: &Stream, consumer: &Value) -> String {
    format!("{}\n{}", stream.id(), text(&consumer["name"]))
}

fn consumer_rows(stream: &Stream) -> Vec<Row> {
    let row = |consumer: &Value| {
        let config = &consumer["config"];
        let mode = if config["deliver_subject"].is_string() { "push" } else { "pull" };
        Row {
            id: consumer_id(stream, consumer),
            cells: vec![
                Cell::Text(stream.name()),
                Cell::Text(text(&consumer["name"])),
                Cell::Number(number(&consumer["num_pending"])),
                Cell::Number(number(&consumer["num_ack_pending"])),
                Cell::Number(number(&consumer["num_redelivered"])),
                Cell::Number(number(&consumer["num_waiting"])),
                Cell::Text(mode.to_owned()),
                Cell::Number(number(&consumer["delivered"]["stream_seq"])),
                Cell::Number(number(&consumer["ack_floor"]["stream_seq"])),
                Cell::Text(text(&config["ack_policy"])),
                Cell::Text(stream.account.clone()),
            ],
        }
    };
    consumers(stream).map(row).collect()
}

fn bucket_row(stream: &Stream) -> Option<Row> {
    let name = stream.name();
    let (kind, bucket) = match name.split_once('_')? {
        ("KV", bucket) => ("keys", bucket),
        ("OBJ", bucket) => ("objects", bucket),
        _ => return None,
    };
    let state = &stream.info["state"];
    let config = &stream.info["config"];
    Some(Row {
        id: stream.id(),
        cells: vec![
            Cell::Text(bucket.to_owned()),
            Cell::Text(kind.to_owned()),
            Cell::Number(number(&state["num_subjects"])),
            Cell::Number(number(&state["messages"])),
            Cell::Bytes(number(&state["bytes"])),
            Cell::Number(number(&config["max_msgs_per_subject"]).max(0.0)),
            Cell::Number(number(&state["consumer_count"])),
            Cell::Number(number(&state["last_seq"])),
            Cell::Text(stream.account.clone()),
        ],
    })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().map(shown).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(connections: Value, streams: Value) -> Figures {
        let bytes = |value: Value| value.to_string().into_bytes();
        let jetstream = json!({ "account_details": [{ "name": "A", "stream_detail": streams }] });
        Figures::read(b"{}", &bytes(json!({ "connections": connections })), &bytes(jetstream), None).unwrap()
    }

    fn texts(row: &Row) -> Vec<String> {
        row.cells.iter().map(Cell::text).collect()
    }

    #[test]
    fn names_of_others_are_escaped_and_strange_fields_are_no_panic() {
        let connection = json!({ "cid": 7, "name": "\u{1b}[2J", "ip": "::1", "port": 5 });
        let stream = json!({ "name": "KV_B\n", "state": [1], "config": 5, "consumer_detail": [{}, 5] });
        let figures = figures(json!([connection]), json!([stream, 7]));
        assert_eq!(texts(&figures.rows(View::Connections, None)[0])[1], "\\u{1b}[2J ::1:5");
        assert_eq!(texts(&figures.rows(View::Buckets, None)[0])[0], "B\\n");
        for view in View::ALL {
            let _ = figures.rows(view, Some(&figures));
        }
        assert!(Figures::read(b"[", b"{}", b"{}", None).is_err());
    }

    #[test]
    fn rates_are_those_since_the_look_before() {
        let of = |messages: u64| {
            figures(
                json!([{ "cid": 1, "in_msgs": messages }]),
                json!([{ "name": "S", "state": { "last_seq": messages } }]),
            )
        };
        let before = of(100);
        let mut now = of(1100);
        now.at = before.at + std::time::Duration::from_secs(2);
        assert_eq!(now.rows(View::Connections, Some(&before))[0].cells[2].number(), 500.0);
        assert_eq!(now.rows(View::Streams, Some(&before))[0].cells[3].number(), 500.0);
    }
}
