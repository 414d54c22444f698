//! Waiting requests, in a queue for each account, and the budget that one turn of the engine spends on them. An account with many
//! requests delays only its own. Large requests are decoded on another thread first, see [`asides`](super::asides).
//!
//! A request is processed at once if no request of its account waits and the turn has budget left. A request that takes longer
//! than a step becomes a [`LongRequest`]. Some long requests block those behind them, which may depend on their results; the
//! others run beside them. The accounts take turns.
//!
//! One turn of the engine spends about a millisecond on requests.

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

/// Budget of one turn for requests.
const TURN: usize = STEP;
/// Base cost of a request, besides what it visits.
const REQUEST: usize = STEP / 64;
/// Bytes of a request or an answer that cost a whole turn.
const BYTES: usize = 128 << 10;
/// Returns the cost of writing or reading JSON of this length.
pub(super) fn cost_of_bytes(bytes: usize) -> usize {
    bytes * STEP / BYTES
}

/// Long requests of an account that run beside each other, at most.
const BESIDE_MAX: usize = 64;
/// Limits of waiting requests: their number in each queue of an account (unless configured), their bytes in an account, and their
/// bytes in all accounts.
const WAITING_MAX: usize = 10_000;
const ACCOUNT_BYTES_MAX: usize = 32 << 20;
const BYTES_MAX: usize = 128 << 20;
/// The queues, as nats-server 2.15 names them.
const NAMES: [&str; 2] = ["JetStream API queue", "JetStream API info queue"];

/// Waiting requests and requests in progress.
#[derive(Debug)]
pub(crate) struct Requests {
    accounts: HashMap<AccountId, OfAccount>,
    /// Accounts with work, in the order of their turns.
    turns: VecDeque<AccountId>,
    /// What this turn has spent.
    spent: usize,
    /// Whether the last turn was skipped, because more than one turn had been spent.
    has_skipped: bool,
    /// Bytes of all requests that wait or are in progress.
    bytes: usize,
    limits: [usize; 2],
    /// Work for another thread.
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
    /// Waiting requests, in each of nats-server's two queues.
    counts: [usize; 2],
    /// Whether a request is decoded on another thread, while the others wait.
    is_reading: bool,
    /// The decoded request.
    read: Option<Box<Read>>,
    /// The long request that blocks the others.
    first: Option<LongRequest>,
    beside: VecDeque<LongRequest>,
    /// Number of large requests in `beside`.
    large: usize,
    /// Whether the next turn belongs to `beside`.
    is_beside: bool,
    /// Whether the account is in `turns`.
    has_turn: bool,
}

/// A copy of a request.
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

    /// As [`Owned::new`], with a payload that is shared.
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

    /// Whether the request is decoded on another thread.
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

/// Returns which of nats-server's queues a request belongs to: most read-only requests have one of their own.
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

    /// Whether one of its requests blocks those behind it.
    fn is_blocked(&self) -> bool {
        self.first.is_some() || self.is_reading || self.read.is_some()
    }

    /// Whether the next request can begin. Of large requests, the decoded body of only one at a time is kept.
    fn begins_next(&self) -> bool {
        !self.is_blocked()
            && self.beside.len() < BESIDE_MAX
            && self.waiting.front().is_some_and(|next| self.large == 0 || !next.is_large())
    }

    /// Whether there is work for the account now.
    fn has_work(&self) -> bool {
        self.first.is_some() || self.read.is_some() || !self.beside.is_empty() || self.begins_next()
    }

    /// Drops the requests that wait in one of the queues. Returns their number and their bytes.
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
    /// Whether there is work.
    pub(crate) fn has_work(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Cancels the work for another thread.
    pub(crate) fn end(&self) {
        self.asides.end();
    }

    /// Adds to what this turn has spent.
    pub(super) fn spend(&mut self, work: usize) {
        self.spent = self.spent.saturating_add(work);
    }

    /// Adds the cost of an answer to what this turn has spent.
    pub(super) fn spend_bytes(&mut self, bytes: usize) {
        self.spend(cost_of_bytes(bytes));
    }

    /// Whether a request of this account may be processed at once.
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

    /// Adds a request to its account's queue. If the queue is full, drops it all; returns the queue and the number of dropped
    /// requests, this one included.
    fn push(&mut self, request: Owned) -> Option<(usize, usize)> {
        let (queue, bytes) = (queue_of(&request.subject), request.bytes());
        let (limit, is_full) = (self.limits[queue], self.bytes + bytes > BYTES_MAX);
        let of = self.accounts.entry(request.account).or_default();
        if of.counts[queue] + 1 >= limit || of.bytes + bytes > ACCOUNT_BYTES_MAX || is_full {
            // All requests that wait in the queue, as nats-server 2.15 does; but of this account alone.
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

    /// Counts the bytes of a request in progress.
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

    /// Keeps a long request, which continues later.
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

    /// Keeps a request that was decoded on another thread.
    pub(super) fn was_read(&mut self, read: Box<Read>) {
        let of = self.of(read.request.account);
        (of.is_reading, of.read) = (false, Some(read));
    }
}

impl<D: Disk> Engine<D> {
    /// Sets how many requests of an account may wait in each of nats-server's two queues.
    pub fn set_request_limits(&mut self, limits: [usize; 2]) {
        self.requests.limits = limits;
    }

    /// Reports requests that were dropped before they reached the engine.
    pub fn tell_dropped_requests(&mut self, count: u64) {
        self.requests_dropped(NAMES[0], count);
    }

    /// Whether a request may be processed now. Otherwise it is put in its queue.
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

    /// Processes waiting and long requests within the budget of one turn, at least one step. A turn that was spent in advance is
    /// skipped.
    pub(crate) fn run_requests(&mut self) {
        // Work that cannot be divided may exceed its turn at the expense of the next ones; but no two turns in a row are skipped.
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
                // The account continues when its request was decoded.
                Some(of) if !of.is_empty() => {}
                _ => drop(self.requests.accounts.remove(&account)),
            }
            if self.requests.spent >= TURN {
                break;
            }
        }
        self.requests.spent = self.requests.spent.saturating_sub(TURN).min(TURN);
    }

    /// Runs a step of one of an account's long requests, or begins its next request.
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

    /// Begins a request that has waited.
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
            // Requests to consumers wait only if they are large, so this one is for the API.
            _ => self.work_on(request, None),
        });
    }
}

/// Whether a request is decoded on another thread.
pub(crate) fn is_large(request: &Request<'_>) -> bool {
    request.headers.len() + request.payload.len() > ELSEWHERE
}
