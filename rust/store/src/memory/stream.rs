//! A stream whose messages are in memory only.

use std::ops::{ControlFlow, RangeInclusive};

use super::messages::Messages as Entries;
use crate::index::{Filter, SubjectTree};
use crate::messages::{Appended, Lost, Message, Messages, Progress, State, SubjectState, tell_gap};
use crate::visits;

/// A stream in memory. Sequences rise by one. The caller provides times.
#[derive(Debug, Default)]
pub struct MemoryStream {
    messages: Entries,
    subjects: SubjectTree<SubjectState>,
    bytes: u64,
    first: u64,
    last: u64,
    last_time: i64,
}

impl MemoryStream {
    /// Returns an empty stream. Its first message gets the sequence `first`, or 1 if that is 0.
    pub fn new(first: u64) -> Self {
        Self { first, last: first.saturating_sub(1), ..Self::default() }
    }
}

impl Messages for MemoryStream {
    fn state(&self) -> State {
        State {
            messages: self.messages.len(),
            bytes: self.bytes,
            first_sequence: self.first,
            first_time: self.messages.get(self.first).map_or(0, |e| e.time),
            last_sequence: self.last,
            last_time: self.last_time,
            subjects: self.subjects.len() as u64,
        }
    }

    fn last_sequence(&self) -> u64 {
        self.last
    }

    fn count(&self) -> u64 {
        self.messages.len()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn counted_bytes(&self, subject_len: usize, headers_len: usize, payload_len: usize) -> u64 {
        (subject_len + headers_len + payload_len + 16) as u64
    }

    fn append(&mut self, time: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Option<Appended> {
        let sequence = self.last + 1;
        let known =
            self.subjects.get_or_insert(subject, SubjectState { first: sequence, last: 0, count: 0 })?;
        let before = known.last;
        (known.last, known.count) = (sequence, known.count + 1);
        let on_subject = known.count;
        if let Some(previous) = self.messages.get_mut(before) {
            previous.behind = sequence;
        }
        self.bytes += self.messages.push(&Message { sequence, time, subject, headers, payload }, before);
        if self.messages.len() == 1 {
            self.first = sequence;
        }
        (self.last, self.last_time) = (sequence, time);
        Some(Appended { sequence, on_subject })
    }

    fn skip(&mut self, time: i64) -> u64 {
        self.last += 1;
        self.last_time = time;
        if self.messages.len() == 0 {
            self.first = self.last + 1;
        }
        self.last
    }

    fn skip_to(&mut self, sequence: u64, time: i64) {
        if sequence > self.last {
            self.last = sequence - 1;
            self.skip(time);
        }
    }

    fn read<'a>(&'a self, sequence: u64, _buffer: &'a mut Vec<u8>) -> Result<Option<Message<'a>>, Lost> {
        Ok(self.messages.get(sequence).map(|entry| self.messages.message(entry)))
    }

    fn contains(&self, sequence: u64) -> bool {
        self.messages.get(sequence).is_some()
    }

    fn subject(&self, subject: &[u8]) -> Option<SubjectState> {
        self.subjects.get(subject).copied()
    }

    fn subjects(
        &self,
        filter: &Filter,
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.subjects.matches(filter, after, |subject, known| visit(subject, *known))
    }

    fn some_subjects(
        &self,
        filter: &Filter,
        after: &mut Option<Vec<u8>>,
        budget: &mut usize,
        visit: &mut dyn FnMut(&[u8], SubjectState),
    ) -> bool {
        self.subjects.some_matches(filter, after, budget, |subject, known| visit(subject, *known))
    }

    fn next_matching(&self, filter: Option<&Filter>, sequence: u64, budget: usize) -> Progress<Option<u64>> {
        let mut messages = self.messages.messages_from(sequence);
        for message in messages.by_ref().take(budget) {
            if filter.is_none_or(|f| f.matches(message.subject)) {
                return Progress::Done(Some(message.sequence));
            }
        }
        messages.next().map_or(Progress::Done(None), |next| Progress::More(next.sequence))
    }

    fn at_time(&self, time: i64) -> Option<u64> {
        self.messages.at_time(time).map(|e| e.sequence)
    }

    fn some_gaps(
        &self,
        from: &mut u64,
        budget: &mut usize,
        visit: &mut dyn FnMut(RangeInclusive<u64>),
    ) -> bool {
        *from = self.first.max(*from);
        let sequences = self.messages.from(*from).map(|e| e.sequence);
        for sequence in sequences.chain(std::iter::once(self.last + 1)) {
            if !tell_gap(from, sequence, budget, visit) {
                return false;
            }
            *from = sequence + 1;
        }
        true
    }

    fn scan(&self, sequence: u64, visit: &mut dyn FnMut(u64, Option<Message<'_>>) -> ControlFlow<()>) {
        let mut messages = self.messages.messages_from(sequence);
        let _ = messages.try_for_each(|message| visit(message.sequence, Some(message)));
    }

    fn count_from(&self, sequence: u64) -> u64 {
        if sequence <= self.first { self.messages.len() } else { self.messages.count_from(sequence) }
    }

    fn remove(&mut self, sequence: u64) -> bool {
        let Some(entry) = self.messages.get(sequence).cloned() else { return false };
        visits::note();
        self.bytes -= entry.counted_bytes();
        let subject = self.messages.message(&entry).subject;
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
        if let Some(before) = self.messages.get_mut(entry.before) {
            before.behind = entry.behind;
        }
        if let Some(behind) = self.messages.get_mut(entry.behind) {
            behind.before = entry.before;
        }
        self.messages.remove(&entry);
        if sequence == self.first {
            self.first = self.messages.from(sequence).next().map_or(self.last + 1, |e| e.sequence);
        }
        true
    }

    fn clear(&mut self, next: u64) {
        self.messages = Entries::default();
        self.subjects = SubjectTree::default();
        self.bytes = 0;
        self.last = self.last.max(next.saturating_sub(1));
        self.first = self.last + 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A simple model of the stream.
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
        Clear(u64),
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
            1 => (0..700u64).prop_map(Step::Clear),
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
                        prop_assert_eq!(stream.append(time, subject.as_bytes(), b"", &payload).map(|a| a.sequence), Some(model.last));
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
                    Step::Clear(next) => {
                        stream.clear(next);
                        model.messages.clear();
                        model.last = model.last.max(next.saturating_sub(1));
                        model.first_when_empty = model.last + 1;
                    }
                }
                prop_assert_eq!(stream.state(), model.state());
            }
            for (sequence, (time, subject, payload)) in &model.messages {
                let message = Message { sequence: *sequence, time: *time, subject: subject.as_bytes(), headers: b"", payload };
                let mut buffer = Vec::new();
                prop_assert_eq!(stream.read(*sequence, &mut buffer), Ok(Some(message)));
                prop_assert_eq!(stream.at_time(*time), Some(*sequence));
            }
            let state = stream.state();
            let absent: Vec<u64> = (state.first_sequence..=state.last_sequence)
                .filter(|s| *s > 0 && !model.messages.contains_key(s)).collect();
            let (mut gaps, mut from) = (Vec::new(), 0);
            // Steps of any length.
            while !stream.some_gaps(&mut from, &mut (1 + gaps.len() % 3), &mut |gap| gaps.extend(gap.filter(|s| *s > 0))) {}
            prop_assert_eq!(gaps, absent);
            for text in filters {
                let filter = Filter::new(text.as_bytes());
                let matching: Vec<u64> = model.messages.iter()
                    .filter(|(_, m)| filter.matches(m.1.as_bytes())).map(|(s, _)| *s).collect();
                prop_assert_eq!(stream.count_matching(&filter), matching.len() as u64);
                prop_assert_eq!(stream.last_matching(&filter), matching.last().copied().unwrap_or(0));
                let (mut found, mut from) = (Vec::new(), 0);
                loop {
                    match stream.next_matching(Some(&filter), from, 3) {
                        Progress::Done(Some(s)) => { found.push(s); from = s + 1; }
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
        assert_eq!(stream.append(1, b"a", b"NATS/1.0\r\n\r\n", b"x").map(|a| a.sequence), Some(100));
        assert_eq!(stream.state().bytes, 1 + 12 + 1 + 16);
        assert_eq!(stream.subject(b"a"), Some(SubjectState { first: 100, last: 100, count: 1 }));
        assert!(stream.remove(100));
        assert_eq!((stream.state().first_sequence, stream.state().last_sequence), (101, 100));
    }
}
