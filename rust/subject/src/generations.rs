//! Detection of stale entries in match caches, without a list of entries and without a lock.
//!
//! Every change of interest bumps one counter of a small table, which depends on the changed subscription. A literal
//! subject bumps its own counter. A wildcard subject bumps that of its first two tokens if both are literal, else that
//! of its first token if it is literal, else that of everything. A cached subject watches the four counters that could
//! concern it. Counters only grow, so their sum is unchanged if and only if no counter changed. Subjects whose hashes
//! collide share a counter: this costs a needless look-up, never a wrong result.
//!
//! This replaces a match cache that all sessions share: it needs no list of caches and no eviction. A change of an
//! unrelated literal subject makes an entry stale at most three times in a thousand.

use crate::sync::{AtomicU64, Ordering};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// Counters per table; a power of two. Index 0 is the counter of "everything".
const COUNTERS: usize = 1024;

/// The change counters of one interest index.
#[derive(Debug)]
pub struct Generations {
    counters: Box<[AtomicU64]>,
    hasher: FixedState,
}

/// The counters that concern one literal subject, and their sum when it was last looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    watched: [u16; 3],
    sum: u64,
}

impl Generations {
    /// Returns a table whose counters are 0. `seed` keeps clients from choosing subjects that share a counter.
    pub fn new(seed: u64) -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { counters, hasher: FixedState::with_seed(seed) }
    }

    /// Records that interest in `subject`, which may contain wildcards, has changed. Call it after the change, under
    /// the lock that orders changes.
    pub fn bump(&self, subject: &[u8]) {
        let slot = if crate::has_wildcard(subject) {
            let (first, second) = heads(subject);
            match (is_wild(first), second) {
                (true, _) => 0,
                (false, Some(prefix)) if !is_wild(&prefix[first.len() + 1..]) => self.slot(prefix),
                _ => self.slot(first),
            }
        } else {
            self.slot_of_literal(subject)
        };
        self.counters[slot as usize].fetch_add(1, Ordering::Release);
    }

    /// Returns the current stamp of a literal subject. Call it under the lock that excludes changes.
    pub fn stamp(&self, subject: &[u8]) -> Stamp {
        let (first, second) = heads(subject);
        let first = self.slot(first);
        let watched =
            [self.slot_of_literal(subject), first, second.map_or(first, |prefix| self.slot(prefix))];
        Stamp { watched, sum: self.sum(watched) }
    }

    /// Whether nothing that could concern the subject of this stamp has changed since it was taken.
    #[inline]
    pub fn is_current(&self, stamp: &Stamp) -> bool {
        self.sum(stamp.watched) == stamp.sum
    }

    #[inline]
    fn sum(&self, watched: [u16; 3]) -> u64 {
        let at = |i: u16| self.counters[i as usize].load(Ordering::Acquire);
        at(0).wrapping_add(at(watched[0])).wrapping_add(at(watched[1])).wrapping_add(at(watched[2]))
    }

    /// Returns the counter of a prefix. It is never 0, the counter for subscriptions that begin with a wildcard.
    fn slot(&self, prefix: &[u8]) -> u16 {
        (self.hasher.hash_one(prefix) as usize % (COUNTERS - 1) + 1) as u16
    }

    fn slot_of_literal(&self, subject: &[u8]) -> u16 {
        self.slot(subject)
    }
}

/// Returns the first token, and the first two with their dot, if there are two.
fn heads(subject: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(dot) = subject.iter().position(|&b| b == b'.') else { return (subject, None) };
    let rest = &subject[dot + 1..];
    let end = rest.iter().position(|&b| b == b'.').unwrap_or(rest.len());
    (&subject[..dot], Some(&subject[..dot + 1 + end]))
}

fn is_wild(token: &[u8]) -> bool {
    token == b"*" || token == b">"
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subject() -> impl Strategy<Value = String> {
        proptest::collection::vec(prop_oneof!["a", "b", "c", "\\*"], 1..5).prop_map(|t| t.join("."))
    }

    proptest! {
        /// The central guarantee: a change that could match a subject always makes its stamp stale.
        #[test]
        fn a_matching_change_is_always_noticed(pattern in subject(), open in any::<bool>(), literal in "[abc](\\.[abc]){0,4}") {
            let pattern = if open { format!("{pattern}.>") } else { pattern };
            let generations = Generations::new(7);
            let stamp = generations.stamp(literal.as_bytes());
            prop_assert!(generations.is_current(&stamp));
            generations.bump(pattern.as_bytes());
            if crate::matches(literal.as_bytes(), pattern.as_bytes()) {
                prop_assert!(!generations.is_current(&stamp));
            }
        }
    }

    #[test]
    fn churn_elsewhere_leaves_a_stamp_alone() {
        let generations = Generations::new(7);
        let stamp = generations.stamp(b"orders.new.eu");
        for change in ["_INBOX.abc.*", "orders.old.*", "shipping.>"] {
            generations.bump(change.as_bytes());
        }
        assert!(generations.is_current(&stamp));
        generations.bump(b"orders.*.eu");
        assert!(!generations.is_current(&stamp));
    }
}
