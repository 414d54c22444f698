//! Flags that `consumer add`, `edit` and `copy` share, and the fields of a configuration that they set.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::error::CliError;
use crate::switches::{Switch, Switches, Table, switch};
use crate::values::{api_nanoseconds, parse_duration, parse_pair, parse_time_limit};

/// Which messages are to be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ack {
    None,
    All,
    Explicit,
    #[value(name = "flow_control")]
    FlowControl,
}

impl Ack {
    pub(super) fn as_api(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::All => "all",
            Self::Explicit => "explicit",
            Self::FlowControl => "flow_control",
        }
    }
}

/// How fast stored messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Replay {
    Instant,
    Original,
}

impl Replay {
    pub(super) fn as_api(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Original => "original",
        }
    }
}

/// How the time between two deliveries of a message grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backoff {
    Linear,
    None,
}

/// The switches of a consumer's configuration.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerSwitches;

impl Table for ConsumerSwitches {
    const SWITCHES: &'static [Switch] =
        &[switch("headers-only", "no-headers-only", "headers_only", "Deliver headers alone, no bodies")];
}

/// What can be said of a consumer, also of one that is there.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// What the consumer is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Only messages on this subject; may be given several times
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) filter: Vec<String>,
    /// How the time between two deliveries of a message grows
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) backoff: Option<Backoff>,
    /// How many different times there are
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) backoff_steps: u32,
    /// The shortest time
    #[arg(long, default_value = "1m", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) backoff_min: Duration,
    /// The longest time
    #[arg(long, default_value = "20m", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) backoff_max: Duration,
    /// How often a message is delivered at most; -1 for unlimited
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_deliver: Option<i64>,
    /// How many messages may wait for an acknowledgement
    #[arg(long, alias = "max-outstanding", value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_pending: Option<i64>,
    /// How many messages one request may ask for
    #[arg(long, value_name = "N")]
    pub(crate) max_pull_batch: Option<u64>,
    /// How long one request may wait
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) max_pull_expire: Option<Duration>,
    /// How many bytes one request may ask for
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_pull_bytes: Option<u64>,
    /// How many of 100 acknowledgements the server reports
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) sample: Option<u64>,
    /// The subject that messages are sent to; without one the consumer is asked for them
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) target: Option<String>,
    /// How long to wait for the acknowledgement of a message
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// How long a consumer that nobody uses stays
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) inactive_threshold: Option<Duration>,
    /// How many servers keep a copy
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
    /// A note of your own about the consumer, as name=value; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) metadata: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) switches: Switches<ConsumerSwitches>,
}

/// What can only be said of a new consumer.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Which messages are to be acknowledged
    #[arg(long, value_enum)]
    pub(crate) ack: Option<Ack>,
    /// Send at most that many bits in a second
    #[arg(long, default_value_t = 0, value_name = "BITS")]
    pub(crate) bps: u64,
    /// Where to begin: all, new, last, subject, a time such as 1h, or a sequence
    #[arg(long, value_name = "POLICY")]
    pub(crate) deliver: Option<String>,
    /// Send messages to listeners in this queue group alone
    #[arg(long, value_name = "GROUP")]
    pub(crate) deliver_group: Option<String>,
    /// Let the consumer go when nobody uses it
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Send no more than the listener answers for
    #[arg(long)]
    pub(crate) flow_control: bool,
    /// Send a sign of life after that time without messages; -1 for none
    #[arg(long, value_name = "TIME", value_parser = parse_time_limit, allow_hyphen_values = true)]
    pub(crate) heartbeat: Option<Duration>,
    /// How many requests may wait
    #[arg(long, value_name = "N")]
    pub(crate) max_waiting: Option<u64>,
    /// Let the consumer be asked for messages
    #[arg(long)]
    pub(crate) pull: bool,
    /// Deliver stored messages at once, or as slowly as they came
    #[arg(long, value_enum)]
    pub(crate) replay: Option<Replay>,
    /// Keep its state in memory
    #[arg(long)]
    pub(crate) memory: bool,
    /// Deliver nothing until a time such as "2026-12-24 18:00:00" (UTC), or for that long
    #[arg(long, value_name = "TIME")]
    pub(crate) pause: Option<String>,
    /// One client at a time has the messages of this group; may be given several times
    #[arg(long, value_name = "GROUP")]
    pub(crate) pinned_groups: Vec<String>,
    /// How long a client keeps them without asking
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) pinned_ttl: Option<Duration>,
    /// Clients of this group come in when others have too much; may be given several times
    #[arg(long, value_name = "GROUP", conflicts_with = "pinned_groups")]
    pub(crate) overflow_groups: Vec<String>,
    /// Clients of this group come first by their priority; may be given several times
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["pinned_groups", "overflow_groups"])]
    pub(crate) prioritized_groups: Vec<String>,
}

impl ConfigArgs {
    /// Sets the fields that the command line names.
    pub(super) fn apply(&self, config: &mut Map<String, Value>) -> Result<(), CliError> {
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                config.insert(name.to_owned(), value);
            }
        };
        let time = |time: Option<Duration>| time.map(|time| json!(api_nanoseconds(time)));
        set("description", self.description.as_deref().map(Value::from));
        set("max_deliver", self.max_deliver.filter(|tries| *tries != 0).map(Value::from));
        set("max_ack_pending", self.max_pending.filter(|pending| *pending != -1).map(Value::from));
        set("max_batch", self.max_pull_batch.map(Value::from));
        set("max_expires", time(self.max_pull_expire));
        set("max_bytes", self.max_pull_bytes.map(Value::from));
        set(
            "sample_freq",
            self.sample.map(|percent| json!(if percent > 0 { percent.to_string() } else { String::new() })),
        );
        set("deliver_subject", self.target.as_deref().map(Value::from));
        set("ack_wait", time(self.wait));
        set("inactive_threshold", time(self.inactive_threshold));
        set("num_replicas", self.replicas.filter(|replicas| *replicas > 0).map(Value::from));
        if !self.metadata.is_empty() {
            let pairs = self.metadata.iter().map(|(name, value)| (name.clone(), json!(value)));
            set("metadata", Some(Value::Object(pairs.collect())));
        }
        if let Some(mode) = self.backoff {
            set("backoff", Some(json!(self.backoff_times(mode)?)));
        }
        set_filters(config, &self.filter);
        self.switches.apply(config);
        Ok(())
    }

    /// Returns the backoff times between deliveries, in nanoseconds.
    fn backoff_times(&self, mode: Backoff) -> Result<Vec<u64>, CliError> {
        match mode {
            Backoff::None => Ok(Vec::new()),
            Backoff::Linear => linear(self.backoff_steps, self.backoff_min, self.backoff_max),
        }
    }
}

/// Returns times that grow from `min` to `max` in equal steps.
pub(super) fn linear(steps: u32, min: Duration, max: Duration) -> Result<Vec<u64>, CliError> {
    let (min, max) = (min.min(max), max.max(min));
    let step = (max - min).checked_div(steps).unwrap_or_default();
    if steps == 0 || (step.is_zero() && min != max) {
        return Err(CliError::Client(format!("{steps} steps do not fit between the two times")));
    }
    let rounded = |time: Duration| api_nanoseconds(time).saturating_add(500_000) / 1_000_000 * 1_000_000;
    Ok((0..steps).map(|i| api_nanoseconds(min).saturating_add(rounded(step.saturating_mul(i)))).collect())
}

/// Sets the filter subjects of a consumer: one field for a single subject, another for several.
pub(super) fn set_filters(config: &mut Map<String, Value>, filters: &[String]) {
    match filters {
        [] => {}
        [filter] => {
            config.shift_remove("filter_subjects");
            config.insert("filter_subject".to_owned(), json!(filter));
        }
        filters => {
            config.shift_remove("filter_subject");
            config.insert("filter_subjects".to_owned(), json!(filters));
        }
    }
}

/// Sets where a consumer starts: `all`, `new`, `last`, `subject`, a sequence, or a time ago.
pub(super) fn set_start(config: &mut Map<String, Value>, policy: &str) -> Result<(), String> {
    let (name, extra) = match policy {
        "all" => ("all", None),
        "last" => ("last", None),
        "new" | "next" => ("new", None),
        "subject" | "last_per_subject" => ("last_per_subject", None),
        text if text.chars().all(|c| c.is_ascii_digit()) && !text.is_empty() => {
            let sequence: u64 = text.parse().map_err(|_| format!("{text:?} is no sequence"))?;
            ("by_start_sequence", Some(("opt_start_seq", json!(sequence))))
        }
        text => {
            let age = parse_duration(text)?;
            let start = Timestamp::now().checked_sub(age).map_err(|_| format!("{text:?} is too long ago"))?;
            ("by_start_time", Some(("opt_start_time", json!(start.to_string()))))
        }
    };
    config.insert("deliver_policy".to_owned(), json!(name));
    config.shift_remove("opt_start_seq");
    config.shift_remove("opt_start_time");
    if let Some((field, value)) = extra {
        config.insert(field.to_owned(), value);
    }
    Ok(())
}

/// Returns the time until which a consumer is paused, from `2026-12-24 18:00:00` (UTC) or a duration from now.
pub(super) fn pause_until(text: &str) -> Result<String, String> {
    if let Ok(time) = text.parse::<DateTime>()
        && let Ok(time) = TimeZone::UTC.to_timestamp(time)
    {
        return Ok(time.to_string());
    }
    let wrong = |_| format!("{text:?} is neither a time such as \"2026-12-24 18:00:00\" nor a duration");
    let time = parse_duration(text).map_err(wrong)?;
    Timestamp::now()
        .checked_add(time)
        .map(|time| time.to_string())
        .map_err(|_| format!("{text:?} is too long"))
}

/// Sets the priority groups of a consumer, and their policy.
pub(super) fn set_groups(config: &mut Map<String, Value>, args: &NewArgs) {
    let (policy, groups) = match (&args.pinned_groups, &args.overflow_groups, &args.prioritized_groups) {
        (pinned, ..) if !pinned.is_empty() => ("pinned_client", pinned),
        (_, overflow, _) if !overflow.is_empty() => ("overflow", overflow),
        (.., prioritized) if !prioritized.is_empty() => ("prioritized", prioritized),
        _ => return,
    };
    config.insert("priority_policy".to_owned(), json!(policy));
    config.insert("priority_groups".to_owned(), json!(groups));
    if let Some(ttl) = args.pinned_ttl.filter(|_| policy == "pinned_client") {
        config.insert("priority_timeout".to_owned(), json!(api_nanoseconds(ttl)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(policy: &str) -> Result<Value, String> {
        let mut config = Map::new();
        set_start(&mut config, policy).map(|()| Value::Object(config))
    }

    #[test]
    fn where_a_consumer_begins() {
        assert_eq!(started("all"), Ok(json!({ "deliver_policy": "all" })));
        assert_eq!(started("subject"), Ok(json!({ "deliver_policy": "last_per_subject" })));
        assert_eq!(started("17"), Ok(json!({ "deliver_policy": "by_start_sequence", "opt_start_seq": 17 })));
        assert_eq!(started("1h").unwrap()["deliver_policy"], "by_start_time");
        for policy in ["", "sometime", "99999999999999999999999", "9999999999y"] {
            assert!(started(policy).is_err(), "{policy:?}");
        }
    }

    #[test]
    fn times_grow_by_equal_steps() {
        let (minute, second) = (Duration::from_secs(60), 1_000_000_000);
        assert_eq!(linear(3, minute, 4 * minute).unwrap(), [60 * second, 120 * second, 180 * second]);
        assert_eq!(linear(2, minute, minute).unwrap(), [60 * second, 60 * second]);
        assert!(linear(0, minute, 2 * minute).is_err());
    }

    #[test]
    fn a_pause_ends_at_a_time_or_after_one() {
        assert_eq!(pause_until("2026-12-24 18:00:00").unwrap(), "2026-12-24T18:00:00Z");
        assert!(pause_until("1h30m").unwrap().parse::<Timestamp>().unwrap() > Timestamp::now());
        assert!(pause_until("tomorrow").is_err() && pause_until("").is_err());
    }
}
