//! Reads a stream through a push consumer with flow control, as the watches and listings of clients do.

use crate::js::Client;
use crate::server::Server;
use crate::wire::{self, Msg, Reader};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

/// A selection of a stream's messages.
pub(crate) struct Want<'a> {
    pub(crate) stream: &'a str,
    pub(crate) filter: &'a str,
    /// Only the last message of each subject.
    pub(crate) last: bool,
    pub(crate) headers_only: bool,
}

/// The size and the times of a replay.
pub(crate) struct Took {
    pub(crate) messages: u64,
    /// Time from the request to the first message.
    pub(crate) first: Duration,
    pub(crate) all: Duration,
}

impl Want<'_> {
    /// Returns the configuration of an ordered consumer, as clients create it.
    pub(crate) fn config(&self, name: &str, deliver: &str) -> Value {
        let policy = if self.last { "last_per_subject" } else { "all" };
        json!({"stream_name": self.stream, "action": "create", "config": {
            "name": name, "deliver_subject": deliver, "deliver_policy": policy, "filter_subject": self.filter,
            "headers_only": self.headers_only, "ack_policy": "none", "replay_policy": "instant", "max_deliver": 1,
            "flow_control": true, "idle_heartbeat": 5_000_000_000u64, "inactive_threshold": 300_000_000_000u64,
            "mem_storage": true, "num_replicas": 1}})
    }
}

/// Passes every message to `each`, until none is pending.
pub(crate) fn replay(
    server: &Server,
    k: &mut Client,
    want: &Want,
    mut each: impl FnMut(&Msg) -> Result<()>,
) -> Result<Took> {
    let mut rx = wire::connect(server.addr)?;
    wire::subscribe(&mut rx, &[("deliver.replay".into(), "", 1)])?;
    let begin = Instant::now();
    let api = format!("CONSUMER.CREATE.{}.replay.{}", want.stream, want.filter);
    let made = k.api(&api, want.config("replay", "deliver.replay"))?;
    // Without filter subjects, the server returns the number of pending messages at the consumer's creation.
    let mut took = Took { messages: 0, first: Duration::ZERO, all: Duration::ZERO };
    let mut left = made["num_pending"].as_u64().context("no num_pending in the consumer's info")?
        + made["delivered"]["consumer_seq"].as_u64().unwrap_or(0);
    let (mut r, mut out) = (Reader::new(), Vec::new());
    while left > 0 {
        r.fill(&mut rx).with_context(|| format!("replay stopped after {} messages", took.messages))?;
        if took.messages == 0 {
            took.first = begin.elapsed();
        }
        out.clear();
        while let Some(m) = r.next()? {
            if answer_control(&m, &mut out) {
                continue;
            }
            took.messages += 1;
            if token(&m, 6)? != took.messages {
                bail!("message {} out of order: {:?}", took.messages, String::from_utf8_lossy(m.reply));
            }
            left = token(&m, 8)?;
            each(&m)?;
        }
        rx.write_all(&out)?;
    }
    took.all = begin.elapsed();
    k.api(&format!("CONSUMER.DELETE.{}.replay", want.stream), Value::Null)?;
    Ok(took)
}

/// Whether a message is a heartbeat or a flow control request; a request is answered.
pub(crate) fn answer_control(m: &Msg, out: &mut Vec<u8>) -> bool {
    if m.status() != Some(100) {
        return false;
    }
    let reply = m.header("Nats-Consumer-Stalled").map_or(m.reply, str::as_bytes);
    if !reply.is_empty() {
        out.extend_from_slice(b"PUB ");
        out.extend_from_slice(reply);
        out.extend_from_slice(b" 0\r\n\r\n");
    }
    true
}

/// Returns the stream sequence in a message's ack subject.
pub(crate) fn sequence(m: &Msg) -> Result<u64> {
    token(m, 5)
}

/// Returns a number in the ack subject, by its position in the form with nine tokens; the longer form has two more at the front.
fn token(m: &Msg, place: usize) -> Result<u64> {
    std::str::from_utf8(word(m, place)?)?.parse().context("bad ack subject")
}

/// Returns the name of the consumer that sent a message.
pub(crate) fn consumer<'a>(m: &Msg<'a>) -> Result<&'a [u8]> {
    word(m, 3)
}

fn word<'a>(m: &Msg<'a>, place: usize) -> Result<&'a [u8]> {
    let long = m.reply.iter().filter(|c| **c == b'.').count() >= 10;
    m.reply.split(|c| *c == b'.').nth(if long { place + 2 } else { place }).context("no ack subject")
}

#[cfg(test)]
mod tests {
    use super::{answer_control, consumer, sequence, token};
    use crate::wire::Msg;

    fn message<'a>(reply: &'a str, hdr: &'a str) -> Msg<'a> {
        Msg { subject: b"s", reply: reply.as_bytes(), hdr: hdr.as_bytes(), body: b"" }
    }

    #[test]
    fn both_forms_of_ack_subjects_are_understood() {
        for reply in ["$JS.ACK.S.C.1.42.7.1700000000.3", "$JS.ACK.D.hash.S.C.1.42.7.1700000000.3.rnd"] {
            let m = message(reply, "");
            assert_eq!((sequence(&m).unwrap(), token(&m, 6).unwrap(), token(&m, 8).unwrap()), (42, 7, 3));
            assert_eq!(consumer(&m).unwrap(), b"C");
        }
        assert!(sequence(&message("_INBOX.a", "")).is_err());
    }

    #[test]
    fn flow_control_is_answered_and_a_heartbeat_is_not() {
        let mut out = Vec::new();
        assert!(answer_control(&message("fc.1", "NATS/1.0 100 FlowControl Request\r\n\r\n"), &mut out));
        assert!(answer_control(&message("", "NATS/1.0 100 Idle Heartbeat\r\n\r\n"), &mut out));
        let stalled = "NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: fc.2\r\n\r\n";
        assert!(answer_control(&message("", stalled), &mut out));
        assert!(!answer_control(&message("x", ""), &mut out));
        assert_eq!(out, b"PUB fc.1 0\r\n\r\nPUB fc.2 0\r\n\r\n");
    }
}
