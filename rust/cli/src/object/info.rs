//! What is known of an object: the message that describes it.

use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};

use crate::error::CliError;
use crate::output::{bytes, commas, local_time, shown, text, text_or_empty};

/// How a digest begins.
const DIGEST: &str = "SHA-256=";

/// A description of an object, as JSON of whoever wrote it: what is missing is nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ObjectInfo {
    pub(super) value: Value,
    /// Sequence of the message.
    pub(super) revision: u64,
}

/// What a link stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) bucket: String,
    /// The object; a bucket as a whole has none.
    pub(super) name: Option<String>,
}

impl ObjectInfo {
    /// Reads a description.
    ///
    /// # Errors
    /// It is no JSON object.
    pub(super) fn read(payload: &[u8], revision: u64, time: &str) -> Result<Self, CliError> {
        let value = serde_json::from_slice::<Value>(payload).ok().filter(Value::is_object);
        let mut value = value.ok_or_else(|| {
            CliError::Client(format!("message {revision} describes no object: it is no JSON"))
        })?;
        value["mtime"] = json!(time);
        Ok(Self { value, revision })
    }

    pub(super) fn name(&self) -> &str {
        self.value["name"].as_str().unwrap_or_default()
    }

    pub(super) fn nuid(&self) -> &str {
        self.value["nuid"].as_str().unwrap_or_default()
    }

    pub(super) fn size(&self) -> u64 {
        self.value["size"].as_u64().unwrap_or_default()
    }

    pub(super) fn chunks(&self) -> u64 {
        self.value["chunks"].as_u64().unwrap_or_default()
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.value["deleted"] == true
    }

    pub(super) fn link(&self) -> Option<Link> {
        let link = &self.value["options"]["link"];
        let bucket = link["bucket"].as_str()?.to_owned();
        let name = link["name"].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Link { bucket, name })
    }

    /// The SHA-256 of the whole object; `None` if there is none, or it can't be read.
    pub(super) fn digest(&self) -> Option<Vec<u8>> {
        let text = self.value["digest"].as_str()?.strip_prefix(DIGEST)?;
        BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
    }

    /// What people read of an object.
    pub(super) fn facts(&self, bucket: &str) -> crate::output::Facts {
        let title = format!("Object information for {} > {}", shown(bucket), shown(self.name()));
        let mut facts = crate::output::Facts::new(title);
        facts.add_some("Description", text(&self.value["description"]));
        match self.link() {
            Some(Link { bucket, name: Some(name) }) => {
                facts.add("Link To", format!("{} > {}", shown(&bucket), shown(&name)));
            }
            Some(Link { bucket, name: None }) => facts.add("Link To", format!("bucket {}", shown(&bucket))),
            None => {}
        }
        facts.add("Size", bytes(self.size()));
        facts.add("Modification Time", local_time(self.value["mtime"].as_str().unwrap_or_default()));
        facts.add("Chunks", commas(self.chunks()));
        if let Some(digest) = self.digest() {
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            facts.add("Digest", format!("SHA-256 {hex}"));
        }
        facts.add_some("Deleted", self.is_deleted().then_some("true"));
        for (name, values) in self.value["headers"].as_object().into_iter().flatten() {
            for value in values.as_array().into_iter().flatten() {
                facts.add("Header", format!("{}: {}", shown(name), text_or_empty(value)));
            }
        }
        facts.add_metadata(&self.value["metadata"]);
        facts
    }
}

/// A digest as it is written.
pub(super) fn digest_text(digest: &[u8]) -> String {
    format!("{DIGEST}{}", BASE64_URL_SAFE.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_of_another_shape_is_shown_as_far_as_it_can_be() {
        assert!(ObjectInfo::read(b"no json", 1, "").is_err() && ObjectInfo::read(b"[]", 1, "").is_err());
        for text in [
            "{}",
            r#"{"name": 5, "size": -1, "digest": "x", "headers": [], "options": 7}"#,
            r#"{"name": "\u001b[2J"}"#,
        ] {
            let info = ObjectInfo::read(text.as_bytes(), 1, "").unwrap();
            assert!(!info.facts("B").render().contains('\u{1b}'));
            assert_eq!((info.size(), info.chunks(), info.digest(), info.link()), (0, 0, None, None));
        }
    }

    #[test]
    fn digests_and_links() {
        let digest = digest_text(&[255; 32]);
        let text = json!({ "digest": digest, "options": { "link": { "bucket": "B" } } }).to_string();
        let info = ObjectInfo::read(text.as_bytes(), 1, "").unwrap();
        assert_eq!(info.digest().unwrap(), [255; 32]);
        assert_eq!(info.link(), Some(Link { bucket: "B".to_owned(), name: None }));
    }
}
