//! The NATS protocol at the lowest cost for a load generator: blocking sockets and pre-encoded batches. Scenarios that need
//! message contents use a full parser; those that only count use a frame hopper.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) const HELLO: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"natsload\",\
\"lang\":\"rust\",\"version\":\"0.1\",\"protocol\":1,\"echo\":true,\"headers\":true,\"no_responders\":true}\r\nPING\r\n";

pub(crate) fn dial(addr: SocketAddr) -> Result<TcpStream> {
    let s = TcpStream::connect_timeout(&addr, Duration::from_secs(30)).context("connect")?;
    s.set_nodelay(true)?;
    s.set_read_timeout(Some(Duration::from_secs(30)))?;
    s.set_write_timeout(Some(Duration::from_secs(30)))?;
    Ok(s)
}

/// Connects, and completes the handshake.
pub(crate) fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let mut s = dial(addr)?;
    s.write_all(HELLO)?;
    wait_pong(&mut s)?;
    Ok(s)
}

/// Reads until a PONG; only for a connection that receives no messages meanwhile.
pub(crate) fn wait_pong(s: &mut impl Read) -> Result<()> {
    let mut got = Vec::new();
    let mut buf = [0u8; 4096];
    loop {
        let n = s.read(&mut buf).context("waiting for PONG")?;
        if n == 0 {
            bail!("server closed the connection: {}", String::from_utf8_lossy(&got));
        }
        got.extend_from_slice(&buf[..n]);
        if got.split(|c| *c == b'\n').any(|line| line.starts_with(b"-ERR")) {
            bail!("server said {}", String::from_utf8_lossy(&got).trim());
        }
        // A server may send a second INFO after the first PONG.
        if got.ends_with(b"\n") && got.split(|c| *c == b'\n').any(|line| line == b"PONG\r") {
            return Ok(());
        }
    }
}

/// Sends SUBs (subject, queue, sid), and waits until the server has processed them.
pub(crate) fn subscribe(s: &mut (impl Read + Write), subs: &[(String, &str, u64)]) -> Result<()> {
    let mut out = Vec::new();
    for (subj, queue, sid) in subs {
        let sep = if queue.is_empty() { "" } else { " " };
        write!(out, "SUB {subj}{sep}{queue} {sid}\r\n")?;
    }
    out.extend_from_slice(b"PING\r\n");
    s.write_all(&out)?;
    wait_pong(s)
}

/// Whether a filter with `*` matches a subject.
pub(crate) fn matches(filter: &str, subject: &[u8]) -> bool {
    let (mut wanted, mut tokens) = (filter.as_bytes().split(|c| *c == b'.'), subject.split(|c| *c == b'.'));
    loop {
        match (wanted.next(), tokens.next()) {
            (None, None) => return true,
            (Some(w), Some(t)) if w == b"*" || w == t => {}
            _ => return false,
        }
    }
}

/// Appends one encoded message. `hdr` is a whole header block, or empty for PUB.
pub(crate) fn encode(out: &mut Vec<u8>, subj: &str, reply: &str, hdr: &[u8], body: &[u8]) {
    let sep = if reply.is_empty() { "" } else { " " };
    let _ = if hdr.is_empty() {
        write!(out, "PUB {subj}{sep}{reply} {}\r\n", body.len())
    } else {
        write!(out, "HPUB {subj}{sep}{reply} {} {}\r\n", hdr.len(), hdr.len() + body.len())
    };
    out.extend_from_slice(hdr);
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// A pre-encoded publishing load, cut at message boundaries into chunks: (start, end, messages).
pub(crate) struct Load {
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunks: Vec<(usize, usize, u64)>,
}

impl Load {
    pub(crate) fn new(subjects: &[String], hdr: &[u8], size: usize, chunk: usize) -> Load {
        let body: Vec<u8> = (0..size).map(|i| b'a' + (i % 26) as u8).collect();
        let (mut bytes, mut chunks) = (Vec::new(), Vec::new());
        let (mut start, mut msgs, mut i) = (0, 0, 0);
        loop {
            encode(&mut bytes, &subjects[i % subjects.len()], "", hdr, &body);
            msgs += 1;
            i += 1;
            let done = i >= subjects.len();
            if bytes.len() - start >= chunk || (done && subjects.len() > 1) {
                chunks.push((start, bytes.len(), msgs));
                (start, msgs) = (bytes.len(), 0);
                if done {
                    return Load { bytes, chunks };
                }
            }
        }
    }
}

/// Counts messages in a stream whose frames all have the same length. It parses the first header and every 64th in full, and
/// checks only the first and last byte of the others.
#[derive(Default)]
pub(crate) struct Hopper {
    frame: usize,
    skip: usize,
    carry: Vec<u8>,
    pub(crate) msgs: u64,
    pub(crate) pongs: u64,
}

impl Hopper {
    pub(crate) fn feed(&mut self, b: &[u8]) -> Result<()> {
        if self.carry.is_empty() {
            return self.step(b);
        }
        let mut all = std::mem::take(&mut self.carry);
        all.extend_from_slice(b);
        self.step(&all)
    }

    /// Returns the number of bytes that are still missing of the current frame.
    pub(crate) fn pending(&self) -> usize {
        self.skip
    }

    /// Accounts for `n` bytes of the current frame that were discarded unread.
    pub(crate) fn skipped(&mut self, n: usize) {
        self.skip -= n;
    }

    fn step(&mut self, b: &[u8]) -> Result<()> {
        let mut pos = 0;
        loop {
            if self.skip > 0 {
                let n = self.skip.min(b.len() - pos);
                pos += n;
                self.skip -= n;
                if self.skip > 0 {
                    return Ok(());
                }
                if b[pos - 1] != b'\n' {
                    bail!("lost framing: message does not end in LF");
                }
                self.msgs += 1;
            }
            if self.frame > 0 {
                while pos + self.frame <= b.len() && matches!(b[pos], b'M' | b'H') && self.msgs & 63 != 0 {
                    if b[pos + self.frame - 1] != b'\n' {
                        bail!("lost framing: message does not end in LF");
                    }
                    pos += self.frame;
                    self.msgs += 1;
                }
            }
            if pos == b.len() {
                return Ok(());
            }
            let Some(nl) = memchr::memchr(b'\n', &b[pos..]) else {
                self.carry.extend_from_slice(&b[pos..]);
                return Ok(());
            };
            let line = &b[pos..pos + nl + 1];
            match line[0] {
                b'M' | b'H' => {
                    let frame = line.len() + last_number(line)? + 2;
                    if self.frame != 0 && frame != self.frame {
                        bail!("expected frames of {} bytes, got {frame}", self.frame);
                    }
                    self.frame = frame;
                    self.skip = frame;
                    continue;
                }
                b'-' => bail!("server said {}", String::from_utf8_lossy(line).trim()),
                b'P' if line[1] == b'O' => self.pongs += 1,
                b'P' | b'+' | b'I' => {}
                _ => bail!("lost framing at {:?}", String::from_utf8_lossy(line)),
            }
            pos += line.len();
        }
    }
}

fn last_number(line: &[u8]) -> Result<usize> {
    let line = line.trim_ascii_end();
    let at = memchr::memrchr(b' ', line).context("no size in message header")? + 1;
    number(&line[at..])
}

fn number(b: &[u8]) -> Result<usize> {
    std::str::from_utf8(b).ok().and_then(|s| s.parse().ok()).context("bad number in message header")
}

/// Positions of a message's parts in the reader's buffer.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    subject: (usize, usize),
    reply: (usize, usize),
    hdr: (usize, usize),
    body: (usize, usize),
}

pub(crate) struct Msg<'a> {
    pub(crate) subject: &'a [u8],
    pub(crate) reply: &'a [u8],
    pub(crate) hdr: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Msg<'_> {
    /// Returns the status code of a header-only control message, such as 100, 404 or 409.
    pub(crate) fn status(&self) -> Option<u32> {
        let rest = self.hdr.strip_prefix(b"NATS/1.0 ")?;
        std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
    }

    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = self
            .hdr
            .split(|c| *c == b'\n')
            .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
        std::str::from_utf8(value.trim_ascii()).ok()
    }
}

/// A buffered full parser.
pub(crate) struct Reader {
    buf: Vec<u8>,
    pos: usize,
    end: usize,
}

impl Reader {
    pub(crate) fn new() -> Reader {
        Reader { buf: vec![0; 1 << 18], pos: 0, end: 0 }
    }

    pub(crate) fn fill(&mut self, s: &mut impl Read) -> Result<()> {
        if self.pos > 0 {
            self.buf.copy_within(self.pos..self.end, 0);
            self.end -= self.pos;
            self.pos = 0;
        }
        if self.end == self.buf.len() {
            self.buf.resize(self.end * 2, 0);
        }
        match s.read(&mut self.buf[self.end..]).context("read")? {
            0 => bail!("server closed the connection"),
            n => self.end += n,
        }
        Ok(())
    }

    /// Returns the next complete message in the buffer; control lines are skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Msg<'_>>> {
        Ok(self.scan()?.map(|at| self.view(at)))
    }

    pub(crate) fn view(&self, at: Place) -> Msg<'_> {
        let part = |(from, to): (usize, usize)| &self.buf[from..to];
        Msg { subject: part(at.subject), reply: part(at.reply), hdr: part(at.hdr), body: part(at.body) }
    }

    /// As next(), without borrowing the buffer; the result is valid until the next fill().
    pub(crate) fn scan(&mut self) -> Result<Option<Place>> {
        loop {
            let b = &self.buf[self.pos..self.end];
            let Some(nl) = memchr::memchr(b'\n', b) else { return Ok(None) };
            let line = b[..nl].trim_ascii_end();
            match line.first() {
                Some(b'M') | Some(b'H') => {
                    let mut f: [&[u8]; 6] = [&[]; 6];
                    let mut n = 0;
                    for t in line.split(|c| *c == b' ') {
                        *f.get_mut(n).context("bad message header")? = t;
                        n += 1;
                    }
                    let nums = if line[0] == b'H' { 2 } else { 1 };
                    if n < nums + 3 {
                        bail!("bad message header {:?}", String::from_utf8_lossy(line));
                    }
                    let total = number(f[n - 1])?;
                    let hdr = if nums == 2 { number(f[n - 2])? } else { 0 };
                    let reply = if n - nums == 4 { f[3] } else { &line[..0] };
                    let place = |part: &[u8]| {
                        let at = part.as_ptr() as usize - self.buf.as_ptr() as usize;
                        (at, at + part.len())
                    };
                    let (subject, reply) = (place(f[1]), place(reply));
                    let (from, end) = (self.pos + nl + 1, self.pos + nl + 1 + total);
                    if end + 2 > self.end {
                        return Ok(None);
                    }
                    if &self.buf[end..end + 2] != b"\r\n" {
                        bail!("lost framing: message does not end in CRLF");
                    }
                    self.pos = end + 2;
                    return Ok(Some(Place {
                        subject,
                        reply,
                        hdr: (from, from + hdr),
                        body: (from + hdr, end),
                    }));
                }
                Some(b'-') => bail!("server said {}", String::from_utf8_lossy(line)),
                _ => self.pos += nl + 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hopper, Load, Reader, encode};

    #[test]
    fn a_hopper_counts_frames_however_they_are_cut() {
        let one = b"MSG bench.0 1 5\r\nhello\r\n";
        let mut all = one.repeat(300);
        all.extend_from_slice(b"PONG\r\n");
        for size in [1, 2, 7, 16, 23, 64, all.len()] {
            let mut hopper = Hopper::default();
            for piece in all.chunks(size) {
                hopper.feed(piece).unwrap();
            }
            assert_eq!((hopper.msgs, hopper.pongs), (300, 1), "pieces of {size} bytes");
        }
    }

    #[test]
    fn a_hopper_stops_at_errors_and_at_frames_of_another_length() {
        assert!(Hopper::default().feed(b"-ERR 'Slow Consumer'\r\n").is_err());
        assert!(Hopper::default().feed(b"MSG a 1 1\r\nx\r\nMSG a 1 2\r\nxy\r\n").is_err());
    }

    #[test]
    fn a_load_is_cut_between_messages() {
        let load = Load::new(&["a".to_string(), "b".to_string()], b"", 3, 1);
        let pieces: Vec<_> = load.chunks.iter().map(|&(from, to, n)| (&load.bytes[from..to], n)).collect();
        assert_eq!(pieces, [(&b"PUB a 3\r\nabc\r\n"[..], 1), (&b"PUB b 3\r\nabc\r\n"[..], 1)]);
    }

    #[test]
    fn a_reader_takes_messages_apart() {
        let mut sent = Vec::new();
        encode(&mut sent, "a", "r", b"NATS/1.0 404\r\n\r\n", b"xy");
        assert_eq!(sent, b"HPUB a r 16 18\r\nNATS/1.0 404\r\n\r\nxy\r\n");
        let mut reader = Reader::new();
        let mut input: &[u8] = b"PING\r\nHMSG a 1 r 16 18\r\nNATS/1.0 404\r\n\r\nxy\r\nMSG a 1 2\r\nz";
        reader.fill(&mut input).unwrap();
        let message = reader.next().unwrap().unwrap();
        assert_eq!((message.reply, message.body, message.status()), (&b"r"[..], &b"xy"[..], Some(404)));
        assert!(reader.next().unwrap().is_none(), "half a message is none");
    }

    #[test]
    fn a_message_tells_its_subject_and_headers() {
        let mut reader = Reader::new();
        let mut input: &[u8] = b"HMSG a.b 1 36 37\r\nNATS/1.0\r\nTwo: \r\nOne: a: b\r\nO: 7\r\n\r\nx\r\n";
        reader.fill(&mut input).unwrap();
        let message = reader.next().unwrap().unwrap();
        assert_eq!((message.subject, message.body), (&b"a.b"[..], &b"x"[..]));
        let found = ["One", "O", "Two", "Three"].map(|name| message.header(name));
        assert_eq!(found, [Some("a: b"), Some("7"), Some(""), None]);
    }
}
