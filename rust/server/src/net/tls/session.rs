//! One encrypted connection, without its socket.

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{Error, ServerConfig};
use std::io::IoSlice;
use std::sync::Arc;

/// The most plain bytes that are encrypted before a write.
const PIECE: usize = 64 << 10;
/// The plain bytes of a full record. Smaller slices are gathered, so that not every small message becomes a record.
const RECORD: usize = 16 << 10;
/// The most bytes that a record adds to its plain bytes: header, nonce, content type, tag.
const OVERHEAD: usize = 64;
/// The first byte of a handshake.
pub(crate) const HANDSHAKE: u8 = 0x16;
/// The most memory for encrypted bytes that an idle connection keeps.
const KEPT: usize = 4 << 10;

/// The most input of one call of [`TlsSession::receive`], and so the most that a session keeps. That is far more than a
/// record, and enough for long certificate chains.
pub(crate) const INPUT_MAX: usize = 64 << 10;

/// The result of a piece of input.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Received {
    /// The plain bytes written to the buffer; they precede the end, if there is one.
    pub(crate) plain: usize,
    /// The end of the input, if nothing more can be received.
    pub(crate) end: Option<End>,
}

/// The reason why a session receives nothing more.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    /// The peer closed the session.
    Closed,
    /// The peer broke the protocol.
    Failed(Error),
}

/// The state of an encrypted connection: its keys, input that is not consumed yet, and encrypted bytes that wait to be
/// written.
pub(crate) struct TlsSession {
    connection: UnbufferedServerConnection,
    /// Input that rustls has not consumed.
    ///
    /// rustls keeps offsets into it (of incomplete handshake messages) between calls, and has decrypted and moved parts
    /// of it in place. So each call must get exactly these bytes, at the front of its buffer: with any other buffer
    /// rustls panics.
    partial: Vec<u8>,
    outgoing: Vec<u8>,
    written: usize,
    /// Once this is set, rustls gets no more input, because its offsets don't fit any buffer then.
    end: Option<End>,
}

/// A text that makes a session panic in tests, on the wire or in decrypted bytes.
#[cfg(test)]
pub(crate) const INJECTED: &str = "panic-in-the-encryption.test";

#[cfg(test)]
fn injected(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(1024)];
    assert!(
        !bytes.windows(INJECTED.len()).any(|part| part == INJECTED.as_bytes()),
        "injected into a TLS session"
    );
}

impl TlsSession {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { connection, partial: Vec::new(), outgoing: Vec::new(), written: 0, end: None })
    }

    /// Returns whether the handshake is incomplete.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Returns the reason why nothing more is received, if there is one.
    pub(crate) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Returns the version and the cipher suite, by Go's names.
    pub(crate) fn agreed(&self) -> (&'static str, String) {
        let version = match self.connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        };
        let suite = self.connection.negotiated_cipher_suite();
        let suite = suite.map(|suite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1));
        (version, suite.unwrap_or_default())
    }

    /// Copies the unconsumed input to the front of the buffer for the next read. Returns its length, which is less than
    /// [`INPUT_MAX`].
    pub(crate) fn prepare(&mut self, buffer: &mut [u8]) -> usize {
        let len = self.partial.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.partial[..len]);
        len
    }

    /// Processes input of at most [`INPUT_MAX`] bytes. It must begin with the bytes that [`TlsSession::prepare`] copied,
    /// followed by new input. Plain bytes go to `plain`, which must be as large as the input.
    pub(crate) fn receive(&mut self, input: &mut [u8], plain: &mut [u8]) -> Received {
        let mut received = Received::default();
        if self.end.is_none() {
            let mut used = 0;
            #[cfg(test)]
            injected(input);
            if let Err(error) = self.process(input, plain, &mut used, &mut received.plain) {
                self.end = Some(End::Failed(error));
            }
            #[cfg(test)]
            injected(&plain[..received.plain]);
            self.keep(&input[used..]);
        }
        received.end.clone_from(&self.end);
        received
    }

    /// Makes rustls process the input. `used` counts the consumed bytes, `len` the plain bytes.
    fn process(
        &mut self,
        input: &mut [u8],
        plain: &mut [u8],
        used: &mut usize,
        len: &mut usize,
    ) -> Result<(), Error> {
        loop {
            let UnbufferedStatus { mut discard, state, .. } =
                self.connection.process_tls_records(&mut input[*used..]);
            let mut waits = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        let place = plain.get_mut(*len..*len + record.payload.len());
                        let place =
                            place.ok_or_else(|| Error::General("more plain bytes than input".into()))?;
                        place.copy_from_slice(record.payload);
                        *len += record.payload.len();
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode_record(data, &mut self.outgoing)?,
                // `outgoing` holds the encoded records and is written in order.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.end = Some(End::Closed);
                    waits = true;
                }
                Ok(_) => waits = true,
                Err(error) => {
                    *used += discard;
                    self.take_alerts(&mut input[*used..]);
                    return Err(error);
                }
            }
            *used += discard;
            if waits {
                return Ok(());
            }
        }
    }

    /// Keeps the input that rustls has not consumed, for the next call.
    fn keep(&mut self, rest: &[u8]) {
        if self.end.is_none() && rest.len() >= INPUT_MAX {
            self.end = Some(End::Failed(Error::General("a handshake message is too large".into())));
        }
        if rest.is_empty() || self.end.is_some() {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
    }

    /// Encodes the alerts for the peer after an error. `rest` is the unconsumed input.
    fn take_alerts(&mut self, rest: &mut [u8]) {
        // Only while there are alerts: otherwise rustls would continue to process the input.
        while self.connection.wants_write() {
            let state = self.connection.process_tls_records(rest).state;
            let Ok(ConnectionState::EncodeTlsData(data)) = state else { return };
            // An alert is optional; the connection ends anyway.
            if encode_record(data, &mut self.outgoing).is_err() {
                return;
            }
        }
    }

    /// Encrypts bytes from the front of `slices`, at most a piece; returns how many.
    pub(crate) fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Error> {
        self.with_traffic(|traffic, outgoing| {
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

    /// Announces the end of the output. The session then receives nothing more either: rustls would fail an assertion, in
    /// debug builds, if it had to send an alert now.
    pub(crate) fn say_goodbye(&mut self) {
        // Nothing is sent if the peer is gone or the handshake is incomplete.
        let _ = self.with_traffic(|traffic, outgoing| {
            encode(outgoing, |out| {
                traffic.queue_close_notify(out).map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size.required_size),
                    EncryptError::EncryptExhausted => None,
                })
            })
        });
        self.end.get_or_insert(End::Closed);
    }

    /// Calls `f` once application data may be sent; remaining handshake output precedes it.
    fn with_traffic<R>(
        &mut self,
        f: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        if let Some(End::Failed(error)) = &self.end {
            return Err(error.clone());
        }
        let mut f = Some(f);
        loop {
            let UnbufferedStatus { discard, state, .. } =
                self.connection.process_tls_records(&mut self.partial);
            let result = match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    f.take().map(|f| f(&mut traffic, &mut self.outgoing))
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode_record(data, &mut self.outgoing).err().map(Err)
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => None,
                Ok(_) => Some(Err(Error::HandshakeNotComplete)),
                Err(error) => {
                    self.end = Some(End::Failed(error.clone()));
                    Some(Err(error))
                }
            };
            self.partial.drain(..discard.min(self.partial.len()));
            if let Some(result) = result {
                return result;
            }
        }
    }

    /// Returns the encrypted bytes that wait to be written.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.written..]
    }

    /// Records that `n` outgoing bytes were written.
    pub(crate) fn sent(&mut self, n: usize) {
        self.written += n;
        if self.written >= self.outgoing.len() {
            self.written = 0;
            self.outgoing.clear();
        }
    }

    /// Frees memory that only a busy connection needs.
    pub(crate) fn rest(&mut self) {
        if self.outgoing.is_empty() && self.outgoing.capacity() > KEPT {
            self.outgoing = Vec::new();
        }
    }
}

/// Calls `write` to append to `out`, with as much room as it asks for.
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

/// Appends a handshake record to `out`.
fn encode_record(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> Result<(), Error> {
    encode(out, |out| {
        data.encode(out).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size.required_size),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

/// Encrypts `plain` into records at the end of `out`.
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

#[cfg(test)]
mod tests {
    use super::super::oracle::{self, Step, Version};
    use proptest::prelude::*;

    /// Types of records.
    const CCS: u8 = 20;
    const ALERT: u8 = 21;
    const HANDSHAKE: u8 = 22;
    const DATA: u8 = 23;

    #[test]
    fn part_of_a_client_hello_and_a_record_of_another_kind() {
        let mut hello = vec![1, 0, 0, 200];
        hello.resize(38, 7);
        for version in [Version::Tls12, Version::Tls13] {
            for (kind, payload) in
                [(DATA, vec![1; 20]), (ALERT, vec![1, 0]), (ALERT, vec![2, 40]), (CCS, vec![1])]
            {
                let steps = |together| {
                    let first = Step::Record { kind: HANDSHAKE, payload: hello.clone() };
                    let second = Step::Record { kind, payload: payload.clone() };
                    let between = if together { 0 } else { usize::MAX };
                    [first, Step::Deliver(between), second, Step::Deliver(usize::MAX)]
                };
                assert!(oracle::run(version, &steps(true)).is_failed());
                assert!(oracle::run(version, &steps(false)).is_failed());
            }
        }
    }

    #[test]
    fn an_answer_while_a_message_of_the_handshake_is_not_complete() {
        let steps = [
            Step::Handshake,
            Step::Sealed { kind: DATA, payload: b"PING\r\n".to_vec() },
            Step::Sealed { kind: HANDSHAKE, payload: vec![24, 0] },
            Step::Deliver(usize::MAX),
            Step::Write(6),
            Step::Sealed { kind: HANDSHAKE, payload: vec![0, 1, 1] },
            Step::Deliver(usize::MAX),
            Step::Write(6),
        ];
        let end = oracle::run(Version::Tls13, &steps);
        assert!(!end.is_failed());
        assert_eq!((end.received, end.answered), (b"PING\r\n".to_vec(), 12));
    }

    #[test]
    fn a_record_of_the_handshake_without_content_before_an_answer() {
        let steps = [
            Step::Handshake,
            Step::Sealed { kind: HANDSHAKE, payload: vec![] },
            Step::Sealed { kind: DATA, payload: b"PING\r\n".to_vec() },
            Step::Deliver(usize::MAX),
            Step::Write(6),
            Step::Sealed { kind: DATA, payload: b"PING\r\n".to_vec() },
            Step::Deliver(usize::MAX),
            Step::Goodbye,
        ];
        let end = oracle::run(Version::Tls13, &steps);
        assert!(!end.is_failed());
        assert_eq!((end.received.len(), end.answered), (12, 6));
    }

    #[test]
    fn data_before_a_broken_record_is_received() {
        for last in [
            Step::Record { kind: DATA, payload: vec![9; 30] },
            Step::Sealed { kind: ALERT, payload: vec![1, 0] },
        ] {
            let data = Step::Sealed { kind: DATA, payload: b"PUB a 0\r\n\r\n".to_vec() };
            let end = oracle::run(
                Version::Tls13,
                &[Step::Handshake, data, last, Step::Deliver(usize::MAX), Step::Write(1)],
            );
            assert_eq!(end.received, b"PUB a 0\r\n\r\n");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// A session and rustls' buffered interface agree on records in any slicing.
        #[test]
        fn agrees_with_the_buffered_interface(script in proptest::collection::vec(any::<u8>(), 0..160)) {
            oracle::play(&script);
        }

        #[test]
        fn agrees_once_the_handshake_is_done(script in proptest::collection::vec(any::<u8>(), 0..160), tls12 in any::<bool>()) {
            oracle::play(&[&[u8::from(tls12), oracle::HANDSHAKE_STEP][..], &script].concat());
        }
    }
}
