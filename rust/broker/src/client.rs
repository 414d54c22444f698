//! The shared part of a connection. Monitoring reads it, deliveries append to its buffer, and timers and administrators
//! raise flags and wake its task. The rest of a connection's state belongs to its session alone.
//!
//! Counters that only the session's task writes are plain stores, without atomic additions.

use crate::closed::ClosedReason;
use crate::outbound::{Outbound, OutboundCounts};
use crate::sid::Sid;
use crate::subscription::{SubRef, Subscription};
use crate::sync::{AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use stonechat_auth::Permissions;

/// The remote address of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its IP address.
    pub ip: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip.contains(':') {
            true => write!(f, "[{}]:{}", self.ip, self.port),
            false => write!(f, "{}:{}", self.ip, self.port),
        }
    }
}

/// A request of another task to a session; see [`Client::raise`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    /// A deadline of the session has passed.
    Timer = 1,
    /// The configuration was reloaded.
    Reload = 2,
}

/// The shared part of a client connection.
#[derive(Debug)]
pub struct Client {
    /// The connection's id, unique for the server's life.
    pub cid: u64,
    /// The remote address.
    pub peer: PeerAddress,
    /// When it was accepted.
    pub start: SystemTime,
    /// The buffer of bytes to write to the client.
    pub outbound: Outbound,
    pub(crate) subs: Mutex<HashMap<Sid, Arc<Subscription>>>,
    pub(crate) identity: Mutex<Identity>,
    pub(crate) in_msgs: AtomicU64,
    pub(crate) in_bytes: AtomicU64,
    /// Milliseconds from `start` to the last activity.
    pub(crate) last_activity_ms: AtomicU64,
    pub(crate) rtt_ns: AtomicU64,
    tls: OnceLock<TlsFacts>,
    /// Whether the client accepts INFO at any time (protocol 1, and it has its first PONG).
    pub(crate) takes_info: AtomicBool,
    flags: AtomicU8,
    reason: AtomicU8,
}

/// The identity of a connection: its account and user, and the client's description of itself in CONNECT.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) account: Option<Arc<str>>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) permissions: Option<Arc<Permissions>>,
    pub(crate) name: String,
    pub(crate) lang: String,
    pub(crate) version: String,
    /// The connection's name in log lines.
    pub(crate) label: Arc<str>,
}

/// The TLS parameters of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite, by its IANA name.
    pub cipher_suite: String,
    /// Whether the handshake came before INFO.
    pub first: bool,
}

/// A snapshot of a connection for monitoring.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields of connz, see monitoring")]
pub struct ClientFacts {
    pub cid: u64,
    pub ip: String,
    pub port: u16,
    pub start: SystemTime,
    pub last_activity: SystemTime,
    pub rtt: Option<Duration>,
    pub pending_bytes: usize,
    pub in_msgs: u64,
    pub in_bytes: u64,
    pub out: OutboundCounts,
    pub subscriptions: usize,
    pub account: Option<Arc<str>>,
    pub user: Option<Arc<str>>,
    pub name: String,
    pub lang: String,
    pub version: String,
    pub tls: Option<TlsFacts>,
    pub subs: Vec<Arc<Subscription>>,
}

impl Client {
    pub(crate) fn new(cid: u64, peer: PeerAddress, start: SystemTime, outbound: Outbound) -> Self {
        let label: Arc<str> = format!("{peer} - cid:{cid}").into();
        Self {
            cid,
            peer,
            start,
            outbound,
            subs: Mutex::default(),
            identity: Mutex::new(Identity { label, ..Identity::default() }),
            in_msgs: AtomicU64::new(0),
            in_bytes: AtomicU64::new(0),
            last_activity_ms: AtomicU64::new(0),
            rtt_ns: AtomicU64::new(0),
            tls: OnceLock::new(),
            takes_info: AtomicBool::new(false),
            flags: AtomicU8::new(0),
            reason: AtomicU8::new(0),
        }
    }

    /// Requests that the connection end. If called again, the first reason counts.
    pub fn close(&self, reason: ClosedReason) {
        let _ = self.reason.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire);
        self.outbound.wake();
    }

    /// Returns the reason for which the connection must end, if it must.
    #[inline]
    pub fn closing(&self) -> Option<ClosedReason> {
        ClosedReason::from_code(self.reason.load(Ordering::Acquire))
    }

    /// Raises a flag for the session and wakes the connection's task.
    pub fn raise(&self, flag: Flag) {
        self.flags.fetch_or(flag as u8, Ordering::AcqRel);
        self.outbound.wake();
    }

    /// Returns whether any flag is raised.
    #[inline]
    pub fn is_flagged(&self) -> bool {
        self.flags.load(Ordering::Acquire) != 0
    }

    /// Returns whether this flag is raised, and clears it.
    #[inline]
    pub fn take(&self, flag: Flag) -> bool {
        self.flags.load(Ordering::Acquire) & flag as u8 != 0
            && self.flags.fetch_and(!(flag as u8), Ordering::AcqRel) & flag as u8 != 0
    }

    /// Records that the connection is encrypted from now on.
    pub fn secured(&self, facts: TlsFacts) {
        // A connection is encrypted only once.
        let _ = self.tls.set(facts);
    }

    /// Returns whether the client accepts INFO at any time.
    pub fn takes_info(&self) -> bool {
        self.takes_info.load(Ordering::Relaxed)
    }

    /// Returns the connection's name in log lines.
    pub fn label(&self) -> Arc<str> {
        self.identity.lock().label.clone()
    }

    /// The account it is bound to.
    pub fn account(&self) -> Option<Arc<str>> {
        self.identity.lock().account.clone()
    }

    /// The user it authenticated as.
    pub fn user(&self) -> Option<Arc<str>> {
        self.identity.lock().user.clone()
    }

    /// Returns the number of its subscriptions.
    pub fn subscription_count(&self) -> usize {
        self.subs.lock().len()
    }

    /// Frees the `sid` of a subscription, unless a newer subscription has it.
    pub(crate) fn forget(&self, sub: &SubRef) {
        let mut subs = self.subs.lock();
        if subs.get(&sub.sid).is_some_and(|current| Arc::ptr_eq(current, &sub.0)) {
            subs.remove(&sub.sid);
        }
    }

    /// Returns a snapshot for monitoring, which lists the subscriptions only if `with_subs` is set.
    pub fn facts(&self, with_subs: bool) -> ClientFacts {
        let (subscriptions, mut subs) = {
            let subs = self.subs.lock();
            (subs.len(), if with_subs { subs.values().cloned().collect() } else { Vec::new() })
        };
        // Most clients number their subscriptions: shorter ids are older.
        subs.sort_by(|a: &Arc<Subscription>, b| (a.sid.len(), &*a.sid).cmp(&(b.sid.len(), &*b.sid)));
        let identity = self.identity.lock().clone();
        let rtt = self.rtt_ns.load(Ordering::Relaxed);
        ClientFacts {
            cid: self.cid,
            ip: self.peer.ip.clone(),
            port: self.peer.port,
            start: self.start,
            last_activity: self.start + Duration::from_millis(self.last_activity_ms.load(Ordering::Relaxed)),
            rtt: (rtt > 0).then(|| Duration::from_nanos(rtt)),
            pending_bytes: self.outbound.progress().0,
            in_msgs: self.in_msgs.load(Ordering::Relaxed),
            in_bytes: self.in_bytes.load(Ordering::Relaxed),
            out: self.outbound.counts(),
            subscriptions,
            account: identity.account,
            user: identity.user,
            name: identity.name,
            lang: identity.lang,
            version: identity.version,
            tls: self.tls.get().cloned(),
            subs,
        }
    }

    /// The reply to `$SYS.REQ.USER.INFO`.
    pub(crate) fn user_info(&self) -> Value {
        let identity = self.identity.lock();
        let account = identity.account.as_deref().unwrap_or_default();
        let mut info = json!({ "user": identity.user.as_deref().unwrap_or_default(), "account": account, "account_name": account });
        if let (Some(permissions), Some(fields)) = (&identity.permissions, info.as_object_mut()) {
            let side = |p: &stonechat_auth::SubjectPermission| {
                let mut side = serde_json::Map::new();
                if let Some(allow) = p.allow.as_ref().filter(|a| !a.is_empty()) {
                    side.insert("allow".into(), json!(allow));
                }
                if !p.deny.is_empty() {
                    side.insert("deny".into(), json!(p.deny));
                }
                Value::Object(side)
            };
            let mut all = serde_json::Map::new();
            if let Some(publish) = &permissions.publish {
                all.insert("publish".into(), side(publish));
            }
            if let Some(subscribe) = &permissions.subscribe {
                all.insert("subscribe".into(), side(subscribe));
            }
            if let Some(r) = &permissions.responses {
                let ttl = r.expires.unwrap_or_default().as_nanos() as u64;
                all.insert("responses".into(), json!({ "max": r.max_msgs.unwrap_or(0), "ttl": ttl }));
            }
            fields.insert("permissions".into(), Value::Object(all));
        }
        info
    }
}
