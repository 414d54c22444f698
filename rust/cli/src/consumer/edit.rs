//! `stonechat consumer edit` and `copy`: change the configuration of a consumer, or copy it with changes.

use serde_json::{Value, json};

use super::args::{CopyArgs, EditArgs};
use super::flags::{set_groups, set_start};
use super::new::create;
use super::select::{self, select};
use crate::ask;
use crate::configuration::{self, in_editor, is_changed, own};
use crate::error::CliError;
use crate::session::Session;
use crate::stream::SelectBy;
use crate::values::api_nanoseconds;

pub(super) async fn run(
    session: &mut Session,
    args: EditArgs,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    let by = SelectBy { all, no_select: args.change.force };
    let mut info = select(session, args.place, by).await?;
    let (stream, name) = select::names(&info);
    let (stream, name) = (stream.to_owned(), name.to_owned());
    let old = own(info["config"].take());
    if !old.contains_key("durable_name") {
        return Err(CliError::Client("only durable consumers can be edited".to_owned()));
    }
    let new = match (&args.change.config, args.change.interactive) {
        (_, true) => in_editor(&old)?,
        (Some(file), _) => own(Value::Object(configuration::read(file)?)),
        (None, _) => {
            let mut config = old.clone();
            args.flags.apply(&mut config)?;
            config
        }
    };
    let has_backoff = new.get("backoff").and_then(Value::as_array).is_some_and(|times| !times.is_empty());
    if has_backoff && args.flags.wait.is_some() && new.get("ack_wait") != old.get("ack_wait") {
        return Err(CliError::Client("--wait can't be changed where there is a backoff policy".to_owned()));
    }
    if !is_changed(&name, &old, &new, args.change.dry_run, json)? {
        return Ok(());
    }
    ask::agree(&format!("Really edit Consumer {stream} > {name}"), args.change.force).await?;
    create(session, &stream, &Value::Object(new), json).await
}

pub(super) async fn copy(session: &mut Session, args: &CopyArgs, json: bool) -> Result<(), CliError> {
    let mut info = select::info(session, &args.stream, &args.source).await?;
    let (new, flags) = (&args.new, &args.flags);
    let mut config = own(info["config"].take());
    config.insert("name".to_owned(), json!(args.destination));
    match new.ephemeral {
        true => drop(config.shift_remove("durable_name")),
        false => drop(config.insert("durable_name".to_owned(), json!(args.destination))),
    }
    flags.apply(&mut config)?;
    if let Some(policy) = &new.deliver {
        set_start(&mut config, policy).map_err(CliError::Client)?;
    }
    if new.pull {
        config.shift_remove("deliver_subject");
    }
    for (field, value) in [
        ("ack_policy", new.ack.map(|ack| json!(ack.as_api()))),
        ("replay_policy", new.replay.map(|replay| json!(replay.as_api()))),
        ("rate_limit_bps", Some(new.bps).filter(|bps| *bps > 0).map(Value::from)),
        (
            "idle_heartbeat",
            new.heartbeat.filter(|time| !time.is_zero()).map(|time| json!(api_nanoseconds(time))),
        ),
        ("flow_control", new.flow_control.then_some(json!(true))),
        ("max_waiting", new.max_waiting.map(Value::from)),
    ] {
        if let Some(value) = value {
            config.insert(field.to_owned(), value);
        }
    }
    match new.deliver_group.as_ref().filter(|_| flags.target.is_some()) {
        Some(group) => drop(config.insert("deliver_group".to_owned(), json!(group))),
        None => drop(config.shift_remove("deliver_group")),
    }
    let has_target = config.get("deliver_subject").is_some_and(|subject| subject != "");
    let foreign: &[&str] = match has_target {
        true => &["max_waiting", "max_batch", "max_expires", "max_bytes"],
        false => &["idle_heartbeat", "flow_control", "rate_limit_bps"],
    };
    for field in foreign {
        config.shift_remove(*field);
    }
    set_groups(&mut config, new);
    create(session, &args.stream, &Value::Object(config), json).await
}
