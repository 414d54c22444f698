//! The command line of `stonechat context`: names and flags are those of `nats context`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::args::ConnectionArgs;
use crate::values::parse_duration;

const EXAMPLES: &str = "\
Examples:
  stonechat context add prod --server nats://prod:4222 --creds ~/prod.creds --select
  stonechat context ls                        list contexts; the selected one has a *
  stonechat context select dev                use it where no --context is named
  stonechat context validate --connect        check files, and connect";

/// Arguments of `stonechat context`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ContextArgs {
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    /// How long to wait for a server
    #[arg(long, env = "NATS_TIMEOUT", default_value = "5s", value_parser = parse_duration, value_name = "TIME", global = true)]
    pub(crate) timeout: Duration,
    /// JetStream domain of the context
    #[arg(long, value_name = "DOMAIN", global = true)]
    pub(crate) js_domain: Option<String>,
    /// Prefix of the subjects of JetStream's API
    #[arg(long, value_name = "PREFIX", conflicts_with = "js_domain", global = true)]
    pub(crate) js_api_prefix: Option<String>,
    /// Print JSON: a value a line for lists
    #[arg(short, long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: ContextCommand,
}

/// What is said of a context beside the flags for the connection.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// What the context is for
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Select it
    #[arg(long)]
    pub(crate) select: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Make a context of the flags for the connection, or change one
    #[command(visible_aliases = ["create", "save"])]
    Add {
        #[arg(help = NAME)]
        name: String,
        #[command(flatten)]
        new: NewArgs,
    },
    /// Copy a context, with changes
    #[command(visible_alias = "cp")]
    Copy {
        /// The context to copy
        source: String,
        #[arg(help = NAME)]
        name: String,
        #[command(flatten)]
        new: NewArgs,
    },
    /// Edit a context, as JSON, with the program that EDITOR names
    #[command(visible_alias = "vi")]
    Edit {
        #[arg(help = NAME)]
        name: String,
    },
    /// List the contexts
    #[command(visible_aliases = ["list", "l"])]
    Ls {
        /// Print names alone
        #[arg(long)]
        names: bool,
    },
    /// Remove a context
    #[command(visible_alias = "remove")]
    Rm {
        #[arg(help = NAME)]
        name: String,
        /// Act without a question, also on the selected context
        #[arg(short, long)]
        force: bool,
    },
    /// Select the context that is used where none is named
    #[command(visible_aliases = ["switch", "set"])]
    Select {
        #[arg(help = NAME)]
        name: Option<String>,
    },
    /// Select no context
    Unselect,
    /// Show a context; without a name the selected one
    #[command(visible_aliases = ["show", "view"], alias = "v")]
    Info {
        #[arg(help = NAME)]
        name: Option<String>,
        /// Try to connect with it
        #[arg(long)]
        connect: bool,
    },
    /// Check one context, or all: can their files be read?
    Validate {
        #[arg(help = NAME)]
        name: Option<String>,
        /// Try to connect with them
        #[arg(long)]
        connect: bool,
    },
    /// Select the context that was selected before
    #[command(visible_alias = "-")]
    Previous,
}

const NAME: &str = "Name of the context";
