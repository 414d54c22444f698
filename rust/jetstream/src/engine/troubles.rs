//! Failures and their reports: notices for the server's log, advisories, refused publishers.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::wal;

use super::{Engine, Notice, Outgoing, Storage};
use crate::api::fields;
use crate::error;
use crate::ids::{AccountId, StreamId};

impl<D: Disk> Engine<D> {
    pub(crate) fn warn(&mut self, text: String) {
        self.notices.push(Notice::Warning(text));
    }

    pub(crate) fn complain(&mut self, text: String) {
        self.notices.push(Notice::Error(text));
    }

    /// Refuses a published message with status 429: too many messages wait in memory.
    pub fn refuse(&mut self, stream_id: StreamId, reply: &[u8]) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        if reply.is_empty() || stream.core.config().no_ack {
            return;
        }
        let error = crate::api::error_json(&error::STREAM_TOO_MANY_REQUESTS.error());
        let body =
            serde_json::json!({"error": error, "stream": stream.core.config().name, "seq": 0}).to_string();
        let headers = b"NATS/1.0 429 Too Many Requests\r\n\r\n";
        let account = stream.account;
        let message =
            Outgoing { account, subject: reply, headers, payload: body.as_bytes(), ..Outgoing::default() };
        self.outbox.push(false, &message);
    }

    /// Reports requests that were dropped because the queue of this name was full.
    pub(crate) fn requests_dropped(&mut self, queue: &str, count: u64) {
        self.warn(format!("{queue} limit reached, dropping {count} requests"));
        let body = json!({"server": self.options.server_name, "dropped": count});
        self.advise_server("API.LIMIT_REACHED", "advisory.v1.api_limit_reached", body);
    }

    /// Publishes an advisory about the server.
    fn advise_server(&mut self, subject: &str, kind: &str, body: Value) {
        if let Some(account) = self.system_account {
            self.advise(account, &format!("$JS.EVENT.ADVISORY.{subject}"), kind, fields(body));
        }
    }

    /// Publishes an advisory to a stream's account about messages that can't be read any more. nats-server has no such advisory.
    pub(super) fn advise_lost(
        &mut self,
        account: AccountId,
        stream: &str,
        first: u64,
        last: u64,
        file: &str,
        offset: u64,
    ) {
        let body = json!({
            "stream": stream, "first_seq": first, "last_seq": last, "file": file, "offset": offset,
        });
        let subject = format!("$JS.EVENT.ADVISORY.STREAM.MESSAGES_LOST.{stream}");
        self.advise(account, &subject, "advisory.v1.stream_messages_lost", fields(body));
    }

    pub(crate) fn disk_full(&mut self) {
        if self.refuses.is_none() {
            self.complain("JetStream out of space: no room on the disk, publishing is refused".to_owned());
            self.refuses = Some(error::STORAGE_RESOURCES_EXCEEDED.error());
            self.room.wants_checkpoint = true;
            let body = json!({
                "server": self.options.server_name, "server_id": self.options.server_id, "cluster": "",
            });
            self.advise_server("SERVER.OUT_OF_STORAGE", "advisory.v1.server_out_of_space", body);
        }
    }

    pub(super) fn log_failed(&mut self, e: &wal::Error) {
        if matches!(e, wal::Error::Full { .. }) {
            return self.disk_full();
        }
        let failed = error::STREAM_STORE_FAILED.with("err", format_args!("the log failed: {e}"));
        if self.refuses.as_ref() != Some(&failed) {
            self.complain(format!(
                "JetStream can't write its log and takes nothing more until a restart: {e}"
            ));
        }
        self.refuses = Some(failed);
    }

    /// Reports newly found damage, and queues jobs for full segments and indexes.
    pub(super) fn take_news(&mut self) {
        let mut lacks_room = false;
        for stream_id in std::mem::take(&mut self.noted) {
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            stream.is_noted = false;
            let name = stream.core.config().name.clone();
            let account = stream.account;
            let mut has_job = stream.core.has_spill_job();
            let mut damaged = Vec::new();
            if let Storage::File(file) = stream.core.messages_mut() {
                damaged = file.take_damaged();
                has_job |= file.has_index_job();
                lacks_room |= file.take_lacks_room();
                if file.has_news() {
                    self.checkpoint.to_seal.push_back(stream_id);
                }
            }
            if has_job {
                self.checkpoint.to_index.push_back(stream_id);
            }
            for d in damaged {
                let (first, last) = (*d.sequences.start(), *d.sequences.end());
                self.advise_lost(account, &name, first, last, &d.file, d.offset);
                self.complain(format!(
                    "JetStream stream '{name}': messages can't be read any more: file {}, offset {}, sequences {first} to {last}",
                    d.file, d.offset,
                ));
            }
        }
        if lacks_room {
            self.room.is_behind = true;
            self.disk_full();
        }
    }
}
