//! JetStream on one thread: its streams, their log, and the API requests about them.
//!
//! The engine reads no clock and starts no thread: its caller passes in messages and times. The engine gathers log records, and
//! hands out
//! - jobs that may wait for the disk ([`Engine::next_job`]),
//! - messages that may leave ([`Engine::take_ready`]).
//!
//! An acknowledgement leaves only when the log is durable up to the change that it acknowledges.

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

/// The services that the engine needs from the server around it: interest, limits, unique ids.
pub trait Host: Send {
    /// Whether a message on `subject` would reach a subscriber in `account`.
    fn is_wanted(&self, account: &str, subject: &[u8]) -> bool;
    /// Like [`Host::is_wanted`], for a subject that only clients use, such as an inbox; an implementation may answer faster.
    fn has_interest(&self, account: &str, subject: &[u8]) -> bool {
        self.is_wanted(account, subject)
    }
    /// Whether a client in `account` subscribed to exactly this subject, as nats-server's notifications of interest define it.
    fn has_subscriber(&self, account: &str, subject: &[u8]) -> bool {
        self.is_wanted(account, subject)
    }
    /// Whether a push consumer that delivers to `subject` has a receiver: a plain subscriber, or with `group` a member of this
    /// queue group.
    fn has_receiver(&self, account: &str, subject: &[u8], _group: Option<&[u8]>) -> bool {
        self.is_wanted(account, subject)
    }
    /// The account that lets `account` read its stream: the account that requests on subjects beginning with `api` reach. `None`
    /// unless messages that it publishes on subjects beginning with `deliver` come back to `account`.
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

/// An account's streams, limits and use of JetStream.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) name: Arc<str>,
    /// The account's streams by name.
    pub(crate) streams: BTreeMap<String, StreamId>,
    /// The subjects of the streams, by stream number.
    pub(crate) subjects: SubjectIndex,
    /// The number of consumers of the streams.
    pub(crate) consumers: u64,
    /// `None` if the account may not use JetStream.
    pub(crate) limits: Option<AccountLimits>,
    /// Bytes in memory and on disk that the streams take.
    pub(crate) memory: u64,
    pub(crate) storage: u64,
    /// API requests, and those answered with an error.
    pub(crate) api_total: u64,
    pub(crate) api_errors: u64,
}

/// The purpose of one of the engine's subscriptions, and the object that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interest {
    /// Messages for the stream to store.
    Publish(StreamId),
    /// Direct get requests, which read a stream without going through the API.
    DirectGet(StreamId),
    /// A consumer's pull requests and flow control replies; the subject is `stream.consumer`.
    Consumer(ConsumerId),
    /// Acknowledgements to a consumer that accepts them. The end of [`Interest::Consumer`] ends this one too.
    Acks(ConsumerId),
    /// Subscribers of the subject to which a push consumer delivers.
    Deliver(ConsumerId),
    /// Acknowledgements of the chunks of a backup that is being sent.
    Snapshot(BackupId),
    /// Chunks of a backup that is being restored.
    Restore(BackupId),
}

/// The beginning or the end of one of the engine's subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InterestChange {
    /// The account's number.
    pub account: AccountId,
    /// The purpose of the subscription.
    pub interest: Interest,
    /// The subject, which may hold wildcards.
    pub subject: String,
    /// True if the subscription begins, false if it ends.
    pub begins: bool,
}

impl InterestChange {
    /// The stream that stores messages on the subject, for [`Interest::Publish`].
    pub fn stream(&self) -> Option<StreamId> {
        match self.interest {
            Interest::Publish(id) => Some(id),
            _ => None,
        }
    }
}

/// A message for the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A warning.
    Warning(String),
    /// An error.
    Error(String),
}

/// The outcome of a publish.
enum Stored {
    /// The message is stored at this sequence; `more` holds further fields of the acknowledgement.
    At { sequence: u64, more: Cow<'static, str> },
    /// The message waits for the rest of its batch.
    Staged,
    /// The message is not stored yet: the last message on these subjects must be looked up first.
    Search(Vec<u8>),
}

impl Stored {
    fn at(sequence: u64) -> Self {
        Self::At { sequence, more: Cow::Borrowed("") }
    }
}

/// The JetStream engine.
pub struct Engine<D: Disk> {
    pub(crate) options: Options,
    pub(crate) host: Box<dyn Host>,
    pub(crate) accounts: Vec<Account>,
    account_numbers: HashMap<Arc<str>, AccountId>,
    /// The account in which advisories about the server are published, if one is set.
    system_account: Option<AccountId>,
    pub(crate) streams: HashMap<StreamId, Stream<D>>,
    pub(crate) consumers: HashMap<ConsumerId, Box<Consumer>>,
    /// Consumers by the subjects to which they deliver.
    deliver_subjects: HashMap<(AccountId, Vec<u8>), Vec<ConsumerId>>,
    /// Consumers waiting for a turn.
    ready: VecDeque<ConsumerId>,
    /// Consumers whose turn waits until fewer bytes wait for the log.
    parked: Vec<ConsumerId>,
    /// The earliest deadline of each consumer that has one.
    timers: std::collections::BTreeSet<(i64, ConsumerId)>,
    /// Consumers with changes that are not in the log yet.
    unlogged: Vec<ConsumerId>,
    /// Streams with messages to be removed because no consumer needs them.
    released: Vec<StreamId>,
    /// Streams whose published messages wait for a lookup.
    holds: holds::Holds,
    /// Streams being searched for messages that no consumer needs, and the rest of this turn's budget for that.
    sweeping: VecDeque<StreamId>,
    sweep_left: usize,
    /// Streams whose messages beyond their limits are being removed.
    trimming: VecDeque<StreamId>,
    /// Messages sent without acknowledgement, which count as done once they have left.
    passing: VecDeque<delivery::Passed>,
    /// Batches that are not committed yet, by stream and batch id.
    batches: HashMap<(StreamId, Vec<u8>), batches::Batch>,
    /// The rest of this turn's budget for messages that consumers look at.
    looks_left: usize,
    /// Whether consumers must not send for now.
    is_held: bool,
    /// The rest of this turn's budget for counting the messages that wait for consumers.
    counts_left: usize,
    /// API requests that wait or take several turns.
    pub(crate) requests: Requests,
    /// Backups that are being sent or received.
    backups: restores::Backups,
    /// When idle fast-ingest publishers are removed next.
    fast_sweep: Option<i64>,
    /// Mirrors, and streams with sources, that have messages to take.
    feeding: VecDeque<StreamId>,
    /// The number of streams with a mirror or sources.
    feeds: usize,
    /// The number of changes of imports and exports between accounts so far.
    exchanges: u64,
    /// Streams whose mirror or sources wait for room, with the time of the next attempt.
    stopped: VecDeque<(i64, StreamId)>,
    /// Whether the gathered records contain a change of a stream.
    is_staged: bool,
    /// Log position up to which the log must be durable before consumers' messages leave.
    barrier: u64,
    next_number: u32,
    /// The numbers of all deleted streams and consumers.
    deleted: RoaringBitmap,
    /// The damage found in the store, and the streams and consumers without a description.
    quarantine: quarantine::Quarantine,
    /// Records that are logged with a second copy.
    twice: twice::Twice,
    salt: u64,
    files: Arc<Files<D>>,
    log: Log<D>,
    catalogue: Catalogue<D>,
    checkpoint: checkpoint::Checkpoint,
    pub(crate) outbox: Outbox,
    interest_changes: Vec<InterestChange>,
    notices: Vec<Notice>,
    /// The latest time passed to [`Engine::set_time`], in nanoseconds since 1970.
    pub(crate) now: i64,
    /// The error for publishers while the disk is full or the log has failed.
    pub(crate) refuses: Option<ApiError>,
    room: room::Room,
    /// Streams and consumers that changed since the last checkpoint.
    dirty: Vec<GroupId>,
    /// Streams with records among those gathered for the log.
    gathered: Vec<StreamId>,
    /// Streams with news: a full segment, newly found damage, or a job for an index.
    noted: Vec<StreamId>,
    /// When the next message of each stream expires.
    expiries: std::collections::BTreeSet<(i64, StreamId)>,
    pub(crate) memory: u64,
    pub(crate) storage: u64,
    scratch: Vec<u8>,
    /// Buffer for the ids of consumers that are told of a change.
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
    /// Returns the number of an account, and registers the account if it is new.
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

    /// Sets the limits of an account; `None` disables JetStream for it.
    pub fn set_limits(&mut self, account: &str, limits: Option<AccountLimits>) {
        let number = self.account(account);
        self.accounts[number.index()].limits = limits;
    }

    /// Whether an account may use JetStream.
    pub fn is_enabled(&self, account: AccountId) -> bool {
        self.accounts.get(account.index()).is_some_and(|account| account.limits.is_some())
    }

    /// Returns the number of changes of imports and exports between accounts so far.
    pub fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// Sets the account in which advisories about the server are published.
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

    /// The number of accounts that may use JetStream.
    pub fn account_count(&self) -> usize {
        self.accounts.iter().filter(|account| account.limits.is_some()).count()
    }

    /// The domain, if one is configured.
    pub fn domain(&self) -> Option<&str> {
        self.options.domain.as_deref()
    }

    /// The number of consumers.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// The number of streams, without quarantined ones.
    pub fn stream_count(&self) -> usize {
        self.streams.len() - self.quarantined().count()
    }

    /// The numbers of API requests and of errors, of all accounts.
    pub fn api_counts(&self) -> (u64, u64) {
        self.accounts.iter().fold((0, 0), |(total, errors), a| (total + a.api_total, errors + a.api_errors))
    }

    /// Returns the subscriptions that began or ended since the last call.
    pub fn take_interest_changes(&mut self) -> Vec<InterestChange> {
        std::mem::take(&mut self.interest_changes)
    }

    /// Returns the notices for the server's log since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Sets the time, in nanoseconds since 1970; an earlier time than before is ignored.
    pub fn set_time(&mut self, now: i64) {
        self.now = self.now.max(now);
    }

    /// Stores a published message and answers the publisher.
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

    /// Like [`Engine::publish`], but returns a filter, and stores nothing, if the last message on these subjects must be looked
    /// up first.
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
                // While the log can't be written, refusals leave at once.
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

    /// Judges and stores a message of a batch.
    fn ingest(&mut self, stream_id: StreamId, message: &Publish<'_>) -> Result<Stored, ApiError> {
        loop {
            match self.ingest_from(stream_id, message, false)? {
                // The lookup was done before, but the batch itself removed the message that it found.
                Stored::Search(filter) => {
                    let Some(stream) = self.streams.get_mut(&stream_id) else { return Ok(Stored::Staged) };
                    while !stream.core.seek_last(&filter, &mut { usize::MAX }) {}
                }
                stored => return Ok(stored),
            }
        }
    }

    /// Judges and stores a message; `is_sourced` if it comes from a source or a schedule.
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

    /// Logs a change of a stream and applies it.
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

    /// Queues a stream that has news, see [`Engine::take_news`].
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

    /// Updates the byte counts of the engine and the account after a stream changed; `before` is the stream's size before the
    /// change.
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

    /// Republishes a stored message if the stream's configuration asks for it (ADR-28).
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

    /// Creates a stream from a checked configuration. Returns its number.
    pub(crate) fn create(&mut self, account: AccountId, config: StreamConfig) -> StreamId {
        let stream_id = self.create_silently(account, config);
        self.announce(stream_id, true);
        stream_id
    }

    /// Like [`Engine::create`], but the stream does not subscribe to its subjects yet.
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

    /// Gives a stream a new configuration that has been checked.
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

    /// Sets a stream's configuration, and updates its account's subject index. For `keeps` and the result see
    /// [`Stream::set_config`].
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

    /// Adds a stream's subjects to its account's index, or removes them.
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
        // Other streams' records may be gathered beside records that refer to this stream's segments, so the segments are written
        // first.
        self.write_referred_of(stream_id);
        let body = Body::delete(stream_id);
        self.log_twice(journal::STORE, &body);
        self.drop_stream(stream_id);
    }

    /// Overwrites a message before it is removed, if it is in a segment.
    pub(crate) fn erase(&mut self, stream_id: StreamId, sequence: u64) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if let Storage::File(file) = stream.core.messages_mut() {
            file.erase(sequence);
        }
    }

    /// Whether the log holds records that are not durable yet, so that replies about them must wait.
    pub(crate) fn is_ahead(&self) -> bool {
        self.options.durability == Durability::Synced
            && (self.log.gathered_len() > 0 || self.log.durable() < self.log.records_end())
    }

    /// Hands out the messages that may leave now.
    pub fn take_ready(&mut self, send: impl FnMut(Departing<'_>)) {
        let durable = self.log.durable();
        self.outbox.take_ready(durable, send);
    }

    /// Whether messages wait for the log to become durable.
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
