//! Comparison of [`TlsSession`] with rustls' buffered interface: both get the same steps of a peer and must have the same
//! outcome.
//!
//! Tests and the fuzz target `tls` use it. Each side has its own client, since the random values of handshakes differ.
//! The transferred bytes have the same lengths, so both can be split at the same positions.

use super::session::{End, INPUT_MAX, TlsSession};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, KeyLog};
use rustls::{ServerConfig, ServerConnection, SignatureScheme, version};
use std::io::{IoSlice, Read, Write};
use std::sync::{Arc, Mutex};

/// The script byte of the step that completes the handshake; see [`play`].
pub(crate) const HANDSHAKE_STEP: u8 = 0;
/// The number of rounds that complete any handshake.
const ROUNDS: usize = 8;
const HANDSHAKE: u8 = 22;

/// The negotiated version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

/// A step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Client and server exchange handshake messages until both are done.
    Handshake,
    /// The client's next flight goes on the wire, its records split into parts of this length (0: not split).
    Flight(usize),
    /// Bytes go on the wire unchanged.
    Raw(Vec<u8>),
    /// A record goes on the wire unencrypted.
    Record { kind: u8, payload: Vec<u8> },
    /// A record goes on the wire, encrypted with the client's keys (TLS 1.3, after the handshake).
    Sealed { kind: u8, payload: Vec<u8> },
    /// The client changes its keys. The value tells whether it also requests the server to do so.
    KeyUpdate(bool),
    /// The server receives at most this many bytes of the wire.
    Deliver(usize),
    /// The server sends this many bytes of application data.
    Write(usize),
    /// The server announces the end of its output.
    Goodbye,
}

/// The result of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Application data that the server received.
    pub(crate) received: Vec<u8>,
    /// The reason why the server receives nothing more.
    pub(crate) end: Option<String>,
    /// The bytes of application data that arrived at the client.
    pub(crate) answered: usize,
    /// The client's error after a record of the server.
    client: Option<String>,
    is_handshaking: bool,
}

impl Outcome {
    /// Returns the part that must be the same on both sides. Both must refuse a message that one of them can't read. But
    /// the reason and the alert may differ: rustls' buffered interface refuses some messages by their claimed length,
    /// without an alert, before the other side looks into them or at their type.
    fn comparable(&self, other: &Self) -> Self {
        let is_unreadable =
            |side: &Self| side.end.as_deref().is_some_and(|end| end.starts_with("Failed: InvalidMessage"));
        let mut outcome = self.clone();
        if self.is_failed() && other.is_failed() && (is_unreadable(self) || is_unreadable(other)) {
            (outcome.end, outcome.client) = (Some("Failed".to_owned()), None);
        }
        outcome
    }

    /// Returns whether the peer broke the protocol.
    pub(crate) fn is_failed(&self) -> bool {
        self.end.as_deref().is_some_and(|end| end.starts_with("Failed"))
    }
}

/// Reads steps from bytes and plays them.
pub(crate) fn play(script: &[u8]) {
    let mut script = Script(script);
    let version = if script.byte().is_multiple_of(2) { Version::Tls13 } else { Version::Tls12 };
    let mut steps = Vec::new();
    while !script.0.is_empty() {
        steps.push(script.step());
    }
    steps.push(Step::Deliver(usize::MAX));
    steps.push(Step::Goodbye);
    run(version, &steps);
}

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bytes(&mut self) -> Vec<u8> {
        // Handshake messages with a large claimed length matter more than long payloads.
        let len = match self.byte() {
            255 => 16_384,
            n => usize::from(n % 64),
        };
        (0..len).map(|_| self.byte()).collect()
    }

    fn kind(&mut self) -> u8 {
        20 + self.byte() % 5
    }

    fn step(&mut self) -> Step {
        match self.byte() % 12 {
            0 => Step::Handshake,
            1 => Step::Flight(usize::from(self.byte())),
            2 => Step::Raw(self.bytes()),
            3 => Step::Record { kind: self.kind(), payload: self.bytes() },
            4 | 5 => Step::Sealed { kind: self.kind(), payload: self.bytes() },
            6 => Step::KeyUpdate(self.byte().is_multiple_of(2)),
            7 => Step::Deliver(usize::from(self.byte())),
            8 => Step::Deliver(usize::MAX),
            9 => Step::Write(usize::from(self.byte()) * 97),
            10 => Step::Sealed { kind: HANDSHAKE, payload: self.bytes() },
            _ => Step::Goodbye,
        }
    }
}

/// Plays the steps to both sides.
///
/// # Panics
/// Panics if their outcomes differ, or if the session panics.
pub(crate) fn run(version: Version, steps: &[Step]) -> Outcome {
    let mut tested = Side::new(version, Tested::new);
    let mut oracle = Side::new(version, Oracle::new);
    for (i, step) in steps.iter().enumerate() {
        tested.play(step);
        oracle.play(step);
        let (got, expected) = (tested.outcome(), oracle.outcome());
        assert_eq!(got.comparable(&expected), expected.comparable(&got), "step {i} of {steps:?}");
    }
    tested.outcome()
}

/// A server's end of a connection, with either interface.
trait Peer {
    /// Takes input; application data is appended to `received`.
    fn receive(&mut self, input: &[u8], received: &mut Vec<u8>);
    /// Sends application data.
    fn write(&mut self, data: &[u8]);
    fn goodbye(&mut self);
    /// Takes the bytes to send.
    fn outgoing(&mut self) -> Vec<u8>;
    fn end(&self) -> Option<String>;
    fn is_handshaking(&self) -> bool;
}

/// The session, used like in a connection.
struct Tested(TlsSession);

impl Tested {
    fn new(config: Arc<ServerConfig>) -> Self {
        Self(TlsSession::new(config).expect("the configuration is complete"))
    }
}

impl Peer for Tested {
    fn receive(&mut self, mut input: &[u8], received: &mut Vec<u8>) {
        let (mut buffer, mut plain) = (vec![0; INPUT_MAX], vec![0; INPUT_MAX]);
        while !input.is_empty() && self.0.end().is_none() {
            let start = self.0.prepare(&mut buffer);
            assert!(start < INPUT_MAX, "there is always room to read into");
            let n = input.len().min(INPUT_MAX - start);
            buffer[start..start + n].copy_from_slice(&input[..n]);
            input = &input[n..];
            let result = self.0.receive(&mut buffer[..start + n], &mut plain);
            assert_eq!(result.end.as_ref(), self.0.end());
            received.extend_from_slice(&plain[..result.plain]);
        }
    }

    fn write(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            match self.0.encrypt(&[IoSlice::new(data)]) {
                Ok(n) => data = &data[n..],
                Err(_) => return,
            }
        }
    }

    fn goodbye(&mut self) {
        self.0.say_goodbye();
    }

    fn outgoing(&mut self) -> Vec<u8> {
        let outgoing = self.0.outgoing().to_vec();
        self.0.sent(outgoing.len());
        self.0.rest();
        outgoing
    }

    fn end(&self) -> Option<String> {
        self.0.end().map(|end| match end {
            End::Closed => "Closed".to_owned(),
            End::Failed(error) => format!("Failed: {error:?}"),
        })
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }
}

/// rustls' buffered interface.
struct Oracle {
    connection: ServerConnection,
    end: Option<String>,
}

impl Oracle {
    fn new(config: Arc<ServerConfig>) -> Self {
        Self { connection: ServerConnection::new(config).expect("the configuration is complete"), end: None }
    }
}

impl Peer for Oracle {
    fn receive(&mut self, mut input: &[u8], received: &mut Vec<u8>) {
        while !input.is_empty() && self.end.is_none() {
            let read = self.connection.read_tls(&mut input);
            let state = match read {
                Ok(_) => self.connection.process_new_packets(),
                // Its buffer is full: a message is too large.
                Err(_) => Err(Error::General("a handshake message is too large".into())),
            };
            // An error only means that no more data is there.
            let _ = self.connection.reader().read_to_end(received);
            self.end = match state {
                Ok(state) if state.peer_has_closed() => Some("Closed".to_owned()),
                Ok(_) => None,
                Err(error) => Some(format!("Failed: {error:?}")),
            };
        }
    }

    fn write(&mut self, data: &[u8]) {
        let is_failed = self.end.as_ref().is_some_and(|end| end != "Closed");
        if !self.connection.is_handshaking() && !is_failed {
            self.connection.set_buffer_limit(None);
            self.connection.writer().write_all(data).expect("there is no limit");
        }
    }

    fn goodbye(&mut self) {
        let is_failed = self.end.as_ref().is_some_and(|end| end != "Closed");
        if !self.connection.is_handshaking() && !is_failed {
            self.connection.send_close_notify();
        }
        self.end.get_or_insert("Closed".to_owned());
    }

    fn outgoing(&mut self) -> Vec<u8> {
        let mut outgoing = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut outgoing).expect("a vector takes all");
        }
        outgoing
    }

    fn end(&self) -> Option<String> {
        self.end.clone()
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }
}

/// A server and its client.
struct Side<P> {
    server: P,
    client: ClientConnection,
    secrets: Arc<Secrets>,
    /// The client's TLS 1.3 keys, once records are encrypted by hand.
    keys: Option<Keys>,
    wire: Vec<u8>,
    outcome: Outcome,
    said_hello: bool,
    is_silent: bool,
}

impl<P: Peer> Side<P> {
    fn new(version: Version, server: impl FnOnce(Arc<ServerConfig>) -> P) -> Self {
        let secrets = Arc::new(Secrets::default());
        let name = ServerName::try_from("localhost").expect("a valid name");
        let client = ClientConnection::new(client_config(version, secrets.clone()), name);
        Self {
            server: server(server_config()),
            client: client.expect("the configuration is complete"),
            secrets,
            keys: None,
            wire: Vec::new(),
            outcome: Outcome { is_handshaking: true, ..Outcome::default() },
            said_hello: false,
            is_silent: false,
        }
    }

    fn outcome(&self) -> Outcome {
        let Outcome { received, answered, client, .. } = &self.outcome;
        Outcome {
            received: received.clone(),
            end: self.server.end(),
            answered: *answered,
            client: client.clone(),
            is_handshaking: self.server.is_handshaking(),
        }
    }

    fn play(&mut self, step: &Step) {
        match step {
            Step::Handshake => {
                for _ in 0..ROUNDS {
                    self.flight(0);
                    self.deliver(usize::MAX);
                }
            }
            Step::Flight(part) => self.flight(*part),
            Step::Raw(bytes) => self.wire.extend_from_slice(bytes),
            Step::Record { kind, payload } => push_record(&mut self.wire, *kind, payload),
            Step::Sealed { kind, payload } => self.seal(*kind, payload),
            Step::KeyUpdate(request) => {
                self.seal(HANDSHAKE, &[24, 0, 0, 1, u8::from(*request)]);
                if let Some(keys) = &mut self.keys {
                    *keys = keys.next();
                }
            }
            Step::Deliver(n) => self.deliver(*n),
            Step::Write(n) if !self.is_silent => {
                self.server.write(&vec![b'x'; *n]);
                self.answer();
            }
            Step::Write(_) => {}
            Step::Goodbye => {
                self.is_silent = true;
                self.server.goodbye();
                self.answer();
            }
        }
    }

    /// Puts the client's output on the wire.
    fn flight(&mut self, part: usize) {
        let mut flight = Vec::new();
        // Once records are encrypted by hand, the client must send nothing itself, since its sequence numbers are used
        // up.
        while self.keys.is_none() && self.client.wants_write() {
            self.client.write_tls(&mut flight).expect("a vector takes all");
        }
        let mut rest = &flight[..];
        while let Some((header, behind)) = rest.split_at_checked(5) {
            let len = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let (payload, behind) = behind.split_at(len);
            rest = behind;
            // Only an unencrypted record can be split: the ClientHello.
            let is_hello = !std::mem::replace(&mut self.said_hello, true);
            if part == 0 || !is_hello {
                push_record(&mut self.wire, header[0], payload);
                continue;
            }
            payload.chunks(part).for_each(|part| push_record(&mut self.wire, header[0], part));
        }
    }

    fn seal(&mut self, kind: u8, payload: &[u8]) {
        if self.keys.is_none() && !self.client.is_handshaking() && !self.client.wants_write() {
            self.keys = self.secrets.0.lock().expect("nobody panicked").as_deref().map(Keys::new);
        }
        if let Some(keys) = &mut self.keys {
            let record = keys.seal(kind, payload);
            self.wire.extend_from_slice(&record);
        }
    }

    fn deliver(&mut self, n: usize) {
        let n = n.min(self.wire.len());
        let input: Vec<u8> = self.wire.drain(..n).collect();
        self.server.receive(&input, &mut self.outcome.received);
        self.answer();
    }

    /// Passes the server's output to the client.
    fn answer(&mut self) {
        let outgoing = self.server.outgoing();
        let mut rest = &outgoing[..];
        while !rest.is_empty() && self.outcome.client.is_none() {
            let read = self.client.read_tls(&mut rest).expect("the client takes all that it is sent");
            if read == 0 {
                break;
            }
            if let Err(error) = self.client.process_new_packets() {
                self.outcome.client = Some(format!("{error:?}"));
            }
            let mut plain = Vec::new();
            // An error only means that no more data is there.
            let _ = self.client.reader().read_to_end(&mut plain);
            self.outcome.answered += plain.len();
        }
    }
}

fn push_record(wire: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    wire.extend_from_slice(&[kind, 3, 3]);
    wire.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    wire.extend_from_slice(payload);
}

/// The secret of the client's application data, from its key log.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<Option<Vec<u8>>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "CLIENT_TRAFFIC_SECRET_0" {
            *self.0.lock().expect("nobody panicked") = Some(secret.to_vec());
        }
    }
}

/// TLS 1.3 keys for AES-128-GCM.
struct Keys {
    secret: Vec<u8>,
    key: LessSafeKey,
    iv: Vec<u8>,
    sequence: u64,
}

impl Keys {
    fn new(secret: &[u8]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &expand(secret, "key", 16)).expect("16 bytes");
        let (key, iv) = (LessSafeKey::new(key), expand(secret, "iv", 12));
        Self { secret: secret.to_vec(), key, iv, sequence: 0 }
    }

    /// Returns the keys after the next KeyUpdate.
    fn next(&self) -> Self {
        Self::new(&expand(&self.secret, "traffic upd", 32))
    }

    fn seal(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.sequence.to_be_bytes());
        nonce.iter_mut().zip(&self.iv).for_each(|(n, iv)| *n ^= iv);
        self.sequence += 1;
        let mut sealed = payload.to_vec();
        sealed.push(kind);
        let mut record = vec![23, 3, 3];
        record.extend_from_slice(&(sealed.len() as u16 + 16).to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let result = self.key.seal_in_place_append_tag(nonce, Aad::from(&record), &mut sealed);
        result.expect("a record is short");
        record.extend_from_slice(&sealed);
        record
    }
}

/// HKDF-Expand-Label of RFC 8446, without a context.
fn expand(secret: &[u8], label: &str, len: usize) -> Vec<u8> {
    struct Len(usize);
    impl KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    let name = format!("tls13 {label}");
    let header = [&(len as u16).to_be_bytes()[..], &[name.len() as u8]].concat();
    let info = [&header, name.as_bytes(), &[0]];
    let mut out = vec![0; len];
    let prk = Prk::new_less_safe(HKDF_SHA256, secret);
    prk.expand(&info, Len(len)).and_then(|okm| okm.fill(&mut out)).expect("it is short");
    out
}

pub(crate) fn server_config() -> Arc<ServerConfig> {
    let certificate = CertificateDer::from(&include_bytes!("testdata/cert.der")[..]);
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("testdata/key.der")[..]);
    let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key.into()));
    let mut config = config.expect("the certificate and its key are valid");
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

pub(crate) fn client_config(version: Version, secrets: Arc<Secrets>) -> Arc<ClientConfig> {
    let mut provider = provider::default_provider();
    provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).ends_with("AES_128_GCM_SHA256"));
    let version = match version {
        Version::Tls12 => &version::TLS12,
        Version::Tls13 => &version::TLS13,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[version]);
    let mut config = config
        .expect("the suites are of both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.key_log = secrets;
    Arc::new(config)
}

/// A verifier that accepts any certificate, since only the server is tested.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
