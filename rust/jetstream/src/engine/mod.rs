//! JetStream on one thread: its streams, their log, and the requests about them.
//!
//! The engine reads no clock and starts no thread. It is given messages and times, gathers what must be written, and hands out jobs
//! that may wait for the disk ([`Engine::next_job`]) and messages that may leave ([`Engine::take_ready`]). What acknowledges
//! something leaves only when the log is durable up to what it acknowledges.

mod acks;
mod advisories;
mod batches;
mod checkpoint;
mod commit;
mod consumers;
mod delivery;
mod entries;
mod expiry;
mod fast;
mod feeds;
mod figures;
mod holds;
mod hot;
mod inspect;
mod journal;
mod outbox;
mod quarantine;
mod recovery;
mod references;
mod removals;
mod replay;
mod restores;
mod room;
mod schedules;
mod settings;
mod snapshots;
mod storage;
mod stream;
mod sweeps;
mod timers;
mod trims;
mod troubles;
mod turn;
mod twice;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use roaring::RoaringBitmap;
use stonechat_store::catalogue::Catalogue;
use stonechat_store::disk::Disk;
use stonechat_store::file::Files;
use stonechat_store::messages::Messages;
use stonechat_store::wal::{GroupId, Log};
use stonechat_subject::SubjectIndex;

pub use checkpoint::{Done, Job};
pub use figures::{Detail, Figures, Survey, Surveyed};
pub use inspect::{ConsumerReport, StreamReport};
use journal::Body;
pub(crate) use outbox::Outbox;
pub use outbox::{Departing, Outgoing};
pub use recovery::{Disks, OpenError, Opened};
pub use settings::{AccountLimits, Durability, Options, Sizes};
pub(crate) use snapshots::SnapshotRequest;
pub use storage::Storage;
pub(crate) use stream::Stream;

use crate::api::Requests;
use crate::consumer::Consumer;
use crate::error::{self, ApiError};
use crate::ids::{AccountId, BackupId, ConsumerId, StreamId};
use crate::stream::{Entry, Publish, Retention, StreamConfig, Verdict, headers};

/// What the engine asks of the world around it.
pub trait Host: Send {
    /// Whether somebody in `account` would get a message on `subject`.
    fn is_wanted(&self, account: &str, subject: &[u8]) -> bool;
    /// The same, of a subject that belongs to clients alone: so it may be answered faster.
    fn has_interest(&self, account: &str, subject: &[u8]) -> bool {
        self.is_wanted(account, subject)
    }
    /// Whether somebody in `account` subscribed to exactly this subject, as nats-server's notifications of interest look at it.
    fn has_subscriber(&self, account: &str, subject: &[u8]) -> bool {
        self.is_wanted(account, subject)
    }
    /// Whether a push consumer that delivers to `subject` has a receiver: a plain subscriber, or with `group` a member of this queue
    /// group.
    fn has_receiver(&self, account: &str, subject: &[u8], _group: Option<&[u8]>) -> bool {
        self.is_wanted(account, subject)
    }
    /// The account that lets `account` read its stream: that which requests on subjects beginning with `api` reach, if what it
    /// publishes on subjects beginning with `deliver` comes back.
    fn external(&self, _account: &str, _api: &str, _deliver: &str, _stream: &str) -> Option<String> {
        None
    }
    /// The largest message that a client may publish, in bytes.
    fn max_payload(&self) -> u64 {
        u64::MAX
    }
    /// A unique text of 22 letters and digits.
    fn unique_id(&mut self) -> String;
}

/// An account's part.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: Arc<str>,
    /// Its streams by name.
    pub(crate) streams: BTreeMap<String, StreamId>,
    /// Their subjects, by the numbers of the streams.
    pub(crate) subjects: SubjectIndex,
    /// How many consumers these have.
    pub(crate) consumers: u64,
    /// `None` if it may not use JetStream.
    pub(crate) limits: Option<AccountLimits>,
    /// Bytes in memory and on disk.
    pub(crate) memory: u64,
    pub(crate) storage: u64,
    /// Requests and errors.
    pub(crate) api_total: u64,
    pub(crate) api_errors: u64,
}

/// What of the broker's messages belongs to a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interest {
    /// Messages to be stored.
    Publish(StreamId),
    /// Requests that read without going through the API.
    DirectGet(StreamId),
    /// A consumer's requests and answers to flow control; the subject is `stream.consumer`.
    Consumer(ConsumerId),
    /// Acknowledgements to a consumer that takes them, as [`Interest::Consumer`], which ends it too.
    Acks(ConsumerId),
    /// Who listens to the subject to which a consumer delivers.
    Deliver(ConsumerId),
    /// Acknowledgements of a backup's chunks.
    Snapshot(BackupId),
    /// Chunks of a backup.
    Restore(BackupId),
}

/// A change of what streams listen to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InterestChange {
    /// The account's number.
    pub account: AccountId,
    /// What for, and whose it is.
    pub interest: Interest,
    /// The subject, which may hold wildcards.
    pub subject: String,
    /// It begins, or ends.
    pub begins: bool,
}

impl InterestChange {
    /// The stream that is to store what comes, if it is that.
    pub fn stream(&self) -> Option<StreamId> {
        match self.interest {
            Interest::Publish(id) => Some(id),
            _ => None,
        }
    }
}

/// Something to be told to whoever runs the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A warning.
    Warning(String),
    /// Something is wrong.
    Error(String),
}

/// What became of a published message.
enum Stored {
    /// It has this sequence; and what else its acknowledgement says.
    At { sequence: u64, more: Cow<'static, str> },
    /// It waits for the rest of its batch.
    Staged,
    /// Nowhere yet: the last message on these subjects has to be looked for first.
    Search(Vec<u8>),
}

impl Stored {
    fn at(sequence: u64) -> Self {
        Self::At { sequence, more: Cow::Borrowed("") }
    }
}

/// JetStream.
pub struct Engine<D: Disk> {
    pub(crate) options: Options,
    pub(crate) host: Box<dyn Host>,
    pub(crate) accounts: Vec<Account>,
    account_numbers: HashMap<Arc<str>, AccountId>,
    /// The account in which advisories about the server are published.
    system_account: Option<AccountId>,
    pub(crate) streams: HashMap<StreamId, Stream<D>>,
    pub(crate) consumers: HashMap<ConsumerId, Box<Consumer>>,
    /// Consumers by the subjects to which they deliver.
    deliver_subjects: HashMap<(AccountId, Vec<u8>), Vec<ConsumerId>>,
    /// Consumers that wait for a turn.
    ready: VecDeque<ConsumerId>,
    /// Those that wait for one until less waits for the log.
    parked: Vec<ConsumerId>,
    /// When consumers are to be looked at.
    timers: std::collections::BTreeSet<(i64, ConsumerId)>,
    /// Consumers with something for the log.
    unlogged: Vec<ConsumerId>,
    /// Streams with messages that no consumer needs any more.
    released: Vec<StreamId>,
    /// Streams whose publishers wait.
    holds: holds::Holds,
    /// Streams that are looked through for such messages, and how much more of them in this turn.
    sweeping: VecDeque<StreamId>,
    sweep_left: usize,
    /// Streams of which is taken out what exceeds their limits.
    trimming: VecDeque<StreamId>,
    /// What was sent and is done when it has left.
    passing: VecDeque<delivery::Passed>,
    /// Batches that are not committed yet, by stream and id.
    batches: HashMap<(StreamId, Vec<u8>), batches::Batch>,
    /// What is left of the messages that consumers may look at in this turn, and count.
    looks_left: usize,
    /// Consumers send nothing for now.
    is_held: bool,
    /// See `looks_left`.
    counts_left: usize,
    /// Requests that wait or take long.
    pub(crate) requests: Requests,
    /// Backups on their way.
    backups: restores::Backups,
    /// When publishers that send ahead are looked through.
    fast_sweep: Option<i64>,
    /// Streams that have messages to take from others.
    feeding: VecDeque<StreamId>,
    /// How many streams take messages from others.
    feeds: usize,
    /// Changes of what accounts let each other do.
    exchanges: u64,
    /// Streams that wait for room for such messages, and when it is tried again.
    stopped: VecDeque<(i64, StreamId)>,
    /// A stream's change is gathered for the log.
    is_staged: bool,
    /// What consumers send must wait until the log is durable up to here.
    barrier: u64,
    next_number: u32,
    /// The numbers of all streams and consumers that were deleted.
    deleted: RoaringBitmap,
    /// What of the store is damaged, and what nobody describes.
    quarantine: quarantine::Quarantine,
    /// What the log is to hold twice.
    twice: twice::Twice,
    salt: u64,
    files: Arc<Files<D>>,
    log: Log<D>,
    catalogue: Catalogue<D>,
    checkpoint: checkpoint::Checkpoint,
    pub(crate) outbox: Outbox,
    interest_changes: Vec<InterestChange>,
    notices: Vec<Notice>,
    /// The last time that was given.
    pub(crate) now: i64,
    /// The disk has no room, or the log failed.
    pub(crate) refuses: Option<ApiError>,
    room: room::Room,
    /// Streams that changed since the last checkpoint.
    dirty: Vec<GroupId>,
    /// Streams with records in what is gathered.
    gathered: Vec<StreamId>,
    /// Streams that have something to tell: a full segment, or damage that was found.
    noted: Vec<StreamId>,
    /// When streams have something that will be too old.
    expiries: std::collections::BTreeSet<(i64, StreamId)>,
    pub(crate) memory: u64,
    pub(crate) storage: u64,
    scratch: Vec<u8>,
    /// Consumers that are told of a change, while they are.
    told: Vec<ConsumerId>,
    pub(crate) read_buffer: Vec<u8>,
    pub(crate) block: Vec<u8>,
}

impl<D: Disk> std::fmt::Debug for Engine<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl<D: Disk> Engine<D> {
    /// The number of an account, which begins to be known.
    pub fn account(&mut self, name: &str) -> AccountId {
        if let Some(number) = self.account_numbers.get(name) {
            return *number;
        }
        let number = AccountId(self.accounts.len() as u32);
        let name: Arc<str> = name.into();
        self.accounts.push(Account {
            name: Arc::clone(&name),
            streams: BTreeMap::new(),
            subjects: SubjectIndex::default(),
            consumers: 0,
            limits: None,
            memory: 0,
            storage: 0,
            api_total: 0,
            api_errors: 0,
        });
        self.account_numbers.insert(name, number);
        number
    }

    /// Says what an account may use; `None` for no JetStream at all.
    pub fn set_limits(&mut self, account: &str, limits: Option<AccountLimits>) {
        let number = self.account(account);
        self.accounts[number.index()].limits = limits;
    }

    /// Whether an account may use JetStream.
    pub fn is_enabled(&self, account: AccountId) -> bool {
        self.accounts.get(account.index()).is_some_and(|account| account.limits.is_some())
    }

    /// How often what accounts let each other do may have changed.
    pub fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// Says which account learns of what concerns the server.
    pub fn set_system_account(&mut self, account: &str) {
        self.system_account = Some(self.account(account));
    }

    /// The name of an account.
    pub fn account_name(&self, number: AccountId) -> Option<&Arc<str>> {
        self.accounts.get(number.index()).map(|account| &account.name)
    }

    /// The account of a stream.
    pub fn account_of(&self, stream_id: StreamId) -> AccountId {
        self.streams.get(&stream_id).map_or(AccountId(u32::MAX), |stream| stream.account)
    }

    /// How many accounts may use JetStream.
    pub fn account_count(&self) -> usize {
        self.accounts.iter().filter(|account| account.limits.is_some()).count()
    }

    /// The domain, if there is one.
    pub fn domain(&self) -> Option<&str> {
        self.options.domain.as_deref()
    }

    /// How many consumers there are.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// How many streams there are.
    pub fn stream_count(&self) -> usize {
        self.streams.len() - self.quarantined().count()
    }

    /// Requests and errors of all accounts.
    pub fn api_counts(&self) -> (u64, u64) {
        self.accounts.iter().fold((0, 0), |(total, errors), a| (total + a.api_total, errors + a.api_errors))
    }

    /// Changes of what streams listen to, since the last call.
    pub fn take_interest_changes(&mut self) -> Vec<InterestChange> {
        std::mem::take(&mut self.interest_changes)
    }

    /// What is to be told, since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Sets the time, in nanoseconds since 1970. It never falls.
    pub fn set_time(&mut self, now: i64) {
        self.now = self.now.max(now);
    }

    /// A message for a stream.
    pub fn publish(&mut self, stream_id: StreamId, reply: &[u8], message: &Publish<'_>) {
        let is_held = !self.holds.is_empty()
            && self.streams.get(&stream_id).is_some_and(|stream| stream.hold.is_some());
        if is_held {
            return self.hold_message(stream_id, reply, message);
        }
        if let Some(filter) = self.try_publish(stream_id, reply, message) {
            self.begin_hold(stream_id, reply, message, filter);
        }
    }

    /// The same, unless the last message on some subjects has to be looked for first: then these.
    fn try_publish(&mut self, stream_id: StreamId, reply: &[u8], message: &Publish<'_>) -> Option<Vec<u8>> {
        let stream = self.streams.get(&stream_id)?;
        let (account, no_ack) = (stream.account, stream.core.config().no_ack);
        let mut waits = stream.is_logged();
        if reply.ends_with(fast::SUFFIX) {
            let unknown = self.unknown_last(stream_id, reply, message);
            if unknown.is_none() {
                self.publish_fast(stream_id, reply, message);
            }
            return unknown;
        }
        let batch = match message.headers.is_empty() || !stream.core.config().allow_atomic {
            true => None,
            false => headers::value(headers::looked_at(message.headers), b"Nats-Batch-Id"),
        };
        let result = match batch {
            Some(id) => match self.unknown_last(stream_id, reply, message) {
                None => self.batch(stream_id, id, message),
                unknown => return unknown,
            },
            None => self.ingest_from(stream_id, message, false),
        };
        if let Ok(Stored::Search(filter)) = result {
            return Some(filter);
        }
        if reply.is_empty() || no_ack {
            return None;
        }
        let stream = self.streams.get(&stream_id)?;
        let mut ack = std::mem::take(&mut self.scratch);
        ack.clear();
        match result {
            Ok(Stored::Staged | Stored::Search(_)) => {}
            Ok(Stored::At { sequence, more }) => {
                ack.extend_from_slice(&stream.ack_head);
                push_number(&mut ack, sequence);
                ack.extend_from_slice(&stream.ack_tail);
                ack.extend_from_slice(more.as_bytes());
                ack.push(b'}');
            }
            Err(e) => {
                // While nothing can be written, refusals do not wait.
                waits &= self.refuses.is_none();
                let name = &stream.core.config().name;
                let error = crate::api::error_json(&e);
                let body = serde_json::json!({"error": error, "stream": name, "seq": 0});
                ack.extend_from_slice(body.to_string().as_bytes());
            }
        }
        self.outbox.push(waits, &Outgoing { account, subject: reply, payload: &ack, ..Outgoing::default() });
        self.scratch = ack;
        None
    }

    /// Judges a message of a batch and stores it.
    fn ingest(&mut self, stream_id: StreamId, message: &Publish<'_>) -> Result<Stored, ApiError> {
        loop {
            match self.ingest_from(stream_id, message, false)? {
                // It was known before, but the batch itself took that message out.
                Stored::Search(filter) => {
                    let Some(stream) = self.streams.get_mut(&stream_id) else { return Ok(Stored::Staged) };
                    while !stream.core.seek_last(&filter, &mut { usize::MAX }) {}
                }
                stored => return Ok(stored),
            }
        }
    }

    /// The same, of a message that may come from a source.
    fn ingest_from(
        &mut self,
        stream_id: StreamId,
        message: &Publish<'_>,
        is_sourced: bool,
    ) -> Result<Stored, ApiError> {
        let now = self.now;
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let is_wanted = stream.core.config().retention != Retention::Interest
            || self.is_consumed(stream_id, &stream.core.subject_of(now, message.subject));
        let (is_logged, republishes) = (stream.is_logged(), stream.republish.is_some());
        let verdict = stream.core.judge_from(now, message, is_wanted, is_sourced)?;
        match verdict {
            Verdict::Duplicate { sequence } => {
                Ok(Stored::At { sequence, more: Cow::Borrowed(",\"duplicate\":true") })
            }
            Verdict::Search { filter } => Ok(Stored::Search(filter.to_vec())),
            Verdict::Skip { id } => self.change(stream_id, &Entry::Skip { time: now, id }).map(Stored::at),
            Verdict::Append { subject, headers, total } => {
                let counted = total.as_deref().map(crate::stream::counter::payload);
                let payload = counted.as_deref().unwrap_or(message.payload);
                let len = subject.len() + headers.len() + payload.len();
                self.check_resources(stream_id, len)?;
                if is_logged {
                    self.check_room(stream_id, 1, len)?;
                }
                let entry = Entry::Append { time: now, subject: &subject, headers: &headers, payload };
                let last = if republishes { stream_last(&self.streams, stream_id, &subject) } else { 0 };
                let sequence = self.change(stream_id, &entry)?;
                if republishes {
                    self.republish(stream_id, sequence, last, &subject, &headers, payload);
                }
                let more = total.map_or(Cow::Borrowed(""), |total| format!(",\"val\":\"{total}\"").into());
                Ok(Stored::At { sequence, more })
            }
        }
    }

    fn check_resources(&self, stream_id: StreamId, len: usize) -> Result<(), ApiError> {
        let Some(stream) = self.streams.get(&stream_id) else { return Ok(()) };
        let Some(account) = self.accounts.get(stream.account.index()) else { return Ok(()) };
        let over = |used: u64, max: i64| max >= 0 && used + len as u64 > max as u64;
        let limits = account.limits.unwrap_or_default();
        let (server, of_account) = match stream.is_logged() {
            true => (over(self.storage, self.options.max_storage), over(account.storage, limits.max_storage)),
            false => (over(self.memory, self.options.max_memory), over(account.memory, limits.max_memory)),
        };
        if server {
            return Err(error::INSUFFICIENT_RESOURCES.error());
        }
        if of_account {
            return Err(error::ACCOUNT_RESOURCES_EXCEEDED.error());
        }
        Ok(())
    }

    /// Logs a change of a stream and carries it out.
    pub(crate) fn change(&mut self, stream_id: StreamId, entry: &Entry<'_>) -> Result<u64, ApiError> {
        let Some(stream) = self.streams.get_mut(&stream_id) else {
            return Err(error::STREAM_NOT_FOUND.error());
        };
        if stream.is_logged() {
            if let (Some(refusal), Entry::Append { .. }) = (&self.refuses, entry) {
                return Err(refusal.clone());
            }
            self.is_staged = true;
            if !std::mem::replace(&mut stream.is_dirty, true) {
                self.dirty.push(stream_id.into());
            }
            if !std::mem::replace(&mut stream.is_gathered, true) {
                self.gathered.push(stream_id);
            }
        }
        let before = stream.core.messages().bytes();
        let result = self.log_and_apply(stream_id, entry);
        self.account_bytes(stream_id, before);
        self.note_news(stream_id);
        let is_append = matches!(entry, Entry::Append { .. });
        if is_append {
            self.wake_followers(stream_id);
        }
        let Some(stream) = self.streams.get_mut(&stream_id) else { return result };
        let is_over = is_append && stream.core.is_over();
        let has_room = stream.is_stopped && stream.core.messages().bytes() < before;
        let (may_expire, has_removed) = (stream.may_expire(), stream.core.has_removed());
        if let (false, Entry::Append { subject, .. }, Ok(sequence)) = (stream.hot.is_empty(), entry, &result)
        {
            self.note_append(stream_id, *sequence, subject);
        }
        if is_over {
            self.trim_later(stream_id, false);
        }
        if has_removed {
            self.tell_removals(stream_id);
        }
        if may_expire && let Some(stream) = self.streams.get(&stream_id) {
            let due = stream.core.next_expiry(self.now);
            self.plan_expiry(stream_id, due);
        }
        if has_room {
            self.resume_feed(stream_id);
        }
        result
    }

    /// Takes note of a stream that has something to tell.
    pub(crate) fn note_news(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let has_news = matches!(stream.core.messages(), Storage::File(file) if file.has_news());
        if (has_news || stream.core.has_spill_job()) && !std::mem::replace(&mut stream.is_noted, true) {
            self.noted.push(stream_id);
        }
    }

    fn note_dirty(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if !std::mem::replace(&mut stream.is_dirty, true) {
            self.dirty.push(stream_id.into());
        }
    }

    /// Takes note of how many bytes a stream has now, which had `before`.
    fn account_bytes(&mut self, stream_id: StreamId, before: u64) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let after = stream.core.messages().bytes();
        let Some(account) = self.accounts.get_mut(stream.account.index()) else { return };
        let (total, of_account) = match stream.is_logged() {
            true => (&mut self.storage, &mut account.storage),
            false => (&mut self.memory, &mut account.memory),
        };
        *total = (*total + after).saturating_sub(before);
        *of_account = (*of_account + after).saturating_sub(before);
    }

    /// Publishes a stored message again, if its stream is to (ADR-28).
    fn republish(
        &mut self,
        stream_id: StreamId,
        sequence: u64,
        last: u64,
        subject: &[u8],
        headers: &[u8],
        payload: &[u8],
    ) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let (Some(transform), Some(republish)) = (&stream.republish, &stream.core.config().republish) else {
            return;
        };
        if !transform.matches(subject) {
            return;
        }
        let to = transform.apply(subject, || 0);
        let mut block = headers.to_vec();
        let mut push = |name: &str, value: &[u8]| headers::push(&mut block, name, value);
        push("Nats-Stream", stream.core.config().name.as_bytes());
        push("Nats-Subject", subject);
        push("Nats-Sequence", sequence.to_string().as_bytes());
        push("Nats-Time-Stamp", crate::time::rfc3339(self.now).as_bytes());
        push("Nats-Last-Sequence", last.to_string().as_bytes());
        let mut body = payload;
        if republish.headers_only {
            push("Nats-Msg-Size", payload.len().to_string().as_bytes());
            body = b"";
        }
        let message = Outgoing {
            account: stream.account,
            subject: &to,
            headers: &block,
            payload: body,
            ..Outgoing::default()
        };
        self.outbox.push(stream.is_logged(), &message);
    }

    /// Creates a stream whose configuration was checked; answers its number.
    pub(crate) fn create(&mut self, account: AccountId, config: StreamConfig) -> StreamId {
        let stream_id = self.create_silently(account, config);
        self.announce(stream_id, true);
        stream_id
    }

    /// The same, of one that does not listen to anything yet.
    pub(crate) fn create_silently(&mut self, account: AccountId, config: StreamConfig) -> StreamId {
        let stream_id = StreamId(self.next_number);
        let json = serde_json::to_vec(&config).unwrap_or_default();
        let name = self.accounts.get(account.index()).map(|account| Arc::clone(&account.name));
        let body = Body::create(stream_id, self.now, name.as_deref().unwrap_or_default(), &json);
        self.log_twice(journal::STORE, &body);
        let storage = self.new_storage(stream_id, &config);
        self.add_stream(stream_id, account, self.now, config, storage);
        self.note_dirty(stream_id);
        self.link_feeds_of(stream_id);
        stream_id
    }

    /// Gives a stream another configuration, which was checked.
    pub(crate) fn reconfigure(&mut self, stream_id: StreamId, config: StreamConfig) {
        let json = serde_json::to_vec(&config).unwrap_or_default();
        let body = Body::config_of_stream(&json);
        self.log_twice(stream_id, &body);
        self.note_dirty(stream_id);
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let (before, old) = (stream.core.messages().bytes(), stream.core.config());
        let means_more = (config.allow_msg_ttl && !old.allow_msg_ttl)
            || (config.allow_msg_schedules && !old.allow_msg_schedules);
        let of_subjects = self.set_stream_config(stream_id, config, true);
        if let Some(stream) = self.streams.get_mut(&stream_id).filter(|_| means_more) {
            stream.core.relearn(self.now);
        }
        self.account_bytes(stream_id, before);
        self.begin_trim(stream_id, of_subjects);
        self.release_unneeded(stream_id);
        self.link_feeds_of(stream_id);
        let due = self.streams.get(&stream_id).and_then(|stream| stream.core.next_expiry(self.now));
        self.plan_expiry(stream_id, due);
    }

    /// Sets a stream's configuration, and lets its account know the subjects.
    /// `keeps` and what is answered: see [`Stream::set_config`].
    pub(crate) fn set_stream_config(
        &mut self,
        stream_id: StreamId,
        config: StreamConfig,
        keeps: bool,
    ) -> bool {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return false };
        if stream.subjects() == config.subjects {
            return stream.set_config(config, keeps);
        }
        self.index_subjects(stream_id, false);
        let of_subjects = match self.streams.get_mut(&stream_id) {
            Some(stream) => stream.set_config(config, keeps),
            None => false,
        };
        self.index_subjects(stream_id, true);
        of_subjects
    }

    /// Lets a stream's account know its subjects, or forget them.
    pub(crate) fn index_subjects(&mut self, stream_id: StreamId, begins: bool) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let Some(account) = self.accounts.get_mut(stream.account.index()) else { return };
        for subject in stream.subjects() {
            if begins {
                account.subjects.insert(subject.as_bytes(), stream_id.0);
            } else {
                account.subjects.remove(subject.as_bytes(), stream_id.0);
            }
        }
    }

    /// Deletes a stream.
    pub(crate) fn delete(&mut self, stream_id: StreamId) {
        // Others' records may stand beside those that refer to its segments.
        self.write_referred_of(stream_id);
        let body = Body::delete(stream_id);
        self.log_twice(journal::STORE, &body);
        self.drop_stream(stream_id);
    }

    /// Overwrites a message before it is removed, as far as it lies in a segment.
    pub(crate) fn erase(&mut self, stream_id: StreamId, sequence: u64) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if let Storage::File(file) = stream.core.messages_mut() {
            file.erase(sequence);
        }
    }

    /// Whether something was logged that is not durable yet, so that what tells of it must wait.
    pub(crate) fn is_ahead(&self) -> bool {
        self.options.durability == Durability::Synced
            && (self.log.gathered_len() > 0 || self.log.durable() < self.log.records_end())
    }

    /// Hands out what may leave.
    pub fn take_ready(&mut self, send: impl FnMut(Departing<'_>)) {
        let durable = self.log.durable();
        self.outbox.take_ready(durable, send);
    }

    /// Whether messages wait for the disk.
    pub fn is_waiting(&self) -> bool {
        self.outbox.is_waiting()
    }
}

fn stream_last<D: Disk>(streams: &HashMap<StreamId, Stream<D>>, stream_id: StreamId, subject: &[u8]) -> u64 {
    let Some(stream) = streams.get(&stream_id).filter(|stream| stream.republish.is_some()) else { return 0 };
    stream.core.messages().subject(subject).map_or(0, |known| known.last)
}

pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
