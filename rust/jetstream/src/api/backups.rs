//! Requests for backups of streams, and to restore them.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_subject::is_valid_literal;

use super::{Answer, Reply, Request, fields};
use crate::engine::{Engine, SnapshotRequest};
use crate::error::{self, ApiError};
use crate::json::{DecodeError, Field, parse};

/// Whether a request says nothing.
fn is_empty(payload: &[u8]) -> bool {
    let payload = payload.trim_ascii();
    let inner = payload.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    payload.is_empty() || inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

impl SnapshotRequest {
    fn decode(payload: &[u8], strict: bool) -> Result<Self, DecodeError> {
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
                    // Every message is checked when it is read.
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
    pub(super) fn snapshot_stream(&mut self, name: &str, request: &Request<'_>) -> Reply {
        Reply::new("stream_snapshot_response", self.try_snapshot(name, request))
    }

    fn try_snapshot(&mut self, name: &str, request: &Request<'_>) -> Result<Answer, ApiError> {
        if is_empty(request.payload) {
            return Err(error::BAD_REQUEST.error());
        }
        let group = self.find(request.account, name)?;
        let wanted = SnapshotRequest::decode(request.payload, self.options.strict)?;
        if !is_valid_literal(wanted.deliver_subject.as_bytes()) {
            return Err(error::SNAPSHOT_DELIVER_SUBJECT_INVALID.error());
        }
        let begun = self.begin_snapshot(group, &wanted, (request.client)());
        begun.map(fields).ok_or_else(|| error::STREAM_NOT_FOUND.error())
    }

    /// Begins to restore a stream: answers at once if its configuration is short, else later.
    pub(super) fn restore_stream(&mut self, name: &str, request: &Request<'_>) -> Option<Reply> {
        match self.read_restore(name, request) {
            Ok((config, state)) => self.configure_restored(name, request, &config, state),
            Err(e) => Some(Reply::new("stream_restore_response", Err(e)).or(json!({"deliver_subject": ""}))),
        }
    }

    /// The configuration and the state of the stream that is to be restored.
    fn read_restore(&mut self, name: &str, request: &Request<'_>) -> Result<(Value, Value), ApiError> {
        if is_empty(request.payload) {
            return Err(error::BAD_REQUEST.error());
        }
        self.check_restores(request.account)?;
        // Read strictly first, for its errors; what it holds is read once more by those who know it.
        parse(request.payload, 0).map_err(DecodeError::from)?;
        let mut body: Value =
            serde_json::from_slice(request.payload).map_err(|e| error::INVALID_JSON.with("err", e))?;
        let unknown =
            body.as_object().and_then(|o| o.keys().find(|k| *k != "config" && *k != "state").cloned());
        if let Some(unknown) = unknown.filter(|_| self.options.strict) {
            return Err(DecodeError::UnknownField(unknown).into());
        }
        let mut config = body.get_mut("config").map(Value::take).unwrap_or_default();
        if config.get("name").and_then(Value::as_str).unwrap_or_default().is_empty() && config.is_object() {
            config["name"] = name.into();
        }
        Ok((config, body.get_mut("state").map(Value::take).unwrap_or_default()))
    }
}
