//! What the fuzz targets share: oracles that are written independently of the code under test, and the plumbing that
//! turns a fuzzer's bytes into something that people can read and write as seeds.

pub mod buckets;
pub mod connect;
pub mod frames;
pub mod interest;
pub mod jetstream;
pub mod log;
pub mod random;
pub mod script;
pub mod tls;
pub mod wire;
pub mod world;
