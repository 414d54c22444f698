//! Runs: messages of one publisher on one subject that arrived together.
//!
//! Busy publishers mostly publish on one subject at a time. The messages of a run share one look-up of interest and
//! permissions, and each receiver's buffer is locked once for all of them.

use crate::frame::{Frames, Head};
use crate::router::{Delivery, Message, Origin, Router};
use crate::subscription::{Sink, SubRef};
use crate::{Account, Broker, BrokerOptions};
use smallvec::SmallVec;
use stonechat_subject::Matches;
use stonechat_wire::Repeat;

/// Most messages in a run, so that no buffer is locked for long.
pub(crate) const RUN_MAX: usize = 64;

/// The messages of a run; they always fit on the stack.
pub(crate) type Repeats<'m> = SmallVec<[Repeat<'m>; RUN_MAX]>;

/// A run to deliver: small messages without a reply subject.
pub(crate) struct Run<'r> {
    pub(crate) broker: &'r Broker,
    pub(crate) options: &'r BrokerOptions,
    pub(crate) account: &'r Account,
    pub(crate) origin: Origin<'r>,
    pub(crate) subject: &'r [u8],
    pub(crate) head: &'r Head,
    pub(crate) messages: &'r [Repeat<'r>],
}

impl Run<'_> {
    fn with_headers(&self) -> bool {
        self.messages.first().is_some_and(|m| m.header_len > 0)
    }
}

impl Router {
    /// Delivers a run to all matching subscriptions.
    pub(crate) fn deliver_run(&mut self, run: &Run<'_>, matched: &Matches<SubRef>) {
        for sub in &matched.plain {
            self.offer_run(run, sub);
        }
        for queue in &matched.queues {
            self.deliver_run_to_queue(run, &queue.members);
        }
        // Services answer only requests, and a run contains none.
        self.asked.clear();
    }

    /// Offers a run to one subscription.
    #[inline]
    pub(crate) fn offer_run(&mut self, run: &Run<'_>, sub: &SubRef) {
        if !self.append_run(run, sub, run.messages) {
            for message in run.messages {
                self.offer_one(run, message, std::iter::once(sub));
            }
        }
    }

    /// Draws a member for each message, then gives each member its share in one piece. If shares were interleaved, the
    /// messages of a member that accepts no more would reach another member after later messages.
    pub(crate) fn deliver_run_to_queue(&mut self, run: &Run<'_>, members: &[SubRef]) {
        if members.is_empty() {
            return;
        }
        let start = self.next_random() as usize;
        let mut draws: SmallVec<[usize; RUN_MAX]> =
            run.messages.iter().map(|_| self.next_random() as usize % members.len()).collect();
        draws.sort_unstable();
        let mut rest = run.messages;
        for share in draws.chunk_by(|a, b| a == b) {
            let (messages, later) = rest.split_at(share.len());
            rest = later;
            // The random offset keeps the first messages from always going to the same member.
            let (after, first) = members.split_at((share[0] + start) % members.len());
            if !first.first().is_some_and(|member| self.append_run(run, member, messages)) {
                for message in messages {
                    self.offer_one(run, message, first.iter().chain(after));
                }
            }
        }
    }

    /// Appends messages of a run to one receiver's buffer under one lock. Returns false and does nothing if any of them
    /// requires the checks of [`Router::offer`].
    #[inline]
    fn append_run(&mut self, run: &Run<'_>, sub: &SubRef, messages: &[Repeat<'_>]) -> bool {
        let Sink::Client(client) = &sub.sink else { return false };
        if sub.deny.is_some() || (!run.origin.echo && client.cid == run.origin.client.cid) {
            return false;
        }
        let headers = run.with_headers();
        let head = run.head.get(headers);
        let fixed = head.len() + sub.sid.len();
        let len: usize = messages.iter().map(|m| fixed + m.tail.len()).sum();
        let max_pending = run.options.max_pending;
        let limit = if run.options.no_fast_producer_stall { max_pending / 4 * 3 } else { max_pending };
        let mut pending = client.outbound.lock();
        let special = (headers && !pending.headers) || pending.bytes() + len > limit;
        if special || pending.is_closed() || sub.is_closed() || sub.max() > 0 {
            return false;
        }
        let (count, mut bytes) = (messages.len() as u64, 0);
        for message in messages {
            pending.append_frame(head, &sub.sid, message.tail);
            bytes += message.payload.len() as u64;
        }
        sub.count_unlimited(count);
        pending.counts.msgs += count;
        pending.counts.bytes += bytes;
        let first = pending.note();
        drop(pending);
        self.delivered(count, bytes);
        if first {
            self.touched.push(client.clone());
        }
        true
    }

    /// Offers a message of a run to these subscriptions in turn, until one takes it.
    fn offer_one<'s>(
        &mut self,
        run: &Run<'_>,
        message: &Repeat<'_>,
        mut subs: impl Iterator<Item = &'s SubRef>,
    ) {
        let message = Message {
            subject: run.subject,
            reply: b"",
            header_len: (message.header_len > 0).then_some(message.header_len),
            payload: message.payload,
            tail: Some(message.tail),
            sizes: b"",
        };
        let mut frames = Frames::new(run.head, message.tail.unwrap_or_default(), &message);
        let Run { broker, options, account, origin, .. } = *run;
        let delivery = Delivery { broker, options, account, origin, message: &message, share: false };
        subs.any(|sub| self.offer(&delivery, &mut frames, sub));
    }
}
