//! `stonechat service`: discovers services by the protocol of ADR-32, calls them, and runs one.

mod args;
mod discover;
mod serve;

pub(crate) use args::ServiceArgs;

use self::args::ServiceCommand;
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::session::Session;

/// Runs `stonechat service`.
pub(crate) async fn run(args: ServiceArgs) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    let json = args.jetstream.json;
    let mut session = tokio::select! {
        session = Session::open(&args.jetstream) => session?,
        () = interrupt.pressed() => return Err(CliError::Interrupted),
    };
    let session = &mut session;
    if let ServiceCommand::Serve { name, headers } = &args.command {
        return serve::run(session, name, headers, json, interrupt).await;
    }
    let work = async {
        match args.command {
            ServiceCommand::List { name } => discover::list(session, name.as_deref(), json).await,
            ServiceCommand::Info { place, endpoint } => {
                discover::info(session, &place, endpoint.as_deref(), json).await
            }
            ServiceCommand::Stats { place } => discover::stats(session, &place, json).await,
            ServiceCommand::Ping { name } => discover::ping(session, name.as_deref(), json).await,
            ServiceCommand::Request(request) => discover::request(session, &request, json).await,
            ServiceCommand::Serve { .. } => Ok(()),
        }
    };
    tokio::select! {
        result = work => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}
