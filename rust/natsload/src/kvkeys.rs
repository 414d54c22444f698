//! Buckets with many keys: filling, a kill, listings with filters, single gets.

use crate::core::{Probe, Rng};
use crate::js::Client;
use crate::measure::{Ctx, Scenario, scenario};
use crate::proc;
use crate::replay::{Want, replay};
use crate::report::{Metric, high, latency, low, note};
use crate::server::Js;
use crate::wire;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const HISTORY: u64 = 5;
const VALUE: usize = 32;
/// Numbers of values of the two tokens that a filter fixes. With the two forms of keys, a filter matches one key in 1000.
const REGIONS: u64 = 20;
const KINDS: u64 = 25;
const LAST: &str = "$KV.K.last.r07.c07.*";
const MIDDLE: &str = "$KV.K.mid.r07.*.c07";
/// A limit that only ends a run that hangs.
const BOUND: Duration = Duration::from_secs(7200);

pub(crate) fn all() -> Vec<Scenario> {
    let about = "10M keys, history 5, 50M puts of 32 B; kill -9; keys by filters of 1 in 1,000; gets";
    let mut many = scenario("kv-keys-10m", about, |c| keys(c, c.scaled(10_000_000)));
    (many.js, many.heavy) = (Js::On, true);
    let mut few = scenario("kv-keys-1000", "the same with 1,000 keys", |c| keys(c, 1000));
    few.js = Js::On;
    vec![many, few]
}

/// Returns the configuration of a bucket's stream, as clients create it.
pub(crate) fn bucket(name: &str, history: u64) -> Value {
    json!({"name": format!("KV_{name}"), "subjects": [format!("$KV.{name}.>")], "storage": "file", "retention": "limits",
        "discard": "new", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1,
        "num_replicas": 1, "max_msgs_per_subject": history, "allow_rollup_hdrs": true, "deny_delete": true,
        "allow_direct": true})
}

/// Returns the subject of the nth key. A filter's wildcard is the last token for one half of the keys, and in the middle for the
/// other.
fn subject(n: u64) -> String {
    let (region, kind, user) = (n / 2 % REGIONS, n / 2 / REGIONS % KINDS, n / 2 / REGIONS / KINDS);
    if n.is_multiple_of(2) {
        format!("$KV.K.last.r{region:02}.c{kind:02}.u{user:06}")
    } else {
        format!("$KV.K.mid.r{region:02}.u{user:06}.c{kind:02}")
    }
}

/// Returns how many of the first `keys` keys each filter matches.
fn matching(keys: u64) -> (u64, u64) {
    let (period, place) = (2 * REGIONS * KINDS, 2 * (7 + 7 * REGIONS));
    let count = |first: u64| keys.saturating_sub(first).div_ceil(period);
    (count(place), count(place + 1))
}

fn keys(c: &mut Ctx, keys: u64) -> Result<Vec<Metric>> {
    let mut k = Client::open(c.server.addr)?;
    k.api("STREAM.CREATE.KV_K", bucket("K", HISTORY))?;
    let probe = Probe::start(&c.server);
    k.fill("KV_K", keys * HISTORY, BOUND, 4000, VALUE, |n| subject(n % keys))?;
    let mut out = probe.finish(&c.server, (keys * HISTORY) as f64);
    out.push(low("MiB after fill", proc::rss(c.server.pid()).0 as f64 / 1024.0));
    // Acknowledged messages may not have reached the page cache yet, which outlives the process.
    std::thread::sleep(Duration::from_millis(500));
    out.push(low("disk B/msg", c.server.store_bytes() as f64 / (keys * HISTORY) as f64));
    c.server.stop(false)?;
    let begin = Instant::now();
    c.server.launch(Duration::from_secs(600))?;
    let mut k = Client::open(c.server.addr)?;
    let have = loop {
        match k.messages("KV_K") {
            Ok(have) => break have,
            Err(e) if begin.elapsed() > Duration::from_secs(600) => {
                return Err(e.context("no bucket after a kill"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    out.push(low("ready s KILL", begin.elapsed().as_secs_f64()));
    out.push(low("MiB after KILL", proc::rss(c.server.pid()).0 as f64 / 1024.0));
    if have != keys * HISTORY {
        bail!("{have} of {} values after a kill", keys * HISTORY);
    }
    let (last, middle) = matching(keys);
    list(c, &mut k, LAST, last, ["last s", "last first ms", "last cpu ms"], &mut out)?;
    list(c, &mut k, MIDDLE, middle, ["middle s", "middle first ms", "middle cpu ms"], &mut out)?;
    for (window, per_cpu, rate) in [(1, "get-1/cpu s", "get-1/s"), (64, "get-64/cpu s", "get-64/s")] {
        gets(c, &mut k, keys, window, [per_cpu, rate], &mut out)?;
    }
    out.push(low("peak MiB later", proc::rss(c.server.pid()).1 as f64 / 1024.0));
    Ok(out)
}

/// Lists the keys that a filter matches, as clients do: the last message of each, headers only.
fn list(
    c: &Ctx,
    k: &mut Client,
    filter: &str,
    count: u64,
    names: [&'static str; 3],
    out: &mut Vec<Metric>,
) -> Result<()> {
    let before = proc::usage(c.server.pid()).cpu;
    let want = Want { stream: "KV_K", filter, last: true, headers_only: true };
    let took = replay(&c.server, k, &want, |m| {
        if !wire::matches(filter, m.subject) {
            bail!("{:?} came for the filter {filter}", String::from_utf8_lossy(m.subject));
        }
        Ok(())
    })?;
    if took.messages != count {
        bail!("{} keys listed by {filter}, {count} expected", took.messages);
    }
    out.push(low(names[0], took.all.as_secs_f64()));
    out.push(low(names[1], took.first.as_secs_f64() * 1e3));
    out.push(low(names[2], (proc::usage(c.server.pid()).cpu - before) * 1e3));
    Ok(())
}

/// Gets random keys, and checks their values.
fn gets(
    c: &Ctx,
    k: &mut Client,
    keys: u64,
    window: u64,
    names: [&'static str; 2],
    out: &mut Vec<Metric>,
) -> Result<()> {
    let mut chance = Rng(keys);
    let (begin, before) = (Instant::now(), proc::usage(c.server.pid()).cpu);
    let make = |_: u64, bytes: &mut Vec<u8>, reply: &str| {
        let subject = format!("$JS.API.DIRECT.GET.KV_K.{}", subject(chance.next() % keys));
        wire::encode(bytes, &subject, reply, b"", b"");
    };
    let count = c.scaled(if window == 1 { 60_000 } else { 400_000 });
    let (done, times) = k.pump(count, c.secs * 2, window, make, |m| {
        m.body.len() == VALUE && m.header("Nats-Sequence").is_some()
    })?;
    let (secs, cpu) = (begin.elapsed().as_secs_f64(), proc::usage(c.server.pid()).cpu - before);
    out.push(high(names[0], done as f64 / cpu));
    out.push(high(names[1], done as f64 / secs));
    if let [_, p99, _] = &latency(times)[..] {
        out.push(note("get-1 p99 us", p99.value));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{LAST, MIDDLE, matching, subject};
    use crate::wire::matches;

    #[test]
    fn one_key_in_a_thousand_matches_a_filter() {
        for keys in [1, 283, 1000, 1280, 1281, 25_000] {
            let count = |filter| (0..keys).filter(|n| matches(filter, subject(*n).as_bytes())).count() as u64;
            assert_eq!(matching(keys), (count(LAST), count(MIDDLE)), "{keys} keys");
        }
        assert_eq!(matching(10_000_000), (10_000, 10_000));
    }

    #[test]
    fn every_key_is_another() {
        let all: std::collections::HashSet<String> = (0..5000).map(subject).collect();
        assert_eq!(all.len(), 5000);
    }
}
