//! A cache of the receivers of one publisher's recent subjects. The next message on such a subject needs no look-up and
//! no lock.
//!
//! Each session owns its cache. Sessions share only the generations, which tell whether an entry is current. A subject
//! is kept only when it is missed a second time. So subjects that never return (inboxes, `$JS.ACK`) cost a fingerprint
//! each and evict nothing. The table grows while current entries evict each other.
//!
//! A hit costs one hash, one comparison of subjects and four atomic loads.

use crate::generations::{Generations, Stamp};
use crate::sublist::Matches;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// Entries per bucket.
const WAYS: usize = 2;
/// Entries of the smallest table, and of the largest.
const SIZE_MIN: usize = 8;
const SIZE_MAX: usize = 8192;
/// Number of buckets, each with four fingerprints of recently missed subjects.
const SEEN: usize = 512;

/// A cache from literal subjects to their receivers, with the session's verdict `V` on each subject (its permission).
#[derive(Debug)]
pub struct MatchCache<S, V> {
    slots: Vec<Option<Box<Entry<S, V>>>>,
    seen: Vec<[u32; 4]>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Entry<S, V> {
    hash: u64,
    subject: Box<[u8]>,
    stamp: Stamp,
    matched: Matches<S>,
    verdict: V,
}

impl<S, V> MatchCache<S, V> {
    /// An empty cache, which owns no memory yet.
    pub fn new(seed: u64) -> Self {
        Self { slots: Vec::new(), seen: Vec::new(), hasher: FixedState::with_seed(seed) }
    }

    /// Drops every entry, for example when the session's account or permissions change.
    pub fn clear(&mut self) {
        self.slots = Vec::new();
        self.seen = Vec::new();
    }

    /// Returns the entry of a subject, if it exists and is current.
    #[inline]
    pub fn get(&self, subject: &[u8], generations: &Generations) -> Option<(&Matches<S>, &V)> {
        if self.slots.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(subject);
        let entry = self.slots[self.bucket(hash)]
            .iter()
            .flatten()
            .find(|e| e.hash == hash && *e.subject == *subject)?;
        generations.is_current(&entry.stamp).then_some((&entry.matched, &entry.verdict))
    }

    /// Removes and returns the entry of a subject, current or not.
    pub fn take(&mut self, subject: &[u8]) -> Option<(Stamp, Matches<S>, V)> {
        if self.slots.is_empty() {
            return None;
        }
        let bucket = self.bucket(self.hasher.hash_one(subject));
        let is_own = |slot: &&mut Option<Box<Entry<S, V>>>| {
            slot.as_ref().is_some_and(|entry| *entry.subject == *subject)
        };
        let entry = *self.slots[bucket].iter_mut().find(is_own)?.take()?;
        Some((entry.stamp, entry.matched, entry.verdict))
    }

    /// Records a miss; true if the subject was missed before, so that its match is worth keeping.
    pub fn should_keep(&mut self, subject: &[u8]) -> bool {
        if self.seen.is_empty() {
            self.seen = vec![[0; 4]; SEEN];
        }
        let hash = self.hasher.hash_one(subject);
        let print = (hash >> 32) as u32 | 1;
        let seen = &mut self.seen[hash as usize % SEEN];
        if seen.contains(&print) {
            return true;
        }
        seen.rotate_right(1);
        seen[0] = print;
        false
    }

    /// Stores a match in place of the subject's old entry, of a stale entry, or of an older entry of its bucket.
    pub fn keep(
        &mut self,
        subject: &[u8],
        stamp: Stamp,
        matched: Matches<S>,
        verdict: V,
        generations: &Generations,
    ) {
        let hash = self.hasher.hash_one(subject);
        let entry = Box::new(Entry { hash, subject: subject.into(), stamp, matched, verdict });
        if self.slots.is_empty() {
            self.slots.resize_with(SIZE_MIN, || None);
        }
        loop {
            let bucket = self.bucket(hash);
            let full = self.slots.len() == SIZE_MAX;
            let slots = &mut self.slots[bucket];
            let free = |slot: &Option<Box<Entry<S, V>>>| match slot {
                Some(e) => (e.hash == hash && *e.subject == *subject) || !generations.is_current(&e.stamp),
                None => true,
            };
            // The subject's own old entry first, so that it is never there twice.
            let own = slots.iter().position(|s| s.as_ref().is_some_and(|e| *e.subject == *subject));
            if let Some(at) = own.or_else(|| slots.iter().position(free)) {
                slots[at] = Some(entry);
                return;
            }
            if full {
                slots.rotate_right(1);
                slots[0] = Some(entry);
                return;
            }
            self.grow();
        }
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 2;
        let old = std::mem::take(&mut self.slots);
        self.slots.resize_with(size, || None);
        for entry in old.into_iter().flatten() {
            let bucket = self.bucket(entry.hash);
            if let Some(slot) = self.slots[bucket].iter_mut().find(|s| s.is_none()) {
                *slot = Some(entry);
            }
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> std::ops::Range<usize> {
        let at = (hash as usize) & (self.slots.len() - 1) & !(WAYS - 1);
        at..at + WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sublist;

    fn look_up(
        cache: &mut MatchCache<u32, ()>,
        list: &Sublist<u32>,
        generations: &Generations,
        subject: &str,
    ) -> bool {
        let subject = subject.as_bytes();
        let mut expected = Matches::default();
        list.collect(subject, &mut expected);
        if let Some((matched, ())) = cache.get(subject, generations) {
            assert_eq!(matched.plain, expected.plain);
            return true;
        }
        if cache.should_keep(subject) {
            cache.keep(subject, generations.stamp(subject), expected, (), generations);
        }
        false
    }

    #[test]
    fn keeps_what_returns_and_forgets_what_changes() {
        let generations = Generations::new(1);
        let mut list = Sublist::new(1);
        list.insert(b"a.*", None, 1);
        let mut cache = MatchCache::new(1);
        assert!(!look_up(&mut cache, &list, &generations, "a.b"));
        assert!(!look_up(&mut cache, &list, &generations, "a.b"), "kept on the second miss");
        assert!(look_up(&mut cache, &list, &generations, "a.b"));
        list.insert(b"x.y", None, 2);
        generations.bump(b"x.y");
        assert!(look_up(&mut cache, &list, &generations, "a.b"), "a change elsewhere");
        list.insert(b"a.b", None, 3);
        generations.bump(b"a.b");
        assert!(!look_up(&mut cache, &list, &generations, "a.b"), "a change that matches");
    }

    #[test]
    fn subjects_that_never_return_evict_nothing() {
        let generations = Generations::new(1);
        let list = Sublist::new(1);
        let mut cache = MatchCache::new(1);
        for _ in 0..2 {
            look_up(&mut cache, &list, &generations, "hot");
        }
        for i in 0..100_000 {
            look_up(&mut cache, &list, &generations, &format!("_INBOX.{i}"));
        }
        assert!(look_up(&mut cache, &list, &generations, "hot"));
        assert!(cache.slots.len() <= 4 * SIZE_MIN, "grew to {}", cache.slots.len());
    }

    #[test]
    fn grows_to_hold_a_working_set() {
        let generations = Generations::new(1);
        let list = Sublist::new(1);
        let mut cache = MatchCache::new(1);
        let subjects: Vec<String> = (0..500).map(|i| format!("s.{i}")).collect();
        for _ in 0..8 {
            for s in &subjects {
                look_up(&mut cache, &list, &generations, s);
            }
        }
        let hits = subjects.iter().filter(|s| cache.get(s.as_bytes(), &generations).is_some()).count();
        assert!(hits > 350, "{hits} of 500 in the cache");
    }
}
