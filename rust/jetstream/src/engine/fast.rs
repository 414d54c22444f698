//! Fast ingest: publishers that send ahead and get one reply for many messages (ADR-50).
//!
//! The reply subject contains the operation: `<prefix>.<id>.<flow>.<ok|fail>.<sequence>.<operation>.$FI`. Replies wait for the
//! log as those to single messages do, so a flow acknowledgement means that the messages up to its sequence are durable.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;

use super::{Engine, Outgoing, Stored, push_number};
use crate::error::{self, ApiError};
use crate::ids::StreamId;
use crate::stream::{Publish, headers};

/// The end of a fast-ingest reply subject.
pub(super) const SUFFIX: &[u8] = b".$FI";
const ID_LEN_MAX: usize = 64;
/// Limits for fast-ingest batches: of a stream, and of all streams.
const OF_STREAM_MAX: usize = 1000;
const OF_SERVER_MAX: usize = 50_000;
/// Nanoseconds without a message after which a batch is removed.
const IDLE: i64 = 10_000_000_000;
/// The most messages for one flow acknowledgement, shared by all batches of a stream.
const FLOW_MAX: u16 = 500;

/// The operation of a message in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Start,
    Append,
    /// The last message.
    Commit,
    /// Ends the batch, without being a message itself.
    End,
    /// Requests the current flow state.
    Ping,
}

/// A decoded reply subject.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step<'a> {
    id: &'a [u8],
    flow: u16,
    gaps_are_fine: bool,
    sequence: u64,
    operation: Operation,
}

impl<'a> Step<'a> {
    fn parse(reply: &'a [u8]) -> Option<Self> {
        let mut tokens = reply.strip_suffix(SUFFIX)?.rsplit(|b| *b == b'.');
        let operation = match number(tokens.next()?)? {
            0 => Operation::Start,
            1 => Operation::Append,
            2 => Operation::Commit,
            3 => Operation::End,
            4 => Operation::Ping,
            _ => return None,
        };
        let sequence = number(tokens.next()?).filter(|n| *n > 0 && *n < u64::MAX)?;
        let is_possible = match operation {
            Operation::Start => sequence == 1,
            Operation::Append | Operation::End => sequence > 1,
            Operation::Commit | Operation::Ping => true,
        };
        let gaps_are_fine = match tokens.next()? {
            b"ok" => true,
            b"fail" => false,
            _ => return None,
        };
        let flow = match number(tokens.next()?) {
            Some(0) | None => 10,
            Some(flow) => u16::try_from(flow).unwrap_or(u16::MAX),
        };
        let id = tokens.next()?;
        // A prefix is required.
        tokens.next()?;
        is_possible.then_some(Self { id, flow, gaps_are_fine, sequence, operation })
    }
}

/// Parses digits; a number that is too large becomes the largest one.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(text).ok()?.parse().unwrap_or(u64::MAX))
}

/// A batch of a publisher that sends ahead.
#[derive(Debug)]
pub(super) struct FastBatch {
    /// The last batch sequence that was received.
    last: u64,
    /// The last batch sequence that was acknowledged.
    answered: u64,
    /// The stream sequence of the last stored message.
    stored: u64,
    /// The number of messages for one flow acknowledgement: the current number and the most.
    flow: u16,
    flow_max: u16,
    gaps_are_fine: bool,
    /// When the batch is removed, unless another message arrives.
    until: i64,
}

impl FastBatch {
    /// Returns the next flow acknowledgement, if it is due. `publishers` is the number of batches of the stream.
    fn flow_answer(&mut self, publishers: usize) -> Option<Value> {
        let flow = u64::from(self.flow.max(1));
        let steps = (self.last - self.answered) / flow;
        if steps == 0 {
            return None;
        }
        self.answered += steps * flow;
        let share = u16::try_from(usize::from(FLOW_MAX) / publishers.max(1)).unwrap_or(FLOW_MAX);
        let goal = share.max(1).min(self.flow_max);
        self.flow = match self.flow.cmp(&goal) {
            std::cmp::Ordering::Less => self.flow.saturating_mul(2).min(goal),
            std::cmp::Ordering::Greater => (self.flow / 2).max(goal),
            std::cmp::Ordering::Equal => goal,
        };
        Some(self.flow_state())
    }

    fn flow_state(&self) -> Value {
        json!({"type": "ack", "seq": self.answered, "msgs": self.flow})
    }
}

/// The reply to a message.
enum Answer {
    Nothing,
    /// The flow state of the batch.
    Flow(Value),
    /// The end of the batch.
    Done {
        sequence: u64,
        count: u64,
        is_duplicate: bool,
    },
    /// The message is refused as a message without a batch is.
    Refused(ApiError),
}

impl<D: Disk> Engine<D> {
    /// Processes a message of a fast-ingest batch.
    pub(super) fn publish_fast(&mut self, stream_id: StreamId, reply: &[u8], message: &Publish<'_>) {
        let step = Step::parse(reply);
        let mut notes = Vec::new();
        let answer = match self.check_fast(stream_id, step, message) {
            Ok(step) => {
                let answer = self.step(stream_id, &step, message, &mut notes);
                if matches!(answer, Answer::Done { .. } | Answer::Refused(_))
                    && let Some(stream) = self.streams.get_mut(&stream_id)
                {
                    stream.fast.remove(step.id);
                }
                answer
            }
            Err(e) => Answer::Refused(e),
        };
        for note in notes {
            // While the log can't be written, refusals leave at once.
            let waits = self.refuses.is_none() || note["type"] != "err";
            self.answer_fast(stream_id, reply, note.to_string().as_bytes(), waits);
        }
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let config = stream.core.config();
        match answer {
            Answer::Nothing => {}
            Answer::Flow(state) => self.answer_fast(stream_id, reply, state.to_string().as_bytes(), true),
            Answer::Refused(_) if config.no_ack => {}
            Answer::Refused(e) => {
                let error = crate::api::error_json(&e);
                let body = json!({"error": error, "stream": config.name, "seq": 0});
                let waits = self.refuses.is_none();
                self.answer_fast(stream_id, reply, body.to_string().as_bytes(), waits);
            }
            Answer::Done { sequence, count, is_duplicate } => {
                let mut ack = stream.ack_head.clone();
                push_number(&mut ack, sequence);
                ack.extend_from_slice(&stream.ack_tail);
                if is_duplicate {
                    ack.extend_from_slice(b",\"duplicate\":true");
                }
                let id = Step::parse(reply).map(|step| String::from_utf8_lossy(step.id).into_owned());
                let more = format!(",\"batch\":{},\"count\":{count}}}", Value::from(id));
                ack.extend_from_slice(more.as_bytes());
                self.answer_fast(stream_id, reply, &ack, true);
            }
        }
    }

    /// Sends a reply. With `waits` it keeps the order of the log: it leaves once earlier changes are durable, and no later reply
    /// overtakes it.
    fn answer_fast(&mut self, stream_id: StreamId, reply: &[u8], payload: &[u8], waits: bool) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let (account, waits) = (stream.account, waits && stream.is_logged());
        self.outbox.push(waits, &Outgoing { account, subject: reply, payload, ..Outgoing::default() });
    }

    fn check_fast<'a>(
        &mut self,
        stream_id: StreamId,
        step: Option<Step<'a>>,
        message: &Publish<'_>,
    ) -> Result<Step<'a>, ApiError> {
        let Some(stream) = self.streams.get(&stream_id) else { return Err(error::STREAM_NOT_FOUND.error()) };
        let config = stream.core.config();
        if config.sealed {
            return Err(error::STREAM_SEALED.error());
        }
        let len = message.headers.len() + message.payload.len();
        self.check_resources(stream_id, message.subject.len() + len)?;
        if config.max_msg_size > 0 && len > config.max_msg_size as usize {
            return Err(error::STREAM_MESSAGE_EXCEEDS_MAXIMUM.error());
        }
        if !config.allow_batched {
            return Err(error::BATCH_PUBLISH_DISABLED.error());
        }
        let step = step.ok_or_else(|| error::BATCH_PUBLISH_INVALID_PATTERN.error())?;
        if step.id.len() > ID_LEN_MAX {
            return Err(error::BATCH_PUBLISH_INVALID_BATCH_ID.error());
        }
        let now = self.now;
        let Some(stream) = self.streams.get_mut(&stream_id) else {
            return Err(error::STREAM_NOT_FOUND.error());
        };
        if stream.fast.get(step.id).is_none_or(|batch| batch.until <= now) {
            // A ping does not begin a batch.
            if step.sequence != 1 || step.operation == Operation::Ping {
                return Err(error::BATCH_PUBLISH_UNKNOWN_BATCH_ID.error());
            }
            stream.fast.retain(|_, batch| batch.until > now);
            let of_stream = stream.fast.len();
            let of_server: usize = self.streams.values().map(|stream| stream.fast.len()).sum();
            if of_stream >= OF_STREAM_MAX || of_server >= OF_SERVER_MAX {
                return Err(error::BATCH_PUBLISH_TOO_MANY_INFLIGHT.error());
            }
            // The only batch of a stream gets the flow that it requests; further batches begin with 1.
            let flow = if of_stream > 0 { 1 } else { step.flow.min(FLOW_MAX) };
            let batch = FastBatch {
                last: 0,
                answered: 0,
                stored: 0,
                flow,
                flow_max: step.flow,
                gaps_are_fine: step.gaps_are_fine,
                until: i64::MAX,
            };
            self.fast_sweep.get_or_insert(now + IDLE);
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                stream.fast.insert(step.id.into(), batch);
            }
        }
        Ok(step)
    }

    /// Processes one message of an existing batch. The `notes` are sent before the returned answer.
    fn step(
        &mut self,
        stream_id: StreamId,
        step: &Step<'_>,
        message: &Publish<'_>,
        notes: &mut Vec<Value>,
    ) -> Answer {
        let now = self.now;
        if !crate::api::is_level_met(message.headers) {
            return Answer::Refused(error::REQUIRED_API_LEVEL.error());
        }
        let Some(stream) = self.streams.get_mut(&stream_id) else { return Answer::Nothing };
        let publishers = stream.fast.len();
        let Some(batch) = stream.fast.get_mut(step.id) else { return Answer::Nothing };
        batch.until = now.saturating_add(IDLE);
        let over = |batch: &FastBatch| Answer::Done {
            sequence: batch.stored,
            count: batch.last,
            is_duplicate: false,
        };
        if step.operation == Operation::Ping {
            if step.sequence > batch.last {
                notes.push(gap(batch.last + 1, step.sequence + 1));
                if !batch.gaps_are_fine {
                    return over(batch);
                }
                batch.last = step.sequence;
                if let Some(answer) = batch.flow_answer(publishers) {
                    return Answer::Flow(answer);
                }
            }
            return Answer::Flow(batch.flow_state());
        }
        if step.sequence != batch.last + 1 {
            let is_ahead = step.sequence > batch.last + 1;
            notes.push(gap(batch.last + 1, step.sequence));
            if !is_ahead || !batch.gaps_are_fine {
                return over(batch);
            }
        }
        if step.operation == Operation::End {
            batch.last = step.sequence - 1;
            return over(batch);
        }
        batch.last = step.sequence;
        let is_commit = step.operation == Operation::Commit;
        if step.sequence == 1 && !is_commit {
            notes.push(json!({"type": "ack", "seq": 0, "msgs": batch.flow}));
        }
        let is_first = batch.last == 1;
        let result = match headers::value(headers::looked_at(message.headers), b"Nats-Required-Api-Level") {
            None => self.ingest(stream_id, message),
            Some(_) => {
                let headers = headers::without(message.headers, |name| name == b"Nats-Required-Api-Level");
                self.ingest(stream_id, &Publish { headers: &headers, ..*message })
            }
        };
        let Some(stream) = self.streams.get_mut(&stream_id) else { return Answer::Nothing };
        let Some(batch) = stream.fast.get_mut(step.id) else { return Answer::Nothing };
        match result {
            Ok(Stored::At { sequence, more }) => {
                let is_duplicate = more.contains("\"duplicate\"");
                if !is_duplicate {
                    batch.stored = sequence;
                }
                // A last message that is a duplicate gets a flow acknowledgement for the batch, and the reply for a last message
                // too.
                if is_commit && is_duplicate {
                    notes.extend(batch.flow_answer(publishers));
                }
                if is_commit && is_duplicate && is_first && !step.gaps_are_fine {
                    return Answer::Done { sequence, count: 1, is_duplicate };
                }
            }
            Ok(Stored::Staged | Stored::Search(_)) => {}
            Err(e) if is_first && !step.gaps_are_fine => return Answer::Refused(e),
            Err(e) => {
                let error = crate::api::error_json(&e);
                notes.push(json!({"type": "err", "seq": step.sequence, "error": error}));
                if is_commit || !step.gaps_are_fine {
                    batch.last -= 1;
                    return over(batch);
                }
                return Answer::Nothing;
            }
        }
        if is_commit {
            return over(batch);
        }
        batch.flow_answer(publishers).map_or(Answer::Nothing, Answer::Flow)
    }

    /// When idle batches are removed next.
    pub(super) fn next_fast_end(&self) -> Option<i64> {
        self.fast_sweep
    }

    /// Removes idle batches.
    pub(super) fn end_fast_batches(&mut self) {
        let now = self.now;
        if self.fast_sweep.is_none_or(|sweep| sweep > now) {
            return;
        }
        let mut is_any = false;
        for stream in self.streams.values_mut() {
            stream.fast.retain(|_, batch| batch.until > now);
            is_any |= !stream.fast.is_empty();
        }
        self.fast_sweep = is_any.then_some(now + IDLE);
    }
}

fn gap(expected: u64, found: u64) -> Value {
    json!({"type": "gap", "last_seq": expected, "seq": found})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_subjects() {
        let step = |text: &str| {
            Step::parse(text.as_bytes())
                .map(|s| (s.id.to_vec(), s.flow, s.gaps_are_fine, s.sequence, s.operation))
        };
        assert_eq!(
            step("_INBOX.x.id.100.ok.1.0.$FI"),
            Some((b"id".to_vec(), 100, true, 1, Operation::Start))
        );
        assert_eq!(step("x.id.0.fail.7.1.$FI"), Some((b"id".to_vec(), 10, false, 7, Operation::Append)));
        assert_eq!(
            step("x.id.99999999.fail.7.4.$FI"),
            Some((b"id".to_vec(), u16::MAX, false, 7, Operation::Ping))
        );
        for bad in [
            ".$FI",
            "x.$FI",
            "x.id.1.ok.1.5.$FI",
            "x.id.1.ok.2.0.$FI",
            "x.id.1.ok.1.1.$FI",
            "x.id.1.ok.1.3.$FI",
            "x.id.1.maybe.1.0.$FI",
            "x.id.1.ok.0.2.$FI",
            "x.id.1.ok.18446744073709551615.2.$FI",
            "x.id.1.ok.a.2.$FI",
            "id.1.ok.1.0.$FI",
        ] {
            assert_eq!(step(bad), None, "{bad}");
        }
    }
}
