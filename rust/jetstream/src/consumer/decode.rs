//! Reading a consumer's configuration from a request.

use super::config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy, ReplayPolicy};
use crate::json::{DecodeError, Field, parse};
use crate::time::decode as time;

/// The action that a request allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Action {
    /// Create or update.
    #[default]
    Any,
    /// Create only.
    Create,
    /// Update only.
    Update,
}

/// A request to create or update a consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerRequest {
    /// The name of the stream.
    pub stream: String,
    /// The requested configuration.
    pub config: ConsumerConfig,
    /// The allowed action.
    pub action: Action,
    /// Whether values that would be adjusted are refused instead.
    pub pedantic: bool,
}

impl ConsumerRequest {
    /// Reads a request's payload. With `strict`, unknown fields are errors.
    pub fn decode(payload: &[u8], strict: bool) -> Result<Self, DecodeError> {
        let mut request = Self::default();
        let mut at = 0;
        while let Some((document, end)) = parse(payload, at)? {
            let root = Field::root(document.root(), "CreateConsumerRequest");
            for (name, field) in root.request("server.CreateConsumerRequest")? {
                match name.to_lowercase().as_str() {
                    "stream_name" => request.stream = field.string()?,
                    "config" if !field.is_null() => read_config(&mut request.config, &field, strict)?,
                    "config" => {}
                    "action" => request.action = action(&field)?,
                    "pedantic" => request.pedantic = field.bool()?,
                    _ if strict => return Err(DecodeError::UnknownField(name.into_owned())),
                    _ => {}
                }
            }
            at = end;
        }
        Ok(request)
    }

    /// Reads a configuration that was stored.
    pub fn decode_config(json: &[u8]) -> Option<ConsumerConfig> {
        let (document, _) = parse(json, 0).ok()??;
        let mut config = ConsumerConfig::default();
        read_config(&mut config, &Field::root(document.root(), "ConsumerConfig"), false).ok()?;
        Some(config)
    }
}

fn action(field: &Field<'_>) -> Result<Action, DecodeError> {
    match field.raw() {
        br#""create""# => Ok(Action::Create),
        br#""update""# => Ok(Action::Update),
        br#""""# => Ok(Action::Any),
        other => {
            Err(DecodeError::Other(format!("unknown consumer action: {}", String::from_utf8_lossy(other))))
        }
    }
}

fn read_config(config: &mut ConsumerConfig, field: &Field<'_>, strict: bool) -> Result<(), DecodeError> {
    for (name, field) in field.object("server.ConsumerConfig")? {
        if !read_field(config, &name.to_lowercase(), &field)? && strict {
            return Err(DecodeError::UnknownField(name.into_owned()));
        }
    }
    Ok(())
}

/// Reads one field; false if the name is unknown.
fn read_field(c: &mut ConsumerConfig, name: &str, field: &Field<'_>) -> Result<bool, DecodeError> {
    const DURATION: &str = "time.Duration";
    match name {
        "durable_name" => c.durable = field.string()?,
        "name" => c.name = field.string()?,
        "description" => c.description = field.string()?,
        "deliver_policy" => {
            c.deliver_policy = field.word(&[
                ("all", DeliverPolicy::All),
                ("undefined", DeliverPolicy::All),
                ("last", DeliverPolicy::Last),
                ("new", DeliverPolicy::New),
                ("by_start_sequence", DeliverPolicy::ByStartSequence),
                ("by_start_time", DeliverPolicy::ByStartTime),
                ("last_per_subject", DeliverPolicy::LastPerSubject),
            ])?;
        }
        "opt_start_seq" => c.opt_start_seq = field.integer("uint64")?,
        "opt_start_time" => c.opt_start_time = time(field)?,
        "ack_policy" => {
            c.ack_policy = field.word(&[
                ("none", AckPolicy::None),
                ("all", AckPolicy::All),
                ("explicit", AckPolicy::Explicit),
                ("flow_control", AckPolicy::FlowControl),
            ])?;
        }
        "ack_wait" => c.ack_wait = field.integer(DURATION)?,
        "max_deliver" => c.max_deliver = field.integer("int")?,
        "backoff" => {
            let list = field.list("[]time.Duration")?;
            c.backoff = list.iter().map(|f| f.integer(DURATION)).collect::<Result<_, _>>()?;
        }
        "filter_subject" => c.filter_subject = field.string()?,
        "filter_subjects" => c.filter_subjects = strings(field)?,
        "replay_policy" => {
            c.replay_policy =
                field.word(&[("instant", ReplayPolicy::Instant), ("original", ReplayPolicy::Original)])?;
        }
        "rate_limit_bps" => c.rate_limit_bps = field.integer("uint64")?,
        "sample_freq" => c.sample_freq = field.string()?,
        "max_waiting" => c.max_waiting = field.integer("int")?,
        "max_ack_pending" => c.max_ack_pending = field.integer("int")?,
        "flow_control" => c.flow_control = field.bool()?,
        "headers_only" => c.headers_only = field.bool()?,
        "max_batch" => c.max_batch = field.integer("int")?,
        "max_expires" => c.max_expires = field.integer(DURATION)?,
        "max_bytes" => c.max_bytes = field.integer("int")?,
        "deliver_subject" => c.deliver_subject = field.string()?,
        "deliver_group" => c.deliver_group = field.string()?,
        "idle_heartbeat" => c.idle_heartbeat = field.integer(DURATION)?,
        "inactive_threshold" => c.inactive_threshold = field.integer(DURATION)?,
        "num_replicas" => c.num_replicas = field.integer("int")?,
        "mem_storage" => c.mem_storage = field.bool()?,
        "direct" => c.direct = field.bool()?,
        "sourcing" => c.sourcing = field.bool()?,
        "metadata" => c.metadata = field.strings()?.into_iter().collect(),
        "pause_until" => c.pause_until = time(field)?,
        "priority_groups" => c.priority_groups = strings(field)?,
        "priority_policy" => c.priority_policy = priority_policy(field)?,
        "priority_timeout" => c.priority_timeout = field.integer(DURATION)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn priority_policy(field: &Field<'_>) -> Result<PriorityPolicy, DecodeError> {
    match field.raw() {
        br#""overflow""# => Ok(PriorityPolicy::Overflow),
        br#""pinned_client""# => Ok(PriorityPolicy::PinnedClient),
        br#""prioritized""# => Ok(PriorityPolicy::Prioritized),
        br#""none""# => Ok(PriorityPolicy::None),
        other => {
            Err(DecodeError::Other(format!("unknown priority policy: {}", String::from_utf8_lossy(other))))
        }
    }
}

fn strings(field: &Field<'_>) -> Result<Vec<String>, DecodeError> {
    field.texts("[]string")
}
