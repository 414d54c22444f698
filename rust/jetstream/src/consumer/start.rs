//! Where a new consumer begins: that may take a look at very many subjects, so it is found in steps, between which messages come and go.

use roaring::RoaringTreemap;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, State};

use super::config::{ConsumerConfig, DeliverPolicy};

/// A look for the last messages on the subjects that a consumer wants.
///
/// A subject on which a message comes meanwhile begins with that one: the consumer is as one that was created when the look was at this
/// subject, and each subject's last message is delivered, with all behind it.
#[derive(Debug)]
pub(crate) struct StartSearch {
    filters: Vec<Filter>,
    /// The filter that is looked at, and the subject behind which it goes on.
    filter: usize,
    after: Option<Vec<u8>>,
    is_each: bool,
    start: Start,
}

/// Where a consumer begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Start {
    /// At this sequence, if there is one.
    last: u64,
    /// These come before all others.
    pub(crate) firsts: RoaringTreemap,
    /// They are the last ones on their subjects up to here.
    pub(crate) end: u64,
}

impl StartSearch {
    /// A look at what a consumer with this configuration begins with; `None` if that needs none. `per_subject`: what a subject may hold.
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

    /// Goes on; true when it is done.
    pub(crate) fn step(&mut self, messages: &impl Messages, budget: &mut usize) -> bool {
        let Self { filters, filter, after, is_each, start } = self;
        while let Some(wanted) = filters.get(*filter) {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let is_all = messages.some_subjects(wanted, after, budget, &mut |_, known| {
                start.last = start.last.max(known.last);
                // What came meanwhile is delivered as new.
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

    /// What was found.
    pub(crate) fn found(self) -> Start {
        self.start
    }
}

impl Start {
    /// The sequence at which a consumer with this configuration begins in a stream in this state.
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
