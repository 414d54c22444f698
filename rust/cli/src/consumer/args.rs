//! The command line of `stonechat consumer`: names, flags and defaults are those of `nats consumer`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::flags::{ConfigArgs, NewArgs};
use crate::configuration::{ChangeArgs, DraftArgs};
use crate::session::JetStreamArgs;
use crate::values::{parse_duration, parse_name};

const EXAMPLES: &str = "\
Examples:
  stonechat consumer add ORDERS BILLING --pull --defaults   make a consumer that is asked for messages
  stonechat consumer next ORDERS BILLING --count 10         fetch messages and acknowledge them
  stonechat consumer info ORDERS BILLING                    its configuration and where it stands
  stonechat consumer pause ORDERS BILLING 1h --force        deliver nothing for an hour";

/// Arguments of `stonechat consumer`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConsumerArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    /// Offer streams of key-value buckets and object stores too
    #[arg(short, long, global = true)]
    pub(crate) all: bool,
    #[command(subcommand)]
    pub(crate) command: ConsumerCommand,
}

/// A consumer of a stream. What is not named is picked from a list.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    /// Name of the stream
    #[arg(value_parser = parse_name)]
    pub(crate) stream: Option<String>,
    /// Name of the consumer
    #[arg(value_parser = parse_name)]
    pub(crate) consumer: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConsumerCommand {
    /// Make a consumer; what no flag says is asked on the terminal
    #[command(visible_aliases = ["create", "new"])]
    Add(Box<AddArgs>),
    /// Change the configuration of a durable consumer; what no flag names stays
    #[command(visible_alias = "update")]
    Edit(Box<EditArgs>),
    /// Make a consumer with the configuration of another one
    #[command(visible_alias = "cp")]
    Copy(Box<CopyArgs>),
    /// Show configuration and state of a consumer
    #[command(alias = "nfo")]
    Info {
        #[command(flatten)]
        place: Place,
        #[arg(long, help = NO_SELECT)]
        no_select: bool,
    },
    /// Show the state of a consumer
    State {
        #[command(flatten)]
        place: Place,
        #[arg(long, help = NO_SELECT)]
        no_select: bool,
    },
    /// List the consumers of a stream
    #[command(visible_alias = "list")]
    Ls {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
        /// Print names alone
        #[arg(short, long)]
        names: bool,
        #[arg(long, help = NO_SELECT)]
        no_select: bool,
    },
    /// List the consumers that meet conditions
    #[command(visible_alias = "query")]
    Find(FindArgs),
    /// Compare the consumers of a stream in a table
    Report {
        #[arg(value_parser = parse_name, help = STREAM)]
        stream: Option<String>,
        /// Print plain numbers
        #[arg(short, long)]
        raw: bool,
    },
    /// Delete a consumer
    #[command(visible_aliases = ["delete", "del"])]
    Rm {
        #[command(flatten)]
        place: Place,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Fetch messages from a pull consumer
    Next(NextArgs),
    /// Print what a consumer delivers: one message of a pull consumer, or those of a push consumer until Ctrl-C
    Sub(SubArgs),
    /// Let a consumer deliver nothing until a later time
    Pause {
        #[command(flatten)]
        place: Place,
        /// Until when: a time such as "2026-12-24 18:00:00" (UTC), or how long from now
        until: Option<String>,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Let a paused consumer go on
    Resume {
        #[command(flatten)]
        place: Place,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Take the messages of a priority group away from the client that has them
    Unpin {
        #[command(flatten)]
        place: Place,
        /// The priority group
        group: Option<String>,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Let a consumer begin again, or at a sequence
    Reset {
        #[command(flatten)]
        place: Place,
        /// Sequence of the stream to begin at
        #[arg(long, value_name = "N")]
        sequence: Option<u64>,
        #[arg(short, long, help = FORCE)]
        force: bool,
    },
    /// Draw what a consumer does, until Ctrl-C
    Graph {
        #[command(flatten)]
        place: Place,
    },
}

const STREAM: &str = "Name of the stream";
pub(super) const FORCE: &str = "Act without a question";
const NO_SELECT: &str = "Offer no list where this one is not there";

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) draft: DraftArgs,
    #[command(flatten)]
    pub(crate) new: NewArgs,
    #[command(flatten)]
    pub(crate) flags: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
    #[command(flatten)]
    pub(crate) flags: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Name of the stream
    #[arg(value_parser = parse_name)]
    pub(crate) stream: String,
    /// The consumer whose configuration is taken
    #[arg(value_parser = parse_name)]
    pub(crate) source: String,
    /// Name of the new consumer
    #[arg(value_parser = parse_name)]
    pub(crate) destination: String,
    #[command(flatten)]
    pub(crate) new: NewArgs,
    #[command(flatten)]
    pub(crate) flags: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    #[arg(value_parser = parse_name, help = STREAM)]
    pub(crate) stream: Option<String>,
    /// Consumers that are asked for messages
    #[arg(long)]
    pub(crate) pull: bool,
    /// Consumers that send messages to a subject
    #[arg(long)]
    pub(crate) push: bool,
    /// Consumers that somebody listens to, or asks
    #[arg(long)]
    pub(crate) bound: bool,
    /// Consumers with fewer waiting requests, but some
    #[arg(long, value_name = "N")]
    pub(crate) waiting: Option<u64>,
    /// Consumers with fewer unacknowledged messages, but some
    #[arg(long, value_name = "N")]
    pub(crate) ack_pending: Option<u64>,
    /// Consumers with fewer messages to deliver, but some
    #[arg(long, value_name = "N")]
    pub(crate) pending: Option<u64>,
    /// Consumers that delivered something, but nothing for that time
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) idle: Option<Duration>,
    /// Consumers that are older than that
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) created: Option<Duration>,
    /// Consumers with that many replicas or fewer
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u64>,
    /// Consumers all of whose priority groups have a client
    #[arg(long)]
    pub(crate) pinned: bool,
    /// Consumers that need this level of the API or a higher one
    #[arg(long, value_name = "N")]
    pub(crate) api_level: Option<u64>,
    /// Turn the conditions around: older becomes younger, with becomes without
    #[arg(long)]
    pub(crate) invert: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NextArgs {
    /// Name of the stream
    #[arg(value_parser = parse_name)]
    pub(crate) stream: String,
    /// Name of the consumer
    #[arg(value_parser = parse_name)]
    pub(crate) consumer: String,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    /// Refuse the message: it is delivered again
    #[arg(long)]
    pub(crate) nak: bool,
    /// Let the message be delivered no more
    #[arg(long, conflicts_with_all = ["nak", "ack"])]
    pub(crate) term: bool,
    /// Wait up to that long before the message is acknowledged
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// How many messages to fetch
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) count: u64,
}

/// Whether a message is acknowledged, and how it is shown.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct AnswerArgs {
    /// Acknowledge the message (as it is without this flag)
    #[arg(long, overrides_with = "no_ack")]
    pub(crate) ack: bool,
    /// Do not acknowledge the message
    #[arg(long, overrides_with = "ack")]
    pub(crate) no_ack: bool,
    /// Print the body alone, byte for byte
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    /// The queue group to listen in
    #[arg(long, value_name = "GROUP")]
    pub(crate) deliver_group: Option<String>,
}
