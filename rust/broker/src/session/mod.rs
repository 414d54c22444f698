//! A client's session: parses the bytes that were read and performs the operations on the client's account.
//!
//! The session belongs to the connection's task alone. State that other tasks need is in [`Client`].
//!
//! Input that ends within an operation stays in the session and is placed before the next read. The rest of a large
//! message is read directly into the session's buffer. Dropping a session releases everything that it owns in the broker.

mod authenticate;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
#[cfg(feature = "shuttle")]
mod interleavings;
mod publish;
mod subscribe;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;
mod timers;
mod traced;
#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod wide_tests;

use crate::account::Account;
use crate::broker::Broker;
use crate::client::{Client, Flag};
use crate::closed::ClosedReason;
use crate::frame::Head;
use crate::options::BrokerOptions;
use crate::permissions::CompiledPermissions;
use crate::router::Router;
use crate::subscription::SubRef;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stonechat_auth::{Authenticator, Credentials};
use stonechat_subject::MatchCache;
use stonechat_wire::{ConnectOptions, Op, ParseError, Parsed, Parser, error_line, texts};
use timers::Timers;
use tracing::{debug, error, trace};

/// Partial input of this size and more is read in place rather than moved to the front of the next read.
const IN_PLACE_FROM: usize = 4096;
/// Most bytes by which the buffer of partial input grows beyond the received bytes, so that an announced size alone
/// reserves no memory.
const GROW_MAX: usize = 1 << 20;

/// The next step that a session requests from its connection's task.
#[derive(Debug)]
#[must_use]
pub enum Progress {
    /// Read more input, after this pause.
    Read(Duration),
    /// Let the thread's other connections run, then call [`ClientSession::resume`].
    Yield,
    /// Check these credentials on a thread that serves no connections, then call [`ClientSession::authenticated`].
    Authenticate(Credentials),
    /// Close the connection; [`Client::closing`] has the reason.
    Close,
}

/// A client connection's protocol state.
#[derive(Debug)]
pub struct ClientSession {
    broker: Arc<Broker>,
    client: Arc<Client>,
    options: Arc<BrokerOptions>,
    generation: u64,
    parser: Parser,
    connect: ConnectOptions,
    credentials: Option<Credentials>,
    /// The authenticator that admitted the client.
    authenticator: Arc<Authenticator>,
    connected: bool,
    first_pong_sent: bool,
    /// Whether the subject of the incomplete publish was already reported as invalid.
    warned: bool,
    account: Option<Arc<Account>>,
    permissions: Option<Box<CompiledPermissions>>,
    /// Input of an incomplete operation, and the least number of bytes that this operation needs.
    partial: Vec<u8>,
    needed: usize,
    /// Input that waits until other connections have run, and the number of its bytes already processed.
    unread: Vec<u8>,
    unread_done: usize,
    /// Credentials to be checked when the batch is over.
    asked: Option<Box<Credentials>>,
    cache: MatchCache<SubRef, Verdict>,
    found: stonechat_subject::Matches<SubRef>,
    router: Router,
    timers: Timers,
    start: Instant,
    figures: Figures,
    is_closed: bool,
}

/// Data of a cached match besides its receivers.
#[derive(Debug)]
struct Verdict {
    /// Whether the session's permissions allow publishing on the subject.
    allowed: bool,
    head: Head,
}

/// Counts of the current batch.
#[derive(Debug, Default)]
struct Figures {
    msgs: u64,
    bytes: u64,
    matches: u64,
    hits: u64,
}

/// Marker that the connection must end. The reason is recorded, and the `-ERR` for the client, if any, is in its
/// buffer.
#[derive(Debug)]
struct Ending;

type Step = Result<(), Ending>;

/// The reason why no further operation is taken from the input for now.
#[derive(Debug)]
enum Pause {
    /// The next operation is incomplete.
    Incomplete,
    /// Credentials must be checked first. The number is the bytes of input up to the end of CONNECT's line.
    Authenticate(usize, Box<Credentials>),
    Ending,
}

impl From<Ending> for Pause {
    fn from(_: Ending) -> Self {
        Self::Ending
    }
}

impl ClientSession {
    /// Returns the session of a newly registered connection, and sends INFO.
    pub fn new(broker: Arc<Broker>, client: Arc<Client>, now: Instant) -> Self {
        let options = broker.options();
        let authenticator = broker.authenticator();
        let seed = broker.draw_seed();
        let parser = Parser {
            max_control_line: options.max_control_line,
            max_payload: options.max_payload,
            headers: false,
        };
        let timers = Timers::new(&options, authenticator.required(), seed, now);
        let info = broker.info_for(&client);
        client.outbound.push(&info.line());
        let mut session = Self {
            generation: broker.generation(),
            parser,
            connect: ConnectOptions::default(),
            credentials: None,
            authenticator: authenticator.clone(),
            connected: false,
            first_pong_sent: false,
            warned: false,
            account: None,
            permissions: None,
            partial: Vec::new(),
            needed: 0,
            unread: Vec::new(),
            unread_done: 0,
            asked: None,
            cache: MatchCache::new(seed),
            found: stonechat_subject::Matches::default(),
            router: Router::new(seed),
            timers,
            start: now,
            figures: Figures::default(),
            is_closed: false,
            options,
            broker,
            client,
        };
        debug!("{} - Client connection created", session.client.label());
        if !authenticator.is_enforced() {
            session.bind(crate::GLOBAL_ACCOUNT, None, None);
        }
        session.client.outbound.flush();
        session
    }

    /// The connection.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Refuses a connection beyond `max_connections`.
    pub fn refuse(&mut self) {
        error!("{} - maximum connections exceeded", self.client.label());
        let _ = self.fail(texts::MAX_CONNECTIONS, ClosedReason::MaxConnectionsExceeded);
        self.client.outbound.flush();
    }

    /// Copies partial input to the front of the next read buffer and returns its length. `None` if the partial input is
    /// large: then read into [`ClientSession::partial_space`].
    pub fn prepare(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let len = self.partial.len();
        if len >= IN_PLACE_FROM || len > buffer.len() / 2 {
            return None;
        }
        buffer[..len].copy_from_slice(&self.partial);
        Some(len)
    }

    /// Returns the space to read the rest of large partial input into.
    pub fn partial_space(&mut self) -> &mut [u8] {
        let len = self.partial.len();
        // An unfinished line asks for only one more byte; reading larger pieces avoids a call for each byte.
        let missing = self.needed.saturating_sub(len).clamp(IN_PLACE_FROM, GROW_MAX);
        self.partial.resize(len + missing, 0);
        &mut self.partial[len..]
    }

    /// Processes `filled` bytes that were read into [`ClientSession::partial_space`], whose length was `space`. Call it
    /// even if nothing was read, to give the space back.
    pub fn partial_filled(&mut self, space: usize, filled: usize, now: Instant) -> Progress {
        self.partial.truncate(self.partial.len() - space + filled);
        if self.partial.len() < self.needed || filled == 0 {
            return Progress::Read(Duration::ZERO);
        }
        let input = std::mem::take(&mut self.partial);
        let progress = self.ingest(&input, now);
        if self.partial.is_empty() && input.capacity() <= GROW_MAX {
            // Keeps the memory for the next large message; an idle session frees it (`rest`).
            self.partial = input;
            self.partial.clear();
        }
        progress
    }

    /// Appends input that can't be read in place to large partial input, and processes it once the operation is
    /// complete.
    pub fn ingest_more(&mut self, input: &[u8], now: Instant) -> Progress {
        self.partial.extend_from_slice(input);
        if self.partial.len() < self.needed {
            return Progress::Read(Duration::ZERO);
        }
        let input = std::mem::take(&mut self.partial);
        self.ingest(&input, now)
    }

    /// Frees memory that only a busy session needs.
    pub fn rest(&mut self) {
        if self.partial.is_empty() && self.partial.capacity() > 0 {
            self.partial = Vec::new();
        }
    }

    /// Processes input that was read, with the earlier partial input at its front.
    pub fn ingest(&mut self, input: &[u8], now: Instant) -> Progress {
        self.partial.clear();
        self.refresh();
        let used = self.operate(input, now);
        if used < input.len() {
            self.unread.extend_from_slice(&input[used..]);
        }
        self.end_slice(now)
    }

    /// Performs operations from the input until other connections should run; returns the bytes consumed. An incomplete
    /// operation counts as consumed and is kept in `partial`.
    #[inline]
    fn operate(&mut self, input: &[u8], now: Instant) -> usize {
        let mut used = 0;
        while used < input.len() && self.client.closing().is_none() {
            match self.step(&input[used..], now) {
                Ok(n) => used += n,
                Err(Pause::Incomplete) => {
                    self.partial.extend_from_slice(&input[used..]);
                    break;
                }
                Err(Pause::Authenticate(n, credentials)) => {
                    used += n;
                    self.asked = Some(credentials);
                    self.needed = 0;
                    self.partial.extend_from_slice(&input[used..]);
                    break;
                }
                Err(Pause::Ending) => break,
            }
            if self.router.is_full() {
                return used;
            }
        }
        input.len()
    }

    /// Returns whether input that was read is not fully processed. [`ClientSession::resume`] continues it.
    pub fn is_busy(&self) -> bool {
        self.router.is_waiting() || self.router.is_flushing() || !self.unread.is_empty()
    }

    /// Continues after other connections have run.
    pub fn resume(&mut self, now: Instant) -> Progress {
        self.refresh();
        self.router.begin_slice();
        if self.router.is_waiting() {
            self.deliver_on();
        } else if !self.router.is_flushing() && !self.unread.is_empty() {
            let unread = std::mem::take(&mut self.unread);
            self.unread_done += self.operate(&unread[self.unread_done..], now);
            if self.unread_done < unread.len() && self.client.closing().is_none() {
                self.unread = unread;
            } else {
                self.unread_done = 0;
            }
        }
        self.end_slice(now)
    }

    fn deliver_on(&mut self) {
        while !self.router.is_full() {
            match self.router.deliver_on(&self.broker, &self.options, &self.client) {
                Some(over) => self.conclude_fanout(over),
                None => break,
            }
        }
    }

    /// Ends the slice: ends the batch if it is complete or large, and returns the next step.
    #[inline]
    fn end_slice(&mut self, now: Instant) -> Progress {
        let is_over = !self.router.is_waiting() && self.unread.is_empty();
        let is_flushed = (is_over || self.router.is_large()) && self.finish_batch(now);
        if self.client.closing().is_some() {
            return Progress::Close;
        }
        if !(is_over && is_flushed) {
            return Progress::Yield;
        }
        match self.asked.take() {
            Some(credentials) => Progress::Authenticate(*credentials),
            None => Progress::Read(self.router.take_stall(&self.broker)),
        }
    }

    /// Delivers a slice of the remaining fan-outs when the connection ends. Call it until it returns false: an accepted
    /// message reaches all its receivers, and each receiver is flushed.
    pub fn wind_up(&mut self, now: Instant) -> bool {
        self.unread.clear();
        self.router.begin_slice();
        self.deliver_on();
        let _ = self.end_slice(now);
        self.is_busy()
    }

    /// Performs one operation; returns the bytes of input that it took.
    #[inline]
    fn step(&mut self, input: &[u8], now: Instant) -> Result<usize, Pause> {
        if self.account.is_none() && !self.connected {
            self.admit_before_connect(input[0])?;
        }
        let (op, used) = match self.parser.parse(input) {
            Ok(Parsed::Op(op, used)) => (op, used),
            Ok(Parsed::Incomplete(needed)) => {
                self.needed = needed;
                return Err(Pause::Incomplete);
            }
            Ok(Parsed::Ignored(keep)) => {
                self.needed = keep + 1;
                self.partial.extend_from_slice(&input[..keep]);
                return Ok(input.len());
            }
            Ok(Parsed::Announced(subject, needed)) => {
                self.needed = needed;
                self.announced(subject);
                return Err(Pause::Incomplete);
            }
            Err(error) => return Err(self.parse_failed(error, input).into()),
        };
        if self.options.trace {
            self.trace_in(&input[..used]);
        }
        match op {
            Op::Publish(message) => match self.publish_run(&message, input, used, now) {
                Some(all) => return Ok(all),
                None => self.publish(&message, now)?,
            },
            Op::Subscribe { subject, queue, sid } => self.subscribe(subject, queue, sid),
            Op::Unsubscribe { sid, max } => self.unsubscribe(sid, max),
            Op::Ping => self.ping(now),
            Op::Pong => self.pong(now),
            Op::Connect(json) => {
                if let Some(credentials) = self.connect(json, now)? {
                    return Err(Pause::Authenticate(used, Box::new(credentials)));
                }
            }
            Op::Info(json) => {
                if serde_json::from_slice::<serde_json::Value>(json).is_err() {
                    return Err(self.end(ClosedReason::ProtocolViolation).into());
                }
            }
            Op::Ok => {}
            Op::Err(text) => {
                error!("{} - Client Error {}", self.client.label(), String::from_utf8_lossy(text));
                return Err(self.end(ClosedReason::ParseError).into());
            }
        }
        Ok(used)
    }

    fn parse_failed(&self, error: ParseError, input: &[u8]) -> Ending {
        let label = self.client.label();
        let start = String::from_utf8_lossy(&input[..input.len().min(32)]).into_owned();
        match error {
            ParseError::UnknownOperation => {
                let ending = self.fail(texts::UNKNOWN_OPERATION, ClosedReason::ProtocolViolation);
                error!("{label} - Client parser ERROR, proto={start:?}");
                ending
            }
            ParseError::BadArguments => {
                error!("{label} - {}", self.bad_arguments(input));
                self.end(ClosedReason::ProtocolViolation)
            }
            ParseError::ControlLine => {
                self.fail(texts::MAX_CONTROL_LINE, ClosedReason::MaxControlLineExceeded)
            }
            ParseError::Payload(size) => {
                error!("{label} - maximum payload exceeded: {size} vs {}", self.options.max_payload);
                self.fail(texts::MAX_PAYLOAD, ClosedReason::MaxPayloadExceeded)
            }
        }
    }

    /// Returns the log text for arguments that can't be parsed.
    fn bad_arguments(&self, input: &[u8]) -> String {
        let line = input.split(|&b| b == b'\n').next().unwrap_or_default().trim_ascii();
        let verb_end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (verb, args) = line.split_at(verb_end);
        let operation = match verb.to_ascii_uppercase().as_slice() {
            b"PUB" => "processPub",
            b"HPUB" if !self.parser.headers => return "message headers not supported".into(),
            b"HPUB" => "processHeaderPub",
            b"SUB" => "processSub",
            _ => "processUnsub",
        };
        format!("{operation} Parse Error: {}", stonechat_wire::quote(args.trim_ascii()))
    }

    /// Takes over the current options if the configuration was reloaded.
    #[inline]
    fn refresh(&mut self) {
        if self.generation != self.broker.generation() {
            self.generation = self.broker.generation();
            self.options = self.broker.options();
            self.parser.max_control_line = self.options.max_control_line;
            self.parser.max_payload = self.options.max_payload;
        }
    }

    /// Handles the flags that other tasks raised. Call it when the connection's task was woken.
    pub fn woken(&mut self, now: Instant) -> Progress {
        if self.is_busy() && self.client.closing().is_none() {
            // The flags wait: they don't affect messages that were published before.
            return self.resume(now);
        }
        self.refresh();
        if self.client.take(Flag::Reload) {
            self.reloaded();
        }
        if self.client.take(Flag::Timer) {
            self.timers_due(now);
        }
        self.end_slice(now)
    }

    /// Ends the batch; false if other connections should run first.
    fn finish_batch(&mut self, now: Instant) -> bool {
        if !self.router.finish(&self.broker, &self.options, &self.client) {
            return false;
        }
        // The session's own output leaves with the batch too. A peer that never reads replies such as PONG is as slow
        // as one that never reads its messages.
        self.client.outbound.flush();
        if self.client.outbound.progress().0 > self.options.max_pending {
            Router::close_slow(&self.options, &self.client);
        }
        let f = std::mem::take(&mut self.figures);
        if f.msgs > 0 {
            let add = |counter: &AtomicU64, n| counter.store(counter.load(Relaxed) + n, Relaxed);
            // Only this session writes its connection's figures, so no atomic addition is needed for them.
            add(&self.client.in_msgs, f.msgs);
            add(&self.client.in_bytes, f.bytes);
            self.broker.totals.in_msgs.fetch_add(f.msgs, Relaxed);
            self.broker.totals.in_bytes.fetch_add(f.bytes, Relaxed);
            self.broker.totals.matches.fetch_add(f.matches, Relaxed);
            self.broker.totals.cache_hits.fetch_add(f.hits, Relaxed);
        }
        let since_start = now.saturating_duration_since(self.start).as_millis() as u64;
        self.client.last_activity_ms.store(since_start, Relaxed);
        true
    }

    /// Ends the connection without an `-ERR`.
    fn end(&self, reason: ClosedReason) -> Ending {
        self.client.close(reason);
        Ending
    }

    /// Ends the connection after an `-ERR` with this text.
    fn fail(&self, text: &str, reason: ClosedReason) -> Ending {
        self.send_error(text);
        self.end(reason)
    }

    fn send(&self, bytes: &[u8]) {
        self.client.outbound.push(bytes);
    }

    fn send_error(&self, text: &str) {
        if self.options.trace {
            trace!("{} - ->> [-ERR {text}]", self.client.label());
        }
        self.send(&error_line(text));
    }

    fn send_ok(&self) {
        if self.connect.verbose {
            if self.options.trace {
                trace!("{} - ->> [OK]", self.client.label());
            }
            self.send(b"+OK\r\n");
        }
    }

    /// Traces an operation as the client wrote it, with secrets redacted.
    fn trace_in(&self, operation: &[u8]) {
        let line = operation.split(|&b| b == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let verb_end = line.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(line.len());
        let verb = String::from_utf8_lossy(&line[..verb_end]).to_ascii_uppercase();
        let args = line[verb_end..].trim_ascii_start();
        let args = match verb.as_str() {
            "CONNECT" => stonechat_wire::redact_connect(args),
            "PING" | "PONG" => String::new(),
            _ => String::from_utf8_lossy(args).into_owned(),
        };
        let gap = if args.is_empty() { "" } else { " " };
        trace!("{} - <<- [{verb}{gap}{args}]", self.client.label());
    }

    /// Ends the session: removes its subscriptions and drops its pending output. Call it once the connection is closed.
    pub fn close(&mut self, reason: ClosedReason) {
        self.is_closed = true;
        while self.is_busy() {
            let _ = self.wind_up(self.start);
        }
        self.client.close(reason);
        let reason = self.client.closing().unwrap_or(reason);
        let label = self.client.label();
        self.broker.remove_client(&self.client, reason);
        self.drop_subscriptions();
        if let Some(account) = self.account.take() {
            account.clients.fetch_sub(1, Relaxed);
        }
        self.client.outbound.close();
        self.cache.clear();
        debug!("{label} - Client connection closed: {reason}");
    }
}

/// A session that was not closed was dropped by a panic in its task, or with the task when the server ended.
impl Drop for ClientSession {
    fn drop(&mut self) {
        if self.is_closed {
            return;
        }
        // A panic that leaves a destructor during unwinding would end the process.
        let flush = AssertUnwindSafe(|| {
            // The message being delivered may have caused the panic, so it is not delivered further.
            self.router.abandon();
            while !self.router.finish(&self.broker, &self.options, &self.client) {}
        });
        // Receivers of the current batch rely on this session to flush them.
        let flushed = catch_unwind(flush);
        let close = AssertUnwindSafe(|| self.close(ClosedReason::InternalError));
        if catch_unwind(close).is_err() || flushed.is_err() {
            error!("cid:{} - Internal error while the connection is closed", self.client.cid);
        }
    }
}
