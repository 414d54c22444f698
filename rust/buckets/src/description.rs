//! Descriptions of objects: messages that describe an object and its chunks.

use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{json, names};

/// Bytes of a chunk by default, the same in all clients.
pub const CHUNK_SIZE: u64 = 128 << 10;
/// Links that are followed in a row, at most.
pub const LINKS_MAX: usize = 16;
/// The prefix of a digest.
const DIGEST: &str = "SHA-256=";
/// The modification time in a description: readers use the time of its message instead.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Formats a digest for a description.
pub fn digest_text(digest: &[u8]) -> String {
    format!("{DIGEST}{}", BASE64_URL_SAFE.encode(digest))
}

/// Returns the bytes of a digest; `None` if it can't be read.
pub(crate) fn digest_of(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix(DIGEST)?.trim_end_matches('=');
    // Some clients use the standard alphabet of base64.
    BASE64_URL_SAFE_NO_PAD.decode(text.replace('+', "-").replace('/', "_")).ok()
}

/// The target of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The bucket.
    pub bucket: String,
    /// The object; `None` for a whole bucket.
    pub name: Option<String>,
}

/// The content of a new description, for an object or a link.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// The bucket that it is in.
    pub bucket: String,
    /// Its name.
    pub name: String,
    /// A text about the object, for people.
    pub description: String,
    /// Headers; a name may come more than once.
    pub headers: Vec<(String, String)>,
    /// The metadata of the object.
    pub metadata: Map<String, Value>,
    /// The target of a link: the bucket, and the object in it. `None` for an object.
    pub link: Option<(String, Option<String>)>,
    /// Bytes of a chunk.
    pub chunk_size: u64,
    /// The id of its chunks.
    pub nuid: String,
    /// Bytes of the object.
    pub size: u64,
    /// How many chunks it has.
    pub chunks: u64,
    /// Its digest, formatted by [`digest_text`]; empty for none.
    pub digest: String,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// A description, as the JSON that a client wrote. Missing fields count as empty, and unknown fields are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The description.
    pub value: Value,
}

impl Description {
    /// Reads a message; `None` if it is no JSON object.
    pub fn read(payload: &[u8]) -> Option<Self> {
        json::read(payload).filter(Value::is_object).map(|value| Self { value })
    }

    /// The description of a new object.
    pub fn new(facts: &Facts) -> Self {
        let mut value = json!({ "name": facts.name });
        if !facts.description.is_empty() {
            value["description"] = json!(facts.description);
        }
        if !facts.headers.is_empty() {
            let mut headers: Map<String, Value> = Map::new();
            for (name, text) in &facts.headers {
                if let Value::Array(values) = headers.entry(name).or_insert_with(|| json!([])) {
                    values.push(json!(text));
                }
            }
            value["headers"] = Value::Object(headers);
        }
        if !facts.metadata.is_empty() {
            value["metadata"] = Value::Object(facts.metadata.clone());
        }
        value["options"] = match &facts.link {
            None => json!({ "max_chunk_size": facts.chunk_size }),
            Some((bucket, None)) => json!({ "link": { "bucket": bucket } }),
            Some((bucket, Some(name))) => json!({ "link": { "bucket": bucket, "name": name } }),
        };
        value["bucket"] = json!(facts.bucket);
        value["nuid"] = json!(facts.nuid);
        value["size"] = json!(facts.size);
        value["mtime"] = json!(NO_TIME);
        value["chunks"] = json!(facts.chunks);
        if !facts.digest.is_empty() {
            value["digest"] = json!(facts.digest);
        }
        if facts.deleted {
            value["deleted"] = json!(true);
        }
        Self { value }
    }

    /// The description of the same object after its deletion. Its other fields stay, as with nats.go and nats-py.
    #[must_use]
    pub fn deleted(mut self) -> Self {
        if let Value::Object(fields) = &mut self.value {
            fields.shift_remove("digest");
            let gone = [
                ("size", json!(0)),
                ("chunks", json!(0)),
                ("mtime", json!(NO_TIME)),
                ("deleted", json!(true)),
            ];
            fields.extend(gone.map(|(name, value)| (name.to_owned(), value)));
        }
        self
    }

    /// The object's name; `None` if it has none.
    pub fn name(&self) -> Option<&str> {
        self.value["name"].as_str()
    }

    /// The text of a field; empty if there is none.
    pub fn text(&self, field: &str) -> &str {
        self.value[field].as_str().unwrap_or_default()
    }

    /// The id of the object's chunks; `None` if it is no token of a subject.
    pub fn chunk_id(&self) -> Option<&str> {
        self.value["nuid"].as_str().filter(|id| names::is_chunk_id(id))
    }

    /// Bytes of the object.
    pub fn size(&self) -> u64 {
        self.value["size"].as_u64().unwrap_or_default()
    }

    /// How many chunks it has.
    pub fn chunks(&self) -> u64 {
        self.value["chunks"].as_u64().unwrap_or_default()
    }

    /// Bytes of each chunk but the last.
    pub fn chunk_size(&self) -> u64 {
        self.value["options"]["max_chunk_size"].as_u64().filter(|size| *size > 0).unwrap_or(CHUNK_SIZE)
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        self.value["deleted"] == true
    }

    /// The target, if the object is a link.
    pub fn link(&self) -> Option<Link> {
        let link = &self.value["options"]["link"];
        let bucket = link["bucket"].as_str()?.to_owned();
        let name = link["name"].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Link { bucket, name })
    }

    /// The SHA-256 of the whole object; `None` if there is none, or it can't be read.
    pub fn digest(&self) -> Option<Vec<u8>> {
        digest_of(self.text("digest"))
    }

    /// The headers, with one entry for each value.
    pub fn headers(&self) -> Vec<(&str, String)> {
        let headers = self.value["headers"].as_object().into_iter().flatten();
        let values = headers.flat_map(|(name, values)| {
            let values = values.as_array().map_or_else(|| std::slice::from_ref(values), Vec::as_slice);
            values.iter().map(move |value| (name.as_str(), written(value)))
        });
        values.collect()
    }

    /// The metadata of the object.
    pub fn metadata(&self) -> Vec<(&str, String)> {
        let notes = self.value["metadata"].as_object().into_iter().flatten();
        notes.map(|(name, note)| (name.as_str(), written(note))).collect()
    }
}

/// A value as text.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Description {
        Description::read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_description_of_another_shape_is_read_as_far_as_it_can_be() {
        for text in ["", "no json", "[]", "5", "{"] {
            assert_eq!(Description::read(text.as_bytes()), None, "{text}");
        }
        let info = read(
            &json!({ "name": 5, "size": -1, "chunks": 1e99, "digest": "x", "headers": [], "options": 7 }),
        );
        assert_eq!((info.name(), info.size(), info.chunks(), info.chunk_size()), (None, 0, 0, CHUNK_SIZE));
        assert_eq!((info.digest(), info.link(), info.chunk_id()), (None, None, None));
        let info =
            read(&json!({ "headers": { "A": ["1", 2], "B": "x" }, "metadata": { "c": [1] }, "nuid": ">" }));
        let headers: Vec<String> =
            info.headers().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(headers, ["A=1", "A=2", "B=x"]);
        assert_eq!((info.metadata(), info.chunk_id()), (vec![("c", "[1]".to_owned())], None));
    }

    #[test]
    fn digests_and_links() {
        let digest = digest_text(&[255; 32]);
        let info = read(&json!({ "digest": digest, "options": { "link": { "bucket": "B" } } }));
        assert_eq!(info.digest().unwrap(), [255; 32]);
        assert_eq!(info.link(), Some(Link { bucket: "B".to_owned(), name: None }));
        assert_eq!(digest_of(&digest.replace('_', "/")), Some(vec![255; 32]));
    }

    #[test]
    fn a_deleted_object_keeps_what_is_said_of_it() {
        let facts = Facts {
            bucket: "B".to_owned(),
            name: "a".to_owned(),
            headers: vec![("H".to_owned(), "1".to_owned()), ("H".to_owned(), "2".to_owned())],
            chunk_size: 7,
            nuid: "N".to_owned(),
            size: 5,
            chunks: 1,
            digest: digest_text(&[0; 32]),
            ..Facts::default()
        };
        let mut info = Description::new(&facts);
        assert_eq!(info.value["headers"], json!({ "H": ["1", "2"] }));
        assert_eq!(info.value["options"], json!({ "max_chunk_size": 7 }));
        info.value["unknown"] = json!(1);
        let gone = info.deleted();
        assert!(gone.is_deleted() && gone.digest().is_none() && gone.size() == 0 && gone.chunks() == 0);
        assert_eq!(
            (gone.chunk_id(), &gone.value["unknown"], gone.headers().len()),
            (Some("N"), &json!(1), 2)
        );
    }

    #[test]
    fn links_are_described() {
        let link = Some(("B".to_owned(), Some("x".to_owned())));
        let info = Description::new(&Facts { link, ..Facts::default() });
        assert_eq!(info.value["options"], json!({ "link": { "bucket": "B", "name": "x" } }));
        let info = Description::new(&Facts { link: Some(("B".to_owned(), None)), ..Facts::default() });
        assert_eq!(info.value["options"], json!({ "link": { "bucket": "B" } }));
    }
}
