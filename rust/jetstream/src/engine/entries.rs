//! The entries of the catalogue: what a stream, a consumer and the store itself are at a checkpoint.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use stonechat_store::disk::Disk;

use super::{Storage, Stream};
use crate::consumer::{Consumer, ConsumerRequest, ConsumerState};
use crate::ids::StreamId;
use crate::stream::{StreamConfig, StreamRequest};

const VERSION: u32 = 1;
/// Tells a consumer's entry from a stream's.
const CONSUMER: u64 = 2;
/// Tells one of a consumer of which only the number is known.
const NAMELESS: u64 = 3;

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *bytes = rest;
    Some(part)
}

/// Takes a number off the front.
pub(super) fn word(bytes: &mut &[u8]) -> Option<u64> {
    let (word, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*word))
}

/// The catalogue's entry of a stream: what it is when the log was read up to `position`.
pub(super) fn encode_stream<D: Disk>(account: &str, stream: &Stream<D>, position: u64) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&u64::from(VERSION).to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&stream.created.to_le_bytes());
    put(&mut out, account.as_bytes());
    put(&mut out, &serde_json::to_vec(stream.core.config()).unwrap_or_default());
    let manifest = match stream.core.messages() {
        Storage::File(file) => file.manifest(),
        Storage::Memory(_) => Vec::new(),
    };
    put(&mut out, &manifest);
    put(&mut out, &serde_json::to_vec(&stream.fed).unwrap_or_default());
    out.push(u8::from(stream.trim.is_some()));
    out
}

/// What the catalogue says of the store itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StoreEntry {
    /// Up to where the log was read.
    pub(super) position: u64,
    /// The next stream or consumer gets this number, or a higher one.
    pub(super) next_number: u32,
    /// What of it is there only since deletions are remembered.
    pub(super) more: Option<MoreOfStore>,
}

/// See [`StoreEntry::more`].
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MoreOfStore {
    /// Damage was found that may have cost streams or consumers, and nobody accepted that.
    pub(super) is_damaged: bool,
    /// All numbers of streams and consumers that were deleted.
    pub(super) deleted: RoaringBitmap,
    /// The log's salt, without which segments can't be read should the log be lost; 0 in older stores, which do not say it.
    pub(super) salt: u64,
}

impl StoreEntry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = [
            u64::from(VERSION).to_le_bytes(),
            self.position.to_le_bytes(),
            u64::from(self.next_number).to_le_bytes(),
        ]
        .concat();
        if let Some(more) = &self.more {
            out.extend_from_slice(&u64::from(more.is_damaged).to_le_bytes());
            // Writing to memory can't fail.
            let _ = more.deleted.serialize_into(&mut out);
            out.extend_from_slice(&more.salt.to_le_bytes());
        }
        out
    }

    /// Reads an entry; older stores say less.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let (_, position, next) = (word(bytes)?, word(bytes)?, word(bytes)?);
        let more = word(bytes).and_then(|is_damaged| {
            let deleted = RoaringBitmap::deserialize_from(&mut *bytes).ok()?;
            let salt = word(bytes).unwrap_or(0);
            Some(MoreOfStore { is_damaged: is_damaged != 0, deleted, salt })
        });
        Some(Self { position, next_number: u32::try_from(next).unwrap_or(u32::MAX), more })
    }
}

/// The catalogue's entry of a consumer of which only the number is known.
pub(super) fn encode_nameless() -> Vec<u8> {
    NAMELESS.to_le_bytes().to_vec()
}

/// Whether an entry is one of a consumer of which only the number is known.
pub(super) fn is_nameless(bytes: &[u8]) -> bool {
    bytes == NAMELESS.to_le_bytes()
}

/// The catalogue's entry of a consumer: what it is when the log was read up to `position`.
pub(super) fn encode_consumer(consumer: &Consumer, position: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [CONSUMER, position, consumer.created as u64, u64::from(consumer.stream.0)] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    put(&mut out, consumer.name.as_bytes());
    put(&mut out, &serde_json::to_vec(consumer.config()).unwrap_or_default());
    consumer.state().encode(&mut out);
    out.push(u8::from(consumer.is_refiltered));
    out
}

/// A consumer, and up to where in the log it is known.
pub(super) fn decode_consumer(mut bytes: &[u8]) -> Option<(u64, Consumer)> {
    let bytes = &mut bytes;
    if word(bytes)? != CONSUMER {
        return None;
    }
    let (position, created) = (word(bytes)?, word(bytes)? as i64);
    let stream = StreamId(u32::try_from(word(bytes)?).ok()?);
    let name = std::str::from_utf8(take(bytes)?).ok()?;
    let config = ConsumerRequest::decode_config(take(bytes)?)?;
    let state = ConsumerState::decode(bytes)?;
    let mut consumer = Consumer::new(stream, name, created, config, state, true);
    // Older stores do not have this byte.
    consumer.is_refiltered = bytes.first() == Some(&1);
    Some((position, consumer))
}

/// What the catalogue says of a stream.
pub(super) struct Described<'a> {
    pub(super) position: u64,
    pub(super) created: i64,
    pub(super) account: &'a str,
    pub(super) config: StreamConfig,
    pub(super) manifest: &'a [u8],
    pub(super) fed: BTreeMap<String, u64>,
    /// What exceeds its limits was being taken out.
    pub(super) is_trimmed: bool,
}

/// Reads a stream's entry.
pub(super) fn decode_stream(mut bytes: &[u8]) -> Option<Described<'_>> {
    let bytes = &mut bytes;
    if word(bytes)? != u64::from(VERSION) {
        return None;
    }
    let (position, created) = (word(bytes)?, word(bytes)? as i64);
    let account = std::str::from_utf8(take(bytes)?).ok()?;
    let config = StreamRequest::decode(take(bytes)?, false).ok()?.config;
    let manifest = take(bytes)?;
    // Older stores have no word of it.
    let fed = take(bytes).and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
    let is_trimmed = bytes.first() == Some(&1);
    Some(Described { position, created, account, config, manifest, fed, is_trimmed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_says_what_was_deleted_and_older_ones_do_not() {
        let more = MoreOfStore { is_damaged: true, deleted: (3..9).chain([20]).collect(), salt: 7 };
        let entry = StoreEntry { position: 7, next_number: 21, more: Some(more) };
        let bytes = entry.encode();
        assert_eq!(StoreEntry::decode(&bytes), Some(entry.clone()));
        assert_eq!(StoreEntry::decode(&bytes[..24]), Some(StoreEntry { more: None, ..entry }));
        assert_eq!(StoreEntry::decode(&bytes[..23]), None);
    }
}
