//! `stonechat object put`: sends several chunks in parallel; after an interruption, it sends only the missing ones.

use std::collections::VecDeque;
use std::fs::File;
use std::future::IntoFuture;
use std::io::{Read, Stdin};
use std::path::{Component, Path, PathBuf};

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};
use stonechat_buckets::{CHUNK_SIZE, Description, Facts, digest_text};

use super::args::PutArgs;
use super::info::ObjectInfo;
use super::store::{Store, last_message};
use crate::ask;
use crate::connection::client_error;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{Progress, Unit, json_line};
use crate::session::Session;
use crate::values::parse_object;

/// Default size of a chunk, as in all clients.
const CHUNK: usize = CHUNK_SIZE as usize;
/// Maximum bytes in flight to the server.
const UNDERWAY: usize = 4 << 20;

/// The source of the object's bytes.
enum Source {
    File(File, PathBuf),
    Stdin(Stdin),
}

impl Source {
    /// Fills the buffer as far as the source has bytes; returns their number.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, CliError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = match self {
                Self::File(file, path) => file
                    .read(&mut buffer[filled..])
                    .map_err(|error| CliError::File { path: path.clone(), reason: error.to_string() }),
                Self::Stdin(input) => input.read(&mut buffer[filled..]).map_err(CliError::Stdin),
            }?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }
}

pub(super) async fn run(session: &mut Session, args: &PutArgs, json: bool) -> Result<(), CliError> {
    let store = Store::open(session, &args.bucket).await?;
    let (mut source, size) = open(args.file.as_deref())?;
    let given = args.name.clone().or_else(|| args.file.as_ref().map(|file| file.display().to_string()));
    let given = given.filter(|name| !name.is_empty());
    let given = given.ok_or_else(|| CliError::Client("--name is needed for standard input".to_owned()))?;
    let name = parse_object(&clean(&given)).map_err(CliError::Client)?;
    let earlier = store.find(session, &name).await?;
    if let Some(info) = earlier.as_ref().filter(|info| !info.is_deleted() && !args.force) {
        if !json && ask::is_interactive() {
            write_out(format!("{}\n", info.facts(&store.name).render()).as_bytes())?;
        }
        ask::agree(&format!("Replace existing file {} > {name}", store.name), false).await?;
    }
    let chunk_size = args.chunk_size.map_or(CHUNK, |size| size as usize);
    let nuid = match args.file.as_deref() {
        Some(file) => resumable_id(&store, &name, file, chunk_size, earlier.as_ref())?,
        None => random_id(session),
    };
    let mut progress = Progress::new(size, Unit::Bytes, !json && !args.progress.is_quiet());
    let upload = Upload { store: &store, nuid: &nuid, chunk_size, name: &name };
    let sent = match upload.run(session, &mut source, &mut progress).await {
        Ok(sent) => sent,
        Err(error) => {
            // A refused upload would be refused again, so remove its chunks. After a lost connection, the upload can be resumed.
            if matches!(error, CliError::Upload { .. } | CliError::File { .. } | CliError::Client(_)) {
                let _ = store.purge_chunks(session, &nuid).await;
            }
            return Err(error);
        }
    };
    drop(progress);
    let description = description(args, &store, &name, &nuid, chunk_size, &sent);
    store.describe(session, &description).await?;
    if let Some(id) = earlier.as_ref().and_then(|info| info.chunk_id()).filter(|id| *id != nuid) {
        store.purge_chunks(session, id).await?;
    }
    let info = store.object(session, &name).await?;
    match json {
        true => json_line(&info.value),
        false => write_out(info.facts(&store.name).render().as_bytes()),
    }
}

/// Opens the source; returns it with its size, or with 0 if the size is unknown.
fn open(file: Option<&Path>) -> Result<(Source, u64), CliError> {
    let Some(path) = file else { return Ok((Source::Stdin(std::io::stdin()), 0)) };
    let wrong = |error: std::io::Error| CliError::File { path: path.to_owned(), reason: error.to_string() };
    let file = File::open(path).map_err(wrong)?;
    let meta = file.metadata().map_err(wrong)?;
    match meta.is_dir() {
        true => Err(CliError::File { path: path.to_owned(), reason: "it is a folder".to_owned() }),
        false => Ok((Source::File(file, path.to_owned()), meta.len())),
    }
}

/// Normalizes a name: removes `.`, doubled separators, and `..` with the part before it.
fn clean(name: &str) -> String {
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in Path::new(name).components() {
        match (part, parts.last()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(parts.pop()),
            (part, _) => parts.push(part),
        }
    }
    let path: PathBuf = parts.into_iter().collect();
    let text = path.to_string_lossy().into_owned();
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Returns a random id for chunks.
pub(super) fn random_id(session: &Session) -> String {
    let inbox = session.connection.client.new_inbox();
    inbox.rsplit('.').next().unwrap_or_default().to_owned()
}

/// Returns an id for chunks that another put of the same file finds again. It depends on the bucket, the name, the file and the
/// object that it replaces, so the next put after a successful one gets another id.
fn resumable_id(
    store: &Store,
    name: &str,
    file: &Path,
    chunk_size: usize,
    earlier: Option<&ObjectInfo>,
) -> Result<String, CliError> {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let wrong = |error: std::io::Error| CliError::File { path: file.to_owned(), reason: error.to_string() };
    let path = file.canonicalize().map_err(wrong)?;
    let meta = path.metadata().map_err(wrong)?;
    let changed = meta.modified().map_err(wrong)?;
    let revision = earlier.map_or(0, |info| info.revision);
    let created = &store.info["created"];
    let identity = format!(
        "{}\0{created}\0{name}\0{}\0{}\0{changed:?}\0{chunk_size}\0{revision}",
        store.name,
        path.display(),
        meta.len(),
    );
    let digest = Sha256::digest(identity.as_bytes());
    Ok(digest.iter().take(22).map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// The result of sending all chunks.
struct Sent {
    size: u64,
    chunks: u64,
    digest: Vec<u8>,
}

/// An upload of chunks into a bucket.
struct Upload<'a> {
    store: &'a Store,
    nuid: &'a str,
    chunk_size: usize,
    name: &'a str,
}

impl Upload<'_> {
    async fn run(
        &self,
        session: &mut Session,
        source: &mut Source,
        progress: &mut Progress,
    ) -> Result<Sent, CliError> {
        let there = self.chunks_there(session).await?;
        let last = match there {
            0 => None,
            _ => last_message(session, self.store, &self.subject()).await?,
        };
        let mut sent = Sent { size: 0, chunks: 0, digest: Vec::new() };
        let mut hash = Sha256::new();
        let mut acks: VecDeque<PublishAckFuture> = VecDeque::new();
        loop {
            let mut buffer = vec![0; self.chunk_size];
            let filled = source.fill(&mut buffer)?;
            if filled == 0 {
                break;
            }
            buffer.truncate(filled);
            hash.update(&buffer);
            sent.size += filled as u64;
            sent.chunks += 1;
            if sent.chunks == there && last.as_ref().is_none_or(|last| last.payload != buffer) {
                return Err(CliError::Client(format!(
                    "what is stored of {:?} is not the file's beginning: it was removed; put it again",
                    self.name
                )));
            }
            if sent.chunks > there {
                self.send(session, buffer.into(), &mut acks).await?;
            }
            progress.add(filled as u64);
        }
        while let Some(ack) = acks.pop_front() {
            self.stored(session, ack).await?;
        }
        sent.digest = hash.finalize().to_vec();
        self.check(session, sent.chunks).await?;
        Ok(sent)
    }

    fn subject(&self) -> String {
        self.store.chunk_subject(self.nuid)
    }

    /// Returns how many chunks of an interrupted upload are stored.
    async fn chunks_there(&self, session: &mut Session) -> Result<u64, CliError> {
        let subject = self.subject();
        let found = crate::listing::subjects(session, &self.store.stream, &subject).await?;
        Ok(found.get(&subject).and_then(Value::as_u64).unwrap_or_default())
    }

    /// Sends a chunk; waits while too many bytes are in flight.
    async fn send(
        &self,
        session: &mut Session,
        chunk: Bytes,
        acks: &mut VecDeque<PublishAckFuture>,
    ) -> Result<(), CliError> {
        let max = session.connection.client.server_info().max_payload;
        if chunk.len() > max {
            let len = chunk.len();
            return Err(CliError::Client(format!(
                "chunks of {len} bytes are more than the server's max_payload of {max} takes; --chunk-size makes them smaller"
            )));
        }
        while acks.len() * self.chunk_size >= UNDERWAY.max(self.chunk_size) {
            if let Some(ack) = acks.pop_front() {
                self.stored(session, ack).await?;
            }
        }
        let subject = match session.foreign_prefix() {
            Some(prefix) => format!("{prefix}.{}", self.subject()),
            None => self.subject(),
        };
        acks.push_back(session.context.publish(subject, chunk).await.map_err(client_error)?);
        Ok(())
    }

    /// Waits until a chunk is stored.
    async fn stored(&self, session: &mut Session, ack: PublishAckFuture) -> Result<(), CliError> {
        tokio::select! {
            biased;
            result = ack.into_future() => {
                result.map(drop).map_err(|error| match error.kind() {
                    PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => CliError::ConnectionLost,
                    _ => CliError::Upload { object: self.name.to_owned(), reason: error.to_string() },
                })
            }
            complaint = session.connection.complaint() => Err(complaint),
        }
    }

    /// Checks that no other client has stored chunks under the same id.
    async fn check(&self, session: &mut Session, expected: u64) -> Result<(), CliError> {
        let there = self.chunks_there(session).await?;
        match there == expected {
            true => Ok(()),
            false => Err(CliError::Client(format!(
                "{there} chunks of {:?} are stored instead of {expected}: is it put twice at the same time?",
                self.name
            ))),
        }
    }
}

/// Returns the message that describes the object.
fn description(
    args: &PutArgs,
    store: &Store,
    name: &str,
    nuid: &str,
    chunk_size: usize,
    sent: &Sent,
) -> Description {
    let headers = args.header.iter().map(|(name, text)| (name.to_string(), text.as_str().to_owned()));
    Description::new(&Facts {
        bucket: store.name.clone(),
        name: name.to_owned(),
        description: args.description.clone().unwrap_or_default(),
        headers: headers.collect(),
        chunk_size: chunk_size as u64,
        nuid: nuid.to_owned(),
        size: sent.size,
        chunks: sent.chunks,
        digest: digest_text(&sent.digest),
        ..Facts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (name, cleaned) in [
            ("a", "a"),
            ("./a", "a"),
            ("a//b/", "a/b"),
            ("a/../b", "b"),
            ("/x/../../y", "/y"),
            ("../a", "../a"),
            (".", "."),
        ] {
            assert_eq!(clean(name), cleaned, "{name}");
        }
    }
}
