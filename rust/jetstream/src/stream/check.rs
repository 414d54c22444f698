//! Checks of a stream's configuration, in the order of nats-server 2.15: the first check that fails decides the error.

use std::collections::{HashSet, VecDeque};

use stonechat_subject::{
    Transform, check_destination, is_subset, is_valid_literal, is_valid_subject, overlaps,
};

use super::config::{Discard, PersistMode, Placement, Retention, Storage, StreamConfig, StreamSource};
use crate::error::{self, ApiError, Template};
use crate::meetings::Meetings;

const NAME_LEN_MAX: usize = 255;
const DESCRIPTION_LEN_MAX: usize = 4096;
/// Bytes of metadata of a stream or a consumer, at most.
pub(crate) const METADATA_LEN_MAX: usize = 128 << 10;
const REPLICAS_MAX: i64 = 5;
const SECOND: i64 = 1_000_000_000;
/// The shortest `max_age` and the shortest duplicate window, in nanoseconds.
const SHORT: i64 = SECOND / 10;
const DUPLICATE_WINDOW_DEFAULT: i64 = 120 * SECOND;
const API_PREFIX: &str = "$JS.API";

/// Access to the configurations of the account's other streams.
pub trait Origins {
    /// The configuration of the stream `name`.
    fn stream(&self, name: &str) -> Option<&StreamConfig>;
}

/// An account without other streams.
impl Origins for () {
    fn stream(&self, _name: &str) -> Option<&StreamConfig> {
        None
    }
}

/// Fills in the defaults of `config` and checks it. `duplicate_window_max` is the server's limit in nanoseconds, 0 for none.
///
/// # Errors
///
/// The error of the first rule that `config` breaks. With `pedantic`, a value that would be adjusted is an error as well.
pub fn check(
    config: StreamConfig,
    pedantic: bool,
    duplicate_window_max: i64,
    origins: &dyn Origins,
) -> Result<StreamConfig, ApiError> {
    let meetings = Meetings::of(&config, origins);
    let mut config = config;
    check_with(&mut config, pedantic, duplicate_window_max, origins, &meetings)?;
    Ok(config)
}

/// As [`check`], with the overlaps between its subjects already found (`meetings`).
pub(crate) fn check_with(
    c: &mut StreamConfig,
    pedantic: bool,
    duplicate_window_max: i64,
    origins: &dyn Origins,
    meetings: &Meetings,
) -> Result<(), ApiError> {
    check_texts(c)?;
    fill_limits(c, pedantic)?;
    check_times(c, pedantic, duplicate_window_max)?;
    check_features(c, pedantic)?;
    if c.mirror.is_some() {
        check_mirror(c, pedantic, origins, meetings)?;
    }
    check_sources(c, origins, meetings)?;
    check_external(c, meetings)?;
    check_cycles(c, origins)?;
    check_subjects(c, meetings)?;
    check_transform(c)?;
    check_republish(c, pedantic)?;
    if c.placement == Some(Placement::default()) {
        c.placement = None;
    }
    if c.placement.as_ref().is_some_and(|p| !p.preferred.is_empty()) {
        return invalid("preferred server not permitted in placement");
    }
    Ok(())
}

fn invalid<T>(text: impl std::fmt::Display) -> Result<T, ApiError> {
    Err(error::STREAM_INVALID_CONFIG.with("err", text))
}

fn pedantic_error<T>(text: impl std::fmt::Display) -> Result<T, ApiError> {
    Err(error::PEDANTIC.with("err", text))
}

/// Whether `name` is a valid name of a stream or consumer.
fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && !name.contains([' ', '\t', '\r', '\n', '\x0c', '.', '*', '>', '\\', '/'])
}

fn check_texts(c: &StreamConfig) -> Result<(), ApiError> {
    if !is_valid_name(&c.name) {
        return invalid(r"stream name is required and can not contain '.', '*', '>', '\', '/'");
    }
    if c.name.len() > NAME_LEN_MAX {
        return invalid(format_args!("stream name is too long, maximum allowed is {NAME_LEN_MAX}"));
    }
    if c.description.len() > DESCRIPTION_LEN_MAX {
        return invalid(format_args!(
            "stream description is too long, maximum allowed is {DESCRIPTION_LEN_MAX}"
        ));
    }
    if c.metadata.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() > METADATA_LEN_MAX {
        return invalid(format_args!("stream metadata exceeds maximum size of {METADATA_LEN_MAX} bytes"));
    }
    Ok(())
}

fn fill_limits(c: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    if c.num_replicas == 0 {
        c.num_replicas = 1;
    }
    if c.num_replicas > REPLICAS_MAX {
        return invalid(format_args!("maximum replicas is {REPLICAS_MAX}"));
    }
    if c.num_replicas < 0 {
        return Err(error::REPLICAS_COUNT_CANNOT_BE_NEGATIVE.error());
    }
    let fill = |value: &mut i64, name: &str| {
        if *value < -1 && pedantic {
            return pedantic_error(format_args!("{name} must be set to -1"));
        }
        if *value < -1 || *value == 0 {
            *value = -1;
        }
        Ok(())
    };
    fill(&mut c.max_msgs, "max_msgs")?;
    fill(&mut c.max_msgs_per_subject, "max_msgs_per_subject")?;
    fill(&mut c.max_bytes, "max_bytes")?;
    let mut size = i64::from(c.max_msg_size);
    fill(&mut size, "max_msg_size")?;
    c.max_msg_size = i32::try_from(size).unwrap_or(-1);
    fill(&mut c.max_consumers, "max_consumers")
}

fn check_times(c: &mut StreamConfig, pedantic: bool, window_max: i64) -> Result<(), ApiError> {
    if c.max_age < 0 {
        return invalid("max age can not be negative");
    }
    if c.max_age != 0 && c.max_age < SHORT {
        return invalid("max age needs to be >= 100ms");
    }
    if c.duplicate_window == 0 && c.mirror.is_none() && c.sources.is_empty() {
        c.duplicate_window = DUPLICATE_WINDOW_DEFAULT;
        if window_max > 0 && c.duplicate_window > window_max {
            if pedantic {
                return pedantic_error("duplicate window limits are higher than current limits");
            }
            c.duplicate_window = window_max;
        }
        if c.max_age != 0 && c.max_age < c.duplicate_window {
            if pedantic {
                return pedantic_error("duplicate window cannot be bigger than max age");
            }
            c.duplicate_window = c.max_age;
        }
    }
    if c.duplicate_window < 0 {
        return invalid("duplicates window can not be negative");
    }
    if c.max_age != 0 && c.duplicate_window > c.max_age {
        return invalid("duplicates window can not be larger then max age");
    }
    if window_max > 0 && c.duplicate_window > window_max {
        let limit = go_duration(window_max);
        return invalid(format_args!("duplicates window can not be larger then server limit of {limit}"));
    }
    if c.duplicate_window > 0 && c.duplicate_window < SHORT {
        return invalid("duplicates window needs to be >= 100ms");
    }
    Ok(())
}

/// Formats a duration as Go does, as far as limits need it: in hours, minutes and seconds.
fn go_duration(nanoseconds: i64) -> String {
    let seconds = nanoseconds / SECOND;
    let fraction = format!("{:09}", nanoseconds % SECOND);
    let fraction = fraction.trim_end_matches('0');
    let rest = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{}ms", nanoseconds as f64 / 1e6),
        (0, 0, s) => format!("{s}{rest}s"),
        (0, m, s) => format!("{m}m{s}{rest}s"),
        (h, m, s) => format!("{h}h{m}m{s}{rest}s"),
    }
}

fn check_features(c: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    if c.deny_purge && c.allow_rollup_hdrs {
        return invalid("roll-ups require the purge permission");
    }
    if c.allow_msg_counter {
        let reason = match c {
            _ if c.discard == Discard::New => Some("counter stream cannot use discard new"),
            _ if c.allow_msg_ttl => Some("counter stream cannot use message TTLs"),
            _ if c.allow_msg_schedules => Some("counter stream cannot use message schedules"),
            _ if c.retention != Retention::Limits => Some("counter stream can only use limits retention"),
            _ => None,
        };
        if let Some(reason) = reason {
            return invalid(reason);
        }
    }
    if c.discard_new_per_subject && c.discard != Discard::New {
        return invalid("discard new per subject requires discard new policy to be set");
    }
    if c.discard_new_per_subject && c.max_msgs_per_subject <= 0 {
        return invalid("discard new per subject requires max msgs per subject > 0");
    }
    let roll_up = |c: &mut StreamConfig, what: &str| {
        if !c.allow_rollup_hdrs {
            if pedantic {
                return invalid(format_args!("{what} cannot be set if roll-ups are disabled"));
            }
            (c.allow_rollup_hdrs, c.deny_purge) = (true, false);
        }
        Ok(())
    };
    if c.subject_delete_marker_ttl < 0 {
        return invalid("subject delete marker TTL must not be negative");
    }
    if c.subject_delete_marker_ttl > 0 {
        if c.subject_delete_marker_ttl < SECOND {
            return invalid("subject delete marker TTL must be at least 1 second");
        }
        if !c.allow_msg_ttl && pedantic {
            return invalid("subject delete marker cannot be set if message TTLs are disabled");
        }
        c.allow_msg_ttl = true;
        roll_up(c, "subject delete marker")?;
    }
    if c.allow_msg_schedules {
        if c.discard == Discard::New {
            return invalid("message scheduling cannot use discard new");
        }
        roll_up(c, "message scheduling")?;
    }
    if c.persist_mode == PersistMode::Async {
        if c.storage != Storage::File {
            return invalid("async persist mode is only supported on file storage");
        }
        if c.num_replicas > 1 {
            return invalid("async persist mode is not supported on replicated streams");
        }
        if c.allow_atomic {
            return invalid("async persist mode is not supported with atomic batch publish");
        }
    }
    Ok(())
}

fn check_mirror(
    c: &mut StreamConfig,
    pedantic: bool,
    origins: &dyn Origins,
    meetings: &Meetings,
) -> Result<(), ApiError> {
    let Some(mirror) = &c.mirror else { return Ok(()) };
    let excluded: [(bool, Template); 7] = [
        (c.first_seq > 0, error::MIRROR_WITH_FIRST_SEQ),
        (!c.subjects.is_empty(), error::MIRROR_WITH_SUBJECTS),
        (!c.sources.is_empty(), error::MIRROR_WITH_SOURCES),
        (c.allow_msg_counter, error::MIRROR_WITH_COUNTERS),
        (c.allow_atomic, error::MIRROR_WITH_ATOMIC_PUBLISH),
        (c.allow_batched, error::MIRROR_WITH_BATCH_PUBLISH),
        (c.allow_msg_schedules, error::MIRROR_WITH_MSG_SCHEDULES),
    ];
    if let Some((_, error)) = excluded.iter().find(|(there, _)| *there) {
        return Err(error.error());
    }
    if !has_valid_consumer(mirror) {
        return Err(error::MIRROR_DURABLE_CONSUMER_CFG_INVALID.error());
    }
    if !mirror.filter_subject.is_empty() && !mirror.subject_transforms.is_empty() {
        return Err(error::MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED.error());
    }
    if c.subject_delete_marker_ttl > 0 {
        return invalid("subject delete markers forbidden on mirrors");
    }
    for (i, transform) in mirror.subject_transforms.iter().enumerate() {
        if !transform.src.is_empty() && !is_valid_subject(transform.src.as_bytes()) {
            return Err(error::MIRROR_INVALID_SUBJECT_FILTER
                .with("err", format_args!("invalid subject {}", transform.src)));
        }
        check_mapping(&transform.src, &transform.dest)
            .map_err(|e| error::MIRROR_INVALID_TRANSFORM_DESTINATION.with("err", e))?;
        if meetings.mirror_transform() == Some(i) {
            return Err(error::MIRROR_OVERLAPPING_SUBJECT_FILTERS.error());
        }
    }
    if mirror.external.is_none() {
        if !is_valid_name(&mirror.name) {
            return Err(error::MIRROR_INVALID_STREAM_NAME.error());
        }
        if let Some(origin) = origins.stream(&mirror.name) {
            if c.max_msg_size > 0 && origin.max_msg_size > 0 && c.max_msg_size < origin.max_msg_size {
                return Err(error::MIRROR_MAX_MESSAGE_SIZE_TOO_BIG.error());
            }
            if pedantic && c.mirror_direct != origin.allow_direct {
                return pedantic_error("origin stream has direct get set, mirror has it disabled");
            }
            c.mirror_direct = origin.allow_direct;
        }
    }
    Ok(())
}

/// Whether the consumer that a source names is compatible with its other fields. True if it names none.
fn has_valid_consumer(source: &StreamSource) -> bool {
    source.consumer.as_ref().is_none_or(|c| {
        is_valid_name(&c.name)
            && is_valid_literal(c.deliver_subject.as_bytes())
            && source.opt_start_seq == 0
            && source.opt_start_time.is_none()
            && source.filter_subject.is_empty()
    })
}

fn check_mapping(source: &str, destination: &str) -> Result<(), stonechat_subject::TransformError> {
    if destination.is_empty() {
        return Ok(());
    }
    check_destination(destination.as_bytes())?;
    Transform::new(source.as_bytes(), destination.as_bytes()).map(drop)
}

fn check_sources(c: &StreamConfig, origins: &dyn Origins, meetings: &Meetings) -> Result<(), ApiError> {
    if !c.sources.is_empty() && c.allow_msg_schedules {
        return Err(error::SOURCE_WITH_MSG_SCHEDULES.error());
    }
    let (mut seen, mut consumers) = (HashSet::new(), HashSet::new());
    for (i, source) in c.sources.iter().enumerate() {
        if !is_valid_name(&source.name) {
            return Err(error::SOURCE_INVALID_STREAM_NAME.error());
        }
        let external = source.external.as_ref().map(|e| (&e.api, &e.deliver));
        let transforms: Vec<_> = source.subject_transforms.iter().map(|t| (&t.src, &t.dest)).collect();
        if !seen.insert((&source.name, &source.filter_subject, transforms, external)) {
            return Err(error::SOURCE_DUPLICATE_DETECTED.error());
        }
        if !source.filter_subject.is_empty() && !source.subject_transforms.is_empty() {
            return Err(error::SOURCE_MULTIPLE_FILTERS_NOT_ALLOWED.error());
        }
        for transform in &source.subject_transforms {
            if !transform.src.is_empty() && !is_valid_subject(transform.src.as_bytes()) {
                let text = format!("invalid subject {}", transform.src);
                return Err(error::SOURCE_INVALID_SUBJECT_FILTER.with("err", text));
            }
            check_mapping(&transform.src, &transform.dest)
                .map_err(|e| error::SOURCE_INVALID_TRANSFORM_DESTINATION.with("err", e))?;
        }
        if meetings.met_source == Some(i) {
            return Err(error::SOURCE_OVERLAPPING_SUBJECT_FILTERS.error());
        }
        if !has_valid_consumer(source) {
            return Err(error::SOURCE_DURABLE_CONSUMER_CFG_INVALID.error());
        }
        if let Some(consumer) = &source.consumer
            && !consumers.insert((&source.name, &consumer.name, external))
        {
            return Err(error::SOURCE_DURABLE_CONSUMER_DUPLICATE_DETECTED.error());
        }
        if source.external.is_none()
            && let Some(origin) = origins.stream(&source.name)
            && c.max_msg_size > 0
            && origin.max_msg_size > 0
            && c.max_msg_size < origin.max_msg_size
        {
            return Err(error::SOURCE_MAX_MESSAGE_SIZE_TOO_BIG.error());
        }
    }
    Ok(())
}

fn check_external(c: &StreamConfig, meetings: &Meetings) -> Result<(), ApiError> {
    let all = || c.mirror.iter().chain(&c.sources);
    for prefix in all().filter_map(|s| s.external.as_ref()).map(|e| &e.deliver).filter(|p| !p.is_empty()) {
        if !is_valid_literal(prefix.as_bytes()) {
            return Err(error::STREAM_INVALID_EXTERNAL_DELIVERY_SUBJ.with("prefix", prefix));
        }
        if let Some((_, subject)) = meetings.prefix().filter(|(met, _)| met == prefix) {
            return Err(error::STREAM_EXTERNAL_DEL_PREFIX_OVERLAPS
                .with("prefix", prefix)
                .with("subject", subject));
        }
    }
    for prefix in all().filter_map(|s| s.external.as_ref()).map(|e| &e.api).filter(|p| !p.is_empty()) {
        if !is_valid_literal(prefix.as_bytes()) {
            return invalid(format_args!(
                "stream external api prefix {prefix:?} must be a valid subject without wildcards"
            ));
        }
        if overlaps(prefix.as_bytes(), API_PREFIX.as_bytes()) {
            return Err(error::STREAM_EXTERNAL_API_OVERLAP
                .with("prefix", prefix)
                .with("subject", API_PREFIX));
        }
    }
    Ok(())
}

/// Visits up to which the search for cycles visits a stream once for each path to it, as nats-server 2.15 does. After that it
/// visits each stream once.
const CYCLE_LOOKS: usize = 20_000;

/// Refuses a stream that feeds itself, directly or through other streams. As in nats-server 2.15 the search is breadth-first and
/// reports a cycle for some streams that have none: for a stream whose sources are an origin and its mirror.
fn check_cycles(c: &StreamConfig, origins: &dyn Origins) -> Result<(), ApiError> {
    let (mut visited, mut queued) = (HashSet::new(), HashSet::new());
    let mut to_visit = VecDeque::from([c]);
    let mut looks = 0;
    while let Some(stream) = to_visit.pop_front() {
        visited.insert(stream.name.as_str());
        let sources = stream.sources.iter().map(|s| (s, false));
        for (source, mirror) in sources.chain(stream.mirror.iter().map(|m| (m, true))) {
            looks += 1;
            if source.external.is_some() {
                continue;
            }
            if visited.contains(source.name.as_str()) {
                let filter = source.filter_subject.as_bytes();
                let meets = mirror
                    || filter.is_empty()
                    || stream.subjects.iter().any(|s| overlaps(s.as_bytes(), filter));
                if meets {
                    return invalid("detected cycle");
                }
            } else if let Some(origin) = origins.stream(&source.name)
                && (queued.insert(source.name.as_str()) || looks < CYCLE_LOOKS)
            {
                to_visit.push_back(origin);
            }
        }
    }
    Ok(())
}

fn check_subjects(c: &mut StreamConfig, meetings: &Meetings) -> Result<(), ApiError> {
    if c.subjects.is_empty() && c.mirror.is_none() && c.sources.is_empty() {
        c.subjects.push(c.name.clone());
        return Ok(());
    }
    for (i, subject) in c.subjects.iter().enumerate() {
        let bytes = subject.as_bytes();
        if !is_valid_subject(bytes) {
            return invalid("invalid subject");
        }
        if subject == ">" && !c.no_ack {
            return invalid("capturing all subjects requires no-ack to be true");
        }
        if subject == ">" && c.num_replicas != 1 {
            return invalid("capturing all subjects requires replicas of 1");
        }
        if !c.no_ack {
            let api: [&[u8]; 3] = [b"$JS.>", b"$JSC.>", b"$NRG.>"];
            if api.iter().any(|a| overlaps(bytes, a)) && !is_subset(bytes, b"$JS.EVENT.>") {
                return invalid("subjects that overlap with jetstream api require no-ack to be true");
            }
            if overlaps(bytes, b"$SYS.>") && !is_subset(bytes, b"$SYS.ACCOUNT.>") {
                return invalid("subjects that overlap with system api require no-ack to be true");
            }
        }
        if meetings.subject() == Some(i)
            && let Some(other) = c.subjects[i + 1..].iter().find(|o| overlaps(bytes, o.as_bytes()))
        {
            return invalid(format_args!("subject {subject:?} overlaps with {other:?}"));
        }
    }
    Ok(())
}

fn check_transform(c: &StreamConfig) -> Result<(), ApiError> {
    let Some(transform) = &c.subject_transform else { return Ok(()) };
    if !transform.src.is_empty() && !is_valid_subject(transform.src.as_bytes()) {
        return Err(error::STREAM_TRANSFORM_INVALID_SOURCE
            .with("err", format_args!("invalid subject {}", transform.src)));
    }
    check_mapping(&transform.src, &transform.dest)
        .map_err(|e| error::STREAM_TRANSFORM_INVALID_DESTINATION.with("err", e))
}

fn check_republish(c: &mut StreamConfig, pedantic: bool) -> Result<(), ApiError> {
    let Some(republish) = &mut c.republish else { return Ok(()) };
    if republish.src.is_empty() {
        if pedantic {
            return pedantic_error("republish source can not be empty");
        }
        republish.src = ">".to_owned();
    }
    if republish.src == ">"
        && republish.dest == ">"
        && let Some(transform) = &c.subject_transform
        && c.subjects == [transform.src.as_str()]
    {
        if pedantic {
            return pedantic_error("implicit republish based on subject transform");
        }
        (republish.src, republish.dest) = (transform.dest.clone(), transform.dest.clone());
    }
    // As nats-server 2.15, a placeholder in the destination counts as a literal token.
    let destination = republish.dest.as_bytes();
    if c.subjects.iter().any(|s| overlaps(destination, s.as_bytes())) {
        return invalid("stream configuration for republish destination forms a cycle");
    }
    if Transform::new(republish.src.as_bytes(), destination).is_err() {
        return invalid(format_args!(
            "stream configuration for republish with transform from '{}' to '{}' not valid",
            republish.src, republish.dest
        ));
    }
    Ok(())
}
