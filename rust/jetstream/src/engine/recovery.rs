//! Opens a store: the streams of the catalogue, then the changes in the log since the checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use roaring::RoaringBitmap;
use stonechat_store::catalogue::{Catalogue, CatalogueRecovery};
use stonechat_store::disk::Disk;
use stonechat_store::file::{FileStream, Files};
use stonechat_store::memory::MemoryStream;
use stonechat_store::messages::Messages;
use stonechat_store::spill::Shelf;
use stonechat_store::wal::{self, Fill, GroupId, Log, Recovery};

use super::checkpoint::{Checkpoint, key};
use super::entries::{StoreEntry, decode_consumer, decode_stream, is_nameless};
use super::journal::{Event, STORE};
use super::quarantine::{self, Quarantine};
use super::references::{Arrivals, Referred};
use super::replay::Replay;
use super::{Durability, Engine, Host, Interest, InterestChange, Options, Outbox, Storage, Stream};
use crate::api::Requests;
use crate::consumer::{Consumer, ConsumerRequest, ConsumerState};
use crate::ids::{AccountId, ConsumerId, StreamId};
use crate::stream::{Entry, Storage as StorageType, StreamConfig, StreamCore, StreamRequest};

/// The reason why a store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log or the catalogue can't be used.
    #[error(transparent)]
    Log(#[from] wal::Error),
    /// A file can't be read.
    #[error("can't read a stream: {0}")]
    Io(#[from] std::io::Error),
    /// There is a catalogue, but no log.
    #[error(
        "the log is missing, and with it what was acknowledged since the last checkpoint; nothing was changed. Put the directory `log` back. \
         `stonechat-server store check` says what is left, and `stonechat-server store repair --accept-loss` goes on without the log"
    )]
    NoLog,
}

/// Figures of a completed opening.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The number of log records that were read.
    pub records: u64,
    /// The number of streams.
    pub streams: usize,
}

/// The disks of a store, a directory each.
#[derive(Debug)]
pub struct Disks<D> {
    /// For the log.
    pub log: Arc<D>,
    /// For the catalogue.
    pub catalogue: Arc<D>,
    /// For streams.
    pub streams: Arc<D>,
}

/// A consumer from the catalogue: its id, the log position of its entry, and its state.
type Placed = (ConsumerId, u64, Consumer);

/// The largest gap of sequences that a log can explain: more messages than a log ever holds.
const GAP_MAX: u64 = 1 << 28;

/// Returns the salt and the first position of a log that replaces a lost one. The salt is the lost log's. The position is not
/// before any position in the catalogue, so that no new record counts as already known.
fn follow_on<D: Disk>(catalogue: &Catalogue<D>, store: Option<&StoreEntry>) -> (u64, u64) {
    let salt = store.and_then(|store| store.more.as_ref()).map(|more| more.salt).filter(|salt| *salt != 0);
    let positions = catalogue.entries().filter_map(|(number, bytes)| {
        if number == key(STORE) {
            return StoreEntry::decode(bytes).map(|store| store.position);
        }
        let of_consumer = decode_consumer(bytes).map(|(position, _)| position);
        of_consumer.or_else(|| decode_stream(bytes).map(|stream| stream.position))
    });
    // No log grows this long, so a larger position in the catalogue is damage.
    let begin = positions.filter(|position| *position < u64::MAX / 4).max().unwrap_or(0);
    // Both logs of a store begin with the same salt.
    (salt.unwrap_or_else(|| catalogue.salt()), begin)
}

impl<D: Disk> Engine<D> {
    /// Opens a store, or creates one. `salt` is a random number, used if the store is new; `now` is in nanoseconds since 1970.
    pub fn open(
        disks: &Disks<D>,
        options: Options,
        host: Box<dyn Host>,
        salt: u64,
        now: i64,
    ) -> Result<(Self, Opened), OpenError> {
        Self::open_if(disks, options, host, salt, now, false)
    }

    /// Like [`Engine::open`], but if the log is missing, opens the store from the catalogue alone. For callers that inspect a
    /// store or accept the loss.
    pub fn open_without_log(
        disks: &Disks<D>,
        options: Options,
        host: Box<dyn Host>,
        salt: u64,
        now: i64,
    ) -> Result<(Self, Opened), OpenError> {
        Self::open_if(disks, options, host, salt, now, true)
    }

    fn open_if(
        disks: &Disks<D>,
        options: Options,
        host: Box<dyn Host>,
        salt: u64,
        now: i64,
        may_lack_log: bool,
    ) -> Result<(Self, Opened), OpenError> {
        let keys = options.keys.clone();
        let open_catalogue = || Catalogue::open(Arc::clone(&disks.catalogue), salt, keys.clone());
        let (catalogue, found) = match open_catalogue() {
            Err(wal::Error::Full { .. }) if wal::release_reserve(&*disks.log) => open_catalogue()?,
            opened => opened?,
        };
        // The log may hold what the catalogue lost, so all of it is read then.
        let store = catalogue.get(key(STORE)).and_then(StoreEntry::decode);
        let whole = !found.lost.is_empty() || !found.damaged.is_empty() || store.is_none();
        let is_log_lost = catalogue.entries().next().is_some() && wal::is_missing(&*disks.log)?;
        if is_log_lost && !may_lack_log {
            return Err(OpenError::NoLog);
        }
        let (salt, begin) = match is_log_lost {
            true => follow_on(&catalogue, store.as_ref()),
            false => (salt, 0),
        };
        let fill = match options.durability {
            Durability::Synced => Fill::Zeros,
            Durability::Within(_) => Fill::Allocated,
            Durability::None => Fill::Sparse,
        };
        let log_options = wal::Options {
            file_len: options.sizes.log_file,
            file_len_min: wal::Options::default().file_len_min,
            fill,
            reserve: fill != Fill::Sparse,
            keys: keys.clone(),
            label: "log",
            whole,
            begin,
        };
        // The salt is known only once the log is open, and streams need it. So the log is read first, and its records are held
        // until then.
        let mut replay = Replay::default();
        let sizes = options.sizes;
        let streams = Arc::clone(&disks.streams);
        let known = store.as_ref().map_or(0, |store| store.position);
        let segments = Files::new(Arc::clone(&streams), sizes.segment, keys.clone(), 0, sizes.index);
        let mut arrivals = Arrivals::new(segments, known);
        let (log, recovery) = Log::open_whole(
            Arc::clone(&disks.log),
            log_options,
            salt,
            |found| replay.note(&found),
            |salt, records| arrivals.have_come(salt, records),
        )?;
        let mended = replay.mend();
        let is_ignorant = log.epoch() == 1 || fill != Fill::Zeros && recovery.torn.is_some();
        let files = Arc::new(Files::new(streams, sizes.segment, keys, log.epoch(), sizes.index));
        let mut engine = Self {
            salt: log.salt(),
            options,
            host,
            accounts: Vec::new(),
            account_numbers: HashMap::new(),
            system_account: None,
            streams: HashMap::new(),
            consumers: HashMap::new(),
            deliver_subjects: HashMap::new(),
            ready: std::collections::VecDeque::new(),
            parked: Vec::new(),
            timers: std::collections::BTreeSet::new(),
            unlogged: Vec::new(),
            released: Vec::new(),
            holds: super::holds::Holds::default(),
            sweeping: std::collections::VecDeque::new(),
            sweep_left: 0,
            trimming: std::collections::VecDeque::new(),
            passing: std::collections::VecDeque::new(),
            batches: HashMap::new(),
            fast_sweep: None,
            looks_left: 0,
            is_held: false,
            counts_left: 0,
            requests: Requests::default(),
            backups: super::restores::Backups::default(),
            feeding: std::collections::VecDeque::new(),
            feeds: 0,
            exchanges: 0,
            stopped: std::collections::VecDeque::new(),
            is_staged: false,
            barrier: 0,
            next_number: store.as_ref().map_or(0, |store| store.next_number).max(STORE.0 + 1),
            deleted: RoaringBitmap::new(),
            quarantine: Quarantine::of(&found, &recovery, store.as_ref(), is_ignorant),
            twice: super::twice::Twice::default(),
            files,
            log,
            catalogue,
            checkpoint: Checkpoint::default(),
            outbox: Outbox::default(),
            interest_changes: Vec::new(),
            notices: Vec::new(),
            now,
            refuses: None,
            room: super::room::Room::default(),
            dirty: Vec::new(),
            gathered: Vec::new(),
            noted: Vec::new(),
            expiries: std::collections::BTreeSet::new(),
            memory: 0,
            storage: 0,
            scratch: Vec::new(),
            told: Vec::new(),
            read_buffer: Vec::new(),
            block: Vec::new(),
        };
        engine.tell_damage(&found, &recovery, mended);
        if is_log_lost {
            engine.quarantine.lose_log();
            engine.complain(
                "JetStream store: the log is missing; what was acknowledged since the last checkpoint is lost, and nobody knows which messages, \
                 streams and consumers that was. What is there is kept"
                    .to_owned(),
            );
        }
        engine.learn_deleted(&replay, store, &found.lost);
        let (mut applied, consumers) = engine.open_streams()?;
        let ids = consumers.iter().map(|(id, ..)| *id).collect();
        engine.take_in_strangers(&replay, known, &ids, &recovery)?;
        engine.place_consumers(consumers, &mut applied);
        let opened = Opened { records: recovery.records, streams: 0 };
        let from = |stream_id: GroupId| applied.get(&stream_id).copied().unwrap_or(0);
        let referred = Referred::of(&replay, |stream_id, position| position < from(stream_id));
        engine.begin_anew()?;
        engine.replay(&replay, &applied, &referred);
        engine.checkpoint.keeps_segments = !referred.is_empty();
        engine.remove_strays(&referred)?;
        let groups: Vec<StreamId> = engine.streams.keys().copied().collect();
        for stream_id in &groups {
            engine.finish_stream(*stream_id);
        }
        let consumers: Vec<ConsumerId> = engine.consumers.keys().copied().collect();
        for id in consumers {
            engine.finish_consumer(id);
        }
        engine.link_feeds();
        engine.drop_memory_streams();
        engine.tell_quarantine();
        // Where data may be missing, a consumer may need a message without being known. So nothing is released then.
        if !engine.is_anything_missing() {
            engine.drop_unfinished_restores();
            for stream_id in &groups {
                engine.sweep_all(*stream_id);
                engine.release_done(*stream_id);
            }
        }
        engine.take_news();
        engine.reserve();
        let streams = engine.stream_count();
        Ok((engine, Opened { streams, ..opened }))
    }

    /// Reports the damage in the catalogue and the log. `mended` is the number of records that were read from their second
    /// copies.
    fn tell_damage(&mut self, found: &CatalogueRecovery, log: &Recovery, mended: u64) {
        for damage in found.damaged.iter().chain(&log.damaged) {
            self.complain(format!(
                "JetStream store: {} is damaged at offset {}, {} bytes",
                damage.file,
                damage.offset,
                damage.to - damage.from
            ));
        }
        if mended > 0 {
            self.warn(format!(
                "JetStream store: {mended} damaged records of the log, of streams and consumers, were read from their second copies"
            ));
        }
        for stream_id in &found.lost {
            self.complain(format!(
                "JetStream store: what the catalogue knows of stream or consumer number {stream_id} is damaged; an older version of it is \
                 used, if there is one"
            ));
        }
        if let Some(torn) = &log.torn {
            self.warn(format!(
                "JetStream store: the end of the log can't be read and was dropped: {}, offset {}, {} bytes, about {} \
                 records that were not known to be on disk yet",
                torn.file, torn.offset, torn.len, torn.records
            ));
        }
    }

    /// Creates the streams of the catalogue. Returns the log position of each entry, and the consumers of the catalogue.
    fn open_streams(&mut self) -> Result<(BTreeMap<GroupId, u64>, Vec<Placed>), OpenError> {
        let mut applied = BTreeMap::new();
        let mut consumers = Vec::new();
        let entries: Vec<(u64, Vec<u8>)> = self.catalogue.entries().map(|(k, v)| (k, v.to_vec())).collect();
        for (number, bytes) in entries {
            let Ok(stream_id) = u32::try_from(number).map(GroupId) else { continue };
            if stream_id == STORE {
                if let Some(store) = StoreEntry::decode(&bytes) {
                    applied.insert(STORE, store.position);
                    self.checkpoint.position = store.position;
                }
                continue;
            }
            self.next_number = self.next_number.max(stream_id.0.saturating_add(1));
            if is_nameless(&bytes) {
                self.quarantine.add_nameless(ConsumerId::of(stream_id));
                continue;
            }
            if let Some((position, consumer)) = decode_consumer(&bytes) {
                consumers.push((ConsumerId::of(stream_id), position, consumer));
                continue;
            }
            let Some(described) = decode_stream(&bytes) else {
                self.complain(format!(
                    "JetStream store: stream or consumer number {} can't be read and is left alone",
                    stream_id.0
                ));
                continue;
            };
            let storage = match described.config.storage {
                StorageType::Memory => {
                    Storage::Memory(Box::new(MemoryStream::new(described.config.first_seq)))
                }
                StorageType::File => {
                    let files = Arc::clone(&self.files);
                    match FileStream::open(files, self.salt, stream_id.0, described.manifest) {
                        Some(file) => {
                            let mut file = file?;
                            file.set_compressed(described.config.is_compressed());
                            Storage::File(Box::new(file))
                        }
                        None => {
                            self.complain(format!(
                                "JetStream store: the manifest of stream number {} is not one",
                                stream_id.0
                            ));
                            continue;
                        }
                    }
                }
            };
            applied.insert(stream_id, described.position);
            let stream_id = StreamId::of(stream_id);
            let (account, created) = (self.account_of_entry(described.account), described.created);
            self.add_stream(stream_id, account, created, described.config, storage);
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                stream.fed = described.fed;
            }
            if described.is_trimmed {
                self.trim_later(stream_id, true);
            }
            self.note_news(stream_id);
        }
        Ok((applied, consumers))
    }

    /// Deletes the streams in memory: their messages and consumers ended with the server process that held them. This follows
    /// nats-server 2.15. A stream that came back empty would look like a stream that lost its messages.
    fn drop_memory_streams(&mut self) {
        let in_memory =
            self.streams.iter().filter(|(_, stream)| matches!(stream.core.messages(), Storage::Memory(_)));
        let groups: Vec<StreamId> = in_memory.map(|(stream_id, _)| *stream_id).collect();
        for stream_id in groups {
            self.announce(stream_id, false);
            self.delete(stream_id);
        }
    }

    /// Adds the consumers of the catalogue to their streams. Consumers of missing streams are reported and left alone.
    fn place_consumers(&mut self, consumers: Vec<Placed>, applied: &mut BTreeMap<GroupId, u64>) {
        for (id, position, consumer) in consumers {
            if !self.streams.contains_key(&consumer.stream) {
                let name = &consumer.name;
                self.complain(format!(
                    "JetStream store: the stream of consumer '{name}' is missing, it is left alone"
                ));
                continue;
            }
            applied.insert(id.into(), position);
            self.add_consumer(id, consumer);
        }
    }

    /// Adds a stream to the engine and to its account.
    pub(crate) fn add_stream(
        &mut self,
        stream_id: StreamId,
        account: AccountId,
        created: i64,
        config: StreamConfig,
        storage: Storage<D>,
    ) {
        let name = config.name.clone();
        let core = StreamCore::new(config, storage, &Shelf::new(&self.files, self.salt, stream_id.0));
        let stream = Stream::new(account, created, core, self.options.domain.as_deref());
        self.streams.insert(stream_id, stream);
        if let Some(account) = self.accounts.get_mut(account.index()) {
            account.streams.insert(name, stream_id);
        }
        self.index_subjects(stream_id, true);
        self.next_number = self.next_number.max(stream_id.0.saturating_add(1));
    }

    /// Creates empty storage for a new stream.
    pub(crate) fn new_storage(&self, stream_id: StreamId, config: &StreamConfig) -> Storage<D> {
        match config.storage {
            StorageType::Memory => Storage::Memory(Box::new(MemoryStream::new(config.first_seq))),
            StorageType::File => {
                let files = Arc::clone(&self.files);
                let mut file = FileStream::new(files, self.salt, stream_id.0, config.first_seq);
                file.set_compressed(config.is_compressed());
                Storage::File(Box::new(file))
            }
        }
    }

    /// Removes a stream from the engine, with its consumers.
    pub(crate) fn drop_stream(&mut self, stream_id: StreamId) {
        self.plan_expiry(stream_id, None);
        self.batches.retain(|(stream, _), _| *stream != stream_id);
        let consumers: Vec<ConsumerId> = self
            .streams
            .get(&stream_id)
            .map_or(Vec::new(), |stream| stream.consumers.values().copied().collect());
        for id in consumers {
            self.drop_consumer(id, "409 Consumer Deleted");
        }
        self.index_subjects(stream_id, false);
        let Some(stream) = self.streams.remove(&stream_id) else { return };
        if let Some(hold) = &stream.hold {
            self.holds.forget(hold);
        }
        self.unlink_feeds_of(stream_id);
        if let Some(account) = self.accounts.get_mut(stream.account.index()) {
            account.streams.remove(&stream.core.config().name);
        }
        let bytes = stream.core.messages().bytes();
        let (total, account) = (stream.is_logged(), stream.account);
        if let Some(account) = self.accounts.get_mut(account.index()) {
            let (used, of_account) = match total {
                true => (&mut self.storage, &mut account.storage),
                false => (&mut self.memory, &mut account.memory),
            };
            *used = used.saturating_sub(bytes);
            *of_account = of_account.saturating_sub(bytes);
        }
        self.checkpoint.deleted.push(key(stream_id));
        self.deleted.insert(stream_id.0);
        self.checkpoint.obsolete.extend(stream.core.spill_names().cloned());
        if let Storage::File(file) = stream.core.into_messages() {
            self.checkpoint.obsolete.extend(file.into_obsolete());
        }
    }

    /// Applies the log's records, for each stream from the log position of its catalogue entry.
    fn replay(&mut self, replay: &Replay, applied: &BTreeMap<GroupId, u64>, referred: &Referred) {
        let from = |stream_id: GroupId| applied.get(&stream_id).copied().unwrap_or(0);
        let groups: Vec<StreamId> = self.streams.keys().copied().collect();
        groups.into_iter().for_each(|stream_id| self.begin_behind(stream_id, referred.highest(stream_id)));
        for record in replay.records() {
            let (position, of) = (record.position, record.group);
            if position < from(of) && of != STORE {
                continue;
            }
            let Some(event) = Event::decode(&record) else {
                self.complain(format!(
                    "JetStream store: the log has a record at {position} that nobody knows"
                ));
                continue;
            };
            // Ends are compared stream by stream: the store's catalogue entry may be newer than a stream's.
            if position < from(of) && !matches!(event, Event::Ends { .. }) {
                continue;
            }
            let (stream, consumer) = (StreamId::of(of), ConsumerId::of(of));
            match event {
                Event::Create { stream_id, created, account, json } => {
                    let is_described =
                        self.streams.get(&stream_id).is_some_and(|stream| !stream.is_quarantined());
                    let request = match StreamRequest::decode(json, false) {
                        Ok(request) if !is_described => request,
                        _ => continue,
                    };
                    let account = self.account(account);
                    if self.describe_stranger(stream_id, account, created, request.config.clone()) {
                        continue;
                    }
                    let storage = self.new_storage(stream_id, &request.config);
                    self.add_stream(stream_id, account, created, request.config, storage);
                    self.begin_behind(stream_id, referred.highest(stream_id));
                    self.note_dirty(stream_id);
                }
                Event::Refer { sequence, reference } => {
                    let content = referred.content(replay, stream, sequence);
                    let content = content.and_then(|record| Event::decode(&record));
                    self.replay_reference(stream, sequence, &reference, content);
                }
                // Already applied in place of the record that refers to it.
                Event::Content { .. } => {}
                Event::Delete { stream_id } => self.drop_stream(stream_id),
                Event::CreateConsumer { id, stream_id, created, start, name, json } => {
                    let is_new = !self.consumers.contains_key(&id) && self.streams.contains_key(&stream_id);
                    let Some(config) = ConsumerRequest::decode_config(json).filter(|_| is_new) else {
                        continue;
                    };
                    let state = ConsumerState::starting_at(start);
                    self.add_consumer(id, Consumer::new(stream_id, name, created, config, state, true));
                    self.note_consumer_dirty(id);
                }
                Event::DeleteConsumer { id } => self.drop_consumer(id, ""),
                Event::ConsumerChanges { changes } => {
                    if let Some(c) = self.consumers.get_mut(&consumer) {
                        c.replay(changes);
                        self.note_consumer_dirty(consumer);
                    }
                }
                Event::Config { json, .. } if self.remember_config(stream, json) => {}
                Event::Config { json, .. } if self.consumers.contains_key(&consumer) => {
                    let Some(config) = ConsumerRequest::decode_config(json) else { continue };
                    self.replay_consumer_config(consumer, config);
                }
                Event::Ends { ends } => {
                    for (stream_id, last) in
                        ends.into_iter().filter(|(stream_id, _)| position >= from((*stream_id).into()))
                    {
                        self.lose_until(stream_id, last, "log", 0);
                    }
                }
                event => self.replay_change(stream, &event),
            }
        }
    }

    /// If the log may refer to appended messages, lets streams append only behind segments that the catalogue may not know.
    fn begin_anew(&mut self) -> Result<(), OpenError> {
        if self.options.durability == Durability::Synced {
            return Ok(());
        }
        let segments = self.segments()?;
        for (id, stream) in &mut self.streams {
            if let Storage::File(file) = stream.core.messages_mut() {
                let numbers = segments.get(id).into_iter().flatten();
                file.begin_anew(numbers.copied().max().unwrap_or(0));
            }
        }
        Ok(())
    }

    /// Protects segments up to the number `highest` from being overwritten: the log refers to them, or they may hold messages
    /// that it lost.
    pub(super) fn begin_behind(&mut self, stream_id: StreamId, highest: Option<u32>) {
        if let Some(number) = highest
            && let Some(stream) = self.streams.get_mut(&stream_id)
            && let Storage::File(file) = stream.core.messages_mut()
        {
            file.begin_behind(number);
        }
    }

    pub(super) fn replay_change(&mut self, stream_id: StreamId, event: &Event<'_>) {
        self.note_dirty(stream_id);
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let (entry, sequence) = match event {
            Event::Append { sequence, time, subject, headers, payload }
            | Event::Content { sequence, time, subject, headers, payload } => {
                (Entry::Append { time: *time, subject, headers, payload }, *sequence)
            }
            Event::Skip { sequence, time, id } => (Entry::Skip { time: *time, id }, *sequence),
            Event::SkipTo { last, time } => (Entry::SkipTo { last: *last, time: *time }, 0),
            Event::Fed { next, feed } => {
                stream.fed.insert((*feed).to_owned(), *next);
                return;
            }
            Event::Remove { sequences } => (Entry::Remove { sequences }, 0),
            Event::Clear { next } => (Entry::Clear { next: *next }, 0),
            Event::Trim { subject, most } => (Entry::Trim { subject, most: *most }, 0),
            Event::Config { json, keeps } => {
                if let Ok(request) = StreamRequest::decode(json, false) {
                    let of_subjects = self.set_stream_config(stream_id, request.config, *keeps);
                    if *keeps && of_subjects {
                        self.trim_later(stream_id, true);
                    }
                }
                return;
            }
            _ => return,
        };
        let last = stream.core.messages().last_sequence();
        // The sequence is new: the catalogue says up to where the log was applied. A quarantined stream has no such position.
        debug_assert!(
            sequence == 0 || sequence > last || stream.is_quarantined(),
            "{sequence} behind {last}"
        );
        if sequence > 0 && sequence <= last {
            return;
        }
        if sequence > 0 && !self.lose_until(stream_id, sequence - 1, "log", 0) {
            return;
        }
        if let Some(stream) = self.streams.get_mut(&stream_id) {
            // The entry was valid when it was logged.
            let _ = stream.core.apply(&entry);
            if let Storage::File(file) = stream.core.messages_mut() {
                file.make_index_room();
            }
            stream.core.make_spill_room();
        }
        self.note_news(stream_id);
    }

    /// Counts the messages up to the sequence `last` as lost: their records were damaged, in the file `of` at `offset`. They stay
    /// counted in the stream. Returns `false` if the gap is larger than a log can explain.
    pub(super) fn lose_until(&mut self, stream_id: StreamId, last: u64, of: &str, offset: u64) -> bool {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return false };
        let known = stream.core.messages().last_sequence();
        if last <= known {
            return true;
        }
        let (name, account) = (stream.core.config().name.clone(), stream.account);
        if last - known > GAP_MAX {
            self.complain(format!(
                "JetStream stream '{name}': sequence {last} behind {known} was not believed"
            ));
            return false;
        }
        if let Storage::File(file) = stream.core.messages_mut() {
            file.lose_until(last, self.now);
        }
        self.advise_lost(account, &name, known + 1, last, of, offset);
        let place = if of == "log" { "the log".to_owned() } else { format!("{of}, at offset {offset},") };
        self.complain(format!(
            "JetStream stream '{name}': messages {} to {last} were in a damaged part of {place} and can't be read any more",
            known + 1
        ));
        true
    }

    /// Completes a stream once all its messages are there: message ids within the duplicate window, times to live, byte counts,
    /// subscriptions.
    fn finish_stream(&mut self, stream_id: StreamId) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let config = stream.core.config();
        let since = if config.allow_msg_ttl || config.allow_msg_schedules {
            i64::MIN
        } else {
            now - config.duplicate_window
        };
        let from = match stream.core.messages() {
            Storage::File(file) => file.special_from(since),
            Storage::Memory(_) => None,
        };
        if let Some(from) = from {
            let mut at = Some(from);
            while let Some(from) = at {
                at = stream.core.recover(from, 1024, now);
                stream.core.make_spill_room();
            }
        }
        if stream.core.is_over() {
            self.trim_later(stream_id, false);
        }
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        // Consumers compare their state with the stream once it is complete.
        stream.core.forget_removed();
        self.account_bytes(stream_id, 0);
        self.announce(stream_id, true);
        let due = self.streams.get(&stream_id).and_then(|stream| stream.core.next_expiry(now));
        self.plan_expiry(stream_id, due);
    }

    fn replay_consumer_config(&mut self, id: ConsumerId, config: crate::consumer::ConsumerConfig) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let before = usize::from(c.filters().is_empty());
        c.is_refiltered |= c.config().filters() != config.filters();
        c.set_config(config);
        let after = usize::from(c.filters().is_empty());
        if let Some(stream) = self.streams.get_mut(&c.stream) {
            stream.unfiltered = stream.unfiltered + after - before;
        }
        self.note_consumer_dirty(id);
    }

    /// Completes a consumer once all streams are there.
    fn finish_consumer(&mut self, id: ConsumerId) {
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let Some(stream) = self.streams.get(&c.stream).filter(|stream| !stream.is_quarantined()) else {
            return;
        };
        let messages = stream.core.messages();
        c.settle(messages.last_sequence());
        c.last_use = now;
        c.replay_end = messages.last_sequence();
        for sequence in super::removals::missing(c, messages) {
            c.change(&crate::consumer::Change::Acked(sequence));
        }
        // What changed meanwhile is planned with the life of a consumer.
        let config = c.config().clone();
        c.set_config(config);
        super::consumers::set_life(id, c);
        self.note_unlogged(id);
        self.announce_consumer(id, true);
        self.plan(id);
    }

    /// Queues the beginning or the end of a stream's subscriptions.
    pub(crate) fn announce(&mut self, stream_id: StreamId, begins: bool) {
        let changes = self.interests(stream_id);
        self.interest_changes.extend(changes.into_iter().map(|change| InterestChange { begins, ..change }));
    }

    /// Queues changes of subscriptions.
    pub(crate) fn tell_changes(&mut self, changes: impl Iterator<Item = InterestChange>) {
        self.interest_changes.extend(changes);
    }

    /// A stream's subscriptions, as they begin.
    pub(crate) fn interests(&self, stream_id: StreamId) -> Vec<InterestChange> {
        let Some(stream) = self.streams.get(&stream_id) else { return Vec::new() };
        let (account, begins) = (stream.account, true);
        let change = |interest, subject: String| InterestChange { account, interest, subject, begins };
        let mut changes: Vec<_> = stream
            .subjects()
            .iter()
            .map(|subject| change(Interest::Publish(stream_id), subject.clone()))
            .collect();
        let of_domain = self.options.domain.as_ref().map(|domain| format!("$JS.{domain}.API"));
        for name in stream.direct_names() {
            for prefix in ["$JS.API"].into_iter().chain(of_domain.as_deref()) {
                let subject = format!("{prefix}.DIRECT.GET.{name}");
                changes.push(change(Interest::DirectGet(stream_id), format!("{subject}.>")));
                changes.push(change(Interest::DirectGet(stream_id), subject));
            }
        }
        changes
    }

    /// Removes files that no stream needs: files made after the last checkpoint, and files whose removal was interrupted. A
    /// missing description is no reason to remove: files of unknown streams stay, and where data may be missing all segments
    /// stay.
    fn remove_strays(&mut self, referred: &Referred) -> Result<(), OpenError> {
        let known: std::collections::HashSet<String> = self
            .streams
            .values()
            .flat_map(|stream| {
                let files = match stream.core.messages() {
                    Storage::File(file) => {
                        Some(file.file_names().into_iter().chain(file.index_names().cloned()))
                    }
                    Storage::Memory(_) => None,
                };
                files.into_iter().flatten().chain(stream.core.spill_names().cloned())
            })
            .collect();
        let obsolete: std::collections::HashSet<&String> = self.checkpoint.obsolete.iter().collect();
        let (mut needed, mut is_any_removed) = (Vec::new(), false);
        for name in self.files.disk().names()? {
            let Some((stream_id, segment)) = quarantine::parse(&name) else { continue };
            if !known.contains(&name)
                && !obsolete.contains(&name)
                && !self.is_kept(stream_id, segment.is_some())
            {
                if referred.holds(stream_id, &name) {
                    needed.push(name);
                } else {
                    self.files.remove(&name)?;
                    is_any_removed = true;
                }
            }
        }
        if is_any_removed && matches!(self.options.durability, Durability::Within(_)) {
            // A new stream may get the number of a stream that never became durable. It must not find that stream's files after a
            // power cut.
            self.files.disk().sync_names()?;
        }
        // The log refers to these files until the next checkpoint.
        self.checkpoint.obsolete.append(&mut needed);
        Ok(())
    }

    /// Whether an unneeded file of this stream is kept nevertheless. Only segments are: other files can be made again.
    fn is_kept(&self, stream_id: StreamId, is_segment: bool) -> bool {
        if !is_segment || self.deleted.contains(stream_id.0) {
            return false;
        }
        match self.streams.get(&stream_id) {
            Some(stream) => stream.is_quarantined() || self.is_anything_missing(),
            None => self.quarantine.is_unreadable(stream_id) || self.catalogue.get(key(stream_id)).is_some(),
        }
    }
}
