//! `stonechat object get`: fetches several chunks in parallel into a part file beside the target. When the digest is right, the
//! part file is renamed to the target. After an interruption, the download resumes from the part file.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use async_nats::Request;
use async_nats::jetstream::consumer::DeliverPolicy;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use sha2::{Digest, Sha256};
use stonechat_buckets::{ChunkCheck, Damage, LINKS_MAX, Link, header};

use super::args::GetArgs;
use super::info::ObjectInfo;
use super::store::{Store, from_api, from_direct};
use crate::ask;
use crate::connection::client_error;
use crate::error::CliError;
use crate::ordered::{Ordered, Reading};
use crate::output::{Progress, Unit, bytes, json_line, line, long_duration};
use crate::session::Session;
use crate::values::parse_bucket;

/// Maximum number of chunks requested in parallel.
const UNDERWAY: usize = 16;

pub(super) async fn run(session: &mut Session, args: &GetArgs, json: bool) -> Result<(), CliError> {
    let store = Store::open(session, &args.bucket).await?;
    let info = store.object(session, &args.object).await?;
    let (store, info) = follow(session, store, info).await?;
    let target = target(args, &info)?;
    if !args.force && target.exists() {
        let question = format!("Replace existing target file {}", target.display());
        ask::agree(&question, false).await?;
    }
    let began = Instant::now();
    let mut progress = Progress::new(info.size(), Unit::Bytes, !json && !args.progress.is_quiet());
    let mut part = Part::open(&target, &info)?;
    match fetch(session, &store, &info, &mut part, &mut progress).await {
        Ok(()) => part.finish(&target)?,
        Err(error) => {
            if matches!(error, CliError::Damaged { .. }) {
                part.discard();
            }
            return Err(error);
        }
    }
    drop(progress);
    let took = began.elapsed();
    if json {
        let mut told = info.value.clone();
        told["file"] = json!(target);
        return json_line(&told);
    }
    let rate = match took.as_secs_f64() {
        seconds if seconds > 2.0 => format!(" average {}/s", bytes((info.size() as f64 / seconds) as u64)),
        _ => String::new(),
    };
    line(&format!("Wrote: {} to {} in {}{rate}", bytes(info.size()), target.display(), long_duration(took)))
}

/// Follows links to the object itself.
async fn follow(
    session: &mut Session,
    store: Store,
    info: ObjectInfo,
) -> Result<(Store, ObjectInfo), CliError> {
    let (mut store, mut info) = (store, info);
    for _ in 0..LINKS_MAX {
        match info.link() {
            None => return Ok((store, info)),
            Some(Link { bucket, name: Some(name) }) => {
                if bucket != store.name {
                    let bucket = parse_bucket(&bucket).map_err(|rule| {
                        CliError::Client(format!("{:?} is a link to {bucket:?}: {rule}", info.name()))
                    })?;
                    store = Store::open(session, &bucket).await?;
                }
                info = store.object(session, &name).await?;
            }
            Some(Link { bucket, name: None }) => {
                return Err(CliError::Client(format!(
                    "{:?} is a link to the whole bucket {bucket}",
                    info.name()
                )));
            }
        }
    }
    Err(CliError::Client(format!("more than {LINKS_MAX} links follow one another")))
}

/// Returns the file to write.
fn target(args: &GetArgs, info: &ObjectInfo) -> Result<PathBuf, CliError> {
    let path = match &args.output {
        Some(path) => Some(path.clone()),
        // Only the last part of the name: an object must not choose the folder.
        None => Path::new(info.name()).file_name().map(PathBuf::from),
    };
    let path =
        path.ok_or_else(|| CliError::Client(format!("{:?} can't name a file; --output does", info.name())))?;
    let wrong = |error: std::io::Error| CliError::File { path: path.clone(), reason: error.to_string() };
    std::path::absolute(&path).map_err(wrong)
}

/// A chunk of the object, as a message of the stream.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    sequence: u64,
    size: u64,
}

/// Returns the chunks of an object, in order, with their sizes.
async fn index(session: &Session, store: &Store, info: &ObjectInfo) -> Result<Vec<Chunk>, CliError> {
    let Some(id) = info.chunk_id().filter(|_| info.chunks() > 0) else { return Ok(Vec::new()) };
    let reading = Reading {
        reader: "stonechat object",
        filter: store.chunk_subject(id),
        from: DeliverPolicy::All,
        is_headers_only: true,
    };
    let mut messages = Ordered::open(session, &store.stream, reading).await?;
    let mut chunks = Vec::new();
    while let Some(delivered) = messages.next_stored().await? {
        let headers = delivered.message.headers.as_ref();
        // Use the last value: the server's headers follow those of the message.
        let size = headers.and_then(|headers| headers.get_all(header::SIZE).last()?.as_str().parse().ok());
        chunks.push(Chunk { sequence: delivered.sequence, size: size.unwrap_or_default() });
    }
    Ok(chunks)
}

/// Returns the error for a damaged object.
fn damaged(store: &Store, info: &ObjectInfo, damage: &Damage) -> CliError {
    CliError::Damaged {
        bucket: store.name.clone(),
        object: info.name().to_owned(),
        reason: damage.to_string(),
    }
}

/// Checks the number and the lengths of all chunks.
fn check(info: &ObjectInfo, chunks: &[Chunk]) -> Result<ChunkCheck, Damage> {
    let mut check = ChunkCheck::of(info)?;
    let places: Vec<u64> = chunks.iter().map(|chunk| chunk.sequence).collect();
    let last = chunks.last().map_or(0, |chunk| chunk.size);
    if let Some(damage) = check.miscounted(&places, last) {
        return Err(damage);
    }
    for (chunk, pending) in chunks.iter().zip((0..chunks.len() as u64).rev()) {
        check.take(pending, chunk.size)?;
    }
    Ok(check)
}

async fn fetch(
    session: &mut Session,
    store: &Store,
    info: &ObjectInfo,
    part: &mut Part,
    progress: &mut Progress,
) -> Result<(), CliError> {
    let chunks = index(session, store, info).await?;
    let check = check(info, &chunks).map_err(|damage| damaged(store, info, &damage))?;
    let first = part.resume(&chunks, progress)?;
    if store.is_direct() {
        directly(session, store, info, &chunks[first..], first, part, progress).await?;
    } else {
        for (i, chunk) in chunks[first..].iter().enumerate() {
            let found = from_api(session, store, &json!({ "seq": chunk.sequence })).await?;
            let found = found.ok_or_else(|| gone(store, info, first + i))?;
            part.write(&found.payload, progress)?;
        }
    }
    check.finish(&part.digest()).map_err(|damage| damaged(store, info, &damage))
}

/// Returns the error for a chunk that was removed after the chunks were counted.
fn gone(store: &Store, info: &ObjectInfo, index: usize) -> CliError {
    damaged(store, info, &Damage::Missing { chunk: index as u64 + 1, chunks: info.chunks() })
}

/// Fetches chunks with direct gets, several in parallel, and writes them in order.
async fn directly(
    session: &mut Session,
    store: &Store,
    info: &ObjectInfo,
    chunks: &[Chunk],
    first: usize,
    part: &mut Part,
    progress: &mut Progress,
) -> Result<(), CliError> {
    let client = session.connection.client.clone();
    let subject = session.subject(&format!("DIRECT.GET.{}", store.stream));
    let timeout = session.patience();
    let ask = |chunk: Chunk| {
        let body = Bytes::from(json!({ "seq": chunk.sequence }).to_string());
        let request = Request::new().payload(body).timeout(Some(timeout));
        client.send_request(subject.clone(), request)
    };
    let mut answers = stream::iter(chunks.iter().copied()).map(ask).buffered(UNDERWAY);
    for (i, chunk) in chunks.iter().enumerate() {
        let answer = tokio::select! {
            biased;
            answer = answers.next() => answer,
            complaint = session.connection.complaint() => return Err(complaint),
        };
        let message = answer.ok_or(CliError::ConnectionLost)?.map_err(client_error)?;
        let found = from_direct(&message)?;
        let found = found.ok_or_else(|| gone(store, info, first + i))?;
        let (bytes, expected) = (found.payload.len() as u64, chunk.size);
        if bytes != expected {
            let (chunk, chunks) = ((first + i) as u64 + 1, info.chunks());
            let damage = Damage::ChunkSize { chunk, chunks, bytes, expected };
            return Err(damaged(store, info, &damage));
        }
        part.write(&found.payload, progress)?;
    }
    Ok(())
}

/// The part file beside the target.
struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
}

impl Part {
    /// Opens or creates the part file. Its name contains the id of the chunks, so that another version of the object starts over.
    fn open(target: &Path, info: &ObjectInfo) -> Result<Self, CliError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id: String = info.text("nuid").chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        let path = target.with_file_name(format!(".{name}.{id}.part"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| file_error(&path, &error))?;
        Ok(Self { path, file, hash: Sha256::new() })
    }

    /// Hashes the complete chunks of the file, cuts off the rest, and returns their number.
    fn resume(&mut self, chunks: &[Chunk], progress: &mut Progress) -> Result<usize, CliError> {
        let path = self.path.clone();
        let wrong = |error: std::io::Error| file_error(&path, &error);
        let length = self.file.metadata().map_err(wrong)?.len();
        let (mut count, mut whole) = (0, 0);
        for chunk in chunks {
            if whole + chunk.size > length {
                break;
            }
            whole += chunk.size;
            count += 1;
        }
        self.file.set_len(whole).map_err(wrong)?;
        self.file.seek(SeekFrom::Start(0)).map_err(wrong)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = self.file.read(&mut buffer).map_err(wrong)?;
            if read == 0 {
                break;
            }
            self.hash.update(&buffer[..read]);
        }
        progress.add(whole);
        Ok(count)
    }

    fn write(&mut self, chunk: &[u8], progress: &mut Progress) -> Result<(), CliError> {
        self.file.write_all(chunk).map_err(|error| file_error(&self.path, &error))?;
        self.hash.update(chunk);
        progress.add(chunk.len() as u64);
        Ok(())
    }

    fn digest(&self) -> Vec<u8> {
        self.hash.clone().finalize().to_vec()
    }

    fn finish(self, target: &Path) -> Result<(), CliError> {
        self.file.sync_all().map_err(|error| file_error(&self.path, &error))?;
        fs::rename(&self.path, target).map_err(|error| file_error(target, &error))
    }

    fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn file_error(path: &Path, error: &std::io::Error) -> CliError {
    CliError::File { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_goes_on_after_its_last_whole_chunk() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.bin");
        let info = ObjectInfo::read(br#"{"nuid": "../x"}"#, 1, "").unwrap();
        let mut progress = Progress::new(0, Unit::Bytes, false);
        let mut part = Part::open(&target, &info).unwrap();
        part.write(b"1234567", &mut progress).unwrap();
        drop(part);
        let mut part = Part::open(&target, &info).unwrap();
        let chunks =
            [Chunk { sequence: 1, size: 3 }, Chunk { sequence: 2, size: 3 }, Chunk { sequence: 3, size: 3 }];
        assert_eq!(part.resume(&chunks, &mut progress).unwrap(), 2);
        part.write(b"789", &mut progress).unwrap();
        assert_eq!(part.digest(), Sha256::digest(b"123456789").to_vec());
        part.finish(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"123456789");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
