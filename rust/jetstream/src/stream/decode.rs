//! Reading a stream's configuration from a request.

use super::config::{
    Compression, ConsumerLimits, Discard, External, PersistMode, Placement, Republish, Retention,
    SourceConsumer, Storage, StreamConfig, StreamSource, SubjectTransform,
};
use crate::json::{DecodeError, Field, parse};

/// A request to create or update a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamRequest {
    /// The requested configuration.
    pub config: StreamConfig,
    /// Whether values that would be adjusted are refused instead.
    pub pedantic: bool,
}

impl StreamRequest {
    /// Reads a request's payload. With `strict`, unknown fields are errors.
    pub fn decode(payload: &[u8], strict: bool) -> Result<Self, DecodeError> {
        let mut request = Self::default();
        let mut at = 0;
        // Of several JSON values in a row, each overwrites the fields of those before, as in nats-server 2.15.
        while let Some((document, end)) = parse(payload, at)? {
            let root = Field::root(document.root(), "StreamConfigRequest");
            for (name, field) in root.request("server.StreamConfigRequest")? {
                if !request.field(&name.to_lowercase(), &field)? && strict {
                    return Err(DecodeError::UnknownField(name.into_owned()));
                }
            }
            at = end;
        }
        Ok(request)
    }

    /// Reads one field; false if the name is unknown.
    fn field(&mut self, name: &str, field: &Field<'_>) -> Result<bool, DecodeError> {
        const DURATION: &str = "time.Duration";
        let c = &mut self.config;
        match name {
            "pedantic" => self.pedantic = field.bool()?,
            "name" => c.name = field.string()?,
            "description" => c.description = field.string()?,
            "subjects" => c.subjects = strings(field, "[]string")?,
            "retention" => {
                let words = [
                    ("limits", Retention::Limits),
                    ("interest", Retention::Interest),
                    ("workqueue", Retention::Workqueue),
                ];
                c.retention = field.word(&words)?;
            }
            "max_consumers" => c.max_consumers = field.integer("int")?,
            "max_msgs" => c.max_msgs = field.integer("int64")?,
            "max_bytes" => c.max_bytes = field.integer("int64")?,
            "max_age" => c.max_age = field.integer(DURATION)?,
            "max_msgs_per_subject" => c.max_msgs_per_subject = field.integer("int64")?,
            "max_msg_size" => c.max_msg_size = field.integer("int32")?,
            "discard" => c.discard = field.word(&[("old", Discard::Old), ("new", Discard::New)])?,
            "storage" => c.storage = field.word(&[("file", Storage::File), ("memory", Storage::Memory)])?,
            "num_replicas" => c.num_replicas = field.integer("int")?,
            "no_ack" => c.no_ack = field.bool()?,
            "duplicate_window" => c.duplicate_window = field.integer(DURATION)?,
            "placement" => c.placement = optional(field, placement)?,
            "mirror" => c.mirror = optional(field, source)?,
            "sources" => {
                c.sources =
                    field.list("[]*server.StreamSource")?.iter().map(source).collect::<Result<_, _>>()?;
            }
            "compression" => c.compression = compression(field)?,
            "first_seq" => c.first_seq = field.integer("uint64")?,
            "subject_transform" => c.subject_transform = optional(field, transform)?,
            "republish" => c.republish = optional(field, republish)?,
            "allow_direct" => c.allow_direct = field.bool()?,
            "mirror_direct" => c.mirror_direct = field.bool()?,
            "discard_new_per_subject" => c.discard_new_per_subject = field.bool()?,
            "sealed" => c.sealed = field.bool()?,
            "deny_delete" => c.deny_delete = field.bool()?,
            "deny_purge" => c.deny_purge = field.bool()?,
            "allow_rollup_hdrs" => c.allow_rollup_hdrs = field.bool()?,
            "consumer_limits" => c.consumer_limits = optional(field, consumer_limits)?.unwrap_or_default(),
            "allow_msg_ttl" => c.allow_msg_ttl = field.bool()?,
            "subject_delete_marker_ttl" => c.subject_delete_marker_ttl = field.integer(DURATION)?,
            "allow_msg_counter" => c.allow_msg_counter = field.bool()?,
            "allow_atomic" => c.allow_atomic = field.bool()?,
            "allow_msg_schedules" => c.allow_msg_schedules = field.bool()?,
            "persist_mode" => {
                let words = [
                    ("default", PersistMode::Default),
                    ("", PersistMode::Default),
                    ("async", PersistMode::Async),
                ];
                c.persist_mode = field.word(&words)?;
            }
            "allow_batched" => c.allow_batched = field.bool()?,
            "metadata" => c.metadata = field.strings()?.into_iter().collect(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn optional<T>(
    field: &Field<'_>,
    read: impl Fn(&Field<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if field.is_null() { Ok(None) } else { read(field).map(Some) }
}

fn strings(field: &Field<'_>, wanted: &'static str) -> Result<Vec<String>, DecodeError> {
    field.texts(wanted)
}

/// Reads an object's members with `read`, which returns false for an unknown name.
fn object<T: Default>(
    field: &Field<'_>,
    wanted: &'static str,
    read: impl Fn(&mut T, &str, &Field<'_>) -> Result<bool, DecodeError>,
) -> Result<T, DecodeError> {
    let mut value = T::default();
    if field.is_null() {
        return Ok(value);
    }
    for (name, field) in field.object(wanted)? {
        if !read(&mut value, &name.to_lowercase(), &field)? {
            return Err(DecodeError::UnknownField(name.into_owned()));
        }
    }
    Ok(value)
}

fn compression(field: &Field<'_>) -> Result<Compression, DecodeError> {
    match field.raw() {
        b"\"none\"" => Ok(Compression::None),
        b"\"s2\"" => Ok(Compression::S2),
        _ if field.is_null() || field.kind() == "string" => {
            Err(DecodeError::Other("unknown compression algorithm".to_owned()))
        }
        _ => Err(DecodeError::Type {
            found: field.kind().to_owned(),
            place: "value".to_owned(),
            wanted: "string",
        }),
    }
}

fn placement(field: &Field<'_>) -> Result<Placement, DecodeError> {
    object(field, "server.Placement", |p: &mut Placement, name, field| {
        match name {
            "cluster" => p.cluster = field.string()?,
            "tags" => p.tags = strings(field, "[]string")?,
            "preferred" => p.preferred = field.string()?,
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn source(field: &Field<'_>) -> Result<StreamSource, DecodeError> {
    object(field, "server.StreamSource", |s: &mut StreamSource, name, field| {
        match name {
            "name" => s.name = field.string()?,
            "opt_start_seq" => s.opt_start_seq = field.integer("uint64")?,
            "opt_start_time" => s.opt_start_time = optional(field, time)?,
            "filter_subject" => s.filter_subject = field.string()?,
            "subject_transforms" => {
                let list = field.list("[]server.SubjectTransformConfig")?;
                s.subject_transforms = list.iter().map(transform).collect::<Result<_, _>>()?;
            }
            "external" => s.external = optional(field, external)?,
            "consumer" => s.consumer = optional(field, consumer)?,
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn external(field: &Field<'_>) -> Result<External, DecodeError> {
    object(field, "server.ExternalStream", |e: &mut External, name, field| {
        match name {
            "api" => e.api = field.string()?,
            "deliver" => e.deliver = field.string()?,
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn consumer(field: &Field<'_>) -> Result<SourceConsumer, DecodeError> {
    object(field, "server.StreamConsumerSource", |c: &mut SourceConsumer, name, field| {
        match name {
            "name" => c.name = field.string()?,
            "deliver_subject" => c.deliver_subject = field.string()?,
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn transform(field: &Field<'_>) -> Result<SubjectTransform, DecodeError> {
    object(field, "server.SubjectTransformConfig", |t: &mut SubjectTransform, name, field| {
        match name {
            "src" => t.src = field.string()?,
            "dest" => t.dest = field.string()?,
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn republish(field: &Field<'_>) -> Result<Republish, DecodeError> {
    object(field, "server.RePublish", |r: &mut Republish, name, field| {
        match name {
            "src" => r.src = field.string()?,
            "dest" => r.dest = field.string()?,
            "headers_only" => r.headers_only = field.bool()?,
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn consumer_limits(field: &Field<'_>) -> Result<ConsumerLimits, DecodeError> {
    object(field, "server.StreamConsumerLimits", |l: &mut ConsumerLimits, name, field| {
        match name {
            "inactive_threshold" => l.inactive_threshold = field.integer("time.Duration")?,
            "max_ack_pending" => l.max_ack_pending = field.integer("int")?,
            _ => return Ok(false),
        }
        Ok(true)
    })
}

/// Reads a time in RFC 3339.
fn time(field: &Field<'_>) -> Result<String, DecodeError> {
    if field.kind() != "string" {
        return Err(field.wrong(field.kind(), "time.Time"));
    }
    let text = field.string()?;
    let bad = |rest: &str, wanted: &str| {
        DecodeError::Other(format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {rest:?} as {wanted:?}"
        ))
    };
    let mut rest = text.as_str();
    for part in ["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05"] {
        let fits = |head: &str| head == part || head.bytes().all(|b| b.is_ascii_digit()) && part.len() > 1;
        rest = match rest.split_at_checked(part.len()) {
            Some((head, tail)) if fits(head) => tail,
            _ => return Err(bad(rest, part)),
        };
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            rest = &fraction[digits..];
        }
    }
    let zone = rest.as_bytes();
    let offset = matches!(zone, [b'+' | b'-', a, b, b':', c, d]
        if [a, b, c, d].iter().all(|d| d.is_ascii_digit()));
    if rest == "Z" || offset { Ok(text) } else { Err(bad(rest, "Z07:00")) }
}
