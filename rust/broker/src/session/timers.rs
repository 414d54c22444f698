//! A session's deadlines: for authentication, pings and writes.

use super::ClientSession;
use crate::closed::ClosedReason;
use crate::options::BrokerOptions;
use crate::sync::Ordering::Relaxed;
use std::time::{Duration, Instant};
use stonechat_wire::texts;
use tracing::{debug, info};

/// Delay of the first ping; short, so that the round-trip time is known early.
const FIRST_PING: Duration = Duration::from_secs(2);
/// Longest time between measurements of the round-trip time, even if the client is busy.
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
    /// The write deadline while the peer accepts no bytes, and the total of written bytes to reach by then.
    write: Option<(Instant, u64)>,
    seed: u64,
}

impl Timers {
    pub(super) fn new(options: &BrokerOptions, authenticate: bool, seed: u64, now: Instant) -> Self {
        Self {
            authentication: authenticate.then(|| now + options.auth_timeout),
            // As nats-server 2.15: no early ping before CONNECT, since the TLS handshake may still be under way.
            ping: now + options.ping_interval,
            pings_out: 0,
            ping_sent: None,
            rtt_measured: None,
            last_heard: now,
            write: None,
            seed,
        }
    }

    /// Schedules the first ping anew, counted from CONNECT; it may be early now.
    pub(super) fn connected(&mut self, options: &BrokerOptions, now: Instant) {
        self.ping = now + first_ping(options, self.seed);
    }

    /// Restarts the authentication timeout, because the connection is encrypted now.
    pub(super) fn secured(&mut self, options: &BrokerOptions, now: Instant) {
        if self.authentication.is_some() {
            self.authentication = Some(now + options.auth_timeout);
        }
    }

    pub(super) fn authenticated(&mut self) {
        self.authentication = None;
    }

    /// Records a PING of the client.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// Records a PONG. Returns the round-trip time if a ping was outstanding.
    pub(super) fn answered(&mut self, now: Instant) -> Option<Duration> {
        self.pings_out = 0;
        self.rtt_measured = Some(now);
        self.ping_sent.take().map(|sent| now.saturating_duration_since(sent))
    }
}

/// Returns the delay of the first ping. Up to a fifth is added, so that clients that connected together are not pinged
/// together.
fn first_ping(options: &BrokerOptions, seed: u64) -> Duration {
    let wait = match options.disable_short_first_ping {
        true => options.ping_interval,
        false => options.ping_interval.min(FIRST_PING),
    };
    wait + wait.mul_f64((seed >> 40) as f64 / (1u64 << 24) as f64 / 5.0)
}

impl ClientSession {
    /// Tells the session that the connection is encrypted from now on.
    pub fn secured(&mut self, now: Instant) {
        self.timers.secured(&self.options, now);
    }

    /// Returns the time at which [`ClientSession::woken`] must be called with [`crate::Flag::Timer`] raised.
    pub fn deadline(&self) -> Instant {
        let t = &self.timers;
        let write = t.write.map(|(at, _)| at);
        [t.authentication, write].into_iter().flatten().fold(t.ping, Instant::min)
    }

    /// Starts the write deadline, because the peer accepts no more bytes for now. True if it was not running.
    pub fn blocked(&mut self, now: Instant) -> bool {
        if self.timers.write.is_some() {
            return false;
        }
        let (pending, written) = self.client.outbound.progress();
        self.timers.write = Some((now + self.options.write_deadline, written + pending as u64));
        true
    }

    /// Stops the write deadline, because the peer has accepted all pending bytes.
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
