//! Sans-IO parser and encoder of the NATS client protocol.
//!
//! Bytes come in as slices and go out as slices or `Vec<u8>`; nothing here reads, writes, waits or allocates for a
//! message on its way through.

#![forbid(unsafe_code)]

mod connect;
mod encode;
mod fast;
mod info;
mod op;
mod parser;
pub mod texts;

pub use connect::{ConnectError, ConnectOptions};
pub use encode::{error_line, push_number, quote, redact_connect};
pub use fast::Repeat;
pub use info::Info;
pub use op::{Op, Publish};
pub use parser::{ParseError, Parsed, Parser};
