//! JetStream without I/O: the state of streams, the log they are kept in, the API.
//!
//! - [`engine`]: the state of one JetStream thread: streams, their log, outgoing messages and those that wait for the disk;
//! - [`api`]: requests on `$JS.API.>` and their answers;
//! - [`stream`]: configurations with their checks, and how a stream judges and stores messages;
//! - [`consumer`]: configurations, delivery states and waiting pull requests;
//! - [`backup`]: the format of backups, which nats-server reads and writes too;
//! - [`json`]: a reader for requests that behaves as nats-server's, down to the texts of its errors;
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
