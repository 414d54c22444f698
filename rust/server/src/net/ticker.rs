//! One timer for all connections: wakes each connection at its deadlines.
//!
//! A connection has at most a few entries here. An outdated entry wakes its connection without need, which costs less
//! than removing entries.

use parking_lot::Mutex;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;
use stonechat_broker::{Client, Flag};
use tokio::sync::Notify;

/// The deadlines of all connections.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    deadlines: Mutex<BinaryHeap<Deadline>>,
    sooner: Notify,
}

#[derive(Debug)]
struct Deadline {
    at: Instant,
    client: Weak<Client>,
}

impl Ticker {
    /// Wakes the connection at the time `at`.
    pub(crate) fn schedule(&self, at: Instant, client: &Arc<Client>) {
        let mut deadlines = self.deadlines.lock();
        let first = deadlines.peek().is_none_or(|d| at < d.at);
        deadlines.push(Deadline { at, client: Arc::downgrade(client) });
        drop(deadlines);
        if first {
            self.sooner.notify_one();
        }
    }

    /// Wakes connections at their deadlines, for ever.
    pub(crate) async fn run(&self) {
        loop {
            match self.wake_due(Instant::now()) {
                Some(next) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(next.into()) => {}
                        () = self.sooner.notified() => {}
                    }
                }
                None => self.sooner.notified().await,
            }
        }
    }

    /// Wakes the connections whose deadline has passed; returns the next deadline.
    fn wake_due(&self, now: Instant) -> Option<Instant> {
        loop {
            let due = {
                let mut deadlines = self.deadlines.lock();
                match deadlines.peek() {
                    Some(d) if d.at <= now => deadlines.pop(),
                    Some(d) => return Some(d.at),
                    None => return None,
                }
            };
            if let Some(client) = due.and_then(|d| d.client.upgrade()) {
                client.raise(Flag::Timer);
            }
        }
    }
}

// Reversed, because the greatest entry of the heap must be the earliest deadline.
impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Deadline {}
