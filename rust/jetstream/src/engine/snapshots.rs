//! Backups that are being sent: chunks within a window of acknowledgements, while the stream stays in use.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::messages::{Messages, Progress};

use super::{Engine, Interest, InterestChange, Outgoing};
use crate::api::fields;
use crate::backup::archive::{self, Entry};
use crate::backup::consumer;
use crate::backup::frames::Compressor;
use crate::ids::{AccountId, BackupId, ConsumerId, StreamId};
use crate::time::rfc3339;

/// Limit for the bytes of messages read in one turn.
const TURN: usize = 512 << 10;
/// Limit for the sequences looked at in one turn.
const LOOK_MAX: usize = 16_384;
/// Nanoseconds to wait for the receiver's subscription.
const PATIENCE: i64 = 2_000_000_000;
/// Nanoseconds between two checks for the receiver's subscription.
const LOOK_AGAIN: i64 = 50_000_000;
/// Nanoseconds without an acknowledgement, with a full window, after which a backup fails.
const QUIET: i64 = 5_000_000_000;

/// A decoded request for a backup.
#[derive(Debug, Clone, Default)]
pub(crate) struct SnapshotRequest {
    pub(crate) deliver_subject: String,
    pub(crate) without_consumers: bool,
    pub(crate) chunk: i64,
    pub(crate) window: i64,
}

/// A backup that is being sent.
#[derive(Debug)]
pub(super) struct Snapshot {
    stream_id: StreamId,
    account: AccountId,
    stream: String,
    deliver: Vec<u8>,
    /// The subject of acknowledgements, without size and number.
    ack: String,
    chunk: usize,
    /// The most chunks in flight.
    window: usize,
    in_flight: usize,
    /// The number of the next chunk.
    index: u64,
    /// The next sequence to be read, and the last one.
    next: u64,
    last: u64,
    is_read: bool,
    out: Compressor,
    /// Whether the reply to the request may not have left yet.
    is_fresh: bool,
    /// Whether the receiver has subscribed.
    was_wanted: bool,
    /// When the backup has its next turn at the latest, in nanoseconds since 1970.
    due: i64,
    /// Until when the backup waits for a subscription or an acknowledgement, in nanoseconds since 1970.
    patience: i64,
    started: i64,
    client: Value,
}

impl<D: Disk> Engine<D> {
    /// Begins to send a backup. Returns the stream's configuration and state for the reply.
    pub(crate) fn begin_snapshot(
        &mut self,
        stream_id: StreamId,
        request: &SnapshotRequest,
        client: Value,
    ) -> Option<Value> {
        let unique = self.host.unique_id();
        let stream = self.streams.get(&stream_id)?;
        let (account, name) = (stream.account, stream.core.config().name.clone());
        let mut about = self.describe(stream, false);
        let mut state = about.remove("state")?;
        let config = about.remove("config")?;
        let of_stream = stream.core.messages().state();
        let shown = state.clone();
        let consumers: Vec<ConsumerId> = match request.without_consumers {
            true => Vec::new(),
            false => stream.consumers.values().copied().collect(),
        };
        state["consumer_count"] = consumers.len().into();
        let mut out = Compressor::default();
        archive::begin(out.plain());
        let text = state.to_string();
        let time = self.now;
        Entry { name: b"state.json", time, content: text.as_bytes(), ..Entry::default() }.encode(out.plain());
        for id in consumers {
            let Some(c) = self.consumers.get(&id) else { continue };
            let mut config = c.config().clone();
            config.name = c.name.to_string();
            let content = consumer::encode(&config, c.state(), of_stream.last_sequence).to_string();
            let entry_name = format!("consumers/{}", c.name);
            let entry =
                Entry { name: entry_name.as_bytes(), time, content: content.as_bytes(), ..Entry::default() };
            entry.encode(out.plain());
        }
        let size = |given: i64, usual: i64, max: i64| if given == 0 { usual } else { given.clamp(1024, max) };
        let chunk = size(request.chunk, 128 << 10, 1 << 20);
        let window = size(request.window, 8 << 20, 32 << 20).max(chunk) / chunk;
        let id = self.backups.next_id();
        let snapshot = Snapshot {
            stream_id,
            account,
            ack: format!("$JS.SNAPSHOT.ACK.{name}.{unique}"),
            deliver: request.deliver_subject.clone().into_bytes(),
            chunk: chunk as usize,
            window: window as usize,
            in_flight: 0,
            index: 1,
            next: of_stream.first_sequence.max(1),
            last: of_stream.last_sequence,
            is_read: false,
            out,
            is_fresh: true,
            was_wanted: false,
            due: self.now,
            patience: self.now + PATIENCE,
            started: self.now,
            client,
            stream: name.clone(),
        };
        self.announce_snapshot(id, &snapshot, true);
        let body = json!({"stream": name, "state": shown, "client": snapshot.client});
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_CREATE.{name}");
        self.backups.snapshots.insert(id, snapshot);
        self.advise(account, &subject, "advisory.v1.snapshot_create", fields(body));
        Some(json!({"config": config, "state": shown}))
    }

    fn announce_snapshot(&mut self, id: BackupId, snapshot: &Snapshot, begins: bool) {
        self.interest_changes.push(InterestChange {
            account: snapshot.account,
            interest: Interest::Snapshot(id),
            subject: format!("{}.>", snapshot.ack),
            begins,
        });
    }

    /// Handles the receiver's acknowledgement of a chunk.
    pub fn snapshot_acked(&mut self, id: BackupId) {
        if let Some(snapshot) = self.backups.snapshots.get_mut(&id) {
            snapshot.in_flight = snapshot.in_flight.saturating_sub(1);
            snapshot.due = self.now;
        }
    }

    /// When the next backup has its turn.
    pub(super) fn next_snapshot(&self) -> Option<i64> {
        self.backups.snapshots.values().map(|snapshot| snapshot.due).min()
    }

    /// Runs the backups whose turn is due.
    pub(super) fn run_snapshots(&mut self) {
        let due = self.backups.snapshots.iter().filter(|(_, s)| s.due <= self.now).map(|(id, _)| *id);
        for id in due.collect::<Vec<BackupId>>() {
            let Some(mut snapshot) = self.backups.snapshots.remove(&id) else { continue };
            match self.run_snapshot(&mut snapshot) {
                Some(end) => self.end_snapshot(id, &snapshot, end),
                None => drop(self.backups.snapshots.insert(id, snapshot)),
            }
        }
    }

    /// Runs one turn. Returns the end of the backup, if it is reached: the header block of the last message, and the error, if
    /// there is one.
    fn run_snapshot(&mut self, s: &mut Snapshot) -> Option<(String, Option<String>)> {
        let now = self.now;
        // The reply to the request leaves before the first chunk.
        if std::mem::take(&mut s.is_fresh) {
            return None;
        }
        let account = self.accounts.get(s.account.index())?;
        // A client that subscribes to its whole inbox subscribes to this subject only once it has the reply, and relies on the
        // server to wait.
        let is_wanted = self.host.has_subscriber(&account.name, &s.deliver);
        let failed = |code: u16, text: &str, why: &str| {
            Some((format!("NATS/1.0 {code} {text}\r\n\r\n"), Some(why.to_owned())))
        };
        if s.was_wanted && !is_wanted {
            return failed(408, "No Interest", "no interest");
        }
        s.was_wanted |= is_wanted;
        if !s.was_wanted && now < s.patience {
            s.due = now + LOOK_AGAIN;
            return None;
        }
        if s.in_flight >= s.window && now >= s.patience {
            return failed(408, "No Flow Response", "no flow response");
        }
        if let Err(text) = self.read_on(s) {
            return failed(500, &text, &text);
        }
        while s.in_flight < s.window && s.out.ready() >= s.chunk {
            let bytes = s.out.take(s.chunk);
            let reply = format!("{}.{}.{}", s.ack, bytes.len(), s.index);
            self.send_chunk(s, reply.as_bytes(), b"", &bytes);
            s.index += 1;
            s.in_flight += 1;
            s.patience = now + QUIET;
        }
        if s.is_read && s.out.ready() < s.chunk {
            let rest = s.out.take(usize::MAX);
            if !rest.is_empty() {
                self.send_chunk(s, b"", b"", &rest);
            }
            let end = if s.index > 1 { "NATS/1.0 204\r\n\r\n" } else { "" };
            return Some((end.to_owned(), None));
        }
        s.due = if s.in_flight < s.window { now } else { s.patience };
        None
    }

    /// Reads messages until there are enough bytes for the next chunks, within the limits of a turn.
    fn read_on(&mut self, s: &mut Snapshot) -> Result<(), String> {
        let Some(stream) = self.streams.get(&s.stream_id) else { return Err("stream deleted".to_owned()) };
        let messages = stream.core.messages();
        let mut bytes = 0;
        for _ in 0..LOOK_MAX {
            if s.is_read || bytes >= TURN || s.out.ready() >= s.chunk * 2 {
                return Ok(());
            }
            let next = match messages.next_matching(None, s.next, LOOK_MAX) {
                Progress::Done(next) => next.filter(|next| *next <= s.last),
                Progress::More(at) => {
                    s.next = at;
                    return Ok(());
                }
            };
            let Some(sequence) = next else {
                Entry::default().encode(s.out.plain());
                s.out.pack(true);
                s.is_read = true;
                return Ok(());
            };
            match messages.read(sequence, &mut self.read_buffer) {
                Ok(Some(m)) => {
                    let entry = Entry {
                        name: m.subject,
                        time: m.time,
                        sequence,
                        headers: m.headers,
                        content: m.payload,
                    };
                    bytes += m.headers.len() + m.payload.len() + 32;
                    entry.encode(s.out.plain());
                    s.out.pack(false);
                }
                Ok(None) => {}
                Err(e) => return Err(format!("couldn't load next message after seq {}: {e}", s.next)),
            }
            s.next = sequence + 1;
        }
        Ok(())
    }

    fn send_chunk(&mut self, s: &Snapshot, reply: &[u8], headers: &[u8], payload: &[u8]) {
        let message = Outgoing {
            account: s.account,
            subject: &s.deliver,
            reply,
            headers,
            payload,
            ..Outgoing::default()
        };
        // Chunks leave behind the reply to the request, which may wait for the log.
        self.outbox.push(true, &message);
    }

    fn end_snapshot(&mut self, id: BackupId, s: &Snapshot, (headers, why): (String, Option<String>)) {
        self.send_chunk(s, b"", headers.as_bytes(), b"");
        self.announce_snapshot(id, s, false);
        let mut body = json!({
            "stream": s.stream, "start": rfc3339(s.started), "end": rfc3339(self.now), "client": s.client,
        });
        if let Some(why) = why {
            self.warn(format!("The backup of stream '{}' was not completed: {why}", s.stream));
            body["error"] = why.into();
        }
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.SNAPSHOT_COMPLETE.{}", s.stream);
        self.advise(s.account, &subject, "advisory.v1.snapshot_complete", fields(body));
    }
}
