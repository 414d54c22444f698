//! The interface by which messages leave the broker for JetStream's streams and API.

use crate::client::Client;
use crate::router::Message;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A receiver of messages outside the broker. It is called on the delivering thread, so it only copies the message and
/// wakes a worker.
pub trait Inlet: fmt::Debug + Send + Sync {
    /// Accepts a message; `tag` identifies the subscription. False rejects the message, which then counts as not
    /// delivered.
    fn push(&self, tag: u64, origin: &Arc<Client>, message: &Message<'_>) -> bool;

    /// Reports that interest in a watched subject may have changed, see [`Account::watch`](crate::Account::watch).
    fn interest_changed(&self, _tag: u64, _subject: &[u8]) {}

    /// Ends a batch in which messages were pushed, and makes sure that they are processed. Returns how long the
    /// publisher should pause because too many wait.
    fn flush(&self) -> Duration;
}
