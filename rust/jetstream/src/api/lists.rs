//! Names and lists of streams. The streams are searched and described in steps.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stonechat_store::disk::Disk;
use stonechat_subject::{Found, Relation, Search};

use super::long::{Long, STEP};
use super::queue::cost_of_bytes;
use super::requests::ListRequest;
use super::{Reply, Request, fields};
use crate::engine::Engine;
use crate::error::ApiError;
use crate::ids::{AccountId, StreamId};
use crate::json::List;
use crate::time::rfc3339;

const NAMES_MAX: usize = 1024;
const LIST_MAX: usize = 256;
/// A page ends when its items take this many bytes, whatever their number.
pub(super) const PAGE_BYTES: usize = 1 << 20;
/// Cost of one stream's description, without its length.
const STREAM: usize = STEP / 32;
/// Cost of one name.
const NAME: usize = STEP / 1024;

/// The content of an item in a list of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Its name.
    Name,
    /// Its configuration and state.
    Info,
}

impl Told {
    fn kind(self) -> &'static str {
        match self {
            Self::Name => "stream_names_response",
            Self::Info => "stream_list_response",
        }
    }

    fn max(self) -> usize {
        match self {
            Self::Name => NAMES_MAX,
            Self::Info => LIST_MAX,
        }
    }

    fn reply(self, result: Result<Value, ApiError>) -> Reply {
        // Go encodes a list that never had an item as null.
        let streams = if self == Self::Name { Value::Null } else { json!([]) };
        Reply::new(self.kind(), result.map(fields))
            .or(json!({"total": 0, "offset": 0, "limit": 0, "streams": streams}))
    }
}

/// A page of an account's streams, in progress.
#[derive(Debug)]
pub(super) struct Streams {
    told: Told,
    offset: i64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Searches the streams whose subjects overlap one subject.
    Search { search: Search, found: BTreeMap<String, StreamId> },
    /// Describes the streams of the page.
    Page { total: usize, offset: usize, groups: Vec<StreamId>, at: usize, page: Page },
}

/// The items of a list, as JSON.
#[derive(Debug, Default)]
pub(super) struct Page(List);

impl Page {
    /// Adds an item; returns its cost.
    pub(super) fn push(&mut self, item: &Value) -> usize {
        let before = self.0.bytes();
        self.0.push(item);
        cost_of_bytes(self.0.bytes() - before)
    }

    /// Whether no further item fits.
    pub(super) fn is_full(&self) -> bool {
        self.0.bytes() >= PAGE_BYTES
    }

    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The list as JSON.
    pub(super) fn into_json(self) -> String {
        self.0.into_json()
    }

    /// The limit that an answer names: the usual one, or the number of items of a page that has no room for more.
    pub(super) fn limit(&self, usual: usize, is_cut: bool) -> usize {
        if is_cut { self.len() } else { usual }
    }
}

impl<D: Disk> Engine<D> {
    /// Lists the streams of an account. Answers at once if they are few, otherwise later.
    pub(super) fn list_streams(
        &mut self,
        told: Told,
        request: &Request<'_>,
        asked: Result<ListRequest, ApiError>,
    ) -> Option<Reply> {
        let wanted = match asked {
            Ok(wanted) => wanted,
            Err(e) => return Some(told.reply(Err(e))),
        };
        let stage = match wanted.subject.is_empty() {
            true => {
                let streams = self.accounts.get(request.account.index()).map(|account| &account.streams);
                let total = streams.map_or(0, BTreeMap::len);
                let groups = streams.into_iter().flat_map(BTreeMap::values).copied();
                page(told, total, wanted.offset, groups)
            }
            false => {
                let search = Search::new(wanted.subject.as_bytes(), Relation::Overlaps);
                Stage::Search { search, found: BTreeMap::new() }
            }
        };
        let mut streams = Streams { told, offset: wanted.offset, stage };
        let mut budget = STEP;
        let reply = self.go_on_with_streams(request.account, &mut streams, &mut budget);
        self.requests.spend(STEP - budget);
        if reply.is_none() {
            self.ask_long(request, Long::Streams(Box::new(streams)));
        }
        reply
    }

    /// Continues a page; returns the answer when it is done.
    pub(super) fn go_on_with_streams(
        &mut self,
        account: AccountId,
        streams: &mut Streams,
        budget: &mut usize,
    ) -> Option<Reply> {
        let told = streams.told;
        if let Stage::Search { search, found } = &mut streams.stage {
            if !self.search_streams(account, search, found, budget) {
                return None;
            }
            let found = std::mem::take(found);
            streams.stage = page(told, found.len(), streams.offset, found.into_values());
        }
        let Stage::Page { total, offset, groups, at, page } = &mut streams.stage else { return None };
        while let Some(stream_id) = groups.get(*at).copied().filter(|_| !page.is_full()) {
            if *budget == 0 {
                return None;
            }
            *at += 1;
            *budget = budget.saturating_sub(if told == Told::Name { NAME } else { STREAM });
            // A stream that was deleted meanwhile is left out.
            let Some(stream) = self.streams.get(&stream_id) else { continue };
            let item = match told {
                Told::Name => Value::from(stream.core.config().name.as_str()),
                Told::Info => {
                    let mut info = self.describe(stream, false);
                    info.insert("ts".to_owned(), rfc3339(self.now).into());
                    Value::Object(info)
                }
            };
            *budget = budget.saturating_sub(page.push(&item));
        }
        let page = std::mem::take(page);
        let limit = page.limit(told.max(), *at < groups.len());
        let mut answer = json!({"total": total, "offset": offset, "limit": limit});
        if page.len() == 0 && told == Told::Name {
            answer["streams"] = Value::Null;
            return Some(told.reply(Ok(answer)));
        }
        let place = self.host.unique_id();
        answer["streams"] = place.as_str().into();
        Some(told.reply(Ok(answer)).with_parts(Some((place, page.into_json()))))
    }

    /// Continues a search for streams; true when all were found.
    fn search_streams(
        &self,
        account: AccountId,
        search: &mut Search,
        found: &mut BTreeMap<String, StreamId>,
        budget: &mut usize,
    ) -> bool {
        let Some(account) = self.accounts.get(account.index()) else { return true };
        loop {
            match account.subjects.next(search, budget) {
                Found::More => return false,
                Found::End => return true,
                Found::Owners(groups) => {
                    for stream_id in groups.iter().map(|owner| StreamId(*owner)) {
                        let Some(stream) = self.streams.get(&stream_id) else { continue };
                        let name = stream.core.config().name.as_str();
                        if !found.contains_key(name) {
                            found.insert(name.to_owned(), stream_id);
                        }
                    }
                }
            }
        }
    }
}

/// The page of `total` streams that begins behind the first `offset` of them.
fn page(told: Told, total: usize, offset: i64, groups: impl Iterator<Item = StreamId>) -> Stage {
    let offset = offset.clamp(0, total as i64) as usize;
    let groups = groups.skip(offset).take(told.max()).collect();
    Stage::Page { total, offset, groups, at: 0, page: Page::default() }
}
