//! Getting and deleting single messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Lost, Messages, Progress};

use super::requests::{DeleteRequest, GetRequest, is_empty};
use super::{Answer, Reply, fields};
use crate::engine::Engine;
use crate::error::{self, ApiError};
use crate::stream::Entry;
use crate::time::rfc3339;

impl<D: Disk> Engine<D> {
    pub(super) fn get_message(&mut self, account: u32, name: &str, payload: &[u8]) -> Reply {
        let get = || -> Result<Answer, ApiError> {
            if is_empty(payload) {
                return Err(error::BAD_REQUEST.error());
            }
            let request = GetRequest::decode(payload, self.options.strict)?;
            let is_batch = request.batch != 0 || request.max_bytes != 0 || !request.multi_last.is_empty();
            let is_empty = request.sequence == 0
                && request.last_for.is_empty()
                && request.next_for.is_empty()
                && request.start_time.is_none();
            let is_mixed = !request.last_for.is_empty()
                && (request.sequence > 0 || !request.next_for.is_empty() || request.start_time.is_some());
            let two_starts = request.sequence > 0 && request.start_time.is_some();
            if is_batch || is_empty || is_mixed || two_starts {
                return Err(error::BAD_REQUEST.error());
            }
            let group = self.find(account, name)?;
            let Some(stream) = self.streams.get(&group) else { return Err(error::STREAM_NOT_FOUND.error()) };
            let messages = stream.core.messages();
            let sequence = sequence_of(messages, &request).ok_or_else(|| error::NO_MESSAGE_FOUND.error())?;
            let mut buffer = Vec::new();
            let message = messages.read(sequence, &mut buffer).map_err(|lost| lost_error(&lost))?;
            let message = message.ok_or_else(|| error::NO_MESSAGE_FOUND.error())?;
            let mut fields_ = fields(json!({
                "subject": String::from_utf8_lossy(message.subject),
                "seq": message.sequence,
            }));
            let mut add = |name: &str, bytes: &[u8]| {
                if !bytes.is_empty() {
                    fields_.insert(name.to_owned(), STANDARD.encode(bytes).into());
                }
            };
            if !request.no_headers {
                add("hdrs", message.headers);
            }
            add("data", message.payload);
            fields_.insert("time".to_owned(), rfc3339(message.time).into());
            Ok(fields(json!({"message": Value::Object(fields_)})))
        };
        let result = get();
        if result.as_ref().is_err_and(|e| e.err_code == LOST)
            && let Ok(group) = self.find(account, name)
        {
            self.note_news(group);
        }
        Reply::new("stream_msg_get_response", result)
    }

    pub(super) fn delete_message(&mut self, account: u32, name: &str, payload: &[u8]) -> Reply {
        let result = self.try_delete_message(account, name, payload);
        Reply::new("stream_msg_delete_response", result)
    }

    fn try_delete_message(&mut self, account: u32, name: &str, payload: &[u8]) -> Result<Answer, ApiError> {
        if is_empty(payload) {
            return Err(error::BAD_REQUEST.error());
        }
        let request = DeleteRequest::decode(payload, self.options.strict)?;
        let group = self.find(account, name)?;
        let Some(stream) = self.streams.get(&group) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let config = stream.core.config();
        let failed = |text: &str| error::STREAM_MSG_DELETE_FAILED.with("err", text);
        if config.sealed {
            return Err(error::STREAM_SEALED.error());
        }
        if config.deny_delete {
            return Err(failed("message delete not permitted"));
        }
        let sequence = request.sequence;
        let messages = stream.core.messages();
        if sequence == 0 || !messages.contains(sequence) {
            let state = messages.state();
            // The two storages of nats-server 2.15 say it differently.
            return Err(match stream.is_logged() {
                true if sequence > state.last_sequence => failed("stream store EOF"),
                true if sequence == 0 || sequence < state.first_sequence => failed("no message found"),
                _ => error::SEQUENCE_NOT_FOUND.with("seq", sequence),
            });
        }
        if !request.no_erase {
            self.erase(group, sequence);
        }
        self.change(group, &Entry::Remove { sequences: &[sequence] })?;
        Ok(fields(json!({"success": true})))
    }
}

/// The last message on `subject`, which may have wildcards.
pub(super) fn last_of<M: Messages>(messages: &M, subject: &[u8]) -> Option<u64> {
    let last = match stonechat_subject::has_wildcard(subject) {
        true => messages.last_matching(&Filter::new(subject)),
        false => messages.subject(subject)?.last,
    };
    (last > 0).then_some(last)
}

/// Which message is asked for; `None` if there is none.
pub(super) fn sequence_of<M: Messages>(messages: &M, request: &GetRequest) -> Option<u64> {
    if !request.last_for.is_empty() {
        return last_of(messages, request.last_for.as_bytes());
    }
    let mut sequence = request.sequence;
    if let Some(time) = request.start_time {
        sequence = messages.at_time(time)?;
    }
    if request.next_for.is_empty() {
        return Some(sequence);
    }
    next(messages, &Filter::new(request.next_for.as_bytes()), sequence)
}

/// The first message from `sequence` on that matches.
pub(super) fn next<M: Messages>(messages: &M, filter: &Filter, mut sequence: u64) -> Option<u64> {
    loop {
        match messages.next_matching(Some(filter), sequence, usize::MAX) {
            Progress::Done(found) => return found,
            Progress::More(at) => sequence = at,
        }
    }
}

/// The code of what can't be read any more, ours alone.
const LOST: u16 = 10_900;

/// What is said of a message that can't be read any more. nats-server has no such error: it says that there is no message.
pub(super) fn lost_error(lost: &Lost) -> ApiError {
    ApiError { code: 500, err_code: LOST, description: lost.to_string().into() }
}
