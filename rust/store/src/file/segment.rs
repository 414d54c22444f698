//! A segment: a run of sequences in one file.
//!
//! Each sequence has a *slot*, counted from the segment's first one. Slots without a message are in `gone`. Every four kilobytes
//! or so a *block* begins, whose first slot and offset are known, so that a message is found by walking one block.

use std::cell::OnceCell;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::chunk::{Chunk, Packing};
use super::footer::Contents;
use super::record::Frame;
use super::varint;
use crate::encryption::Draw;

/// Bytes after which a new block begins.
pub(super) const BLOCK_LEN: u32 = if cfg!(test) { 256 } else { 4096 };
/// Slots at which a segment ends.
pub(super) const SLOTS_MAX: u32 = 1 << 18;
/// And this while the disk has no room for another one, which also ends publishing.
pub(super) const SLOTS_EVER: u32 = 1 << 26;

/// Where a block begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) slot: u32,
    pub(super) offset: u32,
}

/// Where what lies in a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) blocks: Vec<Block>,
    /// Of a packed segment.
    pub(super) chunks: Vec<Chunk>,
}

/// Slots that are looked at one by one for one that holds a message.
const NEAR: u32 = if cfg!(test) { 2 } else { 8 };

/// How the records of a segment are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One behind the other.
    Plain,
    /// In chunks, which have so many bytes together.
    Packed { stored_len: u64 },
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
    pub(super) layout: OnceCell<Arc<Layout>>,
    pub(super) form: Form,
    /// The number of the data key that encrypts it; 0 without.
    pub(super) key: u8,
    /// How its chunks and its footer are written.
    pub(super) packing: Packing,
    /// It is to be written anew, without what is gone.
    pub(super) wants_rewrite: bool,
    /// Whether some message has a header that must be known after a restart: an id, a time to live, a schedule.
    pub(super) special: bool,
    /// What its footer is to say, while it grows fast: only a few streams at a time do, so that this takes little memory.
    pub(super) gathered: Option<Box<Contents>>,
}

impl Segment {
    /// One that begins, with a frame that encrypts or not.
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

    /// Whether it waits to be written anew for no other reason than that.
    pub(super) fn is_rewrite_counted(&self) -> bool {
        self.wants_rewrite && matches!(self.stage, Stage::Sealed { .. })
    }

    /// Bytes of records as they lie in the file; the footer is behind them.
    pub(super) fn stored_len(&self) -> u64 {
        match self.form {
            Form::Plain => self.data_len,
            Form::Packed { stored_len } => stored_len,
        }
    }

    /// Whether it would be much smaller if it were written anew. `prefix` slots at its begin are gone because the stream begins
    /// behind them: there it goes on being shortened, and will soon be gone as a whole.
    pub(super) fn is_wasteful(&self, prefix: u32, waste_min: u64) -> bool {
        let is_large = self.data_len > 2 * self.live_bytes + waste_min;
        is_large && 2 * self.gone.len().saturating_sub(u64::from(prefix)) > u64::from(self.slots - prefix)
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

    /// The slots that hold a message, readable or not.
    pub(super) fn held(&self) -> RoaringBitmap {
        let mut held = RoaringBitmap::new();
        held.insert_range(0..self.slots);
        held -= &self.gone;
        held
    }

    /// The first slot from `slot` on that holds a message.
    pub(super) fn next_held(&self, slot: u32) -> Option<u32> {
        if self.live == 0 {
            return None;
        }
        // Most runs of gone slots are short, and an iterator looks far for the next one behind them.
        let is_held = |slot: &u32| !self.gone.contains(*slot);
        let near = slot.saturating_add(NEAR).min(self.slots);
        if let Some(found) = (slot..near).find(is_held) {
            return Some(found);
        }
        let mut candidate = slot.max(near);
        let mut gone = self.gone.range(candidate..);
        // A long run may be in several pieces.
        while let Some(run) = gone.next_range().filter(|run| *run.start() == candidate) {
            candidate = run.end().saturating_add(1);
        }
        (candidate < self.slots).then_some(candidate)
    }

    /// Whether one more message of `len` bytes belongs in another segment, `slots` further on.
    pub(super) fn is_full(&self, len: usize, slots: u64, segment_len: u64) -> bool {
        let full = self.data_len + len as u64 > segment_len && self.data_len > 0;
        full || u64::from(self.slots) + slots > u64::from(SLOTS_MAX)
    }

    /// Notes that the record of this slot begins at the end of the data.
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
    /// `is_drawn`: each segment says what was drawn for it, if something was.
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

    /// Reads what [`Segment::encode`] wrote. `packing` tells salt and key by the segment's number, that of the data key, and what was
    /// drawn; `is_old`: nothing in it is packed or encrypted, and it does not say so.
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
        // In chunks, records are encrypted together.
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
