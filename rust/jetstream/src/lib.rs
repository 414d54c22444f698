//! JetStream without I/O: the state of streams, the log they are kept in, the API.
//!
//! - [`engine`]: all that belongs to one JetStream thread: streams, their log, what leaves and what waits for the disk;
//! - [`api`]: requests on `$JS.API.>` and their answers;
//! - [`stream`]: configurations with their checks, and what a stream does with messages;
//! - [`consumer`]: their configurations, where they stand, and who waits for their messages;
//! - [`backup`]: the form of backups, which nats-server reads and writes too;
//! - [`json`]: requests read as nats-server reads them, down to the texts of its errors;
//! - [`error`]: all errors of the API.

#![forbid(unsafe_code)]

pub mod api;
pub mod backup;
pub mod consumer;
pub mod engine;
pub mod error;
mod ids;
pub mod json;
mod meetings;
pub mod stream;
pub mod time;

pub use ids::{AccountId, BackupId, ConsumerId, StreamId};
