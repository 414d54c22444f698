//! Streams and consumers without a description, and the operations that are held back because of them.
//!
//! A missing description does not mean that a stream or consumer is gone (storage rule 5): only a logged deletion does. A stream
//! with messages in the log or in files, but without a creation, is *quarantined*. It is kept and reported. It has no account and
//! no subscriptions, and loses nothing, until an operator names it or gives it up (`stonechat-server store repair`). A consumer
//! may be known only by its number. Then streams of interest retention release nothing, since that consumer may need it.
//!
//! The catalogue keeps the numbers of all deleted streams and consumers. So an opening can tell these from streams and consumers
//! whose description is missing.
//!
//! While data may be missing, an opening infers nothing: it releases no message, drops no incomplete restore, and removes no
//! segment except those of deleted streams.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use stonechat_store::catalogue::CatalogueRecovery;
use stonechat_store::disk::Disk;
use stonechat_store::file::FileStream;
use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;
use stonechat_store::wal::{GroupId, Recovery};
use stonechat_subject::overlaps;

use super::checkpoint::key;
use super::entries::{MoreOfStore, StoreEntry};
use super::journal::{Body, Event, STORE};
use super::recovery::OpenError;
use super::replay::Replay;
use super::{Engine, Storage, Stream};
use crate::ids::{AccountId, ConsumerId, StreamId};
use crate::stream::{Retention, StreamConfig, StreamRequest};

/// The account of quarantined streams: no account has this number.
const NOWHERE: AccountId = AccountId(u32::MAX);
/// The metadata key that holds the configuration that the log has of a quarantined stream.
const CONFIG: &str = "_stonechat.config";
/// The least bytes that a record with a message takes in the log.
const RECORD_LEN_MIN: u64 = 48;
/// The most first tokens that become subjects of an adopted stream. With more, the subjects can't be guessed.
const SUBJECTS_MAX: usize = 16;

/// The damage found in the store, and the streams and consumers without a description.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    /// Whether this opening found damage.
    is_damaged: bool,
    /// Whether streams may exist that neither catalogue nor log know: the end of a lazy log was torn off, or there was no log.
    is_ignorant: bool,
    /// Whether damage that may have cost streams or consumers was found, now or earlier, and no operator has accepted it.
    is_open: bool,
    /// Whether the next checkpoint has to write a change of this.
    pub(super) is_changed: bool,
    /// Consumers known only by their numbers.
    nameless: BTreeSet<ConsumerId>,
    /// Streams without a description whose files can't be read.
    unreadable: BTreeSet<StreamId>,
}

/// The log's records about a stream or consumer without a description.
#[derive(Default)]
struct Stranger {
    /// The sequence of its first message in the log.
    first: Option<u64>,
    config: Option<Vec<u8>>,
    is_consumer: bool,
}

/// The numbers of a stream's segments, by the stream's number.
type Segments = BTreeMap<StreamId, Vec<u32>>;

impl<D: Disk> Stream<D> {
    pub(super) fn is_quarantined(&self) -> bool {
        self.account == NOWHERE
    }
}

impl Quarantine {
    /// Combines the results of reading catalogue and log with the catalogue's entry from earlier openings.
    pub(super) fn of(
        found: &CatalogueRecovery,
        log: &Recovery,
        store: Option<&StoreEntry>,
        is_ignorant: bool,
    ) -> Self {
        let more = store.and_then(|store| store.more.as_ref());
        // Stores from before deletions were remembered logged creations only once.
        let is_old = store.is_some() && more.is_none();
        let is_serious = log.lost_several || is_old && !log.damaged.is_empty();
        let is_open = is_serious || !found.lost.is_empty() || more.is_some_and(|more| more.is_damaged);
        let is_damaged = !found.lost.is_empty() || !log.damaged.is_empty();
        Self { is_damaged, is_ignorant, is_open, is_changed: is_serious, ..Self::default() }
    }

    /// Notes that the log is missing.
    pub(super) fn lose_log(&mut self) {
        (self.is_damaged, self.is_open, self.is_changed) = (true, true, true);
    }

    /// Adds a consumer that the catalogue knows only by its number.
    pub(super) fn add_nameless(&mut self, id: ConsumerId) {
        self.nameless.insert(id);
    }

    pub(super) fn is_nameless(&self, id: ConsumerId) -> bool {
        self.nameless.contains(&id)
    }

    /// Whether files of this stream are kept although they can't be read.
    pub(super) fn is_unreadable(&self, stream_id: StreamId) -> bool {
        self.unreadable.contains(&stream_id)
    }
}

/// Splits a file name into the stream's number and, for a segment, the segment's number.
pub(super) fn parse(name: &str) -> Option<(StreamId, Option<u32>)> {
    let (stream_id, rest) = name.strip_prefix("stream-")?.split_once('-')?;
    Some((StreamId(stream_id.parse().ok()?), rest.parse().ok()))
}

impl<D: Disk> Engine<D> {
    /// The quarantined streams.
    pub(super) fn quarantined(&self) -> impl Iterator<Item = (StreamId, &Stream<D>)> {
        let streams = self.streams.iter().filter(|(_, stream)| stream.is_quarantined());
        streams.map(|(stream_id, stream)| (*stream_id, stream))
    }

    /// Whether data may be missing, so that a stream or consumer without a description may still exist.
    pub(super) fn is_anything_missing(&self) -> bool {
        let quarantine = &self.quarantine;
        quarantine.is_damaged || self.is_damage_open()
    }

    /// Whether data is or may be missing until an operator accepts it.
    fn is_damage_open(&self) -> bool {
        let Quarantine { is_open, nameless, unreadable, .. } = &self.quarantine;
        *is_open
            || !nameless.is_empty()
            || !unreadable.is_empty()
            || self.quarantined().next().is_some()
            || !self.left_alone().is_empty()
    }

    /// The catalogue's entry for the store itself.
    pub(super) fn entry_of_store(&mut self, position: u64) -> StoreEntry {
        self.quarantine.is_changed = false;
        // Consecutive numbers are stored as runs.
        self.deleted.optimize();
        let (is_damaged, deleted) = (self.quarantine.is_open, self.deleted.clone());
        let more = MoreOfStore { is_damaged, deleted, salt: self.salt };
        StoreEntry { position, next_number: self.next_number, more: Some(more) }
    }

    /// Collects the numbers of deleted streams and consumers from the catalogue and the log.
    pub(super) fn learn_deleted(&mut self, replay: &Replay, store: Option<StoreEntry>, lost: &[u64]) {
        match store {
            Some(StoreEntry { more: Some(more), .. }) => self.deleted = more.deleted,
            // An older store did not remember deletions. A number without an entry was deleted, unless damage took the entry.
            Some(store) => {
                let is_gone =
                    |group: GroupId| self.catalogue.get(key(group)).is_none() && !lost.contains(&key(group));
                self.deleted =
                    (STORE.0 + 1..store.next_number).filter(|number| is_gone(GroupId(*number))).collect();
            }
            None => {}
        }
        for record in replay.records() {
            let deleted = match Event::decode(&record) {
                Some(Event::Delete { stream_id }) => stream_id.into(),
                Some(Event::DeleteConsumer { id }) => GroupId::from(id),
                _ => continue,
            };
            self.deleted.insert(deleted.0);
        }
    }

    /// Quarantines the streams and consumers without a description. `from` is the log position of the store's catalogue entry;
    /// `consumers` are those of the catalogue.
    pub(super) fn take_in_strangers(
        &mut self,
        replay: &Replay,
        from: u64,
        consumers: &HashSet<ConsumerId>,
        log: &Recovery,
    ) -> Result<(), OpenError> {
        let mut next = self.next_number;
        let mut created = HashSet::new();
        for record in replay.records() {
            let group = match Event::decode(&record) {
                Some(Event::Create { stream_id, .. }) => stream_id.into(),
                Some(Event::CreateConsumer { id, .. }) => GroupId::from(id),
                _ => continue,
            };
            created.insert(group);
            next = next.max(group.0.saturating_add(1));
        }
        let is_known = |engine: &Self, group: GroupId| {
            created.contains(&group)
                || consumers.contains(&ConsumerId::of(group))
                || engine.deleted.contains(group.0)
                || engine.quarantine.is_nameless(ConsumerId::of(group))
                || engine.catalogue.get(key(group)).is_some()
        };
        let mut strangers = strangers(replay, from, |group| !is_known(self, group));
        let segments = self.segments()?;
        if self.is_anything_missing() {
            // The segments may hold messages that the log has lost, so nothing may overwrite them.
            for (group, numbers) in &segments {
                self.begin_behind(*group, numbers.iter().max().copied());
            }
        }
        for group in segments.keys().map(|id| GroupId::from(*id)).filter(|group| !is_known(self, *group)) {
            // If nothing is missing, files with a number that was never assigned belong to a creation that never became durable.
            if group.0 < next || self.is_anything_missing() || self.quarantine.is_ignorant {
                strangers.entry(group).or_default();
            }
        }
        let damaged = log.damaged.iter().map(|damage| damage.to - damage.from).sum();
        for (group, stranger) in strangers {
            self.next_number = self.next_number.max(group.0.saturating_add(1));
            if stranger.is_consumer {
                self.quarantine.nameless.insert(ConsumerId::of(group));
                self.quarantine.is_changed = true;
                self.dirty.push(group);
            } else {
                let group = StreamId::of(group);
                let numbers = segments.get(&group).map_or(&[][..], Vec::as_slice);
                self.take_in(group, &stranger, numbers, damaged)?;
            }
        }
        Ok(())
    }

    /// The segments on disk.
    pub(super) fn segments(&self) -> Result<Segments, OpenError> {
        let mut segments = Segments::new();
        for (group, number) in self.files.disk().names()?.iter().filter_map(|name| parse(name)) {
            segments.entry(group).or_default().extend(number);
        }
        segments.retain(|_, numbers| !numbers.is_empty());
        Ok(segments)
    }

    /// Creates a quarantined stream from its segments or the log. `damaged` is the number of damaged bytes in the log.
    fn take_in(
        &mut self,
        stream_id: StreamId,
        stranger: &Stranger,
        numbers: &[u32],
        damaged: u64,
    ) -> Result<(), OpenError> {
        let files = &self.files;
        let open = |manifest: Vec<u8>| FileStream::open(Arc::clone(files), self.salt, stream_id.0, &manifest);
        let mut file = match FileStream::rebuild(files, self.salt, stream_id.0, numbers)?.and_then(open) {
            Some(file) => file?,
            None if stranger.first.is_none() && !numbers.is_empty() => {
                self.quarantine.unreadable.insert(stream_id);
                return Ok(());
            }
            None => {
                let first = stranger.first.unwrap_or(1);
                // Earlier messages may have been lost together with the creation, unless the stream began at a higher sequence.
                let is_lost = (first - 1).saturating_mul(RECORD_LEN_MIN) <= damaged;
                FileStream::new(Arc::clone(files), self.salt, stream_id.0, if is_lost { 1 } else { first })
            }
        };
        if let Some(number) = numbers.iter().max() {
            file.begin_behind(*number);
        }
        let mut config = placeholder(stream_id);
        if let Some(json) = &stranger.config {
            config.metadata.insert(CONFIG.to_owned(), String::from_utf8_lossy(json).into_owned());
        }
        self.add_stream(stream_id, NOWHERE, self.now, config, Storage::File(Box::new(file)));
        self.note_dirty(stream_id);
        Ok(())
    }

    /// Returns the account of a catalogue entry. An empty name stands for a quarantined stream.
    pub(super) fn account_of_entry(&mut self, account: &str) -> AccountId {
        if account.is_empty() { NOWHERE } else { self.account(account) }
    }

    /// Remembers the configuration that the log has of a quarantined stream. Returns false if the stream is not quarantined.
    pub(super) fn remember_config(&mut self, stream_id: StreamId, json: &[u8]) -> bool {
        let Some(stream) = self.streams.get_mut(&stream_id).filter(|stream| stream.is_quarantined()) else {
            return false;
        };
        let mut config = stream.core.config().clone();
        config.metadata.insert(CONFIG.to_owned(), String::from_utf8_lossy(json).into_owned());
        stream.set_config(config, false);
        true
    }

    /// Reports what is quarantined, and holds the messages that a missing consumer may need.
    pub(super) fn tell_quarantine(&mut self) {
        let mut texts = Vec::new();
        let mut groups: Vec<StreamId> = self.quarantined().map(|(stream_id, _)| stream_id).collect();
        groups.sort_unstable();
        for stream_id in groups {
            let Some(stream) = self.streams.get(&stream_id) else { continue };
            let state = stream.core.messages().state();
            let files = match stream.core.messages() {
                Storage::File(file) => file.file_names().join(", "),
                Storage::Memory(_) => String::new(),
            };
            texts.push(format!(
                "JetStream store: nothing says what stream number {stream_id} is, it is quarantined: {} messages, {} bytes, sequences {} to {}, \
                 subjects {}, {}; name it with `stonechat-server store repair --adopt {stream_id}=NAME`, or give it up with `--discard {stream_id}`",
                state.messages,
                state.bytes,
                state.first_sequence,
                state.last_sequence,
                self.subjects_of(stream_id).join(" "),
                if files.is_empty() { "all in the log".to_owned() } else { format!("files {files}") },
            ));
        }
        for id in &self.quarantine.nameless {
            texts.push(format!(
                "JetStream store: nothing says what consumer number {id} is, neither its stream nor its name, so it can't be adopted; what \
                 streams hold for consumers is not released, until `stonechat-server store repair --accept-loss` gives it up: create it \
                 anew before"
            ));
        }
        for stream_id in &self.quarantine.unreadable {
            texts.push(format!(
                "JetStream store: nothing says what stream number {stream_id} is, and its files can't be read: they are kept; give them up with \
                 `stonechat-server store repair --discard {stream_id}`"
            ));
        }
        if self.quarantine.is_open {
            texts.push(
                "JetStream store: damage was found that may have cost a stream or a consumer; what streams hold for consumers is not \
                 released, until `stonechat-server store repair --accept-loss` accepts it"
                    .to_owned(),
            );
        }
        texts.into_iter().for_each(|text| self.complain(text));
        if self.is_damage_open() {
            for stream in self.streams.values_mut() {
                if stream.core.config().retention == Retention::Interest {
                    stream.held = stream.core.messages().last_sequence();
                }
            }
        }
    }

    /// The subjects that a stream should have, judged by its messages; empty if there are too many.
    fn subjects_of(&self, stream_id: StreamId) -> Vec<String> {
        let Some(stream) = self.streams.get(&stream_id) else { return Vec::new() };
        // By first token: the subject, or `None` if there are several with this token.
        let mut found: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let _ = stream.core.messages().subjects(&Filter::new(b">"), None, &mut |subject, _| {
            let first = subject.split(|byte| *byte == b'.').next().unwrap_or_default();
            match found.get_mut(first) {
                Some(single) => *single = None,
                None => drop(found.insert(first.to_vec(), Some(subject.to_vec()))),
            }
            if found.len() > SUBJECTS_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if found.len() > SUBJECTS_MAX {
            return Vec::new();
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        found
            .iter()
            .map(|(first, single)| single.as_deref().map_or_else(|| text(first) + ".>", text))
            .collect()
    }

    /// Gives a quarantined stream a name in an account. Its configuration is the one that the log had, or one without limits,
    /// with the subjects of its messages. The subjects are left out if they overlap those of another stream. Returns the
    /// configuration. The change is on disk after [`Engine::close`].
    pub fn adopt(&mut self, stream_id: StreamId, account: &str, name: &str) -> Result<StreamConfig, String> {
        let Some(stream) = self.streams.get(&stream_id).filter(|stream| stream.is_quarantined()) else {
            return Err(self.why_not_adopted(stream_id));
        };
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c);
        if name.is_empty() || name.contains(is_bad) {
            return Err(format!("'{name}' can't be the name of a stream"));
        }
        let logged = stream.core.config().metadata.get(CONFIG);
        let logged = logged.and_then(|json| StreamRequest::decode(json.as_bytes(), false).ok());
        let mut config = match logged {
            Some(request) => request.config,
            None => StreamConfig { subjects: self.subjects_of(stream_id), ..placeholder(stream_id) },
        };
        name.clone_into(&mut config.name);
        let number = self.account(account);
        if self.find(number, name).is_ok() {
            return Err(format!("account {account} has a stream '{name}' already"));
        }
        let mut others = self.streams.values().filter(|stream| stream.account == number);
        let has_any = |stream: &Stream<D>| {
            let mut subjects = config.subjects.iter();
            subjects.any(|subject| {
                stream.subjects().iter().any(|other| overlaps(other.as_bytes(), subject.as_bytes()))
            })
        };
        if others.any(has_any) {
            config.subjects.clear();
        }
        let json = serde_json::to_vec(&config).unwrap_or_default();
        self.log_twice(STORE, &Body::create(stream_id, self.now, account, &json));
        self.describe_stranger(stream_id, number, self.now, config.clone());
        Ok(config)
    }

    /// Explains why a number can't be adopted.
    fn why_not_adopted(&self, number: StreamId) -> String {
        // A consumer whose creation or entry is whole is in place, and is adopted with its stream. Of others only the number is
        // known.
        match self.quarantine.is_nameless(ConsumerId::of(number.into())) {
            true => format!(
                "number {number} is a consumer, and consumers can't be adopted: its stream, name, filters and configuration are lost with its \
                 creation, so that nothing says whose messages it had. Create it anew while the server runs, and then give this one up with \
                 --accept-loss"
            ),
            false => format!("there is no quarantined stream number {number}"),
        }
    }

    /// Gives a quarantined stream its account and configuration. Returns false if there is no quarantined stream of this number.
    pub(super) fn describe_stranger(
        &mut self,
        stream_id: StreamId,
        account: AccountId,
        created: i64,
        config: StreamConfig,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(&stream_id).filter(|stream| stream.is_quarantined()) else {
            return false;
        };
        let name = config.name.clone();
        (stream.account, stream.created) = (account, created);
        stream.set_config(config, false);
        let consumers = stream.consumers.len() as u64;
        if let Some(account) = self.accounts.get_mut(account.index()) {
            account.streams.insert(name, stream_id);
            account.consumers += consumers;
        }
        self.index_subjects(stream_id, true);
        self.note_dirty(stream_id);
        true
    }

    /// Deletes a quarantined stream and its files. The change is on disk after [`Engine::close`].
    pub fn discard(&mut self, stream_id: StreamId) -> Result<(), String> {
        if self.quarantine.unreadable.remove(&stream_id) {
            let names = self.files.disk().names().map_err(|e| e.to_string())?;
            self.checkpoint
                .obsolete
                .extend(names.into_iter().filter(|name| parse(name).is_some_and(|(g, _)| g == stream_id)));
            self.log_twice(STORE, &Body::delete(stream_id));
            self.deleted.insert(stream_id.0);
            self.quarantine.is_changed = true;
            return Ok(());
        }
        if !self.streams.get(&stream_id).is_some_and(Stream::is_quarantined) {
            return Err(format!("there is no quarantined stream number {stream_id}"));
        }
        self.delete(stream_id);
        Ok(())
    }

    /// Accepts that data may be missing. Quarantined streams stay quarantined.
    pub(super) fn accept_damage(&mut self) {
        for id in std::mem::take(&mut self.quarantine.nameless) {
            self.log_twice(STORE, &Body::delete_consumer(id));
            self.checkpoint.deleted.push(key(id));
            self.deleted.insert(id.0);
        }
        self.quarantine.is_open = false;
        self.quarantine.is_changed = true;
    }

    /// The numbers of quarantined streams and consumers.
    pub fn quarantined_numbers(&self) -> Vec<u32> {
        let streams = self
            .quarantined()
            .map(|(stream_id, _)| stream_id)
            .chain(self.quarantine.unreadable.iter().copied());
        let consumers = self.quarantine.nameless.iter().map(|id| id.0);
        streams.map(|id| id.0).chain(consumers).collect::<BTreeSet<u32>>().into_iter().collect()
    }
}

/// Collects the log's records about streams and consumers without a description.
fn strangers(
    replay: &Replay,
    from: u64,
    is_stranger: impl Fn(GroupId) -> bool,
) -> BTreeMap<GroupId, Stranger> {
    let mut strangers: BTreeMap<GroupId, Stranger> = BTreeMap::new();
    for record in replay.records().filter(|record| record.position >= from) {
        let event = Event::decode(&record);
        let group = match event {
            // The creation of a consumer proves that its stream existed.
            Some(Event::CreateConsumer { stream_id, .. }) => stream_id.into(),
            _ => record.group,
        };
        if group == STORE || !is_stranger(group) {
            continue;
        }
        let stranger = strangers.entry(group).or_default();
        match event {
            Some(Event::ConsumerChanges { .. }) => stranger.is_consumer = true,
            Some(Event::Config { json, .. }) if is_of_consumer(json) => stranger.is_consumer = true,
            Some(Event::Config { json, .. }) => stranger.config = Some(json.to_vec()),
            Some(
                Event::Append { sequence, .. }
                | Event::Refer { sequence, .. }
                | Event::Content { sequence, .. }
                | Event::Skip { sequence, .. },
            ) => drop(stranger.first.get_or_insert(sequence.max(1))),
            _ => {}
        }
    }
    strangers
}

/// Whether a configuration belongs to a consumer.
fn is_of_consumer(json: &[u8]) -> bool {
    let config: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    config.get("ack_policy").is_some() || config.get("deliver_policy").is_some()
}

/// The configuration of a stream without a description: it has no limits, so the stream loses nothing.
fn placeholder(stream_id: StreamId) -> StreamConfig {
    StreamConfig {
        name: format!("number-{stream_id}"),
        max_consumers: -1,
        max_msgs: -1,
        max_bytes: -1,
        max_msgs_per_subject: -1,
        max_msg_size: -1,
        num_replicas: 1,
        allow_direct: true,
        ..StreamConfig::default()
    }
}
