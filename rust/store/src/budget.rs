//! The memory that all indices of a store may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Maximum bits of a filter per key: of 100 absent keys, about one costs a read.
const FILTER_BITS: usize = 10;

/// A memory limit, in bytes, shared by the indices of all streams of a store. Above it, they are written to files.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Bytes of layouts of segments that were kept when streams were opened.
    layouts: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), layouts: AtomicUsize::new(0) })
    }

    /// Whether indices should go to disk. This is at half of the limit, since the next piece grows while one is written.
    pub(crate) fn is_tight(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit / 2
    }

    /// Returns the minimum size worth a file, in bytes.
    pub(crate) fn smallest(&self) -> usize {
        self.limit / 256
    }

    /// Returns how many bytes of read data one index may keep in memory now. They count against the budget, as its trees do.
    pub(crate) fn kept(&self) -> usize {
        let used = self.used.load(Ordering::Relaxed);
        let share = if self.is_tight() { self.limit / 128 } else { self.limit / 32 };
        if used > self.limit { 0 } else { share }
    }

    /// Returns how many bytes of footers are merged together when a stream is opened.
    pub(crate) fn merged(&self) -> usize {
        self.limit / 8
    }

    /// Takes up to `wanted` bytes for layouts that stay in memory after an opening, and returns how many. All streams together get an
    /// eighth of the budget, on top of it.
    pub(crate) fn take_for_layouts(&self, wanted: usize) -> usize {
        let grant = |taken: usize| wanted.min((self.limit / 8).saturating_sub(taken));
        let taken = self
            .layouts
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| Some(taken + grant(taken)));
        grant(taken.unwrap_or_else(|taken| taken))
    }

    /// Returns the number of entries after which memory use is checked again.
    pub(crate) fn step(&self) -> usize {
        (self.limit >> 14).clamp(1, 4096)
    }

    /// Bits of a filter for `len` keys. There are fewer per key if the filter would take over a quarter of the limit.
    pub(crate) fn filter_bits(&self, len: usize) -> usize {
        let each = ((self.limit / 4).saturating_mul(8) / len.max(1)).clamp(1, FILTER_BITS);
        (each * len).max(64)
    }
}

/// The part of the budget that one index takes.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// Returns the budget that this is a part of.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Sets the bytes that the index takes.
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
