//! Which message ids were seen within the duplicate window.

use stonechat_store::spill::{Ids, Seen, Shelf, Unreadable};
use xxhash_rust::xxh3::xxh3_128;

/// A window is forgotten in so many pieces.
const PIECES: i64 = 4;

/// Ids by their hash: what an id says does not matter, and 128 bits do not meet by chance.
#[derive(Debug)]
pub(super) struct Dedupe {
    /// Nanoseconds that an id is remembered; 0 for not at all.
    window: i64,
    ids: Ids,
}

impl Dedupe {
    /// A table that remembers ids for `window` nanoseconds.
    pub(super) fn new(window: i64, shelf: &Shelf) -> Self {
        Self { window, ids: Ids::new(shelf) }
    }

    /// Changes the window.
    pub(super) fn set_window(&mut self, window: i64) {
        self.window = window;
        if window == 0 {
            self.ids.clear();
        }
    }

    /// From when on an id counts at `now`.
    pub(super) fn since(&self, now: i64) -> i64 {
        now.saturating_sub(self.window)
    }

    /// The sequence of the message that had this id, if it is remembered at `now`.
    ///
    /// # Errors
    ///
    /// What is remembered can't be read.
    pub(super) fn find(&self, id: &[u8], now: i64) -> Result<Option<u64>, Unreadable> {
        if self.window == 0 {
            return Ok(None);
        }
        let seen = self.ids.find(xxh3_128(id))?;
        Ok(seen.filter(|seen| seen.time > self.since(now)).map(|seen| seen.sequence))
    }

    /// Remembers an id; times never fall.
    pub(super) fn note(&mut self, id: &[u8], sequence: u64, time: i64) {
        if self.window == 0 {
            return;
        }
        self.forget(time);
        self.ids.note(xxh3_128(id), Seen { time, sequence }, (self.window / PIECES).max(1));
    }

    /// Forgets what is too old at `now`.
    pub(super) fn forget(&mut self, now: i64) {
        self.ids.forget(self.since(now));
    }

    /// When something can be forgotten.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.ids.next_end().map(|newest| newest.saturating_add(self.window))
    }

    /// The ids themselves, for what concerns their storage.
    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The same.
    pub(super) fn ids_mut(&mut self) -> &mut Ids {
        &mut self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_within_the_window() {
        let mut dedupe = Dedupe::new(100, &Shelf::none());
        dedupe.note(b"a", 1, 10);
        dedupe.note(b"b", 2, 50);
        assert_eq!((dedupe.find(b"a", 109), dedupe.find(b"a", 110)), (Ok(Some(1)), Ok(None)));
        dedupe.note(b"a", 3, 115);
        assert_eq!((dedupe.find(b"a", 150), dedupe.next_end()), (Ok(Some(3)), Some(150)));
        dedupe.forget(1000);
        assert_eq!(dedupe.next_end(), None);
        dedupe.note(b"a", 4, 1001);
        dedupe.set_window(0);
        assert_eq!((dedupe.find(b"a", 1002), dedupe.next_end()), (Ok(None), None));
    }
}
