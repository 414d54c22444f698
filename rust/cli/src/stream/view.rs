//! `stonechat stream view`: prints the messages of a stream, page by page on a terminal, otherwise all of them.

use jiff::Timestamp;
use serde_json::Value;

use super::args::ViewArgs;
use crate::ask;
use crate::console::say;
use crate::error::CliError;
use crate::message::write_out;
use crate::ordered::{Delivered, Ordered, Reading, beginning};
use crate::output::{json_line, local_time, shown};
use crate::session::Session;
use crate::stored::{body_text, header_lines, sorted_headers, stored_json};

/// Maximum number of messages of a page.
const PAGE_MAX: u64 = 25;

pub(super) async fn run(
    session: &mut Session,
    stream: &str,
    info: &Value,
    args: &ViewArgs,
    json: bool,
) -> Result<(), CliError> {
    let page = args.size.min(PAGE_MAX);
    if info["state"]["messages"].as_u64() == Some(0) {
        say("Reached apparent end of data");
        return Ok(());
    }
    let since =
        args.since.and_then(|age| Timestamp::now().checked_sub(age).ok()).map(|time| time.to_string());
    let reading = Reading {
        reader: "stonechat stream view",
        filter: args.subject.clone().unwrap_or_default(),
        from: beginning(args.id, since.as_deref())?,
        is_headers_only: false,
    };
    let mut messages = Ordered::open(session, stream, reading).await?;
    let mut printed = 0;
    while let Some(delivered) = messages.next_stored().await? {
        print(stream, &delivered, args, json)?;
        printed += 1;
        let is_page_full = printed % page == 0 && messages.waiting() > 0;
        if is_page_full && ask::is_interactive() && !json && !ask::confirm("Next Page?", true).await? {
            messages.close().await;
            return Ok(());
        }
    }
    say("Reached apparent end of data");
    Ok(())
}

/// Prints a message.
fn print(stream: &str, delivered: &Delivered, args: &ViewArgs, json: bool) -> Result<(), CliError> {
    let Delivered { message, sequence, time, .. } = delivered;
    if args.raw {
        write_out(&message.payload)?;
        return write_out(b"\n");
    }
    if json {
        return json_line(&stored_json(*sequence, time, message));
    }
    let subject = message.subject.as_str();
    let mut text = format!("[{sequence}] Subject: {} Received: {}\n", shown(subject), local_time(time));
    let headers = sorted_headers(message.headers.as_ref());
    if !headers.is_empty() {
        text += "\n";
        text += &header_lines(&headers);
    }
    write_out(format!("{text}\n").as_bytes())?;
    write_out(&body_text(&message.payload, args.translate.as_deref(), subject, stream)?)
}
