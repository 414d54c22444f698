//! Lists: buckets, objects, and changes as they happen.

use serde_json::{Value, json};
use stonechat_buckets::names;

use super::info::ObjectInfo;
use super::store::Store;
use crate::error::CliError;
use crate::listing;
use crate::ordered::Delivered;
use crate::output::{
    Color, Table, byte_count, bytes, commas, json_line, line, local_time, paint, shown, text_or_empty, time,
    time_ago,
};
use crate::session::Session;

/// Returns the name of the bucket that a stream belongs to.
fn bucket_name(info: &Value) -> Option<&str> {
    names::object_bucket(info["config"]["name"].as_str()?)
}

/// Returns the names of all buckets.
pub(super) async fn names(session: &mut Session) -> Result<Vec<String>, CliError> {
    let names = listing::stream_names(session, Some("$O.>")).await?;
    Ok(names.iter().filter_map(|name| names::object_bucket(name)).map(str::to_owned).collect())
}

pub(super) async fn buckets(session: &mut Session, is_names: bool, json: bool) -> Result<(), CliError> {
    if is_names {
        let names = names(session).await?;
        return names.iter().try_for_each(|name| match json {
            true => json_line(&json!({ "bucket": name })),
            false => line(&shown(name)),
        });
    }
    let mut found = listing::streams(session, Some("$O.>")).await?;
    found.retain(|info| bucket_name(info).is_some());
    found.sort_by_key(|info| info["state"]["bytes"].as_u64());
    if json {
        return found.iter().try_for_each(|info| {
            json_line(&json!({
                "bucket": bucket_name(info),
                "description": info["config"]["description"].as_str().unwrap_or_default(),
                "created": info["created"],
                "bytes": info["state"]["bytes"],
                "last_update": info["state"]["last_ts"],
            }))
        });
    }
    if found.is_empty() {
        return line("No Object Store buckets found");
    }
    let header = ["Bucket", "Description", "Created", "Size", "Last Update"];
    let mut table = Table::new("Object Store Buckets".to_owned(), &header);
    for info in &found {
        table.row(vec![
            shown(bucket_name(info).unwrap_or_default()),
            text_or_empty(&info["config"]["description"]),
            time(&info["created"]).unwrap_or_default(),
            byte_count(&info["state"]["bytes"]),
            time_ago(&info["state"]["last_ts"]),
        ]);
    }
    line(table.render().trim_end())
}

/// Reads the description in a message.
fn read(delivered: &Delivered) -> Result<ObjectInfo, CliError> {
    ObjectInfo::read(&delivered.message.payload, delivered.sequence, &delivered.time)
}

pub(super) async fn objects(
    session: &mut Session,
    bucket: &str,
    names: bool,
    json: bool,
) -> Result<(), CliError> {
    let store = Store::open(session, bucket).await?;
    let mut messages = store.descriptions(session, false).await?;
    let mut table = Table::new("Bucket Contents".to_owned(), &["Name", "Size", "Time"]);
    let mut is_empty = true;
    while let Some(delivered) = messages.next_stored().await? {
        let info = match read(&delivered) {
            Ok(info) if info.is_deleted() => continue,
            Ok(info) => info,
            Err(error) => {
                crate::console::say(format_args!("stonechat: {error}"));
                continue;
            }
        };
        is_empty = false;
        match (json, names) {
            (true, true) => json_line(&json!({ "name": info.name() }))?,
            (true, false) => json_line(&info.value)?,
            (false, true) => line(&shown(info.name()))?,
            (false, false) => {
                table.row(vec![shown(info.name()), bytes(info.size()), local_time(&delivered.time)]);
            }
        }
    }
    match (is_empty, json || names) {
        (_, true) => Ok(()),
        (true, false) => line("No entries found"),
        (false, false) => line(table.render().trim_end()),
    }
}

pub(super) async fn watch(session: &mut Session, bucket: &str, json: bool) -> Result<(), CliError> {
    let store = Store::open(session, bucket).await?;
    let mut messages = store.descriptions(session, true).await?;
    loop {
        let delivered = messages.next().await?;
        let info = match read(&delivered) {
            Ok(info) => info,
            Err(error) => {
                crate::console::say(format_args!("stonechat: {error}"));
                continue;
            }
        };
        if json {
            json_line(&info.value)?;
            continue;
        }
        let (time, name) = (local_time(&delivered.time), shown(info.name()));
        match info.is_deleted() {
            true => line(&format!("[{time}] {} {bucket} > {name}", paint("DEL", Color::Red)))?,
            false => line(&format!(
                "[{time}] {} {bucket} > {name}: {} bytes in {} chunks",
                paint("PUT", Color::Green),
                bytes(info.size()),
                commas(info.chunks())
            ))?,
        }
    }
}
