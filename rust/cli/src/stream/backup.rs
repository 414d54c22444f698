//! `stonechat stream backup`: saves a stream into a folder, in the format of the `nats` command.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use async_nats::Subscriber;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::args::BackupArgs;
use super::select;
use crate::connection::client_error;
use crate::error::CliError;
use crate::output::{Progress, Unit, byte_count, bytes, commas, json_line, line, long_duration};
use crate::session::Session;

/// The archive of a backup from servers of version 2.15 and later.
pub(super) const ARCHIVE: &str = "stream.arc.s2";
/// The archive of a backup from older servers.
pub(super) const LEGACY_ARCHIVE: &str = "stream.tar.s2";
/// The configuration and state. It is written last, so it is missing or empty in an incomplete backup.
pub(super) const META: &str = "backup.json";
/// Default size in bytes of the pieces that the server sends.
const CHUNK: i64 = 128 * 1024;

pub(crate) async fn run(session: &mut Session, args: &BackupArgs, json: bool) -> Result<(), CliError> {
    let info = select::info(session, &args.stream).await?;
    if info["config"]["storage"] == "memory" {
        return Err(CliError::Client("streams in memory can't be backed up".to_owned()));
    }
    let folder = Folder::prepare(&args.target, &session.server_version())?;
    let began = Instant::now();
    let result = receive(session, args, &folder, json).await;
    let received = match result {
        Ok(received) => received,
        Err(error) => {
            folder.discard();
            return Err(error);
        }
    };
    if json {
        return json_line(&json!({
            "stream": args.stream,
            "target": args.target,
            "bytes": received.bytes,
            "chunks": received.chunks,
        }));
    }
    line(&format!(
        "Received {} compressed data in {} chunks for stream {:?} in {}",
        bytes(received.bytes),
        commas(received.chunks),
        args.stream,
        long_duration(began.elapsed()),
    ))
}

/// The paths of a backup's files.
struct Folder {
    archive: PathBuf,
    meta: PathBuf,
}

impl Folder {
    /// Creates the folder; refuses one that already holds a backup.
    fn prepare(target: &Path, version: &str) -> Result<Self, CliError> {
        let meta = target.join(META);
        if fs::metadata(&meta).is_ok_and(|meta| meta.len() > 0) {
            return Err(CliError::File {
                path: target.to_owned(),
                reason: "it holds a backup already".to_owned(),
            });
        }
        fs::create_dir_all(target).map_err(|error| file_error(target, &error))?;
        for name in [META, ARCHIVE, LEGACY_ARCHIVE] {
            match fs::remove_file(target.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(file_error(&target.join(name), &error));
                }
                _ => {}
            }
        }
        let name = if is_legacy(version) { LEGACY_ARCHIVE } else { ARCHIVE };
        Ok(Self { archive: target.join(name), meta })
    }

    fn discard(&self) {
        let _ = fs::remove_file(&self.archive);
        let _ = fs::remove_file(&self.meta);
    }
}

fn file_error(path: &Path, error: &std::io::Error) -> CliError {
    CliError::File { path: path.to_owned(), reason: error.to_string() }
}

/// Whether a server of this version writes archives in the old format.
fn is_legacy(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) < (2, 15)
}

/// The amount of received data.
#[derive(Default)]
struct Received {
    bytes: u64,
    chunks: u64,
}

async fn receive(
    session: &mut Session,
    args: &BackupArgs,
    folder: &Folder,
    json: bool,
) -> Result<Received, CliError> {
    let client = session.connection.client.clone();
    let inbox = client.new_inbox();
    let pieces = client.subscribe(inbox.clone()).await.map_err(client_error)?;
    let mut body = json!({
        "deliver_subject": inbox,
        "no_consumers": args.no_consumers,
        "jsck": args.check,
        "chunk_size": args.chunk_size.filter(|size| *size > 0).unwrap_or(CHUNK),
    });
    if let Some(size) = args.window_size.filter(|size| *size > 0) {
        body["window_size"] = json!(size);
    }
    let answer = session.ask(&format!("STREAM.SNAPSHOT.{}", args.stream), Some(&body)).await?;
    let expected = &answer["state"]["bytes"];
    let is_quiet = json || args.progress.is_quiet();
    if !json {
        line(&format!("Starting backup of Stream {:?} with {}\n", args.stream, byte_count(expected)))?;
    }
    let progress = Progress::new(expected.as_u64().unwrap_or_default(), Unit::Bytes, !is_quiet);
    let received = write_pieces(session, pieces, &folder.archive, progress).await?;
    let meta: Value = json!({ "config": answer["config"], "state": answer["state"] });
    fs::write(&folder.meta, format!("{meta:#}")).map_err(|error| file_error(&folder.meta, &error))?;
    Ok(received)
}

/// Writes the pieces into the archive as they arrive; an empty piece is the end.
async fn write_pieces(
    session: &mut Session,
    mut pieces: Subscriber,
    path: &Path,
    mut progress: Progress,
) -> Result<Received, CliError> {
    let wrong = |error: std::io::Error| file_error(path, &error);
    let mut archive = File::create(path).map_err(wrong)?;
    let mut received = Received::default();
    loop {
        let piece = tokio::time::timeout(session.patience(), pieces.next()).await;
        let piece = match piece {
            Ok(Some(piece)) => piece,
            Ok(None) => return Err(CliError::ConnectionLost),
            Err(_) => return Err(CliError::Client("the server sends no more of the backup".to_owned())),
        };
        if piece.payload.is_empty() {
            let status = piece.status.map_or(204, |status| status.as_u16());
            if status != 204 && status != 200 {
                let reason = piece.description.unwrap_or_default();
                return Err(CliError::Client(format!("the server says: {}", crate::output::shown(&reason))));
            }
            archive.sync_all().map_err(wrong)?;
            return Ok(received);
        }
        // Acknowledge a piece before writing it: the server waits only two seconds for the acknowledgement.
        if let Some(reply) = piece.reply {
            session.connection.client.publish(reply, bytes::Bytes::new()).await.map_err(client_error)?;
        }
        archive.write_all(&piece.payload).map_err(wrong)?;
        received.bytes += piece.payload.len() as u64;
        received.chunks += 1;
        progress.add(piece.payload.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_named_after_its_form() {
        for (version, legacy) in
            [("2.15.2", false), ("3.0.0", false), ("2.14.9", true), ("2.9", true), ("", true)]
        {
            assert_eq!(is_legacy(version), legacy, "{version}");
        }
    }

    #[test]
    fn a_backup_is_not_overwritten_but_a_broken_one_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(META), b"").unwrap();
        fs::write(folder.path().join(ARCHIVE), b"half").unwrap();
        assert!(Folder::prepare(folder.path(), "2.15.2").is_ok());
        assert!(!folder.path().join(ARCHIVE).exists());
        fs::write(folder.path().join(META), b"{}").unwrap();
        assert!(Folder::prepare(folder.path(), "2.15.2").is_err());
    }
}
