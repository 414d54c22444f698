//! The JetStream API: requests on `$JS.API.>` and their answers.

mod account;
mod asides;
mod asked;
mod backups;
mod batch;
mod configure;
mod consume;
mod consumers;
mod describe;
mod direct;
mod find;
mod info;
mod lists;
mod long;
mod messages;
mod purge;
mod queue;
mod requests;
mod streams;

pub(crate) use asides::To;
pub use asides::{Aside, AsideDone};
use asked::Asked;
use lists::Told;
pub(crate) use long::STEP;
use queue::Owned;
pub(crate) use queue::{Requests, is_large};

use std::sync::Arc;

use serde_json::{Map, Value, json};
use stonechat_store::disk::Disk;

use crate::engine::{Engine, Outgoing};
use crate::error::{self, ApiError};
use crate::ids::{AccountId, StreamId};
use crate::json::DecodeError;
use crate::stream::headers;
use crate::time::rfc3339;

/// The level of the API that this server supports (ADR-44).
pub const API_LEVEL: u32 = 5;
const PREFIX: &str = "$JS.API.";
/// Prefix of the types of answers.
const TYPE: &str = "io.nats.jetstream.api.v1.";

/// A request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The account of the requesting client.
    pub account: AccountId,
    /// The subject, which names the operation.
    pub subject: &'a [u8],
    /// The subject for the answer.
    pub reply: &'a [u8],
    /// Its header block, or nothing.
    pub headers: &'a [u8],
    /// Its payload.
    pub payload: &'a [u8],
    /// Describes the requesting client, for advisories.
    pub client: &'a dyn Fn() -> Value,
}

/// The fields of an answer, behind its type.
pub(crate) type Answer = Map<String, Value>;

/// Bytes that the log needs for a record that it holds twice, in addition to those of the request.
const TWICE: usize = 8 << 10;

/// An answer, and the fields that are added to it if it is an error.
pub(crate) struct Reply {
    kind: &'static str,
    result: Result<Answer, ApiError>,
    on_error: Option<Value>,
    /// Placeholder strings in the answer, and the JSON that replaces them: lists that are too long to be built at once.
    parts: Vec<(String, String)>,
}

impl Reply {
    pub(crate) fn new(kind: &'static str, result: Result<Answer, ApiError>) -> Self {
        Self { kind, result, on_error: None, parts: Vec::new() }
    }

    /// Replaces placeholder strings with JSON. No client can guess a placeholder.
    pub(crate) fn with_parts(mut self, parts: impl IntoIterator<Item = (String, String)>) -> Self {
        self.parts.extend(parts);
        self
    }

    /// Adds fields to an error.
    pub(crate) fn or(mut self, fields: Value) -> Self {
        self.on_error = Some(fields);
        self
    }
}

/// The JSON of an error in an answer.
pub(crate) fn error_json(e: &ApiError) -> Value {
    let mut error = json!({"code": e.code});
    if e.err_code != 0 {
        error["err_code"] = e.err_code.into();
    }
    if !e.description.is_empty() {
        error["description"] = e.description.as_ref().into();
    }
    error
}

impl From<DecodeError> for ApiError {
    fn from(e: DecodeError) -> Self {
        error::INVALID_JSON.with("err", e)
    }
}

/// Whether the API answers requests on this subject. Direct gets and pull requests belong to a stream or a consumer instead.
pub fn is_request(subject: &[u8]) -> bool {
    !subject.starts_with(b"$JS.API.CONSUMER.MSG.NEXT.") && !subject.starts_with(b"$JS.API.DIRECT.GET.")
}

/// The fields of a JSON object; none for other values.
pub(crate) fn fields(value: Value) -> Answer {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

impl<D: Disk> Engine<D> {
    /// Answers a request. An unknown request gets no answer, as in nats-server 2.15.
    pub fn request(&mut self, request: &Request<'_>) {
        if is_understood(request) && self.may_begin(request, To::Api) {
            self.work_on(request, None);
        }
    }

    /// As [`Engine::request`], for a large request: its payload `body` is shared instead of copied once more.
    pub fn large_request(&mut self, request: &Request<'_>, body: &Arc<Vec<u8>>) {
        if is_understood(request) {
            self.queue(Owned::with_body(request, To::Api, body));
        }
    }

    /// Processes a request: answers it, or begins a long operation. `read`: whether its required API level is met, and its
    /// decoded body, if that was decoded before.
    fn work_on(&mut self, request: &Request<'_>, read: Option<(bool, &mut Asked)>) {
        let Ok(subject) = std::str::from_utf8(request.subject) else { return };
        let Some(path) = subject.strip_prefix(PREFIX) else { return };
        // Messages that were acknowledged before must be gone before the request looks at them.
        self.remove_released();
        let tokens: Vec<&str> = path.split('.').collect();
        let Some(account) = self.accounts.get(request.account.index()) else { return };
        let is_enabled = account.limits.is_some();
        let Some(kind) = answer_kind(&tokens) else { return };
        let checked = if !is_enabled {
            Err(error::NOT_ENABLED_FOR_ACCOUNT.error())
        } else if !read.as_ref().map_or_else(|| is_level_met(request.headers), |(is_met, _)| *is_met) {
            Err(error::REQUIRED_API_LEVEL.error())
        } else {
            self.check_room_for(&tokens, request)
        };
        let reply = match checked {
            Ok(()) => {
                let done = match read {
                    Some((_, asked)) => self.dispatch(&tokens, request, asked),
                    None => {
                        let mut asked = Asked::read(&tokens, request.payload, self.options.strict);
                        self.dispatch(&tokens, request, &mut asked)
                    }
                };
                match done {
                    Some(reply) => reply,
                    None => return,
                }
            }
            Err(e) => Reply::new(kind, Err(e)),
        };
        self.answer(request, reply);
    }

    /// Passes a request to its handler. A body that is left in `asked` was not needed.
    fn dispatch(&mut self, tokens: &[&str], request: &Request<'_>, asked: &mut Asked) -> Option<Reply> {
        let account = request.account;
        let taken = match asked {
            // The body may be long, so it is borrowed.
            Asked::Get(asked) => match *tokens {
                ["STREAM", "MSG", "GET", name] => return self.get_message(name, request, asked),
                _ => return None,
            },
            asked => std::mem::replace(asked, Asked::Nothing),
        };
        match (tokens, taken) {
            (["INFO"], _) => Some(self.account_info(account)),
            (["STREAM", "CREATE", name], Asked::Stream(asked)) => {
                self.configure_stream(name, request, asked, true)
            }
            (["STREAM", "UPDATE", name], Asked::Stream(asked)) => {
                self.configure_stream(name, request, asked, false)
            }
            (["STREAM", "INFO", name], Asked::Info(asked)) => self.stream_info(name, request, asked),
            (["STREAM", "NAMES"], Asked::List(asked)) => self.list_streams(Told::Name, request, asked),
            (["STREAM", "LIST"], Asked::List(asked)) => self.list_streams(Told::Info, request, asked),
            (["STREAM", "DELETE", name], Asked::Empty(is_empty)) => {
                self.delete_stream(name, request, is_empty)
            }
            (["STREAM", "PURGE", name], Asked::Purge(asked)) => self.purge_stream(name, request, asked),
            (["STREAM", "MSG", "DELETE", name], Asked::Delete(asked)) => {
                Some(self.delete_message(account, name, asked))
            }
            (["STREAM", "SNAPSHOT", name], Asked::Snapshot(asked)) => {
                Some(self.snapshot_stream(name, request, asked))
            }
            (["STREAM", "RESTORE", name], Asked::Restore(asked)) => self.restore_stream(name, request, asked),
            (["CONSUMER", rest @ ..], asked) => self.dispatch_consumer(rest, request, asked),
            _ => Some(Reply::new(answer_kind(tokens)?, Err(error::CLUSTER_REQUIRED.error()))),
        }
    }

    /// As `dispatch`, for requests about consumers; `tokens` are those behind `CONSUMER`.
    fn dispatch_consumer(&mut self, tokens: &[&str], request: &Request<'_>, asked: Asked) -> Option<Reply> {
        let account = request.account;
        match (tokens, asked) {
            (["NAMES", stream], Asked::Offset(asked)) => Some(self.consumer_names(account, stream, asked)),
            (["LIST", stream], Asked::Offset(asked)) => self.consumer_list(stream, request, asked),
            (["INFO", stream, name], Asked::Empty(is_empty)) => {
                self.consumer_info(stream, name, request, is_empty)
            }
            (["DELETE", stream, name], Asked::Empty(is_empty)) => {
                self.consumer_delete(stream, name, request, is_empty)
            }
            (["PAUSE", stream, name], Asked::Pause(asked)) => {
                Some(self.consumer_pause(account, stream, name, asked))
            }
            (["UNPIN", stream, name], Asked::Group(asked)) => {
                Some(self.consumer_unpin(account, stream, name, asked))
            }
            (["RESET", stream, name], Asked::Reset(asked)) => {
                self.consumer_reset(stream, name, request, asked)
            }
            (_, Asked::Consumer(asked)) => self.create_consumer_request(tokens, request, asked),
            _ => {
                let kind = answer_kind(&[&["CONSUMER"], tokens].concat())?;
                Some(Reply::new(kind, Err(error::CLUSTER_REQUIRED.error())))
            }
        }
    }

    /// Refuses a request for which the log has no room, before any of it is done.
    fn check_room_for(&mut self, tokens: &[&str], request: &Request<'_>) -> Result<(), ApiError> {
        let (frees_room, len) = match *tokens {
            ["STREAM", "PURGE", name] | ["STREAM", "MSG", "DELETE", name] => {
                let stream_id = self.find(request.account, name).ok();
                if stream_id
                    .and_then(|stream_id| self.streams.get(&stream_id))
                    .is_some_and(|s| !s.is_logged())
                {
                    return Ok(());
                }
                (true, request.payload.len())
            }
            ["STREAM", "DELETE", _] | ["CONSUMER", "DELETE", _, _] => (true, TWICE),
            ["STREAM", "CREATE" | "UPDATE" | "RESTORE", _] | ["CONSUMER", "PAUSE" | "RESET", _, _] => {
                (false, TWICE + 3 * request.payload.len())
            }
            ["CONSUMER", ref rest @ ..] if is_create(rest) => (false, TWICE + 3 * request.payload.len()),
            _ => return Ok(()),
        };
        self.check_change(frees_room, len)
    }

    /// Sends an answer, and an advisory about it if there is a subscription for these.
    pub(super) fn answer(&mut self, request: &Request<'_>, reply: Reply) {
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("{TYPE}{}", reply.kind).into());
        let failed = reply.result.is_err();
        match reply.result {
            Ok(fields) => body.extend(fields),
            Err(e) => {
                body.insert("error".to_owned(), error_json(&e));
                if let Some(Value::Object(fields)) = reply.on_error {
                    body.extend(fields);
                }
            }
        }
        let account = request.account;
        if let Some(account) = self.accounts.get_mut(account.index()) {
            account.api_total += 1;
            account.api_errors += u64::from(failed);
        }
        let mut body = Value::Object(body).to_string();
        for (place, part) in reply.parts {
            let place = format!("\"{place}\"");
            if let Some(at) = body.find(&place) {
                body.replace_range(at..at + place.len(), &part);
            }
        }
        self.requests.spend_bytes(body.len());
        // While nothing can be written, reads and refusals do not wait.
        let waits = self.is_ahead() && !(self.refuses.is_some() && (failed || is_read(reply.kind)));
        if !request.reply.is_empty() {
            let (subject, payload) = (request.reply, body.as_bytes());
            self.outbox.push(waits, &Outgoing { account, subject, payload, ..Outgoing::default() });
        }
        // Advisories about reads of single messages would be too many, so there are none, as in nats-server 2.15.
        let is_get = request.subject.starts_with(b"$JS.API.STREAM.MSG.GET.") && !failed;
        if !is_get && self.is_watched(account, "$JS.EVENT.ADVISORY.API") {
            let fields = fields(json!({
                "server": self.options.server_name,
                "client": (request.client)(),
                "subject": String::from_utf8_lossy(request.subject),
            }));
            let told = self.advisory("advisory.v1.api_audit", fields);
            self.tell_request(request, "$JS.EVENT.ADVISORY.API", told, body);
        }
    }

    fn is_watched(&self, account: AccountId, subject: &str) -> bool {
        self.accounts
            .get(account.index())
            .is_some_and(|account| self.host.is_wanted(&account.name, subject.as_bytes()))
    }

    /// Publishes an advisory, if there is a subscription for it.
    pub(crate) fn advise(&mut self, account: AccountId, subject: &str, kind: &str, fields: Answer) {
        if !self.is_watched(account, subject) {
            return;
        }
        let body = Value::Object(self.advisory(kind, fields)).to_string();
        self.send_told(account, subject, &body);
    }

    /// Builds an advisory with these fields.
    fn advisory(&mut self, kind: &str, fields: Answer) -> Answer {
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("io.nats.jetstream.{kind}").into());
        body.insert("id".to_owned(), self.host.unique_id().into());
        body.insert("timestamp".to_owned(), rfc3339(self.now).into());
        body.extend(fields);
        if let Some(domain) = &self.options.domain {
            body.insert("domain".to_owned(), domain.as_str().into());
        }
        body
    }

    /// Sends an advisory.
    fn send_told(&mut self, account: AccountId, subject: &str, body: &str) {
        let message = Outgoing {
            account,
            subject: subject.as_bytes(),
            payload: body.as_bytes(),
            ..Outgoing::default()
        };
        let waits = self.is_ahead();
        if !(waits && self.outbox.is_clogged()) {
            self.outbox.push(waits, &message);
        }
    }

    pub(crate) fn find(&self, account: AccountId, name: &str) -> Result<StreamId, ApiError> {
        let account = self.accounts.get(account.index());
        let stream_id = account.and_then(|account| account.streams.get(name));
        stream_id.copied().ok_or_else(|| error::STREAM_NOT_FOUND.error())
    }
}

/// Whether the API knows the request. A request without a reply subject is carried out too, as in nats-server 2.15.
fn is_understood(request: &Request<'_>) -> bool {
    let path = std::str::from_utf8(request.subject).ok().and_then(|subject| subject.strip_prefix(PREFIX));
    let is_known = |path: &str| answer_kind(&path.split('.').collect::<Vec<_>>()).is_some();
    path.is_some_and(is_known)
}

/// Whether answers of this type belong to requests that only read.
fn is_read(kind: &str) -> bool {
    ["info_response", "names_response", "list_response", "msg_get_response"]
        .iter()
        .any(|end| kind.ends_with(end))
}

/// Whether a request creates a consumer; `tokens` are those behind `CONSUMER`.
fn is_create(tokens: &[&str]) -> bool {
    matches!(tokens, ["CREATE", _, ..] | ["DURABLE", "CREATE", _, _])
}

/// Whether this server supports the API level that a request requires.
pub(crate) fn is_level_met(block: &[u8]) -> bool {
    if block.is_empty() {
        return true;
    }
    headers::value(block, b"Nats-Required-Api-Level").is_none_or(|level| {
        std::str::from_utf8(level)
            .ok()
            .and_then(|l| l.parse::<i64>().ok())
            .is_some_and(|l| l <= i64::from(API_LEVEL))
    })
}

/// The type of the answer to a request; `None` for an unknown request.
fn answer_kind(tokens: &[&str]) -> Option<&'static str> {
    Some(match *tokens {
        ["INFO"] => "account_info_response",
        ["STREAM", "CREATE", _] => "stream_create_response",
        ["STREAM", "UPDATE", _] => "stream_update_response",
        ["STREAM", "INFO", _] => "stream_info_response",
        ["STREAM", "NAMES"] => "stream_names_response",
        ["STREAM", "LIST"] => "stream_list_response",
        ["STREAM", "DELETE", _] => "stream_delete_response",
        ["STREAM", "PURGE", _] => "stream_purge_response",
        ["STREAM", "MSG", "GET", _] => "stream_msg_get_response",
        ["STREAM", "MSG", "DELETE", _] => "stream_msg_delete_response",
        ["STREAM", "SNAPSHOT", _] => "stream_snapshot_response",
        ["STREAM", "RESTORE", _] => "stream_restore_response",
        ["STREAM", "LEADER", "STEPDOWN", _] => "stream_leader_stepdown_response",
        ["STREAM", "PEER", "REMOVE", _] => "stream_remove_peer_response",
        ["STREAM", "PEER", "EVACUATE", _] => "stream_evacuate_peer_response",
        ["STREAM", "CANCEL_MOVE", _] => "stream_cancel_move_response",
        ["CONSUMER", "NAMES", _] => "consumer_names_response",
        ["CONSUMER", "LIST", _] => "consumer_list_response",
        ["CONSUMER", "INFO", _, _] => "consumer_info_response",
        ["CONSUMER", "DELETE", _, _] => "consumer_delete_response",
        ["CONSUMER", "PAUSE", _, _] => "consumer_pause_response",
        ["CONSUMER", "UNPIN", _, _] => "consumer_unpin_response",
        ["CONSUMER", "RESET", _, _] => "consumer_reset_response",
        ["CONSUMER", "LEADER", "STEPDOWN", _, _] => "consumer_leader_stepdown_response",
        ["CONSUMER", "PEER", "REMOVE", _, _] => "consumer_remove_peer_response",
        ["CONSUMER", "PEER", "EVACUATE", _, _] => "consumer_evacuate_peer_response",
        ["CONSUMER", ref rest @ ..] if is_create(rest) => "consumer_create_response",
        _ => return None,
    })
}
