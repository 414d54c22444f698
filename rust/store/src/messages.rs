//! What a stream asks of the place where its messages are, in memory or on disk.

use std::ops::{ControlFlow, RangeInclusive};

use crate::index::Filter;
use crate::visits;

/// A stored message, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its number in the stream.
    pub sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub time: i64,
    /// The subject.
    pub subject: &'a [u8],
    /// The block of headers; empty if there is none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// What is known of a subject that has messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubjectState {
    /// The sequence of its first message, or of one before it that is gone: see [`Messages::first_on`].
    pub first: u64,
    /// That of its last.
    pub last: u64,
    /// How many there are.
    pub count: u64,
}

/// What a stream holds, as its info tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// How many messages there are, those that can't be read any more included.
    pub messages: u64,
    /// What they count against limits, in bytes.
    pub bytes: u64,
    /// The sequence of the first message; without any, of the next one. 0 in a stream that never had one.
    pub first_sequence: u64,
    /// When the first message was stored; 0 if there is none.
    pub first_time: i64,
    /// The last sequence that was given.
    pub last_sequence: u64,
    /// When that was; 0 in a stream that never had a message.
    pub last_time: i64,
    /// How many subjects the messages have.
    pub subjects: u64,
}

/// A message was stored and can't be read any more: its bytes are damaged or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message {sequence} is stored but can't be read: its bytes are damaged")]
pub struct Lost {
    /// Its sequence.
    pub sequence: u64,
}

/// How far a long piece of work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// It is done.
    Done(T),
    /// It would take too long at once. Go on from this sequence.
    More(u64),
}

/// Tells of the gap from `from` up to the message `held`, as far as `budget` lasts; true if that is all of it.
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

/// The messages of one stream, by sequence and by subject. Sequences rise by one; times are given by the caller and never fall.
pub trait Messages {
    /// What the stream holds.
    fn state(&self) -> State;

    /// The last sequence that was given.
    fn last_sequence(&self) -> u64 {
        self.state().last_sequence
    }

    /// How many messages there are.
    fn count(&self) -> u64 {
        self.state().messages
    }

    /// What they count against limits.
    fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// What a message of these lengths counts against limits, as nats-server 2.15 counts it.
    fn counted_bytes(&self, subject_len: usize, headers_len: usize, payload_len: usize) -> u64;

    /// Stores a message behind all others; answers its sequence. `None` if there are more subjects than can be known.
    fn append(&mut self, time: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Option<u64>;

    /// Gives away the next sequence without a message, as for one that nobody is interested in.
    fn skip(&mut self, time: i64) -> u64;

    /// Gives away sequences up to this one without messages.
    fn skip_to(&mut self, sequence: u64, time: i64);

    /// The message of this sequence, `None` if there is none. It is borrowed from the stream or from `buffer`.
    fn read<'a>(&'a self, sequence: u64, buffer: &'a mut Vec<u8>) -> Result<Option<Message<'a>>, Lost>;

    /// Whether there is a message of this sequence, readable or not.
    fn contains(&self, sequence: u64) -> bool;

    /// What is known of `subject`, a literal one.
    fn subject(&self, subject: &[u8]) -> Option<SubjectState>;

    /// The sequence of the first message on `subject`, a literal one.
    fn first_on(&self, subject: &[u8]) -> Option<u64> {
        self.subject(subject).map(|known| known.first)
    }

    /// Subjects that match, behind `after` only, in the order of bytes, until `visit` breaks.
    fn subjects(
        &self,
        filter: &Filter,
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> ControlFlow<()>,
    ) -> ControlFlow<()>;

    /// The same, as far as `budget` lasts, off which all is taken that is looked at, whether it matches or not. `after` moves to where
    /// to go on; true if that was all.
    fn some_subjects(
        &self,
        filter: &Filter,
        after: &mut Option<Vec<u8>>,
        budget: &mut usize,
        visit: &mut dyn FnMut(&[u8], SubjectState),
    ) -> bool;

    /// The sequence of the first message from `sequence` on that matches, among at most `budget` messages, or fewer long ones. What
    /// can't be read
    /// matches every filter, so that nobody passes over it in silence.
    fn next_matching(&self, filter: Option<&Filter>, sequence: u64, budget: usize) -> Progress<Option<u64>>;

    /// The sequence of the first message that was stored at `time` or later.
    fn at_time(&self, time: i64) -> Option<u64>;

    /// Ranges of sequences from `from` on that hold no message, behind the first message and up to the last sequence. It goes as far
    /// as `budget` lasts, off which all is taken that is looked at and each sequence of a range; `from` moves to where to go on. True if
    /// that was all.
    fn some_gaps(
        &self,
        from: &mut u64,
        budget: &mut usize,
        visit: &mut dyn FnMut(RangeInclusive<u64>),
    ) -> bool;

    /// Visits messages from `sequence` on in order, until `visit` breaks; `None` stands for one that can't be read.
    fn scan(&self, sequence: u64, visit: &mut dyn FnMut(u64, Option<Message<'_>>) -> ControlFlow<()>);

    /// How many messages there are from `sequence` on.
    fn count_from(&self, sequence: u64) -> u64;

    /// Takes a message out. False if there is none.
    fn remove(&mut self, sequence: u64) -> bool;

    /// Takes out all messages; the next one gets the sequence that it would have got, or `next` if that is higher.
    fn clear(&mut self, next: u64);

    /// The sequence of the last message on any subject that matches; 0 without one.
    fn last_matching(&self, filter: &Filter) -> u64 {
        let mut last = 0;
        let _ = self.subjects(filter, None, &mut |_, known| {
            last = last.max(known.last);
            ControlFlow::Continue(())
        });
        last
    }

    /// How many messages match, wherever they are.
    fn count_matching(&self, filter: &Filter) -> u64 {
        let mut count = 0;
        let _ = self.subjects(filter, None, &mut |_, known| {
            count += known.count;
            ControlFlow::Continue(())
        });
        count
    }

    /// Takes out the first message; answers its sequence.
    fn remove_first(&mut self) -> Option<u64> {
        let first = self.state().first_sequence;
        self.remove(first).then_some(first)
    }

    /// Takes out the first message on `subject` if there are more than `keep`; answers its sequence.
    fn remove_first_on(&mut self, subject: &[u8], keep: u64) -> Option<u64> {
        let known = self.subject(subject)?;
        (known.count > keep && self.remove(known.first)).then_some(known.first)
    }
}
