//! Requests that take long: they are worked on in steps, between which everything else goes on.

use std::ops::ControlFlow;

use serde_json::Value;
use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, SubjectState};

use super::Request;
use super::info::Listing;
use super::purge::Purge;
use crate::engine::Engine;

/// Messages or subjects that are looked at in one step; few where it is tested, so that there are several.
pub(super) const STEP: usize = if cfg!(debug_assertions) { 64 } else { 8192 };

/// Visits as many matching subjects as are looked at in one step, behind `after`, where the last one is put; true if that was all.
pub(super) fn some_subjects(
    messages: &impl Messages,
    filter: &Filter,
    after: &mut Option<Vec<u8>>,
    mut visit: impl FnMut(&[u8], SubjectState),
) -> bool {
    let (mut looked, mut last) = (0, None);
    let flow = messages.subjects(filter, after.as_deref(), &mut |subject, known| {
        visit(subject, known);
        looked += 1;
        if looked < STEP {
            return ControlFlow::Continue(());
        }
        last = Some(subject.to_vec());
        ControlFlow::Break(())
    });
    *after = last;
    flow.is_continue()
}

/// What is to be done, and how far it is.
#[derive(Debug)]
pub(super) enum Long {
    Purge(Purge),
    Listing(Listing),
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct LongRequest {
    account: u32,
    subject: Vec<u8>,
    reply: Vec<u8>,
    payload: Vec<u8>,
    client: Value,
    work: Long,
}

impl<D: Disk> Engine<D> {
    /// Answers a request later.
    pub(super) fn ask_long(&mut self, request: &Request<'_>, work: Long) {
        self.long.push_back(LongRequest {
            account: request.account,
            subject: request.subject.to_vec(),
            reply: request.reply.to_vec(),
            payload: request.payload.to_vec(),
            client: (request.client)(),
            work,
        });
    }

    /// Goes on with one of the requests that take long, and answers it when it is done.
    pub(crate) fn run_long(&mut self) {
        let Some(mut asked) = self.long.pop_front() else { return };
        let reply = match &mut asked.work {
            Long::Purge(purge) => self.go_on_purging(purge),
            Long::Listing(listing) => self.go_on_listing(listing),
        };
        let Some(reply) = reply else { return self.long.push_back(asked) };
        let LongRequest { account, subject, reply: to, payload, client, .. } = &asked;
        let client = || client.clone();
        let request =
            Request { account: *account, subject, reply: to, headers: b"", payload, client: &client };
        self.answer(&request, reply);
    }
}
