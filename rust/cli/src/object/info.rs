//! The description of an object, and the message that contains it.

use std::ops::Deref;

use serde_json::json;
use stonechat_buckets::{Description, Link};

use crate::error::CliError;
use crate::output::{bytes, commas, local_time, shown, text};

/// The description of an object, and the sequence of its message.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ObjectInfo {
    description: Description,
    /// Sequence of the message.
    pub(super) revision: u64,
}

impl Deref for ObjectInfo {
    type Target = Description;

    fn deref(&self) -> &Description {
        &self.description
    }
}

impl ObjectInfo {
    /// Parses a description.
    ///
    /// # Errors
    /// The payload is not a JSON object.
    pub(super) fn read(payload: &[u8], revision: u64, time: &str) -> Result<Self, CliError> {
        let mut description = Description::read(payload).ok_or_else(|| {
            CliError::Client(format!("message {revision} describes no object: it is no JSON"))
        })?;
        description.value["mtime"] = json!(time);
        Ok(Self { description, revision })
    }

    /// Returns the object's name; empty if it has none.
    pub(super) fn name(&self) -> &str {
        self.text("name")
    }

    /// Returns the facts about an object, for output.
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
        for (name, value) in self.headers() {
            facts.add("Header", format!("{}: {}", shown(name), shown(&value)));
        }
        facts.add_metadata(&self.value["metadata"]);
        facts
    }
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
}
