//! Writing tables, on a thread that may wait.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::table::{Cursor, Table, Writer, key};
use super::{Kind, Place, RECORD_LEN_MAX, ids};
use crate::file::Packing;

/// Makes the records of a new table, in order.
pub(super) type Source = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// What is to be done.
pub(super) enum Work {
    /// A new table of what was in memory, of which the newest is so old.
    Write { records: Source, newest: i64 },
    /// One table of several, the oldest first. Of records with one key the newest counts; those that `since` is not before, by the
    /// time that stands behind their keys, are left out.
    Join { cursors: Vec<Cursor>, since: i64 },
    /// Files are to go.
    Remove(Vec<String>),
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write { .. } => "Write",
            Self::Join { .. } => "Join",
            Self::Remove(_) => "Remove",
        })
    }
}

/// Records that are to go from memory to a file, or from several files to one, or files that are to go.
#[derive(Debug)]
pub struct SpillJob {
    pub(super) place: Arc<dyn Place>,
    pub(super) kind: Kind,
    pub(super) generation: u64,
    pub(super) target: Option<(String, Packing)>,
    pub(super) work: Work,
}

/// How a [`SpillJob`] ended.
#[derive(Debug)]
#[must_use]
pub struct Spilled {
    /// What it was about.
    pub kind: Kind,
    pub(super) place: Arc<dyn Place>,
    pub(super) generation: u64,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Written(io::Result<Table>),
    /// The inputs, and what became of them.
    Joined(Vec<Arc<Table>>, Result<Table, Failed>),
    Removed,
}

/// Why there is no new table.
#[derive(Debug)]
pub(super) enum Failed {
    /// One before can't be read.
    Reading,
    /// The new one can't be written.
    Writing,
}

impl Spilled {
    /// Nobody needs what was written, since the stream is no more.
    pub fn discard(self) {
        if let Outcome::Written(Ok(table)) | Outcome::Joined(_, Ok(table)) = self.outcome {
            // What stays is removed when the store is opened the next time.
            let _ = self.place.remove(&table.name);
        }
    }
}

impl SpillJob {
    /// Whether it may take seconds, and nothing waits for it.
    pub fn is_long(&self) -> bool {
        matches!(self.work, Work::Join { .. })
    }

    /// Does it.
    pub fn run(self) -> Spilled {
        let Self { place, kind, generation, target, work } = self;
        let name = target.as_ref().map(|(name, _)| name.clone());
        let outcome = match work {
            Work::Remove(names) => {
                names.iter().for_each(|name| drop(place.remove(name)));
                Outcome::Removed
            }
            Work::Write { records, newest } => {
                Outcome::Written(write(&*place, kind, target, records, newest))
            }
            Work::Join { mut cursors, since } => {
                let result = join(&*place, kind, target, &mut cursors, since);
                Outcome::Joined(cursors.into_iter().map(|cursor| cursor.table).collect(), result)
            }
        };
        if let (Some(name), Outcome::Written(Err(_)) | Outcome::Joined(_, Err(_))) = (name, &outcome) {
            // On a full disk what was begun takes the room of others.
            let _ = place.remove(&name);
        }
        Spilled { kind, place, generation, outcome }
    }
}

fn write(
    place: &dyn Place,
    kind: Kind,
    target: Option<(String, Packing)>,
    records: Source,
    newest: i64,
) -> io::Result<Table> {
    let target = target.ok_or(io::ErrorKind::Unsupported)?;
    let (records, len) = (records(), kind.record_len());
    let mut writer = Writer::new(place, kind, target, records.len() / len)?;
    for record in records.chunks_exact(len) {
        if place.is_in_a_hurry() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        writer.add(record)?;
    }
    writer.finish(newest)
}

fn join(
    place: &dyn Place,
    kind: Kind,
    target: Option<(String, Packing)>,
    cursors: &mut [Cursor],
    since: i64,
) -> Result<Table, Failed> {
    let writing = |_: io::Error| Failed::Writing;
    let expected = cursors.iter().map(|cursor| cursor.table.len).sum();
    let newest = cursors.iter().map(|cursor| cursor.table.newest).max().unwrap_or(i64::MIN);
    let mut writer = Writer::new(place, kind, target.ok_or(Failed::Writing)?, expected).map_err(writing)?;
    let len = kind.record_len();
    let mut heads = Vec::with_capacity(cursors.len());
    for cursor in &mut *cursors {
        heads.push(next(cursor, place)?);
    }
    loop {
        if place.is_in_a_hurry() {
            return Err(Failed::Writing);
        }
        let least = heads.iter().flatten().map(|record| key(record)).min();
        let Some(least) = least else { break };
        // Of equal keys the last one: that of the newest table.
        let mut found = None;
        for (cursor, head) in cursors.iter_mut().zip(&mut heads) {
            if head.is_some_and(|record| key(&record) == least) {
                found = std::mem::replace(head, next(cursor, place)?);
            }
        }
        if let Some(record) = found
            && (kind != Kind::Ids || ids::time_of(&record) > since)
        {
            writer.add(&record[..len]).map_err(writing)?;
        }
    }
    writer.finish(newest).map_err(writing)
}

/// The next record, with zeros behind it if it is short.
fn next(cursor: &mut Cursor, place: &dyn Place) -> Result<Option<[u8; RECORD_LEN_MAX]>, Failed> {
    let record = cursor.next(place).map_err(|_| Failed::Reading)?;
    Ok(record.map(|record| {
        let mut whole = [0; RECORD_LEN_MAX];
        whole[..record.len()].copy_from_slice(record);
        whole
    }))
}
