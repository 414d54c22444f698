//! The protocol of NATS on a blocking socket, for load: operations are written in batches into one buffer that is reused,
//! and messages are counted where they lie in the buffer that they were read into.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::login;
use crate::connection::Target;
use crate::error::CliError;

/// How often a blocked read or write looks whether it shall end.
const GLANCE: Duration = Duration::from_millis(100);
/// Bytes of the buffer for input at the beginning; a longer message makes it longer.
const INPUT: usize = 256 << 10;
/// The longest message that is accepted: no server sends more than this.
const LONGEST: usize = 128 << 20;
/// The least time between two looks for a PING of the server while nothing is awaited.
const LOOK: Duration = Duration::from_secs(1);

/// A connection.
pub(super) struct Wire {
    socket: TcpStream,
    /// Input that is not read yet lies at `unread`.
    input: Vec<u8>,
    unread: Range<usize>,
    /// What is to be sent.
    pub(super) output: Vec<u8>,
    looked: Instant,
    /// How long one answer of the server may take.
    patience: Duration,
}

/// How long a read or write may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait<'a> {
    /// Set when the work shall end.
    pub(super) stop: &'a AtomicBool,
    /// Time without any input after which the wait fails; `None` for ever.
    pub(super) patience: Option<Duration>,
}

/// Where in the input the parts of a message lie.
#[derive(Clone, Debug)]
pub(super) struct Place {
    line: Range<usize>,
    headers: Range<usize>,
    body: Range<usize>,
}

/// What comes from the server.
#[derive(Debug)]
pub(super) enum Frame {
    Message(Place),
    Pong,
}

/// Why waiting has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The work was stopped.
    Stopped,
    /// Nothing came for as long as patience lasts.
    Silence,
    Failed(CliError),
}

impl From<CliError> for Ended {
    fn from(error: CliError) -> Self {
        Self::Failed(error)
    }
}

fn lost(error: &std::io::Error) -> Ended {
    Ended::Failed(CliError::Client(format!("the connection was lost: {error}")))
}

impl Wire {
    /// Connects to the first server that answers, and logs in.
    ///
    /// # Errors
    /// There is no server, or it does not let us in.
    pub(super) fn open(target: &Target, patience: Duration) -> Result<Self, CliError> {
        let mut last = None;
        for server in &target.servers {
            let address = format!("{}:{}", server.host(), server.port());
            let failed = |reason: String| CliError::Connect { server: address.clone(), reason };
            let found = match (server.host(), server.port()).to_socket_addrs() {
                Ok(found) => found,
                Err(error) => {
                    last = Some(failed(error.to_string()));
                    continue;
                }
            };
            for resolved in found {
                match Self::connect(target, resolved, patience) {
                    Ok(wire) => return Ok(wire),
                    Err(error) => last = Some(failed(error)),
                }
            }
        }
        Err(last.unwrap_or(CliError::ConnectionLost))
    }

    fn connect(target: &Target, address: SocketAddr, patience: Duration) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let socket = TcpStream::connect_timeout(&address, patience).map_err(text)?;
        socket.set_nodelay(true).map_err(text)?;
        socket.set_read_timeout(Some(GLANCE)).map_err(text)?;
        socket.set_write_timeout(Some(GLANCE)).map_err(text)?;
        let mut wire = Self {
            socket,
            input: vec![0; INPUT],
            unread: 0..0,
            output: Vec::new(),
            looked: Instant::now(),
            patience,
        };
        let ended = |ended: Ended| match ended {
            Ended::Failed(CliError::Server(text)) => text,
            Ended::Failed(error) => error.to_string(),
            Ended::Stopped | Ended::Silence => format!("no answer within {} s", patience.as_secs_f64()),
        };
        let never = AtomicBool::new(false);
        let wait = Wait { stop: &never, patience: Some(patience) };
        let info = wire.info(wait).map_err(ended)?;
        wire.output = login::connect_line(&target.login, &info).map_err(|error| error.to_string())?;
        wire.settle(wait).map_err(ended)?;
        Ok(wire)
    }

    /// The first line of the server.
    fn info(&mut self, wait: Wait<'_>) -> Result<serde_json::Value, Ended> {
        loop {
            let text = &self.input[self.unread.clone()];
            if let Some(end) = memchr::memchr(b'\n', text) {
                let not_nats = || Ended::Failed(CliError::Client("it is no NATS server".to_owned()));
                let json = text[..end].strip_prefix(b"INFO ").ok_or_else(not_nats)?;
                let info: serde_json::Value = serde_json::from_slice(json).map_err(|_| not_nats())?;
                self.unread.start += end + 1;
                if info["tls_required"] == true {
                    return Err(CliError::Client(super::NO_TLS.to_owned()).into());
                }
                return Ok(info);
            }
            self.fill(wait)?;
        }
    }

    /// Waits until the server has taken everything that was sent.
    ///
    /// # Errors
    /// The server refuses something, or does not answer.
    pub(super) fn settle(&mut self, wait: Wait<'_>) -> Result<(), Ended> {
        self.output.extend_from_slice(b"PING\r\n");
        self.send(wait)?;
        let wait = Wait { patience: Some(self.patience), ..wait };
        while !matches!(self.next(wait)?, Frame::Pong) {}
        Ok(())
    }

    /// Writes what is in `output`.
    ///
    /// # Errors
    /// The connection is lost, or the work was stopped.
    pub(super) fn send(&mut self, wait: Wait<'_>) -> Result<(), Ended> {
        let output = std::mem::take(&mut self.output);
        let sent = self.write(&output, wait);
        self.output = output;
        self.output.clear();
        sent
    }

    /// Writes bytes that hold whole operations.
    ///
    /// # Errors
    /// As [`Wire::send`].
    pub(super) fn write(&mut self, bytes: &[u8], wait: Wait<'_>) -> Result<(), Ended> {
        let mut left = bytes;
        while !left.is_empty() {
            match self.socket.write(left) {
                Ok(0) => return Err(CliError::ConnectionLost.into()),
                Ok(written) => left = &left[written..],
                Err(error) if is_pause(error.kind()) => {
                    if wait.stop.load(Ordering::Relaxed) {
                        return Err(Ended::Stopped);
                    }
                }
                // What the server says before it closes tells more than the closed pipe.
                Err(error) => return Err(self.last_words(wait).unwrap_or_else(|| lost(&error))),
            }
        }
        Ok(())
    }

    /// The complaint with which the server has closed the connection.
    fn last_words(&mut self, wait: Wait<'_>) -> Option<Ended> {
        loop {
            match self.next(Wait { patience: Some(GLANCE), ..wait }) {
                Ok(_) => {}
                Err(Ended::Failed(error @ CliError::Server(_))) => return Some(Ended::Failed(error)),
                Err(_) => return None,
            }
        }
    }

    /// The next frame. PINGs are answered, complaints of the server are errors.
    ///
    /// # Errors
    /// Nothing comes, the server complains, or the connection is lost.
    pub(super) fn next(&mut self, wait: Wait<'_>) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = self.scan(wait)? {
                return Ok(frame);
            }
            self.fill(wait)?;
        }
    }

    /// The next frame that was read already.
    ///
    /// # Errors
    /// As [`Wire::next`].
    pub(super) fn scan(&mut self, wait: Wait<'_>) -> Result<Option<Frame>, Ended> {
        loop {
            let Range { start, end } = self.unread;
            let Some(length) = memchr::memchr(b'\n', &self.input[start..end]) else { return Ok(None) };
            let line = start..start + length;
            let after = line.end + 1;
            match self.input[line.start] {
                b'M' | b'H' => {
                    let (headers, total) = lengths(&self.input[line.clone()]).ok_or_else(no_nats)?;
                    if total > LONGEST || headers > total {
                        return Err(no_nats());
                    }
                    if after + total + 2 > end {
                        return Ok(None);
                    }
                    self.unread.start = after + total + 2;
                    let headers = after..after + headers;
                    let body = headers.end..after + total;
                    return Ok(Some(Frame::Message(Place { line, headers, body })));
                }
                b'-' => {
                    let text = String::from_utf8_lossy(&self.input[line.clone()]).into_owned();
                    let text = text.trim().trim_start_matches("-ERR").trim().trim_matches('\'').to_owned();
                    return Err(CliError::Server(crate::output::shown(&text)).into());
                }
                b'P' if self.input[line.clone()].starts_with(b"PO") => {
                    self.unread.start = after;
                    return Ok(Some(Frame::Pong));
                }
                b'P' => {
                    self.unread.start = after;
                    self.write(b"PONG\r\n", wait)?;
                }
                b'I' | b'+' => self.unread.start = after,
                _ => return Err(no_nats()),
            }
        }
    }

    /// Reads more.
    fn fill(&mut self, wait: Wait<'_>) -> Result<(), Ended> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.input.len() {
            let length = self.unread.len();
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..length;
            if length * 2 > self.input.len() {
                // A line without an end takes no memory without an end.
                if self.input.len() > 2 * LONGEST {
                    return Err(no_nats());
                }
                self.input.resize(self.input.len() * 2, 0);
            }
        }
        let mut since: Option<Instant> = None;
        loop {
            match self.socket.read(&mut self.input[self.unread.end..]) {
                Ok(0) => return Err(CliError::ConnectionLost.into()),
                Ok(read) => {
                    self.unread.end += read;
                    return Ok(());
                }
                Err(error) if is_pause(error.kind()) => {
                    if wait.stop.load(Ordering::Relaxed) {
                        return Err(Ended::Stopped);
                    }
                    let since = *since.get_or_insert_with(Instant::now);
                    if wait.patience.is_some_and(|patience| since.elapsed() >= patience) {
                        return Err(Ended::Silence);
                    }
                }
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// Looks for input without waiting for it, now and then: who only publishes still answers PINGs and hears of refusals.
    ///
    /// # Errors
    /// The server complains, or the connection is lost.
    pub(super) fn look(&mut self, wait: Wait<'_>) -> Result<(), Ended> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        self.socket.set_nonblocking(true).map_err(|error| lost(&error))?;
        let found = match self.fill(Wait { patience: Some(Duration::ZERO), ..wait }) {
            Err(Ended::Silence) => Ok(()),
            other => other,
        };
        self.socket.set_nonblocking(false).map_err(|error| lost(&error))?;
        found?;
        while self.scan(wait)?.is_some() {}
        Ok(())
    }

    /// The body of a message, until more is read.
    pub(super) fn body(&self, place: &Place) -> &[u8] {
        &self.input[place.body.clone()]
    }

    /// The status of a message of the server itself: `503`, `408` and so on.
    pub(super) fn status(&self, place: &Place) -> Option<&str> {
        let line = self.input[place.headers.clone()].strip_prefix(b"NATS/1.0 ")?;
        let end = memchr::memchr(b'\r', line)?;
        std::str::from_utf8(&line[..end]).ok()
    }

    /// The number in a header of a message; `name` ends in a colon and a space.
    pub(super) fn header(&self, place: &Place, name: &[u8]) -> Option<u64> {
        let headers = &self.input[place.headers.clone()];
        let value = &headers[memchr::memmem::find(headers, name)? + name.len()..];
        std::str::from_utf8(&value[..memchr::memchr(b'\r', value)?]).ok()?.parse().ok()
    }

    /// Appends an answer to a message to `output`; nothing if nobody waits for one.
    pub(super) fn respond(&mut self, place: &Place, reply: &[u8], body: &[u8]) {
        let mut output = std::mem::take(&mut self.output);
        let (_, subject) = self.address(place);
        if !subject.is_empty() {
            publish(&mut output, subject, reply, b"", body);
        }
        self.output = output;
    }

    /// The subscription and the reply subject of a message.
    pub(super) fn address(&self, place: &Place) -> (&[u8], &[u8]) {
        let line = &self.input[place.line.clone()];
        let lengths = if line[0] == b'H' { 2 } else { 1 };
        let count = line.split(|byte| *byte == b' ').count();
        let mut tokens = line.split(|byte| *byte == b' ').skip(2);
        let sid = tokens.next().unwrap_or_default();
        let reply = if count == 4 + lengths { tokens.next().unwrap_or_default() } else { &[] };
        (sid, reply)
    }
}

fn no_nats() -> Ended {
    Ended::Failed(CliError::Client("the server sent something that is no message".to_owned()))
}

/// Whether a read or write has only waited.
fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The length of the headers and that of headers and body, as a MSG or HMSG line has them at its end.
fn lengths(line: &[u8]) -> Option<(usize, usize)> {
    let line = line.strip_suffix(b"\r")?;
    let (before, total) = last_number(line)?;
    if line[0] != b'H' {
        return Some((0, total));
    }
    Some((last_number(before)?.1, total))
}

/// What stands before the last number of a line, and the number.
fn last_number(line: &[u8]) -> Option<(&[u8], usize)> {
    let (mut at, mut number, mut unit) = (line.len(), 0usize, 1usize);
    while at > 0 && line[at - 1].is_ascii_digit() {
        at -= 1;
        number = number.checked_add(unit.checked_mul(usize::from(line[at] - b'0'))?)?;
        unit = unit.saturating_mul(10);
    }
    (at < line.len() && at > 0 && line[at - 1] == b' ').then(|| (&line[..at - 1], number))
}

/// Appends an operation that publishes; `headers` is a whole block, or empty.
pub(super) fn publish(output: &mut Vec<u8>, subject: &[u8], reply: &[u8], headers: &[u8], body: &[u8]) {
    output.extend_from_slice(if headers.is_empty() { b"PUB " } else { b"HPUB " });
    output.extend_from_slice(subject);
    output.push(b' ');
    if !reply.is_empty() {
        output.extend_from_slice(reply);
        output.push(b' ');
    }
    if !headers.is_empty() {
        number(output, headers.len() as u64);
        output.push(b' ');
    }
    number(output, (headers.len() + body.len()) as u64);
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(headers);
    output.extend_from_slice(body);
    output.extend_from_slice(b"\r\n");
}

/// Appends a number.
pub(super) fn number(output: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut left) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_has_the_lengths_of_its_parts() {
        let mut output = Vec::new();
        publish(&mut output, b"a.b", b"", b"", b"xyz");
        publish(&mut output, b"a", b"r", b"NATS/1.0\r\n\r\n", b"");
        assert_eq!(output, b"PUB a.b 3\r\nxyz\r\nHPUB a r 12 12\r\nNATS/1.0\r\n\r\n\r\n");
        let mut digits = Vec::new();
        for value in [0, 7, 10, u64::MAX] {
            number(&mut digits, value);
            digits.push(b' ');
        }
        assert_eq!(digits, b"0 7 10 18446744073709551615 ");
    }

    #[test]
    fn lines_that_are_no_messages_have_no_lengths() {
        assert_eq!(lengths(b"MSG a 1 5\r"), Some((0, 5)));
        assert_eq!(lengths(b"HMSG a 1 r 12 15\r"), Some((12, 15)));
        for line in
            [&b"MSG\r"[..], b"M", b"MSG a 1 5", b"MSG a 1 x\r", b"HMSG 5\r", b"MSG 99999999999999999999999\r"]
        {
            assert_eq!(lengths(line), None, "{line:?}");
        }
    }
}
