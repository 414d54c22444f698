//! Scenarios, and their runs against each server in turn.

use crate::args::{self, Common, RunArgs};
use crate::priority::Priority;
use crate::report::{Metric, Outcome};
use crate::server::{Js, Server, Setup, Spec};
use crate::{core, js, kvcas, kvkeys, kvobject, kvwatch, limits, proc};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The environment of a scenario.
pub(crate) struct Ctx {
    /// The server under test, freshly started.
    pub(crate) server: Server,
    /// Length of the measured span.
    pub(crate) secs: Duration,
    /// Factor on counts of messages, connections and subscriptions.
    pub(crate) scale: f64,
    /// Maximum undelivered bytes in flight.
    pub(crate) window: usize,
    /// Folder for recorded histories.
    pub(crate) histories: Option<PathBuf>,
}

impl Ctx {
    /// Returns the length of the warm-up before the measured span.
    pub(crate) fn warm(&self) -> Duration {
        (self.secs / 4).clamp(Duration::from_millis(200), Duration::from_millis(500))
    }

    /// Returns `n` times the scale, but at least the smaller of 1000 and `n`.
    pub(crate) fn scaled(&self, n: u64) -> u64 {
        self.at_least(n, 1000.min(n))
    }

    /// Returns `n` times the scale, but at least `least`.
    pub(crate) fn at_least(&self, n: u64, least: u64) -> u64 {
        ((n as f64 * self.scale) as u64).max(least)
    }
}

/// The function that runs a scenario.
pub(crate) type Run = Box<dyn Fn(&mut Ctx) -> Result<Vec<Metric>>>;

/// A load, and the server settings that it requires.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) js: Js,
    pub(crate) tls: bool,
    /// Takes long, and is therefore run less often.
    pub(crate) heavy: bool,
    pub(crate) run: Run,
}

/// Creates a scenario of core NATS.
pub(crate) fn scenario(
    name: &str,
    about: &str,
    run: impl Fn(&mut Ctx) -> Result<Vec<Metric>> + 'static,
) -> Scenario {
    Scenario {
        name: name.into(),
        about: about.into(),
        js: Js::Off,
        tls: false,
        heavy: false,
        run: Box::new(run),
    }
}

fn scenarios() -> Vec<Scenario> {
    let mut all = core::all();
    all.extend(js::all());
    all.extend(kvkeys::all());
    all.extend(kvwatch::all());
    all.extend(kvcas::all());
    all.extend(kvobject::all());
    all
}

/// Prints the scenarios.
pub(crate) fn list() {
    for s in scenarios() {
        println!("{:<26} {}{}", s.name, s.about, if s.heavy { " (heavy)" } else { "" });
    }
}

/// Measures the machine without a broker.
pub(crate) fn measure_machine(common: &Common) -> Result<()> {
    let _priority = Priority::set(common.nice)?;
    let rows = limits::run(common.runs.into(), common.secs, &common.dir)?;
    write_json(common, &json!({"machine": machine(), "limits": rows}))
}

/// Measures servers against each other.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let known = scenarios();
    check(args, &known)?;
    let _priority = Priority::set(args.common.nice)?;
    if args.pin {
        proc::pin(cpus() - 1);
    }
    let versions: Vec<String> = args.servers.iter().map(Spec::version).collect();
    for (server, version) in args.servers.iter().zip(&versions) {
        println!("{}: {version}", server.name);
    }
    let begin = Instant::now();
    let mut outcomes = Vec::new();
    for s in known.iter().filter(|s| args.wants(&s.name)) {
        let outcome = measure(args, s);
        outcome.print();
        outcomes.push(outcome);
    }
    let failed = outcomes.iter().filter(|o| !o.errors.is_empty()).count();
    println!(
        "\n{} scenarios in {:.0} s, {failed} with errors",
        outcomes.len(),
        begin.elapsed().as_secs_f64()
    );
    let servers: Vec<Value> =
        args.servers.iter().zip(&versions).map(|(s, v)| json!({"name": s.name, "version": v})).collect();
    let options = json!({
        "runs": args.common.runs, "heavy_runs": args.heavy_runs, "secs": args.common.secs.as_secs_f64(), "scale": args.scale,
        "window_mib": args.window, "sync_interval": args.sync_interval, "default_sync": args.default_sync, "nice": args.common.nice, "pin": args.pin,
    });
    let results: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
    write_json(
        &args.common,
        &json!({"machine": machine(), "servers": servers, "options": options, "scenarios": results}),
    )?;
    if failed > 0 {
        bail!("{failed} scenarios had errors");
    }
    Ok(())
}

/// Refuses unknown names before anything is measured.
fn check(args: &RunArgs, known: &[Scenario]) -> Result<()> {
    for pattern in args.scenario.iter().chain(&args.skip) {
        if !known.iter().any(|s| args::matches(&s.name, std::slice::from_ref(pattern))) {
            bail!("no scenario matches '{pattern}'; `natsload list` shows them");
        }
    }
    if let Some(name) = args.default_sync.iter().find(|name| !args.servers.iter().any(|s| s.name == **name)) {
        bail!("--default-sync names no server: '{name}'");
    }
    for (i, server) in args.servers.iter().enumerate() {
        if args.servers[..i].iter().any(|s| s.name == server.name) {
            bail!("two servers are named '{}'", server.name);
        }
    }
    Ok(())
}

/// Runs a scenario for all servers. A failed run leaves a gap, so that runs stay paired. A failure in the first turn ends the
/// scenario.
fn measure(args: &RunArgs, scenario: &Scenario) -> Outcome {
    let mut outcome = Outcome {
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        servers: args.servers.iter().map(|s| s.name.clone()).collect(),
        runs: vec![vec![]; args.servers.len()],
        errors: vec![],
    };
    let runs = if scenario.heavy { args.heavy_runs.min(args.common.runs) } else { args.common.runs };
    for turn in 0..runs {
        for (i, spec) in args.servers.iter().enumerate() {
            let metrics = once(args, scenario, spec).unwrap_or_else(|e| {
                outcome.errors.push(format!("{} run {turn}: {e:#}", spec.name));
                vec![]
            });
            outcome.runs[i].push(metrics);
        }
        if !outcome.errors.is_empty() && turn == 0 {
            break;
        }
    }
    outcome
}

fn once(args: &RunArgs, scenario: &Scenario, spec: &Spec) -> Result<Vec<Metric>> {
    let dir = args.common.dir.join(format!("natsload-{}", std::process::id()));
    let setup = Setup {
        js: scenario.js,
        sync_interval: args.sync_interval.clone().filter(|_| !args.default_sync.contains(&spec.name)),
        tls: scenario.tls,
        pin: args.pin,
    };
    let server = Server::start(spec, &dir, setup)?;
    let mut ctx = Ctx {
        server,
        secs: args.common.secs,
        scale: args.scale,
        window: usize::from(args.window) << 20,
        histories: args.histories.clone(),
    };
    (scenario.run)(&mut ctx).map_err(|e| {
        let log = ctx.server.log_tail();
        if log.is_empty() { e } else { e.context(format!("server log ends:\n{log}\nthe failure")) }
    })
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn machine() -> Value {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find(|l| l.starts_with("model name"))
        .and_then(|l| l.split(": ").nth(1))
        .unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({"cpus": cpus(), "model": model, "kernel": kernel.trim()})
}

fn write_json(common: &Common, value: &Value) -> Result<()> {
    let Some(file) = &common.json else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)? + "\n";
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}
