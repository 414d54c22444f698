//! What a server and its accounts allow, and how a store is laid out.

use stonechat_store::encryption::Keyring;

/// When what is acknowledged is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    Synced,
    /// So many nanoseconds later at most.
    Within(i64),
    /// Nobody cares: the store is thrown away.
    None,
}

/// What a server allows and says of itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's name, as the leader of all streams.
    pub server_name: String,
    /// Its id.
    pub server_id: String,
    /// The nats-server version that it is compatible with.
    pub version: String,
    /// The domain, if there is one.
    pub domain: Option<String>,
    /// Fields of requests that nobody knows are errors.
    pub strict: bool,
    /// Bytes of all streams in memory.
    pub max_memory: i64,
    /// Bytes of all streams on disk.
    pub max_storage: i64,
    /// The longest duplicate window in nanoseconds; 0 for no limit.
    pub duplicate_window_max: i64,
    /// Consumers of a stream when neither it nor its account says how many; 0 for no limit.
    pub default_max_consumers: i64,
    /// The largest `max_ack_pending` of a consumer; 0 for no limit.
    pub max_ack_pending: i64,
    /// The largest `max_batch` of a consumer; 0 for no limit.
    pub max_request_batch: i64,
    /// When what is acknowledged is on disk.
    pub durability: Durability,
    /// How large files are.
    pub sizes: Sizes,
    /// What is stored is encrypted with them, if there are any.
    pub keys: Keyring,
}

/// How large a store's files are, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Files of the log.
    pub log_file: u64,
    /// What the log may hold before a checkpoint is made.
    pub checkpoint: u64,
    /// Segments of streams.
    pub segment: u64,
    /// From this length on, a log that need not be durable at once refers to messages instead of holding them.
    pub referred: usize,
    /// Memory for what streams on disk know of their subjects.
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

/// What an account may use; -1 for no limit.
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
