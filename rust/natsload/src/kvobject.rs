//! Object store: upload, download and deletion of one large object; a million small objects.

use crate::js::{Client, is_ack};
use crate::measure::{Ctx, Scenario, scenario};
use crate::proc;
use crate::replay::{Want, replay};
use crate::report::{Metric, high, low};
use crate::server::Js;
use crate::wire;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use ring::digest::{self, SHA256};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The default chunk size of clients.
const CHUNK: usize = 128 << 10;
const SMALL: usize = 4096;
const LARGE: u64 = 4 << 30;
const MANY: u64 = 1_000_000;
/// Number of small objects that are read back.
const PROBES: u64 = 20;
/// Bytes that a server may keep on disk without any object: the log and files of fixed size.
const KEPT: u64 = 80 << 20;
const BOUND: Duration = Duration::from_secs(7200);

pub(crate) fn all() -> Vec<Scenario> {
    let mut large =
        scenario("kv-object-4g", "an object of 4 GiB in chunks of 128 KiB up, down and deleted", large);
    let mut many = scenario("kv-objects-1m", "1M objects of 4 KiB up, listed, some read back", many);
    for s in [&mut large, &mut many] {
        (s.js, s.heavy) = (Js::On, true);
    }
    vec![large, many]
}

fn store(k: &mut Client) -> Result<()> {
    let conf = json!({"name": "OBJ_B", "subjects": ["$O.B.C.>", "$O.B.M.>"], "storage": "file", "retention": "limits",
        "discard": "new", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1,
        "num_replicas": 1, "allow_rollup_hdrs": true, "allow_direct": true});
    k.api("STREAM.CREATE.OBJ_B", conf).map(|_| ())
}

/// Returns the subject and the body of an object's info.
fn info(name: &str, nuid: &str, size: u64, chunks: u64, digest: &str) -> (String, Vec<u8>) {
    let subject = format!("$O.B.M.{}", BASE64_URL_SAFE.encode(name));
    let told = json!({"name": name, "bucket": "B", "nuid": nuid, "size": size, "chunks": chunks, "digest": digest,
        "options": {"max_chunk_size": CHUNK}, "mtime": "0001-01-01T00:00:00Z"});
    (subject, told.to_string().into_bytes())
}

const ROLLUP: &[u8] = b"NATS/1.0\r\nNats-Rollup: sub\r\n\r\n";

fn digest_text(sum: &digest::Digest) -> String {
    format!("SHA-256={}", BASE64_URL_SAFE.encode(sum))
}

/// Start values of a stage: time and CPU use. The peak of memory is reset at the start.
struct Stage {
    begin: Instant,
    cpu: f64,
}

impl Stage {
    fn start(c: &Ctx) -> Stage {
        proc::reset_peak(c.server.pid());
        Stage { begin: Instant::now(), cpu: proc::usage(c.server.pid()).cpu }
    }

    /// Returns rates in MB, and the peak of memory above `idle` KiB.
    fn finish(&self, c: &Ctx, bytes: u64, idle: u64, names: [&'static str; 3]) -> [Metric; 3] {
        let cpu = proc::usage(c.server.pid()).cpu - self.cpu;
        let megabytes = bytes as f64 / 1e6;
        let peak = proc::rss(c.server.pid()).1.saturating_sub(idle);
        [
            high(names[0], megabytes / cpu),
            high(names[1], megabytes / self.begin.elapsed().as_secs_f64()),
            low(names[2], peak as f64 / 1024.0),
        ]
    }
}

fn large(c: &mut Ctx) -> Result<Vec<Metric>> {
    let chunks = c.at_least(LARGE / CHUNK as u64, 64);
    let size = chunks * CHUNK as u64;
    let mut k = Client::open(c.server.addr)?;
    store(&mut k)?;
    let (idle, empty) = (proc::rss(c.server.pid()).0, c.server.store_bytes());
    let stage = Stage::start(c);
    let sent = upload(&mut k, chunks)?;
    let mut out = stage.finish(c, size, idle, ["up MB/cpu s", "up MB/s", "up MiB over idle"]).to_vec();
    out.push(low("disk B/B", (c.server.store_bytes() - empty) as f64 / size as f64));
    let stage = Stage::start(c);
    let got = download(c, &mut k, "large", size)?;
    out.extend(stage.finish(c, size, idle, ["down MB/cpu s", "down MB/s", "down MiB over idle"]));
    if got != sent {
        bail!("the digest of what came back is {got}, {sent} was sent");
    }
    let begin = Instant::now();
    let purged = k.api("STREAM.PURGE.OBJ_B", json!({"filter": "$O.B.C.large"}))?;
    if purged["purged"].as_u64() != Some(chunks) {
        bail!("{purged} after {chunks} chunks");
    }
    out.push(low("delete ms", begin.elapsed().as_secs_f64() * 1e3));
    // If the disk space is not freed within 60 s, that limit is the result.
    while c.server.store_bytes() > empty + KEPT && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(50));
    }
    out.push(low("disk back s", begin.elapsed().as_secs_f64()));
    out.push(low("MiB later", proc::rss(c.server.pid()).0 as f64 / 1024.0));
    Ok(out)
}

/// Publishes chunks, with up to 64 in flight, then the object's info. Returns the digest of all bytes.
fn upload(k: &mut Client, chunks: u64) -> Result<String> {
    let mut sum = digest::Context::new(&SHA256);
    let mut body = filler(CHUNK);
    k.pump(
        chunks,
        BOUND,
        64,
        |n, out, reply| {
            body[..8].copy_from_slice(&n.to_le_bytes());
            sum.update(&body);
            wire::encode(out, "$O.B.C.large", reply, b"", &body);
        },
        is_ack,
    )?;
    let told = digest_text(&sum.finish());
    let (subject, meta) = info("large", "large", chunks * CHUNK as u64, chunks, &told);
    let m = k.ask(&subject, ROLLUP, &meta)?;
    if !is_ack(&m) {
        bail!("the info is answered with {:?}", String::from_utf8_lossy(m.body));
    }
    Ok(told)
}

/// Reads an object's info and chunks. Returns the digest of the received bytes, which must be `size`.
fn download(c: &Ctx, k: &mut Client, name: &str, size: u64) -> Result<String> {
    let subject = format!("$JS.API.DIRECT.GET.OBJ_B.$O.B.M.{}", BASE64_URL_SAFE.encode(name));
    let told: Value = serde_json::from_slice(k.ask(&subject, b"", b"")?.body).context("no info")?;
    let filter = format!("$O.B.C.{}", told["nuid"].as_str().context("no nuid in the info")?);
    let want = Want { stream: "OBJ_B", filter: &filter, last: false, headers_only: false };
    let (mut sum, mut got) = (digest::Context::new(&SHA256), 0);
    replay(&c.server, k, &want, |m| {
        sum.update(m.body);
        got += m.body.len() as u64;
        Ok(())
    })?;
    let sum = digest_text(&sum.finish());
    if got != size || told["digest"] != sum.as_str() {
        bail!("{got} bytes with digest {sum} came for {told}");
    }
    Ok(sum)
}

fn many(c: &mut Ctx) -> Result<Vec<Metric>> {
    let count = c.scaled(MANY);
    let mut k = Client::open(c.server.addr)?;
    store(&mut k)?;
    let idle = proc::rss(c.server.pid()).0;
    let mut body = filler(SMALL);
    let stage = Stage::start(c);
    let make = |n: u64, out: &mut Vec<u8>, reply: &str| {
        body[..8].copy_from_slice(&(n / 2).to_le_bytes());
        let nuid = format!("n{:07}", n / 2);
        if n.is_multiple_of(2) {
            return wire::encode(out, &format!("$O.B.C.{nuid}"), reply, b"", &body);
        }
        let sum = digest_text(&digest::digest(&SHA256, &body));
        let (subject, meta) = info(&format!("object-{}", n / 2), &nuid, SMALL as u64, 1, &sum);
        wire::encode(out, &subject, reply, ROLLUP, &meta);
    };
    k.pump(2 * count, BOUND, 256, make, is_ack)?;
    let bytes = count * SMALL as u64;
    let [per_cpu, rate, peak] =
        stage.finish(c, bytes, idle, ["objects/cpu s", "objects/s", "up MiB over idle"]);
    let objects = 1e6 / SMALL as f64;
    let mut out =
        vec![high(per_cpu.key, per_cpu.value * objects), high(rate.key, rate.value * objects), peak];
    out.push(low("disk B/object", c.server.store_bytes() as f64 / count as f64));
    let stage = Stage::start(c);
    let want = Want { stream: "OBJ_B", filter: "$O.B.M.>", last: true, headers_only: false };
    let took = replay(&c.server, &mut k, &want, |m| {
        let told = memchr::memmem::find(m.body, b"\"digest\":\"SHA-256=");
        told.map(|_| ()).with_context(|| format!("no digest in {:?}", String::from_utf8_lossy(m.body)))
    })?;
    if took.messages != count {
        bail!("{} of {count} objects listed", took.messages);
    }
    let cpu = proc::usage(c.server.pid()).cpu - stage.cpu;
    out.push(high("listed/cpu s", count as f64 / cpu));
    out.push(high("listed/s", count as f64 / took.all.as_secs_f64()));
    out.push(low("list first ms", took.first.as_secs_f64() * 1e3));
    for n in 0..PROBES {
        download(c, &mut k, &format!("object-{}", n * (count - 1) / (PROBES - 1)), SMALL as u64)?;
    }
    out.push(low("peak MiB", proc::rss(c.server.pid()).1 as f64 / 1024.0));
    Ok(out)
}

/// Returns bytes that do not compress.
fn filler(size: usize) -> Vec<u8> {
    let mut chance = crate::core::Rng(1);
    (0..size / 8).flat_map(|_| chance.next().to_le_bytes()).collect()
}
