//! `stonechat sub`: prints the messages of one or more subjects.

use std::future::{self, Future};
use std::time::Duration;

use async_nats::Subscriber;
use futures_util::StreamExt;
use futures_util::stream::{SelectAll, select_all};

use crate::args::SubArgs;
use crate::connection::{Connection, client_error};
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::message::Format;

/// Maximum time to connect, for commands without a time limit.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: SubArgs) -> Result<(), CliError> {
    let interrupt = Interrupt::catch();
    let mut connection = Connection::open(&args.connection, CONNECT_TIMEOUT).await?;
    let mut subscribers = Vec::with_capacity(args.subjects.len());
    for subject in &args.subjects {
        subscribers.push(subscribe(&connection, subject, args.queue.as_deref()).await?);
    }
    connection.settle(CONNECT_TIMEOUT).await?;
    crate::console::say(format_args!("subscribed to {}", args.subjects.join(", ")));

    let mut received = 0;
    let messages =
        print(select_all(subscribers), Format::new(args.raw, args.json), args.count, &mut received);
    let ended = tokio::select! {
        result = messages => return result,
        complaint = connection.complaint() => return Err(complaint),
        ended = end(interrupt, args.timeout) => ended,
    };
    match (ended, args.count) {
        (Ended::TimeOver, Some(expected)) => Err(CliError::TooFew { received, expected }),
        // Without a count, Ctrl-C and the time limit are the normal end.
        _ => Ok(()),
    }
}

/// Subscribes, in a queue group if one is given.
pub(crate) async fn subscribe(
    connection: &Connection,
    subject: &str,
    queue: Option<&str>,
) -> Result<Subscriber, CliError> {
    let subject = subject.to_owned();
    match queue {
        None => connection.client.subscribe(subject).await.map_err(client_error),
        Some(queue) => {
            connection.client.queue_subscribe(subject, queue.to_owned()).await.map_err(client_error)
        }
    }
}

async fn print(
    mut messages: SelectAll<Subscriber>,
    format: Format,
    count: Option<u64>,
    received: &mut u64,
) -> Result<(), CliError> {
    while let Some(message) = messages.next().await {
        *received += 1;
        format.print(*received, &message)?;
        if count == Some(*received) {
            return Ok(());
        }
    }
    Err(CliError::ConnectionLost)
}

/// The reason why a command without an end of its own ended.
pub(crate) enum Ended {
    /// The user pressed Ctrl-C.
    ByUser,
    /// The `--timeout` has passed.
    TimeOver,
}

/// Waits for Ctrl-C or the time limit.
pub(crate) fn end(mut interrupt: Interrupt, timeout: Option<Duration>) -> impl Future<Output = Ended> {
    let time_over = async move {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => future::pending().await,
        }
    };
    async move {
        tokio::select! {
            () = interrupt.pressed() => Ended::ByUser,
            () = time_over => Ended::TimeOver,
        }
    }
}
