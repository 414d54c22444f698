//! Converts the command line of a bucket to the options of its stream.

use serde_json::{Map, Value, json};
use stonechat_buckets::{BucketOptions, Republish, Storage, merged_placement};

use super::args::{self, AddArgs, BucketArgs, EditArgs};
use crate::values::api_nanoseconds;

/// Returns the stream configuration of a new bucket.
pub(super) fn new(args: &AddArgs) -> Value {
    let storage = match args.storage {
        args::Storage::File => Storage::File,
        args::Storage::Memory => Storage::Memory,
    };
    let options = BucketOptions {
        storage: Some(storage),
        mirror: args.mirror.clone(),
        mirror_domain: args.mirror_domain.clone(),
        ..options(&args.bucket, &Map::new())
    };
    Value::Object(options.stream(&args.bucket.bucket))
}

/// Returns an existing configuration with the changes of the flags.
pub(super) fn edited(mut config: Value, args: &EditArgs) -> Value {
    if let Value::Object(config) = &mut config {
        let bucket = &args.bucket.bucket;
        if args.no_mirror {
            BucketOptions::detach(bucket, config);
        }
        options(&args.bucket, config).apply(bucket, config);
    }
    config
}

/// Returns the options of the command line; a placement is merged with that of the configuration.
fn options(args: &BucketArgs, config: &Map<String, Value>) -> BucketOptions {
    let republish = args.republish_destination.as_ref().map(|dest| Republish {
        src: args.republish_source.clone().unwrap_or_else(|| ">".to_owned()),
        dest: dest.clone(),
        headers_only: args.republish_headers,
    });
    let metadata: Map<String, Value> =
        args.metadata.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    BucketOptions {
        history: args.history,
        ttl: args.ttl.map(api_nanoseconds),
        marker_ttl: args.marker_ttl.map(api_nanoseconds),
        max_bytes: args.max_bucket_size,
        max_value_size: args.max_value_size,
        compression: args.compression(),
        description: args.description.clone(),
        metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
        sources: args.source.clone(),
        republish,
        placement: merged_placement(config, args.cluster.as_deref(), &args.tags),
        replicas: args.replicas,
        ..BucketOptions::default()
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
        let line = "stonechat kv add A --ttl 1m --marker-ttl 5s --compress --source B --metadata a=b --tags t \
                    --republish-destination x --storage memory --max-value-size 1K";
        let KvCommand::Add(args) = parse(line) else { panic!() };
        let config = new(&args);
        assert_eq!(
            (&config["storage"], &config["max_msg_size"], &config["max_age"]),
            (&json!("memory"), &json!(1024), &json!(60_000_000_000_u64))
        );
        assert_eq!((&config["allow_msg_ttl"], &config["compression"]), (&json!(true), &json!("s2")));
        assert_eq!(config["sources"][0]["name"], "KV_B");
        assert_eq!(config["republish"], json!({ "src": ">", "dest": "x", "headers_only": false }));
        assert_eq!(
            (&config["metadata"], &config["placement"]),
            (&json!({ "a": "b" }), &json!({ "tags": ["t"] }))
        );
    }

    #[test]
    fn a_mirror() {
        let KvCommand::Add(args) = parse("stonechat kv add A --mirror B --mirror-domain hub") else {
            panic!()
        };
        let mirror = json!({ "name": "KV_B", "external": { "api": "$JS.hub.API" } });
        assert_eq!(new(&args)["mirror"], mirror);
    }

    #[test]
    fn an_edit_keeps_what_it_does_not_name() {
        let KvCommand::Edit(args) = parse("stonechat kv edit A --history 9 --no-compress --no-mirror") else {
            panic!()
        };
        let config =
            json!({ "name": "KV_A", "mirror": {}, "new_thing": [1], "compression": "s2", "max_bytes": 7 });
        assert_eq!(
            edited(config, &args),
            json!({
                "name": "KV_A", "new_thing": [1], "compression": "none", "max_bytes": 7,
                "subjects": ["$KV.A.>"], "max_msgs_per_subject": 9
            })
        );
    }
}
