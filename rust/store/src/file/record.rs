//! A record, which holds one message in a segment: a checksum, a head of small numbers, and the message's bytes.

use std::sync::Arc;

use super::varint;
use crate::checksum::{Checksum, Ranges};
use crate::encryption::{Sealer, TAG_LEN};
use crate::messages::Message;

/// Bytes of the checksum before the head.
const CRC_LEN: usize = 4;

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Distance in sequences from the segment's first one.
    pub(super) slot: u32,
    /// When the message was stored, in nanoseconds since 1970.
    pub(super) time: i64,
    /// Distance in sequences to the previous message on its subject; 0 without one.
    pub(super) before: u64,
    subject_len: usize,
    headers_len: usize,
    payload_len: usize,
    /// The number of the store's opening that encrypted it.
    epoch: u32,
    /// Bytes before the subject.
    head_len: usize,
    /// Bytes of the whole record.
    pub(super) len: usize,
}

/// The data that all records of a segment share.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Input of every checksum, derived from the store's salt and the segment's number.
    pub(super) salt: u64,
    /// The sequence of slot 0.
    pub(super) base: u64,
    /// The time from which the records' times count, in nanoseconds since 1970.
    pub(super) base_time: i64,
    /// Encrypts subject, headers and payload of each record.
    pub(super) sealer: Option<Arc<Sealer>>,
}

impl Frame {
    /// Appends a message, which will lie at `offset` in the segment's data. `before` is the distance to the previous message on
    /// its subject, `epoch` the number of the store's opening.
    pub(super) fn encode(
        &self,
        out: &mut Vec<u8>,
        offset: u64,
        message: &Message<'_>,
        before: u64,
        epoch: u32,
    ) {
        let begin = out.len();
        let bytes = message.subject.len() + message.headers.len() + message.payload.len();
        out.reserve(bytes + 40);
        out.extend_from_slice(&[0; CRC_LEN]);
        for number in [
            message.subject.len() as u64,
            message.headers.len() as u64,
            message.payload.len() as u64,
            message.sequence - self.base,
            message.time.saturating_sub(self.base_time).max(0) as u64,
            before,
        ] {
            varint::put(out, number);
        }
        if self.sealer.is_some() {
            varint::put(out, u64::from(epoch));
        }
        let content = out.len();
        out.extend_from_slice(message.subject);
        out.extend_from_slice(message.headers);
        out.extend_from_slice(message.payload);
        if let Some(sealer) = &self.sealer {
            sealer.seal(epoch, offset, &[], out, content);
        }
        let crc = self.crc(offset, &out[begin + CRC_LEN..]);
        out[begin..begin + CRC_LEN].copy_from_slice(&crc.to_le_bytes());
    }

    fn crc(&self, offset: u64, bytes: &[u8]) -> u32 {
        Checksum::new(self.salt, offset).with(bytes).finish()
    }

    /// Reads the head of the record at the start of `bytes`; `None` if the record is incomplete. Verifies no checksum.
    pub(super) fn head(&self, bytes: &[u8]) -> Option<Head> {
        let mut rest = bytes.get(CRC_LEN..)?;
        let subject_len = usize::try_from(varint::take(&mut rest)?).ok()?;
        let headers_len = usize::try_from(varint::take(&mut rest)?).ok()?;
        let payload_len = usize::try_from(varint::take(&mut rest)?).ok()?;
        let slot = u32::try_from(varint::take(&mut rest)?).ok()?;
        let time = self.base_time.checked_add_unsigned(varint::take(&mut rest)?)?;
        let before = varint::take(&mut rest)?;
        let (mut epoch, mut tag_len) = (0, 0);
        if self.sealer.is_some() {
            (epoch, tag_len) = (u32::try_from(varint::take(&mut rest)?).ok()?, TAG_LEN);
        }
        let head_len = bytes.len() - rest.len();
        let content_len = subject_len.checked_add(headers_len)?.checked_add(payload_len)?;
        let len = head_len.checked_add(content_len)?.checked_add(tag_len)?;
        let head = Head { slot, time, before, subject_len, headers_len, payload_len, epoch, head_len, len };
        (len <= bytes.len()).then_some(head)
    }

    /// Whether a record's checksum is right. The record has this head, and lies at the start of `bytes` and at `offset` in the
    /// data.
    pub(super) fn is_intact(&self, head: &Head, bytes: &[u8], offset: u64) -> bool {
        let (Some(crc), Some(rest)) = (bytes.first_chunk::<CRC_LEN>(), bytes.get(CRC_LEN..head.len)) else {
            return false;
        };
        self.crc(offset, rest) == u32::from_le_bytes(*crc)
    }

    /// Returns the first intact record with a `wanted` slot that begins at any byte of `bytes` from `from` on: its offset in
    /// `bytes`, and its head. `bytes` lie at `offset` in the data, and `ranges` covers all of them. Clients choose the content
    /// of a damaged record, so the time taken depends only on the number of bytes.
    pub(super) fn search(
        &self,
        bytes: &[u8],
        ranges: &Ranges,
        from: usize,
        offset: u64,
        wanted: impl Fn(u32) -> bool,
    ) -> Option<(usize, Head)> {
        (from..bytes.len()).find_map(|at| {
            let rest = bytes.get(at..)?;
            let head = self.head(rest).filter(|head| wanted(head.slot))?;
            let crc = u32::from_le_bytes(*rest.first_chunk::<CRC_LEN>()?);
            let begun = Checksum::new(self.salt, offset + at as u64);
            let sum = ranges.finish(&begun, bytes, at + CRC_LEN..at + head.len);
            (sum == crc).then_some((at, head))
        })
    }

    /// Returns the message of an intact record at `offset` in the data. Decrypts it in place, so it works only once.
    pub(super) fn unseal<'a>(&self, head: &Head, bytes: &'a mut [u8], offset: u64) -> Option<Message<'a>> {
        if let Some(sealer) = &self.sealer {
            sealer.open(head.epoch, offset, &[], bytes.get_mut(head.head_len..head.len)?)?;
        }
        self.message(head, bytes)
    }

    /// Returns the message of an intact, decrypted record.
    fn message<'a>(&self, head: &Head, bytes: &'a [u8]) -> Option<Message<'a>> {
        let (subject, rest) = bytes.get(head.head_len..head.len)?.split_at_checked(head.subject_len)?;
        let (headers, rest) = rest.split_at_checked(head.headers_len)?;
        let payload = rest.get(..head.payload_len)?;
        let sequence = self.base.checked_add(u64::from(head.slot))?;
        Some(Message { sequence, time: head.time, subject, headers, payload })
    }
}

impl Head {
    /// Returns start and end, in the record, of subject, headers and payload together.
    pub(super) fn content(&self) -> (usize, usize) {
        (self.head_len, self.len)
    }

    /// Returns the size that counts against limits, in bytes, as nats-server 2.15 counts it in files.
    pub(super) fn counted_bytes(&self) -> u64 {
        counted_bytes(self.subject_len, self.headers_len, self.payload_len)
    }
}

/// Returns the size of a message that counts against limits, in bytes, as nats-server 2.15 counts it in files.
pub(super) fn counted_bytes(subject_len: usize, headers_len: usize, payload_len: usize) -> u64 {
    let headers = if headers_len > 0 { 4 + headers_len } else { 0 };
    (30 + subject_len + headers + payload_len) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::{Cipher, Keyring};

    #[test]
    fn what_was_written_is_read_and_every_bit_counts() {
        let message = Message {
            sequence: 1003,
            time: 1 << 40,
            subject: b"a.b",
            headers: b"NATS/1.0\r\n\r\n",
            payload: b"pay",
        };
        for keys in [Keyring::default(), Keyring::fixed(Cipher::ChaCha20Poly1305)] {
            let sealer = keys.fresh(b"segment");
            let is_sealed = sealer.is_some();
            let frame = Frame { salt: 5, base: 1000, base_time: 77, sealer };
            let mut bytes = Vec::new();
            frame.encode(&mut bytes, 640, &message, 2, 9);
            assert_eq!(memchr::memmem::find(&bytes, b"pay").is_none(), is_sealed);
            let head = frame.head(&bytes).expect("a head");
            assert_eq!((head.slot, head.before, head.len), (3, 2, bytes.len()));
            assert!(frame.is_intact(&head, &bytes, 640) && !frame.is_intact(&head, &bytes, 641));
            assert_eq!(frame.unseal(&head, &mut bytes.clone(), 640), Some(message));
            assert_eq!(frame.unseal(&head, &mut bytes.clone(), 641).is_none(), is_sealed);
            assert_eq!(head.counted_bytes(), 30 + 3 + 4 + 12 + 3);
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                let intact = frame.head(&bytes).is_some_and(|head| frame.is_intact(&head, &bytes, 640));
                assert!(!intact, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn an_intact_record_is_found_behind_anything() {
        let message = Message { sequence: 1003, time: 99, subject: b"a.b", headers: b"", payload: &[3; 200] };
        for keys in [Keyring::default(), Keyring::fixed(Cipher::ChaCha20Poly1305)] {
            let sealer = keys.fresh(b"segment");
            let frame = Frame { salt: 5, base: 1000, base_time: 77, sealer };
            // Each byte of this looks like the head of a record.
            let mut bytes = vec![1; 30_000];
            frame.encode(&mut bytes, 640 + 30_000, &message, 2, 9);
            let end = bytes.len();
            bytes.extend([1; 500]);
            let ranges = Ranges::of(&bytes);
            let found =
                |from, slot| frame.search(&bytes, &ranges, from, 640, |at| at == slot).map(|(at, _)| at);
            assert_eq!((found(0, 3), found(30_000, 3)), (Some(30_000), Some(30_000)));
            assert_eq!((found(0, 2), found(30_001, 3)), (None, None));
            bytes[end - 1] ^= 1;
            let ranges = Ranges::of(&bytes);
            assert_eq!(frame.search(&bytes, &ranges, 0, 640, |_| true), None);
        }
    }
}
