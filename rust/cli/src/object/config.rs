//! The configuration of a bucket's stream (ADR-20), as JSON: what an edit does not name stays as it is, known to us or not.

use serde_json::{Map, Value, json};

use super::args::{BucketArgs, Storage};
use super::store::stream_name;
use crate::values::api_nanoseconds;

/// The stream of a new bucket.
pub(super) fn new(args: &BucketArgs, storage: Storage) -> Map<String, Value> {
    let name = &args.bucket;
    let config = json!({
        "name": stream_name(name),
        "subjects": [format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
        "retention": "limits",
        "storage": if storage == Storage::Memory { "memory" } else { "file" },
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
    });
    let Value::Object(mut config) = config else { return Map::new() };
    apply(&mut config, args);
    config
}

/// Sets what the command line names.
pub(super) fn apply(config: &mut Map<String, Value>, args: &BucketArgs) {
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    };
    set("description", args.description.as_deref().map(Value::from));
    set("num_replicas", args.replicas.map(Value::from));
    set("max_bytes", args.max_bucket_size.map(|size| json!(if size == 0 { -1 } else { size })));
    set("max_age", args.ttl.map(|ttl| json!(api_nanoseconds(ttl))));
    let compression = args.switches.get("compress");
    set("compression", compression.map(|is_on| json!(if is_on { "s2" } else { "none" })));
    if !args.metadata.is_empty() {
        let pairs = args.metadata.iter().map(|(name, value)| (name.clone(), json!(value)));
        set("metadata", Some(Value::Object(pairs.collect())));
    }
    if args.cluster.is_some() || !args.tags.is_empty() {
        let mut placement = match config.shift_remove("placement") {
            Some(Value::Object(placement)) => placement,
            _ => Map::new(),
        };
        if let Some(cluster) = &args.cluster {
            placement.insert("cluster".to_owned(), json!(cluster));
        }
        if !args.tags.is_empty() {
            placement.insert("tags".to_owned(), json!(args.tags));
        }
        config.insert("placement".to_owned(), Value::Object(placement));
    }
}
