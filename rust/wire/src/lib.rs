//! Sans-IO parser and encoder of the NATS client protocol.
//!
//! Input is slices; output is slices or `Vec<u8>`. Nothing here reads, writes or waits, and parsing a message allocates
//! nothing.

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
