//! Differences between two sets of options, and whether a running server can apply them.

mod change;
mod fixed;

use std::collections::BTreeSet;

pub use change::Change;
pub use fixed::NotReloadable;
use stonechat_auth::{AccountDef, User};

use crate::Options;

/// Returns the changes from `old` to `new`, in nats-server's order. The order of users, accounts and tags does not
/// matter.
///
/// The ports in `old` should be the bound ones, so that a randomly chosen port stays as it is.
///
/// # Errors
/// Returns the first change that requires a restart.
pub fn diff(old: &Options, new: &Options) -> Result<Vec<Change>, NotReloadable> {
    fixed::check(old, new)?;
    let mut changes = Vec::new();
    let mut note = |changed: bool, change: Change| {
        if changed {
            changes.push(change);
        }
    };
    macro_rules! compare {
        ($($field:ident => $change:ident),* $(,)?) => {
            $(note(old.$field != new.$field, Change::$change(new.$field.clone()));)*
        };
    }
    compare! {
        client_advertise => ClientAdvertise,
        trace => Trace,
        debug => Debug,
        trace_verbose => TraceVerbose,
        trace_headers => TraceHeaders,
        logtime => Logtime,
        logtime_utc => LogtimeUtc,
        max_connections => MaxConnections,
    }
    // The certificates may have changed in the same files.
    note(old.tls.is_some() || new.tls.is_some(), Change::Tls(new.tls.is_some()));
    let (old_auth, new_auth) = (&old.authorization, &new.authorization);
    note(!same_users(old_auth.users.as_deref(), new_auth.users.as_deref()), Change::Users);
    let same_accounts =
        same_accounts(&old.accounts, &new.accounts) && old.jetstream_accounts == new.jetstream_accounts;
    note(!same_accounts, Change::Accounts);
    note(old.jetstream != new.jetstream, Change::JetStream);
    note(old_auth.user != new_auth.user, Change::Username);
    note(old_auth.password != new_auth.password, Change::Password);
    note(old_auth.token != new_auth.token, Change::Token);
    compare! {
        ping_interval => PingInterval,
        ping_max => PingMax,
    }
    note(old.auth_timeout() != new.auth_timeout(), Change::AuthTimeout(new.auth_timeout()));
    if let (Some(before), Some(after)) = (&old.tls, &new.tls) {
        note(before.timeout != after.timeout, Change::TlsTimeout(after.timeout));
    }
    compare! {
        max_control_line => MaxControlLine,
        max_payload => MaxPayload,
        no_fast_producer_stall => NoFastProducerStall,
        pid_file => PidFile,
        ports_file_dir => PortsFileDir,
        log_file => LogFile,
        syslog => Syslog,
        remote_syslog => RemoteSyslog,
        write_deadline => WriteDeadline,
        max_traced_msg_len => MaxTracedMsgLen,
        connect_error_reports => ConnectErrorReports,
        reconnect_error_reports => ReconnectErrorReports,
    }
    let tags = |options: &Options| options.server_tags.iter().cloned().collect::<BTreeSet<_>>();
    note(tags(old) != tags(new), Change::Tags(new.server_tags.clone()));
    compare!(server_metadata => Metadata);
    Ok(changes)
}

fn same_users(old: Option<&[User]>, new: Option<&[User]>) -> bool {
    let sorted = |users: &[User]| {
        let mut users = users.to_vec();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users
    };
    old.map(sorted) == new.map(sorted)
}

fn same_accounts(old: &[AccountDef], new: &[AccountDef]) -> bool {
    old.len() == new.len()
        && old.iter().all(|old| {
            new.iter().any(|new| {
                old.name == new.name
                    && old.limits == new.limits
                    && old.default_permissions == new.default_permissions
                    && old.exports == new.exports
                    && old.imports == new.imports
                    && same_users(Some(&old.users), Some(&new.users))
            })
        })
}

#[cfg(test)]
mod tests;
