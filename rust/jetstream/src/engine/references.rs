//! Long messages that the log refers to instead of holding them, where it need not be durable at once.
//!
//! What is referred to is written to its segment before the log is, so that a kill leaves both or neither; and the log counts as
//! durable only when those segments are.

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
    /// Logs a change of a stream, if its changes are logged, and carries it out.
    pub(super) fn log_and_apply(&mut self, stream_id: StreamId, entry: &Entry<'_>) -> Result<u64, ApiError> {
        if self.options.durability != Durability::Synced && may_remove_all(entry) {
            // A segment that goes can't be written any more.
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
            // It is gone already, with its segment, if there is nothing to refer to.
            let body = match &reference {
                Some(reference) => Body::refer(sequence, reference),
                None => Body::of(entry, sequence),
            };
            self.log.append(stream_id.into(), body.kind, &body.parts());
            self.checkpoint.referred += reference.map_or(0, |reference| reference.len());
        }
        result
    }

    /// Writes what the gathered records refer to, or gathers it too where it can't be written.
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

    /// The same for one stream, whose segments the log waits for later.
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
        // Until a checkpoint has written it.
        self.room.is_behind = true;
        self.disk_full();
    }
}

/// Whether a change may take out all messages of the last segment.
fn may_remove_all(entry: &Entry<'_>) -> bool {
    match *entry {
        Entry::Append { headers, .. } => {
            !headers.is_empty() && headers::value(headers, b"Nats-Rollup").is_some()
        }
        Entry::Skip { .. } | Entry::SkipTo { .. } => false,
        Entry::Remove { .. } | Entry::Trim { .. } | Entry::Clear { .. } => true,
    }
}

/// Looks, while the log is opened, whether what it refers to has come to the disk.
pub(super) struct Arrivals<D: Disk> {
    files: Files<D>,
    /// What was logged before is in the catalogue, and what it refers to may be gone.
    known: u64,
    /// Segments, by stream and number, that are durable now.
    synced: HashSet<(u32, u32)>,
}

impl<D: Disk> Arrivals<D> {
    pub(super) fn new(files: Files<D>, known: u64) -> Self {
        Self { files, known, synced: HashSet::new() }
    }

    /// Whether all is there that some records refer to, in its segment or in one of them after all. Then it is durable.
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

    /// Nothing is written to these segments any more: once is enough for each.
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

/// What the log refers to, and that must be there until a checkpoint is made.
#[derive(Default)]
pub(super) struct Referred {
    /// The highest segment of each stream.
    highest: HashMap<GroupId, u32>,
    segments: HashSet<(GroupId, u32)>,
    /// Messages that are in the log after all: where their records are, by stream and sequence.
    contents: HashMap<(GroupId, u64), usize>,
}

impl Referred {
    /// Looks through the records of a log; `is_known` tells of stream and position whether the catalogue knows it.
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

    /// The highest segment of a stream that is referred to.
    pub(super) fn highest(&self, stream_id: StreamId) -> Option<u32> {
        self.highest.get(&GroupId::from(stream_id)).copied()
    }

    /// Whether a file is referred to.
    pub(super) fn holds(&self, stream_id: StreamId, file: &str) -> bool {
        let number = file.rsplit('-').next().and_then(|number| number.parse().ok());
        number.is_some_and(|number| self.segments.contains(&(stream_id.into(), number)))
    }

    /// The record with a message that was to be elsewhere.
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
    /// Carries out again what the log says of a message that it refers to.
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
