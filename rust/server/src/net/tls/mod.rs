//! Encryption of client connections through rustls.
//!
//! A connection's own task encrypts and decrypts; delivering tasks only wake that task. [`TlsSession`] does no I/O: it
//! converts between the socket's encrypted bytes and plain bytes.
//!
//! The session uses rustls' unbuffered interface. So an idle connection keeps its keys but no read buffer, like a plain
//! connection. A read decrypts into the thread's read buffer; from there on, plain and encrypted connections share their
//! code.

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
