//! Writers that compare and set, while the server is killed repeatedly. Counts successful writes, and checks that the recorded
//! history is one of registers with versions.

use crate::core::Rng;
use crate::history::{self, Kind, Op, Outcome};
use crate::js::Client;
use crate::kvkeys::bucket;
use crate::measure::{Ctx, Scenario, scenario};
use crate::proc;
use crate::replay::{Want, replay, sequence};
use crate::report::{Metric, high, low, note};
use crate::server::Js;
use crate::wire::Msg;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::scope;
use std::time::{Duration, Instant};

const KEYS: usize = 10;
const WRITERS: u64 = 200;
/// Number of kills; a span is the time between two kills.
const KILLS: u32 = 5;
const SPANS: u32 = KILLS + 1;
const RESTART: Duration = Duration::from_secs(60);

pub(crate) fn all() -> Vec<Scenario> {
    let about = "200 writers compare and set on 10 keys; kill -9 after each fifth of 30 spans; the history is checked";
    let mut s = scenario("kv-cas-kills", about, run);
    (s.js, s.heavy) = (Js::On, true);
    vec![s]
}

/// State that the writers share with the thread that kills the server.
struct Run {
    addr: SocketAddr,
    begin: Instant,
    next_value: AtomicI64,
    /// Set before the server is killed, so that a lost connection is not a failure.
    is_killing: AtomicBool,
    is_over: AtomicBool,
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
struct Turn {
    generation: u32,
    /// Number of writers that wait for the server, or have ended.
    idle: usize,
    failure: Option<anyhow::Error>,
}

impl Run {
    fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the server is back; returns the new generation.
    fn pause(&self) -> u32 {
        let mut turn = self.turn();
        let before = turn.generation;
        turn.idle += 1;
        self.changed.notify_all();
        while turn.generation == before && turn.failure.is_none() && !self.is_over.load(SeqCst) {
            turn = self.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        turn.generation
    }

    /// Waits until all writers are idle.
    fn wait_idle(&self, writers: usize) -> Result<()> {
        let turn = self.turn();
        let waiting = |turn: &mut Turn| turn.idle < writers && turn.failure.is_none();
        let (mut turn, late) = self
            .changed
            .wait_timeout_while(turn, Duration::from_secs(30), waiting)
            .unwrap_or_else(PoisonError::into_inner);
        match turn.failure.take() {
            Some(failure) => Err(failure),
            None if late.timed_out() => {
                bail!("{} of {writers} writers still wait for an answer", writers - turn.idle)
            }
            None => Ok(()),
        }
    }

    /// Lets the writers continue with the restarted server.
    fn go_on(&self) {
        let mut turn = self.turn();
        turn.generation += 1;
        turn.idle = 0;
        self.is_killing.store(false, SeqCst);
        self.changed.notify_all();
    }

    /// Ends the run; each writer completes its current operation.
    fn end(&self, failure: Option<anyhow::Error>) {
        self.is_over.store(true, SeqCst);
        let mut turn = self.turn();
        if turn.failure.is_none() {
            turn.failure = failure;
        }
        self.changed.notify_all();
    }
}

fn run(c: &mut Ctx) -> Result<Vec<Metric>> {
    let writers = c.at_least(WRITERS, 20) as usize;
    let mut k = Client::open(c.server.addr)?;
    k.api("STREAM.CREATE.KV_CAS", bucket("CAS", 64))?;
    drop(k);
    let shared = Run {
        addr: c.server.addr,
        begin: Instant::now(),
        next_value: AtomicI64::new(0),
        is_killing: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        turn: Mutex::default(),
        changed: Condvar::new(),
    };
    let (mut ops, mut log) = (Vec::new(), HashMap::new());
    let spent = scope(|s| {
        let hands: Vec<_> = (0..writers)
            .map(|id| {
                s.spawn({
                    let shared = &shared;
                    move || Writer::new(shared, id).work()
                })
            })
            .collect();
        let spent = kill_again_and_again(c, &shared, writers, &mut ops, &mut log);
        let (spent, failure) = match spent {
            Ok(spent) => (Some(spent), None),
            Err(failure) => (None, Some(failure)),
        };
        shared.end(failure);
        for hand in hands {
            ops.extend(hand.join().map_err(|_| anyhow!("a writer panicked"))?);
        }
        match shared.turn().failure.take() {
            Some(failure) => Err(failure),
            None => spent.context("no failure and no result"),
        }
    })?;
    // The final read of each key observes the effects of the last writers.
    look(c, &shared, KILLS, &mut ops, &mut log)?;
    history::settle(&mut ops, &log);
    report(c, ops, spent)
}

/// CPU and wall-clock seconds of the measured spans.
#[derive(Default)]
struct Spent {
    cpu: f64,
    secs: f64,
}

fn kill_again_and_again(
    c: &mut Ctx,
    shared: &Run,
    writers: usize,
    ops: &mut Vec<Op>,
    log: &mut HashMap<i64, u64>,
) -> Result<Spent> {
    let mut spent = Spent::default();
    for span in 0..SPANS {
        let (begin, before) = (Instant::now(), proc::usage(c.server.pid()).cpu);
        let turn = shared.turn();
        let healthy = |turn: &mut Turn| turn.failure.is_none();
        drop(
            shared
                .changed
                .wait_timeout_while(turn, c.secs * 5, healthy)
                .unwrap_or_else(PoisonError::into_inner),
        );
        spent.cpu += proc::usage(c.server.pid()).cpu - before;
        spent.secs += begin.elapsed().as_secs_f64();
        if span + 1 == SPANS {
            break;
        }
        shared.is_killing.store(true, SeqCst);
        c.server.stop(false)?;
        shared.wait_idle(writers)?;
        c.server.launch(RESTART)?;
        look(c, shared, span, ops, log)?;
        shared.go_on();
    }
    Ok(spent)
}

/// Reads the bucket's complete history while no writer is active. Records each key's value as a read at the end of this
/// generation, and at the start of the next.
fn look(
    c: &Ctx,
    shared: &Run,
    generation: u32,
    ops: &mut Vec<Op>,
    log: &mut HashMap<i64, u64>,
) -> Result<()> {
    let mut k = Client::open(c.server.addr)?;
    let begin = Instant::now();
    while let Err(e) = k.messages("KV_CAS") {
        if begin.elapsed() > RESTART {
            return Err(e.context("the bucket is not back after a restart"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let call = shared.now();
    let mut last = [(0, 0); KEYS];
    let want = Want { stream: "KV_CAS", filter: "$KV.CAS.>", last: false, headers_only: false };
    replay(&c.server, &mut k, &want, |m| {
        let (key, value, revision) = (key_of(m)?, value_of(m)?, sequence(m)?);
        log.insert(value, revision);
        *last.get_mut(key).context("a key that nobody wrote")? = (revision, value);
        Ok(())
    })?;
    let end = shared.now();
    for (key, (revision, value)) in last.into_iter().enumerate() {
        let read = Op {
            key,
            generation,
            client: usize::MAX,
            call,
            end,
            kind: Kind::Get,
            expected: 0,
            value,
            outcome: Outcome::Done(revision),
        };
        ops.push(read.clone());
        ops.push(Op { generation: generation + 1, ..read });
    }
    Ok(())
}

fn report(c: &Ctx, ops: Vec<Op>, spent: Spent) -> Result<Vec<Metric>> {
    if let Some(folder) = &c.histories {
        let path = history::save(&ops, folder, c.server.name())?;
        println!("history of {}: {}", c.server.name(), path.display());
    }
    let found = history::violations(&ops, KEYS);
    for violation in found.iter().take(3) {
        println!("{}: {violation}", c.server.name());
    }
    let count = |kind: Kind, done: bool| {
        ops.iter().filter(|op| op.kind == kind && matches!(op.outcome, Outcome::Done(_)) == done).count()
            as f64
    };
    let winners = count(Kind::Update, true) + count(Kind::Delete, true);
    let mut out = vec![
        high("winners/cpu s", winners / spent.cpu),
        high("winners/s", winners / spent.secs),
        high("ops/cpu s", ops.len() as f64 / spent.cpu),
        low("violations", found.len() as f64),
        note("refused", count(Kind::Update, false) + count(Kind::Delete, false)),
        note("puts", count(Kind::Put, true)),
        note("gets", count(Kind::Get, true)),
        note("kills", f64::from(KILLS)),
        note("server cores", spent.cpu / spent.secs),
    ];
    out.push(low("peak MiB", proc::rss(c.server.pid()).1 as f64 / 1024.0));
    Ok(out)
}

/// A client of the bucket.
struct Writer<'a> {
    shared: &'a Run,
    id: usize,
    chance: Rng,
    generation: u32,
    /// The revision of each key that this client saw last.
    seen: [u64; KEYS],
    ops: Vec<Op>,
}

impl<'a> Writer<'a> {
    fn new(shared: &'a Run, id: usize) -> Self {
        let chance = Rng(id as u64 * 7919);
        Writer { shared, id, chance, generation: 0, seen: [0; KEYS], ops: Vec::new() }
    }

    fn work(mut self) -> Vec<Op> {
        while !self.shared.is_over.load(SeqCst) {
            let ended = Client::named(self.shared.addr, &format!("w{}", self.id)).and_then(|k| self.serve(k));
            match ended {
                Ok(()) => break,
                Err(_) if self.shared.is_killing.load(SeqCst) => self.generation = self.shared.pause(),
                Err(e) => {
                    self.shared.end(Some(e.context(format!("writer {}", self.id))));
                    break;
                }
            }
        }
        self.ops
    }

    /// Performs operations until the run is over or the connection is lost.
    fn serve(&mut self, mut k: Client) -> Result<()> {
        while !self.shared.is_over.load(SeqCst) {
            let dice = self.chance.next();
            let key = (dice >> 32) as usize % KEYS;
            match dice % 16 {
                0 => self.once(&mut k, key, Kind::Put)?,
                1 => self.once(&mut k, key, Kind::Get)?,
                2 => self.once(&mut k, key, Kind::Delete)?,
                // An update without a get before it knows only the revision of its last operation.
                3 | 4 => self.once(&mut k, key, Kind::Update)?,
                _ => {
                    self.once(&mut k, key, Kind::Get)?;
                    self.once(&mut k, key, Kind::Update)?;
                }
            }
        }
        Ok(())
    }

    /// Performs one operation, and records it whatever its outcome.
    fn once(&mut self, k: &mut Client, key: usize, kind: Kind) -> Result<()> {
        let expected = if matches!(kind, Kind::Update | Kind::Delete) { self.seen[key] } else { 0 };
        let number = if kind == Kind::Get { 0 } else { self.shared.next_value.fetch_add(1, SeqCst) + 1 };
        let value = if kind == Kind::Delete { -number } else { number };
        let call = self.shared.now();
        let told = exchange(k, key, kind, expected, value);
        let end = self.shared.now();
        let (value, outcome) = match &told {
            Ok(None) => return Ok(()),
            Ok(Some((read, outcome))) => (if kind == Kind::Get { *read } else { value }, *outcome),
            Err(_) => (value, Outcome::Unknown),
        };
        if let Outcome::Done(revision) = outcome {
            self.seen[key] = revision;
        }
        let (generation, client) = (self.generation, self.id);
        self.ops.push(Op { key, generation, client, call, end, kind, expected, value, outcome });
        told.map(|_| ())
    }
}

/// Sends a request; returns the read value and the outcome. `None` if the server did not accept the request.
fn exchange(
    k: &mut Client,
    key: usize,
    kind: Kind,
    expected: u64,
    value: i64,
) -> Result<Option<(i64, Outcome)>> {
    if kind == Kind::Get {
        let m = k.ask(&format!("$JS.API.DIRECT.GET.KV_CAS.$KV.CAS.key{key}"), b"", b"")?;
        return match m.status() {
            Some(404) => Ok(Some((0, Outcome::Done(0)))),
            Some(503) => Ok(None),
            Some(other) => bail!("a get is answered with status {other}"),
            None => {
                let revision = m.header("Nats-Sequence").context("no sequence in a get's answer")?.parse()?;
                Ok(Some((value_of(&m)?, Outcome::Done(revision))))
            }
        };
    }
    let mut hdr = String::from("NATS/1.0\r\n");
    if kind != Kind::Put {
        hdr += &format!("Nats-Expected-Last-Subject-Sequence: {expected}\r\n");
    }
    if kind == Kind::Delete {
        hdr += "KV-Operation: DEL\r\n";
    }
    hdr += "\r\n";
    let hdr = if kind == Kind::Put { &[] } else { hdr.as_bytes() };
    let m = k.ask(&format!("$KV.CAS.key{key}"), hdr, value.abs().to_string().as_bytes())?;
    if m.status() == Some(503) {
        return Ok(None);
    }
    let answer: Value = serde_json::from_slice(m.body)
        .with_context(|| format!("answer {:?}", String::from_utf8_lossy(m.body)))?;
    let refusal = answer["error"]["description"].as_str().unwrap_or_default();
    if let Some(last) = refusal.strip_prefix("wrong last sequence") {
        return Ok(Some((0, Outcome::Refused(last.trim_start_matches(": ").parse().ok()))));
    }
    match answer["seq"].as_u64() {
        Some(revision) if refusal.is_empty() => Ok(Some((0, Outcome::Done(revision)))),
        _ => bail!("a write is answered with {answer}"),
    }
}

/// Returns the number of a value, negative for a delete marker.
fn value_of(m: &Msg) -> Result<i64> {
    let number: i64 = std::str::from_utf8(m.body)?.parse().context("a value that nobody wrote")?;
    Ok(if m.header("KV-Operation") == Some("DEL") { -number } else { number })
}

fn key_of(m: &Msg) -> Result<usize> {
    let key = m.subject.strip_prefix(b"$KV.CAS.key").context("a key that nobody wrote")?;
    std::str::from_utf8(key)?.parse().context("a key that nobody wrote")
}
