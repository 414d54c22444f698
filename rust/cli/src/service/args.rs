//! The command line of `stonechat service`: names, flags and defaults are those of `nats service`.

use async_nats::{HeaderName, HeaderValue};
use clap::{Args, Subcommand};

use crate::session::JetStreamArgs;
use crate::values::{parse_header, parse_name};

const EXAMPLES: &str = "\
Examples:
  stonechat service ls                              the services that answer
  stonechat service stats orders                    how busy each endpoint is
  stonechat service request orders create '{}'      send a request to an endpoint
  stonechat service serve demo                      a service that sends back what it gets";

/// Arguments of `stonechat service`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServiceArgs {
    #[command(flatten)]
    pub(crate) jetstream: JetStreamArgs,
    #[command(subcommand)]
    pub(crate) command: ServiceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List services
    #[command(visible_aliases = ["ls", "l"])]
    List {
        #[arg(value_parser = parse_name, help = NAME)]
        name: Option<String>,
    },
    /// Show a service: its endpoints and how busy they are
    #[command(visible_alias = "i")]
    Info {
        #[command(flatten)]
        place: Place,
        /// Only endpoints whose name this regular expression finds
        #[arg(short, long, value_name = "REGEX")]
        endpoint: Option<String>,
    },
    /// Compare the endpoints of all instances in a table
    Stats {
        #[command(flatten)]
        place: Place,
    },
    /// Measure how long services take to answer
    Ping {
        #[arg(value_parser = parse_name, help = NAME)]
        name: Option<String>,
    },
    /// Send a request to an endpoint
    #[command(visible_alias = "req")]
    Request(RequestArgs),
    /// Run a service that sends back what it gets, until Ctrl-C
    Serve {
        #[arg(value_parser = parse_name, help = NAME)]
        name: String,
        /// Header of the answers, as Name:Value; may be given several times
        #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
        headers: Vec<(HeaderName, HeaderValue)>,
    },
}

const NAME: &str = "Name of the service";

/// A service, or one instance of it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    #[arg(value_parser = parse_name, help = NAME)]
    pub(crate) name: String,
    /// Id of an instance
    #[arg(value_parser = parse_name)]
    pub(crate) id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[arg(value_parser = parse_name, help = NAME)]
    pub(crate) name: String,
    /// Name of the endpoint
    pub(crate) endpoint: String,
    /// Body of the request; "-" reads standard input
    pub(crate) payload: Option<String>,
    /// Header, as Name:Value; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Print the body alone, byte for byte
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Send it that many times
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) count: u64,
}
