//! Reads a stream through a push consumer with flow control, as clients' watches and listings do.

use crate::js::Client;
use crate::server::Server;
use crate::wire::{self, Msg, Reader};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

/// What of a stream is read.
pub(crate) struct Want<'a> {
    pub(crate) stream: &'a str,
    pub(crate) filter: &'a str,
    /// Only the last message of each subject.
    pub(crate) last: bool,
    pub(crate) headers_only: bool,
}

/// What a replay took.
pub(crate) struct Took {
    pub(crate) messages: u64,
    /// From the request to the first message.
    pub(crate) first: Duration,
    pub(crate) all: Duration,
}

impl Want<'_> {
    /// The configuration of an ordered consumer, as clients make it.
    pub(crate) fn config(&self, name: &str, deliver: &str) -> Value {
        let policy = if self.last { "last_per_subject" } else { "all" };
        json!({"stream_name": self.stream, "action": "create", "config": {
            "name": name, "deliver_subject": deliver, "deliver_policy": policy, "filter_subject": self.filter,
            "headers_only": self.headers_only, "ack_policy": "none", "replay_policy": "instant", "max_deliver": 1,
            "flow_control": true, "idle_heartbeat": 5_000_000_000u64, "inactive_threshold": 300_000_000_000u64,
            "mem_storage": true, "num_replicas": 1}})
    }
}

/// Hands every message to `each` until nothing is pending.
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
    // Without filter subjects the server tells the number that was there when the consumer was made.
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

/// Whether this is a heartbeat or a question of flow control; the latter is answered.
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

/// Stream sequence out of an ack subject.
pub(crate) fn sequence(m: &Msg) -> Result<u64> {
    token(m, 5)
}

/// A number out of an ack subject, by its place in the form of nine tokens; the longer form has two more in front.
fn token(m: &Msg, place: usize) -> Result<u64> {
    std::str::from_utf8(word(m, place)?)?.parse().context("bad ack subject")
}

/// The consumer that sent a message.
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
