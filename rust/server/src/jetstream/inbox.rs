//! What waits for the JetStream thread.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
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
    /// A request for a consumer's messages; the number is the consumer's.
    Pull,
    /// An acknowledgement.
    Ack,
    /// An answer to flow control.
    Flow,
    /// Interest in a deliver subject changed.
    Interest,
    /// A chunk of a backup has arrived; the number is the backup's.
    Snapshot,
    /// A chunk of a backup.
    Restore,
    /// A request that is not answered, because too many came at once.
    Dropped,
}

/// The queues in which requests wait, as nats-server 2.15 names them.
pub(super) const QUEUES: [&str; 2] = ["JetStream API queue", "JetStream API info queue"];

/// How many requests may wait in each of the queues.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueLimits(pub(super) [usize; 2]);

impl Default for QueueLimits {
    fn default() -> Self {
        Self([usize::MAX; 2])
    }
}

/// In which of the queues a request waits: those that only look have one of their own.
fn queue_of(subject: &[u8]) -> usize {
    const INFO: [&[u8]; 6] = [
        b"STREAM.NAMES",
        b"STREAM.LIST",
        b"STREAM.INFO.",
        b"CONSUMER.NAMES.",
        b"CONSUMER.LIST.",
        b"CONSUMER.INFO.",
    ];
    let rest = subject.strip_prefix(b"$JS.API.").unwrap_or_default();
    usize::from(rest == b"INFO" || INFO.iter().any(|begin| rest.starts_with(begin)))
}

/// The subjects of consumers begin so.
const PULL: &[u8] = b"$JS.API.CONSUMER.MSG.NEXT.";
const ACK: &[u8] = b"$JS.ACK.";
const FLOW: &[u8] = b"$JS.FC.";

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
    /// Requests that wait in each queue, and those that were dropped.
    waiting: [usize; 2],
    pub(super) dropped: [u64; 2],
}

impl Arrived {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.done.is_empty() && self.commands.is_empty() && !self.stop
    }

    /// Takes note of a request. When too many wait in its queue, all of them are dropped, as nats-server 2.15 does.
    fn note_request(&mut self, queue: usize, limits: QueueLimits) {
        self.waiting[queue] += 1;
        if self.waiting[queue] < limits.0[queue] {
            return;
        }
        self.dropped[queue] += std::mem::take(&mut self.waiting[queue]) as u64;
        let mut at = 0;
        for item in &mut self.items {
            let subject = self.bytes.get(at..at + item.subject_len as usize).unwrap_or_default();
            if item.kind == Kind::Api && queue_of(subject) == queue {
                item.kind = Kind::Dropped;
            }
            at += (item.subject_len + item.reply_len + item.headers_len + item.payload_len) as usize;
        }
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
        (self.waiting, self.dropped) = ([0; 2], [0; 2]);
        if self.bytes.capacity() > SLOW {
            (self.bytes, self.items) = (Vec::new(), Vec::new());
        }
    }
}

/// A consumer by its account and `stream.consumer`.
type ConsumerKey = (u32, Box<[u8]>);

/// The inbox.
#[derive(Default)]
pub(super) struct Inbox {
    arrived: Mutex<Arrived>,
    thread: OnceLock<Thread>,
    /// The thread sleeps or is about to.
    is_asleep: AtomicBool,
    limits: QueueLimits,
    /// Consumers by account and `stream.consumer`: others have nobody who answers.
    consumers: RwLock<HashMap<ConsumerKey, u32>>,
}

/// What is left of the subject of an acknowledgement behind the names, in both of its forms: the second one has domain and
/// account before the stream.
fn ack_parts(rest: &[u8]) -> &[u8] {
    let mut dots = rest.iter().enumerate().filter(|(_, b)| **b == b'.').map(|(at, _)| at);
    let second = dots.nth(1);
    match (second, dots.nth(6)) {
        (Some(at), Some(_)) => &rest[at + 1..],
        (Some(at), None) if rest.iter().filter(|b| **b == b'.').count() == 8 => &rest[at + 1..],
        _ => rest,
    }
}

/// The numbers at the end of the subject of an acknowledgement.
pub(super) fn ack_numbers(subject: &[u8]) -> &[u8] {
    let rest = ack_parts(subject.get(ACK.len()..).unwrap_or_default());
    consumer_name(rest).map_or(b"", |(_, numbers)| numbers)
}

/// The first two tokens of `rest`, and what is behind them.
fn consumer_name(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = rest.iter().position(|b| *b == b'.')?;
    let second = rest[first + 1..].iter().position(|b| *b == b'.').map(|at| first + 1 + at);
    Some(match second {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, b""),
    })
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Inbox {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, ..Self::default() }
    }

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

    /// Jobs that ended since.
    pub(super) fn take_done(&self) -> Vec<Done> {
        std::mem::take(&mut self.arrived.lock().done)
    }

    pub(super) fn command(&self, command: Command) {
        self.arrived.lock().commands.push(command);
        self.wake();
    }

    /// Lets what is sent to a consumer in, or no more.
    pub(super) fn know_consumer(&self, account: u32, name: &str, number: Option<u32>) {
        let key = (account, name.as_bytes().into());
        match number {
            Some(number) => drop(self.consumers.write().insert(key, number)),
            None => drop(self.consumers.write().remove(&key)),
        }
    }

    fn consumer(&self, account: u32, name: &[u8]) -> Option<u32> {
        struct Key<'a>(u32, &'a [u8]);
        impl std::hash::Hash for Key<'_> {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                (self.0, self.1).hash(state);
            }
        }
        impl hashbrown::Equivalent<ConsumerKey> for Key<'_> {
            fn equivalent(&self, key: &ConsumerKey) -> bool {
                self.0 == key.0 && *self.1 == *key.1
            }
        }
        self.consumers.read().get(&Key(account, name)).copied()
    }

    /// The subject of a request, that of the domain's own form in the usual one.
    fn usual_subject(subject: &[u8]) -> Cow<'_, [u8]> {
        const API: &[u8] = b"$JS.API.";
        let domain = subject.strip_prefix(b"$JS.").filter(|_| !subject.starts_with(API));
        let Some(rest) = domain.filter(|rest| !rest.starts_with(b"ACK.") && !rest.starts_with(b"FC.")) else {
            return Cow::Borrowed(subject);
        };
        match rest.iter().position(|b| *b == b'.').map(|at| &rest[at..]) {
            Some(rest) if rest.starts_with(b".API.") => Cow::Owned([b"$JS", rest].concat()),
            _ => Cow::Borrowed(subject),
        }
    }

    /// What a message on one of JetStream's own subjects is for; `None` if nobody wants it.
    fn sort(&self, account: u32, subject: &[u8]) -> Option<(Kind, u32)> {
        let (kind, rest) = if let Some(rest) = subject.strip_prefix(PULL) {
            (Kind::Pull, rest)
        } else if let Some(rest) = subject.strip_prefix(ACK) {
            (Kind::Ack, ack_parts(rest))
        } else if let Some(rest) = subject.strip_prefix(FLOW) {
            (Kind::Flow, rest)
        } else {
            return is_request(subject).then_some((Kind::Api, account));
        };
        let (name, more) = consumer_name(rest)?;
        let is_whole = match kind {
            Kind::Pull => more.is_empty(),
            _ => !more.is_empty(),
        };
        let number = self.consumer(account, name).filter(|_| is_whole)?;
        Some((kind, number))
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
        let mut number = tag as u32;
        let subject = match tag >> 32 {
            0 => Cow::Borrowed(message.subject),
            _ => Self::usual_subject(message.subject),
        };
        let mut kind = match tag >> 32 {
            0 => Kind::Publish,
            1 => Kind::Direct,
            n if n == Kind::Snapshot as u64 => Kind::Snapshot,
            n if n == Kind::Restore as u64 => Kind::Restore,
            _ => match self.sort(number, &subject) {
                Some(found) => {
                    number = found.1;
                    found.0
                }
                None => return false,
            },
        };
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
            subject_len: subject.len() as u32,
            reply_len: message.reply.len() as u32,
            headers_len: headers.len() as u32,
            payload_len: payload.len() as u32,
            client: (kind == Kind::Api).then(|| Arc::clone(origin)),
        });
        for part in [&subject, message.reply, headers, payload] {
            arrived.bytes.extend_from_slice(part);
        }
        if kind == Kind::Api {
            arrived.note_request(queue_of(&subject), self.limits);
        }
        true
    }

    fn interest_changed(&self, tag: u64, subject: &[u8]) {
        let mut arrived = self.arrived.lock();
        arrived.items.push(Item {
            kind: Kind::Interest,
            number: tag as u32,
            subject_len: subject.len() as u32,
            reply_len: 0,
            headers_len: 0,
            payload_len: 0,
            client: None,
        });
        arrived.bytes.extend_from_slice(subject);
        drop(arrived);
        self.wake();
    }

    fn flush(&self) -> Duration {
        let waiting = self.arrived.lock().bytes.len();
        self.wake();
        match waiting {
            n if n > 4 * SLOW => Duration::from_millis(40),
            n if n > 2 * SLOW => Duration::from_millis(10),
            n if n > SLOW => Duration::from_millis(2),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_of_both_forms() {
        assert_eq!(ack_numbers(b"$JS.ACK.S.C.1.2.3.4.5"), b"1.2.3.4.5");
        assert_eq!(ack_numbers(b"$JS.ACK._.hash.S.C.1.2.3.4.5"), b"1.2.3.4.5");
        assert_eq!(ack_numbers(b"$JS.ACK._.hash.S.C.1.2.3.4.5.x"), b"1.2.3.4.5.x");
        assert_eq!(ack_numbers(b"$JS.ACK.S"), b"");
        assert_eq!(consumer_name(ack_parts(b"D.hash.S.C.1.2.3.4.5")), Some((&b"S.C"[..], &b"1.2.3.4.5"[..])));
    }

    #[test]
    fn requests_of_a_domain_are_the_usual_ones() {
        let usual = |subject: &[u8]| Inbox::usual_subject(subject).into_owned();
        assert_eq!(usual(b"$JS.hub.API.STREAM.NAMES"), b"$JS.API.STREAM.NAMES");
        assert_eq!(usual(b"$JS.API.STREAM.NAMES"), b"$JS.API.STREAM.NAMES");
        assert_eq!(usual(b"$JS.ACK.S.C.1"), b"$JS.ACK.S.C.1");
    }
}
