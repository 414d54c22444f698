//! Purging streams. What takes out many messages one by one does so in steps, between which everything else goes on.

use serde_json::json;
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, Progress};

use super::long::{Long, STEP, some_subjects};
use super::requests::PurgeRequest;
use super::{Reply, Request, fields};
use crate::engine::Engine;
use crate::error::{self, ApiError};
use crate::stream::Entry;

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
    /// While the matching messages are counted: so many may stay.
    counting: Option<Counting>,
    /// Where to go on.
    at: u64,
    purged: u64,
}

/// How far the subjects of the messages were looked at.
#[derive(Debug)]
struct Counting {
    keep: u64,
    after: Option<Vec<u8>>,
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
            return self.change(group, &Entry::Clear { next }).map(|_| Some(before));
        }
        let mut purge = Purge {
            group,
            below: if wanted.sequence > 0 { wanted.sequence.min(last + 1) } else { last + 1 },
            left: if filter.is_some() { 0 } else { before.saturating_sub(wanted.keep) },
            at: if filter.is_some() { u64::MAX } else { 0 },
            counting: filter.as_ref().map(|_| Counting { keep: wanted.keep, after: None }),
            filter,
            filter_text: wanted.filter,
            purged: 0,
        };
        match self.purge_step(&mut purge) {
            Ok(false) => {
                self.ask_long(request, Long::Purge(purge));
                Ok(None)
            }
            ended => {
                self.pass_purged(group, &purge.filter_text);
                ended.map(|_| Some(purge.purged))
            }
        }
    }

    /// Goes on with a purge; the answer when it is done.
    pub(super) fn go_on_purging(&mut self, purge: &mut Purge) -> Option<Reply> {
        let result = match self.purge_step(purge) {
            Ok(false) => return None,
            Ok(true) => Ok(purge.purged),
            Err(e) => Err(e),
        };
        self.pass_purged(purge.group, &purge.filter_text);
        Some(reply_of(result))
    }

    /// Counts or takes out some messages; true if that was all.
    fn purge_step(&mut self, purge: &mut Purge) -> Result<bool, ApiError> {
        let Some(stream) = self.streams.get(&purge.group) else {
            return Err(error::STREAM_NOT_FOUND.error());
        };
        let messages = stream.core.messages();
        if !purge.count(messages) {
            return Ok(false);
        }
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

impl Purge {
    /// Counts what matches, and finds where that begins, by some subjects more; true if that is done.
    fn count(&mut self, messages: &impl Messages) -> bool {
        let (Some(counting), Some(filter)) = (&mut self.counting, &self.filter) else { return true };
        let is_all = some_subjects(messages, filter, &mut counting.after, |_, known| {
            self.left += known.count;
            self.at = self.at.min(known.first);
        });
        if is_all {
            self.left = self.left.saturating_sub(counting.keep);
            self.counting = None;
        }
        self.counting.is_none()
    }
}
