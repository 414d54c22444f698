//! Encryption of client connections through rustls.
//!
//! A connection's own task encrypts and decrypts; whoever delivers to it only wakes that task. [`TlsSession`] does no
//! I/O: bytes of the socket go in and come out, as plain bytes do on the other side.

mod clients;
mod context;
#[cfg(test)]
pub(crate) mod oracle;
mod resolver;
mod session;
mod transport;

pub(crate) use context::{TlsContext, TlsError};
#[cfg(test)]
pub(crate) use session::INJECTED;
pub(crate) use session::{End, HANDSHAKE, INPUT_MAX, TlsSession};
pub(crate) use transport::OwnedTransport;
