//! `stonechat req`: sends requests and prints the replies.

use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::args::ReqArgs;
use crate::connection::{Connection, client_error};
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::message::Format;

pub(crate) async fn run(args: ReqArgs) -> Result<(), CliError> {
    // Read before the runtime handles Ctrl-C, so that Ctrl-C ends a blocked read.
    let payload = args.message.payload()?;
    let mut interrupt = Interrupt::catch();
    tokio::select! {
        result = request_all(&args, payload) => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}

async fn request_all(args: &ReqArgs, payload: Bytes) -> Result<(), CliError> {
    let mut connection = Connection::open(&args.connection, args.timeout).await?;
    let mut printed = 0;
    for _ in 0..args.count {
        request(&mut connection, args, payload.clone(), &mut printed).await?;
    }
    Ok(())
}

/// Sends one request. It has its own inbox, so that late replies to an earlier request are not counted.
async fn request(
    connection: &mut Connection,
    args: &ReqArgs,
    payload: Bytes,
    printed: &mut u64,
) -> Result<(), CliError> {
    let client = &connection.client;
    let inbox = client.new_inbox();
    let replies = client.subscribe(inbox.clone()).await.map_err(client_error)?;
    let headers = args.message.headers();
    let subject = args.subject.clone();
    let sent = match headers {
        None => client.publish_with_reply(subject, inbox, payload).await,
        Some(headers) => client.publish_with_reply_and_headers(subject, inbox, headers, payload).await,
    };
    sent.map_err(client_error)?;
    client.flush().await.map_err(client_error)?;
    tokio::select! {
        complaint = connection.complaint() => Err(complaint),
        result = gather(replies, args, printed) => result,
    }
}

/// Prints replies until enough have arrived or the time is over.
async fn gather(mut replies: Subscriber, args: &ReqArgs, printed: &mut u64) -> Result<(), CliError> {
    let deadline = tokio::time::Instant::now() + args.timeout;
    let mut received = 0;
    while args.replies == 0 || received < args.replies {
        match tokio::time::timeout_at(deadline, replies.next()).await {
            Ok(Some(message)) if is_no_responders(&message) => {
                return Err(CliError::NoResponders(args.subject.clone()));
            }
            Ok(Some(message)) => {
                received += 1;
                *printed += 1;
                Format::new(args.raw, args.json).print(*printed, &message)?;
            }
            Ok(None) => return Err(CliError::ConnectionLost),
            Err(_) => return late(args, received),
        }
    }
    Ok(())
}

/// Handles the timeout: an error, unless replies are collected without a limit and at least one has arrived.
fn late(args: &ReqArgs, received: u64) -> Result<(), CliError> {
    match (args.replies, received) {
        (0, 1..) => Ok(()),
        (_, 0) => {
            Err(CliError::NoReply { subject: args.subject.clone(), seconds: args.timeout.as_secs_f64() })
        }
        (expected, received) => Err(CliError::TooFew { received, expected }),
    }
}

fn is_no_responders(message: &Message) -> bool {
    message.status == Some(StatusCode::NO_RESPONDERS) && message.payload.is_empty()
}
