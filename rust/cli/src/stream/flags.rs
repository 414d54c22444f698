//! Flags that `stream add`, `edit` and `copy` share, and the fields of a configuration that they set.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::switches::{Switch, Switches, Table, switch};
use crate::values::{
    api_nanoseconds, parse_bytes, parse_bytes_32, parse_duration, parse_pair, parse_subject,
    parse_time_limit, split_subjects,
};

/// When messages leave the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Retention {
    Limits,
    Interest,
    #[value(aliases = ["workq", "workqueue"])]
    Work,
}

impl Retention {
    pub(super) fn as_api(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Interest => "interest",
            Self::Work => "workqueue",
        }
    }
}

/// What a full stream does with new messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Discard {
    New,
    Old,
}

impl Discard {
    pub(super) fn as_api(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Old => "old",
        }
    }
}

/// How messages are compressed on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    None,
    S2,
}

/// The switches of a stream's configuration.
#[derive(Clone, Debug)]
pub(crate) struct StreamSwitches;

impl Table for StreamSwitches {
    const SWITCHES: &'static [Switch] = &[
        Switch {
            flag: "ack",
            negated: "no-ack",
            field: "no_ack",
            is_inverted: true,
            help: "Acknowledge messages to their publishers",
        },
        switch(
            "discard-per-subject",
            "no-discard-per-subject",
            "discard_new_per_subject",
            "Let --discard new hold for each subject on its own",
        ),
        switch("allow-batch", "no-allow-batch", "allow_atomic", "Allow atomic batches"),
        switch("allow-fast", "no-allow-fast", "allow_batched", "Allow fast batches"),
        switch("allow-counter", "no-allow-counter", "allow_msg_counter", "Let each subject be a counter"),
        switch(
            "allow-rollup",
            "no-allow-rollup",
            "allow_rollup_hdrs",
            "Allow headers that remove earlier messages",
        ),
        switch("deny-delete", "no-deny-delete", "deny_delete", "Refuse to delete single messages"),
        switch("deny-purge", "no-deny-purge", "deny_purge", "Refuse to purge"),
        switch("allow-direct", "no-allow-direct", "allow_direct", "Let messages be asked for directly"),
        switch(
            "allow-mirror-direct",
            "no-allow-mirror-direct",
            "mirror_direct",
            "Let a mirror answer for its origin",
        ),
        switch("allow-msg-ttl", "no-allow-msg-ttl", "allow_msg_ttl", "Let messages have times of their own"),
        switch(
            "allow-schedules",
            "no-allow-schedules",
            "allow_msg_schedules",
            "Let messages be published at a later time",
        ),
    ];
}

/// What can be said of a stream's configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Subjects whose messages the stream takes; with commas, or several times
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subjects: Vec<String>,
    /// What the stream is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// How messages are compressed on disk
    #[arg(long, value_enum)]
    pub(crate) compression: Option<Compression>,
    /// How many servers keep a copy
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
    /// Keep it on servers with this tag; may be given several times
    #[arg(long, alias = "tags", value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Keep it in this cluster
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// When messages leave the stream
    #[arg(long, value_enum)]
    pub(crate) retention: Option<Retention>,
    /// What leaves when the stream is full: the old messages, or it takes no new ones
    #[arg(long, value_enum)]
    pub(crate) discard: Option<Discard>,
    /// Remove messages after that time; -1 for never
    #[arg(long, value_name = "TIME", value_parser = parse_time_limit, allow_hyphen_values = true)]
    pub(crate) max_age: Option<Duration>,
    /// Largest stream, such as 1GB; -1 for unlimited
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, allow_hyphen_values = true)]
    pub(crate) max_bytes: Option<i64>,
    /// Most consumers; -1 for unlimited
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_consumers: Option<i64>,
    /// Largest message, such as 64KB; -1 for unlimited
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes_32, allow_hyphen_values = true)]
    pub(crate) max_msg_size: Option<i64>,
    /// Most messages; -1 for unlimited
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_msgs: Option<i64>,
    /// Most messages of each subject; -1 for unlimited
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_msgs_per_subject: Option<i64>,
    /// How long the stream knows the ids of messages, to refuse duplicates
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) dupe_window: Option<Duration>,
    /// Make it a copy of this stream; a name, or JSON
    #[arg(long, value_name = "STREAM")]
    pub(crate) mirror: Option<String>,
    /// Take messages from this stream too; a name, or JSON; may be given several times
    #[arg(long, value_name = "STREAM")]
    pub(crate) source: Vec<String>,
    /// Keep a marker that long where the last message of a subject has expired
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) subject_del_markers_ttl: Option<Duration>,
    /// Which subjects are transformed
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject, requires = "transform_destination")]
    pub(crate) transform_source: Option<String>,
    /// What they are transformed into
    #[arg(long, value_name = "SUBJECT", requires = "transform_source")]
    pub(crate) transform_destination: Option<String>,
    /// A note of your own about the stream, as name=value; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// Which messages are published again, as a subject filter
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject, requires = "republish_destination")]
    pub(crate) republish_source: Option<String>,
    /// Where messages are published again
    #[arg(long, value_name = "SUBJECT", requires = "republish_source")]
    pub(crate) republish_destination: Option<String>,
    /// Publish headers alone again, no bodies
    #[arg(long, requires = "republish_destination")]
    pub(crate) republish_headers: bool,
    #[command(flatten)]
    pub(crate) switches: Switches<StreamSwitches>,
}

impl ConfigArgs {
    /// Returns the subjects; an argument may contain several, separated by commas or spaces.
    pub(super) fn subjects(&self) -> Vec<String> {
        let split = |text: &String| split_subjects(text).map(str::to_owned).collect::<Vec<_>>();
        self.subjects.iter().flat_map(split).collect()
    }

    /// Sets the fields that the command line names, except mirror and sources.
    pub(super) fn apply(&self, config: &mut Map<String, Value>) {
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                config.insert(name.to_owned(), value);
            }
        };
        set("subjects", Some(self.subjects()).filter(|list| !list.is_empty()).map(Value::from));
        set("description", self.description.as_deref().map(Value::from));
        set(
            "compression",
            self.compression.map(|it| json!(if it == Compression::S2 { "s2" } else { "none" })),
        );
        set("num_replicas", self.replicas.map(Value::from));
        set("retention", self.retention.map(|it| json!(it.as_api())));
        set("discard", self.discard.map(|it| json!(it.as_api())));
        set("max_age", self.max_age.map(|age| json!(api_nanoseconds(age))));
        set("max_bytes", self.max_bytes.map(Value::from));
        set("max_consumers", self.max_consumers.map(Value::from));
        set("max_msg_size", self.max_msg_size.map(Value::from));
        set("max_msgs", self.max_msgs.map(Value::from));
        set("max_msgs_per_subject", self.max_msgs_per_subject.map(Value::from));
        set("duplicate_window", self.dupe_window.map(|window| json!(api_nanoseconds(window))));
        set("subject_delete_marker_ttl", self.subject_del_markers_ttl.map(|ttl| json!(api_nanoseconds(ttl))));
        if let (Some(from), Some(to)) = (&self.transform_source, &self.transform_destination) {
            set("subject_transform", Some(json!({ "src": from, "dest": to })));
        }
        if let (Some(from), Some(to)) = (&self.republish_source, &self.republish_destination) {
            let republish = json!({ "src": from, "dest": to, "headers_only": self.republish_headers });
            set("republish", Some(republish));
        }
        if !self.metadata.is_empty() {
            let pairs = self.metadata.iter().map(|(name, value)| (name.clone(), json!(value)));
            set("metadata", Some(Value::Object(pairs.collect())));
        }
        self.switches.apply(config);
        place(config, self.cluster.as_deref(), &self.tag);
    }
}

/// Sets the placement of a stream. An empty cluster or tag removes that condition.
pub(super) fn place(config: &mut Map<String, Value>, cluster: Option<&str>, tags: &[String]) {
    if cluster.is_none() && tags.is_empty() {
        return;
    }
    let mut placement = match config.shift_remove("placement") {
        Some(Value::Object(placement)) => placement,
        _ => Map::new(),
    };
    if let Some(cluster) = cluster {
        placement.insert("cluster".to_owned(), json!(cluster));
    }
    if !tags.is_empty() {
        let tags: Vec<&String> = tags.iter().filter(|tag| !tag.is_empty()).collect();
        placement.insert("tags".to_owned(), json!(tags));
    }
    let is_empty = |value: &Value| value == "" || value.as_array().is_some_and(Vec::is_empty);
    placement.retain(|_, value| !is_empty(value));
    if !placement.is_empty() {
        config.insert("placement".to_owned(), Value::Object(placement));
    }
}

/// Parses a mirror or source, given as a name or as JSON.
///
/// # Errors
/// The JSON can't be read, or names no stream.
pub(super) fn origin(text: &str) -> Result<Value, CliError> {
    let trimmed = text.trim();
    if !trimmed.starts_with('{') {
        return Ok(json!({ "name": trimmed }));
    }
    let wrong = |reason: &str| CliError::Client(format!("cannot use {trimmed:?} as a source: {reason}"));
    let value: Value = serde_json::from_str(trimmed).map_err(|error| wrong(&error.to_string()))?;
    match value["name"].as_str() {
        Some(name) if !name.is_empty() => Ok(value),
        _ => Err(wrong("it needs a \"name\"")),
    }
}
