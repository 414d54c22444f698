//! A segment: a run of sequences in one file.
//!
//! Each sequence has a *slot*, counted from the segment's first one. Slots without a message are in `gone`. Every four kilobytes
//! or so a *block* begins, whose first slot and offset are known, so that a message is found by walking one block.

use std::cell::OnceCell;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::record::Frame;
use super::varint;

/// Bytes after which a new block begins.
pub(super) const BLOCK_LEN: u32 = if cfg!(test) { 256 } else { 4096 };
/// Slots at which a segment ends.
const SLOTS_MAX: u32 = 1 << 18;

/// Where a block begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) slot: u32,
    pub(super) offset: u32,
}

/// How far a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The last one: it grows.
    Active,
    /// It grows no more and has no footer yet.
    Closed,
    /// With a footer of so many bytes behind its data.
    Sealed { footer_len: u32, footer_crc: u32 },
}

/// A run of sequences in one file.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Its number among all that the stream ever had.
    pub(super) number: u32,
    pub(super) frame: Frame,
    /// Slots so far.
    pub(super) slots: u32,
    /// Bytes of records, those that are not written yet included.
    pub(super) data_len: u64,
    /// When its last message was stored.
    pub(super) last_time: i64,
    /// Messages in it, those that can't be read included.
    pub(super) live: u64,
    /// What they count against limits.
    pub(super) live_bytes: u64,
    /// Slots without a message.
    pub(super) gone: RoaringBitmap,
    /// Slots whose message is there and can't be read.
    pub(super) lost: RoaringBitmap,
    pub(super) stage: Stage,
    /// Where blocks begin; read from the footer when it is first needed.
    pub(super) blocks: OnceCell<Arc<Vec<Block>>>,
    /// Whether some message has a header that must be known after a restart: an id, a time to live, a schedule.
    pub(super) special: bool,
}

impl Segment {
    pub(super) fn new(number: u32, frame: Frame) -> Self {
        Self {
            number,
            frame,
            slots: 0,
            data_len: 0,
            last_time: frame.base_time,
            live: 0,
            live_bytes: 0,
            gone: RoaringBitmap::new(),
            lost: RoaringBitmap::new(),
            stage: Stage::Active,
            blocks: OnceCell::from(Arc::default()),
            special: false,
        }
    }

    /// The sequence behind its last one.
    pub(super) fn end(&self) -> u64 {
        self.frame.base + u64::from(self.slots)
    }

    /// The slot of `sequence`, if it lies here.
    pub(super) fn slot(&self, sequence: u64) -> Option<u32> {
        let slot = sequence.checked_sub(self.frame.base)?;
        (slot < u64::from(self.slots)).then_some(slot as u32)
    }

    /// Whether there is a message in this slot, readable or not.
    pub(super) fn holds(&self, slot: u32) -> bool {
        slot < self.slots && !self.gone.contains(slot)
    }

    /// The first slot from `slot` on that holds a message.
    pub(super) fn next_held(&self, slot: u32) -> Option<u32> {
        if self.live == 0 {
            return None;
        }
        let mut candidate = slot;
        let mut gone = self.gone.range(slot..);
        while gone.next() == Some(candidate) {
            candidate += 1;
        }
        (candidate < self.slots).then_some(candidate)
    }

    /// Whether one more message of `len` bytes belongs in another segment, `slots` further on.
    pub(super) fn is_full(&self, len: usize, slots: u64, segment_len: u64) -> bool {
        let full = self.data_len + len as u64 > segment_len && self.data_len > 0;
        full || u64::from(self.slots) + slots > u64::from(SLOTS_MAX)
    }

    /// Notes that a record of this slot begins at the end of the data.
    pub(super) fn note_record(&mut self, slot: u32) {
        let offset = self.data_len as u32;
        self.blocks.get_or_init(Arc::default);
        let Some(blocks) = self.blocks.get_mut().map(Arc::make_mut) else { return };
        if blocks.last().is_none_or(|block| offset - block.offset >= BLOCK_LEN) {
            blocks.push(Block { slot, offset });
        }
    }

    /// The block that has `slot`, as begin and end in the data.
    pub(super) fn block_of(&self, blocks: &[Block], slot: u32) -> (u64, u64) {
        self.blocks_of(blocks, slot, 1)
    }

    /// So many blocks from that on that has `slot`, as begin and end in the data.
    pub(super) fn blocks_of(&self, blocks: &[Block], slot: u32, count: usize) -> (u64, u64) {
        let behind = blocks.partition_point(|block| block.slot <= slot);
        let begin =
            behind.checked_sub(1).and_then(|i| blocks.get(i)).map_or(0, |block| u64::from(block.offset));
        let end = blocks.get(behind + count - 1).map_or(self.data_len, |block| u64::from(block.offset));
        (begin, end)
    }

    /// Writes what must be known to open it again.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (stage, footer_len, footer_crc) = match self.stage {
            Stage::Active => (0, 0, 0),
            Stage::Closed => (1, 0, 0),
            Stage::Sealed { footer_len, footer_crc } => (2, footer_len, footer_crc),
        };
        for number in [
            u64::from(self.number),
            self.frame.base,
            self.frame.base_time as u64,
            u64::from(self.slots),
            self.data_len,
            self.last_time as u64,
            self.live,
            self.live_bytes,
            stage,
            u64::from(footer_len),
            u64::from(footer_crc),
            u64::from(self.special),
        ] {
            varint::put(out, number);
        }
        for slots in [&self.gone, &self.lost] {
            varint::put(out, slots.serialized_size() as u64);
            // Writing to memory can't fail.
            let _ = slots.serialize_into(&mut *out);
        }
    }

    /// Reads what [`Segment::encode`] wrote.
    pub(super) fn decode(bytes: &mut &[u8], salt: impl Fn(u32) -> u64) -> Option<Self> {
        let mut next = || varint::take(bytes);
        let number = u32::try_from(next()?).ok()?;
        let frame = Frame { salt: salt(number), base: next()?, base_time: next()? as i64 };
        let slots = u32::try_from(next()?).ok()?;
        let (data_len, last_time) = (next()?, next()? as i64);
        let (live, live_bytes) = (next()?, next()?);
        let (stage, footer_len, footer_crc) =
            (next()?, u32::try_from(next()?).ok()?, u32::try_from(next()?).ok()?);
        let special = next()? != 0;
        let stage = match stage {
            0 => Stage::Active,
            1 => Stage::Closed,
            2 => Stage::Sealed { footer_len, footer_crc },
            _ => return None,
        };
        let mut bitmap = || {
            let len = usize::try_from(varint::take(bytes)?).ok()?;
            RoaringBitmap::deserialize_from(varint::take_bytes(bytes, len)?).ok()
        };
        let (gone, lost) = (bitmap()?, bitmap()?);
        Some(Self {
            number,
            frame,
            slots,
            data_len,
            last_time,
            live,
            live_bytes,
            gone,
            lost,
            stage,
            blocks: OnceCell::new(),
            special,
        })
    }
}
