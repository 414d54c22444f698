//! Which jobs an index wants done about its tables, and which are on their way.

use std::sync::Arc;

use super::job::{Outcome, Source, SpillJob, Spilled, Work};
use super::table::{Cursor, Table};
use super::{Kind, Place, Shelf};

/// Tables that are joined at once, at least.
const JOINED: usize = 4;
/// A table is joined with newer ones if it has at most so many times as many records as they.
const LARGER: usize = 2;

/// The work on one index's tables.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) place: Arc<dyn Place>,
    kind: Kind,
    next_number: u32,
    /// Another one after all was given up: what was begun before is for nothing.
    generation: u64,
    pub(super) is_writing: bool,
    pub(super) is_joining: bool,
    /// Not after it failed, until something was written.
    may_join: bool,
    /// How many tables are to be joined: the newest ones.
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

    /// Writes a new table.
    pub(super) fn write(&mut self, records: Source, newest: i64) -> SpillJob {
        self.is_writing = true;
        self.job(Work::Write { records, newest })
    }

    /// How many tables, the newest ones, are to be joined now.
    pub(super) fn take_join(&mut self) -> Option<usize> {
        Some(std::mem::take(&mut self.to_join)).filter(|count| *count > 0)
    }

    /// Joins tables, the oldest first.
    pub(super) fn join(&mut self, cursors: Vec<Cursor>, since: i64) -> SpillJob {
        self.is_joining = true;
        self.job(Work::Join { cursors, since })
    }

    /// Removes what nobody needs any more.
    pub(super) fn removal(&mut self) -> Option<SpillJob> {
        let names = std::mem::take(&mut self.obsolete);
        (!names.is_empty()).then(|| self.job(Work::Remove(names)))
    }

    /// Sees how many tables are to be joined; the newest first.
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

    /// Takes note that a job ended. False if it was begun before all was given up.
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

    /// Nobody needs this table any more.
    pub(super) fn drop_table(&mut self, table: &Table) {
        self.obsolete.push(table.name.clone());
    }

    /// What is on its way is for nothing.
    pub(super) fn give_up(&mut self) {
        self.generation += 1;
        (self.is_writing, self.is_joining, self.to_join) = (false, false, 0);
    }

    /// Files that are to go.
    pub(super) fn obsolete(&self) -> &[String] {
        &self.obsolete
    }
}
