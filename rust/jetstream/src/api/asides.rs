//! Long work that needs nothing of the engine. It runs on another thread, as a [`Job`](crate::engine::Job).
//!
//! Decoding a mebibyte of JSON takes some 20 ms, in which no other client would get an answer. So large requests are decoded on
//! another thread, one of each account at a time. The requests behind them wait, since they may depend on the results. A decoded
//! request may hold millions of strings, so dropping it is such work too, and so is building advisories about large requests.
//!
//! `tests/large_requests.rs` counts the values of large requests that the engine's own thread visits.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use stonechat_store::disk::Disk;

use super::asked::Asked;
use super::long::LongRequest;
use super::queue::Owned;
use super::requests::GetRequest;
use super::{Answer, PREFIX, Request, is_level_met};
use crate::consumer::{AckSubject, PullRequest, nak_delay};
use crate::engine::Engine;
use crate::ids::{AccountId, ConsumerId, StreamId};

/// Bytes of headers and payload above which a request is decoded on another thread.
pub(super) const ELSEWHERE: usize = 64 << 10;
/// Bytes of requests and answers that may wait for their advisories; an advisory beyond that is built at once.
const TOLD_MAX: usize = 64 << 20;

/// The receiver of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// The API.
    Api,
    /// A stream, for a direct get.
    Direct(StreamId),
    /// A consumer, for a pull request.
    Pull(ConsumerId),
    /// A consumer, for a negative acknowledgement.
    Nak(ConsumerId, AckSubject),
}

/// A request that was decoded.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) request: Owned,
    pub(super) is_level_met: bool,
    pub(super) asked: Asked,
}

impl Read {
    fn new(request: Owned, strict: bool) -> Self {
        let payload = &request.payload[..];
        let asked = match request.to {
            To::Api => {
                let subject = std::str::from_utf8(&request.subject).unwrap_or_default();
                let path = subject.strip_prefix(PREFIX).unwrap_or_default();
                Asked::read(&path.split('.').collect::<Vec<_>>(), payload, strict)
            }
            To::Direct(_) if payload.is_empty() => Asked::Nothing,
            To::Direct(_) => Asked::Get(GetRequest::decode(payload, strict)),
            To::Pull(_) => Asked::Pull(PullRequest::decode(payload)),
            To::Nak(..) => Asked::Delay(nak_delay(payload)),
        };
        Self { is_level_met: is_level_met(&request.headers), request, asked }
    }
}

/// An advisory about a request, before it is built.
#[derive(Debug)]
struct Telling {
    account: AccountId,
    subject: &'static str,
    body: Answer,
    request: Arc<Vec<u8>>,
    response: String,
}

impl Telling {
    fn len(&self) -> usize {
        self.request.len() + self.response.len()
    }

    fn told(self) -> String {
        let Self { mut body, request, response, .. } = self;
        if !request.is_empty() {
            body.insert("request".to_owned(), String::from_utf8_lossy(&request).into());
        }
        body.insert("response".to_owned(), response.into());
        Value::Object(body).to_string()
    }
}

/// A value that is to be dropped.
pub(super) struct Rubbish(#[allow(dead_code, reason = "it is there to be dropped")] Box<dyn Any + Send>);

impl fmt::Debug for Rubbish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rubbish").finish_non_exhaustive()
    }
}

/// Work that needs nothing of the engine.
#[derive(Debug)]
pub struct Aside {
    work: Work,
    /// Whether the engine has ended, so that the work is not needed any more.
    is_over: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Work {
    Read { request: Box<Owned>, strict: bool },
    Tell(Box<Telling>),
    Drop(Vec<Rubbish>),
}

/// The result of an [`Aside`].
#[derive(Debug)]
pub struct AsideDone(Ended);

#[derive(Debug)]
enum Ended {
    Read(Box<Read>),
    Told { account: AccountId, subject: &'static str, len: usize, body: String },
    Nothing,
}

impl Aside {
    /// Does the work.
    pub(crate) fn run(self) -> AsideDone {
        if self.is_over.load(Ordering::Acquire) {
            return AsideDone(Ended::Nothing);
        }
        AsideDone(match self.work {
            Work::Read { request, strict } => Ended::Read(Box::new(Read::new(*request, strict))),
            Work::Tell(telling) => {
                let (account, subject, len) = (telling.account, telling.subject, telling.len());
                Ended::Told { account, subject, len, body: telling.told() }
            }
            Work::Drop(rubbish) => {
                drop(rubbish);
                Ended::Nothing
            }
        })
    }
}

/// Work that waits for another thread.
#[derive(Debug, Default)]
pub(super) struct Asides {
    waiting: std::collections::VecDeque<Work>,
    rubbish: Vec<Rubbish>,
    /// Bytes of the requests and answers that wait for their advisories.
    telling: usize,
    is_over: Arc<AtomicBool>,
}

impl Asides {
    /// Adds a request that is to be decoded.
    pub(super) fn read(&mut self, request: Owned, strict: bool) {
        self.waiting.push_back(Work::Read { request: Box::new(request), strict });
    }

    /// Adds a large value that is to be dropped.
    pub(super) fn give_up(&mut self, what: impl Any + Send) {
        self.rubbish.push(Rubbish(Box::new(what)));
    }

    /// Cancels all work that has not begun.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    fn next(&mut self) -> Option<Aside> {
        let drop = || (!self.rubbish.is_empty()).then(|| Work::Drop(std::mem::take(&mut self.rubbish)));
        let work = self.waiting.pop_front().or_else(drop)?;
        Some(Aside { work, is_over: Arc::clone(&self.is_over) })
    }
}

impl<D: Disk> Engine<D> {
    /// The next work for another thread.
    pub(crate) fn next_aside(&mut self) -> Option<Aside> {
        self.requests.asides.next()
    }

    /// Takes the result of such work.
    pub(crate) fn aside_done(&mut self, done: AsideDone) {
        match done.0 {
            Ended::Read(read) => self.requests.was_read(read),
            Ended::Told { account, subject, len, body } => {
                self.requests.asides.telling = self.requests.asides.telling.saturating_sub(len);
                self.send_told(account, subject, &body);
            }
            Ended::Nothing => {}
        }
    }

    /// Processes a request that was decoded on another thread.
    pub(super) fn work_on_read(&mut self, read: Read) {
        let Read { request, is_level_met, mut asked } = read;
        request.lend(|lent| match request.to {
            To::Api => self.work_on(lent, Some((is_level_met, &mut asked))),
            To::Direct(stream_id) => self.direct_read(stream_id, lent, is_level_met, &mut asked),
            To::Pull(id) => {
                if let Asked::Pull(wanted) = std::mem::replace(&mut asked, Asked::Nothing) {
                    self.pull_read(id, lent.reply, is_level_met, wanted);
                }
            }
            To::Nak(id, at) => {
                if let Asked::Delay(delay) = asked {
                    self.nak_read(id, at, delay, lent.payload);
                }
            }
        });
        self.requests.asides.give_up((request, asked));
    }

    /// Drops a long request that is done, a large one on another thread.
    pub(super) fn give_up(&mut self, long: LongRequest) {
        if long.is_large() {
            self.requests.asides.give_up(long);
        }
    }

    /// Publishes an advisory about a request and its answer; `body` holds its other fields.
    pub(super) fn tell_request(
        &mut self,
        request: &Request<'_>,
        subject: &'static str,
        body: Answer,
        response: String,
    ) {
        let payload = Arc::new(request.payload.to_vec());
        let telling = Telling { account: request.account, subject, body, request: payload, response };
        let len = telling.len();
        let asides = &mut self.requests.asides;
        if len <= ELSEWHERE || asides.telling + len > TOLD_MAX {
            return self.send_told(request.account, subject, &telling.told());
        }
        asides.telling += len;
        asides.waiting.push_back(Work::Tell(Box::new(telling)));
    }
}
