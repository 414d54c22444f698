//! Chunks of pending output, and the pool of their memory.
//!
//! An idle connection owns no buffer: the first delivery of a batch borrows one from its thread's pool, and the write
//! gives it back. Chunks grow with the batch, so that a fan-out to ten thousand receivers does not take ten thousand
//! large buffers.

use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Capacities of pooled chunks, in bytes.
const CLASSES: [usize; 3] = [1 << 10, 8 << 10, 64 << 10];
/// Most spare chunks of each class that a thread keeps.
const SPARE: [usize; 3] = [256, 64, 16];
/// Most chunks in one vectored write.
const SLICES: usize = 64;

thread_local! {
    static POOL: RefCell<[Vec<Vec<u8>>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// Returns an empty buffer with room for at least `needed` bytes. Its class is above that of a chunk of `before` bytes,
/// if there is one.
pub(crate) fn borrow(needed: usize, before: usize) -> Vec<u8> {
    let class = CLASSES.iter().position(|&c| c >= needed && c > before).unwrap_or(CLASSES.len() - 1);
    let mut data = POOL.with(|pool| pool.borrow_mut()[class].pop()).unwrap_or_default();
    if data.capacity() < needed {
        data.reserve_exact(needed.max(CLASSES[class]));
    }
    data
}

/// A piece of pending output.
#[derive(Debug)]
pub struct Chunk {
    data: Data,
    start: usize,
}

#[derive(Debug)]
enum Data {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    pub(crate) fn own(data: Vec<u8>) -> Self {
        Self { data: Data::Own(data), start: 0 }
    }

    pub(crate) fn shared(bytes: Bytes) -> Self {
        Self { data: Data::Shared(bytes), start: 0 }
    }

    /// Returns the bytes left to write.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Own(data) => &data[self.start..],
            Data::Shared(data) => &data[self.start..],
        }
    }

    fn recycle(self) {
        let Data::Own(mut data) = self.data else { return };
        let Some(class) = CLASSES.iter().position(|&c| c == data.capacity()) else { return };
        data.clear();
        POOL.with(|pool| {
            let spare = &mut pool.borrow_mut()[class];
            if spare.len() < SPARE[class] {
                spare.push(data);
            }
        });
    }
}

/// Chunks that one writer has taken out of a buffer to write.
#[derive(Debug, Default)]
pub struct WriteBatch {
    pub(crate) chunks: VecDeque<Chunk>,
}

impl WriteBatch {
    /// Calls `write` with as many slices as one vectored write takes.
    pub fn with_slices<R>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk.bytes());
            count += 1;
        }
        write(&slices[..count])
    }

    /// Whether all is written.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Drops the first `written` bytes and gives whole chunks back to the pool.
    pub(crate) fn advance(&mut self, written: usize) {
        let mut rest = written;
        while let Some(chunk) = self.chunks.front_mut() {
            let len = chunk.bytes().len();
            if rest < len {
                chunk.start += rest;
                return;
            }
            rest -= len;
            if let Some(chunk) = self.chunks.pop_front() {
                chunk.recycle();
            }
        }
    }
}
