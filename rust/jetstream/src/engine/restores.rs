//! Backups that are being restored.
//!
//! A stream that is being restored has a mark in its metadata and no subscriptions. The last step gives it the configuration of
//! its backup. An opening after a crash finds the mark, and drops the incomplete stream.
//!
//! Restored messages are stored through the same log as all others, so a restore needs no files of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::snapshots::Snapshot;
use super::{Engine, Interest, InterestChange, Outgoing};
use crate::api::{error_json, fields};
use crate::backup::archive;
use crate::backup::consumer::{self, SavedConsumer};
use crate::backup::frames::Decompressor;
use crate::backup::old::{self, File, Record};
use crate::backup::{BackupError, STATE_MAX, STATES_MAX};
use crate::consumer::Change;
use crate::error::{self, ApiError};
use crate::ids::{AccountId, BackupId, StreamId};
use crate::stream::{Entry, StreamConfig, Ttl, headers};
use crate::time::rfc3339;

/// The metadata key that marks a stream as being restored.
const MARK: &str = "_stonechat.restoring";
/// Nanoseconds without a chunk after which a restore fails.
const STALLED: i64 = 5_000_000_000;
/// Limits for restores at the same time: of one account, and of all accounts.
const OF_ACCOUNT_MAX: usize = 8;
const OF_SERVER_MAX: usize = 32;
/// Limits for chunks that were received but not answered: their number, and their bytes.
const CHUNKS_MAX: usize = 1024;
const UNREAD_MAX: usize = 32 << 20;
/// Limit for the bytes that a restore stores in one turn.
const TURN: usize = 1 << 20;

/// Backups that are being sent or restored, by id.
#[derive(Debug, Default)]
pub(super) struct Backups {
    last_id: BackupId,
    pub(super) snapshots: BTreeMap<BackupId, Snapshot>,
    pub(super) restores: BTreeMap<BackupId, Restore>,
}

impl Backups {
    pub(super) fn next_id(&mut self) -> BackupId {
        self.last_id = BackupId(self.last_id.0.wrapping_add(1));
        self.last_id
    }
}

/// A backup that is being restored.
#[derive(Debug)]
pub(super) struct Restore {
    account: AccountId,
    /// The configuration of the complete stream.
    config: StreamConfig,
    /// The incomplete stream, once the backup's state entry is read.
    stream_id: Option<StreamId>,
    /// The subject of the chunks.
    subject: String,
    frames: Decompressor,
    archive: archive::Reader,
    /// The reader for a backup of an older server, used in place of `archive`.
    old: Option<old::Reader>,
    /// The stream's state according to the request.
    state: Value,
    /// Sequences that an older server's backup contains although they were removed.
    removed: Vec<u64>,
    /// Reply subjects of chunks, answered once their content is stored.
    replies: Vec<Vec<u8>>,
    /// The reply subject of the last chunk, once all chunks are received.
    end: Option<Vec<u8>>,
    is_ended: bool,
    consumers: Vec<(String, SavedConsumer)>,
    consumers_left: u64,
    /// Bytes of consumers in the backup.
    consumers_bytes: u64,
    /// The last sequence that was stored, and the last one according to the backup's state.
    last: u64,
    last_of_state: u64,
    messages_of_state: u64,
    bytes: u64,
    due: i64,
    started: i64,
    client: Value,
}

impl<D: Disk> Engine<D> {
    /// Begins to restore a backup into a stream whose configuration has been checked. Returns the subject for the chunks.
    pub(crate) fn begin_restore(
        &mut self,
        account: AccountId,
        config: StreamConfig,
        state: Value,
        client: Value,
    ) -> String {
        let unique = self.host.unique_id();
        let name = config.name.clone();
        let subject = format!("$JS.SNAPSHOT.RESTORE.{name}.{unique}");
        let id = self.backups.next_id();
        let restore = Restore {
            account,
            config,
            stream_id: None,
            subject: subject.clone(),
            frames: Decompressor::default(),
            archive: archive::Reader::default(),
            old: None,
            state,
            removed: Vec::new(),
            replies: Vec::new(),
            end: None,
            is_ended: false,
            consumers: Vec::new(),
            consumers_left: 0,
            consumers_bytes: 0,
            last: 0,
            last_of_state: 0,
            messages_of_state: 0,
            bytes: 0,
            due: self.now + STALLED,
            started: self.now,
            client,
        };
        self.announce_restore(id, &restore, true);
        let body = json!({"stream": name, "client": restore.client});
        self.backups.restores.insert(id, restore);
        let advisory = format!("$JS.EVENT.ADVISORY.STREAM.RESTORE_CREATE.{name}");
        self.advise(account, &advisory, "advisory.v1.restore_create", fields(body));
        subject
    }

    fn announce_restore(&mut self, id: BackupId, restore: &Restore, begins: bool) {
        self.interest_changes.push(InterestChange {
            account: restore.account,
            interest: Interest::Restore(id),
            subject: restore.subject.clone(),
            begins,
        });
    }

    /// Whether another restore may begin.
    pub(crate) fn check_restores(&self, account: AccountId) -> Result<(), ApiError> {
        let restores = &self.backups.restores;
        let of_account = restores.values().filter(|restore| restore.account == account).count();
        if of_account >= OF_ACCOUNT_MAX || restores.len() >= OF_SERVER_MAX {
            return Err(failed("too many backups are being restored"));
        }
        Ok(())
    }

    /// Whether a stream of this name is being restored.
    pub(crate) fn is_restoring(&self, account: AccountId, name: &str) -> bool {
        self.backups.restores.values().any(|r| r.account == account && r.config.name == name)
    }

    /// Takes in a chunk of a backup; an empty chunk is the last one.
    pub fn restore_chunk(&mut self, id: BackupId, reply: &[u8], payload: &[u8]) {
        let now = self.now;
        let Some(restore) = self.backups.restores.get_mut(&id) else { return };
        if restore.end.is_some() {
            return;
        }
        restore.due = now;
        if reply.is_empty() {
            let failed = failed("each chunk requires a reply subject");
            return self.end_restore(id, Err(failed));
        }
        if restore.replies.len() >= CHUNKS_MAX || restore.frames.unread() + payload.len() > UNREAD_MAX {
            return self.end_restore(id, Err(failed("too much was sent before it was answered")));
        }
        if payload.is_empty() {
            restore.end = Some(reply.to_vec());
        } else {
            restore.bytes += payload.len() as u64;
            restore.frames.push(payload);
            restore.replies.push(reply.to_vec());
        }
    }

    /// When the next restore has work, or times out.
    pub(super) fn next_restore(&self) -> Option<i64> {
        self.backups.restores.values().map(|restore| restore.due).min()
    }

    /// Runs the restores that are due.
    pub(super) fn run_restores(&mut self) {
        let now = self.now;
        let due = self.backups.restores.iter().filter(|(_, r)| r.due <= now).map(|(id, _)| *id);
        for id in due.collect::<Vec<BackupId>>() {
            let Some(mut restore) = self.backups.restores.remove(&id) else { continue };
            let is_idle = restore.replies.is_empty() && restore.end.is_none();
            let result = if is_idle { Err(failed("is stalled")) } else { self.run_restore(&mut restore) };
            let is_done = matches!(result, Ok(true));
            self.backups.restores.insert(id, restore);
            match result {
                Ok(_) if is_done => self.end_restore(id, Ok(())),
                Ok(_) => {}
                Err(e) => self.end_restore(id, Err(e)),
            }
        }
    }

    /// Runs one turn of a restore. Returns true if it was the last.
    fn run_restore(&mut self, r: &mut Restore) -> Result<bool, ApiError> {
        let mut stored = 0;
        while stored < TURN {
            let Some(bytes) = r.frames.next_frame().map_err(|e| failed(&e.to_string()))? else {
                for reply in std::mem::take(&mut r.replies) {
                    let message = Outgoing { account: r.account, subject: &reply, ..Outgoing::default() };
                    self.outbox.push(false, &message);
                }
                r.due = self.now + STALLED;
                return match (r.end.is_some(), r.is_ended) {
                    (true, true) => Ok(true),
                    (true, false) => Err(failed("backup was truncated")),
                    (false, _) => Ok(false),
                };
            };
            stored += bytes.len();
            match &mut r.old {
                Some(old) => old.push(&bytes),
                None => r.archive.push(&bytes),
            }
            self.store_entries(r)?;
        }
        r.due = self.now;
        Ok(false)
    }

    /// Stores the entries that are complete.
    fn store_entries(&mut self, r: &mut Restore) -> Result<(), ApiError> {
        if r.old.is_some() {
            return self.store_files(r);
        }
        let mut archive = std::mem::take(&mut r.archive);
        let result = loop {
            let is_state = r.stream_id.is_none() || r.consumers_left > 0;
            archive.limit(match is_state {
                true => STATE_MAX.min(STATES_MAX.saturating_sub(r.consumers_bytes)),
                false => self.restored_len_max(r),
            });
            match archive.next_entry() {
                Ok(Some(entry)) if !r.is_ended => {
                    if let Err(e) = self.store_entry(r, &entry) {
                        break Err(e);
                    }
                }
                Ok(Some(_) | None) => break Ok(()),
                Err(BackupError::Old) => {
                    let mut reader = old::Reader::default();
                    reader.push(archive.rest());
                    r.old = Some(reader);
                    let state = std::mem::take(&mut r.state);
                    self.restore_state(r, &state)?;
                    r.consumers_left = 0;
                    return self.store_files(r);
                }
                Err(BackupError::TooLarge) if is_state => break Err(failed(&BackupError::State.to_string())),
                Err(e) => break Err(failed(&e.to_string())),
            }
        };
        r.archive = archive;
        result
    }

    /// The longest message that a restore accepts, in bytes.
    fn restored_len_max(&self, r: &Restore) -> u64 {
        let of_stream = u64::try_from(r.config.max_msg_size).ok().filter(|max| *max > 0);
        of_stream.unwrap_or(u64::MAX).min(self.host.max_payload())
    }

    /// Stores the complete files of an older server's backup.
    fn store_files(&mut self, r: &mut Restore) -> Result<(), ApiError> {
        let invalid = |e: BackupError| failed(&e.to_string());
        while let (Some(old), false) = (&mut r.old, r.is_ended) {
            match old.next_file().map_err(invalid)? {
                None => break,
                Some(File::End) => self.end_old(r)?,
                Some(File::Consumer(name, saved)) => r.consumers.push((name, *saved)),
                Some(File::Block(block)) => {
                    for record in old::records(&block) {
                        match record.map_err(invalid)? {
                            Record::Removed(sequence) => r.removed.push(sequence),
                            Record::Message { sequence, .. } if sequence <= r.last => {}
                            Record::Message { sequence, time, subject, headers, payload } => {
                                let entry = archive::Entry {
                                    name: subject,
                                    time,
                                    sequence,
                                    headers,
                                    content: payload,
                                };
                                self.store_entry(r, &entry)?;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes the messages that an older server's backup marks as removed, and checks the number of messages left.
    fn end_old(&mut self, r: &mut Restore) -> Result<(), ApiError> {
        let Some(stream_id) = r.stream_id else { return Err(failed("expected state.json first")) };
        r.removed.sort_unstable();
        r.removed.dedup();
        self.change(stream_id, &Entry::Remove { sequences: &r.removed })?;
        let count = self.streams.get(&stream_id).map_or(0, |stream| stream.core.messages().count());
        if count != r.messages_of_state {
            let text = format!("the backup says {} messages and has {count}", r.messages_of_state);
            return Err(failed(&text));
        }
        r.is_ended = true;
        Ok(())
    }

    fn store_entry(&mut self, r: &mut Restore, entry: &archive::Entry<'_>) -> Result<(), ApiError> {
        let Some(stream_id) = r.stream_id else {
            if entry.name != b"state.json" {
                return Err(failed("expected state.json first"));
            }
            let state: Value = serde_json::from_slice(entry.content)
                .map_err(|e| failed(&format!("error in state.json: {e}")))?;
            return self.restore_state(r, &state);
        };
        if r.consumers_left > 0 {
            let name = entry.name.strip_prefix(b"consumers/").and_then(|n| std::str::from_utf8(n).ok());
            let saved = name.and_then(|name| Some((name.to_owned(), consumer::decode(entry.content)?)));
            let Some(saved) = saved else {
                let name = String::from_utf8_lossy(entry.name);
                return Err(failed(&format!("failed to decode consumer \"{name}\" state")));
            };
            r.consumers_left -= 1;
            // A consumer takes memory even if its entry is short.
            r.consumers_bytes += (entry.name.len() + entry.content.len() + size_of::<SavedConsumer>()) as u64;
            r.consumers.push(saved);
            return Ok(());
        }
        if entry.is_end() {
            r.is_ended = true;
            return Ok(());
        }
        let sequence = entry.sequence;
        if sequence <= r.last {
            let out_of_order = format!("message sequence {sequence} out of order");
            return Err(failed(if sequence == 0 { "expected message sequence" } else { &out_of_order }));
        }
        if !stonechat_subject::is_valid_literal(entry.name) {
            return Err(failed(&format!("message sequence {sequence} has no valid subject")));
        }
        if (entry.headers.len() + entry.content.len()) as u64 > self.restored_len_max(r) {
            return Err(failed(&BackupError::TooLarge.to_string()));
        }
        let ttl = headers::value(entry.headers, b"Nats-TTL").and_then(Ttl::parse);
        let is_over = matches!(ttl, Some(Ttl::For(ttl)) if entry.time.saturating_add(ttl) < self.now);
        let before = if is_over { sequence } else { sequence - 1 };
        if before > r.last {
            self.change(stream_id, &Entry::SkipTo { last: before, time: entry.time })?;
        }
        r.last = sequence;
        if !is_over {
            let (subject, headers, payload) = (entry.name, entry.headers, entry.content);
            self.check_resources(stream_id, subject.len() + headers.len() + payload.len())?;
            self.check_room(stream_id, 1, subject.len() + headers.len() + payload.len())?;
            self.change(stream_id, &Entry::Append { time: entry.time, subject, headers, payload })?;
        }
        Ok(())
    }

    /// Creates the incomplete stream from the backup's state entry.
    fn restore_state(&mut self, r: &mut Restore, state: &Value) -> Result<(), ApiError> {
        let number = |name: &str| state.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (first, last, consumers) = (number("first_seq"), number("last_seq"), number("consumer_count"));
        if last == u64::MAX || first > last.saturating_add(1) {
            return Err(failed("error in state.json: sequences"));
        }
        if self.find(r.account, &r.config.name).is_ok() {
            return Err(error::STREAM_NAME_EXIST_RESTORE_FAILED.error());
        }
        if let Some(refusal) = &self.refuses {
            return Err(refusal.clone());
        }
        let mut config = r.config.clone();
        config.subjects.clear();
        config.sources.clear();
        config.mirror = None;
        // Limits apply with the last step: an older server's backup contains removed messages among the others.
        (config.max_msgs, config.max_bytes, config.max_msgs_per_subject, config.max_age) = (-1, -1, -1, 0);
        config.metadata.insert(MARK.to_owned(), "true".to_owned());
        let stream_id = self.create(r.account, config);
        r.stream_id = Some(stream_id);
        (r.last_of_state, r.messages_of_state) = (last, number("messages"));
        r.consumers_left = consumers;
        self.check_resources(stream_id, usize::try_from(number("bytes")).unwrap_or(usize::MAX))?;
        if first > 1 {
            self.change(stream_id, &Entry::SkipTo { last: first - 1, time: self.now })?;
            r.last = first - 1;
        }
        Ok(())
    }

    /// Completes the stream: gives it its configuration and its consumers.
    fn finish_restore(&mut self, r: &Restore) -> Result<StreamId, ApiError> {
        let Some(stream_id) = r.stream_id else { return Err(failed("expected state.json first")) };
        if r.last_of_state > r.last {
            self.change(stream_id, &Entry::SkipTo { last: r.last_of_state, time: self.now })?;
        }
        self.check_overlap(r.account, &r.config)?;
        self.announce(stream_id, false);
        self.reconfigure(stream_id, r.config.clone());
        for (name, saved) in &r.consumers {
            self.restore_consumer(stream_id, name, saved);
        }
        self.release_unneeded(stream_id);
        self.announce(stream_id, true);
        Ok(stream_id)
    }

    fn restore_consumer(&mut self, stream_id: StreamId, name: &str, saved: &SavedConsumer) {
        let id = self.create_consumer(stream_id, name, saved.config.clone());
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let Some(stream) = self.streams.get(&stream_id) else { return };
        for change in &saved.changes {
            match change {
                Change::Passed(position) => c.pass(*position),
                other => {
                    c.change(other);
                }
            }
        }
        let gone: Vec<u64> = c.state().pending.keys().copied().collect();
        for sequence in gone.into_iter().filter(|sequence| !stream.core.messages().contains(*sequence)) {
            c.change(&Change::Acked(sequence));
        }
        let due: Vec<_> = c
            .state()
            .pending
            .iter()
            .map(|(s, p)| (*s, p.since.saturating_add(c.ack_wait(p.count))))
            .collect();
        for (stream, due) in due {
            c.change(&Change::Due { stream, due: due.max(now) });
        }
        c.settle(stream.core.messages().last_sequence());
        c.forget_count();
        self.note_unlogged(id);
        self.wake(id);
        self.plan(id);
    }

    /// Ends a restore and reports its result. The stream of a failed restore is deleted.
    fn end_restore(&mut self, id: BackupId, result: Result<(), ApiError>) {
        let Some(r) = self.backups.restores.remove(&id) else { return };
        self.announce_restore(id, &r, false);
        let name = &r.config.name;
        let result = result.and_then(|()| self.finish_restore(&r));
        let mut body = json!({"type": "io.nats.jetstream.api.v1.stream_create_response"});
        match &result {
            Ok(stream_id) => {
                if let (Some(stream), Value::Object(body)) = (self.streams.get(stream_id), &mut body) {
                    body.extend(self.describe(stream, true));
                    body.insert("ts".to_owned(), rfc3339(self.now).into());
                }
            }
            Err(e) => {
                // An error with a code of its own is reported unchanged.
                let is_own = e.err_code == error::STREAM_RESTORE.error().err_code;
                let e = if is_own { e.clone() } else { error::STREAM_RESTORE.with("err", &e.description) };
                self.warn(format!("The restore of stream '{name}' failed: {}", e.description));
                body["error"] = error_json(&e);
                if let Some(stream_id) = r.stream_id {
                    self.announce(stream_id, false);
                    self.delete(stream_id);
                }
            }
        }
        let last_reply = r.end.as_ref().or(r.replies.last());
        if let Some(reply) = last_reply {
            let payload = body.to_string();
            let waits = self.is_ahead();
            let message = Outgoing {
                account: r.account,
                subject: reply,
                payload: payload.as_bytes(),
                ..Outgoing::default()
            };
            self.outbox.push(waits, &message);
        }
        let body = json!({
            "stream": name, "start": rfc3339(r.started), "end": rfc3339(self.now), "bytes": r.bytes, "client": r.client,
        });
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.RESTORE_COMPLETE.{name}");
        self.advise(r.account, &subject, "advisory.v1.restore_complete", fields(body));
    }

    /// Deletes the incomplete streams of restores that a crash interrupted.
    pub(super) fn drop_unfinished_restores(&mut self) {
        let marked = self.streams.iter().filter(|(_, s)| s.core.config().metadata.contains_key(MARK));
        let marked: Vec<(StreamId, String)> =
            marked.map(|(stream_id, s)| (*stream_id, s.core.config().name.clone())).collect();
        for (stream_id, name) in marked {
            self.warn(format!("JetStream stream '{name}': its restore was not completed, restore it again"));
            self.announce(stream_id, false);
            self.delete(stream_id);
        }
    }
}

fn failed(text: &str) -> ApiError {
    error::STREAM_RESTORE.with("err", text)
}
