//! The command line of `stonechat object`: names, flags and defaults are those of `nats object`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::output::ProgressArgs;
use crate::session::JetStreamArgs;
use crate::switches::{Switch, Switches, Table, switch};
use crate::values::{parse_bucket, parse_bytes, parse_duration, parse_header, parse_object, parse_pair};

const EXAMPLES: &str = "\
Examples:
  stonechat object add FILES                        make a bucket
  stonechat object put FILES report.pdf             store a file; put again after an interruption goes on
  stonechat object get FILES report.pdf -O copy.pdf fetch it; its digest is checked
  stonechat object ls FILES                         list what is there
  stonechat object link FILES latest report.pdf     give it a second name
  stonechat object check FILES                      find chunks that no object owns";

/// Arguments of `stonechat object`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ObjectArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    #[command(subcommand)]
    pub(crate) command: ObjectCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ObjectCommand {
    /// Make a bucket
    Add {
        #[command(flatten)]
        bucket: BucketArgs,
        /// Where it is kept
        #[arg(long, value_enum, default_value = "file")]
        storage: Storage,
    },
    /// Change the configuration of a bucket
    Edit {
        #[command(flatten)]
        bucket: BucketArgs,
    },
    /// Store a file, or what standard input has
    Put(PutArgs),
    /// Fetch an object into a file
    Get(GetArgs),
    /// Delete an object, or a whole bucket
    #[command(visible_alias = "rm")]
    Del {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        /// The object; without it the bucket is deleted
        object: Option<String>,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Show a bucket, or an object
    #[command(visible_aliases = ["show", "i"])]
    Info {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: Option<String>,
        /// The object; without it the bucket is shown
        object: Option<String>,
    },
    /// List buckets, or the objects of a bucket
    Ls {
        /// The bucket whose objects are listed; without it the buckets are
        #[arg(value_parser = parse_bucket)]
        bucket: Option<String>,
        /// Print names alone
        #[arg(short, long)]
        names: bool,
    },
    /// Give an object, or a bucket, another name
    Link(LinkArgs),
    /// Let a bucket change no more
    Seal {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Print changes as they happen, until Ctrl-C
    Watch {
        #[arg(value_parser = parse_bucket, help = BUCKET)]
        bucket: String,
    },
    /// Find chunks that no object owns, and objects whose chunks are missing; exit code 1 if there are any
    Check(CheckArgs),
}

const BUCKET: &str = "Name of the bucket";
const FORCE: &str = "Act without a question";

/// Where a bucket is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Storage {
    #[value(alias = "f")]
    File,
    #[value(alias = "m")]
    Memory,
}

/// The switches of a bucket's configuration.
#[derive(Clone, Debug)]
pub(crate) struct BucketSwitches;

impl Table for BucketSwitches {
    const SWITCHES: &'static [Switch] =
        &[switch("compress", "no-compress", "compression", "Compress what lies on disk")];
}

/// What can be said of a new bucket and changed later.
#[derive(Debug, Args)]
pub(crate) struct BucketArgs {
    #[arg(value_parser = parse_bucket, help = BUCKET)]
    pub(crate) bucket: String,
    /// Remove objects after that time
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) ttl: Option<Duration>,
    /// How many servers keep a copy [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
    /// Largest bucket, such as 1GB; a full one refuses new objects
    #[arg(long, value_parser = parse_bytes, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) max_bucket_size: Option<i64>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Keep it on servers with this tag; may be given several times
    #[arg(long, value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Keep it in this cluster
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// A note of your own about the bucket, as name=value; may be given several times
    #[arg(long, value_parser = parse_pair, value_name = "NAME=VALUE")]
    pub(crate) metadata: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) switches: Switches<BucketSwitches>,
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    #[arg(value_parser = parse_bucket, help = BUCKET)]
    pub(crate) bucket: String,
    /// The file; without it, what standard input has
    pub(crate) file: Option<PathBuf>,
    /// Name of the object, if it is not that of the file
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What the object is
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// A header of the object, as Name:Value; may be given several times
    #[arg(short = 'H', long, value_name = "NAME:VALUE", value_parser = parse_header)]
    pub(crate) header: Vec<(async_nats::HeaderName, async_nats::HeaderValue)>,
    /// Size of the chunks in which it is stored
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) chunk_size: Option<u32>,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    #[arg(short, long, help = FORCE)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[arg(value_parser = parse_bucket, help = BUCKET)]
    pub(crate) bucket: String,
    /// The object
    pub(crate) object: String,
    /// The file, if it is not named as the object is
    #[arg(short = 'O', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    #[arg(short, long, help = FORCE)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    #[arg(value_parser = parse_bucket, help = BUCKET)]
    pub(crate) bucket: String,
    /// The new name
    #[arg(value_parser = parse_object)]
    pub(crate) link: String,
    /// The object that it stands for; without it the link stands for a bucket
    pub(crate) object: Option<String>,
    /// The bucket of that object, or the bucket that the link stands for [default: the same bucket]
    #[arg(long, value_parser = parse_bucket, value_name = "BUCKET")]
    pub(crate) target_bucket: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The bucket; without it all of them
    #[arg(value_parser = parse_bucket)]
    pub(crate) bucket: Option<String>,
    /// Remove the chunks that no object owns
    #[arg(long)]
    pub(crate) remove: bool,
    /// Leave chunks alone that are younger than that: an upload may still go on
    #[arg(long, default_value = "1h", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) older: Duration,
    #[arg(short, long, help = FORCE)]
    pub(crate) force: bool,
}
