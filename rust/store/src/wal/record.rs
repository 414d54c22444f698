//! A record: one write of a stream or consumer to the log. Each record has its own checksum, so that damage costs no neighbour.
//!
//! The checksum also covers the position, the store's random salt and the epoch. So a client can't forge a record in a payload,
//! and the remains of a dropped tail can't come back.

use std::sync::Arc;

use crate::checksum::{Checksum, Ranges};
use crate::encryption::{Sealer, TAG_LEN};

/// Flag in a record's kind: the body is encrypted. It holds the number of the data key, then the ciphertext.
pub(super) const SEALED: u8 = 0x80;
/// Flag in an encrypted record's turn: the record is encrypted with its opening's draw. Records of older stores have no turn.
const DRAWN: u32 = 1 << 23;
/// The maximum turn.
pub(super) const TURNS_MAX: u32 = DRAWN - 1;

/// Bytes before the body: length, checksum, group, kind, turn.
pub(super) const HEADER_LEN: usize = 16;

/// A stream's or consumer's number within a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// One entry of the log, borrowed from where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Position in the log, in bytes since the log began; unique and rising.
    pub position: u64,
    /// The stream or consumer that wrote it.
    pub group: GroupId,
    /// The type of the body, defined by the group.
    pub kind: u8,
    /// The content.
    pub body: &'a [u8],
    /// With [`DRAWN`]: how often its opening had discarded buffered records before, as part of the nonce. 0 in plain records
    /// and in encrypted records of older stores.
    turn: u32,
}

impl<'a> Record<'a> {
    /// Returns a record that is plain, or decrypted already.
    pub fn plain(position: u64, group: GroupId, kind: u8, body: &'a [u8]) -> Self {
        Self { position, group, kind, body, turn: 0 }
    }

    /// Whether it is encrypted with its opening's draw.
    pub(super) fn is_drawn(&self) -> bool {
        self.turn & DRAWN != 0
    }
}

/// Returns the length of a record with the header and the padding to a multiple of 8.
pub(super) fn padded_len(body_len: usize) -> usize {
    HEADER_LEN + body_len.next_multiple_of(8)
}

/// How new records are encrypted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealing<'s> {
    /// Encrypts with this opening's draw.
    pub(super) sealer: &'s Sealer,
    /// Differs whenever the same opening uses a position again.
    pub(super) turn: u32,
}

/// Appends a record, encrypted if there is a `sealing`. The body is the concatenation of `parts`.
pub(super) fn encode(
    out: &mut Vec<u8>,
    seal: Seal,
    sealing: Option<Sealing<'_>>,
    position: u64,
    group: GroupId,
    kind: u8,
    parts: &[&[u8]],
) {
    debug_assert!(kind < SEALED);
    let begin = out.len();
    let added = if sealing.is_some() { 1 + TAG_LEN } else { 0 };
    let body_len = parts.iter().map(|p| p.len()).sum::<usize>() + added;
    out.reserve(padded_len(body_len));
    out.extend_from_slice(&(body_len as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&group.0.to_le_bytes());
    let [a, b, c, _] = sealing.map_or(0, |sealing| sealing.turn | DRAWN).to_le_bytes();
    out.extend_from_slice(&[if sealing.is_some() { kind | SEALED } else { kind }, a, b, c]);
    out.extend(sealing.map(|sealing| sealing.sealer.id()));
    let content = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    if let Some(Sealing { sealer, turn }) = sealing {
        sealer.seal(turn, position, &context(group, kind), out, content);
    }
    let crc = seal.of(position, &out[begin..]);
    out[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
    out.resize(begin + padded_len(body_len), 0);
}

/// Returns the associated data of an encrypted body.
fn context(group: GroupId, kind: u8) -> [u8; 5] {
    let [a, b, c, d] = group.0.to_le_bytes();
    [a, b, c, d, kind]
}

/// Decrypts the body of `record` into `buffer`. `sealer` returns the decryption for the number of a data key. Returns `None` if
/// authentication fails or the key is unknown.
pub(super) fn unseal<'b>(
    record: &Record<'_>,
    epoch: u32,
    sealer: impl FnOnce(u8) -> Option<Arc<Sealer>>,
    buffer: &'b mut Vec<u8>,
) -> Option<Record<'b>> {
    let kind = record.kind & !SEALED;
    let (id, content) = record.body.split_first()?;
    buffer.clear();
    buffer.extend_from_slice(content);
    let number = if record.is_drawn() { record.turn & !DRAWN } else { epoch };
    let body = sealer(*id)?.open(number, record.position, &context(record.group, kind), buffer)?;
    Some(Record { kind, body, ..*record })
}

/// The input of every checksum besides the bytes: the store's salt and the writer's epoch. So a record left over from a dropped
/// tail is invalid in a frame written over it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal {
    pub(super) salt: u64,
    pub(super) epoch: u32,
}

impl Seal {
    /// Returns the checksum of a record. `bytes` are its header and body, without padding.
    fn of(self, position: u64, bytes: &[u8]) -> u32 {
        self.begin(position, bytes).with(&bytes[8..]).finish()
    }

    /// Begins the checksum: everything before the bytes that follow the checksum field.
    fn begin(self, position: u64, bytes: &[u8]) -> Checksum {
        Checksum::new(self.salt, position).with(&self.epoch.to_le_bytes()).with(&bytes[..4])
    }
}

/// Reads the record at the start of `bytes`, which lies at `position`. Returns it and its length with padding, or `None` if it
/// is not intact.
pub(super) fn decode(bytes: &[u8], seal: Seal, position: u64) -> Option<(Record<'_>, usize)> {
    decode_if(bytes, position, |record| seal.of(position, record))
}

/// Does the same as [`decode`] for the record at offset `at`, with precomputed `ranges`, for callers that try every offset.
pub(super) fn decode_within<'b>(
    bytes: &'b [u8],
    at: usize,
    ranges: &Ranges,
    seal: Seal,
    position: u64,
) -> Option<(Record<'b>, usize)> {
    decode_if(bytes.get(at..)?, position, |record| {
        ranges.finish(&seal.begin(position, record), bytes, at + 8..at + record.len())
    })
}

/// Returns the record at the start of `bytes`, if its checksum equals the result of `sum`.
fn decode_if(bytes: &[u8], position: u64, sum: impl Fn(&[u8]) -> u32) -> Option<(Record<'_>, usize)> {
    let header: &[u8; HEADER_LEN] = bytes.first_chunk()?;
    let [l0, l1, l2, l3, c0, c1, c2, c3, g0, g1, g2, g3, kind, t0, t1, t2] = *header;
    let body_len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let body = bytes.get(HEADER_LEN..HEADER_LEN.checked_add(body_len)?)?;
    let turn = u32::from_le_bytes([t0, t1, t2, 0]);
    let has_turn = kind & SEALED != 0 && turn & DRAWN != 0;
    if (turn != 0 && !has_turn)
        || sum(&bytes[..HEADER_LEN + body_len]) != u32::from_le_bytes([c0, c1, c2, c3])
    {
        return None;
    }
    let group = GroupId(u32::from_le_bytes([g0, g1, g2, g3]));
    Some((Record { position, group, kind, body, turn }, padded_len(body_len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAL: Seal = Seal { salt: 7, epoch: 3 };

    #[test]
    fn reads_what_was_written_and_nothing_else() {
        for len in [0, 1, 7, 8, 9, 1000] {
            let body = vec![0x5a; len];
            let mut out = Vec::new();
            encode(&mut out, SEAL, None, 4096, GroupId(9), 2, &[&body[..len / 2], &body[len / 2..]]);
            assert_eq!(out.len(), padded_len(len));
            let (record, used) = decode(&out, SEAL, 4096).expect("intact");
            assert_eq!(
                (record.position, record.group, record.kind, record.body),
                (4096, GroupId(9), 2, &body[..])
            );
            assert_eq!(used, out.len());
            assert!(decode(&out, SEAL, 4104).is_none());
            assert!(decode(&out, Seal { salt: 8, ..SEAL }, 4096).is_none());
            assert!(decode(&out, Seal { epoch: 4, ..SEAL }, 4096).is_none());
            assert!(decode(&out[..out.len() - 8], SEAL, 4096).is_none());
            for bit in 0..(HEADER_LEN + len) * 8 {
                out[bit / 8] ^= 1 << (bit % 8);
                assert!(decode(&out, SEAL, 4096).is_none(), "bit {bit}");
                out[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
