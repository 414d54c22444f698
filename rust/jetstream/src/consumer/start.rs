//! The start position of a new consumer. It may depend on very many subjects, so it is searched in steps, between which messages
//! are stored and removed.

use roaring::RoaringTreemap;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, State};

use super::config::{ConsumerConfig, DeliverPolicy};

/// A search for the last messages on the subjects of a consumer's filters.
///
/// A subject on which a message is stored during the search may begin with that message. For each subject, the consumer behaves
/// as if it was created when the search reached the subject: the subject's last message is delivered, with all behind it.
#[derive(Debug)]
pub(crate) struct StartSearch {
    filters: Vec<Filter>,
    /// Position of the filter that is searched, and the subject behind which the search continues.
    filter: usize,
    after: Option<Vec<u8>>,
    is_each: bool,
    start: Start,
}

/// The start position of a consumer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Start {
    /// The sequence of the last matching message; 0 for none.
    last: u64,
    /// The last messages of subjects, which are delivered before all others.
    pub(crate) firsts: RoaringTreemap,
    /// The sequence up to which `firsts` are the last messages of their subjects.
    pub(crate) end: u64,
}

impl StartSearch {
    /// Creates the search for a consumer with this configuration; `None` if it needs none. `per_subject` is the stream's
    /// `max_msgs_per_subject`.
    pub(crate) fn new(config: &ConsumerConfig, per_subject: i64, state: &State) -> Option<Self> {
        let filters = config.filters();
        let is_each = config.deliver_policy == DeliverPolicy::LastPerSubject && per_subject != 1;
        let is_last = config.deliver_policy == DeliverPolicy::Last && !filters.is_empty();
        (is_each || is_last).then(|| Self {
            filters: filters.iter().map(|filter| Filter::new(filter.as_bytes())).collect(),
            filter: 0,
            after: None,
            is_each,
            start: Start { end: state.last_sequence, ..Start::default() },
        })
    }

    /// Continues the search; true when it is done.
    pub(crate) fn step(&mut self, messages: &impl Messages, budget: &mut usize) -> bool {
        let Self { filters, filter, after, is_each, start } = self;
        while let Some(wanted) = filters.get(*filter) {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let is_all = messages.some_subjects(wanted, after, budget, &mut |_, known| {
                start.last = start.last.max(known.last);
                // A message that was stored during the search is delivered as a new one.
                if *is_each && known.last <= start.end {
                    start.firsts.insert(known.last);
                }
            });
            if is_all {
                *filter += 1;
            }
        }
        true
    }

    /// The result of the search.
    pub(crate) fn found(self) -> Start {
        self.start
    }
}

impl Start {
    /// Returns the sequence at which a consumer with this configuration begins, in a stream in this state.
    pub(crate) fn sequence(
        &self,
        config: &ConsumerConfig,
        per_subject: i64,
        messages: &impl Messages,
        state: &State,
    ) -> u64 {
        let mut is_given = false;
        let start = match config.deliver_policy {
            DeliverPolicy::All => state.first_sequence,
            DeliverPolicy::Last if config.filters().is_empty() => state.last_sequence,
            DeliverPolicy::Last => self.last,
            DeliverPolicy::New => state.last_sequence + 1,
            DeliverPolicy::LastPerSubject if per_subject == 1 => state.first_sequence,
            DeliverPolicy::LastPerSubject => self.firsts.min().unwrap_or(self.end),
            DeliverPolicy::ByStartSequence => {
                is_given = true;
                config.opt_start_seq
            }
            DeliverPolicy::ByStartTime => {
                messages.at_time(config.opt_start_time.unwrap_or(0)).unwrap_or(state.last_sequence + 1)
            }
        };
        let start = if state.first_sequence == 0 && !is_given {
            1
        } else if start > state.last_sequence && !is_given {
            state.last_sequence + 1
        } else {
            start.max(state.first_sequence)
        };
        start.max(1)
    }
}
