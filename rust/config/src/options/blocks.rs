//! Schemas of blocks, including blocks whose capabilities this version lacks.

use super::schema::{
    Field, Kind,
    Kind::{
        Any, Block, Boolean, Duration, DurationText, Either, Entries, Integer, List, Listen, Number, PeerTls,
        Permissions, Port, Size, Text, TextList, Texts, Tls, Word,
    },
    Schema, field,
};

const WRITE_TIMEOUT: Field = field(&["write_timeout"], Word(&["default", "close", "retry"]));
const WRITE_DEADLINE: Field = field(&["write_deadline"], Duration);
const LISTEN: Field = field(&["listen"], Listen);
const PORT: Field = field(&["port"], Port);
const HOST: Field = field(&["host", "net"], Text);
const TLS_BLOCK: Field = field(&["tls"], Tls);
const PEER_TLS_BLOCK: Field = field(&["tls"], PeerTls);
const USER: Field = field(&["user", "username"], Text);
const PASSWORD: Field = field(&["pass", "password"], Text);
const TIMEOUT: Field = field(&["timeout"], Either(&[Number, DurationText]));
const COMPRESSION: Field = field(
    &["compression"],
    Either(&[
        Boolean,
        Text,
        Block(&Schema(&[
            field(&["mode"], Text),
            field(&["rtt_thresholds", "thresholds", "rtts", "rtt"], List(&DurationText)),
        ])),
    ]),
);

/// The user, password and token of a listener's own `authorization` block.
static SIMPLE_AUTHORIZATION: Schema = Schema(&[USER, PASSWORD, field(&["token"], Text), TIMEOUT]);

pub(super) static CLUSTER: Schema = Schema(&[
    field(&["name"], Text),
    LISTEN,
    PORT,
    HOST,
    field(
        &["authorization"],
        Block(&Schema(&[
            USER,
            PASSWORD,
            TIMEOUT,
            field(&["permissions", "default_permission", "default_permissions"], Permissions),
        ])),
    ),
    field(&["routes"], TextList),
    PEER_TLS_BLOCK,
    field(&["cluster_advertise", "advertise"], Text),
    field(&["no_advertise"], Boolean),
    field(&["connect_retries"], Integer),
    field(&["connect_backoff"], Boolean),
    field(&["permissions"], Permissions),
    field(&["pool_size"], Integer),
    field(&["accounts"], TextList),
    COMPRESSION,
    field(&["ping_interval"], Duration),
    field(&["ping_max"], Integer),
    WRITE_DEADLINE,
    WRITE_TIMEOUT,
]);

pub(super) static GATEWAY: Schema = Schema(&[
    field(&["name"], Text),
    LISTEN,
    PORT,
    HOST,
    field(&["authorization"], Block(&Schema(&[USER, PASSWORD, TIMEOUT]))),
    PEER_TLS_BLOCK,
    field(&["advertise"], Text),
    field(&["connect_retries"], Integer),
    field(&["connect_backoff"], Boolean),
    field(
        &["gateways"],
        List(&Block(&Schema(&[
            field(&["name"], Text),
            field(&["url"], Text),
            field(&["urls"], TextList),
            PEER_TLS_BLOCK,
        ]))),
    ),
    field(&["reject_unknown", "reject_unknown_cluster"], Boolean),
    WRITE_DEADLINE,
    WRITE_TIMEOUT,
]);

pub(super) static LEAFNODES: Schema = Schema(&[
    LISTEN,
    PORT,
    HOST,
    field(
        &["authorization"],
        Block(&Schema(&[
            USER,
            PASSWORD,
            field(&["nkey"], Text),
            TIMEOUT,
            field(&["account"], Text),
            field(&["proxy_required"], Boolean),
            field(
                &["users"],
                List(&Block(&Schema(&[
                    USER,
                    PASSWORD,
                    field(&["account"], Text),
                    field(&["proxy_required"], Boolean),
                ]))),
            ),
        ])),
    ),
    field(&["remotes"], List(&Block(&LEAFNODE_REMOTE))),
    field(&["reconnect", "reconnect_delay", "reconnect_interval"], Duration),
    field(&["dial_timeout"], Duration),
    TLS_BLOCK,
    field(&["leafnode_advertise", "advertise"], Text),
    field(&["no_advertise"], Boolean),
    field(&["min_version", "minimum_version"], Text),
    COMPRESSION,
    field(&["isolate_leafnode_interest", "isolate"], Boolean),
    WRITE_DEADLINE,
    WRITE_TIMEOUT,
]);

static LEAFNODE_REMOTE: Schema = Schema(&[
    field(&["no_randomize", "dont_randomize"], Boolean),
    field(&["url", "urls"], Texts),
    field(&["account", "local"], Text),
    field(&["creds", "credentials"], Text),
    field(&["nkey", "seed"], Text),
    TLS_BLOCK,
    field(&["hub"], Boolean),
    field(&["deny_imports", "deny_import"], Texts),
    field(&["deny_exports", "deny_export"], Texts),
    field(&["ws_compress", "ws_compression", "websocket_compress", "websocket_compression"], Boolean),
    field(&["ws_no_masking", "websocket_no_masking"], Boolean),
    field(
        &["jetstream_cluster_migrate", "js_cluster_migrate"],
        Either(&[Boolean, Block(&Schema(&[field(&["leader_migrate_delay"], DurationText)]))]),
    ),
    field(&["isolate_leafnode_interest", "isolate"], Boolean),
    field(&["request_isolation"], Boolean),
    COMPRESSION,
    field(&["first_info_timeout"], Duration),
    field(&["dial_timeout"], Duration),
    field(&["disabled"], Boolean),
    field(
        &["proxy"],
        Block(&Schema(&[
            field(&["url"], Text),
            field(&["username"], Text),
            field(&["password"], Text),
            field(&["timeout"], Duration),
            TLS_BLOCK,
        ])),
    ),
    field(&["ignore_discovered_servers"], Boolean),
]);

pub(super) static WEBSOCKET: Schema = Schema(&[
    LISTEN,
    PORT,
    HOST,
    field(&["advertise"], Text),
    field(&["no_tls"], Boolean),
    TLS_BLOCK,
    field(&["same_origin"], Boolean),
    field(
        &["allowed_origins", "allowed_origin", "allow_origins", "allow_origin", "origins", "origin"],
        Texts,
    ),
    field(&["handshake_timeout"], Either(&[Integer, DurationText])),
    field(&["compress", "compression"], Boolean),
    field(&["authorization", "authentication"], Block(&SIMPLE_AUTHORIZATION)),
    field(&["jwt_cookie"], Text),
    field(&["user_cookie"], Text),
    field(&["pass_cookie"], Text),
    field(&["token_cookie"], Text),
    field(&["no_auth_user"], Text),
    field(&["headers"], Entries(&Text)),
    field(&["ping_interval"], Duration),
]);

pub(super) static MQTT: Schema = Schema(&[
    LISTEN,
    PORT,
    HOST,
    TLS_BLOCK,
    field(&["authorization", "authentication"], Block(&SIMPLE_AUTHORIZATION)),
    field(&["no_auth_user"], Text),
    field(&["ack_wait", "ackwait"], Duration),
    field(&["js_api_timeout", "api_timeout"], Duration),
    field(&["max_ack_pending", "max_pending", "max_inflight"], Integer),
    field(&["js_domain"], Text),
    field(&["stream_replicas"], Integer),
    field(&["consumer_replicas"], Integer),
    field(&["consumer_memory_storage"], Boolean),
    field(&["consumer_inactive_threshold", "consumer_auto_cleanup"], Duration),
    field(&["reject_qos2_publish"], Boolean),
    field(&["downgrade_qos2_subscribe"], Boolean),
]);

/// The `jetstream` block.
pub(super) static JETSTREAM: Schema = Schema(&[
    field(&["store", "store_dir", "storedir"], Text),
    field(&["enable", "enabled"], Boolean),
    field(&["strict"], Boolean),
    // `always` or a duration. The code that reads the value reports errors.
    field(&["sync", "sync_interval"], Any),
    field(&["max_memory_store", "max_mem_store", "max_mem"], Size),
    field(&["max_file_store", "max_file"], Size),
    field(&["max_index_memory"], Size),
    field(&["domain"], Text),
    field(&["key", "ek", "encryption_key"], Text),
    field(&["prev_key", "prev_ek", "prev_encryption_key"], Text),
    field(&["cipher"], Word(&["chacha", "chachapoly", "aes"])),
    field(&["extension_hint"], Text),
    field(&["limits"], Block(&JETSTREAM_LIMITS)),
    field(
        &["tpm"],
        Block(&Schema(&[
            field(&["keys_file"], Text),
            field(&["encryption_password"], Text),
            field(&["srk_password"], Text),
            field(&["pcr"], Integer),
            field(&["cipher"], Word(&["chacha", "chachapoly", "aes"])),
        ])),
    ),
    field(&["unique_tag"], Text),
    field(&["max_outstanding_catchup"], Size),
    field(&["max_buffered_size"], Size),
    field(&["max_buffered_msgs"], Integer),
    field(&["request_queue_limit"], Integer),
    field(&["info_queue_limit"], Integer),
    field(&["meta_compact"], Integer),
    field(&["meta_compact_size"], Size),
    field(&["meta_compact_sync"], Boolean),
    field(&["max_concurrent_io"], Integer),
]);

static JETSTREAM_LIMITS: Schema = Schema(&[
    field(&["max_ack_pending"], Integer),
    field(&["max_ha_assets"], Integer),
    field(&["max_request_batch"], Integer),
    field(&["duplicate_window"], Duration),
    field(&["default_max_consumers"], Integer),
    field(
        &["batch"],
        Block(&Schema(&[
            field(&["max_inflight_per_stream"], Integer),
            field(&["max_inflight_total"], Integer),
            field(&["max_msgs"], Integer),
            field(&["timeout"], Duration),
        ])),
    ),
]);

pub(super) static TLS: Schema = Schema(&[
    field(&["cert_file"], Text),
    field(&["key_file"], Text),
    field(&["ca_file"], Text),
    field(&["insecure"], Boolean),
    field(&["verify"], Boolean),
    field(&["verify_and_map"], Boolean),
    field(&["verify_cert_and_check_known_urls"], Boolean),
    field(&["allow_insecure_cipher_suites"], Boolean),
    field(&["cipher_suites"], TextList),
    field(&["curve_preferences"], TextList),
    TIMEOUT,
    field(&["connection_rate_limit"], Integer),
    field(&["pinned_certs"], TextList),
    field(&["cert_store"], Text),
    field(&["cert_match_by"], Text),
    field(&["cert_match"], Text),
    field(&["ca_certs_match"], Texts),
    field(&["handshake_first", "first", "immediate"], Either(&[Boolean, Text])),
    field(&["cert_match_skip_invalid"], Boolean),
    field(&["ocsp_peer"], Either(&[Boolean, Entries(&Any)])),
    field(
        &["certs", "certificates"],
        List(&Block(&Schema(&[field(&["cert_file"], Text), field(&["key_file"], Text)]))),
    ),
    field(&["min_version"], Text),
]);

pub(super) static AUTH_CALLOUT: Schema = Schema(&[
    field(&["issuer"], Text),
    field(&["account", "acc"], Text),
    field(&["auth_users", "users"], TextList),
    field(&["xkey", "key"], Text),
    field(&["allowed_accounts"], TextList),
]);

pub(super) static PROXIES: Schema =
    Schema(&[field(&["trusted"], List(&Block(&Schema(&[field(&["key", "public_key"], Text)]))))]);

static OCSP_BLOCK: Schema = Schema(&[
    field(&["mode"], Word(&["auto", "always", "must", "never"])),
    field(&["url"], Text),
    field(&["urls"], TextList),
]);

static OCSP_CACHE_BLOCK: Schema = Schema(&[
    field(&["type"], Word(&["none", "local"])),
    field(&["local_store"], Text),
    field(&["preserve_revoked"], Boolean),
    field(&["save_interval"], Either(&[Number, DurationText])),
]);

static RESOLVER_BLOCK: Schema = Schema(&[
    field(&["type"], Word(&["full", "cache", "mem", "memory"])),
    field(&["dir"], Text),
    field(&["allow_delete"], Boolean),
    field(&["hard_delete"], Boolean),
    field(&["limit"], Integer),
    field(&["ttl"], DurationText),
    field(&["interval"], DurationText),
    field(&["timeout"], DurationText),
]);

static ACCOUNT_JETSTREAM_BLOCK: Schema = Schema(&[
    field(&["max_memory", "max_mem", "mem", "memory"], Integer),
    field(&["max_store", "max_file", "max_disk", "store", "disk"], Integer),
    field(&["max_streams", "streams"], Integer),
    field(&["max_consumers", "consumers"], Integer),
    field(&["max_bytes_required", "max_stream_bytes", "max_bytes"], Boolean),
    field(&["mem_max_stream_bytes", "memory_max_stream_bytes"], Integer),
    field(&["disk_max_stream_bytes", "store_max_stream_bytes"], Integer),
    field(&["max_ack_pending"], Integer),
    field(&["cluster_traffic"], Word(&["system", "owner", ""])),
]);

static EXPORT: Schema = Schema(&[
    field(&["stream"], Text),
    field(&["service"], Text),
    field(&["response", "response_type"], Word(&["single", "singleton", "stream", "chunk", "chunked"])),
    field(&["threshold", "response_threshold", "response_max_time", "response_time"], Text),
    field(&["accounts"], TextList),
    field(
        &["latency"],
        Either(&[
            Text,
            Block(&Schema(&[field(&["subject"], Text), field(&["sampling"], Either(&[Integer, Text]))])),
        ]),
    ),
    field(&["account_token_position"], Integer),
    field(&["allow_trace"], Boolean),
]);

static IMPORT_SOURCE: Schema = Schema(&[field(&["account"], Text), field(&["subject"], Text)]);

static IMPORT: Schema = Schema(&[
    field(&["stream"], Block(&IMPORT_SOURCE)),
    field(&["service"], Block(&IMPORT_SOURCE)),
    field(&["prefix"], Text),
    field(&["to"], Text),
    field(&["share"], Boolean),
    field(&["allow_trace"], Boolean),
]);

pub(super) static MAPPING_DESTINATION: Schema = Schema(&[
    field(&["dest", "destination"], Text),
    field(&["weight"], Either(&[Integer, Text])),
    field(&["cluster"], Text),
]);

static MSG_TRACE_BLOCK: Schema =
    Schema(&[field(&["dest"], Text), field(&["sampling"], Either(&[Integer, Text]))]);

/// The exports of an account.
pub(super) static EXPORTS: Kind = List(&Block(&EXPORT));

/// The imports of an account.
pub(super) static IMPORTS: Kind = List(&Block(&IMPORT));

/// JetStream limits of an account.
pub(super) static ACCOUNT_JETSTREAM: Kind =
    Either(&[Boolean, Word(&["enabled", "enable", "disabled", "disable"]), Block(&ACCOUNT_JETSTREAM_BLOCK)]);

/// The destination of an account's traces.
pub(super) static MSG_TRACE: Kind = Either(&[Text, Block(&MSG_TRACE_BLOCK)]);

/// The source of account JWTs.
pub(super) static RESOLVER: Kind = Either(&[Text, Block(&RESOLVER_BLOCK)]);

/// OCSP stapling.
pub(super) static OCSP: Kind = Either(&[Boolean, Block(&OCSP_BLOCK)]);

/// The cache of OCSP responses.
pub(super) static OCSP_CACHE: Kind = Either(&[Boolean, Block(&OCSP_CACHE_BLOCK)]);
