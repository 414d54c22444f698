//! Choice of the certificate that a client gets.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// Chooses the first certificate that fits the client's server name and whose signature the client can verify. If there
/// is none, chooses the first certificate, as Go's servers do.
#[derive(Debug)]
pub(super) struct FirstThatSuits(pub(super) Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for FirstThatSuits {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let suits = |key: &&Arc<CertifiedKey>| {
            key.key.choose_scheme(hello.signature_schemes()).is_some()
                && hello.server_name().is_none_or(|name| is_for(key, name))
        };
        self.0.iter().find(suits).or(self.0.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &str) -> bool {
    let Some(certificate) = key.cert.first() else { return false };
    let Ok(parsed) = rustls::server::ParsedCertificate::try_from(certificate) else { return false };
    let Ok(name) = rustls_pki_types::ServerName::try_from(name) else { return false };
    rustls::client::verify_server_name(&parsed, &name).is_ok()
}
