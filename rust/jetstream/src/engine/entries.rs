//! The entries of the catalogue: the state of streams, consumers and the store itself at a checkpoint.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use stonechat_store::disk::Disk;

use super::{Storage, Stream};
use crate::consumer::{Consumer, ConsumerRequest, ConsumerState};
use crate::ids::StreamId;
use crate::stream::{StreamConfig, StreamRequest};

const VERSION: u32 = 1;
/// Marks a consumer's entry.
const CONSUMER: u64 = 2;
/// Marks the entry of a consumer known only by its number.
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

/// Removes a number from the front.
pub(super) fn word(bytes: &mut &[u8]) -> Option<u64> {
    let (word, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*word))
}

/// Encodes the entry of a stream: its state after the log records before `position`.
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

/// The entry of the store itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StoreEntry {
    /// The log position up to which the entry is current.
    pub(super) position: u64,
    /// The lowest number for the next stream or consumer.
    pub(super) next_number: u32,
    /// Fields that are missing in stores from before deletions were remembered.
    pub(super) more: Option<MoreOfStore>,
}

/// See [`StoreEntry::more`].
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct MoreOfStore {
    /// Whether damage was found that may have cost streams or consumers, and that no operator has accepted.
    pub(super) is_damaged: bool,
    /// The numbers of all deleted streams and consumers.
    pub(super) deleted: RoaringBitmap,
    /// The log's salt, without which segments can't be read if the log is lost; 0 in older stores, which do not have it.
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

    /// Decodes the entry; in older stores it has fewer fields.
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

/// Encodes the entry of a consumer known only by its number.
pub(super) fn encode_nameless() -> Vec<u8> {
    NAMELESS.to_le_bytes().to_vec()
}

/// Whether an entry belongs to a consumer known only by its number.
pub(super) fn is_nameless(bytes: &[u8]) -> bool {
    bytes == NAMELESS.to_le_bytes()
}

/// Encodes the entry of a consumer: its state after the log records before `position`.
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

/// Decodes the log position and the consumer of an entry.
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

/// The decoded entry of a stream.
pub(super) struct Described<'a> {
    pub(super) position: u64,
    pub(super) created: i64,
    pub(super) account: &'a str,
    pub(super) config: StreamConfig,
    pub(super) manifest: &'a [u8],
    pub(super) fed: BTreeMap<String, u64>,
    /// Whether messages beyond the limits were being removed.
    pub(super) is_trimmed: bool,
}

/// Decodes the entry of a stream.
pub(super) fn decode_stream(mut bytes: &[u8]) -> Option<Described<'_>> {
    let bytes = &mut bytes;
    if word(bytes)? != u64::from(VERSION) {
        return None;
    }
    let (position, created) = (word(bytes)?, word(bytes)? as i64);
    let account = std::str::from_utf8(take(bytes)?).ok()?;
    let config = StreamRequest::decode(take(bytes)?, false).ok()?.config;
    let manifest = take(bytes)?;
    // Older stores do not have this field.
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
