//! `stonechat stream edit` and `copy`: the configuration of a stream with some changes.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;

use serde_json::{Map, Value, json};

use super::args::{CopyArgs, EditArgs};
use super::new::{apply_new, create, read_config};
use super::select::{self, SelectBy, select};
use super::{manage, show};
use crate::ask;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{json_line, line, shown};
use crate::session::Session;
use crate::translate::split_words;

pub(super) async fn run(
    session: &mut Session,
    args: &EditArgs,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    let by = SelectBy { all, no_select: args.force };
    let (name, mut info) = select(session, args.stream.clone(), by).await?;
    let old = own_config(info["config"].take());
    let new = match (&args.config, args.interactive) {
        (_, true) => in_editor(&old)?,
        (Some(file), _) => {
            let mut config = read_config(file)?;
            config.insert("name".to_owned(), json!(name));
            own_config(Value::Object(config))
        }
        (None, _) => changed(&old, args)?,
    };
    let differences = differences(&old, &new);
    if differences.is_empty() {
        return match (json, args.dry_run) {
            (true, _) => json_line(&json!({ "stream": name, "changed": false })),
            (false, true) => Ok(()),
            (false, false) => line("No difference in configuration"),
        };
    }
    tell(&differences, json)?;
    if args.dry_run {
        return Err(CliError::Differs);
    }
    manage::warn_of_bucket(&name).await?;
    ask::agree(&format!("Really edit Stream {name}"), args.force).await?;
    let info = session.ask(&format!("STREAM.UPDATE.{name}"), Some(&Value::Object(new))).await?;
    if !json {
        write_out(format!("Stream {name} was updated\n\n").as_bytes())?;
    }
    show::stream(&info, false, json)
}

pub(super) async fn copy(session: &mut Session, args: &CopyArgs, json: bool) -> Result<(), CliError> {
    if args.from == args.destination {
        return Err(CliError::Client("a stream can't be copied onto itself".to_owned()));
    }
    refuse_origins(&args.flags)?;
    let mut info = select::info(session, &args.from).await?;
    let mut config = own_config(info["config"].take());
    args.flags.apply(&mut config);
    apply_new(&mut config, &args.new);
    config.insert("name".to_owned(), json!(args.destination));
    create(session, &Value::Object(config), json).await
}

/// A configuration without what the server notes in it.
fn own_config(config: Value) -> Map<String, Value> {
    let Value::Object(mut config) = config else { return Map::new() };
    if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
        metadata.retain(|name, _| !name.starts_with("_nats."));
    }
    if config.get("metadata").is_some_and(|it| it.as_object().is_some_and(Map::is_empty)) {
        config.shift_remove("metadata");
    }
    config
}

fn refuse_origins(flags: &super::flags::ConfigArgs) -> Result<(), CliError> {
    match flags.mirror.is_none() && flags.source.is_empty() {
        true => Ok(()),
        false => Err(CliError::Client(
            "mirror and sources can't be changed by flags; write the configuration into a file for --config"
                .to_owned(),
        )),
    }
}

/// The configuration with what the flags name.
fn changed(old: &Map<String, Value>, args: &EditArgs) -> Result<Map<String, Value>, CliError> {
    refuse_origins(&args.flags)?;
    let mut config = old.clone();
    args.flags.apply(&mut config);
    for (is_gone, field) in [
        (args.no_mirror, "mirror"),
        (args.no_transform, "subject_transform"),
        (args.no_republish, "republish"),
    ] {
        if is_gone {
            config.shift_remove(field);
        }
    }
    Ok(config)
}

/// One field that differs: its name, the old value and the new one.
type Difference<'a> = (&'a str, Option<&'a Value>, Option<&'a Value>);

/// The fields that differ. The order of subjects does not count.
fn differences<'a>(old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> Vec<Difference<'a>> {
    let is_same = |a: Option<&Value>, b: Option<&Value>| {
        let texts = |value: Option<&Value>| {
            let mut texts: Vec<String> = value?.as_array()?.iter().map(Value::to_string).collect();
            texts.sort();
            Some(texts)
        };
        a == b || (texts(a).is_some() && texts(a) == texts(b))
    };
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    names
        .map(|name| (name.as_str(), old.get(name), new.get(name)))
        .filter(|(_, old, new)| !is_same(*old, *new))
        .collect()
}

fn tell(differences: &[Difference<'_>], json: bool) -> Result<(), CliError> {
    if json {
        return Ok(());
    }
    let mut text = String::from("Differences (-old +new):\n");
    for (name, old, new) in differences {
        for (sign, value) in [('-', old), ('+', new)] {
            if let Some(value) = value {
                text += &format!("{sign} {}: {}\n", shown(name), shown(&value.to_string()));
            }
        }
    }
    line(&text)
}

/// Lets the user edit the configuration in a file.
fn in_editor(config: &Map<String, Value>) -> Result<Map<String, Value>, CliError> {
    let editor = std::env::var("EDITOR").unwrap_or_default();
    if editor.trim().is_empty() {
        return Err(CliError::Client(
            "no editor is known: set EDITOR to the program of your choice".to_owned(),
        ));
    }
    let words = split_words(&editor)?;
    let path = std::env::temp_dir().join(format!("stonechat-{}.json", std::process::id()));
    let wrong = |reason: String| CliError::File { path: path.clone(), reason };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|error| wrong(error.to_string()))?;
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    let edited = file.write_all(text.as_bytes()).map_err(|error| wrong(error.to_string())).and_then(|()| {
        drop(file);
        let status = Command::new(&words[0]).args(&words[1..]).arg(&path).status();
        match status {
            Ok(status) if status.success() => read_config(&path),
            Ok(status) => Err(CliError::Client(format!("the editor {editor:?} ended with {status}"))),
            Err(error) => Err(CliError::Client(format!("cannot run the editor {editor:?}: {error}"))),
        }
    });
    let _ = std::fs::remove_file(&path);
    edited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_order_of_subjects_is_no_difference() {
        let old = map(json!({ "subjects": ["a", "b"], "max_msgs": 1, "gone": true }));
        let new = map(json!({ "subjects": ["b", "a"], "max_msgs": 2, "fresh": 1 }));
        let names: Vec<_> = differences(&old, &new).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["max_msgs", "gone", "fresh"]);
    }

    #[test]
    fn notes_of_the_server_are_not_ours() {
        let config = json!({ "metadata": { "_nats.level": "3" }, "x": 1 });
        assert_eq!(Value::Object(own_config(config)), json!({ "x": 1 }));
        let config = json!({ "metadata": { "_nats.level": "3", "mine": "1" } });
        assert_eq!(Value::Object(own_config(config)), json!({ "metadata": { "mine": "1" } }));
        assert!(own_config(json!(5)).is_empty());
    }
}
