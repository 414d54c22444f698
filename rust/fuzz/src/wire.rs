//! The parser's results for bytes that arrive in pieces, and checks of every operation.

use stonechat_wire::{Op, ParseError, Parsed, Parser, Publish};

/// The result of parsing an input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The operations, as text for comparison.
    pub operations: Vec<String>,
    /// The error that ended the parsing, if any.
    pub error: Option<ParseError>,
    /// Bytes that belong to no operation yet; 0 after an error.
    pub rest: usize,
}

/// Parses after every piece, even if the parser has asked for more bytes.
pub fn hear<'a>(parser: &Parser, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    Listener::new(parser).hear(pieces, false)
}

/// Parses only when the parser has as many bytes as it asked for, as a session does.
pub fn hear_when_needed<'a>(parser: &Parser, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    // The input is always parsed once more at its end: no more bytes will follow.
    Listener::new(parser).hear(pieces, true)
}

struct Listener<'p> {
    parser: &'p Parser,
    waiting: Vec<u8>,
    /// Largest number of bytes that the parser has asked for since the last operation.
    needed: usize,
    heard: Heard,
}

impl<'p> Listener<'p> {
    fn new(parser: &'p Parser) -> Self {
        Self { parser, waiting: Vec::new(), needed: 0, heard: Heard::default() }
    }

    fn hear<'a>(mut self, pieces: impl IntoIterator<Item = &'a [u8]>, when_needed: bool) -> Heard {
        for piece in pieces {
            self.waiting.extend_from_slice(piece);
            if !(when_needed && self.waiting.len() < self.needed) && !self.parse() {
                return self.heard;
            }
        }
        if self.parse() {
            self.heard.rest = self.waiting.len();
        }
        self.heard
    }

    /// Consumes all complete operations; returns false after an error.
    fn parse(&mut self) -> bool {
        let mut used = 0;
        while used < self.waiting.len() {
            let input = &self.waiting[used..];
            match self.parser.parse(input) {
                Ok(Parsed::Op(op, len)) => {
                    assert!(0 < len && len <= input.len(), "{len} of {} bytes were used", input.len());
                    assert!(len >= self.needed, "{} bytes were asked for, but {len} do", self.needed);
                    check(self.parser, &op, &input[..len]);
                    self.heard.operations.push(format!("{op:?}"));
                    self.needed = 0;
                    used += len;
                }
                Ok(Parsed::Ignored(keep)) => {
                    assert!(
                        0 < keep && keep <= input.len(),
                        "{keep} of {} bytes are to be kept",
                        input.len()
                    );
                    self.waiting.truncate(used + keep);
                    self.needed = keep + 1;
                    break;
                }
                Ok(Parsed::Incomplete(needed) | Parsed::Announced(_, needed)) => {
                    assert!(needed > input.len(), "{needed} bytes are asked for, {} are there", input.len());
                    self.needed = self.needed.max(needed);
                    break;
                }
                Err(error) => {
                    self.heard.error = Some(error);
                    return false;
                }
            }
        }
        self.waiting.drain(..used);
        true
    }
}

fn check(parser: &Parser, op: &Op<'_>, input: &[u8]) {
    match op {
        Op::Publish(message) => check_message(parser, message, input),
        Op::Subscribe { subject, queue, sid } => {
            assert!(is_word(subject) && is_word(sid) && queue.is_none_or(is_word), "{op:?}");
        }
        Op::Unsubscribe { sid, .. } => assert!(is_word(sid), "{op:?}"),
        Op::Connect(text) | Op::Info(text) | Op::Err(text) => {
            assert!(text.len() <= parser.max_control_line && !text.contains(&b'\n'), "{op:?}");
        }
        Op::Ping | Op::Pong | Op::Ok => {}
    }
}

/// Whether a text can't break a frame into which it is written.
fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && !text.iter().any(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
}

fn check_message(parser: &Parser, message: &Publish<'_>, input: &[u8]) {
    assert!(is_word(message.subject) && (message.reply.is_empty() || is_word(message.reply)), "{message:?}");
    assert!(message.payload.len() <= parser.max_payload, "{message:?}");
    assert!(parser.headers || message.header_len.is_none(), "{message:?}");
    let sizes = std::str::from_utf8(message.sizes).expect("sizes are digits and blanks");
    let sizes: Vec<usize> = sizes.split_ascii_whitespace().map(|n| n.parse().expect("a number")).collect();
    let expected: Vec<usize> = message.header_len.into_iter().chain([message.payload.len()]).collect();
    assert_eq!(sizes, expected, "{message:?}");
    assert!(expected.is_sorted(), "headers are part of the payload: {message:?}");
    assert!(input.ends_with(b"\r\n") && input[..input.len() - 2].ends_with(message.payload));
    let Some(tail) = message.tail else { return };
    let mut written = b" ".to_vec();
    if !message.reply.is_empty() {
        written.extend_from_slice(message.reply);
        written.push(b' ');
    }
    for part in [message.sizes, b"\r\n", message.payload, b"\r\n"] {
        written.extend_from_slice(part);
    }
    assert_eq!(tail, written, "a tail is what a delivery would write");
    assert!(!message.sizes.windows(2).any(|pair| pair == b"  "), "{message:?}");
}
