//! The `tls` block of the client listener.

use std::{path::PathBuf, time::Duration};

use super::{
    reader::{Reader, in_order},
    schema::Kind,
};
use crate::lang::{Node, Position, Value};

/// How long a handshake may take unless configured otherwise.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long `handshake_first: auto` waits for a client that begins.
const FALLBACK: Duration = Duration::from_millis(50);

/// Who speaks first on a connection that is to be encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HandshakeFirst {
    /// The server, with INFO in the clear.
    #[default]
    Never,
    /// The client, with its handshake; INFO comes encrypted.
    Always,
    /// The client, if it begins within this time; else the server.
    Fallback(Duration),
}

/// A certificate with its key, both as paths of PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and behind it those that it hangs on.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How client connections are encrypted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The certificates that the server shows; the first that suits a client is taken.
    pub certificates: Vec<CertificateFiles>,
    /// The authorities that sign clients' certificates; those of the system if none.
    pub ca_file: Option<PathBuf>,
    /// Clients must show a certificate.
    pub verify: bool,
    /// TLS 1.3 is the least that is spoken, rather than 1.2.
    pub only_tls13: bool,
    /// Cipher suites of TLS 1.2 by their IANA names; all that are safe if empty.
    pub cipher_suites: Vec<String>,
    /// Groups for key exchange by Go's names, the best first; all that are safe if empty.
    pub curve_preferences: Vec<String>,
    /// How long a handshake may take.
    pub timeout: Duration,
    /// Who speaks first.
    pub handshake_first: HandshakeFirst,
    /// Where the block stands, for errors; `None` for flags.
    pub position: Option<Position>,
}

impl TlsOptions {
    /// Encryption with one certificate and defaults for the rest.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificates: vec![CertificateFiles { certificate, key }], ..Self::empty() }
    }

    fn empty() -> Self {
        Self {
            certificates: Vec::new(),
            ca_file: None,
            verify: false,
            only_tls13: false,
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            timeout: TIMEOUT,
            handshake_first: HandshakeFirst::Never,
            position: None,
        }
    }
}

impl Reader {
    /// Reads the block of the client listener.
    pub(super) fn tls(&mut self, node: &Node) -> Option<TlsOptions> {
        let before = self.errors.len();
        self.check("tls", node, &Kind::Tls);
        let Value::Map(map) = &node.value else {
            self.wrong_type(node, "a block");
            return None;
        };
        let mut tls = TlsOptions { position: Some(node.position.clone()), ..TlsOptions::empty() };
        let (mut certificate, mut key) = (None, None);
        for (name, written, node) in in_order(map) {
            match name.as_str() {
                "cert_file" => certificate = self.text(node).flatten(),
                "key_file" => key = self.text(node).flatten(),
                "ca_file" => tls.ca_file = self.text(node).flatten().map(PathBuf::from),
                "certs" | "certificates" => tls.certificates = self.certificates(node),
                "verify" => tls.verify = self.boolean(node).unwrap_or(false),
                "min_version" => tls.only_tls13 = self.min_version(node),
                "cipher_suites" => tls.cipher_suites = self.strings(node).unwrap_or_default(),
                "curve_preferences" => tls.curve_preferences = self.strings(node).unwrap_or_default(),
                "timeout" => tls.timeout = self.tls_timeout(node).unwrap_or(TIMEOUT),
                "handshake_first" | "first" | "immediate" => {
                    tls.handshake_first = self.handshake_first(written, node).unwrap_or_default();
                }
                // Without these clients get in that should not.
                "verify_and_map" | "ocsp_peer" | "pinned_certs" | "cert_store" | "connection_rate_limit"
                    if restricts(node) =>
                {
                    self.refuse(&format!("tls.{name}"), node);
                }
                _ => {}
            }
        }
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (certificate.into(), key.into());
                tls.certificates.insert(0, CertificateFiles { certificate, key });
            }
            (None, Some(_)) => self.error(&node.position, "missing 'cert_file' in TLS configuration"),
            (Some(_), None) => self.error(&node.position, "missing 'key_file' in TLS configuration"),
            (None, None) => {}
        }
        (self.errors.len() == before).then_some(tls)
    }

    fn certificates(&mut self, node: &Node) -> Vec<CertificateFiles> {
        let mut certificates = Vec::new();
        for item in self.list(node).unwrap_or_default() {
            let mut paths = [PathBuf::new(), PathBuf::new()];
            for (name, _, node) in self.map(item).map(in_order).unwrap_or_default() {
                let path = self.text(node).flatten().map(PathBuf::from).unwrap_or_default();
                paths[usize::from(name == "key_file")] = path;
            }
            let [certificate, key] = paths;
            certificates.push(CertificateFiles { certificate, key });
        }
        certificates
    }

    fn min_version(&mut self, node: &Node) -> bool {
        match self.string(node) {
            Some("1.3") => true,
            Some("1.2") | None => false,
            Some(other) => {
                let reason = match other {
                    "1.0" | "1.1" => {
                        format!("error parsing tls config: unsupported TLS version: TLS {other}")
                    }
                    _ => format!("error parsing tls config: unknown version: {other}"),
                };
                self.error(&node.position, reason);
                false
            }
        }
    }

    /// A duration, or seconds with or without a fraction. Zero stands for the default.
    fn tls_timeout(&mut self, node: &Node) -> Option<Duration> {
        let timeout = match node.value {
            Value::Integer(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
            Value::Float(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            _ => return self.positive_duration("timeout", node),
        };
        if timeout.is_none() {
            self.error(&node.position, "error parsing tls config, 'timeout' wrong type");
        }
        timeout.filter(|timeout| !timeout.is_zero())
    }

    fn handshake_first(&mut self, name: &str, node: &Node) -> Option<HandshakeFirst> {
        let first = match &node.value {
            Value::Bool(true) => HandshakeFirst::Always,
            Value::Bool(false) => HandshakeFirst::Never,
            Value::String(text) => match text.to_lowercase().as_str() {
                "true" | "on" => HandshakeFirst::Always,
                "false" | "off" => HandshakeFirst::Never,
                "auto" | "auto_fallback" => HandshakeFirst::Fallback(FALLBACK),
                _ => match crate::duration::parse(text) {
                    Ok(duration) => HandshakeFirst::Fallback(duration.to_std()?),
                    Err(_) => {
                        let reason = format!("field {name:?}'s value {text:?} is invalid");
                        self.error(&node.position, reason);
                        return None;
                    }
                },
            },
            _ => return None,
        };
        Some(first)
    }
}

/// Whether the value of a restriction restricts anything: `false`, an empty list and 0 do not.
fn restricts(node: &Node) -> bool {
    match &node.value {
        Value::Bool(is_on) => *is_on,
        Value::Array(items) => !items.is_empty(),
        Value::Integer(number) => *number > 0,
        _ => true,
    }
}
