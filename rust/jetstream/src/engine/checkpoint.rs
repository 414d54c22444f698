//! Jobs that wait for the disk: syncs of the log, checkpoints, segment footers.
//!
//! A checkpoint writes the messages that streams hold in memory to their segments and syncs these. Then it commits the state of
//! the streams to the catalogue, and gives up the log before its position. It runs in steps, beside everything else.
//!
//! A checkpoint is due after 24 MiB of log, or two seconds after the first unsaved change. The catalogue is committed only when
//! the segments are synced and the log is durable up to the position that the entries name. So segments and catalogue may be
//! late, never wrong.
//!
//! A clean stop ends with a checkpoint, and records in the superblock that the log before it is not needed (`Log::give_up`). The
//! next opening then reads none of it, unless the catalogue is damaged.

use std::sync::Arc;

use stonechat_store::disk::{Disk, DiskFile};
use stonechat_store::file::{Files, IndexJob, Indexed, SealJob, Sealed};
use stonechat_store::spill::{SpillJob, Spilled};
use stonechat_store::wal::{GroupId, SyncJob, Synced};

use super::{Durability, Engine, Storage};
use crate::api::{Aside, AsideDone};
use crate::ids::{ConsumerId, StreamId};

/// Nanoseconds from the first unsaved change to the checkpoint, if the log stays short.
const IDLE: i64 = 2_000_000_000;
/// Bytes in segments that the log refers to, which count as one byte of log towards the next checkpoint. An opening reads and
/// rewrites these bytes; but a checkpoint syncs them, so too many checkpoints cost more than they spare.
const REFERRED_PER_LOGGED: u64 = 2;
/// Nanoseconds without a sync after which the log writes its durable position to disk.
const MARK_AFTER: i64 = 10_000_000;

/// A job that waits for the disk; the caller [runs](Job::run) it on a thread that may block.
#[derive(Debug)]
pub enum Job<D: Disk> {
    /// Makes the log durable. Nothing else should wait behind it.
    Sync(SyncJob<D>),
    /// Makes segments durable.
    Files {
        /// The files.
        files: Vec<Arc<D::File>>,
        /// The disk, if names of files changed and must be synced too.
        disk: Option<Arc<D>>,
    },
    /// Makes the catalogue durable.
    Catalogue(SyncJob<D>),
    /// Removes files.
    Remove {
        /// The files of the store's streams.
        files: Arc<Files<D>>,
        /// The files' names.
        names: Vec<String>,
    },
    /// Writes the footer of a full segment, or a new version of the segment.
    Seal {
        /// The stream's number.
        stream_id: StreamId,
        /// The job.
        job: SealJob<D>,
    },
    /// Writes message ids, or expiry times, or due times of schedules, to disk.
    Spill {
        /// The stream's number.
        stream_id: StreamId,
        /// The job.
        job: SpillJob,
    },
    /// Writes a stream's subject index to disk.
    Index {
        /// The stream's number.
        stream_id: StreamId,
        /// The job.
        job: IndexJob<D>,
    },
    /// Does work that would keep the engine too long. It waits for no disk, and may be given up at any time.
    Aside(Aside),
}

/// How a [`Job`] ended; for [`Engine::job_done`].
#[derive(Debug)]
#[must_use]
pub enum Done {
    /// See [`Job::Sync`].
    Sync(Synced),
    /// See [`Job::Files`].
    Files(std::io::Result<()>),
    /// See [`Job::Catalogue`].
    Catalogue(Synced),
    /// See [`Job::Remove`].
    Remove,
    /// See [`Job::Seal`].
    Seal(StreamId, Sealed),
    /// See [`Job::Spill`].
    Spill(StreamId, Spilled),
    /// See [`Job::Index`].
    Index(StreamId, Indexed),
    /// See [`Job::Aside`].
    Aside(AsideDone),
}

impl<D: Disk> Job<D> {
    /// Runs the job, and blocks until it is done.
    pub fn run(self) -> Done {
        match self {
            Self::Sync(job) => Done::Sync(job.run()),
            Self::Catalogue(job) => Done::Catalogue(job.run()),
            Self::Seal { stream_id, job } => Done::Seal(stream_id, job.run()),
            Self::Spill { stream_id, job } => Done::Spill(stream_id, job.run()),
            Self::Index { stream_id, job } => Done::Index(stream_id, job.run()),
            Self::Aside(aside) => Done::Aside(aside.run()),
            Self::Files { files, disk } => {
                let synced = files.iter().try_for_each(|file| file.sync());
                Done::Files(synced.and_then(|()| disk.map_or(Ok(()), |disk| disk.sync_names())))
            }
            Self::Remove { files, names } => {
                // Files that can't be removed now are removed when the store is opened the next time.
                names.iter().for_each(|name| drop(files.remove(name)));
                Done::Remove
            }
        }
    }

    /// Whether the job may take seconds while nothing waits for it.
    pub fn is_long(&self) -> bool {
        match self {
            Self::Index { job, .. } => job.is_long(),
            Self::Spill { job, .. } => job.is_long(),
            _ => false,
        }
    }

    /// Whether the job neither waits for the disk nor writes to it.
    pub fn is_aside(&self) -> bool {
        matches!(self, Self::Aside(_))
    }

    /// Whether acknowledgements wait for the job.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Self::Sync(_))
    }
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// Segments are being synced.
    Files { position: u64, changes: Vec<(u64, Option<Vec<u8>>)>, obsolete: Vec<String>, running: bool },
    /// The checkpoint waits until the log is durable up to the captured position. Otherwise new records behind a torn tail could
    /// count as already known to the catalogue.
    Log { position: u64, changes: Vec<(u64, Option<Vec<u8>>)>, obsolete: Vec<String> },
    /// The catalogue is being synced.
    Catalogue { position: u64, obsolete: Vec<String>, running: bool },
    /// Files are being removed.
    Remove { obsolete: Vec<String>, running: bool },
}

/// The state of the current checkpoint, and what the next one has to do.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    phase: Phase,
    /// Catalogue keys of deleted streams and consumers, for the next checkpoint.
    pub(super) deleted: Vec<u64>,
    /// The deleted keys that are part of the current checkpoint.
    deleting: Vec<u64>,
    /// Files to be removed once the next checkpoint is durable.
    pub(super) obsolete: Vec<String>,
    /// The log position of the last checkpoint.
    pub(super) position: u64,
    /// Since when a change waits for a checkpoint.
    waiting_since: Option<i64>,
    sync_running: bool,
    /// When the last sync of the log ended.
    last_sync: i64,
    seal_running: bool,
    /// Streams with full segments.
    pub(super) to_seal: std::collections::VecDeque<StreamId>,
    /// Streams with an index or a spill that has a job.
    pub(super) to_index: std::collections::VecDeque<StreamId>,
    /// Streams and consumers that are part of the current checkpoint.
    groups: Vec<GroupId>,
    wants_now: bool,
    /// Some streams could not write the messages that they hold in memory. The current checkpoint leaves these streams, and the
    /// log, as they are.
    is_partial: bool,
    /// Bytes in segments that the log refers to since the last checkpoint began.
    pub(super) referred: u64,
    /// Segments hold messages that the log referred to when it was opened. Nothing may overwrite them before the next checkpoint.
    pub(super) keeps_segments: bool,
}

/// The catalogue's key of a stream or consumer.
pub(super) fn key(group: impl Into<GroupId>) -> u64 {
    u64::from(group.into().0)
}

impl<D: Disk> Engine<D> {
    /// Returns the next job, if there is one. Several may run at once.
    pub fn next_job(&mut self) -> Option<Job<D>> {
        if let Some(job) = self.sync_job() {
            return Some(Job::Sync(job));
        }
        if let Some(aside) = self.next_aside() {
            return Some(Job::Aside(aside));
        }
        let files = Arc::clone(&self.files);
        match &mut self.checkpoint.phase {
            Phase::Remove { obsolete, running } if !*running => {
                *running = true;
                return Some(Job::Remove { files, names: std::mem::take(obsolete) });
            }
            Phase::Files { running, .. } if !*running => {
                *running = true;
                return Some(self.files_job());
            }
            Phase::Catalogue { running, .. } if !*running => {
                *running = true;
                return self.catalogue.sync_job().map(Job::Catalogue);
            }
            _ => {}
        }
        self.index_job().or_else(|| self.seal_job())
    }

    /// Stops jobs that may take seconds, since the store is about to be closed.
    pub fn hurry(&self) {
        self.files.hurry();
        self.requests.end();
    }

    /// The next job of an index or a spill. One index may freeze while another, or the same one, joins its runs.
    fn index_job(&mut self) -> Option<Job<D>> {
        while let Some(&stream_id) = self.checkpoint.to_index.front() {
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                if let Storage::File(file) = stream.core.messages_mut()
                    && let Some(job) = file.index_job()
                {
                    return Some(Job::Index { stream_id, job });
                }
                if let Some(job) = stream.core.spill_job(self.now) {
                    return Some(Job::Spill { stream_id, job });
                }
            }
            self.checkpoint.to_index.pop_front();
        }
        None
    }

    fn sync_job(&mut self) -> Option<SyncJob<D>> {
        let due = match self.options.durability {
            Durability::Synced => true,
            Durability::Within(interval) => self.now - self.checkpoint.last_sync >= interval,
            Durability::None => false,
        };
        if self.checkpoint.sync_running || !(due || self.checkpoint.wants_now) {
            return None;
        }
        let job = self.log.sync_job()?;
        self.checkpoint.sync_running = true;
        Some(job)
    }

    fn files_job(&mut self) -> Job<D> {
        let (mut files, mut names) = (Vec::new(), false);
        for stream_id in &self.checkpoint.groups {
            let Some(stream) = self.streams.get_mut(&StreamId::of(*stream_id)) else { continue };
            let is_gathered = stream.is_gathered;
            if let Storage::File(file) = stream.core.messages_mut() {
                if matches!(self.options.durability, Durability::Within(_)) {
                    // A sync of the log may end before this job does. The log's next batch may refer to messages in these files.
                    // Later batches may refer to messages in files whose names this job syncs. So the log syncs both too.
                    let (written, names_changed) = file.unsynced();
                    let written = if is_gathered { written } else { &[] };
                    self.log.depend(written, names_changed.then(|| self.files.disk()));
                }
                let (dirty, changed) = file.take_dirty();
                files.extend(dirty);
                names |= changed;
            }
        }
        // A temporary store needs no sync.
        if self.options.durability == Durability::None {
            files.clear();
            names = false;
        }
        Job::Files { files, disk: names.then(|| Arc::clone(self.files.disk())) }
    }

    fn seal_job(&mut self) -> Option<Job<D>> {
        if self.checkpoint.seal_running || self.checkpoint.keeps_segments {
            return None;
        }
        while let Some(stream_id) = self.checkpoint.to_seal.pop_front() {
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            let Storage::File(file) = stream.core.messages_mut() else { continue };
            if stream.is_sealing {
                continue;
            }
            if let Some(Ok(job)) = file.seal_job() {
                self.checkpoint.seal_running = true;
                return Some(Job::Seal { stream_id, job });
            }
        }
        None
    }

    /// Takes in the result of a job.
    pub fn job_done(&mut self, done: Done) {
        match done {
            Done::Sync(synced) => {
                self.checkpoint.sync_running = false;
                self.checkpoint.last_sync = self.now;
                if let Err(e) = self.log.synced(synced) {
                    self.log_failed(&e);
                }
                self.prove_copies();
                self.log_caught_up();
            }
            Done::Files(result) => self.files_synced(result),
            Done::Aside(done) => self.aside_done(done),
            Done::Catalogue(synced) => self.catalogue_synced(synced),
            Done::Remove => {
                self.checkpoint.phase = Phase::Idle;
                self.room_freed();
            }
            Done::Seal(stream_id, sealed) => {
                self.checkpoint.seal_running = false;
                if !self.streams.contains_key(&stream_id) {
                    self.checkpoint.obsolete.extend(sealed.into_file());
                    return;
                }
                self.note_dirty(stream_id);
                let Some(stream) = self.streams.get_mut(&stream_id) else { return };
                if let Storage::File(file) = stream.core.messages_mut() {
                    // Without a footer the segment is complete, only slower to open.
                    stream.is_sealing = file.sealed(sealed).is_err();
                }
                self.note_news(stream_id);
            }
            Done::Spill(stream_id, spilled) => match self.streams.get_mut(&stream_id) {
                Some(stream) => {
                    stream.core.spilled(spilled);
                    self.note_news(stream_id);
                }
                None => spilled.discard(),
            },
            Done::Index(stream_id, indexed) => {
                if !self.streams.contains_key(&stream_id) {
                    self.checkpoint.obsolete.push(indexed.into_file());
                    return;
                }
                // Joined index files are removed with the next checkpoint.
                self.note_dirty(stream_id);
                let Some(stream) = self.streams.get_mut(&stream_id) else { return };
                if let Storage::File(file) = stream.core.messages_mut() {
                    file.indexed(indexed);
                }
                self.note_news(stream_id);
            }
        }
    }

    /// Writes the log's durable position if the log is idle, and begins a checkpoint if one is due.
    pub(super) fn checkpoint_tick(&mut self) {
        let idle_log = !self.checkpoint.sync_running && self.now - self.checkpoint.last_sync >= MARK_AFTER;
        if idle_log && self.options.durability == Durability::Synced {
            // An error here happens again at the next write, and is reported then.
            let _ = self.log.mark();
        }
        if !matches!(self.checkpoint.phase, Phase::Idle) {
            return;
        }
        self.await_checkpoint();
        let Some(since) = self.checkpoint.waiting_since else { return };
        let is_due = self.now - since >= IDLE || self.checkpoint.keeps_segments || self.wants_checkpoint();
        if self.frees_room() || is_due {
            self.begin_checkpoint();
        }
    }

    /// Notes since when a change waits for a checkpoint.
    pub(super) fn await_checkpoint(&mut self) {
        if matches!(self.checkpoint.phase, Phase::Idle) {
            match self.is_anything_dirty() {
                true => drop(self.checkpoint.waiting_since.get_or_insert(self.now)),
                false => self.checkpoint.waiting_since = None,
            }
        }
    }

    /// Whether the log is long enough that a checkpoint is due.
    pub fn wants_checkpoint(&self) -> bool {
        let log_len = self.log.end().saturating_sub(self.checkpoint.position)
            + self.checkpoint.referred / REFERRED_PER_LOGGED;
        // On a small disk the log's files are shorter, so a shorter log is due for a checkpoint.
        let sizes = &self.options.sizes;
        let due = match self.log.file_len() {
            len if len < sizes.log_file => sizes.checkpoint.min(len.saturating_mul(3) / 4),
            _ => sizes.checkpoint,
        };
        matches!(self.checkpoint.phase, Phase::Idle) && log_len >= due
    }

    /// Whether the log has records that the catalogue does not cover.
    fn is_behind(&self) -> bool {
        self.is_anything_dirty() || self.log.records_end() > self.checkpoint.position
    }

    fn is_anything_dirty(&self) -> bool {
        !self.checkpoint.deleted.is_empty() || !self.dirty.is_empty() || self.quarantine.is_changed
    }

    pub(super) fn checkpoint_deadline(&self) -> Option<i64> {
        let mark = (self.options.durability == Durability::Synced && self.log.wants_mark())
            .then(|| self.checkpoint.last_sync + MARK_AFTER);
        let sync = match self.options.durability {
            Durability::Within(interval) if self.log.is_unsynced() => {
                Some(self.checkpoint.last_sync + interval)
            }
            _ => None,
        };
        let idle = match self.checkpoint.phase {
            Phase::Idle => self.checkpoint.waiting_since.map(|since| since + IDLE),
            _ => None,
        };
        [mark, sync, idle, self.room_deadline()].into_iter().flatten().min()
    }

    /// Writes the messages that streams hold in memory, and captures the state of streams and consumers for the catalogue.
    fn begin_checkpoint(&mut self) {
        self.checkpoint.waiting_since = None;
        self.checkpoint.referred = 0;
        let position = self.log.records_end();
        let mut changes = Vec::new();
        let mut obsolete = std::mem::take(&mut self.checkpoint.obsolete);
        let mut unwritten = Vec::new();
        let accounts: Vec<_> = self.accounts.iter().map(|account| Arc::clone(&account.name)).collect();
        let groups = std::mem::take(&mut self.dirty);
        for stream_id in &groups {
            if let Some(consumer) = self.consumers.get_mut(&ConsumerId::of(*stream_id)) {
                consumer.is_dirty = false;
                changes.push((key(*stream_id), Some(super::entries::encode_consumer(consumer, position))));
                continue;
            }
            if self.quarantine.is_nameless(ConsumerId::of(*stream_id)) {
                changes.push((key(*stream_id), Some(super::entries::encode_nameless())));
                continue;
            }
            let id = StreamId::of(*stream_id);
            let is_written = self.write_tail(id);
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.is_dirty = false;
            stream.is_sealing = false;
            if !is_written {
                unwritten.push(*stream_id);
                continue;
            }
            if let Storage::File(file) = stream.core.messages_mut() {
                file.rest();
                obsolete.extend(file.take_obsolete());
            }
            let account = accounts.get(stream.account.index()).map_or("", |name| name);
            changes.push((key(*stream_id), Some(super::entries::encode_stream(account, stream, position))));
        }
        self.room.is_behind = !unwritten.is_empty();
        self.checkpoint.is_partial = self.room.is_behind;
        if self.room.is_behind {
            self.disk_full();
            self.room.wants_checkpoint = false;
            if !self.may_leave(&unwritten) {
                self.checkpoint.obsolete = obsolete;
                return self.dirty_again(groups);
            }
            self.dirty_again(unwritten);
        }
        self.checkpoint.groups = groups;
        self.checkpoint.deleting = std::mem::take(&mut self.checkpoint.deleted);
        changes.extend(self.checkpoint.deleting.iter().map(|key| (*key, None)));
        changes.push((key(super::journal::STORE), Some(self.entry_of_store(position).encode())));
        self.checkpoint.phase = Phase::Files { position, changes, obsolete, running: false };
    }

    /// Marks streams and consumers as changed again, after a checkpoint that failed or left them out.
    fn dirty_again(&mut self, groups: Vec<GroupId>) {
        for group in groups {
            self.note_dirty(StreamId::of(group));
            self.note_consumer_dirty(ConsumerId::of(group));
        }
    }

    fn files_synced(&mut self, result: std::io::Result<()>) {
        let Phase::Files { position, changes, obsolete, .. } = std::mem::take(&mut self.checkpoint.phase)
        else {
            return;
        };
        if let Err(e) = result {
            // What reached the disk is unknown. So the log must be kept, and nothing may rely on these files.
            self.complain(format!("JetStream can't sync its files, checkpoints end until a restart: {e}"));
            self.checkpoint.phase = Phase::Catalogue { position: 0, obsolete: Vec::new(), running: true };
            if matches!(self.options.durability, Durability::Within(_)) {
                // The log holds references to messages in these files, not the messages.
                let failed = self.log.fail_dependency(e);
                self.log_failed(&failed);
            }
            return;
        }
        self.checkpoint.phase = Phase::Log { position, changes, obsolete };
        self.log_caught_up();
    }

    /// Continues a checkpoint that waits for the log.
    fn log_caught_up(&mut self) {
        let Phase::Log { position, .. } = &self.checkpoint.phase else { return };
        let is_durable = self.log.durable() >= *position || self.options.durability == Durability::None;
        self.checkpoint.wants_now = !is_durable;
        if !is_durable {
            return;
        }
        let Phase::Log { position, mut changes, obsolete } = std::mem::take(&mut self.checkpoint.phase)
        else {
            return;
        };
        match self.commit_catalogue(&mut changes) {
            Ok(()) => {
                let running = false;
                self.checkpoint.phase = Phase::Catalogue { position, obsolete, running };
            }
            Err(_) => {
                self.checkpoint.obsolete.extend(obsolete);
                let groups = std::mem::take(&mut self.checkpoint.groups);
                self.dirty_again(groups);
                let mut deleting = std::mem::take(&mut self.checkpoint.deleting);
                self.checkpoint.deleted.append(&mut deleting);
                self.disk_full();
            }
        }
    }

    fn catalogue_synced(&mut self, synced: Synced) {
        let all = match self.catalogue.synced(synced) {
            Ok(all) => all,
            Err(e) => {
                self.complain(format!(
                    "JetStream can't sync its catalogue, checkpoints end until a restart: {e}"
                ));
                return;
            }
        };
        let _ = all;
        let Phase::Catalogue { position, obsolete, running } = &mut self.checkpoint.phase else { return };
        let (position, obsolete) = (*position, std::mem::take(obsolete));
        *running = false;
        // The catalogue's own mark needs a sync too.
        if let Some(job) = self.catalogue.sync_job() {
            *running = true;
            let _ = self.catalogue.synced(job.run());
        }
        self.checkpoint.position = position;
        self.checkpoint.keeps_segments = false;
        self.checkpoint.phase = Phase::Remove { obsolete, running: false };
        for stream_id in std::mem::take(&mut self.checkpoint.groups).into_iter().map(StreamId::of) {
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            if let Storage::File(file) = stream.core.messages_mut()
                && file.run_erasures()
            {
                self.note_dirty(stream_id);
            }
        }
        // Messages that could not be written are in the log only, so the log is kept.
        if std::mem::take(&mut self.checkpoint.is_partial) {
            return;
        }
        if let Err(e) = self.log.trim(position) {
            self.log_failed(&e);
        }
        self.room_freed();
    }

    /// Commits and syncs everything and makes a checkpoint, blocking on the disk. Called when the engine ends.
    pub fn close(&mut self) {
        self.close_while(|| true);
    }

    /// Like [`Engine::close`], but begins nothing more once `goes_on` returns false. Acknowledged changes are in the log, so the
    /// next opening then only takes longer.
    pub fn close_while(&mut self, goes_on: impl Fn() -> bool) {
        self.end_waiting();
        self.commit();
        self.checkpoint.wants_now = self.options.durability != Durability::None;
        // Sealing and index jobs can wait; a checkpoint can't.
        self.checkpoint.to_seal.clear();
        self.checkpoint.to_index.clear();
        // A checkpoint may already be running without the latest changes, so a second one may be needed.
        let mut checkpoints = 0;
        loop {
            while let Some(job) = self.next_job() {
                let is_needed = job.is_urgent() || goes_on();
                if !is_needed {
                    break;
                }
                self.job_done(job.run());
                // The end of a checkpoint queues sealing again.
                self.checkpoint.to_seal.clear();
            }
            let is_idle = matches!(self.checkpoint.phase, Phase::Idle);
            if checkpoints == 2 || !is_idle || !self.is_behind() || self.refuses.is_some() || !goes_on() {
                break;
            }
            checkpoints += 1;
            self.begin_checkpoint();
        }
        let end = self.log.end();
        if matches!(self.checkpoint.phase, Phase::Idle)
            && !self.is_behind()
            && self.log.durable() >= self.log.records_end()
        {
            // An error only costs the next opening time.
            let _ = self.log.give_up(end);
        }
        // Indexes and spills are built anew at the next start, which also removes files that stay behind here.
        for stream in self.streams.values() {
            let names = match stream.core.messages() {
                Storage::File(file) => Some(file.index_names()),
                Storage::Memory(_) => None,
            };
            let names = names.into_iter().flatten().chain(stream.core.spill_names());
            names.for_each(|name| drop(self.files.remove(name)));
        }
    }

    /// The number of messages, of all streams, that can't be read any more.
    pub fn lost(&self) -> u64 {
        let lost = |storage: &Storage<D>| match storage {
            Storage::File(file) => file.lost(),
            Storage::Memory(_) => 0,
        };
        self.streams.values().map(|stream| lost(stream.core.messages())).sum()
    }
}
