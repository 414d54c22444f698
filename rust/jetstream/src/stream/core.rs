//! A stream as a state machine: what is published is judged, what was decided is applied.
//!
//! [`StreamCore::judge`] looks and changes nothing; [`StreamCore::apply`] carries out an [`Entry`] of the log, live and when the log is
//! read again, and asks neither a clock nor anybody else.

use std::borrow::Cow;
use std::ops::ControlFlow;

use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;
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

/// What is to be done with a published message.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// Store it so.
    Append {
        /// The subject under which it is stored.
        subject: Cow<'a, [u8]>,
        /// Its header block.
        headers: Cow<'a, [u8]>,
        /// The total of its subject, of a message that counts: its payload then.
        total: Option<String>,
    },
    /// Only use up a sequence.
    Skip {
        /// The message's id, or nothing.
        id: &'a [u8],
    },
    /// It depends on the last message on these subjects, which has to be looked for first.
    Search {
        /// The subjects, with wildcards.
        filter: &'a [u8],
    },
    /// It was stored before.
    Duplicate {
        /// Under this sequence.
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
    /// Removed messages are named one by one, and from sequence `watched_from` on with their subjects.
    is_watched: bool,
    watched_from: u64,
    removed: Removed,
    pub(super) swept: Swept,
    pub(super) lasts: Lasts,
}

/// So many messages go at most because of one that is stored; what is more than that goes [later](Entry::Trim).
const DISPLACED_MAX: u64 = if cfg!(debug_assertions) { 16 } else { 1024 };

/// Removed messages that are named one by one, at most; more are reported as [`Removed::many`].
const NAMED_MAX: usize = 16_384;

/// The messages that left a stream.
#[derive(Debug, Default)]
pub struct Removed {
    /// Removed messages, with their subjects where these were asked for.
    pub messages: Vec<(u64, Option<Box<[u8]>>)>,
    /// Every message that the stream held was removed; a new one may have been stored since.
    pub all: bool,
    /// More messages were removed than are named.
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
    /// A stream with these messages; `config` was checked. What does not fit into memory goes to the `shelf`.
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

    /// The messages, for what concerns their storage only.
    pub fn messages_mut(&mut self) -> &mut M {
        &mut self.messages
    }

    /// Gives the messages back.
    pub fn into_messages(self) -> M {
        self.messages
    }

    /// Whether what goes is to be noted, and from which sequence on with its subject.
    pub fn watch_removals(&mut self, is_watched: bool, from: u64) {
        (self.is_watched, self.watched_from) = (is_watched, from);
    }

    /// The sequence from which on subjects of removed messages are reported.
    pub fn watched_from(&self) -> u64 {
        self.watched_from
    }

    /// The messages that were removed since the last call; `None` without any.
    pub fn take_removed(&mut self) -> Option<Removed> {
        (!self.removed.is_empty()).then(|| std::mem::take(&mut self.removed))
    }

    /// Whether something was removed since.
    pub fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }

    /// Forgets which messages were removed.
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
                // The last bits of a clock that counts nanoseconds are random enough for what chooses among partitions.
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

    /// Takes a new configuration, which was checked. What exceeds its limits has yet to go: of subjects only if this answers true.
    pub fn set_config(&mut self, config: StreamConfig) -> bool {
        self.notes.dedupe.set_window(config.duplicate_window);
        let fewer = config.max_msgs_per_subject > 0
            && (self.config.max_msgs_per_subject <= 0
                || config.max_msgs_per_subject < self.config.max_msgs_per_subject);
        self.config = config;
        self.read_transform();
        fewer
    }

    /// Takes out all that exceeds limits, at once. A stream that discards new messages keeps more than `max_msgs` and `max_bytes`;
    /// `max_msgs_per_subject` counts there too (as nats-server 2.15).
    pub fn enforce_limits(&mut self, of_subjects: bool) {
        if of_subjects {
            self.enforce_all_subjects();
        }
        self.enforce(u64::MAX);
    }

    /// Whether there is too much, other than of a subject. A stream that discards new messages keeps what it has.
    pub fn is_over(&self) -> bool {
        let StreamConfig { max_msgs, max_bytes, discard, .. } = &self.config;
        let is_over = (*max_msgs > 0 && self.messages.count() > *max_msgs as u64)
            || (*max_bytes > 0 && self.messages.bytes() > *max_bytes as u64);
        is_over && *discard != Discard::New
    }

    /// Takes out some of what exceeds a limit.
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

    /// Takes out what is too much, from the front, so many messages at most.
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

    /// What is to be done with a message that was published at `now`. `is_wanted`: some consumer wants its subject, or the
    /// stream keeps messages without being asked.
    ///
    /// # Errors
    ///
    /// Why it is not stored, in the order of nats-server 2.15.
    pub fn judge<'a>(
        &self,
        now: i64,
        message: &Publish<'a>,
        is_wanted: bool,
    ) -> Result<Verdict<'a>, ApiError> {
        self.judge_from(now, message, is_wanted, false)
    }

    /// The same, of a message that may come from a source: then it says so in a header that clients may not use.
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
        // What comes from a source was good enough for its own stream.
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
            // All others would go with it.
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

    /// The expected last sequences, of a subject and of the stream. Answers subjects whose last message has to be looked for first.
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

    /// Checks a message that a mirror takes over: a mirror is a copy without holes, so that it stops before a message that it can't
    /// store. False if the message alone is more than the mirror holds: the mirror goes on behind it.
    ///
    /// # Errors
    ///
    /// Why the mirror stops.
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

    /// Limits that refuse new messages. `makes_room` tells whether the message rolls up its subject.
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
        let known = if config.max_msgs_per_subject > 0 { self.messages.subject(subject) } else { None };
        let replaces = known.is_some_and(|known| known.count >= config.max_msgs_per_subject as u64);
        if replaces && config.discard_new_per_subject && !makes_room() {
            return full("maximum messages per subject exceeded");
        }
        if config.max_msgs > 0 && self.messages.count() >= config.max_msgs as u64 && !replaces {
            return full("maximum messages exceeded");
        }
        if config.max_bytes > 0 {
            let size =
                self.messages.counted_bytes(subject.len(), message.headers.len(), message.payload.len());
            if self.messages.bytes() + size > config.max_bytes as u64 {
                let replaced = self.messages.first_on(subject).filter(|_| replaces).map_or(0, |first| {
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

    /// Carries out a change. Answers the sequence that a message got, else the last one.
    ///
    /// # Errors
    ///
    /// The stream can't know more subjects.
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
        let sequence = self
            .messages
            .append(time, subject, headers, payload)
            .ok_or_else(|| error::STREAM_STORE_FAILED.with("err", "too many subjects"))?;
        self.lasts.note_append(subject, sequence);
        self.notes.note(&self.config, &self.messages, &h, (sequence, time), time);
        self.end_schedule(&h);
        if self.config.max_msgs_per_subject > 0 {
            self.trim(subject, DISPLACED_MAX);
        }
        self.enforce(DISPLACED_MAX);
        Ok(sequence)
    }

    /// The sequence of the message that had this id, if it is remembered at `now`.
    fn find_id(&self, id: &[u8], now: i64) -> Option<u64> {
        self.notes.dedupe.find(id, now).unwrap_or_else(|_| {
            // Slow, but right; at the next change all is noted anew.
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

    /// Notes all anew, if something of it can't be read any more.
    pub(super) fn mend(&mut self, now: i64) {
        if self.notes.is_broken() {
            self.notes.forget();
            self.recover_all(now);
        }
    }

    /// Learns anew what headers of stored messages mean, after a change of the configuration gave some of them a meaning: a copy
    /// of another stream has times to live and schedules that it may not have observed so far.
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

    /// Learns from stored messages, from `sequence` on, what is not in any index: ids, times to live, schedules. Looks at
    /// `budget` messages; answers where to go on.
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

    /// Whether there are ids that are to be forgotten one day.
    pub fn remembers_ids(&self) -> bool {
        self.notes.dedupe.next_end().is_some()
    }

    /// Whether [`StreamCore::spill_job`] has something.
    pub fn has_spill_job(&self) -> bool {
        self.notes.has_job()
    }

    /// What is to be done to keep ids, times to live and schedules within the memory for indices.
    pub fn spill_job(&mut self, now: i64) -> Option<SpillJob> {
        self.notes.job(now)
    }

    /// Takes note of how a job ended.
    pub fn spilled(&mut self, spilled: Spilled) {
        self.notes.spilled(spilled);
    }

    /// Makes room at once, if there is too little: while the store is opened, when nobody waits yet.
    pub fn make_spill_room(&mut self) {
        if let Some(job) = self.notes.writing_job() {
            self.notes.spilled(job.run());
        }
    }

    /// The files that hold ids, times to live and schedules, for this opening of the store alone.
    pub fn spill_names(&self) -> impl Iterator<Item = &String> {
        self.notes.file_names()
    }
}

/// A sequence in a header.
fn number(text: &[u8]) -> Option<u64> {
    // Go's parser takes no sign.
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}
