//! The entries of a backup: the stream's state, its consumers, its messages, and an empty entry as the end.

use stonechat_store::file::varint;

use super::BackupError;

const MAGIC: &[u8; 8] = b"NATSARC1";
/// Bytes of a name and of content, at most. The longest name is a subject; the longest content is the largest payload that can be
/// configured.
const NAME_MAX: u64 = 64 << 10;
const CONTENT_MAX: u64 = 128 << 20;

/// An entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name of the entry; for a message its subject.
    pub name: &'a [u8],
    /// The time of the entry, in nanoseconds since 1970.
    pub time: i64,
    /// A message's sequence, else 0.
    pub sequence: u64,
    /// A message's header block, or nothing.
    pub headers: &'a [u8],
    /// The content, a message's payload.
    pub content: &'a [u8],
}

impl Entry<'_> {
    /// Whether this is the empty entry that ends an archive.
    pub fn is_end(&self) -> bool {
        *self == Self::default()
    }

    /// Appends the encoded entry to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.name.len() as u64);
        varint::put(out, (self.time << 1 ^ self.time >> 63) as u64);
        varint::put(out, self.sequence);
        varint::put(out, self.headers.len() as u64);
        varint::put(out, self.content.len() as u64);
        for part in [self.name, self.headers, self.content] {
            out.extend_from_slice(part);
        }
    }
}

/// Appends the first bytes of an archive.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
}

/// Reads an archive that arrives in pieces.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    at: usize,
    has_begun: bool,
    /// Bytes of headers and content of an entry, at most.
    entry_max: Option<u64>,
}

impl Reader {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// Refuses entries with more than `entry_max` bytes of headers and content from now on.
    pub fn limit(&mut self, entry_max: u64) {
        self.entry_max = Some(entry_max);
    }

    /// The received bytes that were not read.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Returns the next entry; `None` until more bytes are received.
    ///
    /// # Errors
    ///
    /// The bytes are no archive, or a damaged one.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, BackupError> {
        if !self.has_begun {
            let Some(magic) = self.bytes.first_chunk::<8>() else { return Ok(None) };
            if magic != MAGIC {
                // The header of a tar file, which an older backup is, has this text.
                return match self.bytes.get(257..262) {
                    Some(b"ustar") => Err(BackupError::Old),
                    Some(_) => Err(BackupError::Archive),
                    None => Ok(None),
                };
            }
            self.has_begun = true;
            self.at = MAGIC.len();
        }
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let whole = rest.len();
        let mut numbers = [0; 5];
        for number in &mut numbers {
            let Some(value) = varint::take(&mut rest) else {
                // The five numbers have at most 10 bytes each.
                return if whole < 50 { Ok(None) } else { Err(BackupError::Archive) };
            };
            *number = value;
        }
        let [name, time, sequence, headers, content] = numbers;
        if name > NAME_MAX || headers > CONTENT_MAX || content > CONTENT_MAX {
            return Err(BackupError::Archive);
        }
        if self.entry_max.is_some_and(|max| headers + content > max) {
            return Err(BackupError::TooLarge);
        }
        let head = whole - rest.len();
        let (Some(name), Some(headers), Some(content)) = (
            varint::take_bytes(&mut rest, name as usize),
            varint::take_bytes(&mut rest, headers as usize),
            varint::take_bytes(&mut rest, content as usize),
        ) else {
            return Ok(None);
        };
        self.at += head + name.len() + headers.len() + content.len();
        let time = (time >> 1) as i64 ^ -((time & 1) as i64);
        Ok(Some(Entry { name, time, sequence, headers, content }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            entries in prop::collection::vec((".{0,20}", any::<i64>(), 1u64.., ".{0,200}", ".{0,200}"), 0..20),
            step in 1usize..300,
        ) {
            let entry = |e: &'_ (String, i64, u64, String, String)| -> Vec<u8> {
                let mut out = Vec::new();
                let (name, headers, content) = (e.0.as_bytes(), e.3.as_bytes(), e.4.as_bytes());
                Entry { name, time: e.1, sequence: e.2, headers, content }.encode(&mut out);
                out
            };
            let mut bytes = Vec::new();
            begin(&mut bytes);
            entries.iter().for_each(|e| bytes.extend(entry(e)));
            Entry::default().encode(&mut bytes);
            let mut reader = Reader::default();
            let (mut read, mut ended) = (Vec::new(), false);
            for piece in bytes.chunks(step) {
                reader.push(piece);
                while let Some(e) = reader.next_entry().expect("an entry") {
                    if e.is_end() {
                        ended = true;
                        continue;
                    }
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    read.push((text(e.name), e.time, e.sequence, text(e.headers), text(e.content)));
                }
            }
            prop_assert!(ended);
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut reader = Reader::default();
            reader.push(MAGIC);
            reader.push(&bytes);
            for _ in 0..500 {
                if !matches!(reader.next_entry(), Ok(Some(_))) {
                    break;
                }
            }
        }
    }

    #[test]
    fn an_old_backup_is_named() {
        let mut reader = Reader::default();
        reader.push(b"meta.inf\0\0");
        assert_eq!(reader.next_entry(), Ok(None));
        reader.push(&[0; 247]);
        reader.push(b"ustar");
        assert_eq!(reader.next_entry(), Err(BackupError::Old));
    }
}
