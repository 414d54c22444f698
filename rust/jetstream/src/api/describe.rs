//! Descriptions of consumers. The messages that wait for them are counted first, in steps.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;

use super::lists::Page;
use super::long::{Long, STEP};
use super::{Answer, Reply, Request, fields};
use crate::engine::Engine;
use crate::error;
use crate::ids::ConsumerId;

/// Cost of describing a consumer.
const CONSUMER: usize = STEP / 64;

/// A description of consumers, in progress.
#[derive(Debug)]
pub(super) struct Describe {
    /// The type of the answer.
    kind: &'static str,
    ids: Vec<ConsumerId>,
    /// Number of consumers that were described.
    at: usize,
    /// The description of a single consumer; empty if it is gone.
    told: Answer,
    /// The descriptions of a page.
    page: Page,
    about: About,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy)]
enum About {
    One,
    /// A consumer that restarts at this sequence.
    Reset(u64),
    /// A page of a list of `total` consumers, behind the first `offset` of them.
    Page {
        total: usize,
        offset: usize,
        limit: usize,
    },
}

impl Describe {
    fn new(kind: &'static str, ids: Vec<ConsumerId>, about: About) -> Self {
        Self { kind, ids, at: 0, told: Answer::new(), page: Page::default(), about }
    }

    /// Describes one consumer.
    pub(super) fn one(kind: &'static str, id: ConsumerId) -> Self {
        Self::new(kind, vec![id], About::One)
    }

    /// Describes a consumer that restarts at `start`.
    pub(super) fn reset(kind: &'static str, id: ConsumerId, start: u64) -> Self {
        Self::new(kind, vec![id], About::Reset(start))
    }

    /// Describes a page of a list.
    pub(super) fn page(
        kind: &'static str,
        ids: Vec<ConsumerId>,
        total: usize,
        offset: usize,
        limit: usize,
    ) -> Self {
        Self::new(kind, ids, About::Page { total, offset, limit })
    }
}

impl<D: Disk> Engine<D> {
    /// Describes consumers. Answers at once if there is little to count, otherwise later.
    pub(super) fn describe_all(&mut self, request: &Request<'_>, mut describe: Describe) -> Option<Reply> {
        let mut budget = STEP;
        let reply = self.go_on_describing(&mut describe, &mut budget);
        self.requests.spend(STEP - budget);
        if reply.is_none() {
            self.ask_long(request, Long::Describe(Box::new(describe)));
        }
        reply
    }

    /// Continues a description; returns the answer when it is done.
    pub(super) fn go_on_describing(&mut self, describe: &mut Describe, budget: &mut usize) -> Option<Reply> {
        let stamped = !matches!(describe.about, About::Page { .. });
        while let Some(id) = describe.ids.get(describe.at).copied().filter(|_| !describe.page.is_full()) {
            if *budget == 0 || !self.count_for(id, budget) {
                return None;
            }
            *budget = budget.saturating_sub(CONSUMER);
            describe.at += 1;
            let told = self.describe_consumer(id, stamped);
            if stamped {
                describe.told = told;
            } else if !told.is_empty() {
                // A consumer that was deleted meanwhile is left out.
                *budget = budget.saturating_sub(describe.page.push(&Value::Object(told)));
            }
        }
        let mut part = None;
        let mut told = std::mem::take(&mut describe.told);
        let result = match describe.about {
            About::Page { total, offset, limit } => {
                let page = std::mem::take(&mut describe.page);
                let limit = page.limit(limit, describe.at < describe.ids.len());
                let place = self.host.unique_id();
                let answer = json!({"total": total, "offset": offset, "limit": limit, "consumers": place});
                part = Some((place, page.into_json()));
                Ok(fields(answer))
            }
            About::One | About::Reset(_) if !told.is_empty() => {
                if let About::Reset(start) = describe.about {
                    told.insert("reset_seq".to_owned(), start.into());
                }
                Ok(told)
            }
            About::One | About::Reset(_) => Err(error::CONSUMER_NOT_FOUND.error()),
        };
        let reply = Reply::new(describe.kind, result).with_parts(part);
        Some(match describe.about {
            About::One => reply,
            About::Reset(_) => reply.or(json!({"reset_seq": 0})),
            About::Page { .. } => reply.or(json!({"total": 0, "offset": 0, "limit": 0, "consumers": []})),
        })
    }
}
