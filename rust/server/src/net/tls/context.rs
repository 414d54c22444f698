//! The settings of a TLS listener: certificates, authorities, versions.

use super::clients::GoAlerts;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{NamedGroup, RootCertStore, ServerConfig, SupportedCipherSuite, version};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use stonechat_config::{CertificateFiles, HandshakeFirst, TlsOptions};

/// The reason why the TLS options can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A certificate file or key file can't be used.
    #[error("error parsing X509 certificate/key pair: {}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The authorities for client certificates can't be used.
    #[error("failed to parse root ca certificate {}: {reason}", path.display())]
    Authorities {
        /// The file; empty for the system's authorities.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// No certificate is configured.
    #[error("TLS needs a certificate: set cert_file and key_file")]
    NoCertificate,
    /// None of the configured cipher suites is supported.
    #[error("none of the configured cipher_suites is supported")]
    NoCipherSuite,
    /// None of the configured groups for key exchange is supported.
    #[error("none of the configured curve_preferences is supported: X25519, CurveP256 and CurveP384 are")]
    NoCurve,
    /// rustls rejects the combination.
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// The TLS configuration of the client listener. A reload makes a new one for later connections.
#[derive(Debug, Clone)]
pub(crate) struct TlsContext {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) timeout: Duration,
    pub(crate) first: HandshakeFirst,
    /// Whether clients may stay unencrypted.
    pub(crate) optional: bool,
}

impl TlsContext {
    /// Reads the files that the options name.
    pub(crate) fn load(options: &TlsOptions, optional: bool) -> Result<Self, TlsError> {
        let mut provider = provider(&options.cipher_suites)?;
        prefer_curves(&mut provider, &options.curve_preferences)?;
        let has_tls12 = provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
        let provider = Arc::new(provider);
        let versions: &[_] = match options.only_tls13 || !has_tls12 {
            true => &[&version::TLS13],
            false => &[&version::TLS13, &version::TLS12],
        };
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
        // A file of authorities must be valid even if clients need no certificate, as in nats-server.
        let roots = match options.verify || options.ca_file.is_some() {
            true => authorities(options.ca_file.as_deref())?,
            false => RootCertStore::empty(),
        };
        let builder = if options.verify {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build();
            let verifier = verifier.map_err(|error| authorities_error(options.ca_file.as_deref(), error))?;
            builder.with_client_cert_verifier(Arc::new(GoAlerts(verifier)))
        } else {
            builder.with_no_client_auth()
        };
        let mut certified = Vec::new();
        for files in &options.certificates {
            certified.push(Arc::new(certified_key(files, &provider)?));
        }
        if certified.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let mut config = builder.with_cert_resolver(Arc::new(super::resolver::FirstThatSuits(certified)));
        // NATS clients stay connected, so resuming sessions would only cost memory and bytes.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // The order of the suites is the server's, as in Go.
        config.ignore_client_order = true;
        let (timeout, first) = (options.timeout, options.handshake_first);
        Ok(Self { config: Arc::new(config), timeout, first, optional })
    }
}

/// Keeps the groups with these names, in this order; all groups if there are no names.
fn prefer_curves(provider: &mut CryptoProvider, names: &[String]) -> Result<(), TlsError> {
    if names.is_empty() {
        return Ok(());
    }
    let group = |name: &String| {
        let wanted = match name.as_str() {
            "X25519" => NamedGroup::X25519,
            "CurveP256" => NamedGroup::secp256r1,
            "CurveP384" => NamedGroup::secp384r1,
            _ => return None,
        };
        provider.kx_groups.iter().copied().find(|group| group.name() == wanted)
    };
    provider.kx_groups = names.iter().filter_map(group).collect();
    if provider.kx_groups.is_empty() { Err(TlsError::NoCurve) } else { Ok(()) }
}

/// Returns the cryptography provider with the named TLS 1.2 suites that are supported. TLS 1.3 keeps its own suites, as
/// in Go. If all names are of TLS 1.3, no suite of TLS 1.2 is left.
fn provider(names: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    // AES with 128 bits comes first: it is strong enough, and faster.
    provider.cipher_suites.sort_by_key(|suite| !format!("{:?}", suite.suite()).contains("AES_128"));
    if names.is_empty() {
        return Ok(provider);
    }
    let wanted = |suite: &SupportedCipherSuite| {
        suite.tls13().is_some() || names.iter().any(|name| *name == format!("{:?}", suite.suite()))
    };
    provider.cipher_suites.retain(wanted);
    let is_tls13 = |name: &String| !name.contains("_WITH_");
    match provider.cipher_suites.iter().any(|suite| suite.tls13().is_none()) || names.iter().all(is_tls13) {
        true => Ok(provider),
        false => Err(TlsError::NoCipherSuite),
    }
}

fn certified_key(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<rustls::sign::CertifiedKey, TlsError> {
    let error = |path: &Path, reason: String| TlsError::Certificate { path: path.to_owned(), reason };
    let chain = certificates(&files.certificate).map_err(|reason| error(&files.certificate, reason))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| error(&files.key, pem_reason(&e)))?;
    rustls::sign::CertifiedKey::from_der(chain, key, provider)
        .map_err(|reason| error(&files.certificate, reason.to_string()))
}

fn authorities(path: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = path else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        return Ok(roots);
    };
    let error = |reason| TlsError::Authorities { path: path.to_owned(), reason };
    for certificate in certificates(path).map_err(error)? {
        roots.add(certificate).map_err(|reason| error(reason.to_string()))?;
    }
    Ok(roots)
}

fn authorities_error(path: Option<&Path>, reason: impl ToString) -> TlsError {
    TlsError::Authorities { path: path.map(Path::to_owned).unwrap_or_default(), reason: reason.to_string() }
}

/// Reads the certificates of a PEM file; fails if there are none.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err("the file holds no certificate".into()),
        Ok(found) => Ok(found),
        Err(error) => Err(pem_reason(&error)),
    }
}

fn pem_reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => crate::server::os_error(error),
        pem::Error::NoItemsFound => "the file holds nothing of the kind".into(),
        other => other.to_string(),
    }
}
