//! The bytes of messages in memory, one behind the other in large regions. Memory is requested in large pieces because the
//! first access to a page costs as much as storing a message of its length.

use memmap2::{Advice, MmapMut, MmapOptions};

/// Maximum length of a region with several messages, in bytes.
const REGION_MAX: usize = 1 << 20;
/// Minimum length of a region, in bytes.
const REGION_MIN: usize = if cfg!(test) { 256 } else { 4 << 10 };
/// Minimum length of a region whose pages are requested all at once, in bytes.
const MAPPED_MIN: usize = 256 << 10;
/// Bytes before each message: its sequence, and the length of the message.
const HEADER_LEN: usize = 12;
/// Number of bytes that may be wasted, on top of as many as are in use.
const WASTE: usize = if cfg!(test) { 1 << 10 } else { 1 << 20 };

/// The place of a message's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    region: u32,
    offset: u32,
    len: u32,
}

impl Place {
    /// Returns the number of bytes.
    pub(super) fn len(self) -> usize {
        self.len as usize
    }
}

#[derive(Debug)]
enum Bytes {
    Heap(Box<[u8]>),
    Mapped(MmapMut),
}

impl Bytes {
    fn new(len: usize) -> Self {
        if len >= MAPPED_MIN
            && let Ok(map) = MmapOptions::new().len(len).map_anon()
        {
            // This is only advice. Without it, the pages come one by one.
            #[cfg(target_os = "linux")]
            {
                let _ = map.advise(Advice::PopulateWrite);
            }
            return Self::Mapped(map);
        }
        Self::Heap(vec![0; len].into_boxed_slice())
    }

    fn get(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }

    fn get_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

#[derive(Debug)]
struct Region {
    bytes: Bytes,
    /// Number of bytes in use, including those of removed messages.
    used: usize,
    /// Number of bytes of messages that still exist.
    live: usize,
}

/// The bytes of messages, in regions.
#[derive(Debug, Default)]
pub(super) struct Arena {
    regions: Vec<Option<Region>>,
    /// Numbers of removed regions, for reuse.
    free: Vec<u32>,
    /// The region that gets the next message.
    current: Option<u32>,
    /// Total length of all regions, in bytes.
    held: usize,
    /// Total length of all messages with their headers, in bytes.
    live: usize,
}

impl Arena {
    /// Stores the bytes of a message, which are the concatenation of `parts`.
    pub(super) fn push(&mut self, sequence: u64, parts: [&[u8]; 3]) -> Place {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let needed = HEADER_LEN + len;
        let has_room = |region: &Region| region.bytes.get().len() - region.used >= needed;
        let fits = self.current.filter(|i| self.region(*i).is_some_and(has_room));
        let number = fits.unwrap_or_else(|| self.begin(needed));
        let place = Place { region: number, offset: 0, len: len as u32 };
        let Some(region) = self.regions.get_mut(number as usize).and_then(Option::as_mut) else {
            return place;
        };
        let offset = region.used;
        let Some(to) = region.bytes.get_mut().get_mut(offset..offset + needed) else { return place };
        let (header, mut rest) = to.split_at_mut(HEADER_LEN);
        header[..8].copy_from_slice(&sequence.to_le_bytes());
        header[8..].copy_from_slice(&(len as u32).to_le_bytes());
        for part in parts {
            let (to, behind) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = behind;
        }
        region.used += needed;
        region.live += needed;
        self.live += needed;
        Place { offset: (offset + HEADER_LEN) as u32, ..place }
    }

    /// Returns the bytes at a place that was not released.
    pub(super) fn get(&self, place: Place) -> &[u8] {
        let begin = place.offset as usize;
        self.region(place.region)
            .and_then(|region| region.bytes.get().get(begin..begin + place.len()))
            .unwrap_or_default()
    }

    /// Releases the bytes at this place.
    pub(super) fn release(&mut self, place: Place) {
        let freed = HEADER_LEN + place.len();
        let Some(region) = self.regions.get_mut(place.region as usize).and_then(Option::as_mut) else {
            return;
        };
        region.live -= freed;
        self.live -= freed;
        if region.live == 0 {
            if region.bytes.get().len() <= REGION_MIN && self.current == Some(place.region) {
                region.used = 0;
            } else {
                self.current = self.current.filter(|i| *i != place.region);
                self.end(place.region);
            }
        }
    }

    /// Returns the region with the most waste, if there is so much of it that messages should move. The caller pushes the
    /// region's messages again and releases their old places.
    pub(super) fn wasteful(&self) -> Option<u32> {
        if self.held < 2 * self.live + WASTE {
            return None;
        }
        let of = |i: usize| {
            let region = self.region(i as u32)?;
            Some((region.live * 16 / region.bytes.get().len(), i as u32))
        };
        (0..self.regions.len()).filter_map(of).filter(|(_, i)| self.current != Some(*i)).min().map(|(_, i)| i)
    }

    /// Returns sequence and place of everything that was pushed to a region, released or not.
    pub(super) fn pushed(&self, number: u32) -> impl Iterator<Item = (u64, Place)> {
        let bytes = self.region(number).map_or(&[][..], |region| &region.bytes.get()[..region.used]);
        let mut at = 0;
        std::iter::from_fn(move || {
            let (sequence, rest) = bytes.get(at..)?.split_first_chunk()?;
            let len = u32::from_le_bytes(*rest.first_chunk()?);
            let place = Place { region: number, offset: (at + HEADER_LEN) as u32, len };
            at += HEADER_LEN + len as usize;
            Some((u64::from_le_bytes(*sequence), place))
        })
    }

    fn region(&self, number: u32) -> Option<&Region> {
        self.regions.get(number as usize)?.as_ref()
    }

    /// Begins a region with space for `needed` bytes.
    fn begin(&mut self, needed: usize) -> u32 {
        let usual = self.held.clamp(REGION_MIN, REGION_MAX).next_power_of_two();
        // A long message gets a region of its own, and the current region stays in use.
        let is_alone = needed > usual / 2;
        let len = if is_alone { needed } else { usual };
        let region = Some(Region { bytes: Bytes::new(len), used: 0, live: 0 });
        self.held += len;
        let number = match self.free.pop() {
            Some(number) => {
                self.regions[number as usize] = region;
                number
            }
            None => {
                self.regions.push(region);
                self.regions.len() as u32 - 1
            }
        };
        if !is_alone {
            let before = self.current.replace(number);
            if let Some(before) = before.filter(|i| self.region(*i).is_some_and(|region| region.live == 0)) {
                self.end(before);
            }
        }
        number
    }

    fn end(&mut self, number: u32) {
        if let Some(region) = self.regions.get_mut(number as usize).and_then(Option::take) {
            self.held -= region.bytes.get().len();
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Release(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..60usize).prop_map(Step::Push),
            1 => (60..3000usize).prop_map(Step::Push),
            5 => any::<prop::sample::Index>().prop_map(Step::Release),
        ]
    }

    proptest! {
        #[test]
        fn what_was_not_released_is_there_and_waste_is_bounded(steps in prop::collection::vec(step(), 1..500)) {
            let (mut arena, mut model) = (Arena::default(), BTreeMap::new());
            for (i, step) in steps.into_iter().enumerate() {
                let sequence = i as u64;
                match step {
                    Step::Push(len) => {
                        let bytes = vec![i as u8; len];
                        let (head, rest) = bytes.split_at(len / 3);
                        model.insert(sequence, (arena.push(sequence, [head, rest, b""]), bytes));
                    }
                    Step::Release(index) => {
                        if model.is_empty() {
                            continue;
                        }
                        let gone = *index.get(&model.keys().copied().collect::<Vec<_>>());
                        arena.release(model.remove(&gone).unwrap().0);
                    }
                }
                while let Some(region) = arena.wasteful() {
                    for (sequence, place) in arena.pushed(region).collect::<Vec<_>>() {
                        let Some((known, bytes)) = model.get_mut(&sequence).filter(|(p, _)| *p == place) else { continue };
                        let moved = arena.push(sequence, [bytes, b"", b""]);
                        arena.release(std::mem::replace(known, moved));
                    }
                }
                let live: usize = model.values().map(|(_, bytes)| HEADER_LEN + bytes.len()).sum();
                prop_assert_eq!(arena.live, live);
                prop_assert!(arena.held < 2 * live + WASTE || arena.regions.iter().flatten().count() <= 1);
            }
            for (place, bytes) in model.values() {
                prop_assert_eq!(arena.get(*place), &bytes[..]);
            }
        }
    }

    #[test]
    fn long_regions_come_from_the_system() {
        let mut arena = Arena::default();
        let message = vec![7; 1000];
        let places: Vec<Place> = (0..20_000).map(|i| arena.push(i, [b"", b"", &message])).collect();
        assert!(
            arena
                .regions
                .iter()
                .flatten()
                .any(|r| matches!(r.bytes, Bytes::Mapped(_)) && r.bytes.get().len() == REGION_MAX)
        );
        assert!(places.iter().all(|place| arena.get(*place) == message));
        places.iter().for_each(|place| arena.release(*place));
        assert_eq!((arena.live, arena.regions.iter().flatten().count()), (0, 0));
    }
}
