//! Creating, updating and deleting streams.

use serde_json::json;
use stonechat_store::disk::Disk;
use stonechat_subject::overlaps;

use super::requests::is_empty;
use super::{Answer, Reply, fields};
use crate::engine::{Engine, Stream};
use crate::error::{self, ApiError};
use crate::stream::{Origins, Storage, StreamConfig, StreamRequest, check, update};
use crate::time::rfc3339;

const VERSION_KEY: &str = "_nats.ver";
const LEVEL_KEY: &str = "_nats.level";
const REQUIRED_KEY: &str = "_nats.req.level";

struct AccountStreams<'e, D: Disk> {
    engine: &'e Engine<D>,
    account: u32,
}

impl<D: Disk> Origins for AccountStreams<'_, D> {
    fn stream(&self, name: &str) -> Option<&StreamConfig> {
        let group = self.engine.find(self.account, name).ok()?;
        self.engine.streams.get(&group).map(|stream| stream.core.config())
    }
}

impl<D: Disk> Engine<D> {
    /// Reads a configuration and checks what can be checked without the stream itself.
    pub(crate) fn read_config(
        &self,
        account: u32,
        name: &str,
        payload: &[u8],
        is_new: bool,
    ) -> Result<StreamConfig, ApiError> {
        let request = StreamRequest::decode(payload, self.options.strict)?;
        let is_named = |config: &StreamConfig| match config.name == name {
            true => Ok(()),
            false => Err(error::STREAM_MISMATCH.error()),
        };
        // An update looks at the name last, as with nats-server 2.15.
        if is_new {
            is_named(&request.config)?;
            if name.contains(['/', '\\']) {
                return Err(error::STREAM_NAME_CONTAINS_PATH_SEPARATORS.error());
            }
        }
        let origins = AccountStreams { engine: self, account };
        let mut config =
            check(request.config, request.pedantic, self.options.duplicate_window_max, &origins)?;
        is_named(&config)?;
        config.metadata.retain(|key, _| key != VERSION_KEY && key != LEVEL_KEY);
        config.metadata.insert(REQUIRED_KEY.to_owned(), required_level(&config).to_string());
        Ok(config)
    }

    pub(crate) fn check_overlap(&self, account: u32, config: &StreamConfig) -> Result<(), ApiError> {
        let Some(account) = self.accounts.get(account as usize) else { return Ok(()) };
        let others = account.streams.iter().filter(|(name, _)| **name != config.name);
        for stream in others.filter_map(|(_, group)| self.streams.get(group)) {
            for subject in &config.subjects {
                if stream.subjects().iter().any(|other| overlaps(other.as_bytes(), subject.as_bytes())) {
                    return Err(error::STREAM_SUBJECT_OVERLAP.error());
                }
            }
        }
        Ok(())
    }

    /// What the account and the server allow; `old` is what the stream reserves already.
    pub(crate) fn check_limits(
        &self,
        account: u32,
        config: &StreamConfig,
        old: Option<&StreamConfig>,
    ) -> Result<(), ApiError> {
        if config.num_replicas > 1 {
            return Err(error::STREAM_REPLICAS_NOT_SUPPORTED.error());
        }
        let Some(account) = self.accounts.get(account as usize) else { return Ok(()) };
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
        let mut own = account.streams.values().filter_map(|group| self.streams.get(group));
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

    pub(super) fn create_stream(&mut self, account: u32, name: &str, payload: &[u8]) -> Reply {
        let result = self.try_create(account, name, payload);
        Reply::new("stream_create_response", result)
    }

    fn try_create(&mut self, account: u32, name: &str, payload: &[u8]) -> Result<Answer, ApiError> {
        let config = self.read_config(account, name, payload, true)?;
        if let Ok(group) = self.find(account, name) {
            let same = self.streams.get(&group).is_some_and(|stream| is_same(stream.core.config(), &config));
            return if same { Ok(self.created(group)) } else { Err(error::STREAM_NAME_EXIST.error()) };
        }
        if config.sealed {
            return Err(
                error::STREAM_INVALID_CONFIG.with("err", "stream configuration for create can not be sealed")
            );
        }
        if config.mirror.is_none() && config.mirror_direct {
            let text = "stream has no mirror but does have mirror direct";
            return Err(error::STREAM_INVALID_CONFIG.with("err", text));
        }
        self.check_limits(account, &config, None)?;
        self.check_overlap(account, &config)?;
        if let Some(refusal) = &self.refuses {
            return Err(refusal.clone());
        }
        let group = self.create(account, config);
        let fields = fields(json!({"stream": name, "action": "create"}));
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.CREATED.{name}");
        self.advise(account, &subject, "advisory.v1.stream_action", fields);
        Ok(self.created(group))
    }

    /// What is said of a stream that was created.
    fn created(&self, group: u32) -> Answer {
        let mut answer = self.updated(group);
        answer.insert("did_create".to_owned(), true.into());
        answer
    }

    fn updated(&self, group: u32) -> Answer {
        let Some(stream) = self.streams.get(&group) else { return Answer::new() };
        let mut answer = self.describe(stream, true, false, None);
        answer.insert("ts".to_owned(), rfc3339(self.now).into());
        answer
    }

    pub(super) fn update_stream(&mut self, account: u32, name: &str, payload: &[u8]) -> Reply {
        let result = self.try_update(account, name, payload);
        Reply::new("stream_update_response", result)
    }

    fn try_update(&mut self, account: u32, name: &str, payload: &[u8]) -> Result<Answer, ApiError> {
        let config = self.read_config(account, name, payload, false)?;
        let group = self.find(account, name)?;
        let Some(stream) = self.streams.get(&group) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let old = stream.core.config().clone();
        let config = update(&old, config)?;
        self.check_consumers(group, &old, &config)?;
        self.check_overlap(account, &config)?;
        self.check_limits(account, &config, Some(&old))?;
        self.announce(group, false);
        self.reconfigure(group, config);
        self.announce(group, true);
        let fields = fields(json!({"stream": name, "action": "modify"}));
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.UPDATED.{name}");
        self.advise(account, &subject, "advisory.v1.stream_action", fields);
        Ok(self.updated(group))
    }

    /// Whether consumers are within limits for them that change.
    fn check_consumers(&self, group: u32, old: &StreamConfig, config: &StreamConfig) -> Result<(), ApiError> {
        let (old, new) = (&old.consumer_limits, &config.consumer_limits);
        let has_changed = |old: i64, new: i64| new > 0 && old != new;
        if !has_changed(old.inactive_threshold, new.inactive_threshold)
            && !has_changed(old.max_ack_pending, new.max_ack_pending)
        {
            return Ok(());
        }
        let exceeds = |used: i64, limit: i64| limit > 0 && used > limit;
        let consumers = self.streams.get(&group).into_iter().flat_map(|stream| &stream.consumers);
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

    pub(super) fn delete_stream(&mut self, account: u32, name: &str, payload: &[u8]) -> Reply {
        let mut delete = || {
            if !is_empty(payload) {
                return Err(error::NOT_EMPTY_REQUEST.error());
            }
            let group = self.find(account, name)?;
            let consumers: Vec<u32> = self
                .streams
                .get(&group)
                .map_or(Vec::new(), |stream| stream.consumers.values().copied().collect());
            consumers.into_iter().for_each(|id| self.advise_action(id, "DELETED", "delete"));
            self.announce(group, false);
            self.delete(group);
            let fields_ = fields(json!({"stream": name, "action": "delete"}));
            let subject = format!("$JS.EVENT.ADVISORY.STREAM.DELETED.{name}");
            self.advise(account, &subject, "advisory.v1.stream_action", fields_);
            Ok(fields(json!({"success": true})))
        };
        Reply::new("stream_delete_response", delete())
    }
}

/// The level of the API that a stream with this configuration needs (ADR-44).
fn required_level(config: &StreamConfig) -> u32 {
    if config.allow_batched {
        4
    } else if config.allow_msg_counter
        || config.allow_atomic
        || config.allow_msg_schedules
        || config.persist_mode == crate::stream::PersistMode::Async
    {
        2
    } else {
        u32::from(config.allow_msg_ttl || config.subject_delete_marker_ttl > 0)
    }
}

fn is_same(a: &StreamConfig, b: &StreamConfig) -> bool {
    a == b
}
