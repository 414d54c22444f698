//! Names of buckets, keys and objects, and the streams and subjects that they become part of.

use base64::prelude::{BASE64_URL_SAFE, Engine};

/// Characters of a bucket's name at most: the stream's name has 255, its prefix included.
pub const BUCKET_MAX: usize = 251;
/// Bytes of an object's name at most.
pub const OBJECT_MAX: usize = 40_000;

/// The rule of the names of buckets.
pub const BUCKET_RULE: &str = "made of letters, digits, - and _, 251 at most";
/// The rule of keys.
pub const KEY_RULE: &str =
    "a key is made of letters, digits, -, /, _, = and dots, with none at its ends and no two in a row";
/// The rule of filters, in addition to that of keys.
pub const FILTER_RULE: &str = "in a filter * stands for one token and > for the rest";
/// The rule of the names of objects.
pub const OBJECT_RULE: &str = "a name is a text of 1 to 40000 bytes";

/// Whether `name` is a valid name of a bucket: it becomes part of a stream's name.
pub fn is_bucket(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= BUCKET_MAX && name.bytes().all(is_allowed)
}

/// Whether `name` is a valid key: it becomes part of a subject.
pub fn is_key(name: &str) -> bool {
    name.split('.').all(is_key_token)
}

/// Whether `pattern` is a valid filter of keys: `*` stands for one token, `>` for the rest.
pub fn is_key_filter(pattern: &str) -> bool {
    let tokens = pattern.strip_suffix('>').map_or(pattern, |front| front.strip_suffix('.').unwrap_or(front));
    if tokens.is_empty() {
        return pattern == ">";
    }
    // "a>" is no filter: the last token has to be ">" alone.
    let is_rest_alone = !pattern.ends_with('>') || pattern.ends_with(".>");
    is_rest_alone && tokens.split('.').all(|token| token == "*" || is_key_token(token))
}

fn is_key_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-/_=".contains(&byte))
}

/// Whether `name` is a valid name of an object.
pub fn is_object(name: &str) -> bool {
    (1..=OBJECT_MAX).contains(&name.len())
}

/// Whether `id` is a valid id of an object's chunks: one token of a subject. Any client may have written the description, and an
/// id of `>` would stand for the chunks of every object.
pub fn is_chunk_id(id: &str) -> bool {
    !id.is_empty() && !id.contains(|c: char| c.is_whitespace() || c.is_control() || ".*>".contains(c))
}

/// The stream of a key-value bucket.
pub fn kv_stream(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The name of the key-value bucket that a stream holds; `None` for other streams.
pub fn kv_bucket(stream: &str) -> Option<&str> {
    stream.strip_prefix("KV_")
}

/// The prefix of keys in the subjects of a bucket.
pub fn kv_prefix(bucket: &str) -> String {
    format!("$KV.{bucket}.")
}

/// The subjects of a bucket.
pub fn kv_subjects(bucket: &str) -> String {
    format!("$KV.{bucket}.>")
}

/// The stream of an object store.
pub fn object_stream(bucket: &str) -> String {
    format!("OBJ_{bucket}")
}

/// The name of the object store that a stream holds; `None` for other streams.
pub fn object_bucket(stream: &str) -> Option<&str> {
    stream.strip_prefix("OBJ_")
}

/// The subject of an object's description.
pub fn description_subject(bucket: &str, object: &str) -> String {
    format!("$O.{bucket}.M.{}", BASE64_URL_SAFE.encode(object))
}

/// The subjects of all descriptions in an object store.
pub fn description_subjects(bucket: &str) -> String {
    format!("$O.{bucket}.M.>")
}

/// The subject of the chunks with an id.
pub fn chunk_subject(bucket: &str, id: &str) -> String {
    format!("$O.{bucket}.C.{id}")
}

/// The subjects of all chunks in an object store.
pub fn chunk_subjects(bucket: &str) -> String {
    format!("$O.{bucket}.C.>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        assert!(is_bucket("CONFIG_2-x") && is_bucket(&"x".repeat(BUCKET_MAX)));
        for text in ["", "a.b", "a b", "ä", "a*", "a>", "a/b", "a\n", &"x".repeat(BUCKET_MAX + 1)] {
            assert!(!is_bucket(text), "{text:?}");
        }
    }

    #[test]
    fn keys_and_filters() {
        for text in ["a", "a.b", "a/b=c_d-1.x"] {
            assert!(is_key(text) && is_key_filter(text), "{text:?}");
        }
        for text in ["", ".", ".a", "a.", "a..b", "a b", "ä", "a\n"] {
            assert!(!is_key(text) && !is_key_filter(text), "{text:?}");
        }
        for text in ["*", ">", "a.*.b", "a.>", "*.>"] {
            assert!(!is_key(text) && is_key_filter(text), "{text:?}");
        }
        for text in ["a*", "a>", "*>", ">.a", "a.>.b", ".>", "a..>", ">>", "a.>>"] {
            assert!(!is_key_filter(text), "{text:?}");
        }
    }

    #[test]
    fn objects_and_their_chunks() {
        assert!(is_object("./any text\n") && !is_object("") && !is_object(&"x".repeat(OBJECT_MAX + 1)));
        assert!(is_chunk_id("XQ1"));
        for id in ["", ">", "*", "a.b", "a b", "a\0"] {
            assert!(!is_chunk_id(id), "{id:?}");
        }
        assert_eq!(description_subject("A", "a?"), "$O.A.M.YT8=");
    }
}
