//! Advisories, metrics and descriptions of consumers.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;

use super::Engine;
use crate::api::{Answer, fields};
use crate::consumer::AckSubject;
use crate::ids::ConsumerId;
use crate::time::rfc3339;

impl<D: Disk> Engine<D> {
    /// Removes the pin of a priority group's client, and publishes the advisory about it.
    pub(crate) fn unpin(&mut self, id: ConsumerId, reason: &str) {
        let Some(c) = self.consumers.get_mut(&id) else { return };
        let group = c.pin.as_ref().map_or(String::new(), |pin| pin.group.clone());
        let group = if group.is_empty() {
            c.config().priority_groups.first().cloned().unwrap_or_default()
        } else {
            group
        };
        if let Some(pin) = &mut c.pin {
            pin.id.clear();
        }
        let account = self.account_label(id);
        let body = json!({"account": account, "group": group, "reason": reason});
        self.advise_consumer(
            id,
            "ADVISORY.CONSUMER.UNPINNED",
            "advisory.v1.consumer_group_unpinned",
            fields(body),
        );
        self.wake(id);
    }

    fn account_label(&self, id: ConsumerId) -> String {
        let stream = self.consumers.get(&id).and_then(|c| self.streams.get(&c.stream));
        let account = stream.and_then(|stream| self.accounts.get(stream.account.index()));
        account.map_or(String::new(), |account| account.name.to_string())
    }

    /// Publishes an advisory about a consumer.
    pub(super) fn advise_consumer(&mut self, id: ConsumerId, subject: &str, kind: &str, more: Answer) {
        let Some(c) = self.consumers.get(&id) else { return };
        let Some(stream) = self.streams.get(&c.stream) else { return };
        let (account, name) = (stream.account, &stream.core.config().name);
        let subject = format!("$JS.EVENT.{subject}.{name}.{}", c.name);
        let mut body = fields(json!({"stream": name, "consumer": &*c.name}));
        body.extend(more);
        self.advise(account, &subject, kind, body);
    }

    pub(crate) fn advise_action(&mut self, id: ConsumerId, subject: &str, action: &str) {
        let subject = format!("ADVISORY.CONSUMER.{subject}");
        self.advise_consumer(id, &subject, "advisory.v1.consumer_action", fields(json!({"action": action})));
    }

    pub(super) fn advise_exhausted(&mut self, id: ConsumerId, sequence: u64, count: u64) {
        let body = fields(json!({"stream_seq": sequence, "deliveries": count}));
        self.advise_consumer(id, "ADVISORY.CONSUMER.MAX_DELIVERIES", "advisory.v1.max_deliver", body);
    }

    pub(super) fn advise_nak(&mut self, id: ConsumerId, at: AckSubject) {
        let body = json!({"consumer_seq": at.consumer, "stream_seq": at.stream, "deliveries": at.deliveries});
        self.advise_consumer(id, "ADVISORY.CONSUMER.MSG_NAKED", "advisory.v1.nak", fields(body));
    }

    pub(super) fn advise_terminated(
        &mut self,
        id: ConsumerId,
        sequence: u64,
        consumer: u64,
        count: u64,
        reason: &str,
    ) {
        let mut body = fields(json!({"consumer_seq": consumer, "stream_seq": sequence, "deliveries": count}));
        if !reason.is_empty() {
            body.insert("reason".to_owned(), reason.into());
        }
        self.advise_consumer(id, "ADVISORY.CONSUMER.MSG_TERMINATED", "advisory.v1.terminated", body);
    }

    pub(super) fn advise_pinned(&mut self, id: ConsumerId) {
        let Some(pin) = self.consumers.get(&id).and_then(|c| c.pin.clone()) else { return };
        let account = self.account_label(id);
        let body = json!({"account": account, "group": pin.group, "pinned_id": pin.id});
        self.advise_consumer(
            id,
            "ADVISORY.CONSUMER.PINNED",
            "advisory.v1.consumer_group_pinned",
            fields(body),
        );
    }

    pub(crate) fn advise_pause(&mut self, id: ConsumerId) {
        let Some(c) = self.consumers.get(&id) else { return };
        let until = c.config().pause_until.unwrap_or(0);
        let body = json!({"paused": until > self.now, "pause_until": rfc3339(until)});
        self.advise_consumer(id, "ADVISORY.CONSUMER.PAUSE", "advisory.v1.consumer_pause", fields(body));
    }

    /// Describes a consumer for the API. `stamped`: with the server's version and API level.
    pub(crate) fn describe_consumer(&mut self, id: ConsumerId, stamped: bool) -> Answer {
        self.end_requests(id, false, true);
        let waiting = self.waiting_for(id);
        let Some(c) = self.consumers.get(&id) else { return Answer::new() };
        let Some(stream) = self.streams.get(&c.stream) else { return Answer::new() };
        let state = c.state();
        let position = |p: crate::consumer::Position, last: i64| {
            let mut value = json!({"consumer_seq": p.consumer, "stream_seq": p.stream});
            if last > 0 {
                value["last_active"] = rfc3339(last).into();
            }
            value
        };
        let mut config = serde_json::to_value(c.config()).unwrap_or_default();
        if stamped {
            config["metadata"]["_nats.ver"] = self.options.version.as_str().into();
            config["metadata"]["_nats.level"] = crate::api::API_LEVEL.to_string().into();
        }
        let redelivered = if c.config().max_deliver == 1 { 0 } else { state.redelivered() };
        let mut info = fields(json!({
            "stream_name": stream.core.config().name,
            "name": &*c.name,
            "created": rfc3339(c.created),
            "config": config,
            "delivered": position(state.delivered, c.last_delivery),
            "ack_floor": position(state.floor, c.last_ack),
            "num_ack_pending": state.pending.len(),
            "num_redelivered": redelivered,
            "num_waiting": c.requests.len(),
            "num_pending": waiting,
        }));
        let mut add = |key: &str, value: Value| drop(info.insert(key.to_owned(), value));
        if c.config().is_push() && c.is_active {
            add("push_bound", true.into());
        }
        if let Some(until) = c.config().pause_until.filter(|until| *until > self.now) {
            add("paused", true.into());
            add("pause_remaining", (until - self.now).into());
        }
        if let Some(group) = c.config().priority_groups.first() {
            let (pin_id, since) = c.pin.as_ref().map_or(("", 0), |pin| (pin.id.as_str(), pin.since));
            let mut group = json!({"group": group, "pinned_ts": rfc3339(since)});
            if !pin_id.is_empty() {
                group["pinned_client_id"] = pin_id.into();
            }
            add("priority_groups", json!([group]));
        }
        add("ts", rfc3339(self.now).into());
        info
    }
}
