//! Where messages leave the broker: streams and the API of JetStream.

use crate::client::Client;
use crate::router::Message;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Takes messages over from the broker. Called on whatever thread delivers, so it only copies and wakes.
pub trait Inlet: fmt::Debug + Send + Sync {
    /// Takes a message over; `tag` is the subscription's own. False if it does not want it: then it counts as not delivered.
    fn push(&self, tag: u64, origin: &Arc<Client>, message: &Message<'_>) -> bool;

    /// Somebody began or ceased to listen to a subject that is watched, see [`Account::watch`](crate::Account::watch).
    fn interest_changed(&self, _tag: u64, _subject: &[u8]) {}

    /// The end of a batch in which something was pushed: wakes whoever works on it. Tells how long the publisher should pause
    /// because too much waits.
    fn flush(&self) -> Duration;
}
