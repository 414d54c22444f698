//! One encrypted connection, without its socket.

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{Error, ServerConfig};
use std::io::IoSlice;
use std::sync::Arc;

/// Plain bytes that are encrypted into one piece before it is written.
const PIECE: usize = 64 << 10;
/// A record's plain bytes; what is smaller is gathered, so that a small message does not become a record of its own.
const RECORD: usize = 16 << 10;
/// What a record is longer than its plain bytes, at most: header, nonce, content type, tag.
const OVERHEAD: usize = 64;
/// The first byte of a handshake.
pub(crate) const HANDSHAKE: u8 = 0x16;
/// Memory for encrypted bytes that an idle connection may keep.
const KEPT: usize = 4 << 10;

/// What a piece of input came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Plain bytes that were written to the buffer.
    pub(crate) plain: usize,
    /// The peer will say nothing more.
    pub(crate) ended: bool,
}

/// The state of an encrypted connection: its keys, the start of a record whose rest is missing, and what is encrypted
/// and waits to be written.
pub(crate) struct TlsSession {
    connection: UnbufferedServerConnection,
    partial: Vec<u8>,
    outgoing: Vec<u8>,
    written: usize,
    ended: bool,
}

impl TlsSession {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { connection, partial: Vec::new(), outgoing: Vec::new(), written: 0, ended: false })
    }

    /// Whether the handshake is still under way.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The version and the cipher suite by the names that Go gives them.
    pub(crate) fn agreed(&self) -> (&'static str, String) {
        let version = match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let suite = self.connection.negotiated_cipher_suite();
        let suite = suite.map(|suite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1));
        (version, suite.unwrap_or_default())
    }

    /// Puts the start of a record at the front of the buffer that is read into next; how much that is.
    pub(crate) fn prepare(&mut self, buffer: &mut [u8]) -> usize {
        let len = self.partial.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.partial[..len]);
        len
    }

    /// Takes what was read, the start of a record of before at its front. Plain bytes go to `plain`, which must be as
    /// large as the input.
    pub(crate) fn receive(&mut self, input: &mut [u8], plain: &mut [u8]) -> Result<Received, Error> {
        let mut used = 0;
        let mut received = Received::default();
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut input[used..]);
            let mut waits = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        let place = plain.get_mut(received.plain..received.plain + record.payload.len());
                        let place =
                            place.ok_or_else(|| Error::General("more plain bytes than input".into()))?;
                        place.copy_from_slice(record.payload);
                        received.plain += record.payload.len();
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut self.outgoing, |out| {
                    data.encode(out).map_err(|error| match error {
                        rustls::unbuffered::EncodeError::InsufficientSize(size) => Some(size.required_size),
                        _ => None,
                    })
                })?,
                // What was encoded lies in `outgoing`, which is written in order.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    waits = self.ended;
                    self.ended = true;
                }
                Ok(_) => waits = true,
                Err(error) => {
                    self.take_alert();
                    return Err(error);
                }
            }
            used += discard;
            if waits {
                break;
            }
        }
        received.ended = self.ended;
        self.partial.clear();
        if used < input.len() && !self.ended {
            self.partial.extend_from_slice(&input[used..]);
        } else if self.partial.capacity() > 0 {
            self.partial = Vec::new();
        }
        Ok(received)
    }

    /// After an error: what the peer is told of it.
    fn take_alert(&mut self) {
        if let Ok(ConnectionState::EncodeTlsData(mut data)) =
            self.connection.process_tls_records(&mut []).state
        {
            // It is a courtesy; the connection ends anyway.
            let _ = encode(&mut self.outgoing, |out| data.encode(out).map_err(|_| Some(OVERHEAD)));
        }
    }

    /// Encrypts from the front of these bytes, a piece at most; how many of them that took.
    pub(crate) fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Error> {
        let outgoing = &mut self.outgoing;
        with_traffic(&mut self.connection, outgoing, |traffic, outgoing| {
            let mut taken = 0;
            let mut gathered: Vec<u8> = Vec::new();
            for slice in slices {
                let mut rest: &[u8] = slice;
                while !rest.is_empty() && taken < PIECE {
                    if gathered.is_empty() && rest.len() >= RECORD {
                        let n = rest.len().min(PIECE - taken);
                        seal(traffic, &rest[..n], outgoing)?;
                        (taken, rest) = (taken + n, &rest[n..]);
                        continue;
                    }
                    let n = rest.len().min(RECORD - gathered.len()).min(PIECE - taken);
                    gathered.extend_from_slice(&rest[..n]);
                    (taken, rest) = (taken + n, &rest[n..]);
                    if gathered.len() == RECORD {
                        seal(traffic, &gathered, outgoing)?;
                        gathered.clear();
                    }
                }
            }
            if !gathered.is_empty() {
                seal(traffic, &gathered, outgoing)?;
            }
            Ok(taken)
        })
    }

    /// Says that nothing more will come.
    pub(crate) fn say_goodbye(&mut self) {
        // The peer may be gone or the handshake not done: then nothing is said.
        let _ = with_traffic(&mut self.connection, &mut self.outgoing, |traffic, outgoing| {
            encode(outgoing, |out| {
                traffic.queue_close_notify(out).map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size.required_size),
                    EncryptError::EncryptExhausted => None,
                })
            })
        });
    }

    /// What is encrypted and waits to be written.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.written..]
    }

    /// So much of it was written.
    pub(crate) fn sent(&mut self, n: usize) {
        self.written += n;
        if self.written >= self.outgoing.len() {
            self.written = 0;
            self.outgoing.clear();
        }
    }

    /// Gives up memory that only a busy connection needs.
    pub(crate) fn rest(&mut self) {
        if self.outgoing.is_empty() && self.outgoing.capacity() > KEPT {
            self.outgoing = Vec::new();
        }
    }
}

/// Has `write` append to `out` with as much room as it asks for.
fn encode(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Error> {
    let from = out.len();
    let mut room = OVERHEAD;
    for _ in 0..2 {
        out.resize(from + room, 0);
        match write(&mut out[from..]) {
            Ok(n) => {
                out.truncate(from + n);
                return Ok(());
            }
            Err(Some(needed)) => room = needed,
            Err(None) => break,
        }
    }
    out.truncate(from);
    Err(Error::General("can't encode a record".into()))
}

/// Encrypts into records at the end of `out`.
fn seal(
    traffic: &mut WriteTraffic<'_, ServerConnectionData>,
    plain: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let from = out.len();
    out.resize(from + plain.len() + plain.len().div_ceil(RECORD).max(1) * OVERHEAD, 0);
    match traffic.encrypt(plain, &mut out[from..]) {
        Ok(n) => {
            out.truncate(from + n);
            Ok(())
        }
        Err(_) => {
            out.truncate(from);
            Err(Error::EncryptError)
        }
    }
}

/// Calls `f` once application data may be sent; what the handshake still has to say goes out before it.
fn with_traffic<R>(
    connection: &mut UnbufferedServerConnection,
    outgoing: &mut Vec<u8>,
    f: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> Result<R, Error>,
) -> Result<R, Error> {
    loop {
        match connection.process_tls_records(&mut []).state? {
            ConnectionState::WriteTraffic(mut traffic) => return f(&mut traffic, outgoing),
            ConnectionState::EncodeTlsData(mut data) => {
                encode(outgoing, |out| data.encode(out).map_err(|_| Some(RECORD)))?;
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {}
            _ => return Err(Error::HandshakeNotComplete),
        }
    }
}
