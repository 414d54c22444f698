//! A consumer in a backup: `{"config": {...}, "state": {...}}`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::consumer::{Change, ConsumerConfig, ConsumerRequest, ConsumerState, Position};

/// Encodes a consumer for a backup whose last message is `last`. State of later messages is left out.
pub fn encode(config: &ConsumerConfig, state: &ConsumerState, last: u64) -> Value {
    let position = |p: Position| json!({"consumer_seq": p.consumer, "stream_seq": p.stream.min(last)});
    let (mut pending, mut redelivered) = (Map::new(), Map::new());
    for (sequence, p) in state.pending.range(..=last) {
        pending.insert(sequence.to_string(), json!({"Sequence": p.consumer, "Timestamp": p.since}));
        if p.count > 1 {
            redelivered.insert(sequence.to_string(), (p.count - 1).into());
        }
    }
    for (sequence, count) in state.exhausted.range(..=last) {
        redelivered.insert(sequence.to_string(), count.saturating_sub(1).max(1).into());
    }
    let mut fields = json!({"delivered": position(state.delivered), "ack_floor": position(state.floor)});
    for (name, map) in [("pending", pending), ("redelivered", redelivered)] {
        if !map.is_empty() {
            fields[name] = map.into();
        }
    }
    json!({"config": config, "state": fields})
}

/// A consumer of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedConsumer {
    /// Its configuration.
    pub config: ConsumerConfig,
    /// The changes that lead to its state. Pending messages are due at the time of their delivery.
    pub changes: Vec<Change>,
}

/// A consumer's state, as a backup has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SavedState {
    pub(super) floor: Position,
    pub(super) delivered: Position,
    /// Pending messages, by sequence in the stream: number and time of the delivery.
    pub(super) pending: BTreeMap<u64, (u64, i64)>,
    /// Number of redeliveries, by sequence in the stream.
    pub(super) redelivered: BTreeMap<u64, u64>,
}

impl SavedState {
    /// Returns the changes that lead to this state.
    pub(super) fn changes(&self) -> Vec<Change> {
        let (floor, delivered) = (self.floor, self.delivered);
        let mut changes = vec![Change::Passed(floor)];
        let pending = self.pending.iter().filter(|(s, _)| **s > floor.stream && **s <= delivered.stream);
        for (stream, (consumer, since)) in pending {
            let count = self.redelivered.get(stream).copied().unwrap_or(0).saturating_add(1);
            changes.push(Change::Delivered {
                stream: *stream,
                consumer: *consumer,
                since: *since,
                due: *since,
                count,
            });
        }
        if delivered.stream > floor.stream && !self.pending.contains_key(&delivered.stream) {
            let Position { consumer, stream } = delivered;
            changes.push(Change::Delivered { stream, consumer, since: 0, due: 0, count: 1 });
            changes.push(Change::Acked(stream));
        }
        changes
    }
}

/// Decodes a consumer of a backup; `None` if it is not valid.
pub fn decode(json: &[u8]) -> Option<SavedConsumer> {
    let config = ConsumerRequest::decode(json, false).ok()?.config;
    let value: Value = serde_json::from_slice(json).ok()?;
    let state = value.get("state")?;
    let position = |name: &str| {
        let at = state.get(name);
        let number = |field: &str| at.and_then(|at| at.get(field)?.as_u64()).unwrap_or(0);
        Position { consumer: number("consumer_seq"), stream: number("stream_seq") }
    };
    let fields = |name: &str| state.get(name).and_then(Value::as_object).into_iter().flatten();
    let mut saved = SavedState {
        floor: position("ack_floor"),
        delivered: position("delivered"),
        ..SavedState::default()
    };
    for (stream, p) in fields("pending") {
        let at = (p.get("Sequence")?.as_u64()?, p.get("Timestamp")?.as_i64()?);
        saved.pending.insert(stream.parse().ok()?, at);
    }
    for (stream, count) in fields("redelivered") {
        saved.redelivered.insert(stream.parse().ok()?, count.as_u64()?);
    }
    Some(SavedConsumer { config, changes: saved.changes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back() {
        let mut state = ConsumerState::starting_at(3);
        let delivered =
            |stream, consumer, count| Change::Delivered { stream, consumer, since: 7, due: 7, count };
        for change in [
            delivered(3, 1, 1),
            delivered(4, 2, 1),
            delivered(6, 3, 1),
            delivered(9, 4, 1),
            delivered(4, 5, 2),
            Change::Acked(3),
            Change::Acked(9),
        ] {
            state.apply(&change);
        }
        let json = encode(&ConsumerConfig::default(), &state, 100).to_string();
        let saved = decode(json.as_bytes()).expect("a consumer");
        let mut read = ConsumerState::starting_at(1);
        saved.changes.iter().for_each(|change| {
            read.apply(change);
        });
        assert_eq!(read.pending, state.pending);
        assert_eq!((read.floor, read.delivered), (state.floor, state.delivered));
        assert_eq!(read.redelivered(), 1);
    }

    #[test]
    fn what_is_beyond_the_backup_is_left_out() {
        let mut state = ConsumerState::starting_at(1);
        for n in 1..=5 {
            state.apply(&Change::Delivered { stream: n, consumer: n, since: 1, due: 1, count: 1 });
        }
        let value = encode(&ConsumerConfig::default(), &state, 3);
        assert_eq!(value["state"]["delivered"]["stream_seq"], 3);
        assert_eq!(value["state"]["pending"].as_object().map(Map::len), Some(3));
        assert_eq!(decode(b"{}"), None);
        assert_eq!(decode(b"{\"config\":{},\"state\":{\"pending\":{\"x\":{}}}}"), None);
    }
}
