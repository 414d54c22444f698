//! Storage of streams and consumers, over a [`disk::Disk`].
//!
//! Nothing here reads a clock, draws a random number or starts a thread: times and salts are arguments, and syncing is a job
//! that the caller runs where it likes. So the same code runs in the server and in simulation.
//!
//! - [`wal`]: the log that all streams of a JetStream thread share;
//! - [`messages`]: what a stream asks of the place where its messages are;
//! - [`memory`], [`file`]: that place in memory and on disk;
//! - [`index`]: what is known of messages without reading them;
//! - [`spill`]: ids and times to come, which go to disk when memory is short;
//! - [`encryption`]: keys, and what they seal;
//! - [`visits`]: how much is looked at, for tests.

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
