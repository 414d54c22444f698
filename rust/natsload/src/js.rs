//! JetStream scenarios, over the JSON API with raw requests.

use crate::core::Probe;
use crate::kvkeys::bucket;
use crate::measure::{Ctx, Scenario, scenario};
use crate::proc;
use crate::replay::{answer_control, sequence};
use crate::report::{Metric, latency, low, note};
use crate::server::Js;
use crate::wire::{self, Msg, Reader};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) fn all() -> Vec<Scenario> {
    let mut v = Vec::new();
    let mut add = |name: String, about: &str, js: Js, heavy: bool, run: crate::measure::Run| {
        let mut s = scenario(&name, about, run);
        (s.js, s.heavy) = (js, heavy);
        v.push(s);
    };
    for store in ["memory", "file"] {
        for (size, label) in [(128, "128"), (1024, "1k")] {
            let about = format!("JetStream publish, {store} storage, one outstanding");
            add(
                format!("js-sync-{store}-{label}"),
                &about,
                Js::On,
                false,
                Box::new(move |c| publish(c, store, size, 1)),
            );
            for window in [256, 1000] {
                let about = format!("JetStream publish, {store} storage, {window} outstanding");
                add(
                    format!("js-async{window}-{store}-{label}"),
                    &about,
                    Js::On,
                    false,
                    Box::new(move |c| publish(c, store, size, window)),
                );
            }
        }
    }
    for (window, name) in
        [(1, "js-always-sync-128"), (256, "js-always-async256-128"), (1000, "js-always-async1000-128")]
    {
        let about = format!("JetStream publish, file storage, sync_interval always, {window} outstanding");
        add(name.into(), &about, Js::SyncAlways, false, Box::new(move |c| publish(c, "file", 128, window)));
    }
    for batch in [100, 1000] {
        let about = format!("pull consumer, fetches of {batch}, file, 128 B, no acks");
        add(format!("js-fetch{batch}"), &about, Js::On, false, Box::new(move |c| fetch(c, batch, false)));
        let about = format!("pull consumer, fetches of {batch}, file, 128 B, explicit ack of each");
        add(format!("js-fetch{batch}-ack"), &about, Js::On, false, Box::new(move |c| fetch(c, batch, true)));
    }
    add(
        "js-push-flow".into(),
        "push consumer with flow control, memory, 128 B, no acks",
        Js::On,
        false,
        Box::new(|c| push(c, "memory", 500_000, false)),
    );
    add(
        "js-push-ack".into(),
        "push consumer, file, 128 B, explicit acks, 1000 pending",
        Js::On,
        false,
        Box::new(|c| push(c, "file", 200_000, true)),
    );
    add(
        "js-ordered-1m".into(),
        "ordered replay of 1M messages, file, 128 B",
        Js::On,
        false,
        Box::new(|c| push(c, "file", 1_000_000, false)),
    );
    for (window, name) in [(1, "kv-put-sync"), (256, "kv-put-async256")] {
        add(
            name.into(),
            "KV put, 10k keys, file, 128 B",
            Js::On,
            false,
            Box::new(move |c| kv(c, true, window)),
        );
    }
    for (window, name) in [(1, "kv-get-sync"), (64, "kv-get-64")] {
        add(
            name.into(),
            "KV direct get, 10k keys, file, 128 B",
            Js::On,
            false,
            Box::new(move |c| kv(c, false, window)),
        );
    }
    add(
        "js-1m-subjects".into(),
        "1M distinct subjects in one stream, file, 32 B; restarts",
        Js::On,
        true,
        Box::new(|c| restart(c, 1_000_000, 1_000_000, 32)),
    );
    add(
        "js-restart-5m".into(),
        "5M messages on 1000 subjects, file, 64 B; restarts",
        Js::On,
        true,
        Box::new(|c| restart(c, 5_000_000, 1000, 64)),
    );
    v
}

/// A connection that sends requests, and numbers them in their reply subjects.
pub(crate) struct Client {
    pub(crate) s: TcpStream,
    pub(crate) r: Reader,
    inbox: String,
    n: u64,
}

impl Client {
    pub(crate) fn open(addr: SocketAddr) -> Result<Client> {
        Client::named(addr, "load")
    }

    /// Opens one of several clients; each requires its own name.
    pub(crate) fn named(addr: SocketAddr, name: &str) -> Result<Client> {
        let mut s = wire::connect(addr)?;
        let inbox = format!("_INBOX.{name}");
        wire::subscribe(&mut s, &[(format!("{inbox}.*"), "", 1)])?;
        Ok(Client { s, r: Reader::new(), inbox, n: 0 })
    }

    /// Sends one request, and returns its reply.
    pub(crate) fn ask(&mut self, subject: &str, hdr: &[u8], body: &[u8]) -> Result<Msg<'_>> {
        let mut out = Vec::new();
        wire::encode(&mut out, subject, &format!("{}.one", self.inbox), hdr, body);
        self.s.write_all(&out)?;
        self.next()
    }

    pub(crate) fn next(&mut self) -> Result<Msg<'_>> {
        loop {
            if let Some(at) = self.r.scan()? {
                return Ok(self.r.view(at));
            }
            self.r.fill(&mut self.s)?;
        }
    }

    pub(crate) fn api(&mut self, subject: &str, body: Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let m = self
            .ask(&format!("$JS.API.{subject}"), b"", body.as_bytes())
            .with_context(|| format!("no answer to {subject}"))?;
        let v: Value = serde_json::from_slice(m.body).with_context(|| {
            format!(
                "{subject}: answer {:?} {:?}",
                String::from_utf8_lossy(m.hdr),
                String::from_utf8_lossy(m.body)
            )
        })?;
        match v.get("error") {
            Some(e) => bail!("{subject}: {e}"),
            None => Ok(v),
        }
    }

    fn stream(&mut self, name: &str, subjects: &str, store: &str) -> Result<()> {
        let conf = json!({"name": name, "subjects": [subjects], "storage": store, "retention": "limits", "discard": "old",
            "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "num_replicas": 1});
        self.api(&format!("STREAM.CREATE.{name}"), conf).map(|_| ())
    }

    fn consumer(&mut self, stream: &str, name: &str, mut conf: Value) -> Result<()> {
        conf["name"] = name.into();
        conf["deliver_policy"] = "all".into();
        conf["replay_policy"] = "instant".into();
        self.api(
            &format!("CONSUMER.CREATE.{stream}.{name}"),
            json!({"stream_name": stream, "config": conf, "action": "create"}),
        )
        .map(|_| ())
    }

    pub(crate) fn messages(&mut self, stream: &str) -> Result<u64> {
        let v = self.api(&format!("STREAM.INFO.{stream}"), Value::Null)?;
        v["state"]["messages"].as_u64().context("no message count in stream info")
    }

    /// Sends requests with up to `window` outstanding, until `max` are sent or `secs` have passed. `make` writes the n-th
    /// request, given its reply subject; `check` tells whether a reply is good. Returns the number of requests, and the latencies
    /// if `window` is 1.
    pub(crate) fn pump(
        &mut self,
        max: u64,
        secs: Duration,
        window: u64,
        mut make: impl FnMut(u64, &mut Vec<u8>, &str),
        check: impl Fn(&Msg) -> bool,
    ) -> Result<(u64, Vec<u64>)> {
        let (mut sent, mut got, mut lat) = (0u64, 0u64, Vec::new());
        let (begin, mut out, mut reply) = (Instant::now(), Vec::new(), String::new());
        let mut open = true;
        while open || got < sent {
            out.clear();
            open = open && begin.elapsed() < secs && sent < max;
            while open && sent - got < window && sent < max {
                self.n += 1;
                reply.clear();
                let _ = std::fmt::Write::write_fmt(&mut reply, format_args!("{}.{:08}", self.inbox, self.n));
                make(sent, &mut out, &reply);
                sent += 1;
            }
            let at = Instant::now();
            self.s.write_all(&out)?;
            if got == sent {
                break;
            }
            self.r.fill(&mut self.s).with_context(|| format!("{} replies missing", sent - got))?;
            while let Some(m) = self.r.next()? {
                if !check(&m) {
                    bail!(
                        "bad reply {:?} {:?}",
                        String::from_utf8_lossy(m.hdr),
                        String::from_utf8_lossy(m.body)
                    );
                }
                got += 1;
                if window == 1 {
                    lat.push(at.elapsed().as_nanos() as u64);
                }
            }
        }
        Ok((sent, lat))
    }

    /// Publishes with acknowledgements; the stream's message count must grow by the number of messages.
    pub(crate) fn fill(
        &mut self,
        stream: &str,
        n: u64,
        secs: Duration,
        window: u64,
        size: usize,
        subject: impl Fn(u64) -> String,
    ) -> Result<(u64, Vec<u64>)> {
        let before = self.messages(stream)?;
        let body = vec![b'x'; size];
        let done = self.pump(
            n,
            secs,
            window,
            |i, out, reply| wire::encode(out, &subject(i), reply, b"", &body),
            is_ack,
        )?;
        let after = self.messages(stream)?;
        if after != before + done.0 {
            bail!("{} messages acknowledged, {} stored", done.0, after - before);
        }
        Ok(done)
    }
}

pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn is_ack(m: &Msg) -> bool {
    m.body.starts_with(b"{\"stream\":") && m.hdr.is_empty()
}

fn publish(c: &mut Ctx, store: &str, size: usize, window: u64) -> Result<Vec<Metric>> {
    let mut k = Client::open(c.server.addr)?;
    k.stream("BENCH", "bench.*", store)?;
    let subject = |_| "bench.a".to_string();
    k.fill("BENCH", c.scaled(5000), c.warm(), window, size, subject)?;
    // A fixed number of messages, so that memory use can be compared; the time is only a limit.
    let n = c.scaled(if window == 1 {
        40_000
    } else if size > 128 {
        200_000
    } else {
        400_000
    });
    let probe = Probe::start(&c.server);
    let body = vec![b'x'; size];
    let (n, lat) = k.pump(
        n,
        c.secs * 2,
        window,
        |_, out, reply| wire::encode(out, "bench.a", reply, b"", &body),
        is_ack,
    )?;
    let mut out = probe.finish(&c.server, n as f64);
    out.splice(1..1, latency(lat));
    Ok(out)
}

fn preload(c: &mut Ctx, store: &str, n: u64) -> Result<Client> {
    let mut k = Client::open(c.server.addr)?;
    k.stream("BENCH", "bench.*", store)?;
    k.fill("BENCH", n, LONG, 2000, 128, |_| "bench.a".into())?;
    Ok(k)
}

fn fetch(c: &mut Ctx, batch: u64, acks: bool) -> Result<Vec<Metric>> {
    let total = c.scaled(if acks { 200_000 } else { 500_000 }) / batch * batch;
    let mut k = preload(c, "file", total)?;
    let policy = if acks { "explicit" } else { "none" };
    k.consumer(
        "BENCH",
        "PULL",
        json!({"durable_name": "PULL", "ack_policy": policy, "max_ack_pending": if acks { 2 * batch as i64 } else { -1 }}),
    )?;
    let mut ask = Vec::new();
    let body = format!("{{\"batch\":{batch},\"expires\":5000000000}}");
    wire::encode(&mut ask, "$JS.API.CONSUMER.MSG.NEXT.BENCH.PULL", "_INBOX.load.fetch", b"", body.as_bytes());
    let probe = Probe::start(&c.server);
    let (begin, mut lat, mut done, mut out) = (Instant::now(), Vec::new(), 0, Vec::new());
    while done < total && begin.elapsed() < c.secs * 3 {
        let at = Instant::now();
        k.s.write_all(&ask)?;
        let mut got = 0;
        while got < batch {
            k.r.fill(&mut k.s).with_context(|| format!("fetch stopped after {} messages", done + got))?;
            out.clear();
            while let Some(m) = k.r.next()? {
                if let Some(code) = m.status() {
                    bail!("fetch ended with status {code} after {} messages", done + got);
                }
                got += 1;
                if sequence(&m)? != done + got {
                    bail!("message {} out of order: {:?}", done + got, String::from_utf8_lossy(m.reply));
                }
                if acks {
                    ack(&m, &mut out);
                }
            }
            if acks {
                k.s.write_all(&out)?;
            }
        }
        lat.push(at.elapsed().as_nanos() as u64);
        done += got;
    }
    if acks {
        settle(&mut k, "PULL", done)?;
    }
    let mut out = probe.finish(&c.server, done as f64);
    out.push(low("fetch p50 us", latency(lat)[0].value));
    Ok(out)
}

fn ack(m: &Msg, out: &mut Vec<u8>) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(m.reply);
    out.extend_from_slice(b" 4\r\n+ACK\r\n");
}

/// Waits until the consumer's ack floor reaches `n`.
fn settle(k: &mut Client, consumer: &str, n: u64) -> Result<()> {
    let begin = Instant::now();
    loop {
        let v = k.api(&format!("CONSUMER.INFO.BENCH.{consumer}"), Value::Null)?;
        if v["ack_floor"]["stream_seq"].as_u64() == Some(n) {
            return Ok(());
        }
        if begin.elapsed() > Duration::from_secs(5) {
            bail!("ack floor is {} after {n} acks", v["ack_floor"]);
        }
    }
}

fn push(c: &mut Ctx, store: &str, n: u64, acks: bool) -> Result<Vec<Metric>> {
    let n = c.scaled(n);
    let mut k = preload(c, store, n)?;
    let mut rx = wire::connect(c.server.addr)?;
    wire::subscribe(&mut rx, &[("deliver.load".into(), "", 1)])?;
    let conf = if acks {
        json!({"deliver_subject": "deliver.load", "ack_policy": "explicit", "max_ack_pending": 1000})
    } else {
        json!({"deliver_subject": "deliver.load", "ack_policy": "none", "flow_control": true, "idle_heartbeat": 5_000_000_000u64,
            "max_deliver": 1, "mem_storage": true, "inactive_threshold": 60_000_000_000u64})
    };
    let probe = Probe::start(&c.server);
    k.consumer("BENCH", "PUSH", conf)?;
    let (mut r, mut out, mut done) = (Reader::new(), Vec::new(), 0);
    let begin = Instant::now();
    while done < n && begin.elapsed() < c.secs * 4 {
        r.fill(&mut rx).with_context(|| format!("push stopped after {done} messages"))?;
        out.clear();
        while let Some(m) = r.next()? {
            if answer_control(&m, &mut out) {
                continue;
            }
            done += 1;
            if sequence(&m)? != done {
                bail!("message {done} out of order: {:?}", String::from_utf8_lossy(m.reply));
            }
            if acks {
                ack(&m, &mut out);
            }
        }
        if !out.is_empty() {
            rx.write_all(&out)?;
        }
    }
    if acks && done == n {
        settle(&mut k, "PUSH", n)?;
    }
    Ok(probe.finish(&c.server, done as f64))
}

fn kv(c: &mut Ctx, put: bool, window: u64) -> Result<Vec<Metric>> {
    let keys = c.scaled(10_000);
    let mut k = Client::open(c.server.addr)?;
    k.api("STREAM.CREATE.KV_B", bucket("B", 1))?;
    k.fill("KV_B", keys, LONG, 500, 128, |i| format!("$KV.B.key{i:05}"))?;
    let body = vec![b'v'; 128];
    let pick = |i: u64| i.wrapping_mul(7919) % keys;
    let n = c.scaled(if window == 1 { 60_000 } else { 400_000 });
    let probe = Probe::start(&c.server);
    let (n, lat) = if put {
        k.pump(
            n,
            c.secs * 2,
            window,
            |i, out, reply| wire::encode(out, &format!("$KV.B.key{:05}", pick(i)), reply, b"", &body),
            is_ack,
        )?
    } else {
        let make = |i: u64, out: &mut Vec<u8>, reply: &str| {
            wire::encode(out, &format!("$JS.API.DIRECT.GET.KV_B.$KV.B.key{:05}", pick(i)), reply, b"", b"")
        };
        k.pump(n, c.secs * 2, window, make, |m| {
            m.body.len() == 128 && memchr::memmem::find(m.hdr, b"Nats-Sequence").is_some()
        })?
    };
    let mut out = probe.finish(&c.server, n as f64);
    out.splice(1..1, latency(lat));
    Ok(out)
}

/// Fills a stream, then restarts the server after SIGKILL and after SIGTERM. The stream is ready when its info has the right
/// message count.
fn restart(c: &mut Ctx, n: u64, subjects: u64, size: usize) -> Result<Vec<Metric>> {
    let (n, subjects) = (c.scaled(n), c.scaled(subjects));
    let mut k = Client::open(c.server.addr)?;
    k.stream("BENCH", "many.>", "file")?;
    let probe = Probe::start(&c.server);
    k.fill("BENCH", n, LONG * 3, 4000, size, |i| {
        format!("many.{:03}.key{:05}", i % subjects / 1000, i % 1000)
    })?;
    let mut out = probe.finish(&c.server, n as f64);
    let (rss, _) = proc::rss(c.server.pid());
    out.push(low("MiB after fill", rss as f64 / 1024.0));
    out.push(low("disk B/msg", c.server.store_bytes() as f64 / n as f64));
    // SIGKILL first: a clean stop may leave an index that would also serve a later kill. The pause lets
    // acknowledged messages reach the page cache, which outlives the process.
    std::thread::sleep(Duration::from_millis(500));
    for (gently, ready, mem) in
        [(false, "ready s KILL", "MiB after KILL"), (true, "ready s TERM", "MiB after TERM")]
    {
        let begin = Instant::now();
        c.server.stop(gently)?;
        if gently {
            out.push(low("stop s TERM", begin.elapsed().as_secs_f64()));
        }
        let begin = Instant::now();
        c.server.launch(Duration::from_secs(120))?;
        let mut k = Client::open(c.server.addr)?;
        let have = loop {
            match k.messages("BENCH") {
                Ok(have) => break have,
                Err(e) if begin.elapsed() > Duration::from_secs(120) => {
                    return Err(e.context("stream not back after a restart"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if have != n {
            bail!("{have} of {n} messages after a restart");
        }
        out.push(low(ready, begin.elapsed().as_secs_f64()));
        out.push(low(mem, proc::rss(c.server.pid()).0 as f64 / 1024.0));
    }
    out.push(note("messages", n as f64));
    Ok(out)
}
