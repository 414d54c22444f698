//! `stonechat account`: shows the user's account, and backs up and restores all its streams.

mod backup;
mod info;
mod report;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::session::{JetStreamArgs, Session};

const EXAMPLES: &str = "\
Examples:
  stonechat account info                     who we are, what is used, what is allowed
  stonechat account report connections       who is connected, and what they do
  stonechat account backup /backups --force  save all streams, each into a folder of its own
  stonechat account restore /backups";

/// Arguments of `stonechat account`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AccountArgs {
    #[command(flatten)]
    jetstream: JetStreamArgs,
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Show who we are, what the account uses and what it may use
    #[command(alias = "nfo")]
    Info,
    /// What servers tell of the account: its connections, and what they do
    #[command(visible_alias = "rep")]
    Report(report::ReportArgs),
    /// Save all streams, each into a folder of its own
    Backup(BackupArgs),
    /// Make the streams again from their backups
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
struct BackupArgs {
    /// The folder to save them into
    target: PathBuf,
    /// Let the server check all messages first
    #[arg(long)]
    check: bool,
    /// Save no consumers
    #[arg(long)]
    no_consumers: bool,
    /// Save consumers (as it is without this flag)
    #[arg(long, overrides_with = "no_consumers")]
    consumers: bool,
    /// Act without a question
    #[arg(short, long)]
    force: bool,
    /// Fail where a stream is in memory, which can't be saved
    #[arg(short = 'w', long)]
    critical_warnings: bool,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// The folder of the backups
    directory: PathBuf,
    /// Keep the streams in this cluster
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Keep the streams on servers with this tag; may be given several times
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
}

/// Runs `stonechat account`.
pub(crate) async fn run(args: AccountArgs) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    let json = args.jetstream.json;
    let work = async {
        let mut session = Session::open(&args.jetstream).await?;
        match &args.command {
            AccountCommand::Info => info::run(&mut session, json).await,
            AccountCommand::Report(args) => report::run(&mut session, args, json).await,
            AccountCommand::Backup(args) => backup::save(&mut session, args, json).await,
            AccountCommand::Restore(args) => backup::restore(&mut session, args, json).await,
        }
    };
    tokio::select! {
        result = work => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}
