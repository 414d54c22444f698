//! The last messages on subjects with wildcards that publishers expect something of: they are looked for in steps, and known from then
//! on while messages come and go.

use hashbrown::HashMap;
use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;

use super::core::StreamCore;

/// So many are known for longer than somebody waits for them.
const KEPT: usize = 4;
/// So many places of the index are looked at for a message at once; few where it is tested, so that it has to wait.
const AT_ONCE: usize = if cfg!(debug_assertions) { 32 } else { 1024 };

/// What is known of them, by their subjects.
#[derive(Debug, Default)]
pub(super) struct Lasts {
    known: HashMap<Box<[u8]>, Last>,
    /// How many there were so far.
    count: usize,
}

#[derive(Debug)]
struct Last {
    /// How many came before.
    number: usize,
    filter: Filter,
    /// The last message that matches; 0 for none.
    sequence: u64,
    /// While it is looked for.
    search: Option<Search>,
}

/// The subject behind which it goes on.
#[derive(Debug, Default)]
struct Search {
    after: Option<Vec<u8>>,
}

impl Lasts {
    fn find(&self, filter: &[u8]) -> Option<u64> {
        let last = self.known.get(filter)?;
        last.search.is_none().then_some(last.sequence)
    }

    /// A message was stored.
    pub(super) fn note_append(&mut self, subject: &[u8], sequence: u64) {
        for last in self.known.values_mut() {
            if last.filter.matches(subject) {
                last.sequence = sequence;
            }
        }
    }

    /// A message goes.
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

    /// All are gone.
    pub(super) fn clear(&mut self) {
        for last in self.known.values_mut() {
            (last.sequence, last.search) = (0, None);
        }
    }
}

impl<M: Messages> StreamCore<M> {
    /// Whether the last message that matches is known without a look at the stream.
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

    /// Looks for the last message that matches; true when it is known.
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

    /// Forgets all but the newest of what is known of last messages.
    pub(crate) fn tidy_lasts(&mut self) {
        let count = self.lasts.count;
        self.lasts.known.retain(|_, last| last.number + KEPT >= count);
    }
}
