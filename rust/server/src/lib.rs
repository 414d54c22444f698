//! Tokio, listeners, monitoring HTTP, signals, reload and the `stonechat-server` binary.
