//! `stonechat stream add`: builds a configuration from flags, defaults, answers on the terminal, or a file.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::args::{AddArgs, NewArgs, PersistMode, Storage};
use super::flags::{ConfigArgs, origin, place};
use super::show;
use crate::ask;
use crate::configuration::{self, own};
use crate::error::CliError;
use crate::message::write_out;
use crate::session::Session;
use crate::values::{
    api_nanoseconds, parse_bytes, parse_bytes_32, parse_name, parse_time_limit, split_subjects,
};

/// Default window for duplicate message ids; a shorter maximum age limits it.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// Default maximum size of a stream, if the account requires one.
const REQUIRED_SIZE: &str = "256MB";

pub(super) async fn run(session: &mut Session, args: AddArgs, json: bool) -> Result<(), CliError> {
    let config = match &args.draft.config {
        Some(file) => from_file(file, args.stream.as_deref(), &args.flags)?,
        None => complete(session, &args).await?,
    };
    if args.draft.validate || args.draft.output.is_some() {
        check(&config)?;
    }
    if args.draft.validate {
        crate::output::json(&config)?;
        return if json { Ok(()) } else { write_out(b"\nConfiguration is a valid Stream\n") };
    }
    if let Some(file) = &args.draft.output {
        return configuration::write(file, &config, json);
    }
    create(session, &config, json).await
}

/// Creates a stream and prints it.
pub(super) async fn create(session: &mut Session, config: &Value, json: bool) -> Result<(), CliError> {
    let name = config["name"].as_str().unwrap_or_default();
    parse_name(name).map_err(|rule| CliError::Client(format!("{name:?} can't name a stream: {rule}")))?;
    check(config)?;
    let info = session.ask(&format!("STREAM.CREATE.{name}"), Some(config)).await?;
    if !json {
        write_out(format!("Stream {name} was created\n\n").as_bytes())?;
    }
    show::stream(&info, false, json)
}

/// Refuses a configuration that no server accepts; the error names the field.
pub(super) fn check(config: &Value) -> Result<(), CliError> {
    let wrong = |reason: &str| CliError::Client(format!("the configuration is not valid: {reason}"));
    let subjects = config["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
    if config["no_ack"] != true && subjects.iter().any(|subject| subject == ">") {
        return Err(wrong("subjects can't be \">\" where publishers are answered; --no-ack answers none"));
    }
    serde_json::from_value::<async_nats::jetstream::stream::Config>(config.clone())
        .map(drop)
        .map_err(|error| wrong(&error.to_string()))
}

fn from_file(file: &Path, name: Option<&str>, flags: &ConfigArgs) -> Result<Value, CliError> {
    let mut config = own(Value::Object(configuration::read(file)?));
    if let Some(name) = name {
        config.insert("name".to_owned(), json!(name));
    }
    let subjects = flags.subjects();
    if !subjects.is_empty() {
        config.insert("subjects".to_owned(), json!(subjects));
    }
    if let Some(text) = &flags.description {
        config.insert("description".to_owned(), json!(text));
    }
    if let Some(replicas) = flags.replicas {
        config.insert("num_replicas".to_owned(), json!(replicas));
    }
    place(&mut config, flags.cluster.as_deref(), &flags.tag);
    Ok(Value::Object(config))
}

/// Builds a configuration from flags. Missing settings get the default with `--defaults`; otherwise the user is asked.
async fn complete(session: &mut Session, args: &AddArgs) -> Result<Value, CliError> {
    let flags = &args.flags;
    let asker = Asker { is_silent: args.draft.defaults };
    let name = match &args.stream {
        Some(name) => name.clone(),
        None => ask::input("Stream Name", None, "the name of the stream").await?,
    };
    let mut config = base(&name);
    let is_copy = flags.mirror.is_some() || !flags.source.is_empty();
    if flags.mirror.is_some() && !flags.subjects().is_empty() {
        return Err(CliError::Client("a mirror takes no messages on subjects of its own".to_owned()));
    }
    if !is_copy && flags.subjects().is_empty() {
        let answer = ask::input("Subjects", None, "--subjects").await?;
        let subjects: Vec<&str> = split_subjects(&answer).collect();
        config.insert("subjects".to_owned(), json!(subjects));
    }
    let is_size_required = session.ask("INFO", None).await?["limits"]["max_bytes_required"] == true;
    asker.limits(&mut config, args, is_size_required).await?;
    if let Some(mirror) = &flags.mirror {
        config.insert("mirror".to_owned(), origin(mirror)?);
    }
    if !flags.source.is_empty() {
        let sources = flags.source.iter().map(|text| origin(text)).collect::<Result<Vec<_>, _>>()?;
        config.insert("sources".to_owned(), Value::Array(sources));
    }
    flags.apply(&mut config);
    apply_new(&mut config, &args.new);
    Ok(Value::Object(config))
}

/// Returns the default configuration.
fn base(name: &str) -> Map<String, Value> {
    let config = json!({
        "name": name,
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": -1,
        "max_msgs_per_subject": -1,
        "num_replicas": 1,
        "compression": "none",
        "allow_direct": true,
    });
    if let Value::Object(config) = config { config } else { Map::new() }
}

/// Sets the fields that only a new stream can get.
pub(super) fn apply_new(config: &mut Map<String, Value>, args: &NewArgs) {
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    };
    set(
        "storage",
        args.storage.map(|it| json!(if matches!(it, Storage::Memory) { "memory" } else { "file" })),
    );
    set("first_seq", args.first_sequence.map(Value::from));
    if matches!(args.persist_mode, Some(PersistMode::Async)) {
        set("persist_mode", Some(json!("async")));
    }
    let mut limits = Map::new();
    if let Some(threshold) = args.limit_consumer_inactive {
        limits.insert("inactive_threshold".to_owned(), json!(api_nanoseconds(threshold)));
    }
    if let Some(pending) = args.limit_consumer_max_pending {
        limits.insert("max_ack_pending".to_owned(), json!(pending));
    }
    if !limits.is_empty() {
        set("consumer_limits", Some(Value::Object(limits)));
    }
}

/// Asks the user for settings that the flags leave open.
struct Asker {
    /// Uses the defaults instead of asking.
    is_silent: bool,
}

impl Asker {
    /// Asks all questions, in the order of the `nats` command.
    async fn limits(
        &self,
        config: &mut Map<String, Value>,
        args: &AddArgs,
        is_size_required: bool,
    ) -> Result<(), CliError> {
        let flags = &args.flags;
        if args.new.storage.is_none() {
            self.choice(config, ["Storage", "storage"], &["file", "memory"], "--storage").await?;
        }
        if flags.replicas.is_none() {
            self.number(config, ["Replication", "num_replicas"], "1", "--replicas").await?;
        }
        if flags.retention.is_none() {
            let options = ["Limits", "Interest", "Work Queue"];
            self.choice(config, ["Retention Policy", "retention"], &options, "--retention").await?;
        }
        if flags.discard.is_none() {
            self.choice(config, ["Discard Policy", "discard"], &["Old", "New"], "--discard").await?;
        }
        if flags.max_msgs.is_none_or(|limit| limit == 0) {
            self.number(config, ["Stream Messages Limit", "max_msgs"], "-1", "--max-msgs").await?;
        }
        let has_subjects = config.contains_key("subjects") || !flags.subjects().is_empty();
        if flags.max_msgs_per_subject.is_none_or(|limit| limit == 0) && has_subjects {
            let what = ["Per Subject Messages Limit", "max_msgs_per_subject"];
            self.number(config, what, "-1", "--max-msgs-per-subject").await?;
        }
        if flags.max_bytes.is_none() {
            let default = if is_size_required { REQUIRED_SIZE } else { "-1" };
            let size = self.ask("Total Stream Size", default, "--max-bytes", parse_bytes).await?;
            config.insert("max_bytes".to_owned(), json!(if size == 0 { -1 } else { size }));
        }
        let mut age = flags.max_age.unwrap_or_default();
        if flags.max_age.is_none() {
            age = self.ask("Message TTL", "-1", "--max-age", parse_time_limit).await?;
            config.insert("max_age".to_owned(), json!(api_nanoseconds(age)));
        }
        if flags.max_msg_size.is_none() {
            let size = self.ask("Max Message Size", "-1", "--max-msg-size", parse_bytes_32).await?;
            config.insert("max_msg_size".to_owned(), json!(if size == 0 { -1 } else { size }));
        }
        if flags.dupe_window.is_none() && flags.mirror.is_none() {
            let shorter = if age.is_zero() { DUPLICATE_WINDOW } else { age.min(DUPLICATE_WINDOW) };
            let default = crate::output::duration(shorter);
            let what = "Duplicate tracking time window";
            let window = self.ask(what, &default, "--dupe-window", parse_time_limit).await?;
            config.insert("duplicate_window".to_owned(), json!(api_nanoseconds(window)));
        }
        self.permissions(config, flags).await
    }

    /// Asks for the permissions of the stream.
    async fn permissions(&self, config: &mut Map<String, Value>, flags: &ConfigArgs) -> Result<(), CliError> {
        if self.is_silent {
            return Ok(());
        }
        for (flag, question, field, is_allowed, is_inverted) in [
            ("allow-rollup", "Allow message Roll-ups", "allow_rollup_hdrs", false, false),
            ("deny-delete", "Allow message deletion", "deny_delete", true, true),
            ("deny-purge", "Allow purging subjects or the entire stream", "deny_purge", true, true),
        ] {
            if flags.switches.get(flag).is_none() {
                let answer = ask::confirm(question, is_allowed).await?;
                config.insert(field.to_owned(), json!(answer != is_inverted));
            }
        }
        Ok(())
    }

    async fn ask<T>(
        &self,
        question: &str,
        default: &str,
        flag: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, CliError> {
        match self.is_silent {
            true => parse(default).map_err(CliError::Client),
            false => ask::value(question, default, flag, parse).await,
        }
    }

    async fn number(
        &self,
        config: &mut Map<String, Value>,
        [question, field]: [&str; 2],
        default: &str,
        flag: &str,
    ) -> Result<(), CliError> {
        let parse = |text: &str| text.parse::<i64>().map_err(|_| format!("{text:?} is no whole number"));
        let number = self.ask(question, default, flag, parse).await?;
        config.insert(field.to_owned(), json!(if number <= 0 { -1 } else { number }));
        Ok(())
    }

    async fn choice(
        &self,
        config: &mut Map<String, Value>,
        [question, field]: [&str; 2],
        options: &[&str],
        flag: &str,
    ) -> Result<(), CliError> {
        if self.is_silent {
            return Ok(());
        }
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let answer = ask::choose(question, &options, flag).await?;
        config.insert(field.to_owned(), json!(answer.to_lowercase().replace(' ', "")));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_takes_is_refused() {
        assert!(check(&json!({ "name": "A", "subjects": ["a"] , "max_msgs": 5, "retention": "limits", "max_consumers": -1, "max_bytes": -1, "max_age": 0, "storage": "file", "discard": "old", "num_replicas": 1 })).is_ok());
        for config in [
            json!({ "name": "A", "subjects": [">"] }),
            json!({ "name": "A", "subjects": 5 }),
            json!({ "name": "A", "retention": "for ever" }),
        ] {
            assert!(check(&config).is_err(), "{config}");
        }
    }
}
