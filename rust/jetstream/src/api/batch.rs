//! Direct gets of several messages (ADR-31): they are found and sent in steps.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use stonechat_store::disk::Disk;
use stonechat_store::index::Filter;
use stonechat_store::messages::{Messages, Progress, SubjectState};
use stonechat_subject::SubjectIndex;

use super::Request;
use super::long::{Long, STEP};
use super::queue::is_large;
use super::requests::GetRequest;
use crate::engine::{Engine, Storage};
use crate::ids::StreamId;

/// Subjects for which one request gets the last messages, at most.
const MULTI_MAX: usize = 1024;
/// Bytes of messages that one request gets, unless it has a limit of its own.
const BYTES_MAX: i64 = 64 << 20;
/// Bytes of messages that one step sends.
const STEP_BYTES: usize = 512 << 10;

/// Cost of sending a message, besides the search for it and its bytes: passing it to a client takes about a microsecond.
const MESSAGE: usize = if STEP > 4096 { STEP / 4096 } else { 1 };

/// A request for several messages, in progress.
#[derive(Debug)]
pub(super) struct Direct {
    stream_id: StreamId,
    asked: GetRequest,
    /// The last sequence when the request came, or the request's upper bound for last messages. Later messages are left out.
    end: u64,
    stage: Stage,
    pending: u64,
    last: u64,
    sent: i64,
    bytes: i64,
}

#[derive(Debug)]
enum Stage {
    /// Searches the first matching message, from this sequence on.
    First(Filter, u64),
    /// Counts the matching messages from `first` on: subject by subject, or (`Count`) one by one.
    CountSubjects {
        filter: Filter,
        first: u64,
        after: Option<Vec<u8>>,
    },
    Count {
        filter: Filter,
        first: u64,
        at: u64,
    },
    /// Sends the matching messages, from `at` on.
    Send {
        filter: Filter,
        at: u64,
    },
    /// Searches the last messages on subjects.
    Last(Box<Last>),
    /// Sends the messages with these sequences.
    SendAll(BTreeSet<u64>),
}

/// A search for the last messages on all subjects that match some filters.
#[derive(Debug)]
struct Last {
    start: u64,
    up_to: u64,
    /// Position of the filter that is searched, and the subject behind which the search continues.
    filter: usize,
    after: Option<Vec<u8>>,
    found: BTreeSet<u64>,
    /// The first sequence on subjects whose last message comes after `up_to`, if there are any: the scan for their messages
    /// continues there.
    early: Option<u64>,
    /// The filters of that scan, and the last message that it found on each subject.
    all: Option<(SubjectIndex, HashMap<Vec<u8>, u64>)>,
}

/// The end of a step.
enum Ended {
    /// There is more to do.
    Not,
    /// The request is done, with this status.
    With(&'static str),
}

impl<D: Disk> Engine<D> {
    /// Begins a request for several messages.
    pub(super) fn begin_direct(&mut self, stream_id: StreamId, request: &Request<'_>, asked: GetRequest) {
        let Some(stream) = self.streams.get(&stream_id) else { return };
        let messages = stream.core.messages();
        let end = messages.last_sequence();
        let start = asked.start_time.map_or(Some(asked.sequence), |time| messages.at_time(time));
        let stage = if asked.multi_last.is_empty() {
            let filter = if asked.next_for.is_empty() { &b">"[..] } else { asked.next_for.as_bytes() };
            // Without a message that was stored at that time or later, none matches.
            Stage::First(Filter::new(filter), start.unwrap_or(u64::MAX))
        } else {
            let up_to = match (asked.up_to_sequence, asked.up_to_time) {
                (0, None) => end,
                (0, Some(time)) => messages.at_time(time).map_or(end, |sequence| sequence - 1),
                (sequence, _) => sequence,
            };
            let start = start.unwrap_or(u64::MAX);
            Stage::Last(Box::new(Last {
                start,
                up_to,
                filter: 0,
                after: None,
                found: BTreeSet::new(),
                early: None,
                all: None,
            }))
        };
        let mut direct = Direct { stream_id, asked, end, stage, pending: 0, last: 0, sent: 0, bytes: 0 };
        let mut budget = STEP;
        let is_done = self.go_on_direct(request, &mut direct, &mut budget);
        self.requests.spend(STEP - budget);
        if !is_done {
            self.ask_long(request, Long::Direct(Box::new(direct)));
        } else if is_large(request) {
            self.requests.asides.give_up(direct);
        }
    }

    /// Continues a request; true when it is answered.
    pub(super) fn go_on_direct(
        &mut self,
        request: &Request<'_>,
        direct: &mut Direct,
        budget: &mut usize,
    ) -> bool {
        while *budget > 0 {
            let Some(stream) = self.streams.get(&direct.stream_id) else { return true };
            let messages = stream.core.messages();
            let ended = match &mut direct.stage {
                Stage::Send { .. } | Stage::SendAll(_) => {
                    if self.outbox.is_crowded() {
                        // The outbox is full: it waits for the disk, or for the receivers.
                        *budget = 0;
                        return false;
                    }
                    self.send_some(request, direct, budget)
                }
                Stage::Last(last) => {
                    let ended = last.step(&direct.asked, messages, budget);
                    if last.is_done(&direct.asked) && matches!(ended, Ended::Not) {
                        direct.begin_to_send_all()
                    } else {
                        ended
                    }
                }
                _ => direct.look(messages, budget),
            };
            let Ended::With(status) = ended else { continue };
            let up_to = direct.up_to();
            let mut headers = vec![("Nats-Num-Pending", direct.pending), ("Nats-Last-Sequence", direct.last)];
            headers.extend(up_to.map(|up_to| ("Nats-UpTo-Sequence", up_to)));
            let headers = if status.starts_with("204") { &headers[..] } else { &[] };
            self.direct_status(request, status, headers);
            return true;
        }
        false
    }

    /// Sends some messages.
    fn send_some(&mut self, request: &Request<'_>, direct: &mut Direct, budget: &mut usize) -> Ended {
        let over = Ended::With("204 EOB");
        let most = if direct.asked.max_bytes > 0 { direct.asked.max_bytes } else { BYTES_MAX };
        while *budget > 0 {
            let Some(stream) = self.streams.get(&direct.stream_id) else { return over };
            let sequence = match &mut direct.stage {
                Stage::Send { filter, at } => {
                    if direct.sent >= direct.asked.batch {
                        return over;
                    }
                    match seek(stream.core.messages(), filter, at, direct.end, budget) {
                        Progress::Done(Some(sequence)) => sequence,
                        Progress::Done(None) => return over,
                        Progress::More(_) => return Ended::Not,
                    }
                }
                Stage::SendAll(found) => {
                    if direct.asked.batch > 0 && direct.sent >= direct.asked.batch {
                        return over;
                    }
                    *budget -= 1;
                    match found.pop_first() {
                        Some(sequence) => sequence,
                        None => return over,
                    }
                }
                _ => return over,
            };
            let pending = direct.pending.saturating_sub(1);
            let no_headers = direct.asked.no_headers;
            let is_batch = matches!(direct.stage, Stage::Send { .. });
            let size = self.direct_one(direct.stream_id, request, sequence, pending, direct.last, no_headers);
            if size.is_none() && is_batch {
                return over;
            }
            direct.pending = pending;
            let Some(size) = size else { return over };
            (direct.last, direct.sent, direct.bytes) = (sequence, direct.sent + 1, direct.bytes + size);
            *budget = budget.saturating_sub(MESSAGE + size as usize * STEP / STEP_BYTES);
            if direct.bytes >= most {
                return over;
            }
        }
        Ended::Not
    }
}

/// Returns the first matching message from `at` on, and moves `at` behind it.
fn seek<D: Disk>(
    messages: &Storage<D>,
    filter: &Filter,
    at: &mut u64,
    end: u64,
    budget: &mut usize,
) -> Progress<Option<u64>> {
    if *at > end {
        return Progress::Done(None);
    }
    match messages.next_matching(Some(filter), *at, *budget) {
        Progress::Done(Some(sequence)) if sequence <= end => {
            let looked = usize::try_from(sequence.saturating_sub(*at)).unwrap_or(usize::MAX);
            *budget = budget.saturating_sub(looked.saturating_add(1));
            *at = sequence + 1;
            Progress::Done(Some(sequence))
        }
        Progress::More(next) => {
            (*at, *budget) = (next, 0);
            Progress::More(next)
        }
        Progress::Done(_) => Progress::Done(None),
    }
}

impl Direct {
    fn up_to(&self) -> Option<u64> {
        let is_multi = !self.asked.multi_last.is_empty();
        is_multi.then_some(self.end)
    }

    /// Searches the first matching message, and counts the matching ones.
    fn look<D: Disk>(&mut self, messages: &Storage<D>, budget: &mut usize) -> Ended {
        match &mut self.stage {
            Stage::First(filter, at) => {
                let first = match seek(messages, filter, at, self.end, budget) {
                    Progress::Done(Some(first)) => first,
                    Progress::Done(None) => return Ended::With("404 Message Not Found"),
                    Progress::More(_) => return Ended::Not,
                };
                let filter = filter.clone();
                self.stage = match first <= messages.state().first_sequence {
                    true => Stage::CountSubjects { filter, first, after: None },
                    false => Stage::Count { filter, first, at: first },
                };
            }
            Stage::CountSubjects { filter, first, after } => {
                let mut count = |_: &[u8], known: SubjectState| self.pending += known.count;
                if messages.some_subjects(filter, after, budget, &mut count) {
                    self.stage = Stage::Send { filter: filter.clone(), at: *first };
                }
            }
            Stage::Count { filter, first, at } => {
                while *budget > 0 {
                    match seek(messages, filter, at, self.end, budget) {
                        Progress::Done(Some(_)) => self.pending += 1,
                        Progress::Done(None) => {
                            self.stage = Stage::Send { filter: filter.clone(), at: *first };
                            break;
                        }
                        Progress::More(_) => break,
                    }
                }
            }
            _ => {}
        }
        Ended::Not
    }

    /// Begins to send the last messages, after all of them were found.
    fn begin_to_send_all(&mut self) -> Ended {
        let Stage::Last(last) = &mut self.stage else { return Ended::Not };
        let mut found = std::mem::take(&mut last.found);
        if let Some((_, all)) = last.all.take() {
            found.extend(all.into_values());
        }
        if found.len() > MULTI_MAX {
            return Ended::With("413 Too Many Results");
        }
        let found = found.split_off(&last.start);
        if found.is_empty() {
            return Ended::With("404 No Results");
        }
        (self.pending, self.end) = (found.len() as u64, last.up_to);
        self.stage = Stage::SendAll(found);
        Ended::Not
    }
}

impl Last {
    fn is_done(&self, asked: &GetRequest) -> bool {
        self.filter >= asked.multi_last.len() && self.early.is_none()
    }

    /// Continues the search: looks at some subjects, then at some messages.
    fn step<D: Disk>(&mut self, asked: &GetRequest, messages: &Storage<D>, budget: &mut usize) -> Ended {
        while let Some(text) = asked.multi_last.get(self.filter) {
            let Some(left) = budget.checked_sub(1) else { return Ended::Not };
            *budget = left;
            let filter = Filter::new(text.as_bytes());
            let (found, early, up_to) = (&mut self.found, &mut self.early, self.up_to);
            let is_all = messages.some_subjects(&filter, &mut self.after, budget, &mut |_, known| {
                if known.last <= up_to {
                    found.insert(known.last);
                } else {
                    *early = Some(early.unwrap_or(known.first).min(known.first));
                }
            });
            if found.len() > MULTI_MAX {
                return Ended::With("413 Too Many Results");
            }
            if is_all {
                (self.filter, self.after) = (self.filter + 1, None);
            }
        }
        self.step_all(asked, messages, budget)
    }

    /// Scans messages up to `up_to`, for subjects whose last message comes after it.
    fn step_all<D: Disk>(&mut self, asked: &GetRequest, messages: &Storage<D>, budget: &mut usize) -> Ended {
        let Some(from) = self.early else { return Ended::Not };
        let (index, all) = self.all.get_or_insert_with(|| {
            let mut index = SubjectIndex::default();
            asked.multi_last.iter().for_each(|filter| index.insert(filter.as_bytes(), 0));
            (index, HashMap::new())
        });
        let (up_to, mut next, mut is_over) = (self.up_to, from, true);
        messages.scan(from, &mut |sequence, message| {
            if sequence > up_to {
                return ControlFlow::Break(());
            }
            if *budget == 0 || all.len() > MULTI_MAX {
                is_over = false;
                return ControlFlow::Break(());
            }
            *budget -= 1;
            next = sequence + 1;
            if let Some(message) = message.filter(|message| index.matches(message.subject)) {
                match all.get_mut(message.subject) {
                    Some(last) => *last = sequence,
                    None => drop(all.insert(message.subject.to_vec(), sequence)),
                }
            }
            ControlFlow::Continue(())
        });
        self.early = (!is_over).then_some(next);
        if all.len() > MULTI_MAX { Ended::With("413 Too Many Results") } else { Ended::Not }
    }
}
