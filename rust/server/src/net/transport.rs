//! The transport of a plain connection. The delivering task writes at the end of its batch. The connection's own task
//! writes only when the peer is slow.

use super::pipe::{PipeReader, PipeWriter};
use atomic_waker::AtomicWaker;
use parking_lot::RwLock;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use stonechat_broker::{Outbound, Transport};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The most vectored writes of one flush. The connection's task writes the rest.
pub(crate) const WRITES_MAX: usize = 16;

/// The reading half of a connection.
pub(crate) enum ReadHalf {
    /// The half of a socket.
    Tcp(OwnedReadHalf),
    /// The half of a client in this process.
    Pipe(PipeReader),
}

impl ReadHalf {
    /// Reads the next bytes without consuming them. Supported only by sockets, since only they have TLS.
    pub(crate) async fn peek(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(read) => read.peek(into).await,
            Self::Pipe(_) => Err(ErrorKind::Unsupported.into()),
        }
    }
}

impl AsyncRead for ReadHalf {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(read) => Pin::new(read).poll_read(cx, into),
            Self::Pipe(read) => Pin::new(read).poll_read(cx, into),
        }
    }
}

/// The writing half of a connection.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    /// The half of a socket.
    Tcp(OwnedWriteHalf),
    /// The half of a client in this process, which accepts all bytes at once.
    Pipe(PipeWriter),
}

/// The writing side of a connection, shared by all tasks that deliver to it.
#[derive(Debug)]
pub(crate) struct TcpSide {
    /// `None` once the connection is closed: other tasks may keep a reference for longer, and the socket must not stay
    /// open for them. Only the connection's task removes it, so that readers of the lock never wait.
    write: RwLock<Option<WriteHalf>>,
    pub(crate) waker: AtomicWaker,
    /// Whether output waits for the connection's task, where no other task writes.
    pub(crate) output: AtomicBool,
}

impl TcpSide {
    pub(crate) fn new(write: WriteHalf) -> Self {
        Self { write: RwLock::new(Some(write)), waker: AtomicWaker::new(), output: AtomicBool::new(false) }
    }
}

impl TcpSide {
    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &*self.write.read() {
            Some(WriteHalf::Tcp(write)) => write.try_write_vectored(slices),
            Some(WriteHalf::Pipe(write)) => Ok(write.write(slices)),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Polls until the socket accepts more output.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &*self.write.read() {
            Some(WriteHalf::Tcp(write)) => write.as_ref().poll_write_ready(cx).map(|_| ()),
            Some(WriteHalf::Pipe(_)) | None => Poll::Ready(()),
        }
    }

    /// Closes the writing side.
    pub(crate) fn close(&self) {
        *self.write.write() = None;
    }
}

/// The [`Transport`] of a plain connection.
#[derive(Debug)]
pub(crate) struct TcpTransport(pub(crate) Arc<TcpSide>);

impl Transport for TcpTransport {
    fn flush(&self, outbound: &Outbound) {
        outbound.write_out(WRITES_MAX, |slices| self.0.write(slices));
    }

    fn wake(&self) {
        self.0.waker.wake();
    }
}
