//! `stonechat stream`: creates, shows, edits and backs up streams, and reads their messages.

mod args;
mod backup;
mod edit;
mod find;
mod flags;
mod gaps;
mod graph;
mod list;
mod manage;
mod messages;
mod new;
mod report;
mod restore;
mod select;
mod show;
mod view;

pub(crate) use args::{BackupArgs as SaveArgs, RestoreArgs as UnsaveArgs, StreamArgs};
pub(crate) use backup::run as backup_stream;
pub(crate) use restore::run as restore_stream;
pub(crate) use select::{SelectBy, select};

use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::session::Session;
use args::StreamCommand;

/// Runs `stonechat stream`.
pub(crate) async fn run(args: StreamArgs) -> Result<(), CliError> {
    let StreamArgs { jetstream, all, command } = args;
    let json = jetstream.json;
    let mut interrupt = Interrupt::catch();
    let work = async {
        let mut session = Session::open(&jetstream).await?;
        dispatch(&mut session, command, all, json).await
    };
    tokio::select! {
        result = work => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}

async fn dispatch(
    session: &mut Session,
    command: StreamCommand,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    match command {
        StreamCommand::Add(args) => new::run(session, *args, json).await,
        StreamCommand::Edit(args) => edit::run(session, &args, all, json).await,
        StreamCommand::Copy(args) => edit::copy(session, &args, json).await,
        StreamCommand::Ls { subject, names } => {
            list::run(session, subject.as_deref(), names, all, json).await
        }
        StreamCommand::Find(args) => find::run(session, &args, json).await,
        StreamCommand::Report(args) => report::run(session, &args, json).await,
        StreamCommand::Backup(args) => backup::run(session, &args, json).await,
        StreamCommand::Restore(args) => restore::run(session, &args, json).await,
        StreamCommand::Seal { stream, force } => manage::seal(session, &stream, force, json).await,
        StreamCommand::Info { stream, state, no_select } => {
            let (_, info) = select(session, stream, SelectBy { all, no_select }).await?;
            show::stream(&info, state, json)
        }
        StreamCommand::State { stream, no_select } => {
            let (_, info) = select(session, stream, SelectBy { all, no_select }).await?;
            show::stream(&info, true, json)
        }
        StreamCommand::Subjects(args) => {
            let (stream, _) = select(session, args.stream.clone(), SelectBy::all(all)).await?;
            list::subjects(session, &stream, &args, json).await
        }
        StreamCommand::Rm { stream, force } => manage::remove(session, stream, force, all, json).await,
        StreamCommand::Purge(args) => manage::purge(session, &args, all, json).await,
        StreamCommand::Rmm { stream, id, force } => {
            let (stream, _) = select(session, stream, SelectBy::all(all)).await?;
            messages::remove(session, &stream, id, force, json).await
        }
        StreamCommand::Get { stream, id, last_for, translate } => {
            let (stream, _) = select(session, stream, SelectBy::all(all)).await?;
            messages::get(session, &stream, id, last_for, translate.as_deref(), json).await
        }
        StreamCommand::View(args) => {
            let (stream, info) = select(session, args.stream.clone(), SelectBy::all(all)).await?;
            view::run(session, &stream, &info, &args, json).await
        }
        StreamCommand::Gaps { stream, force, progress } => {
            let (stream, info) = select(session, stream, SelectBy { all, no_select: force }).await?;
            gaps::run(
                session,
                &stream,
                &info,
                gaps::How { force, is_quiet: progress.is_quiet() || json },
                json,
            )
            .await
        }
        StreamCommand::Graph { stream } => {
            let (stream, _) = select(session, stream, SelectBy::all(all)).await?;
            graph::run(session, &stream).await
        }
    }
}
