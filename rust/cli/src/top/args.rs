//! The command line of `stonechat top`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::session::JetStreamArgs;
use crate::values::parse_duration;

const EXAMPLES: &str = "\
Examples:
  stonechat top                                     the server at port 4222, monitored at port 8222
  stonechat top http://prod:8222                    another monitoring port
  stonechat top --user sys --password pw            asked over the network, by the system account

Keys: 1 to 5 or Tab choose a view, arrows move, Enter shows details (of a stream: its consumers), s sorts by the next
column, r turns the order around, / filters, p pauses, q quits.";

/// Arguments of `stonechat top`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    /// Address of the monitoring port
    ///
    /// [default: port 8222 of the server; with credentials, the system account is asked over the network]
    #[arg(verbatim_doc_comment, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Time between two looks at the server
    #[arg(short, long, default_value = "1s", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) interval: Duration,
    /// The view to begin with
    #[arg(long, value_enum, default_value = "connections")]
    pub(crate) view: View,
}

/// What the table shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum View {
    #[default]
    Connections,
    Streams,
    Consumers,
    Buckets,
    Slow,
}

impl View {
    pub(super) const ALL: [Self; 5] =
        [Self::Connections, Self::Streams, Self::Consumers, Self::Buckets, Self::Slow];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connections => "Connections",
            Self::Streams => "Streams",
            Self::Consumers => "Consumers",
            Self::Buckets => "Buckets",
            Self::Slow => "Slow",
        }
    }
}
