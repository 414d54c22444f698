//! A stream as a state machine: it judges published messages and applies the entries that follow.
//!
//! [`StreamCore::judge`] inspects a message and changes nothing. [`StreamCore::apply`] carries out an [`Entry`] of the log, live
//! and at replay. It reads no clock and depends on nothing outside the stream.
//!
//! `apply` itself removes the messages that a new one displaces, so their removal needs no record; very many are removed later by
//! [`Entry::Trim`]. Removals by age are logged, since a replay must not read a clock.

use std::borrow::Cow;
use std::ops::ControlFlow;

use stonechat_store::index::Filter;
use stonechat_store::messages::{Appended, Messages};
use stonechat_store::spill::{Shelf, SpillJob, Spilled};
use stonechat_subject::Transform;

use super::config::{Discard, Retention, StreamConfig};
use super::counter;
use super::entry::Entry;
use super::headers::{self, PublishHeaders};
use super::lasts::Lasts;
use super::notes::Notes;
use super::rollup::{self, Swept};
use super::schedule::{self, Role};
use super::ttl::{self, Ttl};
use crate::error::{self, ApiError};

/// A message that was published.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Its subject.
    pub subject: &'a [u8],
    /// Its header block, or nothing.
    pub headers: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
}

/// The decision about a published message.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// Store the message in this form.
    Append {
        /// The subject under which it is stored.
        subject: Cow<'a, [u8]>,
        /// Its header block.
        headers: Cow<'a, [u8]>,
        /// The new total of the subject, for a message of a counter stream. The stored payload is made from it.
        total: Option<String>,
    },
    /// Store nothing, but use up a sequence.
    Skip {
        /// The message's id; empty if it has none.
        id: &'a [u8],
    },
    /// Search first: the message expects the last sequence of these subjects, which is not known yet.
    Search {
        /// The subjects, with wildcards.
        filter: &'a [u8],
    },
    /// A message with this id was stored before.
    Duplicate {
        /// The sequence of that message.
        sequence: u64,
    },
}

/// A stream.
#[derive(Debug)]
pub struct StreamCore<M> {
    pub(super) config: StreamConfig,
    pub(super) messages: M,
    transform: Option<Transform>,
    pub(super) notes: Notes,
    /// Whether removals are recorded: one by one, and from sequence `watched_from` on with their subjects.
    is_watched: bool,
    watched_from: u64,
    removed: Removed,
    pub(super) swept: Swept,
    pub(super) lasts: Lasts,
}

/// Messages that a stored message displaces at once, at most: beyond its subject's limit, and again beyond the stream's limits.
/// [`Entry::Trim`] removes the rest later.
const DISPLACED_MAX: u64 = if cfg!(debug_assertions) { 16 } else { 1024 };

/// Removals that are recorded one by one, at most; beyond that the list is dropped and [`Removed::many`] is set.
const NAMED_MAX: usize = 16_384;

/// The messages that left a stream.
#[derive(Debug, Default)]
pub struct Removed {
    /// Sequences of removed messages, with their subjects as far as [`StreamCore::watch_removals`] asked for them.
    pub messages: Vec<(u64, Option<Box<[u8]>>)>,
    /// Every message that the stream held was removed; a new one may have been stored since.
    pub all: bool,
    /// More messages were removed than `messages` may name; `messages` is empty then.
    pub many: bool,
}

impl Removed {
    fn push(&mut self, sequence: u64, subject: Option<Box<[u8]>>) {
        if self.messages.len() >= NAMED_MAX {
            self.messages = Vec::new();
            self.many = true;
        }
        if !self.many {
            self.messages.push((sequence, subject));
        }
    }

    /// Whether no message was removed.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.all && !self.many
    }
}

impl<M: Messages> StreamCore<M> {
    /// Creates a stream with these messages. `config` has been checked. Notes that do not fit into memory spill to the `shelf`.
    pub fn new(config: StreamConfig, messages: M, shelf: &Shelf) -> Self {
        let mut core = Self {
            transform: None,
            notes: Notes::new(&config, shelf),
            is_watched: false,
            watched_from: u64::MAX,
            removed: Removed::default(),
            swept: Swept::new(),
            lasts: Lasts::default(),
            messages,
            config,
        };
        core.read_transform();
        core
    }

    fn read_transform(&mut self) {
        let transform = self.config.subject_transform.as_ref();
        self.transform =
            transform.and_then(|t| Transform::new(t.src.as_bytes(), t.dest.as_bytes()).ok().flatten());
    }

    /// The configuration.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// The messages.
    pub fn messages(&self) -> &M {
        &self.messages
    }

    /// The messages, for work on their storage that does not change their content.
    pub fn messages_mut(&mut self) -> &mut M {
        &mut self.messages
    }

    /// Takes the stream apart and returns its messages.
    pub fn into_messages(self) -> M {
        self.messages
    }

    /// Sets whether removals are recorded, and from which sequence on with their subjects.
    pub fn watch_removals(&mut self, is_watched: bool, from: u64) {
        (self.is_watched, self.watched_from) = (is_watched, from);
    }

    /// The sequence from which on removals are recorded with their subjects.
    pub fn watched_from(&self) -> u64 {
        self.watched_from
    }

    /// Takes the removals recorded since the last call; `None` without any.
    pub fn take_removed(&mut self) -> Option<Removed> {
        (!self.removed.is_empty()).then(|| std::mem::take(&mut self.removed))
    }

    /// Whether removals were recorded since the last [`StreamCore::take_removed`].
    pub fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Discards the recorded removals.
    pub fn forget_removed(&mut self) {
        self.removed = Removed::default();
    }

    pub(super) fn remove(&mut self, sequence: u64) -> bool {
        self.notes.schedules.remove(sequence);
        self.lasts.note_gone(sequence);
        if !self.is_watched {
            return self.messages.remove(sequence);
        }
        let mut buffer = Vec::new();
        let subject = match sequence >= self.watched_from {
            true => self.messages.read(sequence, &mut buffer).ok().flatten().map(|m| m.subject.into()),
            false => None,
        };
        let removed = self.messages.remove(sequence);
        if removed {
            self.removed.push(sequence, subject);
        }
        removed
    }

    pub(super) fn remove_first_on(&mut self, subject: &[u8], keep: u64) -> bool {
        let removed = self.messages.remove_first_on(subject, keep);
        if let Some(sequence) = removed {
            self.notes.schedules.remove(sequence);
            self.lasts.note_gone(sequence);
        }
        if let Some(sequence) = removed.filter(|_| self.is_watched) {
            let subject = (sequence >= self.watched_from).then(|| subject.into());
            self.removed.push(sequence, subject);
        }
        removed.is_some()
    }

    pub(super) fn clear(&mut self, next: u64) {
        self.messages.clear(next);
        self.lasts.clear();
        self.removed = Removed { all: true, ..Removed::default() };
    }

    /// The subject under which a message that is published on `subject` is stored.
    pub fn subject_of<'a>(&self, now: i64, subject: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.transform {
            Some(transform) if transform.matches(subject) => {
                // The low bits of a nanosecond clock are random enough to choose a partition.
                let mut seed = now as u64;
                let random = || {
                    seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    (seed >> 33) as u32
                };
                Cow::Owned(transform.apply(subject, random))
            }
            _ => Cow::Borrowed(subject),
        }
    }

    /// Replaces the configuration with a checked one. Messages beyond its limits stay until they are trimmed. True if the limit
    /// per subject was lowered, so that subjects may exceed it.
    pub fn set_config(&mut self, config: StreamConfig) -> bool {
        self.notes.dedupe.set_window(config.duplicate_window);
        let fewer = config.max_msgs_per_subject > 0
            && (self.config.max_msgs_per_subject <= 0
                || config.max_msgs_per_subject < self.config.max_msgs_per_subject);
        self.config = config;
        self.read_transform();
        fewer
    }

    /// Removes all messages beyond the limits at once; with `of_subjects` also those beyond `max_msgs_per_subject`. A stream that
    /// discards new messages may keep more than `max_msgs` and `max_bytes`, but not more than `max_msgs_per_subject` (as
    /// nats-server 2.15).
    pub fn enforce_limits(&mut self, of_subjects: bool) {
        if of_subjects {
            self.enforce_all_subjects();
        }
        self.enforce(u64::MAX);
    }

    /// Whether the stream exceeds `max_msgs` or `max_bytes`. False for a stream that discards new messages: it keeps what it has.
    pub fn is_over(&self) -> bool {
        let StreamConfig { max_msgs, max_bytes, discard, .. } = &self.config;
        let is_over = (*max_msgs > 0 && self.messages.count() > *max_msgs as u64)
            || (*max_bytes > 0 && self.messages.bytes() > *max_bytes as u64);
        is_over && *discard != Discard::New
    }

    /// Removes at most `most` messages beyond a limit: that of `subject`, or those of the stream if `subject` is empty.
    fn trim(&mut self, subject: &[u8], most: u64) {
        if subject.is_empty() {
            return self.enforce(most);
        }
        let keep = self.config.max_msgs_per_subject;
        if keep > 0 {
            let _ = (0..most).try_for_each(|_| self.remove_first_on(subject, keep as u64).then_some(()));
        }
    }

    fn enforce_all_subjects(&mut self) {
        let keep = self.config.max_msgs_per_subject as u64;
        let mut over = Vec::new();
        let _ = self.messages.subjects(&Filter::new(b">"), None, &mut |subject, known| {
            if known.count > keep {
                over.push(subject.to_vec());
            }
            ControlFlow::Continue(())
        });
        for subject in over {
            while self.remove_first_on(&subject, keep) {}
        }
    }

    /// Removes messages beyond the stream's limits from the front, at most `most`.
    fn enforce(&mut self, most: u64) {
        let mut left = most;
        while left > 0 && self.is_over() {
            left -= 1;
            if !self.is_watched {
                let Some(sequence) = self.messages.remove_first() else { break };
                self.notes.schedules.remove(sequence);
                self.lasts.note_gone(sequence);
                continue;
            }
            let first = self.messages.state().first_sequence;
            if !self.remove(first) {
                break;
            }
        }
    }

    /// Decides about a message published at `now`. `is_wanted`: some consumer's filters match its subject, or the stream's
    /// retention is not by interest.
    ///
    /// # Errors
    ///
    /// The reason why the message is refused. The checks run in the order of nats-server 2.15.
    pub fn judge<'a>(
        &self,
        now: i64,
        message: &Publish<'a>,
        is_wanted: bool,
    ) -> Result<Verdict<'a>, ApiError> {
        self.judge_from(now, message, is_wanted, false)
    }

    /// As [`StreamCore::judge`]. With `is_sourced` the message was copied from a source, as its header `Nats-Stream-Source` says,
    /// which clients may not set.
    ///
    /// # Errors
    ///
    /// See [`StreamCore::judge`].
    pub fn judge_from<'a>(
        &self,
        now: i64,
        message: &Publish<'a>,
        is_wanted: bool,
        is_sourced: bool,
    ) -> Result<Verdict<'a>, ApiError> {
        let subject = self.subject_of(now, message.subject);
        if message.headers.is_empty() {
            self.check_size(message)?;
            if self.config.allow_msg_counter {
                return Err(error::MESSAGE_INCR_MISSING.error());
            }
            self.check_room(&subject, message, || false)?;
            if !is_wanted && self.config.retention == Retention::Interest {
                return Ok(Verdict::Skip { id: b"" });
            }
            return Ok(Verdict::Append { subject, headers: Cow::Borrowed(b""), total: None });
        }
        self.judge_headers(now, message, subject, is_wanted, is_sourced)
    }

    fn check_size(&self, message: &Publish<'_>) -> Result<(), ApiError> {
        if self.config.sealed {
            return Err(error::STREAM_SEALED.error());
        }
        let max = self.config.max_msg_size;
        if max > 0 && message.headers.len() + message.payload.len() > max as usize {
            return Err(error::STREAM_MESSAGE_EXCEEDS_MAXIMUM.error());
        }
        if message.headers.len() > headers::LEN_MAX {
            return Err(error::STREAM_HEADER_EXCEEDS_MAXIMUM.error());
        }
        Ok(())
    }

    fn judge_headers<'a>(
        &self,
        now: i64,
        message: &Publish<'a>,
        subject: Cow<'a, [u8]>,
        is_wanted: bool,
        is_sourced: bool,
    ) -> Result<Verdict<'a>, ApiError> {
        let config = &self.config;
        let h = PublishHeaders::parse(headers::looked_at(message.headers));
        if h.batch_id.is_some() && !config.allow_atomic {
            return Err(error::ATOMIC_PUBLISH_DISABLED.error());
        }
        self.check_size(message)?;
        let increment = match is_sourced {
            true => counter::of_source(&h, config.allow_msg_counter)?,
            false => counter::check(&h, message.payload, config.allow_msg_counter)?,
        };
        if h.expected_stream.is_some_and(|name| name != config.name.as_bytes()) {
            return Err(error::STREAM_NOT_MATCH.error());
        }
        // The source's own stream has accepted the message: a time to live that is not valid or not allowed here is ignored.
        let ttl = match h.ttl {
            Some(text) if is_sourced => Ttl::parse(text).filter(|_| config.allow_msg_ttl),
            Some(text) => Some(Ttl::parse(text).ok_or_else(|| error::MESSAGE_TTL_INVALID.error())?),
            None => None,
        };
        if ttl.is_some() && !config.allow_msg_ttl {
            return Err(error::MESSAGE_TTL_DISABLED.error());
        }
        if let Some(filter) = self.check_expected(&h, &subject)? {
            return Ok(Verdict::Search { filter });
        }
        let role = match is_sourced {
            true => Role::Plain,
            false => schedule::check(config, &self.messages, now, &subject, message.headers, &h)?,
        };
        if h.stream_source.is_some() && !is_sourced {
            return Err(error::MESSAGE_SOURCE_HDR_NOT_ALLOWED.error());
        }
        if let Some(id) = h.msg_id
            && let Some(sequence) = self.find_id(id, now)
        {
            return Ok(Verdict::Duplicate { sequence });
        }
        if let Some(id) = h.expected_last_msg_id
            && id != self.notes.last_id
        {
            let last = String::from_utf8_lossy(&self.notes.last_id);
            return Err(error::STREAM_WRONG_LAST_MSG_ID.with("id", last));
        }
        if let Some(rollup) = h.rollup.filter(|_| !is_sourced) {
            let failed = |text: String| Err(error::STREAM_ROLLUP_FAILED.with("err", text));
            if !config.allow_rollup_hdrs || config.deny_purge {
                return failed("rollup not permitted".to_owned());
            }
            if !rollup::is_valid(rollup) {
                return failed(format!(
                    "rollup value invalid: {:?}",
                    String::from_utf8_lossy(rollup).to_lowercase()
                ));
            }
        }
        let source = h.stream_source.filter(|_| is_sourced).map(|label| (label, message.payload));
        let counted = increment
            .map(|increment| counter::count(&self.messages, &subject, increment, source))
            .transpose()?;
        if h.stream_source.is_some()
            && config.discard == Discard::Old
            && !self.is_within_bytes(&subject, message)
        {
            // Storing the message would displace all others.
            return Err(error::STREAM_MESSAGE_EXCEEDS_MAXIMUM.error());
        }
        self.check_room(&subject, message, || self.makes_room(&subject, &h))?;
        if !is_wanted && config.retention == Retention::Interest {
            return Ok(Verdict::Skip { id: h.msg_id.unwrap_or_default() });
        }
        let mut headers = Cow::Borrowed(message.headers);
        if h.request_info.is_some() {
            headers = Cow::Owned(headers::without(&headers, |name| name == b"Nats-Request-Info"));
        }
        if role == Role::Schedule && h.rollup.is_none() {
            headers::push(headers.to_mut(), "Nats-Rollup", b"sub");
        }
        // A message that went before its subject's delete marker would come back to life in the reader's eyes.
        if let Some(Ttl::For(time)) = ttl
            && time < config.subject_delete_marker_ttl
            && config.max_msgs_per_subject != 1
        {
            let mut raised = headers::without(&headers, |name| name == b"Nats-TTL");
            headers::push(
                &mut raised,
                "Nats-TTL",
                ttl::show_seconds(config.subject_delete_marker_ttl).as_bytes(),
            );
            headers = Cow::Owned(raised);
        }
        if let Some(counted) = counted.as_ref().filter(|counted| counted.changes_headers()) {
            counted.note(headers.to_mut());
        }
        Ok(Verdict::Append { subject, headers, total: counted.map(|counted| counted.total) })
    }

    /// Checks the expected last sequences, of a subject and of the stream. Returns the filter whose last message has to be
    /// searched first, if there is one.
    fn check_expected<'a>(
        &self,
        h: &PublishHeaders<'a>,
        subject: &[u8],
    ) -> Result<Option<&'a [u8]>, ApiError> {
        let wrong = |last: u64| Err(error::STREAM_WRONG_LAST_SEQUENCE.with("seq", last));
        match (h.expected_last_subject_sequence, h.expected_last_subject_sequence_subject) {
            (Some(expected), filter) => {
                let last = match filter {
                    None => self.messages.subject(subject).map_or(0, |known| known.last),
                    Some(filter) if stonechat_subject::has_wildcard(filter) => {
                        let Some(last) = self.last_of(filter) else { return Ok(Some(filter)) };
                        last
                    }
                    Some(filter) => self.messages.subject(filter).map_or(0, |known| known.last),
                };
                if number(expected) != Some(last) {
                    return wrong(last);
                }
            }
            (None, Some(_)) => return Err(error::STREAM_EXPECTED_LAST_SEQ_PER_SUBJECT_INVALID.error()),
            (None, None) => {}
        }
        if let Some(expected) = h.expected_last_sequence {
            let last = self.messages.last_sequence();
            if number(expected) != Some(last) {
                return wrong(last);
            }
        }
        Ok(None)
    }

    /// Checks a message that a mirror copies. A mirror is a copy without holes, so it stops before a message that it can't store.
    /// False if the message alone exceeds `max_bytes` of a mirror that discards old messages: the mirror skips it.
    ///
    /// # Errors
    ///
    /// The reason why the mirror stops.
    pub fn judge_mirrored(&self, message: &Publish<'_>) -> Result<bool, ApiError> {
        self.check_size(message)?;
        if !self.is_within_bytes(message.subject, message) && self.config.discard == Discard::Old {
            return Ok(false);
        }
        let h = PublishHeaders::parse(message.headers);
        self.check_room(message.subject, message, || self.makes_room(message.subject, &h))?;
        Ok(true)
    }

    /// Whether a message alone is within `max_bytes`.
    fn is_within_bytes(&self, subject: &[u8], message: &Publish<'_>) -> bool {
        let size =
            || self.messages.counted_bytes(subject.len(), message.headers.len(), message.payload.len());
        self.config.max_bytes <= 0 || size() <= self.config.max_bytes as u64
    }

    /// Checks the limits of a stream that discards new messages. `makes_room` tells whether the message rolls up its subject.
    fn check_room(
        &self,
        subject: &[u8],
        message: &Publish<'_>,
        makes_room: impl FnOnce() -> bool,
    ) -> Result<(), ApiError> {
        let config = &self.config;
        if config.discard != Discard::New {
            return Ok(());
        }
        let full = |text: &str| Err(error::STREAM_STORE_FAILED.with("err", text));
        // A lookup of the subject may read the disk, so only limits that depend on it do one.
        let replaces = || {
            let limit = config.max_msgs_per_subject;
            limit > 0 && self.messages.subject(subject).is_some_and(|known| known.count >= limit as u64)
        };
        if config.discard_new_per_subject && replaces() && !makes_room() {
            return full("maximum messages per subject exceeded");
        }
        if config.max_msgs > 0 && self.messages.count() >= config.max_msgs as u64 && !replaces() {
            return full("maximum messages exceeded");
        }
        if config.max_bytes > 0 {
            let size =
                self.messages.counted_bytes(subject.len(), message.headers.len(), message.payload.len());
            if self.messages.bytes() + size > config.max_bytes as u64 {
                let replaced = self.messages.first_on(subject).filter(|_| replaces()).map_or(0, |first| {
                    let mut buffer = Vec::new();
                    let first = self.messages.read(first, &mut buffer).ok().flatten();
                    first.map_or(0, |m| {
                        self.messages.counted_bytes(m.subject.len(), m.headers.len(), m.payload.len())
                    })
                });
                if replaced < size {
                    return full("maximum bytes exceeded");
                }
            }
        }
        Ok(())
    }

    /// Applies an entry. Returns the sequence of the stored or skipped message, for other entries the last sequence.
    ///
    /// # Errors
    ///
    /// The store can hold no more subjects.
    pub fn apply(&mut self, entry: &Entry<'_>) -> Result<u64, ApiError> {
        match *entry {
            Entry::Append { time, subject, headers, payload } => {
                return self.append(time, subject, headers, payload);
            }
            Entry::Skip { time, id } => {
                let sequence = self.messages.skip(time);
                if !id.is_empty() {
                    self.notes.dedupe.note(id, sequence, time);
                }
                return Ok(sequence);
            }
            Entry::SkipTo { last, time } => self.messages.skip_to(last, time),
            Entry::Remove { sequences } => sequences.iter().for_each(|sequence| {
                self.remove(*sequence);
            }),
            Entry::Trim { subject, most } => self.trim(subject, most),
            Entry::Clear { next } => {
                self.clear(next);
                self.notes.clear();
            }
        }
        Ok(self.messages.last_sequence())
    }

    fn append(&mut self, time: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Result<u64, ApiError> {
        self.mend(time);
        let h = if headers.is_empty() { PublishHeaders::default() } else { PublishHeaders::parse(headers) };
        self.roll_up(subject, &h);
        let Appended { sequence, on_subject } = self
            .messages
            .append(time, subject, headers, payload)
            .ok_or_else(|| error::STREAM_STORE_FAILED.with("err", "too many subjects"))?;
        self.lasts.note_append(subject, sequence);
        self.notes.note(&self.config, &self.messages, &h, (sequence, time), time);
        self.end_schedule(&h);
        let limit = self.config.max_msgs_per_subject;
        if limit > 0 && on_subject > limit as u64 {
            self.trim(subject, DISPLACED_MAX);
        }
        self.enforce(DISPLACED_MAX);
        Ok(sequence)
    }

    /// Returns the sequence of the message with this id, if the duplicate window holds it at `now`.
    fn find_id(&self, id: &[u8], now: i64) -> Option<u64> {
        self.notes.dedupe.find(id, now).unwrap_or_else(|_| {
            // The table of ids can't be read: scan the messages. `mend` rebuilds the table at the next change.
            let mut found = None;
            let from = self.messages.at_time(self.notes.dedupe.since(now).saturating_add(1))?;
            self.messages.scan(from, &mut |sequence, message| {
                if message.is_some_and(|m| headers::value(m.headers, b"Nats-Msg-Id") == Some(id)) {
                    found = Some(sequence);
                }
                ControlFlow::Continue(())
            });
            found
        })
    }

    /// Rebuilds the notes from the messages if a part of them can't be read any more.
    pub(super) fn mend(&mut self, now: i64) {
        if self.notes.is_broken() {
            self.notes.forget();
            self.recover_all(now);
        }
    }

    /// Rebuilds the notes after a change of the configuration gave a meaning to headers of stored messages. A copy of another
    /// stream may hold times to live and schedules that its configuration ignored so far.
    pub fn relearn(&mut self, now: i64) {
        self.notes.forget();
        self.recover_all(now);
    }

    fn recover_all(&mut self, now: i64) {
        let mut at = Some(self.messages.state().first_sequence);
        while let Some(from) = at {
            at = self.recover(from, 1024, now);
            self.make_spill_room();
        }
    }

    /// Notes ids, times to live and schedules of stored messages from `sequence` on; no index holds them. Visits at most `budget`
    /// messages; returns the sequence to continue at, or `None` at the end.
    pub fn recover(&mut self, sequence: u64, budget: usize, now: i64) -> Option<u64> {
        let Self { config, messages, notes, .. } = self;
        let (mut left, mut next) = (budget, None);
        messages.scan(sequence, &mut |at, message| {
            if left == 0 {
                next = Some(at);
                return ControlFlow::Break(());
            }
            left -= 1;
            if let Some(message) = message {
                let h = PublishHeaders::parse(message.headers);
                notes.note(config, messages, &h, (at, message.time), now);
            }
            ControlFlow::Continue(())
        });
        next
    }

    /// Whether the duplicate window holds ids, which have to be dropped later.
    pub fn remembers_ids(&self) -> bool {
        self.notes.dedupe.next_end().is_some()
    }

    /// Whether [`StreamCore::spill_job`] has a job.
    pub fn has_spill_job(&self) -> bool {
        self.notes.has_job()
    }

    /// Returns the next job that keeps ids, times to live and schedules within the memory budget of indices.
    pub fn spill_job(&mut self, now: i64) -> Option<SpillJob> {
        self.notes.job(now)
    }

    /// Applies the result of a job.
    pub fn spilled(&mut self, spilled: Spilled) {
        self.notes.spilled(spilled);
    }

    /// Frees memory at once if it is short, by a job on this thread: while the store is opened and while the notes are rebuilt.
    pub fn make_spill_room(&mut self) {
        if let Some(job) = self.notes.writing_job() {
            self.notes.spilled(job.run());
        }
    }

    /// Names of the files that hold ids, times to live and schedules. They serve this opening of the store only.
    pub fn spill_names(&self) -> impl Iterator<Item = &String> {
        self.notes.file_names()
    }
}

/// Parses a sequence in a header.
fn number(text: &[u8]) -> Option<u64> {
    // Go's parser accepts no sign.
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
