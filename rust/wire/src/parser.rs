//! Parses bytes into operations, at any fragmentation.
//!
//! The parser gets all bytes that have arrived and are not consumed yet. For an incomplete operation it returns the
//! least number of bytes that the operation takes. The caller waits for that number, so that a large payload that
//! arrives slowly is not parsed again with every packet.

use crate::fast::{self, Repeat};
use crate::op::{Op, Publish};
use memchr::{memchr, memchr2};

/// Most digits of a number, as in nats-server 2.15.
pub(crate) const DIGITS_MAX: usize = 9;
/// Most bytes of an unfinished line, unless `max_control_line` is larger. No other limit counts blanks.
const LINE_MAX: usize = 64 << 10;
const EMPTY: &[u8] = b"";

/// Parses the client side of the protocol.
#[derive(Debug, Clone)]
pub struct Parser {
    /// Most argument bytes of a control line.
    pub max_control_line: usize,
    /// Most bytes of headers and body together.
    pub max_payload: usize,
    /// Whether the client negotiated headers, without which `HPUB` ends the connection.
    pub headers: bool,
}

/// The result of one call.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// An operation and the bytes it took.
    Op(Op<'a>, usize),
    /// The operation is incomplete; it takes at least this many bytes in total.
    Incomplete(usize),
    /// An unfinished line of which only the verb counts. The caller keeps this many bytes of it and drops the rest.
    Ignored(usize),
    /// A publish with a complete line and an incomplete payload: its subject, and the bytes it takes in total.
    Announced(&'a [u8], usize),
}

/// The reason for which the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// Answered with `-ERR 'Unknown Protocol Operation'`.
    UnknownOperation,
    /// Wrong arguments: nats-server closes the connection without an `-ERR`.
    BadArguments,
    /// Answered with `-ERR 'maximum control line exceeded'`.
    ControlLine,
    /// Answered with `-ERR 'Maximum Payload Violation'`; the size that was announced.
    Payload(usize),
}

type Result<T> = std::result::Result<T, ParseError>;

/// The kinds of lines, distinguished by their first bytes.
#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Pub,
    HPub,
    Sub,
    Unsub,
    Ping,
    Pong,
    Connect,
    Info,
    Ok,
    Err,
}

impl Verb {
    fn text(self) -> &'static [u8] {
        match self {
            Verb::Pub => b"PUB",
            Verb::HPub => b"HPUB",
            Verb::Sub => b"SUB",
            Verb::Unsub => b"UNSUB",
            Verb::Ping => b"PING",
            Verb::Pong => b"PONG",
            Verb::Connect => b"CONNECT",
            Verb::Info => b"INFO",
            Verb::Ok => b"+OK",
            Verb::Err => b"-ERR",
        }
    }

    /// Whether white space must follow the verb.
    fn needs_space(self) -> bool {
        matches!(self, Verb::Pub | Verb::HPub | Verb::Sub | Verb::Unsub | Verb::Err)
    }

    /// Whether the rest of the line is ignored (and has no limit).
    fn is_bare(self) -> bool {
        matches!(self, Verb::Ping | Verb::Pong | Verb::Ok)
    }
}

impl Parser {
    /// Parses the first operation of `input`.
    #[inline]
    pub fn parse<'a>(&self, input: &'a [u8]) -> Result<Parsed<'a>> {
        if let Some((message, used)) = fast::publish(self, input) {
            return Ok(Parsed::Op(Op::Publish(message), used));
        }
        self.parse_any(input)
    }

    /// Parses the message at the start of `input`, if it begins with `prefix`: the previous message's verb, subject and
    /// the space after it. `None` means only that [`Parser::parse`] must parse the input.
    #[inline]
    pub fn parse_repeat<'a>(&self, input: &'a [u8], prefix: &[u8]) -> Option<Repeat<'a>> {
        fast::repeat(self, input, prefix)
    }

    /// Parses the message at the start of `input`, if its line and headers equal those of the previous message. `begin`
    /// has their bytes, and `like` the previous message's parts. Neither the line nor the headers need parsing then.
    #[inline]
    pub fn parse_alike<'a>(input: &'a [u8], begin: &[u8], like: &Repeat<'_>) -> Option<Repeat<'a>> {
        fast::alike(input, begin, like)
    }

    /// Parses an operation in any valid notation.
    fn parse_any<'a>(&self, input: &'a [u8]) -> Result<Parsed<'a>> {
        let Some(verb) = verb(input)? else { return Ok(Parsed::Incomplete(input.len() + 1)) };
        let args_from = verb.text().len();
        if verb == Verb::HPub && !self.headers {
            return Err(ParseError::BadArguments);
        }
        match input.get(args_from) {
            Some(b' ' | b'\t') => {}
            Some(_) if verb.needs_space() => return Err(ParseError::UnknownOperation),
            Some(_) => {}
            None => return Ok(Parsed::Incomplete(args_from + 1)),
        }
        let Some(line_len) = memchr(b'\n', &input[args_from..]) else {
            if verb.is_bare() {
                return Ok(Parsed::Ignored(args_from + 1));
            }
            let args = trim_start(drop_return(&input[args_from..]));
            if args.len() > self.max_control_line || input.len() > self.line_max() {
                return Err(ParseError::ControlLine);
            }
            return Ok(Parsed::Incomplete(input.len() + 1));
        };
        let line_end = args_from + line_len;
        let args = trim_start(drop_return(&input[args_from..line_end]));
        if !verb.is_bare() && args.len() > self.max_control_line {
            return Err(ParseError::ControlLine);
        }
        let op = match verb {
            Verb::Pub | Verb::HPub => return self.publish(verb, input, args, line_end + 1),
            Verb::Ping => Op::Ping,
            Verb::Pong => Op::Pong,
            Verb::Ok => Op::Ok,
            Verb::Connect => Op::Connect(args),
            Verb::Info => Op::Info(args),
            Verb::Err => Op::Err(args),
            Verb::Sub => match split::<3>(args) {
                Some(([subject, sid, _], 2)) => Op::Subscribe { subject, queue: None, sid },
                Some(([subject, queue, sid], 3)) => Op::Subscribe { subject, queue: Some(queue), sid },
                _ => return Err(ParseError::BadArguments),
            },
            Verb::Unsub => match split::<2>(args) {
                Some(([sid, _], 1)) => Op::Unsubscribe { sid, max: None },
                Some(([sid, max], 2)) => Op::Unsubscribe { sid, max: number(max).map(|n| n as u64) },
                _ => return Err(ParseError::BadArguments),
            },
        };
        Ok(Parsed::Op(op, line_end + 1))
    }

    /// Returns the most bytes of an unfinished line; no other limit counts blanks.
    fn line_max(&self) -> usize {
        self.max_control_line.max(LINE_MAX)
    }

    fn publish<'a>(
        &self,
        verb: Verb,
        input: &'a [u8],
        args: &'a [u8],
        body_from: usize,
    ) -> Result<Parsed<'a>> {
        let with_headers = verb == Verb::HPub;
        let (mut parts, count) = split::<4>(args).ok_or(ParseError::BadArguments)?;
        let reply = match (with_headers, count) {
            (false, 2) | (true, 3) => EMPTY,
            (false, 3) | (true, 4) => std::mem::replace(&mut parts[1], EMPTY),
            _ => return Err(ParseError::BadArguments),
        };
        let total_text = parts[count - 1];
        let header_text = if with_headers { parts[count - 2] } else { EMPTY };
        let header_len = match with_headers {
            true => Some(number(header_text).ok_or(ParseError::BadArguments)?),
            false => None,
        };
        let total = number(total_text).ok_or(ParseError::BadArguments)?;
        if header_len.is_some_and(|h| h > total) {
            return Err(ParseError::BadArguments);
        }
        if total > self.max_payload {
            return Err(ParseError::Payload(total));
        }
        let needed = body_from + total + 2;
        // The two bytes after the payload are checked as soon as they arrive.
        let terminator = input.get(body_from + total..).unwrap_or(EMPTY);
        if !b"\r\n".starts_with(&terminator[..terminator.len().min(2)]) {
            return Err(ParseError::UnknownOperation);
        }
        let subject = parts[0];
        if input.len() < needed {
            return Ok(Parsed::Announced(subject, needed));
        }
        let payload = &input[body_from..body_from + total];
        let mut message = Publish { subject, reply, header_len, sizes: total_text, payload, tail: None };
        if header_len == Some(0) {
            // Headers of zero bytes count as no headers: nats-server 2.15 delivers such a message as MSG.
            message.header_len = None;
        } else if with_headers {
            message.sizes = &input[offset(input, header_text)..offset(input, total_text) + total_text.len()];
        }
        Ok(Parsed::Op(Op::Publish(message), needed))
    }
}

/// Returns the verb at the start of `input`, in upper or lower case; `None` if more bytes are needed to recognise it.
#[inline]
fn verb(input: &[u8]) -> Result<Option<Verb>> {
    let Some(first) = input.first() else { return Ok(None) };
    let second = input.get(1).map(u8::to_ascii_uppercase);
    let verb = match (first.to_ascii_uppercase(), second) {
        (b'P', Some(b'U')) => Verb::Pub,
        (b'P', Some(b'I')) => Verb::Ping,
        (b'P', Some(b'O')) => Verb::Pong,
        (b'P', None) => return Ok(None),
        (b'H', _) => Verb::HPub,
        (b'S', _) => Verb::Sub,
        (b'U', _) => Verb::Unsub,
        (b'C', _) => Verb::Connect,
        (b'I', _) => Verb::Info,
        (b'+', _) => Verb::Ok,
        (b'-', _) => Verb::Err,
        _ => return Err(ParseError::UnknownOperation),
    };
    let text = verb.text();
    let here = &input[..text.len().min(input.len())];
    if !here.eq_ignore_ascii_case(&text[..here.len()]) {
        return Err(ParseError::UnknownOperation);
    }
    Ok((here.len() == text.len()).then_some(verb))
}

/// Returns the offset of `part` in `input`.
fn offset(input: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(input.as_ptr() as usize)
}

fn is_separator(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn trim_start(args: &[u8]) -> &[u8] {
    let from = args.iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(args.len());
    &args[from..]
}

/// Returns a line without its carriage return. A carriage return elsewhere costs the last byte, because nats-server
/// 2.15 only notes that it saw one.
#[inline]
fn drop_return(line: &[u8]) -> &[u8] {
    match line {
        [rest @ .., b'\r'] => rest,
        [rest @ .., _] if memchr(b'\r', line).is_some() => rest,
        _ => line,
    }
}

/// Splits a line into its arguments; `None` if there are more than `N`.
#[inline]
fn split<const N: usize>(args: &[u8]) -> Option<([&[u8]; N], usize)> {
    let mut parts = [EMPTY; N];
    let mut count = 0;
    let mut rest = args;
    while !rest.is_empty() {
        let end = memchr2(b' ', b'\t', rest).unwrap_or(rest.len());
        let end = rest[..end].iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(end);
        if end > 0 {
            *parts.get_mut(count)? = &rest[..end];
            count += 1;
        }
        let next = rest[end..].iter().position(|b| !is_separator(b)).unwrap_or(rest.len() - end);
        rest = &rest[end + next..];
    }
    Some((parts, count))
}

/// Parses an unsigned number of one to nine ASCII digits.
#[inline]
pub(crate) fn number(text: &[u8]) -> Option<usize> {
    if text.is_empty() || text.len() > DIGITS_MAX {
        return None;
    }
    text.iter().try_fold(0usize, |n, b| b.is_ascii_digit().then(|| n * 10 + usize::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARSER: Parser = Parser { max_control_line: 64, max_payload: 1000, headers: true };

    fn one(input: &str) -> Result<Op<'_>> {
        match PARSER.parse(input.as_bytes())? {
            Parsed::Op(op, used) => {
                assert_eq!(used, input.len(), "all of {input:?}");
                Ok(op)
            }
            Parsed::Incomplete(_) | Parsed::Ignored(_) | Parsed::Announced(..) => {
                panic!("{input:?} is incomplete")
            }
        }
    }

    fn message(input: &str) -> Publish<'_> {
        match one(input) {
            Ok(Op::Publish(p)) => p,
            other => panic!("{input:?}: {other:?}"),
        }
    }

    #[test]
    fn publishing() {
        let p = message("PUB foo 5\r\nhello\r\n");
        assert_eq!(
            (p.subject, p.reply, p.sizes, p.payload),
            (&b"foo"[..], &b""[..], &b"5"[..], &b"hello"[..])
        );
        assert_eq!(p.tail, Some(&b" 5\r\nhello\r\n"[..]));
        for (verb, tail) in [("HPUB", Some(&b" bar 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"[..])), ("hpub", None)] {
            let input = format!("{verb} foo bar 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
            let p = message(&input);
            assert_eq!((p.reply, p.header_len, p.sizes), (&b"bar"[..], Some(12), &b"12 14"[..]));
            assert_eq!(p.tail, tail);
        }
        let p = message("HPUB foo 0 2\r\nhi\r\n");
        assert_eq!((p.header_len, p.sizes, p.tail), (None, &b"2"[..], None));
        for odd in [
            "pub foo bar 2\r\nhi\r\n",
            "PUB  foo\t bar  2 \r\nhi\r\n",
            "PUB foo bar  2\r\nhi\r\n",
            "PUB foo bar 2\nhi\r\n",
            "PUB foo\tbar 2\r\nhi\r\n",
            "PUB foo\rbar 2\r\nhi\r\n",
        ] {
            let p = message(odd);
            assert_eq!((p.subject, p.reply, p.payload), (&b"foo"[..], &b"bar"[..], &b"hi"[..]), "{odd:?}");
            assert_eq!(p.tail, None, "{odd:?}");
        }
        assert_eq!(message("PUB foo 002\r\nhi\r\n").tail, Some(&b" 002\r\nhi\r\n"[..]));
    }

    #[test]
    fn other_operations() {
        assert_eq!(one("ping xyz\n"), Ok(Op::Ping));
        assert_eq!(one("CONNECT{}\r\n"), Ok(Op::Connect(b"{}")));
        assert_eq!(one("SUB a q 1\r\n"), Ok(Op::Subscribe { subject: b"a", queue: Some(b"q"), sid: b"1" }));
        assert_eq!(one("UNSUB 1 5\r\n"), Ok(Op::Unsubscribe { sid: b"1", max: Some(5) }));
        assert_eq!(one("UNSUB 1 x\r\n"), Ok(Op::Unsubscribe { sid: b"1", max: None }));
    }

    #[test]
    fn errors() {
        use ParseError::*;
        let long = format!("SUB {} 1\r\n", "a".repeat(70));
        let open = format!("SUB {}", "a".repeat(70));
        for (input, error) in [
            ("X", UnknownOperation),
            ("PX", UnknownOperation),
            ("PUBX", UnknownOperation),
            ("MSG a 1 2\r\n", UnknownOperation),
            ("PUB\r\n", UnknownOperation),
            ("PUB \r\n", BadArguments),
            ("PUB a\r\n", BadArguments),
            ("PUB a b c 1\r\n", BadArguments),
            ("PUB a -1\r\n", BadArguments),
            ("PUB a 1234567890\r\n", BadArguments),
            ("PUB a 1001\r\n", Payload(1001)),
            ("PUB a 1\r\nab", UnknownOperation),
            ("PUB a 1\r\na\rx", UnknownOperation),
            ("HPUB a 3 2\r\n", BadArguments),
            ("SUB a\r\n", BadArguments),
            ("UNSUB 1 2 3\r\n", BadArguments),
            (&long, ControlLine),
            (&open, ControlLine),
        ] {
            assert_eq!(PARSER.parse(input.as_bytes()), Err(error), "{input:?}");
        }
        let endless = format!("SUB {}", " ".repeat(70_000));
        assert_eq!(PARSER.parse(endless.as_bytes()), Err(ControlLine));
        assert_eq!(PARSER.parse(b"PING and so on"), Ok(Parsed::Ignored(5)));
        let exact = format!("SUB {} 1\r", "a".repeat(62));
        assert!(
            matches!(PARSER.parse(exact.as_bytes()), Ok(Parsed::Incomplete(_))),
            "the return is no argument"
        );
        let without = Parser { headers: false, ..PARSER };
        assert_eq!(without.parse(b"HPUB"), Err(BadArguments));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), verb in "(PUB|HPUB|SUB|UNSUB|CONNECT|PING)? ?") {
            let mut input = verb.into_bytes();
            input.extend(bytes);
            if let Ok(Parsed::Op(_, used)) = PARSER.parse(&input) {
                prop_assert!(used > 0 && used <= input.len());
            }
        }

        /// The fast path parses every message as the general path does.
        #[test]
        fn the_short_way_agrees_with_the_long_one(
            verb in "(PUB|HPUB|pub)", args in "( {1,2}([a-z.]{1,5}|[0-9]{1,2})|\t[a-z]){1,5}", end in "(\r\n|\n|\r)",
            body in "[ -~\r\n]{0,30}", at in 0usize..30,
        ) {
            let mut input = format!("{verb}{args}{end}{body}").into_bytes();
            // Half of the inputs end their payload where the line says.
            if let Some(size) = args.rsplit([' ', '\t']).next().and_then(|s| s.parse::<usize>().ok()).filter(|_| at % 2 == 0) {
                input = format!("{verb}{args}{end}{}\r\n{body}", "x".repeat(size)).into_bytes();
            }
            if let Some((message, used)) = fast::publish(&PARSER, &input) {
                let tail = message.tail.map(<[u8]>::to_vec).unwrap_or_default();
                let mut written = b" ".to_vec();
                if !message.reply.is_empty() {
                    written.extend([message.reply, b" "].concat());
                }
                written.extend([message.sizes, b"\r\n", message.payload, b"\r\n"].concat());
                prop_assert_eq!(tail, written);
                let prefix_len = verb.len() + message.subject.len() + 2;
                let again = PARSER.parse_repeat(&input, &input[..prefix_len]);
                prop_assert_eq!(again.is_some(), message.reply.is_empty());
                if let Some(again) = again {
                    prop_assert_eq!((again.payload, Some(again.tail), again.used), (message.payload, message.tail, used));
                    prop_assert_eq!(again.header_len, message.header_len.unwrap_or(0));
                    let begin = &input[..used - 2 - (again.payload.len() - again.header_len)];
                    prop_assert_eq!(Parser::parse_alike(&input, begin, &again), Some(again));
                    for at in 0..used {
                        let mut other = input.clone();
                        other[at] ^= 1;
                        let is_body = at >= begin.len() && at < used - 2;
                        let found = Parser::parse_alike(&other, begin, &again);
                        prop_assert_eq!(found.is_some(), is_body);
                        if is_body {
                            prop_assert_eq!(found, PARSER.parse_repeat(&other, &other[..prefix_len]));
                        }
                    }
                }
                let plain = Publish { tail: None, ..message };
                prop_assert_eq!(PARSER.parse_any(&input), Ok(Parsed::Op(Op::Publish(plain), used)));
            } else if let Ok(Parsed::Op(Op::Publish(message), _)) = PARSER.parse(&input) {
                prop_assert!(message.tail.is_none());
            }
        }

        /// A message that is cut anywhere is incomplete, and requires no more bytes than the whole message has.
        #[test]
        fn fragments_are_incomplete(cut in 0usize..40, reply in "( [a-z]{1,3})?", body in "[ -~]{0,20}") {
            let text = format!("PUB foo{reply} {}\r\n{body}\r\n", body.len());
            let cut = cut % text.len();
            match PARSER.parse(&text.as_bytes()[..cut]) {
                Ok(Parsed::Incomplete(needed) | Parsed::Announced(_, needed)) => prop_assert!(needed > cut && needed <= text.len()),
                other => prop_assert!(false, "{:?} of {:?}", other, text),
            }
        }
    }
}
