//! Sockets: listeners, connections, and the timer for their deadlines.

pub(crate) mod connection;
pub(crate) mod listener;
pub(crate) mod pipe;
mod secured;
pub(crate) mod ticker;
pub(crate) mod tls;
mod transport;
pub(crate) mod turns;
