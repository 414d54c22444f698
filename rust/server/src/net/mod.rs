//! Sockets: listeners, connections, and the clock that wakes them.

pub(crate) mod connection;
pub(crate) mod listener;
mod secured;
pub(crate) mod ticker;
pub(crate) mod tls;
mod transport;
mod turns;
