//! The parts of a connection that only encryption needs: the handshake, then reads and writes through [`TlsSession`].

use super::connection::{BUFFER, Connection, Event, Layer};
use super::tls::{End, HANDSHAKE, INPUT_MAX, TlsContext, TlsSession};
use super::transport::{TcpSide, WRITES_MAX};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use stonechat_broker::{ClosedReason, Outbound, Progress, TlsFacts};
use stonechat_config::HandshakeFirst;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::timeout;
use tracing::{debug, error};

/// The log text for a client that does not encrypt, in Go's words, which programs search for.
const NOT_TLS: &str = "tls: first record does not look like a TLS handshake";

thread_local! {
    /// Encrypted input of one read. Decrypted, it always fits into the plain buffer.
    static CIPHER: RefCell<Box<[u8]>> = RefCell::new(vec![0; INPUT_MAX].into());
}

impl TlsSession {
    /// Encrypts and writes pending output. Bytes that the socket did not accept stay in [`TlsSession::outgoing`].
    pub(super) fn write_out(&mut self, outbound: &Outbound, side: &TcpSide) {
        match self.write_outgoing(side) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return outbound.fail(),
        }
        outbound.write_out(WRITES_MAX, |slices| {
            if !self.write_outgoing(side)? {
                return Err(ErrorKind::WouldBlock.into());
            }
            let taken = self.encrypt(slices).map_err(io::Error::other)?;
            self.write_outgoing(side)?;
            Ok(taken)
        });
    }

    /// Writes the encrypted bytes; false if the socket does not accept all of them now.
    fn write_outgoing(&mut self, side: &TcpSide) -> io::Result<bool> {
        while !self.outgoing().is_empty() {
            match side.write(&[IoSlice::new(self.outgoing())]) {
                Ok(n) => self.sent(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Connection {
    /// Completes the handshake, unless the client stays unencrypted and the options allow that.
    pub(super) async fn secure(&mut self, context: &TlsContext) -> Result<(), ClosedReason> {
        let first = match context.first {
            HandshakeFirst::Never => false,
            HandshakeFirst::Always => true,
            HandshakeFirst::Fallback(wait) => self.first_byte(wait).await.is_some(),
        };
        if !first {
            // INFO fits into any socket's buffer.
            self.write();
        }
        if context.optional && self.first_byte(context.timeout).await != Some(HANDSHAKE) {
            return Ok(());
        }
        debug!("{} - Starting TLS client connection handshake", self.client.label());
        let handshake = match TlsSession::new(context.config.clone()) {
            Ok(tls) => timeout(context.timeout, self.handshake(tls)).await,
            Err(error) => Ok(Err(error.to_string())),
        };
        let label = self.client.label();
        match handshake {
            Ok(Ok(mut facts)) => {
                debug!("{label} - TLS handshake complete");
                debug!("{label} - TLS version {}, cipher suite {}", facts.version, facts.cipher_suite);
                facts.first = first;
                self.client.secured(facts);
                self.session.secured(Instant::now());
                return Ok(());
            }
            // The server itself ended the connection.
            _ if self.client.closing().is_some() => {}
            Ok(Err(why)) if why == NOT_TLS => debug!("{label} - TLS handshake error: {why}"),
            Ok(Err(why)) => error!("{label} - TLS handshake error: {why}"),
            Err(_) => debug!("{label} - TLS handshake timeout"),
        }
        Err(self.client.closing().unwrap_or(ClosedReason::TlsHandshakeFailure))
    }

    /// Waits for the client's first byte, without consuming it; `None` if it does not arrive in time.
    async fn first_byte(&mut self, wait: Duration) -> Option<u8> {
        let mut byte = [0];
        match timeout(wait, self.read.peek(&mut byte)).await {
            Ok(Ok(1)) => Some(byte[0]),
            _ => None,
        }
    }

    async fn handshake(&mut self, mut tls: TlsSession) -> Result<TlsFacts, String> {
        let mut started = false;
        while tls.is_handshaking() {
            let read = poll_fn(|cx| self.poll_handshake(cx, &mut tls, &mut started)).await;
            // The output is sent even after an error: it then holds the alert.
            while !tls.write_outgoing(&self.side).map_err(|error| error.to_string())? {
                poll_fn(|cx| self.side.poll_writable(cx)).await;
            }
            read?;
        }
        let (version, cipher_suite) = tls.agreed();
        self.layer = Layer::Tls(Box::new(tls));
        // Output from before the handshake, such as INFO, must be written now.
        self.side.output.store(true, Ordering::Release);
        Ok(TlsFacts { version, cipher_suite, first: false })
    }

    fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        tls: &mut TlsSession,
        started: &mut bool,
    ) -> Poll<Result<(), String>> {
        self.side.waker.register(cx.waker());
        if self.client.closing().is_some() {
            return Poll::Ready(Err("the connection is closing".into()));
        }
        CIPHER.with_borrow_mut(|cipher| {
            let start = tls.prepare(cipher);
            let mut into = ReadBuf::new(&mut cipher[start..]);
            let result = ready!(Pin::new(&mut self.read).poll_read(cx, &mut into));
            let filled = into.filled().len();
            Poll::Ready(match result {
                Ok(()) if filled == 0 => Err("EOF".into()),
                Ok(()) if !std::mem::replace(started, true) && cipher[0] != HANDSHAKE => Err(NOT_TLS.into()),
                Ok(()) => BUFFER.with_borrow_mut(|plain| {
                    let received = tls.receive(&mut cipher[..start + filled], plain);
                    self.early.extend_from_slice(&plain[..received.plain]);
                    match received.end {
                        None => Ok(()),
                        Some(End::Closed) => Err("EOF".into()),
                        Some(End::Failed(error)) => Err(error.to_string()),
                    }
                }),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    pub(super) fn poll_read_secured(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            return Poll::Ready(Event::Progress(self.session.ingest_more(&early, Instant::now())));
        }
        CIPHER.with_borrow_mut(|cipher| {
            let Layer::Tls(tls) = &mut self.layer else { return Poll::Pending };
            if let Some(end) = tls.end().cloned() {
                return Poll::Ready(Event::Ended(self.end_reason(&end)));
            }
            let start = tls.prepare(cipher);
            let mut into = ReadBuf::new(&mut cipher[start..]);
            let result = Pin::new(&mut self.read).poll_read(cx, &mut into);
            let filled = into.filled().len();
            if let Some(ended) = ready!(self.arrived(result, filled)) {
                return Poll::Ready(ended);
            }
            BUFFER.with_borrow_mut(|plain| self.ingest_secured(&mut cipher[..start + filled], plain))
        })
    }

    fn ingest_secured(&mut self, cipher: &mut [u8], plain: &mut [u8]) -> Poll<Event> {
        let Layer::Tls(tls) = &mut self.layer else { return Poll::Pending };
        let front = self.session.prepare(plain);
        let received = tls.receive(cipher, &mut plain[front.unwrap_or(0)..]);
        Poll::Ready(match (received.plain, front) {
            // If data precedes the end, the next read finds the end again.
            (0, _) => match &received.end {
                Some(end) => Event::Ended(self.end_reason(end)),
                None => Event::Progress(Progress::Read(Duration::ZERO)),
            },
            (n, Some(front)) => Event::Progress(self.session.ingest(&plain[..front + n], Instant::now())),
            (n, None) => Event::Progress(self.session.ingest_more(&plain[..n], Instant::now())),
        })
    }

    /// Returns the reason for which the connection closes after its encryption has ended.
    fn end_reason(&mut self, end: &End) -> ClosedReason {
        match end {
            End::Closed => ClosedReason::ClientClosed,
            End::Failed(error) => {
                if let Layer::Tls(tls) = &mut self.layer {
                    // The alert for the peer. It is optional, so an error is ignored.
                    let _ = tls.write_outgoing(&self.side);
                }
                debug!("{} - TLS read error: {error}", self.client.label());
                ClosedReason::ReadError
            }
        }
    }
}
