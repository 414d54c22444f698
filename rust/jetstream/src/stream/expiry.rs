//! Expiry of messages, by their age and their time to live.

use hashbrown::HashMap;
use stonechat_store::messages::{Messages, Progress};

use super::core::StreamCore;
use super::notes::Mortal;
use super::schedule::Scheduled;
use super::{headers, ttl};

/// Nanoseconds until the next run of the expiry, at least.
const AGAIN: i64 = 1_000_000;
/// Expiry times that a run examines for each message that it may remove: many may belong to messages that are gone.
const LOOKED: usize = 8;

/// The result of a run of the expiry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Sequences of the expired messages, in ascending order.
    pub remove: Vec<u64>,
    /// Subjects whose last message expired and that get a delete marker.
    pub markers: Vec<Vec<u8>>,
    /// Time of the next run, in nanoseconds since 1970; `None` if nothing is going to expire.
    pub next: Option<i64>,
}

impl<M: Messages> StreamCore<M> {
    /// Finds the messages that have expired at `now`, at most `budget`.
    pub fn expire(&mut self, now: i64, budget: usize) -> Expiry {
        let mut expiry = Expiry::default();
        self.mend(now);
        self.notes.dedupe.forget(now);
        // The queue may hold many more times of messages that are gone.
        let mut looked = 0;
        while expiry.remove.len() < budget
            && looked < LOOKED * budget
            && let Some((_, sequence)) = self.notes.ttls.pop(now)
        {
            looked += 1;
            if self.messages.contains(sequence) {
                expiry.remove.push(sequence);
            }
        }
        self.expire_old(now, budget, &mut expiry);
        expiry.remove.sort_unstable();
        expiry.remove.dedup();
        if self.config.subject_delete_marker_ttl > 0 {
            self.find_markers(&mut expiry);
        }
        let is_cut = expiry.remove.len() == budget || looked == LOOKED * budget;
        expiry.next = if is_cut { Some(now) } else { self.next_expiry(now) };
        expiry
    }

    /// Sets a new expiry time for messages that could not be removed.
    pub fn expire_again(&mut self, sequences: &[u64], time: i64) {
        sequences.iter().for_each(|sequence| self.notes.ttls.insert(time, *sequence));
    }

    fn expire_old(&mut self, now: i64, budget: usize, expiry: &mut Expiry) {
        let max_age = self.config.max_age;
        if self.first_mortal_time().is_none_or(|time| time.saturating_add(max_age) > now) {
            return;
        }
        let young = self.messages.at_time(now - max_age + 1);
        let young = young.unwrap_or_else(|| self.messages.last_sequence() + 1);
        let mut at = self.notes.mortal.get().from;
        self.notes.forever.remove_range(..self.messages.state().first_sequence);
        while let Progress::Done(Some(sequence)) = self.messages.next_matching(None, at, 1) {
            if sequence >= young || expiry.remove.len() >= budget {
                break;
            }
            if !self.notes.forever.contains(sequence) {
                expiry.remove.push(sequence);
            }
            at = sequence + 1;
        }
    }

    /// Returns the time of the first message that `max_age` can remove; `None` without one or without `max_age`.
    fn first_mortal_time(&self) -> Option<i64> {
        if self.config.max_age == 0 || self.messages.count() == 0 {
            return None;
        }
        let state = self.messages.state();
        if self.notes.forever.is_empty() && state.first_time > 0 {
            self.notes.mortal.set(Mortal { from: state.first_sequence, first: None });
            return Some(state.first_time);
        }
        let Mortal { mut from, first } = self.notes.mortal.get();
        if let Some((sequence, time)) = first
            && self.messages.contains(sequence)
            && from >= state.first_sequence
        {
            return Some(time);
        }
        from = from.max(state.first_sequence);
        let (mut at, mut buffer, mut is_behind) = (from, Vec::new(), true);
        while let Progress::Done(Some(sequence)) = self.messages.next_matching(None, at, 1) {
            at = sequence + 1;
            if self.notes.forever.contains(sequence) {
                from = if is_behind { at } else { from };
                continue;
            }
            // An unreadable message counts as old as the next readable one.
            is_behind = false;
            if let Ok(Some(message)) = self.messages.read(sequence, &mut buffer) {
                self.notes.mortal.set(Mortal { from, first: Some((sequence, message.time)) });
                return Some(message.time);
            }
        }
        self.notes.mortal.set(Mortal { from, first: None });
        None
    }

    /// Finds the subjects that lose all their messages. A subject that keeps an older message without an end of its own gets no
    /// marker: that message is its last one again.
    fn find_markers(&self, expiry: &mut Expiry) {
        let mut buffer = Vec::new();
        // Expired messages of subjects that have several messages.
        let mut going: HashMap<Vec<u8>, u64> = HashMap::new();
        for sequence in &expiry.remove {
            let Ok(Some(message)) = self.messages.read(*sequence, &mut buffer) else { continue };
            let Some(known) = self.messages.subject(message.subject) else { continue };
            let gone = match known.count {
                1 => 1,
                _ => *going.entry_ref(message.subject).and_modify(|gone| *gone += 1).or_insert(1),
            };
            if gone == known.count && !is_marker(message.headers) {
                expiry.markers.push(message.subject.to_vec());
            }
        }
    }

    /// Returns when the next message, id or schedule is due, at least a millisecond after `now`.
    pub fn next_expiry(&self, now: i64) -> Option<i64> {
        if self.notes.is_broken() {
            return Some(now + AGAIN);
        }
        let ttl = self.notes.ttls.first();
        let age = self.first_mortal_time().map(|time| time.saturating_add(self.config.max_age));
        let ids = self.notes.dedupe.next_end();
        let schedule = self.notes.schedules.next_due();
        let next = [ttl, age, ids, schedule].into_iter().flatten().min();
        next.map(|time| time.max(now + AGAIN))
    }

    /// Takes the messages of the schedules that are due at `now`, at most `budget`.
    pub fn take_scheduled(&mut self, now: i64, budget: usize) -> Vec<Scheduled> {
        self.notes.schedules.take_due(&self.messages, now, budget)
    }

    /// Whether a schedule is still due after its message was made: it is still stored, and was not put off.
    pub fn is_due(&self, sequence: u64, now: i64) -> bool {
        self.messages.contains(sequence) && !self.notes.schedules.is_put_off(sequence, now)
    }

    /// Puts a schedule off until `due`.
    pub fn put_off(&mut self, sequence: u64, due: i64) {
        self.notes.schedules.put_off(sequence, due);
    }

    /// The header block of a delete marker, for a subject whose last message expired.
    pub fn marker_headers(&self) -> Vec<u8> {
        let ttl = ttl::show_seconds(self.config.subject_delete_marker_ttl);
        format!("NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: {ttl}\r\nNats-Rollup: sub\r\n\r\n")
            .into_bytes()
    }
}

/// Whether a message itself marks its subject as gone: a delete marker, or the message that a key-value bucket stores when a key
/// is purged. The message for a deleted key does not count (as nats-server 2.15).
fn is_marker(block: &[u8]) -> bool {
    headers::value(block, b"Nats-Marker-Reason").is_some()
        || headers::value(block, b"KV-Operation") == Some(b"PURGE")
}

#[cfg(test)]
mod tests {
    use stonechat_store::memory::MemoryStream;
    use stonechat_store::spill::Shelf;

    use super::*;
    use crate::stream::{Entry, StreamRequest};

    const SECOND: i64 = 1_000_000_000;

    fn stream(config: &str) -> StreamCore<MemoryStream> {
        let config = StreamRequest::decode(config.as_bytes(), true).expect("a request").config;
        StreamCore::new(config, MemoryStream::new(0), &Shelf::none())
    }

    fn append(core: &mut StreamCore<MemoryStream>, time: i64, ttl: &str) {
        let headers = match ttl {
            "" => String::new(),
            ttl => format!("NATS/1.0\r\nNats-TTL: {ttl}\r\n\r\n"),
        };
        let entry = Entry::Append { time, subject: b"s", headers: headers.as_bytes(), payload: b"" };
        core.apply(&entry).expect("room");
    }

    fn expire(core: &mut StreamCore<MemoryStream>, now: i64, budget: usize) -> (Vec<u64>, Option<i64>) {
        let expiry = core.expire(now, budget);
        core.apply(&Entry::Remove { sequences: &expiry.remove }).expect("removed");
        let next = if expiry.next == Some(now) { expiry.next } else { core.next_expiry(now) };
        (expiry.remove, next)
    }

    #[test]
    fn what_is_to_stay_hides_nothing_that_is_to_go() {
        let mut core = stream(r#"{"name":"S","max_age":10000000000,"allow_msg_ttl":true}"#);
        for (time, ttl) in [(1, "never"), (2, "never"), (3, ""), (4, "never"), (5, "2s"), (6, "30s"), (7, "")]
        {
            append(&mut core, time * SECOND, ttl);
        }
        assert_eq!(core.next_expiry(7 * SECOND), Some(7 * SECOND + AGAIN), "the fifth, in a moment");
        assert_eq!(expire(&mut core, 7 * SECOND, 100), (vec![5], Some(13 * SECOND)));
        // Only the oldest message that can expire counts.
        assert_eq!(expire(&mut core, 12 * SECOND, 100), (vec![], Some(13 * SECOND)));
        assert_eq!(expire(&mut core, 13 * SECOND, 100), (vec![3], Some(16 * SECOND)));
        assert_eq!(expire(&mut core, 17 * SECOND, 1), (vec![6], Some(17 * SECOND)), "there is more");
        assert_eq!(expire(&mut core, 17 * SECOND, 100), (vec![7], Some(36 * SECOND)), "the sixth's own time");
        assert_eq!(expire(&mut core, 36 * SECOND, 100), (vec![], None), "it is gone");
        assert_eq!(core.messages().count(), 3);
        append(&mut core, 40 * SECOND, "");
        assert_eq!(core.next_expiry(40 * SECOND), Some(50 * SECOND));
    }

    #[test]
    fn what_is_a_marker_itself_leaves_none() {
        for (header, expected) in [
            ("Nats-TTL: 1s\r\n", 1),
            ("Nats-TTL: 1s\r\nKV-Operation: DEL\r\n", 1),
            ("Nats-TTL: 1s\r\nKV-Operation: PURGE\r\n", 0),
            ("Nats-TTL: 1s\r\nNats-Marker-Reason: MaxAge\r\n", 0),
        ] {
            let mut core =
                stream(r#"{"name":"S","subject_delete_marker_ttl":1000000000,"allow_msg_ttl":true}"#);
            let block = format!("NATS/1.0\r\n{header}\r\n");
            let entry =
                Entry::Append { time: SECOND, subject: b"s", headers: block.as_bytes(), payload: b"" };
            core.apply(&entry).expect("room");
            let expiry = core.expire(3 * SECOND, 100);
            assert_eq!((expiry.remove.len(), expiry.markers.len()), (1, expected), "{header}");
        }
    }

    #[test]
    fn a_subject_with_older_messages_gets_no_marker() {
        let mut core = stream(r#"{"name":"S","subject_delete_marker_ttl":1000000000,"allow_msg_ttl":true}"#);
        for ttl in ["", "1s", "3s", "3s"] {
            append(&mut core, SECOND, ttl);
        }
        let mut markers_at = |seconds: i64| {
            let expiry = core.expire(seconds * SECOND, 100);
            core.apply(&Entry::Remove { sequences: &expiry.remove }).expect("removed");
            (expiry.remove, expiry.markers.len())
        };
        assert_eq!(markers_at(3), (vec![2], 0));
        assert_eq!(markers_at(5), (vec![3, 4], 0), "the first one stays");
        core.apply(&Entry::Remove { sequences: &[1] }).expect("removed");
        (0..3).for_each(|_| append(&mut core, 6 * SECOND, "1s"));
        let expiry = core.expire(8 * SECOND, 100);
        assert_eq!((expiry.remove, expiry.markers), (vec![5, 6, 7], vec![b"s".to_vec()]), "all of them");
    }

    #[test]
    fn ends_of_messages_that_are_gone_are_passed_over_in_pieces() {
        let mut core = stream(r#"{"name":"S","allow_msg_ttl":true,"max_msgs":1}"#);
        (0..100).for_each(|_| append(&mut core, SECOND, "1s"));
        // Each run examines sixteen expiry times.
        for _ in 0..6 {
            assert_eq!(expire(&mut core, 2 * SECOND, 2), (vec![], Some(2 * SECOND)));
        }
        assert_eq!(expire(&mut core, 2 * SECOND, 2), (vec![100], None));
    }
}
