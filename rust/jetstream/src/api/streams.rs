//! Limits of streams, answers about them, and requests that delete them.

use serde_json::json;
use stonechat_store::disk::Disk;

use super::configure::Changes;
use super::long::{Long, STEP};
use super::{Answer, Reply, Request, fields};
use crate::engine::{Engine, Stream};
use crate::error::{self, ApiError};
use crate::ids::{AccountId, ConsumerId, StreamId};
use crate::stream::{Storage, StreamConfig};
use crate::time::rfc3339;

const DELETED: &str = "stream_delete_response";
/// Consumers that are deleted in one step.
const CONSUMERS: usize = if cfg!(debug_assertions) { 16 } else { 256 };

/// A deletion of a stream, in progress.
#[derive(Debug)]
pub(super) struct Delete {
    stream_id: StreamId,
    name: String,
    /// The ends of its subscriptions, after the stream itself was deleted.
    changes: Option<Changes>,
}

impl<D: Disk> Engine<D> {
    /// Checks a configuration against the limits of the account and the server. `old` is the configuration that it replaces: its
    /// bytes are reserved already.
    pub(crate) fn check_limits(
        &self,
        account: AccountId,
        config: &StreamConfig,
        old: Option<&StreamConfig>,
    ) -> Result<(), ApiError> {
        if config.num_replicas > 1 {
            return Err(error::STREAM_REPLICAS_NOT_SUPPORTED.error());
        }
        let Some(account) = self.accounts.get(account.index()) else { return Ok(()) };
        let limits = account.limits.unwrap_or_default();
        if old.is_none() && limits.max_streams >= 0 && account.streams.len() as i64 >= limits.max_streams {
            return Err(error::MAXIMUM_STREAMS_LIMIT.error());
        }
        if limits.max_bytes_required && config.max_bytes <= 0 {
            return Err(error::STREAM_MAX_BYTES_REQUIRED.error());
        }
        let is_file = config.storage == Storage::File;
        let of_stream =
            if is_file { limits.storage_max_stream_bytes } else { limits.memory_max_stream_bytes };
        if of_stream > 0 && config.max_bytes > of_stream {
            return Err(error::STREAM_MAX_STREAM_BYTES_EXCEEDED.error());
        }
        let wanted = config.max_bytes.max(0).saturating_sub(old.map_or(0, |old| old.max_bytes.max(0)));
        if wanted <= 0 {
            return Ok(());
        }
        let reserved = |streams: &mut dyn Iterator<Item = &Stream<D>>| -> i64 {
            streams.filter(|s| s.is_logged() == is_file).map(|s| s.core.config().max_bytes.max(0)).sum()
        };
        let of_account = if is_file { limits.max_storage } else { limits.max_memory };
        let mut own = account.streams.values().filter_map(|stream_id| self.streams.get(stream_id));
        if of_account >= 0 && reserved(&mut own).saturating_add(wanted) > of_account {
            return Err(match is_file {
                true => error::STORAGE_RESOURCES_EXCEEDED.error(),
                false => error::MEMORY_RESOURCES_EXCEEDED.error(),
            });
        }
        let of_server = if is_file { self.options.max_storage } else { self.options.max_memory };
        if of_server >= 0 && reserved(&mut self.streams.values()).saturating_add(wanted) > of_server {
            return Err(match is_file {
                true => error::STORAGE_RESOURCES_EXCEEDED.error(),
                false => error::MEMORY_RESOURCES_EXCEEDED.error(),
            });
        }
        Ok(())
    }

    /// The answer about a stream that was created or changed.
    pub(super) fn configured(&self, stream_id: StreamId, is_created: bool) -> Answer {
        let Some(stream) = self.streams.get(&stream_id) else { return Answer::new() };
        let mut answer = self.describe(stream, true);
        answer.insert("ts".to_owned(), rfc3339(self.now).into());
        if is_created {
            answer.insert("did_create".to_owned(), true.into());
        }
        answer
    }

    /// Checks that the consumers are within limits for them that change.
    pub(super) fn check_consumers(
        &self,
        stream_id: StreamId,
        old: &StreamConfig,
        config: &StreamConfig,
    ) -> Result<(), ApiError> {
        let (old, new) = (&old.consumer_limits, &config.consumer_limits);
        let has_changed = |old: i64, new: i64| new > 0 && old != new;
        if !has_changed(old.inactive_threshold, new.inactive_threshold)
            && !has_changed(old.max_ack_pending, new.max_ack_pending)
        {
            return Ok(());
        }
        let exceeds = |used: i64, limit: i64| limit > 0 && used > limit;
        let consumers = self.streams.get(&stream_id).into_iter().flat_map(|stream| &stream.consumers);
        let beyond: Vec<&str> = consumers
            .filter(|(_, id)| {
                self.consumers.get(*id).is_some_and(|consumer| {
                    let c = consumer.config();
                    exceeds(c.inactive_threshold, new.inactive_threshold)
                        || exceeds(c.max_ack_pending, new.max_ack_pending)
                })
            })
            .map(|(name, _)| name.as_str())
            .collect();
        match beyond.is_empty() {
            true => Ok(()),
            false => {
                let names = beyond.join(", ");
                Err(error::STREAM_UPDATE
                    .with("err", format_args!("change to limits violates consumers: {names}")))
            }
        }
    }

    /// Deletes a stream. Answers at once if it has few consumers and few subscriptions, otherwise later.
    pub(super) fn delete_stream(
        &mut self,
        name: &str,
        request: &Request<'_>,
        is_empty: bool,
    ) -> Option<Reply> {
        let found = match is_empty {
            true => self.find(request.account, name),
            false => Err(error::NOT_EMPTY_REQUEST.error()),
        };
        let mut delete = match found {
            Ok(stream_id) => Delete { stream_id, name: name.to_owned(), changes: None },
            Err(e) => return Some(Reply::new(DELETED, Err(e))),
        };
        let mut budget = STEP;
        let reply = self.go_on_deleting(request.account, &mut delete, &mut budget);
        self.requests.spend(STEP - budget);
        if reply.is_none() {
            self.ask_long(request, Long::Delete(Box::new(delete)));
        }
        reply
    }

    /// Continues a deletion; returns the answer when the stream and its subscriptions are gone.
    pub(super) fn go_on_deleting(
        &mut self,
        account: AccountId,
        delete: &mut Delete,
        budget: &mut usize,
    ) -> Option<Reply> {
        if delete.changes.is_none() && !self.delete_some_consumers(delete.stream_id) {
            *budget = 0;
            return None;
        }
        let changes = match delete.changes.take() {
            Some(changes) => delete.changes.insert(changes),
            None => match self.try_delete(account, delete) {
                Ok(changes) => delete.changes.insert(changes),
                Err(e) => return Some(Reply::new(DELETED, Err(e))),
            },
        };
        changes.step(self, budget).then(|| Reply::new(DELETED, Ok(fields(json!({"success": true})))))
    }

    /// Deletes some consumers of a stream that has very many. True if few are left, which are deleted with the stream.
    fn delete_some_consumers(&mut self, stream_id: StreamId) -> bool {
        let Some(stream) = self.streams.get(&stream_id) else { return true };
        if stream.consumers.len() <= CONSUMERS {
            return true;
        }
        let ids: Vec<ConsumerId> = stream.consumers.values().take(CONSUMERS).copied().collect();
        ids.into_iter().for_each(|id| self.delete_consumer_with_stream(id));
        false
    }

    fn try_delete(&mut self, account: AccountId, delete: &Delete) -> Result<Changes, ApiError> {
        let Delete { stream_id, ref name, .. } = *delete;
        // Another request may have deleted the stream by now.
        if self.find(account, name)? != stream_id {
            return Err(error::STREAM_NOT_FOUND.error());
        }
        let consumers: Vec<ConsumerId> = self
            .streams
            .get(&stream_id)
            .map_or(Vec::new(), |stream| stream.consumers.values().copied().collect());
        consumers.into_iter().for_each(|id| self.advise_action(id, "DELETED", "delete"));
        let changes = Changes::ends(self.interests(stream_id));
        self.delete(stream_id);
        let fields = fields(json!({"stream": name, "action": "delete"}));
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.DELETED.{name}");
        self.advise(account, &subject, "advisory.v1.stream_action", fields);
        Ok(changes)
    }
}
