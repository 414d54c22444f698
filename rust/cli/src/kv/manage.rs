//! Commands on whole key-value buckets.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use jiff::Timestamp;
use serde_json::{Value, json};
use stonechat_buckets::names::kv_stream;
use stonechat_buckets::{Operation, code};

use super::args::{AddArgs, EditArgs};
use super::bucket::{Bucket, Reading};
use super::config;
use super::show;
use crate::error::CliError;
use crate::output::json_line;
use crate::session::Session;

/// Minimum age of deletion markers that compaction removes. Younger markers stay, so that watchers can see them (as in nats.go).
const MARKERS_STAY: Duration = Duration::from_secs(30 * 60);

pub(super) async fn add(session: &mut Session, args: &AddArgs, json: bool) -> Result<(), CliError> {
    let name = &args.bucket.bucket;
    let body = config::new(args);
    match session.ask(&format!("STREAM.CREATE.{}", kv_stream(name)), Some(&body)).await {
        Ok(info) => show::bucket(&Bucket::new(session, name, info), json),
        Err(CliError::Api { err_code: code::NAME_IN_USE, .. }) => Err(CliError::Client(format!(
            "bucket {name} exists with another configuration; \"stonechat kv edit {name}\" changes it"
        ))),
        Err(error) => Err(error),
    }
}

pub(super) async fn edit(session: &mut Session, args: &EditArgs, json: bool) -> Result<(), CliError> {
    let mut bucket = Bucket::open(session, &args.bucket.bucket).await?;
    let body = config::edited(bucket.info["config"].take(), args);
    let info = session.ask(&format!("STREAM.UPDATE.{}", kv_stream(&bucket.name)), Some(&body)).await?;
    show::bucket(&Bucket::new(session, &bucket.name, info), json)
}

pub(super) async fn info(session: &mut Session, name: &str, json: bool) -> Result<(), CliError> {
    let bucket = Bucket::open(session, name).await?;
    show::bucket(&bucket, json)
}

pub(super) async fn remove(session: &mut Session, name: &str, json: bool) -> Result<(), CliError> {
    // Look up the bucket first, so that an error names the bucket, not its stream.
    let bucket = Bucket::open(session, name).await?;
    session.ask(&format!("STREAM.DELETE.{}", kv_stream(&bucket.name)), None).await?;
    if json { json_line(&json!({ "bucket": name, "deleted": true })) } else { Ok(()) }
}

/// Removes the history of deleted keys, and their markers if these are old enough.
pub(super) async fn compact(session: &mut Session, name: &str, json: bool) -> Result<(), CliError> {
    let bucket = Bucket::open(session, name).await?;
    let what = Reading { filter: ">", from: DeliverPolicy::LastPerSubject, is_headers_only: true };
    let mut reader = bucket.read(session, what).await?;
    let mut deleted = Vec::new();
    while let Some(entry) = reader.next_stored().await? {
        if entry.operation != Operation::Put {
            deleted.push((entry.key, entry.created));
        }
    }
    let young = Timestamp::now().checked_sub(MARKERS_STAY).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut purged: u64 = 0;
    for (key, created) in &deleted {
        let is_young = created.parse::<Timestamp>().is_ok_and(|time| time > young);
        let body = json!({ "filter": bucket.subject(key), "keep": u8::from(is_young) });
        let answer = session.ask(&format!("STREAM.PURGE.{}", kv_stream(name)), Some(&body)).await?;
        purged += answer["purged"].as_u64().unwrap_or_default();
    }
    match json {
        true => json_line(&json!({ "bucket": name, "keys": deleted.len(), "purged": Value::from(purged) })),
        false => Ok(()),
    }
}
