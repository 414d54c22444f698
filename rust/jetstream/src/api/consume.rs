//! Requests that create or change consumers. Filters are compared in steps, since there may be very many.

use std::ops::Bound;

use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;
use stonechat_subject::{Found, Relation, Search};

use super::describe::Describe;
use super::long::{CHECKS, LARGE, Long};
use super::{Answer, Reply, Request};
use crate::consumer::{
    AckPolicy, Action, CheckContext, Consumer, ConsumerConfig, ConsumerRequest, DeliverPolicy,
    PriorityPolicy, Start, StartSearch, check_update, check_with, set_defaults,
};
use crate::engine::Engine;
use crate::error::{self, ApiError};
use crate::ids::{AccountId, ConsumerId, StreamId};
use crate::meetings::FilterMeetings;
use crate::stream::Retention;

const NAME_LEN_MAX: usize = 255;
const REQUIRED_KEY: &str = "_nats.req.level";

/// The forms of the subject on which a consumer is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `CONSUMER.CREATE.<stream>`
    Unnamed,
    /// `CONSUMER.DURABLE.CREATE.<stream>.<name>`
    Durable,
    /// `CONSUMER.CREATE.<stream>.<name>[.<filter>]`
    Named,
}

/// A request to create or change a consumer, in progress.
#[derive(Debug)]
pub(super) struct Consume {
    /// The tokens of the request's subject behind `CONSUMER`.
    tokens: Vec<String>,
    asked: ConsumerRequest,
    meetings: FilterMeetings,
    uniqueness: Uniqueness,
    stage: Stage,
    /// The start position, or the search for it.
    start: Begin,
    /// The description of the finished consumer, while the messages that wait for it are counted.
    describe: Option<Describe>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Finds overlaps between its filters.
    Meet,
    /// Compares its filters with those of the other consumers, on a work queue.
    Compare,
    /// Searches its start position.
    Start,
}

#[derive(Debug, Default)]
enum Begin {
    /// Not known yet; it may take a search.
    #[default]
    Unknown,
    Search(Box<StartSearch>),
    Found(Start),
}

/// Progress of comparing a consumer of a work queue with the others.
#[derive(Debug, Default)]
struct Uniqueness {
    /// The name of the consumer that it was compared with last, and the position in that one's filters.
    other: Option<String>,
    filter: usize,
    search: Option<Search>,
    is_shared: bool,
}

impl Uniqueness {
    /// Continues the comparison; true when it is done.
    fn step<D: Disk>(
        &mut self,
        engine: &Engine<D>,
        stream_id: StreamId,
        name: &str,
        meetings: &FilterMeetings,
        budget: &mut usize,
    ) -> bool {
        let Some(stream) = engine.streams.get(&stream_id) else { return true };
        loop {
            let Some(left) = budget.checked_sub(1) else { return false };
            *budget = left;
            let from = self.other.as_deref().map_or(Bound::Unbounded, |other| match self.search.is_some() {
                // The comparison with this consumer is not finished.
                true => Bound::Included(other),
                false => Bound::Excluded(other),
            });
            let next = stream.consumers.range::<str, _>((from, Bound::Unbounded)).next();
            let Some((other, id)) = next.filter(|_| !self.is_shared) else { return true };
            let config = engine.consumers.get(id).map(|c| c.config()).filter(|_| other != name);
            if let Some(config) = config {
                let filters = config.filters();
                self.is_shared |= filters.is_empty();
                while let Some(filter) = filters.get(self.filter).filter(|_| !self.is_shared) {
                    let new = || Search::new(filter.as_bytes(), Relation::Overlaps);
                    match meetings.index().next(self.search.get_or_insert_with(new), budget) {
                        Found::More => {
                            self.other = Some(other.clone());
                            return false;
                        }
                        Found::Owners(_) => self.is_shared = true,
                        Found::End => (self.filter, self.search) = (self.filter + 1, None),
                    }
                }
            }
            (self.other, self.filter, self.search) = (Some(other.clone()), 0, None);
        }
    }
}

fn reply_of(result: Result<Answer, ApiError>) -> Reply {
    Reply::new("consumer_create_response", result)
}

impl Consume {
    /// The stream, if it is a work queue, and the name that the consumer is going to have.
    fn queue<D: Disk>(&self, engine: &Engine<D>, account: AccountId) -> Option<(StreamId, String)> {
        let config = &self.asked.config;
        let (stream, name) = match self.tokens.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["CREATE", stream] => (stream, config.name.as_str()),
            ["DURABLE", "CREATE", stream, name] | ["CREATE", stream, name, ..] => (stream, name),
            _ => return None,
        };
        let stream_id = engine.find(account, stream).ok()?;
        let retention = engine.streams.get(&stream_id)?.core.config().retention;
        (retention == Retention::Workqueue).then(|| (stream_id, name.to_owned()))
    }
}

impl<D: Disk> Engine<D> {
    /// Creates or changes a consumer. Answers at once if it has few filters, otherwise later. `tokens` are those behind
    /// `CONSUMER`.
    pub(super) fn create_consumer_request(
        &mut self,
        tokens: &[&str],
        request: &Request<'_>,
        asked: Result<ConsumerRequest, ApiError>,
    ) -> Option<Reply> {
        let asked = match asked {
            Ok(asked) => asked,
            Err(e) => return Some(reply_of(Err(e))),
        };
        let mut consume = Consume {
            tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
            asked,
            meetings: FilterMeetings::default(),
            uniqueness: Uniqueness::default(),
            stage: Stage::Meet,
            start: Begin::default(),
            describe: None,
        };
        if request.payload.len() > LARGE {
            // Decoding the request was enough for one turn.
            self.ask_long(request, Long::Consume(Box::new(consume)));
            return None;
        }
        let mut budget = CHECKS;
        let reply = self.go_on_consuming(request, &mut consume, &mut budget);
        self.requests.spend(CHECKS - budget);
        if reply.is_none() {
            self.ask_long(request, Long::Consume(Box::new(consume)));
        }
        reply
    }

    /// Continues a request; returns the answer when it is done.
    pub(super) fn go_on_consuming(
        &mut self,
        request: &Request<'_>,
        consume: &mut Consume,
        budget: &mut usize,
    ) -> Option<Reply> {
        if let Some(describe) = &mut consume.describe {
            let stream_id = self.find(request.account, &consume.asked.stream);
            if stream_id.is_ok_and(|stream_id| self.is_settling(stream_id)) {
                *budget = 0;
                return None;
            }
            return self.go_on_describing(describe, budget);
        }
        if consume.stage == Stage::Meet {
            if !consume.meetings.step(&consume.asked.config, budget) {
                return None;
            }
            consume.stage = Stage::Compare;
            if request.payload.len() > LARGE {
                *budget = 0;
                return None;
            }
        }
        if consume.stage == Stage::Start && !self.find_start(request.account, consume, budget) {
            return None;
        }
        if let Some((stream_id, name)) = consume.queue(self, request.account) {
            let Consume { meetings, uniqueness, .. } = consume;
            if !uniqueness.step(self, stream_id, &name, meetings, budget) {
                return None;
            }
        }
        match self.try_create_consumer(request.account, consume) {
            Ok(None) => {
                consume.stage = Stage::Start;
                // Other consumers may be created meanwhile.
                consume.uniqueness = Uniqueness::default();
                if *budget == 0 { None } else { self.go_on_consuming(request, consume, budget) }
            }
            Ok(Some(id)) => {
                consume.describe = Some(Describe::one("consumer_create_response", id));
                self.go_on_consuming(request, consume, budget)
            }
            Err(e) => Some(reply_of(Err(e))),
        }
    }

    /// Continues the search for the start position. True when it is known, or when the stream is gone.
    fn find_start(&mut self, account: AccountId, consume: &mut Consume, budget: &mut usize) -> bool {
        let Begin::Search(search) = &mut consume.start else { return true };
        let stream_id = self.find(account, &consume.asked.stream);
        let stream = stream_id.ok().and_then(|stream_id| self.streams.get(&stream_id));
        if stream.is_some_and(|stream| !search.step(stream.core.messages(), budget)) {
            return false;
        }
        if let Begin::Search(search) = std::mem::take(&mut consume.start) {
            consume.start = Begin::Found(search.found());
        }
        true
    }

    /// Creates or changes the consumer and returns its number; `None` if its start position has to be searched first.
    fn try_create_consumer(
        &mut self,
        account: AccountId,
        consume: &mut Consume,
    ) -> Result<Option<ConsumerId>, ApiError> {
        let mut request = std::mem::take(&mut consume.asked);
        let result = self.try_create_asked(account, consume, &mut request);
        // The request may be needed once more; and a large one is dropped on another thread.
        consume.asked = request;
        result
    }

    fn try_create_asked(
        &mut self,
        account: AccountId,
        consume: &mut Consume,
        request: &mut ConsumerRequest,
    ) -> Result<Option<ConsumerId>, ApiError> {
        let config = &mut request.config;
        let tokens: Vec<&str> = consume.tokens.iter().map(String::as_str).collect();
        let (form, stream, name, filter) = match tokens[..] {
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
        let stream_id = self.find(account, stream)?;
        if let Some(known) = self.find_consumer(stream_id, &name).and_then(|id| self.consumers.get(&id)) {
            // Only a pause request changes this field.
            config.pause_until = known.config().pause_until;
        }
        stamp(config);
        self.add_or_update(account, stream_id, request, consume)
    }

    fn add_or_update(
        &mut self,
        account: AccountId,
        stream_id: StreamId,
        request: &mut ConsumerRequest,
        consume: &mut Consume,
    ) -> Result<Option<ConsumerId>, ApiError> {
        let ConsumerRequest { config, action, pedantic, .. } = request;
        let (action, pedantic) = (*action, *pedantic);
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let limits = self.accounts.get(account.index()).and_then(|a| a.limits).unwrap_or_default();
        let stream_config = stream.core.config();
        let context = CheckContext {
            stream: stream_config,
            account_max_ack_pending: limits.max_ack_pending,
            server_max_ack_pending: self.options.max_ack_pending,
            server_max_batch: self.options.max_request_batch,
        };
        set_defaults(config, &context, pedantic)?;
        check_with(config, &context, &consume.meetings)?;
        let is_shared = consume.uniqueness.is_shared;
        let name = if config.durable.is_empty() { config.name.clone() } else { config.durable.clone() };
        let is_queue = stream_config.retention == Retention::Workqueue;
        if let Some(id) = self.find_consumer(stream_id, &name).filter(|_| !name.is_empty()) {
            return self.update_consumer(id, std::mem::take(config), action, is_queue && is_shared).map(Some);
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
                if is_shared {
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
        let Some(start) = self.start_of(stream_id, config, &mut consume.start) else { return Ok(None) };
        let name = if name.is_empty() { self.new_consumer_name(stream_id) } else { name };
        if config.durable.is_empty() {
            config.name.clone_from(&name);
        }
        let is_paused = config.pause_until.is_some_and(|until| until > self.now);
        let id = self.create_consumer_at(stream_id, &name, std::mem::take(config), start);
        self.advise_action(id, "CREATED", "create");
        if is_paused {
            self.advise_pause(id);
        }
        Ok(Some(id))
    }

    /// Returns the start position of a consumer; `None` if that takes a search, which begins here.
    fn start_of(&self, stream_id: StreamId, config: &ConsumerConfig, begin: &mut Begin) -> Option<Start> {
        if let Begin::Found(start) = begin {
            return Some(std::mem::take(start));
        }
        let stream = self.streams.get(&stream_id)?;
        let per_subject = stream.core.config().max_msgs_per_subject;
        let Some(search) = StartSearch::new(config, per_subject, &stream.core.messages().state()) else {
            return Some(Start::default());
        };
        *begin = Begin::Search(Box::new(search));
        None
    }

    fn update_consumer(
        &mut self,
        id: ConsumerId,
        config: ConsumerConfig,
        action: Action,
        is_shared: bool,
    ) -> Result<ConsumerId, ApiError> {
        let Some(known) = self.consumers.get(&id) else { return Err(error::CONSUMER_NOT_FOUND.error()) };
        let mut config = config;
        let old = known.config();
        if config.durable.is_empty() && config.inactive_threshold <= 0 {
            config.inactive_threshold = crate::consumer::INACTIVE_DEFAULT;
        }
        if action == Action::Create && *old != config {
            return Err(error::CONSUMER_ALREADY_EXISTS.error());
        }
        if is_shared {
            return Err(error::CONSUMER_WQ_CONSUMER_NOT_UNIQUE.error());
        }
        if *old == config {
            return Ok(id);
        }
        check_update(old, &config, known.config().is_push() && self.is_listened_to(known))?;
        self.reconfigure_consumer(id, config);
        Ok(id)
    }

    /// Whether any subscription matches a push consumer's deliver subject, in its deliver group or not.
    fn is_listened_to(&self, c: &Consumer) -> bool {
        let stream = self.streams.get(&c.stream);
        let account = stream.and_then(|stream| self.accounts.get(stream.account.index()));
        let subject = c.config().deliver_subject.as_bytes();
        account.is_some_and(|account| self.host.has_interest(&account.name, subject))
    }

    fn new_consumer_name(&mut self, stream_id: StreamId) -> String {
        loop {
            let id = self.host.unique_id();
            let name = id.get(..8).unwrap_or(&id).to_owned();
            if self.find_consumer(stream_id, &name).is_none() {
                return name;
            }
        }
    }
}

/// Writes the API level that a consumer needs into its metadata (ADR-44).
pub(super) fn stamp(config: &mut ConsumerConfig) {
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
