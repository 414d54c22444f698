//! Messages that ask for a trace of their way (ADR-41). This server makes no traces yet; a message that asks for nothing but its trace
//! must not arrive all the same.

use std::sync::LazyLock;
use std::time::Instant;

use memchr::memmem::Finder;
use stonechat_subject::is_valid_literal;
use stonechat_wire::Publish;

use super::ClientSession;
use super::publish::is_reserved_reply;

const DESTINATION: &[u8] = b"Nats-Trace-Dest";

/// What a message asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    /// Where the trace is to go.
    destination: &'a [u8],
    /// The message itself is not to be delivered.
    only: bool,
    /// It has a header of servers, with which there is no trace.
    is_foreign: bool,
}

/// Whether a header block may ask for a trace; hardly any does. Most have not even the one letter of the name that is rare, and to look
/// for that costs a fifth of a search.
#[inline]
pub(super) fn may_ask(headers: &[u8]) -> bool {
    memchr::memchr(b'D', headers).is_some_and(|at| is_named(&headers[at.saturating_sub(BEFORE_LETTER)..]))
}

/// Bytes of the name before the letter.
const BEFORE_LETTER: usize = DESTINATION.len() - b"Dest".len();

fn is_named(headers: &[u8]) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(DESTINATION));
    FINDER.find(headers).is_some()
}

impl<'a> Request<'a> {
    /// Reads a header block as nats-server 2.15 does: names count with their case, the first value of a name counts.
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
    /// Whether a message goes nowhere because of the trace that it asks for. If so, its publisher was told what there is to tell.
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
