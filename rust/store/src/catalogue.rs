//! The catalogue: the state of a store at its last checkpoint. Entries are small byte strings by number. A commit changes
//! entries all at once or not at all.
//!
//! The catalogue is a log of its own. A *commit* is one frame with the changed entries and a list of their checksums, so that a
//! loss is noticed. The frame holds all of this twice, far enough apart that neither a flipped bit nor an unreadable page costs
//! both copies. When most of the log is out of date, all entries are written again and the files before are given up.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checksum::Checksum;
use crate::disk::Disk;
use crate::encryption::Keyring;
use crate::file::varint;
use crate::wal::{Damage, Error, Fill, Found, GroupId, Log, Options, SyncJob, Synced};

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const COMMITTED: u8 = 3;
/// A record without content, which keeps two copies apart.
const PADDING: u8 = 4;
/// Number of bytes that may become unreadable together, wherever they begin.
const PAGE_LEN: u64 = 4096;
/// The log is rewritten when it is more than this many times as long as its entries.
const REWRITE_FACTOR: u64 = 4;
/// Minimum length of the log for a rewrite, in bytes; at most the length of a file, which is shorter on a small disk.
const REWRITE_LEN: u64 = 1 << 20;
/// The length of its files on the smallest disks, in bytes.
const FILE_LEN_MIN: u64 = 64 << 10;

/// Maximum space that is reserved for commits on a full disk, in bytes.
const RESERVED_MAX: u64 = 256 << 10;

/// The result of opening a catalogue.
#[derive(Debug, Default)]
pub struct CatalogueRecovery {
    /// Entries whose last version can't be read from any copy. Their content in the catalogue is older, or missing.
    pub lost: Vec<u64>,
    /// Damaged parts of the log, with or without a loss of entries.
    pub damaged: Vec<Damage>,
}

/// The open catalogue: entries by number.
#[derive(Debug)]
pub struct Catalogue<D: Disk> {
    log: Log<D>,
    entries: BTreeMap<u64, Vec<u8>>,
    /// Total length of all entries, in bytes.
    live: u64,
    /// The start of a rewritten log, to be used once the rewrite is durable.
    rewritten: Option<u64>,
    /// The position at which the log begins.
    start: u64,
}

/// The state of reading the log's commits.
#[derive(Default)]
struct Reading {
    entries: BTreeMap<u64, Vec<u8>>,
    changes: BTreeMap<u64, Option<Vec<u8>>>,
    committed: bool,
    start: Option<u64>,
    lost: Vec<u64>,
}

impl Reading {
    fn take(&mut self, found: &Found<'_>) {
        let Found::Record(record) = found else { return };
        if record.kind == PADDING {
            return;
        }
        self.start.get_or_insert(record.position);
        if record.kind != COMMITTED {
            if self.committed {
                self.apply();
            }
            let Some((key, value)) = record.body.split_first_chunk() else { return };
            let value = (record.kind == PUT).then(|| value.to_vec());
            self.changes.insert(u64::from_le_bytes(*key), value);
            return;
        }
        self.committed = true;
        let mut rest = record.body;
        while let (Some(key), Some(crc)) = (varint::take(&mut rest), varint::take(&mut rest)) {
            // The second copy of a list is read when the changes of the first have been applied.
            let known = self.changes.get(&key).map_or_else(|| self.entries.get(&key), Option::as_ref);
            let found = crc_of(key, known.map(Vec::as_slice)) == crc;
            self.lost.retain(|lost| *lost != key);
            if !found {
                self.lost.push(key);
            }
        }
    }

    fn apply(&mut self) {
        self.committed = false;
        for (key, value) in std::mem::take(&mut self.changes) {
            match value {
                Some(value) => drop(self.entries.insert(key, value)),
                None => drop(self.entries.remove(&key)),
            }
        }
    }
}

fn crc_of(key: u64, value: Option<&[u8]>) -> u64 {
    match value {
        Some(value) => u64::from(Checksum::new(0, key).with(value).finish()),
        None => u64::MAX,
    }
}

impl<D: Disk> Catalogue<D> {
    /// Opens the catalogue on `disk`, or begins a new one. `salt` is a random number, used if it is new. With `keys` it is
    /// encrypted.
    pub fn open(disk: Arc<D>, salt: u64, keys: Keyring) -> Result<(Self, CatalogueRecovery), Error> {
        let (fill, reserve) = (Fill::Allocated, false);
        let options = Options {
            file_len: REWRITE_LEN,
            file_len_min: FILE_LEN_MIN,
            fill,
            reserve,
            keys,
            label: "catalogue",
            whole: false,
            begin: 0,
        };
        let mut reading = Reading::default();
        let (log, recovery) = Log::open(disk, options, salt, |found| reading.take(&found))?;
        // If the last changes have no commit record, that record was damaged: the frame itself was complete.
        reading.apply();
        let live = reading.entries.values().map(|v| v.len() as u64).sum();
        let start = reading.start.unwrap_or_else(|| log.end());
        let catalogue = Self { log, entries: reading.entries, live, rewritten: None, start };
        Ok((catalogue, CatalogueRecovery { lost: reading.lost, damaged: recovery.damaged }))
    }

    /// Returns the random number that was passed in when the catalogue was created.
    pub fn salt(&self) -> u64 {
        self.log.salt()
    }

    /// Returns all entries, in the order of their numbers.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.entries.iter().map(|(key, value)| (*key, &value[..]))
    }

    /// Returns the entry with this number.
    pub fn get(&self, key: u64) -> Option<&[u8]> {
        self.entries.get(&key).map(|value| &value[..])
    }

    /// Changes entries; `None` removes one. The changes are durable after a sync that begins after this call.
    pub fn commit(&mut self, mut changes: Vec<(u64, Option<Vec<u8>>)>) -> Result<(), Error> {
        self.try_commit(&mut changes)
    }

    /// Does the same as [`Catalogue::commit`], but keeps `changes` after an error, so that the caller can try again.
    pub fn try_commit(&mut self, changes: &mut Vec<(u64, Option<Vec<u8>>)>) -> Result<(), Error> {
        self.write(&mut changes.iter().map(|(key, value)| (*key, value.as_deref())))?;
        for (key, value) in changes.drain(..) {
            let (len, old) = match value {
                Some(value) => (value.len() as u64, self.entries.insert(key, value)),
                None => (0, self.entries.remove(&key)),
            };
            self.live = self.live + len - old.map_or(0, |v| v.len() as u64);
        }
        let least = REWRITE_LEN.min(self.log.file_len());
        if self.rewritten.is_none() && self.log.end() - self.start > (REWRITE_FACTOR * self.live).max(least) {
            match self.rewrite() {
                // The commit succeeded; the next one tries the rewrite again.
                Err(Error::Full { .. }) | Ok(()) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn rewrite(&mut self) -> Result<(), Error> {
        let start = self.log.end();
        let entries = std::mem::take(&mut self.entries);
        let written = self.write(&mut entries.iter().map(|(key, value)| (*key, Some(&value[..]))));
        self.entries = entries;
        written?;
        self.rewritten = Some(start);
        Ok(())
    }

    /// Writes one frame that holds these changes twice.
    fn write<'v>(
        &mut self,
        changes: &mut (impl Iterator<Item = (u64, Option<&'v [u8]>)> + Clone),
    ) -> Result<(), Error> {
        let begin = self.log.next_position();
        let (mut list, mut longest) = (Vec::new(), 0);
        for (key, value) in changes.clone() {
            varint::put(&mut list, key);
            varint::put(&mut list, crc_of(key, value));
            longest = longest.max(self.put(key, value));
        }
        longest = longest.max(self.append(COMMITTED, &[&list]));
        // At least a page lies between the end of each record and its copy.
        let missing = (longest + PAGE_LEN).saturating_sub(self.log.next_position() - begin);
        if missing > 0 {
            self.append(PADDING, &[&vec![0; missing as usize]]);
        }
        for (key, value) in changes {
            self.put(key, value);
        }
        self.append(COMMITTED, &[&list]);
        self.finish()
    }

    fn put(&mut self, key: u64, value: Option<&[u8]>) -> u64 {
        let kind = if value.is_some() { PUT } else { REMOVE };
        self.append(kind, &[&key.to_le_bytes(), value.unwrap_or_default()])
    }

    /// Buffers a record and returns its length in the log, in bytes.
    fn append(&mut self, kind: u8, parts: &[&[u8]]) -> u64 {
        let position = self.log.append(GroupId(0), kind, parts);
        self.log.next_position() - position
    }

    fn finish(&mut self) -> Result<(), Error> {
        match self.log.write() {
            Ok(_) => Ok(()),
            Err(e) => {
                self.log.discard();
                Err(e)
            }
        }
    }

    /// Reserves space for a few commits on a full disk, since commits are what frees space there.
    pub fn reserve(&mut self) -> Result<(), Error> {
        let commits = 3 * (2 * self.live + 2 * PAGE_LEN);
        self.log.make_room(commits.min(RESERVED_MAX))
    }

    /// Returns a job that syncs all commits so far; `None` if there is nothing to sync, or while another sync runs.
    pub fn sync_job(&mut self) -> Option<SyncJob<D>> {
        self.log.sync_job()
    }

    /// Applies the result of a sync. Returns whether all commits are durable.
    pub fn synced(&mut self, done: Synced) -> Result<bool, Error> {
        let durable = self.log.synced(done)?;
        if let Some(start) = self.rewritten.filter(|start| durable > *start) {
            self.rewritten = None;
            self.log.trim(start)?;
            self.start = start;
        }
        // Without this mark, damage to the last commit would pass for a tail that a power cut tore.
        let marked = self.log.mark()?;
        Ok(durable >= self.log.end() || marked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{Random, SimDisk};

    fn sync(catalogue: &mut Catalogue<SimDisk>) {
        while let Some(job) = catalogue.sync_job() {
            catalogue.synced(job.run()).expect("synced");
        }
    }

    fn content(catalogue: &Catalogue<SimDisk>) -> BTreeMap<u64, Vec<u8>> {
        catalogue.entries().map(|(k, v)| (k, v.to_vec())).collect()
    }

    #[test]
    fn commits_find_room_that_was_reserved() {
        let disk = SimDisk::default();
        let (mut catalogue, _) =
            Catalogue::open(Arc::new(disk.clone()), 1, Keyring::default()).expect("opened");
        for turn in 0..100_u64 {
            catalogue.reserve().expect("room");
            disk.faults(|faults| faults.full = true);
            for commit in 0..3 {
                let changes = (0..5).map(|key| (key, Some(vec![turn as u8 + commit; 2_000]))).collect();
                catalogue.commit(changes).expect("reserved");
                sync(&mut catalogue);
            }
            disk.faults(|faults| faults.full = false);
        }
    }

    #[test]
    fn a_small_disk_gets_small_files() {
        let disk = SimDisk::default();
        let capacity = 400 << 10;
        disk.faults(|faults| faults.capacity = Some(capacity));
        let (mut catalogue, _) =
            Catalogue::open(Arc::new(disk.clone()), 1, Keyring::default()).expect("opened");
        for turn in 0..1000_u64 {
            let changes = (0..5).map(|key| (key, Some(vec![turn as u8; 200]))).collect();
            catalogue.commit(changes).expect("room");
            sync(&mut catalogue);
            catalogue.reserve().expect("room");
            let used = capacity - disk.free().expect("known");
            assert!(used <= 4 * FILE_LEN_MIN, "{used} bytes after commit {turn}");
        }
    }

    #[test]
    fn what_was_synced_survives_cuts_and_a_flipped_bit_or_a_bad_page() {
        for seed in 0..200 {
            let mut random = Random(seed);
            let mut disk = SimDisk::default();
            let mut expected = BTreeMap::new();
            let mut note = String::new();
            // Two faults together may cost an entry, so there is at most one.
            let fault = random.below(4);
            for round in 0..5 {
                let (mut catalogue, recovery) =
                    Catalogue::open(Arc::new(disk.clone()), seed, Keyring::default()).expect("opened");
                assert_eq!(recovery.lost, Vec::<u64>::new(), "seed {seed}");
                let keys = |m: &BTreeMap<u64, Vec<u8>>| {
                    m.iter().map(|(k, v)| (*k, v.len(), v.first().copied())).collect::<Vec<_>>()
                };
                assert_eq!(keys(&content(&catalogue)), keys(&expected), "seed {seed} {recovery:?} {note}");
                for _ in 0..random.below(40) {
                    let mut changes = Vec::new();
                    for _ in 0..random.below(5) + 1 {
                        let key = random.below(20) as u64;
                        let len = if random.one_in(10) { 100_000 } else { random.below(300) };
                        let value = (!random.one_in(4)).then(|| vec![random.draw() as u8; len]);
                        changes.retain(|(k, _)| *k != key);
                        changes.push((key, value));
                    }
                    for (key, value) in &changes {
                        match value {
                            Some(value) => drop(expected.insert(*key, value.clone())),
                            None => drop(expected.remove(key)),
                        }
                    }
                    catalogue.commit(changes).expect("room");
                    sync(&mut catalogue);
                }
                // A commit that was never synced must be there as a whole or not at all.
                let mut more = expected.clone();
                more.extend([(100, vec![1; 50]), (101, vec![2; 700])]);
                let changes =
                    more.iter().filter(|(k, _)| **k >= 100).map(|(k, v)| (*k, Some(v.clone()))).collect();
                catalogue.commit(changes).expect("room");
                disk = disk.power_cut(&mut random);
                let (after, _) =
                    Catalogue::open(Arc::new(disk.clone()), seed, Keyring::default()).expect("opened");
                let found = content(&after);
                assert!(found == expected || found == more, "seed {seed}");
                expected = found;
                if round != fault {
                    continue;
                }
                // Damage one bit anywhere, or a page.
                let (mut again, _) =
                    Catalogue::open(Arc::new(disk.clone()), seed, Keyring::default()).expect("opened");
                again.commit(vec![(7, Some(vec![9; 9]))]).expect("room");
                sync(&mut again);
                expected.insert(7, vec![9; 9]);
                let mut names = disk.names().expect("names");
                names.sort();
                let name = &names[random.below(names.len())];
                disk.bytes(name, |bytes| {
                    let bit = random.below(bytes.len().min(20_000) * 8);
                    match random.one_in(2) {
                        true => bytes[bit / 8] ^= 1 << (bit % 8),
                        false => bytes.chunks_mut(4096).nth(bit / 8 / 4096).expect("a page").fill(0x5a),
                    }
                    note = format!("{name} {bit} {} of {names:?}", bit / 8);
                });
                disk = disk.kill();
            }
        }
    }
}
