//! The atomics of this crate: those of `std`, or with the feature `shuttle` those of shuttle, which tests
//! interleavings.

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
