//! What waits for the JetStream thread.

use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;
use stonechat_broker::{Client, Inlet, Message};
use stonechat_jetstream::api::is_request;
use stonechat_jetstream::engine::{Done, Engine};
use stonechat_store::disk::RealDisk;

/// From so many waiting bytes on, publishers pause.
const SLOW: usize = 8 << 20;
/// More is not taken: publishers are told so.
const FULL: usize = 128 << 20;

/// What a subscription is for; the upper half of its tag. The lower half is the number of a stream or account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    Direct,
    Api,
    /// A message for a stream that there was no room for.
    Overflow,
}

pub(super) fn tag(kind: Kind, number: u32) -> u64 {
    (kind as u64) << 32 | u64::from(number)
}

/// A message that waits; its bytes lie in a row behind those of the one before.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) number: u32,
    subject_len: u32,
    reply_len: u32,
    headers_len: u32,
    payload_len: u32,
    /// Who asks; for requests only.
    pub(super) client: Option<Arc<Client>>,
}

/// A message that waited, borrowed.
pub(super) struct Waiting<'a> {
    pub(super) subject: &'a [u8],
    pub(super) reply: &'a [u8],
    pub(super) headers: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// Something to be done with the engine.
pub(super) type Command = Box<dyn FnOnce(&mut Engine<RealDisk>) + Send>;

/// All that came since the thread last looked.
#[derive(Default)]
pub(super) struct Arrived {
    pub(super) items: Vec<Item>,
    bytes: Vec<u8>,
    pub(super) done: Vec<Done>,
    pub(super) commands: Vec<Command>,
    pub(super) stop: bool,
}

impl Arrived {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.done.is_empty() && self.commands.is_empty() && !self.stop
    }

    /// Calls `visit` with each message.
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize, &Item, &Waiting<'_>)) {
        let mut rest = &self.bytes[..];
        let mut part = |len: u32| {
            let (part, behind) = rest.split_at_checked(len as usize).unwrap_or_default();
            rest = behind;
            part
        };
        for (i, item) in self.items.iter().enumerate() {
            let subject = part(item.subject_len);
            let reply = part(item.reply_len);
            let headers = part(item.headers_len);
            visit(i, item, &Waiting { subject, reply, headers, payload: part(item.payload_len) });
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        if self.bytes.capacity() > SLOW {
            (self.bytes, self.items) = (Vec::new(), Vec::new());
        }
    }
}

/// The inbox.
#[derive(Default)]
pub(super) struct Inbox {
    arrived: Mutex<Arrived>,
    thread: OnceLock<Thread>,
    /// The thread sleeps or is about to.
    is_asleep: AtomicBool,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    /// Says which thread to wake.
    pub(super) fn belongs_to(&self, thread: Thread) {
        // Set once, by the thread itself.
        let _ = self.thread.set(thread);
    }

    fn wake(&self) {
        if self.is_asleep.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    pub(super) fn done(&self, done: Done) {
        self.arrived.lock().done.push(done);
        self.wake();
    }

    pub(super) fn command(&self, command: Command) {
        self.arrived.lock().commands.push(command);
        self.wake();
    }

    pub(super) fn stop(&self) {
        self.arrived.lock().stop = true;
        self.wake();
    }

    /// Takes what has come; waits for it, but no longer than `timeout`.
    pub(super) fn take(&self, into: &mut Arrived, timeout: Option<Duration>) {
        std::mem::swap(&mut *self.arrived.lock(), into);
        if !into.is_empty() || timeout.is_some_and(|timeout| timeout.is_zero()) {
            return;
        }
        self.is_asleep.store(true, Ordering::Release);
        // What came between the look and the flag woke nobody.
        std::mem::swap(&mut *self.arrived.lock(), into);
        if into.is_empty() {
            match timeout {
                Some(timeout) => std::thread::park_timeout(timeout),
                None => std::thread::park(),
            }
            std::mem::swap(&mut *self.arrived.lock(), into);
        }
        self.is_asleep.store(false, Ordering::Release);
    }
}

impl Inlet for Inbox {
    fn push(&self, tag: u64, origin: &Arc<Client>, message: &Message<'_>) -> bool {
        let number = tag as u32;
        let mut kind = match tag >> 32 {
            0 => Kind::Publish,
            1 => Kind::Direct,
            _ => Kind::Api,
        };
        if kind == Kind::Api && !is_request(message.subject) {
            return false;
        }
        let (headers, mut payload) = message.payload.split_at(message.header_len.unwrap_or(0));
        let mut arrived = self.arrived.lock();
        let mut headers = headers;
        if arrived.bytes.len() > FULL {
            if kind != Kind::Publish {
                return true;
            }
            (kind, headers, payload) = (Kind::Overflow, b"", b"");
        }
        arrived.items.push(Item {
            kind,
            number,
            subject_len: message.subject.len() as u32,
            reply_len: message.reply.len() as u32,
            headers_len: headers.len() as u32,
            payload_len: payload.len() as u32,
            client: (kind == Kind::Api).then(|| Arc::clone(origin)),
        });
        for part in [message.subject, message.reply, headers, payload] {
            arrived.bytes.extend_from_slice(part);
        }
        true
    }

    fn flush(&self) -> Duration {
        let waiting = self.arrived.lock().bytes.len();
        self.wake();
        match waiting {
            n if n > 4 * SLOW => Duration::from_millis(10),
            n if n > SLOW => Duration::from_millis(2),
            _ => Duration::ZERO,
        }
    }
}
