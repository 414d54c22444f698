//! `/varz`: the server's options and figures.

use super::{MonitorState, time};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

impl MonitorState {
    /// Returns the server's options and figures, in nats-server's fields.
    pub(crate) fn varz(&self) -> Value {
        let mut fields = Map::new();
        self.identity(&mut fields);
        self.limits(&mut fields);
        self.figures(&mut fields);
        Value::Object(fields)
    }

    fn identity(&self, fields: &mut Map<String, Value>) {
        let info = self.broker.info();
        let mut put = |key: &str, value: Value| drop(fields.insert(key.into(), value));
        put("server_id", json!(info.server_id));
        put("server_name", json!(info.server_name));
        put("version", json!(info.version));
        put("stonechat", json!(info.stonechat));
        put("proto", json!(info.proto));
        put("go", json!(info.go));
        put("host", json!(info.host));
        put("port", json!(info.port));
        if info.auth_required {
            put("auth_required", json!(true));
        }
        if info.tls_required {
            put("tls_required", json!(true));
        }
        if info.tls_verify {
            put("tls_verify", json!(true));
        }
    }

    fn limits(&self, fields: &mut Map<String, Value>) {
        let (options, limits) = ((self.options)(), self.broker.options());
        let mut put = |key: &str, value: Value| drop(fields.insert(key.into(), value));
        put("max_connections", json!(limits.max_connections));
        if limits.max_subscriptions > 0 {
            put("max_subscriptions", json!(limits.max_subscriptions));
        }
        put("ping_interval", json!(limits.ping_interval.as_nanos() as u64));
        put("ping_max", json!(limits.ping_max));
        put("http_host", json!(options.http_host()));
        put("http_port", json!(self.addr.map_or(0, |a| a.port())));
        put("http_base_path", json!(&*self.base));
        put("https_port", json!(0));
        put("auth_timeout", json!(number(limits.auth_timeout.as_secs_f64())));
        put("max_control_line", json!(limits.max_control_line));
        put("max_payload", json!(limits.max_payload));
        put("max_pending", json!(limits.max_pending));
        for off in ["cluster", "gateway", "leaf", "mqtt", "websocket"] {
            put(off, json!({}));
        }
        put("jetstream", self.jetstream_varz());
        let tls_timeout = options.tls.as_ref().map_or(2.0, |tls| tls.timeout.as_secs_f64());
        put("tls_timeout", json!(number(tls_timeout)));
        put("write_deadline", json!(limits.write_deadline.as_nanos() as u64));
    }

    fn figures(&self, fields: &mut Map<String, Value>) {
        let options = (self.options)();
        let (now, usage, totals) = (SystemTime::now(), self.broker.usage(), &self.broker.totals);
        let n = |counter: &AtomicU64| json!(counter.load(Relaxed));
        let mut put = |key: &str, value: Value| drop(fields.insert(key.into(), value));
        let start = self.broker.start();
        put("start", time(start));
        put("now", time(now));
        put("uptime", json!(crate::time::uptime(now.duration_since(start).unwrap_or_default())));
        put("mem", json!(usage.mem));
        put("cores", json!(usage.cores));
        put("gomaxprocs", json!(usage.cores));
        put("cpu", json!(number(usage.cpu)));
        put("connections", json!(self.broker.client_count()));
        put("total_connections", n(&totals.connections));
        for none in ["routes", "remotes", "leafnodes"] {
            put(none, json!(0));
        }
        // Clients are the only kind of connection, so their figures are the server's.
        for prefix in ["", "client_"] {
            put(&format!("in_{prefix}msgs"), n(&totals.in_msgs));
            put(&format!("in_{prefix}bytes"), n(&totals.in_bytes));
        }
        for prefix in ["", "client_"] {
            put(&format!("out_{prefix}msgs"), n(&totals.out_msgs));
            put(&format!("out_{prefix}bytes"), n(&totals.out_bytes));
        }
        put("slow_consumers", n(&totals.slow_consumers));
        put("stale_connections", n(&totals.stale_connections));
        put("stalled_clients", n(&totals.stalled_clients));
        put("subscriptions", json!(self.broker.subscription_count()));
        put("http_req_stats", json!(&*self.requests.lock()));
        put("config_load_time", time(self.config_loaded));
        put("config_digest", json!(options.config_digest.as_deref().unwrap_or_default()));
        if !options.server_tags.is_empty() {
            put("tags", json!(options.server_tags));
        }
        if !options.server_metadata.is_empty() {
            put("metadata", json!(options.server_metadata));
        }
        put("feature_flags", json!(crate::settings::feature_flags(&options)));
        if let Some(account) = options.system_account() {
            put("system_account", json!(account));
        }
        let by_kind = |n: Value| json!({ "clients": n, "routes": 0, "gateways": 0, "leafs": 0 });
        put("slow_consumer_stats", by_kind(n(&totals.slow_consumers)));
        put("stale_connection_stats", by_kind(n(&totals.stale_connections)));
        put("disk_io_wait_stats", json!({ "waiters": 0, "waits": 0, "wait_time": 0, "max_wait_time": 0 }));
    }
}

/// Returns a whole number without a fraction: Go writes 2, not 2.0.
fn number(value: f64) -> Value {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => json!(value as i64),
        false => json!(value),
    }
}
