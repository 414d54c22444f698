//! Message ids seen within the duplicate window.

use stonechat_store::spill::{Ids, Seen, Shelf, Unreadable};
use xxhash_rust::xxh3::xxh3_128;

/// Number of groups into which a window divides its ids. A group is dropped as a whole.
const PIECES: i64 = 4;

/// Ids by their 128-bit hash. Such hashes do not collide by chance, and the text of an id is not needed.
#[derive(Debug)]
pub(super) struct Dedupe {
    /// Nanoseconds that an id is kept; 0 keeps none.
    window: i64,
    ids: Ids,
}

impl Dedupe {
    /// Creates a table that keeps ids for `window` nanoseconds.
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

    /// The start of the window at `now`: only ids seen later count.
    pub(super) fn since(&self, now: i64) -> i64 {
        now.saturating_sub(self.window)
    }

    /// Returns the sequence of the message with this id, if the window holds it at `now`.
    ///
    /// # Errors
    ///
    /// A file of the table can't be read.
    pub(super) fn find(&self, id: &[u8], now: i64) -> Result<Option<u64>, Unreadable> {
        if self.window == 0 {
            return Ok(None);
        }
        let seen = self.ids.find(xxh3_128(id))?;
        Ok(seen.filter(|seen| seen.time > self.since(now)).map(|seen| seen.sequence))
    }

    /// Adds an id. Times never fall.
    pub(super) fn note(&mut self, id: &[u8], sequence: u64, time: i64) {
        if self.window == 0 {
            return;
        }
        self.forget(time);
        self.ids.note(xxh3_128(id), Seen { time, sequence }, (self.window / PIECES).max(1));
    }

    /// Drops ids that are too old at `now`.
    pub(super) fn forget(&mut self, now: i64) {
        self.ids.forget(self.since(now));
    }

    /// The time at which the oldest ids can be dropped; `None` without ids.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.ids.next_end().map(|newest| newest.saturating_add(self.window))
    }

    /// The ids, for work on their storage.
    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// The ids, for changes of their storage.
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
