//! References: a log with a lazy sync refers to long messages in their segments instead of holding them.
//!
//! A message is written to its segment before the reference is written to the log, so a kill keeps both or neither. The log
//! counts as durable only when those segments are.
//!
//! Messages of 512 bytes or more are referenced. A power cut may leave references to messages that never reached the disk. Where
//! the log is not proven durable, it ends at the first such reference (`Log::open_whole`). So a stream loses its end but has no
//! holes. A referenced record whose sectors were all written but that can't be read is damage, and costs its message only.
//!
//! - The remains of a dropped tail must not pass for such damage, so nothing is appended in their place
//!   (`FileStream::begin_anew`).
//! - What a killed process left unsynced is synced before it counts.
//! - After an opening, no referenced segment is overwritten, sealed or removed before the next checkpoint. So a second crash
//!   finds the same data.
//! - A message that can't be written because the disk is full is logged behind its reference, before its segment is removed.
//!
//! A log that syncs every commit holds all messages itself, since references would need a second sync per commit.

use hashbrown::{HashMap, HashSet};
use stonechat_store::disk::Disk;
use stonechat_store::file::{FileStream, Files, Reference};
use stonechat_store::messages::Messages;
use stonechat_store::wal::{self, GroupId, Record};

use super::journal::{Body, Event};
use super::replay::Replay;
use super::{Durability, Engine, Storage};
use crate::error::{self, ApiError};
use crate::ids::StreamId;
use crate::stream::{Entry, headers};

impl<D: Disk> Engine<D> {
    /// Applies a change of a stream, and logs it if the stream is logged.
    pub(super) fn log_and_apply(&mut self, stream_id: StreamId, entry: &Entry<'_>) -> Result<u64, ApiError> {
        if self.options.durability != Durability::Synced && may_remove_all(entry) {
            // The change may remove segments with messages that are not written yet.
            self.write_referred_of(stream_id);
        }
        let Some(stream) = self.streams.get_mut(&stream_id) else {
            return Err(error::STREAM_NOT_FOUND.error());
        };
        if !stream.is_logged() {
            return stream.core.apply(entry);
        }
        let sequence = stream.core.messages().last_sequence() + 1;
        let is_referred = match *entry {
            Entry::Append { subject, headers, payload, .. } => {
                self.options.durability != Durability::Synced
                    && subject.len() + headers.len() + payload.len() >= self.options.sizes.referred
            }
            _ => false,
        };
        if !is_referred {
            let body = Body::of(entry, sequence);
            self.log.append(stream_id.into(), body.kind, &body.parts());
            return stream.core.apply(entry);
        }
        let result = stream.core.apply(entry);
        if result.is_ok() {
            let reference = match stream.core.messages_mut() {
                Storage::File(file) => file.refer(),
                Storage::Memory(_) => None,
            };
            // Without a reference the message was already removed, together with its segment.
            let body = match &reference {
                Some(reference) => Body::refer(sequence, reference),
                None => Body::of(entry, sequence),
            };
            self.log.append(stream_id.into(), body.kind, &body.parts());
            self.checkpoint.referred += reference.map_or(0, |reference| reference.len());
        }
        result
    }

    /// Writes the messages that the gathered records refer to. Messages that can't be written to their segment are gathered for
    /// the log.
    pub(super) fn write_referred(&mut self) {
        if self.options.durability == Durability::Synced {
            return;
        }
        for i in 0..self.gathered.len() {
            let stream_id = self.gathered[i];
            self.write_referred_of(stream_id);
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            let Storage::File(file) = stream.core.messages_mut() else { continue };
            let (files, names_changed) = file.unsynced();
            self.log.depend(files, names_changed.then(|| self.files.disk()));
        }
    }

    /// Like [`Engine::write_referred`], for one stream, and without making the log depend on the sync of its segments.
    pub(super) fn write_referred_of(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let Storage::File(file) = stream.core.messages_mut() else { return };
        let Some(from) = file.referred() else { return };
        if file.write_out().is_ok() {
            return;
        }
        let mut buffer = Vec::new();
        for sequence in from..=file.last_sequence() {
            let Ok(Some(message)) = file.read(sequence, &mut buffer) else { continue };
            let body = Body::content(&message);
            self.log.append(stream_id.into(), body.kind, &body.parts());
        }
        file.forget_referred();
        // Stays so until a checkpoint has written the messages.
        self.room.is_behind = true;
        self.disk_full();
    }
}

/// Whether a change may remove all messages of the last segment.
fn may_remove_all(entry: &Entry<'_>) -> bool {
    match *entry {
        Entry::Append { headers, .. } => {
            !headers.is_empty() && headers::value(headers, b"Nats-Rollup").is_some()
        }
        Entry::Skip { .. } | Entry::SkipTo { .. } => false,
        Entry::Remove { .. } | Entry::Trim { .. } | Entry::Clear { .. } => true,
    }
}

/// Checks, while the log is opened, whether the referenced messages reached the disk.
pub(super) struct Arrivals<D: Disk> {
    files: Files<D>,
    /// The log position of the store's catalogue entry. Records before it may refer to segments that are gone.
    known: u64,
    /// Segments, by stream and number, that are known to be durable.
    synced: HashSet<(u32, u32)>,
}

impl<D: Disk> Arrivals<D> {
    pub(super) fn new(files: Files<D>, known: u64) -> Self {
        Self { files, known, synced: HashSet::new() }
    }

    /// Whether all messages are there that the records refer to, in a segment or in a later record. Their segments are durable
    /// then.
    pub(super) fn have_come(&mut self, salt: u64, records: &[Record<'_>]) -> Result<bool, wal::Error> {
        let is_content = |group: GroupId, wanted: u64| {
            let mut others = records.iter().filter(|other| other.group == group);
            others.any(|other| matches!(Event::decode(other), Some(Event::Content { sequence, .. }) if sequence == wanted))
        };
        let known = self.known;
        for record in records.iter().filter(|record| record.position >= known) {
            let Some(Event::Refer { sequence, reference }) = Event::decode(record) else { continue };
            let group = record.group.0;
            if FileStream::has_come(&self.files, salt, group, &reference) {
                self.make_durable(group, &reference)?;
            } else if !is_content(record.group, sequence) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Syncs a segment. Once is enough: nothing is written to these segments any more.
    fn make_durable(&mut self, group: u32, reference: &Reference) -> Result<(), wal::Error> {
        if !self.synced.insert((group, reference.number)) {
            return Ok(());
        }
        let synced = FileStream::sync_referred(&self.files, group, reference);
        synced.and_then(|()| self.files.disk().sync_names()).map_err(|source| wal::Error::Io {
            action: "sync",
            file: format!("a segment of stream number {group}"),
            source,
        })
    }
}

/// The segments and messages that a log refers to. They must be kept until the next checkpoint.
#[derive(Default)]
pub(super) struct Referred {
    /// The highest referenced segment of each stream.
    highest: HashMap<GroupId, u32>,
    segments: HashSet<(GroupId, u32)>,
    /// The index of the record with the message, for messages logged behind their reference; by stream and sequence.
    contents: HashMap<(GroupId, u64), usize>,
}

impl Referred {
    /// Collects the references of a log. `is_known(stream, position)`: the catalogue covers the stream's record at this position.
    pub(super) fn of(replay: &Replay, is_known: impl Fn(GroupId, u64) -> bool) -> Self {
        let mut referred = Self::default();
        for (i, record) in replay.records().enumerate() {
            let group = record.group;
            if is_known(group, record.position) {
                continue;
            }
            match Event::decode(&record) {
                Some(Event::Refer { reference, .. }) => {
                    let highest = referred.highest.entry(group).or_default();
                    *highest = (*highest).max(reference.number);
                    referred.segments.insert((group, reference.number));
                }
                Some(Event::Content { sequence, .. }) => {
                    referred.contents.insert((group, sequence), i);
                }
                _ => {}
            }
        }
        referred
    }

    pub(super) fn is_empty(&self) -> bool {
        self.highest.is_empty()
    }

    /// The highest referenced segment of a stream.
    pub(super) fn highest(&self, stream_id: StreamId) -> Option<u32> {
        self.highest.get(&GroupId::from(stream_id)).copied()
    }

    /// Whether the log refers to this file.
    pub(super) fn holds(&self, stream_id: StreamId, file: &str) -> bool {
        let number = file.rsplit('-').next().and_then(|number| number.parse().ok());
        number.is_some_and(|number| self.segments.contains(&(stream_id.into(), number)))
    }

    /// The record with a message that was logged behind its reference.
    pub(super) fn content<'r>(
        &self,
        replay: &'r Replay,
        stream_id: StreamId,
        sequence: u64,
    ) -> Option<Record<'r>> {
        replay.record(*self.contents.get(&(stream_id.into(), sequence))?)
    }
}

impl<D: Disk> Engine<D> {
    /// Replays a reference: appends the message that it refers to, or counts the message as lost.
    pub(super) fn replay_reference(
        &mut self,
        stream_id: StreamId,
        sequence: u64,
        reference: &Reference,
        content: Option<Event<'_>>,
    ) {
        if let Some(event @ Event::Content { .. }) = &content {
            return self.replay_change(stream_id, event);
        }
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let Storage::File(file) = stream.core.messages() else { return };
        let mut buffer = std::mem::take(&mut self.read_buffer);
        match file.referred_message(reference, &mut buffer).filter(|message| message.sequence == sequence) {
            Some(message) => {
                let event = Event::Append {
                    sequence,
                    time: message.time,
                    subject: message.subject,
                    headers: message.headers,
                    payload: message.payload,
                };
                self.replay_change(stream_id, &event);
            }
            None => {
                let file = file.referred_file(reference);
                self.lose_until(stream_id, sequence.saturating_sub(1), "log", 0);
                self.lose_until(stream_id, sequence, &file, reference.offset());
            }
        }
        self.read_buffer = buffer;
    }
}
