//! Checks of a consumer's configuration, in the order of nats-server 2.15.

use stonechat_subject::{has_wildcard, is_subset, is_valid_literal, is_valid_subject};

use super::config::{AckPolicy, ConsumerConfig, DeliverPolicy, PriorityPolicy};
use crate::error::{self, ApiError};
use crate::meetings::FilterMeetings;
use crate::stream::{METADATA_LEN_MAX, Retention, StreamConfig};

/// Default of `ack_wait`, in nanoseconds.
const ACK_WAIT: i64 = 30_000_000_000;
/// Default of `max_ack_pending`, in messages.
const MAX_ACK_PENDING: i64 = 1000;
/// Default of `max_waiting`, in requests.
const MAX_WAITING: i64 = 512;
/// Default of `priority_timeout` for pinned clients, in nanoseconds.
const PINNED: i64 = 120_000_000_000;
/// Nanoseconds between the heartbeats of consumers that acknowledge by flow control.
const FLOW_CONTROL_HEARTBEAT: i64 = 1_000_000_000;
const MILLISECOND: i64 = 1_000_000;
const DESCRIPTION_LEN_MAX: usize = 4096;

/// The limits that a configuration is checked against.
#[derive(Debug, Clone, Copy)]
pub struct CheckContext<'a> {
    /// The configuration of the stream.
    pub stream: &'a StreamConfig,
    /// The account's limit for `max_ack_pending`; -1 or 0 for none.
    pub account_max_ack_pending: i64,
    /// The server's limit for `max_ack_pending`; 0 for none.
    pub server_max_ack_pending: i64,
    /// The server's limit for `max_batch`; 0 for none.
    pub server_max_batch: i64,
}

/// Fills in defaults and adjusts values that are out of range.
///
/// # Errors
///
/// With `pedantic`: the first value that would have to be adjusted.
pub fn set_defaults(
    c: &mut ConsumerConfig,
    context: &CheckContext<'_>,
    pedantic: bool,
) -> Result<(), ApiError> {
    let adjusted = |text: &str| if pedantic { Err(error::PEDANTIC.with("err", text)) } else { Ok(()) };
    if c.max_deliver < -1 {
        adjusted("max_deliver must be set to -1")?;
    }
    if c.max_deliver == 0 || c.max_deliver < -1 {
        c.max_deliver = -1;
    }
    let positive = |value: &mut i64, least: i64, text: &str| -> Result<(), ApiError> {
        if *value < least {
            adjusted(text)?;
            *value = least;
        }
        Ok(())
    };
    positive(&mut c.max_waiting, 0, "max_waiting must not be negative")?;
    positive(&mut c.max_ack_pending, -1, "max_ack_pending must be set to -1")?;
    positive(&mut c.max_batch, 0, "max_batch must not be negative")?;
    positive(&mut c.max_expires, 0, "max_expires must not be negative")?;
    positive(&mut c.max_bytes, 0, "max_bytes must not be negative")?;
    positive(&mut c.idle_heartbeat, 0, "idle_heartbeat must not be negative")?;
    positive(&mut c.inactive_threshold, 0, "inactive_threshold must not be negative")?;
    positive(&mut c.priority_timeout, 0, "priority_timeout must not be negative")?;
    if !c.is_push() && c.max_waiting == 0 {
        c.max_waiting = MAX_WAITING;
    }
    if c.ack_wait == 0 && matches!(c.ack_policy, AckPolicy::Explicit | AckPolicy::All) {
        c.ack_wait = ACK_WAIT;
    }
    if let Some(first) = c.backoff.first() {
        if c.ack_wait != *first {
            adjusted("first backoff value has to equal batch AckWait")?;
        }
        c.ack_wait = *first;
    }
    let limits = &context.stream.consumer_limits;
    if c.max_ack_pending == 0 {
        if limits.max_ack_pending > 0 {
            adjusted("max_ack_pending must be set if it's configured in stream limits")?;
        }
        c.max_ack_pending = limits.max_ack_pending;
    }
    if c.inactive_threshold == 0 {
        if limits.inactive_threshold > 0 {
            adjusted("inactive_threshold must be set if it's configured in stream limits")?;
        }
        c.inactive_threshold = limits.inactive_threshold;
    }
    if c.max_ack_pending == 0 && c.ack_policy != AckPolicy::None {
        let of = |limit: i64| if limit > 0 { limit } else { i64::MAX };
        c.max_ack_pending =
            MAX_ACK_PENDING.min(of(context.server_max_ack_pending)).min(of(context.account_max_ack_pending));
    }
    if !c.is_push() && c.max_batch == 0 && context.server_max_batch > 0 {
        adjusted("max_request_batch must be set if it's JetStream limits are set")?;
        c.max_batch = context.server_max_batch;
    }
    if c.priority_policy == PriorityPolicy::PinnedClient && c.priority_timeout == 0 {
        c.priority_timeout = PINNED;
    }
    if c.ack_policy == AckPolicy::FlowControl && !pedantic {
        c.flow_control = true;
        c.idle_heartbeat = FLOW_CONTROL_HEARTBEAT;
    }
    Ok(())
}

fn is_valid_name(name: &str) -> bool {
    !name.contains(['.', '*', '>', '\\', '/', ' ', '\t', '\r', '\n', '\u{c}'])
}

/// Checks a configuration whose defaults were filled in.
///
/// # Errors
///
/// The error that nats-server 2.15 reports first.
pub fn check(c: &ConsumerConfig, context: &CheckContext<'_>) -> Result<(), ApiError> {
    check_with(c, context, &FilterMeetings::of(c))
}

/// As [`check`], with the overlaps between its filters already found (`meetings`).
pub(crate) fn check_with(
    c: &ConsumerConfig,
    context: &CheckContext<'_>,
    meetings: &FilterMeetings,
) -> Result<(), ApiError> {
    let stream = context.stream;
    let invalid = |text: &str| Err(error::STREAM_INVALID_CONFIG.with("err", text));
    if !is_valid_name(&c.name) {
        return invalid("consumer name can not contain '.', '*', '>', '\\', '/'");
    }
    if !is_valid_name(&c.durable) {
        return invalid("consumer durable name can not contain '.', '*', '>', '\\', '/'");
    }
    if c.num_replicas > 0 && c.num_replicas > stream.num_replicas {
        return Err(error::CONSUMER_REPLICAS_EXCEEDS_STREAM.error());
    }
    if c.num_replicas < 0 {
        return Err(error::REPLICAS_COUNT_CANNOT_BE_NEGATIVE.error());
    }
    if stream.retention != Retention::Limits && c.num_replicas != 0 && c.num_replicas != stream.num_replicas {
        return Err(error::CONSUMER_REPLICAS_SHOULD_MATCH_STREAM.error());
    }
    if c.backoff.iter().any(|wait| *wait < 0) {
        return Err(error::CONSUMER_BACK_OFF_NEGATIVE.error());
    }
    if c.ack_wait < 0 {
        return Err(error::CONSUMER_ACK_WAIT_NEGATIVE.error());
    }
    if c.ack_policy == AckPolicy::FlowControl {
        check_flow_control_acks(c)?;
    }
    if !c.backoff.is_empty() && c.max_deliver != -1 && c.backoff.len() as i64 > c.max_deliver {
        return Err(error::CONSUMER_MAX_DELIVER_BACKOFF.error());
    }
    if c.description.len() > DESCRIPTION_LEN_MAX {
        return Err(error::CONSUMER_DESCRIPTION_TOO_LONG.with("max", DESCRIPTION_LEN_MAX));
    }
    if c.is_push() {
        check_push(c, stream)?
    } else {
        check_pull(c, context)?
    }
    check_limits(c, context)?;
    if c.direct && !c.is_push() {
        return Err(error::CONSUMER_DIRECT_REQUIRES_PUSH.error());
    }
    if c.direct && !c.durable.is_empty() {
        return Err(error::CONSUMER_DIRECT_REQUIRES_EPHEMERAL.error());
    }
    check_filters(c, meetings)?;
    check_start(c)?;
    check_sampling(&c.sample_freq)?;
    if c.flow_control && c.idle_heartbeat == 0 {
        return Err(error::CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS.error());
    }
    if !c.durable.is_empty() && !c.name.is_empty() && c.name != c.durable {
        return Err(error::CONSUMER_CREATE_DURABLE_AND_NAME_MISMATCH.error());
    }
    if c.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > METADATA_LEN_MAX {
        let limit = format!("{}KB", METADATA_LEN_MAX / 1024);
        return Err(error::CONSUMER_METADATA_LENGTH.with("limit", limit));
    }
    check_priority(c)
}

fn check_flow_control_acks(c: &ConsumerConfig) -> Result<(), ApiError> {
    let failed = [
        (!c.is_push(), error::CONSUMER_ACK_FC_REQUIRES_PUSH),
        (!c.flow_control, error::CONSUMER_ACK_FC_REQUIRES_FC),
    ];
    if let Some((_, e)) = failed.iter().find(|(failed, _)| *failed) {
        return Err(e.error());
    }
    if c.idle_heartbeat != FLOW_CONTROL_HEARTBEAT {
        return Err(
            error::STREAM_INVALID_CONFIG.with("err", "flow control ack policy heartbeat needs to be 1s")
        );
    }
    let failed = [
        (c.max_ack_pending <= 0, error::CONSUMER_ACK_FC_REQUIRES_MAX_ACK_PENDING),
        (c.ack_wait != 0 || !c.backoff.is_empty(), error::CONSUMER_ACK_FC_REQUIRES_NO_ACK_WAIT),
        (c.max_deliver > 0, error::CONSUMER_ACK_FC_REQUIRES_NO_MAX_DELIVER),
    ];
    failed.iter().find(|(failed, _)| *failed).map_or(Ok(()), |(_, e)| Err(e.error()))
}

fn check_push(c: &ConsumerConfig, stream: &StreamConfig) -> Result<(), ApiError> {
    let subject = c.deliver_subject.as_bytes();
    if has_wildcard(subject) {
        return Err(error::CONSUMER_DELIVER_TO_WILDCARDS.error());
    }
    if !is_valid_literal(subject) {
        return Err(error::CONSUMER_INVALID_DELIVER_SUBJECT.error());
    }
    if stream.subjects.iter().any(|s| is_subset(subject, s.as_bytes())) {
        return Err(error::CONSUMER_DELIVER_CYCLE.error());
    }
    if c.max_waiting != 0 {
        return Err(error::CONSUMER_PUSH_MAX_WAITING.error());
    }
    if c.max_ack_pending > 0 && c.ack_policy == AckPolicy::None {
        return Err(error::CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED.error());
    }
    if c.idle_heartbeat > 0 && c.idle_heartbeat < 100 * MILLISECOND {
        return Err(error::CONSUMER_SMALL_HEARTBEAT.error());
    }
    Ok(())
}

fn check_pull(c: &ConsumerConfig, context: &CheckContext<'_>) -> Result<(), ApiError> {
    if c.ack_policy == AckPolicy::None && context.stream.retention == Retention::Workqueue {
        return Err(error::CONSUMER_PULL_REQUIRES_ACK.error());
    }
    if c.rate_limit_bps > 0 {
        return Err(error::CONSUMER_PULL_WITH_RATE_LIMIT.error());
    }
    if c.idle_heartbeat > 0 {
        return Err(error::CONSUMER_HB_REQUIRES_PUSH.error());
    }
    if c.flow_control {
        return Err(error::CONSUMER_FC_REQUIRES_PUSH.error());
    }
    if c.max_expires != 0 && c.max_expires < MILLISECOND {
        return Err(error::CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL.error());
    }
    if context.server_max_batch > 0 && c.max_batch > context.server_max_batch {
        return Err(error::CONSUMER_MAX_REQUEST_BATCH_EXCEEDED.with("limit", context.server_max_batch));
    }
    Ok(())
}

fn check_limits(c: &ConsumerConfig, context: &CheckContext<'_>) -> Result<(), ApiError> {
    let limits = &context.stream.consumer_limits;
    for limit in [context.server_max_ack_pending, context.account_max_ack_pending, limits.max_ack_pending] {
        if limit > 0 && c.max_ack_pending > limit {
            return Err(error::CONSUMER_MAX_PENDING_ACK_EXCESS.with("limit", limit));
        }
    }
    if limits.inactive_threshold > 0 && c.inactive_threshold > limits.inactive_threshold {
        let limit = crate::time::show_duration(limits.inactive_threshold);
        return Err(error::CONSUMER_INACTIVE_THRESHOLD_EXCESS.with("limit", limit));
    }
    Ok(())
}

fn check_filters(c: &ConsumerConfig, meetings: &FilterMeetings) -> Result<(), ApiError> {
    if !c.filter_subject.is_empty() && !c.filter_subjects.is_empty() {
        return Err(error::CONSUMER_DUPLICATE_FILTER_SUBJECTS.error());
    }
    let bad = || error::STREAM_INVALID_CONFIG.with("err", "invalid subject");
    if !c.filter_subject.is_empty() && !is_valid_subject(c.filter_subject.as_bytes()) {
        return Err(bad());
    }
    if c.filter_subjects.iter().any(String::is_empty) {
        return Err(error::CONSUMER_EMPTY_FILTER.error());
    }
    for (i, filter) in c.filter_subjects.iter().enumerate() {
        if !is_valid_subject(filter.as_bytes()) {
            return Err(bad());
        }
        if meetings.filter() == Some(i) {
            return Err(error::CONSUMER_OVERLAPPING_SUBJECT_FILTERS.error());
        }
    }
    Ok(())
}

fn check_start(c: &ConsumerConfig) -> Result<(), ApiError> {
    let invalid = |text: String| Err(error::CONSUMER_INVALID_POLICY.with("err", text));
    let is_set = |policy: &str, start: &str| {
        invalid(format!(
            "consumer delivery policy is deliver {policy}, but optional start {start} is also set"
        ))
    };
    let is_not_set = |policy: &str, what: &str| {
        invalid(format!("consumer delivery policy is deliver {policy}, but optional {what} is not set"))
    };
    let (sequence, time) = (c.opt_start_seq > 0, c.opt_start_time.is_some());
    let policy = match c.deliver_policy {
        DeliverPolicy::All => "all",
        DeliverPolicy::Last => "last",
        DeliverPolicy::New => "new",
        DeliverPolicy::LastPerSubject => "last per subject",
        DeliverPolicy::ByStartSequence => {
            return match (sequence, time) {
                (false, _) => is_not_set("by start sequence", "start sequence"),
                (_, true) => is_set("by start sequence", "time"),
                _ => Ok(()),
            };
        }
        DeliverPolicy::ByStartTime => {
            return match (time, sequence) {
                (false, _) => is_not_set("by start time", "start time"),
                (_, true) => is_set("by start time", "start sequence"),
                _ => Ok(()),
            };
        }
    };
    if sequence {
        return is_set(policy, "sequence");
    }
    if time {
        return is_set(policy, "time");
    }
    if c.deliver_policy == DeliverPolicy::LastPerSubject && c.filters().is_empty() {
        return is_not_set(policy, "filter subject");
    }
    Ok(())
}

/// Parses the percentage of acknowledgements for which a metric is published.
pub(crate) fn sampling(text: &str) -> Option<i64> {
    text.strip_suffix('%').unwrap_or(text).parse().ok()
}

fn check_sampling(text: &str) -> Result<(), ApiError> {
    if text.is_empty() {
        return Ok(());
    }
    match sampling(text) {
        Some(0..) => Ok(()),
        // Go shows the missing error as `<nil>`.
        Some(_) => Err(error::CONSUMER_INVALID_SAMPLING.with("err", "<nil>")),
        None => {
            let number = text.strip_suffix('%').unwrap_or(text);
            let e = format!("strconv.Atoi: parsing {number:?}: invalid syntax");
            Err(error::CONSUMER_INVALID_SAMPLING.with("err", e))
        }
    }
}

fn check_priority(c: &ConsumerConfig) -> Result<(), ApiError> {
    if c.priority_policy == PriorityPolicy::None {
        if !c.priority_groups.is_empty() {
            return Err(error::CONSUMER_PRIORITY_GROUP_WITH_POLICY_NONE.error());
        }
        if c.priority_timeout > 0 {
            return Err(error::CONSUMER_PINNED_TTL_WITHOUT_PRIORITY_POLICY_NONE.error());
        }
        return Ok(());
    }
    if c.is_push() {
        return Err(error::CONSUMER_PUSH_WITH_PRIORITY_GROUP.error());
    }
    if c.priority_groups.is_empty() {
        return Err(error::CONSUMER_PRIORITY_POLICY_WITHOUT_GROUP.error());
    }
    for group in &c.priority_groups {
        if group.is_empty() {
            return Err(error::CONSUMER_EMPTY_GROUP_NAME.error());
        }
        if !is_valid_group(group) {
            return Err(error::CONSUMER_INVALID_GROUP_NAME.error());
        }
    }
    Ok(())
}

/// Whether `group` is a valid name of a priority group.
pub(crate) fn is_valid_group(group: &str) -> bool {
    (1..=16).contains(&group.len())
        && group.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_=-".contains(&b))
}

/// Checks whether the consumer `old` may become `new`, which was checked. `is_bound`: its deliver subject has a subscription.
///
/// # Errors
///
/// The error that nats-server 2.15 reports first.
pub fn check_update(old: &ConsumerConfig, new: &ConsumerConfig, is_bound: bool) -> Result<(), ApiError> {
    let fixed = [
        (old.deliver_policy != new.deliver_policy, "deliver policy"),
        (old.mem_storage != new.mem_storage, "storage type"),
        (old.direct != new.direct, "direct"),
        (old.sourcing != new.sourcing, "sourcing"),
        (old.opt_start_seq != new.opt_start_seq, "start sequence"),
        (old.opt_start_time != new.opt_start_time, "start time"),
        (old.ack_policy != new.ack_policy, "ack policy"),
        (old.replay_policy != new.replay_policy, "replay policy"),
        (old.idle_heartbeat != new.idle_heartbeat, "heart beats"),
        (old.flow_control != new.flow_control, "flow control"),
    ];
    let refused = |text: &str| Err(error::CONSUMER_CREATE.with("err", text));
    if let Some((_, what)) = fixed.iter().find(|(changed, _)| *changed) {
        return refused(&format!("{what} can not be updated"));
    }
    if old.deliver_subject != new.deliver_subject {
        if !old.is_push() {
            return refused("can not update pull consumer to push based");
        }
        if !new.is_push() {
            return refused("can not update push consumer to pull based");
        }
        if is_bound {
            return Err(error::CONSUMER_NAME_EXIST.error());
        }
    }
    if old.max_waiting != new.max_waiting {
        return refused("max waiting can not be updated");
    }
    Ok(())
}
