//! Requests that wait, each account's in a queue of its own, and how much is done for them in one turn of the engine: so that whoever
//! asks much waits for it himself. Large ones are read beside the engine first, see [`asides`](super::asides).
//!
//! A request is worked on at once if nothing of its account waits and the turn has time left. What takes longer than a step is a
//! [`LongRequest`]: some of them keep the requests behind them waiting, since these may ask for what they make; the others go on beside
//! them. The accounts have their turns one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use serde_json::Value;
use stonechat_store::disk::Disk;

use super::Request;
use super::asides::{Asides, ELSEWHERE, Read, To};
use super::long::{LongRequest, STEP};
use crate::engine::Engine;
use crate::ids::AccountId;

/// How much is done for requests in one turn.
const TURN: usize = STEP;
/// What a request costs besides what it looks at.
const REQUEST: usize = STEP / 64;
/// So many bytes of a request or an answer cost a whole turn.
const BYTES: usize = 128 << 10;
/// The cost of making or reading JSON of this length.
pub(super) fn cost_of_bytes(bytes: usize) -> usize {
    bytes * STEP / BYTES
}

/// Requests of an account that go on beside each other.
const BESIDE_MAX: usize = 64;
/// Requests of an account that wait, unless configured, and bytes of them, of one account and of all.
const WAITING_MAX: usize = 10_000;
const ACCOUNT_BYTES_MAX: usize = 32 << 20;
const BYTES_MAX: usize = 128 << 20;
/// The queues, as nats-server 2.15 names them.
const NAMES: [&str; 2] = ["JetStream API queue", "JetStream API info queue"];

/// Requests that wait or are on their way.
#[derive(Debug)]
pub(crate) struct Requests {
    accounts: HashMap<AccountId, OfAccount>,
    /// Accounts with something to do, in the order of their turns.
    turns: VecDeque<AccountId>,
    /// What was done in this turn.
    spent: usize,
    /// The last turn was skipped, because more than one turn was spent already.
    has_skipped: bool,
    /// Bytes of all that waits.
    bytes: usize,
    limits: [usize; 2],
    /// What is done beside the engine.
    pub(super) asides: Asides,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            accounts: HashMap::new(),
            turns: VecDeque::new(),
            spent: 0,
            has_skipped: false,
            bytes: 0,
            limits: [WAITING_MAX; 2],
            asides: Asides::default(),
        }
    }
}

#[derive(Debug, Default)]
struct OfAccount {
    waiting: VecDeque<Owned>,
    bytes: usize,
    /// How many wait in each of the queues that nats-server has.
    counts: [usize; 2],
    /// One is being read beside the engine, and the others wait.
    is_reading: bool,
    /// It was read.
    read: Option<Box<Read>>,
    /// The one that keeps the others waiting.
    first: Option<LongRequest>,
    beside: VecDeque<LongRequest>,
    /// How many of these are large.
    large: usize,
    /// Whose turn it is of the two.
    is_beside: bool,
    /// It is among those that wait for their turn.
    has_turn: bool,
}

/// A request that is kept.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) to: To,
    pub(super) account: AccountId,
    pub(super) subject: Vec<u8>,
    pub(super) reply: Vec<u8>,
    pub(super) headers: Vec<u8>,
    pub(super) payload: Arc<Vec<u8>>,
    pub(super) client: Value,
}

impl Owned {
    pub(super) fn new(request: &Request<'_>, to: To) -> Self {
        Self::with_body(request, to, &Arc::new(request.payload.to_vec()))
    }

    /// The same, with this payload.
    pub(super) fn with_body(request: &Request<'_>, to: To, body: &Arc<Vec<u8>>) -> Self {
        Self {
            to,
            account: request.account,
            subject: request.subject.to_vec(),
            reply: request.reply.to_vec(),
            headers: request.headers.to_vec(),
            payload: Arc::clone(body),
            client: (request.client)(),
        }
    }

    /// Whether it is read beside the engine.
    pub(super) fn is_large(&self) -> bool {
        self.headers.len() + self.payload.len() > ELSEWHERE
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.subject.len() + self.reply.len() + self.headers.len() + self.payload.len()
    }

    pub(super) fn lend<T>(&self, take: impl FnOnce(&Request<'_>) -> T) -> T {
        let client = || self.client.clone();
        take(&Request {
            account: self.account,
            subject: &self.subject,
            reply: &self.reply,
            headers: &self.headers,
            payload: &self.payload,
            client: &client,
        })
    }
}

/// In which of nats-server's queues a request waits: those that only look have one of their own.
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

impl OfAccount {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.beside.is_empty() && !self.is_blocked()
    }

    /// Whether one of its requests keeps those waiting that come.
    fn is_blocked(&self) -> bool {
        self.first.is_some() || self.is_reading || self.read.is_some()
    }

    /// Whether the next one can be begun with. What large ones say is kept of one at a time.
    fn begins_next(&self) -> bool {
        !self.is_blocked()
            && self.beside.len() < BESIDE_MAX
            && self.waiting.front().is_some_and(|next| self.large == 0 || !next.is_large())
    }

    /// Whether something can be done for it now.
    fn has_work(&self) -> bool {
        self.first.is_some() || self.read.is_some() || !self.beside.is_empty() || self.begins_next()
    }

    /// Drops what waits in one of the queues: how many requests and bytes that were.
    fn clear(&mut self, queue: usize) -> (usize, usize) {
        let mut bytes = 0;
        self.waiting.retain(|request| {
            let stays = queue_of(&request.subject) != queue;
            bytes += if stays { 0 } else { request.bytes() };
            stays
        });
        self.bytes -= bytes;
        (std::mem::take(&mut self.counts[queue]), bytes)
    }
}

impl Requests {
    /// Whether there is something to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Gives up what is done beside the engine.
    pub(crate) fn end(&self) {
        self.asides.end();
    }

    /// Takes note of work.
    pub(super) fn spend(&mut self, work: usize) {
        self.spent = self.spent.saturating_add(work);
    }

    /// Takes note of an answer.
    pub(super) fn spend_bytes(&mut self, bytes: usize) {
        self.spend(cost_of_bytes(bytes));
    }

    /// Whether a request of this account may be worked on at once.
    fn is_free(&self, account: AccountId) -> bool {
        self.spent < TURN
            && self
                .accounts
                .get(&account)
                .is_none_or(|a| !a.is_blocked() && a.waiting.is_empty() && a.beside.len() < BESIDE_MAX)
    }

    fn of(&mut self, account: AccountId) -> &mut OfAccount {
        let of = self.accounts.entry(account).or_default();
        if !std::mem::replace(&mut of.has_turn, true) {
            self.turns.push_back(account);
        }
        of
    }

    /// Puts a request in its account's queue; answers which queue is full and how many requests were dropped with it.
    fn push(&mut self, request: Owned) -> Option<(usize, usize)> {
        let (queue, bytes) = (queue_of(&request.subject), request.bytes());
        let (limit, is_full) = (self.limits[queue], self.bytes + bytes > BYTES_MAX);
        let of = self.accounts.entry(request.account).or_default();
        if of.counts[queue] + 1 >= limit || of.bytes + bytes > ACCOUNT_BYTES_MAX || is_full {
            // All that waits, as nats-server 2.15 does; but of this account alone.
            let (dropped, cleared) = of.clear(queue);
            self.bytes -= cleared;
            return Some((queue, dropped + 1));
        }
        of.counts[queue] += 1;
        of.bytes += bytes;
        self.bytes += bytes;
        let account = request.account;
        of.waiting.push_back(request);
        self.of(account);
        None
    }

    fn pop(&mut self, account: AccountId) -> Option<Owned> {
        let of = self.accounts.get_mut(&account).filter(|of| of.begins_next())?;
        let request = of.waiting.pop_front()?;
        let bytes = request.bytes();
        of.counts[queue_of(&request.subject)] -= 1;
        of.bytes -= bytes;
        self.bytes -= bytes;
        Some(request)
    }

    /// Counts bytes of a request that is on its way, or no more.
    fn hold(&mut self, account: AccountId, bytes: usize) {
        self.bytes += bytes;
        if let Some(of) = self.accounts.get_mut(&account) {
            of.bytes += bytes;
        }
    }

    fn release(&mut self, account: AccountId, bytes: usize) {
        self.bytes -= bytes;
        if let Some(of) = self.accounts.get_mut(&account) {
            of.bytes -= bytes;
        }
    }

    /// Keeps a request that goes on later.
    pub(super) fn keep(&mut self, account: AccountId, request: LongRequest) {
        let bytes = request.bytes();
        let of = self.of(account);
        match request.is_first() {
            true => of.first = Some(request),
            false => {
                of.large += usize::from(request.is_large());
                of.beside.push_back(request);
            }
        }
        self.hold(account, bytes);
    }

    /// A request was read beside the engine.
    pub(super) fn was_read(&mut self, read: Box<Read>) {
        let of = self.of(read.request.account);
        (of.is_reading, of.read) = (false, Some(read));
    }
}

impl<D: Disk> Engine<D> {
    /// Says how many requests of an account may wait in each of nats-server's two queues.
    pub fn set_request_limits(&mut self, limits: [usize; 2]) {
        self.requests.limits = limits;
    }

    /// Tells of requests that were dropped before the engine saw them.
    pub fn tell_dropped_requests(&mut self, count: u64) {
        self.requests_dropped(NAMES[0], count);
    }

    /// Whether a request may be worked on now. Else it waits in its queue.
    pub(crate) fn may_begin(&mut self, request: &Request<'_>, to: To) -> bool {
        if !is_large(request) && self.requests.is_free(request.account) {
            self.requests.spend(REQUEST);
            self.requests.spend_bytes(request.payload.len());
            return true;
        }
        self.queue(Owned::new(request, to));
        false
    }

    /// Puts a request in its queue.
    pub(super) fn queue(&mut self, request: Owned) {
        if let Some((queue, dropped)) = self.requests.push(request) {
            self.requests_dropped(NAMES[queue], dropped as u64);
        }
    }

    /// Works on requests that wait or take long, as much as there is time for in one turn, and at least one step.
    pub(crate) fn run_requests(&mut self) {
        // What cannot be divided may take more than its turn, and has the next ones in advance; but not twice in a row.
        let is_overdrawn = self.requests.spent >= TURN;
        if is_overdrawn && !std::mem::replace(&mut self.requests.has_skipped, true) {
            self.requests.spent -= TURN;
            return;
        }
        self.requests.has_skipped = false;
        while let Some(account) = self.requests.turns.pop_front() {
            let before = self.requests.spent;
            if let Some(of) = self.requests.accounts.get_mut(&account) {
                of.has_turn = false;
            }
            self.run_request(account);
            self.requests.spent = self.requests.spent.max(before + 1);
            match self.requests.accounts.get(&account) {
                Some(of) if of.has_work() => drop(self.requests.of(account)),
                // It goes on when a request was read.
                Some(of) if !of.is_empty() => {}
                _ => drop(self.requests.accounts.remove(&account)),
            }
            if self.requests.spent >= TURN {
                break;
            }
        }
        self.requests.spent = self.requests.spent.saturating_sub(TURN).min(TURN);
    }

    /// Does a step of one of an account's requests, or begins with the next one.
    fn run_request(&mut self, account: AccountId) {
        let Some(of) = self.requests.accounts.get_mut(&account) else { return };
        let goes_on = of.first.is_some() || of.read.is_some() || of.begins_next();
        let is_beside = !of.beside.is_empty() && (of.is_beside || !goes_on);
        of.is_beside = !is_beside;
        let long = if is_beside { of.beside.pop_front() } else { of.first.take() };
        if let Some(long) = long {
            of.large -= usize::from(is_beside && long.is_large());
            self.requests.release(account, long.bytes());
            if let Some(long) = self.go_on(long) {
                self.requests.keep(account, long);
            }
        } else if let Some(read) = of.read.take() {
            self.requests.spend(REQUEST);
            self.requests.release(account, read.request.bytes());
            self.work_on_read(*read);
        } else if let Some(next) = self.requests.pop(account) {
            self.requests.spend(REQUEST);
            self.begin(next);
        }
    }

    /// Begins with a request that has waited.
    fn begin(&mut self, next: Owned) {
        if next.is_large() {
            if let Some(of) = self.requests.accounts.get_mut(&next.account) {
                of.is_reading = true;
            }
            self.requests.hold(next.account, next.bytes());
            return self.requests.asides.read(next, self.options.strict);
        }
        self.requests.spend_bytes(next.payload.len());
        next.lend(|request| match next.to {
            To::Direct(stream_id) => self.direct_get_now(stream_id, request),
            // Others wait only if they are large.
            _ => self.work_on(request, None),
        });
    }
}

/// Whether a request is read beside the engine.
pub(crate) fn is_large(request: &Request<'_>) -> bool {
    request.headers.len() + request.payload.len() > ELSEWHERE
}
