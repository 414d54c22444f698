//! A full disk: publishing is refused, the log's reserves are given up, and checkpoints free room until publishing goes on.
//!
//! Publishing goes on when the catalogue and the log have their reserves again and the disk has free space. A checkpoint may
//! leave out streams whose messages do not fit on the disk; the log keeps them.
//!
//! An API request or an acknowledgement that expects a reply is refused before any of it is done if the log has no room for it:
//! the request with error 10047, the acknowledgement with status 503. Changes that free room may use more of the reserve.

use stonechat_store::catalogue::Catalogue;
use stonechat_store::disk::{Disk, is_full};
use stonechat_store::wal::{self, GroupId, Log};

use super::{Durability, Engine, Storage, Stream};
use crate::error::{self, ApiError};
use crate::ids::StreamId;

/// Nanoseconds between two checks whether a full disk has room again.
const LOOK_EVERY: i64 = 250_000_000;

/// The most bytes that a record of the log has beside its message.
const RECORD_OVERHEAD: usize = 256;

/// Bytes of the log that a change leaves free for the changes that follow from requests: consumers' changes, removals of
/// messages. A change that frees room on the disk leaves less. Each is at most a share of a file of the log, since these are
/// short on small disks.
const MARGIN: u64 = 64 << 10;
const MARGIN_OF_REMOVALS: u64 = 8 << 10;
const MARGIN_SHARE: u64 = 8;
const MARGIN_OF_REMOVALS_SHARE: u64 = 64;

/// The most bytes that a change reserves on a full disk. A longer change only checks that the disk has them free.
const ROOM_TAKEN_MAX: u64 = 128 << 10;

/// The changes that a checkpoint commits to the catalogue: a key, and the new entry or `None` for a removal.
pub(super) type Changes = Vec<(u64, Option<Vec<u8>>)>;

/// The state of the store on a full disk.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Whether a stream or a segment could not be written. A checkpoint has to write it.
    pub(super) is_behind: bool,
    /// Whether a checkpoint is to be made at once, since it may free room.
    pub(super) wants_checkpoint: bool,
    /// When to check again whether the disk has room.
    look_at: i64,
}

/// Repeats `write` while the disk is full and the log has a reserve to release.
fn with_reserve<D: Disk, T>(
    log: &mut Log<D>,
    mut write: impl FnMut(&mut Log<D>) -> Result<T, wal::Error>,
) -> Result<T, wal::Error> {
    loop {
        match write(log) {
            Err(wal::Error::Full { .. }) if log.release() => {}
            done => return done,
        }
    }
}

impl<D: Disk> Engine<D> {
    /// Whether messages are refused because the disk is full.
    pub(super) fn lacks_room(&self) -> bool {
        let code = error::STORAGE_RESOURCES_EXCEEDED.error().err_code;
        self.refuses.as_ref().is_some_and(|refusal| refusal.err_code == code)
    }

    /// Makes sure that the next batch finds room, or refuses messages until it does.
    pub(super) fn reserve(&mut self) {
        let lacks_room = self.lacks_room();
        if lacks_room && (self.now < self.room.look_at || self.room.is_behind) {
            return;
        }
        // Without room for the catalogue no checkpoint would free anything.
        match self.catalogue.reserve().and_then(|()| self.log.reserve()) {
            Ok(()) if lacks_room && !self.log.has_room() => self.look_later(),
            Ok(()) if lacks_room => {
                self.refuses = None;
                self.warn("JetStream has room on the disk again, publishing goes on".to_owned());
            }
            Ok(()) => {}
            Err(wal::Error::Full { .. }) => {
                self.disk_full();
                self.look_later();
            }
            Err(e) => self.log_failed(&e),
        }
    }

    /// Whether the log has room for a change of a stream with `messages` messages of `len` bytes in total.
    pub(super) fn check_room(
        &mut self,
        stream_id: StreamId,
        messages: usize,
        len: usize,
    ) -> Result<(), ApiError> {
        if !self.streams.get(&stream_id).is_some_and(Stream::is_logged) {
            return Ok(());
        }
        if let Some(refusal) = &self.refuses {
            return Err(refusal.clone());
        }
        match self.log.make_room((messages * RECORD_OVERHEAD + len) as u64) {
            Err(wal::Error::Full { .. }) => {
                self.disk_full();
                Err(error::STORAGE_RESOURCES_EXCEEDED.error())
            }
            // Another failure happens again when the log is written.
            _ => Ok(()),
        }
    }

    /// Whether the log has room for a change of `len` bytes that gets a reply; on a full disk, reserves are released for it. If
    /// there is no room, the change is refused before any of it is done, so that no reply waits for room. `frees_room`: the
    /// change removes something.
    pub(crate) fn check_change(&mut self, frees_room: bool, len: usize) -> Result<(), ApiError> {
        if let Some(refusal) = self.refuses.as_ref().filter(|_| !self.lacks_room()) {
            return Err(refusal.clone());
        }
        let file_len = self.log.file_len();
        let margin = match frees_room {
            true => MARGIN_OF_REMOVALS.min(file_len / MARGIN_OF_REMOVALS_SHARE),
            false => MARGIN.min(file_len / MARGIN_SHARE),
        };
        let needed = (RECORD_OVERHEAD + len) as u64 + margin;
        let is_short = needed <= ROOM_TAKEN_MAX;
        if self.refuses.is_none() {
            match self.log.check_room(needed) {
                Ok(()) => return Ok(()),
                // One long request is no reason to refuse shorter ones.
                Err(_) if !is_short => return Err(error::STORAGE_RESOURCES_EXCEEDED.error()),
                Err(_) => self.disk_full(),
            }
        }
        let checked = with_reserve(&mut self.log, |log| match is_short {
            true => log.make_room(needed),
            false => log.check_room(needed),
        });
        match checked {
            Err(wal::Error::Full { .. }) => Err(error::STORAGE_RESOURCES_EXCEEDED.error()),
            // Another failure happens again when the log is written.
            _ => Ok(()),
        }
    }

    fn look_later(&mut self) {
        self.room.look_at = self.now.saturating_add(LOOK_EVERY);
    }

    /// Makes the next check for room due at once, after something was removed.
    pub(super) fn room_freed(&mut self) {
        self.room.look_at = 0;
    }

    /// When to check whether a full disk has room again.
    pub(super) fn room_deadline(&self) -> Option<i64> {
        (self.lacks_room() && !self.room.is_behind).then_some(self.room.look_at)
    }

    /// Whether a checkpoint would free room on a full disk.
    pub(super) fn frees_room(&mut self) -> bool {
        if !self.lacks_room() {
            self.room.wants_checkpoint = false;
            return false;
        }
        let streams = &self.streams;
        let has_obsolete =
            |group: &GroupId| match streams.get(&StreamId::of(*group)).map(|stream| stream.core.messages()) {
                Some(Storage::File(file)) => file.has_obsolete(),
                _ => false,
            };
        std::mem::take(&mut self.room.wants_checkpoint)
            || !self.checkpoint.obsolete.is_empty()
            || !self.checkpoint.deleted.is_empty()
            || self.dirty.iter().any(has_obsolete)
    }

    /// Writes the gathered records to the log.
    pub(super) fn write_log(&mut self) -> Result<u64, wal::Error> {
        with_reserve(&mut self.log, Log::write)
    }

    /// Commits changes to the catalogue. After an error `changes` are unchanged.
    pub(super) fn commit_catalogue(&mut self, changes: &mut Changes) -> Result<(), wal::Error> {
        let catalogue: &mut Catalogue<D> = &mut self.catalogue;
        with_reserve(&mut self.log, |_| catalogue.try_commit(changes))
    }

    /// Writes the messages that a stream holds in memory to its segment. Returns false if there is no room.
    pub(super) fn write_tail(&mut self, stream_id: StreamId) -> bool {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return true };
        let Storage::File(file) = stream.core.messages_mut() else { return true };
        loop {
            match file.flush() {
                Ok(()) => return true,
                Err(e) if is_full(&e) && self.log.release() => {}
                Err(_) => return false,
            }
        }
    }

    /// Whether a checkpoint may go on although these streams could not write their messages, which the log then keeps. It may not
    /// if the log refers to segments, or if the catalogue has no earlier entry of a stream.
    pub(super) fn may_leave(&self, unwritten: &[GroupId]) -> bool {
        self.options.durability == Durability::Synced
            && !self.checkpoint.keeps_segments
            && unwritten.iter().all(|group| self.catalogue.get(super::checkpoint::key(*group)).is_some())
    }
}
