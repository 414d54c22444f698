//! The outbound buffer of a connection: bytes that wait to be written.
//!
//! Any task may append, under a short lock. One writer at a time takes the chunks out and writes them, outside the
//! lock. A task that appends and is the first to mark the buffer (`Pending::note`) must flush it at the end of its
//! batch.
//!
//! So some task is always responsible for pending bytes. At first it is the task that marked the buffer, until it
//! flushes. Then it is the writer, which checks for new bytes before it stops. When the peer accepts no more, it is the
//! connection's own task, which is woken for this. The tests in `interleavings` check this property.

use crate::chunk::{self, Chunk, WriteBatch};
use crate::sid::Sid;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::time::{Duration, Instant};

/// The output side of a connection, implemented by the layer that owns the socket.
pub trait Transport: Send + Sync {
    /// Writes pending bytes, or arranges that they are written soon. Called without locks held.
    fn flush(&self, outbound: &Outbound);
    /// Wakes the connection's own task, which then looks at its flags.
    fn wake(&self);
}

/// The outbound buffer of a connection.
pub struct Outbound {
    transport: Box<dyn Transport>,
    pending: Mutex<Pending>,
    /// Whether the peer accepts no more bytes for now; the owning task resumes writing when it does. Changed only under
    /// the lock; the owner reads it without the lock.
    blocked: AtomicBool,
    /// Whether a write failed.
    broken: AtomicBool,
}

/// The buffer's state, under its lock. A leaf of the lock order: no other lock is taken and no callback is called while
/// it is held.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    chunks: VecDeque<Chunk>,
    /// The chunk to which bytes are appended; it follows `chunks`.
    open: Vec<u8>,
    /// Bytes appended and not yet written, including those that a writer has taken out.
    bytes: usize,
    /// Bytes ever written.
    written: u64,
    /// Whether a writer is active.
    writing: bool,
    /// Whether some task will flush the buffer at the end of its batch.
    noted: bool,
    closed: bool,
    pub(crate) headers: bool,
    /// Whether the next delivered request also pings the peer, to measure its round-trip time for the first time.
    pub(crate) wants_rtt_ping: bool,
    pub(crate) counts: OutboundCounts,
    pub(crate) replies: Option<Box<Replies>>,
}

/// Counts of deliveries to a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutboundCounts {
    /// Messages.
    pub msgs: u64,
    /// Bytes of headers and bodies.
    pub bytes: u64,
    /// Times that publishers were stalled for this connection.
    pub stalls: u64,
}

/// Reply subjects that this connection may publish to because it was sent requests with them (`allow_responses`).
#[derive(Debug)]
pub(crate) struct Replies {
    pub(crate) allowed: HashMap<Box<[u8]>, (Instant, u64)>,
    pub(crate) max_msgs: u64,
    pub(crate) expires: Duration,
}

/// Number of reply subjects from which expired ones are pruned before another is added.
const REPLIES_BEFORE_PRUNE: usize = 4096;

impl Replies {
    /// Allows the reply subject of a delivered request. A subject that is still allowed keeps its time; its count rises
    /// as if a reply was published, because nats-server 2.15 counts its own check.
    pub(crate) fn note(&mut self, reply: &[u8], now: Instant) {
        if self.take(reply, now) {
            return;
        }
        if self.allowed.len() >= REPLIES_BEFORE_PRUNE {
            let (max, expires) = (self.max_msgs, self.expires);
            self.allowed.retain(|_, (since, n)| {
                !(max > 0 && *n >= max)
                    && (expires.is_zero() || now.saturating_duration_since(*since) <= expires)
            });
        }
        if self.allowed.len() < 2 * REPLIES_BEFORE_PRUNE {
            self.allowed.insert(reply.into(), (now, 0));
        }
    }

    /// Returns whether a message may be published to this reply subject, and counts it.
    pub(crate) fn take(&mut self, reply: &[u8], now: Instant) -> bool {
        let Some((since, n)) = self.allowed.get_mut(reply) else { return false };
        *n += 1;
        let over = self.max_msgs > 0 && *n > self.max_msgs;
        let late = !self.expires.is_zero() && now.saturating_duration_since(*since) > self.expires;
        if over || late {
            self.allowed.remove(reply);
        }
        !over && !late
    }
}

impl Pending {
    /// Appends protocol bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.room(bytes.len()).extend_from_slice(bytes);
    }

    /// Appends a delivery: its head, the subscription's id, its tail.
    #[inline]
    pub(crate) fn append_frame(&mut self, head: &[u8], sid: &Sid, tail: &[u8]) {
        let len = head.len() + sid.len() + tail.len();
        self.bytes += len;
        let out = self.room(len + Sid::SLACK);
        out.extend_from_slice(head);
        sid.push_to(out);
        out.extend_from_slice(tail);
    }

    /// Appends bytes that several buffers share.
    pub(crate) fn append_shared(&mut self, bytes: &Bytes) {
        self.bytes += bytes.len();
        self.seal();
        self.chunks.push_back(Chunk::shared(bytes.clone()));
    }

    /// Returns the open chunk, with room for at least `needed` bytes.
    #[inline]
    fn room(&mut self, needed: usize) -> &mut Vec<u8> {
        if self.open.capacity() - self.open.len() < needed {
            self.open_another(needed);
        }
        &mut self.open
    }

    #[cold]
    fn open_another(&mut self, needed: usize) {
        let before = self.open.capacity();
        self.seal();
        self.open = chunk::borrow(needed, before);
    }

    /// Moves the open chunk behind the other chunks.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.chunks.push_back(Chunk::own(std::mem::take(&mut self.open)));
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Marks the buffer for a flush. True if it was not marked before: then the caller must flush it.
    #[inline]
    pub(crate) fn note(&mut self) -> bool {
        !std::mem::replace(&mut self.noted, true)
    }
}

impl Outbound {
    /// An empty buffer.
    pub fn new(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            pending: Mutex::default(),
            blocked: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock()
    }

    /// Appends protocol bytes that are not a message; they are sent with the next flush.
    pub fn push(&self, bytes: &[u8]) {
        let mut pending = self.lock();
        if !pending.closed {
            pending.append(bytes);
        }
    }

    /// Writes pending bytes, or arranges that they are written soon.
    #[inline]
    pub fn flush(&self) {
        self.transport.flush(self);
    }

    /// Wakes the connection's own task.
    pub fn wake(&self) {
        self.transport.wake();
    }

    /// Writes pending bytes with `write`, which returns the number of bytes that the peer accepted, or
    /// [`ErrorKind::WouldBlock`] for none. After `rounds` writes the rest is left to the owner, so that bytes appended
    /// meanwhile do not hold up a publisher. Wakes the owner if it must write on, or if the connection is broken.
    #[inline]
    pub fn write_out(&self, rounds: usize, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) {
        let Some(mut batch) = self.begin_write() else { return };
        let guard = FailOnDrop(self);
        for round in 1.. {
            let (written, blocked) = match batch.with_slices(&mut write) {
                Ok(n) => (n, round >= rounds),
                Err(error) if error.kind() == ErrorKind::WouldBlock => (0, true),
                Err(error) if error.kind() == ErrorKind::Interrupted => (0, false),
                Err(_) => {
                    self.broken.store(true, Ordering::Release);
                    (0, true)
                }
            };
            match self.end_write(batch, written, blocked) {
                Some(more) => batch = more,
                None => {
                    std::mem::forget(guard);
                    if blocked {
                        self.wake();
                    }
                    return;
                }
            }
        }
    }

    /// Reports a write that failed outside of [`Outbound::write_out`]; the owner then ends the connection.
    pub fn fail(&self) {
        self.broken.store(true, Ordering::Release);
        self.wake();
    }

    /// Takes all pending bytes out for writing. `None` if there are none, if another writer is active (which will find
    /// the new bytes), or if the peer accepts no more.
    pub fn begin_write(&self) -> Option<WriteBatch> {
        let mut pending = self.lock();
        pending.noted = false;
        if pending.writing || self.blocked.load(Ordering::Relaxed) {
            return None;
        }
        pending.seal();
        if pending.chunks.is_empty() {
            return None;
        }
        pending.writing = true;
        Some(WriteBatch { chunks: std::mem::take(&mut pending.chunks) })
    }

    /// Puts back the rest of a batch of which `written` bytes were written. Returns the next batch to write, if bytes
    /// are pending and `blocked` is not set. With `blocked`, the owner must call [`Outbound::unblock`] when the peer
    /// accepts more.
    pub fn end_write(&self, mut batch: WriteBatch, written: usize, blocked: bool) -> Option<WriteBatch> {
        batch.advance(written);
        let mut pending = self.lock();
        pending.bytes = pending.bytes.saturating_sub(written);
        pending.written += written as u64;
        if pending.closed {
            pending.writing = false;
            return None;
        }
        if !blocked {
            pending.seal();
        }
        let mut later = std::mem::take(&mut pending.chunks);
        batch.chunks.append(&mut later);
        if blocked || batch.is_empty() {
            pending.chunks = batch.chunks;
            pending.writing = false;
            self.blocked.store(blocked, Ordering::Release);
            return None;
        }
        Some(batch)
    }

    /// Clears the blocked state: the peer accepts more bytes again.
    pub fn unblock(&self) {
        // The lock keeps the value from changing within `begin_write`.
        let _pending = self.lock();
        self.blocked.store(false, Ordering::Release);
    }

    /// Returns whether the peer accepts no more bytes for now.
    #[inline]
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// Returns whether a write failed. No more bytes are written then.
    #[inline]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Returns the pending bytes and the bytes ever written. Together they show whether the peer reads.
    pub fn progress(&self) -> (usize, u64) {
        let pending = self.lock();
        (pending.bytes, pending.written)
    }

    /// Drops pending bytes and accepts no more.
    pub fn close(&self) {
        let mut pending = self.lock();
        pending.closed = true;
        pending.bytes = 0;
        pending.chunks = VecDeque::new();
        pending.open = Vec::new();
        pending.replies = None;
    }

    /// Returns the counts of deliveries so far.
    pub fn counts(&self) -> OutboundCounts {
        self.lock().counts
    }
}

/// A guard that ends the connection if its writer panics. Without it no task would write to the connection again, and
/// its owner would wait for ever.
struct FailOnDrop<'a>(&'a Outbound);

impl Drop for FailOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fail();
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("pending", &*self.pending.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod interleavings;

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Nowhere;
    impl Transport for Nowhere {
        fn flush(&self, _: &Outbound) {}
        fn wake(&self) {}
    }

    proptest! {
        /// Whatever the sizes of frames and of writes, the peer gets every byte once and in order.
        #[test]
        fn every_byte_leaves_once_in_order(steps in proptest::collection::vec((0usize..3000, 0usize..5000, any::<bool>()), 1..60)) {
            let outbound = Outbound::new(Box::new(Nowhere));
            let (mut sent, mut got, mut next) = (Vec::new(), Vec::new(), 0u8);
            for (len, take, blocked) in steps {
                let frame: Vec<u8> = (0..len).map(|_| { next = next.wrapping_add(1); next }).collect();
                sent.extend_from_slice(&frame);
                let (a, b) = frame.split_at(len / 3);
                match len % 5 {
                    0 => { let mut p = outbound.lock(); p.append(a); p.append_shared(&Bytes::copy_from_slice(b)); }
                    1 => { let mut p = outbound.lock(); p.append(a); p.append(b); }
                    _ => outbound.lock().append_frame(a, &Sid::from(&b[..b.len() / 2]), &b[b.len() / 2..]),
                }
                outbound.unblock();
                if let Some(batch) = outbound.begin_write() {
                    let all: Vec<u8> = batch.with_slices(|s| s.iter().flat_map(|s| s.to_vec()).collect());
                    let n = take.min(all.len());
                    got.extend_from_slice(&all[..n]);
                    let mut more = outbound.end_write(batch, n, blocked);
                    while let Some(batch) = more {
                        let all: Vec<u8> = batch.with_slices(|s| s.iter().flat_map(|s| s.to_vec()).collect());
                        got.extend_from_slice(&all);
                        more = outbound.end_write(batch, all.len(), false);
                    }
                }
                prop_assert_eq!(outbound.progress(), (sent.len() - got.len(), got.len() as u64));
            }
            outbound.unblock();
            let mut more = outbound.begin_write();
            while let Some(batch) = more {
                let all: Vec<u8> = batch.with_slices(|s| s.iter().flat_map(|s| s.to_vec()).collect());
                got.extend_from_slice(&all);
                more = outbound.end_write(batch, all.len(), false);
            }
            prop_assert_eq!(got, sent);
        }
    }

    #[test]
    fn a_writer_that_panics_breaks_the_connection() {
        let outbound = Outbound::new(Box::new(Nowhere));
        outbound.push(b"PING\r\n");
        let write = || outbound.write_out(1, |_| panic!("the socket is not one"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(write)).is_err());
        assert!(outbound.is_broken(), "its owner is told");
    }

    #[test]
    fn replies_are_allowed_so_often_and_so_long() {
        let now = Instant::now();
        let mut replies = Replies { allowed: HashMap::new(), max_msgs: 2, expires: Duration::from_secs(1) };
        replies.note(b"r", now);
        assert!(replies.take(b"r", now) && replies.take(b"r", now) && !replies.take(b"r", now));
        replies.note(b"r", now);
        assert!(!replies.take(b"r", now + Duration::from_secs(2)));
    }
}
