//! A consumer: its configuration, the state that survives a restart, and the state that does not.

use std::collections::{HashSet, VecDeque};

use roaring::RoaringTreemap;
use stonechat_store::index::Filter;
use stonechat_subject::SubjectIndex;

use super::check::sampling;
use super::config::{AckPolicy, ConsumerConfig, PriorityPolicy, ReplayPolicy};
use super::counting::Counting;
use super::state::{Change, ConsumerState, Position};
use super::waiting::WaitingQueue;
use crate::ids::StreamId;

/// Bytes that may be in flight to a receiver with flow control, at most.
pub const FLOW_CONTROL_MAX: u64 = 32 << 20;
/// Nanoseconds that a consumer without a durable name lives unused, by default.
pub const INACTIVE_DEFAULT: i64 = 5_000_000_000;

/// Filters that are tried one by one, at most; more of them get an index.
const FEW: usize = 16;

/// The pinned client, which gets all messages of a priority group.
#[derive(Debug, Clone, Default)]
pub struct Pin {
    /// Its id, empty if there is none.
    pub id: String,
    /// When the client was pinned; kept after the pin ended.
    pub since: i64,
    /// When the pin expires.
    pub until: i64,
    /// The group.
    pub group: String,
}

/// Bytes in flight to a receiver that confirms them.
#[derive(Debug, Clone, Default)]
pub struct FlowControl {
    /// Bytes that may be in flight.
    pub window: u64,
    /// Bytes that are in flight.
    pub bytes: u64,
    /// Bytes that the awaited answer will confirm.
    pub asked: u64,
    /// Subject of the awaited answer; empty if none is awaited.
    pub reply: Vec<u8>,
}

/// A consumer.
#[derive(Debug)]
pub struct Consumer {
    /// The number of its stream.
    pub stream: StreamId,
    /// Its name.
    pub name: Box<str>,
    /// When it was created.
    pub created: i64,
    /// Whether its state goes to the log.
    pub is_logged: bool,
    config: Box<ConsumerConfig>,
    filters: Box<[Filter]>,
    /// An index of the filters, if they are too many to be tried one by one.
    many: Option<Box<SubjectIndex>>,
    state: ConsumerState,
    /// The sequence from which on the next message is searched.
    pub cursor: u64,
    /// The last messages of subjects, which are delivered before all others.
    pub firsts: RoaringTreemap,
    /// The sequence up to which `firsts` are the last messages of their subjects.
    pub firsts_end: u64,
    /// Number of messages that wait to be delivered, if it is known.
    pub waiting_messages: Option<u64>,
    /// The count of these messages, while it is in progress.
    pub(super) counting: Option<Box<Counting>>,
    /// Messages to be delivered again.
    redeliver: VecDeque<u64>,
    queued: HashSet<u64>,
    /// Pull requests.
    pub requests: WaitingQueue,
    /// Whether the deliver subject has a subscription.
    pub is_active: bool,
    /// Flow control, for push consumers that have it.
    pub flow: Option<Box<FlowControl>>,
    /// The pinned client.
    pub pin: Option<Box<Pin>>,
    /// When a message was last delivered or requested.
    pub last_use: i64,
    /// When a message was last delivered; 0 for never.
    pub last_delivery: i64,
    /// When a message was last acknowledged; 0 for never.
    pub last_ack: i64,
    /// When the last message or heartbeat was sent.
    pub last_sent: i64,
    /// Nothing is delivered before this time, because of the rate limit or of a replay.
    pub resume_at: i64,
    /// The time up to which the rate limit is used up.
    pub paid_until: i64,
    /// The last sequence that is replayed at its original pace.
    pub replay_end: u64,
    /// When the last replayed message was stored.
    pub replayed: i64,
    /// Nanoseconds that it lives unused, the server's own tolerance included; 0 for no limit.
    pub lives_unused: i64,
    /// When the next acknowledgement is overdue, or a time before that.
    pub ack_due: i64,
    /// When the engine's timer examines it next.
    pub planned: i64,
    /// Whether it waits for its turn to deliver.
    pub is_ready: bool,
    /// Whether its stream notifies it of every change.
    pub is_hot: bool,
    /// Whether its filters changed, so that pending messages may not match them.
    pub is_refiltered: bool,
    /// Whether it changed since the last checkpoint.
    pub is_dirty: bool,
    /// Number of turns that it had.
    pub runs: u64,
    /// Changes that are not in the log yet.
    pub journal: Vec<u8>,
    /// The position that is to be logged after them, as [`Change::Passed`].
    passed: Option<Position>,
}

impl Consumer {
    /// Creates a consumer in this state.
    pub fn new(
        stream: StreamId,
        name: &str,
        created: i64,
        config: ConsumerConfig,
        state: ConsumerState,
        is_logged: bool,
    ) -> Self {
        let cursor = state.delivered.stream + 1;
        let mut consumer = Self {
            stream,
            name: name.into(),
            created,
            is_logged,
            config: Box::default(),
            filters: Box::default(),
            many: None,
            ack_due: state.pending.values().map(|pending| pending.due).min().unwrap_or(i64::MAX),
            state,
            cursor,
            firsts: RoaringTreemap::new(),
            firsts_end: 0,
            waiting_messages: None,
            counting: None,
            redeliver: VecDeque::new(),
            queued: HashSet::new(),
            requests: WaitingQueue::default(),
            is_active: false,
            flow: None,
            pin: None,
            last_use: created,
            last_delivery: 0,
            last_ack: 0,
            last_sent: 0,
            resume_at: 0,
            paid_until: 0,
            replay_end: 0,
            replayed: 0,
            lives_unused: 0,
            planned: i64::MAX,
            is_ready: false,
            is_hot: false,
            is_refiltered: false,
            is_dirty: false,
            runs: 0,
            journal: Vec::new(),
            passed: None,
        };
        consumer.set_config(config);
        consumer
    }

    /// The configuration.
    pub fn config(&self) -> &ConsumerConfig {
        &self.config
    }

    /// Replaces the configuration with a checked one.
    pub fn set_config(&mut self, config: ConsumerConfig) {
        let filters = config.filters();
        self.many = (filters.len() > FEW).then(|| {
            let mut many = SubjectIndex::default();
            filters.iter().for_each(|filter| many.insert(filter.as_bytes(), 0));
            Box::new(many)
        });
        self.filters = filters.into_iter().map(|filter| Filter::new(filter.as_bytes())).collect();
        if config.flow_control && self.flow.is_none() {
            self.flow =
                Some(Box::new(FlowControl { window: FLOW_CONTROL_MAX / 16, ..FlowControl::default() }));
        }
        *self.config = config;
        self.forget_count();
    }

    /// The state that survives a restart.
    pub fn state(&self) -> &ConsumerState {
        &self.state
    }

    /// Applies a change to the state, and adds it to the journal. Returns whether the state changed.
    pub fn change(&mut self, change: &Change) -> bool {
        let changed = self.state.apply(change);
        if changed && self.is_logged {
            match change {
                // Logged once for all these messages, after they have left: see [`Consumer::note_passed`].
                Change::Passed(_) => {}
                other => other.encode(&mut self.journal),
            }
        }
        changed
    }

    /// Records, also in the journal, that all messages up to here are delivered and done.
    pub fn pass(&mut self, position: Position) {
        let change = Change::Passed(position);
        self.state.apply(&change);
        if self.is_logged {
            change.encode(&mut self.journal);
        }
    }

    /// Applies the changes of a log record.
    pub fn replay(&mut self, mut changes: &[u8]) {
        while let Some(change) = Change::decode(&mut changes) {
            self.state.apply(&change);
        }
        self.settle(u64::MAX);
    }

    /// Continues from the state as it is: adapts it to a stream that ends at `last`, and derives the cursor and the deadline of
    /// acknowledgements.
    pub fn settle(&mut self, last: u64) {
        self.state.reconcile(last);
        self.cursor = self.state.delivered.stream + 1;
        self.ack_due = self.state.pending.values().map(|pending| pending.due).min().unwrap_or(i64::MAX);
    }

    /// Whether changes are not in the log yet.
    pub fn is_unlogged(&self) -> bool {
        self.passed.is_some() || !self.journal.is_empty()
    }

    /// Records that messages which need no acknowledgement have left, up to here. The next log record includes that.
    pub fn note_passed(&mut self, position: Position) {
        if self.is_logged {
            self.passed = Some(position);
        }
    }

    /// Moves the changes that are not in the log yet to `out`.
    pub fn take_journal(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.journal);
        if let Some(position) = self.passed.take() {
            Change::Passed(position).encode(out);
        }
        if self.journal.capacity() > 4096 {
            self.journal = Vec::new();
        }
    }

    /// The filters; none for all messages.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Whether its filters match this subject.
    pub fn wants(&self, subject: &[u8]) -> bool {
        match &self.many {
            None => self.filters.is_empty() || self.filters.iter().any(|filter| filter.matches(subject)),
            Some(many) => many.matches(subject),
        }
    }

    /// Whether it still needs a message.
    pub fn needs(&self, sequence: u64, subject: &[u8]) -> bool {
        let all = self.config.ack_policy != AckPolicy::Explicit;
        self.wants(subject) && self.state.needs(sequence, self.cursor, all)
    }

    /// Whether the maximum number of messages waits for acknowledgement.
    pub fn is_full(&self) -> bool {
        let max = self.config.max_ack_pending;
        max > 0 && self.state.pending.len() as i64 >= max
    }

    /// How often a message may be delivered; 0 for no limit.
    pub fn max_deliver(&self) -> u64 {
        self.config.max_deliver.max(0) as u64
    }

    /// Nanoseconds to wait for the acknowledgement of a message that was delivered `count` times.
    pub fn ack_wait(&self, count: u64) -> i64 {
        let backoff = &self.config.backoff;
        let at = (count.max(1) as usize - 1).min(backoff.len().saturating_sub(1));
        backoff.get(at).copied().unwrap_or(self.config.ack_wait)
    }

    /// Whether acknowledgements have a deadline.
    pub fn is_timed(&self) -> bool {
        self.config.ack_wait > 0
    }

    /// Whether it is paused at `now`.
    pub fn is_paused(&self, now: i64) -> bool {
        self.config.pause_until.is_some_and(|until| until > now)
    }

    /// Whether pull requests are served by priority.
    pub fn is_prioritized(&self) -> bool {
        self.config.priority_policy == PriorityPolicy::Prioritized
    }

    /// Whether messages are delivered at the pace at which they were stored.
    pub fn is_replay(&self) -> bool {
        self.config.replay_policy == ReplayPolicy::Original
    }

    /// Percentage of acknowledgements for which a metric is published.
    pub fn sampled(&self) -> i64 {
        sampling(&self.config.sample_freq).unwrap_or(0)
    }

    /// Adds a message to the redelivery queue; false if it is already there.
    pub fn queue(&mut self, sequence: u64) -> bool {
        let fresh = self.queued.insert(sequence);
        if fresh {
            self.redeliver.push_back(sequence);
        }
        fresh
    }

    /// Adds a message at the front of the redelivery queue, unless it is already there.
    pub fn queue_first(&mut self, sequence: u64) {
        if self.queued.insert(sequence) {
            self.redeliver.push_front(sequence);
        }
    }

    /// Whether a message is in the redelivery queue.
    pub fn is_queued(&self, sequence: u64) -> bool {
        self.queued.contains(&sequence)
    }

    /// Number of messages in the redelivery queue.
    pub fn queued_len(&self) -> usize {
        self.queued.len()
    }

    /// Removes a message from the redelivery queue.
    pub fn unqueue(&mut self, sequence: u64) {
        if self.queued.remove(&sequence) && self.queued.is_empty() {
            self.redeliver.clear();
        }
    }

    /// Takes the next message from the redelivery queue.
    pub fn next_queued(&mut self) -> Option<u64> {
        while let Some(sequence) = self.redeliver.pop_front() {
            if self.queued.remove(&sequence) {
                return Some(sequence);
            }
        }
        None
    }

    /// Removes from the redelivery queue all messages that are not pending any more.
    pub fn tidy_queue(&mut self) {
        let pending = &self.state.pending;
        self.queued.retain(|sequence| pending.contains_key(sequence));
        let queued = &self.queued;
        self.redeliver.retain(|sequence| queued.contains(sequence));
    }

    /// Returns the messages whose acknowledgement is overdue and that are not queued yet, in order. Sets the time of the next
    /// check.
    pub fn overdue(&mut self, now: i64) -> Vec<u64> {
        let (mut overdue, mut next) = (Vec::new(), i64::MAX);
        for (sequence, pending) in &self.state.pending {
            if pending.due > now {
                next = next.min(pending.due);
            } else if !self.queued.contains(sequence) {
                overdue.push(*sequence);
            }
        }
        // A scan of all pending messages takes long, so it is not done at every single deadline.
        let pause = self.state.pending.len() as i64 * 200;
        self.ack_due = if next == i64::MAX { next } else { next.max(now.saturating_add(pause)) };
        overdue
    }

    /// Whether the bytes in flight leave no room for more.
    pub fn is_stalled(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.bytes > flow.window)
    }

    /// Returns when the engine has to examine it next; `i64::MAX` for never.
    pub fn due(&self, now: i64) -> i64 {
        let mut due = i64::MAX;
        let mut at = |time: i64| due = due.min(time);
        if self.is_timed() {
            at(self.ack_due);
        }
        if let Some(time) = self.requests.due() {
            at(time);
        }
        if self.config.is_push() && self.config.idle_heartbeat > 0 && self.is_active {
            at(self.last_sent.max(self.created).saturating_add(self.config.idle_heartbeat));
        }
        if self.lives_unused > 0 && !(self.config.is_push() && self.is_active) {
            at(self.last_use.saturating_add(self.lives_unused));
        }
        if let Some(until) = self.config.pause_until.filter(|until| *until > now) {
            at(until);
        }
        if self.resume_at > now {
            at(self.resume_at);
        }
        if let Some(pin) = self.pin.as_ref().filter(|pin| !pin.id.is_empty()) {
            at(pin.until);
        }
        due
    }

    /// The number of the next delivery.
    pub fn next_delivery(&self) -> u64 {
        self.state.delivered.consumer + 1
    }

    /// The last delivery and the last examined message, as a heartbeat reports them.
    pub fn reached(&self) -> Position {
        Position { consumer: self.state.delivered.consumer, stream: self.cursor.saturating_sub(1) }
    }
}
