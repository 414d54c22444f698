//! Code that the fuzz targets share: oracles that are independent of the code under test, and formats that turn a fuzzer's bytes
//! into seeds that people can read and write.

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
