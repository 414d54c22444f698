//! Messages between accounts: imports, and replies to requests that crossed through an import.
//!
//! An imported stream is a subscription in the exporting account. An imported service is a subscription in the
//! importing account. The router that offers a message to such a subscription looks up the interest in the other
//! account and delivers there.
//!
//! A request that crosses accounts gets a reply subject of the exporting account, which begins with `_R_.`. One
//! subscription and one table of that account lead all replies back; no subscription is made per request. Imports
//! and waiting requests hold accounts weakly, so that a server that ends leaves nothing behind.

use crate::account::Account;
use crate::client::Client;
use crate::router::Message;
use crate::subscription::{Sink, SubRef};
use crate::sync::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use stonechat_auth::{Exchange, Import as ImportDef, ResponseType};
use stonechat_subject::{Matches, Transform, tokens};

/// Most accounts that a message may cross in a row.
pub(crate) const DEPTH_MAX: usize = 16;
/// Time for which a request awaits a reply: the default of nats-server 2.15.
const PATIENCE: Duration = Duration::from_secs(120);
/// Expired requests are pruned when the number of waiting requests reaches a multiple of this.
const SWEEP: usize = 4096;
/// Most waiting requests. At this number, requests older than `SHORT_PATIENCE` are dropped; if there are none, all
/// requests are.
const WAITING_MAX: usize = 1 << 20;
const SHORT_PATIENCE: Duration = Duration::from_secs(5);
/// The header that describes the requester to a service.
const INFO_HEADER: &[u8] = b"Nats-Request-Info";

/// The accounts whose streams an account imports, each with its import.
pub(crate) type Sources = Vec<(Weak<Account>, Arc<Import>)>;

/// An import, ready for use by the router.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) exchange: Exchange,
    /// The account into which messages are delivered.
    pub(crate) to: Weak<Account>,
    subject: Mapping,
    pub(crate) response: ResponseType,
    pub(crate) share: bool,
}

/// Mapping from a subject of one account to a subject of the other.
#[derive(Debug)]
enum Mapping {
    Same,
    Prefix(Box<[u8]>),
    Literal(Box<[u8]>),
    Transform(Transform),
}

impl Import {
    /// Builds an import from its definition; also returns the pattern of subjects that it takes. `None` for an invalid
    /// definition, which the check of the configuration excludes.
    pub(crate) fn new(def: &ImportDef, to: &Arc<Account>, response: ResponseType) -> Option<(Vec<u8>, Self)> {
        let (from, local) = (def.subject.as_bytes(), def.local().as_bytes());
        let (pattern, subject) = match def.exchange {
            Exchange::Stream => {
                let subject = match def.prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
                    Some(prefix) => Mapping::Prefix(format!("{prefix}.").into_bytes().into()),
                    None => Mapping::between(from, local)?,
                };
                (from.to_vec(), subject)
            }
            Exchange::Service => {
                let (pattern, destination) = reversed(local, from);
                let subject = Mapping::between(&pattern, &destination)?;
                (pattern, subject)
            }
        };
        let to = Arc::downgrade(to);
        Some((pattern, Self { exchange: def.exchange, to, subject, response, share: def.share }))
    }

    /// Returns the subject in the other account.
    pub(crate) fn map(&self, subject: &[u8]) -> Vec<u8> {
        match &self.subject {
            Mapping::Same => subject.to_vec(),
            Mapping::Prefix(prefix) => [prefix, subject].concat(),
            Mapping::Literal(literal) => literal.to_vec(),
            Mapping::Transform(transform) => transform.apply(subject, || 0),
        }
    }

    /// Returns the subscriptions on `subject` in the other account. Imported messages are not imported again by stream
    /// imports, and only requests reach service imports and the server's own services.
    pub(crate) fn interest(&self, account: &Account, subject: &[u8], is_service: bool) -> Matches<SubRef> {
        let mut found = Matches::default();
        account.look_up(subject, &mut found);
        found.plain.retain(|sub| match &sub.sink {
            Sink::Import(import) => import.exchange == Exchange::Service && is_service,
            Sink::Service(_) => is_service,
            _ => true,
        });
        found
    }
}

impl Mapping {
    fn between(from: &[u8], to: &[u8]) -> Option<Self> {
        if from == to {
            return Some(Self::Same);
        }
        if !stonechat_subject::has_wildcard(from) && !stonechat_subject::has_wildcard(to) {
            return Some(Self::Literal(to.into()));
        }
        Transform::new(from, to).ok().flatten().map(Self::Transform)
    }
}

/// Returns the pattern of a service import's local subject, and the transform destination that maps it to the
/// exporter's subject. The local subject may contain `$1` and so on for the wildcards of the exporter's subject.
fn reversed(local: &[u8], target: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut order: Vec<usize> = Vec::new();
    let mut pattern: Vec<&[u8]> = Vec::new();
    for token in tokens(local) {
        let number =
            token.strip_prefix(b"$").and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
        match number {
            Some(number) => {
                order.push(number);
                pattern.push(b"*");
            }
            None => {
                if token == b"*" {
                    order.push(order.len() + 1);
                }
                pattern.push(token);
            }
        }
    }
    let mut wildcards = 0;
    let destination: Vec<Vec<u8>> = tokens(target)
        .map(|token| {
            if token != b"*" {
                return token.to_vec();
            }
            wildcards += 1;
            let at = order.iter().position(|number| *number == wildcards).unwrap_or(wildcards - 1);
            format!("${}", at + 1).into_bytes()
        })
        .collect();
    (pattern.join(&b'.'), destination.join(&b'.'))
}

/// Requests that crossed into an account and await replies.
#[derive(Debug)]
pub(crate) struct Replies {
    /// The prefix of the reply subjects.
    prefix: Box<[u8]>,
    waiting: Mutex<Waiting>,
}

/// Requests that await a reply, by the numbers in their reply subjects.
#[derive(Debug)]
struct Waiting {
    asked: HashMap<u64, Asked>,
    /// Generator of the numbers. A client that predicts a number can reply in place of the service.
    numbers: StdRng,
}

/// The requester of one waiting request.
#[derive(Debug)]
struct Asked {
    account: Weak<Account>,
    reply: Box<[u8]>,
    response: ResponseType,
    since: Instant,
}

impl Replies {
    pub(crate) fn new(mut numbers: StdRng) -> Self {
        let prefix = [b"_R_.", &digits(numbers.next_u64())[..6], b"."].concat();
        Self { prefix: prefix.into(), waiting: Mutex::new(Waiting { asked: HashMap::new(), numbers }) }
    }

    /// Returns the pattern of all reply subjects.
    pub(crate) fn pattern(&self) -> Vec<u8> {
        [&self.prefix, &b"*"[..]].concat()
    }

    /// Registers a request of `account` that awaits replies on `reply`. Returns the reply subject for it in this
    /// account.
    pub(crate) fn expect(
        &self,
        account: &Arc<Account>,
        reply: &[u8],
        response: ResponseType,
        now: Instant,
    ) -> Vec<u8> {
        let asked = Asked { account: Arc::downgrade(account), reply: reply.into(), response, since: now };
        let mut waiting = self.waiting.lock();
        let Waiting { asked: waiting, numbers } = &mut *waiting;
        let patience = match waiting.len() {
            count if count >= WAITING_MAX => Some(SHORT_PATIENCE),
            count if count % SWEEP == SWEEP - 1 => Some(PATIENCE),
            _ => None,
        };
        if let Some(patience) = patience {
            waiting.retain(|_, asked| now.saturating_duration_since(asked.since) < patience);
            if waiting.len() >= WAITING_MAX {
                waiting.clear();
            }
        }
        let mut number = numbers.next_u64();
        while waiting.contains_key(&number) {
            number = numbers.next_u64();
        }
        waiting.insert(number, asked);
        [&self.prefix, &digits(number)[..]].concat()
    }

    fn number(&self, subject: &[u8]) -> Option<u64> {
        let text = subject.strip_prefix(&*self.prefix)?;
        text.iter().try_fold(0u64, |number, digit| {
            let value = DIGITS.iter().position(|d| d == digit)? as u64;
            number.checked_mul(DIGITS.len() as u64)?.checked_add(value)
        })
    }

    /// Returns whether a request awaits a reply on `subject`.
    pub(crate) fn is_awaited(&self, subject: &[u8]) -> bool {
        self.number(subject).is_some_and(|number| self.waiting.lock().asked.contains_key(&number))
    }

    /// Returns the requester's account, reply subject and response type for a reply on `subject`. Forgets the request
    /// after its last reply: the only one, or the empty one that ends a series.
    pub(crate) fn answer(
        &self,
        subject: &[u8],
        is_empty: bool,
        now: Instant,
    ) -> Option<(Arc<Account>, Box<[u8]>, ResponseType)> {
        let number = self.number(subject)?;
        let mut waiting = self.waiting.lock();
        let asked = waiting.asked.get_mut(&number)?;
        let (account, reply, response) = (asked.account.upgrade(), asked.reply.clone(), asked.response);
        asked.since = now;
        if response == ResponseType::Singleton || is_empty || account.is_none() {
            waiting.asked.remove(&number);
        }
        Some((account?, reply, response))
    }

    /// Forgets a request that no subscription took.
    pub(crate) fn forget(&self, subject: &[u8]) {
        if let Some(number) = self.number(subject) {
            self.waiting.lock().asked.remove(&number);
        }
    }
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Returns a number in base 62 with at least six digits.
fn digits(mut number: u64) -> Vec<u8> {
    let mut digits = Vec::new();
    while number > 0 || digits.len() < 6 {
        digits.push(DIGITS[(number % DIGITS.len() as u64) as usize]);
        number /= DIGITS.len() as u64;
    }
    digits.reverse();
    digits
}

/// Returns whether a reply subject crosses accounts unchanged. Acknowledgements do: they have imports of their own.
pub(crate) fn is_kept(reply: &[u8]) -> bool {
    reply.is_empty() || reply.starts_with(b"$JS.ACK.")
}

/// Returns a request's headers and body with the header `Nats-Request-Info` added, and the length of the headers in
/// bytes.
pub(crate) fn with_info(
    client: &Client,
    account: &Account,
    share: bool,
    is_chained: bool,
    message: &Message<'_>,
    context: &InfoContext,
) -> (Vec<u8>, usize) {
    let payload = message.payload;
    let (headers, body) = payload.split_at(message.header_len.unwrap_or(0).min(payload.len()));
    // All services of a chain learn of the first requester, and in `svc` of the account that sends the next request.
    let known = if is_chained { known_info(headers, account) } else { None };
    let info = Value::Object(known.unwrap_or_else(|| info(client, account, share, context))).to_string();
    let mut out = Vec::with_capacity(payload.len() + info.len() + 40);
    let mut lines = headers.strip_suffix(b"\r\n").unwrap_or(b"NATS/1.0\r\n");
    // A header of this name in the request is replaced.
    while let Some(end) = memchr_crlf(lines) {
        let (line, rest) = lines.split_at(end + 2);
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case(INFO_HEADER) {
            out.extend_from_slice(line);
        }
        lines = rest;
    }
    out.extend_from_slice(INFO_HEADER);
    out.extend_from_slice(b": ");
    out.extend_from_slice(info.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    let header_len = out.len();
    out.extend_from_slice(body);
    (out, header_len)
}

fn known_info(headers: &[u8], account: &Account) -> Option<Map<String, Value>> {
    let at = headers.windows(INFO_HEADER.len()).position(|name| name == INFO_HEADER)?;
    let rest = headers.get(at + INFO_HEADER.len() + 1..)?;
    let info: Map<String, Value> = serde_json::from_slice(&rest[..memchr_crlf(rest)?]).ok()?;
    let mut chained = Map::new();
    for (name, value) in info {
        let is_account = name == "acc";
        chained.insert(name, value);
        if is_account {
            chained.insert("svc".to_owned(), (&**account.name()).into());
        }
    }
    Some(chained)
}

fn memchr_crlf(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\r\n")
}

/// The server's contribution to the header `Nats-Request-Info`.
pub(crate) struct InfoContext {
    pub(crate) server_name: String,
    pub(crate) format_time: fn(std::time::SystemTime) -> String,
}

fn info(client: &Client, account: &Account, share: bool, context: &InfoContext) -> Map<String, Value> {
    let facts = client.facts(false);
    let mut info = Map::new();
    let mut put = |name: &str, value: Value| {
        if !(value.is_null() || value.as_str() == Some("") || value.as_u64() == Some(0)) {
            info.insert(name.to_owned(), value);
        }
    };
    if share {
        put("start", (context.format_time)(facts.start).into());
        put("host", facts.ip.into());
        put("id", facts.cid.into());
    }
    put("acc", (&**account.name()).into());
    if share {
        put("user", facts.user.as_deref().unwrap_or_default().into());
        put("name", facts.name.into());
        put("lang", facts.lang.into());
        put("ver", facts.version.into());
    }
    put("rtt", facts.rtt.map_or(0, |rtt| rtt.as_nanos() as u64).into());
    if share {
        put("server", context.server_name.as_str().into());
        put("kind", "Client".into());
        put("client_type", "nats".into());
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn def(exchange: Exchange, subject: &str, to: Option<&str>, prefix: Option<&str>) -> ImportDef {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let account = "B".to_owned();
        ImportDef {
            exchange,
            account,
            subject: subject.into(),
            to: own(to),
            prefix: own(prefix),
            share: false,
        }
    }

    #[test]
    fn subjects_are_mapped_as_the_import_says() {
        use Exchange::{Service, Stream};
        let account = Account::new("X", false, StdRng::from_seed([1; 32]));
        let cases = [
            (def(Stream, "a.>", None, None), "a.>", "a.b.c", "a.b.c"),
            (def(Stream, "a.>", None, Some("from.b")), "a.>", "a.b", "from.b.a.b"),
            (def(Stream, "a.*.*", Some("m.$2.$1"), None), "a.*.*", "a.1.2", "m.2.1"),
            (def(Stream, "a", Some("b"), None), "a", "a", "b"),
            (def(Service, "s.one", None, None), "s.one", "s.one", "s.one"),
            (def(Service, "s.one", Some("local"), None), "local", "local", "s.one"),
            (def(Service, "s.*.x", Some("l.*.y"), None), "l.*.y", "l.q.y", "s.q.x"),
            (def(Service, "s.*.*", Some("l.$2.$1"), None), "l.*.*", "l.1.2", "s.2.1"),
            (def(Service, "$JS.API.>", Some("B.API.>"), None), "B.API.>", "B.API.INFO", "$JS.API.INFO"),
        ];
        for (def, pattern, subject, expected) in cases {
            let (found, import) = Import::new(&def, &account, ResponseType::Singleton).expect("an import");
            assert_eq!(String::from_utf8_lossy(&found), pattern);
            assert_eq!(String::from_utf8_lossy(&import.map(subject.as_bytes())), expected);
        }
    }

    #[test]
    fn an_answer_comes_once_or_until_the_last_one() {
        let account = Account::new("X", false, StdRng::from_seed([1; 32]));
        let replies = Replies::new(StdRng::from_seed([7; 32]));
        let now = Instant::now();
        let one = replies.expect(&account, b"inbox.1", ResponseType::Singleton, now);
        let many = replies.expect(&account, b"inbox.2", ResponseType::Stream, now);
        assert!(stonechat_subject::matches(&one, &replies.pattern()));
        assert!(replies.is_awaited(&one));
        let reply =
            |subject: &[u8], is_empty| replies.answer(subject, is_empty, now).map(|(_, reply, _)| reply);
        assert_eq!(reply(&one, false).as_deref(), Some(&b"inbox.1"[..]));
        assert_eq!(reply(&one, false), None);
        for is_empty in [false, false, true] {
            assert_eq!(reply(&many, is_empty).as_deref(), Some(&b"inbox.2"[..]));
        }
        assert_eq!(reply(&many, false), None);
        for other in [&b"_R_.x.y"[..], b"_R_", b"", &[&replies.prefix, &b"zzzzzzzzzzzzzzzzzz"[..]].concat()] {
            assert!(!replies.is_awaited(other) && reply(other, false).is_none());
        }
    }

    /// Earlier reply subjects do not reveal the next one: all numbers differ, and so do the differences and XORs of
    /// neighbours.
    #[test]
    fn reply_subjects_tell_nothing_of_the_next() {
        let account = Account::new("X", false, StdRng::from_seed([1; 32]));
        let replies = Replies::new(StdRng::from_seed([7; 32]));
        let subjects: Vec<Vec<u8>> = (0..1000)
            .map(|_| replies.expect(&account, b"inbox", ResponseType::Singleton, Instant::now()))
            .collect();
        let numbers: Vec<u64> = subjects.iter().filter_map(|subject| replies.number(subject)).collect();
        let distinct = |values: Vec<u64>| values.into_iter().collect::<std::collections::HashSet<_>>().len();
        let steps = |apply: fn(u64, u64) -> u64| numbers.windows(2).map(|w| apply(w[0], w[1])).collect();
        assert_eq!(distinct(numbers.clone()), 1000);
        assert_eq!(distinct(steps(|a, b| b.wrapping_sub(a))), 999);
        assert_eq!(distinct(steps(|a, b| a ^ b)), 999);
        let other = Replies::new(StdRng::from_seed([8; 32]));
        assert_ne!(other.pattern(), replies.pattern());
    }
}
