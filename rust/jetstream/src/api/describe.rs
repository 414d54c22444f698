//! What is said of consumers: first the messages that wait for them are counted, in steps.

use serde_json::{Value, json};
use stonechat_store::disk::Disk;

use super::long::{Long, STEP};
use super::{Reply, Request, fields};
use crate::engine::Engine;
use crate::error;

/// What a consumer that was described costs.
const CONSUMER: usize = STEP / 64;

/// Consumers that are to be described.
#[derive(Debug)]
pub(super) struct Describe {
    /// The type of the answer.
    kind: &'static str,
    ids: Vec<u32>,
    /// What was described.
    told: Vec<Value>,
    about: About,
}

/// How the answer goes on.
#[derive(Debug, Clone, Copy)]
enum About {
    One,
    /// A consumer begins anew here.
    Reset(u64),
    /// A page of a list: of so many consumers, behind so many.
    Page {
        total: usize,
        offset: usize,
        limit: usize,
    },
}

impl Describe {
    /// One consumer.
    pub(super) fn one(kind: &'static str, id: u32) -> Self {
        Self { kind, ids: vec![id], told: Vec::new(), about: About::One }
    }

    /// One that begins anew.
    pub(super) fn reset(kind: &'static str, id: u32, start: u64) -> Self {
        Self { about: About::Reset(start), ..Self::one(kind, id) }
    }

    /// A page of a list.
    pub(super) fn page(kind: &'static str, ids: Vec<u32>, total: usize, offset: usize, limit: usize) -> Self {
        Self { kind, ids, told: Vec::new(), about: About::Page { total, offset, limit } }
    }
}

impl<D: Disk> Engine<D> {
    /// Describes consumers: answers at once if there is little to count, else later.
    pub(super) fn describe_all(&mut self, request: &Request<'_>, mut describe: Describe) -> Option<Reply> {
        let mut budget = STEP;
        let reply = self.go_on_describing(&mut describe, &mut budget);
        self.requests.spend(STEP - budget);
        if reply.is_none() {
            self.ask_long(request, Long::Describe(Box::new(describe)));
        }
        reply
    }

    /// Goes on with it; the answer when it is done.
    pub(super) fn go_on_describing(&mut self, describe: &mut Describe, budget: &mut usize) -> Option<Reply> {
        let stamped = !matches!(describe.about, About::Page { .. });
        while let Some(id) = describe.ids.get(describe.told.len()).copied() {
            if *budget == 0 || !self.count_for(id, budget) {
                return None;
            }
            *budget = budget.saturating_sub(CONSUMER);
            describe.told.push(Value::Object(self.describe_consumer(id, stamped)));
        }
        let mut told = std::mem::take(&mut describe.told);
        let result = match describe.about {
            About::Page { total, offset, limit } => {
                // Those that went meanwhile have nothing to be told.
                told.retain(|told| told.as_object().is_some_and(|told| !told.is_empty()));
                Ok(fields(json!({"total": total, "offset": offset, "limit": limit, "consumers": told})))
            }
            About::One | About::Reset(_) => match told.pop() {
                Some(Value::Object(mut answer)) if !answer.is_empty() => {
                    if let About::Reset(start) = describe.about {
                        answer.insert("reset_seq".to_owned(), start.into());
                    }
                    Ok(answer)
                }
                _ => Err(error::CONSUMER_NOT_FOUND.error()),
            },
        };
        let reply = Reply::new(describe.kind, result);
        Some(match describe.about {
            About::One => reply,
            About::Reset(_) => reply.or(json!({"reset_seq": 0})),
            About::Page { .. } => reply.or(json!({"total": 0, "offset": 0, "limit": 0, "consumers": []})),
        })
    }
}
