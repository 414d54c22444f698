//! Options that require a restart.

use std::{collections::BTreeMap, time::Duration};

use crate::{Options, RANDOM_PORT, Unsupported, WriteTimeout, duration};

/// A change that requires a restart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReloadable {
    /// An option has another value.
    #[error("config reload not supported for {field}: old={old}, new={new}")]
    Changed {
        /// The option, by nats-server's name in this message.
        field: &'static str,
        /// The current value.
        old: String,
        /// The new value.
        new: String,
    },
    /// Another change, whose values can't be shown in a word.
    #[error("config reload not supported for {0}")]
    Fixed(&'static str),
    /// The new configuration requires security that this version lacks.
    #[error("{0}")]
    Unsupported(Unsupported),
}

/// A value in the form of this message.
trait Show: PartialEq {
    fn show(&self) -> String;
}

impl Show for Option<String> {
    fn show(&self) -> String {
        self.clone().unwrap_or_default()
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        duration::format(*self)
    }
}

impl Show for WriteTimeout {
    fn show(&self) -> String {
        match self {
            Self::Default => "",
            Self::Close => "close",
            Self::Retry => "retry",
        }
        .into()
    }
}

impl Show for BTreeMap<String, bool> {
    fn show(&self) -> String {
        let entries: Vec<_> = self.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        format!("map[{}]", entries.join(" "))
    }
}

macro_rules! show_plainly {
    ($($type:ty),*) => {
        $(impl Show for $type {
            fn show(&self) -> String {
                self.to_string()
            }
        })*
    };
}

show_plainly!(String, bool, i32, u8, u64, usize);

fn same<T: Show>(field: &'static str, old: &T, new: &T) -> Result<(), NotReloadable> {
    if old == new { Ok(()) } else { Err(NotReloadable::Changed { field, old: old.show(), new: new.show() }) }
}

/// Checks the options that must not change, in nats-server's order.
pub(super) fn check(old: &Options, new: &Options) -> Result<(), NotReloadable> {
    same("ServerName", &old.server_name, &new.server_name)?;
    same("Host", &old.host, &new.host)?;
    same_port("Port", old.port, new.port)?;
    same("NoSublistCache", &old.disable_sublist_cache, &new.disable_sublist_cache)?;
    same("NoHeaderSupport", &old.no_header_support, &new.no_header_support)?;
    same("MaxSubs", &old.max_subscriptions, &new.max_subscriptions)?;
    same("MaxSubTokens", &old.max_subscription_tokens, &new.max_subscription_tokens)?;
    check_no_auth_user(old, new)?;
    check_system_account(old, new)?;
    same("NoSystemAccount", &old.no_system_account, &new.no_system_account)?;
    same("ProxyProtocol", &old.proxy_protocol, &new.proxy_protocol)?;
    same("AllowNonTLS", &old.allow_non_tls, &new.allow_non_tls)?;
    same("HTTPHost", &old.http_host().to_owned(), &new.http_host().to_owned())?;
    same_port("HTTPPort", old.http_port, new.http_port)?;
    same("HTTPBasePath", &base_path(old), &base_path(new))?;
    same("MaxPending", &old.max_pending, &new.max_pending)?;
    same_port("ProfPort", old.prof_port, new.prof_port)?;
    same("LogSizeLimit", &old.logfile_size_limit, &new.logfile_size_limit)?;
    same("LogMaxFiles", &old.logfile_max_num, &new.logfile_max_num)?;
    same("WriteTimeout", &old.write_timeout, &new.write_timeout)?;
    same("MaxClosedClients", &old.max_closed_clients, &new.max_closed_clients)?;
    same("LameDuckDuration", &old.lame_duck_duration, &new.lame_duck_duration)?;
    same("LameDuckGracePeriod", &old.lame_duck_grace_period, &new.lame_duck_grace_period)?;
    same("FeatureFlags", &old.feature_flags, &new.feature_flags)?;
    check_jetstream(old, new)?;
    // Last, because nats-server has its own messages for the checks above.
    match new.refused().next() {
        Some(unsupported) => Err(NotReloadable::Unsupported(unsupported.clone())),
        None => Ok(()),
    }
}

/// Checks JetStream, which a reload can turn on and off. While it runs, its store can't change.
fn check_jetstream(old: &Options, new: &Options) -> Result<(), NotReloadable> {
    if !(old.jetstream && new.jetstream) {
        return Ok(());
    }
    if old.store_dir != new.store_dir {
        return Err(NotReloadable::Fixed("jetstream storage directory"));
    }
    let (before, after) = (&old.jetstream_options, &new.jetstream_options);
    let most =
        |options: &crate::JetStreamOptions| (options.max_memory, options.max_file, options.max_index_memory);
    let is_less = |before: Option<i64>, after: Option<i64>| matches!((before, after), (Some(before), Some(after)) if after < before);
    if is_less(before.max_memory, after.max_memory) || is_less(before.max_file, after.max_file) {
        return Err(NotReloadable::Fixed("decreasing jetstream max memory and store"));
    }
    if most(before) != most(after) {
        return Err(NotReloadable::Fixed("jetstream max memory and max store"));
    }
    same("JetStreamDomain", &before.domain, &after.domain)?;
    if before.sync_interval != after.sync_interval {
        same("SyncInterval", &sync_interval(before), &sync_interval(after))?;
        return Err(NotReloadable::Fixed("SyncAlways"));
    }
    let keys = |options: &crate::JetStreamOptions| (options.key.clone(), options.previous_key.clone());
    if keys(before) != keys(after) {
        return Err(NotReloadable::Fixed("JetStreamKey"));
    }
    if before.cipher != after.cipher {
        return Err(NotReloadable::Fixed("JetStreamCipher"));
    }
    let limits = |options: &crate::JetStreamOptions| {
        (options.duplicate_window, options.default_max_consumers, options.strict)
    };
    if limits(before) != limits(after) {
        return Err(NotReloadable::Fixed("JetStreamLimits"));
    }
    Ok(())
}

/// Returns the base path as nats-server shows it: empty for the root.
fn base_path(options: &Options) -> String {
    Some(&options.http_base_path).filter(|path| *path != "/").cloned().unwrap_or_default()
}

/// Returns the interval as nats-server shows it: its default if none or `always` is configured.
fn sync_interval(options: &crate::JetStreamOptions) -> Duration {
    match options.sync_interval {
        Some(crate::SyncInterval::Every(interval)) => interval,
        None | Some(crate::SyncInterval::Always) => Duration::from_secs(120),
    }
}

/// Checks a port. A random port counts as unchanged.
fn same_port(field: &'static str, old: i32, new: i32) -> Result<(), NotReloadable> {
    if new == RANDOM_PORT && old != 0 { Ok(()) } else { same(field, &old, &new) }
}

/// Checks `no_auth_user`. It may only be removed, and only together with its user.
fn check_no_auth_user(old: &Options, new: &Options) -> Result<(), NotReloadable> {
    let (before, after) = (&old.authorization.no_auth_user, &new.authorization.no_auth_user);
    let mut users =
        new.authorization.users.iter().flatten().chain(new.accounts.iter().flat_map(|a| &a.users));
    match (before, after) {
        (Some(name), None) if !users.any(|user| user.name == *name) => Ok(()),
        _ => same("NoAuthUser", before, after),
    }
}

/// Checks the system account. Its default may be written out or left out.
fn check_system_account(old: &Options, new: &Options) -> Result<(), NotReloadable> {
    if old.system_account() == new.system_account() {
        return Ok(());
    }
    same("SystemAccount", &old.system_account, &new.system_account)
}
