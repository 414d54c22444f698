//! `/subsz`: the interest index.

use super::connz::subscription;
use super::query::{BadQuery, Query};
use super::{MonitorState, time};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;
use stonechat_jetstream::json::List;
use stonechat_subject::{is_valid_literal, matches};

/// The default number of subscriptions in a response.
const LIMIT: usize = 1024;

impl MonitorState {
    pub(super) fn subsz(&self, query: &Query) -> Result<String, BadQuery> {
        let with_subs = query.boolean("subs")?;
        let offset = query.number("offset")?.max(0) as usize;
        let limit = match query.number("limit")? {
            n if n > 0 => n as usize,
            _ => LIMIT,
        };
        let (account, test) = (query.text("acc"), query.text("test"));
        if !test.is_empty() && !is_valid_literal(test.as_bytes()) {
            return Err(BadQuery(format!("invalid test subject, must be valid publish subject: {test}")));
        }
        let totals = &self.broker.totals;
        let n = |counter: &AtomicU64| counter.load(Relaxed);
        let looked_up = n(&totals.matches);
        let hit_rate = if looked_up > 0 { n(&totals.cache_hits) as f64 / looked_up as f64 } else { 0.0 };
        let mut fields = Map::new();
        let mut put = |key: &str, value: Value| drop(fields.insert(key.into(), value));
        put("server_id", json!(self.broker.info().server_id));
        put("now", time(SystemTime::now()));
        put("num_subscriptions", json!(self.broker.subscription_count()));
        // Each session has its own match cache, so there is no shared cache to count.
        put("num_cache", json!(0));
        put("num_inserts", json!(n(&totals.inserts)));
        put("num_removes", json!(n(&totals.removes)));
        put("num_matches", json!(looked_up));
        put("cache_hit_rate", json!(hit_rate));
        put("max_fanout", json!(0));
        put("avg_fanout", json!(0));
        let (mut list, mut total) = (List::default(), 0_usize);
        if with_subs {
            for client in self.broker.clients() {
                let facts = client.facts(true);
                let of = facts.account.as_deref().unwrap_or_default();
                if !account.is_empty() && of != account {
                    continue;
                }
                let wanted =
                    facts.subs.iter().filter(|s| test.is_empty() || matches(test.as_bytes(), &s.subject));
                for sub in wanted {
                    if total >= offset && total - offset < limit {
                        list.push(&subscription(sub, of, facts.cid));
                    }
                    total += 1;
                }
            }
        }
        put("total", json!(total));
        put("offset", json!(offset));
        put("limit", json!(limit));
        Ok(list.within(&Value::Object(fields), "subscriptions_list"))
    }
}
