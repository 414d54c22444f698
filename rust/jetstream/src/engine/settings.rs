//! Limits of a server and its accounts, and the layout of a store.

use stonechat_store::encryption::Keyring;

/// When an acknowledged change is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before the acknowledgement.
    Synced,
    /// At most this number of nanoseconds after the acknowledgement.
    Within(i64),
    /// No durability needed: the store is temporary.
    None,
}

/// The limits and the identity of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's name, shown as the leader of all streams.
    pub server_name: String,
    /// The server's id.
    pub server_id: String,
    /// The nats-server version that this server is compatible with.
    pub version: String,
    /// The domain, if one is configured.
    pub domain: Option<String>,
    /// Whether unknown fields in requests are errors.
    pub strict: bool,
    /// The most bytes of all streams in memory; -1 for no limit.
    pub max_memory: i64,
    /// The most bytes of all streams on disk; -1 for no limit.
    pub max_storage: i64,
    /// The longest duplicate window in nanoseconds; 0 for no limit.
    pub duplicate_window_max: i64,
    /// The most consumers of a stream if neither it nor its account has a limit; 0 for no limit.
    pub default_max_consumers: i64,
    /// The largest `max_ack_pending` of a consumer; 0 for no limit.
    pub max_ack_pending: i64,
    /// The largest `max_batch` of a consumer; 0 for no limit.
    pub max_request_batch: i64,
    /// When an acknowledged change is on disk.
    pub durability: Durability,
    /// The sizes of files.
    pub sizes: Sizes,
    /// The encryption keys; empty for a store that is not encrypted.
    pub keys: Keyring,
}

/// The sizes of a store's files, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// The length of the log's files.
    pub log_file: u64,
    /// The length of the log at which a checkpoint is made.
    pub checkpoint: u64,
    /// The length of the streams' segments.
    pub segment: u64,
    /// The length of a message from which on a log with lazy sync refers to the message instead of holding it.
    pub referred: usize,
    /// Memory for the subject indexes of streams on disk.
    pub index: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            log_file: 32 << 20,
            checkpoint: 24 << 20,
            segment: stonechat_store::file::SEGMENT_LEN,
            referred: 512,
            index: stonechat_store::file::INDEX_LEN,
        }
    }
}

/// The limits of an account; -1 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the API: account info")]
pub struct AccountLimits {
    pub max_memory: i64,
    pub max_storage: i64,
    pub max_streams: i64,
    pub max_consumers: i64,
    pub max_ack_pending: i64,
    pub memory_max_stream_bytes: i64,
    pub storage_max_stream_bytes: i64,
    pub max_bytes_required: bool,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self {
            max_memory: -1,
            max_storage: -1,
            max_streams: -1,
            max_consumers: -1,
            max_ack_pending: -1,
            memory_max_stream_bytes: -1,
            storage_max_stream_bytes: -1,
            max_bytes_required: false,
        }
    }
}
