//! Output about a context, without passwords and tokens.

use std::fs::File;

use serde_json::{Map, Value, json};

use super::args::ContextArgs;
use super::{expand, files};
use crate::connection::Connection;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{Color, Facts, json_line, line, paint, shown, text};

/// Fields that contain secrets.
const SECRETS: [&str; 3] = ["password", "token", "user_seed"];
/// Fields that contain paths of files, with their labels.
const FILES: [(&str, &str); 5] =
    [("Credentials", "creds"), ("NKey", "nkey"), ("Certificate", "cert"), ("Key", "key"), ("CA", "ca")];

/// Returns the fields of a context, with secrets hidden.
pub(super) fn without_secrets(name: &str, fields: &Map<String, Value>, is_selected: bool) -> Value {
    let mut told = json!({ "name": name, "selected": is_selected });
    for (field, value) in fields {
        let is_secret = SECRETS.contains(&field.as_str()) && text(value).is_some();
        told[field] = if is_secret { json!("***") } else { value.clone() };
    }
    told
}

/// Checks that a file of a context can be read; credentials from other sources are not checked.
fn check_file(name: &str) -> Result<&'static str, String> {
    for (scheme, kind) in
        [("op://", "1Password"), ("nsc://", "nsc"), ("env://", "environment"), ("data:", "embedded")]
    {
        if name.starts_with(scheme) {
            return Ok(kind);
        }
    }
    let path = expand(name.strip_prefix("file://").unwrap_or(name));
    match File::open(&path).and_then(|file| file.metadata()) {
        Ok(meta) if meta.is_file() => Ok("OK"),
        Ok(_) => Err("it is no file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the problems of a context.
async fn problems(
    args: &ContextArgs,
    name: &str,
    fields: &Map<String, Value>,
    is_connected: bool,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (_, field) in FILES {
        let file = fields.get(field).and_then(Value::as_str).unwrap_or_default();
        if let Some(Err(reason)) = Some(file).filter(|file| !file.is_empty()).map(check_file) {
            found.push((field.to_owned(), format!("{}: {reason}", shown(file))));
        }
    }
    if is_connected && let Err(error) = connect(args, name).await {
        found.push(("connection".to_owned(), error.to_string()));
    }
    found
}

/// Connects with the context only, ignoring all other flags.
async fn connect(args: &ContextArgs, name: &str) -> Result<(), CliError> {
    let alone = crate::args::ConnectionArgs { context: Some(name.to_owned()), ..Default::default() };
    Connection::open(&alone, args.timeout).await.map(drop)
}

/// Shows a context. Files that can't be read are marked; they are not an error.
pub(super) async fn one(args: &ContextArgs, name: &str, is_connected: bool) -> Result<(), CliError> {
    show(args, name, is_connected).await.map(drop)
}

/// Shows contexts.
///
/// # Errors
/// [`CliError::Unsound`] if one of the contexts has a problem.
pub(super) async fn validate(
    args: &ContextArgs,
    names: &[String],
    is_connected: bool,
) -> Result<(), CliError> {
    let mut is_sound = true;
    for name in names {
        match show(args, name, is_connected).await {
            Ok(is_whole) => is_sound &= is_whole,
            Err(error @ CliError::Output(_)) => return Err(error),
            Err(error) => {
                is_sound = false;
                match args.json {
                    true => json_line(&json!({ "name": name, "error": error.to_string() }))?,
                    false => line(&format!("Could not load {}: {error}\n", shown(name)))?,
                }
            }
        }
    }
    if is_sound { Ok(()) } else { Err(CliError::Unsound) }
}

/// Shows a context; returns whether it has no problems.
async fn show(args: &ContextArgs, name: &str, is_connected: bool) -> Result<bool, CliError> {
    let fields = files::read(name)?;
    let problems = problems(args, name, &fields, is_connected).await;
    if args.json {
        let is_selected = files::selected().as_deref() == Some(name);
        let mut told = without_secrets(name, &fields, is_selected);
        if !problems.is_empty() {
            told["problems"] =
                problems.iter().map(|(field, reason)| (field.clone(), json!(reason))).collect();
        }
        json_line(&told)?;
    } else {
        write_out(format!("{}\n", facts(name, &fields, &problems, is_connected)?.render()).as_bytes())?;
    }
    Ok(problems.is_empty())
}

fn facts(
    name: &str,
    fields: &Map<String, Value>,
    problems: &[(String, String)],
    is_connected: bool,
) -> Result<Facts, CliError> {
    let mut facts = Facts::new(format!("NATS Configuration Context {name:?}"));
    let get = |field: &str| fields.get(field).and_then(text);
    let problem = |field: &str| problems.iter().find(|(name, _)| name == field).map(|(_, reason)| reason);
    for (title, field) in [
        ("Description", "description"),
        ("Server URLs", "url"),
        ("SOCKS5 Proxy", "socks_proxy"),
        ("Username", "user"),
    ] {
        facts.add_some(title, get(field));
    }
    facts.add_some("Password", get("password").map(|_| "***"));
    facts.add_some("Token", get("token").map(|_| "***"));
    for (title, field) in FILES {
        if let Some(file) = get(field) {
            let state = match problem(field) {
                Some(reason) => format!("{}: {reason}", paint("ERROR", Color::Red)),
                None => format!("{file} ({})", paint(check_file(&file).unwrap_or("OK"), Color::Green)),
            };
            facts.add(title, state);
        }
    }
    facts.add_some("TLS First", fields.get("tls_first").filter(|first| **first == true).map(|_| "true"));
    for (title, field) in [
        ("JS API Prefix", "jetstream_api_prefix"),
        ("JS Event Prefix", "jetstream_event_prefix"),
        ("JS Domain", "jetstream_domain"),
        ("Inbox Prefix", "inbox_prefix"),
    ] {
        facts.add_some(title, get(field));
    }
    facts.add("Path", files::path(name)?.display().to_string());
    if is_connected {
        let state = problem("connection")
            .map_or_else(|| paint("OK", Color::Green), |reason| paint(reason, Color::Red));
        facts.add("Connection", state);
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let fields = json!({ "url": "nats://h", "password": "pw", "token": "", "user_seed": "SU" });
        let fields = fields.as_object().unwrap();
        let told = without_secrets("a", fields, true);
        assert_eq!(
            (&told["password"], &told["token"], &told["user_seed"]),
            (&json!("***"), &json!(""), &json!("***"))
        );
        assert!(!facts("a", fields, &[], false).unwrap().render().contains("pw"));
    }

    #[test]
    fn files_are_looked_at() {
        assert_eq!(check_file("env://X"), Ok("environment"));
        assert!(check_file("/nothing/there").is_err() && check_file("/").is_err());
    }
}
