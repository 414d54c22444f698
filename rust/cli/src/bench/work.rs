//! The work of a measurement's client on its thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::measure::{Latencies, Outcome};
use super::message::{Encoder, Messages, Pace};
use super::pull::Pull;
use super::wire::{self, Ended, Frame, Place, Wait, Wire};
use crate::connection::Target;
use crate::error::CliError;

/// Bytes of one write.
const PIECE: usize = 64 << 10;

/// State that the clients of a run share.
#[derive(Default)]
pub(super) struct Shared {
    /// Messages that all clients have processed.
    pub(super) done: AtomicU64,
    /// Set when the run is stopped.
    pub(super) stop: AtomicBool,
}

/// An operation that is measured.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Publish, and at the end wait until the server has processed everything.
    Publish(Messages),
    /// Count the messages on a subject.
    Subscribe(String),
    /// Reply to requests on a subject with a body.
    Serve { subject: String, body: Vec<u8> },
    /// Send requests in batches, and wait for all replies of a batch before the next.
    Exchange { messages: Messages, batch: u64, answer: Answer },
    /// Store atomic batches: the stream takes all messages of a batch or none.
    Atomic { messages: Messages, batch: u64, id: String },
    /// Read messages of a stream one by one, by sequence.
    Get { subject: String, first: u64, last: u64 },
    /// Read batches of messages with direct gets, without a consumer.
    GetBatch { subject: String, filter: String, batch: u64 },
    /// Read messages with a consumer.
    Pull(Pull),
}

/// The reply that a client requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Any,
    /// The acknowledgement of a stream that has stored the message.
    Stored,
    /// A message of a stream.
    Message,
}

/// The share of one client in the work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// The index of its first message among those of all clients.
    pub(super) first: u64,
    pub(super) count: u64,
    /// Messages a second.
    pub(super) rate: Option<f64>,
    pub(super) sleep: Option<Duration>,
    /// Maximum time for one reply.
    pub(super) patience: Duration,
}

/// A client with its connection and its share of the work.
pub(super) struct Worker<'a> {
    pub(super) wire: Wire,
    pub(super) shared: &'a Shared,
    pub(super) share: Share,
    /// The subject on which replies arrive.
    pub(super) inbox: String,
    /// The client's index.
    pub(super) index: usize,
    /// The server, for a second connection.
    pub(super) target: &'a Target,
}

impl Worker<'_> {
    /// Subscribes to what the operation requires, so that the client misses no message published from now on.
    ///
    /// # Errors
    /// The server refuses the subscription.
    pub(super) fn prepare(&mut self, operation: &Operation) -> Result<(), CliError> {
        let subscription = match operation {
            Operation::Publish(_) => return Ok(()),
            Operation::Subscribe(subject) => format!("SUB {subject} 1\r\n"),
            Operation::Serve { subject, .. } => format!("SUB {subject} bench 1\r\n"),
            _ => format!("SUB {} 1\r\n", self.inbox),
        };
        self.wire.output.extend_from_slice(subscription.as_bytes());
        let wait = Wait { stop: &self.shared.stop, patience: Some(self.share.patience) };
        self.wire.settle(wait).map_err(|ended| self.error(ended, 0))
    }

    /// Runs the operation, and returns what the client has done.
    ///
    /// # Errors
    /// The server refuses something, or a reply does not arrive in time.
    pub(super) fn run(mut self, operation: &Operation) -> Result<Outcome, CliError> {
        let began = Instant::now();
        let mut outcome = Outcome { messages: 0, bytes: 0, began, ended: began, latencies: None };
        let result = match operation {
            Operation::Publish(messages) => self.publish(messages, &mut outcome),
            Operation::Subscribe(_) => self.subscribe(&mut outcome),
            Operation::Serve { body, .. } => self.serve(body, &mut outcome),
            Operation::Exchange { messages, batch, answer } => {
                self.exchange(messages, *batch, *answer, &mut outcome)
            }
            Operation::Atomic { messages, batch, id } => self.atomic(messages, *batch, id, &mut outcome),
            Operation::Get { subject, first, last } => self.get(subject, (*first, *last), &mut outcome),
            Operation::GetBatch { subject, filter, batch } => {
                self.get_batch(subject, filter, *batch, &mut outcome)
            }
            Operation::Pull(pull) => self.pull(pull, &mut outcome),
        };
        match result {
            Ok(()) => {
                outcome.ended = Instant::now();
                Ok(outcome)
            }
            // Serving has no end of its own: what was done until Ctrl-C counts.
            Err(Ended::Stopped) if matches!(operation, Operation::Serve { .. }) => Ok(outcome),
            Err(ended) => Err(self.error(ended, outcome.messages)),
        }
    }

    /// Returns the error for the way in which the work ended.
    fn error(&self, ended: Ended, received: u64) -> CliError {
        match ended {
            Ended::Failed(error) => error,
            Ended::Stopped => CliError::Interrupted,
            Ended::Silence => CliError::TooFew { received, expected: self.share.count },
        }
    }

    /// Returns a wait that lasts as long as one reply may take.
    pub(super) fn wait(&self) -> Wait<'_> {
        Wait { stop: &self.shared.stop, patience: Some(self.share.patience) }
    }

    pub(super) fn pace(&self) -> Pace {
        Pace::new(self.share.rate, self.share.sleep)
    }

    /// Adds messages to the outcome and to the shared count.
    pub(super) fn count(&self, outcome: &mut Outcome, messages: u64, bytes: u64) {
        outcome.messages += messages;
        outcome.bytes += bytes;
        self.shared.done.fetch_add(messages, Ordering::Relaxed);
    }

    fn publish(&mut self, messages: &Messages, outcome: &mut Outcome) -> Result<(), Ended> {
        let shared = self.shared;
        let wait = Wait { stop: &shared.stop, patience: None };
        let mut encoder = Encoder::new(messages, self.share.first);
        let mut block = Vec::new();
        encoder.encode(&mut block, 0, b"", |_| {});
        let length = block.len();
        let batch = (PIECE / length).max(1);
        let block = block.repeat(if messages.are_equal() { batch } else { 1 });
        let body = messages.body.len() as u64;
        let mut latencies = Latencies::new();
        let mut pace = self.pace();
        outcome.began = Instant::now();
        while outcome.messages < self.share.count {
            let left = self.share.count - outcome.messages;
            let count = pace.allowed(left.min(batch as u64), &shared.stop);
            if count == 0 {
                return Err(Ended::Stopped);
            }
            let began = Instant::now();
            if messages.are_equal() {
                self.wire.write(&block[..length * count as usize], wait)?;
            } else {
                let first = self.share.first + outcome.messages;
                for n in first..first + count {
                    encoder.encode(&mut self.wire.output, n, b"", |_| {});
                }
                self.wire.send(wait)?;
            }
            latencies.record(began.elapsed());
            self.count(outcome, count, count * body);
            self.wire.look(wait)?;
        }
        outcome.latencies = Some(latencies);
        self.wire.settle(wait)
    }

    fn subscribe(&mut self, outcome: &mut Outcome) -> Result<(), Ended> {
        let shared = self.shared;
        // Publishers may pause for any time.
        let wait = Wait { stop: &shared.stop, patience: None };
        let mut place = self.message(wait)?;
        outcome.began = Instant::now();
        loop {
            let (mut messages, mut bytes) = (1, self.wire.body(&place).len() as u64);
            while outcome.messages + messages < self.share.count {
                match self.wire.scan(wait)? {
                    Some(Frame::Message(next)) => {
                        messages += 1;
                        bytes += self.wire.body(&next).len() as u64;
                    }
                    Some(Frame::Pong) => {}
                    None => break,
                }
            }
            self.count(outcome, messages, bytes);
            if outcome.messages >= self.share.count {
                return Ok(());
            }
            place = self.message(wait)?;
        }
    }

    fn serve(&mut self, body: &[u8], outcome: &mut Outcome) -> Result<(), Ended> {
        let shared = self.shared;
        let wait = Wait { stop: &shared.stop, patience: None };
        let mut is_first = true;
        loop {
            let mut next = Some(self.wire.next(wait)?);
            if is_first {
                outcome.began = Instant::now();
                is_first = false;
            }
            let mut messages = 0;
            while let Some(frame) = next {
                if let Frame::Message(place) = frame {
                    if let Some(sleep) = self.share.sleep {
                        std::thread::sleep(sleep);
                    }
                    self.wire.respond(&place, b"", body);
                    messages += 1;
                }
                next = if self.wire.output.len() < PIECE { self.wire.scan(wait)? } else { None };
            }
            self.wire.send(wait)?;
            self.count(outcome, messages, messages * body.len() as u64);
            outcome.ended = Instant::now();
        }
    }

    /// Waits for the next message.
    pub(super) fn message(&mut self, wait: Wait<'_>) -> Result<Place, Ended> {
        loop {
            if let Frame::Message(place) = self.wire.next(wait)? {
                return Ok(place);
            }
        }
    }

    /// Waits for a reply and checks it; returns the length of its body.
    pub(super) fn answer(&mut self, answer: Answer) -> Result<u64, Ended> {
        let shared = self.shared;
        let wait = Wait { stop: &shared.stop, patience: Some(self.share.patience) };
        let place = self.message(wait)?;
        let body = self.wire.body(&place);
        match (self.wire.status(&place), answer) {
            (Some("503"), _) => Err(CliError::Client(
                "nobody answers: no service listens, or no stream takes the subject".to_owned(),
            )
            .into()),
            (Some(status), Answer::Message) => {
                let text =
                    format!("a message can't be had: the server says {}", crate::output::shown(status));
                Err(CliError::Client(text).into())
            }
            (_, Answer::Stored) if !is_stored(body) => {
                let text = crate::output::shown(&String::from_utf8_lossy(body));
                Err(CliError::Client(format!("a message was not stored: {text}")).into())
            }
            _ => Ok(body.len() as u64),
        }
    }

    fn exchange(
        &mut self,
        messages: &Messages,
        batch: u64,
        answer: Answer,
        outcome: &mut Outcome,
    ) -> Result<(), Ended> {
        let inbox = self.inbox.clone();
        let encode = |encoder: &mut Encoder<'_>, output: &mut Vec<u8>, first: u64, count: u64| {
            for n in first..first + count {
                encoder.encode(output, n, inbox.as_bytes(), |_| {});
            }
        };
        self.in_batches(messages, batch, outcome, encode, |client, count| {
            let mut bytes = 0;
            for _ in 0..count {
                let read = client.answer(answer)?;
                bytes += if answer == Answer::Message { read } else { messages.body.len() as u64 };
            }
            Ok(bytes)
        })
    }

    fn atomic(
        &mut self,
        messages: &Messages,
        batch: u64,
        id: &str,
        outcome: &mut Outcome,
    ) -> Result<(), Ended> {
        let inbox = self.inbox.clone();
        let encode = |encoder: &mut Encoder<'_>, output: &mut Vec<u8>, first: u64, count: u64| {
            for i in 0..count {
                let is_last = i + 1 == count;
                let reply: &[u8] = if is_last { inbox.as_bytes() } else { b"" };
                encoder.encode(output, first + i, reply, |headers| {
                    headers.extend_from_slice(b"Nats-Batch-Id: ");
                    headers.extend_from_slice(id.as_bytes());
                    wire::number(headers, first);
                    headers.extend_from_slice(b"\r\nNats-Batch-Sequence: ");
                    wire::number(headers, i + 1);
                    headers.extend_from_slice(if is_last {
                        b"\r\nNats-Batch-Commit: 1\r\n"
                    } else {
                        b"\r\n"
                    });
                });
            }
        };
        self.in_batches(messages, batch, outcome, encode, |client, count| {
            client.answer(Answer::Stored)?;
            Ok(count * messages.body.len() as u64)
        })
    }

    /// Sends batches at the client's pace, and waits for the replies to each. `encode` writes a batch, given its first message
    /// and its size. `finish` reads the replies, and returns the number of bytes to count.
    fn in_batches(
        &mut self,
        messages: &Messages,
        batch: u64,
        outcome: &mut Outcome,
        mut encode: impl FnMut(&mut Encoder<'_>, &mut Vec<u8>, u64, u64),
        mut finish: impl FnMut(&mut Self, u64) -> Result<u64, Ended>,
    ) -> Result<(), Ended> {
        let shared = self.shared;
        let mut encoder = Encoder::new(messages, self.share.first);
        let mut latencies = Latencies::new();
        let mut pace = self.pace();
        outcome.began = Instant::now();
        while outcome.messages < self.share.count {
            let left = self.share.count - outcome.messages;
            let count = pace.allowed(left.min(batch), &shared.stop);
            if count == 0 {
                return Err(Ended::Stopped);
            }
            encode(&mut encoder, &mut self.wire.output, self.share.first + outcome.messages, count);
            let began = Instant::now();
            self.wire.send(Wait { stop: &shared.stop, patience: None })?;
            let bytes = finish(self, count)?;
            latencies.record(began.elapsed());
            self.count(outcome, count, bytes);
        }
        outcome.latencies = Some(latencies);
        Ok(())
    }
}

/// Whether a reply says that the stream has stored the message.
fn is_stored(body: &[u8]) -> bool {
    body.starts_with(b"{")
        && !body.starts_with(b"{\"error\"")
        && memchr::memmem::find(body, b"\"seq\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_stores() {
        assert!(is_stored(br#"{"stream":"A","seq":1}"#));
        assert!(!is_stored(br#"{"error":{"code":400},"stream":"A","seq":0}"#));
        assert!(!is_stored(b"a service's answer"));
        assert!(!is_stored(b""));
    }
}
