//! `stonechat server`: runs a server, or shows and checks running servers.

mod args;
mod check;
mod graph;
mod ping;
pub(crate) mod report;
mod request;
mod system;

pub(crate) use args::ServerCommand;
pub(crate) use system::{ask_all, gather};

use crate::error::CliError;
use crate::interrupt::Interrupt;

/// Runs a command about running servers.
pub(crate) async fn run(command: ServerCommand) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    let work = async {
        match command {
            // Handled before a runtime exists: a server creates its own.
            ServerCommand::Run { .. } => Ok(()),
            ServerCommand::List(args) => ping::list(&args).await,
            ServerCommand::Ping(args) => ping::ping(&args).await,
            ServerCommand::Info(args) => ping::info(&args).await,
            ServerCommand::Request(args) => request::run(&args).await,
            ServerCommand::Report(args) => report::run(&args).await,
            ServerCommand::Graph(args) => graph::run(&args).await,
            ServerCommand::Check(args) => check::run(&args).await,
        }
    };
    tokio::select! {
        result = work => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}
