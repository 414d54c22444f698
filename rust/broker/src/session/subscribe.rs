//! SUB and UNSUB.

use super::ClientSession;
use crate::router::{end_subscription, trace_end};
use crate::subscription::{Sink, SubRef, Subscription};
use crate::totals::Totals;
use std::sync::Arc;
use stonechat_subject::{is_valid_subject, token_count};
use stonechat_wire::{quote, texts};
use tracing::error;

/// The queue group that is reserved for servers.
const SYSTEM_QUEUE: &[u8] = b"_sys_";

impl ClientSession {
    pub(super) fn subscribe(&mut self, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        self.router.touch(&self.client);
        if let Err(text) = self.check_subscription(subject, queue) {
            error!("{} - {text}", self.client.label());
            self.send_error(&text);
            return;
        }
        let limit = self.options.max_subscriptions;
        if limit > 0 && self.client.subscription_count() >= limit {
            error!("{} - maximum subscriptions exceeded", self.client.label());
            self.send_error(texts::MAX_SUBSCRIPTIONS);
            return;
        }
        if self.client.subs.lock().get(sid).is_some_and(|sub| !sub.is_over()) {
            self.send_ok();
            return;
        }
        if !is_valid_subject(subject) {
            self.send_error(texts::INVALID_SUBJECT);
            return;
        }
        let Some(account) = &self.account else { return };
        let deny = self.permissions.as_ref().and_then(|p| p.deny_filter(subject, queue));
        let sub = Arc::new(Subscription::new(Sink::Client(self.client.clone()), subject, queue, sid, deny));
        self.client.subs.lock().insert(sid.into(), sub.clone());
        account.subscribe(&SubRef(sub));
        Totals::add(&self.broker.totals.inserts, 1);
        self.send_ok();
    }

    /// Checks a subscription against permissions and limits. The error is the text of the refusal.
    fn check_subscription(&self, subject: &[u8], queue: Option<&[u8]>) -> Result<(), String> {
        let allowed = queue != Some(SYSTEM_QUEUE)
            && self.permissions.as_ref().is_none_or(|p| p.may_subscribe(subject, queue));
        if !allowed {
            let queue = queue.map(|q| format!(" using queue {}", quote(q))).unwrap_or_default();
            return Err(format!("Permissions Violation for Subscription to {}{queue}", quote(subject)));
        }
        let tokens_max = self.options.max_subscription_tokens;
        if tokens_max > 0 && token_count(subject) > tokens_max {
            return Err(format!(
                "Permissions Violation for Subscription to {}, too many tokens",
                quote(subject)
            ));
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, sid: &[u8], max: Option<u64>) {
        let sub = self.client.subs.lock().get(sid).cloned();
        if self.connect.verbose {
            self.send_ok();
            self.router.touch(&self.client);
        }
        let Some(sub) = sub else { return };
        let limited = max.is_some_and(|max| {
            // Deliveries are counted under this lock, so none falls between the check of their number and the limit.
            let _pending = self.client.outbound.lock();
            sub.limit(max)
        });
        if !limited {
            self.remove(SubRef(sub));
        }
    }

    fn remove(&self, sub: SubRef) {
        if let Some(account) = &self.account {
            end_subscription(&self.options, account, &self.client, &sub);
            Totals::add(&self.broker.totals.removes, 1);
        }
    }

    /// Removes every subscription of the session.
    pub(super) fn drop_subscriptions(&mut self) {
        let subs = std::mem::take(&mut *self.client.subs.lock());
        let Some(account) = &self.account else { return };
        Totals::add(&self.broker.totals.removes, subs.len() as u64);
        for sub in subs.into_values() {
            if sub.close() {
                trace_end(&self.options, &self.client, &sub);
                account.unsubscribe(&SubRef(sub));
            }
        }
    }
}
