//! What monitoring asks of the engine.

use hashbrown::HashMap;
use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::{Account, Engine, Stream};
use crate::api::API_LEVEL;

/// How much is to be told.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    /// Of accounts.
    pub accounts: bool,
    /// Of this one only, if it is not empty.
    pub account: String,
    /// Of their streams.
    pub streams: bool,
    /// Of these streams' consumers.
    pub consumers: bool,
    /// With configurations.
    pub config: bool,
    /// Accounts to leave out.
    pub offset: usize,
    /// Accounts at most.
    pub limit: usize,
}

impl<D: Disk> Engine<D> {
    /// JetStream's figures, as `/jsz` names them.
    pub fn figures(&mut self, detail: &Detail) -> Value {
        let mut consumers: HashMap<u32, Vec<Value>> = HashMap::new();
        if detail.consumers {
            let mut ids: Vec<(u32, u32)> = self.consumers.iter().map(|(id, c)| (c.stream, *id)).collect();
            ids.sort_unstable();
            for (group, id) in ids {
                let mut info = self.describe_consumer(id, false);
                if !detail.config {
                    info.remove("config");
                }
                info.insert("cluster".to_owned(), json!({"leader": self.options.server_name}));
                consumers.entry(group).or_default().push(Value::Object(info));
            }
        }
        let (total, errors) = self.api_counts();
        let (mut reserved_memory, mut reserved_storage) = (0, 0);
        for stream in self.streams.values() {
            let bytes = stream.core.config().max_bytes.max(0);
            *if stream.is_logged() { &mut reserved_storage } else { &mut reserved_memory } += bytes;
        }
        let mut figures = json!({
            "memory": self.memory,
            "storage": self.storage,
            "reserved_memory": reserved_memory,
            "reserved_storage": reserved_storage,
            "accounts": self.account_count(),
            "ha_assets": 0,
            "api": { "level": API_LEVEL, "total": total, "errors": errors },
            "streams": self.stream_count(),
            "consumers": self.consumers.len(),
            "messages": self.message_count(),
            "bytes": self.memory + self.storage,
        });
        if detail.accounts {
            let wanted = |account: &&Account| {
                account.limits.is_some() && (detail.account.is_empty() || *account.name == *detail.account)
            };
            let accounts: Vec<Value> = self
                .accounts
                .iter()
                .filter(wanted)
                .skip(detail.offset)
                .take(detail.limit)
                .map(|account| self.account_figures(account, detail, &consumers))
                .collect();
            if !accounts.is_empty() {
                figures["account_details"] = accounts.into();
            }
        }
        figures
    }

    fn account_figures(
        &self,
        account: &Account,
        detail: &Detail,
        consumers: &HashMap<u32, Vec<Value>>,
    ) -> Value {
        let mut figures = json!({
            "name": &*account.name,
            "id": &*account.name,
            "memory": account.memory,
            "storage": account.storage,
            // As nats-server 2.15: the account's limits, of which -1 is the greatest number.
            "reserved_memory": account.limits.unwrap_or_default().max_memory as u64,
            "reserved_storage": account.limits.unwrap_or_default().max_storage as u64,
            "accounts": 0,
            "ha_assets": 0,
            "api": { "level": 0, "total": account.api_total, "errors": account.api_errors },
        });
        let groups = account.streams.values().filter(|_| detail.streams);
        let streams: Vec<Value> = groups
            .filter_map(|group| {
                let mut figures = self.stream_figures(self.streams.get(group)?, detail);
                if let Some(consumers) = consumers.get(group) {
                    figures["consumer_detail"] = consumers.as_slice().into();
                }
                Some(figures)
            })
            .collect();
        if !streams.is_empty() {
            figures["stream_detail"] = streams.into();
        }
        figures
    }

    fn stream_figures(&self, stream: &Stream<D>, detail: &Detail) -> Value {
        let mut info = self.describe(stream, false, false, None);
        let mut take = |key: &str| info.remove(key).unwrap_or_default();
        let mut figures = json!({
            "name": stream.core.config().name,
            "created": take("created"),
            "cluster": { "leader": self.options.server_name },
        });
        if detail.config {
            figures["config"] = take("config");
        }
        figures["state"] = take("state");
        figures
    }

    /// Whether an account may use JetStream, and whether it has a stream of this name.
    pub fn has(&self, account: &str, stream: &str) -> (bool, bool) {
        let account = self.accounts.iter().find(|a| *a.name == *account && a.limits.is_some());
        (account.is_some(), account.is_some_and(|account| account.streams.contains_key(stream)))
    }

    /// Whether a stream of an account has a consumer of this name.
    pub fn has_consumer(&self, account: &str, stream: &str, consumer: &str) -> bool {
        let account = self.accounts.iter().find(|a| *a.name == *account);
        let group = account.and_then(|account| account.streams.get(stream));
        group.is_some_and(|group| self.find_consumer(*group, consumer).is_some())
    }

    /// Messages of all streams.
    pub fn message_count(&self) -> u64 {
        self.streams.values().map(|stream| stream.core.messages().count()).sum()
    }
}
