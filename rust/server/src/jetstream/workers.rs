//! Threads that wait for the disk: one for the log, which acknowledgements wait for, and one for the rest.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use stonechat_jetstream::engine::Job;
use stonechat_store::disk::RealDisk;

use super::inbox::Inbox;
use crate::logging::Logger;

/// The threads. Dropping it lets them end.
#[derive(Debug)]
pub(super) struct Workers {
    urgent: Option<Sender<Job<RealDisk>>>,
    rest: Option<Sender<Job<RealDisk>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(inbox: &Arc<Inbox>, log: &Logger) -> io::Result<Self> {
        let mut threads = Vec::new();
        let mut worker = |name: &str| {
            let (sender, receiver) = channel();
            let (inbox, log) = (Arc::clone(inbox), log.clone());
            let thread = std::thread::Builder::new().name(name.to_owned());
            threads.push(thread.spawn(move || log.scope(|| work(&receiver, &inbox)))?);
            Ok::<_, io::Error>(Some(sender))
        };
        let (urgent, rest) = (worker("stonechat-sync")?, worker("stonechat-disk")?);
        Ok(Self { urgent, rest, threads })
    }

    pub(super) fn run(&self, job: Job<RealDisk>) {
        let queue = if job.is_urgent() { &self.urgent } else { &self.rest };
        if let Some(queue) = queue {
            // It lives as long as the queue.
            let _ = queue.send(job);
        }
    }

    /// Waits until all that was begun has ended.
    pub(super) fn stop(mut self) {
        (self.urgent, self.rest) = (None, None);
        for thread in self.threads.drain(..) {
            // A panic there is in the log.
            let _ = thread.join();
        }
    }
}

fn work(jobs: &Receiver<Job<RealDisk>>, inbox: &Inbox) {
    while let Ok(job) = jobs.recv() {
        inbox.done(job.run());
    }
}
