//! nats-server's configuration language, options and command line flags.
//!
//! - [`lang`] reads the language into a tree of values with positions, and computes its digest.
//! - [`options`] turns the tree into [`Options`], collecting all errors and warnings.
//! - [`flags`] parses the command line like Go's `flag` package. Flags override the file.
//! - [`reload`] computes the changes between two `Options`, or the first change that needs a restart.
//!
//! [`configure`], [`load()`] and [`load_text`] combine the first three. Only these functions read files and the
//! environment, and only through [`lang::Source`].

pub mod duration;
pub mod error;
pub mod flags;
pub mod lang;
mod load;
pub mod options;
pub mod reload;

pub use error::{ConfigErrors, Issue};
pub use load::{Loaded, configure, load, load_text, load_with};
pub use options::{
    AccountJetStream, CertificateFiles, Effect, HandshakeFirst, InvalidOptions, JetStreamOptions, Options,
    RANDOM_PORT, StoreCipher, StoreKey, SyncInterval, TlsOptions, Unsupported, WriteTimeout,
};
