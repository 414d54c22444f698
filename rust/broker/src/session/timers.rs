//! What a session must do when nothing arrives: refuse, ping, give up.

use super::ClientSession;
use crate::closed::ClosedReason;
use crate::options::BrokerOptions;
use crate::sync::Ordering::Relaxed;
use std::time::{Duration, Instant};
use stonechat_wire::texts;
use tracing::{debug, info};

/// The first ping comes this soon, so that a round trip is known early.
const FIRST_PING: Duration = Duration::from_secs(2);
/// A round trip is measured at least so often, even if the client is busy.
const RTT_EVERY: Duration = Duration::from_secs(3600);

/// The session's deadlines.
#[derive(Debug)]
pub(super) struct Timers {
    authentication: Option<Instant>,
    ping: Instant,
    pings_out: u32,
    ping_sent: Option<Instant>,
    rtt_measured: Option<Instant>,
    last_heard: Instant,
    /// While the peer takes nothing: until when which byte must be written.
    write: Option<(Instant, u64)>,
    seed: u64,
}

impl Timers {
    pub(super) fn new(options: &BrokerOptions, authenticate: bool, seed: u64, now: Instant) -> Self {
        Self {
            authentication: authenticate.then(|| now + options.auth_timeout),
            // As nats-server 2.15: nobody is pinged soon who may still shake hands, or has not said who it is.
            ping: now + options.ping_interval,
            pings_out: 0,
            ping_sent: None,
            rtt_measured: None,
            last_heard: now,
            write: None,
            seed,
        }
    }

    /// CONNECT arrived: the first ping counts from here, and may come soon.
    pub(super) fn connected(&mut self, options: &BrokerOptions, now: Instant) {
        self.ping = now + first_ping(options, self.seed);
    }

    /// The connection is encrypted: the time to authenticate counts from here.
    pub(super) fn secured(&mut self, options: &BrokerOptions, now: Instant) {
        if self.authentication.is_some() {
            self.authentication = Some(now + options.auth_timeout);
        }
    }

    pub(super) fn authenticated(&mut self) {
        self.authentication = None;
    }

    /// The client said something of its own.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// A PONG: the round trip, if a ping was under way.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.pings_out = 0;
        self.rtt_measured = Some(now);
        self.ping_sent.take().map(|sent| now.saturating_duration_since(sent))
    }
}

/// With up to a fifth on top, so that clients that came together are not pinged together.
fn first_ping(options: &BrokerOptions, seed: u64) -> Duration {
    let wait = match options.disable_short_first_ping {
        true => options.ping_interval,
        false => options.ping_interval.min(FIRST_PING),
    };
    wait + wait.mul_f64((seed >> 40) as f64 / (1u64 << 24) as f64 / 5.0)
}

impl ClientSession {
    /// The connection is encrypted from now on.
    pub fn secured(&mut self, now: Instant) {
        self.timers.secured(&self.options, now);
    }

    /// When [`ClientSession::woken`] wants to be called with [`crate::Flag::Timer`] raised.
    pub fn deadline(&self) -> Instant {
        let t = &self.timers;
        let write = t.write.map(|(at, _)| at);
        [t.authentication, write].into_iter().flatten().fold(t.ping, Instant::min)
    }

    /// The peer takes no more for now: from here on the write deadline counts. True if it did not before.
    pub fn blocked(&mut self, now: Instant) -> bool {
        if self.timers.write.is_some() {
            return false;
        }
        let (pending, written) = self.client.outbound.progress();
        self.timers.write = Some((now + self.options.write_deadline, written + pending as u64));
        true
    }

    /// The peer has taken all there was.
    pub fn unblocked(&mut self) {
        self.timers.write = None;
    }

    pub(super) fn timers_due(&mut self, now: Instant) {
        if self.timers.authentication.is_some_and(|at| now >= at) {
            self.timers.authentication = None;
            debug!("{} - Authentication Timeout", self.client.label());
            let _ = self.fail(texts::AUTHENTICATION_TIMEOUT, ClosedReason::AuthenticationTimeout);
            return;
        }
        if let Some((_, target)) = self.timers.write.filter(|(at, _)| now >= *at) {
            let (pending, written) = self.client.outbound.progress();
            if pending > 0 && written < target {
                info!(
                    "{} - Slow Consumer Detected: WriteDeadline of {:?} exceeded with {pending} total bytes.",
                    self.client.label(),
                    self.options.write_deadline
                );
                self.client.close(ClosedReason::SlowConsumerWriteDeadline);
                return;
            }
            let more = (now + self.options.write_deadline, written + pending as u64);
            self.timers.write = (pending > 0).then_some(more);
        }
        if now >= self.timers.ping {
            self.ping_due(now);
        }
    }

    fn ping_due(&mut self, now: Instant) {
        let t = &mut self.timers;
        t.ping = now + self.options.ping_interval;
        let heard_lately = now.saturating_duration_since(t.last_heard) < self.options.ping_interval;
        let unmeasured = t.rtt_measured.is_none_or(|at| now.saturating_duration_since(at) > RTT_EVERY)
            && (t.rtt_measured.is_some() || self.client.rtt_ns.load(Relaxed) == 0);
        if heard_lately && !unmeasured {
            return;
        }
        if t.pings_out + 1 > self.options.ping_max {
            debug!("{} - Stale Client Connection - Closing", self.client.label());
            let _ = self.fail(texts::STALE_CONNECTION, ClosedReason::StaleConnection);
            return;
        }
        t.pings_out += 1;
        t.ping_sent = Some(now);
        if self.options.trace {
            tracing::trace!("{} - ->> [PING]", self.client.label());
        }
        self.send(b"PING\r\n");
        self.router.touch(&self.client);
    }
}
