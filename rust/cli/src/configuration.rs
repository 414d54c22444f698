//! Configurations of streams and consumers as JSON: reading, editing, comparing and writing.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::output::{json_line, line, shown};
use crate::translate::split_words;

/// Flags that `stream add` and `consumer add` share: where a new configuration comes from, and where it goes.
#[derive(Debug, Args)]
pub(crate) struct DraftArgs {
    /// Take the configuration from this JSON file: a configuration, or the output of info --json
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Check the configuration and print it, but create nothing
    #[arg(long)]
    pub(crate) validate: bool,
    /// Write the configuration into this file, but create nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Ask nothing: take the default where no flag says otherwise
    #[arg(long)]
    pub(crate) defaults: bool,
}

/// Flags that `stream edit` and `consumer edit` share: where the changes come from, and whether they are made.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Take the configuration from this JSON file: a configuration, or the output of info --json
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Act without a question
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Edit the configuration, as JSON, with the program that EDITOR names
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Show what would change, but change nothing; exit code 1 if something would
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Takes the configuration out of the server's info about a stream or consumer.
///
/// # Errors
/// The info holds no configuration.
pub(crate) fn taken(info: &mut Value) -> Result<Map<String, Value>, CliError> {
    match info.get_mut("config").map(Value::take) {
        Some(Value::Object(config)) => Ok(config),
        _ => Err(CliError::Client("the server's answer holds no configuration".to_owned())),
    }
}

/// Returns a configuration without the metadata that the server adds.
pub(crate) fn own(config: Value) -> Map<String, Value> {
    let Value::Object(mut config) = config else { return Map::new() };
    if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
        metadata.retain(|name, _| !name.starts_with("_nats."));
        if metadata.is_empty() {
            config.shift_remove("metadata");
        }
    }
    config
}

/// Reads a configuration from a file; the file may also hold the output of `info --json`.
///
/// # Errors
/// The file can't be read, or holds no JSON object.
pub(crate) fn read(file: &Path) -> Result<Map<String, Value>, CliError> {
    let wrong = |reason: String| CliError::File { path: file.to_owned(), reason };
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let mut value: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if value["config"].is_object() {
        value = value["config"].take();
    }
    match value {
        Value::Object(config) => Ok(config),
        _ => Err(wrong("it holds no JSON object".to_owned())),
    }
}

/// Writes a configuration to a file; with `is_json`, prints the name and the file as JSON.
///
/// # Errors
/// The file can't be written.
pub(crate) fn write(file: &Path, config: &Value, is_json: bool) -> Result<(), CliError> {
    let wrong = |error: std::io::Error| CliError::File { path: file.to_owned(), reason: error.to_string() };
    fs::write(file, format!("{config:#}\n")).map_err(wrong)?;
    if is_json { json_line(&json!({ "name": config["name"], "file": file })) } else { Ok(()) }
}

/// A field that differs: its name, the old and the new value.
pub(crate) type Difference<'a> = (&'a str, Option<&'a Value>, Option<&'a Value>);

/// Returns the fields that differ. The order of a list's items does not count.
pub(crate) fn differences<'a>(
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
) -> Vec<Difference<'a>> {
    let is_same = |a: Option<&Value>, b: Option<&Value>| {
        let items = |value: Option<&Value>| {
            let mut items: Vec<String> = value?.as_array()?.iter().map(Value::to_string).collect();
            items.sort();
            Some(items)
        };
        a == b || (items(a).is_some() && items(a) == items(b))
    };
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    names
        .map(|name| (name.as_str(), old.get(name), new.get(name)))
        .filter(|(_, old, new)| !is_same(*old, *new))
        .collect()
}

/// Prints differences, one a line.
pub(crate) fn tell(differences: &[Difference<'_>]) -> Result<(), CliError> {
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

/// Prints what an edit changes. Returns whether to apply it: not if nothing changes, and not in a dry run.
///
/// # Errors
/// [`CliError::Differs`] in a dry run that would change something.
pub(crate) fn is_changed(
    name: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    is_dry_run: bool,
    is_json: bool,
) -> Result<bool, CliError> {
    let differences = differences(old, new);
    match (differences.is_empty(), is_json) {
        (true, true) => json_line(&json!({ "name": name, "changed": false }))?,
        (true, false) if !is_dry_run => line("No difference in configuration")?,
        (false, false) => tell(&differences)?,
        _ => {}
    }
    match is_dry_run && !differences.is_empty() {
        true => Err(CliError::Differs),
        false => Ok(!differences.is_empty()),
    }
}

/// Lets the user edit a configuration in the `EDITOR`.
///
/// # Errors
/// `EDITOR` is not set, the editor fails, or the file no longer holds a configuration.
pub(crate) fn in_editor(config: &Map<String, Value>) -> Result<Map<String, Value>, CliError> {
    let editor = std::env::var("EDITOR").unwrap_or_default();
    if editor.trim().is_empty() {
        return Err(CliError::Client(
            "no editor is known: set EDITOR to the program of your choice".to_owned(),
        ));
    }
    let words = split_words(&editor)?;
    let path = std::env::temp_dir().join(format!("stonechat-{}.json", std::process::id()));
    let wrong = |error: std::io::Error| CliError::File { path: path.clone(), reason: error.to_string() };
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(wrong)?;
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    let edited = file.write_all(text.as_bytes()).map_err(wrong).and_then(|()| {
        drop(file);
        match Command::new(&words[0]).args(&words[1..]).arg(&path).status() {
            Ok(status) if status.success() => read(&path),
            Ok(status) => Err(CliError::Client(format!("the editor {editor:?} ended with {status}"))),
            Err(error) => Err(CliError::Client(format!("cannot run the editor {editor:?}: {error}"))),
        }
    });
    let _ = fs::remove_file(&path);
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
        assert!(matches!(is_changed("A", &old, &new, true, true), Err(CliError::Differs)));
    }

    #[test]
    fn notes_of_the_server_are_not_ours() {
        let config = json!({ "metadata": { "_nats.level": "3" }, "x": 1 });
        assert_eq!(Value::Object(own(config)), json!({ "x": 1 }));
        let config = json!({ "metadata": { "_nats.level": "3", "mine": "1" } });
        assert_eq!(Value::Object(own(config)), json!({ "metadata": { "mine": "1" } }));
        assert!(own(json!(5)).is_empty());
    }

    #[test]
    fn the_output_of_info_is_a_configuration_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        for text in [r#"{"name": "A", "x": 1}"#, r#"{"config": {"name": "A", "x": 1}, "state": {}}"#] {
            fs::write(&file, text).unwrap();
            assert_eq!(Value::Object(read(&file).unwrap()), json!({ "name": "A", "x": 1 }));
        }
        for text in ["", "[]", "{"] {
            fs::write(&file, text).unwrap();
            assert!(read(&file).unwrap_err().to_string().contains("a.json"), "{text}");
        }
    }
}
