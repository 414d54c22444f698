//! Checks of an object's chunks against its description.

use crate::description::{Description, digest_of, digest_text};

/// The reason why an object can't be read as it was written. Chunks are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The description has no id of chunks, or one that is no token of a subject.
    #[error("its description names no chunks")]
    NoChunks,
    /// A chunk is missing.
    #[error("chunk {chunk} of {chunks} is missing")]
    Missing {
        /// The number of the chunk.
        chunk: u64,
        /// How many there should be.
        chunks: u64,
    },
    /// A chunk was not delivered in time.
    #[error("chunk {chunk} of {chunks} does not come")]
    Late {
        /// The number of the chunk.
        chunk: u64,
        /// How many there should be.
        chunks: u64,
    },
    /// There are too many chunks.
    #[error("{there} chunks are there, not {chunks}")]
    TooMany {
        /// How many there are.
        there: u64,
        /// How many there should be.
        chunks: u64,
    },
    /// A chunk has the wrong length.
    #[error("chunk {chunk} of {chunks} has {bytes} bytes, not {expected}")]
    ChunkSize {
        /// The number of the chunk.
        chunk: u64,
        /// How many there are.
        chunks: u64,
        /// Its length.
        bytes: u64,
        /// The length that it should have.
        expected: u64,
    },
    /// The object has the wrong length.
    #[error("it has {bytes} bytes, not {expected}")]
    Size {
        /// Its length.
        bytes: u64,
        /// The length that it should have.
        expected: u64,
    },
    /// The chunks have the wrong digest.
    #[error("its {chunks} chunks have the digest {found}, not {told}")]
    Digest {
        /// How many there are.
        chunks: u64,
        /// Their digest.
        found: String,
        /// The digest of the description.
        told: String,
    },
}

impl Damage {
    /// The number of the damaged chunk, if it is known.
    pub fn chunk(&self) -> Option<u64> {
        match self {
            Self::Missing { chunk, .. } | Self::Late { chunk, .. } | Self::ChunkSize { chunk, .. } => {
                Some(*chunk)
            }
            Self::NoChunks | Self::TooMany { .. } | Self::Size { .. } | Self::Digest { .. } => None,
        }
    }
}

/// Checks the chunks of an object, one after the other, against its description.
#[derive(Clone, Debug)]
pub struct ChunkCheck {
    size: u64,
    chunks: u64,
    chunk_size: u64,
    digest: String,
    taken: u64,
    bytes: u64,
}

impl ChunkCheck {
    /// Creates a check of an object, before its first chunk.
    ///
    /// # Errors
    /// [`Damage::NoChunks`] if the description has no valid id of chunks. An empty object has an id too.
    pub fn of(info: &Description) -> Result<Self, Damage> {
        info.chunk_id().ok_or(Damage::NoChunks)?;
        Ok(Self::new(info.size(), info.chunks(), info.chunk_size(), info.text("digest").to_owned()))
    }

    /// Creates a check of an object of `size` bytes, in `chunks` chunks of `chunk_size` bytes each.
    pub fn new(size: u64, chunks: u64, chunk_size: u64, digest: String) -> Self {
        Self { size, chunks, chunk_size, digest, taken: 0, bytes: 0 }
    }

    /// Whether all chunks were taken.
    pub fn is_whole(&self) -> bool {
        self.taken == self.chunks
    }

    /// Returns the damage that the next chunk was not delivered in time.
    pub fn late(&self) -> Damage {
        Damage::Late { chunk: self.taken.saturating_add(1), chunks: self.chunks }
    }

    /// Takes the next chunk, by its length. `pending` is the number of chunks that follow.
    ///
    /// # Errors
    /// The chunk is not the next one, or has the wrong length.
    pub fn take(&mut self, pending: u64, bytes: u64) -> Result<(), Damage> {
        let (chunk, chunks) = (self.taken.saturating_add(1), self.chunks);
        if pending.checked_add(chunk) != Some(chunks) {
            return Err(Damage::Missing { chunk, chunks });
        }
        let left = self.size.saturating_sub(self.bytes);
        let is_last = chunk == chunks;
        if bytes > left || (is_last && bytes != left) {
            let expected = if is_last { left } else { left.min(self.chunk_size) };
            return Err(Damage::ChunkSize { chunk, chunks, bytes, expected });
        }
        self.taken = chunk;
        self.bytes += bytes;
        Ok(())
    }

    /// Checks the length and the digest of the whole object, after its last chunk. `digest` is that of the taken chunks.
    ///
    /// # Errors
    /// The length or the digest is wrong.
    pub fn finish(&self, digest: &[u8]) -> Result<(), Damage> {
        if self.bytes != self.size {
            return Err(Damage::Size { bytes: self.bytes, expected: self.size });
        }
        // An object without chunks needs no digest if its writer gave none.
        let is_nothing = self.chunks == 0 && self.digest.is_empty();
        if is_nothing || digest_of(&self.digest).as_deref() == Some(digest) {
            return Ok(());
        }
        let found = digest_text(digest);
        Err(Damage::Digest { chunks: self.chunks, found, told: self.digest.clone() })
    }

    /// Returns the damage if the number of stored chunks is wrong. `sequences` are the chunks' sequences in the stream, and
    /// `last` is the length of the last chunk. The sequences rise by one, unless other clients write to the bucket meanwhile.
    pub fn miscounted(&self, sequences: &[u64], last: u64) -> Option<Damage> {
        let (there, chunks) = (sequences.len() as u64, self.chunks);
        if there >= chunks {
            return (there > chunks).then_some(Damage::TooMany { there, chunks });
        }
        let gap = sequences.windows(2).position(|pair| pair[1] != pair[0].saturating_add(1));
        // Without a gap the first or the last chunk is missing. The last one is known by its length.
        let before_last = chunks.saturating_sub(1).checked_mul(self.chunk_size);
        let is_last_there =
            there > 0 && before_last.and_then(|before| before.checked_add(last)) == Some(self.size);
        let chunk = match gap {
            Some(at) => at as u64 + 2,
            None if is_last_there => 1,
            None => there + 1,
        };
        Some(Damage::Missing { chunk, chunks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> ChunkCheck {
        ChunkCheck::new(25, 3, 10, digest_text(&[1; 32]))
    }

    #[test]
    fn a_whole_object() {
        let mut check = check();
        for (pending, bytes) in [(2, 10), (1, 10), (0, 5)] {
            assert!(!check.is_whole());
            check.take(pending, bytes).unwrap();
        }
        assert!(check.is_whole());
        assert_eq!(check.finish(&[1; 32]), Ok(()));
        let wrong = check.finish(&[2; 32]).unwrap_err();
        assert!(wrong.to_string().starts_with("its 3 chunks have the digest SHA-256="), "{wrong}");
        let other = check.clone();
        assert_eq!(
            ChunkCheck { size: 26, ..other }.finish(&[1; 32]),
            Err(Damage::Size { bytes: 25, expected: 26 })
        );
        assert!(check.take(0, 1).is_err());
    }

    #[test]
    fn chunks_that_do_not_fit() {
        let missing = check().take(1, 10).unwrap_err();
        assert_eq!((missing.to_string().as_str(), missing.chunk()), ("chunk 1 of 3 is missing", Some(1)));
        let long = check().take(2, 26).unwrap_err();
        assert_eq!(long.to_string(), "chunk 1 of 3 has 26 bytes, not 10");
        let mut check = check();
        check.take(2, 10).unwrap();
        check.take(1, 10).unwrap();
        assert_eq!(check.late().to_string(), "chunk 3 of 3 does not come");
        assert_eq!(check.take(0, 4).unwrap_err().to_string(), "chunk 3 of 3 has 4 bytes, not 5");
    }

    #[test]
    fn the_missing_chunk_is_named() {
        for (sequences, last, chunk) in
            [(&[1, 2][..], 10, 3), (&[1, 3], 5, 2), (&[2, 3], 5, 1), (&[], 0, 1), (&[7], 5, 1), (&[7], 10, 2)]
        {
            let damage = check().miscounted(sequences, last);
            assert_eq!(damage, Some(Damage::Missing { chunk, chunks: 3 }), "{sequences:?}");
        }
        assert_eq!(check().miscounted(&[1, 2, 3], 5), None);
        assert_eq!(check().miscounted(&[1, 2, 3, 4], 5), Some(Damage::TooMany { there: 4, chunks: 3 }));
        let huge = ChunkCheck::new(u64::MAX, u64::MAX, u64::MAX, String::new());
        assert_eq!(
            huge.miscounted(&[u64::MAX, 0], u64::MAX),
            Some(Damage::Missing { chunk: 2, chunks: u64::MAX })
        );
    }

    #[test]
    fn descriptions_without_chunks() {
        let read = |text: &str| ChunkCheck::of(&Description::read(text.as_bytes()).unwrap());
        assert!(read(r#"{"nuid": "a"}"#).is_ok_and(|check| check.is_whole() && check.finish(&[]).is_ok()));
        assert_eq!(read("{}").unwrap_err(), Damage::NoChunks);
        assert_eq!(read(r#"{"chunks": 1, "nuid": "a.>"}"#).unwrap_err(), Damage::NoChunks);
    }
}
