//! A queue of due times, of which only the front must be in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::job::{Failed, Outcome, SpillJob, Spilled};
use super::table::{Cursor, Table, key};
use super::tables::Tables;
use super::{Kind, Shelf};
use crate::budget::Share;

/// A due time, in nanoseconds since 1970, and the sequence of its message.
type Due = (i64, u64);

/// Approximate memory of an entry in a tree, in bytes, with nodes of average fill.
const ENTRY_LEN: usize = 24;

/// A table that is read from the front.
#[derive(Debug)]
struct Run {
    cursor: Cursor,
    /// The first entry that was not taken.
    head: Option<Due>,
    /// The last entry that was taken since a join of this run began.
    taken: Option<Due>,
}

/// Entries ordered by time, and then by sequence. An entry that was added several times may be returned several times. Entries
/// can't be removed early: the caller must ignore those that do not apply any more.
#[derive(Debug)]
pub struct Dues {
    near: BTreeSet<Due>,
    /// The entries that are being written, and how many of them were taken meanwhile.
    frozen: Option<(Arc<Vec<Due>>, usize)>,
    /// The runs, the oldest first.
    runs: Vec<Run>,
    tables: Tables,
    share: Share,
    /// Number of entries at which memory use is checked again.
    look_at: usize,
    wants_writing: bool,
    is_broken: bool,
}

/// The place of an entry.
#[derive(Debug, Clone, Copy)]
enum Where {
    Near,
    Frozen,
    Run(usize),
}

impl Dues {
    /// Returns an empty queue. `kind` is the kind of its entries.
    pub fn new(shelf: &Shelf, kind: Kind) -> Self {
        let share = Share::new(shelf.0.budget());
        Self {
            near: BTreeSet::new(),
            frozen: None,
            runs: Vec::new(),
            tables: Tables::new(shelf, kind),
            look_at: share.budget().step(),
            share,
            wants_writing: false,
            is_broken: false,
        }
    }

    /// Adds an entry for the message `sequence`, due at `time`.
    pub fn insert(&mut self, time: i64, sequence: u64) {
        self.near.insert((time, sequence));
        if self.near.len() >= self.look_at {
            self.look();
        }
    }

    fn find_first(&self) -> Option<(Due, Where)> {
        let near = self.near.first().map(|due| (*due, Where::Near));
        let frozen = self.frozen.as_ref().and_then(|(list, taken)| Some((*list.get(*taken)?, Where::Frozen)));
        let runs = self.runs.iter().enumerate().filter_map(|(i, run)| Some((run.head?, Where::Run(i))));
        near.into_iter().chain(frozen).chain(runs).min_by_key(|(due, _)| *due)
    }

    /// Returns the time of the first entry.
    pub fn first(&self) -> Option<i64> {
        self.find_first().map(|((time, _), _)| time)
    }

    /// Takes the first entry if it is due at `now`.
    pub fn pop(&mut self, now: i64) -> Option<(i64, u64)> {
        let (due, place) = self.find_first().filter(|((time, _), _)| *time <= now)?;
        match place {
            Where::Near => {
                self.near.pop_first();
                // Check memory use about whenever the number of entries has halved.
                if self.near.len().is_power_of_two() {
                    self.look();
                }
            }
            Where::Frozen => {
                if let Some((_, taken)) = &mut self.frozen {
                    *taken += 1;
                }
            }
            Where::Run(i) => {
                self.runs[i].taken = Some(due);
                self.advance(i);
            }
        }
        Some(due)
    }

    /// Moves to the next entry of a run, and drops a run at its end.
    fn advance(&mut self, i: usize) {
        let run = &mut self.runs[i];
        match run.cursor.next(&*self.tables.place) {
            Ok(record) => run.head = record.map(entry),
            Err(_) => (run.head, self.is_broken) = (None, true),
        }
        // A run that is being joined is dropped later.
        if run.head.is_none() && !self.tables.is_joining {
            let run = self.runs.remove(i);
            self.tables.drop_table(&run.cursor.table);
            self.tables.plan(self.runs.iter().rev().map(|run| &run.cursor.table));
        }
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.tables.give_up();
        for run in std::mem::take(&mut self.runs) {
            self.tables.drop_table(&run.cursor.table);
        }
        self.near.clear();
        self.frozen = None;
        self.is_broken = false;
        self.look();
    }

    /// Whether an entry could not be read. Then the queue must be [cleared](Dues::clear), and all entries must be added again.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn look(&mut self) {
        let near = self.near.len() * ENTRY_LEN;
        let frozen = self.frozen.as_ref().map_or(0, |(list, _)| list.len() * size_of::<Due>());
        self.share.set(near + frozen);
        let budget = self.share.budget();
        self.look_at = self.near.len() + budget.step();
        self.wants_writing = !self.tables.is_writing && budget.is_tight() && near > budget.smallest();
    }

    /// Whether [`Dues::job`] would return a job.
    pub fn has_job(&self) -> bool {
        self.wants_writing || self.tables.has_job()
    }

    /// Returns the next job that keeps memory within the budget.
    pub fn job(&mut self) -> Option<SpillJob> {
        if let Some(job) = self.writing_job() {
            return Some(job);
        }
        if let Some(count) = self.tables.take_join() {
            let first = self.runs.len() - count;
            let mut cursors = Vec::new();
            for run in &mut self.runs[first..] {
                run.taken = None;
                // The cursor is already behind the head.
                let seen = run.cursor.seen() - usize::from(run.head.is_some());
                cursors.push(Cursor::new(Arc::clone(&run.cursor.table), seen));
            }
            return Some(self.tables.join(cursors, i64::MIN));
        }
        self.tables.removal()
    }

    /// Returns the job that writes entries to disk, if memory is short.
    pub fn writing_job(&mut self) -> Option<SpillJob> {
        if !std::mem::take(&mut self.wants_writing) {
            return None;
        }
        if self.frozen.is_none() {
            // Entries that are due first stay in memory.
            let at = self.near.iter().nth(self.near.len() / 8).copied()?;
            let far = self.near.split_off(&at);
            self.frozen = Some((Arc::new(far.into_iter().collect()), 0));
            self.look();
            self.wants_writing = false;
        }
        let (list, taken) = self.frozen.as_ref()?;
        let (list, taken) = (Arc::clone(list), *taken);
        let records = move || {
            let mut out = Vec::with_capacity((list.len() - taken) * 16);
            for (time, sequence) in &list[taken..] {
                out.extend_from_slice(&((*time as u64) ^ (1 << 63)).to_be_bytes());
                out.extend_from_slice(&sequence.to_be_bytes());
            }
            out
        };
        Some(self.tables.write(Box::new(records), 0))
    }

    /// Applies the result of a job.
    pub fn spilled(&mut self, spilled: Spilled) {
        if !self.tables.ended(&spilled) {
            return;
        }
        match spilled.outcome {
            Outcome::Written(Ok(table)) => {
                let Some((list, taken)) = self.frozen.take() else { return };
                // Some entries were taken while they were written.
                let seen = (taken + table.len).saturating_sub(list.len());
                self.add_run(Arc::new(table), seen, None);
                self.look();
            }
            Outcome::Joined(inputs, Ok(table)) => {
                let is_input = |run: &Run| inputs.iter().any(|input| Arc::ptr_eq(input, &run.cursor.table));
                let taken = self.runs.iter().filter(|run| is_input(run)).filter_map(|run| run.taken).max();
                let at = self.runs.iter().position(is_input).unwrap_or(0);
                self.runs.retain(|run| !is_input(run));
                inputs.iter().for_each(|input| self.tables.drop_table(input));
                self.add_run(Arc::new(table), 0, taken);
                // The new run takes the place of its inputs.
                if let Some(run) = self.runs.pop() {
                    self.runs.insert(at.min(self.runs.len()), run);
                }
            }
            Outcome::Joined(_, Err(Failed::Reading)) => self.is_broken = true,
            Outcome::Written(Err(_)) | Outcome::Joined(_, Err(Failed::Writing)) | Outcome::Removed => {}
        }
        // Drop the runs that reached their end meanwhile.
        if !self.tables.is_joining {
            let tables = &mut self.tables;
            self.runs.retain(|run| {
                if run.head.is_none() {
                    tables.drop_table(&run.cursor.table);
                }
                run.head.is_some()
            });
        }
        self.tables.plan(self.runs.iter().rev().map(|run| &run.cursor.table));
    }

    /// Adds a run. Its entries up to number `seen`, and those up to the entry `taken`, were taken already.
    fn add_run(&mut self, table: Arc<Table>, seen: usize, taken: Option<Due>) {
        let mut run = Run { cursor: Cursor::new(table, seen), head: None, taken: None };
        loop {
            match run.cursor.next(&*self.tables.place) {
                Ok(record) => run.head = record.map(entry),
                Err(_) => (run.head, self.is_broken) = (None, true),
            }
            if run.head.is_none() || run.head > taken {
                break;
            }
        }
        self.runs.push(run);
    }

    /// Returns the names of the queue's files, including obsolete ones.
    pub fn file_names(&self) -> impl Iterator<Item = &String> {
        self.runs.iter().map(|run| &run.cursor.table.name).chain(self.tables.obsolete())
    }

    /// Returns the number of entries in memory.
    #[cfg(test)]
    fn in_memory(&self) -> usize {
        self.near.len() + self.frozen.as_ref().map_or(0, |(list, taken)| list.len() - taken)
    }
}

fn entry(record: &[u8]) -> Due {
    let key = key(record);
    (((key >> 64) as u64 ^ (1 << 63)) as i64, key as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::spill::tests::{World, shelf};

    #[derive(Debug, Clone)]
    enum Step {
        Insert(i64),
        Pop(i64),
        Begin,
        End,
        Full(bool),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            30 => (-300..3000i64).prop_map(Step::Insert),
            10 => (0..2000i64).prop_map(Step::Pop),
            6 => Just(Step::Begin),
            6 => Just(Step::End),
            1 => any::<bool>().prop_map(Step::Full),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// The queue agrees with the model, whatever is written, joined or fails meanwhile.
        #[test]
        fn agrees_with_a_plain_set(steps in prop::collection::vec(step(), 1..900), budget in 1usize..5000) {
            let world = World::new(budget);
            let (mut dues, mut model) = (Dues::new(&shelf(&world), Kind::Ttls), BTreeSet::new());
            let mut jobs = VecDeque::new();
            for (i, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(time) => {
                        dues.insert(time, i as u64);
                        model.insert((time, i as u64));
                    }
                    Step::Pop(now) => {
                        for _ in 0..3 {
                            let first = model.first().copied().filter(|(time, _)| *time <= now);
                            prop_assert_eq!(dues.pop(now), first);
                            first.map(|first| model.remove(&first));
                        }
                    }
                    Step::Begin => jobs.extend(dues.job()),
                    Step::End => jobs.pop_front().into_iter().for_each(|job| dues.spilled(job.run())),
                    Step::Full(is_full) => world.disk.faults(|faults| faults.full = is_full),
                    Step::Clear => {
                        dues.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(dues.first(), model.first().map(|(time, _)| *time));
            }
            world.disk.faults(|faults| faults.full = false);
            while let Some(job) = jobs.pop_front().or_else(|| dues.job()) {
                dues.spilled(job.run());
            }
            let mut there: Vec<String> = crate::disk::Disk::names(&*world.disk).expect("names");
            let mut known: Vec<String> = dues.file_names().cloned().collect();
            there.sort();
            known.sort();
            prop_assert_eq!(there, known);
            for due in model {
                prop_assert_eq!(dues.pop(i64::MAX), Some(due));
            }
            prop_assert_eq!(dues.pop(i64::MAX), None);
            prop_assert!(!dues.is_broken());
        }
    }

    #[test]
    fn most_of_many_are_on_disk() {
        let world = World::new(64 << 10);
        let mut dues = Dues::new(&shelf(&world), Kind::Ttls);
        for i in 0..20_000u64 {
            dues.insert((i * 7919 % 20_011) as i64, i);
            while let Some(job) = dues.job() {
                dues.spilled(job.run());
            }
        }
        assert!(dues.in_memory() < 2500, "{}", dues.in_memory());
        assert!(dues.runs.len() < 12, "{}", dues.runs.len());
        let mut before = -1;
        for _ in 0..20_000 {
            let (time, sequence) = dues.pop(i64::MAX).expect("one more");
            assert!(time > before && (sequence * 7919 % 20_011) as i64 == time);
            before = time;
        }
        assert_eq!(dues.first(), None);
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let world = World::new(1);
        let mut dues = Dues::new(&shelf(&world), Kind::Ttls);
        (0..100).for_each(|i| dues.insert(i, 0));
        let job = dues.job().expect("little memory");
        dues.spilled(job.run());
        let name = dues.file_names().next().expect("a file").clone();
        let len = world.disk.bytes(&name, |bytes| bytes.len());
        world.disk.bytes(&name, |bytes| bytes[len - 1] ^= 1);
        let count = std::iter::from_fn(|| dues.pop(i64::MAX)).count();
        assert!(count < 100 && dues.is_broken(), "{count}");
    }
}
