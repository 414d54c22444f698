//! How a plain TCP connection's bytes leave: written by whoever ends its batch, by the connection's own task only when
//! the peer is slow.

use atomic_waker::AtomicWaker;
use parking_lot::RwLock;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use stonechat_broker::{Outbound, Transport};
use tokio::net::tcp::OwnedWriteHalf;

/// Vectored writes that one flush makes before it leaves the rest to the connection's task, so that a publisher is not
/// kept by what others append meanwhile.
pub(crate) const WRITES_MAX: usize = 16;

/// The writing side of a connection, shared by all who deliver to it.
#[derive(Debug)]
pub(crate) struct TcpSide {
    /// `None` once the connection is closed: others may know the connection for longer, and the socket must not stay open
    /// for them. Only its own task takes it out, so that readers never wait.
    write: RwLock<Option<OwnedWriteHalf>>,
    pub(crate) waker: AtomicWaker,
    /// The peer takes no more: the task waits until it does.
    pub(crate) blocked: AtomicBool,
    /// A write failed.
    pub(crate) broken: AtomicBool,
    /// Something waits to be written by the task, where nobody else writes.
    pub(crate) output: AtomicBool,
}

impl TcpSide {
    pub(crate) fn new(write: OwnedWriteHalf) -> Self {
        Self {
            write: RwLock::new(Some(write)),
            waker: AtomicWaker::new(),
            blocked: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            output: AtomicBool::new(false),
        }
    }
}

impl TcpSide {
    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &*self.write.read() {
            Some(write) => write.try_write_vectored(slices),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Writes what is pending as it is, until all is written or the peer takes no more.
    pub(crate) fn write_plain(&self, outbound: &Outbound) {
        let Some(mut batch) = outbound.begin_write() else { return };
        for round in 1.. {
            let (written, blocked) = match batch.with_slices(|slices| self.write(slices)) {
                Ok(n) => (n, round == WRITES_MAX),
                Err(error) if error.kind() == ErrorKind::WouldBlock => (0, true),
                Err(error) if error.kind() == ErrorKind::Interrupted => (0, false),
                Err(_) => {
                    self.broken.store(true, Ordering::Release);
                    (0, true)
                }
            };
            match outbound.end_write(batch, written, blocked) {
                Some(more) => batch = more,
                None if blocked => {
                    // Only after the buffer knows: the owner could otherwise unblock it before it is blocked, and nobody
                    // would write again.
                    self.blocked.store(true, Ordering::Release);
                    self.waker.wake();
                    return;
                }
                None => return,
            }
        }
    }

    /// Whether the socket takes more.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &*self.write.read() {
            Some(write) => write.as_ref().poll_write_ready(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Ends the writing side.
    pub(crate) fn close(&self) {
        *self.write.write() = None;
    }
}

/// The [`Transport`] of a plain connection.
#[derive(Debug)]
pub(crate) struct TcpTransport(pub(crate) Arc<TcpSide>);

impl Transport for TcpTransport {
    fn flush(&self, outbound: &Outbound) {
        self.0.write_plain(outbound);
    }

    fn wake(&self) {
        self.0.waker.wake();
    }
}
