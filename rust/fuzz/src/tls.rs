//! The session of an encrypted connection, beside rustls' buffered interface.
//!
//! Both files are the server's own: they need nothing of it, and a fuzz target that linked the whole server would take
//! minutes to build.

#[path = "../../server/src/net/tls/oracle.rs"]
#[expect(dead_code, reason = "the tests of the server use the rest")]
mod oracle;
#[path = "../../server/src/net/tls/session.rs"]
#[expect(dead_code, reason = "the server uses the rest")]
mod session;

/// Plays a script to both.
///
/// # Panics
/// If they differ.
pub fn play(script: &[u8]) {
    oracle::play(script);
}
