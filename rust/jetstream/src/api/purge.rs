//! Purging streams.

use serde_json::json;
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, Progress};

use super::requests::PurgeRequest;
use super::{Answer, Reply, fields};
use crate::engine::Engine;
use crate::error::{self, ApiError};
use crate::stream::Entry;

/// Messages that are taken out in one step.
const STEP: usize = 4096;

impl<D: Disk> Engine<D> {
    pub(super) fn purge_stream(&mut self, account: u32, name: &str, payload: &[u8]) -> Reply {
        let result = self.try_purge(account, name, payload);
        Reply::new("stream_purge_response", result).or(json!({"purged": 0}))
    }

    fn try_purge(&mut self, account: u32, name: &str, payload: &[u8]) -> Result<Answer, ApiError> {
        let request = PurgeRequest::decode(payload, self.options.strict)?;
        let group = self.find(account, name)?;
        let Some(stream) = self.streams.get(&group) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let config = stream.core.config();
        if config.sealed {
            return Err(error::STREAM_SEALED.error());
        }
        if config.deny_purge {
            return Err(error::STREAM_PURGE_FAILED.with("err", "stream purge not permitted"));
        }
        let before = stream.core.messages().count();
        // Consumers are told of the whole, not of every message.
        if let Some(stream) = self.streams.get_mut(&group) {
            stream.core.watch_removals(false, u64::MAX);
        }
        let result = self.purge(group, &request);
        let filter = Some(request.filter.as_str()).filter(|filter| !filter.is_empty());
        self.purge_consumers(group, filter);
        self.watch_removals(group);
        result?;
        let after = self.streams.get(&group).map_or(0, |stream| stream.core.messages().count());
        Ok(fields(json!({"success": true, "purged": before - after})))
    }

    fn purge(&mut self, group: u32, request: &PurgeRequest) -> Result<(), ApiError> {
        let Some(stream) = self.streams.get(&group) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let filter = match request.filter.as_str() {
            "" | ">" => None,
            filter => Some(Filter::new(filter.as_bytes())),
        };
        if filter.is_none() && request.keep == 0 && request.sequence == 0 {
            self.change(group, &Entry::Clear { next: 0 })?;
        } else if filter.is_none() && request.sequence > stream.core.messages().state().last_sequence {
            // The next message gets this sequence, though there was none before it.
            self.change(group, &Entry::Clear { next: request.sequence })?;
        } else {
            self.purge_matching(group, filter.as_ref(), request)?;
        }
        Ok(())
    }

    fn purge_matching(
        &mut self,
        group: u32,
        filter: Option<&Filter>,
        request: &PurgeRequest,
    ) -> Result<(), ApiError> {
        let below = if request.sequence > 0 { request.sequence } else { u64::MAX };
        let mut left = match self.streams.get(&group) {
            Some(stream) if request.keep > 0 => {
                let messages = stream.core.messages();
                let matching = filter.map_or(messages.count(), |filter| messages.count_matching(filter));
                matching.saturating_sub(request.keep)
            }
            _ => u64::MAX,
        };
        let mut at = 0;
        let mut sequences = Vec::new();
        while left > 0 {
            let Some(stream) = self.streams.get(&group) else { break };
            let messages = stream.core.messages();
            sequences.clear();
            let mut is_over = true;
            while sequences.len() < STEP && (sequences.len() as u64) < left {
                match messages.next_matching(filter, at, STEP) {
                    Progress::Done(Some(sequence)) if sequence < below => {
                        sequences.push(sequence);
                        at = sequence + 1;
                        is_over = false;
                    }
                    Progress::More(next) if next < below => at = next,
                    _ => {
                        is_over = true;
                        break;
                    }
                }
            }
            left -= sequences.len() as u64;
            if !sequences.is_empty() {
                self.change(group, &Entry::Remove { sequences: &sequences })?;
            }
            if is_over {
                break;
            }
        }
        Ok(())
    }
}
