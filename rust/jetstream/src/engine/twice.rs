//! Records that are logged twice, because other records depend on them: creations, configurations and deletions of streams and
//! consumers.
//!
//! Both copies are in one frame, so one sync makes both durable. They are far enough apart that neither a flipped bit nor an
//! unreadable page of the disk damages both. A copy contains the position of the original, so it can replace the original
//! exactly.

use stonechat_store::disk::Disk;
use stonechat_store::wal::{GroupId, Record};

use super::Engine;
use super::journal::{self, Body};

/// The most bytes that become unreadable together, wherever they begin.
const PAGE_LEN: u64 = 4096;
/// Length of a copy's header, in bytes: position and kind of the original, three zeros.
const HEAD_LEN: usize = 12;

/// Records to be copied with the next write of the log.
#[derive(Debug, Default)]
pub(super) struct Twice {
    records: Vec<Original>,
    /// Length of the longest record, in bytes.
    longest: u64,
    /// Position of the end of the copies, until the log has proved them durable.
    prove: Option<u64>,
}

#[derive(Debug)]
struct Original {
    position: u64,
    group: GroupId,
    kind: u8,
    body: Vec<u8>,
}

/// A record restored from its copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Copied<'a> {
    pub(super) position: u64,
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
}

impl<'a> Copied<'a> {
    /// Decodes a copy.
    pub(super) fn decode(record: &Record<'a>) -> Option<Self> {
        let (position, rest) = record.body.split_first_chunk()?;
        let ([kind, 0, 0, 0], body) = rest.split_first_chunk()? else { return None };
        Some(Self { position: u64::from_le_bytes(*position), kind: *kind, body })
    }
}

impl<D: Disk> Engine<D> {
    /// Gathers a record for the log, and remembers it for its copy.
    pub(super) fn log_twice(&mut self, group: impl Into<GroupId>, body: &Body<'_>) {
        let (group, parts) = (group.into(), body.parts());
        let position = self.log.append(group, body.kind, &parts);
        self.twice.longest = self.twice.longest.max(self.log.next_position() - position);
        self.twice.records.push(Original { position, group, kind: body.kind, body: parts.concat() });
    }

    /// Gathers the copies of the records since the last write.
    pub(super) fn log_copies(&mut self) {
        let Some(first) = self.twice.records.first() else { return };
        // At least a page lies between the end of each record and its copy.
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

    /// Writes to the log that the copies are durable, before their requests are answered. Without that, a flipped bit after a
    /// kill could make them look like a torn tail that was never answered.
    pub(super) fn prove_copies(&mut self) {
        if self.twice.prove.is_some_and(|end| self.log.durable() >= end) {
            self.twice.prove = None;
            // An error here happens again at the next write, and is reported then.
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
