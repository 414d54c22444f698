//! The command line of `stonechat server report`.

use clap::{Args, Subcommand, ValueEnum};

use crate::session::JetStreamArgs;

/// Arguments of `stonechat server report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(super) jetstream: JetStreamArgs,
    /// Turn the order around
    #[arg(short = 'R', long, global = true)]
    pub(super) reverse: bool,
    #[command(subcommand)]
    pub(super) command: ReportCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum ReportCommand {
    /// What the connections of each account do, or the connections of one account
    #[command(visible_alias = "acct")]
    Accounts(AccountsArgs),
    /// The connections of all servers
    #[command(visible_aliases = ["conns", "conn", "connz"])]
    Connections(ServerConnectionsArgs),
    /// How busy the processors are
    Cpu(ServersArgs),
    /// Connections between clusters
    #[command(visible_aliases = ["gateway", "super"])]
    Gateways(GatewaysArgs),
    /// Which servers are well
    Health(HealthArgs),
    /// What JetStream holds and does on each server
    #[command(visible_aliases = ["js", "jsz"])]
    Jetstream(JetstreamArgs),
    /// Connections of leaf nodes
    #[command(visible_aliases = ["leaf", "leafz"])]
    Leafnodes(LeafnodesArgs),
    /// How much memory servers use
    Mem(ServersArgs),
    /// Connections within clusters
    #[command(visible_alias = "route")]
    Routes(RoutesArgs),
}

/// Which servers are asked.
#[derive(Debug, Args)]
pub(super) struct ServersArgs {
    /// How many servers to wait for
    pub(super) limit: Option<usize>,
    /// Only the server with this name
    #[arg(long)]
    pub(super) host: Option<String>,
    /// Only servers of this cluster
    #[arg(long)]
    pub(super) cluster: Option<String>,
    /// Only servers with this tag; may be given several times
    #[arg(long)]
    pub(super) tags: Vec<String>,
    /// Show the report again after that many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) watch: Option<u64>,
}

/// By what connections are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConnectionOrder {
    InBytes,
    OutBytes,
    InMsgs,
    OutMsgs,
    Uptime,
    Cid,
    #[default]
    Subs,
}

/// Which connections are shown, by whether they are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConnectionState {
    #[default]
    Open,
    Closed,
    All,
}

/// Which connections are shown.
#[derive(Debug, Default, Args)]
pub(crate) struct ConnectionsArgs {
    /// By what they are sorted
    #[arg(long, value_enum, default_value_t)]
    pub(super) sort: ConnectionOrder,
    /// Show only that many: those with most
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(super) top: usize,
    /// Only those that listen to this subject
    #[arg(long)]
    pub(super) subject: Option<String>,
    /// Only those of this user
    #[arg(long, value_name = "NAME")]
    pub(super) username: Option<String>,
    /// Those that are open, closed, or both
    #[arg(long, value_enum, default_value_t)]
    pub(super) state: ConnectionState,
    /// Only those that were closed for this reason, a regular expression
    #[arg(long, value_name = "REGEX")]
    pub(super) closed_reason: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ServerConnectionsArgs {
    #[command(flatten)]
    pub(super) servers: ServersArgs,
    #[command(flatten)]
    pub(super) connections: ConnectionsArgs,
    /// Only those of this account
    #[arg(long)]
    pub(super) account: Option<String>,
}

/// By what accounts are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum AccountOrder {
    InBytes,
    OutBytes,
    InMsgs,
    OutMsgs,
    Conns,
    #[default]
    Subs,
}

#[derive(Debug, Args)]
pub(super) struct AccountsArgs {
    /// The account whose connections are shown; without it all accounts
    pub(super) account: Option<String>,
    #[command(flatten)]
    pub(super) servers: ServersArgs,
    /// By what they are sorted
    #[arg(long, value_enum, default_value_t)]
    pub(super) sort: AccountOrder,
    /// Show only that many: those with most
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(super) top: usize,
}

/// By what gateways are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum GatewayOrder {
    Server,
    #[default]
    Cluster,
}

#[derive(Debug, Args)]
pub(super) struct GatewaysArgs {
    #[command(flatten)]
    pub(super) servers: ServersArgs,
    /// Only the gateway to this cluster
    #[arg(long, value_name = "NAME")]
    pub(super) filter_name: Option<String>,
    /// By what they are sorted
    #[arg(long, value_enum, default_value_t)]
    pub(super) sort: GatewayOrder,
}

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    pub(super) servers: ServersArgs,
    /// Servers without JetStream are not well
    #[arg(short = 'J', long)]
    pub(super) js_enabled: bool,
    /// Check JetStream, but no streams and consumers
    #[arg(short = 'S', long)]
    pub(super) server_only: bool,
    /// Only this account
    #[arg(long)]
    pub(super) account: Option<String>,
    /// Only this stream
    #[arg(long)]
    pub(super) stream: Option<String>,
    /// Only this consumer
    #[arg(long)]
    pub(super) consumer: Option<String>,
}

/// By what servers with JetStream are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum JetstreamOrder {
    Name,
    #[default]
    Cluster,
    Streams,
    Consumers,
    Msgs,
    #[value(alias = "mbytes")]
    Bytes,
    Mem,
    #[value(alias = "store")]
    File,
    Api,
    Err,
}

#[derive(Debug, Args)]
pub(super) struct JetstreamArgs {
    #[command(flatten)]
    pub(super) servers: ServersArgs,
    /// Only this account
    #[arg(long)]
    pub(super) account: Option<String>,
    /// By what they are sorted
    #[arg(long, value_enum, default_value_t)]
    pub(super) sort: JetstreamOrder,
    /// Show whole names of servers, also where they end in the same domain
    #[arg(long)]
    pub(super) no_compact: bool,
    /// Leave out the domain that the names of all servers end in (as it is without this flag)
    #[arg(long, overrides_with = "no_compact")]
    pub(super) compact: bool,
}

/// By what leaf nodes are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LeafnodeOrder {
    #[default]
    Server,
    Name,
    Account,
    Subs,
    InBytes,
    OutBytes,
    InMsgs,
    OutMsgs,
}

#[derive(Debug, Args)]
pub(super) struct LeafnodesArgs {
    #[command(flatten)]
    pub(super) servers: ServersArgs,
    /// Only this account
    #[arg(long)]
    pub(super) account: Option<String>,
    /// By what they are sorted
    #[arg(long, value_enum, default_value_t)]
    pub(super) sort: LeafnodeOrder,
}

/// By what routes are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum RouteOrder {
    #[default]
    Server,
    Cluster,
    Name,
    Account,
    Subs,
    InBytes,
    OutBytes,
}

#[derive(Debug, Args)]
pub(super) struct RoutesArgs {
    #[command(flatten)]
    pub(super) servers: ServersArgs,
    /// By what they are sorted
    #[arg(long, value_enum, default_value_t)]
    pub(super) sort: RouteOrder,
}
