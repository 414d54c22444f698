//! Jobs that write, join and remove tables, on a thread that may wait.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::table::{Cursor, Table, Writer, key};
use super::{Kind, Place, RECORD_LEN_MAX, ids};
use crate::file::Packing;

/// Returns the records of a new table, in order.
pub(super) type Source = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// The work of a job.
pub(super) enum Work {
    /// Writes a new table from memory. `newest` becomes the table's value of that name.
    Write { records: Source, newest: i64 },
    /// Joins several tables, given from the oldest to the newest, into one. Of records with the same key, the newest counts.
    /// Ids that were seen at `since` or before are left out.
    Join { cursors: Vec<Cursor>, since: i64 },
    /// Removes files.
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

/// A job that writes records from memory to a file, joins several files into one, or removes files.
#[derive(Debug)]
pub struct SpillJob {
    pub(super) place: Arc<dyn Place>,
    pub(super) kind: Kind,
    pub(super) generation: u64,
    pub(super) target: Option<(String, Packing)>,
    pub(super) work: Work,
}

/// The result of a [`SpillJob`].
#[derive(Debug)]
#[must_use]
pub struct Spilled {
    /// The kind of the index.
    pub kind: Kind,
    pub(super) place: Arc<dyn Place>,
    pub(super) generation: u64,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Written(io::Result<Table>),
    /// The inputs, and the new table or an error.
    Joined(Vec<Arc<Table>>, Result<Table, Failed>),
    Removed,
}

/// The reason why there is no new table.
#[derive(Debug)]
pub(super) enum Failed {
    /// An input can't be read.
    Reading,
    /// The new table can't be written.
    Writing,
}

impl Spilled {
    /// Removes the new file, if there is one, since the stream was deleted.
    pub fn discard(self) {
        if let Outcome::Written(Ok(table)) | Outcome::Joined(_, Ok(table)) = self.outcome {
            // A file that stays is removed at the next opening.
            let _ = self.place.remove(&table.name);
        }
    }
}

impl SpillJob {
    /// Whether the job may take seconds. Nothing waits for such a job.
    pub fn is_long(&self) -> bool {
        matches!(self.work, Work::Join { .. })
    }

    /// Runs the job.
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
            // On a full disk, a partial file would take the space of others.
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
        // Of equal keys, the last record counts, since it comes from the newest table.
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

/// Returns the next record, padded with zeros.
fn next(cursor: &mut Cursor, place: &dyn Place) -> Result<Option<[u8; RECORD_LEN_MAX]>, Failed> {
    let record = cursor.next(place).map_err(|_| Failed::Reading)?;
    Ok(record.map(|record| {
        let mut whole = [0; RECORD_LEN_MAX];
        whole[..record.len()].copy_from_slice(record);
        whole
    }))
}
