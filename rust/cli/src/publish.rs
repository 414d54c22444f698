//! `stonechat pub`: publishes a message once or several times.

use std::io::{self, BufRead};

use async_nats::client::PublishError;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::args::PubArgs;
use crate::connection::{Connection, client_error};
use crate::console::say;
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::message::write_out;

/// Capacity of the queue of lines that are read but not yet published.
const LINES_WAITING: usize = 64;

pub(crate) async fn run(args: PubArgs) -> Result<(), CliError> {
    // Read before the runtime handles Ctrl-C, so that Ctrl-C ends a blocked read.
    let payload = if args.lines { Bytes::new() } else { args.message.payload_or_input()? };
    let mut interrupt = Interrupt::catch();
    tokio::select! {
        result = publish(&args, payload) => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}

async fn publish(args: &PubArgs, payload: Bytes) -> Result<(), CliError> {
    let mut connection = Connection::open(&args.connection, args.timeout).await?;
    let count = match args.lines {
        true => publish_lines(&connection, args).await?,
        false => {
            for _ in 0..args.count {
                send(&connection, args, payload.clone()).await.map_err(client_error)?;
            }
            args.count
        }
    };
    connection.settle(args.timeout).await?;
    if args.json {
        let told = serde_json::json!({ "subject": args.subject, "published": count });
        return write_out(format!("{told}\n").as_bytes());
    }
    say(format_args!("published {} to {}", counted(count), args.subject));
    Ok(())
}

/// Publishes the lines of standard input as they arrive; returns their number.
async fn publish_lines(connection: &Connection, args: &PubArgs) -> Result<u64, CliError> {
    let (sender, mut lines) = mpsc::channel(LINES_WAITING);
    // A thread reads the lines, so that a blocked read does not delay the end of the command.
    std::thread::spawn(move || read_lines(&sender));
    let mut count = 0;
    while let Some(line) = lines.recv().await {
        let line = line.map_err(CliError::Stdin)?;
        send(connection, args, line).await.map_err(client_error)?;
        count += 1;
    }
    Ok(count)
}

/// Reads lines without their line ends, until the input or the receiver is closed.
fn read_lines(sender: &mpsc::Sender<io::Result<Bytes>>) {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let read = match input.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                line.pop_if(|last| *last == b'\n');
                line.pop_if(|last| *last == b'\r');
                Ok(line.into())
            }
            Err(error) => Err(error),
        };
        let is_over = read.is_err();
        if sender.blocking_send(read).is_err() || is_over {
            return;
        }
    }
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
