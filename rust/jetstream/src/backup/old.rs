//! Backups of nats-server before 2.15: a tar file of the server's store, with its message blocks.
//!
//! Only messages, removals and consumers are read. Checksums of blocks are ignored, since the frames around them have their own.

use std::collections::BTreeMap;

use stonechat_store::file::varint;

use super::consumer::{SavedConsumer, SavedState};
use super::{BackupError, STATE_MAX, STATES_MAX};
use crate::consumer::{ConsumerRequest, Position};

/// Bytes of a unit of the tar file.
const UNIT: usize = 512;
/// Bytes of a file of a backup, at most: message blocks have some megabytes.
const FILE_MAX: u64 = 128 << 20;
/// Bytes of the numbers before a message's subject, and of the checksum at the end of a record.
const RECORD_HEAD: usize = 22;
const RECORD_TAIL: usize = 8;
/// Flags. In the length of a record: it has headers. In its sequence: it was erased, or it stands for a removal.
const HEADERS: u32 = 1 << 31;
const ERASED: u64 = 1 << 63;
const REMOVAL: u64 = 1 << 62;

/// The content of a file of the backup.
#[derive(Debug)]
pub enum File {
    /// A block of messages, for [`records`].
    Block(Vec<u8>),
    /// A consumer.
    Consumer(String, Box<SavedConsumer>),
    /// There are no more files.
    End,
}

/// A record of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A message.
    #[allow(missing_docs, reason = "they are what their names say")]
    Message { sequence: u64, time: i64, subject: &'a [u8], headers: &'a [u8], payload: &'a [u8] },
    /// The message with this sequence was removed.
    Removed(u64),
}

/// Reads a backup that arrives in pieces.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    at: usize,
    /// The name of the next file, if it is too long for the file's header.
    long_name: Option<String>,
    /// Configurations of consumers whose state was not read yet.
    configs: BTreeMap<String, Vec<u8>>,
    /// Bytes of all files about consumers so far.
    consumers_bytes: u64,
}

impl Reader {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next file with content for a restore; `None` until more bytes are received.
    ///
    /// # Errors
    ///
    /// The bytes are no such backup, or a damaged one.
    pub fn next_file(&mut self) -> Result<Option<File>, BackupError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some((head, behind)) = rest.split_first_chunk::<UNIT>() else { return Ok(None) };
            if head.iter().all(|b| *b == 0) {
                return Ok(Some(File::End));
            }
            let len =
                octal(&head[124..136]).filter(|len| *len <= FILE_MAX).ok_or(BackupError::Archive)? as usize;
            let Some(content) = behind.get(..len.next_multiple_of(UNIT)) else { return Ok(None) };
            let content = content[..len].to_vec();
            let name = self.long_name.take().unwrap_or_else(|| short_name(head));
            self.at += UNIT + len.next_multiple_of(UNIT);
            match head[156] {
                b'x' => self.long_name = long_name(&content),
                b'g' => {}
                b'0' | 0 => {
                    if let Some(file) = self.file(&name, content)? {
                        return Ok(Some(file));
                    }
                }
                _ => return Err(BackupError::Archive),
            }
        }
    }

    fn file(&mut self, name: &str, content: Vec<u8>) -> Result<Option<File>, BackupError> {
        let parts: Vec<&str> = name.split('/').collect();
        if let ["obs", ..] = *parts {
            self.consumers_bytes += (name.len() + content.len() + size_of::<SavedConsumer>()) as u64;
            if content.len() as u64 > STATE_MAX || self.consumers_bytes > STATES_MAX {
                return Err(BackupError::State);
            }
        }
        match *parts {
            ["msgs", block] if block.ends_with(".blk") => Ok(Some(File::Block(content))),
            ["obs", consumer, "meta.inf"] => {
                self.configs.insert(consumer.to_owned(), content);
                Ok(None)
            }
            ["obs", consumer, "o.dat"] => {
                let config = self.configs.remove(consumer).ok_or(BackupError::Archive)?;
                let config = ConsumerRequest::decode_config(&config).ok_or(BackupError::Archive)?;
                let state = state(&content).ok_or(BackupError::Archive)?;
                let saved = SavedConsumer { config, changes: state.changes() };
                Ok(Some(File::Consumer(consumer.to_owned(), Box::new(saved))))
            }
            // The server that made the backup reported errors.
            ["errors.txt"] => Err(BackupError::Archive),
            _ => Ok(None),
        }
    }
}

/// Parses a number in the header of a tar file.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

fn text(field: &[u8]) -> String {
    let len = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..len]).into_owned()
}

fn short_name(head: &[u8; UNIT]) -> String {
    let (name, prefix) = (text(&head[..100]), text(&head[345..500]));
    match prefix.as_str() {
        "" => name,
        prefix => format!("{prefix}/{name}"),
    }
}

/// Returns the name among the extended fields, each of which is `length key=value\n`.
fn long_name(mut fields: &[u8]) -> Option<String> {
    while !fields.is_empty() {
        let space = fields.iter().position(|b| *b == b' ')?;
        let len: usize = std::str::from_utf8(&fields[..space]).ok()?.parse().ok()?;
        let field = fields.get(space + 1..len.checked_sub(1)?)?;
        if let Some(path) = field.strip_prefix(b"path=") {
            return Some(String::from_utf8_lossy(path).into_owned());
        }
        fields = fields.get(len..)?;
    }
    None
}

/// The records of a block; the last one is an error if the block is damaged.
pub fn records(block: &[u8]) -> impl Iterator<Item = Result<Record<'_>, BackupError>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some((record, behind)) = record(rest) else {
                rest = b"";
                return Some(Err(BackupError::Archive));
            };
            rest = behind;
            if let Some(record) = record {
                return Some(Ok(record));
            }
        }
        None
    })
}

/// Reads the record at the beginning, and returns it with the bytes behind it. The record is `None` if it holds no message.
fn record(bytes: &[u8]) -> Option<(Option<Record<'_>>, &[u8])> {
    let head = bytes.first_chunk::<RECORD_HEAD>()?;
    let (len, rest) = head.split_first_chunk::<4>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let subject_len = u16::from_le_bytes(*rest.first_chunk::<2>()?) as usize;
    let (len, sequence) = (u32::from_le_bytes(*len), u64::from_le_bytes(*sequence));
    let (record, behind) = bytes.split_at_checked((len & !HEADERS) as usize)?;
    let body = record.get(RECORD_HEAD..record.len().checked_sub(RECORD_TAIL)?)?;
    if sequence & REMOVAL != 0 {
        return Some((Some(Record::Removed(sequence & !REMOVAL & !ERASED)), behind));
    }
    if sequence & ERASED != 0 || sequence == 0 {
        return Some((None, behind));
    }
    let (subject, body) = body.split_at_checked(subject_len)?;
    let (headers, payload) = if len & HEADERS == 0 {
        (&b""[..], body)
    } else {
        let (headers_len, body) = body.split_first_chunk::<4>()?;
        body.split_at_checked(u32::from_le_bytes(*headers_len) as usize)?
    };
    let time = i64::from_le_bytes(*time);
    // A sequence without a message is stored as an empty record.
    let message =
        (!subject.is_empty()).then_some(Record::Message { sequence, time, subject, headers, payload });
    Some((message, behind))
}

/// Reads a consumer's state from its file.
fn state(bytes: &[u8]) -> Option<SavedState> {
    const SECOND: i64 = 1_000_000_000;
    let (head, mut rest) = bytes.split_first_chunk::<2>()?;
    let bytes = &mut rest;
    let [22, version @ 1..=2] = *head else { return None };
    let mut position = || Some(Position { consumer: varint::take(bytes)?, stream: varint::take(bytes)? });
    let (floor, mut delivered) = (position()?, position()?);
    if version == 1 {
        // Version 1 stores the next position, counted from the floor.
        delivered.consumer = delivered.consumer.checked_add(floor.consumer.saturating_sub(1))?;
        delivered.stream = delivered.stream.checked_add(floor.stream.saturating_sub(1))?;
    }
    let mut state = SavedState { floor, delivered, ..SavedState::default() };
    let signed = |bytes: &mut &[u8]| varint::take(bytes).map(|n| (n >> 1) as i64 ^ -((n & 1) as i64));
    let count = varint::take(bytes).unwrap_or(0);
    if count > 0 {
        let base = signed(bytes)?;
        for _ in 0..count {
            let stream = varint::take(bytes)?.checked_add(floor.stream)?;
            let consumer = if version == 2 { varint::take(bytes)?.checked_add(floor.consumer)? } else { 0 };
            let distance = signed(bytes)?;
            let seconds =
                if version == 2 { base.checked_sub(distance)? } else { base.checked_add(distance)? };
            state.pending.insert(stream, (consumer, seconds.saturating_mul(SECOND)));
        }
    }
    for _ in 0..varint::take(bytes).unwrap_or(0) {
        let (stream, count) = (varint::take(bytes)?.checked_add(floor.stream)?, varint::take(bytes)?);
        state.redelivered.insert(stream, count);
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record_bytes(sequence: u64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut body = subject.to_vec();
        if !headers.is_empty() {
            body.extend_from_slice(&(headers.len() as u32).to_le_bytes());
            body.extend_from_slice(headers);
        }
        body.extend_from_slice(payload);
        let flag = if headers.is_empty() { 0 } else { HEADERS };
        let len = (RECORD_HEAD + body.len() + RECORD_TAIL) as u32 | flag;
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend_from_slice(&sequence.to_le_bytes());
        bytes.extend_from_slice(&7i64.to_le_bytes());
        bytes.extend_from_slice(&(subject.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&[0; RECORD_TAIL]);
        bytes
    }

    #[test]
    fn records_of_all_kinds() {
        let block = [
            record_bytes(1, b"a", b"", b"one"),
            record_bytes(2, b"b", b"H", b"two"),
            record_bytes(ERASED | 3, b"c", b"", b"gone"),
            record_bytes(REMOVAL | 1, b"", b"", b""),
            record_bytes(4, b"", b"", b""),
        ]
        .concat();
        let read: Result<Vec<_>, _> = records(&block).collect();
        let message = |sequence, subject, headers, payload| Record::Message {
            sequence,
            time: 7,
            subject,
            headers,
            payload,
        };
        assert_eq!(
            read,
            Ok(vec![message(1, b"a", b"", b"one"), message(2, b"b", b"H", b"two"), Record::Removed(1)])
        );
        assert!(records(&block[..block.len() - 1]).any(|r| r.is_err()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..2000), step in 1usize..600) {
            let mut reader = Reader::default();
            for piece in bytes.chunks(step) {
                reader.push(piece);
                for _ in 0..10 {
                    if !matches!(reader.next_file(), Ok(Some(_))) {
                        break;
                    }
                }
            }
            let _ = records(&bytes).count();
            let _ = state(&bytes);
            let _ = long_name(&bytes);
        }
    }
}
