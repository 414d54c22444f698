//! Requests for the info of one stream.

use std::fmt::Write;

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;

use super::long::{Long, STEP};
use super::requests::InfoRequest;
use super::{API_LEVEL, Answer, Reply, Request, fields};
use crate::engine::{Engine, Storage, Stream};
use crate::error::ApiError;
use crate::ids::StreamId;
use crate::time::rfc3339;

const SUBJECTS_MAX: usize = 100_000;
/// Sequences without a message that one answer lists, at most. nats-server has no limit, and such a request may exhaust its
/// memory.
const GAPS_MAX: usize = 1_000_000;

impl<D: Disk> Engine<D> {
    /// Answers a request for a stream's info: at once if few subjects are listed, otherwise later.
    pub(super) fn stream_info(
        &mut self,
        name: &str,
        request: &Request<'_>,
        asked: Result<InfoRequest, ApiError>,
    ) -> Option<Reply> {
        let begun = asked.and_then(|wanted| Ok((self.find(request.account, name)?, wanted)));
        let (stream_id, wanted) = match begun {
            Ok(begun) => begun,
            Err(e) => return Some(reply_of(Err(e), Vec::new())),
        };
        let filter = Some(wanted.subjects_filter).filter(|filter| !filter.is_empty());
        let mut listing = Listing {
            stream_id,
            offset: wanted.offset.max(0),
            gaps: wanted.deleted_details.then(Gaps::default),
            filter: filter.map(|filter| Filter::new(filter.as_bytes())),
            after: None,
            total: 0,
            told: 0,
            page: String::new(),
        };
        let mut budget = STEP;
        let reply = self.go_on_listing(&mut listing, &mut budget);
        self.requests.spend(STEP - budget);
        if reply.is_none() {
            self.ask_long(request, Long::Listing(listing));
        }
        reply
    }

    /// Continues to list the subjects of a stream; returns the answer when all were visited.
    pub(super) fn go_on_listing(&mut self, listing: &mut Listing, budget: &mut usize) -> Option<Reply> {
        let Some(stream) = self.streams.get(&listing.stream_id) else {
            return Some(reply_of(Err(crate::error::STREAM_NOT_FOUND.error()), Vec::new()));
        };
        if !listing.step(stream.core.messages(), budget) {
            return None;
        }
        let page = match listing.total {
            0 => json!({"total": 0, "offset": 0, "limit": 0}),
            total => json!({"total": total, "offset": listing.offset, "limit": SUBJECTS_MAX}),
        };
        let mut answer = fields(page);
        let mut parts = Vec::new();
        let mut part = |text: String| {
            let place = self.host.unique_id();
            parts.push((place.clone(), text));
            place
        };
        let subjects = (listing.told > 0).then(|| part(format!("{{{}}}", listing.page)));
        let gaps = listing.gaps.take().filter(|gaps| gaps.told > 0);
        let gaps = gaps.map(|gaps| part(format!("[{}]", gaps.list)));
        let stream = self.streams.get(&listing.stream_id)?;
        let mut told = self.describe(stream, true);
        if let Some(subjects) = subjects {
            told["state"]["subjects"] = subjects.into();
        }
        if let Some(gaps) = gaps {
            told["state"]["deleted"] = gaps.into();
        }
        answer.extend(told);
        answer.insert("cluster".to_owned(), json!({"leader": self.options.server_name}));
        answer.insert("ts".to_owned(), rfc3339(self.now).into());
        Some(reply_of(Ok(answer), parts))
    }

    /// Configuration, creation and state of a stream. `stamped`: with the server's version and API level.
    pub(crate) fn describe(&self, stream: &Stream<D>, stamped: bool) -> Answer {
        let mut config = serde_json::to_value(stream.core.config()).unwrap_or_default();
        if stamped {
            config["metadata"]["_nats.ver"] = self.options.version.as_str().into();
            config["metadata"]["_nats.level"] = API_LEVEL.to_string().into();
        }
        let mut info = fields(json!({
            "config": config,
            "created": rfc3339(stream.created),
            "state": state(stream),
        }));
        let (mirror, sources) = self.describe_feeds(stream);
        if let Some(mirror) = mirror {
            info.insert("mirror".to_owned(), mirror);
        }
        if !sources.is_empty() {
            info.insert("sources".to_owned(), sources.into());
        }
        if let Some(domain) = &self.options.domain {
            info.insert("domain".to_owned(), domain.as_str().into());
        }
        info
    }
}

/// A list of the matching subjects of a stream with their counts, in progress.
#[derive(Debug)]
pub(super) struct Listing {
    stream_id: StreamId,
    offset: i64,
    /// `None` if no gaps are requested.
    gaps: Option<Gaps>,
    /// `None` if no subjects are requested.
    filter: Option<Filter>,
    /// The last subject that was visited.
    after: Option<Vec<u8>>,
    total: usize,
    told: usize,
    /// The listed subjects, as JSON.
    page: String,
}

impl Listing {
    /// Continues with some subjects or gaps; true when all were visited.
    fn step(&mut self, messages: &impl Messages, budget: &mut usize) -> bool {
        self.step_subjects(messages, budget)
            && self.gaps.as_mut().is_none_or(|gaps| gaps.step(messages, budget))
    }

    fn step_subjects(&mut self, messages: &impl Messages, budget: &mut usize) -> bool {
        let Some(filter) = &self.filter else { return true };
        messages.some_subjects(filter, &mut self.after, budget, &mut |subject, known| {
            if self.total as i64 >= self.offset && self.told < SUBJECTS_MAX {
                let comma = if self.told == 0 { "" } else { "," };
                let name = Value::from(String::from_utf8_lossy(subject));
                // Writing to a string does not fail.
                let _ = write!(self.page, "{comma}{name}:{}", known.count);
                self.told += 1;
            }
            self.total += 1;
        })
    }
}

/// The sequences between the first and the last one that hold no message.
#[derive(Debug, Default)]
struct Gaps {
    /// The sequence to continue at.
    from: u64,
    told: usize,
    /// The listed sequences, as JSON.
    list: String,
}

impl Gaps {
    /// Continues with some gaps; true when all were visited, or the list is full.
    fn step(&mut self, messages: &impl Messages, budget: &mut usize) -> bool {
        if messages.count() == 0 {
            return true;
        }
        let Self { from, told, list } = self;
        let is_all = messages.some_gaps(from, budget, &mut |gap| {
            for sequence in gap.take(GAPS_MAX - *told) {
                let comma = if *told == 0 { "" } else { "," };
                // Writing to a string does not fail.
                let _ = write!(list, "{comma}{sequence}");
                *told += 1;
            }
        });
        is_all || *told == GAPS_MAX
    }
}

fn reply_of(result: Result<Answer, ApiError>, parts: Vec<(String, String)>) -> Reply {
    Reply::new("stream_info_response", result)
        .or(json!({"total": 0, "offset": 0, "limit": 0}))
        .with_parts(parts)
}

fn state<D: Disk>(stream: &Stream<D>) -> Value {
    let messages = stream.core.messages();
    let s = messages.state();
    let mut state = json!({
        "messages": s.messages,
        "bytes": s.bytes,
        "first_seq": s.first_sequence,
        "first_ts": rfc3339(s.first_time),
        "last_seq": s.last_sequence,
        "last_ts": rfc3339(s.last_time),
    });
    if s.subjects > 0 {
        state["num_subjects"] = s.subjects.into();
    }
    let deleted = if s.messages == 0 { 0 } else { s.last_sequence + 1 - s.first_sequence - s.messages };
    if deleted > 0 {
        state["num_deleted"] = deleted.into();
    }
    if let Storage::File(file) = messages
        && file.lost() > 0
    {
        state["lost"] = json!({"msgs": file.lost_sequences(), "bytes": 0});
    }
    let consumers = stream.consumers.len();
    state["consumer_count"] = consumers.into();
    state
}
