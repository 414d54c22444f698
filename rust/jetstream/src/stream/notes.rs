//! What a stream notes of its messages' headers: ids, times to live, schedules.

use std::cell::Cell;

use roaring::RoaringTreemap;
use stonechat_store::messages::Messages;
use stonechat_store::spill::{Dues, Kind, Shelf, SpillJob, Spilled};

use super::config::StreamConfig;
use super::dedupe::Dedupe;
use super::headers::PublishHeaders;
use super::schedule::Schedules;
use super::ttl::Ttl;

/// Up to where messages are there for ever, and how old the first one is that is not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mortal {
    /// All messages before this sequence outlive `max_age`.
    pub(super) from: u64,
    /// The first that does not and can be read, and when it was stored.
    pub(super) first: Option<(u64, i64)>,
}

/// All of it can be learned again from the messages.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) dedupe: Dedupe,
    /// The id of the last message that was stored.
    pub(super) last_id: Vec<u8>,
    /// When messages with a time to live of their own go.
    pub(super) ttls: Dues,
    /// Messages that outlive `max_age`.
    pub(super) forever: RoaringTreemap,
    pub(super) mortal: Cell<Mortal>,
    /// Messages that make others later.
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

    /// What a stored message's headers mean for later.
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

    /// All messages went. Ids are remembered all the same.
    pub(super) fn clear(&mut self) {
        self.ttls.clear();
        self.forever.clear();
        self.mortal.take();
        self.schedules.clear();
    }

    /// Whether something can't be read, so that all is to be [forgotten](Notes::forget) and noted anew.
    pub(super) fn is_broken(&self) -> bool {
        self.dedupe.ids().is_broken() || self.ttls.is_broken() || self.schedules.due().is_broken()
    }

    /// Forgets all.
    pub(super) fn forget(&mut self) {
        self.dedupe.ids_mut().clear();
        self.clear();
    }

    /// Whether [`Notes::job`] has something.
    pub(super) fn has_job(&self) -> bool {
        self.dedupe.ids().has_job() || self.ttls.has_job() || self.schedules.due().has_job()
    }

    /// What is to be done to keep within the memory for indices.
    pub(super) fn job(&mut self, now: i64) -> Option<SpillJob> {
        let since = self.dedupe.since(now);
        let job = self.dedupe.ids_mut().job(since).or_else(|| self.ttls.job());
        job.or_else(|| self.schedules.due_mut().job())
    }

    /// The part of it that makes room.
    pub(super) fn writing_job(&mut self) -> Option<SpillJob> {
        let job = self.dedupe.ids_mut().writing_job().or_else(|| self.ttls.writing_job());
        job.or_else(|| self.schedules.due_mut().writing_job())
    }

    /// Takes note of how a job ended.
    pub(super) fn spilled(&mut self, spilled: Spilled) {
        match spilled.kind {
            Kind::Ids => self.dedupe.ids_mut().spilled(spilled),
            Kind::Ttls => self.ttls.spilled(spilled),
            Kind::Schedules => self.schedules.due_mut().spilled(spilled),
        }
    }

    /// The files that hold some of it.
    pub(super) fn file_names(&self) -> impl Iterator<Item = &String> {
        let due = self.schedules.due().file_names();
        self.dedupe.ids().file_names().chain(self.ttls.file_names()).chain(due)
    }
}
