//! Long requests. They are processed in steps, between which all other work continues.
//!
//! These are long:
//!
//! - purges that remove messages one by one, and deletions of streams with many consumers
//! - lists of streams, and of the subjects of a stream
//! - gets that search for one message, and gets of several messages
//! - configurations with very many subjects or filters (`meetings.rs`)
//! - counts of the messages that wait for a consumer
//!
//! A step counts each item that it visits, whether the item matches or not.

use serde_json::json;
use stonechat_store::disk::Disk;

use super::asides::To;
use super::batch::Direct;
use super::configure::Configure;
use super::consume::Consume;
use super::describe::Describe;
use super::find::Find;
use super::info::Listing;
use super::lists::Streams;
use super::purge::Purge;
use super::queue::Owned;
use super::streams::Delete;
use super::{Reply, Request, fields};
use crate::engine::Engine;
use crate::ids::StreamId;

/// Messages or subjects that one step visits; few in debug builds, so that tests take several steps.
pub(crate) const STEP: usize = if cfg!(debug_assertions) { 64 } else { 8192 };

/// Comparisons of subjects in one step.
pub(super) const CHECKS: usize = if cfg!(debug_assertions) { 1024 } else { STEP / 8 };

/// Bytes above which a request is decoded in one turn and processed in others.
pub(super) const LARGE: usize = 16 << 10;

/// The work of a long request, with its progress.
#[derive(Debug)]
pub(super) enum Long {
    Purge(Purge),
    Listing(Listing),
    Streams(Box<Streams>),
    Direct(Box<Direct>),
    Configure(Box<Configure>),
    Consume(Box<Consume>),
    Describe(Box<Describe>),
    Find(Box<Find>),
    Delete(Box<Delete>),
    /// The requested change is done, and its consequences are under way.
    Settle(Settle),
}

/// A long request, in progress.
#[derive(Debug)]
pub(crate) struct LongRequest {
    asked: Owned,
    work: Long,
}

impl LongRequest {
    /// Bytes of the request.
    pub(super) fn bytes(&self) -> usize {
        self.asked.bytes()
    }

    /// Whether the request holds so much that dropping it takes long.
    pub(super) fn is_large(&self) -> bool {
        self.asked.is_large()
    }

    /// Whether the requests behind it wait until it is done.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.work, Long::Configure(_) | Long::Consume(_) | Long::Delete(_) | Long::Settle(_))
    }
}

/// An answer that waits until the consequences of a change of a stream are done.
#[derive(Debug)]
pub(super) struct Settle {
    /// The type of the answer.
    pub(super) kind: &'static str,
    pub(super) stream_id: StreamId,
}

/// Whether work compares subjects.
fn long_checks(work: &Long) -> bool {
    matches!(work, Long::Configure(_) | Long::Consume(_) | Long::Delete(_))
}

impl<D: Disk> Engine<D> {
    /// Keeps a request that is answered later.
    pub(super) fn ask_long(&mut self, request: &Request<'_>, work: Long) {
        let asked = Owned::new(request, To::Api);
        self.requests.keep(request.account, LongRequest { asked, work });
    }

    /// Returns the answer when the consequences of the change are done.
    pub(super) fn go_on_settling(&mut self, settle: &mut Settle, budget: &mut usize) -> Option<Reply> {
        if self.is_settling(settle.stream_id) {
            *budget = 0;
            return None;
        }
        Some(Reply::new(settle.kind, Ok(fields(json!({"success": true})))))
    }

    /// Runs a step of a long request. Answers it if that was the last step, otherwise returns it.
    pub(super) fn go_on(&mut self, mut long: LongRequest) -> Option<LongRequest> {
        let LongRequest { asked, work } = &mut long;
        let step = if long_checks(work) { CHECKS } else { STEP };
        let mut budget = step;
        let mut is_over = false;
        let reply = asked.lend(|request| match work {
            Long::Direct(direct) => {
                is_over = self.go_on_direct(request, direct, &mut budget);
                None
            }
            Long::Purge(purge) => self.go_on_purging(purge, &mut budget),
            Long::Listing(listing) => self.go_on_listing(listing, &mut budget),
            Long::Find(find) => {
                let reply = self.go_on_finding(request, find, &mut budget);
                is_over = find.is_over();
                reply
            }
            Long::Streams(streams) => self.go_on_with_streams(request.account, streams, &mut budget),
            Long::Settle(settle) => self.go_on_settling(settle, &mut budget),
            Long::Describe(describe) => self.go_on_describing(describe, &mut budget),
            Long::Configure(configure) => self.go_on_configuring(request, configure, &mut budget),
            Long::Delete(delete) => self.go_on_deleting(request.account, delete, &mut budget),
            Long::Consume(consume) => self.go_on_consuming(request, consume, &mut budget),
        });
        self.requests.spend((step - budget).saturating_mul(STEP / step.min(STEP)).max(1));
        match reply {
            Some(reply) => long.asked.lend(|request| self.answer(request, reply)),
            None if is_over => {}
            None => return Some(long),
        }
        self.give_up(long);
        None
    }
}
