//! A client in the server's own process, without a socket.
//!
//! It logs in, publishes, subscribes and sends requests over a [`Pipe`], as any client does. So rules, permissions and
//! errors are those of the wire. The client has no thread: the thread that delivers a message in the server puts it
//! into its [`Receiver`]. A plain thread waits with [`Receiver::take`]; an event loop requests a notice with
//! [`Receiver::tell`].

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

/// The `sid` of the subscription that gets all replies.
const ANSWERS: u64 = 1;

/// The reason for which an operation of the client fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The server refuses the client, with this text.
    #[error("{0}")]
    Refused(String),
    /// The server does not answer within this time.
    #[error("the server does not answer within {0:?}")]
    Late(Duration),
    /// The connection has ended.
    #[error("the connection is closed")]
    Closed,
    /// Too many sent bytes wait to be read by the server.
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

/// The state that the server's threads access.
struct Shared {
    pipe: OnceLock<Pipe>,
    parser: Mutex<Parser>,
    routes: Mutex<Routes>,
    hello: Mutex<Hello>,
    greeted: Condvar,
    notices: Arc<Notices>,
    next: AtomicU64,
}

/// The receivers of messages.
#[derive(Default)]
struct Routes {
    subscriptions: HashMap<u64, Route>,
    /// Requests, by the last token of their reply subject.
    requests: HashMap<u64, Route>,
    closed: bool,
}

struct Route {
    /// The subject of the subscription or the request.
    subject: String,
    queue: Arc<Queue>,
}

/// The progress of the login.
#[derive(Default)]
struct Hello {
    info: Option<Value>,
    pongs: u64,
    error: Option<String>,
    closed: bool,
}

impl Client {
    /// Connects to the server. `login` is added to CONNECT: `user` and `pass`, `auth_token`, `name`. `inbox` is the
    /// name of the client's inboxes; no other client of the server may have the same.
    ///
    /// # Errors
    /// The server refuses the client, does not answer within `wait`, or has ended.
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
        // The pipe is set only here.
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
        // If the server refuses the login, the connection may be closed already; then `greeting` returns the reason.
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

    /// Returns the largest payload in bytes that the server accepts.
    pub fn max_payload(&self) -> usize {
        let hello = self.shared.hello.lock();
        let max = hello.info.as_ref().and_then(|info| info["max_payload"].as_u64());
        max.and_then(|max| usize::try_from(max).ok()).unwrap_or(1 << 20)
    }

    /// Publishes a message. `headers` is a whole block, from `NATS/1.0` to the empty line.
    ///
    /// # Errors
    /// The connection has ended, or too many sent bytes wait to be read by the server.
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

    /// Subscribes to a subject. At most `max` messages wait in the receiver; more are dropped and counted.
    ///
    /// # Errors
    /// The connection has ended, or too many sent bytes wait to be read by the server.
    pub fn subscribe(&self, subject: &str, max: usize) -> Result<Receiver, ClientError> {
        let sid = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let queue = Arc::new(Queue::new(self.shared.notices.clone(), max));
        self.shared.enter(sid, subject, &queue, |routes| &mut routes.subscriptions)?;
        let receiver = Receiver { shared: self.shared.clone(), queue, id: sid, is_request: false };
        self.shared.send(&[format!("SUB {subject} {sid}\r\n").as_bytes()])?;
        Ok(receiver)
    }

    /// Publishes a request. The [`Receiver`] gets any number of replies.
    ///
    /// # Errors
    /// The connection has ended, or too many sent bytes wait to be read by the server.
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

    /// Returns a new subject that no other client uses, to subscribe to.
    pub fn inbox(&self) -> String {
        format!("{}.i.{}", self.inbox, self.shared.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Waits for tokens of [`Receiver::tell`]. Returns no tokens when the time is over, and `None` when the connection
    /// has ended.
    pub fn notices(&self, wait: Duration) -> Option<Vec<u64>> {
        self.shared.notices.take(wait)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.routes.lock().closed
    }

    /// Ends the connection and all waits.
    pub fn close(&self) {
        self.shared.closed();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

/// Messages of a subscription, or replies to a request. Dropping the receiver ends the subscription or request.
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

    /// Requests one notice with this token, as soon as [`Receiver::take`] need not wait; see [`Client::notices`].
    pub fn tell(&self, token: u64) {
        self.queue.tell(token);
    }

    /// Returns the number of messages that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Accepts no more messages and ends all waits. Does not block.
    pub fn close(&self) {
        let mut routes = self.shared.routes.lock();
        let table = if self.is_request { &mut routes.requests } else { &mut routes.subscriptions };
        let was_there = table.remove(&self.id).is_some();
        drop(routes);
        if was_there && !self.is_request {
            // This fails if the connection has ended; the subscription has ended with it.
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
            // The server's thread sends this, and the connection's task reads it later. If the connection has ended, no
            // PONG is needed.
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

    /// Reports an `-ERR` to the receivers that it concerns: a permissions violation names the subject.
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
        // The server calls this from one thread at a time, so the order is kept.
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
        // The server must not wait for this end of the pipe either.
        if let Some(pipe) = self.pipe.get() {
            pipe.close();
        }
    }
}

/// The status of a reply.
impl Message {
    /// Returns the status code and its text from the first line of the headers, such as 503 if there are no responders.
    pub fn status(&self) -> Option<(u16, String)> {
        let line = self.headers.as_deref()?.split(|byte| *byte == b'\r').next()?;
        let line = String::from_utf8_lossy(line.strip_prefix(b"NATS/1.0")?).into_owned();
        let (code, text) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        Some((code.parse().ok()?, text.to_owned()))
    }
}

/// Returns a block of headers for [`Client::publish`].
pub fn headers<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Bytes {
    let mut block = String::from("NATS/1.0\r\n");
    for (name, value) in pairs {
        block.extend([name, ": ", value, "\r\n"]);
    }
    block.push_str("\r\n");
    block.into()
}
