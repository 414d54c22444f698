//! Backup and restore of all streams of an account.

use std::path::PathBuf;

use serde_json::json;

use super::{BackupArgs, RestoreArgs};
use crate::ask;
use crate::error::CliError;
use crate::listing;
use crate::message::write_out;
use crate::output::{Facts, ProgressArgs, bytes, commas, json_line, line, shown};
use crate::session::Session;
use crate::stream::{SaveArgs, UnsaveArgs, backup_stream, restore_stream};

pub(super) async fn save(session: &mut Session, args: &BackupArgs, json: bool) -> Result<(), CliError> {
    let streams = listing::streams(session, None).await?;
    if streams.is_empty() {
        return Err(CliError::Client("there are no streams".to_owned()));
    }
    let sum = |field: &str| {
        streams.iter().map(|info| info["state"][field].as_u64().unwrap_or_default()).sum::<u64>()
    };
    if !json {
        let mut facts = Facts::new(format!("Performing backup of all streams to {}", args.target.display()));
        facts.add("Streams", commas(streams.len() as u64));
        facts.add("Size", bytes(sum("bytes")));
        facts.add("Consumers", commas(sum("consumer_count")));
        write_out(facts.render().as_bytes())?;
    }
    ask::agree("Perform backup", args.force).await?;
    let (mut failed, mut skipped) = (0, 0);
    for info in &streams {
        let name = info["config"]["name"].as_str().unwrap_or_default();
        let one = SaveArgs {
            stream: name.to_owned(),
            target: args.target.join(name),
            progress: ProgressArgs::QUIET,
            check: args.check,
            no_consumers: args.no_consumers,
            consumers: false,
            chunk_size: None,
            window_size: None,
        };
        let is_in_memory = info["config"]["storage"] == "memory";
        match backup_stream(session, &one, json).await {
            Ok(()) => {}
            Err(error @ CliError::Output(_)) => return Err(error),
            Err(error) => {
                if is_in_memory {
                    skipped += 1
                } else {
                    failed += 1
                }
                match json {
                    true => json_line(&json!({ "stream": name, "error": error.to_string() }))?,
                    false => line(&format!("Backup of {} failed: {error}", shown(name)))?,
                }
            }
        }
    }
    match failed > 0 || (skipped > 0 && args.critical_warnings) {
        true => Err(CliError::Client(format!("{} streams were not saved", failed + skipped))),
        false => Ok(()),
    }
}

pub(super) async fn restore(session: &mut Session, args: &RestoreArgs, json: bool) -> Result<(), CliError> {
    let folder = &args.directory;
    let wrong = |error: std::io::Error| CliError::File { path: folder.clone(), reason: error.to_string() };
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        found.push(entry.map_err(wrong)?.path());
    }
    found.sort();
    let there = listing::stream_names(session, None).await?;
    // Check all backups first: a restore that fails halfway is hard to repeat.
    for path in &found {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !path.join("backup.json").is_file() {
            return Err(CliError::File {
                path: path.clone(),
                reason: "it is no backup of a stream".to_owned(),
            });
        }
        if there.iter().any(|stream| *stream == name) {
            return Err(CliError::Client(format!("stream {} exists already", shown(&name))));
        }
    }
    if !json {
        line(&format!(
            "Restoring backup of all {} streams in directory {}\n",
            found.len(),
            folder.display()
        ))?;
    }
    for path in found {
        let one = UnsaveArgs {
            file: path,
            progress: ProgressArgs::QUIET,
            config: None,
            cluster: args.cluster.clone(),
            tag: args.tag.clone(),
            replicas: None,
        };
        restore_stream(session, &one, json).await?;
    }
    Ok(())
}
