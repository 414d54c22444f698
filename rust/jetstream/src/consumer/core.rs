//! A consumer: its configuration, its state, and what it is in the middle of.

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

/// How many bytes may be under way to a receiver with flow control.
pub const FLOW_CONTROL_MAX: u64 = 32 << 20;
/// How long a consumer without a durable name lives when nobody uses it, in nanoseconds.
pub const INACTIVE_DEFAULT: i64 = 5_000_000_000;

/// So many filters are tried one by one.
const FEW: usize = 16;

/// The client that gets all messages of a priority group.
#[derive(Debug, Clone, Default)]
pub struct Pin {
    /// Its id, empty if there is none.
    pub id: String,
    /// Since when; kept when it is gone.
    pub since: i64,
    /// When it is given up.
    pub until: i64,
    /// The group.
    pub group: String,
}

/// Bytes under way to a receiver that says when it has taken them.
#[derive(Debug, Clone, Default)]
pub struct FlowControl {
    /// How many may be under way.
    pub window: u64,
    /// How many are.
    pub bytes: u64,
    /// How many the answer that is waited for stands for, and the subject on which it comes; empty if none is waited for.
    pub asked: u64,
    /// See `asked`.
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
    /// The same, where they are too many to be tried one by one.
    many: Option<Box<SubjectIndex>>,
    state: ConsumerState,
    /// The sequence at which the next message is looked for.
    pub cursor: u64,
    /// The last messages of subjects, which come before all others; and the sequence up to which they are the last.
    pub firsts: RoaringTreemap,
    /// See `firsts`.
    pub firsts_end: u64,
    /// Messages that wait to be delivered, if that is known.
    pub waiting_messages: Option<u64>,
    /// While they are counted.
    pub(super) counting: Option<Box<Counting>>,
    /// Messages to be delivered again.
    redeliver: VecDeque<u64>,
    queued: HashSet<u64>,
    /// Pull requests.
    pub requests: WaitingQueue,
    /// Somebody listens to the deliver subject.
    pub is_active: bool,
    /// For push consumers that have it.
    pub flow: Option<Box<FlowControl>>,
    /// The pinned client.
    pub pin: Option<Box<Pin>>,
    /// When something was last delivered or asked for.
    pub last_use: i64,
    /// When something was last delivered, and acknowledged; 0 for never.
    pub last_delivery: i64,
    /// See `last_delivery`.
    pub last_ack: i64,
    /// When the last message or heartbeat was sent.
    pub last_sent: i64,
    /// Nothing is delivered before this time: rate limit or replay.
    pub resume_at: i64,
    /// With a rate limit: the time up to which it is used up.
    pub paid_until: i64,
    /// Replaying as it was: the last sequence that is replayed, and the time of the last message.
    pub replay_end: u64,
    /// See `replay_end`.
    pub replayed: i64,
    /// How long it lives unused, the server's own tolerance included; 0 for ever.
    pub lives_unused: i64,
    /// When the next acknowledgement is overdue, or earlier.
    pub ack_due: i64,
    /// When the engine looks at it again.
    pub planned: i64,
    /// It waits for its turn to deliver.
    pub is_ready: bool,
    /// Its stream tells it of every change.
    pub is_hot: bool,
    /// Its filters changed, so that what waits for acknowledgement may not match them.
    pub is_refiltered: bool,
    /// It changed since the last checkpoint.
    pub is_dirty: bool,
    /// How often it had its turn.
    pub runs: u64,
    /// Changes that are not in the log yet.
    pub journal: Vec<u8>,
    /// The position that is to be written with them.
    passed: Option<Position>,
}

impl Consumer {
    /// A consumer in this state.
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

    /// Takes a configuration, which was checked.
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

    /// Where it stands.
    pub fn state(&self) -> &ConsumerState {
        &self.state
    }

    /// Changes its state, and takes note of that for the log.
    pub fn change(&mut self, change: &Change) -> bool {
        let changed = self.state.apply(change);
        if changed && self.is_logged {
            match change {
                // Said once for all that passed, and when they have left: see [`Consumer::note_passed`].
                Change::Passed(_) => {}
                other => other.encode(&mut self.journal),
            }
        }
        changed
    }

    /// Takes note, in the log too, that all up to here was delivered and needs nothing any more.
    pub fn pass(&mut self, position: Position) {
        let change = Change::Passed(position);
        self.state.apply(&change);
        if self.is_logged {
            change.encode(&mut self.journal);
        }
    }

    /// Carries out what the log says.
    pub fn replay(&mut self, mut changes: &[u8]) {
        while let Some(change) = Change::decode(&mut changes) {
            self.state.apply(&change);
        }
        self.settle(u64::MAX);
    }

    /// Begins with a state that the log has as a whole, or that must agree with a stream that ends at `last`.
    pub fn settle(&mut self, last: u64) {
        self.state.reconcile(last);
        self.cursor = self.state.delivered.stream + 1;
        self.ack_due = self.state.pending.values().map(|pending| pending.due).min().unwrap_or(i64::MAX);
    }

    /// Whether there is something for the log.
    pub fn is_unlogged(&self) -> bool {
        self.passed.is_some() || !self.journal.is_empty()
    }

    /// What was delivered up to here without being acknowledged has left.
    pub fn note_passed(&mut self, position: Position) {
        if self.is_logged {
            self.passed = Some(position);
        }
    }

    /// Takes what is for the log.
    pub fn take_journal(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.journal);
        if let Some(position) = self.passed.take() {
            Change::Passed(position).encode(out);
        }
        if self.journal.capacity() > 4096 {
            self.journal = Vec::new();
        }
    }

    /// The filters, none for all messages.
    pub fn filters(&self) -> &[Filter] {
        &self.filters
    }

    /// Whether it wants messages on this subject.
    pub fn wants(&self, subject: &[u8]) -> bool {
        match &self.many {
            None => self.filters.is_empty() || self.filters.iter().any(|filter| filter.matches(subject)),
            Some(many) => many.matches(subject),
        }
    }

    /// Whether a message is still needed for it.
    pub fn needs(&self, sequence: u64, subject: &[u8]) -> bool {
        let all = self.config.ack_policy != AckPolicy::Explicit;
        self.wants(subject) && self.state.needs(sequence, self.cursor, all)
    }

    /// Whether as many messages wait for acknowledgement as may.
    pub fn is_full(&self) -> bool {
        let max = self.config.max_ack_pending;
        max > 0 && self.state.pending.len() as i64 >= max
    }

    /// How often a message may be delivered; 0 for no limit.
    pub fn max_deliver(&self) -> u64 {
        self.config.max_deliver.max(0) as u64
    }

    /// How long to wait for the acknowledgement of a message that was delivered `count` times.
    pub fn ack_wait(&self, count: u64) -> i64 {
        let backoff = &self.config.backoff;
        let at = (count.max(1) as usize - 1).min(backoff.len().saturating_sub(1));
        backoff.get(at).copied().unwrap_or(self.config.ack_wait)
    }

    /// Whether acknowledgements are timed.
    pub fn is_timed(&self) -> bool {
        self.config.ack_wait > 0
    }

    /// Whether it delivers nothing at `now` because it was told so.
    pub fn is_paused(&self, now: i64) -> bool {
        self.config.pause_until.is_some_and(|until| until > now)
    }

    /// Whether some requests go before others.
    pub fn is_prioritized(&self) -> bool {
        self.config.priority_policy == PriorityPolicy::Prioritized
    }

    /// Whether messages are to come as they came to the stream.
    pub fn is_replay(&self) -> bool {
        self.config.replay_policy == ReplayPolicy::Original
    }

    /// How many of a hundred acknowledgements are told.
    pub fn sampled(&self) -> i64 {
        sampling(&self.config.sample_freq).unwrap_or(0)
    }

    /// Puts a message in the queue of those to be delivered again; false if it is there.
    pub fn queue(&mut self, sequence: u64) -> bool {
        let fresh = self.queued.insert(sequence);
        if fresh {
            self.redeliver.push_back(sequence);
        }
        fresh
    }

    /// Puts it first.
    pub fn queue_first(&mut self, sequence: u64) {
        if self.queued.insert(sequence) {
            self.redeliver.push_front(sequence);
        }
    }

    /// Whether a message is in that queue.
    pub fn is_queued(&self, sequence: u64) -> bool {
        self.queued.contains(&sequence)
    }

    /// How many are in it.
    pub fn queued_len(&self) -> usize {
        self.queued.len()
    }

    /// Takes a message out of it.
    pub fn unqueue(&mut self, sequence: u64) {
        if self.queued.remove(&sequence) && self.queued.is_empty() {
            self.redeliver.clear();
        }
    }

    /// The next one to be delivered again.
    pub fn next_queued(&mut self) -> Option<u64> {
        while let Some(sequence) = self.redeliver.pop_front() {
            if self.queued.remove(&sequence) {
                return Some(sequence);
            }
        }
        None
    }

    /// Forgets what was queued and is not pending any more.
    pub fn tidy_queue(&mut self) {
        let pending = &self.state.pending;
        self.queued.retain(|sequence| pending.contains_key(sequence));
        let queued = &self.queued;
        self.redeliver.retain(|sequence| queued.contains(sequence));
    }

    /// Messages whose acknowledgement is overdue, in order; plans when to look again.
    pub fn overdue(&mut self, now: i64) -> Vec<u64> {
        let (mut overdue, mut next) = (Vec::new(), i64::MAX);
        for (sequence, pending) in &self.state.pending {
            if pending.due > now {
                next = next.min(pending.due);
            } else if !self.queued.contains(sequence) {
                overdue.push(*sequence);
            }
        }
        // Looking through all of them costs time: so much that it can't be done at every single one.
        let pause = self.state.pending.len() as i64 * 200;
        self.ack_due = if next == i64::MAX { next } else { next.max(now.saturating_add(pause)) };
        overdue
    }

    /// Whether the bytes under way leave no room for more.
    pub fn is_stalled(&self) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.bytes > flow.window)
    }

    /// When the engine is to look at it.
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

    /// The last message that was looked at, and the last delivery: what a heartbeat says.
    pub fn reached(&self) -> Position {
        Position { consumer: self.state.delivered.consumer, stream: self.cursor.saturating_sub(1) }
    }
}
