//! A stream as the engine keeps it.

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

/// A stream and what belongs to it.
#[derive(Debug)]
pub(crate) struct Stream<D: Disk> {
    pub(crate) account: AccountId,
    /// When it was created, in nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) core: StreamCore<Storage<D>>,
    pub(crate) republish: Option<Transform>,
    /// What an acknowledgement says before and behind the sequence.
    pub(super) ack_head: Vec<u8>,
    pub(super) ack_tail: Vec<u8>,
    /// When something in it may be too old.
    pub(super) expiry: Option<i64>,
    /// It changed since the last checkpoint.
    pub(super) is_dirty: bool,
    /// It has records in what is gathered for the log.
    pub(super) is_gathered: bool,
    /// It has something to tell that the engine knows of.
    pub(super) is_noted: bool,
    /// Its footers could not be written; it is tried again at the next checkpoint.
    pub(super) is_sealing: bool,
    /// Its consumers by name.
    pub(crate) consumers: BTreeMap<String, ConsumerId>,
    /// How many of them want all messages.
    pub(super) unfiltered: usize,
    /// Those that are told of every change.
    pub(super) hot: Hot,
    /// Changes of these since it was last looked from which sequence on the subjects of removed messages matter.
    pub(super) watch_changes: usize,
    /// Messages that no consumer needs any more, to be removed together.
    pub(super) released: Vec<u64>,
    /// What of interest retention has a sequence up to this one is not released: a consumer that needs it may be missing.
    pub(super) held: u64,
    /// The engine knows that there are some.
    pub(super) is_released: bool,
    /// Where its messages come from, if it is a mirror or has sources.
    pub(super) feeds: Vec<Feed>,
    /// How far each of them was taken, by name: the next sequence.
    pub(crate) fed: BTreeMap<String, u64>,
    /// Streams that take their messages from this one.
    pub(super) followers: Vec<StreamId>,
    /// It waits for its turn to take messages.
    pub(super) is_feeding: bool,
    /// It waits for room for messages of others.
    pub(super) is_stopped: bool,
    /// It is known when that is tried again.
    pub(super) has_retry: bool,
    /// The source with which that goes on; and whether it begins anew behind the last one.
    pub(super) feed_at: usize,
    /// See `feed_at`.
    pub(super) feeds_again: bool,
    /// A mirror that has all of its origin's messages, so that it may answer direct gets for it.
    pub(super) is_caught_up: bool,
    /// Publishers that send ahead, by the id of what they send.
    pub(super) fast: HashMap<Box<[u8]>, FastBatch>,
    /// Publishers that wait.
    pub(super) hold: Option<Box<Hold>>,
    /// It is looked through for what no consumer needs.
    pub(super) sweep: Option<Sweep>,
    /// What exceeds its limits is taken out.
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

    /// Takes a configuration, and takes out what exceeds its limits, unless it `keeps` that; answers whether that may be messages of
    /// subjects.
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

    /// What tells it from others that had its name before or will have it, as nats-server 2.15 computes it.
    pub(super) fn identity(&self) -> String {
        short_hash(&crate::time::rfc3339(self.created))
    }

    /// Whether its changes go to the log.
    pub(crate) fn is_logged(&self) -> bool {
        matches!(self.core.messages(), Storage::File(_))
    }

    pub(super) fn may_expire(&self) -> bool {
        let config = self.core.config();
        let has_times = config.max_age > 0 || config.allow_msg_ttl || config.allow_msg_schedules;
        has_times || self.expiry.is_some() || self.core.remembers_ids()
    }

    /// The streams for which it answers direct gets.
    pub(super) fn direct_names(&self) -> Vec<&str> {
        let config = self.core.config();
        let own = config.allow_direct.then_some(config.name.as_str());
        let origin = config.mirror.as_ref().filter(|_| config.mirror_direct && self.is_caught_up);
        own.into_iter().chain(origin.map(|mirror| mirror.name.as_str())).collect()
    }

    /// How many consumers are told of each of its changes.
    pub(crate) fn told(&self) -> usize {
        self.hot.len()
    }

    /// The subjects to which it listens.
    pub(crate) fn subjects(&self) -> &[String] {
        &self.core.config().subjects
    }
}

/// Eight letters and digits that stand for a text, as nats-server 2.15 computes them.
pub(super) fn short_hash(text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().take(8).map(|byte| char::from(DIGITS[usize::from(*byte) % DIGITS.len()])).collect()
}
