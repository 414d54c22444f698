//! Reading of streams: with a pull consumer, or with direct gets.

use std::time::Instant;

use serde_json::json;

use super::args::Acks;
use super::measure::{Latencies, Outcome};
use super::wire::{self, Ended, Frame, Place, Wait, Wire};
use super::work::Worker;
use crate::error::CliError;
use crate::values::api_nanoseconds;

/// How a pull consumer is read.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    /// The subjects of pull requests: one for each client if each has its own consumer, otherwise one.
    pub(super) subjects: Vec<String>,
    /// Messages of a pull request.
    pub(super) batch: u64,
    /// Whether to send the next pull request before all messages of the last one have arrived.
    pub(super) is_eager: bool,
    pub(super) acks: Acks,
    /// Whether to wait for the server's reply to each acknowledgement.
    pub(super) is_double: bool,
    /// Whether messages must arrive in order, without a gap.
    pub(super) is_ordered: bool,
    /// Whether the messages are still to be published: then a client waits for them without a time limit.
    pub(super) is_patient: bool,
}

/// The meaning of a message that arrives on the inbox.
enum Told {
    Message,
    /// A pull request is over; this many of its messages will not be sent.
    Over(u64),
}

impl Worker<'_> {
    pub(super) fn pull(&mut self, pull: &Pull, outcome: &mut Outcome) -> Result<(), Ended> {
        let shared = self.shared;
        let wait =
            Wait { stop: &shared.stop, patience: (!pull.is_patient).then_some(self.share.patience * 2) };
        let least = if pull.is_eager { pull.batch / 2 } else { 0 };
        let (mut asked, mut began) = (0u64, Instant::now());
        let mut latencies = Latencies::new();
        let mut acks = AckWire::open(self, pull)?;
        let mut pace = self.pace();
        let mut is_first = true;
        while outcome.messages < self.share.count {
            let left = self.share.count - outcome.messages;
            if asked <= least && asked < left {
                let more = (pull.batch - asked).min(left - asked);
                self.ask(pull, more);
                if asked == 0 {
                    began = Instant::now();
                }
                asked += more;
            }
            self.wire.send(wait)?;
            let mut next = Some(self.wire.next(wait)?);
            if is_first {
                outcome.began = if pull.is_patient { Instant::now() } else { began };
                is_first = false;
            }
            let mut last = None;
            while let Some(frame) = next {
                if let Frame::Message(place) = frame {
                    match self.told(&place)? {
                        Told::Over(missing) => {
                            asked = asked.saturating_sub(missing);
                            if !pull.is_patient {
                                return Err(Ended::Silence);
                            }
                        }
                        Told::Message => {
                            if self.share.sleep.is_some() && pace.allowed(1, &shared.stop) == 0 {
                                return Err(Ended::Stopped);
                            }
                            if pull.is_ordered {
                                self.check_order(&place, outcome.messages + 1)?;
                            }
                            asked = asked.saturating_sub(1);
                            let bytes = self.wire.body(&place).len() as u64;
                            self.count(outcome, 1, bytes);
                            match (pull.acks, &mut acks) {
                                (Acks::Explicit, Some(acks)) => acks.acknowledge(self, &place)?,
                                (Acks::Explicit, None) => self.wire.respond(&place, b"", ACK),
                                _ => last = Some(place),
                            }
                            if asked == 0 && !pull.is_eager {
                                latencies.record(began.elapsed());
                            }
                        }
                    }
                }
                let is_enough = asked == 0 || outcome.messages >= self.share.count;
                next = if is_enough { None } else { self.wire.scan(wait)? };
            }
            if let (Acks::All, Some(last)) = (pull.acks, last) {
                self.wire.respond(&last, b"", ACK);
            }
        }
        outcome.latencies = (!pull.is_eager).then_some(latencies);
        self.wire.settle(wait)
    }

    /// Appends a pull request for `count` messages to the output.
    fn ask(&mut self, pull: &Pull, count: u64) {
        let expires = api_nanoseconds(self.share.patience);
        let body = json!({ "batch": count, "expires": expires }).to_string();
        let at = if pull.subjects.len() > 1 { self.index % pull.subjects.len() } else { 0 };
        let subject = pull.subjects[at].as_bytes();
        wire::publish(&mut self.wire.output, subject, self.inbox.as_bytes(), b"", body.as_bytes());
    }

    /// Classifies a message: one of the stream, or the server's status of a pull request.
    fn told(&self, place: &Place) -> Result<Told, Ended> {
        let Some(status) = self.wire.status(place) else { return Ok(Told::Message) };
        match status.as_bytes() {
            [b'4', b'0', b'4' | b'8', ..] => {
                let missing = self.wire.header(place, b"Nats-Pending-Messages: ").unwrap_or(u64::MAX);
                Ok(Told::Over(missing))
            }
            _ => {
                let text = format!("the consumer sends no more: {}", crate::output::shown(status));
                Err(CliError::Client(text).into())
            }
        }
    }

    /// Checks that the consumer sequence in the reply subject is the expected one.
    fn check_order(&self, place: &Place, expected: u64) -> Result<(), Ended> {
        let (_, reply) = self.wire.address(place);
        let tokens: Vec<&[u8]> = reply.split(|byte| *byte == b'.').collect();
        let token = tokens.get(if tokens.len() == 9 { 6 } else { 8 });
        let count = token.and_then(|token| std::str::from_utf8(token).ok()?.parse::<u64>().ok());
        match count == Some(expected) {
            true => Ok(()),
            false => {
                let text = format!("message {expected} of an ordered consumer is missing or out of order");
                Err(CliError::Client(text).into())
            }
        }
    }

    /// Reads messages one by one, by sequence; begins again after the last.
    pub(super) fn get(
        &mut self,
        subject: &str,
        (first, last): (u64, u64),
        outcome: &mut Outcome,
    ) -> Result<(), Ended> {
        let shared = self.shared;
        let mut latencies = Latencies::new();
        let mut pace = self.pace();
        let mut body = Vec::new();
        outcome.began = Instant::now();
        while outcome.messages < self.share.count {
            if pace.allowed(1, &shared.stop) == 0 {
                return Err(Ended::Stopped);
            }
            body.clear();
            body.extend_from_slice(b"{\"next_by_subj\":\">\",\"seq\":");
            wire::number(&mut body, first + outcome.messages % (last - first + 1));
            body.push(b'}');
            wire::publish(&mut self.wire.output, subject.as_bytes(), self.inbox.as_bytes(), b"", &body);
            let began = Instant::now();
            self.wire.send(Wait { stop: &shared.stop, patience: None })?;
            let read = self.answer(super::work::Answer::Message)?;
            latencies.record(began.elapsed());
            self.count(outcome, 1, read);
        }
        outcome.latencies = Some(latencies);
        Ok(())
    }

    /// Reads batches of messages with direct gets; begins again after the last message.
    pub(super) fn get_batch(
        &mut self,
        subject: &str,
        filter: &str,
        batch: u64,
        outcome: &mut Outcome,
    ) -> Result<(), Ended> {
        let shared = self.shared;
        let wait = Wait { stop: &shared.stop, patience: Some(self.share.patience) };
        let mut latencies = Latencies::new();
        let (mut pace, mut from) = (self.pace(), 1);
        outcome.began = Instant::now();
        while outcome.messages < self.share.count {
            if pace.allowed(1, &shared.stop) == 0 {
                return Err(Ended::Stopped);
            }
            let count = batch.min(self.share.count - outcome.messages);
            let body = json!({ "seq": from, "batch": count, "next_by_subj": filter }).to_string();
            wire::publish(
                &mut self.wire.output,
                subject.as_bytes(),
                self.inbox.as_bytes(),
                b"",
                body.as_bytes(),
            );
            let began = Instant::now();
            self.wire.send(wait)?;
            let (mut read, mut bytes) = (0, 0);
            loop {
                let place = self.message(wait)?;
                match self.wire.status(&place).map(|status| status.get(..3).unwrap_or_default()) {
                    None => {
                        read += 1;
                        bytes += self.wire.body(&place).len() as u64;
                        from = self.wire.header(&place, b"Nats-Sequence: ").unwrap_or(from) + 1;
                    }
                    Some("204") => break,
                    Some("404") if from > 1 && read == 0 => break,
                    Some(status) => {
                        let text = format!("messages can't be had: the server says {status}");
                        return Err(CliError::Client(crate::output::shown(&text)).into());
                    }
                }
            }
            if read == 0 {
                from = 1;
                continue;
            }
            latencies.record(began.elapsed());
            self.count(outcome, read, bytes);
        }
        outcome.latencies = Some(latencies);
        Ok(())
    }
}

/// The body of an acknowledgement.
const ACK: &[u8] = b"+ACK";

/// A second connection that receives the replies to acknowledgements, while messages arrive on the first.
struct AckWire {
    wire: Wire,
    inbox: String,
}

impl AckWire {
    /// Opens the connection, if the flags ask for replies to acknowledgements.
    fn open(worker: &Worker<'_>, pull: &Pull) -> Result<Option<Self>, Ended> {
        if !pull.is_double || pull.acks != Acks::Explicit {
            return Ok(None);
        }
        let mut wire = Wire::open(worker.target, worker.share.patience)?;
        let inbox = format!("{}.acks", worker.inbox);
        wire.output.extend_from_slice(format!("SUB {inbox} 1\r\n").as_bytes());
        wire.settle(worker.wait())?;
        Ok(Some(Self { wire, inbox }))
    }

    /// Acknowledges a message of the worker, and waits for the server's reply.
    fn acknowledge(&mut self, worker: &Worker<'_>, place: &Place) -> Result<(), Ended> {
        let (_, subject) = worker.wire.address(place);
        wire::publish(&mut self.wire.output, subject, self.inbox.as_bytes(), b"", ACK);
        self.wire.send(worker.wait())?;
        while matches!(self.wire.next(worker.wait())?, Frame::Pong) {}
        Ok(())
    }
}
