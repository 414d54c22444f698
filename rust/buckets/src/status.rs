//! The status of a bucket, from the info of its stream. The stream may have been created by hand, with any configuration.

use serde_json::Value;

use crate::names;

/// How the keys of a key-value bucket map to subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// The prefix of a key in the subjects of stored messages.
    pub prefix: String,
    /// The prefix of a key in the subjects of writes. It is another one for copies.
    pub put_prefix: String,
    /// Whether direct gets are allowed.
    pub is_direct: bool,
    /// Bytes that a value may have; `None` for no limit.
    pub max_value_size: Option<u64>,
}

impl KeyPlace {
    /// Reads the configuration of a bucket's stream. `api` is the API prefix of another domain, if the configuration was
    /// requested through it.
    pub fn of(bucket: &str, config: &Value, api: Option<&str>) -> Self {
        let mirror = &config["mirror"];
        let origin = mirror["name"].as_str().and_then(names::kv_bucket).unwrap_or(bucket);
        let prefix = names::kv_prefix(origin);
        // A copy accepts no writes: they go to its origin, through the API of the origin's domain if that is another one.
        let foreign = mirror["external"]["api"].as_str().filter(|api| !api.is_empty());
        let put_prefix = match foreign.or(api) {
            Some(api) => format!("{api}.{prefix}"),
            None => prefix.clone(),
        };
        let is_direct = config["allow_direct"] == true;
        Self { prefix, put_prefix, is_direct, max_value_size: limit(&config["max_msg_size"]) }
    }

    /// The subject of a key's messages.
    pub fn subject(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key of a message.
    pub fn key<'a>(&self, subject: &'a str) -> &'a str {
        subject.strip_prefix(&self.prefix).unwrap_or(subject)
    }
}

/// Configuration and state of a key-value bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvStatus {
    /// Values and markers that it keeps.
    pub values: u64,
    /// Bytes that it occupies.
    pub bytes: u64,
    /// Values that it keeps of each key; -1 for all.
    pub history: i64,
    /// Nanoseconds after which values expire.
    pub ttl_ns: Option<u64>,
    /// Nanoseconds that the marker of an expired key stays.
    pub marker_ttl_ns: Option<u64>,
    /// Bytes that it may occupy; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Bytes that a value may have; `None` for no limit.
    pub max_value_size: Option<u64>,
    /// `file` or `memory`, or another word of the server.
    pub storage: String,
    /// Whether it is compressed on disk.
    pub is_compressed: bool,
    /// The description of the bucket.
    pub description: String,
    /// The metadata of the bucket, without the server's own.
    pub metadata: Vec<(String, String)>,
}

impl KvStatus {
    /// Reads the answer of `STREAM.INFO`.
    pub fn of(info: &Value) -> Self {
        let (config, state) = (&info["config"], &info["state"]);
        Self {
            values: count(&state["messages"]),
            bytes: count(&state["bytes"]),
            history: config["max_msgs_per_subject"].as_i64().unwrap_or_default(),
            ttl_ns: time(&config["max_age"]),
            marker_ttl_ns: time(&config["subject_delete_marker_ttl"]),
            max_bytes: limit(&config["max_bytes"]),
            max_value_size: limit(&config["max_msg_size"]),
            storage: text(&config["storage"]),
            is_compressed: config["compression"] == "s2",
            description: text(&config["description"]),
            metadata: metadata(&config["metadata"]),
        }
    }
}

/// Configuration and state of an object store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Bytes that it occupies.
    pub bytes: u64,
    /// Whether it accepts no more changes.
    pub is_sealed: bool,
    /// Nanoseconds after which objects expire.
    pub ttl_ns: Option<u64>,
    /// Bytes that it may occupy; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// `file` or `memory`, or another word of the server.
    pub storage: String,
    /// Whether it is compressed on disk.
    pub is_compressed: bool,
    /// The description of the bucket.
    pub description: String,
    /// How many servers keep a copy.
    pub replicas: u64,
    /// Whether direct gets are allowed.
    pub is_direct: bool,
}

impl StoreStatus {
    /// Reads the answer of `STREAM.INFO`.
    pub fn of(info: &Value) -> Self {
        let (config, state) = (&info["config"], &info["state"]);
        Self {
            bytes: count(&state["bytes"]),
            is_sealed: config["sealed"] == true,
            ttl_ns: time(&config["max_age"]),
            max_bytes: limit(&config["max_bytes"]),
            storage: text(&config["storage"]),
            is_compressed: config["compression"] == "s2",
            description: text(&config["description"]),
            replicas: count(&config["num_replicas"]),
            is_direct: config["allow_direct"] == true,
        }
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Reads a duration; `None` where none is set.
fn time(value: &Value) -> Option<u64> {
    value.as_u64().filter(|time| (1..i64::MAX as u64).contains(time))
}

/// Reads a limit; `None` where none is set.
fn limit(value: &Value) -> Option<u64> {
    value.as_u64().filter(|most| *most > 0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn metadata(value: &Value) -> Vec<(String, String)> {
    let notes = value.as_object().into_iter().flatten();
    let notes = notes.filter(|(name, _)| !name.starts_with("_nats."));
    notes
        .map(|(name, note)| (name.clone(), note.as_str().map_or_else(|| note.to_string(), str::to_owned)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_copy_is_written_at_its_origin() {
        let config = json!({ "mirror": { "name": "KV_B", "external": { "api": "$JS.hub.API" } } });
        let place = KeyPlace::of("A", &config, Some("$JS.other.API"));
        assert_eq!((place.prefix.as_str(), place.put_prefix.as_str()), ("$KV.B.", "$JS.hub.API.$KV.B."));
        assert_eq!((place.key("$KV.B.x"), place.key("other")), ("x", "other"));
        let place =
            KeyPlace::of("A", &json!({ "allow_direct": true, "max_msg_size": -1 }), Some("$JS.d.API"));
        assert_eq!(place.put_prefix, "$JS.d.API.$KV.A.");
        assert_eq!(
            (place.is_direct, place.max_value_size, place.subject("k")),
            (true, None, "$KV.A.k".into())
        );
    }

    #[test]
    fn a_stream_of_another_shape_is_read_as_far_as_it_can_be() {
        for info in [
            json!({}),
            json!([1]),
            json!({ "config": 5, "state": [] }),
            json!({ "config": { "max_age": -1, "max_bytes": "x", "metadata": [1], "mirror": 7, "storage": {} } }),
        ] {
            assert_eq!(KvStatus::of(&info), KvStatus::default());
            assert_eq!(StoreStatus::of(&info), StoreStatus::default());
            assert_eq!(KeyPlace::of("A", &info["config"], None).put_prefix, "$KV.A.");
        }
        let info =
            json!({ "config": { "metadata": { "a": 5, "_nats.x": "y" } }, "state": { "messages": 3 } });
        let status = KvStatus::of(&info);
        assert_eq!((status.values, status.metadata), (3, vec![("a".to_owned(), "5".to_owned())]));
    }
}
