//! The configuration of a bucket's stream (ADR-8), as JSON: what an edit does not name stays as it is, known to us or not.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::args::{AddArgs, BucketArgs, EditArgs, Storage};
use super::bucket::stream_name;
use crate::values::api_nanoseconds;

/// Longest time within which a message id counts, unless keys live shorter.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// The stream of a new bucket.
pub(super) fn new(args: &AddArgs) -> Value {
    let bucket = &args.bucket;
    let name = &bucket.bucket;
    let mut config = json!({
        "name": stream_name(name),
        "retention": "limits",
        "storage": match args.storage {
            Storage::File => "file",
            Storage::Memory => "memory",
        },
        "discard": "new",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msg_size": -1,
        "max_msgs_per_subject": 1,
        "num_replicas": 1,
        "duplicate_window": api_nanoseconds(DUPLICATE_WINDOW),
        "compression": "none",
        "deny_delete": true,
        "deny_purge": false,
        "allow_rollup_hdrs": true,
        "allow_direct": true,
    });
    if let Value::Object(config) = &mut config {
        match &args.mirror {
            None => drop(config.insert("subjects".to_owned(), json!([format!("$KV.{name}.>")]))),
            Some(origin) => {
                let mut mirror = json!({ "name": stream_name(origin) });
                if let Some(domain) = &args.mirror_domain {
                    mirror["external"] = json!({ "api": format!("$JS.{domain}.API") });
                }
                config.insert("mirror".to_owned(), mirror);
                config.insert("mirror_direct".to_owned(), json!(true));
            }
        }
        apply(config, bucket);
    }
    config
}

/// An existing configuration with the changes.
pub(super) fn edited(mut config: Value, args: &EditArgs) -> Value {
    if let Value::Object(config) = &mut config {
        if args.no_mirror && config.shift_remove("mirror").is_some() {
            config.insert("subjects".to_owned(), json!([format!("$KV.{}.>", args.bucket.bucket)]));
            config.shift_remove("mirror_direct");
        }
        apply(config, &args.bucket);
    }
    config
}

/// Sets what the command line names.
fn apply(config: &mut Map<String, Value>, args: &BucketArgs) {
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            config.insert(name.to_owned(), value);
        }
    };
    set("description", args.description.as_deref().map(Value::from));
    set("max_msgs_per_subject", args.history.map(Value::from));
    set("num_replicas", args.replicas.map(Value::from));
    set("max_msg_size", args.max_value_size.map(Value::from));
    set("max_bytes", args.max_bucket_size.map(Value::from));
    set("compression", args.compression().map(|is_on| json!(if is_on { "s2" } else { "none" })));
    if let Some(ttl) = args.ttl {
        set("max_age", Some(json!(api_nanoseconds(ttl))));
        set("duplicate_window", Some(json!(api_nanoseconds(ttl.min(DUPLICATE_WINDOW)))));
    }
    if let Some(ttl) = args.marker_ttl {
        set("allow_msg_ttl", Some(json!(true)));
        set("subject_delete_marker_ttl", Some(json!(api_nanoseconds(ttl))));
    }
    if !args.metadata.is_empty() {
        let pairs = args.metadata.iter().map(|(name, value)| (name.clone(), json!(value)));
        set("metadata", Some(Value::Object(pairs.collect())));
    }
    if args.cluster.is_some() || !args.tags.is_empty() {
        let mut placement = json!({ "cluster": args.cluster.as_deref().unwrap_or_default() });
        if !args.tags.is_empty() {
            placement["tags"] = json!(args.tags);
        }
        set("placement", Some(placement));
    }
    if let Some(destination) = &args.republish_destination {
        set(
            "republish",
            Some(json!({
                "src": args.republish_source.as_deref().unwrap_or(">"),
                "dest": destination,
                "headers_only": args.republish_headers,
            })),
        );
    }
    let target = &args.bucket;
    for source in &args.source {
        let sources = config.entry("sources").or_insert_with(|| json!([]));
        if let Value::Array(sources) = sources {
            sources.push(json!({
                "name": stream_name(source),
                "subject_transforms": [{ "src": format!("$KV.{source}.>"), "dest": format!("$KV.{target}.>") }],
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::kv::args::KvCommand;

    fn parse(line: &str) -> KvCommand {
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Kv(args) = cli.command else { panic!("{cli:?}") };
        args.command
    }

    #[test]
    fn a_new_bucket() {
        let KvCommand::Add(args) = parse("stonechat kv add A --ttl 1m --marker-ttl 5s --compress --source B")
        else {
            panic!()
        };
        let config = new(&args);
        assert_eq!(
            (config["subjects"][0].as_str(), config["max_msgs_per_subject"].as_i64()),
            (Some("$KV.A.>"), Some(1))
        );
        assert_eq!(config["duplicate_window"], config["max_age"]);
        assert_eq!((&config["allow_msg_ttl"], &config["compression"]), (&json!(true), &json!("s2")));
        assert_eq!(config["sources"][0]["subject_transforms"][0]["dest"], "$KV.A.>");
    }

    #[test]
    fn a_mirror_has_no_subjects() {
        let KvCommand::Add(args) = parse("stonechat kv add A --mirror B --mirror-domain hub") else {
            panic!()
        };
        let config = new(&args);
        assert!(config.get("subjects").is_none());
        assert_eq!(config["mirror"], json!({ "name": "KV_B", "external": { "api": "$JS.hub.API" } }));
    }

    #[test]
    fn an_edit_keeps_what_it_does_not_name() {
        let KvCommand::Edit(args) = parse("stonechat kv edit A --history 9 --no-compress") else { panic!() };
        let config =
            edited(json!({ "name": "KV_A", "new_thing": [1], "compression": "s2", "max_bytes": 7 }), &args);
        assert_eq!(
            config,
            json!({ "name": "KV_A", "new_thing": [1], "compression": "none", "max_bytes": 7, "max_msgs_per_subject": 9 })
        );
    }
}
