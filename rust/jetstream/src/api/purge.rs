//! Purging streams. What takes out many messages one by one does so in steps, between which everything else goes on.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, Progress};

use super::requests::PurgeRequest;
use super::{Reply, Request, fields};
use crate::engine::Engine;
use crate::error::{self, ApiError};
use crate::stream::Entry;

/// Messages that are looked at in one step; few where it is tested, so that there are several.
const STEP: usize = if cfg!(debug_assertions) { 64 } else { 8192 };

/// A purge on its way.
#[derive(Debug)]
pub(crate) struct Purge {
    group: u32,
    filter_text: String,
    filter: Option<Filter>,
    /// Only messages before this sequence go: those that are published meanwhile stay.
    below: u64,
    /// So many may still go.
    left: u64,
    /// Where to go on.
    at: u64,
    purged: u64,
    asked: Asked,
}

/// Who waits for its answer.
#[derive(Debug)]
struct Asked {
    account: u32,
    subject: Vec<u8>,
    reply: Vec<u8>,
    payload: Vec<u8>,
    client: Value,
}

impl Asked {
    fn new(request: &Request<'_>) -> Self {
        Self {
            account: request.account,
            subject: request.subject.to_vec(),
            reply: request.reply.to_vec(),
            payload: request.payload.to_vec(),
            client: (request.client)(),
        }
    }
}

fn reply_of(result: Result<u64, ApiError>) -> Reply {
    let result = result.map(|purged| fields(json!({"success": true, "purged": purged})));
    Reply::new("stream_purge_response", result).or(json!({"purged": 0}))
}

impl<D: Disk> Engine<D> {
    /// Answers at once if there is little to do, else later.
    pub(super) fn purge_stream(&mut self, name: &str, request: &Request<'_>) -> Option<Reply> {
        match self.begin_purge(name, request) {
            Ok(Some(purged)) => Some(reply_of(Ok(purged))),
            Ok(None) => None,
            Err(e) => Some(reply_of(Err(e))),
        }
    }

    /// How many messages went; `None` if it goes on.
    fn begin_purge(&mut self, name: &str, request: &Request<'_>) -> Result<Option<u64>, ApiError> {
        let wanted = PurgeRequest::decode(request.payload, self.options.strict)?;
        let group = self.find(request.account, name)?;
        let Some(stream) = self.streams.get(&group) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let config = stream.core.config();
        if config.sealed {
            return Err(error::STREAM_SEALED.error());
        }
        if config.deny_purge {
            return Err(error::STREAM_PURGE_FAILED.with("err", "stream purge not permitted"));
        }
        let messages = stream.core.messages();
        let (before, last) = (messages.count(), messages.last_sequence());
        let filter = match wanted.filter.as_str() {
            "" | ">" => None,
            filter => Some(Filter::new(filter.as_bytes())),
        };
        let clears = match (&filter, wanted.keep, wanted.sequence) {
            (None, 0, 0) => Some(0),
            // The next message gets this sequence, though there was none before it.
            (None, _, sequence) if sequence > last => Some(sequence),
            _ => None,
        };
        if let Some(next) = clears {
            // Consumers are told of the whole, not of every message.
            if let Some(stream) = self.streams.get_mut(&group) {
                stream.core.watch_removals(false, u64::MAX);
            }
            let result = self.change(group, &Entry::Clear { next });
            self.end_purge(group, &wanted.filter);
            return result.map(|_| Some(before));
        }
        let matching = filter.as_ref().map_or(before, |filter| messages.count_matching(filter));
        let mut purge = Purge {
            group,
            below: if wanted.sequence > 0 { wanted.sequence.min(last + 1) } else { last + 1 },
            left: matching.saturating_sub(wanted.keep),
            at: filter.as_ref().map_or(0, |filter| first_candidate(messages, filter)),
            filter,
            filter_text: wanted.filter,
            purged: 0,
            asked: Asked::new(request),
        };
        match self.purge_step(&mut purge) {
            Ok(false) => {
                self.purges.push_back(purge);
                Ok(None)
            }
            ended => {
                self.end_purge(group, &purge.filter_text);
                ended.map(|_| Some(purge.purged))
            }
        }
    }

    /// Goes on with a purge, and answers it when it is done.
    pub(crate) fn run_purges(&mut self) {
        let Some(mut purge) = self.purges.pop_front() else { return };
        let result = match self.purge_step(&mut purge) {
            Ok(false) => return self.purges.push_front(purge),
            Ok(true) => Ok(purge.purged),
            Err(e) => Err(e),
        };
        self.end_purge(purge.group, &purge.filter_text);
        let Asked { account, subject, reply, payload, client } = &purge.asked;
        let client = || client.clone();
        let (account, headers) = (*account, &b""[..]);
        let request = Request { account, subject, reply, headers, payload, client: &client };
        self.answer(&request, reply_of(result));
    }

    /// Tells consumers that messages went.
    fn end_purge(&mut self, group: u32, filter: &str) {
        self.purge_consumers(group, Some(filter).filter(|filter| !filter.is_empty()));
        self.watch_removals(group);
    }

    /// Takes out some messages; true if that was all.
    fn purge_step(&mut self, purge: &mut Purge) -> Result<bool, ApiError> {
        let Some(stream) = self.streams.get(&purge.group) else {
            return Err(error::STREAM_NOT_FOUND.error());
        };
        let messages = stream.core.messages();
        let (mut sequences, mut looked, mut is_over) = (Vec::new(), 0, false);
        while looked < STEP && !is_over {
            if sequences.len() as u64 == purge.left {
                is_over = true;
                break;
            }
            match messages.next_matching(purge.filter.as_ref(), purge.at, STEP - looked) {
                Progress::Done(Some(sequence)) if sequence < purge.below => {
                    looked += 1 + usize::try_from(sequence - purge.at.min(sequence)).unwrap_or(0);
                    sequences.push(sequence);
                    purge.at = sequence + 1;
                }
                Progress::More(next) if next < purge.below => (purge.at, looked) = (next, STEP),
                _ => is_over = true,
            }
        }
        purge.left -= sequences.len() as u64;
        purge.purged += sequences.len() as u64;
        if !sequences.is_empty() {
            self.change(purge.group, &Entry::Remove { sequences: &sequences })?;
        }
        Ok(is_over)
    }
}

/// Before this sequence no message matches.
fn first_candidate(messages: &impl Messages, filter: &Filter) -> u64 {
    let mut first = u64::MAX;
    let _ = messages.subjects(filter, None, &mut |_, known| {
        first = first.min(known.first);
        std::ops::ControlFlow::Continue(())
    });
    first
}
