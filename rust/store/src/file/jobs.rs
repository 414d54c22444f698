//! Jobs for a stream's full segments, and applying their results.

use std::io;
use std::sync::Arc;

use super::open::{self, runs};
use super::record::Frame;
use super::scan::{HEADER_LEN, Shape};
use super::seal::{Rewritten, SealJob, Sealed, Target};
use super::segment::{Form, Segment, Stage};
use super::stream::{Damaged, FileStream};
use crate::disk::Disk;

impl<D: Disk> FileStream<D> {
    /// Sets whether segments are compressed when they are full. Existing segments stay as they are.
    pub fn set_compressed(&mut self, is_compressed: bool) {
        self.is_compressed = is_compressed;
    }

    /// Returns the job for the next full segment that needs one.
    pub fn seal_job(&mut self) -> Option<io::Result<SealJob<D>>> {
        if self.closed + self.rewrites == 0 || self.rewriting.is_some() {
            return None;
        }
        let is_wanted = |segment: &Segment| {
            segment.data_len > 0
                && segment.stage != Stage::Active
                && (segment.stage == Stage::Closed || segment.wants_rewrite)
        };
        // A file that can't be opened does not hold up other segments.
        let mut failed = None;
        let found =
            (0..self.segments.len()).filter(|i| is_wanted(&self.segments[*i])).find_map(|i| {
                match self.files.get(&self.name(self.segments[i].number)) {
                    Ok(file) => Some((i, file)),
                    Err(e) => {
                        failed = Some(e);
                        None
                    }
                }
            });
        let Some((i, file)) = found else { return failed.map(Err) };
        let segment = &self.segments[i];
        let number = segment.number;
        let pack = self.is_compressed && segment.form == Form::Plain && segment.stage == Stage::Closed;
        let rewrite = segment.wants_rewrite || pack || self.is_wasteful(i);
        let target = rewrite.then(|| self.target(i));
        let gathered = self.segments[i].gathered.take();
        let shape = Shape::of(&self.segments[i]);
        if target.is_some() {
            self.rewriting = Some((number, false));
        }
        let files = Arc::clone(&self.files);
        Some(Ok(SealJob { files, file, group: self.group, number, shape, target, gathered }))
    }

    /// Returns the segment that is to replace segment `i`.
    fn target(&mut self, i: usize) -> Target {
        let number = self.next_number;
        let packing = open::fresh_packing(&self.files, self.salt, self.group, number);
        self.next_number += 1;
        let segment = &self.segments[i];
        let is_packed = self.is_compressed;
        // In a packed segment, the chunk encrypts its records together.
        let sealer = packing.sealer.clone().filter(|_| !is_packed);
        let frame = Frame { salt: packing.salt, sealer, ..segment.frame };
        let (gone, held) = (segment.gone.clone(), segment.held() - &segment.lost);
        Target { number, name: self.name(number), frame, packing, is_packed, gone, held }
    }

    /// Applies the result of a job. After an error the segment stays as it is.
    pub fn sealed(&mut self, sealed: Sealed) -> io::Result<()> {
        let Sealed { number, result, rewritten } = sealed;
        let is_spoilt = rewritten.is_some() && self.rewriting.take().is_none_or(|(_, spoilt)| spoilt);
        let i = self.segments.iter().position(|segment| segment.number == number);
        let new_name = rewritten.as_ref().map(|new| new.name.clone());
        let (Some(i), Ok(footing), false) = (i, &result, is_spoilt) else {
            // The new file is not needed.
            self.obsolete.extend(new_name);
            return result.map(|_| ());
        };
        let name = self.name(number);
        let segment = &mut self.segments[i];
        if segment.stage == Stage::Closed {
            self.closed -= 1;
        }
        self.rewrites -= usize::from(segment.is_rewrite_counted());
        segment.stage = Stage::Sealed { footer_len: footing.len, footer_crc: footing.crc };
        segment.layout = Arc::new(footing.layout.clone()).into();
        let is_wanted = std::mem::replace(&mut segment.wants_rewrite, false);
        let Some(new) = rewritten else {
            if is_wanted {
                // The rewrite was requested while the footer was being written.
                segment.wants_rewrite = true;
                self.rewrites += 1;
            }
            let file = self.files.get(&name)?;
            self.note_dirty(file);
            return Ok(());
        };
        self.obsolete.push(name.clone());
        self.replace(i, new, &name);
        let file = self.files.get(&self.name(self.segments[i].number))?;
        self.names_changed = true;
        self.note_dirty(file);
        Ok(())
    }

    /// Replaces a segment by its rewritten version. `old` is the name of the previous file.
    fn replace(&mut self, i: usize, new: Rewritten, old: &str) {
        let segment = &mut self.segments[i];
        segment.number = new.number;
        segment.frame = new.frame;
        segment.key = new.packing.sealer.as_ref().map_or(0, |sealer| sealer.id());
        segment.packing = new.packing;
        segment.form = new.form;
        segment.data_len = new.data_len;
        let missing = new.missing - &segment.gone;
        let base = segment.frame.base;
        for (first, last) in runs(&missing) {
            self.damaged.get_mut().push(Damaged {
                file: old.to_owned(),
                offset: HEADER_LEN,
                sequences: base + u64::from(first)..=base + u64::from(last),
            });
        }
        segment.lost |= missing;
    }

    /// Whether a rewrite would make a segment much smaller.
    pub(super) fn is_wasteful(&self, i: usize) -> bool {
        let segment = &self.segments[i];
        let prefix = if i == 0 { segment.slot(self.first).unwrap_or(0) } else { 0 };
        segment.is_wasteful(prefix, self.files.segment_len / 16)
    }

    /// Requests that a segment is rewritten once it is full.
    pub(super) fn want_rewrite(&mut self, i: usize) {
        let segment = &mut self.segments[i];
        let was_wanted = std::mem::replace(&mut segment.wants_rewrite, true);
        self.rewrites += usize::from(!was_wanted && segment.is_rewrite_counted());
    }
}
