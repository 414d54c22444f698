//! The records of the log, collected while it is opened.

use stonechat_store::wal::{Found, GroupId, Record};

use super::journal;
use super::twice::Copied;

/// The records of the log that is being opened.
#[derive(Default)]
pub(super) struct Replay {
    records: Vec<Held>,
    /// Records restored from their copies.
    copies: Vec<Held>,
}

/// Position, group, kind and body of a record.
type Held = (u64, GroupId, u8, Box<[u8]>);

impl Replay {
    /// Adds a record of the log.
    pub(super) fn note(&mut self, found: &Found<'_>) {
        let Found::Record(record) = found else { return };
        match record.kind {
            journal::PADDING => {}
            journal::COPY => {
                let Some(Copied { position, kind, body }) = Copied::decode(record) else { return };
                self.copies.push((position, record.group, kind, body.into()));
            }
            kind => self.records.push((record.position, record.group, kind, record.body.into())),
        }
    }

    /// Adds the copies of records that could not be read, once all are collected. Returns their number.
    pub(super) fn mend(&mut self) -> u64 {
        let copies = std::mem::take(&mut self.copies);
        let is_missing = |copy: &Held| self.records.binary_search_by_key(&copy.0, |record| record.0).is_err();
        let mut missing: Vec<Held> = copies.into_iter().filter(is_missing).collect();
        let count = missing.len() as u64;
        if count > 0 {
            self.records.append(&mut missing);
            self.records.sort_by_key(|record| record.0);
        }
        count
    }

    /// All records, in the order of the log.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.records.len()).filter_map(|i| self.record(i))
    }

    pub(super) fn record(&self, i: usize) -> Option<Record<'_>> {
        let (position, group, kind, body) = self.records.get(i)?;
        Some(Record::plain(*position, *group, *kind, body))
    }
}
