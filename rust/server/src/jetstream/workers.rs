//! Worker threads:
//!
//! - one syncs the log, on which acknowledgements wait
//! - one runs disk jobs that may take seconds
//! - one runs the other disk jobs
//! - one runs long computations that would delay the JetStream thread
//!
//! The threads for long jobs and computations start with their first job.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use stonechat_jetstream::engine::Job;
use stonechat_store::disk::RealDisk;

use super::inbox::Inbox;
use crate::fault;
use crate::logging::Logger;

/// The worker threads. They end in [`Workers::stop`].
pub(super) struct Workers {
    urgent: Option<Sender<Job<RealDisk>>>,
    rest: Option<Sender<Job<RealDisk>>>,
    long: Option<Sender<Job<RealDisk>>>,
    aside: Option<Sender<Job<RealDisk>>>,
    threads: Vec<JoinHandle<()>>,
    inbox: Arc<Inbox>,
    log: Logger,
}

impl Workers {
    pub(super) fn start(inbox: &Arc<Inbox>, log: &Logger) -> io::Result<Self> {
        let (urgent, rest, long, aside, threads) = (None, None, None, None, Vec::new());
        let (inbox, log) = (Arc::clone(inbox), log.clone());
        let mut workers = Self { urgent, rest, long, aside, threads, inbox, log };
        workers.urgent = Some(workers.worker("stonechat-sync")?);
        workers.rest = Some(workers.worker("stonechat-disk")?);
        Ok(workers)
    }

    fn begin(&self, name: &str) -> io::Result<(Sender<Job<RealDisk>>, JoinHandle<()>)> {
        let (sender, receiver) = channel();
        let (inbox, log) = (Arc::clone(&self.inbox), self.log.clone());
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || log.scope(|| work(&receiver, &inbox)))?;
        Ok((sender, thread))
    }

    fn worker(&mut self, name: &str) -> io::Result<Sender<Job<RealDisk>>> {
        let (sender, thread) = self.begin(name)?;
        self.threads.push(thread);
        Ok(sender)
    }

    pub(super) fn run(&mut self, job: Job<RealDisk>) {
        // If the thread can't be started, the job runs with the other disk jobs.
        if job.is_long() && self.long.is_none() {
            self.long = self.worker("stonechat-index").ok();
        }
        if job.is_aside() && self.aside.is_none() {
            // `stop` does not wait for this thread: it does not access the store, and may be in the middle of a long
            // computation.
            self.aside = self.begin("stonechat-aside").ok().map(|(sender, _)| sender);
        }
        let own = match (job.is_long(), job.is_aside(), job.is_urgent()) {
            (true, ..) => self.long.as_ref(),
            (_, true, _) => self.aside.as_ref(),
            (.., true) => self.urgent.as_ref(),
            _ => None,
        };
        if let Some(queue) = own.or(self.rest.as_ref()) {
            // The thread lives as long as its queue.
            let _ = queue.send(job);
        }
    }

    /// Waits until all disk jobs have ended.
    pub(super) fn stop(&mut self) {
        (self.urgent, self.rest, self.long, self.aside) = (None, None, None, None);
        let own = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // A worker thread can run the engine; if that panics, the thread drops the workers and must not wait for itself.
            if thread.thread().id() != own {
                // A panic of the thread is already in the log.
                let _ = thread.join();
            }
        }
    }
}

/// Stops the workers on every way out, so that no thread writes to the store after it was unlocked.
impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work(jobs: &Receiver<Job<RealDisk>>, inbox: &Inbox) {
    while let Ok(job) = jobs.recv() {
        match fault::catch(|| job.run()) {
            Ok(done) => inbox.done(done),
            Err(reason) => return inbox.fail(&reason),
        }
    }
}
