//! A client of a server in the same process, without a socket.
//!
//! It logs in, publishes, subscribes and asks as any client does, over a [`Pipe`], so rules, permissions and errors are those
//! of the wire. It has no thread: whoever delivers a message in the server puts it into the [`Receiver`] it is for. Waiting
//! is for plain threads ([`Receiver::take`]), or for event loops that are told ([`Receiver::tell`]).

#![deny(unsafe_code)]

mod parser;
mod queue;

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use serde_json::Value;
use stonechat_server::{Pipe, PipeClient, PipeError, Server};

pub use crate::parser::Message;
use crate::parser::{Parser, Said};
pub use crate::queue::Taken;
use crate::queue::{Notices, Queue};

/// The subscription that gets all answers.
const ANSWERS: u64 = 1;

/// Why a client can't do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server does not take the client.
    #[error("{0}")]
    Refused(String),
    /// The server does not answer.
    #[error("the server does not answer within {0:?}")]
    Late(Duration),
    /// The connection has ended.
    #[error("the connection is closed")]
    Closed,
    /// The server does not keep up with what is sent.
    #[error("too much waits to be read by the server")]
    Full,
}

impl From<PipeError> for ClientError {
    fn from(error: PipeError) -> Self {
        match error {
            PipeError::Closed => Self::Closed,
            PipeError::Full => Self::Full,
        }
    }
}

/// A connection. Dropping it closes it.
pub struct Client {
    shared: Arc<Shared>,
    inbox: String,
}

/// What the server's threads reach.
struct Shared {
    pipe: OnceLock<Pipe>,
    parser: Mutex<Parser>,
    routes: Mutex<Routes>,
    hello: Mutex<Hello>,
    greeted: Condvar,
    notices: Arc<Notices>,
    next: AtomicU64,
}

/// Whom messages are for.
#[derive(Default)]
struct Routes {
    subscriptions: HashMap<u64, Route>,
    /// Requests, by the last token of their reply subject.
    requests: HashMap<u64, Route>,
    closed: bool,
}

struct Route {
    /// What was subscribed to, or asked.
    subject: String,
    queue: Arc<Queue>,
}

/// How far the login is.
#[derive(Default)]
struct Hello {
    info: Option<Value>,
    pongs: u64,
    error: Option<String>,
    closed: bool,
}

impl Client {
    /// Connects to the server. `login` goes into CONNECT: `user` and `pass`, `auth_token`, `name`. `inbox` is the name of the
    /// client's inboxes; no other client of the server may have it.
    ///
    /// # Errors
    /// The server does not let it in, or has ended.
    pub fn connect(server: &Server, login: &Value, inbox: &str, wait: Duration) -> Result<Self, ClientError> {
        let shared = Arc::new(Shared {
            pipe: OnceLock::new(),
            parser: Mutex::default(),
            routes: Mutex::default(),
            hello: Mutex::default(),
            greeted: Condvar::new(),
            notices: Arc::default(),
            next: AtomicU64::new(ANSWERS + 1),
        });
        let pipe = server.connect(shared.clone()).ok_or(ClientError::Closed)?;
        // Set once, here.
        let _ = shared.pipe.set(pipe);
        let client = Self { shared, inbox: format!("_INBOX.{inbox}") };
        let mut connect = serde_json::json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1,
            "lang": "stonechat", "version": stonechat_server::VERSION,
        });
        if let (Some(all), Some(login)) = (connect.as_object_mut(), login.as_object()) {
            all.extend(login.clone());
        }
        let deadline = Instant::now() + wait;
        client.greeting(deadline, wait, |hello| hello.info.is_some())?;
        let lines = format!("CONNECT {connect}\r\nPING\r\nSUB {}.* {ANSWERS}\r\n", client.inbox);
        let sent = client.shared.send(&[lines.as_bytes()]);
        // If it is refused the connection may be closed already, with the reason.
        client.greeting(deadline, wait, |hello| hello.pongs > 0)?;
        sent.map(|()| client)
    }

    fn greeting(
        &self,
        deadline: Instant,
        wait: Duration,
        is_there: impl Fn(&Hello) -> bool,
    ) -> Result<(), ClientError> {
        let mut hello = self.shared.hello.lock();
        loop {
            if is_there(&hello) {
                return Ok(());
            }
            if hello.closed {
                return Err(hello.error.take().map_or(ClientError::Closed, ClientError::Refused));
            }
            if self.shared.greeted.wait_until(&mut hello, deadline).timed_out() {
                return Err(ClientError::Late(wait));
            }
        }
    }

    /// The longest message that the server takes.
    pub fn max_payload(&self) -> usize {
        let hello = self.shared.hello.lock();
        let max = hello.info.as_ref().and_then(|info| info["max_payload"].as_u64());
        max.and_then(|max| usize::try_from(max).ok()).unwrap_or(1 << 20)
    }

    /// Publishes. `headers` is a whole block, from `NATS/1.0` to the empty line.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn publish(
        &self,
        subject: &str,
        reply: Option<&str>,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<(), ClientError> {
        let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
        let total = headers.map_or(0, <[u8]>::len) + payload.len();
        let line = match headers {
            Some(headers) => format!("HPUB {subject} {reply}{} {total}\r\n", headers.len()),
            None => format!("PUB {subject} {reply}{total}\r\n"),
        };
        self.shared.send(&[line.as_bytes(), headers.unwrap_or_default(), payload, b"\r\n"])
    }

    /// Subscribes; at most `max` messages wait to be taken, what comes beyond is dropped and counted.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn subscribe(&self, subject: &str, max: usize) -> Result<Receiver, ClientError> {
        let sid = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue::new(self.shared.notices.clone(), max));
        self.shared.enter(sid, subject, &queue, |routes| &mut routes.subscriptions)?;
        let receiver = Receiver { shared: self.shared.clone(), queue, id: sid, is_request: false };
        self.shared.send(&[format!("SUB {subject} {sid}\r\n").as_bytes()])?;
        Ok(receiver)
    }

    /// Asks: publishes with a reply subject, behind which the [`Receiver`] waits for any number of answers.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn request(
        &self,
        subject: &str,
        headers: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<Receiver, ClientError> {
        let token = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue::new(self.shared.notices.clone(), usize::MAX));
        self.shared.enter(token, subject, &queue, |routes| &mut routes.requests)?;
        let receiver = Receiver { shared: self.shared.clone(), queue, id: token, is_request: true };
        self.publish(subject, Some(&format!("{}.{token}", self.inbox)), headers, payload)?;
        Ok(receiver)
    }

    /// A subject of this client alone, to subscribe to.
    pub fn inbox(&self) -> String {
        format!("{}.i.{}", self.inbox, self.shared.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits for tokens of [`Receiver::tell`]: none if the time is over, `None` when the connection has ended.
    pub fn notices(&self, wait: Duration) -> Option<Vec<u64>> {
        self.shared.notices.take(wait)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.routes.lock().closed
    }

    /// Ends the connection; all who wait are told.
    pub fn close(&self) {
        self.shared.closed();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

/// Messages of a subscription, or answers to a request. Dropping it ends either.
pub struct Receiver {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    id: u64,
    is_request: bool,
}

impl Receiver {
    /// Waits for the next message.
    pub fn take(&self, wait: Duration) -> Taken {
        self.queue.take(wait)
    }

    /// Gives notice under this token as soon as there is something to take, once; see [`Client::notices`].
    pub fn tell(&self, token: u64) {
        self.queue.tell(token);
    }

    /// Messages that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Takes no more messages; who waits is told. Never waits.
    pub fn close(&self) {
        let mut routes = self.shared.routes.lock();
        let table = if self.is_request { &mut routes.requests } else { &mut routes.subscriptions };
        let was_there = table.remove(&self.id).is_some();
        drop(routes);
        if was_there && !self.is_request {
            // It fails when the connection has ended, and the subscription with it.
            let _ = self.shared.send(&[format!("UNSUB {}\r\n", self.id).as_bytes()]);
        }
        self.queue.close();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn send(&self, parts: &[&[u8]]) -> Result<(), ClientError> {
        let pipe = self.pipe.get().ok_or(ClientError::Closed)?;
        Ok(pipe.send(parts)?)
    }

    fn enter(
        &self,
        id: u64,
        subject: &str,
        queue: &Arc<Queue>,
        table: impl FnOnce(&mut Routes) -> &mut HashMap<u64, Route>,
    ) -> Result<(), ClientError> {
        let mut routes = self.routes.lock();
        if routes.closed {
            return Err(ClientError::Closed);
        }
        let route = Route { subject: subject.to_owned(), queue: queue.clone() };
        table(&mut routes).insert(id, route);
        Ok(())
    }

    fn hear(&self, said: Said) {
        match said {
            Said::Message(sid, message) => self.deliver(sid, message),
            // Sent by the server's own thread, whose connection reads it later; if that has ended nobody misses it.
            Said::Ping => drop(self.send(&[b"PONG\r\n"])),
            Said::Pong => self.greet(|hello| hello.pongs += 1),
            Said::Info(text) => {
                if let Ok(info) = serde_json::from_slice(&text) {
                    self.greet(|hello| hello.info = Some(info));
                }
            }
            Said::Error(text) => {
                self.complain(&text);
                self.greet(|hello| hello.error = Some(text));
            }
        }
    }

    fn greet(&self, change: impl FnOnce(&mut Hello)) {
        change(&mut self.hello.lock());
        self.greeted.notify_all();
    }

    fn deliver(&self, sid: u64, message: Message) {
        let routes = self.routes.lock();
        let route = if sid == ANSWERS {
            let token = message.subject.rsplit('.').next().and_then(|token| token.parse::<u64>().ok());
            token.and_then(|token| routes.requests.get(&token))
        } else {
            routes.subscriptions.get(&sid)
        };
        let queue = route.map(|route| route.queue.clone());
        drop(routes);
        if let Some(queue) = queue {
            queue.push(message);
        }
    }

    /// Tells those whom an `-ERR` concerns: a permission that is missing names the subject.
    fn complain(&self, text: &str) {
        let routes = self.routes.lock();
        let is_publish = text.contains("for Publish to") || !text.contains("for Subscription to");
        let table = if is_publish { &routes.requests } else { &routes.subscriptions };
        let named = |route: &&Route| text.contains(&format!("\"{}\"", route.subject));
        let concerned: Vec<_> = table.values().filter(named).map(|route| route.queue.clone()).collect();
        drop(routes);
        for queue in concerned {
            queue.refuse(text);
        }
    }
}

impl PipeClient for Shared {
    fn receive(&self, bytes: &[IoSlice<'_>]) {
        let mut said = Vec::new();
        let mut parser = self.parser.lock();
        let read = bytes.iter().try_for_each(|piece| parser.feed(piece, |one| said.push(one)));
        drop(parser);
        // One at a time hands over bytes, so the order stays.
        said.into_iter().for_each(|one| self.hear(one));
        if read.is_err() {
            self.greet(|hello| hello.error = Some("the server's answers make no sense".to_owned()));
            if let Some(pipe) = self.pipe.get() {
                pipe.close();
            }
        }
    }

    fn closed(&self) {
        let mut routes = self.routes.lock();
        routes.closed = true;
        let Routes { subscriptions, requests, .. } = std::mem::take(&mut *routes);
        routes.closed = true;
        drop(routes);
        for route in subscriptions.into_values().chain(requests.into_values()) {
            route.queue.close();
        }
        self.greet(|hello| hello.closed = true);
        self.notices.close();
        // So that the server does not wait for our end either.
        if let Some(pipe) = self.pipe.get() {
            pipe.close();
        }
    }
}

/// An answer's payload and headers, for those who look at little else.
impl Message {
    /// The status in the first line of the headers, such as 503 if nobody listens, and what it says.
    pub fn status(&self) -> Option<(u16, String)> {
        let line = self.headers.as_deref()?.split(|byte| *byte == b'\r').next()?;
        let line = String::from_utf8_lossy(line.strip_prefix(b"NATS/1.0")?).into_owned();
        let (code, text) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        Some((code.parse().ok()?, text.to_owned()))
    }
}

/// A block of headers, as [`Client::publish`] takes it.
pub fn headers<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Bytes {
    let mut block = String::from("NATS/1.0\r\n");
    for (name, value) in pairs {
        block.extend([name, ": ", value, "\r\n"]);
    }
    block.push_str("\r\n");
    block.into()
}
