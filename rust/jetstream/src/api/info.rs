//! Stream info, names and lists.

use std::ops::ControlFlow;

use serde_json::{Map, Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;
use stonechat_subject::overlaps;

use super::requests::{InfoRequest, ListRequest};
use super::{API_LEVEL, Answer, Reply, fields};
use crate::engine::{Engine, Storage, Stream};
use crate::error::ApiError;
use crate::time::rfc3339;

const NAMES_MAX: usize = 1024;
const LIST_MAX: usize = 256;
const SUBJECTS_MAX: usize = 100_000;

impl<D: Disk> Engine<D> {
    pub(super) fn stream_info(&self, account: u32, name: &str, payload: &[u8]) -> Reply {
        let info = || -> Result<Answer, ApiError> {
            let request = InfoRequest::decode(payload, self.options.strict)?;
            let group = self.find(account, name)?;
            let Some(stream) = self.streams.get(&group) else {
                return Err(crate::error::STREAM_NOT_FOUND.error());
            };
            let (mut page, mut subjects) = (json!({"total": 0, "offset": 0, "limit": 0}), None);
            if !request.subjects_filter.is_empty() {
                let (total, found) = subjects_of(stream, &request);
                if total > 0 {
                    page = json!({"total": total, "offset": request.offset.max(0), "limit": SUBJECTS_MAX});
                    subjects = Some(found).filter(|found| !found.is_empty());
                }
            }
            let mut answer = fields(page);
            answer.extend(self.describe(stream, true, request.deleted_details, subjects));
            answer.insert("cluster".to_owned(), json!({"leader": self.options.server_name}));
            answer.insert("ts".to_owned(), rfc3339(self.now).into());
            Ok(answer)
        };
        Reply::new("stream_info_response", info()).or(json!({"total": 0, "offset": 0, "limit": 0}))
    }

    /// Configuration, creation and state of a stream. `stamped`: with what the server says of itself.
    pub(crate) fn describe(
        &self,
        stream: &Stream<D>,
        stamped: bool,
        deleted_details: bool,
        subjects: Option<Map<String, Value>>,
    ) -> Answer {
        let mut config = serde_json::to_value(stream.core.config()).unwrap_or_default();
        if stamped {
            config["metadata"]["_nats.ver"] = self.options.version.as_str().into();
            config["metadata"]["_nats.level"] = API_LEVEL.to_string().into();
        }
        let mut info = fields(json!({
            "config": config,
            "created": rfc3339(stream.created),
            "state": state(stream, deleted_details, subjects),
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

    /// Names of the streams whose subjects collide with `subject`, or of all if that is empty.
    fn names(&self, account: u32, subject: &str) -> Vec<(&String, &Stream<D>)> {
        let Some(account) = self.accounts.get(account as usize) else { return Vec::new() };
        let streams =
            account.streams.iter().filter_map(|(name, group)| Some((name, self.streams.get(group)?)));
        let wanted = |stream: &Stream<D>| {
            subject.is_empty() || stream.subjects().iter().any(|s| overlaps(s.as_bytes(), subject.as_bytes()))
        };
        streams.filter(|(_, stream)| wanted(stream)).collect()
    }

    pub(super) fn stream_names(&self, account: u32, payload: &[u8]) -> Reply {
        let answer = ListRequest::decode(payload, self.options.strict).map(|request| {
            let names = self.names(account, &request.subject);
            let offset = request.offset.clamp(0, names.len() as i64) as usize;
            let page: Vec<&String> =
                names.iter().skip(offset).take(NAMES_MAX).map(|(name, _)| *name).collect();
            // Go shows a list that nothing was ever added to as null.
            let streams = if page.is_empty() { Value::Null } else { json!(page) };
            fields(json!({"total": names.len(), "offset": offset, "limit": NAMES_MAX, "streams": streams}))
        });
        Reply::new("stream_names_response", answer)
            .or(json!({"total": 0, "offset": 0, "limit": 0, "streams": null}))
    }

    pub(super) fn stream_list(&self, account: u32, payload: &[u8]) -> Reply {
        let answer = ListRequest::decode(payload, self.options.strict).map(|request| {
            let streams = self.names(account, &request.subject);
            let offset = request.offset.clamp(0, streams.len() as i64) as usize;
            let page: Vec<Value> = streams
                .iter()
                .skip(offset)
                .take(LIST_MAX)
                .map(|(_, stream)| {
                    let mut info = self.describe(stream, false, false, None);
                    info.insert("ts".to_owned(), rfc3339(self.now).into());
                    Value::Object(info)
                })
                .collect();
            fields(json!({"total": streams.len(), "offset": offset, "limit": LIST_MAX, "streams": page}))
        });
        Reply::new("stream_list_response", answer)
            .or(json!({"total": 0, "offset": 0, "limit": 0, "streams": []}))
    }
}

/// How many subjects match, and a page of them with their counts.
fn subjects_of<D: Disk>(stream: &Stream<D>, request: &InfoRequest) -> (usize, Map<String, Value>) {
    let (mut total, mut page) = (0, Map::new());
    let offset = usize::try_from(request.offset).unwrap_or(0);
    let filter = Filter::new(request.subjects_filter.as_bytes());
    let _ = stream.core.messages().subjects(&filter, None, &mut |subject, known| {
        if total >= offset && page.len() < SUBJECTS_MAX {
            page.insert(String::from_utf8_lossy(subject).into_owned(), known.count.into());
        }
        total += 1;
        ControlFlow::Continue(())
    });
    (total, page)
}

fn state<D: Disk>(stream: &Stream<D>, deleted_details: bool, subjects: Option<Map<String, Value>>) -> Value {
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
    if let Some(subjects) = subjects {
        state["subjects"] = subjects.into();
    }
    let deleted = if s.messages == 0 { 0 } else { s.last_sequence + 1 - s.first_sequence - s.messages };
    if deleted > 0 {
        state["num_deleted"] = deleted.into();
        if deleted_details {
            let mut gone: Vec<u64> = Vec::new();
            messages.gaps(&mut |gap| {
                gone.extend(gap);
                ControlFlow::Continue(())
            });
            state["deleted"] = gone.into();
        }
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
