//! The configurations of buckets' streams, as JSON. An edit leaves all fields unchanged that it does not name, unknown ones
//! included.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::names;

/// Duplicate window in nanoseconds, unless the bucket's `ttl` is shorter.
pub const DUPLICATE_WINDOW_NS: u64 = 120_000_000_000;

/// Where a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// On disk.
    File,
    /// In memory.
    Memory,
}

impl Storage {
    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

/// Which changes are published again, and where.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Republish {
    /// A filter of subjects.
    pub src: String,
    /// The subject that they are mapped to.
    pub dest: String,
    /// Whether values are left out.
    #[serde(default)]
    pub headers_only: bool,
}

/// Options of a key-value bucket; times are in nanoseconds. `None` leaves a setting unchanged.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketOptions {
    /// Values that are kept of each key.
    pub history: Option<u8>,
    /// Time after which values expire.
    pub ttl: Option<u64>,
    /// Time that the marker of an expired key stays.
    pub marker_ttl: Option<u64>,
    /// Bytes that the bucket may occupy; 0 or less for no limit.
    pub max_bytes: Option<i64>,
    /// Bytes that a value may have; 0 or less for no limit.
    pub max_value_size: Option<i64>,
    /// Where it is kept.
    pub storage: Option<Storage>,
    /// Whether it is compressed on disk.
    pub compression: Option<bool>,
    /// The description of the bucket.
    pub description: Option<String>,
    /// The metadata of the bucket.
    pub metadata: Option<Map<String, Value>>,
    /// The bucket that it is a copy of.
    pub mirror: Option<String>,
    /// The domain of that bucket.
    pub mirror_domain: Option<String>,
    /// Buckets whose keys are copied into this one.
    pub sources: Vec<String>,
    /// Which changes are published again.
    pub republish: Option<Republish>,
    /// Where the server is to place it.
    pub placement: Option<Map<String, Value>>,
    /// How many servers keep a copy.
    pub replicas: Option<u64>,
}

impl BucketOptions {
    /// The configuration of a new bucket's stream.
    pub fn stream(&self, bucket: &str) -> Map<String, Value> {
        let mut config = object(json!({
            "name": names::kv_stream(bucket),
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msg_size": -1,
            "max_msgs_per_subject": 1,
            "num_replicas": 1,
            "duplicate_window": DUPLICATE_WINDOW_NS,
            "compression": "none",
            "deny_delete": true,
            "deny_purge": false,
            "allow_rollup_hdrs": true,
            "allow_direct": true,
        }));
        match &self.mirror {
            None => set(&mut config, "subjects", Some(json!([names::kv_subjects(bucket)]))),
            Some(origin) => {
                let mut mirror = json!({ "name": names::kv_stream(origin) });
                if let Some(domain) = &self.mirror_domain {
                    mirror["external"] = json!({ "api": format!("$JS.{domain}.API") });
                }
                set(&mut config, "mirror", Some(mirror));
                set(&mut config, "mirror_direct", Some(json!(true)));
            }
        }
        self.apply(bucket, &mut config);
        config
    }

    /// Applies the options to an existing configuration. The origin of a copy can't be changed.
    pub fn apply(&self, bucket: &str, config: &mut Map<String, Value>) {
        set(config, "description", self.description.as_deref().map(Value::from));
        set(config, "max_msgs_per_subject", self.history.map(Value::from));
        set(config, "num_replicas", self.replicas.map(Value::from));
        set(config, "max_msg_size", self.max_value_size.map(limit));
        set(config, "max_bytes", self.max_bytes.map(limit));
        set(config, "storage", self.storage.map(|storage| json!(storage.name())));
        set(config, "compression", self.compression.map(compression));
        if let Some(ttl) = self.ttl {
            set(config, "max_age", Some(json!(ttl)));
            set(config, "duplicate_window", Some(json!(ttl.min(DUPLICATE_WINDOW_NS))));
        }
        if let Some(ttl) = self.marker_ttl {
            set(config, "allow_msg_ttl", Some(json!(true)));
            set(config, "subject_delete_marker_ttl", Some(json!(ttl)));
        }
        set(config, "metadata", self.metadata.clone().map(Value::Object));
        set(config, "placement", self.placement.clone().map(Value::Object));
        if let Some(republish) = &self.republish {
            let Republish { src, dest, headers_only } = republish;
            set(config, "republish", Some(json!({ "src": src, "dest": dest, "headers_only": headers_only })));
        }
        for source in &self.sources {
            let sources = config.entry("sources").or_insert_with(|| json!([]));
            if let Value::Array(sources) = sources {
                sources.push(json!({
                    "name": names::kv_stream(source),
                    "subject_transforms": [{ "src": names::kv_subjects(source), "dest": names::kv_subjects(bucket) }],
                }));
            }
        }
    }

    /// Turns a copy into an independent bucket.
    pub fn detach(bucket: &str, config: &mut Map<String, Value>) {
        if config.shift_remove("mirror").is_some() {
            set(config, "subjects", Some(json!([names::kv_subjects(bucket)])));
            config.shift_remove("mirror_direct");
        }
    }
}

/// Options of an object store; times are in nanoseconds. `None` leaves a setting unchanged.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreOptions {
    /// Time after which objects expire.
    pub ttl: Option<u64>,
    /// Bytes that the store may occupy; 0 or less for no limit.
    pub max_bytes: Option<i64>,
    /// Where it is kept.
    pub storage: Option<Storage>,
    /// Whether it is compressed on disk.
    pub compression: Option<bool>,
    /// The description of the store.
    pub description: Option<String>,
    /// The metadata of the store.
    pub metadata: Option<Map<String, Value>>,
    /// Where the server is to place it.
    pub placement: Option<Map<String, Value>>,
    /// How many servers keep a copy.
    pub replicas: Option<u64>,
}

impl StoreOptions {
    /// The configuration of a new store's stream.
    pub fn stream(&self, bucket: &str) -> Map<String, Value> {
        let mut config = object(json!({
            "name": names::object_stream(bucket),
            "subjects": [names::chunk_subjects(bucket), names::description_subjects(bucket)],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_consumers": -1,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_msg_size": -1,
            "max_msgs_per_subject": -1,
            "max_age": 0,
            "num_replicas": 1,
            "compression": "none",
            "allow_rollup_hdrs": true,
            "allow_direct": true,
        }));
        self.apply(&mut config);
        config
    }

    /// Applies the options to an existing configuration.
    pub fn apply(&self, config: &mut Map<String, Value>) {
        set(config, "description", self.description.as_deref().map(Value::from));
        set(config, "num_replicas", self.replicas.map(Value::from));
        set(config, "max_bytes", self.max_bytes.map(limit));
        set(config, "max_age", self.ttl.map(Value::from));
        set(config, "storage", self.storage.map(|storage| json!(storage.name())));
        set(config, "compression", self.compression.map(compression));
        set(config, "metadata", self.metadata.clone().map(Value::Object));
        set(config, "placement", self.placement.clone().map(Value::Object));
    }
}

/// Returns the placement of a configuration with another cluster, or other tags; `None` if neither is given.
pub fn merged_placement(
    config: &Map<String, Value>,
    cluster: Option<&str>,
    tags: &[String],
) -> Option<Map<String, Value>> {
    if cluster.is_none() && tags.is_empty() {
        return None;
    }
    let mut placement = config.get("placement").and_then(Value::as_object).cloned().unwrap_or_default();
    set(&mut placement, "cluster", cluster.map(Value::from));
    set(&mut placement, "tags", (!tags.is_empty()).then(|| json!(tags)));
    Some(placement)
}

fn set(config: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        config.insert(name.to_owned(), value);
    }
}

/// A limit as JetStream writes it.
fn limit(most: i64) -> Value {
    json!(if most <= 0 { -1 } else { most })
}

fn compression(is_on: bool) -> Value {
    json!(if is_on { "s2" } else { "none" })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_bucket() {
        let options = BucketOptions {
            ttl: Some(60_000_000_000),
            marker_ttl: Some(5_000_000_000),
            compression: Some(true),
            sources: vec!["B".to_owned()],
            ..BucketOptions::default()
        };
        let config = options.stream("A");
        assert_eq!(config["subjects"], json!(["$KV.A.>"]));
        assert_eq!((&config["max_msgs_per_subject"], &config["max_msg_size"]), (&json!(1), &json!(-1)));
        assert_eq!(config["duplicate_window"], config["max_age"]);
        assert_eq!((&config["allow_msg_ttl"], &config["compression"]), (&json!(true), &json!("s2")));
        assert_eq!(config["sources"][0]["subject_transforms"][0]["dest"], "$KV.A.>");
        assert!(config.get("description").is_none() && config.get("mirror").is_none());
    }

    #[test]
    fn a_mirror_has_no_subjects() {
        let options = BucketOptions {
            mirror: Some("B".to_owned()),
            mirror_domain: Some("hub".to_owned()),
            ..BucketOptions::default()
        };
        let mut config = options.stream("A");
        assert!(config.get("subjects").is_none());
        assert_eq!(config["mirror"], json!({ "name": "KV_B", "external": { "api": "$JS.hub.API" } }));
        BucketOptions::detach("A", &mut config);
        assert_eq!(config["subjects"], json!(["$KV.A.>"]));
        assert!(config.get("mirror").is_none() && config.get("mirror_direct").is_none());
    }

    #[test]
    fn an_edit_keeps_what_it_does_not_name() {
        let options = BucketOptions { history: Some(9), max_bytes: Some(0), ..BucketOptions::default() };
        let mut config = object(json!({ "name": "KV_A", "new_thing": [1], "max_bytes": 7 }));
        options.apply("A", &mut config);
        assert_eq!(
            Value::Object(config),
            json!({ "name": "KV_A", "new_thing": [1], "max_bytes": -1, "max_msgs_per_subject": 9 })
        );
        let mut config = object(json!({ "max_age": 5, "new_thing": 1 }));
        StoreOptions { description: Some("x".to_owned()), ..StoreOptions::default() }.apply(&mut config);
        assert_eq!(Value::Object(config), json!({ "max_age": 5, "new_thing": 1, "description": "x" }));
    }

    #[test]
    fn placements_are_merged() {
        let config = object(json!({ "placement": { "cluster": "a", "new_thing": 1 } }));
        assert_eq!(merged_placement(&config, None, &[]), None);
        let placement = merged_placement(&config, Some("b"), &["t".to_owned()]);
        assert_eq!(
            placement.map(Value::Object),
            Some(json!({ "cluster": "b", "new_thing": 1, "tags": ["t"] }))
        );
        let config = object(json!({ "placement": 5 }));
        assert_eq!(
            merged_placement(&config, Some("b"), &[]).map(Value::Object),
            Some(json!({ "cluster": "b" }))
        );
    }
}
