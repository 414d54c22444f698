//! The delivery state of a consumer, which survives a restart.
//!
//! [`ConsumerState::apply`] carries out every change, live and when the log is read again. Only [`ConsumerState::reconcile`]
//! changes the state otherwise, after a stream has lost messages.

use std::collections::BTreeMap;

use stonechat_store::file::varint;

/// A position among the consumer's deliveries and in the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Number of the delivery, counted from 1.
    pub consumer: u64,
    /// The sequence in the stream.
    pub stream: u64,
}

/// A message that was delivered and not acknowledged. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Its first delivery's number.
    pub consumer: u64,
    /// When it was last delivered.
    pub since: i64,
    /// When it is delivered again.
    pub due: i64,
    /// How often it was delivered.
    pub count: u64,
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A message was delivered and waits for its acknowledgement.
    Delivered {
        /// Its sequence in the stream.
        stream: u64,
        /// The delivery's number.
        consumer: u64,
        /// When it was delivered.
        since: i64,
        /// When it is delivered again.
        due: i64,
        /// How often it was delivered now.
        count: u64,
    },
    /// All messages up to here were delivered and need no acknowledgement.
    Passed(Position),
    /// A message was acknowledged.
    Acked(u64),
    /// All messages up to here were acknowledged.
    AckedTo(Position),
    /// A message gets another time for its next delivery.
    Due {
        /// Its sequence in the stream.
        stream: u64,
        /// The time.
        due: i64,
    },
    /// A message reached its maximum number of deliveries.
    Exhausted(u64),
    /// Messages below this sequence were purged.
    Purged(u64),
    /// Delivery begins anew at this sequence.
    Reset(u64),
}

/// The state of a consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerState {
    /// The last delivery.
    pub delivered: Position,
    /// All messages up to here are done.
    pub floor: Position,
    /// Messages that wait for acknowledgement, by sequence in the stream.
    pub pending: BTreeMap<u64, Pending>,
    /// Messages that reached their maximum number of deliveries, with that number.
    pub exhausted: BTreeMap<u64, u64>,
    /// How many of `pending` were delivered more than once.
    redelivered: u64,
}

impl ConsumerState {
    /// The state of a new consumer whose first message has the sequence `start` or a higher one.
    pub fn starting_at(start: u64) -> Self {
        let before = Position { consumer: 0, stream: start.saturating_sub(1) };
        Self { delivered: before, floor: before, ..Self::default() }
    }

    /// Number of messages that were delivered more than once and are not done.
    pub fn redelivered(&self) -> u64 {
        self.redelivered + self.exhausted.len() as u64
    }

    /// Whether the state names messages of the stream, so that their removal changes it.
    pub fn holds_messages(&self) -> bool {
        !self.pending.is_empty() || !self.exhausted.is_empty()
    }

    fn take(&mut self, stream: u64) -> Option<Pending> {
        let pending = self.pending.remove(&stream)?;
        self.redelivered -= u64::from(pending.count > 1);
        Some(pending)
    }

    /// Applies a change. Returns whether the state changed.
    pub fn apply(&mut self, change: &Change) -> bool {
        match *change {
            Change::Delivered { stream, consumer, since, due, count } => {
                let first = self.take(stream).map_or(consumer, |pending| pending.consumer);
                self.pending.insert(stream, Pending { consumer: first, since, due, count });
                self.redelivered += u64::from(count > 1);
                self.delivered.consumer = self.delivered.consumer.max(consumer);
                self.delivered.stream = self.delivered.stream.max(stream);
            }
            Change::Passed(position) => {
                self.delivered = position;
                self.floor = position;
            }
            Change::Acked(stream) => {
                let was_exhausted = self.exhausted.remove(&stream).is_some();
                let Some(pending) = self.take(stream) else { return was_exhausted };
                self.move_floor(pending.consumer, stream);
            }
            Change::AckedTo(position) => {
                // Only the stream sequence counts: a redelivered message has a higher delivery number than the messages behind
                // it.
                if position.stream <= self.floor.stream {
                    return false;
                }
                self.floor = Position { consumer: self.floor.consumer.max(position.consumer), ..position };
                self.forget_below(position.stream.saturating_add(1));
            }
            Change::Due { stream, due } => match self.pending.get_mut(&stream) {
                Some(pending) => pending.due = due,
                None => return false,
            },
            Change::Exhausted(stream) => {
                let Some(pending) = self.take(stream) else { return false };
                self.exhausted.insert(stream, pending.count);
            }
            Change::Purged(first) => self.purge(first),
            Change::Reset(start) => *self = Self::starting_at(start),
        }
        true
    }

    fn move_floor(&mut self, consumer: u64, stream: u64) {
        if self.pending.is_empty() {
            self.floor = self.delivered;
        } else if consumer == self.floor.consumer.saturating_add(1)
            // `AckedTo` for a redelivered message leaves a high delivery number in the floor, so check for messages that are
            // pending below.
            && self.pending.range(..stream).next().is_none()
        {
            self.floor = Position { consumer, stream };
            if let Some((next, pending)) = self.pending.range(stream.saturating_add(1)..).next()
                && pending.consumer > 0
            {
                self.floor = Position { consumer: pending.consumer - 1, stream: next - 1 };
            }
        }
    }

    fn forget_below(&mut self, stream: u64) {
        let kept = self.pending.split_off(&stream);
        let gone = std::mem::replace(&mut self.pending, kept);
        self.redelivered -= gone.values().filter(|pending| pending.count > 1).count() as u64;
        self.exhausted = self.exhausted.split_off(&stream);
    }

    fn purge(&mut self, first: u64) {
        let last = self.pending.range(..first).next_back().map(|(_, pending)| pending.consumer);
        self.forget_below(first);
        if self.floor.stream.saturating_add(1) < first {
            self.floor.stream = first - 1;
            self.floor.consumer = self.floor.consumer.max(last.unwrap_or(0));
        }
        self.delivered.stream = self.delivered.stream.max(first.saturating_sub(1));
        if self.pending.is_empty() {
            self.floor = self.delivered;
        }
    }

    /// Whether a message is still needed. `all`: an acknowledgement covers all messages before it, or none is needed.
    pub fn needs(&self, stream: u64, cursor: u64, all: bool) -> bool {
        let open =
            stream > self.floor.stream && (all || stream >= cursor || self.pending.contains_key(&stream));
        open || self.exhausted.contains_key(&stream)
    }

    /// Drops state of messages behind `last`, which the stream lost. A consumer that has delivered nothing may start behind the
    /// end.
    pub fn reconcile(&mut self, last: u64) {
        if self.delivered.stream <= last || self.delivered.consumer == 0 {
            return;
        }
        let gone = self.pending.split_off(&(last + 1));
        self.redelivered -= gone.values().filter(|pending| pending.count > 1).count() as u64;
        drop(self.exhausted.split_off(&(last + 1)));
        self.delivered.stream = last;
        self.floor.stream = self.floor.stream.min(last);
    }

    /// Appends the encoded state to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for position in [self.delivered, self.floor] {
            varint::put(out, position.consumer);
            varint::put(out, position.stream);
        }
        varint::put(out, self.pending.len() as u64);
        for (stream, pending) in &self.pending {
            for number in [*stream, pending.consumer, pending.since as u64, pending.due as u64, pending.count]
            {
                varint::put(out, number);
            }
        }
        varint::put(out, self.exhausted.len() as u64);
        for (stream, count) in &self.exhausted {
            varint::put(out, *stream);
            varint::put(out, *count);
        }
    }

    /// Decodes a state that [`ConsumerState::encode`] wrote.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut next = || varint::take(bytes);
        let mut state = Self {
            delivered: Position { consumer: next()?, stream: next()? },
            floor: Position { consumer: next()?, stream: next()? },
            ..Self::default()
        };
        for _ in 0..next()? {
            let stream = next()?;
            let (consumer, since, due, count) = (next()?, next()? as i64, next()? as i64, next()?);
            state.redelivered += u64::from(count > 1);
            state.pending.insert(stream, Pending { consumer, since, due, count });
        }
        for _ in 0..next()? {
            let (stream, count) = (next()?, next()?);
            state.exhausted.insert(stream, count);
        }
        Some(state)
    }
}

const DELIVERED: u8 = 1;
const PASSED: u8 = 2;
const ACKED: u8 = 3;
const ACKED_TO: u8 = 4;
const DUE: u8 = 5;
const EXHAUSTED: u8 = 6;
const PURGED: u8 = 7;
const RESET: u8 = 8;

impl Change {
    /// Appends the encoded change to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut put = |kind: u8, numbers: &[u64]| {
            out.push(kind);
            numbers.iter().for_each(|number| varint::put(out, *number));
        };
        match *self {
            Self::Delivered { stream, consumer, since, due, count } => {
                put(DELIVERED, &[stream, consumer, since as u64, due.wrapping_sub(since) as u64, count]);
            }
            Self::Passed(p) => put(PASSED, &[p.consumer, p.stream]),
            Self::Acked(stream) => put(ACKED, &[stream]),
            Self::AckedTo(p) => put(ACKED_TO, &[p.consumer, p.stream]),
            Self::Due { stream, due } => put(DUE, &[stream, due as u64]),
            Self::Exhausted(stream) => put(EXHAUSTED, &[stream]),
            Self::Purged(first) => put(PURGED, &[first]),
            Self::Reset(start) => put(RESET, &[start]),
        }
    }

    /// Decodes a change that [`Change::encode`] wrote.
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        *bytes = rest;
        let mut next = || varint::take(bytes);
        Some(match *kind {
            DELIVERED => {
                let (stream, consumer, since, wait, count) =
                    (next()?, next()?, next()? as i64, next()? as i64, next()?);
                Self::Delivered { stream, consumer, since, due: since.wrapping_add(wait), count }
            }
            PASSED => Self::Passed(Position { consumer: next()?, stream: next()? }),
            ACKED => Self::Acked(next()?),
            ACKED_TO => Self::AckedTo(Position { consumer: next()?, stream: next()? }),
            DUE => Self::Due { stream: next()?, due: next()? as i64 },
            EXHAUSTED => Self::Exhausted(next()?),
            PURGED => Self::Purged(next()?),
            RESET => Self::Reset(next()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delivered(stream: u64, consumer: u64, count: u64) -> Change {
        Change::Delivered { stream, consumer, since: 10, due: 20, count }
    }

    #[test]
    fn the_floor_follows_what_is_done_in_a_row() {
        let mut state = ConsumerState::starting_at(1);
        for i in 1..=4 {
            state.apply(&delivered(i * 10, i, 1));
        }
        state.apply(&Change::Acked(20));
        assert_eq!(state.floor, Position { consumer: 0, stream: 0 });
        state.apply(&Change::Acked(10));
        assert_eq!(state.floor, Position { consumer: 2, stream: 29 });
        state.apply(&Change::Acked(30));
        state.apply(&Change::Acked(40));
        assert_eq!(state.floor, Position { consumer: 4, stream: 40 });
        assert!(!state.apply(&Change::Acked(40)));
    }

    #[test]
    fn the_floor_does_not_pass_what_is_open() {
        let mut state = ConsumerState::starting_at(1);
        for i in 1..=5 {
            state.apply(&delivered(i * 10, i, 1));
        }
        // The first message is redelivered, as the sixth delivery, and is acknowledged with all before it.
        state.apply(&delivered(10, 6, 2));
        state.apply(&delivered(60, 7, 1));
        state.apply(&Change::AckedTo(Position { consumer: 6, stream: 10 }));
        state.apply(&Change::Acked(60));
        assert!(state.floor.stream < 20, "{state:?}");
        assert!(state.needs(20, 70, true));
    }

    #[test]
    fn a_message_that_is_exhausted_stays_needed() {
        let mut state = ConsumerState::starting_at(1);
        state.apply(&delivered(1, 1, 2));
        state.apply(&Change::Exhausted(1));
        assert_eq!((state.pending.len(), state.redelivered()), (0, 1));
        assert!(state.needs(1, 2, false));
        state.apply(&Change::Acked(1));
        assert!(!state.needs(1, 2, false));
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            (1..50u64, 1..90u64, 1..4u64).prop_map(|(s, c, n)| delivered(s, c, n)),
            (1..50u64).prop_map(Change::Acked),
            (1..50u64, 1..90u64)
                .prop_map(|(stream, consumer)| Change::AckedTo(Position { consumer, stream })),
            (1..50u64, any::<i64>()).prop_map(|(stream, due)| Change::Due { stream, due }),
            (1..50u64).prop_map(Change::Exhausted),
            (1..60u64).prop_map(Change::Purged),
            (1..60u64).prop_map(Change::Reset),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(changes in prop::collection::vec(change(), 0..60)) {
            let mut state = ConsumerState::starting_at(1);
            let mut journal = Vec::new();
            for change in &changes {
                state.apply(change);
                change.encode(&mut journal);
            }
            let mut again = ConsumerState::starting_at(1);
            let mut rest = &journal[..];
            while let Some(change) = Change::decode(&mut rest) {
                again.apply(&change);
            }
            prop_assert_eq!(&again, &state);
            let mut bytes = Vec::new();
            state.encode(&mut bytes);
            prop_assert_eq!(ConsumerState::decode(&mut &bytes[..]), Some(state.clone()));
            let twice = state.pending.values().filter(|p| p.count > 1).count() as u64;
            prop_assert_eq!(state.redelivered(), twice + state.exhausted.len() as u64);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ConsumerState::decode(&mut &bytes[..]);
            let mut rest = &bytes[..];
            let mut state = ConsumerState::starting_at(1);
            while let Some(change) = Change::decode(&mut rest) {
                state.apply(&change);
            }
        }
    }
}
