//! The configuration of a stream, as the API names its fields.

use std::collections::BTreeMap;

use serde::Serialize;

/// The configuration of a stream. Durations are in nanoseconds, sizes in bytes; -1 means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API: jetstream-api.md, section 2")]
pub struct StreamConfig {
    pub name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub description: String,
    #[serde(skip_serializing_if = "is_default")]
    pub subjects: Vec<String>,
    pub retention: Retention,
    pub max_consumers: i64,
    pub max_msgs: i64,
    pub max_bytes: i64,
    pub max_age: i64,
    pub max_msgs_per_subject: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub max_msg_size: i32,
    pub discard: Discard,
    pub storage: Storage,
    pub num_replicas: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub no_ack: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub duplicate_window: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub placement: Option<Placement>,
    #[serde(skip_serializing_if = "is_default")]
    pub mirror: Option<StreamSource>,
    #[serde(skip_serializing_if = "is_default")]
    pub sources: Vec<StreamSource>,
    pub compression: Compression,
    #[serde(skip_serializing_if = "is_default")]
    pub first_seq: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub subject_transform: Option<SubjectTransform>,
    #[serde(skip_serializing_if = "is_default")]
    pub republish: Option<Republish>,
    pub allow_direct: bool,
    pub mirror_direct: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub discard_new_per_subject: bool,
    pub sealed: bool,
    pub deny_delete: bool,
    pub deny_purge: bool,
    pub allow_rollup_hdrs: bool,
    pub consumer_limits: ConsumerLimits,
    pub allow_msg_ttl: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub subject_delete_marker_ttl: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub allow_msg_counter: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub allow_atomic: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub allow_msg_schedules: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub persist_mode: PersistMode,
    #[serde(skip_serializing_if = "is_default")]
    pub allow_batched: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub metadata: BTreeMap<String, String>,
}

impl StreamConfig {
    /// Whether its messages are to be compressed on disk.
    pub fn is_compressed(&self) -> bool {
        self.compression == Compression::S2
    }

    /// All subjects in the configuration, in whatever field.
    pub(crate) fn all_subjects(&self) -> impl Iterator<Item = &String> {
        let transforms = self.subject_transform.iter().flat_map(|t| [&t.src, &t.dest]);
        let republish = self.republish.iter().flat_map(|r| [&r.src, &r.dest]);
        let feeds = self.mirror.iter().chain(&self.sources).flat_map(StreamSource::all_subjects);
        self.subjects.iter().chain(transforms).chain(republish).chain(feeds)
    }
}

/// How long messages are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// Until a limit is reached.
    #[default]
    Limits,
    /// Until all interested consumers have acknowledged them.
    Interest,
    /// Until the one consumer has acknowledged.
    Workqueue,
}

/// Which messages are discarded when a limit is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// The oldest messages.
    #[default]
    Old,
    /// The new message.
    New,
}

/// Where messages are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory.
    Memory,
}

/// How messages are compressed on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// With S2.
    S2,
}

/// When a message is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PersistMode {
    /// When it is stored.
    #[default]
    Default,
    /// Before it is stored.
    Async,
}

/// Which servers may hold the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Placement {
    #[serde(skip_serializing_if = "is_default")]
    pub cluster: String,
    #[serde(skip_serializing_if = "is_default")]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub preferred: String,
}

/// A stream that is mirrored or sourced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct StreamSource {
    pub name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub opt_start_seq: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub opt_start_time: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub filter_subject: String,
    #[serde(skip_serializing_if = "is_default")]
    pub subject_transforms: Vec<SubjectTransform>,
    #[serde(skip_serializing_if = "is_default")]
    pub external: Option<External>,
    #[serde(skip_serializing_if = "is_default")]
    pub consumer: Option<SourceConsumer>,
}

impl StreamSource {
    /// All subjects in the source, and its prefixes of subjects.
    fn all_subjects(&self) -> impl Iterator<Item = &String> {
        let transforms = self.subject_transforms.iter().flat_map(|t| [&t.src, &t.dest]);
        let external = self.external.iter().flat_map(|external| [&external.api, &external.deliver]);
        let deliver = self.consumer.iter().map(|consumer| &consumer.deliver_subject);
        std::iter::once(&self.filter_subject).chain(transforms).chain(external).chain(deliver)
    }
}

/// A stream that another account or domain holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct External {
    pub api: String,
    pub deliver: String,
}

/// A consumer that was made beforehand to source through (ADR-60).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct SourceConsumer {
    #[serde(skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(skip_serializing_if = "is_default")]
    pub deliver_subject: String,
}

/// A mapping of subjects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct SubjectTransform {
    pub src: String,
    pub dest: String,
}

/// Where stored messages are published again (ADR-28).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct Republish {
    #[serde(skip_serializing_if = "is_default")]
    pub src: String,
    pub dest: String,
    #[serde(skip_serializing_if = "is_default")]
    pub headers_only: bool,
}

/// Limits for the configurations of the stream's consumers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the API")]
pub struct ConsumerLimits {
    #[serde(skip_serializing_if = "is_default")]
    pub inactive_threshold: i64,
    #[serde(skip_serializing_if = "is_default")]
    pub max_ack_pending: i64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
