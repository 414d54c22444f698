//! A disk in memory, with synced and unsynced data.

use std::collections::BTreeMap;

/// The unit that the disk keeps or loses as a whole, in bytes.
const SECTOR_LEN: usize = 512;
const PAGE_LEN: usize = 4096;

/// A disk in memory. Readers see a write at once, but it is sure to survive a power cut only after a sync.
#[derive(Debug)]
pub(crate) struct Disk {
    durable: Vec<u8>,
    /// Pages written since the last sync.
    volatile: BTreeMap<usize, Box<[u8]>>,
    is_on: bool,
    seed: u64,
    /// Number of writes until the power fails by itself, that one included.
    armed: Option<u64>,
    /// Number of pages that were not synced at the last cut.
    lost: usize,
}

/// The error of a disk without power.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Off;

impl Disk {
    pub(crate) fn new(len: usize) -> Self {
        Self { durable: vec![0; len], volatile: BTreeMap::new(), is_on: true, seed: 0, armed: None, lost: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.durable.len()
    }

    /// Reads up to `len` bytes at `offset`, as far as the disk has them.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Result<Vec<u8>, Off> {
        self.check()?;
        let end = offset.saturating_add(len).min(self.len());
        let begin = offset.min(end);
        let mut bytes = self.durable[begin..end].to_vec();
        for (page, content) in self.volatile.range(begin / PAGE_LEN..end.div_ceil(PAGE_LEN)) {
            let start = page * PAGE_LEN;
            let (from, to) = (start.max(begin), (start + PAGE_LEN).min(end));
            bytes[from - begin..to - begin].copy_from_slice(&content[from - start..to - start]);
        }
        Ok(bytes)
    }

    /// Writes as many of `bytes` as fit on the disk. Returns their number.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<usize, Off> {
        self.check()?;
        let end = offset.saturating_add(bytes.len()).min(self.len());
        let mut at = offset.min(end);
        let begin = at;
        while at < end {
            let (page, within) = (at / PAGE_LEN, at % PAGE_LEN);
            let len = (PAGE_LEN - within).min(end - at);
            let start = page * PAGE_LEN;
            let durable = &self.durable[start..(start + PAGE_LEN).min(self.durable.len())];
            let content = self.volatile.entry(page).or_insert_with(|| durable.into());
            content[within..within + len].copy_from_slice(&bytes[at - begin..at - begin + len]);
            at += len;
        }
        if let Some(left) = &mut self.armed {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.cut(self.seed);
                return Err(Off);
            }
        }
        Ok(end - begin)
    }

    /// Makes the power fail by itself, at the first write after `writes` more.
    pub(crate) fn arm(&mut self, seed: u64, writes: u64) {
        (self.seed, self.armed) = (seed, Some(writes + 1));
    }

    /// Makes all writes durable.
    pub(crate) fn sync(&mut self) -> Result<(), Off> {
        self.check()?;
        for (page, content) in std::mem::take(&mut self.volatile) {
            let start = page * PAGE_LEN;
            self.durable[start..start + content.len()].copy_from_slice(&content);
        }
        Ok(())
    }

    /// Cuts the power, unless it is off already. Each page that was not synced keeps all, none or some of its new sectors.
    /// Returns the number of such pages.
    pub(crate) fn cut(&mut self, seed: u64) -> usize {
        if !std::mem::replace(&mut self.is_on, false) {
            return self.lost;
        }
        (self.seed, self.armed) = (seed, None);
        let pages = std::mem::take(&mut self.volatile);
        self.lost = pages.len();
        for (page, content) in pages {
            let start = page * PAGE_LEN;
            let fate = self.draw() % 3;
            for (i, sector) in content.chunks(SECTOR_LEN).enumerate() {
                let is_kept = fate == 0 || fate == 1 && self.draw().is_multiple_of(2);
                if is_kept {
                    let at = start + i * SECTOR_LEN;
                    self.durable[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        self.lost
    }

    /// Turns the power on.
    pub(crate) fn turn_on(&mut self) {
        self.is_on = true;
    }

    fn check(&self) -> Result<(), Off> {
        if self.is_on { Ok(()) } else { Err(Off) }
    }

    /// Returns the next number of a splitmix64 generator.
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_is_kept_and_the_rest_is_not_certain() {
        let mut kept = [0; 3];
        for seed in 0..60 {
            let mut disk = Disk::new(64 << 10);
            assert_eq!(disk.write(1000, &[1; 9000]), Ok(9000));
            assert_eq!(disk.sync(), Ok(()));
            assert_eq!(disk.write(4096, &[2; 4096]), Ok(4096));
            assert_eq!(disk.read(4000, 200).expect("on")[..97], [&[1; 96][..], &[2]].concat());
            assert_eq!(disk.cut(seed), 1);
            assert_eq!(disk.read(0, 1), Err(Off));
            assert_eq!(disk.write(0, &[9]), Err(Off));
            disk.turn_on();
            let all = disk.read(0, 64 << 10).expect("on");
            assert!(all[1000..4096].iter().chain(&all[8192..10_000]).all(|b| *b == 1));
            let new = all[4096..8192].iter().filter(|b| **b == 2).count();
            assert!(all[4096..8192].iter().all(|b| [1, 2].contains(b)) && new % SECTOR_LEN == 0);
            kept[match new {
                0 => 0,
                4096 => 1,
                _ => 2,
            }] += 1;
        }
        assert!(kept.iter().all(|count| *count > 5), "{kept:?}");
    }

    #[test]
    fn it_goes_off_by_itself() {
        let mut disk = Disk::new(64 << 10);
        disk.arm(3, 2);
        assert_eq!((disk.write(0, &[1]), disk.write(5000, &[1])), (Ok(1), Ok(1)));
        assert_eq!((disk.write(9000, &[1]), disk.sync()), (Err(Off), Err(Off)));
        assert_eq!(disk.cut(4), 3);
        disk.turn_on();
        assert_eq!(disk.write(9000, &[1]), Ok(1));
    }

    #[test]
    fn it_ends_where_it_ends() {
        let mut disk = Disk::new(5000);
        assert_eq!(disk.write(4990, &[7; 20]), Ok(10));
        assert_eq!(disk.read(4985, 100), Ok([[0; 5], [7; 5], [7; 5]].concat()));
        assert_eq!(disk.read(6000, 10), Ok(vec![]));
        assert_eq!(disk.sync(), Ok(()));
    }
}
