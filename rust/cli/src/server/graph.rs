//! `stonechat server graph`: draws a server's activity each second.

use serde_json::{Value, json};

use super::args::GraphArgs;
use super::system::{explained, gather};
use crate::error::CliError;
use crate::output::{LiveGraphs, Measure, shown};
use crate::session::{JetStreamArgs, Session};

const VARIABLES: &str = "$SYS.REQ.SERVER.PING.VARZ";

/// Graphs of the server as a whole; each with the JSON pointer to its number in the server's variables.
const SERVER: [(Measure, &str); 6] = [
    (Measure::Level("CPU %"), "/cpu"),
    (Measure::Level("Memory in bytes"), "/mem"),
    (Measure::Level("Connections"), "/connections"),
    (Measure::Level("Subscriptions"), "/subscriptions"),
    (Measure::Rate("Messages In / second"), "/in_msgs"),
    (Measure::Rate("Messages Out / second"), "/out_msgs"),
];

/// Graphs of JetStream.
const JETSTREAM: [(Measure, &str); 6] = [
    (Measure::Level("CPU %"), "/cpu"),
    (Measure::Level("Memory Storage in bytes"), "/jetstream/stats/memory"),
    (Measure::Level("File Storage in bytes"), "/jetstream/stats/storage"),
    (Measure::Level("HA Assets"), "/jetstream/stats/ha_assets"),
    (Measure::Rate("API Requests / second"), "/jetstream/stats/api/total"),
    (Measure::Level("Pending API Requests"), "/jetstream/meta/pending"),
];

pub(super) async fn run(args: &GraphArgs) -> Result<(), CliError> {
    let (title, measures) = match args.jetstream {
        true => ("JetStream Statistics", JETSTREAM),
        false => ("Server Statistics", SERVER),
    };
    let shown_measures = measures.iter().map(|(measure, _)| *measure).collect();
    let mut graphs = LiveGraphs::open(format!("{title} for {}", shown(&args.name)), shown_measures)?;
    let jetstream = JetStreamArgs::new(args.connection.clone(), args.timeout);
    let mut session = Session::open(&jetstream).await?;
    loop {
        let variables = variables(&mut session, &args.name).await?;
        let number = |pointer: &str| variables.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
        let numbers: Vec<f64> = measures.iter().map(|(_, pointer)| number(pointer)).collect();
        graphs.draw(&numbers)?;
        graphs.pause().await;
    }
}

/// Requests the variables of the server with this name or id.
async fn variables(session: &mut Session, name: &str) -> Result<Value, CliError> {
    // An id is a server's public nkey. A name is sent to all servers; only the named one answers.
    let is_id = name.len() == 56 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let (subject, body) = match is_id {
        true => (format!("$SYS.REQ.SERVER.{name}.VARZ"), json!({})),
        false => (VARIABLES.to_owned(), json!({ "server_name": name, "exact_match": true })),
    };
    let answers = gather(session, &subject, &body, Some(1)).await.map_err(explained)?;
    let missing = || CliError::Client(format!("no server {name:?} answers"));
    let data =
        answers.into_iter().next().and_then(|mut answer| answer.value.get_mut("data").map(Value::take));
    data.ok_or_else(missing)
}
