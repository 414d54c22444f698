//! TLS settings of a connection, from flags and the context.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_nats::ConnectOptions;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::args::ConnectionArgs;
use crate::connection::given_path;
use crate::context::Context;
use crate::error::CliError;

/// The TLS settings. Files are opened when they are needed.
#[derive(Debug)]
pub(crate) struct Encryption {
    /// TLS is required, even if the address does not say so.
    pub(crate) is_required: bool,
    /// The TLS handshake comes before the server's INFO line.
    pub(crate) is_first: bool,
    /// File with trusted root certificates; `None` means those of the system.
    authorities: Option<PathBuf>,
    /// Files of the client's certificate and key.
    identity: Option<(PathBuf, PathBuf)>,
    /// The TLS configuration, built on first use and shared by later connections.
    config: OnceLock<Arc<ClientConfig>>,
}

impl Encryption {
    /// Returns the settings of the flags, else of the context. An address with `tls://` requires TLS in addition.
    pub(crate) fn resolve(args: &ConnectionArgs, context: &Context) -> Self {
        let authorities = given_path(args.tls_ca.as_ref(), &context.ca);
        let certificate = given_path(args.tls_cert.as_ref(), &context.cert);
        let identity = certificate.zip(given_path(args.tls_key.as_ref(), &context.key));
        let is_first = args.tls_first || context.tls_first;
        let is_required = args.tls || is_first || authorities.is_some() || identity.is_some();
        Self { is_required, is_first, authorities, identity, config: OnceLock::new() }
    }

    /// Adds these settings to the client library's options.
    ///
    /// # Errors
    /// A file can't be opened.
    pub(crate) fn apply(&self, options: ConnectOptions) -> Result<ConnectOptions, CliError> {
        let mut options = options;
        if self.is_required {
            options = options.require_tls(true);
        }
        if self.is_first {
            options = options.tls_first();
        }
        if let Some(authorities) = &self.authorities {
            options = options.add_root_certificates(readable(authorities)?);
        }
        if let Some((certificate, key)) = &self.identity {
            options = options.add_client_certificate(readable(certificate)?, readable(key)?);
        }
        Ok(options)
    }

    /// Returns the TLS configuration for connections that speak the protocol themselves.
    ///
    /// # Errors
    /// A file can't be read, or contains no certificate or key.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, CliError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let made = Arc::new(self.make()?);
        // If several threads build it at the same time, all use the first one stored.
        Ok(Arc::clone(self.config.get_or_init(|| made)))
    }

    fn make(&self) -> Result<ClientConfig, CliError> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| unusable(path, &error.to_string()))?;
                }
            }
            None => {
                // Unreadable system certificates are skipped; a server that depends on one of them is then rejected.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &pem(&error, "key")))?;
        let chain = certificates(certificate)?;
        builder
            .with_client_auth_cert(chain, private)
            .map_err(|error| unusable(certificate, &error.to_string()))
    }
}

/// Reads the certificates in a file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CliError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(path, &pem(&error, "certificate")))?;
    if found.is_empty() {
        return Err(unusable(path, "it holds no certificate"));
    }
    Ok(found)
}

/// Describes why a PEM file can't be used.
fn pem(error: &rustls::pki_types::pem::Error, what: &str) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => format!("it holds no {what}"),
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        other => format!("its {what} can't be read: {other}"),
    }
}

fn unusable(path: &Path, reason: &str) -> CliError {
    CliError::File { path: path.to_owned(), reason: reason.to_owned() }
}

/// Checks that a file can be opened, and returns its path; the client library's errors name no path.
fn readable(path: &Path) -> Result<PathBuf, CliError> {
    File::open(path).map_err(|error| unusable(path, &error.to_string()))?;
    Ok(path.to_owned())
}
