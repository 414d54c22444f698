//! `stonechat stream edit` and `copy`: change the configuration of a stream, or copy it with changes.

use serde_json::{Map, Value, json};

use super::args::{CopyArgs, EditArgs};
use super::new::{apply_new, create};
use super::select::{self, SelectBy, select};
use super::{manage, show};
use crate::ask;
use crate::configuration::{self, in_editor, is_changed, own};
use crate::error::CliError;
use crate::message::write_out;
use crate::session::Session;

pub(super) async fn run(
    session: &mut Session,
    args: &EditArgs,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    let by = SelectBy { all, no_select: args.change.force };
    let (name, mut info) = select(session, args.stream.clone(), by).await?;
    let old = own(info["config"].take());
    let new = match (&args.change.config, args.change.interactive) {
        (_, true) => in_editor(&old)?,
        (Some(file), _) => {
            let mut config = own(Value::Object(configuration::read(file)?));
            config.insert("name".to_owned(), json!(name));
            config
        }
        (None, _) => changed(&old, args)?,
    };
    if !is_changed(&name, &old, &new, args.change.dry_run, json)? {
        return Ok(());
    }
    manage::warn_of_bucket(&name).await?;
    ask::agree(&format!("Really edit Stream {name}"), args.change.force).await?;
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
    let mut config = own(info["config"].take());
    args.flags.apply(&mut config);
    apply_new(&mut config, &args.new);
    config.insert("name".to_owned(), json!(args.destination));
    create(session, &Value::Object(config), json).await
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

/// Returns the configuration with the changes of the flags.
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
