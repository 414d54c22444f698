//! Rules for updates of a stream's configuration.

use super::config::{Discard, Retention, StreamConfig};
use crate::error::{self, ApiError};

/// Checks whether the stream `old` may become `new`, which was [checked](super::check). Returns the resulting configuration: a
/// stream that gets sealed is also set to keep all its messages.
///
/// # Errors
///
/// The error that nats-server 2.15 reports first.
pub fn update(old: &StreamConfig, mut new: StreamConfig) -> Result<StreamConfig, ApiError> {
    let invalid = |text: &str| Err(error::STREAM_INVALID_CONFIG.with("err", text));
    if new.name != old.name {
        return invalid("stream configuration name must match original");
    }
    if new.storage != old.storage {
        return invalid("stream configuration update can not change storage type");
    }
    let queue = |c: &StreamConfig| c.retention == Retention::Workqueue;
    if queue(&new) != queue(old) {
        return invalid("stream configuration update can not change retention policy to/from workqueue");
    }
    for (was, is, text) in [
        (old.sealed, new.sealed, "stream configuration update can not unseal a sealed stream"),
        (old.deny_delete, new.deny_delete, "stream configuration update can not cancel deny message deletes"),
        (old.deny_purge, new.deny_purge, "stream configuration update can not cancel deny purge"),
    ] {
        if was && !is {
            return invalid(text);
        }
    }
    // Removing the mirror is allowed: the stream becomes independent.
    if new.mirror.is_some() && new.mirror != old.mirror {
        return Err(error::STREAM_MIRROR_NOT_UPDATABLE.error());
    }
    if old.allow_msg_ttl && !new.allow_msg_ttl {
        return invalid("message TTL status can not be disabled");
    }
    if old.allow_msg_counter != new.allow_msg_counter {
        return invalid("stream configuration update can not change message counter setting");
    }
    if old.allow_msg_schedules && !new.allow_msg_schedules {
        return invalid("message schedules can not be disabled");
    }
    if old.persist_mode != new.persist_mode {
        return invalid("stream configuration update can not change persist mode");
    }
    if new.sealed {
        new.max_age = 0;
        new.discard = Discard::New;
        (new.deny_delete, new.deny_purge) = (true, true);
        new.allow_rollup_hdrs = false;
    }
    Ok(new)
}
