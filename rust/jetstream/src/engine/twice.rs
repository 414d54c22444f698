//! What makes other records mean something is in the log twice: that a stream or consumer came to be, how it is configured, that it
//! was deleted.
//!
//! Both copies are in one frame, so that one sync makes both durable, and so far from each other that neither a flipped bit nor a page of
//! the disk that can't be read costs both. A copy says where the record is, so that it can take exactly its place.

use stonechat_store::disk::Disk;
use stonechat_store::wal::{GroupId, Record};

use super::Engine;
use super::journal::{self, Body};

/// Bytes that may become unreadable together, wherever they begin.
const PAGE_LEN: u64 = 4096;
/// Bytes of a copy before the body: position and kind of the record, three zeros.
const HEAD_LEN: usize = 12;

/// Records of which the log is to get a copy with the next write.
#[derive(Debug, Default)]
pub(super) struct Twice {
    records: Vec<Original>,
    /// Bytes of the longest.
    longest: u64,
    /// The log is to say as soon as it is durable up to here.
    prove: Option<u64>,
}

#[derive(Debug)]
struct Original {
    position: u64,
    group: GroupId,
    kind: u8,
    body: Vec<u8>,
}

/// A record that was read from its copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Copied<'a> {
    pub(super) position: u64,
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
}

impl<'a> Copied<'a> {
    /// What a copy says.
    pub(super) fn decode(record: &Record<'a>) -> Option<Self> {
        let (position, rest) = record.body.split_first_chunk()?;
        let ([kind, 0, 0, 0], body) = rest.split_first_chunk()? else { return None };
        Some(Self { position: u64::from_le_bytes(*position), kind: *kind, body })
    }
}

impl<D: Disk> Engine<D> {
    /// Gathers a record for the log, which will have it twice.
    pub(super) fn log_twice(&mut self, group: impl Into<GroupId>, body: &Body<'_>) {
        let (group, parts) = (group.into(), body.parts());
        let position = self.log.append(group, body.kind, &parts);
        self.twice.longest = self.twice.longest.max(self.log.next_position() - position);
        self.twice.records.push(Original { position, group, kind: body.kind, body: parts.concat() });
    }

    /// Gathers the copies of what was gathered since the last write.
    pub(super) fn log_copies(&mut self) {
        let Some(first) = self.twice.records.first() else { return };
        // Behind the end of each record there is a page before its copy begins.
        let wanted = first.position + std::mem::take(&mut self.twice.longest) + PAGE_LEN;
        let missing = wanted.saturating_sub(self.log.next_position());
        if missing > 0 {
            let zeros = [0; PAGE_LEN as usize];
            let pieces = std::iter::repeat_n(&zeros[..], (missing / PAGE_LEN) as usize);
            let rest = &zeros[..(missing % PAGE_LEN) as usize];
            let parts: Vec<&[u8]> = pieces.chain([rest]).collect();
            self.log.append(journal::STORE, journal::PADDING, &parts);
        }
        for Original { position, group, kind, body } in self.twice.records.drain(..) {
            let mut head = [0; HEAD_LEN];
            head[..8].copy_from_slice(&position.to_le_bytes());
            head[8] = kind;
            self.log.append(group, journal::COPY, &[&head, &body]);
        }
        self.twice.prove = Some(self.log.next_position());
    }

    /// The log is durable further than before. What has just come to be must not pass for a tail that was never answered, should a bit
    /// of it flip after a kill: so the log says it before anything is answered.
    pub(super) fn prove_copies(&mut self) {
        if self.twice.prove.is_some_and(|end| self.log.durable() >= end) {
            self.twice.prove = None;
            // An error would come again at the next write, and be told then.
            let _ = self.log.prove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_what_and_where_the_record_was() {
        let decode = |body: &[u8]| {
            let record = Record::plain(0, GroupId(1), journal::COPY, body);
            Copied::decode(&record).map(|copied| (copied.position, copied.kind, copied.body.to_vec()))
        };
        let body = [&800_u64.to_le_bytes()[..], &[16, 0, 0, 0], b"body"].concat();
        assert_eq!(decode(&body), Some((800, 16, b"body".to_vec())));
        assert_eq!(decode(&body[..11]), None);
        let mut other = body;
        other[9] = 1;
        assert_eq!(decode(&other), None);
    }
}
