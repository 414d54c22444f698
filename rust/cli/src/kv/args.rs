//! The command line of `stonechat kv`: names, flags and defaults are those of `nats kv`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::session::JetStreamArgs;
use crate::values::{
    parse_bucket, parse_bytes, parse_bytes_32, parse_duration, parse_key, parse_key_filter, parse_pair,
    parse_subject,
};

const EXAMPLES: &str = "\
Examples:
  stonechat kv add CONFIG --history 5       make a bucket that keeps five values of each key
  stonechat kv put CONFIG db.url pg://h     write a key
  stonechat kv get CONFIG db.url --raw      print its value
  stonechat kv ls CONFIG 'db.*'             list keys; the server looks for them
  stonechat kv watch CONFIG                 print each change, until Ctrl-C";

/// Arguments of `stonechat kv`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct KvArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    #[command(subcommand)]
    pub(crate) command: KvCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Make a bucket
    #[command(visible_alias = "new")]
    Add(AddArgs),
    /// Change the configuration of a bucket
    Edit(EditArgs),
    /// Write a value
    Put {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        #[arg(value_parser = parse_key, help = KEY)]
        key: String,
        /// The value; without it, or with "-", what standard input has
        value: Option<String>,
    },
    /// Print a value
    Get(GetArgs),
    /// Write a value if the key has none
    Create {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        #[arg(value_parser = parse_key, help = KEY)]
        key: String,
        /// The value; without it, or with "-", what standard input has
        value: Option<String>,
        /// Remove the key after that time; the bucket needs --marker-ttl
        #[arg(long, value_parser = parse_duration, value_name = "TIME")]
        ttl: Option<Duration>,
    },
    /// Write a value if the key's last revision is the one named
    Update {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        #[arg(value_parser = parse_key, help = KEY)]
        key: String,
        /// The value
        value: String,
        /// The revision of the last value
        revision: u64,
    },
    /// Delete a key, or a whole bucket
    #[command(visible_alias = "rm")]
    Del {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        /// The key; without it the bucket is deleted
        #[arg(value_parser = parse_key)]
        key: Option<String>,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Delete a key with its history
    Purge {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        #[arg(value_parser = parse_key, help = KEY)]
        key: String,
        #[arg(short, long, help = FORCE)]
        force: bool,
        /// Remove the marker of the deletion too, after that time; the bucket needs --marker-ttl
        #[arg(long, value_parser = parse_duration, value_name = "TIME")]
        ttl: Option<Duration>,
    },
    /// Show all values that a bucket keeps of a key
    History {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        #[arg(value_parser = parse_key, help = KEY)]
        key: String,
    },
    /// Write the value of an earlier revision again
    Revert {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        #[arg(value_parser = parse_key, help = KEY)]
        key: String,
        /// The revision whose value is written
        revision: u64,
        #[arg(long, help = FORCE)]
        force: bool,
    },
    /// Show configuration and state of a bucket
    #[command(visible_aliases = ["view", "status"])]
    Info {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
    },
    /// Print changes as they happen, until Ctrl-C
    Watch(WatchArgs),
    /// List buckets, or the keys of a bucket
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Remove the history and the markers of deleted keys
    Compact {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
}

const BUCKET: &str = "Name of the bucket";
const KEY: &str = "The key";
const FORCE: &str = "Act without a question";

/// Where a bucket is kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Storage {
    #[value(alias = "f")]
    File,
    #[value(alias = "m")]
    Memory,
}

/// What can be said of a new bucket and changed later.
#[derive(Debug, Args)]
pub(crate) struct BucketArgs {
    #[arg(value_parser = parse_bucket, help = BUCKET)]
    pub(crate) bucket: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// How many values of each key are kept, 1 to 64 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) history: Option<u8>,
    /// Remove values after that time
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) ttl: Option<Duration>,
    /// Let keys have times of their own, and keep a marker that long where a key has expired
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) marker_ttl: Option<Duration>,
    /// How many servers keep a copy [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
    /// Longest value, such as 64KB
    #[arg(long, value_parser = parse_bytes_32, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) max_value_size: Option<i64>,
    /// Largest bucket, such as 1GB; a full one refuses new values
    #[arg(long, value_parser = parse_bytes, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) max_bucket_size: Option<i64>,
    /// Keep it on servers with this tag; may be given several times
    #[arg(long, value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Keep it in this cluster
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// Compress what lies on disk
    #[arg(long, overrides_with = "no_compress")]
    pub(crate) compress: bool,
    /// Compress no more
    #[arg(long)]
    pub(crate) no_compress: bool,
    /// A note of your own about the bucket, as name=value; may be given several times
    #[arg(long, value_parser = parse_pair, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<(String, String)>,
    /// Which changes are published again, as a subject filter
    #[arg(long, value_parser = parse_subject, value_name = "SUBJECT", requires = "republish_destination")]
    pub(crate) republish_source: Option<String>,
    /// Where changes are published again
    #[arg(long, value_parser = parse_subject, value_name = "SUBJECT")]
    pub(crate) republish_destination: Option<String>,
    /// Publish headers alone again, no values
    #[arg(long, requires = "republish_destination")]
    pub(crate) republish_headers: bool,
    /// Take over the keys of another bucket too; may be given several times
    #[arg(long, value_parser = parse_bucket, value_name = "BUCKET")]
    pub(crate) source: Vec<String>,
}

impl BucketArgs {
    /// Returns whether the flags turn compression on or off; `None` if they do neither.
    pub(crate) fn compression(&self) -> Option<bool> {
        match (self.compress, self.no_compress) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) bucket: BucketArgs,
    /// Where it is kept
    #[arg(long, value_enum, default_value = "file")]
    pub(crate) storage: Storage,
    /// Make it a copy of another bucket
    #[arg(long, value_parser = parse_bucket, value_name = "BUCKET", conflicts_with = "source")]
    pub(crate) mirror: Option<String>,
    /// The domain in which the other bucket is
    #[arg(long, value_name = "DOMAIN", requires = "mirror")]
    pub(crate) mirror_domain: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    pub(crate) bucket: BucketArgs,
    /// Let a copy become a bucket of its own
    #[arg(long)]
    pub(crate) no_mirror: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[arg(value_parser = parse_bucket, help = BUCKET)]
    pub(crate) bucket: String,
    #[arg(value_parser = parse_key, help = KEY)]
    pub(crate) key: String,
    /// The value of this revision instead of the last one
    #[arg(long, value_name = "N")]
    pub(crate) revision: Option<u64>,
    /// Print the value alone, byte for byte
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// The bucket whose keys are listed; without it the buckets are
    #[arg(value_parser = parse_bucket)]
    pub(crate) bucket: Option<String>,
    /// A filter: * stands for one token of a key, > for the rest (quote it for your shell)
    #[arg(value_parser = parse_key_filter)]
    pub(crate) key: Option<String>,
    /// Print names of buckets alone
    #[arg(short, long)]
    pub(crate) names: bool,
    /// Print when each key was written, and its revision
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print values too, with --verbose
    #[arg(long, requires = "verbose")]
    pub(crate) display_value: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[arg(value_parser = parse_bucket, help = BUCKET)]
    pub(crate) bucket: String,
    /// A key or filter: * stands for one token, > for the rest (quote it for your shell)
    #[arg(value_parser = parse_key_filter, default_value = ">")]
    pub(crate) key: String,
    /// Begin with all values that the bucket keeps, not only the last ones
    #[arg(long, conflicts_with_all = ["updates", "revision"])]
    pub(crate) history: bool,
    /// Print deletions too (as it is without this flag)
    #[arg(long, overrides_with = "no_deletes")]
    pub(crate) deletes: bool,
    /// Print no deletions
    #[arg(long)]
    pub(crate) no_deletes: bool,
    /// Begin with the next change
    #[arg(long, conflicts_with = "revision")]
    pub(crate) updates: bool,
    /// Begin with this revision
    #[arg(long, value_name = "N")]
    pub(crate) revision: Option<u64>,
}
