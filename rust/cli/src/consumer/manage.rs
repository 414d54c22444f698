//! Commands on a consumer that change its position or its state, or remove it.

use serde_json::{Value, json};

use super::flags::pause_until;
use super::select::{self, names};
use super::show;
use crate::ask;
use crate::error::CliError;
use crate::output::{duration, json_line, line, local_time, nanoseconds, shown};
use crate::session::Session;

pub(super) async fn remove(
    session: &mut Session,
    info: &Value,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let (stream, consumer) = names(info);
    ask::agree(&format!("Really delete Consumer {stream} > {consumer}"), force).await?;
    session.ask(&format!("CONSUMER.DELETE.{stream}.{consumer}"), None).await?;
    match json {
        true => json_line(&json!({ "stream": stream, "consumer": consumer, "deleted": true })),
        false => Ok(()),
    }
}

pub(super) async fn pause(
    session: &mut Session,
    info: &Value,
    until: Option<String>,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let (stream, consumer) = names(info);
    let until = match until {
        Some(until) => pause_until(&until).map_err(CliError::Client)?,
        None => ask::value("Pause until (time or duration)", "1h", "a time or duration", pause_until).await?,
    };
    let shown_until = local_time(&until);
    ask::agree(&format!("Really pause Consumer {stream} > {consumer} until {shown_until}"), force).await?;
    let body = json!({ "pause_until": until });
    let answer = session.ask(&format!("CONSUMER.PAUSE.{stream}.{consumer}"), Some(&body)).await?;
    if answer["paused"] != true {
        return Err(CliError::Client(format!(
            "consumer {stream} > {consumer} did not pause: {shown_until} has passed"
        )));
    }
    let left = nanoseconds(&answer["pause_remaining"]).unwrap_or_default();
    let left = std::time::Duration::from_secs_f64(left.as_secs_f64().round());
    match json {
        true => json_line(&json!({
            "stream": stream,
            "consumer": consumer,
            "paused": true,
            "pause_until": answer["pause_until"],
            "pause_remaining": answer["pause_remaining"],
        })),
        false => line(&format!("Paused {stream} > {consumer} until {shown_until} ({})", duration(left))),
    }
}

pub(super) async fn resume(
    session: &mut Session,
    info: &Value,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let (stream, consumer) = names(info);
    if info["paused"] != true {
        return Err(CliError::Client(format!("consumer {stream} > {consumer} is not paused")));
    }
    ask::agree(&format!("Really resume Consumer {stream} > {consumer}"), force).await?;
    session.ask(&format!("CONSUMER.PAUSE.{stream}.{consumer}"), Some(&json!({}))).await?;
    let until = local_time(info["config"]["pause_until"].as_str().unwrap_or_default());
    match json {
        true => json_line(&json!({ "stream": stream, "consumer": consumer, "paused": false })),
        false => {
            line(&format!("Consumer {stream} > {consumer} was resumed while previously paused until {until}"))
        }
    }
}

pub(super) async fn unpin(
    session: &mut Session,
    info: &Value,
    group: Option<String>,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let (stream, consumer) = names(info);
    if info["config"]["priority_policy"] != "pinned_client" {
        return Err(CliError::Client(format!("consumer {stream} > {consumer} has no pinned groups")));
    }
    let client =
        |group: &Value| group["pinned_client_id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    let groups = info["priority_groups"].as_array().into_iter().flatten();
    let pinned: Vec<(String, String)> =
        groups.filter_map(|group| Some((group["group"].as_str()?.to_owned(), client(group)?))).collect();
    if pinned.is_empty() {
        return Err(CliError::Client(format!("no client has a group of {stream} > {consumer}")));
    }
    let group = match group {
        Some(group) => group,
        None => {
            let names: Vec<String> = pinned.iter().map(|(name, _)| name.clone()).collect();
            ask::choose("Select a Group", &names, "the name of a group").await?
        }
    };
    ask::agree(&format!("Really unpin client from group {stream} > {consumer} > {group}"), force).await?;
    session.ask(&format!("CONSUMER.UNPIN.{stream}.{consumer}"), Some(&json!({ "group": group }))).await?;
    let client = pinned.iter().find(|(name, _)| *name == group).map(|(_, id)| shown(id)).unwrap_or_default();
    match json {
        true => {
            json_line(&json!({ "stream": stream, "consumer": consumer, "group": group, "unpinned": client }))
        }
        false => line(&format!(
            "Unpinned client {client} from Priority Group {stream} > {consumer} > {}",
            shown(&group)
        )),
    }
}

pub(super) async fn reset(
    session: &mut Session,
    info: &Value,
    sequence: Option<u64>,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let (stream, consumer) = names(info);
    ask::agree("Really reset the consumer", force).await?;
    let body = sequence.filter(|seq| *seq > 0).map_or_else(|| json!({}), |seq| json!({ "seq": seq }));
    session.ask(&format!("CONSUMER.RESET.{stream}.{consumer}"), Some(&body)).await?;
    let info = select::info(session, stream, consumer).await?;
    show::consumer(&info, true, json)
}
