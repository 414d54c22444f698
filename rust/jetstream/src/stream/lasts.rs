//! The last messages on subject filters with wildcards, for publishers that expect a last sequence there. A search finds them in
//! steps; from then on they are kept up to date while messages are stored and removed.

use hashbrown::HashMap;
use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;

use super::core::StreamCore;

/// Number of filters that are kept after the messages that needed them are stored.
const KEPT: usize = 4;
/// Index entries that are visited for a message without a search in steps; few in debug builds, so that tests need one.
const AT_ONCE: usize = if cfg!(debug_assertions) { 32 } else { 1024 };

/// The known last messages and the searches in progress, by filter.
#[derive(Debug, Default)]
pub(super) struct Lasts {
    known: HashMap<Box<[u8]>, Last>,
    /// Number of filters added so far.
    count: usize,
}

#[derive(Debug)]
struct Last {
    /// Number of filters added before this one.
    number: usize,
    filter: Filter,
    /// Sequence of the last matching message; 0 for none.
    sequence: u64,
    /// The search, while it is in progress.
    search: Option<Search>,
}

/// A search in progress. It continues behind the subject `after`.
#[derive(Debug, Default)]
struct Search {
    after: Option<Vec<u8>>,
}

impl Lasts {
    fn find(&self, filter: &[u8]) -> Option<u64> {
        let last = self.known.get(filter)?;
        last.search.is_none().then_some(last.sequence)
    }

    /// Records a stored message.
    pub(super) fn note_append(&mut self, subject: &[u8], sequence: u64) {
        for last in self.known.values_mut() {
            if last.filter.matches(subject) {
                last.sequence = sequence;
            }
        }
    }

    /// Records a removed message: a filter whose last message it was is dropped, or searched anew.
    pub(super) fn note_gone(&mut self, sequence: u64) {
        self.known.retain(|_, last| match &mut last.search {
            _ if last.sequence != sequence => true,
            None => false,
            Some(search) => {
                (last.sequence, *search) = (0, Search::default());
                true
            }
        });
    }

    /// Records the removal of all messages.
    pub(super) fn clear(&mut self) {
        for last in self.known.values_mut() {
            (last.sequence, last.search) = (0, None);
        }
    }
}

impl<M: Messages> StreamCore<M> {
    /// Whether the last message that matches is known without a search.
    pub(crate) fn knows_last(&self, filter: &[u8]) -> bool {
        self.lasts.find(filter).is_some()
    }

    /// The sequence of the last message that matches, 0 without one; `None` if that takes a [search](StreamCore::seek_last).
    pub(super) fn last_of(&self, filter: &[u8]) -> Option<u64> {
        if let Some(known) = self.lasts.find(filter) {
            return Some(known);
        }
        let (mut last, mut after) = (0, None);
        let is_all = self.messages.some_subjects(
            &Filter::new(filter),
            &mut after,
            &mut { AT_ONCE },
            &mut |_, known| {
                last = known.last.max(last);
            },
        );
        is_all.then_some(last)
    }

    /// Continues the search for the last message that matches; true when it is known.
    pub(crate) fn seek_last(&mut self, filter: &[u8], budget: &mut usize) -> bool {
        let Self { lasts, messages, .. } = self;
        if !lasts.known.contains_key(filter) {
            let search = Some(Search::default());
            let last = Last { number: lasts.count, filter: Filter::new(filter), sequence: 0, search };
            lasts.count += 1;
            lasts.known.insert(filter.into(), last);
        }
        let Some(last) = lasts.known.get_mut(filter) else { return false };
        let Some(search) = &mut last.search else { return true };
        let is_all = messages.some_subjects(&last.filter, &mut search.after, budget, &mut |_, known| {
            last.sequence = known.last.max(last.sequence);
        });
        if is_all {
            last.search = None;
        }
        is_all
    }

    /// Drops all but the newest filters.
    pub(crate) fn tidy_lasts(&mut self) {
        let count = self.lasts.count;
        self.lasts.known.retain(|_, last| last.number + KEPT >= count);
    }
}
