//! The configuration of a consumer, as the API names its fields.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::time::rfc3339;

/// The configuration of a consumer. Durations are in nanoseconds, times in nanoseconds since 1970; -1 means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API: jetstream-api.md, section 4")]
pub struct ConsumerConfig {
    #[serde(rename = "durable_name", skip_serializing_if = "is_default")]
    pub durable: String,
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub description: String,
    pub deliver_policy: DeliverPolicy,
    #[serde(skip_serializing_if = "is_default")]
    pub opt_start_seq: u64,
    #[serde(skip_serializing_if = "is_default", serialize_with = "time")]
    pub opt_start_time: Option<i64>,
    pub ack_policy: AckPolicy,
    #[serde(skip_serializing_if = "is_default")]
    pub ack_wait: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub max_deliver: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub backoff: Vec<i64>,
    #[serde(skip_serializing_if = "is_default")]
    pub filter_subject: String,
    #[serde(skip_serializing_if = "is_default")]
    pub filter_subjects: Vec<String>,
    pub replay_policy: ReplayPolicy,
    #[serde(skip_serializing_if = "is_default")]
    pub rate_limit_bps: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub sample_freq: String,
    #[serde(skip_serializing_if = "is_default")]
    pub max_waiting: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub max_ack_pending: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub flow_control: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub headers_only: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub max_batch: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub max_expires: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub max_bytes: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub deliver_subject: String,
    #[serde(skip_serializing_if = "is_default")]
    pub deliver_group: String,
    #[serde(skip_serializing_if = "is_default")]
    pub idle_heartbeat: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub inactive_threshold: i64,
    pub num_replicas: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub mem_storage: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub direct: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub sourcing: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default", serialize_with = "time")]
    pub pause_until: Option<i64>,
    #[serde(skip_serializing_if = "is_default")]
    pub priority_groups: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub priority_policy: PriorityPolicy,
    #[serde(skip_serializing_if = "is_default")]
    pub priority_timeout: i64,
}

impl ConsumerConfig {
    /// Whether messages are sent to a deliver subject, without requests.
    pub fn is_push(&self) -> bool {
        !self.deliver_subject.is_empty()
    }

    /// All subjects in the configuration, in whatever field.
    pub(crate) fn all_subjects(&self) -> impl Iterator<Item = &String> {
        [&self.filter_subject, &self.deliver_subject].into_iter().chain(&self.filter_subjects)
    }

    /// The filter subjects; none for all messages.
    pub fn filters(&self) -> Vec<&str> {
        match self.filter_subject.as_str() {
            "" => self.filter_subjects.iter().map(String::as_str).collect(),
            filter => vec![filter],
        }
    }
}

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverPolicy {
    /// With the first message.
    #[default]
    All,
    /// With the last one.
    Last,
    /// With the next one.
    New,
    /// At a sequence.
    ByStartSequence,
    /// At a time.
    ByStartTime,
    /// With the last message of every subject.
    LastPerSubject,
}

/// The messages that an acknowledgement covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AckPolicy {
    /// None: a delivered message is done.
    #[default]
    None,
    /// All messages up to the acknowledged one.
    All,
    /// The acknowledged message only.
    Explicit,
    /// All messages up to the one that an answer to flow control names.
    FlowControl,
}

/// How fast stored messages are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayPolicy {
    /// As fast as possible.
    #[default]
    Instant,
    /// At the pace at which they were stored.
    Original,
}

/// Which of several clients gets messages (ADR-42).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityPolicy {
    /// All clients alike.
    #[default]
    None,
    /// Some clients only while many messages wait.
    Overflow,
    /// One client, as long as it stays active.
    PinnedClient,
    /// The clients with the lowest number first.
    Prioritized,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn time<S: Serializer>(time: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(time.unwrap_or_default()))
}
