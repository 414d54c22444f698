//! The interface between a stream and its message storage, in memory or on disk.
//!
//! Searches have a budget and return where to continue. They may stop within an index or a segment, so a filter that matches
//! nothing causes no long turn.

use std::ops::{ControlFlow, RangeInclusive};

use crate::index::Filter;
use crate::visits;

/// A stored message, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The sequence in the stream.
    pub sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub time: i64,
    /// The subject.
    pub subject: &'a [u8],
    /// The header block; empty without headers.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl SubjectState {
    /// Returns the state of both messages covered by this state, and of those covered by `other`, which are others.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            count: self.count + other.count,
        }
    }
}

/// The result of storing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Sequence of the message.
    pub sequence: u64,
    /// Number of messages on its subject, including this one. It may be too high.
    pub on_subject: u64,
}

/// What is known of a subject that has messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubjectState {
    /// The first sequence, or an earlier one whose message was removed: see [`Messages::first_on`].
    pub first: u64,
    /// The last sequence.
    pub last: u64,
    /// Number of messages.
    pub count: u64,
}

/// The content of a stream in figures, as its info shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// Number of messages, including unreadable ones.
    pub messages: u64,
    /// Size of the messages as it counts against limits, in bytes.
    pub bytes: u64,
    /// The sequence of the first message; without messages, the next sequence. 0 if the stream never had a message.
    pub first_sequence: u64,
    /// When the first message was stored, in nanoseconds since 1970; 0 without messages.
    pub first_time: i64,
    /// The last assigned sequence.
    pub last_sequence: u64,
    /// When the last sequence was assigned, in nanoseconds since 1970; 0 if the stream never had a message.
    pub last_time: i64,
    /// Number of subjects with messages.
    pub subjects: u64,
}

/// The error for a stored message that can't be read any more: its bytes are damaged or missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message {sequence} is stored but can't be read: its bytes are damaged")]
pub struct Lost {
    /// The sequence of the message.
    pub sequence: u64,
}

/// The progress of a long operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// The operation is complete.
    Done(T),
    /// The budget is used up. Continue at this sequence.
    More(u64),
}

/// Passes the gap from `from` up to the message `held` to `visit`, within `budget`. Returns true if the whole gap was passed.
pub(crate) fn tell_gap(
    from: &mut u64,
    held: u64,
    budget: &mut usize,
    visit: &mut dyn FnMut(RangeInclusive<u64>),
) -> bool {
    visits::note();
    if *budget == 0 {
        return false;
    }
    let len = held.saturating_sub(*from).min(*budget as u64);
    if len > 0 {
        visit(*from..=*from + (len - 1));
    }
    *from += len;
    *budget -= (len as usize).max(1);
    *from >= held
}

/// The messages of one stream, by sequence and by subject. Sequences rise by one. The caller provides times, which never fall.
pub trait Messages {
    /// Returns the stream's content in figures.
    fn state(&self) -> State;

    /// Returns the last assigned sequence.
    fn last_sequence(&self) -> u64 {
        self.state().last_sequence
    }

    /// Returns the number of messages.
    fn count(&self) -> u64 {
        self.state().messages
    }

    /// Returns the size of the messages as it counts against limits, in bytes.
    fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Returns the size of a message with these lengths as it counts against limits, in bytes, as in nats-server 2.15.
    fn counted_bytes(&self, subject_len: usize, headers_len: usize, payload_len: usize) -> u64;

    /// Stores a message behind all others. Returns `None` if the index can hold no more subjects.
    fn append(&mut self, time: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Option<Appended>;

    /// Assigns the next sequence without storing a message, as for one that no consumer is interested in.
    fn skip(&mut self, time: i64) -> u64;

    /// Assigns all sequences up to this one without storing messages.
    fn skip_to(&mut self, sequence: u64, time: i64);

    /// Returns the message with this sequence, borrowed from the stream or from `buffer`; `None` if there is none.
    fn read<'a>(&'a self, sequence: u64, buffer: &'a mut Vec<u8>) -> Result<Option<Message<'a>>, Lost>;

    /// Whether there is a message with this sequence, readable or not.
    fn contains(&self, sequence: u64) -> bool;

    /// Returns the state of `subject`, which is literal.
    fn subject(&self, subject: &[u8]) -> Option<SubjectState>;

    /// Returns the sequence of the first message on `subject`, which is literal.
    fn first_on(&self, subject: &[u8]) -> Option<u64> {
        self.subject(subject).map(|known| known.first)
    }

    /// Visits the matching subjects in byte order, only those behind `after`, until `visit` breaks.
    fn subjects(
        &self,
        filter: &Filter,
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> ControlFlow<()>,
    ) -> ControlFlow<()>;

    /// Does the same as [`Messages::subjects`] within `budget`, from which every visited entry is subtracted, matching or not.
    /// Moves `after` to where to continue. Returns true if no subjects are left.
    fn some_subjects(
        &self,
        filter: &Filter,
        after: &mut Option<Vec<u8>>,
        budget: &mut usize,
        visit: &mut dyn FnMut(&[u8], SubjectState),
    ) -> bool;

    /// Returns the sequence of the first matching message from `sequence` on. Visits at most `budget` messages, or fewer long
    /// ones. An unreadable message matches every filter, so that readers do not silently skip it.
    fn next_matching(&self, filter: Option<&Filter>, sequence: u64, budget: usize) -> Progress<Option<u64>>;

    /// Returns the sequence of the first message that was stored at `time` or later.
    fn at_time(&self, time: i64) -> Option<u64>;

    /// Visits ranges of sequences without messages, from `from` on, behind the first message and up to the last sequence. Every
    /// visited entry, and each sequence of a range, is subtracted from `budget`. Moves `from` to where to continue. Returns
    /// true if no ranges are left.
    fn some_gaps(
        &self,
        from: &mut u64,
        budget: &mut usize,
        visit: &mut dyn FnMut(RangeInclusive<u64>),
    ) -> bool;

    /// Visits messages from `sequence` on in order, until `visit` breaks. `None` stands for an unreadable message.
    fn scan(&self, sequence: u64, visit: &mut dyn FnMut(u64, Option<Message<'_>>) -> ControlFlow<()>);

    /// Returns the number of messages from `sequence` on.
    fn count_from(&self, sequence: u64) -> u64;

    /// Removes a message. Returns false if there is none.
    fn remove(&mut self, sequence: u64) -> bool;

    /// Removes all messages. The next sequence stays as it is, or becomes `next` if that is higher.
    fn clear(&mut self, next: u64);

    /// Returns the last sequence on any matching subject; 0 without one.
    fn last_matching(&self, filter: &Filter) -> u64 {
        let mut last = 0;
        let _ = self.subjects(filter, None, &mut |_, known| {
            last = last.max(known.last);
            ControlFlow::Continue(())
        });
        last
    }

    /// Returns the number of matching messages in the whole stream.
    fn count_matching(&self, filter: &Filter) -> u64 {
        let mut count = 0;
        let _ = self.subjects(filter, None, &mut |_, known| {
            count += known.count;
            ControlFlow::Continue(())
        });
        count
    }

    /// Removes the first message and returns its sequence.
    fn remove_first(&mut self) -> Option<u64> {
        let first = self.state().first_sequence;
        self.remove(first).then_some(first)
    }

    /// Removes the first message on `subject` if there are more than `keep`, and returns its sequence.
    fn remove_first_on(&mut self, subject: &[u8], keep: u64) -> Option<u64> {
        let known = self.subject(subject)?;
        (known.count > keep && self.remove(known.first)).then_some(known.first)
    }
}
