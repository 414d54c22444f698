//! Random tests of the log on a failing disk, by seed, against a list of the written records.
//!
//! The tests play power cuts, kills, flipped bits, bad pages, missing files, failed syncs and full disks. `STONECHAT_SEEDS=30000`
//! runs more seeds.

use std::sync::Arc;

use super::*;
use crate::disk::sim::{Random, SimDisk};
use crate::encryption::Cipher;

fn options(keys: &Keyring) -> Options {
    Options {
        file_len: 16 << 10,
        file_len_min: 16 << 10,
        fill: Fill::Zeros,
        reserve: false,
        keys: keys.clone(),
        label: "log",
        whole: false,
        begin: 0,
    }
}

/// Returns the seeds to try: from 0, `default` of them or the number in `STONECHAT_SEEDS`.
fn seeds(default: u64) -> std::ops::Range<u64> {
    0..std::env::var("STONECHAT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// The records that were read back: position and body.
type Bodies = Vec<(u64, Vec<u8>)>;

fn reopen(disk: &SimDisk, salt: u64, keys: &Keyring) -> (Log<SimDisk>, Recovery, Bodies) {
    let mut bodies = Vec::new();
    let mut damaged = 0;
    let (log, recovery) = Log::open(Arc::new(disk.clone()), options(keys), salt, |found| match found {
        Found::Record(r) => bodies.push((r.position, r.body.to_vec())),
        Found::Damaged(_) => damaged += 1,
    })
    .expect("the log opens");
    assert_eq!(recovery.records, bodies.len() as u64);
    assert_eq!(recovery.damaged.len(), damaged);
    assert!(bodies.is_sorted_by(|a, b| a.0 < b.0));
    (log, recovery, bodies)
}

/// Returns a body that identifies its record.
fn body(number: u64, random: &mut Random) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    let len = if random.one_in(20) { random.below(20_000) } else { random.below(300) };
    body.extend(std::iter::repeat_with(|| random.draw() as u8).take(len));
    body
}

/// The state of a test: the log, and what it should hold.
struct World {
    disk: SimDisk,
    keys: Keyring,
    log: Log<SimDisk>,
    /// The records written since the last opening, or read by it.
    written: Vec<Vec<u8>>,
    /// The position behind each record.
    ends: Vec<u64>,
    gathered: Vec<Vec<u8>>,
    job: Option<SyncJob<SimDisk>>,
    /// Number of records, from the front, that may have been trimmed.
    trimmed: usize,
    next: u64,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let disk = SimDisk::default();
        let keys = if random.one_in(3) { Keyring::fixed(Cipher::Aes256Gcm) } else { Keyring::default() };
        let (log, _, bodies) = reopen(&disk, random.draw(), &keys);
        assert!(bodies.is_empty());
        Self {
            disk,
            keys,
            log,
            written: vec![],
            ends: vec![],
            gathered: vec![],
            job: None,
            trimmed: 0,
            next: 0,
        }
    }

    fn acknowledged(&self) -> usize {
        self.ends.partition_point(|end| *end <= self.log.durable())
    }

    fn append(&mut self, random: &mut Random) {
        for _ in 0..=random.below(5) {
            let body = body(self.next, random);
            self.next += 1;
            self.log.append(GroupId(random.below(9) as u32), 1, &[&body[..4], &body[4..]]);
            self.gathered.push(body);
        }
    }

    fn write(&mut self) {
        let end = self.log.write().expect("room");
        self.ends.extend(self.gathered.iter().map(|_| end));
        self.written.append(&mut self.gathered);
    }

    fn sync(&mut self) {
        if let Some(job) = self.job.take().or_else(|| self.log.sync_job()) {
            self.log.synced(job.run()).expect("a sync");
        }
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(12) {
            0..=4 => self.append(random),
            5..=7 => self.write(),
            8 if self.job.is_none() => self.job = self.log.sync_job(),
            8 | 9 => self.sync(),
            10 => {
                let gathered = !self.gathered.is_empty();
                assert!(!(self.log.mark().expect("a mark") && gathered));
            }
            _ => {
                let upto = random.below(self.acknowledged() + 1);
                if upto > 0 {
                    let position = self.ends[upto - 1];
                    self.log.trim(position).expect("a trim");
                    self.trimmed = self.trimmed.max(self.ends.partition_point(|end| *end <= position));
                }
            }
        }
    }

    /// Reopens the log from `disk` and checks its records.
    fn restart(&mut self, disk: SimDisk, killed_only: bool, random: &mut Random) {
        let acknowledged = self.acknowledged();
        if self.keys.current() == 0 && random.one_in(6) {
            // From this opening on, records are encrypted.
            self.keys = Keyring::fixed(Cipher::ChaCha20Poly1305);
        }
        let (log, recovery, bodies) = reopen(&disk, random.draw(), &self.keys);
        assert_eq!(recovery.damaged, [], "nothing was damaged");
        // After a restart, `ends` holds each record's own position, not the one behind it. It is good enough for trimming.
        let (ends, bodies): (Vec<u64>, Vec<Vec<u8>>) = bodies.into_iter().unzip();
        let first = bodies.first().map_or(self.written.len(), |b| {
            self.written.iter().position(|w| w == b).expect("only what was written")
        });
        assert!(first <= self.trimmed || bodies.is_empty() && self.trimmed >= acknowledged, "lost the front");
        assert!(bodies.is_empty() || first + bodies.len() >= acknowledged, "lost what was acknowledged");
        assert!(!bodies.is_empty() || acknowledged <= self.trimmed);
        assert_eq!(self.written[first..first + bodies.len()], bodies[..]);
        assert!(!killed_only || first + bodies.len() == self.written.len());
        *self = Self {
            keys: self.keys.clone(),
            disk,
            log,
            ends,
            written: bodies,
            gathered: vec![],
            job: None,
            trimmed: self.trimmed.saturating_sub(first),
            next: self.next,
        };
    }
}

#[test]
fn power_cuts_and_kills_lose_nothing_acknowledged() {
    for seed in seeds(400) {
        let mut random = Random(seed);
        let mut world = World::new(&mut random);
        for _ in 0..random.below(8) + 1 {
            for _ in 0..random.below(80) {
                world.step(&mut random);
            }
            let kill = random.one_in(3);
            let disk = if kill { world.disk.kill() } else { world.disk.power_cut(&mut random) };
            world.restart(disk, kill, &mut random);
        }
    }
}

#[test]
fn a_flipped_bit_loses_at_most_what_is_named() {
    let mut lost = 0;
    for seed in seeds(1500) {
        let mut random = Random(seed);
        let mut world = World::new(&mut random);
        for _ in 0..20 {
            world.append(&mut random);
            world.write();
            world.sync();
            if random.one_in(15) {
                let disk = world.disk.kill();
                world.restart(disk, true, &mut random);
            }
        }
        world.log.mark().expect("a mark");
        world.sync();
        let (_, before, whole) = reopen(&world.disk.kill(), 0, &world.keys);
        assert_eq!(before.damaged, []);

        let disk = world.disk.kill();
        let names = disk.names().expect("names");
        let name = &names[random.below(names.len())];
        disk.bytes(name, |bytes| {
            let used = bytes.iter().rposition(|b| *b != 0).map_or(1, |i| i + 1);
            let bit = random.below(used * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        });
        let (log, after, found) = reopen(&disk, 0, &world.keys);
        // The last frame, which only carries the durable position, may be mistaken for a torn tail.
        assert!(after.torn.as_ref().is_none_or(|t| t.records == 0), "seed {seed}: {after:?}");
        for (position, body) in &whole {
            let named = after.damaged.iter().any(|d| d.from <= *position && *position < d.to);
            let there = found.iter().any(|(p, b)| p == position && b == body);
            assert!(there || named, "seed {seed}: record at {position} vanished: {after:?}");
            lost += usize::from(!there);
        }
        assert!(found.iter().all(|f| whole.contains(f)), "seed {seed}: a record that was never written");
        assert!(whole.len() - found.len() <= 1, "seed {seed}: one bit, one record: {after:?}");

        // Damage stays reported, and later records are read.
        drop(log);
        let (mut log, again, _) = reopen(&disk, 0, &world.keys);
        assert_eq!(again.damaged, after.damaged);
        log.append(GroupId(1), 1, &[b"later"]);
        log.write().expect("room");
        let (_, _, later) = reopen(&disk, 0, &world.keys);
        assert_eq!(later.len(), found.len() + 1);
    }
    assert!(lost > 100, "flips in records were among them: {lost}");
}

#[test]
fn a_missing_or_cut_file_is_noticed() {
    for seed in seeds(100) {
        let mut random = Random(seed);
        let mut world = World::new(&mut random);
        while world.log.end() < 50_000 {
            world.append(&mut random);
            world.write();
            world.sync();
        }
        world.log.mark().expect("a mark");
        world.sync();
        let (_, _, whole) = reopen(&world.disk.kill(), 0, &world.keys);
        let disk = world.disk.kill();
        let names: Vec<String> =
            disk.names().expect("names").into_iter().filter(|n| n.starts_with("log-")).collect();
        let name = &names[random.below(names.len())];
        if random.one_in(2) {
            disk.remove(name).expect("there");
        } else {
            disk.bytes(name, |bytes| bytes.truncate(random.below(bytes.len())));
        }
        let (_, after, found) = reopen(&disk, 0, &world.keys);
        assert!(found.iter().all(|f| whole.contains(f)));
        for (position, _) in &whole {
            let named = after.damaged.iter().any(|d| d.from <= *position && *position < d.to);
            assert!(
                named || found.iter().any(|(p, _)| p == position),
                "seed {seed}: {position} vanished: {after:?}"
            );
        }
    }
}

#[test]
fn a_failed_sync_ends_the_log_until_it_is_opened_anew() {
    let mut random = Random(1);
    let mut world = World::new(&mut random);
    world.append(&mut random);
    world.write();
    world.sync();
    world.append(&mut random);
    world.write();
    world.disk.faults(|f| f.sync_fails = true);
    let job = world.log.sync_job().expect("something to sync");
    assert!(matches!(world.log.synced(job.run()), Err(Error::Io { action: "sync", .. })));
    world.disk.faults(|f| f.sync_fails = false);
    world.log.append(GroupId(1), 1, &[b"x"]);
    assert!(matches!(world.log.write(), Err(Error::Failed)));
    assert!(world.log.sync_job().is_none());
    let disk = world.disk.power_cut(&mut random);
    world.restart(disk, false, &mut random);
}

#[test]
fn a_full_disk_refuses_and_heals() {
    let mut random = Random(2);
    let mut world = World::new(&mut random);
    world.disk.faults(|f| f.full = true);
    let mut refused = false;
    while !refused {
        world.append(&mut random);
        match world.log.write() {
            Ok(end) => {
                world.ends.extend(world.gathered.iter().map(|_| end));
                world.written.append(&mut world.gathered);
            }
            Err(Error::Full { file }) => {
                assert!(file.starts_with("log-"));
                refused = true;
            }
            Err(e) => panic!("{e}"),
        }
    }
    world.log.discard();
    world.gathered.clear();
    world.sync();
    world.disk.faults(|f| f.full = false);
    world.append(&mut random);
    world.write();
    world.sync();
    assert_eq!(world.acknowledged(), world.written.len());
    let disk = world.disk.power_cut(&mut random);
    world.restart(disk, false, &mut random);
}

#[test]
fn nothing_stays_in_the_clear_once_the_log_before_a_key_is_trimmed() {
    let disk = SimDisk::default();
    let has_secret = |disk: &SimDisk| {
        let holds =
            |name: &String| disk.bytes(name, |bytes| memchr::memmem::find(bytes, b"in the clear").is_some());
        disk.names().unwrap().iter().any(holds)
    };
    let write = |log: &mut Log<SimDisk>, text: &[u8]| {
        for _ in 0..2000 {
            log.append(GroupId(1), 1, &[text]);
            log.write().unwrap();
            let job = log.sync_job().unwrap();
            log.synced(job.run()).unwrap();
        }
    };
    // The records need more than one file, and there is a spare file.
    let (mut log, ..) = reopen(&disk, 1, &Keyring::default());
    write(&mut log, b"in the clear");
    let trimmed = log.end();
    write(&mut log, b"in the clear");
    log.trim(trimmed).unwrap();
    assert!(has_secret(&disk));
    drop(log);
    for round in 0..2 {
        let (mut log, ..) = reopen(&disk, 1, &Keyring::fixed(Cipher::Aes256Gcm));
        let opened = log.end();
        write(&mut log, b"sealed");
        assert!(has_secret(&disk) == (round == 0));
        log.trim(opened).unwrap();
        assert!(!has_secret(&disk), "round {round}");
        // With the same key, files are reused.
        let numbers = disk.names().unwrap();
        let end = log.end();
        log.trim(end).unwrap();
        write(&mut log, b"sealed");
        assert!(disk.names().unwrap().iter().any(|name| numbers.contains(name) && name.starts_with("log-")));
    }
}

#[test]
fn records_behind_damage_are_found_whatever_it_says() {
    let disk = SimDisk::default();
    let (mut log, ..) = reopen(&disk, 1, &Keyring::default());
    // Every offset of this body looks like the length of a long record.
    let misleading = 400_000u64.to_le_bytes().repeat(60_000);
    log.append(GroupId(1), 1, &[&misleading]);
    for number in 0..100u8 {
        log.append(GroupId(1), 1, &[&[number]]);
    }
    log.append(GroupId(1), 1, &[&[0; 500_000]]);
    log.write().unwrap();
    let job = log.sync_job().unwrap();
    log.synced(job.run()).unwrap();
    log.mark().unwrap();
    let disk = disk.kill();
    let damage = |bytes: &mut Vec<u8>| match memchr::memmem::find(bytes, &misleading[..16]) {
        Some(at) => {
            bytes[at + 100] ^= 1;
            true
        }
        None => false,
    };
    assert!(disk.names().unwrap().iter().any(|name| disk.bytes(name, damage)));
    let (_, recovery, found) = reopen(&disk, 1, &Keyring::default());
    assert_eq!((found.len(), recovery.damaged.len()), (101, 1));
}

/// Returns the file of a record, and the offsets of its start and its latest possible end.
fn place(log: &Log<SimDisk>, position: u64, body: &[u8]) -> (String, u64, u64) {
    let file = log.files.iter().rfind(|file| file.start <= position).expect("a file");
    let begin = file.offset(position);
    (file::name(file.number), begin, begin + record::padded_len(body.len() + 20) as u64)
}

#[test]
fn no_bad_page_costs_what_lies_outside_of_it() {
    for seed in seeds(300) {
        let mut random = Random(seed ^ 0x2222);
        let mut world = World::new(&mut random);
        world.keys = Keyring::fixed(Cipher::Aes256Gcm);
        let disk = world.disk.kill();
        world.restart(disk, true, &mut random);
        for _ in 0..80 {
            // Frames are short: if a file held a single frame with a damaged header, its position in the log would be unknown.
            for _ in 0..=random.below(3) {
                let mut body = world.next.to_le_bytes().to_vec();
                body.extend(vec![random.draw() as u8; random.below(300)]);
                world.next += 1;
                world.log.append(GroupId(random.below(9) as u32), 1, &[&body]);
                world.gathered.push(body);
            }
            world.write();
            world.sync();
            if random.one_in(10) {
                world.keys = world.keys.reopened();
                let disk = world.disk.kill();
                world.restart(disk, true, &mut random);
            }
            if random.one_in(15) {
                let position = world.ends[random.below(world.ends.len())];
                world.log.trim(position).expect("a trim");
                world.trimmed = world.trimmed.max(world.ends.partition_point(|end| *end <= position));
            }
        }
        world.log.mark().expect("a mark");
        world.sync();
        let disk = world.disk.kill();
        let (log, before, whole) = reopen(&disk, 0, &world.keys.reopened());
        assert_eq!(before.damaged, []);
        let places: Vec<_> = whole.iter().map(|(position, body)| place(&log, *position, body)).collect();
        drop(log);

        let disk = world.disk.kill();
        let names = disk.names().expect("names");
        let name = &names[random.below(names.len())];
        let mut bad = 0..0;
        disk.bytes(name, |bytes| {
            let used = bytes.iter().rposition(|b| *b != 0).map_or(1, |i| i + 1);
            // Most often the start of the file, where headers are.
            let at = if random.one_in(2) { 0 } else { random.below(used) };
            bad = at as u64..(at as u64 + 4096).min(bytes.len() as u64);
            bytes[at..bad.end as usize].fill(0x5a);
        });
        let (_, after, found) = reopen(&disk, 0, &world.keys.reopened());
        for ((position, body), (file, begin, end)) in whole.iter().zip(&places) {
            let is_hit = file == name && *begin < bad.end && bad.start < *end;
            let there = found.iter().any(|(p, b)| p == position && b == body);
            assert!(there || is_hit, "seed {seed}: {position} in {file} vanished, {name} {bad:?}: {after:?}");
            let named = after.damaged.iter().any(|d| d.from <= *position && *position < d.to);
            assert!(there || named, "seed {seed}: {position} is not named: {after:?}");
        }
    }
}

#[test]
fn what_a_full_disk_gave_up_is_encrypted_anew_with_another_nonce() {
    let disk = SimDisk::default();
    let keys = Keyring::fixed(Cipher::Aes256Gcm);
    let (mut log, ..) = reopen(&disk, 1, &keys);
    let mut written = Vec::new();
    for round in 0..5u8 {
        // The record is longer than the free space of the file.
        disk.faults(|f| f.full = true);
        log.append(GroupId(1), 1, &[&[round; 20_000]]);
        assert!(matches!(log.write(), Err(Error::Full { .. })));
        // The same bytes may be written again, or others in their place. The witness panics if a nonce is used for two
        // contents.
        if round % 2 == 0 {
            log.discard();
            log.append(GroupId(1), 1, &[&[round ^ 0x55; 20_000]]);
        }
        disk.faults(|f| f.full = false);
        log.write().unwrap();
        written.push(if round % 2 == 0 { round ^ 0x55 } else { round });
    }
    let job = log.sync_job().unwrap();
    log.synced(job.run()).unwrap();
    let (_, recovery, found) = reopen(&disk.kill(), 1, &keys.reopened());
    assert_eq!(recovery.damaged, []);
    assert_eq!(found.iter().map(|(_, body)| body[0]).collect::<Vec<_>>(), written);
}
