//! The command line of `stonechat`, as clap sees it.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use clap::{Args, Parser, Subcommand};

use crate::account::AccountArgs;
use crate::bench::BenchArgs;
use crate::completion::CompletionArgs;
use crate::consumer::ConsumerArgs;
use crate::context::ContextArgs;
use crate::counter::CounterArgs;
use crate::error::CliError;
use crate::errors::ErrorsArgs;
use crate::events::EventsArgs;
use crate::kv::KvArgs;
use crate::latency::LatencyArgs;
use crate::object::ObjectArgs;
use crate::rtt::RttArgs;
use crate::server::ServerCommand;
use crate::service::ServiceArgs;
use crate::stream::StreamArgs;
use crate::top::TopArgs;
use crate::trace::TraceArgs;
use crate::values::{parse_duration, parse_header, parse_subject};

const EXAMPLES: &str = "\
Examples:
  stonechat server -p 4222 -m 8222          start a server, with monitoring
  stonechat sub 'orders.>'                  print every message below orders
  stonechat pub orders.new '{\"id\": 1}'      publish one message
  stonechat reply time 'teatime'            answer requests
  stonechat req time                        ask and print the answer
  stonechat kv get CONFIG database.url      read a key of a bucket";

const PUB_EXAMPLES: &str = "\
Examples:
  stonechat pub greet.joe hello
  stonechat pub greet.joe hello -H Trace-Id:42 -H Lang:en
  stonechat pub load.test x --count 1000
  cat photo.jpg | stonechat pub photos
  tail -f app.log | stonechat pub logs.app --lines
  stonechat pub greet.joe hello --context production";

const SUB_EXAMPLES: &str = "\
Examples:
  stonechat sub greet.joe
  stonechat sub 'greet.*' 'orders.>'
  stonechat sub jobs --queue workers
  stonechat sub events --raw --count 10 --timeout 5s

Ends with Ctrl-C, after --count messages, or after --timeout. With --count, too few messages in time is exit code 1.";

const REQ_EXAMPLES: &str = "\
Examples:
  stonechat req time
  stonechat req sum '[1, 2]' --timeout 500ms --raw
  stonechat req status --replies 3          gather from three responders
  stonechat req status --replies 0          gather until the time is over

Exit code 1 if nobody listens, or no answer comes in time.";

const REPLY_EXAMPLES: &str = "\
Examples:
  stonechat reply time 'teatime'
  stonechat reply echo --echo
  stonechat reply jobs done --queue workers --count 10";

/// Talks to a NATS server, or is one.
#[derive(Debug, Parser)]
#[command(name = "stonechat", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server with the flags of stonechat-server (see: stonechat server --help), or ask those that run: list, ping, info,
    /// request, report, graph, check
    #[command(
        disable_help_flag = true,
        disable_help_subcommand = true,
        args_conflicts_with_subcommands = true
    )]
    Server {
        /// Flags of stonechat-server, passed on as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
        #[command(subcommand)]
        command: Option<Box<ServerCommand>>,
    },
    /// Publish a message
    #[command(after_help = PUB_EXAMPLES)]
    Pub(PubArgs),
    /// Subscribe and print what comes
    #[command(after_help = SUB_EXAMPLES)]
    Sub(SubArgs),
    /// Send a request and print the reply
    #[command(after_help = REQ_EXAMPLES)]
    Req(ReqArgs),
    /// Answer requests
    #[command(after_help = REPLY_EXAMPLES)]
    Reply(ReplyArgs),
    /// Key-value buckets: make them, read and write keys, watch them change
    Kv(Box<KvArgs>),
    /// Object stores: put and get files of any size, list, link and check them
    #[command(visible_alias = "obj")]
    Object(Box<ObjectArgs>),
    /// Streams: make, look at, edit and back them up, and read their messages
    #[command(visible_aliases = ["str", "s"], aliases = ["st", "ms"])]
    Stream(Box<StreamArgs>),
    /// Consumers of streams: make, look at, edit and pause them, and fetch their messages
    #[command(visible_aliases = ["con", "c"], alias = "obs")]
    Consumer(Box<ConsumerArgs>),
    /// Counters: count up and down, and read them
    #[command(visible_alias = "ctr")]
    Counter(Box<CounterArgs>),
    /// The account that we are in, and backups of all its streams
    #[command(visible_alias = "a")]
    Account(Box<AccountArgs>),
    /// Contexts: how to reach servers, and who we are there
    #[command(visible_alias = "ctx")]
    Context(Box<ContextArgs>),
    /// Services: list, look at, ping and ask them, or run one
    #[command(visible_alias = "micro")]
    Service(Box<ServiceArgs>),
    /// Watch a server: rates, connections, streams, consumers, buckets
    Top(Box<TopArgs>),
    /// Measure how fast a server is
    Bench(Box<BenchArgs>),
    /// Show what servers and JetStream tell of what happens: connections, advisories, metrics
    #[command(visible_aliases = ["event", "e"])]
    Events(Box<EventsArgs>),
    /// Measure how long messages take from one server to another
    #[command(visible_alias = "lat")]
    Latency(Box<LatencyArgs>),
    /// Show the way of a message through the servers
    Trace(Box<TraceArgs>),
    /// Measure how long a round trip to a server takes
    Rtt(Box<RttArgs>),
    /// Look up errors of JetStream's API
    #[command(visible_aliases = ["err", "error"])]
    Errors(ErrorsArgs),
    /// Print a script that lets a shell complete commands
    Completion(CompletionArgs),
}

/// How to reach the server and who we are.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConnectionArgs {
    /// Server to talk to; several are separated by commas
    ///
    /// [default: that of the context, or nats://127.0.0.1:4222]
    #[arg(short, long, env = "NATS_URL", value_name = "URL", verbatim_doc_comment, global = true)]
    pub(crate) server: Option<String>,
    /// Context to use: its name, or the path of its file [default: the selected one]
    #[arg(long, env = "NATS_CONTEXT", value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,
    /// User name
    #[arg(long, env = "NATS_USER", hide_env_values = true, value_name = "NAME", global = true)]
    pub(crate) user: Option<String>,
    /// Password of the user
    #[arg(long, env = "NATS_PASSWORD", hide_env_values = true, requires = "user", global = true)]
    pub(crate) password: Option<String>,
    /// Token, instead of a user and a password
    #[arg(long, env = "NATS_TOKEN", hide_env_values = true, conflicts_with = "user", global = true)]
    pub(crate) token: Option<String>,
    /// File with a JWT and its seed
    #[arg(long, env = "NATS_CREDS", value_name = "FILE", conflicts_with_all = ["user", "token", "nkey"], global = true)]
    pub(crate) creds: Option<PathBuf>,
    /// File with the seed of an nkey
    #[arg(long, env = "NATS_NKEY", value_name = "FILE", conflicts_with_all = ["user", "token"], global = true)]
    pub(crate) nkey: Option<PathBuf>,
    /// Encrypt the connection, or don't connect; a tls:// address does the same
    #[arg(long, global = true)]
    pub(crate) tls: bool,
    /// Begin with the TLS handshake, before the server has said anything
    #[arg(long = "tlsfirst", global = true)]
    pub(crate) tls_first: bool,
    /// Certificates of those who may have signed the server's
    #[arg(long = "tlsca", env = "NATS_CA", value_name = "FILE", global = true)]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Certificate of this client; goes with --tlskey
    #[arg(long = "tlscert", env = "NATS_CERT", value_name = "FILE", requires = "tls_key", global = true)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of this client's certificate
    #[arg(long = "tlskey", env = "NATS_KEY", value_name = "FILE", requires = "tls_cert", global = true)]
    pub(crate) tls_key: Option<PathBuf>,
}

impl ConnectionArgs {
    /// Whether a flag of the command line requires TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls || self.tls_first || self.tls_ca.is_some() || self.tls_cert.is_some()
    }
}

#[derive(Debug, Args)]
pub(crate) struct PayloadArgs {
    /// Text of the message; "-" reads it from standard input (pub also does so without it, unless that is a terminal)
    payload: Option<String>,
    /// Header, as Name:Value; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl PayloadArgs {
    /// Returns the payload to send; reads standard input if the payload is `-`.
    pub(crate) fn payload(&self) -> Result<Bytes, CliError> {
        match self.payload.as_deref() {
            None => Ok(Bytes::new()),
            Some("-") => read_input(),
            Some(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        }
    }

    /// Returns the headers to send; `None` if there are none, so that the message has no header block.
    pub(crate) fn headers(&self) -> Option<HeaderMap> {
        if self.headers.is_empty() {
            return None;
        }
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            map.append(name.clone(), value.clone());
        }
        Some(map)
    }

    /// Returns the payload to send. Without one on the command line it reads standard input, unless that is a terminal.
    pub(crate) fn payload_or_input(&self) -> Result<Bytes, CliError> {
        match self.payload.is_none() && !std::io::stdin().is_terminal() {
            true => read_input(),
            false => self.payload(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.payload.is_none()
    }
}

/// Reads all of standard input.
pub(crate) fn read_input() -> Result<Bytes, CliError> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(CliError::Stdin)?;
    Ok(bytes.into())
}

#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// Subject to publish to
    #[arg(value_parser = parse_subject)]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) message: PayloadArgs,
    /// Subject that answers shall go to
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(crate) reply: Option<String>,
    /// How many times to publish the message
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) count: u64,
    /// Publish each line of standard input as a message of its own, as soon as it is there
    #[arg(long, conflicts_with_all = ["count", "payload"])]
    pub(crate) lines: bool,
    /// Print what was published as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// How long to wait for the server
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// Subjects to subscribe to; * stands for one token, > for the rest (quote them for your shell)
    #[arg(required = true, value_parser = parse_subject)]
    pub(crate) subjects: Vec<String>,
    /// Queue group to join: each message goes to one member
    #[arg(long, value_name = "GROUP", value_parser = parse_subject)]
    pub(crate) queue: Option<String>,
    /// End after that many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print payloads only, one a line
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print each message as JSON, one a line
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// End after that time, such as 10s, 500ms or 2m
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReqArgs {
    /// Subject to ask
    #[arg(value_parser = parse_subject)]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) message: PayloadArgs,
    /// How many replies to wait for; 0 gathers until the time is over
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) replies: u64,
    /// How many requests to send, one after the other
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) count: u64,
    /// Print payloads only, one a line
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print each message as JSON, one a line
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// How long to wait for replies, such as 2s or 500ms
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplyArgs {
    /// Subject to listen on
    #[arg(value_parser = parse_subject)]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) message: PayloadArgs,
    /// Answer with the payload of the request
    #[arg(long)]
    pub(crate) echo: bool,
    /// Queue group to join: each request goes to one member
    #[arg(long, value_name = "GROUP", value_parser = parse_subject)]
    pub(crate) queue: Option<String>,
    /// End after that many requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print payloads of requests only, one a line
    #[arg(long)]
    pub(crate) raw: bool,
    /// Print each request as JSON, one a line
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
    /// End after that time, such as 10s, 500ms or 2m
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Returns the section of `docs/cli.md` about a group of commands.
    fn section<'a>(page: &'a str, group: &str) -> &'a str {
        let is_heading = |line: &str| {
            line.strip_prefix("### ").is_some_and(|title| title.split(", ").any(|name| name == group))
        };
        let Some(at) = page.lines().position(is_heading) else {
            panic!("docs/cli.md has no section {group}")
        };
        let start: usize = page.split_inclusive('\n').take(at + 1).map(str::len).sum();
        let rest = &page[start..];
        rest.find("\n## ").into_iter().chain(rest.find("\n### ")).min().map_or(rest, |end| &rest[..end])
    }

    #[test]
    fn the_page_about_commands_names_every_command_and_flag() {
        let page = include_str!("../../../docs/cli.md");
        let mut missing = Vec::new();
        for group in Cli::command().get_subcommands() {
            let text = section(page, group.get_name());
            let mut commands = vec![(group.get_name().to_owned(), group)];
            while let Some((name, command)) = commands.pop() {
                if group.has_subcommands()
                    && command.get_name() != group.get_name()
                    && !text.contains(command.get_name())
                {
                    missing.push(name.clone());
                }
                for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
                    let Some(long) = flag.get_long() else { continue };
                    // `--no-x` and `--x` are documented as one flag.
                    let plain = long.strip_prefix("no-").unwrap_or(long);
                    let is_told =
                        text.contains(&format!("--{plain}")) || text.contains(&format!("--no-{plain}"));
                    if !is_told
                        && !page.contains(&format!("`--{plain}`"))
                        && !page.contains(&format!("`--{plain} "))
                    {
                        missing.push(format!("{name} --{long}"));
                    }
                }
                commands.extend(
                    command.get_subcommands().map(|inner| (format!("{name} {}", inner.get_name()), inner)),
                );
            }
        }
        assert!(missing.is_empty(), "docs/cli.md does not tell of {missing:#?}");
    }

    #[test]
    fn the_flags_of_the_server_pass_unread() {
        let cli =
            Cli::try_parse_from(["stonechat", "server", "-DV", "--help", "-sd=/x", "--port", "1"]).unwrap();
        let Command::Server { args, command: None } = cli.command else { panic!("{cli:?}") };
        assert_eq!(args, ["-DV", "--help", "-sd=/x", "--port", "1"]);
    }

    #[test]
    fn credentials_exclude_each_other() {
        for args in [&["--token", "t", "--user", "u"][..], &["--password", "p"]] {
            let line = ["stonechat", "sub", "x"].iter().chain(args);
            assert!(Cli::try_parse_from(line).is_err(), "{args:?}");
        }
    }
}
