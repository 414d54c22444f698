//! The command line of `stonechat bench`: names, flags and defaults are those of `nats bench`.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{HeaderName, HeaderValue};
use clap::{Args, Subcommand, ValueEnum};

use crate::session::JetStreamArgs;
use crate::values::{parse_bucket, parse_bytes, parse_duration, parse_header, parse_name, parse_subject};

const EXAMPLES: &str = "\
Examples:
  stonechat bench pub orders --msgs 1000000 --size 16      publish, nobody needs to listen
  stonechat bench sub orders --clients 4                   count what is published elsewhere
  stonechat bench js pub async orders --create             store messages, 500 at a time
  stonechat bench js fetch --msgs 10000                    fetch and acknowledge them
  stonechat bench kv get --compare nats://other:4222       two servers in one run, side by side
  stonechat bench pub orders --throughput 1000 --duration 10s --plot orders.svg";

/// Arguments of `stonechat bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(subcommand)]
    pub(crate) command: BenchCommand,
}

/// What all measurements have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct CommonArgs {
    /// How many connections work at the same time
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000), global = true)]
    pub(crate) clients: u16,
    /// How many messages, all clients together; a subscriber expects that many itself
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), global = true)]
    pub(crate) msgs: u64,
    /// Size of a message, such as 16 or 1KB
    #[arg(long, default_value = "128B", value_name = "BYTES", value_parser = parse_size, global = true)]
    pub(crate) size: usize,
    /// Wait that long after each message or request
    #[arg(long, value_name = "TIME", value_parser = parse_duration, global = true)]
    pub(crate) sleep: Option<Duration>,
    /// Show no progress
    #[arg(long, overrides_with = "progress", global = true)]
    pub(crate) no_progress: bool,
    /// Show progress on a terminal (as it is without this flag)
    #[arg(long, overrides_with = "no_progress", global = true)]
    pub(crate) progress: bool,
    /// Write the figures of each client into this CSV file
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) csv: Option<PathBuf>,
    /// Draw rates and latencies into this SVG file
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) plot: Option<PathBuf>,
    /// Measure this server too, with the same flags, and compare
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) compare: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Publish messages
    Pub {
        #[arg(value_parser = parse_subject, help = SUBJECT)]
        subject: String,
        #[command(flatten)]
        subjects: SubjectArgs,
        #[command(flatten)]
        message: MessageArgs,
        #[command(flatten)]
        pace: PaceArgs,
    },
    /// Subscribe, and count what comes
    Sub {
        #[arg(value_parser = parse_subject, help = SUBJECT)]
        subject: String,
        /// Subscribe to all subjects of a publisher with --multisubject
        #[arg(long)]
        multisubject: bool,
    },
    /// Ask and answer requests
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Store messages in a stream, and read them
    Js(Box<JsArgs>),
    /// Write and read keys of a bucket
    Kv(KvArgs),
}

const SUBJECT: &str = "Subject of the messages";

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Send requests, one after the other
    Request {
        #[arg(value_parser = parse_subject, help = SUBJECT)]
        subject: String,
        #[command(flatten)]
        message: MessageArgs,
        #[command(flatten)]
        pace: PaceArgs,
    },
    /// Answer requests until Ctrl-C
    Serve {
        #[arg(value_parser = parse_subject, help = SUBJECT)]
        subject: String,
    },
}

/// Arguments of `bench js`.
#[derive(Debug, Args)]
pub(crate) struct JsArgs {
    /// Name of the stream
    #[arg(long, default_value = "benchstream", value_name = "STREAM", value_parser = parse_name, global = true)]
    pub(crate) stream: String,
    #[command(subcommand)]
    pub(crate) command: JsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JsCommand {
    /// Store messages
    #[command(subcommand)]
    Pub(JsPubCommand),
    /// Read messages with a consumer of one's own that keeps their order
    Ordered {
        #[command(flatten)]
        read: ReadArgs,
    },
    /// Read messages with a durable consumer that clients share; requests overlap
    Consume {
        #[command(flatten)]
        read: ReadArgs,
        #[command(flatten)]
        durable: DurableArgs,
    },
    /// Read messages with a durable consumer that clients share; one request after the other
    Fetch {
        #[command(flatten)]
        read: ReadArgs,
        #[command(flatten)]
        durable: DurableArgs,
    },
    /// Read messages without a consumer
    #[command(subcommand)]
    Get(JsGetCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum JsPubCommand {
    /// Wait for the answer to each message
    Sync(StoreArgs),
    /// Send --batch messages, then wait for all answers
    Async {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        batch: BatchArgs,
    },
    /// Store --batch messages at once, or none of them
    #[command(visible_alias = "atomic")]
    Batch {
        #[command(flatten)]
        store: StoreArgs,
        #[command(flatten)]
        batch: BatchArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JsGetCommand {
    /// One message at a time
    Sync,
    /// --batch messages at a time
    Batch {
        #[command(flatten)]
        batch: BatchArgs,
        /// Only messages on this subject
        #[arg(long, default_value = ">", value_name = "SUBJECT", value_parser = parse_subject)]
        filter: String,
    },
}

/// How many messages belong together.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct BatchArgs {
    /// Messages of a batch
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) batch: u64,
}

/// On how many subjects messages are published.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SubjectArgs {
    /// Publish on many subjects: a number is the last token
    #[arg(long)]
    pub(crate) multisubject: bool,
    /// How many subjects there are at most; 0 for no limit
    #[arg(long = "multisubjectmax", default_value_t = 100_000, value_name = "N")]
    pub(crate) max: u64,
    /// Take the subjects by chance
    #[arg(long = "multisubjectrandomize")]
    pub(crate) is_random: bool,
}

/// What a message holds.
#[derive(Clone, Debug, Args)]
pub(crate) struct MessageArgs {
    /// Send what is in this file instead of --size bytes
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Header, as Name:Value; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// How fast messages are sent.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PaceArgs {
    /// Send that many messages a second, all clients together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) throughput: Option<u64>,
    /// Send for that long, instead of --msgs messages
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "throughput")]
    pub(crate) duration: Option<Duration>,
}

/// Where a stream keeps messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Storage {
    File,
    Memory,
}

impl Storage {
    pub(super) fn as_api(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

/// The stream or bucket that is made for a measurement.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PlaceArgs {
    /// Where messages are kept
    #[arg(long, value_enum, default_value = "file")]
    pub(crate) storage: Storage,
    /// How many servers keep a copy
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) replicas: u64,
    /// The largest size of all messages together
    #[arg(long = "maxbytes", default_value = "1GB", value_name = "BYTES", value_parser = parse_bytes, allow_hyphen_values = true)]
    pub(crate) max_bytes: i64,
    /// Remove all messages first
    #[arg(long)]
    pub(crate) purge: bool,
}

/// Messages for a stream.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[arg(value_parser = parse_subject, help = SUBJECT)]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) subjects: SubjectArgs,
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// Make the stream, or change it, first
    #[arg(long)]
    pub(crate) create: bool,
    /// Give each message an id, so that the stream takes it once
    #[arg(long)]
    pub(crate) dedup: bool,
    /// How long the stream knows ids
    #[arg(long = "dedupwindow", default_value = "2m", value_name = "TIME", value_parser = parse_duration)]
    pub(crate) dedup_window: Duration,
    /// Let the stream answer before messages are safe on disk
    #[arg(long = "persistasync")]
    pub(crate) persist_async: bool,
}

/// Which messages are read.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) batch: BatchArgs,
    /// Only messages on this subject; may be given several times
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(crate) filter: Vec<String>,
    /// Remove all messages first, and wait for new ones
    #[arg(long)]
    pub(crate) purge: bool,
}

/// How messages are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Acks {
    None,
    All,
    Explicit,
}

impl Acks {
    pub(super) fn as_api(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::All => "all",
            Self::Explicit => "explicit",
        }
    }
}

/// The durable consumer.
#[derive(Clone, Debug, Args)]
pub(crate) struct DurableArgs {
    /// Name of the consumer; it is made if it is not there
    #[arg(long, default_value = "nats-bench", value_name = "NAME", value_parser = parse_name)]
    pub(crate) consumer: String,
    /// How messages are acknowledged
    #[arg(long, value_enum, default_value = "explicit")]
    pub(crate) acks: Acks,
    /// Wait until the server has taken each acknowledgement
    #[arg(long = "doubleack", overrides_with = "no_double_ack")]
    pub(crate) double_ack: bool,
    /// Do not wait for it (as it is without this flag)
    #[arg(long = "no-doubleack", overrides_with = "double_ack")]
    pub(crate) no_double_ack: bool,
}

/// Arguments of `bench kv`.
#[derive(Debug, Args)]
pub(crate) struct KvArgs {
    /// Name of the bucket
    #[arg(long, default_value = "benchbucket", value_name = "BUCKET", value_parser = parse_bucket, global = true)]
    pub(crate) bucket: String,
    #[command(subcommand)]
    pub(crate) command: KvCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KvCommand {
    /// Write values, and wait for the answer to each; the bucket is made if it is not there
    Put {
        #[command(flatten)]
        place: PlaceArgs,
        /// How many values of a key the bucket keeps
        #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
        history: u64,
        #[arg(long, default_value_t = 0, value_name = "N", help = RANDOMIZE)]
        randomize: u64,
        #[command(flatten)]
        pace: PaceArgs,
    },
    /// Read values, one after the other
    Get {
        #[arg(long, default_value_t = 0, value_name = "N", help = RANDOMIZE)]
        randomize: u64,
    },
}

const RANDOMIZE: &str = "Take keys by chance, from that many; 0 takes each in turn";

/// Parses the size of a message.
fn parse_size(text: &str) -> Result<usize, String> {
    usize::try_from(parse_bytes(text)?).map_err(|_| "a message can't be smaller than nothing".to_owned())
}
