//! One clock for all connections: who has a deadline is woken when it comes.
//!
//! A connection has at most a few entries here, and an entry that is no longer due wakes it for nothing, which costs
//! less than taking entries out.

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
    /// Wakes the connection at this time.
    pub(crate) fn schedule(&self, at: Instant, client: &Arc<Client>) {
        let mut deadlines = self.deadlines.lock();
        let first = deadlines.peek().is_none_or(|d| at < d.at);
        deadlines.push(Deadline { at, client: Arc::downgrade(client) });
        drop(deadlines);
        if first {
            self.sooner.notify_one();
        }
    }

    /// Wakes whom it must, for ever.
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

    /// Wakes those whose time has come; when the next one comes.
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

// The heap's greatest is the earliest.
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
