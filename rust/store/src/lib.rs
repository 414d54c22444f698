//! Storage of streams and consumers, over a [`disk::Disk`].
//!
//! No code here reads a clock, draws a random number or starts a thread. Times and salts are arguments, and a sync is a job
//! that the caller runs on any thread. So the same code runs in the server and in simulation.
//!
//! - [`wal`]: the log that all streams of a JetStream thread share;
//! - [`messages`]: the interface of a stream to its message storage;
//! - [`memory`], [`file`]: message storage in memory and on disk;
//! - [`index`]: a tree of subjects, and filters over it;
//! - [`spill`]: message ids, expiries and schedules, which go to disk when memory is short;
//! - [`encryption`]: keys, and encryption with them;
//! - [`visits`]: a count of visited messages and index entries, for tests.

mod budget;
pub mod catalogue;
pub mod checksum;
pub mod disk;
pub mod encryption;
pub mod file;
pub mod index;
pub mod memory;
pub mod messages;
pub mod spill;
pub mod visits;
pub mod wal;
