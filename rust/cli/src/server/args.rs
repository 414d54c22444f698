//! The command line of `stonechat server`, except the flags of the server itself.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::check::CheckArgs;
use super::report::ReportArgs;
use crate::args::ConnectionArgs;
use crate::session::JetStreamArgs;
use crate::values::parse_duration;

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// Run a server; takes the flags of stonechat-server
    #[command(disable_help_flag = true)]
    Run {
        /// Flags of stonechat-server, passed on as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// List the servers; needs a user of the system account
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Ask all servers for an answer; needs a user of the system account
    Ping(PingArgs),
    /// Show a server; needs a user of the system account
    Info(InfoArgs),
    /// Ask servers for their monitoring data, as JSON; needs a user of the system account
    #[command(visible_alias = "req")]
    Request(RequestArgs),
    /// Show connections, accounts, JetStream and more of all servers; needs a user of the system account
    #[command(visible_alias = "rep")]
    Report(Box<ReportArgs>),
    /// Draw what a server does, each second; needs a user of the system account
    Graph(Box<GraphArgs>),
    /// Check servers, streams and more for monitoring systems: exit code 1 is a warning, 2 is critical
    Check(Box<CheckArgs>),
}

/// By what servers are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    Name,
    #[value(alias = "conn")]
    Conns,
    #[value(alias = "sub")]
    Subs,
    Mem,
    Cpu,
    Slow,
    Uptime,
    Rtt,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    /// How many servers to wait for
    pub(crate) expect: Option<usize>,
    /// By what they are sorted
    #[arg(long, value_enum, default_value = "rtt")]
    pub(crate) sort: Order,
    /// Turn the order around
    #[arg(short = 'R', long)]
    pub(crate) reverse: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    /// How many servers to wait for
    pub(crate) expect: Option<usize>,
    /// Print the ids of servers too
    #[arg(long)]
    pub(crate) id: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    /// Name or id of the server; without it the one that we are connected to
    pub(crate) name: Option<String>,
}

/// What servers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    #[value(aliases = ["sub", "subsz"])]
    Subscriptions,
    #[value(aliases = ["var", "varz"])]
    Variables,
    #[value(aliases = ["conn", "connz"])]
    Connections,
    #[value(aliases = ["route", "routez"])]
    Routes,
    #[value(aliases = ["gateway", "gatewayz"])]
    Gateways,
    #[value(aliases = ["leaf", "leafz", "leafnodes"])]
    Leafs,
    #[value(aliases = ["acct", "accountz"])]
    Accounts,
    #[value(aliases = ["js", "jsz"])]
    Jetstream,
    #[value(name = "jetstream-health", aliases = ["healthz", "health"])]
    Health,
    #[value(aliases = ["stats", "statsz"])]
    Statistics,
    Profile,
}

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    /// What they are asked for
    #[arg(value_enum)]
    pub(crate) kind: Kind,
    /// How many servers to wait for
    pub(crate) wait: Option<usize>,
    /// Only the server with this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only servers on this host
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Only servers of this cluster
    #[arg(long)]
    pub(crate) cluster: Option<String>,
    /// Only servers with this tag; may be given several times
    #[arg(long)]
    pub(crate) tags: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// How long to wait for answers of the server
    #[arg(long, env = "NATS_TIMEOUT", default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// Name or id of the server
    pub(crate) name: String,
    /// Draw what JetStream does
    #[arg(short, long)]
    pub(crate) jetstream: bool,
}
