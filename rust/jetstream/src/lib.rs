//! JetStream without I/O. What is here so far: [`json`], which reads requests as nats-server does, down to the texts of its
//! errors, [`error`], all errors of the API, and
//! [`stream`], the configuration of streams with its checks. Nothing uses it yet.

#![forbid(unsafe_code)]

pub mod error;
pub mod json;
pub mod stream;
