//! Threads that wait for the disk: one for the log, which acknowledgements wait for, one for what may take seconds, begun when there
//! is something, and one for the rest.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use stonechat_jetstream::engine::Job;
use stonechat_store::disk::RealDisk;

use super::inbox::Inbox;
use crate::fault;
use crate::logging::Logger;

/// The threads. They end when it is stopped.
pub(super) struct Workers {
    urgent: Option<Sender<Job<RealDisk>>>,
    rest: Option<Sender<Job<RealDisk>>>,
    long: Option<Sender<Job<RealDisk>>>,
    threads: Vec<JoinHandle<()>>,
    inbox: Arc<Inbox>,
    log: Logger,
}

impl Workers {
    pub(super) fn start(inbox: &Arc<Inbox>, log: &Logger) -> io::Result<Self> {
        let (urgent, rest, long, threads) = (None, None, None, Vec::new());
        let mut workers = Self { urgent, rest, long, threads, inbox: Arc::clone(inbox), log: log.clone() };
        workers.urgent = Some(workers.worker("stonechat-sync")?);
        workers.rest = Some(workers.worker("stonechat-disk")?);
        Ok(workers)
    }

    fn worker(&mut self, name: &str) -> io::Result<Sender<Job<RealDisk>>> {
        let (sender, receiver) = channel();
        let (inbox, log) = (Arc::clone(&self.inbox), self.log.clone());
        let thread = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || log.scope(|| work(&receiver, &inbox)))?);
        Ok(sender)
    }

    pub(super) fn run(&mut self, job: Job<RealDisk>) {
        if job.is_long() && self.long.is_none() {
            // Without a thread of its own it holds up the rest.
            self.long = self.worker("stonechat-index").ok();
        }
        let queue = match (&self.long, job.is_long(), job.is_urgent()) {
            (Some(long), true, _) => Some(long),
            (_, _, true) => self.urgent.as_ref(),
            _ => self.rest.as_ref(),
        };
        if let Some(queue) = queue {
            // It lives as long as the queue.
            let _ = queue.send(job);
        }
    }

    /// Waits until all that was begun has ended.
    pub(super) fn stop(&mut self) {
        (self.urgent, self.rest, self.long) = (None, None, None);
        for thread in self.threads.drain(..) {
            // A panic there is in the log.
            let _ = thread.join();
        }
    }
}

/// However they are given up, no thread writes to the store after it was unlocked.
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
