//! The digest of a configuration: SHA-256 over its tree, in JSON as Go's `encoding/json` writes it.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{Map, Value};

/// Returns `sha256:<hex>` for the tree, equal to the output of `nats-server -t`.
#[must_use]
pub fn digest(tree: &Map) -> String {
    let mut json = to_json(tree);
    json.push('\n');
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(json.as_bytes()) {
        push_fmt(&mut text, format_args!("{byte:02x}"));
    }
    text
}

/// Returns the tree as JSON with sorted keys and Go's escapes.
#[must_use]
pub fn to_json(tree: &Map) -> String {
    let mut json = String::new();
    push_map(&mut json, tree);
    json
}

fn push_map(out: &mut String, map: &Map) {
    out.push('{');
    for (index, (key, node)) in map.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_string(out, key);
        out.push(':');
        push_value(out, &node.value);
    }
    out.push('}');
}

fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::String(text) | Value::Datetime(text) => push_string(out, text),
        Value::Integer(number) => push_fmt(out, format_args!("{number}")),
        Value::Float(number) => push_float(out, *number),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Array(items) => {
            out.push('[');
            for (index, node) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_value(out, &node.value);
            }
            out.push(']');
        }
        Value::Map(map) => push_map(out, map),
    }
}

/// Appends a float in Go's form: with an exponent below 1e-6 and from 1e21 on, and always with the exponent's sign.
fn push_float(out: &mut String, number: f64) {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        out.push_str(&if text.contains("e-") { text } else { text.replace('e', "e+") });
    } else {
        push_fmt(out, format_args!("{number}"));
    }
}

/// Appends a string with Go's escapes, which include characters that are special in HTML or JavaScript.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                push_fmt(out, format_args!("\\u{:04x}", character as u32));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

fn push_fmt(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::parse_bytes;

    #[test]
    fn json_is_written_as_go_writes_it() {
        let cases = [
            ("b: 1, a: x", r#"{"a":"x","b":1}"#),
            ("a: [1, 2.50, yes, 'q']", r#"{"a":[1,2.5,true,"q"]}"#),
            ("a: []; b: {}", r#"{"a":[],"b":{}}"#),
            ("a: '<&>'", r#"{"a":"\u003c\u0026\u003e"}"#),
            (r#"a: "\t\n\r\"\\\x07\x08\x0c\x7f""#, "{\"a\":\"\\t\\n\\r\\\"\\\\\\u0007\\b\\f\x7f\"}"),
            ("a: 2016-05-04T18:53:41Z", r#"{"a":"2016-05-04T18:53:41Z"}"#),
            (
                "a: 0.0000001; b: 1000000000000000000000.0; c: 0.0; d: 5.0",
                r#"{"a":1e-7,"b":1e+21,"c":0,"d":5}"#,
            ),
        ];
        for (text, json) in cases {
            assert_eq!(to_json(&parse_bytes(text.as_bytes()).unwrap()), json, "{text}");
        }
    }

    #[test]
    fn the_digest_is_that_of_the_real_server() {
        let recorded = "sha256:797533ebd0dfba7d34a0f9337ecf147e442871f48ddfd07ed751575a5737267e";
        assert_eq!(digest(&parse_bytes(b"port: 4222 }").unwrap()), recorded);
    }
}
