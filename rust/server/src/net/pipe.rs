//! A connection without a socket: a client in this process, served by the same task and session as any other.
//!
//! The delivering thread hands the server's output to a [`PipeClient`]. The client's output waits in memory until the
//! connection's task reads it.

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// The most bytes that may wait for the server. A client that sends more without waiting for replies gets
/// [`PipeError::Full`].
const WAITING_MAX: usize = 64 << 20;

/// The client's end of a pipe.
pub trait PipeClient: Send + Sync {
    /// Takes bytes from the server, in order. The delivering thread calls this, one call at a time. It must not block,
    /// and must not call the server except for [`Pipe::send`] and [`Pipe::close`].
    fn receive(&self, bytes: &[IoSlice<'_>]);
    /// Reports that the server has closed the connection; no more bytes follow.
    fn closed(&self);
}

/// The sending end of a pipe. Clones share the connection.
#[derive(Clone)]
pub struct Pipe(Arc<Input>);

/// The reason why nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipeError {
    /// The connection is closed.
    Closed,
    /// Too many bytes wait for the server already.
    Full,
}

/// The client's output that the server has not read yet.
#[derive(Default)]
struct Input {
    state: Mutex<State>,
    /// Wakes the connection's task.
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Whether the client sends no more, or the server reads no more.
    closed: bool,
}

impl Pipe {
    /// Sends the parts as one piece.
    ///
    /// # Errors
    /// Fails if the connection is closed or the server does not keep up. Then nothing was sent.
    pub fn send(&self, parts: &[&[u8]]) -> Result<(), PipeError> {
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(PipeError::Closed);
        }
        if state.bytes.len() > WAITING_MAX {
            return Err(PipeError::Full);
        }
        for part in parts {
            state.bytes.extend(*part);
        }
        drop(state);
        self.0.waker.wake();
        Ok(())
    }

    /// Ends the connection once the server has read everything that was sent.
    pub fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.waker.wake();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").finish_non_exhaustive()
    }
}

/// Creates a pipe: the client's sending end and the server's two halves.
pub(crate) fn pipe(client: Arc<dyn PipeClient>) -> (Pipe, PipeReader, PipeWriter) {
    let input = Arc::new(Input::default());
    (Pipe(input.clone()), PipeReader(input), PipeWriter(client))
}

/// The server's reading half.
pub(crate) struct PipeReader(Arc<Input>);

impl AsyncRead for PipeReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Registered before the bytes are checked: bytes that are sent later wake this task again.
        self.0.waker.register(cx.waker());
        let mut state = self.0.state.lock();
        if state.bytes.is_empty() {
            return if state.closed { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let (front, _) = state.bytes.as_slices();
        let taken = front.len().min(into.remaining());
        into.put_slice(&front[..taken]);
        state.bytes.drain(..taken);
        if state.bytes.is_empty() {
            // An idle client keeps no memory of a burst.
            state.bytes = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        state.bytes = VecDeque::new();
    }
}

/// The server's writing half.
pub(crate) struct PipeWriter(Arc<dyn PipeClient>);

impl PipeWriter {
    /// Hands all bytes to the client.
    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> usize {
        self.0.receive(slices);
        slices.iter().map(|slice| slice.len()).sum()
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.0.closed();
    }
}

impl fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeWriter").finish_non_exhaustive()
    }
}
