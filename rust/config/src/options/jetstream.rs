//! JetStream options.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::Reader;
use super::reader::in_order;
use crate::lang::{Map, Node, Value};

/// The default limit of waiting requests (as nats-server 2.15).
const REQUEST_QUEUE_LIMIT: usize = 10_000;

/// The time at which an acknowledged message is synced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncInterval {
    /// Before the acknowledgement.
    Always,
    /// At most this long after the acknowledgement.
    Every(Duration),
}

/// The cipher of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StoreCipher {
    /// ChaCha20-Poly1305.
    #[default]
    ChaCha,
    /// AES-GCM.
    Aes,
}

/// An encryption key of the store. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreKey(String);

impl StoreKey {
    /// Returns the key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreKey(..)")
    }
}

/// The `jetstream` block. `None` means the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetStreamOptions {
    /// The maximum bytes of all memory streams.
    pub max_memory: Option<i64>,
    /// The maximum bytes of all streams on disk.
    pub max_file: Option<i64>,
    /// The maximum bytes of memory for the indexes of streams on disk. Only Stonechat has this option.
    pub max_index_memory: Option<i64>,
    /// The JetStream domain.
    pub domain: Option<String>,
    /// The time at which acknowledged messages are synced; `None` means before the acknowledgement.
    pub sync_interval: Option<SyncInterval>,
    /// Unknown fields of requests are errors.
    pub strict: bool,
    /// The longest duplicate window.
    pub duplicate_window: Option<Duration>,
    /// The maximum consumers of a stream, if neither the stream nor its account has a limit; 0 for no limit.
    pub default_max_consumers: i64,
    /// The largest `max_ack_pending` of a consumer; 0 for no limit.
    pub max_ack_pending: i64,
    /// The largest `max_batch` of a consumer; 0 for no limit.
    pub max_request_batch: i64,
    /// The key that encrypts the store.
    pub key: Option<StoreKey>,
    /// The previous key, which may still encrypt the store.
    pub previous_key: Option<StoreKey>,
    /// The cipher that encrypts the store.
    pub cipher: StoreCipher,
    /// The maximum waiting API requests of an account, without those of `info_queue_limit`.
    pub request_queue_limit: usize,
    /// The maximum waiting API requests of an account for infos, names and lists.
    pub info_queue_limit: usize,
    /// The maximum messages that wait for a stream.
    pub max_buffered_msgs: Option<usize>,
    /// The maximum bytes of messages that wait for a stream.
    pub max_buffered_size: Option<usize>,
    /// The store is deleted when the server ends, so nothing is synced. Only embedded servers set this; no option of the
    /// file does.
    pub is_throwaway: bool,
}

impl Default for JetStreamOptions {
    fn default() -> Self {
        Self {
            max_memory: None,
            max_file: None,
            max_index_memory: None,
            domain: None,
            sync_interval: None,
            strict: true,
            duplicate_window: None,
            default_max_consumers: 1000,
            max_ack_pending: 0,
            max_request_batch: 0,
            key: None,
            previous_key: None,
            cipher: StoreCipher::default(),
            request_queue_limit: REQUEST_QUEUE_LIMIT,
            info_queue_limit: REQUEST_QUEUE_LIMIT,
            max_buffered_msgs: None,
            max_buffered_size: None,
            is_throwaway: false,
        }
    }
}

/// JetStream limits of an account; -1 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the configuration")]
pub struct AccountJetStream {
    pub max_memory: i64,
    pub max_store: i64,
    pub max_streams: i64,
    pub max_consumers: i64,
    pub max_ack_pending: i64,
    pub memory_max_stream_bytes: i64,
    pub store_max_stream_bytes: i64,
    pub max_bytes_required: bool,
}

impl Default for AccountJetStream {
    fn default() -> Self {
        Self {
            max_memory: -1,
            max_store: -1,
            max_streams: -1,
            max_consumers: -1,
            max_ack_pending: -1,
            memory_max_stream_bytes: -1,
            store_max_stream_bytes: -1,
            max_bytes_required: false,
        }
    }
}

/// Accounts that may use JetStream, by name.
pub type JetStreamAccounts = BTreeMap<String, AccountJetStream>;

/// Returns a number of bytes, written as a number or with a unit (`1G`, `512MB`, `64kib`). Units are powers of 1024.
/// nats-server 2.15 agrees, except for units that end in `b` without `i`.
fn size(node: &Node) -> Option<i64> {
    match &node.value {
        Value::Integer(number) => Some(*number),
        Value::String(text) => {
            let text = text.trim();
            let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'-').count();
            let (number, unit) = text.split_at(digits);
            let shift = match unit.trim().to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
                "" => 0,
                "K" => 10,
                "M" => 20,
                "G" => 30,
                "T" => 40,
                "P" => 50,
                _ => return None,
            };
            number.parse::<i64>().ok()?.checked_mul(1 << shift)
        }
        _ => None,
    }
}

impl Reader {
    fn size(&mut self, node: &Node) -> Option<i64> {
        let size = size(node);
        if size.is_none() {
            self.error_of_field(node, "expected a number of bytes, such as 512MB");
        }
        size
    }

    /// Reads the fields of the block, whose types were checked. The store's directory and the switch are read elsewhere.
    pub(super) fn jetstream_block(&mut self, map: &Map, options: &mut JetStreamOptions) {
        let (mut requests, mut infos) = (None, None);
        for (key, written, node) in in_order(map) {
            match key.as_str() {
                "store" | "store_dir" | "storedir" | "enable" | "enabled" => {}
                "strict" => options.strict = self.boolean(node).unwrap_or(true),
                "sync" | "sync_interval" => {
                    options.sync_interval = match &node.value {
                        Value::String(word) if word.eq_ignore_ascii_case("always") => {
                            Some(SyncInterval::Always)
                        }
                        _ => self.positive_duration(written, node).map(SyncInterval::Every),
                    };
                }
                "max_memory_store" | "max_mem_store" | "max_mem" => options.max_memory = self.size(node),
                "max_file_store" | "max_file" => options.max_file = self.size(node),
                "max_index_memory" => options.max_index_memory = self.size(node),
                "domain" => options.domain = self.text(node).flatten(),
                "key" | "ek" | "encryption_key" => options.key = self.store_key(node),
                "prev_key" | "prev_ek" | "prev_encryption_key" => options.previous_key = self.store_key(node),
                "cipher" => {
                    // The schema allows no other cipher.
                    options.cipher = match self.string(node).is_some_and(|w| w.eq_ignore_ascii_case("aes")) {
                        true => StoreCipher::Aes,
                        false => StoreCipher::ChaCha,
                    };
                }
                "tpm" => self.refuse(&format!("jetstream.{key}"), node),
                "request_queue_limit" => requests = self.size(node).and_then(|n| usize::try_from(n).ok()),
                "info_queue_limit" => infos = self.size(node).and_then(|n| usize::try_from(n).ok()),
                "max_buffered_msgs" | "max_buffered_size" => {
                    // As in nats-server, 0 stands for the default.
                    let limit = self.size(node).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
                    match key.as_str() {
                        "max_buffered_msgs" => options.max_buffered_msgs = limit,
                        _ => options.max_buffered_size = limit,
                    }
                }
                "max_concurrent_io" => {
                    if let Some(number) = self.size(node)
                        && !(4..=8192).contains(&number)
                    {
                        let reason = format!(
                            "Expected an absolute size for \"{written}\" between 4 and 8192, got {number}"
                        );
                        self.error(&node.position, reason);
                    }
                    self.ignore("jetstream.max_concurrent_io", node);
                }
                "limits" => self.jetstream_limits(node, options),
                _ => self.ignore(&format!("jetstream.{key}"), node),
            }
        }
        // 0 stands for the default. If only one limit is given, it holds for both.
        let positive = |limit: Option<usize>| limit.filter(|limit| *limit > 0);
        options.request_queue_limit = positive(requests).unwrap_or(REQUEST_QUEUE_LIMIT);
        options.info_queue_limit = positive(infos).unwrap_or(options.request_queue_limit);
    }

    fn store_key(&mut self, node: &Node) -> Option<StoreKey> {
        self.text(node).flatten().filter(|key| !key.is_empty()).map(StoreKey)
    }

    fn jetstream_limits(&mut self, node: &Node, options: &mut JetStreamOptions) {
        let Some(map) = self.map(node) else { return };
        for (key, written, node) in in_order(map) {
            match key.as_str() {
                "duplicate_window" => options.duplicate_window = self.positive_duration(written, node),
                "default_max_consumers" => {
                    // The type was checked: it is a number.
                    options.default_max_consumers = self.size(node).unwrap_or(options.default_max_consumers);
                }
                // Zero or a negative number means no limit.
                "max_ack_pending" => options.max_ack_pending = self.size(node).unwrap_or(0).max(0),
                "max_request_batch" => options.max_request_batch = self.size(node).unwrap_or(0).max(0),
                "batch" => self.refuse("jetstream.limits.batch", node),
                _ => self.ignore(&format!("jetstream.limits.{key}"), node),
            }
        }
    }

    /// Reads an account's `jetstream` value, whose type was checked; `None` if it turns JetStream off.
    pub(super) fn account_jetstream(&mut self, node: &Node) -> Option<AccountJetStream> {
        let mut account = AccountJetStream::default();
        let map = match &node.value {
            Value::Bool(is_enabled) => return is_enabled.then_some(account),
            Value::String(word) => return word.to_ascii_lowercase().starts_with("enable").then_some(account),
            Value::Map(map) => map,
            _ => return None,
        };
        for (key, _, node) in in_order(map) {
            let a = &mut account;
            let field = match key.as_str() {
                "max_memory" | "max_mem" | "mem" | "memory" => &mut a.max_memory,
                "max_store" | "max_file" | "max_disk" | "store" | "disk" => &mut a.max_store,
                "max_streams" | "streams" => &mut a.max_streams,
                "max_consumers" | "consumers" => &mut a.max_consumers,
                "max_ack_pending" => &mut a.max_ack_pending,
                "memory_max_stream_bytes" | "mem_max_stream_bytes" => &mut a.memory_max_stream_bytes,
                "store_max_stream_bytes" | "disk_max_stream_bytes" => &mut a.store_max_stream_bytes,
                "max_bytes_required" | "max_stream_bytes" | "max_bytes" => {
                    a.max_bytes_required = self.boolean(node).unwrap_or(false);
                    continue;
                }
                _ => continue,
            };
            if let Some(size) = size(node) {
                *field = size;
            }
        }
        Some(account)
    }
}
