//! The parser of the server's output, which arrives in pieces of any size.

use bytes::Bytes;
use memchr::memchr;

/// A message, or a reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The subject.
    pub subject: String,
    /// The reply subject.
    pub reply: Option<String>,
    /// The block of headers, including its first line, as received.
    pub headers: Option<Bytes>,
    /// The body, without the headers.
    pub payload: Bytes,
}

/// An operation of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The JSON of INFO.
    Info(Bytes),
    Message(u64, Message),
    Ping,
    Pong,
    /// The text of an `-ERR`.
    Error(String),
}

/// The parser, with the bytes of an incomplete operation.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    rest: Vec<u8>,
}

/// The server's output violates the protocol. The connection can't be used any more.
#[derive(Debug)]
pub(crate) struct Garbled;

/// Capacity in bytes that an idle parser keeps.
const KEPT: usize = 64 << 10;

impl Parser {
    /// Parses bytes and passes each operation to `tell`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(Said)) -> Result<(), Garbled> {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some((said, len)) = next(&self.rest[at..])? {
            at += len;
            if let Some(said) = said {
                tell(said);
            }
        }
        self.rest.drain(..at);
        if self.rest.is_empty() && self.rest.capacity() > KEPT {
            self.rest = Vec::new();
        }
        Ok(())
    }
}

/// Returns the first operation and its length; `None` if it is incomplete. The operation is `None` if it has no effect
/// (`+OK`).
fn next(bytes: &[u8]) -> Result<Option<(Option<Said>, usize)>, Garbled> {
    let Some(end) = memchr(b'\n', bytes) else { return Ok(None) };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let len = end + 1;
    let (word, rest) = match memchr(b' ', line) {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[][..]),
    };
    let said = match word {
        b"MSG" => {
            return message(rest, false, &bytes[len..]).map(|found| found.map(|(m, n)| (Some(m), len + n)));
        }
        b"HMSG" => {
            return message(rest, true, &bytes[len..]).map(|found| found.map(|(m, n)| (Some(m), len + n)));
        }
        b"PING" => Some(Said::Ping),
        b"PONG" => Some(Said::Pong),
        b"+OK" => None,
        b"INFO" => Some(Said::Info(Bytes::copy_from_slice(rest))),
        b"-ERR" => {
            let text = String::from_utf8_lossy(rest).into_owned();
            Some(Said::Error(text.trim().trim_matches('\'').to_owned()))
        }
        _ => return Err(Garbled),
    };
    Ok(Some((said, len)))
}

/// Parses a message from the arguments of its line and the bytes after the line.
fn message(line: &[u8], has_headers: bool, body: &[u8]) -> Result<Option<(Said, usize)>, Garbled> {
    let line = std::str::from_utf8(line).map_err(|_| Garbled)?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let sizes = if has_headers { 2 } else { 1 };
    let (subject, sid, reply) = match words.len().checked_sub(sizes) {
        Some(2) => (words[0], words[1], None),
        Some(3) => (words[0], words[1], Some(words[2].to_owned())),
        _ => return Err(Garbled),
    };
    let number = |text: &str| text.parse::<usize>().map_err(|_| Garbled);
    let total = number(words[words.len() - 1])?;
    let split = if has_headers { number(words[words.len() - 2])? } else { 0 };
    if split > total {
        return Err(Garbled);
    }
    // A line break follows the body.
    if body.len() < total + 2 {
        return Ok(None);
    }
    let headers = has_headers.then(|| Bytes::copy_from_slice(&body[..split]));
    let payload = Bytes::copy_from_slice(&body[split..total]);
    let sid = sid.parse().map_err(|_| Garbled)?;
    let message = Message { subject: subject.to_owned(), reply, headers, payload };
    Ok(Some((Said::Message(sid, message), total + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALK: &[u8] = b"INFO {\"a\":1}\r\n+OK\r\nMSG a.b 7 2\r\nhi\r\nPING\r\n\
        HMSG a 8 r 12 14\r\nNATS/1.0\r\n\r\nyo\r\nMSG e 1 0\r\n\r\n-ERR 'Stale Connection'\r\nPONG\r\n";

    fn read(pieces: &[&[u8]]) -> Vec<Said> {
        let (mut parser, mut said) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.feed(piece, |one| said.push(one)).unwrap();
        }
        said
    }

    #[test]
    fn it_does_not_matter_where_pieces_end() {
        let whole = read(&[TALK]);
        assert_eq!(whole.len(), 7);
        let single: Vec<_> = TALK.chunks(1).collect();
        assert_eq!(read(&single), whole);
        for at in 0..TALK.len() {
            assert_eq!(read(&[&TALK[..at], &TALK[at..]]), whole);
        }
    }

    #[test]
    fn messages_have_their_parts() {
        let said = read(&[TALK]);
        let Said::Message(7, message) = &said[1] else { panic!("{said:?}") };
        assert_eq!((message.subject.as_str(), &message.payload[..]), ("a.b", &b"hi"[..]));
        let Said::Message(8, message) = &said[3] else { panic!("{said:?}") };
        assert_eq!(message.headers.as_deref(), Some(&b"NATS/1.0\r\n\r\n"[..]));
        assert_eq!((message.reply.as_deref(), &message.payload[..]), (Some("r"), &b"yo"[..]));
        assert_eq!(said[5], Said::Error("Stale Connection".to_owned()));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["HELO\r\n", "MSG a\r\n", "MSG a 1 x\r\n", "HMSG a 1 9 4\r\n0123\r\n", "MSG a x 1\r\nb\r\n"]
        {
            assert!(Parser::default().feed(text.as_bytes(), |_| {}).is_err(), "{text}");
        }
    }
}
