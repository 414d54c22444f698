//! Tokio, listeners, monitoring HTTP, signals, reload and the `stonechat-server` binary.
//!
//! [`Server`] is a complete broker with its own runtime and log, so that a process can hold several. [`run`] is the
//! command line of a server.

#![deny(unsafe_code)]

mod command;
mod fault;
mod files;
mod jetstream;
mod lame_duck;
mod logging;
mod monitor;
mod net;
mod server;
mod settings;
mod time;
#[expect(unsafe_code, reason = "getrusage")]
mod usage;
mod version;

pub use command::run;
pub use jetstream::JetStreamError;
pub use logging::{LogLevel, LogRecord, LogTarget};
pub use net::pipe::{Pipe, PipeClient, PipeError};
pub use server::{ReloadError, Server, StartError};
pub use version::{COMPATIBLE_VERSION, VERSION};
