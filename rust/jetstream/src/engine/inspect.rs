//! Inspection of a store that no server uses: its content, its unreadable messages, and their removal on request.

use std::ops::RangeInclusive;

use serde::Serialize;
use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::checkpoint::key;
use super::journal::STORE;
use super::{Engine, Storage};
use crate::ids::{ConsumerId, StreamId};
use crate::stream::Entry;
use stonechat_store::wal::GroupId;

/// The state of a stream in an inspected store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamReport {
    /// The number of a quarantined stream, which has no account and no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<u32>,
    /// Its account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// The type of its storage: `file`. Messages of streams in memory are not in the store.
    pub storage: &'static str,
    /// The compression of its messages.
    pub compression: &'static str,
    /// The number of messages, unreadable ones included.
    pub messages: u64,
    /// The bytes that the messages count against limits.
    pub bytes: u64,
    /// The first sequence.
    pub first_sequence: u64,
    /// The last sequence.
    pub last_sequence: u64,
    /// The number of subjects.
    pub subjects: u64,
    /// Its files, in the order of its messages.
    pub files: Vec<String>,
    /// Its consumers.
    pub consumers: Vec<ConsumerReport>,
    /// Unreadable messages: the first and the last sequence of each run.
    pub lost: Vec<(u64, u64)>,
}

/// The state of a consumer in an inspected store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConsumerReport {
    /// Its name.
    pub name: String,
    /// The last sequence of the stream that it delivered.
    pub delivered: u64,
    /// The stream sequence up to which all messages are acknowledged.
    pub acknowledged: u64,
    /// The number of messages with a pending acknowledgement.
    pub pending: usize,
}

impl<D: Disk> Engine<D> {
    /// Describes all streams, sorted by account and name. With `reads`, every message on disk is read; newly found damage is
    /// among the [notices](Engine::take_notices) then. `progress` is called with the name of each stream before it is read.
    pub fn inspect(&mut self, reads: bool, mut progress: impl FnMut(&str)) -> Vec<StreamReport> {
        let mut groups: Vec<(String, String, StreamId)> = Vec::new();
        for account in &self.accounts {
            let of = |(name, stream_id): (&String, &StreamId)| {
                (account.name.to_string(), name.clone(), *stream_id)
            };
            groups.extend(account.streams.iter().map(of));
        }
        groups.sort();
        let mut quarantined: Vec<StreamId> = self.quarantined().map(|(stream_id, _)| stream_id).collect();
        quarantined.sort_unstable();
        groups.extend(quarantined.into_iter().map(|stream_id| (String::new(), String::new(), stream_id)));
        let mut reports = Vec::new();
        for (account, name, stream_id) in groups {
            if reads {
                progress(&name);
                self.read_all(stream_id);
            }
            let Some(stream) = self.streams.get(&stream_id) else { continue };
            let state = stream.core.messages().state();
            let (storage, files, lost) = match stream.core.messages() {
                Storage::File(file) => ("file", file.file_names(), file.lost_sequences()),
                Storage::Memory(_) => ("memory", Vec::new(), Vec::new()),
            };
            let consumers = stream.consumers.values().filter_map(|id| self.consumers.get(id));
            reports.push(StreamReport {
                quarantined: stream.is_quarantined().then_some(stream_id.0),
                account,
                name,
                storage,
                compression: if stream.core.config().is_compressed() { "s2" } else { "none" },
                messages: state.messages,
                bytes: state.bytes,
                first_sequence: state.first_sequence,
                last_sequence: state.last_sequence,
                subjects: state.subjects,
                files,
                consumers: consumers
                    .map(|c| ConsumerReport {
                        name: c.name.to_string(),
                        delivered: c.state().delivered.stream,
                        acknowledged: c.state().floor.stream,
                        pending: c.state().pending.len(),
                    })
                    .collect(),
                lost: runs(&lost),
            });
        }
        reports
    }

    fn read_all(&mut self, stream_id: StreamId) {
        if let Some(stream) = self.streams.get(&stream_id)
            && let Storage::File(file) = stream.core.messages()
        {
            file.walk_all(&mut |_| {});
        }
        self.note_news(stream_id);
        self.take_news();
    }

    /// Catalogue entries that can't be read, or whose stream is missing. They are left as they are.
    pub fn left_alone(&self) -> Vec<GroupId> {
        let known = |group: &GroupId| {
            *group == STORE
                || self.streams.contains_key(&StreamId::of(*group))
                || self.consumers.contains_key(&ConsumerId::of(*group))
                || self.quarantine.is_nameless(ConsumerId::of(*group))
                // The next checkpoint removes the entry.
                || self.deleted.contains(group.0)
        };
        let entries =
            self.catalogue.entries().filter_map(|(number, _)| u32::try_from(number).ok()).map(GroupId);
        entries.filter(|group| !known(group)).collect()
    }

    /// Removes unreadable messages from their streams, and gives up the entries that were left alone. Returns the number of
    /// messages removed from each stream. The change is on disk after [`Engine::close`].
    pub fn accept_loss(&mut self) -> Vec<(String, u64)> {
        let mut gone = Vec::new();
        let groups: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream_id in groups {
            self.read_all(stream_id);
            let Some(stream) = self.streams.get(&stream_id) else { continue };
            let name = stream.core.config().name.clone();
            let Storage::File(file) = stream.core.messages() else { continue };
            let sequences = file.lost_sequences();
            for sequences in sequences.chunks(1024) {
                // A failure of the log is among the notices.
                let _ = self.change(stream_id, &Entry::Remove { sequences });
            }
            if !sequences.is_empty() {
                gone.push((name, sequences.len() as u64));
            }
        }
        self.accept_damage();
        for group in self.left_alone() {
            self.checkpoint.deleted.push(key(group));
            self.deleted.insert(group.0);
            let prefix = format!("stream-{}-", group.0);
            let names = self.files.disk().names().unwrap_or_default();
            self.checkpoint.obsolete.extend(names.into_iter().filter(|name| name.starts_with(&prefix)));
        }
        gone.sort();
        gone
    }
}

/// Joins consecutive sequences to runs.
fn runs(sequences: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
    for &sequence in sequences {
        match runs.last_mut() {
            Some(run) if run.end().checked_add(1) == Some(sequence) => *run = *run.start()..=sequence,
            _ => runs.push(sequence..=sequence),
        }
    }
    runs.into_iter().map(|run| (*run.start(), *run.end())).collect()
}
