//! The commands of `stonechat context`.

use serde_json::{Map, Value, json};

use super::args::{ContextArgs, ContextCommand, NewArgs};
use super::{files, show};
use crate::ask;
use crate::configuration::{in_editor, own};
use crate::error::CliError;
use crate::output::{Table, json_line, line, shown, text_or_empty};

/// The address of a context that names none.
const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// Runs `stonechat context`.
pub(crate) async fn run(args: ContextArgs) -> Result<(), CliError> {
    let json = args.json;
    match &args.command {
        ContextCommand::Add { name, new } => {
            let source = match files::is_known(name) {
                true => Some(name.as_str()),
                false => args.connection.context.as_deref(),
            };
            save(&args, source, name, new).await
        }
        ContextCommand::Copy { source, name, new } => {
            known(source)?;
            if files::is_known(name) {
                return Err(CliError::Client(format!("context {name:?} exists already")));
            }
            save(&args, Some(source), name, new).await
        }
        ContextCommand::Edit { name } => {
            known(name)?;
            let fields = in_editor(&files::read(name)?)?;
            files::write(name, &own(Value::Object(fields)))?;
            show::one(&args, name, false).await
        }
        ContextCommand::Ls { names } => list(*names, json),
        ContextCommand::Rm { name, force } => remove(name, *force, json).await,
        ContextCommand::Select { name } => {
            let known = files::names();
            if known.is_empty() {
                return Err(CliError::Client(
                    "there are no contexts; \"stonechat context add\" makes one".to_owned(),
                ));
            }
            let name = match name {
                Some(name) => name.clone(),
                None => ask::choose("Select a Context", &known, "the name of a context").await?,
            };
            select(&args, &name).await
        }
        ContextCommand::Unselect => unselect(json),
        ContextCommand::Info { name, connect } => {
            let name = name.clone().or_else(files::selected);
            let name = name.ok_or_else(|| CliError::Client("no context is selected; name one".to_owned()))?;
            show::one(&args, &name, *connect).await
        }
        ContextCommand::Validate { name, connect } => {
            let names = name.clone().map_or_else(files::names, |name| vec![name]);
            show::validate(&args, &names, *connect).await
        }
        ContextCommand::Previous => match files::previous().or_else(files::selected) {
            Some(name) => select(&args, &name).await,
            None => Err(CliError::Client("no context was selected before".to_owned())),
        },
    }
}

fn known(name: &str) -> Result<(), CliError> {
    match files::is_known(name) {
        true => Ok(()),
        false => Err(CliError::Client(format!(
            "there is no context {name:?}; \"stonechat context ls\" lists them"
        ))),
    }
}

async fn select(args: &ContextArgs, name: &str) -> Result<(), CliError> {
    known(name)?;
    files::select(Some(name))?;
    show::one(args, name, false).await
}

fn unselect(json: bool) -> Result<(), CliError> {
    let selected = files::selected();
    if selected.is_some() {
        files::select(None)?;
    }
    match (selected, json) {
        (selected, true) => json_line(&json!({ "unselected": selected })),
        (Some(name), false) => line(&format!("Unselected the {name:?} context")),
        (None, false) => line("No context currently selected"),
    }
}

/// Returns the fields of an empty context.
fn empty() -> Map<String, Value> {
    let fields = json!({
        "description": "",
        "url": DEFAULT_URL,
        "socks_proxy": "",
        "token": "",
        "user": "",
        "password": "",
        "creds": "",
        "nkey": "",
        "cert": "",
        "key": "",
        "ca": "",
        "nsc": "",
        "jetstream_domain": "",
        "jetstream_api_prefix": "",
        "jetstream_event_prefix": "",
        "inbox_prefix": "",
        "user_jwt": "",
        "user_seed": "",
        "color_scheme": "",
        "tls_first": false,
        "windows_cert_store": "",
        "windows_cert_match_by": "",
        "windows_cert_match": "",
        "windows_ca_certs_match": null,
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}

/// Writes a context: a copy of `source`, or an empty one, with the fields that the flags set.
async fn save(args: &ContextArgs, source: Option<&str>, name: &str, new: &NewArgs) -> Result<(), CliError> {
    let mut fields = match source {
        Some(source) => files::read(source)?,
        None => empty(),
    };
    fields.shift_remove("name");
    apply(&mut fields, args, new);
    files::write(name, &fields)?;
    match new.select {
        true => select(args, name).await,
        false => show::one(args, name, false).await,
    }
}

/// Sets the fields that the flags name.
fn apply(fields: &mut Map<String, Value>, args: &ContextArgs, new: &NewArgs) {
    let connection = &args.connection;
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    // A user without a password is a token, as in server addresses.
    let (user, token) = match (&connection.user, &connection.password) {
        (Some(token), None) => (None, Some(token.clone())),
        (user, _) => (user.clone(), connection.token.clone()),
    };
    for (field, value) in [
        ("description", new.description.clone()),
        ("url", connection.server.clone()),
        ("user", user),
        ("token", token),
        ("password", connection.password.clone()),
        ("creds", path(&connection.creds)),
        ("nkey", path(&connection.nkey)),
        ("cert", path(&connection.tls_cert)),
        ("key", path(&connection.tls_key)),
        ("ca", path(&connection.tls_ca)),
        ("jetstream_domain", args.js_domain.clone()),
        ("jetstream_api_prefix", args.js_api_prefix.clone()),
    ] {
        if let Some(value) = value {
            fields.insert(field.to_owned(), json!(value));
        }
    }
    if connection.tls_first {
        fields.insert("tls_first".to_owned(), json!(true));
    }
}

fn list(is_names: bool, json: bool) -> Result<(), CliError> {
    let names = files::names();
    let selected = files::selected();
    if is_names {
        return names.iter().try_for_each(|name| match json {
            true => json_line(&json!({ "name": name })),
            false => line(&shown(name)),
        });
    }
    let mut table = Table::new("Known Contexts".to_owned(), &["Name", "Description"]);
    let mut is_empty = true;
    for name in &names {
        // A broken file must not hide the other contexts.
        let fields = match files::read(name) {
            Ok(fields) => fields,
            Err(error) => {
                crate::console::say(format_args!("stonechat: {error}"));
                continue;
            }
        };
        is_empty = false;
        let is_selected = selected.as_ref() == Some(name);
        match json {
            true => json_line(&show::without_secrets(name, &fields, is_selected))?,
            false => {
                let mark = if is_selected { "*" } else { "" };
                let description = fields.get("description").map(text_or_empty).unwrap_or_default();
                table.row(vec![format!("{}{mark}", shown(name)), description]);
            }
        }
    }
    match (json, is_empty) {
        (true, _) => Ok(()),
        (false, true) => line("No known contexts"),
        (false, false) => line(table.render().trim_end()),
    }
}

async fn remove(name: &str, force: bool, json: bool) -> Result<(), CliError> {
    let is_selected = files::selected().as_deref() == Some(name);
    if is_selected && !force {
        return Err(CliError::Client(format!(
            "context {name:?} is selected; select another one, or none with \"stonechat context unselect\""
        )));
    }
    // As `rm -f`: a missing context is not an error.
    if !force {
        known(name)?;
    }
    ask::agree(&format!("Really delete context {name:?}"), force).await?;
    if is_selected {
        files::select(None)?;
    }
    if files::is_known(name) {
        files::remove(name)?;
    }
    if json { json_line(&json!({ "name": name, "deleted": true })) } else { Ok(()) }
}
