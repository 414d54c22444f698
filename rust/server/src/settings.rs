//! Conversion of configuration options to the broker's settings.

use crate::version::{API_LEVEL, COMPATIBLE_VERSION, TOOLCHAIN, VERSION};
use std::collections::BTreeMap;
use stonechat_auth::{Authenticator, ServerIdentity};
use stonechat_broker::{BrokerOptions, SYSTEM_ACCOUNT};
use stonechat_config::{HandshakeFirst, Options};
use stonechat_wire::Info;

/// Returns the limits and switches of the client protocol.
pub(crate) fn broker_options(options: &Options) -> BrokerOptions {
    BrokerOptions {
        max_control_line: options.max_control_line as usize,
        max_payload: usize::try_from(options.max_payload).unwrap_or(0),
        max_pending: options.max_pending as usize,
        max_subscriptions: options.max_subscriptions as usize,
        max_subscription_tokens: usize::from(options.max_subscription_tokens),
        max_connections: options.max_connections as usize,
        max_closed_clients: options.max_closed_clients,
        ping_interval: options.ping_interval,
        ping_max: options.ping_max,
        disable_short_first_ping: false,
        write_deadline: options.write_deadline,
        auth_timeout: options.auth_timeout(),
        no_fast_producer_stall: options.no_fast_producer_stall,
        headers: !options.no_header_support,
        trace: options.trace || options.trace_verbose || options.trace_headers,
        max_traced_msg_len: options.max_traced_msg_len,
        server_tags: options.server_tags.clone(),
        server_metadata: options.server_metadata.clone(),
    }
}

/// Returns whether clients may stay unencrypted. They may not if the handshake always comes first.
pub(crate) fn plain_allowed(options: &Options) -> bool {
    let first = options.tls.as_ref().map(|tls| tls.handshake_first);
    options.allow_non_tls && first != Some(HandshakeFirst::Always)
}

/// Returns the authenticator for the configured users.
pub(crate) fn authenticator(options: &Options) -> Authenticator {
    Authenticator::new(&options.authorization, &options.accounts, system_account(options))
}

/// Returns the name of the system account.
pub(crate) fn system_account(options: &Options) -> &str {
    options.system_account().unwrap_or(SYSTEM_ACCOUNT)
}

/// Returns nats-server's feature flags, which all concern JetStream. The configuration overrides their defaults.
pub(crate) fn feature_flags(options: &Options) -> BTreeMap<String, bool> {
    let known = [
        ("js_ack_fc_v2", false),
        ("js_api_reply_v2", false),
        ("js_raft_delete_range", true),
        ("js_snapshot_sources", false),
    ];
    let mut flags: BTreeMap<String, bool> = known.into_iter().map(|(k, v)| (k.into(), v)).collect();
    flags.extend(options.feature_flags.clone());
    flags
}

/// Returns the part of INFO that is the same for all clients.
pub(crate) fn info(options: &Options, identity: &ServerIdentity, port: u16) -> Info {
    let (host, port) = advertised(options, port);
    Info {
        server_id: identity.id().into(),
        server_name: options.server_name.clone().unwrap_or_else(|| identity.id().into()),
        version: COMPATIBLE_VERSION.into(),
        proto: 1,
        go: TOOLCHAIN.into(),
        host,
        port,
        headers: !options.no_header_support,
        auth_required: authenticator(options).required(),
        tls_required: options.tls.is_some() && !plain_allowed(options),
        tls_verify: options.tls.as_ref().is_some_and(|tls| tls.verify),
        tls_available: options.tls.is_some() && plain_allowed(options),
        max_payload: usize::try_from(options.max_payload).unwrap_or(0),
        jetstream: options.jetstream,
        domain: options.jetstream_options.domain.clone().filter(|_| options.jetstream).unwrap_or_default(),
        api_lvl: API_LEVEL,
        xkey: identity.xkey_public().into(),
        stonechat: VERSION.into(),
        ..Info::default()
    }
}

/// Returns the host and port that INFO announces: those of `client_advertise`, with the listener's port if it names none.
fn advertised(options: &Options, port: u16) -> (String, u16) {
    let own = (options.host.clone(), port);
    let Some(text) = options.client_advertise.as_deref().filter(|t| !t.is_empty()) else { return own };
    let split = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    match split {
        Some((host, 0)) => (host.into(), port),
        Some((host, port)) => (host.into(), port),
        None => (text.into(), port),
    }
}
