//! PUB and HPUB: checks a published message and hands it to the router.

use super::traced::may_ask;
use super::{ClientSession, Step, Verdict};
use crate::fanout::Fanout;
use crate::frame::Head;
use crate::router::{Message, Origin, SHARE_FROM, traced_payload};
use crate::run::{RUN_MAX, Repeats, Run};
use crate::subscription::SubRef;
use std::sync::Arc;
use std::time::Instant;
use stonechat_subject::{Matches, Stamp, is_valid_literal};
use stonechat_wire::{Parser, Publish, Repeat, quote, texts};
use tracing::{error, trace};

impl ClientSession {
    #[inline]
    pub(super) fn publish(&mut self, message: &Publish<'_>, now: Instant) -> Step {
        self.figures.msgs += 1;
        self.figures.bytes += message.payload.len() as u64;
        if self.options.trace {
            self.trace_publish(message);
        }
        if self.connect.pedantic {
            // The error is sent again if the payload arrived separately: nats-server 2.15 then reads the line twice.
            self.warned = false;
            self.announced(message.subject);
            self.warned = false;
        }
        if message.subject.first().is_some_and(|b| matches!(b, b'_' | b'$'))
            && self.is_reserved(message.subject)
        {
            self.deny_publish(message.subject);
            return Ok(());
        }
        if message.header_len.is_some_and(|len| may_ask(&message.payload[..len]))
            && self.is_withheld(message, now)
        {
            return Ok(());
        }
        let Some(account) = &self.account else { return Ok(()) };
        let msg = Message::from(message);
        self.figures.matches += 1;
        // The common case: the cache has the subject's receivers and the verdict of the permissions.
        if let Some((matched, verdict)) = self.cache.get(message.subject, account.generations()) {
            self.figures.hits += 1;
            if !verdict.allowed && !self.may_reply_to(message.subject, now) {
                self.deny_publish(message.subject);
                return Ok(());
            }
            if is_reserved_reply(message.reply) {
                self.deny_reply(message.reply);
                return Ok(());
            }
            if self.connect.verbose {
                self.send_ok();
                self.router.touch(&self.client);
            }
            if self.router.is_wide(matched.receivers()) {
                self.publish_widely(&msg, None, now);
                return Ok(());
            }
            let origin = Origin { client: &self.client, echo: self.connect.echo, now, to: None };
            let head = Some(&verdict.head);
            let taken =
                self.router.deliver_now(&self.broker, &self.options, account, origin, &msg, head, matched);
            if !taken && !message.reply.is_empty() {
                self.no_responders(message.subject, message.reply);
            }
            return Ok(());
        }
        let allowed = self.permissions.as_ref().is_none_or(|p| p.may_publish(message.subject));
        if !allowed && !self.may_reply_to(message.subject, now) {
            self.deny_publish(message.subject);
            return Ok(());
        }
        if is_reserved_reply(message.reply) {
            self.deny_reply(message.reply);
            return Ok(());
        }
        if self.connect.verbose {
            self.send_ok();
            self.router.touch(&self.client);
        }
        let mut found = std::mem::take(&mut self.found);
        let stamp = account.look_up(message.subject, &mut found);
        if self.router.is_wide(found.receivers()) {
            self.publish_widely(&msg, Some((found, stamp, allowed)), now);
            return Ok(());
        }
        let origin = Origin { client: &self.client, echo: self.connect.echo, now, to: None };
        let taken = self.router.deliver_now(&self.broker, &self.options, account, origin, &msg, None, &found);
        if self.cache.should_keep(message.subject) {
            let verdict = Verdict { allowed, head: Head::new(message.subject) };
            self.cache.keep(message.subject, stamp, found, verdict, account.generations());
        } else {
            found.clear();
            self.found = found;
        }
        if !taken && !message.reply.is_empty() {
            self.no_responders(message.subject, message.reply);
        }
        Ok(())
    }

    /// Publishes a message to very many receivers: those in `found`, or without it those in the cache.
    #[cold]
    fn publish_widely(
        &mut self,
        message: &Message<'_>,
        found: Option<(Matches<SubRef>, Stamp, bool)>,
        now: Instant,
    ) {
        let Some(account) = self.account.as_ref().map(Arc::clone) else { return };
        let (matched, kept) = match found {
            Some((found, stamp, allowed)) => {
                (found, self.cache.should_keep(message.subject).then_some((stamp, allowed)))
            }
            None => self.take_cached(message.subject),
        };
        let origin = Origin { client: &self.client, echo: self.connect.echo, now, to: None };
        let mut fanout = Fanout::new(account, origin, message, Arc::new(matched));
        (fanout.kept, fanout.is_own) = (kept, true);
        self.router.wait(fanout);
    }

    /// Takes a subject's receivers out of the cache for a fan-out, with the data to put them back.
    fn take_cached(&mut self, subject: &[u8]) -> (Matches<SubRef>, Option<(Stamp, bool)>) {
        match self.cache.take(subject) {
            Some((stamp, matched, verdict)) => (matched, Some((stamp, verdict.allowed))),
            None => Default::default(),
        }
    }

    /// Completes a fan-out of this session: puts its receivers back into the cache, and reports a request that no
    /// subscription took.
    pub(super) fn conclude_fanout(&mut self, fanout: Fanout) {
        let Fanout { account, subject, reply, matched, kept, taken, is_own, .. } = fanout;
        if let Some((stamp, allowed)) = kept
            && account.generations().is_current(&stamp)
            && let Ok(matched) = Arc::try_unwrap(matched)
        {
            let verdict = Verdict { allowed, head: Head::new(&subject) };
            self.cache.keep(&subject, stamp, matched, verdict, account.generations());
        }
        if is_own && !taken && !reply.is_empty() {
            self.no_responders(&subject, &reply);
        }
    }

    /// Publishes a message and the following ones that differ from it only in their payloads; returns the bytes of
    /// input that all of them take. Returns `None` and does nothing if none follow, or if they require the checks of
    /// `publish`.
    #[inline]
    pub(super) fn publish_run(
        &mut self,
        first: &Publish<'_>,
        input: &[u8],
        used: usize,
        now: Instant,
    ) -> Option<usize> {
        let tail = first.tail?;
        let prefix = &input[..used.checked_sub(tail.len())? + 1];
        let is_traced =
            |headers: Option<usize>, payload: &[u8]| headers.is_some_and(|len| may_ask(&payload[..len]));
        let plain = first.reply.is_empty()
            && first.payload.len() < SHARE_FROM
            && !is_traced(first.header_len, first.payload);
        if !plain || !input[used..].starts_with(prefix) {
            return None;
        }
        let invalid = || self.connect.pedantic && !is_valid_literal(first.subject);
        if self.options.trace || self.connect.verbose || invalid() {
            return None;
        }
        let account = self.account.as_ref()?;
        let (matched, verdict) = self.cache.get(first.subject, account.generations())?;
        if !verdict.allowed || self.is_reserved(first.subject) {
            return None;
        }
        let header_len = first.header_len.unwrap_or(0);
        let mut messages = Repeats::new();
        let like = Repeat { header_len, payload: first.payload, tail, used };
        let begin = &input[..used - b"\r\n".len() - (like.payload.len() - header_len)];
        messages.push(like);
        let (mut end, mut bytes) = (used, first.payload.len());
        while messages.len() < RUN_MAX {
            let rest = &input[end..];
            let next = Parser::parse_alike(rest, begin, &like).or_else(|| {
                let next = self.parser.parse_repeat(rest, prefix)?;
                let is_plain = next.payload.len() < SHARE_FROM
                    && (next.header_len == 0 || !is_traced(Some(next.header_len), next.payload));
                is_plain.then_some(next)
            });
            let Some(next) = next else { break };
            end += next.used;
            bytes += next.payload.len();
            messages.push(next);
        }
        let count = messages.len() as u64;
        self.figures.msgs += count;
        self.figures.bytes += bytes as u64;
        self.figures.matches += count;
        self.figures.hits += count;
        if self.router.is_wide(matched.receivers() * messages.len()) {
            let account = Arc::clone(account);
            let (matched, kept) = self.take_cached(first.subject);
            let origin = Origin { client: &self.client, echo: self.connect.echo, now, to: None };
            let matched = Arc::new(matched);
            let mut fanout = Fanout::of_run(account, origin, first.subject, &messages, matched);
            fanout.kept = kept;
            self.router.wait(fanout);
            return Some(end);
        }
        let run = Run {
            broker: &self.broker,
            options: &self.options,
            account,
            origin: Origin { client: &self.client, echo: self.connect.echo, now, to: None },
            subject: first.subject,
            head: &verdict.head,
            messages: &messages,
        };
        self.router.deliver_run(&run, matched);
        Some(end)
    }

    /// Handles the line of a publish. A pedantic client gets an error for an invalid subject before it sends the
    /// payload.
    pub(super) fn announced(&mut self, subject: &[u8]) {
        if self.connect.pedantic && !self.warned && !is_valid_literal(subject) {
            self.warned = true;
            self.send_error(texts::INVALID_PUBLISH_SUBJECT);
            self.router.touch(&self.client);
        }
    }

    /// Returns whether a subject is reserved for servers: gateway replies and Raft.
    pub(super) fn is_reserved(&self, subject: &[u8]) -> bool {
        let longer = |prefix: &[u8]| subject.len() > prefix.len() && subject.starts_with(prefix);
        longer(b"_GR_.")
            || (subject.starts_with(b"$NRG.") && !self.account.as_ref().is_some_and(|a| a.is_system()))
    }

    pub(super) fn deny_reply(&mut self, reply: &[u8]) {
        let reply = quote(reply);
        error!("{} - Publish Violation - Reply {reply}", self.client.label());
        self.send_error(&format!("Permissions Violation for Publish with Reply of {reply}"));
        self.router.touch(&self.client);
    }

    pub(super) fn deny_publish(&mut self, subject: &[u8]) {
        let subject = quote(subject);
        error!("{} - Publish Violation - Subject {subject}", self.client.label());
        self.send_error(&format!("Permissions Violation for Publish to {subject}"));
        self.router.touch(&self.client);
    }

    /// Returns whether `allow_responses` permits a publish that the permissions deny.
    pub(super) fn may_reply_to(&self, subject: &[u8], now: Instant) -> bool {
        self.permissions.as_ref().is_some_and(|p| p.responses.is_some())
            && self.client.outbound.lock().replies.as_mut().is_some_and(|r| r.take(subject, now))
    }

    /// Sends the publisher a 503 because no subscription took its request, if it enabled `no_responders` and subscribes
    /// to the reply subject itself.
    pub(super) fn no_responders(&mut self, subject: &[u8], reply: &[u8]) {
        if !self.connect.no_responders {
            return;
        }
        let Some(account) = &self.account else { return };
        let matched = account.matches(reply);
        let mut subs = matched.plain.iter();
        let Some(sub) = subs
            .find(|s| matches!(&s.sink, crate::subscription::Sink::Client(c) if c.cid == self.client.cid))
        else {
            return;
        };
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let len = 32 + subject.len();
        let head = format!(" {len} {len}\r\nNATS/1.0 503\r\nNats-Subject: ");
        let parts: [&[u8]; 7] = [b"HMSG ", reply, b" ", &sub.sid, head.as_bytes(), subject, b"\r\n\r\n\r\n"];
        self.send(&parts.concat());
        if self.options.trace {
            trace!("{} - ->> [HMSG {} {} {len} {len}]", self.client.label(), text(reply), text(&sub.sid));
        }
        self.router.touch(&self.client);
    }

    fn trace_publish(&self, message: &Publish<'_>) {
        if !message.payload.is_empty() {
            let payload = traced_payload(&self.options, message.payload);
            trace!("{} - <<- MSG_PAYLOAD: [{payload}]", self.client.label());
        }
    }
}

/// Returns whether a reply subject is reserved for servers.
#[inline]
pub(super) fn is_reserved_reply(reply: &[u8]) -> bool {
    let longer = |prefix: &[u8]| reply.len() > prefix.len() && reply.starts_with(prefix);
    reply.first().is_some_and(|b| matches!(b, b'_' | b'$'))
        && (reply.starts_with(b"_R_.") || longer(b"$JS.ACK.") || longer(b"_GR_."))
}
