//! The subscriptions of one subject in the index. A small set is a list. A large set also has an index of positions, so
//! that removing one of a hundred thousand subscribers needs no search.

use std::collections::HashMap;
use std::hash::Hash;

/// From this many members on, positions are indexed.
const INDEX_FROM: usize = 32;

/// An unordered set with removal in constant time.
#[derive(Debug)]
pub(crate) struct Members<S> {
    list: Vec<S>,
    #[expect(
        clippy::box_collection,
        reason = "most sets have no index, and a pointer is smaller than a map"
    )]
    positions: Option<Box<HashMap<S, usize, foldhash::fast::FixedState>>>,
}

impl<S> Default for Members<S> {
    fn default() -> Self {
        Self { list: Vec::new(), positions: None }
    }
}

impl<S: Clone + Eq + Hash> Members<S> {
    pub(crate) fn as_slice(&self) -> &[S] {
        &self.list
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a member; false if the set has it already.
    pub(crate) fn insert(&mut self, member: S) -> bool {
        if let Some(positions) = &mut self.positions {
            if positions.contains_key(&member) {
                return false;
            }
            positions.insert(member.clone(), self.list.len());
        } else if self.list.contains(&member) {
            return false;
        }
        self.list.push(member);
        if self.positions.is_none() && self.list.len() >= INDEX_FROM {
            let indexed = self.list.iter().enumerate().map(|(i, s)| (s.clone(), i)).collect();
            self.positions = Some(Box::new(indexed));
        }
        true
    }

    pub(crate) fn remove(&mut self, member: &S) -> bool {
        let position = match &mut self.positions {
            Some(positions) => positions.remove(member),
            None => self.list.iter().position(|s| s == member),
        };
        let Some(position) = position else { return false };
        self.list.swap_remove(position);
        if let (Some(positions), Some(moved)) = (&mut self.positions, self.list.get(position)) {
            positions.insert(moved.clone(), position);
        }
        if self.list.len() < INDEX_FROM / 2 {
            self.positions = None;
        }
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_shrinks_and_keeps_every_member() {
        let mut members = Members::default();
        for i in 0..200u32 {
            assert!(members.insert(i));
            assert!(!members.insert(i));
        }
        for i in (0..200u32).step_by(3) {
            assert!(members.remove(&i));
            assert!(!members.remove(&i));
        }
        let mut left: Vec<u32> = members.as_slice().to_vec();
        left.sort_unstable();
        assert_eq!(left, (0..200).filter(|i| i % 3 != 0).collect::<Vec<_>>());
        for i in left {
            assert!(members.remove(&i));
        }
        assert!(members.is_empty());
    }
}
