//! A stream whose messages are in memory only: their order, what is known by subject, and what goes when room is short.

use std::ops::{ControlFlow, RangeInclusive};

use super::Message;
use super::messages::{Entry, Messages};
use crate::index::{Filter, SubjectTree};

/// What is known of a subject.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Subject {
    first: u64,
    last: u64,
    count: u64,
}

/// What a stream holds, as its info tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct State {
    /// How many messages there are.
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

/// How far a long piece of work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<T> {
    /// It is done.
    Done(T),
    /// It would take too long at once. Go on from this sequence.
    More(u64),
}

/// A stream in memory. Sequences rise by one; times are given by the caller.
#[derive(Debug, Default)]
pub struct MemoryStream {
    messages: Messages,
    subjects: SubjectTree<Subject>,
    bytes: u64,
    first: u64,
    last: u64,
    last_time: i64,
}

impl MemoryStream {
    /// An empty stream whose first message will have the sequence `first`, 1 if that is 0.
    pub fn new(first: u64) -> Self {
        Self { first, last: first.saturating_sub(1), ..Self::default() }
    }

    /// What the stream holds.
    pub fn state(&self) -> State {
        State {
            messages: self.messages.len(),
            bytes: self.bytes,
            first_sequence: self.first,
            first_time: self.messages.get(self.first).map_or(0, |e| e.message().time),
            last_sequence: self.last,
            last_time: self.last_time,
            subjects: self.subjects.len() as u64,
        }
    }

    /// Stores a message behind all others; answers its sequence. `None` if there are more subjects than can be known.
    pub fn append(&mut self, time: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Option<u64> {
        let sequence = self.last + 1;
        let known = self.subjects.get_or_insert(subject, Subject { first: sequence, last: 0, count: 0 })?;
        let before = known.last;
        (known.last, known.count) = (sequence, known.count + 1);
        let entry = Entry::new(Message { sequence, time, subject, headers, payload }, before);
        if let Some(previous) = self.messages.get_mut(before) {
            previous.behind = sequence;
        }
        self.bytes += entry.counted_bytes();
        if self.messages.len() == 0 {
            self.first = sequence;
        }
        self.messages.push(entry);
        (self.last, self.last_time) = (sequence, time);
        Some(sequence)
    }

    /// Gives away the next sequence without a message, as for one that nobody is interested in.
    pub fn skip(&mut self, time: i64) -> u64 {
        self.last += 1;
        self.last_time = time;
        if self.messages.len() == 0 {
            self.first = self.last + 1;
        }
        self.last
    }

    /// The message of this sequence.
    pub fn get(&self, sequence: u64) -> Option<Message<'_>> {
        self.messages.get(sequence).map(Entry::message)
    }

    /// The last message on `subject`, a literal one.
    pub fn last_on(&self, subject: &[u8]) -> Option<Message<'_>> {
        self.get(self.subjects.get(subject)?.last)
    }

    /// The last message on any subject that matches.
    pub fn last_matching(&self, filter: &Filter) -> Option<Message<'_>> {
        let mut last = 0;
        let _ = self.subjects.matches(filter, None, |_, known| {
            last = last.max(known.last);
            ControlFlow::Continue(())
        });
        self.get(last)
    }

    /// The first message from `sequence` on that matches, among at most `budget` messages.
    pub fn next_matching(
        &self,
        filter: &Filter,
        sequence: u64,
        budget: usize,
    ) -> Progress<Option<Message<'_>>> {
        let mut messages = self.messages.from(sequence).map(Entry::message);
        for message in messages.by_ref().take(budget) {
            if filter.matches(message.subject) {
                return Progress::Done(Some(message));
            }
        }
        messages.next().map_or(Progress::Done(None), |next| Progress::More(next.sequence))
    }

    /// Subjects that match, behind `after` only, with the number of their messages, until `visit` breaks.
    pub fn subjects(
        &self,
        filter: &Filter,
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.subjects.matches(filter, after, |subject, known| visit(subject, known.count))
    }

    /// How many messages match, wherever they are.
    pub fn count_matching(&self, filter: &Filter) -> u64 {
        let mut count = 0;
        let _ = self.subjects(filter, None, |_, messages| {
            count += messages;
            ControlFlow::Continue(())
        });
        count
    }

    /// Ranges of sequences between the first and the last message that hold none.
    pub fn gaps(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        let mut expected = self.first;
        let ends = self
            .messages
            .from(self.first)
            .map(|e| e.message().sequence)
            .chain(std::iter::once(self.last + 1));
        ends.filter_map(move |sequence| {
            let gap = (expected < sequence).then(|| expected..=sequence - 1);
            expected = sequence + 1;
            gap
        })
    }

    /// Takes a message out. False if there is none.
    pub fn remove(&mut self, sequence: u64) -> bool {
        let Some(entry) = self.messages.remove(sequence) else { return false };
        self.bytes -= entry.counted_bytes();
        let subject = entry.message().subject;
        if let Some(before) = self.messages.get_mut(entry.before) {
            before.behind = entry.behind;
        }
        if let Some(behind) = self.messages.get_mut(entry.behind) {
            behind.before = entry.before;
        }
        if let Some(known) = self.subjects.get_mut(subject) {
            known.count -= 1;
            if known.first == sequence {
                known.first = entry.behind;
            }
            if known.last == sequence {
                known.last = entry.before;
            }
            if known.count == 0 {
                self.subjects.remove(subject);
            }
        }
        if sequence == self.first {
            self.first = self.messages.from(sequence).next().map_or(self.last + 1, |e| e.message().sequence);
        }
        true
    }

    /// Takes out the first message; answers its sequence.
    pub fn remove_first(&mut self) -> Option<u64> {
        let first = self.first;
        self.remove(first).then_some(first)
    }

    /// Takes out the first message on `subject` if there are more than `keep`; answers its sequence.
    pub fn remove_first_on(&mut self, subject: &[u8], keep: u64) -> Option<u64> {
        let known = *self.subjects.get(subject)?;
        (known.count > keep && self.remove(known.first)).then_some(known.first)
    }

    /// Takes out messages from `sequence` on and before `below` that match, looking at `budget` of them, until `most` are gone.
    /// Answers how many went, and how far it came.
    pub fn purge(
        &mut self,
        filter: Option<&Filter>,
        sequence: u64,
        below: u64,
        most: u64,
        budget: usize,
    ) -> (u64, Progress<()>) {
        let looked =
            self.messages.from(sequence).map(Entry::message).take_while(|m| m.sequence < below).take(budget);
        let (mut matching, mut seen, mut behind) = (Vec::new(), 0, sequence);
        for message in looked {
            (seen, behind) = (seen + 1, message.sequence + 1);
            if filter.is_none_or(|f| f.matches(message.subject)) {
                matching.push(message.sequence);
                if matching.len() as u64 == most {
                    break;
                }
            }
        }
        let gone = matching.len() as u64;
        for sequence in matching {
            self.remove(sequence);
        }
        let done = seen < budget || gone == most;
        (gone, if done { Progress::Done(()) } else { Progress::More(behind) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The same, plainly.
    #[derive(Default)]
    struct Model {
        messages: BTreeMap<u64, (i64, String, Vec<u8>)>,
        last: u64,
        last_time: i64,
        first_when_empty: u64,
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(String, usize),
        Skip,
        Remove(u64),
        RemoveFirst,
        RemoveFirstOn(String, u64),
        Purge(Option<String>, u64, u64, usize),
    }

    fn subject() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b", "a.b", "a.c", "a.b.c", "x.y"]).prop_map(str::to_owned)
    }

    fn filter() -> impl Strategy<Value = String> {
        prop::sample::select(vec![">", "*", "a.*", "a.>", "a.b", "nobody", "*.*"]).prop_map(str::to_owned)
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (subject(), 0..40usize).prop_map(|(s, n)| Step::Append(s, n)),
            1 => Just(Step::Skip),
            2 => (0..600u64).prop_map(Step::Remove),
            1 => Just(Step::RemoveFirst),
            1 => (subject(), 0..4u64).prop_map(|(s, n)| Step::RemoveFirstOn(s, n)),
            1 => (prop::option::of(filter()), 0..600u64, 1..20u64, 1..50usize)
                .prop_map(|(f, below, most, budget)| Step::Purge(f, below, most, budget)),
        ]
    }

    impl Model {
        fn remove(&mut self, sequence: u64) -> bool {
            let removed = self.messages.remove(&sequence).is_some();
            if removed && self.messages.is_empty() {
                self.first_when_empty = self.last + 1;
            }
            removed
        }

        fn state(&self) -> State {
            let first = self.messages.first_key_value();
            let mut subjects: Vec<_> = self.messages.values().map(|(_, s, _)| s).collect();
            subjects.sort_unstable();
            subjects.dedup();
            State {
                messages: self.messages.len() as u64,
                bytes: self.messages.values().map(|(_, s, p)| (s.len() + p.len() + 16) as u64).sum(),
                first_sequence: first.map_or(self.first_when_empty, |(s, _)| *s),
                first_time: first.map_or(0, |(_, (t, ..))| *t),
                last_sequence: self.last,
                last_time: self.last_time,
                subjects: subjects.len() as u64,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn agrees_with_a_plain_list(steps in prop::collection::vec(step(), 1..700), filters in prop::collection::vec(filter(), 3)) {
            let (mut stream, mut model) = (MemoryStream::new(0), Model::default());
            for (i, step) in steps.into_iter().enumerate() {
                let time = i as i64 * 10 + 1;
                match step {
                    Step::Append(subject, n) => {
                        let payload = vec![i as u8; n];
                        model.last += 1;
                        prop_assert_eq!(stream.append(time, subject.as_bytes(), b"", &payload), Some(model.last));
                        model.messages.insert(model.last, (time, subject, payload));
                        model.last_time = time;
                    }
                    Step::Skip => {
                        (model.last, model.last_time) = (model.last + 1, time);
                        if model.messages.is_empty() {
                            model.first_when_empty = model.last + 1;
                        }
                        prop_assert_eq!(stream.skip(time), model.last);
                    }
                    Step::Remove(sequence) => prop_assert_eq!(stream.remove(sequence), model.remove(sequence)),
                    Step::RemoveFirst => {
                        let first = model.messages.keys().next().copied();
                        prop_assert_eq!(stream.remove_first(), first);
                        first.map(|f| model.remove(f));
                    }
                    Step::RemoveFirstOn(subject, keep) => {
                        let on: Vec<u64> = model.messages.iter().filter(|(_, m)| m.1 == subject).map(|(s, _)| *s).collect();
                        let goes = (on.len() as u64 > keep).then(|| on[0]);
                        prop_assert_eq!(stream.remove_first_on(subject.as_bytes(), keep), goes);
                        goes.map(|g| model.remove(g));
                    }
                    Step::Purge(filter, below, most, budget) => {
                        let filter = filter.map(|f| Filter::new(f.as_bytes()));
                        let (mut from, mut gone) = (0, 0);
                        loop {
                            let (n, progress) = stream.purge(filter.as_ref(), from, below, most - gone, budget);
                            gone += n;
                            match progress {
                                Progress::More(next) if gone < most => from = next,
                                _ => break,
                            }
                        }
                        let matching: Vec<u64> = model.messages.iter()
                            .filter(|(s, m)| **s < below && filter.as_ref().is_none_or(|f| f.matches(m.1.as_bytes())))
                            .map(|(s, _)| *s).take(most as usize).collect();
                        prop_assert_eq!(gone, matching.len() as u64);
                        matching.into_iter().for_each(|s| { model.remove(s); });
                    }
                }
                prop_assert_eq!(stream.state(), model.state());
            }
            for (sequence, (time, subject, payload)) in &model.messages {
                let message = Message { sequence: *sequence, time: *time, subject: subject.as_bytes(), headers: b"", payload };
                prop_assert_eq!(stream.get(*sequence), Some(message));
            }
            let state = stream.state();
            let absent: Vec<u64> = (state.first_sequence..=state.last_sequence)
                .filter(|s| *s > 0 && !model.messages.contains_key(s)).collect();
            prop_assert_eq!(stream.gaps().flatten().filter(|s| *s > 0).collect::<Vec<_>>(), absent);
            for text in filters {
                let filter = Filter::new(text.as_bytes());
                let matching: Vec<u64> = model.messages.iter()
                    .filter(|(_, m)| filter.matches(m.1.as_bytes())).map(|(s, _)| *s).collect();
                prop_assert_eq!(stream.count_matching(&filter), matching.len() as u64);
                prop_assert_eq!(stream.last_matching(&filter).map(|m| m.sequence), matching.last().copied());
                let (mut found, mut from) = (Vec::new(), 0);
                loop {
                    match stream.next_matching(&filter, from, 3) {
                        Progress::Done(Some(m)) => { found.push(m.sequence); from = m.sequence + 1; }
                        Progress::Done(None) => break,
                        Progress::More(next) => from = next,
                    }
                }
                prop_assert_eq!(found, matching);
            }
        }
    }

    #[test]
    fn begins_where_it_is_told() {
        let mut stream = MemoryStream::new(100);
        assert_eq!((stream.state().first_sequence, stream.state().last_sequence), (100, 99));
        assert_eq!(stream.append(1, b"a", b"NATS/1.0\r\n\r\n", b"x"), Some(100));
        assert_eq!(stream.state().bytes, 1 + 12 + 1 + 16);
        assert_eq!(stream.last_on(b"a").map(|m| m.headers.len()), Some(12));
        assert!(stream.remove(100));
        assert_eq!((stream.state().first_sequence, stream.state().last_sequence), (101, 100));
    }
}
