//! Scheduled messages: they are published later, once or repeatedly (ADR-51).
//!
//! A schedule is a stored message with the header `Nats-Schedule`. When it is due, a message for its target is made from it. The
//! headers of that message say when the schedule is due next, so that no other state has to be stored.
//!
//! A schedule is the first message on its subject, so no map from subjects to schedules is needed.

mod cron;
mod pattern;

use std::collections::HashMap;

use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, Progress};
use stonechat_store::spill::{Dues, Kind, Shelf};
use stonechat_subject::{is_valid_literal, overlaps};

use self::pattern::Pattern;
use super::config::StreamConfig;
use super::headers::{self, PublishHeaders};
use super::ttl::Ttl;
use crate::error::{self, ApiError};

/// The value of `Nats-Schedule-Next` in a message that ends its schedule.
pub(super) const PURGE: &[u8] = b"purge";

const TARGET: &[u8] = b"Nats-Schedule-Target";
const SOURCE: &[u8] = b"Nats-Schedule-Source";
const TTL: &[u8] = b"Nats-Schedule-TTL";
const ROLLUP: &[u8] = b"Nats-Schedule-Rollup";

/// The role of a published message, by its headers about schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A message that is no schedule.
    Plain,
    /// A schedule, which replaces the messages of its subject.
    Schedule,
}

/// Checks a message that a client publishes, in the order of nats-server 2.15.
///
/// # Errors
///
/// The part of the schedule that is not valid.
pub(super) fn check<M: Messages>(
    config: &StreamConfig,
    messages: &M,
    now: i64,
    subject: &[u8],
    block: &[u8],
    h: &PublishHeaders<'_>,
) -> Result<Role, ApiError> {
    let role = match check_schedule(config, now, subject, block, h) {
        Ok(role) => role,
        Err(_) if !config.allow_msg_schedules => return Err(error::MESSAGE_SCHEDULES_DISABLED.error()),
        Err(e) => return Err(e),
    };
    let invalid = || Err(error::MESSAGE_SCHEDULES_SCHEDULER_INVALID.error());
    match (h.schedule_next, h.scheduler) {
        (None, None) => Ok(role),
        (Some(PURGE), Some(scheduler)) if scheduler != subject && is_valid_literal(scheduler) => {
            if !config.allow_msg_schedules {
                return Err(error::MESSAGE_SCHEDULES_DISABLED.error());
            }
            let mut buffer = Vec::new();
            let last =
                messages.subject(scheduler).and_then(|known| messages.read(known.last, &mut buffer).ok()?);
            match last.is_none_or(|last| headers::value(last.headers, b"Nats-Schedule").is_some()) {
                true => Ok(role),
                false => invalid(),
            }
        }
        _ => invalid(),
    }
}

fn check_schedule(
    config: &StreamConfig,
    now: i64,
    subject: &[u8],
    block: &[u8],
    h: &PublishHeaders<'_>,
) -> Result<Role, ApiError> {
    let Some(text) = h.schedule else {
        // A time zone is checked even without a schedule.
        return h
            .schedule_zone
            .map_or(Ok(Role::Plain), |zone| Pattern::parse(b"@hourly", Some(zone)).map(|_| Role::Plain));
    };
    let pattern = Pattern::parse(text, h.schedule_zone)?;
    pattern.next(now, now).ok_or_else(|| error::MESSAGE_SCHEDULES_PATTERN_INVALID.error())?;
    if !config.allow_msg_schedules {
        return Err(error::MESSAGE_SCHEDULES_DISABLED.error());
    }
    let ttl = headers::value(block, TTL);
    if ttl.is_some_and(|ttl| Ttl::parse(ttl).is_none()) {
        return Err(error::MESSAGE_SCHEDULES_TTL_INVALID.error());
    }
    if headers::value(block, ROLLUP).is_some_and(|rollup| rollup != b"sub") {
        return Err(error::MESSAGE_SCHEDULES_ROLLUP_INVALID.error());
    }
    if ttl.is_some() && !config.allow_msg_ttl {
        return Err(error::MESSAGE_TTL_DISABLED.error());
    }
    let is_own = |name: &[u8]| config.subjects.iter().any(|own| overlaps(own.as_bytes(), name));
    let target = headers::value(block, TARGET).filter(|t| is_valid_literal(t) && *t != subject);
    let Some(target) = target else { return Err(error::MESSAGE_SCHEDULES_TARGET_INVALID.error()) };
    let source = headers::value(block, SOURCE);
    if source.is_some_and(|s| s == target || s == subject || !is_valid_literal(s)) {
        return Err(error::MESSAGE_SCHEDULES_SOURCE_INVALID.error());
    }
    if !is_own(target) {
        return Err(error::MESSAGE_SCHEDULES_TARGET_INVALID.error());
    }
    if source.is_some_and(|source| !is_own(source)) {
        return Err(error::MESSAGE_SCHEDULES_SOURCE_INVALID.error());
    }
    if h.rollup.is_some_and(|rollup| !rollup.eq_ignore_ascii_case(b"sub")) {
        return Err(error::MESSAGE_SCHEDULES_ROLLUP_INVALID.error());
    }
    Ok(Role::Schedule)
}

/// A message that a schedule made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The schedule's sequence.
    pub sequence: u64,
    /// The subject of the message.
    pub subject: Vec<u8>,
    /// Its header block.
    pub headers: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
    /// When the schedule is due again; `None` if it is over.
    pub next: Option<i64>,
}

/// The schedules of a stream, by due time in nanoseconds since 1970.
///
/// A schedule replaces the messages of its subject, so it is the first message there. It ends when it is removed, or when another
/// message is published on its subject. The queue still holds an ended schedule, which is skipped when its time comes.
#[derive(Debug)]
pub(super) struct Schedules {
    due: Dues,
    /// Due times of the schedules that were put off, by their sequences.
    moved: HashMap<u64, i64>,
}

impl Schedules {
    pub(super) fn new(shelf: &Shelf) -> Self {
        Self { due: Dues::new(shelf, Kind::Schedules), moved: HashMap::new() }
    }

    /// The queue, for work on its storage.
    pub(super) fn due(&self) -> &Dues {
        &self.due
    }

    /// The queue, for changes of its storage.
    pub(super) fn due_mut(&mut self) -> &mut Dues {
        &mut self.due
    }

    /// Records the due time that a stored message sets. Times missed before `now` are skipped.
    pub(super) fn note(
        &mut self,
        messages: &impl Messages,
        h: &PublishHeaders<'_>,
        sequence: u64,
        time: i64,
        now: i64,
    ) {
        let pattern = h.schedule.and_then(|text| Pattern::parse(text, h.schedule_zone).ok());
        if let Some(due) = pattern.and_then(|pattern| pattern.next(time, now)) {
            self.due.insert(due, sequence);
        }
        let next = h.schedule_next.filter(|next| *next != PURGE);
        let next = next.and_then(|next| crate::time::parse_rfc3339(std::str::from_utf8(next).ok()?));
        // The schedule may have been replaced by a newer message since.
        if let (Some(next), Some(scheduler)) = (next, h.scheduler)
            && let Some(schedule) = messages.first_on(scheduler).filter(|schedule| *schedule < sequence)
        {
            self.put_off(schedule, next);
        }
    }

    /// Records a removed message.
    pub(super) fn remove(&mut self, sequence: u64) {
        if !self.moved.is_empty() {
            self.moved.remove(&sequence);
        }
    }

    /// Records the removal of all messages.
    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.moved.clear();
    }

    /// The time at which the next schedule is due.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.due.first()
    }

    /// Whether a schedule was put off until after `now`.
    pub(super) fn is_put_off(&self, sequence: u64, now: i64) -> bool {
        self.moved.get(&sequence).is_some_and(|due| *due > now)
    }

    /// Puts a schedule off until `due`.
    pub(super) fn put_off(&mut self, sequence: u64, due: i64) {
        if self.moved.insert(sequence, due) != Some(due) {
            self.due.insert(due, sequence);
        }
    }

    /// Takes the schedules that are due at `now` out of the queue, at most `budget`. Returns their messages, in the order of the
    /// schedules' sequences.
    pub(super) fn take_due(&mut self, messages: &impl Messages, now: i64, budget: usize) -> Vec<Scheduled> {
        let due = std::iter::from_fn(|| self.due.pop(now)).take(budget);
        let mut due: Vec<(u64, i64)> = due.map(|(due, sequence)| (sequence, due)).collect();
        due.sort_unstable();
        due.dedup();
        due.retain(|(sequence, due)| self.moved.get(sequence).is_none_or(|moved| moved == due));
        let mut made = Vec::with_capacity(due.len());
        for (sequence, due) in due {
            match generate(messages, sequence, due, now) {
                Some(message) => made.push(message),
                None => self.remove(sequence),
            }
        }
        made
    }
}

/// Whether a message was published on a schedule's subject after the schedule. Messages made by schedules do not count.
fn is_replaced(messages: &impl Messages, sequence: u64, subject: &[u8]) -> bool {
    let last = messages.subject(subject).map_or(0, |known| known.last);
    if last == sequence {
        return false;
    }
    let (filter, mut buffer, mut at) = (Filter::new(subject), Vec::new(), sequence + 1);
    while at <= last {
        let next = match messages.next_matching(Some(&filter), at, 1024) {
            Progress::Done(Some(next)) => next,
            Progress::Done(None) => break,
            Progress::More(next) => {
                at = next;
                continue;
            }
        };
        let message = messages.read(next, &mut buffer).ok().flatten();
        if message.is_some_and(|m| headers::value(m.headers, b"Nats-Scheduler").is_none()) {
            return true;
        }
        at = next + 1;
    }
    false
}

/// Makes the message of a schedule; `None` if the schedule has ended or can't be read.
fn generate<M: Messages>(messages: &M, sequence: u64, due: i64, now: i64) -> Option<Scheduled> {
    let mut buffer = Vec::new();
    let schedule = messages.read(sequence, &mut buffer).ok()??;
    if is_replaced(messages, sequence, schedule.subject) {
        return None;
    }
    let value = |name: &[u8]| headers::value(schedule.headers, name);
    let pattern =
        Pattern::parse(value(b"Nats-Schedule")?, PublishHeaders::parse(schedule.headers).schedule_zone);
    let pattern = pattern.ok()?;
    let next = match pattern.repeats() {
        true => Some(pattern.next(due, now)?),
        false => None,
    };
    let subject = value(TARGET)?.to_vec();
    let mut source_buffer = Vec::new();
    // Without a message on the source's subject, the schedule's own headers and payload are used.
    let source = value(SOURCE).and_then(|source| messages.subject(source));
    let source = source.and_then(|known| messages.read(known.last, &mut source_buffer).ok()?);
    let (block, payload) = source.map_or((schedule.headers, schedule.payload), |m| (m.headers, m.payload));
    let mut headers = headers::without(block, |name| {
        name.starts_with(b"Nats-Schedule")
            || name.starts_with(b"Nats-Expected-")
            || matches!(name, b"Nats-Msg-Id" | b"Nats-TTL" | b"Nats-Rollup")
    });
    let shown = next.map(|next| pattern.show(next));
    headers::push(&mut headers, "Nats-Scheduler", schedule.subject);
    headers::push(&mut headers, "Nats-Schedule-Next", shown.as_ref().map_or(PURGE, |shown| shown.as_bytes()));
    for (name, value) in [("Nats-TTL", value(TTL)), ("Nats-Rollup", value(ROLLUP))] {
        if let Some(value) = value {
            headers::push(&mut headers, name, value);
        }
    }
    Some(Scheduled { sequence, subject, headers, payload: payload.to_vec(), next })
}
