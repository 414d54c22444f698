//! `stonechat pub`: publishes a message, one or many times.

use async_nats::client::PublishError;
use bytes::Bytes;

use crate::args::PubArgs;
use crate::connection::{Connection, client_error};
use crate::error::CliError;
use crate::interrupt::Interrupt;

pub(crate) async fn run(args: PubArgs) -> Result<(), CliError> {
    // Read before the runtime traps Ctrl-C: a blocked read then still ends with it.
    let payload = args.message.payload()?;
    let mut interrupt = Interrupt::catch();
    tokio::select! {
        result = publish(&args, payload) => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}

async fn publish(args: &PubArgs, payload: Bytes) -> Result<(), CliError> {
    let mut connection = Connection::open(&args.connection, args.timeout).await?;
    for _ in 0..args.count {
        send(&connection, args, payload.clone()).await.map_err(client_error)?;
    }
    connection.settle(args.timeout).await?;
    eprintln!("published {} to {}", counted(args.count), args.subject);
    Ok(())
}

async fn send(connection: &Connection, args: &PubArgs, payload: Bytes) -> Result<(), PublishError> {
    let client = &connection.client;
    let subject = args.subject.clone();
    match (args.reply.clone(), args.message.headers()) {
        (None, None) => client.publish(subject, payload).await,
        (None, Some(headers)) => client.publish_with_headers(subject, headers, payload).await,
        (Some(reply), None) => client.publish_with_reply(subject, reply, payload).await,
        (Some(reply), Some(headers)) => {
            client.publish_with_reply_and_headers(subject, reply, headers, payload).await
        }
    }
}

fn counted(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}
