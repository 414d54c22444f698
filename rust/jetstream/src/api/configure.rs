//! Requests to create, change or restore streams. Configurations are checked in steps, since they may hold very many subjects.

use std::collections::HashSet;

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_subject::{Relation, Search};

use super::long::{LARGE, Long};
use super::{Answer, Reply, Request, fields};
use crate::engine::{Engine, InterestChange};
use crate::error::{self, ApiError};
use crate::ids::{AccountId, StreamId};
use crate::meetings::Meetings;
use crate::stream::{Origins, PersistMode, StreamConfig, StreamRequest, check_with, update};

const VERSION_KEY: &str = "_nats.ver";
const LEVEL_KEY: &str = "_nats.level";
const REQUIRED_KEY: &str = "_nats.req.level";
/// Changes of a stream's subscriptions that one step announces.
const CHANGES: usize = if cfg!(debug_assertions) { 64 } else { 128 };

/// The purpose of a configuration.
#[derive(Debug)]
enum Aim {
    Create,
    Update,
    /// Restore the stream, with the state in the request.
    Restore(Value),
}

/// A request with a configuration, in progress.
#[derive(Debug)]
pub(super) struct Configure {
    name: String,
    aim: Aim,
    config: StreamConfig,
    pedantic: bool,
    /// Whether the request is so large that each stage has a turn of its own.
    is_large: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Checks that the configuration has the name in the request's subject.
    Name,
    /// Finds overlaps between its subjects.
    Meet(Box<Meetings>),
    /// Finds overlaps with the subjects of other streams.
    Overlap(OverlapSearch),
    /// The stream is created or changed; announces the changes of its subscriptions.
    Announce { stream_id: StreamId, changes: Changes },
}

struct AccountStreams<'e, D: Disk> {
    engine: &'e Engine<D>,
    account: AccountId,
}

impl<D: Disk> Origins for AccountStreams<'_, D> {
    fn stream(&self, name: &str) -> Option<&StreamConfig> {
        let stream_id = self.engine.find(self.account, name).ok()?;
        self.engine.streams.get(&stream_id).map(|stream| stream.core.config())
    }
}

/// A search for other streams of the account whose subjects overlap those of a configuration.
#[derive(Debug, Default)]
struct OverlapSearch {
    subject: usize,
    search: Option<Search>,
    is_found: bool,
}

impl OverlapSearch {
    /// Continues the search; true when it is done. The configuration must be the same each time.
    fn step<D: Disk>(
        &mut self,
        engine: &Engine<D>,
        account: AccountId,
        config: &StreamConfig,
        budget: &mut usize,
    ) -> bool {
        // The index holds the subjects of the stream itself, too.
        let own = engine.find(account, &config.name).map_or(u32::MAX, |id| id.0);
        let Some(account) = engine.accounts.get(account.index()) else { return true };
        while let Some(subject) = config.subjects.get(self.subject).filter(|_| !self.is_found) {
            let new = || Search::new(subject.as_bytes(), Relation::Overlaps);
            let search = self.search.get_or_insert_with(new);
            let Some(found) = account.subjects.finds_other(search, own, budget) else { return false };
            (self.is_found, self.subject, self.search) = (found, self.subject + 1, None);
        }
        true
    }

    fn result(&self) -> Result<(), ApiError> {
        if self.is_found { Err(error::STREAM_SUBJECT_OVERLAP.error()) } else { Ok(()) }
    }
}

/// Changes of a stream's subscriptions, which are announced some at a time.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<InterestChange>);

impl Changes {
    /// The subscriptions that end and those that begin.
    fn between(before: &[InterestChange], after: &[InterestChange]) -> Self {
        if before == after {
            return Self::default();
        }
        let (old, new): (HashSet<_>, HashSet<_>) = (before.iter().collect(), after.iter().collect());
        let begun = after.iter().filter(|change| !old.contains(change)).cloned();
        let ended = before.iter().filter(|change| !new.contains(change)).cloned();
        Self(begun.chain(ended.map(|change| InterestChange { begins: false, ..change })).collect())
    }

    /// The end of all subscriptions of a stream.
    pub(super) fn ends(all: Vec<InterestChange>) -> Self {
        Self(all.into_iter().map(|change| InterestChange { begins: false, ..change }).collect())
    }

    /// Announces some of them; true when all are announced.
    pub(super) fn step<D: Disk>(&mut self, engine: &mut Engine<D>, budget: &mut usize) -> bool {
        let left = self.0.len().saturating_sub(CHANGES);
        *budget = budget.saturating_sub(self.0.len() - left);
        engine.tell_changes(self.0.drain(left..));
        self.0.is_empty()
    }
}

impl Configure {
    fn reply(&self, result: Result<Answer, ApiError>) -> Reply {
        match self.aim {
            Aim::Create => Reply::new("stream_create_response", result),
            Aim::Update => Reply::new("stream_update_response", result),
            Aim::Restore(_) => {
                Reply::new("stream_restore_response", result).or(json!({"deliver_subject": ""}))
            }
        }
    }

    /// Checks that the configuration has the name in the request's subject.
    fn is_named(&self) -> Result<(), ApiError> {
        if self.config.name == self.name { Ok(()) } else { Err(error::STREAM_MISMATCH.error()) }
    }

    /// Checks that the name is the right one, and valid. An update checks it last, as nats-server 2.15.
    fn check_name(&self) -> Result<(), ApiError> {
        if matches!(self.aim, Aim::Update) {
            return Ok(());
        }
        self.is_named()?;
        match self.name.contains(['/', '\\']) {
            true => Err(error::STREAM_NAME_CONTAINS_PATH_SEPARATORS.error()),
            false => Ok(()),
        }
    }
}

impl<D: Disk> Engine<D> {
    /// Checks that no other stream of the account has overlapping subjects.
    pub(crate) fn check_overlap(&self, account: AccountId, config: &StreamConfig) -> Result<(), ApiError> {
        let mut search = OverlapSearch::default();
        while !search.step(self, account, config, &mut { usize::MAX }) {}
        search.result()
    }

    /// Creates or changes a stream. Answers at once if that is little work, otherwise later.
    pub(super) fn configure_stream(
        &mut self,
        name: &str,
        request: &Request<'_>,
        asked: Result<StreamRequest, ApiError>,
        is_new: bool,
    ) -> Option<Reply> {
        let aim = if is_new { Aim::Create } else { Aim::Update };
        self.begin_to_configure(name, request, aim, asked)
    }

    /// Begins to restore a stream with this configuration and state.
    pub(super) fn configure_restored(
        &mut self,
        name: &str,
        request: &Request<'_>,
        asked: StreamRequest,
        state: Value,
    ) -> Option<Reply> {
        self.begin_to_configure(name, request, Aim::Restore(state), Ok(asked))
    }

    fn begin_to_configure(
        &mut self,
        name: &str,
        request: &Request<'_>,
        aim: Aim,
        asked: Result<StreamRequest, ApiError>,
    ) -> Option<Reply> {
        let mut configure = Configure {
            name: name.to_owned(),
            aim,
            config: StreamConfig::default(),
            pedantic: false,
            is_large: request.payload.len() > LARGE,
            stage: Stage::Name,
        };
        match asked {
            Ok(asked) => (configure.config, configure.pedantic) = (asked.config, asked.pedantic),
            Err(e) => return Some(configure.reply(Err(e))),
        }
        if configure.is_large {
            // Decoding the request was enough for one turn.
            self.ask_long(request, Long::Configure(Box::new(configure)));
            return None;
        }
        let mut budget = super::long::CHECKS;
        let reply = self.go_on_configuring(request, &mut configure, &mut budget);
        self.requests.spend(super::long::CHECKS - budget);
        if reply.is_none() {
            self.ask_long(request, Long::Configure(Box::new(configure)));
        }
        reply
    }

    /// Continues a request; returns the answer when it is done.
    pub(super) fn go_on_configuring(
        &mut self,
        request: &Request<'_>,
        configure: &mut Configure,
        budget: &mut usize,
    ) -> Option<Reply> {
        let account = request.account;
        loop {
            let result = match &mut configure.stage {
                Stage::Name => match configure.check_name() {
                    Ok(()) => {
                        configure.stage = Stage::Meet(Box::default());
                        continue;
                    }
                    Err(e) => Err(e),
                },
                Stage::Meet(meetings) => {
                    let origins = AccountStreams { engine: self, account };
                    if !meetings.step(&configure.config, &origins, budget) {
                        return None;
                    }
                    self.check_config(account, configure)
                }
                Stage::Overlap(search) => {
                    if !search.step(self, account, &configure.config, budget) {
                        return None;
                    }
                    let overlap = search.result();
                    self.settle_config(request, configure, overlap)
                }
                Stage::Announce { stream_id, changes } => {
                    let stream_id = *stream_id;
                    if !changes.step(self, budget) {
                        return None;
                    }
                    if self.is_settling(stream_id) {
                        *budget = 0;
                        return None;
                    }
                    Ok(Some(self.configured(stream_id, matches!(configure.aim, Aim::Create))))
                }
            };
            match result {
                Ok(None) if *budget == 0 || configure.is_large => {
                    *budget = 0;
                    return None;
                }
                Ok(None) => {}
                Ok(Some(answer)) => return Some(configure.reply(Ok(answer))),
                Err(e) => return Some(configure.reply(Err(e))),
            }
        }
    }

    /// Runs the checks that do not need the stream itself.
    fn check_config(
        &mut self,
        account: AccountId,
        configure: &mut Configure,
    ) -> Result<Option<Answer>, ApiError> {
        let Stage::Meet(meetings) = &configure.stage else { return Ok(None) };
        let origins = AccountStreams { engine: self, account };
        let window = self.options.duplicate_window_max;
        // Checked in place: a large configuration is dropped on another thread.
        check_with(&mut configure.config, configure.pedantic, window, &origins, meetings)?;
        configure.is_named()?;
        let config = &mut configure.config;
        // Clients may not set keys of our own: one of them marks a stream that may be dropped.
        let is_own = |key: &str| key == VERSION_KEY || key == LEVEL_KEY || key.starts_with("_stonechat.");
        config.metadata.retain(|key, _| !is_own(key));
        config.metadata.insert(REQUIRED_KEY.to_owned(), required_level(config).to_string());
        let met = std::mem::replace(&mut configure.stage, Stage::Overlap(OverlapSearch::default()));
        if configure.is_large {
            self.requests.asides.give_up(met);
        }
        Ok(None)
    }

    /// Carries out a checked request. `overlap`: whether its subjects overlap those of other streams.
    fn settle_config(
        &mut self,
        request: &Request<'_>,
        configure: &mut Configure,
        overlap: Result<(), ApiError>,
    ) -> Result<Option<Answer>, ApiError> {
        let (account, config) = (request.account, std::mem::take(&mut configure.config));
        match &mut configure.aim {
            Aim::Create => {
                let (stream_id, changes) = self.try_create(account, &configure.name, config, overlap)?;
                configure.stage = Stage::Announce { stream_id, changes };
                Ok(None)
            }
            Aim::Update => {
                let (stream_id, changes) = self.try_update(account, &configure.name, config, overlap)?;
                configure.stage = Stage::Announce { stream_id, changes };
                Ok(None)
            }
            Aim::Restore(state) => {
                self.check_limits(account, &config, None)?;
                if self.find(account, &configure.name).is_ok() || self.is_restoring(account, &configure.name)
                {
                    return Err(error::STREAM_NAME_EXIST_RESTORE_FAILED.error());
                }
                overlap?;
                let state = std::mem::take(state);
                let subject = self.begin_restore(account, config, state, (request.client)());
                Ok(Some(fields(json!({"deliver_subject": subject}))))
            }
        }
    }

    /// Creates a stream. Returns its number and the subscriptions that begin.
    fn try_create(
        &mut self,
        account: AccountId,
        name: &str,
        config: StreamConfig,
        overlap: Result<(), ApiError>,
    ) -> Result<(StreamId, Changes), ApiError> {
        if let Ok(stream_id) = self.find(account, name) {
            let is_same = self.streams.get(&stream_id).is_some_and(|stream| *stream.core.config() == config);
            // Its subscriptions exist already.
            return if is_same {
                Ok((stream_id, Changes::default()))
            } else {
                Err(error::STREAM_NAME_EXIST.error())
            };
        }
        if config.sealed {
            let text = "stream configuration for create can not be sealed";
            return Err(error::STREAM_INVALID_CONFIG.with("err", text));
        }
        if config.mirror.is_none() && config.mirror_direct {
            let text = "stream has no mirror but does have mirror direct";
            return Err(error::STREAM_INVALID_CONFIG.with("err", text));
        }
        self.check_limits(account, &config, None)?;
        overlap?;
        if let Some(refusal) = &self.refuses {
            return Err(refusal.clone());
        }
        let stream_id = self.create_silently(account, config);
        let fields = fields(json!({"stream": name, "action": "create"}));
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.CREATED.{name}");
        self.advise(account, &subject, "advisory.v1.stream_action", fields);
        Ok((stream_id, Changes(self.interests(stream_id))))
    }

    /// Changes a stream. Returns its number and the changes of its subscriptions.
    fn try_update(
        &mut self,
        account: AccountId,
        name: &str,
        config: StreamConfig,
        overlap: Result<(), ApiError>,
    ) -> Result<(StreamId, Changes), ApiError> {
        let stream_id = self.find(account, name)?;
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let old = stream.core.config().clone();
        let config = update(&old, config)?;
        self.check_consumers(stream_id, &old, &config)?;
        overlap?;
        self.check_limits(account, &config, Some(&old))?;
        let before = self.interests(stream_id);
        self.reconfigure(stream_id, config);
        let changes = Changes::between(&before, &self.interests(stream_id));
        let fields = fields(json!({"stream": name, "action": "modify"}));
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.UPDATED.{name}");
        self.advise(account, &subject, "advisory.v1.stream_action", fields);
        Ok((stream_id, changes))
    }
}

/// The level of the API that a stream with this configuration needs (ADR-44).
fn required_level(config: &StreamConfig) -> u32 {
    if config.allow_batched {
        4
    } else if config.allow_msg_counter
        || config.allow_atomic
        || config.allow_msg_schedules
        || config.persist_mode == PersistMode::Async
    {
        2
    } else {
        u32::from(config.allow_msg_ttl || config.subject_delete_marker_ttl > 0)
    }
}
