//! The task that owns a connection: it reads, drives the session, and writes when the peer was slow.

use super::pipe::{PipeReader, PipeWriter};
use super::ticker::Ticker;
use super::tls::{OwnedTransport, TlsContext, TlsSession};
use super::transport::{ReadHalf, TcpSide, TcpTransport, WRITES_MAX, WriteHalf};
use super::turns::Turns;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use stonechat_auth::{ConnectionKind, Credentials, Verdict};
use stonechat_broker::{Broker, Client, ClientSession, ClosedReason, PeerAddress, Progress, Transport};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tracing::error;

/// The most bytes of one read. The buffer belongs to the thread, so idle connections have none.
const READ_BUFFER: usize = 128 << 10;
/// The time after which a connection that always has work lets others of its thread run. It checks the time after each
/// read and each slice of deliveries. Yielding has a cost: the task may continue on another thread.
const TURN: Duration = Duration::from_millis(1);
/// The longest time that a closing connection may take to send pending bytes, as in nats-server 2.15.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The most input that is discarded on closing. Discarding lets the peer receive the last bytes instead of a reset.
const DISCARD_MAX: usize = 1 << 20;

thread_local! {
    pub(super) static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into());
}

/// The reason why the task woke up.
pub(super) enum Event {
    Progress(Progress),
    /// A flag was raised, or the connection is closing.
    Woken,
    /// The socket accepts more output.
    Writable,
    Ended(ClosedReason),
}

/// The encryption of a connection, and the task that writes.
pub(super) enum Layer {
    /// Unencrypted; the delivering task writes.
    Plain,
    /// Unencrypted, but only the connection's task writes, because encryption may still begin.
    Owned,
    /// Encrypted, by the connection's task.
    Tls(Box<TlsSession>),
}

/// Serves a connection until it ends.
pub(crate) fn serve(
    stream: TcpStream,
    peer: PeerAddress,
    broker: Arc<Broker>,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
    tls: Option<Arc<TlsContext>>,
) -> impl Future<Output = ()> {
    // The broker batches small writes, so waiting for more would only add delay.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    serve_halves(ReadHalf::Tcp(read), WriteHalf::Tcp(write), peer, broker, ticker, turns, tls)
}

/// Serves a client in this process until it ends. As in nats-server, there is no encryption.
pub(crate) fn serve_pipe(
    read: PipeReader,
    write: PipeWriter,
    broker: Arc<Broker>,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
) -> impl Future<Output = ()> {
    // Go's name for the address of a pipe.
    let peer = PeerAddress { ip: "pipe".into(), port: 0 };
    serve_halves(ReadHalf::Pipe(read), WriteHalf::Pipe(write), peer, broker, ticker, turns, None)
}

async fn serve_halves(
    read: ReadHalf,
    write: WriteHalf,
    peer: PeerAddress,
    broker: Arc<Broker>,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
    tls: Option<Arc<TlsContext>>,
) {
    let side = Arc::new(TcpSide::new(write));
    let (layer, transport): (_, Box<dyn Transport>) = match tls {
        Some(_) => (Layer::Owned, Box::new(OwnedTransport(side.clone()))),
        None => (Layer::Plain, Box::new(TcpTransport(side.clone()))),
    };
    let (client, fits) = broker.add_client(peer, transport);
    let session = ClientSession::new(broker.clone(), client.clone(), Instant::now());
    let mut connection = Connection { read, side, layer, early: Vec::new(), session, client, ticker, turns };
    if fits {
        let secured = match tls {
            // Boxed: otherwise each connection would reserve memory for this state, though nearly all are unencrypted.
            Some(tls) => Box::pin(connection.secure(&tls)).await,
            None => Ok(()),
        };
        connection.schedule();
        let reason = match secured {
            Ok(()) => connection.run(&broker).await,
            Err(reason) => {
                // Bytes that were meant for an encrypted connection must not be sent unencrypted.
                connection.client.outbound.close();
                reason
            }
        };
        connection.client.close(reason);
    } else {
        connection.session.refuse();
    }
    connection.close().await;
}

pub(super) struct Connection {
    pub(super) read: ReadHalf,
    pub(super) side: Arc<TcpSide>,
    pub(super) layer: Layer,
    /// Plain input that arrived together with the end of the handshake.
    pub(super) early: Vec<u8>,
    pub(super) session: ClientSession,
    pub(super) client: Arc<Client>,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
}

/// Closes the socket on every way out: others may keep a reference to the connection for longer.
impl Drop for Connection {
    fn drop(&mut self) {
        if std::thread::panicking() {
            error!("{} - Internal error: the connection's task panicked", self.client.label());
        }
        self.side.close();
    }
}

impl Connection {
    async fn run(&mut self, broker: &Arc<Broker>) -> ClosedReason {
        let mut turn = Instant::now();
        loop {
            let mut waited = false;
            let next = poll_fn(|cx| {
                let event = self.poll_event(cx);
                waited |= event.is_pending();
                event
            });
            let event = next.await;
            if waited {
                turn = Instant::now();
            } else if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
            let mut progress = match event {
                Event::Progress(progress) => progress,
                Event::Woken => {
                    let progress = self.session.woken(Instant::now());
                    self.schedule();
                    progress
                }
                Event::Writable => {
                    self.write_on();
                    continue;
                }
                Event::Ended(reason) => return reason,
            };
            loop {
                match progress {
                    Progress::Close => return ClosedReason::ClientClosed,
                    Progress::Read(pause) => {
                        if !pause.is_zero() {
                            tokio::time::sleep(pause).await;
                        }
                        break;
                    }
                    // The connection continues at once unless its turn is over.
                    Progress::Yield => break,
                    Progress::Authenticate(credentials) => {
                        // Boxed: most connections never need memory for this state.
                        let verdict = Box::pin(self.check_aside(broker, credentials.clone())).await;
                        progress = match verdict {
                            Some(verdict) => self.session.authenticated(credentials, verdict, Instant::now()),
                            None => Progress::Close,
                        };
                    }
                }
            }
        }
    }

    /// Checks a password on a blocking thread, after a wait for its turn, since hashing takes long. `None` if the
    /// connection closes before.
    async fn check_aside(&mut self, broker: &Broker, credentials: Credentials) -> Option<Verdict> {
        let address = self.client.peer.ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut turn = pin!(self.turns.clone().take(address));
        let turn = poll_fn(|cx| {
            self.side.waker.register(cx.waker());
            if self.client.is_flagged() {
                // The time to log in may be over.
                let _ = self.session.woken(Instant::now());
                self.schedule();
            }
            match self.client.closing() {
                Some(_) => Poll::Ready(None),
                None => turn.as_mut().poll(cx).map(Some),
            }
        });
        let turn = turn.await?;
        let authenticator = broker.authenticator();
        let check = move || {
            let verdict = authenticator.check(&credentials, ConnectionKind::Standard);
            // The turn ends only now: the thread was busy even if the connection has closed meanwhile.
            drop(turn);
            verdict
        };
        Some(tokio::task::spawn_blocking(check).await.unwrap_or(Verdict::Denied))
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.side.waker.register(cx.waker());
        if self.client.closing().is_some() || self.client.is_flagged() {
            return Poll::Ready(Event::Woken);
        }
        if self.client.outbound.is_broken() {
            return Poll::Ready(Event::Ended(ClosedReason::WriteError));
        }
        if self.waits_for_peer() {
            if self.session.blocked(Instant::now()) {
                self.schedule();
            }
            if self.side.poll_writable(cx).is_ready() {
                return Poll::Ready(Event::Writable);
            }
        } else if self.side.output.load(Ordering::Acquire) {
            return Poll::Ready(Event::Writable);
        }
        if self.session.is_busy() {
            return Poll::Ready(Event::Progress(self.session.resume(Instant::now())));
        }
        self.poll_read(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if matches!(self.layer, Layer::Tls(_)) {
            return self.poll_read_secured(cx);
        }
        BUFFER.with_borrow_mut(|buffer| match self.session.prepare(buffer) {
            Some(start) => {
                let mut into = ReadBuf::new(&mut buffer[start..]);
                let result = Pin::new(&mut self.read).poll_read(cx, &mut into);
                let filled = into.filled().len();
                match self.arrived(result, filled) {
                    Poll::Ready(None) => Poll::Ready(Event::Progress(
                        self.session.ingest(&buffer[..start + filled], Instant::now()),
                    )),
                    Poll::Ready(Some(ended)) => Poll::Ready(ended),
                    Poll::Pending => Poll::Pending,
                }
            }
            None => {
                let space = self.session.partial_space();
                let len = space.len();
                let mut into = ReadBuf::new(space);
                let result = Pin::new(&mut self.read).poll_read(cx, &mut into);
                let filled = into.filled().len();
                let progress = self.session.partial_filled(len, filled, Instant::now());
                match ready!(self.arrived(result, filled)) {
                    None => Poll::Ready(Event::Progress(progress)),
                    Some(ended) => Poll::Ready(ended),
                }
            }
        })
    }

    /// Translates the result of a read: input, the end, or nothing yet.
    pub(super) fn arrived(&mut self, result: Poll<io::Result<()>>, filled: usize) -> Poll<Option<Event>> {
        match result {
            Poll::Pending => {
                self.session.rest();
                if let Layer::Tls(tls) = &mut self.layer {
                    tls.rest();
                }
                Poll::Pending
            }
            Poll::Ready(Ok(())) if filled > 0 => Poll::Ready(None),
            Poll::Ready(Ok(())) => Poll::Ready(Some(Event::Ended(ClosedReason::ClientClosed))),
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                Poll::Ready(Some(Event::Ended(ClosedReason::ClientClosed)))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Some(Event::Ended(ClosedReason::ReadError))),
        }
    }

    /// Continues to write after the socket accepts output again.
    fn write_on(&mut self) {
        self.client.outbound.unblock();
        self.write();
        if !self.waits_for_peer() {
            self.session.unblocked();
        }
    }

    /// Returns whether output waits for the peer.
    fn waits_for_peer(&self) -> bool {
        let encrypted = matches!(&self.layer, Layer::Tls(tls) if !tls.outgoing().is_empty());
        encrypted || self.client.outbound.is_blocked()
    }

    pub(super) fn write(&mut self) {
        // Cleared before pending output is read: output that is appended later sets it again.
        self.side.output.store(false, Ordering::SeqCst);
        match &mut self.layer {
            Layer::Plain => self.client.outbound.flush(),
            Layer::Owned => self.client.outbound.write_out(WRITES_MAX, |slices| self.side.write(slices)),
            Layer::Tls(tls) => tls.write_out(&self.client.outbound, &self.side),
        }
    }

    fn schedule(&self) {
        self.ticker.schedule(self.session.deadline(), &self.client);
    }

    async fn close(mut self) {
        while self.session.is_busy() && self.session.wind_up(Instant::now()) {
            tokio::task::yield_now().await;
        }
        let reason = self.client.closing().unwrap_or(ClosedReason::ClientClosed);
        if !reason.is_abrupt() && !self.client.outbound.is_broken() {
            // Both steps may fail, because the peer may be gone.
            let _ = tokio::time::timeout(LAST_WORDS, self.drain()).await;
        }
        self.session.close(reason);
        self.side.close();
        // The input of a peer that answers nothing is not read any more, so that its writes fail.
        let is_gone = matches!(reason, ClosedReason::ClientClosed | ClosedReason::StaleConnection);
        if !reason.is_abrupt() && !is_gone {
            let _ = tokio::time::timeout(LAST_WORDS, self.discard_input()).await;
        }
    }

    async fn drain(&mut self) {
        loop {
            self.write();
            let pending = self.client.outbound.progress().0 > 0 || self.waits_for_peer();
            if !pending || self.client.outbound.is_broken() {
                break;
            }
            poll_fn(|cx| self.side.poll_writable(cx)).await;
            self.client.outbound.unblock();
        }
        if let Layer::Tls(tls) = &mut self.layer {
            tls.say_goodbye();
            tls.write_out(&self.client.outbound, &self.side);
        }
    }

    /// Reads until the peer has closed too. Closing a socket with unread input resets it, and the peer would lose the
    /// last bytes sent to it.
    async fn discard_input(&mut self) {
        let mut total = 0;
        while total < DISCARD_MAX {
            let read = poll_fn(|cx| {
                BUFFER.with_borrow_mut(|buffer| {
                    let mut into = ReadBuf::new(buffer);
                    let result = ready!(Pin::new(&mut self.read).poll_read(cx, &mut into));
                    Poll::Ready(result.map(|()| into.filled().len()))
                })
            });
            match read.await {
                Ok(n) if n > 0 => total += n,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
