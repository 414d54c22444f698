//! `stonechat kv`: key-value buckets (ADR-8). A bucket is a stream `KV_NAME`; a key is one of its subjects; a revision is the
//! sequence of a message.

mod args;
mod bucket;
mod config;
mod entry;
mod list;
mod manage;
mod show;
mod values;
mod watch;

pub(crate) use args::KvArgs;

use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::session::Session;
use args::KvCommand;

/// Runs `stonechat kv`.
pub(crate) async fn run(args: KvArgs) -> Result<(), CliError> {
    let KvArgs { jetstream, command } = args;
    // Read before the runtime handles Ctrl-C, so that Ctrl-C ends a blocked read or question.
    let prepared = values::prepare(&command).await?;
    let mut interrupt = Interrupt::catch();
    let json = jetstream.json;
    let work = async {
        let mut session = Session::open(&jetstream).await?;
        match command {
            KvCommand::Add(args) => manage::add(&mut session, &args, json).await,
            KvCommand::Edit(args) => manage::edit(&mut session, &args, json).await,
            KvCommand::Info { bucket } => manage::info(&mut session, &bucket, json).await,
            KvCommand::Del { bucket, key: None, .. } => manage::remove(&mut session, &bucket, json).await,
            KvCommand::Del { bucket, key: Some(key), .. } => {
                values::remove(&mut session, &bucket, &key, json).await
            }
            KvCommand::Compact { bucket, .. } => manage::compact(&mut session, &bucket, json).await,
            KvCommand::Put { bucket, key, value } => {
                values::put(&mut session, &bucket, &key, value.as_deref(), prepared, json).await
            }
            KvCommand::Create { bucket, key, value, ttl } => {
                values::create(&mut session, &bucket, &key, value.as_deref(), prepared, ttl, json).await
            }
            KvCommand::Update { bucket, key, value, revision } => {
                values::update(&mut session, &bucket, &key, &value, revision, json).await
            }
            KvCommand::Get(args) => values::get(&mut session, &args, json).await,
            KvCommand::Purge { bucket, key, ttl, .. } => {
                values::purge(&mut session, &bucket, &key, ttl, json).await
            }
            KvCommand::Revert { bucket, key, revision, force } => {
                values::revert(&mut session, &bucket, &key, revision, force, json).await
            }
            KvCommand::History { bucket, key } => list::history(&mut session, &bucket, &key, json).await,
            KvCommand::Ls(args) => list::run(&mut session, &args, json).await,
            KvCommand::Watch(args) => watch::run(&mut session, &args, json).await,
        }
    };
    tokio::select! {
        result = work => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}
