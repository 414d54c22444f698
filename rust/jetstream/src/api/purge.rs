//! Purges of streams. A purge that removes many messages one by one runs in steps, between which all other work continues.

use serde_json::json;
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, Progress, SubjectState};

use super::long::{Long, STEP};
use super::requests::PurgeRequest;
use super::{Reply, Request, fields};
use crate::engine::{Engine, Stream};
use crate::error::{self, ApiError};
use crate::ids::StreamId;
use crate::stream::Entry;

/// Cost of removing a message.
const REMOVAL: usize = 8;

/// Bytes of a sequence in the log, at most.
const SEQUENCE_LEN: usize = 10;
/// Bytes that the log must have left for a purge on a full disk, at most: checkpoints make room meanwhile.
const PURGE_LEN_MAX: usize = 256 << 10;

/// A purge in progress.
#[derive(Debug)]
pub(crate) struct Purge {
    stream_id: StreamId,
    filter_text: String,
    filter: Option<Filter>,
    /// Only messages before this sequence are removed: those that are published meanwhile stay.
    below: u64,
    /// Number of messages that may still be removed.
    left: u64,
    stage: Stage,
    /// The sequence to continue at.
    at: u64,
    purged: u64,
}

/// The progress of a purge.
#[derive(Debug)]
enum Stage {
    /// Counts the matching messages, of which `keep` may stay. The subjects up to `after` are counted.
    Count { keep: u64, after: Option<Vec<u8>> },
    /// Removes them.
    Remove,
    /// Finds the first matching message that is left, by its subject. It is not before `first`, and before `end` if there is one
    /// at all.
    RestOfSubjects { first: u64, end: u64, after: Option<Vec<u8>> },
    /// Finds it among the messages from `at` on.
    Rest { at: u64, end: u64 },
    /// All is done. The matching messages that are left begin at `first`, if that is known.
    Done { first: Option<u64> },
}

fn reply_of(result: Result<u64, ApiError>) -> Reply {
    let result = result.map(|purged| fields(json!({"success": true, "purged": purged})));
    Reply::new("stream_purge_response", result).or(json!({"purged": 0}))
}

impl<D: Disk> Engine<D> {
    /// Purges a stream. Answers at once if there is little to do, otherwise later.
    pub(super) fn purge_stream(
        &mut self,
        name: &str,
        request: &Request<'_>,
        asked: Result<PurgeRequest, ApiError>,
    ) -> Option<Reply> {
        match asked.and_then(|asked| self.begin_purge(name, request, asked)) {
            Ok(Some(purged)) => Some(reply_of(Ok(purged))),
            Ok(None) => None,
            Err(e) => Some(reply_of(Err(e))),
        }
    }

    /// Begins a purge. Returns the number of removed messages, or `None` if the purge continues later.
    fn begin_purge(
        &mut self,
        name: &str,
        request: &Request<'_>,
        wanted: PurgeRequest,
    ) -> Result<Option<u64>, ApiError> {
        let stream_id = self.find(request.account, name)?;
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
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
            // The next message gets this sequence, even if the stream never had the one before it.
            (None, _, sequence) if sequence > last => Some(sequence),
            _ => None,
        };
        if let Some(next) = clears {
            return self.change(stream_id, &Entry::Clear { next }).map(|_| Some(before));
        }
        let mut purge = Purge {
            stream_id,
            below: if wanted.sequence > 0 { wanted.sequence.min(last + 1) } else { last + 1 },
            left: if filter.is_some() { 0 } else { before.saturating_sub(wanted.keep) },
            at: if filter.is_some() { u64::MAX } else { 0 },
            stage: match filter {
                Some(_) => Stage::Count { keep: wanted.keep, after: None },
                None => Stage::Remove,
            },
            filter,
            filter_text: wanted.filter,
            purged: 0,
        };
        let mut budget = STEP;
        let ended = self.purge_steps(&mut purge, &mut budget);
        self.requests.spend(STEP - budget);
        match ended {
            Ok(false) => {
                self.ask_long(request, Long::Purge(purge));
                Ok(None)
            }
            ended => {
                self.pass_purged(stream_id, &purge.filter_text, purge.rest());
                ended.map(|_| Some(purge.purged))
            }
        }
    }

    /// Continues a purge; returns the answer when it is done.
    pub(super) fn go_on_purging(&mut self, purge: &mut Purge, budget: &mut usize) -> Option<Reply> {
        let result = match self.purge_steps(purge, budget) {
            Ok(false) => return None,
            Ok(true) => Ok(purge.purged),
            Err(e) => Err(e),
        };
        self.pass_purged(purge.stream_id, &purge.filter_text, purge.rest());
        Some(reply_of(result))
    }

    /// Counts messages, removes them, and finds the first one that is left. True when all is done.
    fn purge_steps(&mut self, purge: &mut Purge, budget: &mut usize) -> Result<bool, ApiError> {
        loop {
            let Some(stream) = self.streams.get(&purge.stream_id) else {
                return Err(error::STREAM_NOT_FOUND.error());
            };
            match purge.stage {
                Stage::Done { .. } => return Ok(true),
                _ if *budget == 0 => return Ok(false),
                Stage::Remove => self.purge_some(purge, budget)?,
                _ => purge.look(stream.core.messages(), budget),
            }
        }
    }

    /// Refuses to remove `count` messages if the log has no room for that. The first time, it must have room for all that are to
    /// go.
    fn check_purge(&mut self, purge: &Purge, is_first: bool, count: usize) -> Result<(), ApiError> {
        let is_logged = self.streams.get(&purge.stream_id).is_some_and(Stream::is_logged);
        if self.refuses.is_none() || !is_logged {
            return Ok(());
        }
        let later = if is_first { purge.left.min(purge.below) } else { 0 };
        let len =
            usize::try_from(later).unwrap_or(usize::MAX).saturating_add(count).saturating_mul(SEQUENCE_LEN);
        self.check_change(true, len.min(PURGE_LEN_MAX))
    }

    /// Removes some messages.
    fn purge_some(&mut self, purge: &mut Purge, budget: &mut usize) -> Result<(), ApiError> {
        let Some(stream) = self.streams.get(&purge.stream_id) else {
            return Err(error::STREAM_NOT_FOUND.error());
        };
        let messages = stream.core.messages();
        // Each removal is reported to all consumers that receive the stream's changes.
        let cost = REMOVAL + stream.told() / 4;
        let (mut sequences, mut is_over) = (Vec::new(), false);
        while *budget > 0 && !is_over {
            if sequences.len() as u64 == purge.left {
                is_over = true;
                break;
            }
            match messages.next_matching(purge.filter.as_ref(), purge.at, *budget) {
                Progress::Done(Some(sequence)) if sequence < purge.below => {
                    let looked = usize::try_from(sequence - purge.at.min(sequence)).unwrap_or(usize::MAX);
                    *budget = budget.saturating_sub(looked.saturating_add(cost));
                    sequences.push(sequence);
                    purge.at = sequence + 1;
                }
                Progress::More(next) if next < purge.below => (purge.at, *budget) = (next, 0),
                _ => is_over = true,
            }
        }
        if is_over {
            let end = messages.last_sequence() + 1;
            purge.stage = match purge.filter {
                Some(_) => Stage::RestOfSubjects { first: end, end, after: None },
                None => Stage::Done { first: None },
            };
        }
        let is_first = purge.purged == 0;
        purge.left -= sequences.len() as u64;
        purge.purged += sequences.len() as u64;
        if !sequences.is_empty() {
            self.check_purge(purge, is_first, sequences.len())?;
            self.change(purge.stream_id, &Entry::Remove { sequences: &sequences })?;
        }
        Ok(())
    }
}

impl Purge {
    /// The sequence at which the matching messages begin that are left, if it is known.
    fn rest(&self) -> Option<u64> {
        match self.stage {
            Stage::Done { first } => first,
            _ => None,
        }
    }

    /// Continues with some subjects or messages.
    fn look(&mut self, messages: &impl Messages, budget: &mut usize) {
        let Some(filter) = &self.filter else { return self.stage = Stage::Done { first: None } };
        match &mut self.stage {
            Stage::Count { keep, after } => {
                let is_all = messages.some_subjects(filter, after, budget, &mut |_, known| {
                    self.left += known.count;
                    self.at = self.at.min(known.first);
                });
                if is_all {
                    self.left = self.left.saturating_sub(*keep);
                    self.stage = Stage::Remove;
                }
            }
            Stage::RestOfSubjects { first, end, after } => {
                let mut note = |_: &[u8], known: SubjectState| *first = known.first.min(*first);
                if messages.some_subjects(filter, after, budget, &mut note) {
                    self.stage = Stage::Rest { at: *first, end: *end };
                }
            }
            Stage::Rest { at, end } => {
                // Messages that were stored meanwhile come behind all others.
                let end = *end;
                let first = match messages.next_matching(Some(filter), *at, *budget) {
                    _ if *at >= end => end,
                    Progress::More(next) => return (*at, *budget) = (next, 0),
                    Progress::Done(found) => found.map_or(end, |found| found.min(end)),
                };
                *budget = budget.saturating_sub(usize::try_from(first - *at).unwrap_or(usize::MAX));
                self.stage = Stage::Done { first: Some(first) };
            }
            Stage::Remove | Stage::Done { .. } => {}
        }
    }
}
