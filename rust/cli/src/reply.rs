//! `stonechat reply`: answers requests with a fixed text or with their own payload.

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::args::ReplyArgs;
use crate::connection::{Connection, client_error};
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::message::Format;
use crate::subscribe::{CONNECT_TIMEOUT, Ended, end, subscribe};

pub(crate) async fn run(args: ReplyArgs) -> Result<(), CliError> {
    if args.echo && !args.message.is_empty() {
        return Err(CliError::Client("give either a payload or --echo".to_owned()));
    }
    let payload = args.message.payload()?;
    let interrupt = Interrupt::catch();
    let mut connection = Connection::open(&args.connection, CONNECT_TIMEOUT).await?;
    let requests = subscribe(&connection, &args.subject, args.queue.as_deref()).await?;
    connection.settle(CONNECT_TIMEOUT).await?;
    crate::console::say(format_args!("answering on {}", args.subject));

    let client = connection.client.clone();
    let mut answered = 0;
    let answers = answer(&client, requests, &args, payload, &mut answered);
    let ended = tokio::select! {
        result = answers => Ok(result?),
        complaint = connection.complaint() => return Err(complaint),
        ended = end(interrupt, args.timeout) => Err(ended),
    };
    // The last replies may still be in flight.
    connection.settle(CONNECT_TIMEOUT).await?;
    match (ended, args.count) {
        (Err(Ended::TimeOver), Some(expected)) => Err(CliError::TooFew { received: answered, expected }),
        _ => Ok(()),
    }
}

async fn answer(
    client: &async_nats::Client,
    mut requests: Subscriber,
    args: &ReplyArgs,
    payload: Bytes,
    answered: &mut u64,
) -> Result<(), CliError> {
    while let Some(request) = requests.next().await {
        *answered += 1;
        Format::new(args.raw, args.json).print(*answered, &request)?;
        let Message { reply, payload: asked, .. } = request;
        // A message without a reply subject can't be answered, but it is counted and printed.
        if let Some(reply) = reply {
            let body = if args.echo { asked } else { payload.clone() };
            match args.message.headers() {
                None => client.publish(reply, body).await.map_err(client_error)?,
                Some(headers) => {
                    client.publish_with_headers(reply, headers, body).await.map_err(client_error)?
                }
            }
        }
        if args.count == Some(*answered) {
            return Ok(());
        }
    }
    Err(CliError::ConnectionLost)
}
