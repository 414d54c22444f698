//! `stonechat object`: object stores (ADR-20). A bucket is a stream `OBJ_NAME`. An object is a message with its description, and
//! messages with its chunks under a subject of their own.

mod args;
mod check;
mod config;
mod download;
mod info;
mod list;
mod manage;
mod store;
mod upload;

pub(crate) use args::ObjectArgs;

use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::session::Session;
use args::ObjectCommand;

/// Runs `stonechat object`.
pub(crate) async fn run(args: ObjectArgs) -> Result<(), CliError> {
    let ObjectArgs { jetstream, command } = args;
    let json = jetstream.json;
    let mut interrupt = Interrupt::catch();
    let work = async {
        let mut session = Session::open(&jetstream).await?;
        match command {
            ObjectCommand::Add { bucket, storage } => manage::add(&mut session, &bucket, storage, json).await,
            ObjectCommand::Edit { bucket } => manage::edit(&mut session, &bucket, json).await,
            ObjectCommand::Put(args) => upload::run(&mut session, &args, json).await,
            ObjectCommand::Get(args) => download::run(&mut session, &args, json).await,
            ObjectCommand::Del { bucket, object: None, force } => {
                manage::remove_bucket(&mut session, &bucket, force, json).await
            }
            ObjectCommand::Del { bucket, object: Some(object), force } => {
                manage::remove(&mut session, &bucket, &object, force, json).await
            }
            ObjectCommand::Info { bucket, object } => {
                manage::info(&mut session, bucket, object.as_deref(), json).await
            }
            ObjectCommand::Ls { bucket: None, names } => list::buckets(&mut session, names, json).await,
            ObjectCommand::Ls { bucket: Some(bucket), names } => {
                list::objects(&mut session, &bucket, names, json).await
            }
            ObjectCommand::Link(args) => manage::link(&mut session, &args, json).await,
            ObjectCommand::Seal { bucket, force } => manage::seal(&mut session, &bucket, force, json).await,
            ObjectCommand::Watch { bucket } => list::watch(&mut session, &bucket, json).await,
            ObjectCommand::Check(args) => check::run(&mut session, &args, json).await,
        }
    };
    tokio::select! {
        result = work => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}
