//! Finds the secrets in a CONNECT, and reads quoted text back.

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;

/// Fields whose values must not reach a log.
const SECRET: [&str; 5] = ["pass", "auth_token", "nkey", "sig", "proxy_sig"];
/// Minimum length of a secret; shorter ones appear by chance.
const LENGTH_MIN: usize = 4;

/// Returns the positions of the secrets in a JSON object, without their quotes. Returns none if the text is not an object.
pub fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let Ok(fields) = json.deserialize_map(Fields) else { return Vec::new() };
    if json.end().is_err() {
        return Vec::new();
    }
    let secret = |(key, value): &(String, &RawValue)| {
        let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
        let start = (inner.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        let is_secret = SECRET.contains(&key.to_lowercase().as_str()) && inner.len() >= LENGTH_MIN;
        is_secret.then(|| start..start + inner.len())
    };
    fields.iter().filter_map(secret).collect()
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(entry) = map.next_entry()? {
            fields.push(entry);
        }
        Ok(fields)
    }
}

/// Returns the bytes that a quoted text stands for; `None` if it is not one text in quotes, or not fit for one line of a log.
pub fn unquote(quoted: &str) -> Option<Vec<u8>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '"' => return None,
            c if c.is_control() => return None,
            '\\' => match chars.next()? {
                c @ ('"' | '\\') => c,
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                'x' => {
                    bytes.push(u8::try_from(hexadecimal(&mut chars, 2)?).ok()?);
                    continue;
                }
                'u' => char::from_u32(hexadecimal(&mut chars, 4)?)?,
                'U' => char::from_u32(hexadecimal(&mut chars, 8)?)?,
                _ => return None,
            },
            c => c,
        };
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Some(bytes)
}

fn hexadecimal(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0, |number, _| Some(number << 4 | chars.next()?.to_digit(16)?))
}
