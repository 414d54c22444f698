//! The queue groups of one subject in the index. A small set is a list. A large set also has an index of positions by
//! name, so that adding or removing one of tens of thousands of groups needs no search.

use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::members::Members;
use crate::sublist::{Matches, QueueMatch};

/// From this many groups on, positions are indexed by name.
const INDEX_FROM: usize = 32;
/// Most comparisons of names when groups are merged with those found before. Above it, a map of the found groups is
/// made.
const COMPARE_MAX: usize = 1024;

type Places = HashMap<Arc<[u8]>, usize, RandomState>;

/// An unordered set of queue groups.
#[derive(Debug)]
pub(crate) struct Queues<S> {
    list: Vec<(Arc<[u8]>, Members<S>)>,
    /// Positions by name; boxed, since most subjects have few groups.
    places: Option<Box<Places>>,
}

impl<S> Default for Queues<S> {
    fn default() -> Self {
        Self { list: Vec::new(), places: None }
    }
}

impl<S: Clone + Eq + Hash> Queues<S> {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(name).copied(),
            None => self.list.iter().position(|(n, _)| **n == *name),
        }
    }

    /// Adds a member to a group; false if it is there already.
    pub(crate) fn insert(&mut self, name: &[u8], member: S) -> bool {
        if let Some(at) = self.place(name) {
            return self.list.get_mut(at).is_some_and(|(_, members)| members.insert(member));
        }
        let name: Arc<[u8]> = name.into();
        let mut members = Members::default();
        members.insert(member);
        if let Some(places) = &mut self.places {
            places.insert(Arc::clone(&name), self.list.len());
        }
        self.list.push((name, members));
        if self.places.is_none() && self.list.len() >= INDEX_FROM {
            let places = self.list.iter().enumerate().map(|(at, (name, _))| (Arc::clone(name), at));
            self.places = Some(Box::new(places.collect()));
        }
        true
    }

    /// Removes a member from a group; false if it was not there.
    pub(crate) fn remove(&mut self, name: &[u8], member: &S) -> bool {
        let Some(at) = self.place(name) else { return false };
        let removed = self.list[at].1.remove(member);
        if self.list[at].1.is_empty() {
            self.list.swap_remove(at);
            if let Some(places) = &mut self.places {
                places.remove(name);
                if let Some((moved, _)) = self.list.get(at) {
                    places.insert(Arc::clone(moved), at);
                }
            }
            if self.list.len() < INDEX_FROM / 2 {
                self.places = None;
            }
            if self.list.is_empty() {
                self.list = Vec::new();
            }
        }
        removed
    }

    /// Adds all groups to `found`.
    pub(crate) fn collect(&self, found: &mut Matches<S>) {
        let before = found.queues.len();
        if before == 0 {
            // The names of one subject's groups are distinct.
            found.queues.extend(self.list.iter().map(|(name, members)| QueueMatch {
                name: Arc::clone(name),
                members: members.as_slice().to_vec(),
            }));
            return;
        }
        if before.saturating_mul(self.list.len()) <= COMPARE_MAX {
            for (name, members) in &self.list {
                let at = found.queues.iter().position(|queue| queue.name == *name);
                add(found, at, name, members);
            }
            return;
        }
        let places: Places =
            found.queues.iter().enumerate().map(|(at, queue)| (Arc::clone(&queue.name), at)).collect();
        for (name, members) in &self.list {
            add(found, places.get(name).copied(), name, members);
        }
    }
}

/// Adds a group's members to the found group at position `at`, or as a new group.
fn add<S: Clone + Eq + Hash>(
    found: &mut Matches<S>,
    at: Option<usize>,
    name: &Arc<[u8]>,
    members: &Members<S>,
) {
    match at.and_then(|at| found.queues.get_mut(at)) {
        Some(queue) => queue.members.extend_from_slice(members.as_slice()),
        None => {
            found.queues.push(QueueMatch { name: Arc::clone(name), members: members.as_slice().to_vec() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_shrinks_and_keeps_every_group() {
        let mut queues = Queues::default();
        let name = |i: u32| format!("group-{i}").into_bytes();
        for i in 0..200 {
            assert!(queues.insert(&name(i), i));
            assert!(!queues.insert(&name(i), i));
            assert!(queues.insert(&name(i), 1000 + i));
        }
        for i in (0..200).step_by(3) {
            assert!(queues.remove(&name(i), &i) && queues.remove(&name(i), &(1000 + i)));
            assert!(!queues.remove(&name(i), &i));
        }
        let mut found = Matches::default();
        queues.collect(&mut found);
        assert_eq!(found.queues.len(), 133);
        // The second time, each group gets its members again, by comparison or by look-up.
        queues.collect(&mut found);
        assert_eq!(found.queues.len(), 133);
        assert!(found.queues.iter().all(|queue| queue.members.len() == 4));
        for i in (0..200).filter(|i| i % 3 != 0) {
            assert!(queues.remove(&name(i), &i) && queues.remove(&name(i), &(1000 + i)));
        }
        assert!(queues.is_empty() && queues.places.is_none());
    }

    /// Comparing every name with every other would take minutes.
    #[test]
    fn tens_of_thousands_of_groups_with_long_names_take_no_search() {
        let began = std::time::Instant::now();
        let mut queues = Queues::default();
        let name = |i: u32| format!("{}{i}", "a-long-name-that-all-groups-have.".repeat(8)).into_bytes();
        for i in 0..60_000 {
            assert!(queues.insert(&name(i), i));
        }
        let mut found = Matches::default();
        queues.collect(&mut found);
        queues.collect(&mut found);
        assert_eq!(found.queues.len(), 60_000);
        for i in 0..60_000 {
            assert!(queues.remove(&name(i), &i));
        }
        assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    }
}
