//! `stonechat bench`: measures the speed of a server, as `nats bench` does, with more details.
//!
//! Each client is a thread with its own blocking connection (`wire`): with a client library, the measurement would be about the
//! library. Streams, consumers and buckets are created with the library before the clock starts.

mod args;
mod channel;
mod login;
mod measure;
mod message;
mod plan;
mod plot;
mod pull;
mod report;
mod wire;
mod work;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc as threads;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

pub(crate) use args::BenchArgs;

use self::measure::{Outcome, Run};
use self::plan::Plan;
use self::wire::Wire;
use self::work::{Operation, Share, Shared, Worker};
use crate::connection::Target;
use crate::console::say;
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::output::{Progress, Unit, commas};
use crate::session::JetStreamArgs;

/// Interval at which the progress is sampled.
const SAMPLE: Duration = Duration::from_millis(50);
/// Maximum number of samples; beyond it, every other sample is dropped.
const SAMPLES_MAX: usize = 2048;

/// Runs `stonechat bench`.
pub(crate) async fn run(args: BenchArgs) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    // Ctrl-C must be caught before the first output. Without this yield, all clients may be ready before the signal task runs.
    tokio::task::yield_now().await;
    let others = args.common.compare.iter().map(|url| Some(url.clone()));
    let mut runs = Vec::new();
    let mut timed = "";
    for server in std::iter::once(None).chain(others) {
        let mut jetstream = args.jetstream.clone();
        if server.is_some() {
            jetstream.connection.server = server;
        }
        let (plan, run) = one(&args, &jetstream, &mut interrupt).await?;
        timed = plan.timed;
        report::print(&run, &plan, runs.first(), args.jetstream.json)?;
        runs.push(run);
    }
    if let Some(file) = &args.common.csv {
        write(file, &report::csv(&runs))?;
    }
    if let Some(file) = &args.common.plot {
        write(file, &plot::svg(&runs, timed))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), CliError> {
    let wrong = |error: std::io::Error| CliError::File { path: file.to_owned(), reason: error.to_string() };
    std::fs::write(file, text).map_err(wrong)?;
    say(format_args!("wrote {}", file.display()));
    Ok(())
}

/// Measures one server.
async fn one(
    args: &BenchArgs,
    jetstream: &JetStreamArgs,
    interrupt: &mut Interrupt,
) -> Result<(Plan, Run), CliError> {
    let target = Target::resolve(&jetstream.connection)?;
    let server = target.servers.first().map(|server| format!("{}:{}", server.host(), server.port()));
    let run_id = run_id();
    let plan = tokio::select! {
        plan = plan::plan(args, jetstream, &run_id) => plan?,
        () = interrupt.pressed() => return Err(CliError::Interrupted),
    };
    let measured = Measurement { args, plan: &plan, run_id: &run_id }.run(target, interrupt).await;
    plan::clean_up(jetstream, &plan).await?;
    let (clients, samples) = measured?;
    Ok((plan, Run::new(server.unwrap_or_default(), clients, samples)))
}

/// Returns an id that no other run has.
fn run_id() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", now.as_nanos(), std::process::id())
}

/// A message of a client's thread to the main task.
enum News {
    /// The client is connected and subscribed.
    Ready,
    Done(Result<Outcome, CliError>),
}

type Measured = (Vec<Outcome>, Vec<(f64, u64)>);

/// The measurement of one server.
struct Measurement<'a> {
    args: &'a BenchArgs,
    plan: &'a Plan,
    run_id: &'a str,
}

impl Measurement<'_> {
    async fn run(&self, target: Target, interrupt: &mut Interrupt) -> Result<Measured, CliError> {
        let shared = Arc::new(Shared::default());
        let (sender, mut news) = mpsc::unbounded_channel();
        let starts = self.spawn(target, &shared, &sender)?;
        drop(sender);
        let result = self.watch(starts, &shared, &mut news, interrupt).await;
        // After an error, stop the other clients without waiting for them.
        shared.stop.store(true, Ordering::Relaxed);
        result
    }

    /// Starts a thread for each client. Each waits for its start signal before it begins.
    fn spawn(
        &self,
        target: Target,
        shared: &Arc<Shared>,
        news: &mpsc::UnboundedSender<News>,
    ) -> Result<Vec<threads::Sender<()>>, CliError> {
        let target = Arc::new(target);
        let operation = Arc::new(self.plan.operation.clone());
        let mut starts = Vec::new();
        for index in 0..usize::from(self.args.common.clients) {
            let (start, begin) = threads::channel();
            let (target, operation, shared) = (target.clone(), operation.clone(), shared.clone());
            let (share, news) = (self.share(index), news.clone());
            let inbox = format!("_INBOX.{}.{index}", self.run_id);
            let work = move || {
                let opened = Wire::open(&target, share.patience).and_then(|wire| {
                    let (shared, target) = (&*shared, &*target);
                    let mut worker = Worker { wire, shared, share, inbox, index, target };
                    worker.prepare(&operation).map(|()| worker)
                });
                let done = match opened {
                    Ok(worker) => {
                        let is_heard = news.send(News::Ready).is_ok();
                        if !is_heard || begin.recv().is_err() {
                            return;
                        }
                        worker.run(&operation)
                    }
                    Err(error) => Err(error),
                };
                // After the error of another client, the channel is closed.
                let _ = news.send(News::Done(done));
            };
            std::thread::Builder::new()
                .name(format!("bench-{index}"))
                .spawn(work)
                .map_err(CliError::Runtime)?;
            starts.push(start);
        }
        Ok(starts)
    }

    /// Returns the share of a client in the work.
    fn share(&self, index: usize) -> Share {
        let clients = u64::from(self.args.common.clients);
        let (index, messages) = (index as u64, self.plan.messages);
        let (first, count) = match self.plan.is_split {
            true => {
                let (each, more) = (messages / clients, messages % clients);
                (index * each + index.min(more), each + u64::from(index < more))
            }
            false => (0, messages),
        };
        Share {
            first,
            count,
            rate: self.plan.rate.map(|rate| rate / clients as f64),
            sleep: self.args.common.sleep,
            patience: self.args.jetstream.timeout,
        }
    }

    /// Starts all clients together, and waits for their outcomes.
    async fn watch(
        &self,
        starts: Vec<threads::Sender<()>>,
        shared: &Shared,
        news: &mut mpsc::UnboundedReceiver<News>,
        interrupt: &mut Interrupt,
    ) -> Result<Measured, CliError> {
        let (mut ready, mut outcomes) = (0, Vec::new());
        let mut samples = vec![(0.0, 0)];
        let mut began = Instant::now();
        let mut ticks = tokio::time::interval(SAMPLE);
        let total =
            if self.plan.is_split { 1 } else { u64::from(self.args.common.clients) } * self.plan.messages;
        let is_shown = !self.args.common.no_progress && !self.args.jetstream.json;
        let mut progress = Progress::new(total, Unit::Count, is_shown);
        let mut is_stopping = false;
        while outcomes.len() < starts.len() {
            let next = tokio::select! {
                next = news.recv() => next,
                () = interrupt.pressed(), if !is_stopping => {
                    is_stopping = true;
                    shared.stop.store(true, Ordering::Relaxed);
                    if !matches!(self.plan.operation, Operation::Serve { .. }) || ready < starts.len() {
                        return Err(CliError::Interrupted);
                    }
                    continue;
                }
                _ = ticks.tick(), if ready == starts.len() => {
                    take_sample(&mut samples, began, shared, &mut progress);
                    continue;
                }
            };
            match next {
                Some(News::Ready) => {
                    ready += 1;
                    if ready == starts.len() {
                        self.announce();
                        began = Instant::now();
                        ticks.reset();
                        for start in &starts {
                            // A thread that has ended has already sent its error.
                            let _ = start.send(());
                        }
                    }
                }
                Some(News::Done(outcome)) => outcomes.push(outcome?),
                None => return Err(CliError::Client("a client has ended without a word".to_owned())),
            }
        }
        take_sample(&mut samples, began, shared, &mut progress);
        Ok((outcomes, samples))
    }

    /// Prints that the clients listen: messages published from now on are counted.
    fn announce(&self) {
        let (clients, messages) = (self.args.common.clients, commas(self.plan.messages));
        match &self.plan.operation {
            Operation::Subscribe(subject) => {
                say(format_args!("{clients} subscribed to {subject}, each waits for {messages} messages"));
            }
            Operation::Serve { subject, .. } => say(format_args!("{clients} serve {subject} until Ctrl-C")),
            _ => {}
        }
    }
}

/// Records the number of processed messages.
fn take_sample(samples: &mut Vec<(f64, u64)>, began: Instant, shared: &Shared, progress: &mut Progress) {
    let done = shared.done.load(Ordering::Relaxed);
    progress.add(done - samples.last().map_or(0, |(_, done)| *done));
    samples.push((began.elapsed().as_secs_f64(), done));
    if samples.len() > SAMPLES_MAX {
        let mut i = 0;
        samples.retain(|_| {
            i += 1;
            i % 2 == 1
        });
    }
}
