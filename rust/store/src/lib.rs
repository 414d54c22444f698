//! Storage of streams and consumers, over a [`disk::Disk`].
//!
//! Nothing here reads a clock, draws a random number or starts a thread: times and salts are arguments, and syncing is a job
//! that the caller runs where it likes. So the same code runs in the server and in simulation.
//!
//! What is here so far: [`wal`], the log that all streams of a JetStream thread share, and [`index`], what a stream knows of its
//! messages without reading them, and [`memory`], streams that are in memory only.

pub mod checksum;
pub mod disk;
pub mod index;
pub mod memory;
pub mod wal;
