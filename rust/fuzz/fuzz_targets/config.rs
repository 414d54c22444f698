//! Configuration text, with a file to include and a variable. The text is accepted or refused. Accepted text stays within the
//! parser's limits, has a digest, and gives options or errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use stonechat_config::flags::FlagSet;
use stonechat_config::lang::{self, DEPTH_MAX, Map, MemorySource, NODES_MAX, Value};
use stonechat_config::{Options, load_with, reload};

const FILE: &str = "etc/server.conf";

// Up to three texts, separated by NUL: the file, a file to include as `more.conf`, and the variable `VALUE`.
fuzz_target!(|data: &[u8]| {
    let mut texts = data.splitn(3, |&b| b == 0);
    let file = texts.next().unwrap_or_default();
    let more = texts.next().unwrap_or_default();
    let value = String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
    let source = MemorySource::default()
        .with_file(FILE, file)
        .with_file("etc/more.conf", more)
        .with_variable("VALUE", value);

    if let Ok(tree) = lang::parse_bytes(file) {
        check_tree(&tree);
    }
    match lang::parse_file(FILE.as_ref(), &source) {
        Ok(tree) => check_tree(&tree),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match load_with(FILE.as_ref(), &FlagSet::default(), &source) {
        Ok(loaded) => {
            assert_eq!(loaded.digest, loaded.options.config_digest);
            let again = load_with(FILE.as_ref(), &FlagSet::default(), &source);
            assert_eq!(again.as_ref(), Ok(&loaded), "read twice");
            if let Ok(changes) = reload::diff(&loaded.options, &loaded.options) {
                assert!(changes.is_empty(), "{changes:?} although nothing changed");
            } else {
                let refused = loaded.options.refused().next().is_some();
                assert!(refused, "a reload of the same is refused");
            }
            // Any options must not cause a panic.
            let _ = loaded.options.validate();
            let _ = reload::diff(&Options::default(), &loaded.options);
        }
        Err(errors) => assert!(!errors.errors.is_empty() && !errors.to_string().is_empty()),
    }
});

fn check_tree(tree: &Map) {
    let root = Value::Map(tree.clone());
    assert!(root.node_count() <= NODES_MAX + 1, "{} values", root.node_count());
    assert!(root.depth() <= DEPTH_MAX + 2, "{} levels", root.depth());
    let json = lang::to_json(tree);
    let mut reader = serde_json::Deserializer::from_str(&json);
    reader.disable_recursion_limit();
    let read = serde_json::Value::deserialize(&mut reader).expect("the tree as JSON is JSON");
    assert!(is_same(&root, &read), "{json}");
    let digest = lang::digest(tree);
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
}

fn is_same(value: &Value, json: &serde_json::Value) -> bool {
    match value {
        Value::String(text) | Value::Datetime(text) => json.as_str() == Some(text),
        Value::Integer(number) => json.as_i64() == Some(*number),
        // The JSON parser may differ in the last digit.
        Value::Float(number) => json.as_f64().is_some_and(|n| (n - number).abs() <= number.abs() * 1e-12),
        Value::Bool(truth) => json.as_bool() == Some(*truth),
        Value::Array(items) => json.as_array().is_some_and(|array| {
            array.len() == items.len()
                && items.iter().zip(array).all(|(node, json)| is_same(&node.value, json))
        }),
        Value::Map(map) => json.as_object().is_some_and(|object| {
            object.len() == map.len()
                && map
                    .iter()
                    .all(|(key, node)| object.get(key).is_some_and(|json| is_same(&node.value, json)))
        }),
    }
}
