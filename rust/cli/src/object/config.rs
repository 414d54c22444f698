//! Converts the command line of a bucket to the options of its stream.

use serde_json::{Map, Value, json};
use stonechat_buckets::{Storage, StoreOptions, merged_placement};

use super::args::{self, BucketArgs};
use crate::values::api_nanoseconds;

/// Returns the stream configuration of a new bucket.
pub(super) fn new(args: &BucketArgs, storage: args::Storage) -> Map<String, Value> {
    let storage = match storage {
        args::Storage::File => Storage::File,
        args::Storage::Memory => Storage::Memory,
    };
    StoreOptions { storage: Some(storage), ..options(args, &Map::new()) }.stream(&args.bucket)
}

/// Sets the fields that the command line names.
pub(super) fn apply(config: &mut Map<String, Value>, args: &BucketArgs) {
    options(args, config).apply(config);
}

/// Returns the options of the command line; a placement is merged with that of the configuration.
fn options(args: &BucketArgs, config: &Map<String, Value>) -> StoreOptions {
    let metadata: Map<String, Value> =
        args.metadata.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    StoreOptions {
        ttl: args.ttl.map(api_nanoseconds),
        max_bytes: args.max_bucket_size,
        storage: None,
        compression: args.switches.get("compress"),
        description: args.description.clone(),
        metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
        placement: merged_placement(config, args.cluster.as_deref(), &args.tags),
        replicas: args.replicas,
    }
}
