//! Rebuilding a lost manifest from the stream's segments alone.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::files::Files;
use super::open::{packing, segment_salt};
use super::record::{Frame, counted_bytes};
use super::scan::{self, HEADER_LEN, Shape};
use super::seal;
use super::segment::{Form, SLOTS_EVER, Segment, Stage};
use super::stream::{FileStream, is_special, segment_name};
use crate::disk::{Disk, DiskFile};

impl<D: Disk> FileStream<D> {
    /// Returns a manifest of everything that a stream's segments hold; `None` if nothing in them can be read. `numbers` are the
    /// numbers of their files. Removed messages whose records still exist are restored, since only the manifest knew of their
    /// removal.
    pub fn rebuild(
        files: &Arc<Files<D>>,
        salt: u64,
        group: u32,
        numbers: &[u32],
    ) -> io::Result<Option<Vec<u8>>> {
        // By first sequence: a rewritten segment may exist beside its original.
        let mut found: BTreeMap<u64, Segment> = BTreeMap::new();
        for &number in numbers {
            let Some(segment) = read(files, salt, group, number)? else { continue };
            let known = found.get(&segment.frame.base);
            if known.is_none_or(|known| (known.live, known.number) < (segment.live, number)) {
                found.insert(segment.frame.base, segment);
            }
        }
        let mut stream = Self::new(Arc::clone(files), salt, group, 1);
        let mut last = 0;
        let mut found = found.into_values().peekable();
        while let Some(mut segment) = found.next() {
            if let Some(next) = found.peek().filter(|next| next.frame.base < segment.end())
                && next.number > segment.number
            {
                // An opening that ended in a crash wrote messages behind the segment's end. The next opening wrote them again
                // to the next segment.
                if !cut(files, group, &mut segment, next.frame.base)? {
                    continue;
                }
            }
            if segment.frame.base > last {
                last = segment.end() - 1;
                stream.last_time = stream.last_time.max(segment.last_time);
                stream.segments.push_back(segment);
            }
        }
        let Some(first) = stream.segments.front() else { return Ok(None) };
        let first_held = first.next_held(0).unwrap_or(0);
        (stream.first, stream.last) = (first.frame.base + u64::from(first_held), last);
        stream.next_number = numbers.iter().max().map_or(1, |number| number.saturating_add(1));
        Ok(Some(stream.manifest()))
    }
}

/// Drops the sequences from `end` on from a segment. Returns false if nothing is left.
fn cut<D: Disk>(files: &Arc<Files<D>>, group: u32, segment: &mut Segment, end: u64) -> io::Result<bool> {
    let file = files.get(&segment_name(group, segment.number))?;
    segment.slots = u32::try_from(end - segment.frame.base).unwrap_or(segment.slots);
    segment.gone.clear();
    learn(&*file, segment)
}

/// Reads a file as a closed segment; `None` if nothing in it can be read.
fn read<D: Disk>(files: &Arc<Files<D>>, salt: u64, group: u32, number: u32) -> io::Result<Option<Segment>> {
    let file = match files.get(&segment_name(group, number)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut header = [0; HEADER_LEN as usize];
    let len = file.len()?;
    if file.read_at(&mut header, 0)? < header.len() || len <= HEADER_LEN {
        return Ok(None);
    }
    let own_salt = segment_salt(salt, group, number);
    let Some((base, base_time)) = seal::decode_header(&header, own_salt) else { return Ok(None) };
    let draw = seal::decode_draw(&header, own_salt);
    // Try the newest key first, since it is the likeliest.
    for key in (0..=files.keys.current()).rev() {
        let Some(packing) = packing(files, salt, group, number, key, draw) else { continue };
        for form in [Form::Plain, Form::Packed { stored_len: len - HEADER_LEN }] {
            // In a packed segment, the chunk encrypts its records together.
            let sealer = packing.sealer.clone().filter(|_| form == Form::Plain);
            let mut segment = Segment::new(number, Frame { salt: packing.salt, base, base_time, sealer });
            (segment.packing, segment.key, segment.form) = (packing.clone(), key, form);
            (segment.data_len, segment.slots) = (len - HEADER_LEN, SLOTS_EVER);
            if learn(&*file, &mut segment)? {
                return Ok(Some(segment));
            }
        }
    }
    Ok(None)
}

/// Sets the figures of a segment by reading all its records. Returns false if there are none.
fn learn<F: DiskFile>(file: &F, segment: &mut Segment) -> io::Result<bool> {
    let mut held = RoaringBitmap::new();
    let mut data_len = 0;
    let (mut live_bytes, mut last_time, mut special) = (0, segment.last_time, false);
    let shape = Shape::of(segment);
    scan::records(file, &shape, |head, message, at| {
        held.insert(head.slot);
        live_bytes += counted_bytes(message.subject.len(), message.headers.len(), message.payload.len());
        special |= is_special(message.headers);
        last_time = head.time;
        data_len = at + head.len as u64;
    })?;
    let Some(last) = held.max() else { return Ok(false) };
    segment.slots = last + 1;
    segment.live = held.len();
    segment.gone.insert_range(0..segment.slots);
    segment.gone -= held;
    (segment.live_bytes, segment.last_time, segment.special) = (live_bytes, last_time, special);
    segment.data_len = data_len;
    segment.stage = Stage::Closed;
    Ok(true)
}
