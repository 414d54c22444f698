//! The inbox of JetStream: messages that wait to be processed, and the choice of the thread that processes them.
//!
//! The inbox knows all consumers by name. So each account needs three subscriptions (four with a domain) for the API and
//! for any number of consumers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use parking_lot::{Mutex, MutexGuard, RwLock};
use stonechat_broker::{Client, Inlet, Message};
use stonechat_jetstream::api::is_request;
use stonechat_jetstream::engine::{Done, Engine};
use stonechat_store::disk::RealDisk;

use super::now;
use super::runner::Runner;
use crate::fault::{self, Fault};

/// Limits for inline processing by the publisher's task: messages and bytes.
const LIGHT_ITEMS: usize = 2;
const LIGHT: usize = 64 << 10;
/// Waiting bytes from which on publishers pause.
const SLOW: usize = 8 << 20;

/// The most bytes that may wait.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// Above this, the inbox accepts no messages. Publishes get an error reply.
    full: usize,
    /// Further bytes for rejected publishes, which wait for their error reply. Above this, publishes are dropped without a
    /// reply.
    refused: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { full: 128 << 20, refused: 16 << 20 }
    }
}

/// The purpose of a subscription, in the upper half of its tag. The lower half is the number of a stream, account or
/// backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Publish,
    Direct,
    Api,
    /// A publish that is rejected because the inbox or the stream's queue is full.
    Overflow,
    /// A pull request; the number is the consumer's.
    Pull,
    /// An acknowledgement.
    Ack,
    /// A reply to a flow control message.
    Flow,
    /// A change of interest in a deliver subject.
    Interest,
    /// An acknowledgement of a chunk of a backup; the number is the backup's.
    Snapshot,
    /// A chunk of a backup that is restored.
    Restore,
}

/// Limits for waiting messages and requests.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QueueLimits {
    /// Messages for one stream; `None` for no limit.
    pub(super) messages: Option<usize>,
    /// Bytes of the messages for one stream; `None` for no limit.
    pub(super) bytes: Option<usize>,
    /// API requests of one account between two turns of the thread; further requests are dropped.
    pub(super) requests: usize,
}

/// Prefixes of the subjects of consumers.
const PULL: &[u8] = b"$JS.API.CONSUMER.MSG.NEXT.";
const ACK: &[u8] = b"$JS.ACK.";
const FLOW: &[u8] = b"$JS.FC.";

pub(super) fn tag(kind: Kind, number: u32) -> u64 {
    (kind as u64) << 32 | u64::from(number)
}

/// A waiting message. The bytes of all messages lie in `Arrived::bytes`, in the same order.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) number: u32,
    subject_len: u32,
    reply_len: u32,
    headers_len: u32,
    payload_len: u32,
    /// The requesting client; for API requests only.
    pub(super) client: Option<Arc<Client>>,
    /// The payload, if it is large: it is copied before the inbox is locked.
    pub(super) body: Option<Arc<Vec<u8>>>,
}

/// The parts of a waiting message, borrowed.
pub(super) struct Waiting<'a> {
    pub(super) subject: &'a [u8],
    pub(super) reply: &'a [u8],
    pub(super) headers: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// A closure that runs on the JetStream thread with the engine.
pub(super) type Command = Box<dyn FnOnce(&mut Engine<RealDisk>) + Send>;

/// Everything that arrived since the runner last emptied the inbox.
#[derive(Default)]
pub(super) struct Arrived {
    pub(super) items: Vec<Item>,
    bytes: Vec<u8>,
    /// Bytes of large payloads, which are not in `bytes`.
    bodies: usize,
    pub(super) done: Vec<Done>,
    pub(super) commands: Vec<Command>,
    pub(super) stop: bool,
    /// JetStream has failed or ended, and the inbox accepts nothing any more.
    is_failed: bool,
    /// Waiting messages and bytes of each stream; counted only if there is a limit.
    buffered: HashMap<u32, (usize, usize)>,
    /// API requests of each account: waiting ones, and ones dropped because of the limit.
    requests: HashMap<u32, (usize, u64)>,
}

impl Arrived {
    /// Returns the bytes that wait, including the `Item` of each message.
    fn len(&self) -> usize {
        self.bytes.len() + self.bodies + self.items.len() * size_of::<Item>()
    }

    /// Returns whether all of it is suited for inline processing: little, and nothing slow.
    fn is_light(&self) -> bool {
        let is_light = |item: &Item| {
            matches!(item.kind, Kind::Publish | Kind::Direct | Kind::Pull | Kind::Ack | Kind::Flow)
        };
        self.items.len() <= LIGHT_ITEMS
            && self.bytes.len() + self.bodies <= LIGHT
            && self.items.iter().all(is_light)
            && self.done.iter().all(|done| matches!(done, Done::Sync(_)))
            && self.commands.is_empty()
            && !self.stop
            && !self.is_failed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
            && self.done.is_empty()
            && self.commands.is_empty()
            && !self.stop
            && !self.is_failed
    }

    /// Counts an API request; false if it must be dropped.
    fn note_request(&mut self, account: u32, limit: usize) -> bool {
        let (waiting, dropped) = self.requests.entry(account).or_default();
        let is_taken = *waiting < limit;
        if is_taken {
            *waiting += 1
        } else {
            *dropped += 1
        }
        is_taken
    }

    /// Returns the number of requests that were dropped because too many waited.
    pub(super) fn dropped_requests(&self) -> u64 {
        self.requests.values().map(|(_, dropped)| dropped).sum()
    }

    /// Counts a message for a stream; false if the stream's limits reject it.
    fn note_message(&mut self, stream: u32, len: usize, limits: QueueLimits) -> bool {
        if limits.messages.is_none() && limits.bytes.is_none() {
            return true;
        }
        let (messages, bytes) = self.buffered.entry(stream).or_default();
        if limits.messages.is_some_and(|max| *messages >= max)
            || limits.bytes.is_some_and(|max| *bytes + len > max)
        {
            return false;
        }
        (*messages, *bytes) = (*messages + 1, *bytes + len);
        true
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
            let payload = item.body.as_ref().map_or_else(|| part(item.payload_len), |body| &body[..]);
            visit(i, item, &Waiting { subject, reply, headers, payload });
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes.clear();
        self.bodies = 0;
        self.buffered.clear();
        self.requests.clear();
        if self.bytes.capacity() > SLOW {
            (self.bytes, self.items) = (Vec::new(), Vec::new());
        }
    }
}

/// The key of a consumer: the account's number and `stream.consumer`.
type ConsumerKey = (u32, Box<[u8]>);

/// A consumer that accepts messages on its subjects.
#[derive(Debug, Clone, Copy)]
struct KnownConsumer {
    number: u32,
    /// Whether the consumer takes acknowledgements. If not, an acknowledgement gets "no responders".
    takes_acks: bool,
}

/// The queue between the broker and the engine.
#[derive(Default)]
pub(super) struct Inbox {
    arrived: Mutex<Arrived>,
    thread: OnceLock<Thread>,
    /// Whether the thread sleeps or is about to.
    is_asleep: AtomicBool,
    /// The time at which the thread wakes by itself, in nanoseconds since 1970.
    wakes_at: AtomicI64,
    /// The runner; `None` before the start, after the end and while a thread runs it.
    runner: Mutex<Option<Box<Runner>>>,
    limits: QueueLimits,
    /// Whether the whole server ends, not only JetStream.
    broker_ends: AtomicBool,
    room: Room,
    /// The receiver of panics.
    fault: Option<Fault>,
    /// Consumers by account and `stream.consumer`. Messages to other consumers get "no responders".
    consumers: RwLock<HashMap<ConsumerKey, KnownConsumer>>,
    /// Accounts without JetStream that import the API of another account. They get no API of their own.
    importing: RwLock<HashSet<u32>>,
}

/// Strips the tokens before the stream from the subject of an acknowledgement. There are two forms: the second one has
/// domain and account before the stream.
fn ack_parts(rest: &[u8]) -> &[u8] {
    let mut dots = rest.iter().enumerate().filter(|(_, b)| **b == b'.').map(|(at, _)| at);
    let second = dots.nth(1);
    match (second, dots.nth(6)) {
        (Some(at), Some(_)) => &rest[at + 1..],
        (Some(at), None) if rest.iter().filter(|b| **b == b'.').count() == 8 => &rest[at + 1..],
        _ => rest,
    }
}

/// Returns the numbers at the end of the subject of an acknowledgement.
pub(super) fn ack_numbers(subject: &[u8]) -> &[u8] {
    let rest = ack_parts(subject.get(ACK.len()..).unwrap_or_default());
    consumer_name(rest).map_or(b"", |(_, numbers)| numbers)
}

/// Splits `rest` into its first two tokens and the part after them.
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
    pub(super) fn new(limits: QueueLimits, fault: Fault) -> Self {
        Self { limits, fault: Some(fault), ..Self::default() }
    }

    /// Marks JetStream as failed after a panic, and ends the server. From now on, publishes and requests get "no
    /// responders" at once.
    pub(super) fn fail(&self, reason: &str) {
        let dropped = {
            let mut arrived = self.arrived.lock();
            let failed = Arrived { is_failed: true, ..Arrived::default() };
            std::mem::replace(&mut *arrived, failed)
        };
        drop(dropped);
        if let Some(fault) = &self.fault {
            fault.raise(format!("JetStream {reason}"));
        }
        // The woken thread sees the failure and ends.
        self.wake();
    }

    /// Returns whether JetStream has failed.
    pub(super) fn is_failed(&self) -> bool {
        self.arrived.lock().is_failed
    }

    /// Sets the JetStream thread, so that it can be woken.
    pub(super) fn belongs_to(&self, thread: Thread) {
        // Set only once, by the thread itself.
        let _ = self.thread.set(thread);
    }

    fn wake(&self) {
        if self.is_asleep.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Puts the runner in.
    pub(super) fn hold(&self, runner: Runner) {
        *self.runner.lock() = Some(Box::new(runner));
    }

    /// Locks the runner, for the JetStream thread.
    pub(super) fn runner(&self) -> MutexGuard<'_, Option<Box<Runner>>> {
        self.runner.lock()
    }

    /// Processes the inbox: inline if it holds little and the thread sleeps, else by waking the thread.
    fn work(&self, is_light: bool) {
        if !(is_light && self.is_asleep.load(Ordering::Acquire) && self.work_here()) {
            self.wake();
        }
    }

    /// Processes the inbox on the current thread; false if the JetStream thread must be woken.
    fn work_here(&self) -> bool {
        let Some(mut held) = self.runner.try_lock() else { return false };
        // The runner is put back only without a panic: after one, the state of the streams is unknown.
        let Some(mut runner) = held.take() else { return false };
        let until = self.wakes_at.load(Ordering::Acquire);
        match fault::catch(move || (runner.run_light(until), runner)) {
            Ok((is_done, runner)) => {
                *held = Some(runner);
                is_done
            }
            Err(reason) => {
                drop(held);
                self.fail(&reason);
                true
            }
        }
    }

    pub(super) fn done(&self, done: Done) {
        let is_light = {
            let mut arrived = self.arrived.lock();
            if arrived.is_failed {
                return;
            }
            arrived.done.push(done);
            arrived.is_light()
        };
        self.work(is_light);
    }

    /// Takes the jobs that ended since the last call.
    pub(super) fn take_done(&self) -> Vec<Done> {
        std::mem::take(&mut self.arrived.lock().done)
    }

    pub(super) fn command(&self, command: Command) {
        let mut arrived = self.arrived.lock();
        if arrived.is_failed {
            drop(arrived);
            // Dropping the command drops its reply channel, so the caller gets its answer at once.
            return drop(command);
        }
        arrived.commands.push(command);
        drop(arrived);
        self.wake();
    }

    /// Adds a consumer, or removes it if `number` is `None`. Messages to other consumers are not accepted.
    pub(super) fn know_consumer(&self, account: u32, name: &str, number: Option<u32>) {
        let key = (account, name.as_bytes().into());
        match number {
            Some(number) => {
                self.consumers.write().insert(key, KnownConsumer { number, takes_acks: false });
            }
            None => drop(self.consumers.write().remove(&key)),
        }
    }

    /// Allows acknowledgements to a known consumer.
    pub(super) fn know_acks(&self, account: u32, name: &str) {
        let key = (account, name.as_bytes().into());
        if let Some(known) = self.consumers.write().get_mut(&key) {
            known.takes_acks = true;
        }
    }

    fn consumer(&self, account: u32, name: &[u8]) -> Option<KnownConsumer> {
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

    /// Sets the accounts without JetStream that import the API of another account.
    pub(super) fn set_importing(&self, accounts: HashSet<u32>) {
        *self.importing.write() = accounts;
    }

    /// Rewrites `$JS.<domain>.API.…` to `$JS.API.…`. Other subjects stay as they are.
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

    /// Returns the kind and number of a message on one of JetStream's own subjects; `None` if it has no receiver.
    fn sort(&self, account: u32, subject: &[u8]) -> Option<(Kind, u32)> {
        let (kind, rest) = if let Some(rest) = subject.strip_prefix(PULL) {
            (Kind::Pull, rest)
        } else if let Some(rest) = subject.strip_prefix(ACK) {
            (Kind::Ack, ack_parts(rest))
        } else if let Some(rest) = subject.strip_prefix(FLOW) {
            (Kind::Flow, rest)
        } else {
            let is_answered = is_request(subject) && !self.importing.read().contains(&account);
            return is_answered.then_some((Kind::Api, account));
        };
        let (name, more) = consumer_name(rest)?;
        let is_whole = match kind {
            Kind::Pull => more.is_empty(),
            _ => !more.is_empty(),
        };
        let known = self
            .consumer(account, name)
            .filter(|known| is_whole && (known.takes_acks || kind != Kind::Ack))?;
        Some((kind, known.number))
    }

    /// Returns whether the whole server ends.
    pub(super) fn broker_ends(&self) -> bool {
        self.broker_ends.load(Ordering::Acquire)
    }

    /// Requests the thread to stop. With `broker_ends`, the whole server ends and no other messages follow.
    pub(super) fn stop(&self, broker_ends: bool) {
        self.broker_ends.store(broker_ends, Ordering::Release);
        self.arrived.lock().stop = true;
        self.wake();
    }

    /// Swaps everything that waits into `into`.
    pub(super) fn take(&self, into: &mut Arrived) {
        let mut arrived = self.arrived.lock();
        if !arrived.is_failed {
            std::mem::swap(&mut *arrived, into);
        }
    }

    /// Takes everything that is left. From now on the inbox accepts nothing, and publishers get "no responders".
    pub(super) fn close(&self, into: &mut Arrived) {
        let mut arrived = self.arrived.lock();
        if !arrived.is_failed {
            std::mem::swap(&mut *arrived, into);
            arrived.is_failed = true;
        }
    }

    /// Takes everything that waits if it suits inline processing; else returns false.
    pub(super) fn take_light(&self, into: &mut Arrived) -> bool {
        let mut arrived = self.arrived.lock();
        let is_light = arrived.is_light();
        if is_light {
            std::mem::swap(&mut *arrived, into);
        }
        is_light
    }

    /// Announces that the thread sleeps until `deadline`, in nanoseconds since 1970. Returns false if there is work
    /// already. The caller holds the runner.
    pub(super) fn fall_asleep(&self, deadline: Option<i64>) -> bool {
        if deadline.is_some_and(|deadline| deadline <= now()) {
            return false;
        }
        self.wakes_at.store(deadline.unwrap_or(i64::MAX), Ordering::Release);
        self.is_asleep.store(true, Ordering::Release);
        // Messages that arrived before the flag was set have not woken the thread.
        if self.arrived.lock().is_empty() {
            return true;
        }
        self.is_asleep.store(false, Ordering::Release);
        false
    }

    /// Sleeps until the deadline or until another thread wakes this one.
    pub(super) fn sleep(&self, deadline: Option<i64>) {
        match deadline {
            Some(deadline) => {
                let left = u64::try_from(deadline.saturating_sub(now())).unwrap_or(0);
                std::thread::park_timeout(Duration::from_nanos(left));
            }
            None => std::thread::park(),
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
        // The stream copies a publish anyway; a large request is kept as a whole.
        let is_body = payload.len() > LIGHT && !matches!(kind, Kind::Publish | Kind::Restore);
        let body = is_body.then(|| Arc::new(payload.to_vec()));
        let mut arrived = self.arrived.lock();
        if arrived.is_failed {
            return false;
        }
        let mut headers = headers;
        let waiting = arrived.len();
        let is_full = waiting > self.room.full;
        // Rejected publishes take room too, so their number is bounded.
        if is_full
            && (kind != Kind::Publish
                || message.reply.is_empty()
                || waiting > self.room.full + self.room.refused)
        {
            return true;
        }
        if kind == Kind::Api && !arrived.note_request(number, self.limits.requests) {
            return true;
        }
        if is_full
            || (kind == Kind::Publish
                && !arrived.note_message(number, message.subject.len() + message.payload.len(), self.limits))
        {
            (kind, headers, payload) = (Kind::Overflow, b"", b"");
        }
        let beside = if is_body { payload.len() } else { 0 };
        arrived.items.push(Item {
            kind,
            number,
            subject_len: subject.len() as u32,
            reply_len: message.reply.len() as u32,
            headers_len: headers.len() as u32,
            payload_len: (payload.len() - beside) as u32,
            client: (kind == Kind::Api).then(|| Arc::clone(origin)),
            body,
        });
        for part in [&subject, message.reply, headers, &payload[beside..]] {
            arrived.bytes.extend_from_slice(part);
        }
        arrived.bodies += beside;
        true
    }

    fn interest_changed(&self, tag: u64, subject: &[u8]) {
        let mut arrived = self.arrived.lock();
        if arrived.is_failed {
            return;
        }
        arrived.items.push(Item {
            kind: Kind::Interest,
            number: tag as u32,
            subject_len: subject.len() as u32,
            reply_len: 0,
            headers_len: 0,
            payload_len: 0,
            client: None,
            body: None,
        });
        arrived.bytes.extend_from_slice(subject);
        drop(arrived);
        self.wake();
    }

    fn flush(&self) -> Duration {
        let (waiting, is_light) = {
            let arrived = self.arrived.lock();
            (arrived.bytes.len() + arrived.bodies, arrived.is_light())
        };
        self.work(is_light);
        pause(waiting, self.room.full)
    }
}

/// Returns the pause of a publisher after a batch, if so many bytes wait. Above half of `full` the pauses get so long that tens of
/// publishers together bring less than a slow disk takes: they should wait, not be refused.
fn pause(waiting: usize, full: usize) -> Duration {
    Duration::from_millis(match waiting {
        n if n > full / 4 * 3 => 250,
        n if n > full / 2 => 100,
        n if n > 4 * SLOW => 40,
        n if n > 2 * SLOW => 10,
        n if n > SLOW => 2,
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::LogTarget;
    use crate::server::Server;
    use stonechat_broker::{Outbound, PeerAddress, Transport};
    use stonechat_config::Options;

    #[test]
    fn acknowledgements_of_both_forms() {
        assert_eq!(ack_numbers(b"$JS.ACK.S.C.1.2.3.4.5"), b"1.2.3.4.5");
        assert_eq!(ack_numbers(b"$JS.ACK._.hash.S.C.1.2.3.4.5"), b"1.2.3.4.5");
        assert_eq!(ack_numbers(b"$JS.ACK._.hash.S.C.1.2.3.4.5.x"), b"1.2.3.4.5.x");
        assert_eq!(ack_numbers(b"$JS.ACK.S"), b"");
        assert_eq!(consumer_name(ack_parts(b"D.hash.S.C.1.2.3.4.5")), Some((&b"S.C"[..], &b"1.2.3.4.5"[..])));
    }

    #[test]
    fn publishers_pause_longer_the_more_waits() {
        let full = Room::default().full;
        let millis = [SLOW, SLOW + 1, 2 * SLOW + 1, 4 * SLOW + 1, full / 2 + 1, full, 2 * full]
            .map(|waiting| pause(waiting, full).as_millis());
        assert_eq!(millis, [0, 2, 10, 40, 100, 250, 250]);
    }

    #[test]
    fn messages_of_a_stream_wait_within_its_limits() {
        let limits = QueueLimits { messages: Some(2), bytes: Some(100), requests: 0 };
        let mut arrived = Arrived::default();
        assert!(arrived.note_message(1, 10, limits));
        assert!(!arrived.note_message(1, 91, limits), "bytes");
        assert!(arrived.note_message(1, 90, limits));
        assert!(!arrived.note_message(1, 0, limits), "messages");
        assert!(arrived.note_message(2, 100, limits), "another stream");
        arrived.clear();
        assert!(arrived.note_message(1, 10, limits));
    }

    /// A transport without a reader.
    struct Nobody;

    impl Transport for Nobody {
        fn flush(&self, _: &Outbound) {}
        fn wake(&self) {}
    }

    fn client() -> Arc<Client> {
        let mut options = Options::default();
        (options.host, options.port) = ("127.0.0.1".into(), -1);
        let server = Server::start(options, LogTarget::Discard).expect("it starts");
        server.broker().add_client(PeerAddress { ip: "127.0.0.1".into(), port: 1 }, Box::new(Nobody)).0
    }

    #[test]
    fn what_waits_is_bounded_refusals_and_all() {
        let client = client();
        let room = Room { full: 10_000, refused: 2000 };
        let limits = QueueLimits { requests: 10, ..QueueLimits::default() };
        let inbox = Inbox { room, limits, ..Inbox::default() };
        inbox.know_consumer(1, "S.C", Some(7));
        let push = |kind, number, subject: &str, reply: &str, payload: &str| {
            let (subject, reply, payload) = (subject.as_bytes(), reply.as_bytes(), payload.as_bytes());
            let message = Message { subject, reply, header_len: None, payload, tail: None, sizes: b"" };
            assert!(inbox.push(tag(kind, number), &client, &message), "it is taken, if only to be refused");
            let arrived = inbox.arrived.lock();
            (arrived.len(), arrived.items.len())
        };
        let kinds = || inbox.arrived.lock().items.iter().map(|item| item.kind).collect::<Vec<_>>();
        let payload = "x".repeat(1000);
        let mut waiting = (0, 0);
        while waiting.0 <= room.full {
            waiting = push(Kind::Publish, 1, "s", "reply", &payload);
        }
        assert!(kinds().iter().all(|kind| *kind == Kind::Publish));
        // Publishes without a reply subject and requests are dropped.
        let full = waiting;
        assert_eq!(push(Kind::Publish, 1, "s", "", &payload), full);
        assert_eq!(push(Kind::Api, 1, "$JS.API.INFO", "reply", ""), full);
        assert_eq!(push(Kind::Api, 1, "$JS.API.CONSUMER.MSG.NEXT.S.C", "reply", ""), full);
        assert_eq!(push(Kind::Direct, 1, "$JS.API.DIRECT.GET.S", "reply", ""), full);
        // Publishers get an error without their payload, until the errors fill their room too.
        let mut last = full;
        for _ in 0..10_000 {
            waiting = push(Kind::Publish, 1, "s", "reply", &payload);
            assert!(waiting.0 - last.0 < 100, "a refusal holds no payload");
            last = waiting;
        }
        assert!(waiting.1 > full.1 + 10, "{} refusals", waiting.1 - full.1);
        assert!(waiting.0 <= room.full + room.refused + payload.len() + 100, "{} bytes", waiting.0);
        assert!(kinds()[full.1..].iter().all(|kind| *kind == Kind::Overflow));
        // After the inbox was emptied, it accepts messages as before.
        let mut arrived = Arrived::default();
        inbox.take(&mut arrived);
        assert_eq!(arrived.items.len(), waiting.1);
        push(Kind::Publish, 1, "s", "reply", &payload);
        push(Kind::Api, 1, "$JS.API.INFO", "reply", "");
        assert_eq!(kinds(), [Kind::Publish, Kind::Api]);
    }

    #[test]
    fn large_requests_are_kept_as_they_came_and_count() {
        let client = client();
        let limits = QueueLimits { requests: 10, ..QueueLimits::default() };
        let inbox = Inbox { limits, room: Room { full: 1 << 20, refused: 0 }, ..Inbox::default() };
        let payload = "x".repeat(LIGHT + 1);
        let push = |subject: &str, payload: &str| {
            let (subject, reply, payload) = (subject.as_bytes(), b"reply", payload.as_bytes());
            let message = Message { subject, reply, header_len: None, payload, tail: None, sizes: b"" };
            assert!(inbox.push(tag(Kind::Api, 1), &client, &message), "it is taken");
        };
        push("$JS.API.INFO", &payload);
        push("$JS.API.STREAM.NAMES", "short");
        assert!(inbox.arrived.lock().len() > payload.len());
        let mut arrived = Arrived::default();
        inbox.take(&mut arrived);
        let mut found = Vec::new();
        arrived.for_each(|_, item, waiting| {
            found.push((item.body.is_some(), waiting.subject.to_vec(), waiting.payload.to_vec()));
        });
        let expected = [(true, "$JS.API.INFO", &payload[..]), (false, "$JS.API.STREAM.NAMES", "short")];
        assert_eq!(
            found,
            expected.map(|(is_body, s, p)| (is_body, s.as_bytes().to_vec(), p.as_bytes().to_vec()))
        );
        arrived.clear();
        assert_eq!(arrived.len(), 0);
        (0..100).for_each(|_| push("$JS.API.INFO", &payload));
        assert!(inbox.arrived.lock().len() < (1 << 20) + 2 * payload.len(), "what waits is bounded");
    }

    #[test]
    fn a_flood_of_requests_is_cut_off_for_its_account_alone() {
        let mut arrived = Arrived::default();
        assert_eq!((0..5).filter(|_| arrived.note_request(1, 3)).count(), 3);
        assert!(arrived.note_request(2, 3));
        assert_eq!(arrived.dropped_requests(), 2);
        arrived.clear();
        assert!(arrived.note_request(1, 3));
        assert_eq!(arrived.dropped_requests(), 0);
    }

    #[test]
    fn requests_of_a_domain_are_the_usual_ones() {
        let usual = |subject: &[u8]| Inbox::usual_subject(subject).into_owned();
        assert_eq!(usual(b"$JS.hub.API.STREAM.NAMES"), b"$JS.API.STREAM.NAMES");
        assert_eq!(usual(b"$JS.API.STREAM.NAMES"), b"$JS.API.STREAM.NAMES");
        assert_eq!(usual(b"$JS.ACK.S.C.1"), b"$JS.ACK.S.C.1");
    }
}
