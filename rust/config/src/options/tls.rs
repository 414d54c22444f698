//! The `tls` block of the client listener.

use std::{path::PathBuf, time::Duration};

use super::{
    reader::{Reader, in_order},
    schema::Kind,
};
use crate::lang::{Node, Position, Value};

/// The default time limit of a handshake.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The time in which `handshake_first: auto` waits for the client's handshake.
const FALLBACK: Duration = Duration::from_millis(50);

/// The side that sends first on a connection with TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HandshakeFirst {
    /// The server, with unencrypted INFO.
    #[default]
    Never,
    /// The client, with its handshake; INFO follows encrypted.
    Always,
    /// The client, if it sends within this time; else the server.
    Fallback(Duration),
}

/// A certificate with its key, both as paths of PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by its chain.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// The TLS options of client connections.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The server's certificates; the first that suits a client is used.
    pub certificates: Vec<CertificateFiles>,
    /// The authorities for client certificates; `None` for the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// Clients must have a valid certificate.
    pub verify: bool,
    /// Only TLS 1.3 is allowed, and not TLS 1.2.
    pub only_tls13: bool,
    /// Cipher suites of TLS 1.2 by their IANA names; all secure ones if empty.
    pub cipher_suites: Vec<String>,
    /// Groups for key exchange by Go's names, in order of preference; all secure ones if empty.
    pub curve_preferences: Vec<String>,
    /// The time limit of a handshake.
    pub timeout: Duration,
    /// The side that sends first.
    pub handshake_first: HandshakeFirst,
    /// The position of the block, for errors; `None` for flags.
    pub position: Option<Position>,
}

impl TlsOptions {
    /// Returns options with one certificate and defaults for the rest.
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
                // Without these restrictions, unauthorized clients could connect.
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

    /// Reads a duration, or seconds with or without a fraction. Zero stands for the default.
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

/// Returns whether the value of a restriction restricts anything; `false`, an empty list and 0 do not.
fn restricts(node: &Node) -> bool {
    match &node.value {
        Value::Bool(is_on) => *is_on,
        Value::Array(items) => !items.is_empty(),
        Value::Integer(number) => *number > 0,
        _ => true,
    }
}
