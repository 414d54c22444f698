//! Core NATS scenarios.

use crate::measure::{Ctx, Scenario, scenario};
use crate::proc;
use crate::report::{Metric, high, latency, low, note};
use crate::server::Server;
use crate::wire::{self, Hopper, Load, Reader};
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const CHUNK: usize = 64 << 10;

pub(crate) fn all() -> Vec<Scenario> {
    let mut v = Vec::new();
    for (n, name) in [(1, "pub-1"), (8, "pub-8")] {
        v.push(scenario(name, "publish only, 16 B, no subscribers", move |c| pub_only(c, n)));
    }
    for (size, name) in [(16, "1to1-16"), (128, "1to1-128"), (1024, "1to1-1k"), (65536, "1to1-64k")] {
        v.push(scenario(name, "one publisher, one subscriber", move |c| {
            topology(c, 1, 1, size, Shape::Fan, false)
        }));
    }
    v.push(scenario("headers-1to1", "128 B and three headers", |c| topology(c, 1, 1, 128, Shape::Fan, true)));
    v.push(scenario("fanout-8", "1 publisher, 8 subscribers, 128 B", |c| {
        topology(c, 1, 8, 128, Shape::Fan, false)
    }));
    v.push(scenario("fanout-100", "1 publisher, 100 subscribers, 128 B", |c| {
        topology(c, 1, 100, 128, Shape::Fan, false)
    }));
    v.push(scenario("fanin-8", "8 publishers, 1 subscriber, 128 B", |c| {
        topology(c, 8, 1, 128, Shape::Fan, false)
    }));
    v.push(scenario("8to8", "8 pairs, distinct subjects, 128 B", |c| {
        topology(c, 8, 8, 128, Shape::Pairs, false)
    }));
    v.push(scenario("queue-8", "1 publisher, queue group of 8, 128 B", |c| {
        topology(c, 1, 8, 128, Shape::Queue, false)
    }));
    v.push(scenario(
        "routing-100k",
        "100k wildcard subscriptions on 100 connections, random matching subjects, 16 B",
        routing,
    ));
    v.push(scenario(
        "deep-wildcards",
        "111 wildcard subscriptions over 8 tokens, 3 matches a message, 16 B",
        deep,
    ));
    for (n, name) in [(1, "request-1"), (64, "request-64")] {
        v.push(scenario(name, "request-reply, one outstanding per requester, 16 B", move |c| requests(c, n)));
    }
    v.push(scenario("latency-50k", "publish to deliver at 50k msg/s, from the intended send time", |c| {
        fixed_rate(c, 50_000)
    }));
    v.push(scenario("idle-10k", "10k connections with one subscription each", idle));
    {
        let mut s = scenario("tls-1to1-128", "TLS, one publisher, one subscriber, 128 B", tls);
        s.tls = true;
        v.push(s);
    }
    v
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Every subscriber gets every message.
    Fan,
    /// Publisher i sends to subscriber i.
    Pairs,
    /// Subscribers share one queue group.
    Queue,
}

fn topology(
    c: &mut Ctx,
    pubs: usize,
    subs: usize,
    size: usize,
    shape: Shape,
    headers: bool,
) -> Result<Vec<Metric>> {
    let hdr: &[u8] = if headers {
        b"NATS/1.0\r\nTrace-Id: 4bf92f3577b34da6a3ce929d0e0e4736\r\nKind: order\r\nVersion: 7\r\n\r\n"
    } else {
        b""
    };
    let subject = |i: usize| if shape == Shape::Pairs { format!("bench.{i}") } else { "bench.0".to_string() };
    let queue = if shape == Shape::Queue { "workers" } else { "" };
    let mut readers = Vec::new();
    for i in 0..subs {
        let mut s = wire::connect(c.server.addr)?;
        wire::subscribe(&mut s, &[(subject(i), queue, 1)])?;
        readers.push(s);
    }
    let fanout = if shape == Shape::Fan { subs as u64 } else { 1 };
    let chunk = CHUNK / fanout.min(8) as usize;
    let mut writers = Vec::new();
    for i in 0..pubs {
        writers.push((wire::connect(c.server.addr)?, Load::new(&[subject(i)], hdr, size, chunk)));
    }
    steady(c, writers, readers, fanout, size + hdr.len() + 24, 0)
}

/// Measures publishing without subscribers. Each chunk ends in a PING, and counts when its PONG has arrived.
fn pub_only(c: &mut Ctx, pubs: usize) -> Result<Vec<Metric>> {
    let (mut writers, mut readers, mut per_pong) = (Vec::new(), Vec::new(), 0);
    for i in 0..pubs {
        let mut load = Load::new(&[format!("bench.{i}")], b"", 16, CHUNK);
        load.bytes.extend_from_slice(b"PING\r\n");
        load.chunks[0].1 += 6;
        per_pong = load.chunks[0].2;
        let s = wire::connect(c.server.addr)?;
        readers.push(s.try_clone()?);
        writers.push((s, load));
    }
    steady(c, writers, readers, 1, 36, per_pong)
}

fn routing(c: &mut Ctx) -> Result<Vec<Metric>> {
    let (conns, each) = (100, c.scaled(1000));
    let mut readers = Vec::new();
    for k in 0..conns {
        let mut s = wire::connect(c.server.addr)?;
        let subs: Vec<_> =
            (0..each).map(|i| (format!("route.{:06}.*", 100_000 + k * each + i), "", 100_000 + i)).collect();
        wire::subscribe(&mut s, &subs)?;
        readers.push(s);
    }
    let mut rng = Rng(7);
    let mut subjects: Vec<_> = (0..conns * each).map(|i| format!("route.{:06}.new", 100_000 + i)).collect();
    rng.shuffle(&mut subjects);
    let load = Load::new(&subjects, b"", 16, CHUNK);
    steady(c, vec![(wire::connect(c.server.addr)?, load)], readers, 1, 56, 0)
}

fn deep(c: &mut Ctx) -> Result<Vec<Metric>> {
    let mut subs: Vec<String> = vec!["deep.>".into()];
    for a in 0..10 {
        subs.push(format!("deep.*.*.*.c{a}.*.>"));
        for b in 0..10 {
            subs.push(format!("deep.a{a}.*.b{b}.*.*.*.*"));
        }
    }
    let mut readers = Vec::new();
    for part in subs.chunks(subs.len().div_ceil(4)) {
        let mut s = wire::connect(c.server.addr)?;
        let list: Vec<_> = part.iter().enumerate().map(|(i, p)| (p.clone(), "", 1000 + i as u64)).collect();
        wire::subscribe(&mut s, &list)?;
        readers.push(s);
    }
    let mut rng = Rng(11);
    let subjects: Vec<_> = (0..100_000)
        .map(|_| {
            let r = rng.next();
            let d = |n: u32| (r >> (n * 8)) % 10;
            format!("deep.a{}.x{}.b{}.c{}.y{}.z{}.w{}", d(0), d(1), d(2), d(3), d(4), d(5), d(6))
        })
        .collect();
    let load = Load::new(&subjects, b"", 16, CHUNK / 3);
    steady(c, vec![(wire::connect(c.server.addr)?, load)], readers, 3, 64, 0)
}

pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle<T>(&mut self, v: &mut [T]) {
        for i in (1..v.len()).rev() {
            v.swap(i, self.next() as usize % (i + 1));
        }
    }
}

/// Start values of a measured span: time and CPU use.
pub(crate) struct Probe {
    at: Instant,
    server: proc::Usage,
    own: f64,
    machine: f64,
}

impl Probe {
    pub(crate) fn start(s: &Server) -> Probe {
        let server = proc::usage(s.pid());
        Probe { at: Instant::now(), server, own: proc::own_cpu(), machine: proc::machine_busy() }
    }

    /// Returns metrics of rate, CPU and memory for `n` messages since the start.
    pub(crate) fn finish(&self, s: &Server, n: f64) -> Vec<Metric> {
        let secs = self.at.elapsed().as_secs_f64();
        let now = proc::usage(s.pid());
        let (cpu, own) = (now.cpu - self.server.cpu, proc::own_cpu() - self.own);
        let other = (proc::machine_busy() - self.machine - cpu - own).max(0.0) / secs;
        vec![
            high("msgs/s", n / secs),
            low("cpu s/M", cpu / n * 1e6),
            high("msgs/cpu s", n / cpu),
            low("switches/msg", now.switches.saturating_sub(self.server.switches) as f64 / n),
            low("peak MiB", proc::rss(s.pid()).1 as f64 / 1024.0),
            note("server cores", cpu / secs),
            note("server sys %", 100.0 * (now.sys - self.server.sys) / cpu),
            note("client cores", own / secs),
            note("other cores", other),
        ]
    }
}

/// Counters that the threads of one run share, and the first failure.
#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    got: AtomicU64,
    stop_pub: AtomicBool,
    stop_sub: AtomicBool,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Shared {
    fn fail(&self, e: anyhow::Error) {
        self.failure.lock().unwrap().get_or_insert(e);
        self.stop_pub.store(true, Relaxed);
        self.stop_sub.store(true, Relaxed);
    }

    fn wait(&self, d: Duration) {
        let end = Instant::now() + d;
        while Instant::now() < end && !self.stop_sub.load(Relaxed) {
            sleep(Duration::from_millis(10).min(end.saturating_duration_since(Instant::now())));
        }
    }

    /// Waits after the end of the publishers until every message has arrived.
    fn drain(&self, fanout: u64) {
        let (mut last, mut since) = (0, Instant::now());
        while !self.stop_sub.load(Relaxed) {
            let (got, want) = (self.got.load(Relaxed), self.sent.load(Relaxed) * fanout);
            if got > want {
                return self.fail(anyhow::anyhow!("{got} messages delivered, {want} expected"));
            }
            if got == want {
                break;
            }
            if got != last {
                (last, since) = (got, Instant::now());
            } else if since.elapsed() > Duration::from_secs(5) {
                return self.fail(anyhow::anyhow!("{} of {want} messages never arrived", want - got));
            }
            sleep(Duration::from_millis(1));
        }
        // A surplus message would arrive now.
        sleep(Duration::from_millis(20));
        if self.got.load(Relaxed) != self.sent.load(Relaxed) * fanout {
            self.fail(anyhow::anyhow!("more messages delivered than expected"));
        }
    }
}

/// Publishes at full speed with a bounded number of undelivered messages. Measures a span of the steady state, then stops and
/// checks that every message arrived. `per_pong` is 0, or the number of messages that a PONG acknowledges.
fn steady(
    c: &mut Ctx,
    writers: Vec<(TcpStream, Load)>,
    readers: Vec<TcpStream>,
    fanout: u64,
    frame: usize,
    per_pong: u64,
) -> Result<Vec<Metric>> {
    let sh = Shared::default();
    let window = (c.window / frame) as u64;
    let mut out = Vec::new();
    scope(|t| {
        let counter = t.spawn(|| count(readers, per_pong, &sh).unwrap_or_else(|e| sh.fail(e)));
        let publishers: Vec<_> = writers
            .into_iter()
            .map(|(mut s, load)| {
                let sh = &sh;
                t.spawn(move || {
                    publish(&mut s, &load, fanout, window, sh).unwrap_or_else(|e| sh.fail(e));
                    if per_pong == 0 && sh.failure.lock().unwrap().is_none() {
                        // A `-ERR` that the server has sent meanwhile is noticed here.
                        s.write_all(b"PING\r\n")
                            .map_err(Into::into)
                            .and_then(|_| wire::wait_pong(&mut s))
                            .unwrap_or_else(|e| sh.fail(e));
                    }
                })
            })
            .collect();
        sh.wait(c.warm());
        let (probe, first) = (Probe::start(&c.server), sh.got.load(Relaxed));
        sh.wait(c.secs);
        let n = sh.got.load(Relaxed) - first;
        out = probe.finish(&c.server, n as f64);
        sh.stop_pub.store(true, Relaxed);
        for p in publishers {
            let _ = p.join();
        }
        sh.drain(fanout);
        sh.stop_sub.store(true, Relaxed);
        let _ = counter.join();
    });
    match sh.failure.into_inner().unwrap() {
        Some(e) => Err(e),
        None => Ok(out),
    }
}

fn publish(s: &mut impl Write, load: &Load, fanout: u64, window: u64, sh: &Shared) -> Result<()> {
    loop {
        for &(from, to, msgs) in &load.chunks {
            if sh.stop_pub.load(Relaxed) {
                return Ok(());
            }
            let sent = sh.sent.fetch_add(msgs, Relaxed) + msgs;
            while (sent * fanout).saturating_sub(sh.got.load(Relaxed)) > window.max(2 * msgs * fanout) {
                if sh.stop_sub.load(Relaxed) {
                    return Ok(());
                }
                sleep(Duration::from_micros(50));
            }
            s.write_all(&load.bytes[from..to])
                .context("publisher: the server closed the connection or stopped reading")?;
        }
    }
}

fn count(readers: Vec<TcpStream>, per_pong: u64, sh: &Shared) -> Result<()> {
    let poll = Poll::new(&readers)?;
    let mut hops: Vec<Hopper> = readers.iter().map(|_| Hopper::default()).collect();
    let mut buf = vec![0u8; 256 << 10];
    let mut ready = Vec::new();
    while !sh.stop_sub.load(Relaxed) {
        poll.wait(50, &mut ready)?;
        for &i in &ready {
            let h = &mut hops[i];
            let before = if per_pong > 0 { h.pongs * per_pong } else { h.msgs };
            if h.pending() > 8192 {
                // The middle of a large payload need not be copied out of the kernel.
                // SAFETY: with MSG_TRUNC a TCP receive discards and writes nothing.
                let n = unsafe {
                    libc::recv(readers[i].as_raw_fd(), std::ptr::null_mut(), h.pending() - 2, libc::MSG_TRUNC)
                };
                if n <= 0 {
                    bail!("subscriber {i}: the server closed the connection");
                }
                h.skipped(n as usize);
            } else {
                let n = (&readers[i]).read(&mut buf).with_context(|| format!("subscriber {i}"))?;
                if n == 0 {
                    bail!("subscriber {i}: the server closed the connection");
                }
                h.feed(&buf[..n]).with_context(|| format!("subscriber {i}"))?;
            }
            let after = if per_pong > 0 { h.pongs * per_pong } else { h.msgs };
            sh.got.fetch_add(after - before, Relaxed);
        }
    }
    Ok(())
}

/// Level-triggered epoll over a list of sockets, which it reports by index.
struct Poll(i32);

impl Poll {
    fn new(socks: &[TcpStream]) -> Result<Poll> {
        // SAFETY: plain system calls; ev outlives the call.
        unsafe {
            let p = Poll(libc::epoll_create1(libc::EPOLL_CLOEXEC));
            for (i, s) in socks.iter().enumerate() {
                let mut ev = libc::epoll_event { events: libc::EPOLLIN as u32, u64: i as u64 };
                if libc::epoll_ctl(p.0, libc::EPOLL_CTL_ADD, s.as_raw_fd(), &mut ev) != 0 {
                    bail!("epoll_ctl: {}", std::io::Error::last_os_error());
                }
            }
            Ok(p)
        }
    }

    fn wait(&self, ms: i32, out: &mut Vec<usize>) -> Result<()> {
        let mut ev = [libc::epoll_event { events: 0, u64: 0 }; 128];
        // SAFETY: ev has room for the 128 events asked for.
        let n = unsafe { libc::epoll_wait(self.0, ev.as_mut_ptr(), 128, ms) };
        out.clear();
        out.extend(ev[..n.max(0) as usize].iter().map(|e| e.u64 as usize));
        Ok(())
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours.
        unsafe { libc::close(self.0) };
    }
}

/// Writes an eight-digit token into the reply subject of a request, like those of client libraries.
fn set_token(req: &mut [u8], at: usize, mut n: u64) {
    for b in req[at..at + 8].iter_mut().rev() {
        *b = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

fn requests(c: &mut Ctx, conns: usize) -> Result<Vec<Metric>> {
    let mut responder = wire::connect(c.server.addr)?;
    wire::subscribe(&mut responder, &[("svc.echo".into(), "", 1)])?;
    let stop = AtomicBool::new(false);
    let mut socks = Vec::new();
    for i in 0..conns {
        let mut s = wire::connect(c.server.addr)?;
        wire::subscribe(&mut s, &[(format!("_INBOX.r{i:03}.*"), "", 1)])?;
        socks.push(s);
    }
    scope(|t| {
        let echo = t.spawn(|| {
            let ended = respond(&mut responder, &stop);
            stop.store(true, Relaxed);
            ended
        });
        let asked = ask(c, &socks, &stop);
        stop.store(true, Relaxed);
        // Wakes the responder.
        let _ = socks[0].try_clone().map(|mut s| s.write_all(b"PUB svc.echo 0\r\n\r\n"));
        echo.join().unwrap()?;
        asked
    })
}

fn respond(s: &mut TcpStream, stop: &AtomicBool) -> Result<()> {
    let (mut r, mut out) = (Reader::new(), Vec::new());
    while !stop.load(Relaxed) {
        r.fill(s).context("responder")?;
        out.clear();
        while let Some(m) = r.next()? {
            if !m.reply.is_empty() {
                write!(out, "PUB ")?;
                out.extend_from_slice(m.reply);
                write!(out, " {}\r\n", m.body.len())?;
                out.extend_from_slice(m.body);
                out.extend_from_slice(b"\r\n");
            }
        }
        s.write_all(&out)?;
    }
    Ok(())
}

fn ask(c: &mut Ctx, socks: &[TcpStream], stop: &AtomicBool) -> Result<Vec<Metric>> {
    let poll = Poll::new(socks)?;
    let mut reqs: Vec<(Vec<u8>, Reader, Instant)> = Vec::new();
    for i in 0..socks.len() {
        let mut b = Vec::new();
        wire::encode(&mut b, "svc.echo", &format!("_INBOX.r{i:03}.00000000"), b"", b"0123456789abcdef");
        reqs.push((b, Reader::new(), Instant::now()));
    }
    let token = b"PUB svc.echo _INBOX.r000.".len();
    let (mut n, mut lat, mut probe, mut first) = (0u64, Vec::new(), None, 0);
    let begin = Instant::now();
    let mut ready: Vec<usize> = (0..socks.len()).collect();
    let mut fresh = true;
    loop {
        for &i in &ready {
            let (req, r, at) = &mut reqs[i];
            if !fresh {
                r.fill(&mut &socks[i]).context("no reply")?;
                let Some(m) = r.next()? else { continue };
                if m.body != b"0123456789abcdef" {
                    bail!(
                        "wrong reply {:?} {:?}",
                        String::from_utf8_lossy(m.hdr),
                        String::from_utf8_lossy(m.body)
                    );
                }
                if probe.is_some() {
                    lat.push(at.elapsed().as_nanos() as u64);
                }
            }
            n += 1;
            set_token(req, token, n);
            *at = Instant::now();
            (&socks[i]).write_all(req)?;
        }
        if fresh || n % 64 == 0 || socks.len() > 1 {
            if probe.is_none() && begin.elapsed() > c.warm() {
                (probe, first) = (Some(Probe::start(&c.server)), n);
            }
            if begin.elapsed() > c.warm() + c.secs {
                break;
            }
        }
        fresh = false;
        if stop.load(Relaxed) {
            bail!("the responder lost its connection");
        }
        if socks.len() == 1 {
            ready = vec![0];
        } else {
            poll.wait(5000, &mut ready)?;
            if ready.is_empty() {
                bail!("no reply for 5 s");
            }
        }
    }
    let probe = probe.context("too short a run")?;
    let mut out = probe.finish(&c.server, (n - first) as f64);
    out.splice(1..1, latency(lat));
    Ok(out)
}

/// Sends a fixed share of messages each 200 us. A late tick is sent at once and keeps its intended time, so a stall adds to the
/// latency of every message that it delays.
fn fixed_rate(c: &mut Ctx, rate: u64) -> Result<Vec<Metric>> {
    let mut rx = wire::connect(c.server.addr)?;
    wire::subscribe(&mut rx, &[("tick".into(), "", 1)])?;
    let mut tx = wire::connect(c.server.addr)?;
    let tick = Duration::from_micros(200);
    let per_tick = rate * tick.as_micros() as u64 / 1_000_000;
    let warm = (c.warm().as_micros() / tick.as_micros()) as u64;
    let ticks = warm + (c.secs.as_micros() / tick.as_micros()) as u64;
    let base = Instant::now();
    let now = || base.elapsed().as_nanos() as u64;
    let total = ticks * per_tick;
    let mut out = Vec::new();
    scope(|t| -> Result<()> {
        let reader = t.spawn(move || -> Result<(Vec<u64>, Vec<u64>)> {
            let (mut r, mut due, mut sent) = (Reader::new(), Vec::new(), Vec::new());
            for _ in 0..total {
                let mut at = 0;
                loop {
                    if let Some(m) = r.next()? {
                        at = if at == 0 { now() } else { at };
                        let word =
                            |i: usize| u64::from_le_bytes(m.body[i * 8..i * 8 + 8].try_into().unwrap());
                        due.push(at.saturating_sub(word(0)));
                        sent.push(at.saturating_sub(word(1)));
                        break;
                    }
                    r.fill(&mut rx).context("latency subscriber")?;
                    at = now();
                }
            }
            Ok((due, sent))
        });
        proc::sharp_timer();
        let start = now() + 5_000_000;
        let mut probe = None;
        let mut buf = Vec::new();
        for k in 0..ticks {
            let due = start + k * tick.as_nanos() as u64;
            let t0 = now();
            if due > t0 {
                sleep(Duration::from_nanos(due - t0));
            }
            if k == warm {
                probe = Some(Probe::start(&c.server));
            }
            let mut body = [0u8; 128];
            body[..8].copy_from_slice(&due.to_le_bytes());
            body[8..16].copy_from_slice(&now().to_le_bytes());
            buf.clear();
            for _ in 0..per_tick {
                wire::encode(&mut buf, "tick", "", b"", &body);
            }
            tx.write_all(&buf)?;
        }
        let (due, sent) = reader.join().unwrap()?;
        let from = (warm * per_tick) as usize;
        out = probe.context("too short a run")?.finish(&c.server, ((ticks - warm) * per_tick) as f64);
        out[0].better = crate::report::Better::Neither;
        let mut lat = latency(due[from..].to_vec());
        for (m, key) in
            latency(sent[from..].to_vec()).into_iter().zip(["sent p50 us", "sent p99 us", "sent p99.9 us"])
        {
            lat.push(low(key, m.value));
        }
        out.splice(1..1, lat);
        Ok(())
    })?;
    Ok(out)
}

fn idle(c: &mut Ctx) -> Result<Vec<Metric>> {
    let total = c.scaled(10_000) as usize;
    let pid = c.server.pid();
    let before = proc::rss(pid).0;
    let cpu = proc::usage(pid).cpu;
    let begin = Instant::now();
    let mut socks: Vec<TcpStream> = Vec::with_capacity(total);
    while socks.len() < total {
        let from = socks.len();
        for i in from..total.min(from + 50) {
            let mut s = wire::dial(c.server.addr).with_context(|| format!("connection {i}"))?;
            // A reset instead of a normal close leaves no port in TIME_WAIT.
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            // SAFETY: passes a valid struct with its size.
            unsafe {
                let len = size_of::<libc::linger>() as u32;
                libc::setsockopt(
                    s.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const linger).cast(),
                    len,
                )
            };
            let mut hello = wire::HELLO.to_vec();
            hello.truncate(hello.len() - 6);
            write!(hello, "SUB idle.{i} 1\r\nPING\r\n")?;
            s.write_all(&hello)?;
            socks.push(s);
        }
        for s in &mut socks[from..] {
            wire::wait_pong(s)?;
        }
    }
    let secs = begin.elapsed().as_secs_f64();
    let spent = proc::usage(pid).cpu - cpu;
    sleep(Duration::from_millis(500));
    let (rss, _) = proc::rss(pid);
    // Wait for the first keep-alive round of servers that ping new clients early.
    sleep(Duration::from_millis(2500));
    let settled = proc::rss(pid);
    let still = proc::usage(pid).cpu;
    sleep(Duration::from_secs(1));
    let n = total as f64;
    Ok(vec![
        high("connects/s", n / secs),
        low("cpu us/connect", spent / n * 1e6),
        low("KiB/conn", (rss as f64 - before as f64) / n),
        low("KiB/conn later", (settled.0 as f64 - before as f64) / n),
        low("peak MiB", settled.1 as f64 / 1024.0),
        note("idle cores", proc::usage(pid).cpu - still),
    ])
}

fn tls(c: &mut Ctx) -> Result<Vec<Metric>> {
    let mut rx = c.server.connect_tls()?;
    wire::subscribe(&mut rx, &[("bench.0".into(), "", 1)])?;
    rx.sock.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut tx = c.server.connect_tls()?;
    let load = Load::new(&["bench.0".into()], b"", 128, 16 << 10);
    let sh = Shared::default();
    let window = (c.window / 160) as u64;
    let mut out = Vec::new();
    scope(|t| {
        let counter = t.spawn(|| {
            let (mut h, mut buf) = (Hopper::default(), vec![0u8; 64 << 10]);
            while !sh.stop_sub.load(Relaxed) {
                match rx.read(&mut buf) {
                    Ok(0) => return sh.fail(anyhow::anyhow!("subscriber: the server closed the connection")),
                    Ok(n) => {
                        if let Err(e) = h.feed(&buf[..n]) {
                            return sh.fail(e);
                        }
                        sh.got.store(h.msgs, Relaxed);
                    }
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(e) => return sh.fail(e.into()),
                }
            }
        });
        let publisher = t.spawn(|| publish(&mut tx, &load, 1, window, &sh).unwrap_or_else(|e| sh.fail(e)));
        sh.wait(c.warm());
        let (probe, first) = (Probe::start(&c.server), sh.got.load(Relaxed));
        sh.wait(c.secs);
        out = probe.finish(&c.server, (sh.got.load(Relaxed) - first) as f64);
        sh.stop_pub.store(true, Relaxed);
        let _ = publisher.join();
        sh.drain(1);
        sh.stop_sub.store(true, Relaxed);
        let _ = counter.join();
    });
    match sh.failure.into_inner().unwrap() {
        Some(e) => Err(e),
        None => Ok(out),
    }
}
