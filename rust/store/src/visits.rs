//! How much was looked at: for tests, which see by it that nothing looks at too much at once. Counts in debug builds only, by thread.

use std::cell::Cell;

thread_local! {
    static VISITS: Cell<usize> = const { Cell::new(0) };
}

/// Takes note of a message or a place in an index that is looked at; or of a value of a request, or a header.
#[inline]
pub fn note() {
    if cfg!(debug_assertions) {
        VISITS.set(VISITS.get() + 1);
    }
}

/// How much of that this thread has looked at since the last call.
pub fn take() -> usize {
    VISITS.take()
}
