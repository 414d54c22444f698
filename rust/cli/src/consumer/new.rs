//! `stonechat consumer add`: builds a configuration from flags, defaults, answers on the terminal, or a file.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::args::AddArgs;
use super::flags::{Ack, Backoff, NewArgs, linear, pause_until, set_filters, set_groups, set_start};
use super::show;
use crate::ask;
use crate::configuration::{self, own};
use crate::error::CliError;
use crate::message::write_out;
use crate::session::Session;
use crate::stream::{SelectBy, select as select_stream};
use crate::values::{api_nanoseconds, parse_duration, parse_name, parse_time_limit, split_subjects};

pub(super) async fn run(session: &mut Session, args: AddArgs, all: bool, json: bool) -> Result<(), CliError> {
    let (stream, _) = select_stream(session, args.place.stream.clone(), SelectBy::all(all)).await?;
    let config = match &args.draft.config {
        Some(file) => {
            let mut config = own(Value::Object(configuration::read(file)?));
            if let Some(name) = &args.place.consumer {
                for field in ["name", "durable_name"] {
                    if field == "name" || config.contains_key(field) {
                        config.insert(field.to_owned(), json!(name));
                    }
                }
            }
            if let Some(target) =
                args.flags.target.as_ref().filter(|_| config.contains_key("deliver_subject"))
            {
                config.insert("deliver_subject".to_owned(), json!(target));
            }
            config
        }
        None => complete(session, &args).await?,
    };
    let config = Value::Object(config);
    if args.draft.validate || args.draft.output.is_some() {
        check(&config)?;
    }
    if args.draft.validate {
        crate::output::json(&config)?;
        return if json { Ok(()) } else { write_out(b"\nConfiguration is a valid Consumer\n") };
    }
    if let Some(file) = &args.draft.output {
        return configuration::write(file, &config, json);
    }
    create(session, &stream, &config, json).await
}

/// Creates or updates a consumer, and prints it.
pub(super) async fn create(
    session: &mut Session,
    stream: &str,
    config: &Value,
    json: bool,
) -> Result<(), CliError> {
    let durable = config["durable_name"].as_str().filter(|name| !name.is_empty());
    let name = durable.or_else(|| config["name"].as_str()).unwrap_or_default();
    parse_name(name).map_err(|rule| CliError::Client(format!("{name:?} can't name a consumer: {rule}")))?;
    check(config)?;
    let mut config = config.clone();
    config["name"] = json!(name);
    let call = match config["filter_subject"].as_str().filter(|filter| !filter.is_empty()) {
        Some(filter) => format!("CONSUMER.CREATE.{stream}.{name}.{filter}"),
        None => format!("CONSUMER.CREATE.{stream}.{name}"),
    };
    let info = session.ask(&call, Some(&json!({ "stream_name": stream, "config": config }))).await?;
    show::consumer(&info, false, json)
}

/// Refuses a configuration that no server accepts; the error names the field.
fn check(config: &Value) -> Result<(), CliError> {
    let wrong = |reason: String| CliError::Client(format!("the configuration is not valid: {reason}"));
    let filters =
        config["filter_subjects"].as_array().into_iter().flatten().chain([&config["filter_subject"]]);
    for filter in filters.filter_map(Value::as_str).filter(|filter| !filter.is_empty()) {
        crate::values::parse_subject(filter).map_err(|rule| wrong(format!("{filter:?}: {rule}")))?;
    }
    let mut config = config.clone();
    if let Value::Object(config) = &mut config {
        // The client library does not know all priority policies.
        config.shift_remove("priority_policy");
    }
    serde_json::from_value::<async_nats::jetstream::consumer::Config>(config)
        .map(drop)
        .map_err(|error| wrong(error.to_string()))
}

/// Builds a configuration from flags. Missing settings get the default with `--defaults`; otherwise the user is asked.
async fn complete(session: &Session, args: &AddArgs) -> Result<Map<String, Value>, CliError> {
    let (new, flags) = (&args.new, &args.flags);
    let name = match &args.place.consumer {
        Some(name) => name.clone(),
        None if new.ephemeral => random_name(session),
        None => ask::input("Consumer name", None, "the name of the consumer").await?,
    };
    let mut config = Map::new();
    config.insert("name".to_owned(), json!(name));
    if !new.ephemeral {
        config.insert("durable_name".to_owned(), json!(name));
    }
    let target = match (&flags.target, new.pull) {
        (Some(target), _) => target.clone(),
        (None, true) => String::new(),
        (None, false) => {
            ask::input("Delivery target (empty for Pull Consumers)", Some(""), "--pull or --target").await?
        }
    };
    let is_push = !target.is_empty();
    if is_push {
        config.insert("deliver_subject".to_owned(), json!(target));
        push_settings(&mut config, args).await?;
    } else if new.bps > 0 {
        return Err(CliError::Client("--bps is for consumers with a --target".to_owned()));
    } else if new.heartbeat.is_some_and(|time| !time.is_zero()) {
        return Err(CliError::Client("--heartbeat is for consumers with a --target".to_owned()));
    }
    start(&mut config, args).await?;
    let ack = acknowledgement(args, is_push).await?;
    config.insert("ack_policy".to_owned(), json!(ack.as_api()));
    replay(&mut config, args).await?;
    filters(&mut config, args).await?;
    deliveries(&mut config, args, ack).await?;
    flags.apply(&mut config)?;
    if !is_push {
        config.shift_remove("deliver_subject");
    }
    finish(&mut config, new, flags.backoff, ack)?;
    Ok(config)
}

/// Returns a unique name.
fn random_name(session: &Session) -> String {
    let inbox = session.connection.client.new_inbox();
    inbox.rsplit('.').next().unwrap_or_default().to_owned()
}

/// Sets the fields that only push consumers have.
async fn push_settings(config: &mut Map<String, Value>, args: &AddArgs) -> Result<(), CliError> {
    let new = &args.new;
    let group = match &new.deliver_group {
        Some(group) => group.clone(),
        None if args.draft.defaults => String::new(),
        None => ask::input("Delivery Queue Group", Some(""), "--deliver-group").await?,
    };
    if !group.is_empty() {
        config.insert("deliver_group".to_owned(), json!(group));
    }
    let heartbeat = match new.heartbeat {
        Some(time) => time,
        None if args.draft.defaults => Duration::ZERO,
        None => ask::value("Idle Heartbeat", "0s", "--heartbeat", heartbeat).await?,
    };
    if !heartbeat.is_zero() {
        config.insert("idle_heartbeat".to_owned(), json!(api_nanoseconds(heartbeat)));
    }
    let is_controlled = match (new.flow_control, args.draft.defaults) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => ask::confirm("Enable Flow Control, ie --flow-control", false).await?,
    };
    if is_controlled {
        config.insert("flow_control".to_owned(), json!(true));
    }
    if new.bps > 0 {
        config.insert("rate_limit_bps".to_owned(), json!(new.bps));
    }
    Ok(())
}

fn heartbeat(text: &str) -> Result<Duration, String> {
    if text == "0s" { Ok(Duration::ZERO) } else { parse_time_limit(text) }
}

async fn start(config: &mut Map<String, Value>, args: &AddArgs) -> Result<(), CliError> {
    let set = |config: &mut Map<String, Value>, policy: &str| set_start(config, policy);
    match (&args.new.deliver, args.draft.defaults) {
        (Some(policy), _) => set(config, policy).map_err(CliError::Client),
        (None, true) => set(config, "all").map_err(CliError::Client),
        (None, false) => {
            let question = "Start policy (all, new, last, subject, 1h, msg sequence)";
            let parse = |policy: &str| {
                let mut parsed = Map::new();
                set(&mut parsed, policy).map(|()| parsed)
            };
            config.extend(ask::value(question, "all", "--deliver", parse).await?);
            Ok(())
        }
    }
}

async fn acknowledgement(args: &AddArgs, is_push: bool) -> Result<Ack, CliError> {
    let default = if is_push { Ack::None } else { Ack::Explicit };
    match (args.new.ack, args.draft.defaults) {
        (Some(ack), _) => Ok(ack),
        (None, true) => Ok(default),
        (None, false) => {
            let names: &[&str] =
                if is_push { &["none", "explicit", "all"] } else { &["explicit", "all", "none"] };
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let answer = ask::choose("Acknowledgment policy", &names, "--ack").await?;
            let all = [Ack::None, Ack::All, Ack::Explicit];
            Ok(all.into_iter().find(|ack| ack.as_api() == answer).unwrap_or(default))
        }
    }
}

async fn replay(config: &mut Map<String, Value>, args: &AddArgs) -> Result<(), CliError> {
    let policy = match (args.new.replay, args.draft.defaults) {
        (Some(replay), _) => replay.as_api().to_owned(),
        (None, true) => "instant".to_owned(),
        (None, false) => {
            ask::choose("Replay policy", &["instant".to_owned(), "original".to_owned()], "--replay").await?
        }
    };
    config.insert("replay_policy".to_owned(), json!(policy));
    Ok(())
}

async fn filters(config: &mut Map<String, Value>, args: &AddArgs) -> Result<(), CliError> {
    let mut filters = args.flags.filter.clone();
    if filters.is_empty() && !args.draft.defaults {
        let answer = ask::input("Filter Stream by subjects (blank for all)", Some(""), "--filter").await?;
        filters = split_subjects(&answer).map(str::to_owned).collect();
    }
    if filters.is_empty() && config.get("deliver_policy").is_some_and(|policy| policy == "last_per_subject") {
        filters.push(">".to_owned());
    }
    set_filters(config, &filters);
    Ok(())
}

/// Sets how often messages are delivered, and how many at a time.
async fn deliveries(config: &mut Map<String, Value>, args: &AddArgs, ack: Ack) -> Result<(), CliError> {
    let flags = &args.flags;
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("{text:?} is no whole number"));
    config.insert("max_deliver".to_owned(), json!(-1));
    if ack != Ack::None && !args.draft.defaults {
        if flags.max_deliver.is_none_or(|tries| tries == 0) {
            let tries = ask::value("Maximum Allowed Deliveries", "-1", "--max-deliver", number).await?;
            config.insert("max_deliver".to_owned(), json!(tries));
        }
        if flags.max_pending.is_none_or(|pending| pending == -1) {
            let pending = ask::value("Maximum Acknowledgments Pending", "0", "--max-pending", number).await?;
            config.insert("max_ack_pending".to_owned(), json!(pending));
        }
    }
    if flags.switches.get("headers-only").is_none()
        && !args.draft.defaults
        && ask::confirm("Deliver headers only without bodies", false).await?
    {
        config.insert("headers_only".to_owned(), json!(true));
    }
    if ack != Ack::None && !args.draft.defaults && flags.backoff.is_none() {
        ask_backoff(config).await?;
    }
    Ok(())
}

async fn ask_backoff(config: &mut Map<String, Value>) -> Result<(), CliError> {
    if !ask::confirm("Add a Retry Backoff Policy", false).await? {
        return Ok(());
    }
    let modes = ["none".to_owned(), "linear".to_owned()];
    if ask::choose("Backoff policy", &modes, "--backoff").await? == "none" {
        return Ok(());
    }
    let min = ask::value("Minimum retry time", "1m", "--backoff-min", parse_duration).await?;
    let max = ask::value("Maximum retry time", "10m", "--backoff-max", parse_duration).await?;
    let count = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is no number of steps"));
    let steps =
        ask::value("Number of steps to generate in the policy", "20", "--backoff-steps", count).await?;
    config.insert("backoff".to_owned(), json!(linear(steps, min, max)?));
    Ok(())
}

/// Sets the fields that follow from others, and those that the user is never asked for.
fn finish(
    config: &mut Map<String, Value>,
    new: &NewArgs,
    backoff: Option<Backoff>,
    ack: Ack,
) -> Result<(), CliError> {
    if ack == Ack::None {
        config.insert("max_deliver".to_owned(), json!(-1));
    }
    // The server requires `max_deliver` to exceed the number of backoff times.
    let steps = config.get("backoff").and_then(Value::as_array).map_or(0, Vec::len);
    if backoff.is_some() && steps > 0 && config.get("max_deliver").is_some_and(|tries| *tries == -1) {
        config.insert("max_deliver".to_owned(), json!(steps + 1));
    }
    if let Some(waiting) = new.max_waiting.filter(|_| !config.contains_key("deliver_subject")) {
        config.insert("max_waiting".to_owned(), json!(waiting));
    }
    if new.memory {
        config.insert("mem_storage".to_owned(), json!(true));
    }
    if let Some(until) = &new.pause {
        config.insert("pause_until".to_owned(), json!(pause_until(until).map_err(CliError::Client)?));
    }
    set_groups(config, new);
    Ok(())
}
