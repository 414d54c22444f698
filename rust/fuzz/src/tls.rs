//! The session of an encrypted connection, compared with rustls' buffered interface.
//!
//! Both files belong to the server. They depend on nothing else of it, and a fuzz target that linked the whole server would take
//! minutes to build.

#[path = "../../server/src/net/tls/oracle.rs"]
#[expect(dead_code, reason = "the tests of the server use the rest")]
mod oracle;
#[path = "../../server/src/net/tls/session.rs"]
#[expect(dead_code, reason = "the server uses the rest")]
mod session;

/// Runs a script on both.
///
/// # Panics
/// If their results differ.
pub fn play(script: &[u8]) {
    oracle::play(script);
}
