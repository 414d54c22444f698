//! The NATS protocol on a blocking connection, for load. Operations are written in batches into one reused buffer, and messages
//! are counted in the input buffer without a copy.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::ServerAddr;

use super::channel::Channel;
use super::login;
use crate::connection::Target;
use crate::encryption::Encryption;
use crate::error::CliError;

/// Interval at which a blocked read or write checks whether the run was stopped.
const GLANCE: Duration = Duration::from_millis(100);
/// Initial size of the input buffer in bytes; a longer message makes it grow.
const INPUT: usize = 256 << 10;
/// The longest message that is accepted, in bytes; no server sends a longer one.
const LONGEST: usize = 128 << 20;
/// Minimum time between two non-blocking reads ([`Wire::look`]).
const LOOK: Duration = Duration::from_secs(1);

/// A connection that speaks the protocol of NATS.
pub(super) struct Wire {
    channel: Channel,
    /// Received bytes; those that are not parsed yet lie at `unread`.
    input: Vec<u8>,
    unread: Range<usize>,
    /// Operations that are not sent yet.
    pub(super) output: Vec<u8>,
    looked: Instant,
    /// Maximum time for one answer of the server.
    patience: Duration,
}

/// How long a read or write may wait, and what stops it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait<'a> {
    /// Set when the run is stopped.
    pub(super) stop: &'a AtomicBool,
    /// Time without any input after which the wait fails; `None` waits for ever.
    pub(super) patience: Option<Duration>,
}

impl Wait<'_> {
    /// Returns an error if the wait that began at `since` must end.
    fn pause(self, since: Instant) -> Result<(), Ended> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Ended::Stopped);
        }
        match self.patience {
            Some(patience) if since.elapsed() >= patience => Err(Ended::Silence),
            _ => Ok(()),
        }
    }
}

/// Positions of a message's parts in the input buffer.
#[derive(Clone, Debug)]
pub(super) struct Place {
    line: Range<usize>,
    headers: Range<usize>,
    body: Range<usize>,
}

/// A frame that the server sent.
#[derive(Debug)]
pub(super) enum Frame {
    Message(Place),
    Pong,
}

/// The reason why a wait or an operation ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The run was stopped.
    Stopped,
    /// The server sent nothing for the time in [`Wait::patience`].
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
    /// No server can be reached, or the login fails.
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
                match Self::connect(target, server, resolved, patience) {
                    Ok(wire) => return Ok(wire),
                    Err(error) => last = Some(failed(error)),
                }
            }
        }
        Err(last.unwrap_or(CliError::ConnectionLost))
    }

    fn connect(
        target: &Target,
        server: &ServerAddr,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let socket = TcpStream::connect_timeout(&address, patience).map_err(text)?;
        socket.set_nodelay(true).map_err(text)?;
        socket.set_read_timeout(Some(GLANCE)).map_err(text)?;
        socket.set_write_timeout(Some(GLANCE)).map_err(text)?;
        let mut wire = Self {
            channel: Channel::Plain(socket),
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
        let encryption = &target.encryption;
        if encryption.is_first {
            wire.encrypt(encryption, server.host(), wait).map_err(ended)?;
        }
        let info = wire.info(wait).map_err(ended)?;
        let is_asked = encryption.is_required || server.tls_required() || info["tls_required"] == true;
        if is_asked && !encryption.is_first {
            if info["tls_required"] != true && info["tls_available"] != true {
                return Err("the server speaks no TLS".to_owned());
            }
            wire.encrypt(encryption, server.host(), wait).map_err(ended)?;
        }
        wire.output = login::connect_line(&target.login, &info).map_err(|error| error.to_string())?;
        wire.settle(wait).map_err(ended)?;
        Ok(wire)
    }

    /// Starts TLS on the connection.
    fn encrypt(&mut self, encryption: &Encryption, host: &str, wait: Wait<'_>) -> Result<(), Ended> {
        // Plaintext that the server sent before the handshake must not pass for encrypted input.
        if !self.unread.is_empty() {
            return Err(no_nats());
        }
        let failed = |reason: String| Ended::Failed(CliError::Client(format!("TLS: {reason}")));
        let socket = self.channel.socket().try_clone().map_err(|error| lost(&error))?;
        self.channel = Channel::encrypted(socket, encryption.config()?, host).map_err(failed)?;
        let since = Instant::now();
        loop {
            match self.channel.shake_hands() {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if is_pause(error.kind()) => wait.pause(since)?,
                Err(error) => return Err(failed(error.to_string())),
            }
        }
    }

    /// Reads the server's INFO line and returns its JSON.
    fn info(&mut self, wait: Wait<'_>) -> Result<serde_json::Value, Ended> {
        loop {
            let text = &self.input[self.unread.clone()];
            if let Some(end) = memchr::memchr(b'\n', text) {
                let not_nats = || Ended::Failed(CliError::Client("it is no NATS server".to_owned()));
                let json = text[..end].strip_prefix(b"INFO ").ok_or_else(not_nats)?;
                let info: serde_json::Value = serde_json::from_slice(json).map_err(|_| not_nats())?;
                self.unread.start += end + 1;
                return Ok(info);
            }
            self.fill(wait)?;
        }
    }

    /// Waits until the server has processed everything that was sent.
    ///
    /// # Errors
    /// The server sends an error, or does not answer in time.
    pub(super) fn settle(&mut self, wait: Wait<'_>) -> Result<(), Ended> {
        self.output.extend_from_slice(b"PING\r\n");
        self.send(wait)?;
        let wait = Wait { patience: Some(self.patience), ..wait };
        while !matches!(self.next(wait)?, Frame::Pong) {}
        Ok(())
    }

    /// Writes the operations in `output`, and empties it.
    ///
    /// # Errors
    /// The connection is lost, or the run was stopped.
    pub(super) fn send(&mut self, wait: Wait<'_>) -> Result<(), Ended> {
        let output = std::mem::take(&mut self.output);
        let sent = self.write(&output, wait);
        self.output = output;
        self.output.clear();
        sent
    }

    /// Writes bytes that form whole operations.
    ///
    /// # Errors
    /// As [`Wire::send`].
    pub(super) fn write(&mut self, bytes: &[u8], wait: Wait<'_>) -> Result<(), Ended> {
        let mut left = bytes;
        loop {
            // When everything is written, flush: the TLS session may hold bytes that the socket did not take.
            let done =
                if left.is_empty() { self.channel.flush().map(|()| 0) } else { self.channel.write(left) };
            match done {
                Ok(0) if left.is_empty() => return Ok(()),
                Ok(0) => return Err(CliError::ConnectionLost.into()),
                Ok(written) => left = &left[written..],
                Err(error) if is_pause(error.kind()) => {
                    if wait.stop.load(Ordering::Relaxed) {
                        return Err(Ended::Stopped);
                    }
                }
                // The server's last `-ERR` explains more than the error of the closed socket.
                Err(error) => return Err(self.last_words(wait).unwrap_or_else(|| lost(&error))),
            }
        }
    }

    /// Returns the `-ERR` with which the server closed the connection, if there is one.
    fn last_words(&mut self, wait: Wait<'_>) -> Option<Ended> {
        loop {
            match self.next(Wait { patience: Some(GLANCE), ..wait }) {
                Ok(_) => {}
                Err(Ended::Failed(error @ CliError::Server(_))) => return Some(Ended::Failed(error)),
                Err(_) => return None,
            }
        }
    }

    /// Waits for the next frame. PINGs are answered; an `-ERR` of the server is an error.
    ///
    /// # Errors
    /// Nothing arrives in time, the server sends an error, or the connection is lost.
    pub(super) fn next(&mut self, wait: Wait<'_>) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = self.scan(wait)? {
                return Ok(frame);
            }
            self.fill(wait)?;
        }
    }

    /// Returns the next frame that is already in the buffer.
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

    /// Reads once into the input buffer; moves or enlarges it if it is full.
    fn fill(&mut self, wait: Wait<'_>) -> Result<(), Ended> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.end == self.input.len() {
            let length = self.unread.len();
            self.input.copy_within(self.unread.clone(), 0);
            self.unread = 0..length;
            if length * 2 > self.input.len() {
                // A line without an end must not take unlimited memory.
                if self.input.len() > 2 * LONGEST {
                    return Err(no_nats());
                }
                self.input.resize(self.input.len() * 2, 0);
            }
        }
        let mut since: Option<Instant> = None;
        loop {
            match self.channel.read(&mut self.input[self.unread.end..]) {
                Ok(0) => return Err(CliError::ConnectionLost.into()),
                Ok(read) => {
                    self.unread.end += read;
                    return Ok(());
                }
                Err(error) if is_pause(error.kind()) => {
                    wait.pause(*since.get_or_insert_with(Instant::now))?;
                }
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// Reads input without blocking, at most once in [`LOOK`]. A client that only publishes answers PINGs and notices errors this
    /// way.
    ///
    /// # Errors
    /// The server sends an error, or the connection is lost.
    pub(super) fn look(&mut self, wait: Wait<'_>) -> Result<(), Ended> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        self.channel.socket().set_nonblocking(true).map_err(|error| lost(&error))?;
        let found = match self.fill(Wait { patience: Some(Duration::ZERO), ..wait }) {
            Err(Ended::Silence) => Ok(()),
            other => other,
        };
        self.channel.socket().set_nonblocking(false).map_err(|error| lost(&error))?;
        found?;
        while self.scan(wait)?.is_some() {}
        Ok(())
    }

    /// Returns the body of a message; it is valid until the next read.
    pub(super) fn body(&self, place: &Place) -> &[u8] {
        &self.input[place.body.clone()]
    }

    /// Returns the status of a message without a body that the server itself sent, such as `503` or `408`.
    pub(super) fn status(&self, place: &Place) -> Option<&str> {
        let line = self.input[place.headers.clone()].strip_prefix(b"NATS/1.0 ")?;
        let end = memchr::memchr(b'\r', line)?;
        std::str::from_utf8(&line[..end]).ok()
    }

    /// Returns the number in a header of a message; `name` ends in a colon and a space.
    pub(super) fn header(&self, place: &Place, name: &[u8]) -> Option<u64> {
        let headers = &self.input[place.headers.clone()];
        let value = &headers[memchr::memmem::find(headers, name)? + name.len()..];
        std::str::from_utf8(&value[..memchr::memchr(b'\r', value)?]).ok()?.parse().ok()
    }

    /// Appends a reply to a message to `output`, unless the message has no reply subject.
    pub(super) fn respond(&mut self, place: &Place, reply: &[u8], body: &[u8]) {
        let mut output = std::mem::take(&mut self.output);
        let (_, subject) = self.address(place);
        if !subject.is_empty() {
            publish(&mut output, subject, reply, b"", body);
        }
        self.output = output;
    }

    /// Returns the subscription id and the reply subject of a message.
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

/// Whether an error of a read or write only means that its time limit has passed.
fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Reads the sizes at the end of a MSG or HMSG line: of the headers, and of headers and body together.
fn lengths(line: &[u8]) -> Option<(usize, usize)> {
    let line = line.strip_suffix(b"\r")?;
    let (before, total) = last_number(line)?;
    if line[0] != b'H' {
        return Some((0, total));
    }
    Some((last_number(before)?.1, total))
}

/// Splits a line before its last number; returns the text before it, and the number.
fn last_number(line: &[u8]) -> Option<(&[u8], usize)> {
    let (mut at, mut number, mut unit) = (line.len(), 0usize, 1usize);
    while at > 0 && line[at - 1].is_ascii_digit() {
        at -= 1;
        number = number.checked_add(unit.checked_mul(usize::from(line[at] - b'0'))?)?;
        unit = unit.saturating_mul(10);
    }
    (at < line.len() && at > 0 && line[at - 1] == b' ').then(|| (&line[..at - 1], number))
}

/// Appends a PUB or HPUB operation; `headers` is a whole header block, or empty.
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

/// Appends a number in decimal digits.
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
