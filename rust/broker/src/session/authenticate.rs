//! CONNECT: the client's identity and permissions.

use super::{ClientSession, Ending, Step};
use crate::client::Identity;
use crate::closed::ClosedReason;
use crate::outbound::Replies;
use crate::permissions::CompiledPermissions;
use crate::subscription::SubRef;
use crate::sync::Ordering::Relaxed;
use std::collections::HashMap;
use std::sync::Arc;

use std::time::{Duration, Instant};
use stonechat_auth::{ConnectionKind, Credentials, Grant, Permissions, Verdict};
use stonechat_wire::{ConnectOptions, Info, quote, texts};
use tracing::error;

impl ClientSession {
    /// Checks the first byte of an operation before CONNECT. It is allowed if it may begin CONNECT, if no credentials
    /// are required, or if a `no_auth_user` is configured.
    pub(super) fn admit_before_connect(&mut self, first: u8) -> Step {
        if first.eq_ignore_ascii_case(&b'c') {
            return Ok(());
        }
        let anonymous = Credentials::default();
        match self.broker.authenticator().check(&anonymous, ConnectionKind::Standard) {
            Verdict::Granted(grant) => {
                // This counts as an empty CONNECT; a later CONNECT is the client's second.
                self.connected = true;
                self.grant(grant);
                Ok(())
            }
            Verdict::Denied => Err(self.violation()),
        }
    }

    pub(super) fn connect(&mut self, json: &[u8], now: Instant) -> Result<Option<Credentials>, Ending> {
        if let Err(error) = self.connect.apply(json) {
            error!("{} - {error}", self.client.label());
            return Err(self.end(ClosedReason::ProtocolViolation));
        }
        let first = !std::mem::replace(&mut self.connected, true);
        self.timers.connected(&self.options, now);
        if first {
            let rtt = now.saturating_duration_since(self.start).max(Duration::from_nanos(1));
            self.client.rtt_ns.store(rtt.as_nanos() as u64, Relaxed);
        } else {
            self.drop_subscriptions();
        }
        let headers = self.options.headers && self.connect.headers;
        self.parser.headers = headers;
        self.client.outbound.lock().headers = headers;
        let credentials = credentials(&self.connect);
        self.authenticator = self.broker.authenticator();
        if self.authenticator.is_expensive(&credentials) {
            return Ok(Some(credentials));
        }
        let verdict = self.authenticator.check(&credentials, ConnectionKind::Standard);
        self.conclude(credentials, verdict)?;
        Ok(None)
    }

    /// Continues after credentials were checked elsewhere, and processes the input that waited meanwhile.
    pub fn authenticated(
        &mut self,
        credentials: Credentials,
        verdict: Verdict,
        now: Instant,
    ) -> super::Progress {
        if self.conclude(credentials, verdict).is_err() {
            let _ = self.finish_batch(now);
            return super::Progress::Close;
        }
        let input = std::mem::take(&mut self.partial);
        self.ingest(&input, now)
    }

    fn conclude(&mut self, credentials: Credentials, verdict: Verdict) -> Step {
        match verdict {
            Verdict::Granted(grant) => self.grant(grant),
            Verdict::Denied => return Err(self.violation()),
        }
        self.credentials = Some(credentials);
        if !(0..=1).contains(&self.connect.protocol) {
            return Err(self.fail(texts::INVALID_CLIENT_PROTOCOL, ClosedReason::BadClientProtocolVersion));
        }
        if self.connect.no_responders && !self.parser.headers {
            return Err(
                self.fail(texts::NO_RESPONDERS_NEEDS_HEADERS, ClosedReason::NoRespondersRequiresHeaders)
            );
        }
        self.send_ok();
        Ok(())
    }

    fn violation(&self) -> Ending {
        error!(
            "{} - authentication error{}",
            self.client.label(),
            match self.connect.user.as_str() {
                "" => String::new(),
                user => format!(" - User {}", quote(user.as_bytes())),
            }
        );
        if !self.connect.user.is_empty() {
            // Monitoring shows the claimed user among the closed connections.
            self.client.identity.lock().user = Some(self.connect.user.as_str().into());
        }
        self.fail(texts::AUTHORIZATION_VIOLATION, ClosedReason::AuthenticationFailure)
    }

    fn grant(&mut self, grant: Grant) {
        self.bind(&grant.account, grant.user, grant.permissions);
    }

    /// Binds the session to an account.
    pub(super) fn bind(
        &mut self,
        account: &str,
        user: Option<Arc<str>>,
        permissions: Option<Arc<Permissions>>,
    ) {
        self.timers.authenticated();
        let account = self.broker.account(account);
        if self.account.as_ref().is_none_or(|old| !Arc::ptr_eq(old, &account)) {
            account.clients.fetch_add(1, Relaxed);
            if let Some(old) = self.account.replace(account.clone()) {
                old.clients.fetch_sub(1, Relaxed);
            }
        }
        self.cache.clear();
        self.permit(permissions.as_deref());
        let label = self.label(account.name(), user.as_deref()).into();
        let c = &self.connect;
        *self.client.identity.lock() = Identity {
            account: Some(account.name().clone()),
            user,
            permissions,
            name: c.name.clone(),
            lang: c.lang.clone(),
            version: c.version.clone(),
            label,
        };
    }

    fn permit(&mut self, permissions: Option<&Permissions>) {
        self.permissions = permissions.map(|p| Box::new(CompiledPermissions::new(p)));
        let responses = self.permissions.as_ref().and_then(|p| p.responses);
        self.client.outbound.lock().replies = responses
            .map(|(max_msgs, expires)| Box::new(Replies { allowed: HashMap::new(), max_msgs, expires }));
    }

    /// Returns the connection's name in log lines, in the form that nats-server 2.15 uses after CONNECT.
    fn label(&self, account: &str, user: Option<&str>) -> String {
        let c = &self.connect;
        let mut said = String::new();
        if !c.version.is_empty() {
            said = format!("v{}", c.version);
        }
        if !c.lang.is_empty() {
            said += if said.is_empty() { "" } else { ":" };
            said += &c.lang;
        }
        if !c.name.is_empty() {
            said += if said.is_empty() { "" } else { ":" };
            said += &c.name;
        }
        let mut label = format!("{} - cid:{}", self.client.peer, self.client.cid);
        if !said.is_empty() {
            label += &format!(" - {}", quote(said.as_bytes()));
        }
        if let (Some(user), true) = (user, self.connected) {
            label += &format!(" - {}", quote(format!("{account}/user:{user}").as_bytes()));
        }
        label
    }

    /// Applies a reload. The client stays if the current configuration admits it to the same account, with its current
    /// permissions.
    pub(super) fn reloaded(&mut self) {
        let authenticator = self.broker.authenticator();
        let Some(account) = self.account.clone() else { return };
        let credentials = self.credentials.clone().unwrap_or_default();
        // Hashing again would take long. A secret that is still configured counts as presented again; a changed hash
        // counts as a changed secret.
        let unchanged = authenticator.unchanged_grant(&self.authenticator, &credentials);
        let grant = unchanged.or_else(|| {
            if authenticator.is_expensive(&credentials) {
                return None;
            }
            match authenticator.check(&credentials, ConnectionKind::Standard) {
                Verdict::Granted(grant) => Some(grant),
                Verdict::Denied => None,
            }
        });
        let Some(grant) = grant.filter(|g| *g.account == **account.name()) else {
            if credentials.user.is_empty() || authenticator.still_grants(&credentials.user).is_some() {
                let _ = self.violation();
            } else {
                // nats-server 2.15 sends no error to users that were removed.
                let _ = self.end(ClosedReason::AuthenticationFailure);
            }
            return;
        };
        self.authenticator = authenticator;
        let changed = self.client.identity.lock().permissions != grant.permissions;
        if changed {
            self.grant(grant);
            self.drop_forbidden();
        }
    }

    /// Removes subscriptions that the current permissions forbid, and sends an error for each.
    fn drop_forbidden(&mut self) {
        let (Some(permissions), Some(account)) = (&self.permissions, &self.account) else { return };
        let subs: Vec<SubRef> = self.client.subs.lock().values().cloned().map(SubRef).collect();
        for sub in subs {
            if permissions.may_subscribe(&sub.subject, sub.queue.as_deref()) {
                continue;
            }
            crate::router::end_subscription(&self.options, account, &self.client, &sub);
            let queue =
                sub.queue.as_deref().map(|q| format!(" using queue {}", quote(q))).unwrap_or_default();
            let text = format!(
                "Permissions Violation for Subscription to {}{queue} (sid {})",
                quote(&sub.subject),
                quote(&sub.sid)
            );
            self.send_error(&text);
        }
        self.router.touch(&self.client);
    }

    /// Answers PING with PONG. INFO with the account follows the first PONG, as in nats-server since 2.14.
    pub(super) fn ping(&mut self, now: Instant) {
        self.timers.heard(now);
        if self.options.trace {
            tracing::trace!("{} - ->> [PONG]", self.client.label());
        }
        self.send(b"PONG\r\n");
        self.router.touch(&self.client);
        if !self.connected || std::mem::replace(&mut self.first_pong_sent, true) {
            return;
        }
        let rtt_known = self.client.rtt_ns.load(Relaxed) != 0;
        self.client.outbound.lock().wants_rtt_ping = !rtt_known;
        if self.connect.protocol >= 1 {
            self.client.takes_info.store(true, Relaxed);
            let account = self.account.as_ref();
            let info = Info {
                connect_info: true,
                remote_account: account.map(|a| a.name().to_string()).unwrap_or_default(),
                acc_is_sys: account.is_some_and(|a| a.is_system()),
                // True even if a `no_auth_user` is configured, as by nats-server 2.15.
                auth_required: self.broker.authenticator().is_enforced(),
                ..self.broker.info_for(&self.client)
            };
            self.send(&info.line());
        }
    }

    pub(super) fn pong(&mut self, now: Instant) {
        if let Some(rtt) = self.timers.answered(now) {
            self.client.rtt_ns.store(rtt.as_nanos().max(1) as u64, Relaxed);
        }
    }
}

fn credentials(c: &ConnectOptions) -> Credentials {
    Credentials {
        user: c.user.clone(),
        pass: c.pass.clone(),
        auth_token: c.auth_token.clone(),
        nkey: c.nkey.clone(),
        sig: c.sig.clone(),
        jwt: String::new(),
        account: c.account.clone(),
        new_account: c.new_account,
    }
}
