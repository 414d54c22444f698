//! Accounts, sessions, outbound buffers and interest. No sockets, no clock, no random source: bytes and times are
//! arguments. Bytes leave through [`Outbound`] buffers and a [`Transport`], which the layer above implements.
//!
//! The path of a message: a session parses what was read ([`ClientSession::ingest`]) and looks the subject up in its
//! match cache or its account's interest ([`Account`]). It appends the delivery to each receiver's [`Outbound`] and, at
//! the end of the batch, flushes every receiver once ([`Router`]).
//!
//! Lock order: links between accounts, the account registry, an account's interest, then leaves (such as `Outbound`, a
//! client's `subs` and its `identity`). No thread holds two locks of one kind. No callback runs under a leaf, and no lock
//! is held across an `.await`.

#![forbid(unsafe_code)]

mod account;
mod broker;
mod chunk;
mod client;
mod closed;
mod courier;
mod exchange;
mod fanout;
mod frame;
mod inlet;
#[cfg(test)]
#[cfg(feature = "shuttle")]
mod interleavings;
mod options;
mod outbound;
mod permissions;
mod router;
mod run;
mod service;
mod session;
mod sid;
mod subscription;
mod sync;
mod totals;

pub use account::{Account, GLOBAL_ACCOUNT, SYSTEM_ACCOUNT};
pub use broker::{Broker, BrokerSetup, ProcessUsage};
pub use chunk::{Chunk, WriteBatch};
pub use client::{Client, ClientFacts, Flag, PeerAddress, TlsFacts};
pub use closed::{ClosedClient, ClosedReason};
pub use courier::Courier;
pub use inlet::Inlet;
pub use options::BrokerOptions;
pub use outbound::{Outbound, OutboundCounts, Transport};
pub use router::{Message, Router};
pub use service::ServerInfo;
pub use session::{ClientSession, Progress};
pub use sid::Sid;
pub use subscription::{SubRef, Subscription};
pub use totals::Totals;
