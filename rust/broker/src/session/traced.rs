//! Messages that request a trace of their delivery (ADR-41). This server makes no traces yet. A message that requests
//! only its trace must still not be delivered.

use std::sync::LazyLock;
use std::time::Instant;

use memchr::memmem::Finder;
use stonechat_subject::is_valid_literal;
use stonechat_wire::Publish;

use super::ClientSession;
use super::publish::is_reserved_reply;

const DESTINATION: &[u8] = b"Nats-Trace-Dest";

/// A message's request for a trace.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    /// The subject to which the trace goes.
    destination: &'a [u8],
    /// Whether the message itself must not be delivered.
    only: bool,
    /// Whether the message has a server's header, which excludes a trace.
    is_foreign: bool,
}

/// Returns whether a header block may request a trace; hardly any does. The search begins with the one rare letter of
/// the header's name, which most blocks lack; this costs a fifth of a whole search.
#[inline]
pub(super) fn may_ask(headers: &[u8]) -> bool {
    memchr::memchr(b'D', headers).is_some_and(|at| is_named(&headers[at.saturating_sub(BEFORE_LETTER)..]))
}

/// Bytes of the header's name before the rare letter.
const BEFORE_LETTER: usize = DESTINATION.len() - b"Dest".len();

fn is_named(headers: &[u8]) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(DESTINATION));
    FINDER.find(headers).is_some()
}

impl<'a> Request<'a> {
    /// Parses a header block as nats-server 2.15 does: names are case-sensitive, and the first value of a name counts.
    fn parse(block: &'a [u8]) -> Option<Self> {
        let mut rest = block.strip_prefix(b"NATS/1.0\r\n")?;
        let (mut destination, mut only, mut is_foreign) = (None, None, false);
        while let Some(colon) = memchr::memchr(b':', rest) {
            let (name, behind) = (&rest[..colon], &rest[colon + 1..]);
            let blanks = behind.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
            let Some(end) = memchr::memmem::find(&behind[blanks..], b"\r\n") else { break };
            let value = behind[blanks..blanks + end].trim_ascii_end();
            rest = &behind[blanks + end + 2..];
            if value.is_empty() {
                continue;
            }
            match name {
                DESTINATION if destination.is_none() => destination = Some(value),
                b"Nats-Trace-Only" if only.is_none() => only = Some(value),
                b"Nats-Trace-Origin-Account" => is_foreign = true,
                _ => {}
            }
        }
        let destination = destination.filter(|value| *value != b"trace disabled")?;
        let means_yes =
            |value: &[u8]| [&b"1"[..], b"true", b"on"].iter().any(|yes| value.eq_ignore_ascii_case(yes));
        Some(Self { destination, only: only.is_some_and(means_yes), is_foreign })
    }
}

impl ClientSession {
    /// Returns whether a message must not be delivered because of its request for a trace. If so, any answer to the
    /// publisher is already sent.
    #[cold]
    pub(super) fn is_withheld(&mut self, message: &Publish<'_>, now: Instant) -> bool {
        let headers = message.payload.get(..message.header_len.unwrap_or(0)).unwrap_or_default();
        let Some(request) = Request::parse(headers) else { return false };
        let may_publish = |session: &Self, subject: &[u8]| {
            session.permissions.as_ref().is_none_or(|permissions| permissions.may_publish(subject))
        };
        let has_trace = is_valid_literal(request.destination) && !request.is_foreign;
        if has_trace && (self.is_reserved(request.destination) || !may_publish(self, request.destination)) {
            self.deny_publish(request.destination);
            return true;
        }
        if !request.only || !has_trace {
            return request.only;
        }
        if !may_publish(self, message.subject) && !self.may_reply_to(message.subject, now) {
            self.deny_publish(message.subject);
            return true;
        }
        if is_reserved_reply(message.reply) {
            self.deny_reply(message.reply);
            return true;
        }
        if self.connect.verbose {
            self.send_ok();
            self.router.touch(&self.client);
        }
        let is_heard = self.account.as_ref().is_none_or(|account| account.is_wanted(message.subject));
        if !is_heard && !message.reply.is_empty() {
            self.no_responders(message.subject, message.reply);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_wherever_it_stands() {
        for before in 0..70 {
            for behind in 0..40 {
                let (before, behind) = ("x".repeat(before), "y".repeat(behind));
                let block = format!("NATS/1.0\r\nX: {before}\r\nNats-Trace-Dest:{behind}\r\n\r\n");
                assert!(may_ask(block.as_bytes()), "{block}");
                assert!(!may_ask(block.replace("Trace", "Track").as_bytes()), "{block}");
                assert!(may_ask(format!("NATS/1.0\r\nD: D{before}{}", &block[10..]).as_bytes()), "{block}");
            }
        }
        assert!(may_ask(b"NATS/1.0\r\nNats-Trace-Dest:t\r\n\r\n"));
        assert!(!may_ask(b"NATS/1.0\r\n\r\n") && !may_ask(b""));
    }

    #[test]
    fn what_counts_as_a_request() {
        let parse = |lines: &str| {
            let block = format!("NATS/1.0\r\n{lines}\r\n").into_bytes();
            assert!(may_ask(&block) || Request::parse(&block).is_none());
            Request::parse(&block).map(|r| (String::from_utf8_lossy(r.destination).into_owned(), r.only))
        };
        let some = |only| Some(("t".to_owned(), only));
        for yes in ["1", "true", "ON", "True \t"] {
            assert_eq!(
                parse(&format!("Nats-Trace-Dest: t\r\nNats-Trace-Only: {yes}\r\n")),
                some(true),
                "{yes}"
            );
        }
        for no in ["0", "yes", "", "false", "01"] {
            assert_eq!(
                parse(&format!("Nats-Trace-Only: {no}\r\nNats-Trace-Dest:\tt \r\n")),
                some(false),
                "{no}"
            );
        }
        assert_eq!(parse("Nats-Trace-Only: 1\r\n"), None);
        assert_eq!(parse("nats-trace-dest: t\r\nNats-Trace-Only: 1\r\n"), None);
        assert_eq!(parse("Nats-Trace-Dest: trace disabled\r\nNats-Trace-Only: 1\r\n"), None);
        assert_eq!(parse("Nats-Trace-Dest: \r\nNats-Trace-Only: 1\r\n"), None);
        assert_eq!(parse("Nats-Trace-Dest: t\r\nNats-Trace-Only: 0\r\nNats-Trace-Only: 1\r\n"), some(false));
        assert_eq!(Request::parse(b"Nats-Trace-Dest: t\r\nNats-Trace-Only: 1\r\n\r\n"), None, "no version");
        assert_eq!(Request::parse(b"NATS/1.0\r\nNats-Trace-Dest: t"), None, "no end");
    }
}
