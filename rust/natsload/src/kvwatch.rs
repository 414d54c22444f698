//! Many watchers of a bucket: the cost and the latency of updates, and storms in which all watchers reconnect.

use crate::core::{Probe, Rng};
use crate::fleet::{Fleet, subject};
use crate::js::{Client, LONG};
use crate::kvkeys::bucket;
use crate::measure::{Ctx, Scenario, scenario};
use crate::proc;
use crate::report::{Metric, latency, low, note};
use crate::server::Js;
use crate::wire::{self, Reader};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

const WATCHERS: u64 = 10_000;
const CONNECTIONS: u64 = 200;
/// Watchers of the whole bucket.
const OF_ALL: usize = 20;
pub(crate) const KEYS_EACH: u64 = 10;
/// Updates a second.
const RATE: u64 = 1000;
const STORMS: usize = 5;
/// Time after which a server removes consumers that have lost their watchers.
pub(crate) const INACTIVE: Duration = Duration::from_secs(10);

pub(crate) fn all() -> Vec<Scenario> {
    let about = "10k watchers of 10 keys on 200 connections, 20 of all; 1,000 updates/s for 30 spans; 5 reconnect storms";
    let mut s = scenario("kv-watch-10k", about, run);
    (s.js, s.heavy) = (Js::On, true);
    vec![s]
}

fn run(c: &mut Ctx) -> Result<Vec<Metric>> {
    let groups = c.at_least(WATCHERS, 100);
    let mut k = Client::open(c.server.addr)?;
    // With less history, an update may be removed before a late watcher has seen it.
    k.api("STREAM.CREATE.KV_W", bucket("W", 64))?;
    let body = update(0, 0, 0);
    k.pump(
        groups * KEYS_EACH,
        LONG * 10,
        1000,
        |n, out, reply| {
            wire::encode(out, &subject(n / KEYS_EACH, n % KEYS_EACH), reply, b"", &body);
        },
        crate::js::is_ack,
    )?;
    let before = proc::rss(c.server.pid()).0;
    let mut fleet = Fleet::new(groups as usize, OF_ALL, KEYS_EACH);
    let (connections, watchers) = (c.at_least(CONNECTIONS, 10) as usize, fleet.len());
    let mut out = vec![low("first start s", start(c, &mut fleet, connections)?.0)];
    let more = proc::rss(c.server.pid()).0.saturating_sub(before);
    out.push(low("KiB/watcher", more as f64 / watchers as f64));
    out.extend(updates(c, &mut fleet)?);
    let mut storms = Vec::new();
    let before = proc::usage(c.server.pid()).cpu;
    for _ in 0..STORMS {
        storms.push(start(c, &mut fleet, connections)?);
    }
    storms.sort_by(|a, b| a.0.total_cmp(&b.0));
    out.push(low("storm s", storms[STORMS / 2].0));
    out.push(low("storm cpu s", (proc::usage(c.server.pid()).cpu - before) / STORMS as f64));
    out.extend(settled(&mut k, &mut fleet, watchers as u64)?);
    out.push(low("peak MiB", proc::rss(c.server.pid()).1 as f64 / 1024.0));
    out.push(note("watchers", watchers as f64));
    Ok(out)
}

/// Closes all connections and opens them again with new consumers, as clients do after a reconnect. Returns the seconds until
/// every watcher has all values.
fn start(c: &Ctx, fleet: &mut Fleet, connections: usize) -> Result<(f64, u64)> {
    let begin = Instant::now();
    fleet.connect(c.server.addr, connections)?;
    let mut moved = Instant::now();
    while !fleet.is_watching() {
        if fleet.turn(Duration::from_millis(100), &mut |_, _| Ok(()))? > 0 {
            moved = Instant::now();
        } else if moved.elapsed() > LONG {
            bail!("{} of {} watchers have all values, and no more come", fleet.watching(), fleet.len());
        }
    }
    Ok((begin.elapsed().as_secs_f64(), fleet.len() as u64))
}

/// Returns the body of an update: its group, its number in the group, and the time at which it is due.
fn update(group: u64, number: u64, due: u64) -> Vec<u8> {
    format!("{group:05} {number:08} {due:016}").into_bytes()
}

/// Publishes updates at a fixed rate, and checks that each watcher concerned sees them in order.
fn updates(c: &Ctx, fleet: &mut Fleet) -> Result<Vec<Metric>> {
    let span = c.secs * 30;
    let count = (RATE as f64 * span.as_secs_f64()) as u64;
    let groups = fleet.groups() as u64;
    let (begin, is_failed) = (Instant::now(), AtomicBool::new(false));
    let probe = Probe::start(&c.server);
    let expected = count * (1 + OF_ALL as u64);
    let (mut times, mut cpu) = (Vec::with_capacity(expected as usize), Vec::new());
    scope(|s| {
        let publisher = s.spawn(|| publish(c, begin, count, groups, &is_failed));
        let mut moved = Instant::now();
        let seen = loop {
            if times.len() as u64 >= expected || is_failed.load(SeqCst) {
                break Ok(());
            }
            let got = fleet.turn(Duration::from_millis(100), &mut |now, due| {
                times.push((now - begin).as_nanos().saturating_sub(due.into()) as u64);
                Ok(())
            });
            match got {
                Ok(0) if moved.elapsed() > LONG => {
                    break Err(anyhow!("{} of {expected} updates were seen, and no more come", times.len()));
                }
                Ok(0) => {}
                Ok(_) => moved = Instant::now(),
                Err(e) => break Err(e),
            }
        };
        is_failed.fetch_or(seen.is_err(), SeqCst);
        // Only heartbeats follow from here; the CPU is measured for the updates only.
        cpu.extend(probe.finish(&c.server, times.len() as f64));
        let published = publisher.join().map_err(|_| anyhow!("the publisher panicked"))?;
        seen.and(published)
    })?;
    fleet.check_all_seen(count)?;
    let mut out = latency(times);
    out.extend(cpu.into_iter().filter(|m| m.key != "peak MiB"));
    out.push(note("updates", count as f64));
    Ok(out)
}

/// Publishes updates when they are due; at the end, waits for their acknowledgements.
fn publish(c: &Ctx, begin: Instant, count: u64, groups: u64, is_failed: &AtomicBool) -> Result<()> {
    let told = (|| {
        let mut s = wire::connect(c.server.addr)?;
        wire::subscribe(&mut s, &[("_INBOX.updates".into(), "", 1)])?;
        let acks = s.try_clone()?;
        scope(|threads| {
            let reader = threads.spawn(move || acknowledged(acks, count));
            send(&mut s, begin, count, groups, is_failed)?;
            reader.join().map_err(|_| anyhow!("the reader of acknowledgements panicked"))?
        })
    })();
    is_failed.fetch_or(told.is_err(), SeqCst);
    told
}

fn send(s: &mut TcpStream, begin: Instant, count: u64, groups: u64, is_failed: &AtomicBool) -> Result<()> {
    let (mut numbers, mut chance) = (vec![0; groups as usize], Rng(3));
    let (mut sent, mut out) = (0, Vec::new());
    let step = Duration::from_secs(1) / RATE as u32;
    proc::sharp_timer();
    while sent < count && !is_failed.load(SeqCst) {
        let now = begin.elapsed();
        out.clear();
        while sent < count && step * sent as u32 <= now {
            let dice = chance.next();
            let (group, key) = ((dice >> 16) % groups, dice % KEYS_EACH);
            numbers[group as usize] += 1;
            let body = update(group, numbers[group as usize], (step * sent as u32).as_nanos() as u64);
            wire::encode(&mut out, &subject(group, key), "_INBOX.updates", b"", &body);
            sent += 1;
        }
        s.write_all(&out)?;
        sleep((step * sent as u32).saturating_sub(begin.elapsed()));
    }
    if sent < count {
        // This ends the reader of acknowledgements too.
        s.shutdown(std::net::Shutdown::Both)?;
    }
    Ok(())
}

fn acknowledged(mut s: TcpStream, count: u64) -> Result<()> {
    let (mut r, mut got) = (Reader::new(), 0);
    while got < count {
        r.fill(&mut s)?;
        while let Some(m) = r.next()? {
            if !crate::js::is_ack(&m) {
                bail!("an update is answered with {:?}", String::from_utf8_lossy(m.body));
            }
            got += 1;
        }
    }
    Ok(())
}

/// Waits until there are as many consumers as watchers. Returns the number of consumers above that at the end, and the time.
fn settled(k: &mut Client, fleet: &mut Fleet, watchers: u64) -> Result<[Metric; 2]> {
    let begin = Instant::now();
    let left = loop {
        // Meanwhile, the watchers answer flow control requests.
        fleet.turn(Duration::from_millis(100), &mut |_, _| Ok(()))?;
        let told = k.api("STREAM.INFO.KV_W", Value::Null)?;
        let have = told["state"]["consumer_count"].as_u64().unwrap_or(0);
        if have < watchers {
            bail!("{have} consumers for {watchers} watchers");
        }
        if have == watchers || begin.elapsed() > INACTIVE * 4 {
            break have - watchers;
        }
    };
    Ok([low("consumers left", left as f64), low("consumers gone s", begin.elapsed().as_secs_f64())])
}
