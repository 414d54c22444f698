//! Encryption of client connections through rustls.
//!
//! A connection's own task encrypts and decrypts; delivering tasks only wake that task. [`TlsSession`] does no I/O: it
//! converts between the socket's encrypted bytes and plain bytes.

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
