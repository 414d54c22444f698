//! Ordered reading of a stream, through a consumer that is recreated after an interruption.

use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy, push};
use async_nats::{Client, Request};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::connection::client_error;
use crate::error::CliError;
use crate::session::Session;

/// Maximum wait for the deletion of the consumer.
const CLOSING: Duration = Duration::from_secs(1);
/// Silence after which the consumer is asked whether it has messages left.
const SILENCE: Duration = Duration::from_secs(2);
/// Time to wait for messages that the client has already received.
const DELIVERED: Duration = Duration::from_millis(200);

/// A selection of a stream's messages.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Description of the consumer, for `consumer info` and lists.
    pub(crate) reader: &'static str,
    pub(crate) filter: String,
    pub(crate) from: DeliverPolicy,
    /// Whether bodies are omitted.
    pub(crate) is_headers_only: bool,
}

/// A reader of messages in order: first the stored ones, then new ones as they arrive.
pub(crate) struct Ordered {
    messages: push::Ordered,
    /// Number of messages, stored when the reader was opened, that are still to be delivered.
    waiting: u64,
    client: Client,
    /// The subject of the request that deletes the consumer.
    end: String,
    /// The subject of the request for the consumer's info.
    look: String,
}

/// A delivered message, and the consumer's figures about it.
pub(crate) struct Delivered {
    pub(crate) message: Message,
    pub(crate) sequence: u64,
    /// The time at which it was stored (RFC 3339).
    pub(crate) time: String,
    /// Number of messages that follow.
    pub(crate) pending: u64,
}

impl Delivered {
    /// Reads the figures in the message's ack subject.
    ///
    /// # Errors
    /// The message does not come from a consumer.
    pub(crate) fn new(message: Message) -> Result<Self, CliError> {
        let info = message.info().map_err(|error| CliError::Client(error.to_string()))?;
        let time = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos());
        let time = time.map(|time| time.to_string()).unwrap_or_default();
        let (sequence, pending) = (info.stream_sequence, info.pending);
        Ok(Self { message, sequence, time, pending })
    }
}

impl Ordered {
    /// Creates the consumer.
    ///
    /// # Errors
    /// The server refuses to create the consumer.
    pub(crate) async fn open(session: &Session, stream: &str, what: Reading) -> Result<Self, CliError> {
        let stream = session.context.get_stream_no_info(stream).await.map_err(client_error)?;
        let config = push::OrderedConfig {
            deliver_subject: session.connection.client.new_inbox(),
            description: Some(what.reader.to_owned()),
            filter_subject: what.filter,
            replay_policy: ReplayPolicy::Instant,
            deliver_policy: what.from,
            headers_only: what.is_headers_only,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(client_error)?;
        let info = consumer.cached_info();
        let waiting = info.num_pending;
        let end = session.subject(&format!("CONSUMER.DELETE.{}.{}", info.stream_name, info.name));
        let look = session.subject(&format!("CONSUMER.INFO.{}.{}", info.stream_name, info.name));
        let messages = consumer.messages().await.map_err(client_error)?;
        let client = session.connection.client.clone();
        Ok(Self { messages, waiting, client, end, look })
    }

    /// Returns how many of the messages that were stored at the opening are still to be delivered.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// The connection or the consumer is lost for good.
    pub(crate) async fn next(&mut self) -> Result<Delivered, CliError> {
        match self.messages.next().await {
            Some(Ok(message)) => Delivered::new(message),
            Some(Err(error)) => Err(client_error(error)),
            None => Err(CliError::ConnectionLost),
        }
    }

    /// Deletes the consumer, so that it does not remain until its inactive threshold.
    pub(crate) async fn close(&mut self) {
        if !self.end.is_empty() {
            let request = Request::new().timeout(Some(CLOSING));
            let _ = self.client.send_request(std::mem::take(&mut self.end), request).await;
        }
    }

    /// Returns the next of the messages that were stored at the opening. After the last it deletes the consumer and returns
    /// `None`.
    ///
    /// # Errors
    /// As [`Ordered::next`].
    pub(crate) async fn next_stored(&mut self) -> Result<Option<Delivered>, CliError> {
        let mut patience = SILENCE;
        while self.waiting > 0 {
            match tokio::time::timeout(patience, self.next()).await {
                Ok(delivered) => {
                    let delivered = delivered?;
                    self.waiting = delivered.pending;
                    return Ok(Some(delivered));
                }
                Err(_) if patience == DELIVERED => self.waiting = 0,
                // The awaited messages may have been removed from the stream: then nothing arrives in their place.
                Err(_) if self.is_all_delivered().await => patience = DELIVERED,
                Err(_) => {}
            }
        }
        self.close().await;
        Ok(None)
    }

    /// Whether the consumer has no messages left. A recreated consumer has another name, so this returns false, and it delivers
    /// the remaining messages.
    async fn is_all_delivered(&self) -> bool {
        let request = Request::new().timeout(Some(SILENCE));
        let Ok(answer) = self.client.send_request(self.look.clone(), request).await else { return false };
        let told: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
        told["num_pending"].as_u64() == Some(0)
    }
}

/// Returns the policy to start at a sequence, at a time (RFC 3339), or with the first message.
///
/// # Errors
/// The time can't be parsed.
pub(crate) fn beginning(sequence: Option<u64>, time: Option<&str>) -> Result<DeliverPolicy, CliError> {
    match (time, sequence.filter(|sequence| *sequence > 0)) {
        (Some(time), _) => {
            let policy = json!({ "deliver_policy": "by_start_time", "opt_start_time": time });
            serde_json::from_value(policy)
                .map_err(|error| CliError::Client(format!("{time:?} is no time: {error}")))
        }
        (None, Some(start_sequence)) => Ok(DeliverPolicy::ByStartSequence { start_sequence }),
        (None, None) => Ok(DeliverPolicy::All),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin() {
        assert_eq!(beginning(None, None).unwrap(), DeliverPolicy::All);
        assert_eq!(beginning(Some(0), None).unwrap(), DeliverPolicy::All);
        assert_eq!(beginning(Some(5), None).unwrap(), DeliverPolicy::ByStartSequence { start_sequence: 5 });
        let policy = beginning(None, Some("2026-01-02T03:04:05Z")).unwrap();
        assert!(matches!(policy, DeliverPolicy::ByStartTime { .. }), "{policy:?}");
        assert!(beginning(None, Some("yesterday")).is_err());
    }
}
