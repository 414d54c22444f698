//! Counts of the messages that wait for a consumer. They run in steps, between which messages are stored and removed.

use std::ops::ControlFlow;

use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, Progress, State};

use super::Consumer;

/// A count in progress. Meanwhile the stream notifies the consumer of every change.
#[derive(Debug, Clone)]
pub(crate) struct Counting {
    /// The consumer's cursor when the count began.
    cursor: u64,
    pub(crate) count: u64,
    /// The messages of `Consumer::firsts` are counted first: those below this sequence are counted. `None` when all are.
    firsts: Option<u64>,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    /// Message by message: those before `at` are counted; those from `end` on were stored later.
    Sequences { at: u64, end: u64 },
    /// Subject by subject, in the order of their bytes; `after` is the last counted subject.
    Subjects { filter: Filter, after: Option<Vec<u8>> },
    /// Subject by subject, where no filter has wildcards.
    Literals { sorted: Vec<Box<[u8]>>, next: usize },
}

impl Counting {
    fn new(c: &Consumer, state: &State) -> Self {
        let from = c.count_from();
        let filters = c.config().filters();
        let is_literal = |filter: &&str| !stonechat_subject::has_wildcard(filter.as_bytes());
        let how = if from > state.first_sequence || filters.is_empty() {
            How::Sequences { at: from, end: from.max(state.last_sequence + 1) }
        } else if filters.iter().all(is_literal) {
            let mut sorted: Vec<Box<[u8]>> = filters.iter().map(|filter| filter.as_bytes().into()).collect();
            sorted.sort_unstable();
            sorted.dedup();
            How::Literals { sorted, next: 0 }
        } else {
            let filter = if let [filter] = filters[..] { filter } else { ">" };
            How::Subjects { filter: Filter::new(filter.as_bytes()), after: None }
        };
        let firsts = (!c.firsts.is_empty()).then_some(0);
        Self { cursor: c.cursor, count: 0, firsts, how }
    }

    /// Whether the count includes a message already, or has to include it because it was stored after the count passed its place.
    pub(crate) fn has_passed(&self, sequence: u64, subject: &[u8]) -> bool {
        match &self.how {
            How::Sequences { at, end } => sequence < *at || sequence >= *end,
            How::Subjects { after, .. } => after.as_ref().is_some_and(|after| subject <= &after[..]),
            How::Literals { sorted, next } => {
                next.checked_sub(1).and_then(|last| sorted.get(last)).is_some_and(|last| subject <= &last[..])
            }
        }
    }

    /// Continues the count; true when it is done.
    fn step<M: Messages>(&mut self, c: &Consumer, messages: &M, budget: &mut usize) -> bool {
        let count = &mut self.count;
        if let Some(at) = self.firsts {
            let mut firsts = c.firsts.iter();
            firsts.advance_to(at);
            for sequence in firsts {
                if *budget == 0 {
                    self.firsts = Some(sequence);
                    return false;
                }
                *budget -= 1;
                // A consumer that was not notified of removals may list messages that are gone.
                *count += u64::from(messages.contains(sequence));
            }
            self.firsts = None;
        }
        match &mut self.how {
            How::Sequences { at, end } => count_sequences(c, messages, at, *end, count, budget),
            How::Subjects { filter, after } => {
                let is_one = c.filters().len() == 1;
                messages.some_subjects(filter, after, budget, &mut |subject, known| {
                    if is_one || c.wants(subject) {
                        *count += known.count;
                    }
                })
            }
            How::Literals { sorted, next } => {
                while let Some(subject) = sorted.get(*next) {
                    if *budget == 0 {
                        return false;
                    }
                    *budget -= 1;
                    *count += messages.subject(subject).map_or(0, |known| known.count);
                    *next += 1;
                }
                true
            }
        }
    }
}

/// Counts messages from `at` on, before `end`; true when all are counted. Unreadable messages count.
fn count_sequences<M: Messages>(
    c: &Consumer,
    messages: &M,
    at: &mut u64,
    end: u64,
    count: &mut u64,
    budget: &mut usize,
) -> bool {
    if let [filter] = c.filters() {
        while *at < end {
            if *budget == 0 {
                return false;
            }
            match messages.next_matching(Some(filter), *at, *budget) {
                Progress::Done(Some(found)) if found < end => {
                    *budget = budget.saturating_sub(usize::try_from(found - *at).unwrap_or(0) + 1);
                    (*count, *at) = (*count + 1, found + 1);
                }
                Progress::More(next) => (*at, *budget) = (next, 0),
                Progress::Done(_) => *at = end,
            }
        }
        return true;
    }
    let mut is_all = true;
    messages.scan(*at, &mut |sequence, message| {
        if sequence >= end {
            return ControlFlow::Break(());
        }
        if *budget == 0 {
            is_all = false;
            return ControlFlow::Break(());
        }
        *budget -= 1;
        *count += u64::from(message.is_none_or(|message| c.wants(message.subject)));
        *at = sequence + 1;
        ControlFlow::Continue(())
    });
    is_all
}

impl Consumer {
    /// The first sequence that is counted apart from `firsts`.
    fn count_from(&self) -> u64 {
        if self.firsts.is_empty() { self.cursor } else { self.cursor.max(self.firsts_end + 1) }
    }

    /// Continues the count of waiting messages; true when their number is known.
    pub(crate) fn count_some<M: Messages>(&mut self, messages: &M, budget: &mut usize) -> bool {
        if self.waiting_messages.is_some() {
            return true;
        }
        let state = messages.state();
        let from = self.count_from();
        if self.firsts.is_empty() && (from > state.last_sequence || self.filters().is_empty()) {
            let behind = if from > state.last_sequence { 0 } else { messages.count_from(from) };
            self.waiting_messages = Some(behind);
            self.counting = None;
            return true;
        }
        let known = self.counting.take().filter(|counting| counting.cursor == self.cursor);
        let mut counting = known.unwrap_or_else(|| Box::new(Counting::new(self, &state)));
        let is_done = counting.step(self, messages, budget);
        if is_done {
            self.waiting_messages = Some(counting.count);
        } else {
            self.counting = Some(counting);
        }
        is_done
    }

    /// Drops the number of waiting messages.
    pub(crate) fn forget_count(&mut self) {
        (self.waiting_messages, self.counting) = (None, None);
    }

    /// Records a stored message that matches the filters.
    pub(crate) fn note_wanted(&mut self, sequence: u64, subject: &[u8]) {
        if let Some(count) = &mut self.waiting_messages {
            *count += 1;
        } else if let Some(counting) = self.counting.as_mut().filter(|c| c.has_passed(sequence, subject)) {
            counting.count += 1;
        }
    }

    /// Records a removed message that was waiting. `is_first`: it was one of `firsts`.
    pub(crate) fn note_gone(&mut self, sequence: u64, subject: Option<&[u8]>, is_first: bool) {
        if let Some(count) = &mut self.waiting_messages {
            *count = count.saturating_sub(1);
        } else if let Some(counting) = &mut self.counting
            && match is_first {
                true => counting.firsts.is_none_or(|at| sequence < at),
                false => counting.has_passed(sequence, subject.unwrap_or_default()),
            }
        {
            counting.count = counting.count.saturating_sub(1);
        }
    }
}
