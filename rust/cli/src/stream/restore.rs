//! `stonechat stream restore`: creates a stream from a backup.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::args::RestoreArgs;
use super::backup::{ARCHIVE, LEGACY_ARCHIVE, META};
use super::flags::place;
use super::{select, show};
use crate::configuration;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{Progress, Unit, line, long_duration};
use crate::session::Session;
use crate::values::parse_name;

/// Size in bytes of the pieces that are sent.
const CHUNK: usize = 64 * 1024;
/// Maximum time for the server to process the backup after its last piece.
const PATIENCE: Duration = Duration::from_secs(3600);

pub(crate) async fn run(session: &mut Session, args: &RestoreArgs, json: bool) -> Result<(), CliError> {
    let began = Instant::now();
    let (archive, request) = prepare(args)?;
    let name = request["config"]["name"].as_str().unwrap_or_default().to_owned();
    match select::info(session, &name).await {
        Ok(_) => return Err(CliError::Client(format!("stream {name} exists already"))),
        Err(CliError::NoStream(_)) => {}
        Err(error) => return Err(error),
    }
    if !json {
        line(&format!("Starting restore of Stream {name:?} from file {:?}\n", args.file))?;
    }
    let answer = session.ask(&format!("STREAM.RESTORE.{name}"), Some(&request)).await?;
    let target = answer["deliver_subject"].as_str().unwrap_or_default().to_owned();
    send(session, &archive, &target, !json && !args.progress.is_quiet()).await?;
    let info = select::info(session, &name).await?;
    if !json {
        let took = long_duration(began.elapsed());
        write_out(format!("Restored stream {name:?} in {took}\n\n").as_bytes())?;
    }
    show::stream(&info, false, json)
}

/// Returns the archive in the folder, and the request to restore it.
fn prepare(args: &RestoreArgs) -> Result<(PathBuf, Value), CliError> {
    let meta = args.file.join(META);
    let wrong = |reason: String| CliError::File { path: meta.clone(), reason };
    let text = fs::read_to_string(&meta).map_err(|error| wrong(error.to_string()))?;
    let mut saved: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let Some(Value::Object(mut config)) = saved.get_mut("config").map(Value::take) else {
        return Err(wrong("it holds no configuration".to_owned()));
    };
    let name = name_of(&config);
    parse_name(&name).map_err(&wrong)?;
    if let Some(file) = &args.config {
        config = configuration::read(file)?;
        if name_of(&config) != name {
            return Err(CliError::Client("the name of a stream can't be changed by a restore".to_owned()));
        }
    }
    place(&mut config, args.cluster.as_deref(), &args.tag);
    if let Some(replicas) = args.replicas.filter(|replicas| *replicas > 0) {
        config.insert("num_replicas".to_owned(), json!(replicas));
    }
    Ok((archive(&args.file)?, json!({ "config": config, "state": saved["state"] })))
}

fn name_of(config: &Map<String, Value>) -> String {
    config.get("name").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Returns the archive of a backup; the folder must contain exactly one.
fn archive(folder: &Path) -> Result<PathBuf, CliError> {
    let wrong = |reason: &str| CliError::File { path: folder.to_owned(), reason: reason.to_owned() };
    let found: Vec<PathBuf> = [ARCHIVE, LEGACY_ARCHIVE]
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.is_file())
        .collect();
    match <[PathBuf; 1]>::try_from(found) {
        Ok([path]) => Ok(path),
        Err(none) if none.is_empty() => Err(wrong("it holds no archive of a stream")),
        Err(_) => Err(wrong("it holds archives of two forms; remove the one that is not meant")),
    }
}

/// Sends the archive in pieces; each waits for the acknowledgement of the one before.
async fn send(session: &mut Session, path: &Path, target: &str, is_shown: bool) -> Result<(), CliError> {
    let wrong = |error: std::io::Error| CliError::File { path: path.to_owned(), reason: error.to_string() };
    let mut archive = File::open(path).map_err(wrong)?;
    let size = archive.metadata().map_err(wrong)?.len();
    let mut progress = Progress::new(size, Unit::Bytes, is_shown);
    let mut piece = vec![0; CHUNK];
    loop {
        let read = archive.read(&mut piece).map_err(wrong)?;
        let patience = if read == 0 { PATIENCE } else { session.patience() };
        let body = bytes::Bytes::copy_from_slice(&piece[..read]);
        session.ask_raw(target, body, patience).await?;
        progress.add(read as u64);
        if read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::ProgressArgs;

    #[test]
    fn a_folder_without_a_whole_backup_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let args = RestoreArgs {
            file: folder.path().to_owned(),
            progress: ProgressArgs::QUIET,
            config: None,
            cluster: None,
            tag: Vec::new(),
            replicas: None,
        };
        let said = |args: &RestoreArgs| prepare(args).unwrap_err().to_string();
        assert!(said(&args).contains(META));
        fs::write(folder.path().join(META), r#"{"config": {"name": "A/B"}, "state": {}}"#).unwrap();
        assert!(said(&args).contains("a name holds no"));
        fs::write(folder.path().join(META), r#"{"config": {"name": "A"}, "state": {}}"#).unwrap();
        assert!(said(&args).contains("no archive"));
        fs::write(folder.path().join(ARCHIVE), "x").unwrap();
        assert_eq!(prepare(&args).unwrap().1["config"]["name"], "A");
        fs::write(folder.path().join(LEGACY_ARCHIVE), "x").unwrap();
        assert!(said(&args).contains("two forms"));
    }
}
