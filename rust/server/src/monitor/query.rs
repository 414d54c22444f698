//! Query parameters and the errors for bad ones.

use std::collections::HashMap;

/// The text of a response with status 400.
pub(super) struct BadQuery(pub(super) String);

/// The parameters of a request. Of two with the same name, the first counts.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let mut values = HashMap::new();
        for part in text.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            values.entry(decode(key)).or_insert_with(|| decode(value));
        }
        Self(values)
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn boolean(&self, key: &str) -> Result<bool, BadQuery> {
        match self.text(key) {
            "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
            other => Err(BadQuery(format!(
                "Error decoding boolean for '{key}': strconv.ParseBool: parsing {other:?}: invalid syntax"
            ))),
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<i64, BadQuery> {
        match self.text(key) {
            "" => Ok(0),
            text => text.parse().map_err(|_| {
                BadQuery(format!(
                    "Error decoding int for '{key}': strconv.Atoi: parsing {text:?}: invalid syntax"
                ))
            }),
        }
    }

    pub(super) fn id(&self, key: &str) -> Result<u64, BadQuery> {
        match self.text(key) {
            "" => Ok(0),
            text => text.parse().map_err(|_| {
                BadQuery(format!(
                    "Error decoding uint64 for '{key}': strconv.ParseUint: parsing {text:?}: invalid syntax"
                ))
            }),
        }
    }
}

/// Undoes percent encoding; invalid encodings stay as they are.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (byte, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let q = Query::parse("a=1&b=x%3Ey+z&c&a=2&d=%zz");
        assert_eq!((q.text("a"), q.text("b"), q.text("c"), q.text("d")), ("1", "x>y z", "", "%zz"));
        assert!(q.boolean("a").is_ok_and(|b| b) && q.boolean("b").is_err());
        assert!(q.number("b").is_err() && q.id("d").is_err());
    }
}
