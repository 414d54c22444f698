//! Getting and deleting single messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::messages::{Lost, Messages};

use super::find::{Find, Form};
use super::requests::{DeleteRequest, GetRequest};
use super::{Answer, Reply, Request, fields};
use crate::engine::Engine;
use crate::error::{self, ApiError};
use crate::ids::{AccountId, StreamId};
use crate::stream::Entry;
use crate::time::rfc3339;

const GET: &str = "stream_msg_get_response";

impl<D: Disk> Engine<D> {
    pub(super) fn get_message(
        &mut self,
        name: &str,
        request: &Request<'_>,
        asked: &Result<GetRequest, ApiError>,
    ) -> Option<Reply> {
        match asked.as_ref().map_err(Clone::clone).and_then(|asked| self.begin_get(name, request, asked)) {
            Ok(find) => self.find_message(request, find),
            Err(e) => Some(Reply::new(GET, Err(e))),
        }
    }

    fn begin_get(&self, name: &str, request: &Request<'_>, asked: &GetRequest) -> Result<Find, ApiError> {
        let is_batch = asked.batch != 0 || asked.max_bytes != 0 || !asked.multi_last.is_empty();
        let is_empty = asked.sequence == 0
            && asked.last_for.is_empty()
            && asked.next_for.is_empty()
            && asked.start_time.is_none();
        let is_mixed = !asked.last_for.is_empty()
            && (asked.sequence > 0 || !asked.next_for.is_empty() || asked.start_time.is_some());
        let two_starts = asked.sequence > 0 && asked.start_time.is_some();
        if is_batch || is_empty || is_mixed || two_starts {
            return Err(error::BAD_REQUEST.error());
        }
        let stream_id = self.find(request.account, name)?;
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
        Ok(Find::new(stream_id, stream.core.messages(), asked, Form::Json))
    }

    /// The answer with the message of this sequence, or with an error.
    pub(super) fn message_reply(
        &mut self,
        stream_id: StreamId,
        sequence: Result<u64, ApiError>,
        no_headers: bool,
    ) -> Reply {
        let result = sequence.and_then(|sequence| self.describe_message(stream_id, sequence, no_headers));
        if result.as_ref().is_err_and(|e| e.err_code == LOST) {
            self.note_news(stream_id);
        }
        Reply::new(GET, result)
    }

    fn describe_message(
        &self,
        stream_id: StreamId,
        sequence: u64,
        no_headers: bool,
    ) -> Result<Answer, ApiError> {
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let mut buffer = Vec::new();
        let message = stream.core.messages().read(sequence, &mut buffer).map_err(|lost| lost_error(&lost))?;
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
        if !no_headers {
            add("hdrs", message.headers);
        }
        add("data", message.payload);
        fields_.insert("time".to_owned(), rfc3339(message.time).into());
        Ok(fields(json!({"message": Value::Object(fields_)})))
    }

    pub(super) fn delete_message(
        &mut self,
        account: AccountId,
        name: &str,
        asked: Result<DeleteRequest, ApiError>,
    ) -> Reply {
        let result = asked.and_then(|asked| self.try_delete_message(account, name, &asked));
        Reply::new("stream_msg_delete_response", result)
    }

    fn try_delete_message(
        &mut self,
        account: AccountId,
        name: &str,
        request: &DeleteRequest,
    ) -> Result<Answer, ApiError> {
        let stream_id = self.find(account, name)?;
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
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
            // The two storages of nats-server 2.15 report it differently.
            return Err(match stream.is_logged() {
                true if sequence > state.last_sequence => failed("stream store EOF"),
                true if sequence == 0 || sequence < state.first_sequence => failed("no message found"),
                _ => error::SEQUENCE_NOT_FOUND.with("seq", sequence),
            });
        }
        if !request.no_erase {
            self.erase(stream_id, sequence);
        }
        self.change(stream_id, &Entry::Remove { sequences: &[sequence] })?;
        Ok(fields(json!({"success": true})))
    }
}

/// The code of the error that a message can't be read any more. Only this server has it.
const LOST: u16 = 10_900;

/// The error that a message can't be read any more. nats-server has no such error: it reports that there is no message.
pub(super) fn lost_error(lost: &Lost) -> ApiError {
    ApiError { code: 500, err_code: LOST, description: lost.to_string().into() }
}
