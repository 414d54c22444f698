//! The queue of messages of one subscription or request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::parser::Message;

/// The result of a wait for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A message.
    Message(Message),
    /// No message arrived in time.
    Nothing,
    /// The server refuses the subscription or request, with this text.
    Refused(String),
    /// No more messages arrive.
    Closed,
}

/// Messages in their order of arrival.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    notices: Arc<Notices>,
    /// Most waiting messages; further ones are dropped and counted.
    max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Message>,
    refused: Option<String>,
    closed: bool,
    dropped: u64,
    /// The token of the requested notice, if one is due.
    told: Option<u64>,
}

impl State {
    fn take(&mut self) -> Option<Taken> {
        if let Some(message) = self.waiting.pop_front() {
            return Some(Taken::Message(message));
        }
        if let Some(text) = self.refused.take() {
            return Some(Taken::Refused(text));
        }
        self.closed.then_some(Taken::Closed)
    }
}

impl Queue {
    pub(crate) fn new(notices: Arc<Notices>, max: usize) -> Self {
        Self { state: Mutex::default(), filled: Condvar::new(), notices, max }
    }

    pub(crate) fn push(&self, message: Message) {
        self.change(|state| match state.waiting.len() < self.max {
            true => state.waiting.push_back(message),
            false => state.dropped += 1,
        });
    }

    pub(crate) fn refuse(&self, text: &str) {
        self.change(|state| state.refused = Some(text.to_owned()));
    }

    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let told = state.told.take();
        drop(state);
        self.filled.notify_all();
        if let Some(token) = told {
            self.notices.give(token);
        }
    }

    /// Waits for the next message.
    pub(crate) fn take(&self, wait: Duration) -> Taken {
        let deadline = Instant::now() + wait;
        let mut state = self.state.lock();
        loop {
            if let Some(taken) = state.take() {
                return taken;
            }
            if self.filled.wait_until(&mut state, deadline).timed_out() {
                return state.take().unwrap_or(Taken::Nothing);
            }
        }
    }

    /// Gives one notice with this token as soon as [`Queue::take`] need not wait; immediately if that is now.
    pub(crate) fn tell(&self, token: u64) {
        let mut state = self.state.lock();
        let is_there = !state.waiting.is_empty() || state.refused.is_some() || state.closed;
        match is_there {
            false => state.told = Some(token),
            true => {
                drop(state);
                self.notices.give(token);
            }
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state.lock().dropped
    }
}

/// The queue of notice tokens. Event loops must not block, so a thread waits here and wakes them.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    state: Mutex<(Vec<u64>, bool)>,
    filled: Condvar,
}

impl Notices {
    fn give(&self, token: u64) {
        self.state.lock().0.push(token);
        self.filled.notify_all();
    }

    pub(crate) fn close(&self) {
        self.state.lock().1 = true;
        self.filled.notify_all();
    }

    /// Waits for tokens. Returns no tokens when the time is over, and `None` when the queue is closed and empty.
    pub(crate) fn take(&self, wait: Duration) -> Option<Vec<u64>> {
        let deadline = Instant::now() + wait;
        let mut state = self.state.lock();
        while state.0.is_empty() && !state.1 {
            if self.filled.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        let tokens = std::mem::take(&mut state.0);
        (!tokens.is_empty() || !state.1).then_some(tokens)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(subject: &str) -> Message {
        Message { subject: subject.to_owned(), reply: None, headers: None, payload: Bytes::new() }
    }

    #[test]
    fn what_came_before_the_end_is_taken_first() {
        let queue = Queue::new(Arc::default(), 2);
        for subject in ["a", "b", "too many"] {
            queue.push(message(subject));
        }
        queue.close();
        assert_eq!(queue.take(Duration::ZERO), Taken::Message(message("a")));
        assert_eq!(queue.take(Duration::ZERO), Taken::Message(message("b")));
        assert_eq!(queue.take(Duration::ZERO), Taken::Closed);
        assert_eq!(queue.dropped(), 1);
    }

    #[test]
    fn a_token_is_given_once() {
        let notices = Arc::new(Notices::default());
        let queue = Queue::new(notices.clone(), 9);
        queue.tell(5);
        assert_eq!(notices.take(Duration::ZERO), Some(vec![]));
        queue.push(message("a"));
        queue.push(message("b"));
        assert_eq!(notices.take(Duration::ZERO), Some(vec![5]));
        queue.tell(6);
        assert_eq!(notices.take(Duration::ZERO), Some(vec![6]));
        notices.close();
        assert_eq!(notices.take(Duration::from_secs(60)), None);
    }
}
