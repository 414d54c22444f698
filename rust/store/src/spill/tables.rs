//! The jobs for one index's tables: which ones are needed, and which ones are running.

use std::sync::Arc;

use super::job::{Outcome, Source, SpillJob, Spilled, Work};
use super::table::{Cursor, Table};
use super::{Kind, Place, Shelf};

/// Minimum number of tables that are joined at once.
const JOINED: usize = 4;
/// A table is joined with newer ones if it has at most this many times as many records as they have together.
const LARGER: usize = 2;

/// The state of one index's tables and their jobs.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) place: Arc<dyn Place>,
    kind: Kind,
    next_number: u32,
    /// Rises when everything is given up. Results of jobs with another generation are ignored.
    generation: u64,
    pub(super) is_writing: bool,
    pub(super) is_joining: bool,
    /// Whether tables may be joined: not after a failed job, until a table was written.
    may_join: bool,
    /// Number of tables to be joined, counted from the newest.
    to_join: usize,
    obsolete: Vec<String>,
}

impl Tables {
    pub(super) fn new(shelf: &Shelf, kind: Kind) -> Self {
        Self {
            place: Arc::clone(&shelf.0),
            kind,
            next_number: 1,
            generation: 0,
            is_writing: false,
            is_joining: false,
            may_join: true,
            to_join: 0,
            obsolete: Vec::new(),
        }
    }

    /// Whether tables are to be joined or removed.
    pub(super) fn has_job(&self) -> bool {
        self.to_join > 0 || !self.obsolete.is_empty()
    }

    fn job(&mut self, work: Work) -> SpillJob {
        let target = match work {
            Work::Remove(_) => None,
            _ => {
                self.next_number += 1;
                self.place.target(self.kind, self.next_number - 1)
            }
        };
        let (place, kind, generation) = (Arc::clone(&self.place), self.kind, self.generation);
        SpillJob { place, kind, generation, target, work }
    }

    /// Returns a job that writes a new table.
    pub(super) fn write(&mut self, records: Source, newest: i64) -> SpillJob {
        self.is_writing = true;
        self.job(Work::Write { records, newest })
    }

    /// Returns the number of tables, counted from the newest, that are to be joined now.
    pub(super) fn take_join(&mut self) -> Option<usize> {
        Some(std::mem::take(&mut self.to_join)).filter(|count| *count > 0)
    }

    /// Returns a job that joins tables, given from the oldest to the newest.
    pub(super) fn join(&mut self, cursors: Vec<Cursor>, since: i64) -> SpillJob {
        self.is_joining = true;
        self.job(Work::Join { cursors, since })
    }

    /// Returns a job that removes obsolete files.
    pub(super) fn removal(&mut self) -> Option<SpillJob> {
        let names = std::mem::take(&mut self.obsolete);
        (!names.is_empty()).then(|| self.job(Work::Remove(names)))
    }

    /// Determines how many tables are to be joined. `tables` are given from the newest to the oldest.
    pub(super) fn plan<'t>(&mut self, tables: impl Iterator<Item = &'t Arc<Table>>) {
        self.to_join = 0;
        if self.is_joining || !self.may_join {
            return;
        }
        let (mut len, mut count) = (0, 0);
        for table in tables {
            if count > 0 && table.len > LARGER * len {
                break;
            }
            (len, count) = (len + table.len, count + 1);
        }
        if count >= JOINED {
            self.to_join = count;
        }
    }

    /// Applies the end of a job. Returns false if the job was begun before everything was given up.
    pub(super) fn ended(&mut self, spilled: &Spilled) -> bool {
        if spilled.generation != self.generation {
            if let Outcome::Written(Ok(table)) | Outcome::Joined(_, Ok(table)) = &spilled.outcome {
                self.obsolete.push(table.name.clone());
            }
            return false;
        }
        match &spilled.outcome {
            Outcome::Written(result) => (self.is_writing, self.may_join) = (false, result.is_ok()),
            Outcome::Joined(_, result) => {
                self.is_joining = false;
                self.may_join &= result.is_ok();
            }
            Outcome::Removed => {}
        }
        true
    }

    /// Marks the file of a table as obsolete.
    pub(super) fn drop_table(&mut self, table: &Table) {
        self.obsolete.push(table.name.clone());
    }

    /// Makes the results of running jobs obsolete.
    pub(super) fn give_up(&mut self) {
        self.generation += 1;
        (self.is_writing, self.is_joining, self.to_join) = (false, false, 0);
    }

    /// Returns the names of obsolete files.
    pub(super) fn obsolete(&self) -> &[String] {
        &self.obsolete
    }
}
