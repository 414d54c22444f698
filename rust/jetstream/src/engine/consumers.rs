//! Creation, configuration and deletion of consumers, and news of their streams for them.

use std::ops::ControlFlow;

use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::journal::{self, Body};
use super::{Engine, Interest, InterestChange};
use crate::consumer::{
    AckPolicy, Change, Consumer, ConsumerConfig, ConsumerState, INACTIVE_DEFAULT, Start, StartSearch,
};
use crate::ids::{AccountId, ConsumerId, StreamId};
use crate::stream::Retention;

/// Nanoseconds without use after which a consumer becomes cold: it is no longer told of changes of its stream.
const COLD_AFTER: i64 = 10_000_000_000;

/// Extra lifetime of a consumer in nanoseconds, between 0.1 and 1 s, so that not all unused consumers end at once.
fn jitter(id: ConsumerId) -> i64 {
    100_000_000 + i64::from(id.0.wrapping_mul(2_654_435_761) % 900) * 1_000_000
}

impl<D: Disk> Engine<D> {
    /// The id of a consumer.
    pub(crate) fn find_consumer(&self, stream_id: StreamId, name: &str) -> Option<ConsumerId> {
        self.streams.get(&stream_id)?.consumers.get(name).copied()
    }

    /// Creates a consumer from a checked configuration. Returns its id.
    pub(crate) fn create_consumer(
        &mut self,
        stream_id: StreamId,
        name: &str,
        config: ConsumerConfig,
    ) -> ConsumerId {
        let mut start = Start::default();
        if let Some(stream) = self.streams.get(&stream_id) {
            let messages = stream.core.messages();
            let per_subject = stream.core.config().max_msgs_per_subject;
            if let Some(mut search) = StartSearch::new(&config, per_subject, &messages.state()) {
                while !search.step(messages, &mut { usize::MAX }) {}
                start = search.found();
            }
        }
        self.create_consumer_at(stream_id, name, config, start)
    }

    /// Like [`Engine::create_consumer`], for a consumer whose start has been searched.
    pub(crate) fn create_consumer_at(
        &mut self,
        stream_id: StreamId,
        name: &str,
        mut config: ConsumerConfig,
        found: Start,
    ) -> ConsumerId {
        let id = ConsumerId(self.next_number);
        self.next_number += 1;
        let now = self.now;
        if config.durable.is_empty() && config.inactive_threshold <= 0 {
            config.inactive_threshold = INACTIVE_DEFAULT;
        }
        let Some(stream) = self.streams.get(&stream_id) else { return id };
        let is_logged = stream.is_logged() && !config.mem_storage && !config.direct;
        let messages = stream.core.messages();
        let per_subject = stream.core.config().max_msgs_per_subject;
        let start = found.sequence(&config, per_subject, messages, &messages.state());
        let last = messages.last_sequence();
        let state = ConsumerState::starting_at(start);
        let mut consumer = Consumer::new(stream_id, name, now, config, state, is_logged);
        consumer.cursor = start;
        consumer.firsts = found.firsts;
        consumer.firsts_end = found.end;
        consumer.replay_end = last;
        if is_logged {
            let json = serde_json::to_vec(consumer.config()).unwrap_or_default();
            let body = Body::create_consumer(id, stream_id, now, start, name, &json);
            self.log_twice(journal::STORE, &body);
        }
        self.add_consumer(id, consumer);
        self.note_consumer_dirty(id);
        self.announce_consumer(id, true);
        self.learn_interest(id);
        self.wake(id);
        self.plan(id);
        self.wake_followers(stream_id);
        id
    }

    /// Adds a consumer to the engine and its stream.
    pub(super) fn add_consumer(&mut self, id: ConsumerId, mut consumer: Consumer) {
        let stream_id = consumer.stream;
        self.next_number = self.next_number.max(id.0.saturating_add(1));
        set_life(id, &mut consumer);
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        stream.consumers.insert(consumer.name.to_string(), id);
        stream.unfiltered += usize::from(consumer.filters().is_empty());
        if let Some(account) = self.accounts.get_mut(stream.account.index()) {
            account.consumers += 1;
        }
        self.consumers.insert(id, Box::new(consumer));
    }

    /// Queues the beginning or the end of a consumer's subscriptions.
    pub(super) fn announce_consumer(&mut self, id: ConsumerId, begins: bool) {
        let Some(c) = self.consumers.get(&id) else { return };
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let account = stream.account;
        let name = format!("{}.{}", stream.core.config().name, c.name);
        let change = |interest, subject| InterestChange { account, interest, subject, begins };
        let takes_acks = !matches!(c.config().ack_policy, AckPolicy::None | AckPolicy::FlowControl);
        self.interest_changes.push(change(Interest::Consumer(id), name.clone()));
        if begins && takes_acks {
            self.interest_changes.push(change(Interest::Acks(id), name));
        }
        if c.config().is_push() {
            let subject = c.config().deliver_subject.clone();
            self.interest_changes.push(change(Interest::Deliver(id), subject.clone()));
            let watchers = self.deliver_subjects.entry((account, subject.into_bytes())).or_default();
            if begins { watchers.push(id) } else { watchers.retain(|other| *other != id) }
        }
    }

    /// Gives a consumer a new configuration that has been checked.
    pub(crate) fn reconfigure_consumer(&mut self, id: ConsumerId, mut config: ConsumerConfig) {
        let Some(c) = self.consumers.get(&id) else { return };
        if config.durable.is_empty() && config.inactive_threshold <= 0 {
            config.inactive_threshold = INACTIVE_DEFAULT;
        }
        let (stream_id, is_logged, old) = (c.stream, c.is_logged, c.config().clone());
        if is_logged {
            let json = serde_json::to_vec(&config).unwrap_or_default();
            let body = Body::config(&json);
            self.log_twice(id, &body);
        }
        self.announce_consumer(id, false);
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let were_unfiltered = c.filters().is_empty();
        let new_filters = old.filters() != config.filters();
        c.set_config(config);
        set_life(id, c);
        if new_filters {
            c.is_refiltered = true;
            if c.is_hot
                && let Some(stream) = self.streams.get_mut(&stream_id)
            {
                stream.hot.remove(id);
                stream.hot.insert(id, &c.config().filters(), true);
            }
        }
        let is_unfiltered = c.filters().is_empty();
        if c.config().ack_wait != old.ack_wait || c.config().backoff != old.backoff {
            let due: Vec<Change> = c
                .state()
                .pending
                .iter()
                .map(|(sequence, p)| Change::Due {
                    stream: *sequence,
                    due: p.since.saturating_add(c.ack_wait(p.count)),
                })
                .collect();
            for change in &due {
                c.change(change);
            }
            c.ack_due = now;
        }
        if let Some(stream) = self.streams.get_mut(&stream_id) {
            stream.unfiltered = stream.unfiltered + usize::from(is_unfiltered) - usize::from(were_unfiltered);
        }
        self.note_consumer_dirty(id);
        self.note_unlogged(id);
        self.announce_consumer(id, true);
        self.learn_interest(id);
        self.watch_removals_for(stream_id, id);
        if new_filters {
            self.release_unneeded(stream_id);
        }
        self.wake(id);
        self.plan(id);
        let pause = self.consumers.get(&id).map(|c| c.config().pause_until);
        if pause != Some(old.pause_until) {
            self.advise_pause(id);
        }
    }

    /// Deletes a consumer. `is_told`: an advisory is published.
    pub(crate) fn delete_consumer(&mut self, id: ConsumerId, is_told: bool) {
        let Some(c) = self.consumers.get(&id) else { return };
        let stream_id = c.stream;
        if c.is_logged {
            let body = Body::delete_consumer(id);
            self.log_twice(journal::STORE, &body);
        }
        if is_told {
            self.advise_action(id, "DELETED", "delete");
        }
        self.drop_consumer(id, "409 Consumer Deleted");
        self.release_unneeded(stream_id);
    }

    /// Deletes a consumer of a stream that is being deleted. No messages are released, since all of them are removed with the
    /// stream.
    pub(crate) fn delete_consumer_with_stream(&mut self, id: ConsumerId) {
        if self.consumers.get(&id).is_some_and(|c| c.is_logged) {
            let body = Body::delete_consumer(id);
            self.log_twice(journal::STORE, &body);
        }
        self.advise_action(id, "DELETED", "delete");
        self.drop_consumer(id, "409 Consumer Deleted");
    }

    /// Removes a consumer from the engine and its stream; `why` is the status of its pull requests.
    pub(super) fn drop_consumer(&mut self, id: ConsumerId, why: &str) {
        self.announce_consumer(id, false);
        self.end_all_requests(id, why);
        let Some(c) = self.consumers.remove(&id) else { return };
        if c.planned < i64::MAX {
            self.timers.remove(&(c.planned, id));
        }
        if c.is_logged {
            self.checkpoint.deleted.push(super::checkpoint::key(id));
            self.deleted.insert(id.0);
        }
        let Some(stream) = self.streams.get_mut(&c.stream) else { return };
        stream.consumers.remove(&*c.name);
        stream.unfiltered -= usize::from(c.filters().is_empty());
        stream.hot.remove(id);
        if let Some(account) = self.accounts.get_mut(stream.account.index()) {
            account.consumers = account.consumers.saturating_sub(1);
        }
        self.watch_removals_for(c.stream, id);
    }

    /// Ends all pull requests, since the server shuts down.
    pub fn end_waiting(&mut self) {
        let waiting = self.consumers.iter().filter(|(_, c)| !c.requests.is_empty()).map(|(id, _)| *id);
        for id in waiting.collect::<Vec<ConsumerId>>() {
            self.end_all_requests(id, "409 Server Shutdown");
        }
    }

    /// Ends all pull requests of a consumer with a status.
    pub(super) fn end_all_requests(&mut self, id: ConsumerId, line: &str) {
        let waits = self.must_wait();
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let (account, waits) = (stream.account, waits && stream.is_logged());
        let is_shutdown = line.ends_with("Shutdown");
        while let Some(request) = c.requests.pop() {
            let left = is_shutdown.then_some((request.left, request.bytes));
            super::turn::send_status(&mut self.outbox, account, waits, &request.reply, line, left);
        }
    }

    /// Makes a consumer hot: its stream tells it of every change.
    pub(super) fn heat(&mut self, id: ConsumerId, c: &mut Consumer) {
        if !std::mem::replace(&mut c.is_hot, true)
            && let Some(stream) = self.streams.get_mut(&c.stream)
        {
            stream.hot.insert(id, &c.config().filters(), c.is_refiltered);
        }
    }

    /// Tells the hot consumers of a stream about a message that it stored.
    pub(super) fn note_append(&mut self, stream_id: StreamId, sequence: u64, subject: &[u8]) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let mut told = std::mem::take(&mut self.told);
        stream.hot.concerned(Some(subject), &mut told);
        let mut cold = Vec::new();
        for id in told.iter().copied() {
            let Some(c) = self.consumers.get_mut(&id) else { continue };
            // A consumer may begin behind the end of its stream.
            if sequence < c.cursor || !c.wants(subject) {
                continue;
            }
            c.note_wanted(sequence, subject);
            let is_asked = if c.config().is_push() { c.is_active } else { !c.requests.is_empty() };
            if is_asked {
                // A full consumer is woken when it has room again.
                if !c.is_full() && !std::mem::replace(&mut c.is_ready, true) {
                    self.ready.push_back(id);
                }
            } else if self.now - c.last_use > COLD_AFTER && !c.state().holds_messages() {
                c.is_hot = false;
                c.forget_count();
                cold.push(id);
            }
        }
        self.told = told;
        if let Some(stream) = self.streams.get_mut(&stream_id).filter(|_| !cold.is_empty()) {
            cold.iter().for_each(|id| stream.hot.remove(*id));
            self.watch_removals(stream_id);
        }
    }

    /// Removes messages from a work queue that its consumers have acknowledged: a crash may have left them.
    pub(super) fn release_done(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        if stream.core.config().retention != Retention::Workqueue {
            return;
        }
        let consumers: Vec<&Consumer> =
            stream.consumers.values().filter_map(|id| self.consumers.get(id).map(|c| &**c)).collect();
        let end = consumers.iter().map(|c| c.cursor).max().unwrap_or(0);
        let mut done = Vec::new();
        stream.core.messages().scan(0, &mut |sequence, message| {
            if sequence >= end {
                return ControlFlow::Break(());
            }
            let is_done = |c: &&Consumer, subject: &[u8]| c.wants(subject) && !c.needs(sequence, subject);
            if message.is_some_and(|m| consumers.iter().any(|c| is_done(c, m.subject))) {
                done.push(sequence);
            }
            ControlFlow::Continue(())
        });
        for sequences in done.chunks(4096) {
            let _ = self.change(stream_id, &crate::stream::Entry::Remove { sequences });
        }
    }

    /// Whether a consumer or a follower needs a message on this subject.
    pub(crate) fn is_consumed(&self, stream_id: StreamId, subject: &[u8]) -> bool {
        let Some(stream) = self.streams.get(&stream_id) else { return false };
        let mut consumers = stream.consumers.values().filter_map(|id| self.consumers.get(id));
        stream.unfiltered > 0
            || consumers.any(|c| c.wants(subject))
            || (!stream.followers.is_empty() && self.is_followed(stream_id, u64::MAX, subject))
    }

    /// Updates the push consumers of a deliver subject after its subscribers changed.
    pub fn deliver_interest_changed(&mut self, account: AccountId, subject: &[u8]) {
        let Some(ids) = self.deliver_subjects.get(&(account, subject.to_vec())) else { return };
        for id in ids.clone() {
            self.learn_interest(id);
            self.plan(id);
        }
    }

    /// Updates whether a push consumer has a receiver.
    pub(super) fn learn_interest(&mut self, id: ConsumerId) {
        let now = self.now;
        let Some(c) = self.consumers.get_mut(&id).filter(|c| c.config().is_push()) else { return };
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let Some(account) = self.accounts.get(stream.account.index()) else { return };
        let config = c.config();
        let group = Some(config.deliver_group.as_bytes()).filter(|group| !group.is_empty());
        let is_active = self.host.has_receiver(&account.name, config.deliver_subject.as_bytes(), group);
        if c.is_active != is_active {
            c.last_use = now;
            c.last_sent = now;
        }
        c.is_active = is_active;
        if is_active {
            self.wake(id);
        }
    }

    pub(super) fn note_consumer_dirty(&mut self, id: ConsumerId) {
        if let Some(c) = self.consumers.get_mut(&id)
            && c.is_logged
            && !std::mem::replace(&mut c.is_dirty, true)
        {
            self.dirty.push(id.into());
        }
    }

    /// Makes sure that a consumer's changes are logged with the next write.
    pub(super) fn note_unlogged(&mut self, id: ConsumerId) {
        if self.consumers.get(&id).is_some_and(|c| c.is_unlogged()) {
            self.unlogged.push(id);
        }
    }

    /// Gathers the changes of consumers for the log.
    pub(super) fn log_consumers(&mut self) {
        let mut bytes = Vec::new();
        for id in std::mem::take(&mut self.unlogged) {
            let Some(c) = self.consumers.get_mut(&id).filter(|c| c.is_unlogged()) else { continue };
            bytes.clear();
            c.take_journal(&mut bytes);
            self.log.append(id.into(), journal::CONSUMER_CHANGES, &[&bytes]);
            self.note_consumer_dirty(id);
        }
    }
}

/// Sets how long a consumer lives without use.
pub(super) fn set_life(id: ConsumerId, c: &mut Consumer) {
    let config = c.config();
    let threshold = config.inactive_threshold;
    let is_default = config.durable.is_empty() && threshold == INACTIVE_DEFAULT;
    c.lives_unused = match threshold {
        ..=0 => 0,
        _ if is_default || !config.is_push() => threshold.saturating_add(jitter(id)),
        _ => threshold,
    };
}
