//! JetStream's figures for monitoring.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::messages::Messages;

use super::{Account, Engine, Stream};
use crate::api::{API_LEVEL, STEP};
use crate::ids::{AccountId, ConsumerId, StreamId};
use crate::json::List;

/// The cost of describing an account, a stream or a consumer, without lists in its configuration.
const ITEM: usize = STEP / 64;

/// The selection of figures to collect.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    /// Whether to include accounts.
    pub accounts: bool,
    /// The only account to include, if it is not empty.
    pub account: String,
    /// Whether to include the accounts' streams.
    pub streams: bool,
    /// Whether to include the streams' consumers.
    pub consumers: bool,
    /// Whether to include configurations.
    pub config: bool,
    /// The number of accounts to skip.
    pub offset: usize,
    /// The most accounts to include.
    pub limit: usize,
}

/// A collection of figures in progress, in steps of about a millisecond.
#[derive(Debug)]
pub struct Survey {
    detail: Detail,
    /// The figures of the whole server.
    totals: Value,
    /// Accounts, streams and consumers still to be described, in reverse order.
    accounts: Vec<AccountId>,
    streams: Vec<StreamId>,
    consumers: Vec<ConsumerId>,
    /// The account and the stream that are being described.
    account: Option<Value>,
    stream: Option<Value>,
    told_accounts: List,
    told_streams: List,
    told_consumers: List,
}

/// The result of a step of a [`Survey`].
#[derive(Debug)]
pub enum Surveyed {
    /// There is more to collect.
    More(Box<Survey>),
    /// All figures.
    Figures(Figures),
}

/// JetStream's figures, with the field names of `/jsz`.
#[derive(Debug)]
pub struct Figures {
    /// The figures of the whole server.
    pub totals: Value,
    /// The figures of each account, with its streams and their consumers, as selected by [`Detail`].
    pub accounts: List,
}

impl Survey {
    /// Collects the next figures.
    pub fn step<D: Disk>(mut self: Box<Self>, engine: &mut Engine<D>) -> Surveyed {
        let mut budget = STEP;
        while budget > 0 {
            if let Some(id) = self.consumers.last().copied() {
                if !engine.count_for(id, &mut budget) {
                    break;
                }
                self.consumers.pop();
                let told = engine.consumer_figures(id, &self.detail, &mut budget);
                told.into_iter().for_each(|consumer| self.told_consumers.push(&consumer));
            } else if let Some(stream) = self.stream.take() {
                let consumers = std::mem::take(&mut self.told_consumers);
                self.told_streams.push_text(&consumers.within(&stream, "consumer_detail"));
            } else if let Some(stream_id) = self.streams.pop() {
                let Some(stream) = engine.streams.get(&stream_id) else { continue };
                let config = stream.core.config();
                budget = budget.saturating_sub(ITEM + config.subjects.len() + config.sources.len());
                if self.detail.consumers {
                    self.consumers = stream.consumers.values().copied().collect();
                    self.consumers.sort_unstable_by(|a, b| b.cmp(a));
                }
                self.stream = Some(engine.stream_figures(stream, &self.detail));
            } else if let Some(account) = self.account.take() {
                let streams = std::mem::take(&mut self.told_streams);
                self.told_accounts.push_text(&streams.within(&account, "stream_detail"));
            } else if let Some(number) = self.accounts.pop() {
                let Some(account) = engine.accounts.get(number.index()) else { continue };
                budget = budget.saturating_sub(ITEM);
                if self.detail.streams {
                    self.streams = account.streams.values().rev().copied().collect();
                }
                self.account = Some(account_figures(account));
            } else {
                return Surveyed::Figures(Figures { totals: self.totals, accounts: self.told_accounts });
            }
        }
        Surveyed::More(self)
    }
}

fn account_figures(account: &Account) -> Value {
    json!({
        "name": &*account.name,
        "id": &*account.name,
        "memory": account.memory,
        "storage": account.storage,
        // As nats-server 2.15: the account's limits; -1 becomes the greatest number.
        "reserved_memory": account.limits.unwrap_or_default().max_memory as u64,
        "reserved_storage": account.limits.unwrap_or_default().max_storage as u64,
        "accounts": 0,
        "ha_assets": 0,
        "api": { "level": 0, "total": account.api_total, "errors": account.api_errors },
    })
}

impl<D: Disk> Engine<D> {
    /// Begins to collect JetStream's figures.
    pub fn survey(&self, detail: Detail) -> Box<Survey> {
        let wanted = |(account, _): &(&Account, AccountId)| {
            account.limits.is_some() && (detail.account.is_empty() || *account.name == *detail.account)
        };
        let accounts =
            self.accounts.iter().zip((0..).map(AccountId)).filter(|_| detail.accounts).filter(wanted);
        let mut accounts: Vec<AccountId> =
            accounts.skip(detail.offset).take(detail.limit).map(|(_, number)| number).collect();
        accounts.reverse();
        Box::new(Survey {
            totals: self.totals(),
            detail,
            accounts,
            streams: Vec::new(),
            consumers: Vec::new(),
            account: None,
            stream: None,
            told_accounts: List::default(),
            told_streams: List::default(),
            told_consumers: List::default(),
        })
    }

    /// The figures of the whole server.
    fn totals(&self) -> Value {
        let (total, errors) = self.api_counts();
        let (mut reserved_memory, mut reserved_storage) = (0, 0);
        for stream in self.streams.values() {
            let bytes = stream.core.config().max_bytes.max(0);
            *if stream.is_logged() { &mut reserved_storage } else { &mut reserved_memory } += bytes;
        }
        json!({
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
        })
    }

    /// The figures of a consumer; `None` if it was deleted.
    fn consumer_figures(&mut self, id: ConsumerId, detail: &Detail, budget: &mut usize) -> Option<Value> {
        let filters = self.consumers.get(&id)?.filters().len();
        *budget = budget.saturating_sub(ITEM + filters);
        let mut info = self.describe_consumer(id, false);
        if !detail.config {
            info.remove("config");
        }
        info.insert("cluster".to_owned(), json!({"leader": self.options.server_name}));
        Some(Value::Object(info))
    }

    fn stream_figures(&self, stream: &Stream<D>, detail: &Detail) -> Value {
        let mut info = self.describe(stream, false);
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
        let stream_id = account.and_then(|account| account.streams.get(stream));
        stream_id.is_some_and(|stream_id| self.find_consumer(*stream_id, consumer).is_some())
    }

    /// The number of messages of all streams.
    pub fn message_count(&self) -> u64 {
        self.streams.values().map(|stream| stream.core.messages().count()).sum()
    }
}
