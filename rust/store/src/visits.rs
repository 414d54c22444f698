//! A count of visited items, by which tests check that no single turn visits too many. It is per thread, and counts only in
//! debug builds.

use std::cell::Cell;

thread_local! {
    static VISITS: Cell<usize> = const { Cell::new(0) };
}

/// Counts one visited item: a message, an index entry, a value of a request, or a header.
#[inline]
pub fn note() {
    if cfg!(debug_assertions) {
        VISITS.set(VISITS.get() + 1);
    }
}

/// Returns the number of items that this thread visited since the last call.
pub fn take() -> usize {
    VISITS.take()
}
