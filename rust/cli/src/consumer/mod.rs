//! `stonechat consumer`: creates, shows, edits and pauses consumers, and fetches their messages.

mod args;
mod edit;
mod fetch;
mod find;
mod flags;
mod graph;
mod list;
mod manage;
mod new;
mod select;
mod show;

pub(crate) use args::ConsumerArgs;

use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::session::Session;
use crate::stream::{SelectBy, select as select_stream};
use args::ConsumerCommand;
use select::select;

/// Runs `stonechat consumer`.
pub(crate) async fn run(args: ConsumerArgs) -> Result<(), CliError> {
    let ConsumerArgs { jetstream, all, command } = args;
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
    command: ConsumerCommand,
    all: bool,
    json: bool,
) -> Result<(), CliError> {
    match command {
        ConsumerCommand::Add(args) => new::run(session, *args, all, json).await,
        ConsumerCommand::Edit(args) => edit::run(session, *args, all, json).await,
        ConsumerCommand::Copy(args) => edit::copy(session, &args, json).await,
        ConsumerCommand::Find(args) => find::run(session, args, all, json).await,
        ConsumerCommand::Next(args) => fetch::next(session, &args, json).await,
        ConsumerCommand::Info { place, no_select } => {
            let info = select(session, place, SelectBy { all, no_select }).await?;
            show::consumer(&info, false, json)
        }
        ConsumerCommand::State { place, no_select } => {
            let info = select(session, place, SelectBy { all, no_select }).await?;
            show::consumer(&info, true, json)
        }
        ConsumerCommand::Ls { stream, names, no_select } => {
            let (stream, _) = select_stream(session, stream, SelectBy { all, no_select }).await?;
            list::run(session, &stream, names, json).await
        }
        ConsumerCommand::Report { stream, raw } => {
            let (stream, info) = select_stream(session, stream, SelectBy::all(all)).await?;
            list::report(session, &stream, &info["state"], raw, json).await
        }
        ConsumerCommand::Rm { place, force } => {
            if force && (place.stream.is_none() || place.consumer.is_none()) {
                return Err(CliError::Client(
                    "--force needs the names of a stream and a consumer".to_owned(),
                ));
            }
            let info = select(session, place, SelectBy { all, no_select: force }).await?;
            manage::remove(session, &info, force, json).await
        }
        ConsumerCommand::Sub(args) => {
            let info = select(session, args.place.clone(), SelectBy::all(all)).await?;
            fetch::subscribe(session, &info, &args, json).await
        }
        ConsumerCommand::Pause { place, until, force } => {
            let info = select(session, place, SelectBy { all, no_select: force }).await?;
            manage::pause(session, &info, until, force, json).await
        }
        ConsumerCommand::Resume { place, force } => {
            let info = select(session, place, SelectBy { all, no_select: force }).await?;
            manage::resume(session, &info, force, json).await
        }
        ConsumerCommand::Unpin { place, group, force } => {
            let info = select(session, place, SelectBy { all, no_select: force }).await?;
            manage::unpin(session, &info, group, force, json).await
        }
        ConsumerCommand::Reset { place, sequence, force } => {
            let info = select(session, place, SelectBy { all, no_select: force }).await?;
            manage::reset(session, &info, sequence, force, json).await
        }
        ConsumerCommand::Graph { place } => {
            let info = select(session, place, SelectBy::all(all)).await?;
            graph::run(session, &info).await
        }
    }
}
