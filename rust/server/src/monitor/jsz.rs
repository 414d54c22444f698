//! `/jsz`, and the JetStream parts of `/varz` and `/healthz`.

use super::query::{BadQuery, Query};
use super::{MonitorState, Refusal, time};
use crate::jetstream::{ANSWER_WITHIN, JetStream};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::SystemTime;
use stonechat_config::SyncInterval;
use stonechat_jetstream::engine::{Detail, Figures};

/// The default number of accounts in a response.
const LIMIT: i64 = 1024;

impl MonitorState {
    fn jetstream(&self) -> Option<Arc<JetStream>> {
        (self.jetstream)()
    }

    /// Returns JetStream's configuration that is in force.
    fn jetstream_config(&self, jetstream: &JetStream) -> Value {
        let options = (self.options)();
        let js = &options.jetstream_options;
        let mut config = json!({
            "max_memory": jetstream.max_memory,
            "max_storage": jetstream.max_storage,
            "store_dir": jetstream.store_dir.display().to_string(),
        });
        match js.sync_interval {
            Some(SyncInterval::Every(interval)) => {
                config["sync_interval"] = json!(interval.as_nanos() as u64)
            }
            _ if js.is_throwaway => {}
            _ => {
                config["sync_interval"] = json!(120_000_000_000_u64);
                config["sync_always"] = json!(true);
            }
        }
        if let Some(domain) = &js.domain {
            config["domain"] = json!(domain);
        }
        if js.strict {
            config["strict"] = json!(true);
        }
        config
    }

    /// Returns the JetStream part of `/varz`.
    pub(super) fn jetstream_varz(&self) -> Value {
        let Some(jetstream) = self.jetstream() else { return json!({}) };
        let figures = jetstream.figures(Detail::default());
        let mut stats = figures.map_or_else(|| json!({}), |figures| figures.totals);
        if let Value::Object(fields) = &mut stats {
            fields.retain(|key, _| !["streams", "consumers", "messages", "bytes"].contains(&key.as_str()));
        }
        json!({ "config": self.jetstream_config(&jetstream), "stats": stats, "limits": limits(&(self.options)()) })
    }

    /// Returns the response of `/jsz` in JSON.
    pub(super) fn jsz(&self, query: &Query) -> Result<String, Refusal> {
        let switch = |key: &str| query.boolean(key);
        for key in ["consumers", "leader-only", "raft", "stream-leader-only", "direct-consumers"] {
            switch(key)?;
        }
        let (offset, limit) = (query.number("offset")?.max(0), query.number("limit")?);
        let account = query.text("acc");
        let detail = Detail {
            accounts: switch("accounts")?
                || switch("streams")?
                || switch("consumers")?
                || !account.is_empty(),
            account: account.to_owned(),
            streams: switch("streams")? || switch("consumers")?,
            consumers: switch("consumers")?,
            config: switch("config")?,
            offset: offset as usize,
            limit: if limit > 0 { limit } else { LIMIT } as usize,
        };
        let mut fields = Map::new();
        let Some(jetstream) = self.jetstream() else {
            let none = json!({
                "memory": 0, "storage": 0, "reserved_memory": 0, "reserved_storage": 0, "accounts": 0, "ha_assets": 0,
                "api": { "level": 0, "total": 0, "errors": 0 },
                "server_id": self.broker.info().server_id, "now": time(SystemTime::now()), "disabled": true,
                "config": { "max_memory": 0, "max_storage": 0 },
                "streams": 0, "consumers": 0, "messages": 0, "bytes": 0, "total": 0,
            });
            return Ok(none.to_string());
        };
        let Figures { totals, accounts } =
            jetstream.figures(detail).ok_or_else(|| Refusal::Unavailable(no_answer()))?;
        let take = |key: &str| totals.get(key).cloned().unwrap_or_else(|| json!(0));
        for key in
            ["memory", "storage", "reserved_memory", "reserved_storage", "accounts", "ha_assets", "api"]
        {
            fields.insert(key.to_owned(), take(key));
        }
        fields.insert("server_id".to_owned(), json!(self.broker.info().server_id));
        fields.insert("now".to_owned(), time(SystemTime::now()));
        fields.insert("config".to_owned(), self.jetstream_config(&jetstream));
        fields.insert("limits".to_owned(), limits(&(self.options)()));
        for key in ["streams", "consumers", "messages", "bytes"] {
            fields.insert(key.to_owned(), take(key));
        }
        fields.insert("total".to_owned(), take("accounts"));
        Ok(accounts.within(&Value::Object(fields), "account_details"))
    }

    /// Returns the health of JetStream, and of the account, stream and consumer in the query.
    pub(super) fn jetstream_health(&self, query: &Query) -> Result<Health, BadQuery> {
        let is_asked_for =
            |keys: &[&str]| keys.iter().try_fold(false, |asked, k| Ok(asked | query.boolean(k)?));
        if is_asked_for(&["js-server-only"])? {
            return Ok(Health::Good);
        }
        let Some(jetstream) = self.jetstream() else {
            return Ok(match (self.options)().jetstream {
                true => Health::Unavailable(NOT_ENABLED.to_owned()),
                false => Health::Good,
            });
        };
        if is_asked_for(&["js-enabled", "js-enabled-only"])? {
            return Ok(Health::Good);
        }
        let (account, stream, consumer) =
            (query.text("account"), query.text("stream"), query.text("consumer"));
        Ok(health_of(&jetstream, account, stream, consumer)
            .unwrap_or_else(|| Health::Unavailable(no_answer())))
    }
}

/// The result of a JetStream health check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    /// JetStream does not work.
    Unavailable(String),
    /// JetStream works, but lacks the account, stream or consumer.
    Missing(String),
}

/// nats-server's text if JetStream is configured but does not run.
const NOT_ENABLED: &str = "JetStream not enabled (10076)";

/// Returns the text for a JetStream that does not answer in time.
fn no_answer() -> String {
    format!("JetStream did not answer within {ANSWER_WITHIN:?}")
}

/// Checks whether JetStream has the account, stream and consumer; empty names are not checked. `None` if it does not
/// answer in time.
fn health_of(jetstream: &JetStream, account: &str, stream: &str, consumer: &str) -> Option<Health> {
    if account.is_empty() {
        return jetstream.ask(|_| ()).map(|()| Health::Good);
    }
    let (has_account, has_stream) = jetstream.find(account, stream)?;
    let missing = if !has_account {
        format!("JetStream account {account:?} not found")
    } else if !stream.is_empty() && !has_stream {
        format!("JetStream stream {stream:?} not found on account {account:?}")
    } else if !consumer.is_empty() && !jetstream.has_consumer(account, stream, consumer)? {
        format!("JetStream consumer {consumer:?} not found for stream {stream:?} on account {account:?}")
    } else {
        return Some(Health::Good);
    };
    Some(Health::Missing(missing))
}

fn limits(options: &stonechat_config::Options) -> Value {
    json!({ "default_max_consumers": options.jetstream_options.default_max_consumers })
}
