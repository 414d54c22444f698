//! The memory that all indices of a store may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bits of a filter for each key, at most: of 100 keys that are not there, one may cost a read.
const FILTER_BITS: usize = 10;

/// Bytes of memory that indices of all streams of a store may take before they are written to files.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// While one piece is written, the next one grows.
    pub(crate) fn is_tight(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit / 2
    }

    /// What takes less is not worth a file.
    pub(crate) fn smallest(&self) -> usize {
        self.limit / 256
    }

    /// Entries after which memory is looked at again.
    pub(crate) fn step(&self) -> usize {
        (self.limit >> 14).clamp(1, 4096)
    }

    /// Bits of a filter for `len` keys: fewer for each if there are so many that the filter would take a quarter of the budget.
    pub(crate) fn filter_bits(&self, len: usize) -> usize {
        let each = ((self.limit / 4).saturating_mul(8) / len.max(1)).clamp(1, FILTER_BITS);
        (each * len).max(64)
    }
}

/// What one index takes of it.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// The whole.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// It takes so many bytes now.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}
