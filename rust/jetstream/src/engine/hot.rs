//! The consumers that a stream tells of its changes, and which of them a message concerns.
//!
//! A consumer in use is *hot*. Its stream tells it of each stored or removed message that concerns it, so the number of messages
//! that wait for it stays exact. Other consumers cost no time; their messages are counted when they are used again.

use std::fmt;

use crate::ids::ConsumerId;
use hashbrown::HashMap;
use stonechat_subject::{Matches, Sublist};

/// The most filters of a consumer that are indexed here.
const FILTERS_MAX: usize = 64;

/// The hot consumers of a stream: those that are told of its changes.
pub(super) struct Hot {
    /// All hot consumers, in ascending order, so that one of very many is removed fast.
    all: Vec<ConsumerId>,
    /// The consumers that are told of every message, in ascending order.
    always: Vec<ConsumerId>,
    /// The other consumers, by their filters.
    filtered: Sublist<ConsumerId>,
    filters: HashMap<ConsumerId, Box<[Box<str>]>>,
    found: Matches<ConsumerId>,
}

fn add(ids: &mut Vec<ConsumerId>, id: ConsumerId) {
    if let Err(at) = ids.binary_search(&id) {
        ids.insert(at, id);
    }
}

fn take_out(ids: &mut Vec<ConsumerId>, id: ConsumerId) {
    if let Ok(at) = ids.binary_search(&id) {
        ids.remove(at);
    }
}

impl fmt::Debug for Hot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hot").field("all", &self.all).finish_non_exhaustive()
    }
}

impl Default for Hot {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            always: Vec::new(),
            filtered: Sublist::new(0),
            filters: HashMap::new(),
            found: Matches::default(),
        }
    }
}

impl Hot {
    /// Whether no consumer is hot.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The number of hot consumers.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The hot consumers that have filters.
    pub(super) fn filtered(&self) -> impl Iterator<Item = ConsumerId> {
        self.filters.keys().copied()
    }

    /// The number of consumers in [`Hot::filtered`].
    pub(super) fn filtered_len(&self) -> usize {
        self.filters.len()
    }

    /// Whether a consumer is hot and has filters.
    pub(super) fn is_filtered(&self, id: ConsumerId) -> bool {
        self.filters.contains_key(&id)
    }

    /// Adds a consumer with its filters. It is told of every message if it has none, or if it may still hold messages that its
    /// filters no longer match (`always`).
    pub(super) fn insert(&mut self, id: ConsumerId, filters: &[&str], always: bool) {
        add(&mut self.all, id);
        // With very many filters, the consumer itself matches a message faster than its filters are added here.
        let always = always || filters.len() > FILTERS_MAX;
        if filters.is_empty() || always {
            add(&mut self.always, id);
        }
        if filters.is_empty() {
            return;
        }
        if !always {
            for filter in filters {
                self.filtered.insert(filter.as_bytes(), None, id);
            }
        }
        let kept = if always { &[][..] } else { filters };
        self.filters.insert(id, kept.iter().map(|filter| Box::from(*filter)).collect());
    }

    /// Removes a consumer, if it is there.
    pub(super) fn remove(&mut self, id: ConsumerId) {
        if let Some(filters) = self.filters.remove(&id) {
            for filter in filters {
                self.filtered.remove(filter.as_bytes(), None, &id);
            }
        }
        take_out(&mut self.all, id);
        take_out(&mut self.always, id);
    }

    /// Collects in `told` the consumers that a message on `subject` concerns, each once. Without a subject, collects all.
    pub(super) fn concerned(&mut self, subject: Option<&[u8]>, told: &mut Vec<ConsumerId>) {
        told.clear();
        let Some(subject) = subject else { return told.extend(&self.all) };
        told.extend(&self.always);
        if !self.filtered.is_empty() {
            self.found.clear();
            self.filtered.collect(subject, &mut self.found);
            // Several filters of one consumer may match.
            self.found.plain.sort_unstable();
            self.found.plain.dedup();
            told.extend(&self.found.plain);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_concerned_is_told_once() {
        let mut hot = Hot::default();
        hot.insert(ConsumerId(1), &[], false);
        hot.insert(ConsumerId(2), &["a.*", "a.>"], false);
        hot.insert(ConsumerId(3), &["b"], true);
        hot.insert(ConsumerId(4), &["b"], false);
        let mut told = Vec::new();
        let mut concerned = |hot: &mut Hot, subject: Option<&[u8]>| -> Vec<u32> {
            hot.concerned(subject, &mut told);
            told.sort_unstable();
            told.iter().map(|id| id.0).collect()
        };
        assert_eq!(concerned(&mut hot, Some(b"a.b")), [1, 2, 3]);
        assert_eq!(concerned(&mut hot, Some(b"b")), [1, 3, 4]);
        assert_eq!(concerned(&mut hot, Some(b"c")), [1, 3]);
        assert_eq!(concerned(&mut hot, None), [1, 2, 3, 4]);
        let mut filtered: Vec<u32> = hot.filtered().map(|id| id.0).collect();
        filtered.sort_unstable();
        assert_eq!(filtered, [2, 3, 4]);
        (1..4).for_each(|id| hot.remove(ConsumerId(id)));
        assert_eq!(concerned(&mut hot, Some(b"a.b")), Vec::<u32>::new());
        assert_eq!(concerned(&mut hot, Some(b"b")), [4]);
        hot.remove(ConsumerId(4));
        assert!(hot.is_empty() && hot.filtered.is_empty() && hot.filters.is_empty());
    }
}
