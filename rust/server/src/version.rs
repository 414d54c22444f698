//! The versions that this server reports.

/// The nats-server version with which this server is compatible.
pub const COMPATIBLE_VERSION: &str = "2.15.2";
/// Stonechat's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The value of INFO's `go` field, where nats-server names its toolchain.
pub(crate) const TOOLCHAIN: &str = "rust";
/// The JetStream API level of the compatible nats-server version. Like nats-server, INFO has it with JetStream off too.
pub(crate) const API_LEVEL: u64 = 5;
