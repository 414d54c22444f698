//! Sockets: listeners, connections, and the clock that wakes them.

pub(crate) mod connection;
pub(crate) mod listener;
pub(crate) mod ticker;
mod transport;
