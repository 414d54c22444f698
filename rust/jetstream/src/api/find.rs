//! Searches for one message, by its subject or behind a sequence. They run in steps, since they may visit very many subjects or
//! messages.

use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, Progress};

use super::long::{Long, STEP};
use super::requests::GetRequest;
use super::{Reply, Request};
use crate::engine::Engine;
use crate::error;
use crate::ids::StreamId;

/// Repetitions of a search for a last message, at most: the message that was found may be gone when the search ends.
const AGAIN_MAX: usize = 4;

/// A request for one message, in progress.
#[derive(Debug)]
pub(super) struct Find {
    stream_id: StreamId,
    search: Search,
    form: Form,
    no_headers: bool,
    is_over: bool,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON, as for `STREAM.MSG.GET`.
    Json,
    /// The message itself, as for direct gets.
    Direct,
}

/// A search for a message.
#[derive(Debug)]
enum Search {
    /// A message whose sequence is known, if there is one.
    Known(Option<u64>),
    /// The last message that matches.
    Last { filter: Filter, after: Option<Vec<u8>>, last: u64, again: usize },
    /// The first message that matches, from `at` on. Messages behind `end` were stored later or do not match.
    Next { filter: Filter, at: u64, end: u64 },
}

impl Search {
    fn new(messages: &impl Messages, asked: &GetRequest) -> Self {
        if !asked.last_for.is_empty() {
            return Self::last(messages, asked.last_for.as_bytes());
        }
        let mut at = asked.sequence;
        if let Some(time) = asked.start_time {
            match messages.at_time(time) {
                Some(sequence) => at = sequence,
                None => return Self::Known(None),
            }
        }
        let subject = asked.next_for.as_bytes();
        if subject.is_empty() {
            return Self::Known(Some(at));
        }
        let mut end = messages.last_sequence();
        if !stonechat_subject::has_wildcard(subject) {
            let Some(known) = messages.subject(subject).filter(|known| known.last >= at) else {
                return Self::Known(None);
            };
            (at, end) = (at.max(known.first), known.last);
        }
        Self::Next { filter: Filter::new(subject), at, end }
    }

    fn last(messages: &impl Messages, subject: &[u8]) -> Self {
        if stonechat_subject::has_wildcard(subject) {
            let filter = Filter::new(subject);
            return Self::Last { filter, after: None, last: 0, again: AGAIN_MAX };
        }
        Self::Known(messages.subject(subject).map(|known| known.last))
    }

    /// Continues the search. When it is done, returns `Some` with the sequence, if there is one.
    fn step(&mut self, messages: &impl Messages, budget: &mut usize) -> Option<Option<u64>> {
        match self {
            Self::Known(sequence) => Some(*sequence),
            Self::Last { filter, after, last, again } => loop {
                let mut note = |_: &[u8], known: stonechat_store::messages::SubjectState| {
                    *last = known.last.max(*last);
                };
                if !messages.some_subjects(filter, after, budget, &mut note) {
                    return None;
                }
                if *last == 0 || messages.contains(*last) || *again == 0 {
                    return Some(Some(*last).filter(|last| *last > 0));
                }
                (*last, *again) = (0, *again - 1);
            },
            Self::Next { filter, at, end } => {
                if *at > *end {
                    return Some(None);
                }
                let from = *at;
                match messages.next_matching(Some(filter), from, *budget) {
                    Progress::Done(found) => {
                        let looked = found.map_or(1, |found| found.saturating_sub(from).saturating_add(1));
                        *budget = budget.saturating_sub(usize::try_from(looked).unwrap_or(usize::MAX));
                        Some(found.filter(|found| found <= end))
                    }
                    Progress::More(next) => {
                        (*at, *budget) = (next, 0);
                        None
                    }
                }
            }
        }
    }
}

impl Find {
    /// Creates the search that a request asks for.
    pub(super) fn new(stream_id: StreamId, messages: &impl Messages, asked: &GetRequest, form: Form) -> Self {
        let search = Search::new(messages, asked);
        Self { stream_id, search, form, no_headers: asked.no_headers, is_over: false }
    }

    /// Creates a search for the last message on a subject, which may have wildcards.
    pub(super) fn last(
        stream_id: StreamId,
        messages: &impl Messages,
        subject: &[u8],
        no_headers: bool,
    ) -> Self {
        let search = Search::last(messages, subject);
        Self { stream_id, search, form: Form::Direct, no_headers, is_over: false }
    }

    /// Whether the sequence is known without a search.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.search, Search::Known(_))
    }

    /// Whether the request was answered.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl<D: Disk> Engine<D> {
    /// Answers a request for one message: at once if that takes few visits, otherwise later.
    pub(super) fn find_message(&mut self, request: &Request<'_>, mut find: Find) -> Option<Reply> {
        let mut budget = STEP;
        let reply = self.go_on_finding(request, &mut find, &mut budget);
        self.requests.spend(STEP - budget);
        if reply.is_none() && !find.is_over {
            self.ask_long(request, Long::Find(Box::new(find)));
        }
        reply
    }

    /// Continues a search; returns the answer when it is done. A direct get is answered here instead.
    pub(super) fn go_on_finding(
        &mut self,
        request: &Request<'_>,
        find: &mut Find,
        budget: &mut usize,
    ) -> Option<Reply> {
        let (stream_id, no_headers) = (find.stream_id, find.no_headers);
        let found = match self.streams.get(&stream_id) {
            Some(stream) => find.search.step(stream.core.messages(), budget)?,
            None => None,
        };
        find.is_over = true;
        if find.form == Form::Json {
            let is_there = self.streams.contains_key(&stream_id);
            let found =
                if is_there { found.ok_or(error::NO_MESSAGE_FOUND) } else { Err(error::STREAM_NOT_FOUND) };
            return Some(self.message_reply(stream_id, found.map_err(|e| e.error()), no_headers));
        }
        match found {
            Some(sequence) => self.direct_message(stream_id, request, sequence, no_headers),
            None => self.direct_status(request, "404 Message Not Found", &[]),
        }
        None
    }
}
