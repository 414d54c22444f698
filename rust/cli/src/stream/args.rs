//! The command line of `stonechat stream`: names, flags and defaults are those of `nats stream`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::flags::ConfigArgs;
use crate::configuration::{ChangeArgs, DraftArgs};
use crate::output::ProgressArgs;
use crate::session::JetStreamArgs;
use crate::values::{parse_bytes_32, parse_duration, parse_name, parse_subject};

const EXAMPLES: &str = "\
Examples:
  stonechat stream add ORDERS --subjects 'orders.>' --defaults   make a stream
  stonechat stream info ORDERS                                   its configuration and state
  stonechat stream edit ORDERS --max-age 7d --force              change it
  stonechat stream get ORDERS 17                                 print a message
  stonechat stream backup ORDERS /backups/orders                 save it into a folder";

/// Arguments of `stonechat stream`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    /// List streams of key-value buckets and object stores too
    #[arg(short, long, global = true)]
    pub(crate) all: bool,
    #[command(subcommand)]
    pub(crate) command: StreamCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// Make a stream; what no flag says is asked on the terminal
    #[command(visible_aliases = ["create", "new"])]
    Add(Box<AddArgs>),
    /// Change the configuration of a stream; what no flag names stays
    #[command(visible_alias = "update")]
    Edit(Box<EditArgs>),
    /// Make a stream with the configuration of another one; messages are not copied
    #[command(visible_alias = "cp")]
    Copy(Box<CopyArgs>),
    /// Show configuration and state of a stream
    #[command(visible_alias = "i", alias = "nfo")]
    Info {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
        /// Show the state alone
        #[arg(long)]
        state: bool,
        #[arg(long, help = NO_SELECT)]
        no_select: bool,
    },
    /// Show the state of a stream
    State {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
        #[arg(long, help = NO_SELECT)]
        no_select: bool,
    },
    /// List the streams
    #[command(visible_aliases = ["list", "l"])]
    Ls {
        /// Only streams that take messages on this subject
        #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
        subject: Option<String>,
        /// Print names alone
        #[arg(short, long)]
        names: bool,
    },
    /// List the streams that meet conditions
    #[command(visible_alias = "query")]
    Find(FindArgs),
    /// Compare the streams in a table
    Report(ReportArgs),
    /// List the subjects in a stream, and how many messages each has
    #[command(visible_alias = "subj")]
    Subjects(SubjectsArgs),
    /// Delete a stream
    #[command(visible_aliases = ["delete", "del"])]
    Rm {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Remove messages of a stream
    Purge(PurgeArgs),
    /// Remove one message of a stream, and overwrite it
    Rmm {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
        /// Sequence of the message
        id: Option<u64>,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Print a message of a stream
    Get {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
        /// Sequence of the message
        id: Option<u64>,
        /// The last message of this subject
        #[arg(short = 'S', long, value_name = "SUBJECT", value_parser = parse_subject)]
        last_for: Option<String>,
        #[arg(long, value_name = "COMMAND", help = TRANSLATE)]
        translate: Option<String>,
    },
    /// Page through the messages of a stream
    View(ViewArgs),
    /// Save a stream into a folder
    #[command(visible_alias = "snapshot")]
    Backup(BackupArgs),
    /// Make a stream from a backup
    Restore(RestoreArgs),
    /// Let a stream change no more
    Seal {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: String,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// List the gaps that removed messages have left
    Gaps {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
        #[arg(short, long, help = FORCE)]
        force: bool,
        #[command(flatten)]
        progress: ProgressArgs,
    },
    /// Draw what happens in a stream, until Ctrl-C
    Graph {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
    },
}

pub(super) const STREAM: &str = "Name of the stream";
pub(super) const FORCE: &str = "Act without a question";
const NO_SELECT: &str = "Offer no list of streams where this one is not there";
const TRANSLATE: &str = "Run the body through this command before it is shown; {{Subject}} and {{Stream}} stand for those of the message";

/// Where a stream is kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Storage {
    #[value(alias = "f")]
    File,
    #[value(alias = "m")]
    Memory,
}

/// How a stream is written to disk.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PersistMode {
    Default,
    Async,
}

/// What can only be said of a new stream.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Where the stream is kept
    #[arg(long, value_enum)]
    pub(crate) storage: Option<Storage>,
    /// Sequence of the first message
    #[arg(long, value_name = "N")]
    pub(crate) first_sequence: Option<u64>,
    /// The longest inactive threshold that consumers may have
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) limit_consumer_inactive: Option<Duration>,
    /// The most unacknowledged messages that consumers may have
    #[arg(long, value_name = "N")]
    pub(crate) limit_consumer_max_pending: Option<i64>,
    /// How the stream is written to disk
    #[arg(long, value_enum)]
    pub(crate) persist_mode: Option<PersistMode>,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[arg(value_parser = parse_name, help = STREAM)]
    pub(crate) stream: Option<String>,
    #[command(flatten)]
    pub(crate) draft: DraftArgs,
    #[command(flatten)]
    pub(crate) new: NewArgs,
    #[command(flatten)]
    pub(crate) flags: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    #[arg(value_parser = parse_name, help = STREAM)]
    pub(crate) stream: Option<String>,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
    /// Let a mirror become a stream of its own
    #[arg(long)]
    pub(crate) no_mirror: bool,
    /// Transform subjects no more
    #[arg(long)]
    pub(crate) no_transform: bool,
    /// Publish messages again no more
    #[arg(long)]
    pub(crate) no_republish: bool,
    #[command(flatten)]
    pub(crate) flags: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The stream whose configuration is taken
    #[arg(value_parser = parse_name, value_name = "SOURCE")]
    pub(crate) from: String,
    /// Name of the new stream
    #[arg(value_parser = parse_name)]
    pub(crate) destination: String,
    #[command(flatten)]
    pub(crate) new: NewArgs,
    #[command(flatten)]
    pub(crate) flags: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// Streams without messages
    #[arg(long)]
    pub(crate) empty: bool,
    /// Streams without new messages for that time
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) idle: Option<Duration>,
    /// Streams that are older than that
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) created: Option<Duration>,
    /// Streams with that many consumers or fewer
    #[arg(long, value_name = "N")]
    pub(crate) consumers: Option<u64>,
    /// Streams with a subject that this one, or wildcard, covers
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(crate) subject: Option<String>,
    /// Streams with that many replicas or fewer
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
    /// Streams that take messages from other streams
    #[arg(long)]
    pub(crate) sourced: bool,
    /// Streams that are mirrors
    #[arg(long)]
    pub(crate) mirrored: bool,
    /// Streams that need this level of the API or a higher one
    #[arg(long, value_name = "N")]
    pub(crate) api_level: Option<u64>,
    /// Turn the conditions around: older becomes younger, with becomes without
    #[arg(long)]
    pub(crate) invert: bool,
    /// Print names alone
    #[arg(short, long)]
    pub(crate) names: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Only streams that take messages on this subject
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(crate) subject: Option<String>,
    /// Sort by number of consumers
    #[arg(short = 'o', long)]
    pub(crate) consumers: bool,
    /// Sort by number of messages
    #[arg(short, long)]
    pub(crate) messages: bool,
    /// Sort by name
    #[arg(short, long)]
    pub(crate) name: bool,
    /// Sort by storage
    #[arg(short = 't', long)]
    pub(crate) storage: bool,
    /// Print plain numbers
    #[arg(short, long)]
    pub(crate) raw: bool,
    /// Write who copies from whom into this file, for Graphviz
    #[arg(long, value_name = "FILE")]
    pub(crate) dot: Option<PathBuf>,
}

/// By what subjects are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SubjectOrder {
    #[value(alias = "subjects")]
    Name,
    #[value(alias = "count")]
    Messages,
}

#[derive(Debug, Args)]
pub(crate) struct SubjectsArgs {
    #[arg(value_parser = parse_name, help = STREAM)]
    pub(crate) stream: Option<String>,
    /// Only subjects that match this filter
    #[arg(value_parser = parse_subject, default_value = ">")]
    pub(crate) filter: String,
    /// By what they are sorted
    #[arg(long, value_enum, default_value = "messages")]
    pub(crate) sort: SubjectOrder,
    /// Turn the order around
    #[arg(short = 'R', long)]
    pub(crate) reverse: bool,
    /// Print names alone
    #[arg(long)]
    pub(crate) names: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    #[arg(value_parser = parse_name, help = STREAM)]
    pub(crate) stream: Option<String>,
    #[arg(short, long, help = FORCE)]
    pub(crate) force: bool,
    /// Only messages on this subject
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(crate) subject: Option<String>,
    /// Only messages before this sequence
    #[arg(long, value_name = "N", conflicts_with = "keep")]
    pub(crate) seq: Option<u64>,
    /// Keep that many messages
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    #[arg(value_parser = parse_name, help = STREAM)]
    pub(crate) stream: Option<String>,
    /// Messages of a page, at most 25
    #[arg(default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) size: u64,
    /// Begin with this sequence
    #[arg(long, value_name = "N")]
    pub(crate) id: Option<u64>,
    /// Begin with messages that are not older than that
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) since: Option<Duration>,
    /// Print bodies alone, byte for byte
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Only messages on this subject
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(crate) subject: Option<String>,
    #[arg(long, value_name = "COMMAND", help = TRANSLATE)]
    pub(crate) translate: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[arg(value_parser = parse_name, help = STREAM)]
    pub(crate) stream: String,
    /// The folder to save it into
    pub(crate) target: PathBuf,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    /// Let the server check all messages first
    #[arg(long)]
    pub(crate) check: bool,
    /// Save no consumers
    #[arg(long)]
    pub(crate) no_consumers: bool,
    /// Save consumers (as it is without this flag)
    #[arg(long, overrides_with = "no_consumers")]
    pub(crate) consumers: bool,
    /// Size of the pieces that the server sends
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes_32)]
    pub(crate) chunk_size: Option<i64>,
    /// How much the server sends ahead
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes_32)]
    pub(crate) window_size: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The folder of the backup
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) progress: ProgressArgs,
    /// Take another configuration from this JSON file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keep it in this cluster
    #[arg(long, value_name = "CLUSTER")]
    pub(crate) cluster: Option<String>,
    /// Keep it on servers with this tag; may be given several times
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// How many servers keep a copy
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
}
