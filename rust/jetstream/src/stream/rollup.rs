//! Messages that a stored message removes: by a roll-up, or because it ends a schedule.
//!
//! A roll-up takes effect only in a stream that allows it. A stream with sources holds messages of several origins. A roll-up
//! that was copied from one of them removes only messages from the same origin.

use std::collections::HashMap;
use std::ops::ControlFlow;

use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;

use super::core::StreamCore;
use super::headers::{self, PublishHeaders};
use super::schedule;

/// Entries of [`Swept`], at most.
const SWEPT_MAX: usize = 1024;

/// Sequences up to which no message is left, by origin and subject; an empty subject stands for all subjects.
///
/// A cache that avoids repeated scans of other origins' messages. It may be cleared at any time.
pub(super) type Swept = HashMap<(Vec<u8>, Vec<u8>), u64>;

/// The messages that a roll-up removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RollUp {
    Subject,
    All,
}

impl RollUp {
    fn parse(text: &[u8]) -> Option<Self> {
        if text.eq_ignore_ascii_case(b"sub") {
            Some(Self::Subject)
        } else {
            text.eq_ignore_ascii_case(b"all").then_some(Self::All)
        }
    }
}

/// Whether `text` is a value of the header `Nats-Rollup`.
pub(super) fn is_valid(text: &[u8]) -> bool {
    RollUp::parse(text).is_some()
}

/// The stream that a message with these headers was sourced from.
fn origin<'a>(h: &PublishHeaders<'a>) -> Option<&'a [u8]> {
    h.stream_source.and_then(|label| label.split(|byte| *byte == b' ').next())
}

fn is_of(block: &[u8], origin: &[u8]) -> bool {
    let label = headers::value(block, b"Nats-Stream-Source");
    label.and_then(|label| label.split(|byte| *byte == b' ').next()) == Some(origin)
}

impl<M: Messages> StreamCore<M> {
    /// Whether messages may remove others.
    pub(super) fn allows_roll_ups(&self) -> bool {
        self.config.allow_rollup_hdrs && !self.config.deny_purge
    }

    /// Removes the messages that a message on `subject` with these headers replaces.
    pub(super) fn roll_up(&mut self, subject: &[u8], h: &PublishHeaders<'_>) {
        let Some(roll_up) = h.rollup.filter(|_| self.allows_roll_ups()).and_then(RollUp::parse) else {
            return;
        };
        match (roll_up, origin(h)) {
            (RollUp::All, None) => {
                self.clear(0);
                self.notes.clear();
            }
            (RollUp::Subject, None) => self.remove_all_on(subject),
            (RollUp::All, Some(origin)) => self.remove_of(origin, None),
            (RollUp::Subject, Some(origin)) => self.remove_of(origin, Some(subject)),
        }
    }

    /// Removes the schedule that a message with these headers ends.
    pub(super) fn end_schedule(&mut self, h: &PublishHeaders<'_>) {
        if h.schedule_next != Some(schedule::PURGE) || !self.allows_roll_ups() {
            return;
        }
        let Some(scheduler) = h.scheduler else { return };
        match origin(h) {
            None => self.remove_all_on(scheduler),
            Some(origin) => self.remove_of(origin, Some(scheduler)),
        }
    }

    /// Whether the roll-up of a message on `subject` makes room there. A roll-up that a client publishes was checked before.
    pub(super) fn makes_room(&self, subject: &[u8], h: &PublishHeaders<'_>) -> bool {
        let Some(_) = h.rollup.filter(|_| self.allows_roll_ups()).and_then(RollUp::parse) else {
            return false;
        };
        origin(h).is_none_or(|origin| !self.find_of(origin, Some(subject)).is_empty())
    }

    fn has_come_from(&self, sequence: u64, origin: &[u8]) -> bool {
        let mut buffer = Vec::new();
        let message = self.messages.read(sequence, &mut buffer).ok().flatten();
        message.is_some_and(|message| is_of(message.headers, origin))
    }

    /// Removes messages that came from `origin`: only those on `subject`, if one is given.
    fn remove_of(&mut self, origin: &[u8], subject: Option<&[u8]>) {
        // Mostly all messages of a subject have the same origin, and no search is needed.
        if let Some(subject) = subject {
            while let Some(first) = self.messages.first_on(subject)
                && self.has_come_from(first, origin)
                && self.remove(first)
            {}
            if self.messages.subject(subject).is_none() {
                return;
            }
        }
        let last = self.messages.last_sequence();
        let found = self.find_of(origin, subject);
        for sequence in found {
            self.remove(sequence);
        }
        if self.swept.len() >= SWEPT_MAX {
            self.swept.clear();
        }
        self.swept.insert((origin.to_vec(), subject.unwrap_or_default().to_vec()), last);
    }

    /// Finds messages that came from `origin`: only those on `subject`, if one is given. An unreadable message has no origin.
    fn find_of(&self, origin: &[u8], subject: Option<&[u8]>) -> Vec<u64> {
        let key = (origin.to_vec(), subject.unwrap_or_default().to_vec());
        let swept = self.swept.get(&key).copied().unwrap_or(0);
        let (first, last) = match subject {
            None => (0, self.messages.last_sequence()),
            Some(subject) => {
                let Some(known) = self.messages.subject(subject) else { return Vec::new() };
                (self.messages.first_on(subject).unwrap_or(0), known.last)
            }
        };
        let mut found = Vec::new();
        self.messages.scan(first.max(swept + 1), &mut |sequence, message| {
            if sequence > last {
                return ControlFlow::Break(());
            }
            if let Some(message) = message
                && subject.is_none_or(|subject| subject == message.subject)
                && is_of(message.headers, origin)
            {
                found.push(sequence);
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// Removes all messages on `subject`, which may have wildcards (as nats-server 2.15).
    fn remove_all_on(&mut self, subject: &[u8]) {
        let mut subjects = vec![subject.to_vec()];
        if stonechat_subject::has_wildcard(subject) {
            let _ = self.messages.subjects(&Filter::new(subject), None, &mut |subject, _| {
                subjects.push(subject.to_vec());
                ControlFlow::Continue(())
            });
        }
        for subject in subjects {
            while self.remove_first_on(&subject, 0) {}
        }
    }
}
