//! Account info.

use serde_json::json;
use stonechat_store::disk::Disk;

use super::{API_LEVEL, Reply, fields};
use crate::engine::Engine;
use crate::ids::AccountId;

impl<D: Disk> Engine<D> {
    pub(super) fn account_info(&self, account: AccountId) -> Reply {
        let Some(account) = self.accounts.get(account.index()) else {
            return Reply::new("account_info_response", Err(crate::error::NOT_ENABLED_FOR_ACCOUNT.error()));
        };
        let l = account.limits.unwrap_or_default();
        let (mut reserved_memory, mut reserved_storage) = (0, 0);
        for stream in account.streams.values().filter_map(|stream_id| self.streams.get(stream_id)) {
            let bytes = stream.core.config().max_bytes.max(0);
            *if stream.is_logged() { &mut reserved_storage } else { &mut reserved_memory } += bytes;
        }
        let mut answer = fields(json!({
            "memory": account.memory,
            "storage": account.storage,
            "reserved_memory": reserved_memory,
            "reserved_storage": reserved_storage,
            "streams": account.streams.len(),
            "consumers": account.consumers,
            "limits": {
                "max_memory": l.max_memory,
                "max_storage": l.max_storage,
                "max_streams": l.max_streams,
                "max_consumers": l.max_consumers,
                "max_ack_pending": l.max_ack_pending,
                "memory_max_stream_bytes": l.memory_max_stream_bytes,
                "storage_max_stream_bytes": l.storage_max_stream_bytes,
                "max_bytes_required": l.max_bytes_required,
            },
        }));
        if let Some(domain) = &self.options.domain {
            answer.insert("domain".to_owned(), domain.as_str().into());
        }
        answer.insert(
            "api".to_owned(),
            json!({"level": API_LEVEL, "total": account.api_total, "errors": account.api_errors}),
        );
        Reply::new("account_info_response", Ok(answer))
    }
}
