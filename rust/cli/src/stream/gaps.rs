//! `stonechat stream gaps`: shows the sequences of removed messages.

use serde_json::{Value, json};

use crate::ask;
use crate::error::CliError;
use crate::ordered::{Delivered, Ordered, Reading, beginning};
use crate::output::{Progress, Table, Unit, byte_count, commas, count, json_line, line};
use crate::session::Session;

/// Options of the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) force: bool,
    /// Whether progress is hidden.
    pub(super) is_quiet: bool,
}

pub(super) async fn run(
    session: &mut Session,
    stream: &str,
    info: &Value,
    how: How,
    json: bool,
) -> Result<(), CliError> {
    let state = &info["state"];
    if state["num_deleted"].as_u64().unwrap_or_default() == 0 {
        return if json { Ok(()) } else { line(&format!("No deleted messages in {stream}")) };
    }
    let (messages, bytes) = (count(&state["messages"]), byte_count(&state["bytes"]));
    let question = format!("Really detect gaps in stream {stream} with {messages} messages and {bytes}");
    ask::agree(&question, how.force).await?;
    let gaps = find(session, stream, how).await?;
    if json {
        return gaps.iter().try_for_each(|[first, last]| json_line(&json!({ "first": first, "last": last })));
    }
    let title = match gaps.len() {
        0 => return line(&format!("No deleted messages in {stream}")),
        1 => format!("1 gap found in Stream {stream}"),
        many => format!("{} gaps found in Stream {stream}", commas(many as u64)),
    };
    let mut table = Table::new(title, &["First Message", "Last Message"]);
    gaps.iter().for_each(|gap| table.row(gap.iter().map(|seq| commas(*seq)).collect()));
    line(table.render().trim_end())
}

/// Returns the gaps from the server's list of removed sequences. If that list is cut short, reads the messages after its end.
async fn find(session: &mut Session, stream: &str, how: How) -> Result<Vec<[u64; 2]>, CliError> {
    let body = json!({ "deleted_details": true });
    let info = session.ask(&format!("STREAM.INFO.{stream}"), Some(&body)).await?;
    let deleted: Vec<u64> =
        info["state"]["deleted"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let mut gaps = ranges(&deleted);
    let is_cut = (deleted.len() as u64) < info["state"]["num_deleted"].as_u64().unwrap_or_default();
    if is_cut && let Some(last) = deleted.last() {
        walk(session, stream, last + 1, how, &mut gaps).await?;
    }
    Ok(gaps)
}

/// Joins ascending sequences to ranges.
fn ranges(sequences: &[u64]) -> Vec<[u64; 2]> {
    let mut found: Vec<[u64; 2]> = Vec::new();
    for &seq in sequences {
        match found.last_mut() {
            Some([_, last]) if last.checked_add(1) == Some(seq) => *last = seq,
            _ => found.push([seq, seq]),
        }
    }
    found
}

/// Finds gaps by reading the headers of all messages from a sequence on.
async fn walk(
    session: &mut Session,
    stream: &str,
    from: u64,
    how: How,
    gaps: &mut Vec<[u64; 2]>,
) -> Result<(), CliError> {
    let reading = Reading {
        reader: "stonechat stream gaps",
        filter: String::new(),
        from: beginning(Some(from), None)?,
        is_headers_only: true,
    };
    let mut messages = Ordered::open(session, stream, reading).await?;
    let mut progress = Progress::new(messages.waiting(), Unit::Count, !how.is_quiet);
    let mut expected = from;
    while let Some(Delivered { sequence, .. }) = messages.next_stored().await? {
        if sequence > expected {
            match gaps.last_mut() {
                Some([_, last]) if *last + 1 == expected => *last = sequence - 1,
                _ => gaps.push([expected, sequence - 1]),
            }
        }
        expected = sequence + 1;
        progress.add(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_become_ranges() {
        assert_eq!(ranges(&[2, 3, 4, 7, 9, 10]), [[2, 4], [7, 7], [9, 10]]);
        assert_eq!(ranges(&[u64::MAX]), [[u64::MAX, u64::MAX]]);
        assert!(ranges(&[]).is_empty());
    }
}
