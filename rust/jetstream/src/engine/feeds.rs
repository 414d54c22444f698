//! Mirrors and sources: streams that take their messages from others, of the same account or of one that lets them.
//!
//! Both streams belong to this engine, so no consumer and no message in between is needed: a stream that got something wakes its
//! followers, which read on from where they were. How far they are stands in the same write of the log as what they took, so that
//! no restart loses or doubles a message.

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

/// A stream that has no room for what it is to take tries again after so many nanoseconds, or as soon as something goes.
const AGAIN: i64 = 1_000_000_000;
/// How often is told that a stream can't take over messages, in nanoseconds.
const TELL: i64 = 60_000_000_000;
/// Messages and bytes that a stream takes in one turn.
const TURN: usize = 512;
const TURN_BYTES: usize = 1 << 20;
const LOOK_MAX: usize = 16_384;
/// Sources that a stream looks at in one turn.
const FEEDS: usize = 64;
/// So many filters are tried in the time of one look.
const FILTERS: usize = 8;

/// Where messages of a stream come from.
#[derive(Debug)]
pub(super) struct Feed {
    /// Its name among those of the stream: what it takes from where, and from which of the streams that had this name.
    key: String,
    /// That stream's identity.
    identity: String,
    /// The last message that was taken since the server started.
    last: u64,
    origin: String,
    /// The origin's account, where it is another one and lets this one read its stream; else `None`.
    external: Option<External>,
    account: Option<AccountId>,
    filters: Vec<(Filter, Option<Transform>)>,
    start_sequence: u64,
    start_time: i64,
    is_mirror: bool,
    /// The consumer of the origin by which it takes them, if one was given (ADR-60).
    consumer: Option<String>,
    /// What a source's messages say of where they come from, before and behind the sequence.
    label: String,
    /// When something was last taken; 0 for never.
    active: i64,
    /// When was last told that something can't be taken; 0 for never.
    told: i64,
}

/// What became of a message that was to be taken.
#[derive(Debug)]
enum Fate {
    /// The stream has it.
    Stored,
    /// The stream does without it: a duplicate, or something that it can never store.
    Passed,
    /// The stream goes on from here when it has room.
    Stopped(ApiError),
}

/// A message on its way from one stream to another.
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

    /// Takes over what was known of it before its stream was changed.
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

    /// What its messages call the stream that they come from.
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

    /// Those of a stream.
    pub(super) fn all(config: &StreamConfig) -> Vec<Self> {
        let mirror = config.mirror.iter().map(|source| Self::new(source, true));
        mirror.chain(config.sources.iter().map(|source| Self::new(source, false))).collect()
    }

    /// The subject under which a message is taken; `None` if it is not.
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

    /// The first sequence that is taken when nothing was taken before.
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

/// Tells streams of one name in several accounts apart.
fn key_name(source: &StreamSource) -> String {
    match &source.external {
        Some(external) => format!("{}@{}", source.name, external.api),
        None => source.name.clone(),
    }
}

impl<D: Disk> Engine<D> {
    /// Accounts may let each other read other streams than before.
    pub fn exchange_changed(&mut self) {
        self.exchanges += 1;
        self.link_feeds();
    }

    /// The account in which a stream of `account` finds its origin; `None` if there is none that lets it.
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

    /// Learns which streams follow which, and lets those go on that may.
    pub(super) fn link_feeds(&mut self) {
        if self.count_feeds() {
            self.streams.values_mut().for_each(|stream| stream.followers.clear());
            self.link(|_, _| true);
        }
    }

    /// The same, after one stream was created or got another configuration: only its feeds and those that name it are linked anew.
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

    /// Forgets a stream that is gone.
    pub(super) fn unlink_feeds_of(&mut self, stream_id: StreamId) {
        if self.count_feeds() {
            self.forget_follower(stream_id);
        }
    }

    /// Counts the streams that take messages from others; false if there are none and were none.
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

    /// Links the feeds of streams that are `concerned` with their origins.
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
                // A new stream of the same name begins anew; a mirror only goes on.
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

    /// A stream got something.
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

    /// Lets streams take what there is for them, some of it at a time.
    pub(super) fn feed_streams(&mut self) {
        for _ in 0..self.feeding.len() {
            let Some(stream_id) = self.feeding.pop_front() else { break };
            let Some(stream) = self.streams.get_mut(&stream_id) else { continue };
            // Of very many sources some at a time. One that gets something meanwhile is looked at once more.
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
        // A consumer that was given says where to go on and what is wanted. Nobody listens to its subject, so it moves only here.
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

    /// A stream has no room for a message. It goes on when it has some, or when it is tried again.
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

    /// Goes on with streams that waited for room.
    pub(super) fn retry_feeds(&mut self) {
        while let Some((_, stream_id)) = self.stopped.pop_front_if(|(again, _)| *again <= self.now) {
            if let Some(stream) = self.streams.get_mut(&stream_id) {
                stream.has_retry = false;
            }
            self.resume_feed(stream_id);
        }
    }

    /// When [`Engine::retry_feeds`] has something to do.
    pub(super) fn next_retry(&self) -> Option<i64> {
        self.stopped.front().map(|(again, _)| *again)
    }

    /// Something of a stream went: if it waits for room, it is tried again.
    pub(super) fn resume_feed(&mut self, stream_id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&stream_id)
            && std::mem::replace(&mut stream.is_stopped, false)
        {
            self.wake_feed(stream_id);
        }
    }

    /// Tells once in a while that a stream has not taken over a message.
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

    /// A mirror has all that there is: from now on it answers direct gets for its origin too, if it is to.
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

    /// Stores a message of a mirror under its own sequence.
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

    /// Stores a message of a source. `is_gathering`: the source has its messages from several places itself.
    fn store_sourced(
        &mut self,
        (stream_id, number): (StreamId, usize),
        origin: &str,
        label: (&str, &str),
        is_gathering: bool,
        message: &Taken,
    ) -> Fate {
        let mut block = headers::of_copy(&message.headers).into_owned();
        // A roll-up of one of several sources means that source's messages, which can't be told apart any more further on.
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
            // What the stream refuses for what it is, it would refuse again.
            Err(e) => {
                self.tell_untaken(stream_id, number, message.sequence, "does not take", &e);
                Fate::Passed
            }
        }
    }

    /// Whether a message still waits to be taken by a follower.
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

    /// What is said of where a stream's messages come from.
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

/// Whether a stream has messages of several origins, or may have some of its own.
fn is_gathering(config: &StreamConfig) -> bool {
    config.sources.len() + config.subjects.len() > 1
}

/// What is to be taken from `next` on, and where to go on.
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
