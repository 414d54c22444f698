//! Commands that change the contents of a whole stream, or remove it.

use serde_json::{Value, json};

use super::args::PurgeArgs;
use super::select::{self, SelectBy, select};
use super::show;
use crate::ask;
use crate::configuration;
use crate::console::say;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::json_line;
use crate::session::Session;

/// Refuses to work on the stream of a bucket without a terminal: that needs its own confirmation, which `--force` does not give.
pub(super) fn check_bucket(stream: &str) -> Result<(), CliError> {
    if !is_bucket(stream) || ask::is_interactive() {
        return Ok(());
    }
    Err(CliError::Client(format!(
        "{stream} is the stream of a key-value bucket, and nobody can be asked without a terminal: use \"stonechat kv\" instead"
    )))
}

fn is_bucket(stream: &str) -> bool {
    stream.starts_with("KV_")
}

/// Asks for another confirmation before a command works on the stream of a bucket.
pub(super) async fn warn_of_bucket(stream: &str) -> Result<(), CliError> {
    if !is_bucket(stream) {
        return Ok(());
    }
    check_bucket(stream)?;
    say(format_args!(
        "{stream} is the stream of a key-value bucket: it may be none any more afterwards.\nUse \"stonechat kv\" instead."
    ));
    match ask::confirm("Really operate on the KV stream?", false).await? {
        true => Ok(()),
        false => Err(CliError::Client("the bucket was left alone".to_owned())),
    }
}

pub(super) async fn remove(
    session: &mut Session,
    stream: Option<String>,
    force: bool,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    if force && stream.is_none() {
        return Err(CliError::Client("--force needs the name of a stream".to_owned()));
    }
    let (name, _) = select(session, stream, SelectBy { all, no_select: force }).await?;
    ask::agree(&format!("Really delete Stream {name}"), force).await?;
    session.ask(&format!("STREAM.DELETE.{name}"), None).await?;
    if json { json_line(&json!({ "stream": name, "deleted": true })) } else { Ok(()) }
}

pub(super) async fn purge(
    session: &mut Session,
    args: &PurgeArgs,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    let by = SelectBy { all, no_select: args.force };
    let (name, _) = select(session, args.stream.clone(), by).await?;
    check_bucket(&name)?;
    ask::agree(&format!("Really purge Stream {name}"), args.force).await?;
    warn_of_bucket(&name).await?;
    let mut body = json!({});
    for (field, value) in [
        ("filter", args.subject.as_deref().map(Value::from)),
        ("seq", args.seq.filter(|seq| *seq > 0).map(Value::from)),
        ("keep", args.keep.filter(|keep| *keep > 0).map(Value::from)),
    ] {
        if let Some(value) = value {
            body[field] = value;
        }
    }
    let answer = session.ask(&format!("STREAM.PURGE.{name}"), Some(&body)).await?;
    let purged = answer["purged"].as_u64().unwrap_or_default();
    let mut info = select::info(session, &name).await?;
    match json {
        true => info["purged"] = json!(purged),
        false => write_out(format!("Purged {purged} messages from {name}\n\n").as_bytes())?,
    }
    show::stream(&info, true, json)
}

pub(super) async fn seal(
    session: &mut Session,
    stream: &str,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let mut info = select::info(session, stream).await?;
    let question = format!("Really seal Stream {stream}, sealed streams can not be unsealed or modified");
    ask::agree(&question, force).await?;
    let mut config = configuration::taken(&mut info)?;
    config.insert("sealed".to_owned(), json!(true));
    let info = session.ask(&format!("STREAM.UPDATE.{stream}"), Some(&Value::Object(config))).await?;
    show::stream(&info, false, json)
}
