//! Requests about consumers that exist: info, lists, pauses, unpinning, resets and deletions.

use serde_json::json;
use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::consume::stamp;
use super::describe::Describe;
use super::long::{Long, Settle};
use super::requests::{GroupRequest, PauseRequest, ResetRequest};
use super::{Answer, Reply, Request, fields};
use crate::consumer::DeliverPolicy;
use crate::engine::Engine;
use crate::error::{self, ApiError};
use crate::ids::{AccountId, ConsumerId, StreamId};
use crate::time::rfc3339;

const NAMES_MAX: usize = 1024;
const LIST_MAX: usize = 256;
/// How far beyond the last message of its stream a consumer may be reset, in sequences; nats-server 2.15 has no limit.
const RESET_AHEAD_MAX: u64 = 1_000_000;

impl<D: Disk> Engine<D> {
    fn consumer(&self, account: AccountId, stream: &str, name: &str) -> Result<ConsumerId, ApiError> {
        let stream_id = self.find(account, stream)?;
        self.find_consumer(stream_id, name).ok_or_else(|| error::CONSUMER_NOT_FOUND.error())
    }

    pub(super) fn consumer_info(
        &mut self,
        stream: &str,
        name: &str,
        request: &Request<'_>,
        is_empty: bool,
    ) -> Option<Reply> {
        const KIND: &str = "consumer_info_response";
        let found = match is_empty {
            true => self.consumer(request.account, stream, name),
            false => Err(error::NOT_EMPTY_REQUEST.error()),
        };
        match found {
            Ok(id) => self.describe_all(request, Describe::one(KIND, id)),
            Err(e) => Some(Reply::new(KIND, Err(e))),
        }
    }

    pub(super) fn consumer_delete(
        &mut self,
        stream: &str,
        name: &str,
        request: &Request<'_>,
        is_empty: bool,
    ) -> Option<Reply> {
        const KIND: &str = "consumer_delete_response";
        let found = match is_empty {
            true => self.consumer(request.account, stream, name),
            false => Err(error::NOT_EMPTY_REQUEST.error()),
        };
        let id = match found {
            Ok(id) => id,
            Err(e) => return Some(Reply::new(KIND, Err(e))),
        };
        let stream_id = self.consumers.get(&id)?.stream;
        self.delete_consumer(id, true);
        let mut settle = Settle { kind: KIND, stream_id };
        let reply = self.go_on_settling(&mut settle, &mut 0);
        if reply.is_none() {
            self.ask_long(request, Long::Settle(settle));
        }
        reply
    }

    pub(super) fn consumer_names(
        &mut self,
        account: AccountId,
        stream: &str,
        asked: Result<i64, ApiError>,
    ) -> Reply {
        let mut looked = 0;
        let names = || {
            let offset = asked?;
            let stream_id = self.find(account, stream)?;
            let names: Vec<&String> = self.listed(stream_id).into_iter().map(|(name, _)| name).collect();
            looked = names.len();
            let offset = offset.clamp(0, names.len() as i64) as usize;
            let page: Vec<&&String> = names.iter().skip(offset).take(NAMES_MAX).collect();
            Ok(fields(json!({"total": names.len(), "offset": offset, "limit": NAMES_MAX, "consumers": page})))
        };
        let result = names();
        self.requests.spend(looked);
        Reply::new("consumer_names_response", result)
            .or(json!({"total": 0, "offset": 0, "limit": 0, "consumers": []}))
    }

    pub(super) fn consumer_list(
        &mut self,
        stream: &str,
        request: &Request<'_>,
        asked: Result<i64, ApiError>,
    ) -> Option<Reply> {
        const KIND: &str = "consumer_list_response";
        let begun = asked.and_then(|offset| Ok((offset, self.find(request.account, stream)?)));
        let (offset, stream_id) = match begun {
            Ok(begun) => begun,
            Err(e) => {
                let none = json!({"total": 0, "offset": 0, "limit": 0, "consumers": []});
                return Some(Reply::new(KIND, Err(e)).or(none));
            }
        };
        let listed = self.listed(stream_id);
        let total = listed.len();
        let offset = offset.clamp(0, total as i64) as usize;
        let ids = listed.into_iter().skip(offset).take(LIST_MAX).map(|(_, id)| id).collect();
        self.requests.spend(total);
        self.describe_all(request, Describe::page(KIND, ids, total, offset, LIST_MAX))
    }

    /// The consumers of a stream by name, without direct consumers, which belong to other streams.
    fn listed(&self, stream_id: StreamId) -> Vec<(&String, ConsumerId)> {
        let Some(stream) = self.streams.get(&stream_id) else { return Vec::new() };
        let own = |id: &ConsumerId| self.consumers.get(id).is_some_and(|c| !c.config().direct);
        stream.consumers.iter().filter(|(_, id)| own(id)).map(|(name, id)| (name, *id)).collect()
    }

    pub(super) fn consumer_pause(
        &mut self,
        account: AccountId,
        stream: &str,
        name: &str,
        asked: Result<PauseRequest, ApiError>,
    ) -> Reply {
        let pause = || {
            let request = asked?;
            let id = self.consumer(account, stream, name)?;
            let until = request.pause_until.unwrap_or(0);
            let Some(c) = self.consumers.get(&id) else { return Err(error::CONSUMER_NOT_FOUND.error()) };
            let mut config = c.config().clone();
            config.pause_until = (until > 0).then_some(until);
            stamp(&mut config);
            self.reconfigure_consumer(id, config);
            let left = until - self.now;
            let mut answer = fields(json!({"paused": left > 0, "pause_until": rfc3339(until)}));
            if left > 0 {
                answer.insert("pause_remaining".to_owned(), left.into());
            }
            Ok(answer)
        };
        Reply::new("consumer_pause_response", pause()).or(json!({"paused": false, "pause_until": rfc3339(0)}))
    }

    pub(super) fn consumer_unpin(
        &mut self,
        account: AccountId,
        stream: &str,
        name: &str,
        asked: Result<GroupRequest, ApiError>,
    ) -> Reply {
        let unpin = || {
            let request = asked?;
            if request.group.is_empty() {
                return Err(error::INVALID_JSON.with("err", "consumer group not specified"));
            }
            if !crate::consumer::is_valid_group(&request.group) {
                return Err(error::CONSUMER_INVALID_GROUP_NAME.error());
            }
            let id = self.consumer(account, stream, name)?;
            let known = self.consumers.get(&id);
            if !known.is_some_and(|c| c.config().priority_groups.contains(&request.group)) {
                return Err(error::CONSUMER_INVALID_PRIORITY_GROUP.error());
            }
            self.unpin(id, "admin");
            Ok(Answer::new())
        };
        Reply::new("consumer_unpin_response", unpin())
    }

    /// Resets a consumer. An unknown consumer gets an error as the answer; nats-server 2.15 sends none.
    pub(super) fn consumer_reset(
        &mut self,
        stream: &str,
        name: &str,
        request: &Request<'_>,
        asked: Result<ResetRequest, ApiError>,
    ) -> Option<Reply> {
        const KIND: &str = "consumer_reset_response";
        let begun = asked.and_then(|asked| {
            let id = self.consumer(request.account, stream, name)?;
            Ok((id, self.reset_start(id, asked.sequence)?))
        });
        match begun {
            Ok((id, start)) => {
                self.reset_to(id, start);
                self.describe_all(request, Describe::reset(KIND, id, start))
            }
            Err(e) => Some(Reply::new(KIND, Err(e)).or(json!({"reset_seq": 0}))),
        }
    }

    /// Checks a reset, and returns the sequence at which the consumer restarts.
    fn reset_start(&self, id: ConsumerId, sequence: u64) -> Result<u64, ApiError> {
        let invalid = |text: &str| Err(error::CONSUMER_INVALID_RESET.with("err", text));
        let Some(c) = self.consumers.get(&id) else { return Err(error::CONSUMER_NOT_FOUND.error()) };
        if sequence == 0 {
            return Ok(c.state().floor.stream + 1);
        }
        let last = self.streams.get(&c.stream).map_or(0, |stream| stream.core.messages().last_sequence());
        if sequence > last.saturating_add(RESET_AHEAD_MAX) {
            let text = format!(
                "sequence {sequence} is more than {RESET_AHEAD_MAX} beyond the last sequence {last} of the stream"
            );
            return invalid(&text);
        }
        match c.config().deliver_policy {
            DeliverPolicy::All => Ok(sequence),
            DeliverPolicy::ByStartSequence if sequence < c.config().opt_start_seq => {
                invalid("below start seq")
            }
            DeliverPolicy::ByStartSequence => Ok(sequence),
            DeliverPolicy::ByStartTime => {
                let messages = self.streams.get(&c.stream).map(|stream| stream.core.messages());
                let from = c.config().opt_start_time.unwrap_or(0);
                let first = messages.and_then(|m| m.at_time(from).or(Some(m.last_sequence() + 1)));
                if first.is_some_and(|first| sequence < first) {
                    invalid("below start time")
                } else {
                    Ok(sequence)
                }
            }
            _ => invalid("not allowed"),
        }
    }
}
