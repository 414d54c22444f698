//! Mirrors and sources: streams that copy messages from other streams, of the same account or of another account that allows it.
//!
//! Both streams belong to this engine, so no consumer and no message in between is needed. A stream that stores a message wakes
//! its followers, which read on from their positions. A follower's position is logged in the same write as the messages that it
//! copied, so no restart loses or doubles a message.
//!
//! The engine finds a stream of another account by asking the broker where a request to create a consumer would arrive
//! (`Host::external`). The configuration of the copy decides what the headers of a copied message do (`stream/rollup.rs`,
//! `StreamCore::judge_mirrored`).

use std::ops::ControlFlow;

use hashbrown::HashMap;
use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::Messages;
use stonechat_subject::Transform;

use super::journal::Body;
use super::stream::short_hash;
use super::{Engine, Stored, Stream};
use crate::consumer::{Consumer, Position};
use crate::error::{self, ApiError};
use crate::ids::{AccountId, StreamId};
use crate::stream::{Entry, External, Publish, Retention, StreamConfig, StreamSource, headers};
use crate::time::parse_rfc3339;

/// Nanoseconds until a follower without room tries again. It tries earlier if a message of it is removed.
const AGAIN: i64 = 1_000_000_000;
/// Nanoseconds between two warnings that a feed can't store messages.
const TELL: i64 = 60_000_000_000;
/// Limits of one feed's turn: messages copied, and their bytes.
const TURN: usize = 512;
const TURN_BYTES: usize = 1 << 20;
/// Limit of one feed's turn: messages looked at.
const LOOK_MAX: usize = 16_384;
/// Sources that a stream runs in one turn.
const FEEDS: usize = 64;
/// The number of filters that cost as much as one look at a message.
const FILTERS: usize = 8;

/// A mirror or a source of a stream, and how far it is.
#[derive(Debug)]
pub(super) struct Feed {
    /// The name of the feed's position in [`Stream::fed`]: origin, filters, transforms and, for a source, the origin's identity.
    key: String,
    /// The origin's [identity](Stream::identity).
    identity: String,
    /// The last sequence that was stored since the server started.
    last: u64,
    origin: String,
    /// The origin's external API, if the configuration names one.
    external: Option<External>,
    /// The account of the origin; `None` if the external account does not allow this stream to read it.
    account: Option<AccountId>,
    filters: Vec<(Filter, Option<Transform>)>,
    start_sequence: u64,
    start_time: i64,
    is_mirror: bool,
    /// The origin's consumer that the feed uses, if the configuration names one (ADR-60).
    consumer: Option<String>,
    /// The filters and transforms, as the `Nats-Stream-Source` header names them.
    label: String,
    /// When the feed last copied messages, in nanoseconds since 1970; 0 for never.
    active: i64,
    /// When the feed last warned that it can't store a message, in nanoseconds since 1970; 0 for never.
    told: i64,
}

/// The outcome of copying a message.
#[derive(Debug)]
enum Fate {
    /// The message is stored.
    Stored,
    /// The message is left out: it is a duplicate, or the stream can never store it.
    Passed,
    /// The feed goes on from this message once the stream has room.
    Stopped(ApiError),
}

/// A message copied from the origin.
struct Taken {
    sequence: u64,
    time: i64,
    subject: Vec<u8>,
    origin_subject: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
}

impl Feed {
    fn new(source: &StreamSource, is_mirror: bool) -> Self {
        let transforms = &source.subject_transforms;
        let mut filters: Vec<(Filter, Option<Transform>)> = transforms
            .iter()
            .map(|t| {
                let src = if t.src.is_empty() { ">" } else { &t.src };
                let transform = Transform::new(src.as_bytes(), t.dest.as_bytes()).ok().flatten();
                (Filter::new(src.as_bytes()), transform)
            })
            .collect();
        let (mut from, mut to) = (String::from(">"), String::from(">"));
        if !transforms.is_empty() {
            let join = |texts: Vec<&str>| texts.join(",");
            from = join(
                transforms.iter().map(|t| if t.src.is_empty() { ">" } else { t.src.as_str() }).collect(),
            );
            to = join(
                transforms.iter().map(|t| if t.dest.is_empty() { ">" } else { t.dest.as_str() }).collect(),
            );
        } else if !source.filter_subject.is_empty() {
            from.clone_from(&source.filter_subject);
            filters.push((Filter::new(source.filter_subject.as_bytes()), None));
        }
        let time = source.opt_start_time.as_deref().and_then(parse_rfc3339);
        Self {
            key: if is_mirror { "mirror".to_owned() } else { format!("{} {from} {to}", key_name(source)) },
            identity: String::new(),
            last: 0,
            origin: source.name.clone(),
            external: source.external.clone(),
            account: None,
            filters,
            start_sequence: source.opt_start_seq,
            start_time: time.unwrap_or(0),
            is_mirror,
            consumer: source.consumer.as_ref().map(|consumer| consumer.name.clone()),
            label: format!("{from} {to}"),
            active: 0,
            told: 0,
        }
    }

    /// Takes over the position and the state of the same feed in the stream's earlier configuration.
    pub(super) fn go_on_from(&mut self, before: &[Self]) {
        let same = |other: &&Self| {
            (&other.origin, &other.label, &other.external, &other.consumer, other.is_mirror)
                == (&self.origin, &self.label, &self.external, &self.consumer, self.is_mirror)
        };
        if let Some(before) = before.iter().find(same) {
            (self.last, self.active, self.account) = (before.last, before.active, before.account);
            (self.key, self.identity) = (before.key.clone(), before.identity.clone());
            self.told = before.told;
        }
    }

    /// The origin's name in the `Nats-Stream-Source` header.
    fn origin_name(&self) -> String {
        let mut name = self.origin.clone();
        if let Some(external) = &self.external {
            name = format!("{name}:{}", short_hash(&external.api));
        }
        if let Some(consumer) = &self.consumer {
            name = format!("{name}:C={}", short_hash(consumer));
        }
        name
    }

    /// The feeds in a stream's configuration.
    pub(super) fn all(config: &StreamConfig) -> Vec<Self> {
        let mirror = config.mirror.iter().map(|source| Self::new(source, true));
        mirror.chain(config.sources.iter().map(|source| Self::new(source, false))).collect()
    }

    /// The subject under which a message is stored; `None` if no filter matches.
    fn accept(&self, subject: &[u8]) -> Option<Vec<u8>> {
        if self.filters.is_empty() {
            return Some(subject.to_vec());
        }
        let (_, transform) = self.filters.iter().find(|(filter, _)| filter.matches(subject))?;
        Some(transform.as_ref().map_or_else(|| subject.to_vec(), |transform| transform.apply(subject, || 0)))
    }

    fn wants(&self, subject: &[u8]) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|(filter, _)| filter.matches(subject))
    }

    /// The first sequence to copy when the feed has no position yet.
    fn first<M: Messages>(&self, origin: &M) -> u64 {
        if self.start_sequence > 0 {
            return self.start_sequence;
        }
        match self.start_time {
            0 => 1,
            time => origin.at_time(time).unwrap_or(origin.last_sequence() + 1),
        }
    }
}

/// The origin's name in a feed's key, different for streams of the same name in several accounts.
fn key_name(source: &StreamSource) -> String {
    match &source.external {
        Some(external) => format!("{}@{}", source.name, external.api),
        None => source.name.clone(),
    }
}

impl<D: Disk> Engine<D> {
    /// Links all feeds anew after a change of imports and exports between accounts.
    pub fn exchange_changed(&mut self) {
        self.exchanges += 1;
        self.link_feeds();
    }

    /// The account of a feed's origin; `None` if no account allows this stream to read it.
    fn account_of_origin(&self, account: AccountId, feed: &Feed) -> Option<AccountId> {
        let Some(external) = &feed.external else { return Some(account) };
        let own = self.options.domain.as_ref().map(|domain| format!("$JS.{domain}.API"));
        if external.api == "$JS.API" || own.as_ref() == Some(&external.api) {
            return Some(account);
        }
        let name = &self.accounts.get(account.index())?.name;
        let found = self.host.external(name, &external.api, &external.deliver, &feed.origin)?;
        self.account_numbers.get(&*found).copied()
    }

    /// Links all feeds with their origins, and wakes them.
    pub(super) fn link_feeds(&mut self) {
        if self.count_feeds() {
            self.streams.values_mut().for_each(|stream| stream.followers.clear());
            self.link(|_, _| true);
        }
    }

    /// Like [`Engine::link_feeds`], after one stream was created or reconfigured: links only its feeds and those that name it.
    pub(super) fn link_feeds_of(&mut self, stream_id: StreamId) {
        if !self.count_feeds() {
            return;
        }
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        stream.followers.clear();
        let name = stream.core.config().name.clone();
        self.forget_follower(stream_id);
        self.link(|follower, feed| follower == stream_id || feed.origin == name);
    }

    /// Removes a deleted stream from the followers of others.
    pub(super) fn unlink_feeds_of(&mut self, stream_id: StreamId) {
        if self.count_feeds() {
            self.forget_follower(stream_id);
        }
    }

    /// Counts the streams with feeds. Returns false if there are none and were none before.
    fn count_feeds(&mut self) -> bool {
        let before = self.feeds;
        self.feeds = self.streams.values().filter(|stream| !stream.feeds.is_empty()).count();
        before > 0 || self.feeds > 0
    }

    fn forget_follower(&mut self, stream_id: StreamId) {
        for stream in self.streams.values_mut().filter(|stream| !stream.followers.is_empty()) {
            stream.followers.retain(|follower| *follower != stream_id);
        }
    }

    /// Links the feeds that are `concerned` with their origins.
    fn link(&mut self, concerned: impl Fn(StreamId, &Feed) -> bool) {
        let mut links = Vec::new();
        let mut accounts = Vec::new();
        let mut identities = HashMap::new();
        for (stream_id, stream) in &self.streams {
            let feeds = stream.feeds.iter().enumerate().filter(|(_, feed)| concerned(*stream_id, feed));
            for (number, feed) in feeds {
                let account = self.account_of_origin(stream.account, feed);
                accounts.push((*stream_id, number, account));
                let Some(Ok(origin)) = account.map(|account| self.find(account, &feed.origin)) else {
                    continue;
                };
                identities
                    .entry(origin)
                    .or_insert_with(|| self.streams.get(&origin).map_or(String::new(), Stream::identity));
                links.push((origin, *stream_id, number));
            }
        }
        for (stream_id, number, account) in accounts {
            let feed = self.streams.get_mut(&stream_id).and_then(|stream| stream.feeds.get_mut(number));
            if let Some(feed) = feed {
                feed.account = account;
            }
        }
        links.sort_unstable();
        let mut last = None;
        for (origin, follower, number) in links {
            let identity = identities.get(&origin).map_or("", String::as_str);
            let feed = self.streams.get_mut(&follower).and_then(|stream| stream.feeds.get_mut(number));
            if let Some(feed) = feed.filter(|feed| feed.identity != identity) {
                // A new stream of the same name begins at the feed's start; a mirror goes on at its position.
                if !feed.is_mirror {
                    let origin = match &feed.external {
                        Some(external) => format!("{}@{}", feed.origin, external.api),
                        None => feed.origin.clone(),
                    };
                    feed.key = format!("{origin} {} {identity}", feed.label);
                }
                identity.clone_into(&mut feed.identity);
            }
            if last.replace((origin, follower)) == Some((origin, follower)) {
                continue;
            }
            if let Some(stream) = self.streams.get_mut(&origin)
                && !stream.followers.contains(&follower)
            {
                stream.followers.push(follower);
            }
            self.wake_feed(follower);
        }
    }

    fn wake_feed(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        if std::mem::replace(&mut stream.is_feeding, true) {
            stream.feeds_again |= stream.feed_at > 0;
        } else {
            self.feeding.push_back(stream_id);
        }
    }

    /// Wakes the streams that copy from a stream that stored a message.
    pub(super) fn wake_followers(&mut self, stream_id: StreamId) {
        if self.feeds == 0 {
            return;
        }
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let followers = std::mem::take(&mut stream.followers);
        followers.iter().for_each(|follower| self.wake_feed(*follower));
        if let Some(stream) = self.streams.get_mut(&stream_id) {
            stream.followers = followers;
        }
    }

    /// Lets each waiting stream copy a limited number of messages.
    pub(super) fn feed_streams(&mut self) {
        for _ in 0..self.feeding.len() {
            let Some(stream_id) = self.feeding.pop_front() else { break };
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            // A stream with more than `FEEDS` sources needs several turns. If a source wakes meanwhile, all of them get another
            // turn.
            let (begin, len) = (std::mem::take(&mut stream.feed_at), stream.feeds.len());
            let end = len.min(begin + FEEDS);
            stream.is_feeding = end < len;
            stream.feed_at = if end < len { end } else { 0 };
            for feed in begin..end {
                self.feed(stream_id, feed);
            }
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            if end < len {
                self.feeding.push_back(stream_id);
            } else if std::mem::take(&mut stream.feeds_again) {
                self.wake_feed(stream_id);
            }
        }
    }

    fn feed(&mut self, stream_id: StreamId, number: usize) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let Some(feed) = stream.feeds.get(number) else { return };
        let Some(Ok(origin_group)) = feed.account.map(|account| self.find(account, &feed.origin)) else {
            return;
        };
        let Some(origin) = self.streams.get(&origin_group) else { return };
        let known = stream.fed.get(&feed.key).copied();
        // A configured consumer determines position and filters. Its subject has no subscription, so only the feed moves it.
        let gate = match &feed.consumer {
            None => None,
            Some(name) => {
                let Some(id) = origin.consumers.get(name).copied() else { return };
                let Some(consumer) = self.consumers.get(&id) else { return };
                if consumer.config().pause_until.is_some_and(|until| until > self.now) {
                    return;
                }
                Some((id, consumer))
            }
        };
        let next = match gate {
            Some((_, consumer)) => consumer.state().floor.stream + 1,
            None => known.unwrap_or_else(|| feed.first(origin.core.messages())),
        };
        let (key, origin_name, is_mirror) = (feed.key.clone(), feed.origin_name(), feed.is_mirror);
        let label = (feed.label.clone(), feed.identity.clone());
        let keeps_order = origin.core.config().retention != Retention::Limits;
        let is_gathering = is_gathering(origin.core.config());
        let (taken, mut after) = take(feed, origin, next, gate.map(|(_, consumer)| &**consumer));
        let gate = gate.map(|(id, _)| id);
        if known == Some(after) && next == after {
            if is_mirror {
                self.note_caught_up(stream_id);
            }
            return;
        }
        let (mut done, mut last_stored, mut stopped) = (Vec::new(), None, None);
        for message in taken {
            let fate = match is_mirror {
                true => self.store_mirrored(stream_id, number, &message),
                false => {
                    let label = (label.0.as_str(), label.1.as_str());
                    self.store_sourced((stream_id, number), &origin_name, label, is_gathering, &message)
                }
            };
            match fate {
                Fate::Stored => last_stored = Some(message.sequence),
                Fate::Passed => {}
                Fate::Stopped(e) => {
                    after = message.sequence;
                    stopped = Some(e);
                    break;
                }
            }
            done.push(message.sequence);
        }
        if let Some(e) = &stopped {
            self.stop_feed(stream_id, number, after, e);
            if known == Some(after) {
                return;
            }
        }
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        stream.fed.insert(key.clone(), after);
        if let Some(feed) = stream.feeds.get_mut(number) {
            feed.active = self.now;
            feed.last = last_stored.unwrap_or(feed.last);
        }
        if stream.is_logged() {
            let body = Body::fed(after, &key);
            self.log.append(stream_id.into(), body.kind, &body.parts());
            self.note_dirty(stream_id);
        }
        if let Some(consumer) = gate.and_then(|id| self.consumers.get_mut(&id)) {
            let delivered = consumer.state().delivered.consumer + done.len() as u64;
            consumer.pass(Position { consumer: delivered, stream: after - 1 });
            consumer.cursor = after;
            consumer.forget_count();
        }
        if let Some(id) = gate {
            self.note_unlogged(id);
        }
        if keeps_order {
            self.release(origin_group, None, &done);
        }
        if stopped.is_some() {
            return;
        }
        let last = self.streams.get(&origin_group).map_or(0, |origin| origin.core.messages().last_sequence());
        if after <= last && after != next {
            self.wake_feed(stream_id);
        } else if is_mirror {
            self.note_caught_up(stream_id);
        }
    }

    /// Stops a feed whose stream has no room. It goes on when the stream has room, or at the next attempt.
    fn stop_feed(&mut self, stream_id: StreamId, number: usize, sequence: u64, error: &ApiError) {
        let again = self.now.saturating_add(AGAIN);
        if let Some(stream) = self.streams.get_mut(&stream_id) {
            stream.is_stopped = true;
            if !std::mem::replace(&mut stream.has_retry, true) {
                self.stopped.push_back((again, stream_id));
            }
        }
        self.tell_untaken(stream_id, number, sequence, "waits to take", error);
    }

    /// Wakes stopped feeds whose time for the next attempt has come.
    pub(super) fn retry_feeds(&mut self) {
        while let Some((_, stream_id)) = self.stopped.pop_front_if(|(again, _)| *again <= self.now) {
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                stream.has_retry = false;
            }
            self.resume_feed(stream_id);
        }
    }

    /// When [`Engine::retry_feeds`] has something to do next.
    pub(super) fn next_retry(&self) -> Option<i64> {
        self.stopped.front().map(|(again, _)| *again)
    }

    /// Wakes a stream's feeds if they wait for room, after a message of the stream was removed.
    pub(super) fn resume_feed(&mut self, stream_id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&stream_id)
            && std::mem::replace(&mut stream.is_stopped, false)
        {
            self.wake_feed(stream_id);
        }
    }

    /// Warns that a stream did not store a message, at most once in `TELL` nanoseconds a feed.
    fn tell_untaken(
        &mut self,
        stream_id: StreamId,
        number: usize,
        sequence: u64,
        what: &str,
        error: &ApiError,
    ) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(&stream_id) else { return };
        let Some(feed) = stream.feeds.get_mut(number) else { return };
        if feed.told > 0 && feed.told.saturating_add(TELL) > now {
            return;
        }
        feed.told = now;
        let (origin, name) = (feed.origin.clone(), stream.core.config().name.clone());
        let account = self.accounts.get(stream.account.index()).map_or("", |account| &*account.name);
        let text = format!(
            "JetStream stream '{account} > {name}' {what} message {sequence} of stream '{origin}': {}",
            error.description
        );
        self.warn(text);
    }

    /// Notes that a mirror has all messages of its origin. If configured, it answers direct gets for the origin from now on.
    fn note_caught_up(&mut self, stream_id: StreamId) {
        let Some(stream) = self.streams.get(&stream_id).filter(|stream| !stream.is_caught_up) else { return };
        if !stream.core.config().mirror_direct {
            return;
        }
        self.announce(stream_id, false);
        if let Some(stream) = self.streams.get_mut(&stream_id) {
            stream.is_caught_up = true;
        }
        self.announce(stream_id, true);
    }

    /// Stores a message of a mirror's origin under the origin's sequence.
    fn store_mirrored(&mut self, stream_id: StreamId, number: usize, message: &Taken) -> Fate {
        let Some(stream) = self.streams.get(&stream_id) else { return Fate::Passed };
        let last = stream.core.messages().last_sequence();
        if message.sequence <= last {
            return Fate::Passed;
        }
        let block = headers::of_copy(&message.headers);
        let publish = Publish { subject: &message.subject, headers: &block, payload: &message.payload };
        let fits = match stream.core.judge_mirrored(&publish) {
            Ok(fits) => fits,
            Err(e) => return Fate::Stopped(e),
        };
        let len = publish.subject.len() + block.len() + publish.payload.len();
        if let Err(e) = self.check_resources(stream_id, len) {
            return Fate::Stopped(e);
        }
        let skipped = if fits { message.sequence - 1 } else { message.sequence };
        if skipped > last
            && let Err(e) = self.change(stream_id, &Entry::SkipTo { last: skipped, time: message.time })
        {
            return Fate::Stopped(e);
        }
        if !fits {
            let e = error::STREAM_MESSAGE_EXCEEDS_MAXIMUM.error();
            self.tell_untaken(stream_id, number, message.sequence, "does not take", &e);
            return Fate::Passed;
        }
        let Publish { subject, headers, payload } = publish;
        let entry = Entry::Append { time: message.time, subject, headers, payload };
        self.change(stream_id, &entry).map_or_else(Fate::Stopped, |_| Fate::Stored)
    }

    /// Stores a message of a source. `is_gathering`: the origin itself has messages of several origins, or its own besides.
    fn store_sourced(
        &mut self,
        (stream_id, number): (StreamId, usize),
        origin: &str,
        label: (&str, &str),
        is_gathering: bool,
        message: &Taken,
    ) -> Fate {
        let mut block = headers::of_copy(&message.headers).into_owned();
        // A roll-up in an origin with several sources concerns one of them only. This stream can't tell them apart, so it drops
        // the header.
        if let Some(before) = headers::value(&block, b"Nats-Stream-Source").map(<[u8]>::len) {
            let drops_roll_up = is_gathering && before > 0;
            block = headers::without(&block, |name| {
                name == b"Nats-Stream-Source" || (drops_roll_up && name == b"Nats-Rollup")
            });
        }
        let subject = String::from_utf8_lossy(&message.origin_subject);
        let source = format!("{origin} {} {} {subject} {}", message.sequence, label.0, label.1);
        headers::push(&mut block, "Nats-Stream-Source", source.as_bytes());
        let publish = Publish { subject: &message.subject, headers: &block, payload: &message.payload };
        match self.ingest_from(stream_id, &publish, true) {
            Ok(Stored::At { more, .. }) if more.contains("duplicate") => Fate::Passed,
            Ok(Stored::At { .. } | Stored::Staged | Stored::Search(_)) => Fate::Stored,
            Err(e) if e.code >= 500 => Fate::Stopped(e),
            // The stream would refuse the message again.
            Err(e) => {
                self.tell_untaken(stream_id, number, message.sequence, "does not take", &e);
                Fate::Passed
            }
        }
    }

    /// Whether a follower still has to copy a message.
    pub(super) fn is_followed(&self, origin: StreamId, sequence: u64, subject: &[u8]) -> bool {
        let Some(stream) = self.streams.get(&origin) else { return false };
        let name = &stream.core.config().name;
        stream.followers.iter().filter_map(|stream_id| self.streams.get(stream_id)).any(|follower| {
            let is_origin = |feed: &&Feed| feed.origin == *name && feed.account == Some(stream.account);
            let mut feeds = follower.feeds.iter().filter(is_origin);
            feeds.any(|feed| {
                feed.wants(subject) && follower.fed.get(&feed.key).is_none_or(|next| *next <= sequence)
            })
        })
    }

    /// Describes a stream's mirror and sources for the API.
    pub(crate) fn describe_feeds(&self, stream: &Stream<D>) -> (Option<Value>, Vec<Value>) {
        let config = stream.core.config();
        let describe = |source: &StreamSource, feed: &Feed| {
            let stream_id = feed.account.and_then(|account| self.find(account, &feed.origin).ok());
            let origin = stream_id.and_then(|stream_id| self.streams.get(&stream_id));
            let next = stream.fed.get(&feed.key).copied().unwrap_or(0);
            let lag = origin.map_or(0, |origin| origin.core.messages().count_from(next));
            let lag = if feed.active > 0 { lag } else { 0 };
            let active = if feed.active > 0 { self.now - feed.active } else { -1 };
            let mut info = json!({"name": source.name});
            if let Some(external) = &source.external {
                info["external"] = serde_json::to_value(external).unwrap_or_default();
            }
            (info["lag"], info["active"]) = (lag.into(), active.into());
            if feed.last > 0 && !feed.is_mirror {
                info["seq"] = feed.last.into();
            }
            if !source.filter_subject.is_empty() && (!feed.is_mirror || feed.active > 0) {
                info["filter_subject"] = source.filter_subject.as_str().into();
            }
            if !source.subject_transforms.is_empty() {
                info["subject_transforms"] =
                    serde_json::to_value(&source.subject_transforms).unwrap_or_default();
            }
            info
        };
        let mirror =
            config.mirror.as_ref().zip(stream.feeds.first()).map(|(source, feed)| describe(source, feed));
        let sources = match mirror {
            Some(_) => Vec::new(),
            None => config
                .sources
                .iter()
                .zip(&stream.feeds)
                .map(|(source, feed)| describe(source, feed))
                .collect(),
        };
        (mirror, sources)
    }
}

/// Whether a stream has messages of several origins, or of an origin and its own subjects.
fn is_gathering(config: &StreamConfig) -> bool {
    config.sources.len() + config.subjects.len() > 1
}

/// Returns the messages that a feed copies from `next` on, and the sequence behind the last one looked at.
fn take<D: Disk>(feed: &Feed, origin: &Stream<D>, next: u64, gate: Option<&Consumer>) -> (Vec<Taken>, u64) {
    let messages = origin.core.messages();
    let (mut taken, mut after, mut bytes, mut looked) = (Vec::new(), next, 0, 0);
    let mut is_cut = false;
    messages.scan(next, &mut |sequence, message| {
        looked += 1 + feed.filters.len() / FILTERS;
        if taken.len() >= TURN || bytes >= TURN_BYTES || looked > LOOK_MAX {
            is_cut = true;
            return ControlFlow::Break(());
        }
        after = sequence + 1;
        if let Some(message) = message
            && gate.is_none_or(|consumer| consumer.wants(message.subject))
            && let Some(subject) = feed.accept(message.subject)
        {
            bytes += message.headers.len() + message.payload.len();
            taken.push(Taken {
                sequence,
                time: message.time,
                subject,
                origin_subject: message.subject.to_vec(),
                headers: message.headers.to_vec(),
                payload: message.payload.to_vec(),
            });
        }
        ControlFlow::Continue(())
    });
    if !is_cut {
        after = after.max(messages.last_sequence() + 1).max(next);
    }
    (taken, after)
}
