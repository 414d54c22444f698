//! `stonechat object check`: chunks that no object owns, and objects whose chunks are missing.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::args::CheckArgs;
use super::info::ObjectInfo;
use super::list;
use super::store::{Store, last_message};
use crate::ask;
use crate::error::CliError;
use crate::listing;
use crate::output::{commas, json_line, line, shown, since};
use crate::session::Session;

pub(super) async fn run(session: &mut Session, args: &CheckArgs, json: bool) -> Result<(), CliError> {
    let buckets = match &args.bucket {
        Some(bucket) => vec![bucket.clone()],
        None => list::names(session).await?,
    };
    let mut is_sound = true;
    for bucket in buckets {
        let store = Store::open(session, &bucket).await?;
        is_sound &= check(session, &store, args, json).await?;
    }
    if is_sound { Ok(()) } else { Err(CliError::Unsound) }
}

/// Checks a bucket; returns whether it is sound after the check.
async fn check(session: &mut Session, store: &Store, args: &CheckArgs, json: bool) -> Result<bool, CliError> {
    // List the chunks first: then the chunks of an object that is stored meanwhile are not mistaken for orphans.
    let prefix = store.chunk_subject("");
    let found = listing::subjects(session, &store.stream, &format!("{prefix}>")).await?;
    let mut chunks: HashMap<String, u64> = found
        .iter()
        .filter_map(|(subject, count)| {
            Some((subject.strip_prefix(&prefix)?.to_owned(), count.as_u64().unwrap_or_default()))
        })
        .collect();
    let mut objects = 0;
    let mut is_sound = true;
    let mut messages = store.descriptions(session, false).await?;
    while let Some(delivered) = messages.next_stored().await? {
        let read = ObjectInfo::read(&delivered.message.payload, delivered.sequence, &delivered.time);
        let Ok(info) = read else {
            is_sound = false;
            tell(store, json, &json!({ "unreadable": delivered.sequence }))?;
            continue;
        };
        let there = info.chunk_id().and_then(|id| chunks.remove(id)).unwrap_or_default();
        if info.is_deleted() || info.link().is_some() {
            continue;
        }
        objects += 1;
        if there != info.chunks() {
            is_sound = false;
            tell(store, json, &json!({ "object": info.name(), "chunks": there, "expected": info.chunks() }))?;
        }
    }
    let mut orphans: Vec<(String, u64)> = chunks.into_iter().collect();
    orphans.sort_unstable();
    for (nuid, count) in orphans {
        let is_removed = orphan(session, store, &nuid, count, args, json).await?;
        is_sound &= is_removed;
    }
    if is_sound && !json {
        line(&format!("Bucket {} is sound: {} objects", store.name, commas(objects)))?;
    }
    Ok(is_sound)
}

/// Reports chunks without an object; removes them if the flags ask for it and they are old enough.
async fn orphan(
    session: &mut Session,
    store: &Store,
    nuid: &str,
    count: u64,
    args: &CheckArgs,
    json: bool,
) -> Result<bool, CliError> {
    let last = last_message(session, store, &store.chunk_subject(nuid)).await?;
    let is_old = last.and_then(|last| since(&json!(last.time))).is_some_and(|age| age >= args.older);
    let is_removed = args.remove && is_old;
    if is_removed {
        let question =
            format!("Remove {} chunks without an object from bucket {}?", commas(count), store.name);
        ask::agree(&question, args.force).await?;
        store.purge_chunks(session, nuid).await?;
    }
    tell(store, json, &json!({ "orphan": nuid, "chunks": count, "old": is_old, "removed": is_removed }))?;
    Ok(is_removed)
}

/// Prints a finding.
fn tell(store: &Store, json: bool, found: &Value) -> Result<(), CliError> {
    if json {
        let mut told = json!({ "bucket": store.name });
        if let (Value::Object(told), Value::Object(found)) = (&mut told, found) {
            told.extend(found.clone());
        }
        return json_line(&told);
    }
    let bucket = &store.name;
    let text = |field: &str| shown(found[field].as_str().unwrap_or_default());
    if found["orphan"].is_string() {
        let end = match (found["removed"] == true, found["old"] == true) {
            (true, _) => "; they were removed",
            (false, true) => "",
            (false, false) => "; they are young: an upload may still go on",
        };
        return line(&format!(
            "{bucket}: {} chunks of {} belong to no object{end}",
            found["chunks"],
            text("orphan")
        ));
    }
    if found["object"].is_string() {
        let (there, expected) = (&found["chunks"], &found["expected"]);
        return line(&format!("{bucket}: {} has {there} of its {expected} chunks", text("object")));
    }
    line(&format!("{bucket}: message {} describes no object", found["unreadable"]))
}
