//! Which versions this is.

/// The nats-server version that clients may take this server for.
pub const COMPATIBLE_VERSION: &str = "2.15.2";
/// Stonechat's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What INFO says where nats-server names its toolchain.
pub(crate) const TOOLCHAIN: &str = "rust";
/// The JetStream API level of the version that this is compatible with; nats-server says it with JetStream off too.
pub(crate) const API_LEVEL: u64 = 5;
