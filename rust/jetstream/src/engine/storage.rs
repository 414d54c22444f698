//! The storage of a stream's messages: in memory or on disk.

use std::ops::{ControlFlow, RangeInclusive};

use stonechat_store::disk::Disk;
use stonechat_store::file::FileStream;
use stonechat_store::index::Filter;
use stonechat_store::memory::MemoryStream;
use stonechat_store::messages::{Appended, Lost, Message, Messages, Progress, State, SubjectState};

/// The messages of a stream.
#[derive(Debug)]
pub enum Storage<D: Disk> {
    /// In memory only.
    Memory(Box<MemoryStream>),
    /// On disk.
    File(Box<FileStream<D>>),
}

macro_rules! both {
    ($self:ident, $messages:ident => $e:expr) => {
        match $self {
            Storage::Memory($messages) => $e,
            Storage::File($messages) => $e,
        }
    };
}

impl<D: Disk> Messages for Storage<D> {
    fn state(&self) -> State {
        both!(self, m => m.state())
    }
    fn last_sequence(&self) -> u64 {
        both!(self, m => m.last_sequence())
    }
    fn count(&self) -> u64 {
        both!(self, m => m.count())
    }
    fn bytes(&self) -> u64 {
        both!(self, m => m.bytes())
    }
    fn counted_bytes(&self, subject_len: usize, headers_len: usize, payload_len: usize) -> u64 {
        both!(self, m => m.counted_bytes(subject_len, headers_len, payload_len))
    }
    fn append(&mut self, time: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Option<Appended> {
        both!(self, m => m.append(time, subject, headers, payload))
    }
    fn skip(&mut self, time: i64) -> u64 {
        both!(self, m => m.skip(time))
    }
    fn skip_to(&mut self, sequence: u64, time: i64) {
        both!(self, m => m.skip_to(sequence, time));
    }
    fn read<'a>(&'a self, sequence: u64, buffer: &'a mut Vec<u8>) -> Result<Option<Message<'a>>, Lost> {
        both!(self, m => m.read(sequence, buffer))
    }
    fn contains(&self, sequence: u64) -> bool {
        both!(self, m => m.contains(sequence))
    }
    fn subject(&self, subject: &[u8]) -> Option<SubjectState> {
        both!(self, m => m.subject(subject))
    }
    fn first_on(&self, subject: &[u8]) -> Option<u64> {
        both!(self, m => m.first_on(subject))
    }
    fn subjects(
        &self,
        filter: &Filter,
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], SubjectState) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        both!(self, m => m.subjects(filter, after, visit))
    }
    fn some_subjects(
        &self,
        filter: &Filter,
        after: &mut Option<Vec<u8>>,
        budget: &mut usize,
        visit: &mut dyn FnMut(&[u8], SubjectState),
    ) -> bool {
        both!(self, m => m.some_subjects(filter, after, budget, visit))
    }
    fn next_matching(&self, filter: Option<&Filter>, sequence: u64, budget: usize) -> Progress<Option<u64>> {
        both!(self, m => m.next_matching(filter, sequence, budget))
    }
    fn at_time(&self, time: i64) -> Option<u64> {
        both!(self, m => m.at_time(time))
    }
    fn some_gaps(
        &self,
        from: &mut u64,
        budget: &mut usize,
        visit: &mut dyn FnMut(RangeInclusive<u64>),
    ) -> bool {
        both!(self, m => m.some_gaps(from, budget, visit))
    }
    fn scan(&self, sequence: u64, visit: &mut dyn FnMut(u64, Option<Message<'_>>) -> ControlFlow<()>) {
        both!(self, m => m.scan(sequence, visit));
    }
    fn count_from(&self, sequence: u64) -> u64 {
        both!(self, m => m.count_from(sequence))
    }
    fn remove(&mut self, sequence: u64) -> bool {
        both!(self, m => m.remove(sequence))
    }
    fn clear(&mut self, next: u64) {
        both!(self, m => m.clear(next));
    }
    fn remove_first_on(&mut self, subject: &[u8], keep: u64) -> Option<u64> {
        both!(self, m => m.remove_first_on(subject, keep))
    }
}
