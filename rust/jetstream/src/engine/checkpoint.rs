//! Jobs that wait for the disk: syncs of the log, checkpoints, footers.
//!
//! A checkpoint writes what streams gathered in memory to their segments, syncs those, commits to the catalogue what the streams
//! are now, and gives up the log before it. It runs beside everything else, in steps.

use std::sync::Arc;

use stonechat_store::disk::{Disk, DiskFile};
use stonechat_store::file::{Files, IndexJob, Indexed, SealJob, Sealed};
use stonechat_store::spill::{SpillJob, Spilled};
use stonechat_store::wal::{GroupId, SyncJob, Synced};

use super::{Durability, Engine, Storage};
use crate::api::{Aside, AsideDone};
use crate::ids::{ConsumerId, StreamId};

/// Nanoseconds after the last change until a checkpoint is made.
const IDLE: i64 = 2_000_000_000;
/// A start reads and writes again what the log refers to; but a checkpoint syncs it, so that too many cost more than they spare.
const REFERRED_PER_LOGGED: u64 = 2;
/// Nanoseconds without a write after which the log says on disk what is durable.
const MARK_AFTER: i64 = 10_000_000;

/// Something that waits for the disk; to be [run](Job::run) on a thread that may.
#[derive(Debug)]
pub enum Job<D: Disk> {
    /// Makes the log durable. Nothing else should wait behind it.
    Sync(SyncJob<D>),
    /// Makes segments durable.
    Files {
        /// The files.
        files: Vec<Arc<D::File>>,
        /// There if names changed.
        disk: Option<Arc<D>>,
    },
    /// Makes the catalogue durable.
    Catalogue(SyncJob<D>),
    /// Removes files.
    Remove {
        /// The disk's open files.
        files: Arc<Files<D>>,
        /// Their names.
        names: Vec<String>,
    },
    /// Writes a footer, or a whole segment anew.
    Seal {
        /// The stream's number.
        stream_id: StreamId,
        /// What is to be done.
        job: SealJob<D>,
    },
    /// Writes ids or times to come to disk.
    Spill {
        /// The stream's number.
        stream_id: StreamId,
        /// What is to be done.
        job: SpillJob,
    },
    /// Writes what is known of subjects to disk.
    Index {
        /// The stream's number.
        stream_id: StreamId,
        /// What is to be done.
        job: IndexJob<D>,
    },
    /// Does what would keep the engine too long: it waits for no disk, and may be given up at any time.
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
    /// Waits until it is done.
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
                // What stays behind is removed when the store is opened the next time.
                names.iter().for_each(|name| drop(files.remove(name)));
                Done::Remove
            }
        }
    }

    /// Whether it may take seconds, and nothing waits for it.
    pub fn is_long(&self) -> bool {
        match self {
            Self::Index { job, .. } => job.is_long(),
            Self::Spill { job, .. } => job.is_long(),
            _ => false,
        }
    }

    /// Whether it neither waits for the disk nor writes to it.
    pub fn is_aside(&self) -> bool {
        matches!(self, Self::Aside(_))
    }

    /// Whether acknowledgements wait for it.
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
    /// The log must be durable up to where the streams were taken down: what comes behind a cut must not be taken for known.
    Log { position: u64, changes: Vec<(u64, Option<Vec<u8>>)>, obsolete: Vec<String> },
    /// The catalogue is being synced.
    Catalogue { position: u64, obsolete: Vec<String>, running: bool },
    /// Files are being removed.
    Remove { obsolete: Vec<String>, running: bool },
}

/// Where the current checkpoint stands, and what the next one is for.
#[derive(Debug, Default)]
pub(super) struct Checkpoint {
    phase: Phase,
    /// Entries of streams that were deleted, and their files.
    pub(super) deleted: Vec<u64>,
    /// Those of them that are part of the current checkpoint.
    deleting: Vec<u64>,
    pub(super) obsolete: Vec<String>,
    /// Position of the last one.
    pub(super) position: u64,
    /// Since when something waits for one.
    waiting_since: Option<i64>,
    sync_running: bool,
    /// When the last sync of the log ended.
    last_sync: i64,
    seal_running: bool,
    /// Streams with full segments.
    pub(super) to_seal: std::collections::VecDeque<StreamId>,
    /// Streams with an index that wants something.
    pub(super) to_index: std::collections::VecDeque<StreamId>,
    /// Streams that are part of the current checkpoint.
    groups: Vec<GroupId>,
    wants_now: bool,
    /// Some streams could not write what they have in memory: the current one leaves them, and the log, as they are.
    is_partial: bool,
    /// Bytes that the log refers to since the last one began.
    pub(super) referred: u64,
    /// Segments hold what the log referred to when it was opened: nothing may be written over it before the next checkpoint.
    pub(super) keeps_segments: bool,
}

/// The catalogue's entry for a stream.
pub(super) fn key(group: impl Into<GroupId>) -> u64 {
    u64::from(group.into().0)
}

impl<D: Disk> Engine<D> {
    /// The next job to be run, if there is one. Several may run at once.
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

    /// Gives up jobs that may take seconds, since the store is to be closed.
    pub fn hurry(&self) {
        self.files.hurry();
        self.requests.end();
    }

    /// What a stream wants to do to its indices. One freezes while another, or itself, joins.
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
                    // A sync of the log may end before this job does. The log's next batch may refer to messages in these files, and
                    // later batches to messages in files whose names this job syncs: the log syncs both too.
                    let (written, names_changed) = file.unsynced();
                    let written = if is_gathered { written } else { &[] };
                    self.log.depend(written, names_changed.then(|| self.files.disk()));
                }
                let (dirty, changed) = file.take_dirty();
                files.extend(dirty);
                names |= changed;
            }
        }
        // A store that is thrown away needs no sync.
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

    /// Takes note of how a job ended.
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
                    // Without its footer a segment is as good, only slower to open.
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
                // Files that were swallowed go with the next checkpoint.
                self.note_dirty(stream_id);
                let Some(stream) = self.streams.get_mut(&stream_id) else { return };
                if let Storage::File(file) = stream.core.messages_mut() {
                    file.indexed(indexed);
                }
                self.note_news(stream_id);
            }
        }
    }

    /// Whether a checkpoint is wanted, and begins one.
    pub(super) fn checkpoint_tick(&mut self) {
        let idle_log = !self.checkpoint.sync_running && self.now - self.checkpoint.last_sync >= MARK_AFTER;
        if idle_log && self.options.durability == Durability::Synced {
            // An error here would come again at the next write, and be told then.
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

    /// Takes note of since when something waits for a checkpoint.
    pub(super) fn await_checkpoint(&mut self) {
        if matches!(self.checkpoint.phase, Phase::Idle) {
            match self.is_anything_dirty() {
                true => drop(self.checkpoint.waiting_since.get_or_insert(self.now)),
                false => self.checkpoint.waiting_since = None,
            }
        }
    }

    /// Whether the log is so long that a checkpoint is due.
    pub fn wants_checkpoint(&self) -> bool {
        let log_len = self.log.end().saturating_sub(self.checkpoint.position)
            + self.checkpoint.referred / REFERRED_PER_LOGGED;
        // Files of the log are shorter on a small disk, and so is the log.
        let sizes = &self.options.sizes;
        let due = match self.log.file_len() {
            len if len < sizes.log_file => sizes.checkpoint.min(len.saturating_mul(3) / 4),
            _ => sizes.checkpoint,
        };
        matches!(self.checkpoint.phase, Phase::Idle) && log_len >= due
    }

    /// Whether the log has something that the catalogue does not have.
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

    /// Writes what streams gathered, and takes down what they are.
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

    /// What a checkpoint that failed had taken down is to be taken down again.
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
            // What is on disk is unknown: the log must stay as it is, and no more may be built on these files.
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

    /// Goes on with a checkpoint that waited for the log.
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
        // The catalogue's own mark wants a sync too; it may run on with the next one.
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
        // What could not be written is in the log alone.
        if std::mem::take(&mut self.checkpoint.is_partial) {
            return;
        }
        if let Err(e) = self.log.trim(position) {
            self.log_failed(&e);
        }
        self.room_freed();
    }

    /// Writes and syncs all there is, and makes a checkpoint, waiting for the disk. For the end.
    pub fn close(&mut self) {
        self.close_while(|| true);
    }

    /// The same, but begins nothing more once `goes_on` says no: then the next opening has more to do, and what was acknowledged is in
    /// the log.
    pub fn close_while(&mut self, goes_on: impl Fn() -> bool) {
        self.end_waiting();
        self.commit();
        self.checkpoint.wants_now = self.options.durability != Durability::None;
        // What full segments want can wait; what a checkpoint wants can't.
        self.checkpoint.to_seal.clear();
        self.checkpoint.to_index.clear();
        // One may be on its way, and know nothing of what came since.
        let mut checkpoints = 0;
        loop {
            while let Some(job) = self.next_job() {
                let is_needed = job.is_urgent() || goes_on();
                if !is_needed {
                    break;
                }
                self.job_done(job.run());
                // Sealing begins again where a checkpoint ends.
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
            // An error would cost the next opening time, and nothing else.
            let _ = self.log.give_up(end);
        }
        // It is learned anew at the next start.
        for stream in self.streams.values() {
            let names = match stream.core.messages() {
                Storage::File(file) => Some(file.index_names()),
                Storage::Memory(_) => None,
            };
            // What stays behind is removed then.
            let names = names.into_iter().flatten().chain(stream.core.spill_names());
            names.for_each(|name| drop(self.files.remove(name)));
        }
    }

    /// Messages that can't be read any more, of all streams.
    pub fn lost(&self) -> u64 {
        let lost = |storage: &Storage<D>| match storage {
            Storage::File(file) => file.lost(),
            Storage::Memory(_) => 0,
        };
        self.streams.values().map(|stream| lost(stream.core.messages())).sum()
    }
}
