//! Commands on single keys.

use std::io::{IsTerminal, Read};
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use stonechat_buckets::Operation;

use super::args::{GetArgs, KvCommand};
use super::bucket::Bucket;
use super::list;
use crate::ask::agree;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{commas, json_line, line, local_time, shown, shown_value};
use crate::session::Session;

/// Maximum bytes of a value that `get` shows without `--raw`.
const SHOWN_MAX: usize = 120;

/// Reads the value from standard input if the command needs one, and asks before a removal.
///
/// # Errors
/// The input can't be read, or the user does not confirm.
pub(super) async fn prepare(command: &KvCommand) -> Result<Option<Bytes>, CliError> {
    let question = match command {
        KvCommand::Put { value, .. } | KvCommand::Create { value, .. } => {
            return read_value(value.as_deref());
        }
        KvCommand::Del { force: false, bucket, key: None } => format!("Delete bucket {bucket}?"),
        KvCommand::Del { force: false, bucket, key: Some(key) } => format!("Delete key {bucket} > {key}?"),
        KvCommand::Purge { force: false, bucket, key, .. } => format!("Purge key {bucket} > {key}?"),
        KvCommand::Compact { force: false, bucket } => {
            format!("Purge all historic values and audit trails for deleted keys in bucket {bucket}?")
        }
        _ => return Ok(None),
    };
    agree(&question, false).await?;
    Ok(None)
}

/// Reads the value from standard input if it comes from there; otherwise returns `None`.
fn read_value(value: Option<&str>) -> Result<Option<Bytes>, CliError> {
    let is_wanted = match value {
        Some(text) => text == "-",
        None => !std::io::stdin().is_terminal(),
    };
    if !is_wanted {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(CliError::Stdin)?;
    Ok(Some(bytes.into()))
}

fn chosen(value: Option<&str>, read: Option<Bytes>) -> Bytes {
    read.unwrap_or_else(|| Bytes::copy_from_slice(value.unwrap_or_default().as_bytes()))
}

/// Prints the result of a write: the value, as `nats` does, or its place.
fn written(bucket: &str, key: &str, revision: u64, value: Option<&str>, json: bool) -> Result<(), CliError> {
    match json {
        true => json_line(&json!({ "bucket": bucket, "key": key, "revision": revision })),
        false => line(&shown(value.filter(|text| *text != "-").unwrap_or_default())),
    }
}

pub(super) async fn put(
    session: &mut Session,
    bucket: &str,
    key: &str,
    value: Option<&str>,
    read: Option<Bytes>,
    json: bool,
) -> Result<(), CliError> {
    let bucket = Bucket::open(session, bucket).await?;
    let revision = bucket.put(session, key, chosen(value, read)).await?;
    written(&bucket.name, key, revision, value, json)
}

pub(super) async fn create(
    session: &mut Session,
    bucket: &str,
    key: &str,
    value: Option<&str>,
    read: Option<Bytes>,
    ttl: Option<Duration>,
    json: bool,
) -> Result<(), CliError> {
    let bucket = Bucket::open(session, bucket).await?;
    let revision = bucket.create(session, key, chosen(value, read), ttl).await?;
    written(&bucket.name, key, revision, value, json)
}

pub(super) async fn update(
    session: &mut Session,
    bucket: &str,
    key: &str,
    value: &str,
    revision: u64,
    json: bool,
) -> Result<(), CliError> {
    let bucket = Bucket::open(session, bucket).await?;
    let bytes = Bytes::copy_from_slice(value.as_bytes());
    let revision = bucket.put_after(session, key, bytes, revision, None).await?;
    written(&bucket.name, key, revision, Some(value), json)
}

pub(super) async fn get(session: &mut Session, args: &GetArgs, json: bool) -> Result<(), CliError> {
    let bucket = Bucket::open(session, &args.bucket).await?;
    let entry = bucket.value(session, &args.key, args.revision.filter(|revision| *revision > 0)).await?;
    if args.raw {
        return write_out(&entry.value);
    }
    if json {
        return json_line(&entry.as_json());
    }
    let created = local_time(&entry.created);
    line(&format!("{} > {} revision: {} created @ {created}\n", entry.bucket, entry.key, entry.revision))?;
    let text = shown_value(&entry.value);
    if text.len() <= SHOWN_MAX {
        return line(&format!("{text}\n"));
    }
    let length = commas(text.len() as u64);
    let beginning =
        text.char_indices().take_while(|(at, _)| *at < SHOWN_MAX).map(|(_, c)| c).collect::<String>();
    line(&format!("Showing first {SHOWN_MAX} bytes of {length}, use --raw for full data\n\n{beginning}\n"))
}

/// Prints the result of a deletion.
fn removed(bucket: &str, key: &str, revision: u64, json: bool) -> Result<(), CliError> {
    match json {
        true => json_line(&json!({ "bucket": bucket, "key": key, "revision": revision })),
        false => Ok(()),
    }
}

pub(super) async fn remove(
    session: &mut Session,
    bucket: &str,
    key: &str,
    json: bool,
) -> Result<(), CliError> {
    let bucket = Bucket::open(session, bucket).await?;
    let revision = bucket.delete(session, key, Operation::Delete, None).await?;
    removed(&bucket.name, key, revision, json)
}

pub(super) async fn purge(
    session: &mut Session,
    bucket: &str,
    key: &str,
    ttl: Option<Duration>,
    json: bool,
) -> Result<(), CliError> {
    let bucket = Bucket::open(session, bucket).await?;
    let revision = bucket.delete(session, key, Operation::Purge, ttl).await?;
    removed(&bucket.name, key, revision, json)
}

/// Writes an earlier value again; fails if another client writes meanwhile.
pub(super) async fn revert(
    session: &mut Session,
    bucket: &str,
    key: &str,
    revision: u64,
    force: bool,
    json: bool,
) -> Result<(), CliError> {
    let bucket = Bucket::open(session, bucket).await?;
    let last = bucket.entry(session, key, None).await?;
    let none = || CliError::NoKey { bucket: bucket.name.clone(), key: key.to_owned() };
    let last = last.ok_or_else(none)?.revision;
    if bucket.history() <= 1 {
        return Err(CliError::Client("cannot revert key in a bucket where history=1".to_owned()));
    }
    let earlier = bucket.value(session, key, Some(revision)).await.map_err(|error| match error {
        CliError::NoKey { .. } => CliError::Client(format!(
            "bucket {} has no value of key {key:?} at revision {revision}",
            bucket.name
        )),
        other => other,
    })?;
    if !force {
        line(&format!("Revision: {revision}\n\n{}\n", list::brief(&earlier.value)))?;
        agree(&format!("Really revert to revision {revision}"), false).await?;
    }
    bucket.put_after(session, key, earlier.value, last, None).await?;
    list::history(session, &bucket.name, key, json).await
}
