//! Indented JSON, made from compact text without a tree of values.

/// Indents JSON with a line for each item, like `serde_json` and nats-server 2.15. Invalid JSON gives an unspecified
/// result.
pub(super) fn indent(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() + compact.len() / 2);
    let (mut depth, mut rest) = (0, compact);
    while let Some(at) = rest.find(['"', '{', '[', '}', ']', ',', ':']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let len = match from.as_bytes()[0] {
            b'"' => string_len(from),
            b'{' | b'[' if from[1..].starts_with(['}', ']']) => 2,
            _ => 1,
        };
        let (token, behind) = from.split_at(len);
        rest = behind;
        match token {
            "{" | "[" => {
                depth += 1;
                out.push_str(token);
                line(&mut out, depth);
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push_str(token);
            }
            "," => {
                out.push(',');
                line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            _ => out.push_str(token),
        }
    }
    out.push_str(rest);
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    (0..depth).for_each(|_| out.push_str("  "));
}

/// Returns the length of the string at the beginning of `text`, with its quotes.
fn string_len(text: &str) -> usize {
    let mut is_escaped = false;
    // True at the end of the string.
    let ends = |byte: u8| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    };
    // A quote is a single byte.
    text.bytes().skip(1).position(ends).map_or(text.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn it_is_what_serde_json_writes() {
        let texts = ["", "a", "\"", "\\", "\\\\\"{[,:]}", "ü\"ö", "\n\u{0}"];
        let mut values = vec![Value::Null, json!(true), json!(-1.5e300), json!([]), json!({})];
        values.extend(texts.map(Value::from));
        for _ in 0..3 {
            let all = values.clone();
            for (n, text) in texts.iter().enumerate() {
                values.push(json!({ *text: all[n], "other": all[all.len() - 1 - n] }));
                values.push(json!([all[n], all[all.len() - 1 - n]]));
            }
            values.push(json!(values));
        }
        for value in values {
            assert_eq!(indent(&value.to_string()), serde_json::to_string_pretty(&value).unwrap());
        }
    }

    #[test]
    fn what_is_no_json_does_no_harm() {
        for text in ["\"", "\"\\", "\"\\ü", "}]}", "{", "[}", "{]", "\"a", ",,:", "ü\"\\üüü"] {
            assert!(indent(text).len() >= text.len());
        }
    }
}
