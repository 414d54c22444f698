//! Notes that a stream takes of its messages' headers: ids, times to live, schedules.

use std::cell::Cell;

use roaring::RoaringTreemap;
use stonechat_store::messages::Messages;
use stonechat_store::spill::{Dues, Kind, Shelf, SpillJob, Spilled};

use super::config::StreamConfig;
use super::dedupe::Dedupe;
use super::headers::PublishHeaders;
use super::schedule::Schedules;
use super::ttl::Ttl;

/// Where the messages that `max_age` can remove begin, and how old the first of them is. A cache.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mortal {
    /// All messages before this sequence outlive `max_age`.
    pub(super) from: u64,
    /// Sequence and time of the first readable message that `max_age` can remove.
    pub(super) first: Option<(u64, i64)>,
}

/// The notes of a stream. All of them can be rebuilt from its messages.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) dedupe: Dedupe,
    /// The id of the last stored message; empty if it had none.
    pub(super) last_id: Vec<u8>,
    /// Expiry times of messages with a time to live of their own.
    pub(super) ttls: Dues,
    /// Messages that outlive `max_age`.
    pub(super) forever: RoaringTreemap,
    pub(super) mortal: Cell<Mortal>,
    /// Stored messages that are schedules.
    pub(super) schedules: Schedules,
}

impl Notes {
    pub(super) fn new(config: &StreamConfig, shelf: &Shelf) -> Self {
        Self {
            dedupe: Dedupe::new(config.duplicate_window, shelf),
            last_id: Vec::new(),
            ttls: Dues::new(shelf, Kind::Ttls),
            forever: RoaringTreemap::new(),
            mortal: Cell::default(),
            schedules: Schedules::new(shelf),
        }
    }

    /// Takes notes of a stored message's headers.
    pub(super) fn note(
        &mut self,
        config: &StreamConfig,
        messages: &impl Messages,
        h: &PublishHeaders<'_>,
        (sequence, time): (u64, i64),
        now: i64,
    ) {
        self.last_id.clear();
        if let Some(id) = h.msg_id {
            self.last_id.extend_from_slice(id);
            self.dedupe.note(id, sequence, time);
        }
        match h.ttl.filter(|_| config.allow_msg_ttl).and_then(Ttl::parse) {
            Some(Ttl::For(ttl)) => self.ttls.insert(time.saturating_add(ttl), sequence),
            Some(Ttl::Never) => drop(self.forever.insert(sequence)),
            None => {}
        }
        if config.allow_msg_schedules {
            self.schedules.note(messages, h, sequence, time, now);
        }
    }

    /// Clears the notes after all messages were removed. Ids stay in the duplicate window.
    pub(super) fn clear(&mut self) {
        self.ttls.clear();
        self.forever.clear();
        self.mortal.take();
        self.schedules.clear();
    }

    /// Whether a file of the notes can't be read, so that all notes have to be [dropped](Notes::forget) and rebuilt.
    pub(super) fn is_broken(&self) -> bool {
        self.dedupe.ids().is_broken() || self.ttls.is_broken() || self.schedules.due().is_broken()
    }

    /// Drops the notes before they are rebuilt.
    pub(super) fn forget(&mut self) {
        self.dedupe.ids_mut().clear();
        self.clear();
    }

    /// Whether [`Notes::job`] has a job.
    pub(super) fn has_job(&self) -> bool {
        self.dedupe.ids().has_job() || self.ttls.has_job() || self.schedules.due().has_job()
    }

    /// Returns the next job that keeps the notes within the memory budget of indices.
    pub(super) fn job(&mut self, now: i64) -> Option<SpillJob> {
        let since = self.dedupe.since(now);
        let job = self.dedupe.ids_mut().job(since).or_else(|| self.ttls.job());
        job.or_else(|| self.schedules.due_mut().job())
    }

    /// Returns the next job that frees memory.
    pub(super) fn writing_job(&mut self) -> Option<SpillJob> {
        let job = self.dedupe.ids_mut().writing_job().or_else(|| self.ttls.writing_job());
        job.or_else(|| self.schedules.due_mut().writing_job())
    }

    /// Applies the result of a job.
    pub(super) fn spilled(&mut self, spilled: Spilled) {
        match spilled.kind {
            Kind::Ids => self.dedupe.ids_mut().spilled(spilled),
            Kind::Ttls => self.ttls.spilled(spilled),
            Kind::Schedules => self.schedules.due_mut().spilled(spilled),
        }
    }

    /// Names of the files that hold notes.
    pub(super) fn file_names(&self) -> impl Iterator<Item = &String> {
        let due = self.schedules.due().file_names();
        self.dedupe.ids().file_names().chain(self.ttls.file_names()).chain(due)
    }
}
