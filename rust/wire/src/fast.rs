//! The fast path of the parser, for messages in the notation of nearly all clients.
//!
//! It takes complete messages within all limits, written with `PUB` or `HPUB` in capitals, single spaces and `\r\n`.
//! Any other input is left to [`Parser::parse`], which implements the whole grammar and all its errors.

use crate::op::Publish;
use crate::parser::{DIGITS_MAX, Parser, number};

/// Most tokens of a line: subject, reply and two sizes.
const TOKENS_MAX: usize = 4;

/// Returns the message at the start of `input` and the bytes it takes, if it is complete and in the usual notation.
#[inline]
pub(crate) fn publish<'a>(parser: &Parser, input: &'a [u8]) -> Option<(Publish<'a>, usize)> {
    let (args_from, with_headers) = match input {
        [b'P', b'U', b'B', b' ', ..] => (4, false),
        [b'H', b'P', b'U', b'B', b' ', ..] if parser.headers => (5, true),
        _ => return None,
    };
    let line = Line::read(input, args_from)?;
    if line.end - args_from > parser.max_control_line || input.get(line.end + 1) != Some(&b'\n') {
        return None;
    }
    let sizes_of = if with_headers { 2 } else { 1 };
    let reply = match line.count.checked_sub(sizes_of)? {
        1 => &[],
        2 => line.token(input, 1)?,
        _ => return None,
    };
    let total = number(line.token(input, line.count - 1)?)?;
    let header_len = match with_headers {
        // Headers of zero bytes are left to the general path.
        true => Some(number(line.token(input, line.count - 2)?).filter(|&h| h > 0 && h <= total)?),
        false => None,
    };
    let body_from = line.end + 2;
    let body_end = body_from + total;
    if total > parser.max_payload || input.get(body_end..body_end + 2)? != b"\r\n" {
        return None;
    }
    let subject = line.token(input, 0)?;
    let message = Publish {
        subject,
        reply,
        header_len,
        sizes: input.get(line.starts[line.count - sizes_of]..line.end)?,
        payload: &input[body_from..body_end],
        tail: Some(&input[args_from + subject.len()..body_end + 2]),
    };
    Some((message, body_end + 2))
}

/// A message that differs from the previous one only in its payload, and has no reply subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat<'a> {
    /// Bytes of the payload that are headers; 0 for `PUB`.
    pub header_len: usize,
    /// Headers and body.
    pub payload: &'a [u8],
    /// See [`Publish::tail`].
    pub tail: &'a [u8],
    /// Bytes of input that the message takes.
    pub used: usize,
}

/// Returns the message at the start of `input`, if it begins with `prefix` (verb, subject and the space after it) and
/// its line contains only sizes after that.
#[inline]
pub(crate) fn repeat<'a>(parser: &Parser, input: &'a [u8], prefix: &[u8]) -> Option<Repeat<'a>> {
    let line = input.strip_prefix(prefix)?;
    let (first, mut at) = digits(line, 0)?;
    let (mut header_len, mut total) = (0, first);
    if prefix.first() == Some(&b'H') {
        if line.get(at) != Some(&b' ') {
            return None;
        }
        (total, at) = digits(line, at + 1)?;
        header_len = Some(first).filter(|&h| h > 0 && h <= total)?;
    }
    let within = total <= parser.max_payload && prefix.len() + at <= parser.max_control_line;
    if !within || line.get(at..at + 2)? != b"\r\n" {
        return None;
    }
    let (from, end) = (at + 2, at + 2 + total);
    if line.get(end..end + 2)? != b"\r\n" {
        return None;
    }
    let used = prefix.len() + end + 2;
    Some(Repeat { header_len, payload: &line[from..end], tail: &input[prefix.len() - 1..used], used })
}

/// Returns the message at the start of `input`, if it has the length of `like` and begins with the line and headers of
/// `like`, which are `begin`.
#[inline]
pub(crate) fn alike<'a>(input: &'a [u8], begin: &[u8], like: &Repeat<'_>) -> Option<Repeat<'a>> {
    let message = input.get(..like.used)?;
    if !message.starts_with(begin) || !message.ends_with(b"\r\n") {
        return None;
    }
    let end = like.used - 2;
    Some(Repeat {
        payload: &message[end - like.payload.len()..end],
        tail: &message[like.used - like.tail.len()..],
        ..*like
    })
}

/// Parses the number of one to nine digits at `from`; returns it and the position after it.
#[inline]
fn digits(line: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut number = 0;
    let mut at = from;
    while let Some(digit) = line.get(at).map(|b| b.wrapping_sub(b'0')).filter(|&d| d < 10) {
        number = number * 10 + usize::from(digit);
        at += 1;
        if at - from > DIGITS_MAX {
            return None;
        }
    }
    (at > from).then_some((number, at))
}

/// The positions of a line's tokens and of its `\r`.
struct Line {
    starts: [usize; TOKENS_MAX],
    count: usize,
    end: usize,
}

impl Line {
    /// Reads tokens with single spaces between them, up to a `\r`.
    #[inline]
    fn read(input: &[u8], from: usize) -> Option<Self> {
        let mut line = Self { starts: [from; TOKENS_MAX], count: 1, end: from };
        let mut start = from;
        for (at, &byte) in input.iter().enumerate().skip(from) {
            if byte > b' ' {
                continue;
            }
            if at == start {
                return None;
            }
            match byte {
                b' ' if line.count < TOKENS_MAX => {
                    start = at + 1;
                    line.starts[line.count] = start;
                    line.count += 1;
                }
                b'\r' => {
                    line.end = at;
                    return Some(line);
                }
                _ => return None,
            }
        }
        None
    }

    #[inline]
    fn token<'a>(&self, input: &'a [u8], index: usize) -> Option<&'a [u8]> {
        let end = if index + 1 == self.count { self.end } else { self.starts[index + 1] - 1 };
        input.get(self.starts[index]..end)
    }
}
