//! Lists: buckets, keys of a bucket, values of a key.

use async_nats::jetstream::consumer::DeliverPolicy;
use serde_json::{Value, json};
use stonechat_buckets::{Operation, names};

use super::args::LsArgs;
use super::bucket::{Bucket, Reading};
use crate::error::CliError;
use crate::listing;
use crate::output::{Table, bytes, commas, json_line, line, local_time, shown, shown_value, time_ago};
use crate::session::Session;

/// Maximum characters of a value in a table.
const BRIEF_MAX: usize = 40;

/// Shortens a value for a table: its beginning and its end.
pub(super) fn brief(value: &[u8]) -> String {
    let text: Vec<char> = shown_value(value).chars().collect();
    match text.len() > BRIEF_MAX {
        true => text[..15].iter().chain(&['.'; 3]).chain(&text[text.len() - 15..]).collect(),
        false => text.into_iter().collect(),
    }
}

pub(super) async fn run(session: &mut Session, args: &LsArgs, json: bool) -> Result<(), CliError> {
    match &args.bucket {
        None => buckets(session, args, json).await,
        Some(bucket) => keys(session, bucket, args, json).await,
    }
}

/// Lists all buckets, by size.
async fn buckets(session: &mut Session, args: &LsArgs, json: bool) -> Result<(), CliError> {
    let mut found = listing::streams(session, Some("$KV.>")).await?;
    found.retain(|info| bucket_name(info).is_some());
    found.sort_by_key(|info| info["state"]["bytes"].as_u64());
    if args.names && !json {
        return found.iter().filter_map(bucket_name).try_for_each(|name| line(&shown(name)));
    }
    if json {
        return found.iter().try_for_each(|info| json_line(&summary(info)));
    }
    if found.is_empty() {
        return line("No Key-Value buckets found");
    }
    let header = ["Bucket", "Description", "Created", "Size", "Values", "Last Update"];
    let mut table = Table::new("Key-Value Buckets".to_owned(), &header);
    for info in &found {
        let state = &info["state"];
        table.row(vec![
            shown(bucket_name(info).unwrap_or_default()),
            shown(info["config"]["description"].as_str().unwrap_or_default()),
            local_time(info["created"].as_str().unwrap_or_default()),
            bytes(state["bytes"].as_u64().unwrap_or_default()),
            commas(state["messages"].as_u64().unwrap_or_default()),
            time_ago(&state["last_ts"]),
        ]);
    }
    line(table.render().trim_end())
}

/// Returns the name of the bucket that a stream belongs to.
fn bucket_name(info: &Value) -> Option<&str> {
    names::kv_bucket(info["config"]["name"].as_str()?)
}

/// Returns a bucket as JSON for a list.
fn summary(info: &Value) -> Value {
    json!({
        "bucket": bucket_name(info),
        "description": info["config"]["description"].as_str().unwrap_or_default(),
        "created": info["created"],
        "bytes": info["state"]["bytes"],
        "values": info["state"]["messages"],
        "last_update": info["state"]["last_ts"],
    })
}

/// Lists the keys that have a value, as they arrive unless in a table. The server applies the filter.
async fn keys(session: &mut Session, bucket: &str, args: &LsArgs, json: bool) -> Result<(), CliError> {
    let bucket = Bucket::open(session, bucket).await?;
    let what = Reading {
        filter: args.key.as_deref().unwrap_or(">"),
        from: DeliverPolicy::LastPerSubject,
        is_headers_only: !args.display_value,
    };
    let mut reader = bucket.read(session, what).await?;
    let mut header = vec!["Key", "Created", "Delta", "Revision"];
    header.extend(args.display_value.then_some("Value"));
    let mut table = Table::new(format!("Contents for bucket '{}'", bucket.name), &header);
    let mut is_empty = true;
    while let Some(entry) = reader.next_stored().await? {
        if entry.operation != Operation::Put {
            continue;
        }
        is_empty = false;
        match (json, args.verbose) {
            (true, false) => json_line(&json!({ "key": entry.key }))?,
            (true, true) => {
                let mut told = entry.as_json();
                if !args.display_value
                    && let Value::Object(fields) = &mut told
                {
                    fields.shift_remove("value");
                }
                json_line(&told)?;
            }
            (false, false) => line(&shown(&entry.key))?,
            (false, true) => {
                let mut row = vec![
                    shown(&entry.key),
                    local_time(&entry.created),
                    entry.pending.to_string(),
                    entry.revision.to_string(),
                ];
                row.extend(args.display_value.then(|| shown_value(&entry.value)));
                table.row(row);
            }
        }
    }
    match (is_empty, json) {
        (_, true) => Ok(()),
        (true, false) if args.names => Ok(()),
        (true, false) => line("No keys found in bucket"),
        (false, false) if args.verbose => line(table.render().trim_end()),
        (false, false) => Ok(()),
    }
}

/// Prints every revision of a key that the bucket keeps.
pub(super) async fn history(
    session: &mut Session,
    bucket: &str,
    key: &str,
    json: bool,
) -> Result<(), CliError> {
    let bucket = Bucket::open(session, bucket).await?;
    let what = Reading { filter: key, from: DeliverPolicy::All, is_headers_only: false };
    let mut reader = bucket.read(session, what).await?;
    let title = format!("History for {} > {key}", bucket.name);
    let mut table = Table::new(title, &["Key", "Revision", "Op", "Created", "Length", "Value"]);
    let mut is_empty = true;
    while let Some(entry) = reader.next_stored().await? {
        is_empty = false;
        if json {
            json_line(&entry.as_json())?;
            continue;
        }
        table.row(vec![
            shown(&entry.key),
            entry.revision.to_string(),
            entry.operation.to_string(),
            local_time(&entry.created),
            commas(entry.value.len() as u64),
            brief(&entry.value),
        ]);
    }
    match (is_empty, json) {
        (true, _) => Err(CliError::NoKey { bucket: bucket.name, key: key.to_owned() }),
        (false, true) => Ok(()),
        (false, false) => line(table.render().trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_in_the_middle() {
        assert_eq!(brief(b"short"), "short");
        assert_eq!(brief(&[b'x'; 41]), format!("{}...{}", "x".repeat(15), "x".repeat(15)));
        let umlauts = "ä".repeat(50);
        assert_eq!(brief(umlauts.as_bytes()).chars().count(), 33);
    }

    #[test]
    fn a_stream_of_another_shape_is_no_panic() {
        for info in
            [json!({}), json!({"config": {"name": 5}}), json!({"config": {"name": "KV_A"}, "state": "x"})]
        {
            let _ = (bucket_name(&info), summary(&info), time_ago(&info["x"]));
        }
    }
}
