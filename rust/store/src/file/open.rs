//! Opening a stream from its manifest, and making the manifest.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::chunk::Packing;
use super::files::Files;
use super::footer::{self, Footer, FooterSubjects};
use super::scan::{self, HEADER_LEN, Shape};
use super::segment::{Form, Layout, Segment, Stage};
use super::stream::{Damaged, FileStream};
use super::subjects::SubjectIndex;
use super::varint;
use crate::disk::{Disk, DiskFile};
use crate::encryption::{Draw, Sealer};
use crate::index::SubjectTree;
use crate::messages::SubjectState;

/// The version of manifests without packed or encrypted segments.
const MANIFEST_VERSION_OLD: u64 = 1;
/// The version of manifests whose segments have no draws.
const MANIFEST_VERSION: u64 = 2;
/// The version of manifests that state the draw of each segment, or that it has none.
const MANIFEST_VERSION_DRAWN: u64 = 3;

impl<D: Disk> FileStream<D> {
    /// Returns the manifest, which contains all data that an opening needs to restore the stream's present state. It is valid
    /// once all files from [`FileStream::take_dirty`] are synced.
    pub fn manifest(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let is_drawn = self.segments.iter().any(|segment| segment.packing.draw().is_some());
        let version = if is_drawn { MANIFEST_VERSION_DRAWN } else { MANIFEST_VERSION };
        for number in [
            version,
            self.first,
            self.last,
            self.last_time as u64,
            u64::from(self.next_number),
            self.segments.len() as u64,
        ] {
            varint::put(&mut out, number);
        }
        self.segments.iter().for_each(|segment| segment.encode(&mut out, is_drawn));
        out
    }

    /// Opens a stream from its manifest; `None` if the manifest is invalid. [`FileStream::take_damaged`] returns what can't be
    /// read.
    pub fn open(
        files: Arc<Files<D>>,
        salt: u64,
        group: u32,
        mut manifest: &[u8],
    ) -> Option<io::Result<Self>> {
        let bytes = &mut manifest;
        let version = varint::take(bytes)?;
        if !(MANIFEST_VERSION_OLD..=MANIFEST_VERSION_DRAWN).contains(&version) {
            return None;
        }
        let (is_old, is_drawn) = (version == MANIFEST_VERSION_OLD, version == MANIFEST_VERSION_DRAWN);
        let mut stream = Self::new(files, salt, group, varint::take(bytes)?);
        (stream.last, stream.last_time) = (varint::take(bytes)?, varint::take(bytes)? as i64);
        stream.next_number = u32::try_from(varint::take(bytes)?).ok()?;
        for _ in 0..varint::take(bytes)? {
            let segment = Segment::decode(bytes, is_old, is_drawn, |number, key, draw| {
                packing(&stream.files, salt, group, number, key, draw)
            })?;
            stream.messages += segment.live;
            stream.bytes += segment.live_bytes;
            stream.segments.push_back(segment);
        }
        stream.subjects.begin_learning();
        let layout_bytes = Layout::usual_bytes(stream.files.segment_len);
        let layouts = stream.files.index_budget.take_for_layouts(stream.segments.len() * layout_bytes);
        let without_layout = stream.segments.len() - layouts / layout_bytes;
        let mut footers = Vec::new();
        for i in 0..stream.segments.len() {
            if let Err(e) = stream.open_segment(i, i >= without_layout, &mut footers) {
                return Some(Err(e));
            }
            if footers.iter().map(FooterSubjects::heap_bytes).sum::<usize>()
                > stream.files.index_budget.merged()
            {
                stream.learn_footers(std::mem::take(&mut footers));
            }
            // No client waits yet, and the next segment's subjects need memory.
            if let Some(job) = stream.freezing_job()
                && stream.subjects.indexed(job.run()).is_err()
            {
                stream.subjects.give_up();
            }
        }
        stream.learn_footers(footers);
        if stream.end_learning().is_err() {
            stream.recount();
        }
        // The last segment is closed if it was begun with another key, or without one while there is one now. An encrypted
        // segment is always closed: a copy of the store may have appended to it too.
        let key = stream.files.keys.current();
        if let Some(last) = stream.segments.back_mut()
            && last.stage == Stage::Active
            && (last.key != key || key != 0)
        {
            last.stage = Stage::Closed;
        }
        stream.closed = stream.segments.iter().filter(|segment| segment.stage == Stage::Closed).count();
        stream.rewrites = stream.segments.iter().filter(|segment| segment.is_rewrite_counted()).count();
        // A closed segment without messages stays empty, so it is removed.
        for i in (0..stream.segments.len()).rev() {
            if stream.segments[i].live == 0 && stream.segments[i].stage != Stage::Active {
                stream.give_up(i);
            }
        }
        for i in 0..stream.segments.len() {
            if stream.segments[i].key != key || stream.is_wasteful(i) {
                stream.want_rewrite(i);
            }
        }
        Some(Ok(stream))
    }

    /// Adds the subjects of a segment to the index, or to `footers`, which are added together. `keeps_layout`: whether the places of its
    /// blocks stay in memory.
    fn open_segment(
        &mut self,
        i: usize,
        keeps_layout: bool,
        footers: &mut Vec<FooterSubjects>,
    ) -> io::Result<()> {
        let segment = &self.segments[i];
        let name = self.name(segment.number);
        let file = match self.files.get(&name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            other => Some(other?),
        };
        if let (Some(file), Stage::Sealed { footer_len, footer_crc }) = (&file, segment.stage) {
            let mut bytes = vec![0; footer_len as usize];
            let read = file.read_at(&mut bytes, HEADER_LEN + segment.stored_len())?;
            if read == bytes.len() && footer::crc(segment.frame.salt, &bytes) == footer_crc {
                let (subjects, is_packed) = (&mut self.subjects, segment.form != Form::Plain);
                let files = &*self.files;
                let sealers = |draw| footer_sealer(files, self.group, segment.number, segment.key, draw);
                let known = footer::open(&mut bytes, &segment.packing, sealers)
                    .and_then(|bytes| Footer::decode(bytes, is_packed, !segment.gone.is_empty()))
                    .and_then(|footer| {
                        if subjects.has_parts() && segment.gone.is_empty() {
                            footers.push(footer.all_subjects(segment.frame.base));
                            return Some(footer.layout);
                        }
                        footer.subjects(segment.frame.base, &segment.gone, &mut |subject, state| {
                            learn(subjects, subject, state)
                        })?;
                        Some(footer.layout)
                    });
                if let Some(layout) = known {
                    if keeps_layout {
                        let _ = segment.layout.set(Arc::new(layout));
                    }
                    return Ok(());
                }
            }
        }
        let segment = &mut self.segments[i];
        let mut missing = segment.held();
        let mut layout = Layout::default();
        if let Some(file) = &file {
            let (shape, subjects, gone) = (Shape::of(segment), &mut self.subjects, &segment.gone);
            layout = scan::contents(&**file, &shape, |head, message| {
                missing.remove(head.slot);
                if !gone.contains(head.slot) {
                    let state = SubjectState { first: message.sequence, last: message.sequence, count: 1 };
                    let _ = learn(subjects, message.subject, state);
                }
            })?
            .layout;
        }
        if let Stage::Sealed { .. } = segment.stage {
            segment.stage = Stage::Closed;
        }
        let base = segment.frame.base;
        missing -= &segment.lost;
        for (first, last) in runs(&missing) {
            let behind = layout.blocks.partition_point(|block| block.slot <= first);
            let offset = behind.checked_sub(1).map_or(0, |i| u64::from(layout.blocks[i].offset));
            let sequences = base + u64::from(first)..=base + u64::from(last);
            let damaged = Damaged { file: name.clone(), offset: HEADER_LEN + offset, sequences };
            self.damaged.get_mut().push(damaged);
        }
        segment.lost |= missing;
        if file.is_some() {
            segment.layout = Arc::new(layout).into();
        }
        Ok(())
    }
}

/// Returns the runs of consecutive slots: the first and the last slot of each.
pub(super) fn runs(slots: &RoaringBitmap) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for slot in slots {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == slot => *last = slot,
            _ => runs.push((slot, slot)),
        }
    }
    runs
}

/// Adds the state of a subject in a later segment to the index.
fn learn(subjects: &mut SubjectIndex, subject: &[u8], state: SubjectState) -> ControlFlow<()> {
    match subjects.learn(subject, state) {
        Some(()) => ControlFlow::Continue(()),
        None => ControlFlow::Break(()),
    }
}

/// Adds the state of a subject from a later message.
pub(super) fn merge(
    subjects: &mut SubjectTree<SubjectState>,
    subject: &[u8],
    state: SubjectState,
) -> ControlFlow<()> {
    match subjects.get_or_insert(subject, SubjectState { count: 0, ..state }) {
        Some(known) => {
            (known.last, known.count) = (state.last, known.count + state.count);
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    }
}

/// Returns the packing of an existing segment; `None` if its key is unknown.
pub(super) fn packing<D: Disk>(
    files: &Files<D>,
    salt: u64,
    group: u32,
    number: u32,
    key: u8,
    draw: Option<Draw>,
) -> Option<Packing> {
    let sealer = match key {
        0 => None,
        key => Some(files.keys.sealer(key, &label(b"segment ", group, number), draw)?),
    };
    Some(Packing { salt: segment_salt(salt, group, number), sealer })
}

/// Returns the packing of a new segment.
pub(super) fn fresh_packing<D: Disk>(files: &Files<D>, salt: u64, group: u32, number: u32) -> Packing {
    labelled_packing(files, b"segment ", salt, group, number)
}

/// Returns the sealer for the footer of a segment that is encrypted with the data key `key`.
pub(super) fn footer_sealer<D: Disk>(
    files: &Files<D>,
    group: u32,
    number: u32,
    key: u8,
    draw: Draw,
) -> Option<Arc<Sealer>> {
    files.keys.sealer(key, &label(b"footer  ", group, number), Some(draw))
}

/// Returns the name and the packing of a new index file.
pub(super) fn index_target<D: Disk>(
    files: &Files<D>,
    salt: u64,
    group: u32,
    number: u32,
) -> (String, Packing) {
    let packing = labelled_packing(files, b"index   ", !salt, group, number);
    (format!("stream-{group}-index-{number}"), packing)
}

/// Returns the packing of a new file with this label and number.
pub(crate) fn labelled_packing<D: Disk>(
    files: &Files<D>,
    what: &[u8; 8],
    salt: u64,
    group: u32,
    number: u32,
) -> Packing {
    let sealer = files.keys.fresh(&label(what, group, number));
    Packing { salt: segment_salt(salt, group, number), sealer }
}

fn label(what: &[u8; 8], group: u32, number: u32) -> [u8; 16] {
    let mut label = [0; 16];
    label[..8].copy_from_slice(what);
    label[8..12].copy_from_slice(&group.to_le_bytes());
    label[12..].copy_from_slice(&number.to_le_bytes());
    label
}

/// Returns the salt of a segment's checksums. It differs between files, so that one does not pass for another.
pub(super) fn segment_salt(salt: u64, group: u32, number: u32) -> u64 {
    salt ^ (u64::from(group) << 32 | u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
