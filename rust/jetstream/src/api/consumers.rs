//! Creating, changing, listing and deleting consumers.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::requests::{GroupRequest, ListRequest, PauseRequest, ResetRequest, is_empty};
use super::{Answer, Reply, fields};
use crate::consumer::{
    AckPolicy, Action, CheckContext, ConsumerConfig, ConsumerRequest, DeliverPolicy, PriorityPolicy, check,
    check_update, set_defaults,
};
use crate::engine::Engine;
use crate::error::{self, ApiError};
use crate::stream::Retention;
use crate::time::rfc3339;

const NAMES_MAX: usize = 1024;
const LIST_MAX: usize = 256;
const NAME_LEN_MAX: usize = 255;
const REQUIRED_KEY: &str = "_nats.req.level";

/// Which of the subjects a consumer is created on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `CONSUMER.CREATE.<stream>`
    Unnamed,
    /// `CONSUMER.DURABLE.CREATE.<stream>.<name>`
    Durable,
    /// `CONSUMER.CREATE.<stream>.<name>[.<filter>]`
    Named,
}

impl<D: Disk> Engine<D> {
    /// `tokens` are those behind `CONSUMER`.
    pub(super) fn create_consumer_request(&mut self, account: u32, tokens: &[&str], payload: &[u8]) -> Reply {
        let result = self.try_create_consumer(account, tokens, payload);
        Reply::new("consumer_create_response", result)
    }

    fn try_create_consumer(
        &mut self,
        account: u32,
        tokens: &[&str],
        payload: &[u8],
    ) -> Result<Answer, ApiError> {
        let mut request = ConsumerRequest::decode(payload, self.options.strict)?;
        let config = &mut request.config;
        let (form, stream, name, filter) = match *tokens {
            ["CREATE", stream] => (Form::Unnamed, stream, config.name.clone(), String::new()),
            ["DURABLE", "CREATE", stream, name] => (Form::Durable, stream, name.to_owned(), String::new()),
            ["DURABLE", ..] => return Err(error::CONSUMER_DURABLE_NAME_NOT_IN_SUBJECT.error()),
            ["CREATE", stream, name, ref filter @ ..] => {
                (Form::Named, stream, name.to_owned(), filter.join("."))
            }
            _ => return Err(error::BAD_REQUEST.error()),
        };
        if stream != request.stream {
            return Err(error::STREAM_MISMATCH.error());
        }
        if name.contains(['/', '\\']) {
            return Err(error::CONSUMER_NAME_CONTAINS_PATH_SEPARATORS.error());
        }
        match form {
            Form::Durable if config.durable.is_empty() => {
                return Err(error::CONSUMER_DURABLE_NAME_NOT_SET.error());
            }
            Form::Durable | Form::Named if !config.durable.is_empty() && config.durable != name => {
                return Err(error::CONSUMER_DURABLE_NAME_NOT_MATCH_SUBJECT.error());
            }
            Form::Durable | Form::Named => config.name.clone_from(&name),
            Form::Unnamed if !config.durable.is_empty() => {
                return Err(error::CONSUMER_EPHEMERAL_WITH_DURABLE_NAME.error());
            }
            Form::Unnamed => {}
        }
        if !filter.is_empty() && !config.filter_subjects.is_empty() {
            return Err(error::CONSUMER_MULTIPLE_FILTERS_NOT_ALLOWED.error());
        }
        if !filter.is_empty() && config.filter_subject != filter {
            return Err(error::CONSUMER_CREATE_FILTER_SUBJECT_MISMATCH.error());
        }
        if config.num_replicas > 1 {
            return Err(error::STREAM_REPLICAS_NOT_SUPPORTED.error());
        }
        let group = self.find(account, stream)?;
        if let Some(known) = self.find_consumer(group, &name).and_then(|id| self.consumers.get(&id)) {
            // That is changed by its own request only.
            config.pause_until = known.config().pause_until;
        }
        stamp(config);
        let id = self.add_or_update(account, group, request)?;
        Ok(self.describe_consumer(id, true))
    }

    fn add_or_update(&mut self, account: u32, group: u32, request: ConsumerRequest) -> Result<u32, ApiError> {
        let ConsumerRequest { mut config, action, pedantic, .. } = request;
        let Some(stream) = self.streams.get(&group) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let limits = self.accounts.get(account as usize).and_then(|a| a.limits).unwrap_or_default();
        let stream_config = stream.core.config();
        let context = CheckContext {
            stream: stream_config,
            account_max_ack_pending: limits.max_ack_pending,
            server_max_ack_pending: 0,
            server_max_batch: 0,
        };
        set_defaults(&mut config, &context, pedantic)?;
        check(&config, &context)?;
        let name = if config.durable.is_empty() { config.name.clone() } else { config.durable.clone() };
        let is_queue = stream_config.retention == Retention::Workqueue;
        if let Some(id) = self.find_consumer(group, &name).filter(|_| !name.is_empty()) {
            return self.update_consumer(id, group, config, action, is_queue);
        }
        if action == Action::Update {
            return Err(error::CONSUMER_DOES_NOT_EXIST.error());
        }
        let others = stream.consumers.len() as i64;
        let mut max = stream_config.max_consumers;
        if max <= 0 || (limits.max_consumers > 0 && limits.max_consumers < max) {
            max = limits.max_consumers;
        }
        if max <= 0 {
            max = self.options.default_max_consumers;
        }
        if max > 0 && others >= max {
            return Err(error::MAXIMUM_CONSUMERS_LIMIT.error());
        }
        if is_queue && !config.direct {
            if !matches!(config.ack_policy, AckPolicy::Explicit | AckPolicy::FlowControl) {
                return Err(error::CONSUMER_WQ_REQUIRES_EXPLICIT_ACK.error());
            }
            if config.deliver_policy != DeliverPolicy::All {
                return Err(error::CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL.error());
            }
            if others > 0 {
                if config.filters().is_empty() {
                    return Err(error::CONSUMER_WQ_MULTIPLE_UNFILTERED.error());
                }
                if !self.is_unique(group, &name, &config) {
                    return Err(error::CONSUMER_WQ_CONSUMER_NOT_UNIQUE.error());
                }
            }
        }
        if name.len() > NAME_LEN_MAX {
            return Err(error::CONSUMER_NAME_TOO_LONG.with("max", NAME_LEN_MAX));
        }
        if let Some(refusal) = &self.refuses {
            return Err(refusal.clone());
        }
        let name = if name.is_empty() { self.new_consumer_name(group) } else { name };
        if config.durable.is_empty() {
            config.name.clone_from(&name);
        }
        let is_paused = config.pause_until.is_some_and(|until| until > self.now);
        let id = self.create_consumer(group, &name, config);
        self.advise_action(id, "CREATED", "create");
        if is_paused {
            self.advise_pause(id);
        }
        Ok(id)
    }

    fn update_consumer(
        &mut self,
        id: u32,
        group: u32,
        config: ConsumerConfig,
        action: Action,
        is_queue: bool,
    ) -> Result<u32, ApiError> {
        let Some(known) = self.consumers.get(&id) else { return Err(error::CONSUMER_NOT_FOUND.error()) };
        let mut config = config;
        let old = known.config();
        if config.durable.is_empty() && config.inactive_threshold <= 0 {
            config.inactive_threshold = crate::consumer::INACTIVE_DEFAULT;
        }
        if action == Action::Create && *old != config {
            return Err(error::CONSUMER_ALREADY_EXISTS.error());
        }
        let name = known.name.to_string();
        if is_queue && !self.is_unique(group, &name, &config) {
            return Err(error::CONSUMER_WQ_CONSUMER_NOT_UNIQUE.error());
        }
        if *old == config {
            return Ok(id);
        }
        check_update(old, &config, known.is_active)?;
        self.reconfigure_consumer(id, config);
        Ok(id)
    }

    /// Whether no other consumer of a work queue wants a message that this one wants.
    fn is_unique(&self, group: u32, name: &str, config: &ConsumerConfig) -> bool {
        let Some(stream) = self.streams.get(&group) else { return true };
        let others = stream.consumers.iter().filter(|(other, _)| *other != name);
        let mine = config.filters();
        others.filter_map(|(_, id)| self.consumers.get(id)).all(|other| {
            let theirs = other.config().filters();
            !theirs.is_empty()
                && !mine
                    .iter()
                    .any(|a| theirs.iter().any(|b| stonechat_subject::overlaps(a.as_bytes(), b.as_bytes())))
        })
    }

    fn new_consumer_name(&mut self, group: u32) -> String {
        loop {
            let id = self.host.unique_id();
            let name = id.get(..8).unwrap_or(&id).to_owned();
            if self.find_consumer(group, &name).is_none() {
                return name;
            }
        }
    }

    fn consumer(&self, account: u32, stream: &str, name: &str) -> Result<u32, ApiError> {
        let group = self.find(account, stream)?;
        self.find_consumer(group, name).ok_or_else(|| error::CONSUMER_NOT_FOUND.error())
    }

    pub(super) fn consumer_info(&mut self, account: u32, stream: &str, name: &str, payload: &[u8]) -> Reply {
        let mut info = || {
            if !is_empty(payload) {
                return Err(error::NOT_EMPTY_REQUEST.error());
            }
            let id = self.consumer(account, stream, name)?;
            Ok(self.describe_consumer(id, true))
        };
        Reply::new("consumer_info_response", info())
    }

    pub(super) fn consumer_delete(
        &mut self,
        account: u32,
        stream: &str,
        name: &str,
        payload: &[u8],
    ) -> Reply {
        let mut delete = || {
            if !is_empty(payload) {
                return Err(error::NOT_EMPTY_REQUEST.error());
            }
            let id = self.consumer(account, stream, name)?;
            self.delete_consumer(id, true);
            Ok(fields(json!({"success": true})))
        };
        Reply::new("consumer_delete_response", delete())
    }

    pub(super) fn consumer_names(&mut self, account: u32, stream: &str, payload: &[u8]) -> Reply {
        let names = || {
            let offset = ListRequest::decode_offset(payload, self.options.strict)?;
            let group = self.find(account, stream)?;
            let names: Vec<&String> = self.listed(group).into_iter().map(|(name, _)| name).collect();
            let offset = offset.clamp(0, names.len() as i64) as usize;
            let page: Vec<&&String> = names.iter().skip(offset).take(NAMES_MAX).collect();
            Ok(fields(json!({"total": names.len(), "offset": offset, "limit": NAMES_MAX, "consumers": page})))
        };
        Reply::new("consumer_names_response", names())
            .or(json!({"total": 0, "offset": 0, "limit": 0, "consumers": []}))
    }

    pub(super) fn consumer_list(&mut self, account: u32, stream: &str, payload: &[u8]) -> Reply {
        let mut list = || {
            let offset = ListRequest::decode_offset(payload, self.options.strict)?;
            let group = self.find(account, stream)?;
            let ids: Vec<u32> = self.listed(group).into_iter().map(|(_, id)| id).collect();
            let offset = offset.clamp(0, ids.len() as i64) as usize;
            let page: Vec<Value> = ids
                .iter()
                .skip(offset)
                .take(LIST_MAX)
                .map(|id| Value::Object(self.describe_consumer(*id, false)))
                .collect();
            Ok(fields(json!({"total": ids.len(), "offset": offset, "limit": LIST_MAX, "consumers": page})))
        };
        Reply::new("consumer_list_response", list())
            .or(json!({"total": 0, "offset": 0, "limit": 0, "consumers": []}))
    }

    /// The consumers of a stream by name, without those that belong to other streams.
    fn listed(&self, group: u32) -> Vec<(&String, u32)> {
        let Some(stream) = self.streams.get(&group) else { return Vec::new() };
        let own = |id: &u32| self.consumers.get(id).is_some_and(|c| !c.config().direct);
        stream.consumers.iter().filter(|(_, id)| own(id)).map(|(name, id)| (name, *id)).collect()
    }

    pub(super) fn consumer_pause(&mut self, account: u32, stream: &str, name: &str, payload: &[u8]) -> Reply {
        let mut pause = || {
            let request = PauseRequest::decode(payload, self.options.strict)?;
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

    pub(super) fn consumer_unpin(&mut self, account: u32, stream: &str, name: &str, payload: &[u8]) -> Reply {
        let mut unpin = || {
            let request = GroupRequest::decode(payload)?;
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

    /// Without such a consumer there is no answer, as with nats-server 2.15.
    pub(super) fn consumer_reset(
        &mut self,
        account: u32,
        stream: &str,
        name: &str,
        payload: &[u8],
    ) -> Option<Reply> {
        self.consumer(account, stream, name).ok()?;
        let mut reset = || {
            let request = ResetRequest::decode(payload)?;
            let id = self.consumer(account, stream, name)?;
            let start = self.reset_start(id, request.sequence)?;
            self.reset_to(id, start);
            let mut answer = self.describe_consumer(id, true);
            answer.insert("reset_seq".to_owned(), start.into());
            Ok(answer)
        };
        Some(Reply::new("consumer_reset_response", reset()).or(json!({"reset_seq": 0})))
    }

    /// Where a consumer may begin anew.
    fn reset_start(&self, id: u32, sequence: u64) -> Result<u64, ApiError> {
        let invalid = |text: &str| Err(error::CONSUMER_INVALID_RESET.with("err", text));
        let Some(c) = self.consumers.get(&id) else { return Err(error::CONSUMER_NOT_FOUND.error()) };
        if sequence == 0 {
            return Ok(c.state().floor.stream + 1);
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

/// Says which level of the API a consumer needs (ADR-44).
fn stamp(config: &mut ConsumerConfig) {
    config.metadata.retain(|key, _| key != "_nats.ver" && key != "_nats.level");
    let is_grouped = config.priority_policy != PriorityPolicy::None
        || config.priority_timeout != 0
        || !config.priority_groups.is_empty();
    let level = match config.ack_policy {
        AckPolicy::FlowControl => 4,
        _ => u32::from(is_grouped || config.pause_until.is_some_and(|until| until != 0)),
    };
    config.metadata.insert(REQUIRED_KEY.to_owned(), level.to_string());
}
