//! Message ids that were seen, and when.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::job::{Failed, Outcome, SpillJob, Spilled};
use super::table::{Cursor, Table};
use super::tables::Tables;
use super::{Kind, Shelf, Unreadable};
use crate::budget::Share;

/// The message with an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When it was stored, in nanoseconds since 1970.
    pub time: i64,
    /// The sequence of the message.
    pub sequence: u64,
}

type Map = HashMap<u128, Seen>;

/// Ids that were noted within one span of time.
#[derive(Debug)]
struct Group {
    newest: i64,
    ids: Arc<Map>,
}

/// Message ids, by their hash, with the last message of each. Times never fall. Ids are dropped in groups. A lookup asks each
/// group, from the newest to the oldest.
#[derive(Debug)]
pub struct Ids {
    current: Map,
    /// The time at which the next group begins.
    ends: i64,
    newest: i64,
    /// Complete groups, the oldest first.
    closed: VecDeque<Group>,
    /// Number of closed groups, counted from the oldest, that are being written.
    frozen: usize,
    /// Tables of older ids, the oldest first.
    list: Vec<Arc<Table>>,
    tables: Tables,
    share: Share,
    /// Number of current ids at which memory use is checked again.
    look_at: usize,
    wants_writing: bool,
    is_broken: Cell<bool>,
}

impl Ids {
    /// Returns an empty set.
    pub fn new(shelf: &Shelf) -> Self {
        let share = Share::new(shelf.0.budget());
        Self {
            current: Map::new(),
            ends: 0,
            newest: 0,
            closed: VecDeque::new(),
            frozen: 0,
            list: Vec::new(),
            tables: Tables::new(shelf, Kind::Ids),
            look_at: share.budget().step(),
            share,
            wants_writing: false,
            is_broken: Cell::new(false),
        }
    }

    /// Returns the last message with an id, by the id's hash.
    ///
    /// # Errors
    ///
    /// Fails if a table can't be read. From then on, [`Ids::is_broken`] returns true.
    pub fn find(&self, id: u128) -> Result<Option<Seen>, Unreadable> {
        if let Some(seen) = self.current.get(&id) {
            return Ok(Some(*seen));
        }
        if let Some(seen) = self.closed.iter().rev().find_map(|group| group.ids.get(&id)) {
            return Ok(Some(*seen));
        }
        let mut record = Vec::new();
        for table in self.list.iter().rev().filter(|table| table.may_have(id)) {
            let found = table.get(&*self.tables.place, id, &mut record);
            if found.inspect_err(|_| self.is_broken.set(true))? {
                return Ok(Some(Seen { time: time_of(&record), sequence: word(&record, 24) }));
            }
        }
        Ok(None)
    }

    /// Notes an id, by its hash. Ids within `span` nanoseconds are dropped together.
    pub fn note(&mut self, id: u128, seen: Seen, span: i64) {
        if seen.time >= self.ends {
            self.close();
        }
        if self.current.is_empty() {
            self.ends = seen.time.saturating_add(span);
        }
        self.newest = seen.time;
        self.current.insert(id, seen);
        if self.current.len() >= self.look_at {
            self.look();
        }
    }

    fn close(&mut self) {
        if !self.current.is_empty() {
            let ids = Arc::new(std::mem::take(&mut self.current));
            self.closed.push_back(Group { newest: self.newest, ids });
            self.look();
        }
    }

    /// Drops groups whose ids were all seen at `time` or before.
    pub fn forget(&mut self, time: i64) {
        let oldest = self.list.first().map(|table| table.newest);
        let oldest = oldest.or_else(|| self.closed.front().map(|group| group.newest));
        if oldest.unwrap_or(self.newest) > time {
            return;
        }
        // A table that is being joined is dropped later.
        while !self.tables.is_joining && self.list.first().is_some_and(|table| table.newest <= time) {
            let table = self.list.remove(0);
            self.tables.drop_table(&table);
            self.tables.plan(self.list.iter().rev());
        }
        while self.list.is_empty() && self.closed.front().is_some_and(|group| group.newest <= time) {
            self.closed.pop_front();
            self.frozen = self.frozen.saturating_sub(1);
        }
        if self.list.is_empty() && self.closed.is_empty() && self.newest <= time {
            self.current = Map::new();
        }
        self.look();
    }

    /// Returns the time for which [`Ids::forget`] drops the oldest group.
    pub fn next_end(&self) -> Option<i64> {
        let table = self.list.first().map(|table| table.newest);
        let group = self.closed.front().map(|group| group.newest);
        // For the current group, this is the time at which it ends, so that the result does not change with each new id.
        table.or(group).or((!self.current.is_empty()).then_some(self.ends))
    }

    /// Drops all ids.
    pub fn clear(&mut self) {
        self.tables.give_up();
        for table in std::mem::take(&mut self.list) {
            self.tables.drop_table(&table);
        }
        self.current = Map::new();
        self.closed.clear();
        self.frozen = 0;
        self.is_broken.set(false);
        self.look();
    }

    /// Whether a table could not be read. Then the set must be [cleared](Ids::clear), and all ids must be noted again.
    pub fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    fn look(&mut self) {
        // Each entry has a control byte, and an eighth of the entries is never used.
        let bytes_of = |map: &Map| map.capacity() * (size_of::<(u128, Seen)>() + 1) * 8 / 7;
        let bytes =
            bytes_of(&self.current) + self.closed.iter().map(|group| bytes_of(&group.ids)).sum::<usize>();
        self.share.set(bytes);
        let budget = self.share.budget();
        self.look_at = self.current.len() + budget.step();
        self.wants_writing = !self.tables.is_writing && budget.is_tight() && bytes > budget.smallest();
    }

    /// Whether [`Ids::job`] would return a job.
    pub fn has_job(&self) -> bool {
        self.wants_writing || self.tables.has_job()
    }

    /// Returns the next job that keeps memory within the budget. Ids that were seen at `since` or before may be dropped.
    pub fn job(&mut self, since: i64) -> Option<SpillJob> {
        if let Some(job) = self.writing_job() {
            return Some(job);
        }
        if let Some(count) = self.tables.take_join() {
            let cursors = self.list[self.list.len() - count..].iter();
            let cursors = cursors.map(|table| Cursor::new(Arc::clone(table), 0)).collect();
            return Some(self.tables.join(cursors, since));
        }
        self.tables.removal()
    }

    /// Returns the job that writes ids to disk, if memory is short.
    pub fn writing_job(&mut self) -> Option<SpillJob> {
        if !std::mem::take(&mut self.wants_writing) {
            return None;
        }
        self.close();
        self.wants_writing = false;
        self.frozen = self.closed.len();
        let newest = self.closed.back().map_or(i64::MIN, |group| group.newest);
        let groups: Vec<_> = self.closed.iter().map(|group| Arc::clone(&group.ids)).collect();
        Some(self.tables.write(Box::new(move || records(&groups)), newest))
    }

    /// Applies the result of a job.
    pub fn spilled(&mut self, spilled: Spilled) {
        if !self.tables.ended(&spilled) {
            return;
        }
        match spilled.outcome {
            Outcome::Written(Ok(table)) => {
                self.closed.drain(..self.frozen);
                self.frozen = 0;
                self.list.push(Arc::new(table));
                self.look();
            }
            Outcome::Written(Err(_)) => self.frozen = 0,
            Outcome::Joined(inputs, Ok(table)) => {
                let is_input = |table: &Arc<Table>| inputs.iter().any(|input| Arc::ptr_eq(input, table));
                let at = self.list.iter().position(is_input).unwrap_or(0);
                self.list.retain(|table| !is_input(table));
                inputs.iter().for_each(|input| self.tables.drop_table(input));
                self.list.insert(at, Arc::new(table));
            }
            Outcome::Joined(_, Err(Failed::Reading)) => self.is_broken.set(true),
            Outcome::Joined(_, Err(Failed::Writing)) | Outcome::Removed => {}
        }
        self.tables.plan(self.list.iter().rev());
    }

    /// Returns the names of the set's files, including obsolete ones.
    pub fn file_names(&self) -> impl Iterator<Item = &String> {
        self.list.iter().map(|table| &table.name).chain(self.tables.obsolete())
    }

    /// Returns the number of ids in memory.
    #[cfg(test)]
    fn in_memory(&self) -> usize {
        self.current.len() + self.closed.iter().map(|group| group.ids.len()).sum::<usize>()
    }
}

/// Returns the records of these groups, ordered by hash. Groups are given from the oldest to the newest.
fn records(groups: &[Arc<Map>]) -> Vec<u8> {
    let mut all: Vec<(u128, Seen)> =
        groups.iter().flat_map(|ids| ids.iter()).map(|(id, seen)| (*id, *seen)).collect();
    all.sort_unstable_by_key(|(id, seen)| (*id, std::cmp::Reverse(seen.sequence)));
    // Keep the newest record of each id.
    all.dedup_by_key(|(id, _)| *id);
    let mut out = Vec::with_capacity(all.len() * Kind::Ids.record_len());
    for (id, seen) in all {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&seen.time.to_be_bytes());
        out.extend_from_slice(&seen.sequence.to_be_bytes());
    }
    out
}

fn word(record: &[u8], at: usize) -> u64 {
    record.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_be_bytes(*word))
}

/// Returns when the id of a record was seen.
pub(super) fn time_of(record: &[u8]) -> i64 {
    word(record, 16) as i64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::sim::SimDisk;
    use crate::spill::tests::{World, shelf};

    #[derive(Debug, Clone)]
    enum Step {
        Note(u8),
        Forget(i64),
        Begin,
        End,
        Full(bool),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            30 => any::<u8>().prop_map(Step::Note),
            2 => (0..200i64).prop_map(Step::Forget),
            6 => Just(Step::Begin),
            6 => Just(Step::End),
            1 => any::<bool>().prop_map(Step::Full),
            1 => Just(Step::Clear),
        ]
    }

    fn hash(id: u8) -> u128 {
        u128::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// The set agrees with the model, whatever is written, joined, dropped or fails meanwhile.
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec(step(), 1..600), budget in 1usize..9000) {
            let world = World::new(budget);
            let (mut ids, mut model) = (Ids::new(&shelf(&world)), BTreeMap::new());
            let mut jobs = VecDeque::new();
            let mut forgotten = i64::MIN;
            for (i, step) in steps.into_iter().enumerate() {
                let now = i as i64 * 10;
                match step {
                    Step::Note(id) => {
                        let seen = Seen { time: now, sequence: i as u64 };
                        ids.note(hash(id), seen, 60);
                        model.insert(id, seen);
                    }
                    Step::Forget(back) => {
                        forgotten = forgotten.max(now - 10 * back);
                        ids.forget(forgotten);
                    }
                    Step::Begin => jobs.extend(ids.job(forgotten)),
                    Step::End => jobs.pop_front().into_iter().for_each(|job| ids.spilled(job.run())),
                    Step::Full(is_full) => world.disk.faults(|faults| faults.full = is_full),
                    Step::Clear => {
                        ids.clear();
                        model.clear();
                    }
                }
                for id in 0..=u8::MAX {
                    let found = ids.find(hash(id)).expect("readable").filter(|seen| seen.time > forgotten);
                    prop_assert_eq!(found, model.get(&id).copied().filter(|seen: &Seen| seen.time > forgotten));
                }
            }
            prop_assert!(!ids.is_broken());
            while let Some(job) = jobs.pop_front().or_else(|| ids.job(forgotten)) {
                ids.spilled(job.run());
            }
            let mut there: Vec<String> = crate::disk::Disk::names(&*world.disk).expect("names");
            let mut known: Vec<String> = ids.file_names().cloned().collect();
            there.sort();
            known.sort();
            prop_assert_eq!(there, known);
        }
    }

    #[test]
    fn most_of_many_are_on_disk_and_go_with_time() {
        let world = World::new(64 << 10);
        let mut ids = Ids::new(&shelf(&world));
        for i in 0..20_000u64 {
            let id = xxh(i);
            assert_eq!(ids.find(id), Ok(None));
            ids.note(id, Seen { time: i as i64, sequence: i }, 5000);
            while let Some(job) = ids.job(i as i64 - 20_000) {
                ids.spilled(job.run());
            }
        }
        assert!(ids.in_memory() < 1500, "{}", ids.in_memory());
        assert!(ids.list.len() < 12, "{}", ids.list.len());
        for i in 0..20_000u64 {
            assert_eq!(ids.find(xxh(i)), Ok(Some(Seen { time: i as i64, sequence: i })));
        }
        ids.forget(25_000);
        assert_eq!((ids.list.len(), ids.in_memory(), ids.next_end()), (0, 0, None));
    }

    fn xxh(i: u64) -> u128 {
        let mut random = crate::disk::sim::Random(i);
        u128::from(random.draw()) << 64 | u128::from(random.draw())
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let world = World::new(1);
        let mut ids = Ids::new(&shelf(&world));
        for i in 0..100u64 {
            ids.note(xxh(i), Seen { time: i as i64, sequence: i }, 50);
        }
        let job = ids.job(i64::MIN).expect("little memory");
        ids.spilled(job.run());
        let name = ids.file_names().next().expect("a file").clone();
        spoil(&world.disk, &name);
        assert_eq!((0..100).filter(|i| ids.find(xxh(*i)).is_err()).count(), 3);
        assert!(ids.is_broken());
    }

    fn spoil(disk: &SimDisk, name: &str) {
        disk.bytes(name, |bytes| bytes[30] ^= 1);
    }
}
