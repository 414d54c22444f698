//! A stream with the engine's state for it.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};
use stonechat_store::disk::Disk;
use stonechat_subject::Transform;

use super::Storage;
use super::fast::FastBatch;
use super::feeds::Feed;
use super::holds::Hold;
use super::hot::Hot;
use super::sweeps::Sweep;
use super::trims::Trim;
use crate::ids::{AccountId, ConsumerId, StreamId};
use crate::stream::{StreamConfig, StreamCore};

/// A stream with the engine's state for it.
#[derive(Debug)]
pub(crate) struct Stream<D: Disk> {
    pub(crate) account: AccountId,
    /// When the stream was created, in nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) core: StreamCore<Storage<D>>,
    pub(crate) republish: Option<Transform>,
    /// The text of an acknowledgement before and behind the sequence.
    pub(super) ack_head: Vec<u8>,
    pub(super) ack_tail: Vec<u8>,
    /// When the next message may expire.
    pub(super) expiry: Option<i64>,
    /// Whether the stream changed since the last checkpoint.
    pub(super) is_dirty: bool,
    /// Whether records of the stream are gathered for the log.
    pub(super) is_gathered: bool,
    /// Whether the stream is among the engine's streams with news.
    pub(super) is_noted: bool,
    /// Whether its footers could not be written; the next checkpoint tries again.
    pub(super) is_sealing: bool,
    /// The stream's consumers by name.
    pub(crate) consumers: BTreeMap<String, ConsumerId>,
    /// The number of consumers without filters.
    pub(super) unfiltered: usize,
    /// The consumers that are told of every change.
    pub(super) hot: Hot,
    /// Changes of the hot consumers since the stream was last told from which sequence on the subjects of removed messages
    /// matter.
    pub(super) watch_changes: usize,
    /// Messages that no consumer needs any more, to be removed together.
    pub(super) released: Vec<u64>,
    /// Sequence up to which a stream of interest retention releases no messages: a consumer that needs them may be missing.
    pub(super) held: u64,
    /// Whether the stream is among the engine's streams with released messages.
    pub(super) is_released: bool,
    /// The origins of its messages, if it is a mirror or has sources.
    pub(super) feeds: Vec<Feed>,
    /// The position of each feed, by the feed's key: the next sequence.
    pub(crate) fed: BTreeMap<String, u64>,
    /// Streams that copy messages from this one.
    pub(super) followers: Vec<StreamId>,
    /// Whether the stream waits for its turn to copy messages.
    pub(super) is_feeding: bool,
    /// Whether the stream waits for room for copied messages.
    pub(super) is_stopped: bool,
    /// Whether the next attempt is planned.
    pub(super) has_retry: bool,
    /// The source with which the next turn goes on.
    pub(super) feed_at: usize,
    /// Whether the turn after the last source begins again with the first one.
    pub(super) feeds_again: bool,
    /// Whether this mirror has had all of its origin's messages, so that it may answer direct gets for the origin.
    pub(super) is_caught_up: bool,
    /// Fast-ingest batches, by batch id.
    pub(super) fast: HashMap<Box<[u8]>, FastBatch>,
    /// Published messages that wait for a lookup.
    pub(super) hold: Option<Box<Hold>>,
    /// The search for messages that no consumer needs, while it is in progress.
    pub(super) sweep: Option<Sweep>,
    /// The removal of messages beyond the limits, while it is in progress.
    pub(super) trim: Option<Box<Trim>>,
}

impl<D: Disk> Stream<D> {
    pub(super) fn new(
        account: AccountId,
        created: i64,
        core: StreamCore<Storage<D>>,
        domain: Option<&str>,
    ) -> Self {
        let mut stream = Self {
            account,
            created,
            core,
            republish: None,
            ack_head: Vec::new(),
            ack_tail: Vec::new(),
            expiry: None,
            is_dirty: false,
            is_gathered: false,
            is_noted: false,
            is_sealing: false,
            consumers: BTreeMap::new(),
            unfiltered: 0,
            hot: Hot::default(),
            watch_changes: 0,
            released: Vec::new(),
            held: 0,
            is_released: false,
            feeds: Vec::new(),
            fed: BTreeMap::new(),
            followers: Vec::new(),
            is_feeding: false,
            is_stopped: false,
            has_retry: false,
            feed_at: 0,
            feeds_again: false,
            is_caught_up: false,
            fast: HashMap::new(),
            hold: None,
            sweep: None,
            trim: None,
        };
        let name = serde_json::Value::from(stream.core.config().name.as_str());
        stream.ack_head = format!("{{\"stream\":{name},\"seq\":").into_bytes();
        if let Some(domain) = domain {
            stream.ack_tail = format!(",\"domain\":{}", serde_json::Value::from(domain)).into_bytes();
        }
        stream.learn_config();
        stream
    }

    /// Sets the configuration. Removes messages beyond its limits, unless it `keeps` them. Returns whether subjects may exceed
    /// their limit.
    pub(super) fn set_config(&mut self, config: StreamConfig, keeps: bool) -> bool {
        let is_compressed = config.is_compressed();
        if let Storage::File(file) = self.core.messages_mut() {
            file.set_compressed(is_compressed);
        }
        let of_subjects = self.core.set_config(config);
        if !keeps {
            self.core.enforce_limits(of_subjects);
        }
        if !self.core.config().allow_batched {
            self.fast.clear();
        }
        self.learn_config();
        of_subjects
    }

    fn learn_config(&mut self) {
        let before = std::mem::replace(&mut self.feeds, Feed::all(self.core.config()));
        self.feeds.iter_mut().for_each(|feed| feed.go_on_from(&before));
        let republish = self.core.config().republish.as_ref();
        self.republish =
            republish.and_then(|r| Transform::new(r.src.as_bytes(), r.dest.as_bytes()).ok()).flatten();
    }

    /// A text that tells this stream from earlier and later ones of its name, as nats-server 2.15 computes it.
    pub(super) fn identity(&self) -> String {
        short_hash(&crate::time::rfc3339(self.created))
    }

    /// Whether the stream's changes are logged.
    pub(crate) fn is_logged(&self) -> bool {
        matches!(self.core.messages(), Storage::File(_))
    }

    pub(super) fn may_expire(&self) -> bool {
        let config = self.core.config();
        let has_times = config.max_age > 0 || config.allow_msg_ttl || config.allow_msg_schedules;
        has_times || self.expiry.is_some() || self.core.remembers_ids()
    }

    /// The names of the streams for which it answers direct gets.
    pub(super) fn direct_names(&self) -> Vec<&str> {
        let config = self.core.config();
        let own = config.allow_direct.then_some(config.name.as_str());
        let origin = config.mirror.as_ref().filter(|_| config.mirror_direct && self.is_caught_up);
        own.into_iter().chain(origin.map(|mirror| mirror.name.as_str())).collect()
    }

    /// The number of consumers that are told of each change.
    pub(crate) fn told(&self) -> usize {
        self.hot.len()
    }

    /// The subjects of the stream's subscriptions.
    pub(crate) fn subjects(&self) -> &[String] {
        &self.core.config().subjects
    }
}

/// A hash of eight letters and digits, as nats-server 2.15 computes it.
pub(super) fn short_hash(text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).map(|byte| char::from(DIGITS[usize::from(*byte) % DIGITS.len()])).collect()
}
