//! Which message ids were seen within the duplicate window.

use std::collections::VecDeque;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

/// Ids by their hash: what an id says does not matter, and 128 bits do not meet by chance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dedupe {
    /// Nanoseconds that an id is remembered; 0 for not at all.
    window: i64,
    seen: HashMap<u128, Seen>,
    /// In the order of times.
    order: VecDeque<(i64, u128)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    time: i64,
    sequence: u64,
}

impl Dedupe {
    /// A table that remembers ids for `window` nanoseconds.
    pub fn new(window: i64) -> Self {
        Self { window, ..Self::default() }
    }

    /// Changes the window.
    pub fn set_window(&mut self, window: i64) {
        self.window = window;
        if window == 0 {
            *self = Self::default();
        }
    }

    /// The sequence of the message that had this id, if it is remembered at `now`.
    pub fn find(&self, id: &[u8], now: i64) -> Option<u64> {
        if self.window == 0 {
            return None;
        }
        let seen = self.seen.get(&xxh3_128(id))?;
        (now - seen.time < self.window).then_some(seen.sequence)
    }

    /// Remembers an id; times never fall.
    pub fn note(&mut self, id: &[u8], sequence: u64, time: i64) {
        if self.window == 0 {
            return;
        }
        self.forget_before(time);
        let hash = xxh3_128(id);
        if self.seen.insert(hash, Seen { time, sequence }).is_none_or(|seen| seen.time != time) {
            self.order.push_back((time, hash));
        }
    }

    /// Forgets what is too old at `now`.
    pub fn forget_before(&mut self, now: i64) {
        while let Some((time, hash)) = self.order.front().copied() {
            if now - time < self.window {
                break;
            }
            self.order.pop_front();
            // It may have come again since.
            if self.seen.get(&hash).is_some_and(|seen| seen.time == time) {
                self.seen.remove(&hash);
            }
        }
        if self.seen.len() * 8 < self.seen.capacity() && self.seen.capacity() > 1024 {
            self.seen.shrink_to(self.seen.len() * 2);
            self.order.shrink_to(self.order.len() * 2);
        }
    }

    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_within_the_window() {
        let mut dedupe = Dedupe::new(100);
        dedupe.note(b"a", 1, 10);
        dedupe.note(b"b", 2, 50);
        assert_eq!((dedupe.find(b"a", 109), dedupe.find(b"a", 110)), (Some(1), None));
        dedupe.note(b"a", 3, 115);
        assert_eq!((dedupe.find(b"a", 150), dedupe.len()), (Some(3), 2));
        dedupe.forget_before(1000);
        assert!(dedupe.is_empty() && dedupe.order.is_empty());
    }
}
