//! Requests to back up and to restore streams.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_subject::is_valid_literal;

use super::{Answer, Reply, Request, fields};
use crate::engine::{Engine, SnapshotRequest};
use crate::error::{self, ApiError};
use crate::json::{DecodeError, Field, parse};
use crate::stream::StreamRequest;

impl SnapshotRequest {
    pub(super) fn decode(payload: &[u8], strict: bool) -> Result<Self, DecodeError> {
        let mut request = Self::default();
        let mut at = 0;
        while let Some((document, end)) = parse(payload, at)? {
            let root = Field::root(document.root(), "JSApiStreamSnapshotRequest");
            for (name, field) in root.request("server.JSApiStreamSnapshotRequest")? {
                match name.to_lowercase().as_str() {
                    "deliver_subject" => request.deliver_subject = field.string()?,
                    "no_consumers" => request.without_consumers = field.bool()?,
                    "chunk_size" => request.chunk = field.integer("int")?,
                    "window_size" => request.window = field.integer("int")?,
                    // This has no effect: every message is checked when it is read.
                    "jsck" => drop(field.bool()?),
                    _ if strict => return Err(DecodeError::UnknownField(name.into_owned())),
                    _ => {}
                }
            }
            at = end;
        }
        Ok(request)
    }
}

impl<D: Disk> Engine<D> {
    pub(super) fn snapshot_stream(
        &mut self,
        name: &str,
        request: &Request<'_>,
        asked: Option<Result<SnapshotRequest, ApiError>>,
    ) -> Reply {
        Reply::new("stream_snapshot_response", self.try_snapshot(name, request, asked))
    }

    fn try_snapshot(
        &mut self,
        name: &str,
        request: &Request<'_>,
        asked: Option<Result<SnapshotRequest, ApiError>>,
    ) -> Result<Answer, ApiError> {
        let Some(asked) = asked else { return Err(error::BAD_REQUEST.error()) };
        let stream_id = self.find(request.account, name)?;
        let wanted = asked?;
        if !is_valid_literal(wanted.deliver_subject.as_bytes()) {
            return Err(error::SNAPSHOT_DELIVER_SUBJECT_INVALID.error());
        }
        let begun = self.begin_snapshot(stream_id, &wanted, (request.client)());
        begun.map(fields).ok_or_else(|| error::STREAM_NOT_FOUND.error())
    }

    /// Begins to restore a stream. Answers at once if its configuration is short, otherwise later.
    pub(super) fn restore_stream(
        &mut self,
        name: &str,
        request: &Request<'_>,
        asked: Result<(StreamRequest, Value), ApiError>,
    ) -> Option<Reply> {
        let begun = asked.and_then(|asked| self.check_restores(request.account).map(|()| asked));
        match begun {
            Ok((config, state)) => self.configure_restored(name, request, config, state),
            Err(e) => Some(Reply::new("stream_restore_response", Err(e)).or(json!({"deliver_subject": ""}))),
        }
    }
}
