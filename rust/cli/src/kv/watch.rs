//! `stonechat kv watch`: prints changes as they happen.

use async_nats::jetstream::consumer::DeliverPolicy;
use stonechat_buckets::Operation;

use super::args::WatchArgs;
use super::bucket::{Bucket, Reading};
use super::entry::Entry;
use crate::error::CliError;
use crate::output::{Color, json_line, line, local_time, paint, shown, shown_value};
use crate::session::Session;

pub(super) async fn run(session: &mut Session, args: &WatchArgs, json: bool) -> Result<(), CliError> {
    let bucket = Bucket::open(session, &args.bucket).await?;
    let from = match args.revision.filter(|revision| *revision > 0) {
        Some(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
        None if args.history => DeliverPolicy::All,
        None if args.updates => DeliverPolicy::New,
        None => DeliverPolicy::LastPerSubject,
    };
    let what = Reading { filter: &args.key, from, is_headers_only: false };
    let mut reader = bucket.read(session, what).await?;
    loop {
        let entry = reader.next().await?;
        if entry.operation == Operation::Put || !args.no_deletes {
            print(&entry, json)?;
        }
    }
}

/// Prints an entry like `[time] PUT bucket > key: value`.
fn print(entry: &Entry, json: bool) -> Result<(), CliError> {
    if json {
        return json_line(&entry.as_json());
    }
    let place = format!("{} > {}", entry.bucket, shown(&entry.key));
    let time = local_time(&entry.created);
    let operation = entry.operation.to_string();
    match entry.operation {
        Operation::Put => line(&format!(
            "[{time}] {} {place}: {}",
            paint(&operation, Color::Green),
            shown_value(&entry.value)
        )),
        Operation::Delete | Operation::Purge => {
            line(&format!("[{time}] {} {place}", paint(&operation, Color::Red)))
        }
    }
}
