//! Watchers on many connections, read by one thread, and the updates that each has seen.

use crate::kvwatch::INACTIVE;
use crate::replay::{Want, answer_control, consumer, sequence};
use crate::wire::{self, Msg, Reader};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Returns the subject of a key of a group.
pub(crate) fn subject(group: u64, key: u64) -> String {
    format!("$KV.W.g{group:05}.k{key}")
}

struct Conn {
    s: TcpStream,
    r: Reader,
}

/// The messages that a watcher has received since it was created.
#[derive(Default, Clone)]
struct Watcher {
    got: u64,
    last: u64,
}

/// All watchers: one for each group of keys, then those of the whole bucket.
pub(crate) struct Fleet {
    conns: Vec<Conn>,
    watchers: Vec<Watcher>,
    groups: usize,
    keys_each: u64,
    /// Number of the last update seen of each group: first one list for all group watchers, then one for each watcher of the
    /// whole bucket.
    seen: Vec<Vec<u64>>,
    /// How often all watchers were created; part of the consumers' names, which are new each time.
    epoch: u32,
    made: usize,
    watching: usize,
}

impl Fleet {
    pub(crate) fn new(groups: usize, of_all: usize, keys_each: u64) -> Fleet {
        Fleet {
            conns: Vec::new(),
            watchers: vec![Watcher::default(); groups + of_all],
            groups,
            keys_each,
            seen: vec![vec![0; groups]; 1 + of_all],
            epoch: 0,
            made: 0,
            watching: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.watchers.len()
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Returns the number of watchers that have all initial values.
    pub(crate) fn watching(&self) -> usize {
        self.watching
    }

    pub(crate) fn is_watching(&self) -> bool {
        self.watching == self.len() && self.made == self.len()
    }

    /// Closes all connections, and creates all watchers on new ones.
    pub(crate) fn connect(&mut self, addr: SocketAddr, connections: usize) -> Result<()> {
        self.conns.clear();
        self.watchers.fill(Watcher::default());
        (self.made, self.watching) = (0, 0);
        self.epoch += 1;
        for c in 0..connections {
            let mut s = wire::connect(addr)?;
            let mut out = format!("SUB _INBOX.made.{c} 1\r\n").into_bytes();
            for id in (c..self.len()).step_by(connections) {
                self.make(id, c, &mut out)?;
            }
            s.write_all(&out)?;
            self.conns.push(Conn { s, r: Reader::new() });
        }
        Ok(())
    }

    fn make(&self, id: usize, conn: usize, out: &mut Vec<u8>) -> Result<()> {
        let filter = if id < self.groups { format!("$KV.W.g{id:05}.*") } else { "$KV.W.>".to_string() };
        let (name, deliver) = (format!("w{id}e{}", self.epoch), format!("deliver.{id}e{}", self.epoch));
        write!(out, "SUB {deliver} {}\r\n", id + 2)?;
        let want = Want { stream: "KV_W", filter: &filter, last: true, headers_only: false };
        let mut config = want.config(&name, &deliver);
        config["config"]["inactive_threshold"] = (INACTIVE.as_nanos() as u64).into();
        let api = format!("$JS.API.CONSUMER.CREATE.KV_W.{name}.{filter}");
        wire::encode(out, &api, &format!("_INBOX.made.{conn}"), b"", config.to_string().as_bytes());
        Ok(())
    }

    /// Reads available messages; waits up to `limit` if there are none. `each` gets the time of reading and the due time of every
    /// update. Returns the number of messages.
    pub(crate) fn turn(
        &mut self,
        limit: Duration,
        each: &mut dyn FnMut(Instant, u64) -> Result<()>,
    ) -> Result<usize> {
        let mut fds: Vec<libc::pollfd> = self
            .conns
            .iter()
            .map(|c| libc::pollfd { fd: c.s.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        // SAFETY: the array lives during the call and has the given length.
        let ready =
            unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, limit.as_millis() as i32) };
        let mut count = 0;
        if ready <= 0 {
            return Ok(0);
        }
        for i in (0..fds.len()).filter(|i| fds[*i].revents != 0) {
            count += self.read(i, each)?;
        }
        Ok(count)
    }

    fn read(&mut self, conn: usize, each: &mut dyn FnMut(Instant, u64) -> Result<()>) -> Result<usize> {
        let mut c = self.conns.swap_remove(conn);
        let done = self.drain(&mut c, each);
        // Put the connection back in its place.
        self.conns.push(c);
        let last = self.conns.len() - 1;
        self.conns.swap(conn, last);
        done.with_context(|| format!("connection {conn} of watchers"))
    }

    fn drain(&mut self, c: &mut Conn, each: &mut dyn FnMut(Instant, u64) -> Result<()>) -> Result<usize> {
        let (mut out, mut count) = (Vec::new(), 0);
        c.r.fill(&mut c.s)?;
        let now = Instant::now();
        while let Some(m) = c.r.next()? {
            if answer_control(&m, &mut out) {
                continue;
            }
            count += 1;
            if m.subject.starts_with(b"_INBOX.") {
                if memchr::memmem::find(m.body, b"\"error\"").is_some() {
                    bail!("no watcher: {}", String::from_utf8_lossy(m.body));
                }
                self.made += 1;
            } else if let Some(due) = self.note(&m)? {
                each(now, due)?;
            }
        }
        c.s.write_all(&out)?;
        Ok(count)
    }

    /// Checks a message of a watcher; returns its due time, or `None` for an initial value.
    fn note(&mut self, m: &Msg) -> Result<Option<u64>> {
        let name = std::str::from_utf8(consumer(m)?)?;
        let id = name.strip_prefix('w').and_then(|name| name.split_once('e'));
        let (id, epoch) = id.with_context(|| format!("a message of {name}"))?;
        let id: usize = id.parse().context("a watcher's number")?;
        if epoch.parse() != Ok(self.epoch) {
            bail!("a message of {name} in epoch {}", self.epoch);
        }
        let initial = self.keys_each * if id < self.groups { 1 } else { self.groups as u64 };
        let watcher = self.watchers.get_mut(id).context("a message of no watcher")?;
        let at = sequence(m)?;
        if at <= watcher.last {
            bail!("watcher {id} got {at} after {}", watcher.last);
        }
        watcher.last = at;
        watcher.got += 1;
        if watcher.got <= initial {
            self.watching += usize::from(watcher.got == initial);
            return Ok(None);
        }
        let body = std::str::from_utf8(m.body)?;
        let mut words = body.split(' ').map(str::parse::<u64>);
        let (Some(Ok(group)), Some(Ok(number)), Some(Ok(due))) = (words.next(), words.next(), words.next())
        else {
            bail!("watcher {id} got {body:?}");
        };
        let list = if id < self.groups { 0 } else { 1 + id - self.groups };
        let seen = self.seen[list].get_mut(group as usize).context("an update of no group")?;
        if number != *seen + 1 || list == 0 && group != id as u64 {
            bail!("watcher {id} got update {number} of group {group} after {seen}");
        }
        *seen = number;
        Ok(Some(due))
    }

    /// Checks that every watcher has seen all `count` updates that concern it.
    pub(crate) fn check_all_seen(&self, count: u64) -> Result<()> {
        for (list, seen) in self.seen.iter().enumerate() {
            let sum: u64 = seen.iter().sum();
            if sum != count {
                bail!("{sum} of {count} updates were seen by list {list} of watchers");
            }
        }
        Ok(())
    }
}
