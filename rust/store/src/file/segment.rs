//! A segment: a range of sequences in one file.
//!
//! Each sequence has a *slot*, counted from the segment's first sequence. The bitmap `gone` marks slots without a message.
//! About every 4 KiB a *block* begins. The first slot and the offset of each block are known, so a message is found by walking
//! one block.

use std::cell::OnceCell;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::chunk::{Chunk, Packing};
use super::footer::Contents;
use super::record::Frame;
use super::varint;
use crate::encryption::Draw;

/// Bytes of data after which a new block begins.
pub(super) const BLOCK_LEN: u32 = if cfg!(test) { 256 } else { 4096 };
/// Maximum number of slots.
pub(super) const SLOTS_MAX: u32 = 1 << 18;
/// Maximum number of slots while the disk has no room for another segment, which also stops publishing.
pub(super) const SLOTS_EVER: u32 = 1 << 26;

/// The start of a block: its first slot, and its offset in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) slot: u32,
    pub(super) offset: u32,
}

/// The places of a segment's blocks and chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) blocks: Vec<Block>,
    /// The chunks of a packed segment; empty for others.
    pub(super) chunks: Vec<Chunk>,
}

impl Layout {
    /// Returns the bytes of memory that the layout of a plain segment of this length takes.
    pub(super) fn usual_bytes(segment_len: u64) -> usize {
        size_of::<Block>() * (segment_len / u64::from(BLOCK_LEN) + 1) as usize
    }
}

/// Number of slots that are checked one by one for a message before the bitmap is searched.
const NEAR: u32 = if cfg!(test) { 2 } else { 8 };

/// How the records of a segment are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Records follow each other.
    Plain,
    /// Records are in chunks, which take `stored_len` bytes in total.
    Packed { stored_len: u64 },
}

/// The stage of a segment's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is the last segment, and grows.
    Active,
    /// It does not grow any more, and has no footer yet.
    Closed,
    /// It has a footer of `footer_len` bytes behind its data.
    Sealed { footer_len: u32, footer_crc: u32 },
}

/// A run of sequences in one file.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// The segment's number, unique in its stream.
    pub(super) number: u32,
    pub(super) frame: Frame,
    /// Number of slots so far.
    pub(super) slots: u32,
    /// Bytes of records, including buffered ones.
    pub(super) data_len: u64,
    /// When its last message was stored.
    pub(super) last_time: i64,
    /// Number of messages, including unreadable ones.
    pub(super) live: u64,
    /// Size of the messages as it counts against limits, in bytes.
    pub(super) live_bytes: u64,
    /// Slots without a message.
    pub(super) gone: RoaringBitmap,
    /// Slots whose message exists but can't be read.
    pub(super) lost: RoaringBitmap,
    pub(super) stage: Stage,
    /// The places of blocks; read from the footer at first use.
    pub(super) layout: OnceCell<Arc<Layout>>,
    pub(super) form: Form,
    /// The number of the data key that encrypts it; 0 if it is plain.
    pub(super) key: u8,
    /// How its chunks and its footer are written.
    pub(super) packing: Packing,
    /// Whether it is to be rewritten, without removed messages.
    pub(super) wants_rewrite: bool,
    /// Whether a message has headers that a restart must know: a message id, a time to live, or a schedule.
    pub(super) special: bool,
    /// The content of its footer, collected while it grows. Only a few streams grow fast at a time, so this takes little
    /// memory.
    pub(super) gathered: Option<Box<Contents>>,
}

impl Segment {
    /// Returns an empty segment. The frame determines whether it is encrypted.
    pub(super) fn new(number: u32, frame: Frame) -> Self {
        let packing = Packing { salt: frame.salt, sealer: frame.sealer.clone() };
        Self {
            number,
            slots: 0,
            data_len: 0,
            last_time: frame.base_time,
            form: Form::Plain,
            key: packing.sealer.as_ref().map_or(0, |sealer| sealer.id()),
            packing,
            wants_rewrite: false,
            frame,
            live: 0,
            live_bytes: 0,
            gone: RoaringBitmap::new(),
            lost: RoaringBitmap::new(),
            stage: Stage::Active,
            layout: OnceCell::from(Arc::default()),
            special: false,
            gathered: None,
        }
    }

    /// Whether it counts as waiting for a rewrite: a segment that still waits for its footer does not.
    pub(super) fn is_rewrite_counted(&self) -> bool {
        self.wants_rewrite && matches!(self.stage, Stage::Sealed { .. })
    }

    /// Returns the bytes of records as they are stored in the file, before the footer.
    pub(super) fn stored_len(&self) -> u64 {
        match self.form {
            Form::Plain => self.data_len,
            Form::Packed { stored_len } => stored_len,
        }
    }

    /// Whether a rewrite would make it much smaller. The first `prefix` slots have no messages because the stream begins behind
    /// them. They don't count: the segment will go on being shortened there, and will soon be removed as a whole.
    pub(super) fn is_wasteful(&self, prefix: u32, waste_min: u64) -> bool {
        let is_large = self.data_len > 2 * self.live_bytes + waste_min;
        is_large && 2 * self.gone.len().saturating_sub(u64::from(prefix)) > u64::from(self.slots - prefix)
    }

    /// Returns the sequence behind its last one.
    pub(super) fn end(&self) -> u64 {
        self.frame.base + u64::from(self.slots)
    }

    /// Returns the slot of `sequence`, if it is in this segment.
    pub(super) fn slot(&self, sequence: u64) -> Option<u32> {
        let slot = sequence.checked_sub(self.frame.base)?;
        (slot < u64::from(self.slots)).then_some(slot as u32)
    }

    /// Whether this slot has a message, readable or not.
    pub(super) fn holds(&self, slot: u32) -> bool {
        slot < self.slots && !self.gone.contains(slot)
    }

    /// Returns the slots with a message, readable or not.
    pub(super) fn held(&self) -> RoaringBitmap {
        let mut held = RoaringBitmap::new();
        held.insert_range(0..self.slots);
        held -= &self.gone;
        held
    }

    /// Returns the first slot with a message, from `slot` on.
    pub(super) fn next_held(&self, slot: u32) -> Option<u32> {
        if self.live == 0 {
            return None;
        }
        // Most runs of removed slots are short, while an iterator over the bitmap searches far for the next one.
        let is_held = |slot: &u32| !self.gone.contains(*slot);
        let near = slot.saturating_add(NEAR).min(self.slots);
        if let Some(found) = (slot..near).find(is_held) {
            return Some(found);
        }
        let mut candidate = slot.max(near);
        let mut gone = self.gone.range(candidate..);
        // The iterator may split a long run.
        while let Some(run) = gone.next_range().filter(|run| *run.start() == candidate) {
            candidate = run.end().saturating_add(1);
        }
        (candidate < self.slots).then_some(candidate)
    }

    /// Whether one more message of `len` bytes, which takes `slots` slots, needs a new segment.
    pub(super) fn is_full(&self, len: usize, slots: u64, segment_len: u64) -> bool {
        let full = self.data_len + len as u64 > segment_len && self.data_len > 0;
        full || u64::from(self.slots) + slots > u64::from(SLOTS_MAX)
    }

    /// Notes that the record of this slot begins at the end of the data. `before` is the record's field.
    pub(super) fn note_record(&mut self, slot: u32, before: u64, subject: &[u8]) {
        if self.data_len == 0 {
            self.gathered = Some(Box::default());
        }
        if let Some(gathered) = &mut self.gathered {
            gathered.note(slot, before, subject, self.data_len);
        }
        let offset = self.data_len as u32;
        self.layout.get_or_init(Arc::default);
        let Some(layout) = self.layout.get_mut().map(Arc::make_mut) else { return };
        let blocks = &mut layout.blocks;
        if blocks.last().is_none_or(|block| offset - block.offset >= BLOCK_LEN) {
            blocks.push(Block { slot, offset });
        }
    }

    /// Returns start and end, in the data, of the block with `slot`.
    pub(super) fn block_of(&self, blocks: &[Block], slot: u32) -> (u64, u64) {
        self.blocks_of(blocks, slot, 1)
    }

    /// Returns start and end, in the data, of `count` blocks, starting at the one with `slot`.
    pub(super) fn blocks_of(&self, blocks: &[Block], slot: u32, count: usize) -> (u64, u64) {
        let behind = blocks.partition_point(|block| block.slot <= slot);
        let begin =
            behind.checked_sub(1).and_then(|i| blocks.get(i)).map_or(0, |block| u64::from(block.offset));
        let end = blocks.get(behind + count - 1).map_or(self.data_len, |block| u64::from(block.offset));
        (begin, end)
    }

    /// Appends the segment's description for the manifest. With `is_drawn`, this includes the segment's draw, if it has one.
    pub(super) fn encode(&self, out: &mut Vec<u8>, is_drawn: bool) {
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
            match self.form {
                Form::Plain => 0,
                Form::Packed { stored_len } => stored_len,
            },
            u64::from(self.key),
            u64::from(self.wants_rewrite),
        ] {
            varint::put(out, number);
        }
        if is_drawn {
            let draw = self.packing.draw();
            let draw = draw.as_ref().map_or(&[][..], |draw| draw.bytes());
            varint::put(out, draw.len() as u64);
            out.extend_from_slice(draw);
        }
        for slots in [&self.gone, &self.lost] {
            varint::put(out, slots.serialized_size() as u64);
            // Writing to memory can't fail.
            let _ = slots.serialize_into(&mut *out);
        }
    }

    /// Reads the result of [`Segment::encode`]. `packing` returns the packing for the segment's number, the number of its data
    /// key, and its draw. With `is_old`, the manifest's version has no packed or encrypted segments, and no fields for them.
    pub(super) fn decode(
        bytes: &mut &[u8],
        is_old: bool,
        is_drawn: bool,
        packing: impl Fn(u32, u8, Option<Draw>) -> Option<Packing>,
    ) -> Option<Self> {
        let mut next = || varint::take(bytes);
        let number = u32::try_from(next()?).ok()?;
        let (base, base_time) = (next()?, next()? as i64);
        let slots = u32::try_from(next()?).ok().filter(|slots| *slots <= SLOTS_EVER)?;
        let (data_len, last_time) = (next()?, next()? as i64);
        let (live, live_bytes) = (next()?, next()?);
        let (stage, footer_len, footer_crc) =
            (next()?, u32::try_from(next()?).ok()?, u32::try_from(next()?).ok()?);
        let special = next()? != 0;
        let (stored_len, key, wants_rewrite) = match is_old {
            true => (0, 0, false),
            false => (next()?, u8::try_from(next()?).ok()?, next()? != 0),
        };
        let form = if stored_len > 0 { Form::Packed { stored_len } } else { Form::Plain };
        let draw = match is_drawn {
            true => {
                let len = usize::try_from(next()?).ok()?;
                Draw::of(varint::take_bytes(bytes, len)?)
            }
            false => None,
        };
        let packing = packing(number, key, draw)?;
        // In a packed segment, the chunk encrypts its records together.
        let sealer = packing.sealer.clone().filter(|_| form == Form::Plain);
        let frame = Frame { salt: packing.salt, base, base_time, sealer };
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
            layout: OnceCell::new(),
            form,
            key,
            packing,
            wants_rewrite,
            special,
            gathered: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_next_message_is_found_behind_short_and_long_runs(
            runs in prop::collection::vec((0..3u32, 0..9u32), 0..20),
        ) {
            let frame = Frame { salt: 1, base: 10, base_time: 0, sealer: None };
            let mut segment = Segment::new(1, frame);
            for (held, gone) in runs {
                segment.slots += held;
                segment.live += u64::from(held);
                segment.gone.insert_range(segment.slots..segment.slots + gone);
                segment.slots += gone;
            }
            for slot in 0..segment.slots + 3 {
                prop_assert_eq!(segment.next_held(slot), (slot..segment.slots).find(|s| segment.holds(*s)));
            }
        }
    }
}
