//! The bounded queue between the threads of all servers and the one Python thread that drains it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// A log line: key of its server, seconds since the epoch, level of Python's `logging`, text.
pub(crate) type Line = (u64, f64, u8, String);

/// The Python object of the queue.
#[pyclass(frozen, module = "stonechat._stonechat")]
pub(crate) struct LogQueue {
    shared: Arc<Shared>,
}

/// The part of the queue that the servers share.
pub(crate) struct Shared {
    capacity: usize,
    state: Mutex<State>,
    /// Notified of new lines and of the end; the drain waits for it.
    filled: Condvar,
    /// Notified when lines have been handled; flushes wait for it.
    handled: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Line>,
    dropped: u64,
    closed: bool,
    /// Lines accepted so far, without the dropped ones.
    pushed: u64,
    /// Lines passed to the drain so far.
    taken: u64,
    /// Lines that the drain has handled: it has asked for the next ones.
    handled: u64,
}

impl Shared {
    /// Appends a line, or counts it as dropped if the queue is full: a server never waits for its log.
    pub(crate) fn push(&self, line: Line) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.lines.len() >= self.capacity {
            state.dropped += 1;
            return;
        }
        state.lines.push_back(line);
        state.pushed += 1;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent at each point where a holder of the lock could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, limit: usize) -> Option<(Vec<Line>, u64)> {
        let mut state = self.lock();
        state.handled = state.taken;
        self.handled.notify_all();
        while state.lines.is_empty() && state.dropped == 0 {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = limit.min(state.lines.len());
        let lines: Vec<_> = state.lines.drain(..count).collect();
        state.taken += count as u64;
        Some((lines, std::mem::take(&mut state.dropped)))
    }

    fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        let goal = state.pushed;
        while state.handled < goal {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.handled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl LogQueue {
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

#[pymethods]
impl LogQueue {
    /// Creates an empty queue for `capacity` lines.
    #[new]
    fn new(capacity: usize) -> Self {
        let state = Mutex::new(State::default());
        Self { shared: Arc::new(Shared { capacity, state, filled: Condvar::new(), handled: Condvar::new() }) }
    }

    /// Waits for lines. Returns at most `limit` of them, with the number of lines dropped since the last call. Returns
    /// `None` once the queue is closed and empty.
    fn take(&self, py: Python<'_>, limit: usize) -> Option<(Vec<Line>, u64)> {
        py.detach(|| self.shared.take(limit))
    }

    /// Waits until the lines present now have been handled; `False` if that takes longer than `seconds`.
    fn flush(&self, py: Python<'_>, seconds: f64) -> bool {
        let timeout = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        py.detach(|| self.shared.flush(timeout))
    }

    /// Stops accepting lines, and lets the drain end after the remaining ones.
    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
    }
}
