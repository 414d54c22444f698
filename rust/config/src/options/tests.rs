//! Tests of the options of a configuration.

use std::time::Duration;

use stonechat_auth::{ConnectionKind, ResponsePermission, SubjectPermission};

use super::*;
use crate::{flags, lang::MemorySource, load_text, load_with};

fn read(text: &str) -> Options {
    let loaded = load_text(text, "t").unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    loaded.options
}

fn errors(text: &str) -> String {
    load_text(text, "t").unwrap_err().to_string()
}

#[test]
fn every_simple_option_is_set() {
    type Check = fn(&Options) -> bool;
    let cases: [(&str, Check); 55] = [
        ("host: h", |o| o.host == "h"),
        ("net: h", |o| o.host == "h"),
        ("port: 4333", |o| o.port == 4333),
        ("listen: \"h:4333\"", |o| o.host == "h" && o.port == 4333),
        ("listen: 4333", |o| o.host == "0.0.0.0" && o.port == 4333),
        ("listen: \"[::1]:-1\"", |o| o.host == "::1" && o.port == RANDOM_PORT),
        ("http: 8333", |o| o.http_host.is_none() && o.http_host() == "127.0.0.1" && o.http_port == 8333),
        ("http: \"h:8333\"", |o| o.http_host() == "h" && o.http_port == 8333),
        ("http_port: 8333", |o| o.http_port == 8333),
        ("monitor_port: 8333", |o| o.http_port == 8333),
        ("http_base_path: nats/", |o| o.http_base_path == "/nats"),
        ("server_name: me", |o| o.server_name.as_deref() == Some("me")),
        ("client_advertise: 'h:1'", |o| o.client_advertise.as_deref() == Some("h:1")),
        ("server_tags: A", |o| o.server_tags == ["a"]),
        ("server_tags: [a, 'B ', a]", |o| o.server_tags == ["a", "b"]),
        ("server_metadata { K: v }", |o| o.server_metadata.get("K").is_some_and(|v| v == "v")),
        ("feature_flags { x: yes }", |o| o.feature_flags.get("x") == Some(&true)),
        ("max_connections: 7", |o| o.max_connections == 7),
        ("max_conn: 0", |o| o.max_connections == 0),
        ("max_conn: -1", |o| o.max_connections == 0),
        ("max_control_line: 2k", |o| o.max_control_line == 2000),
        ("max_payload: 2kb", |o| o.max_payload == 2048),
        ("max_payload: -1", |o| o.max_payload == -1),
        ("max_pending: 2mb", |o| o.max_pending == 2 << 20),
        ("max_subs: 3", |o| o.max_subscriptions == 3),
        ("max_sub_tokens: 255", |o| o.max_subscription_tokens == 255),
        ("max_closed_clients: 3", |o| o.max_closed_clients == 3),
        ("ping_interval: '3s'", |o| o.ping_interval == Duration::from_secs(3)),
        ("ping_interval: 3", |o| o.ping_interval == Duration::from_secs(3)),
        ("ping_max: 5", |o| o.ping_max == 5),
        ("write_deadline: '3ms'", |o| o.write_deadline == Duration::from_millis(3)),
        ("write_timeout: retry", |o| o.write_timeout == WriteTimeout::Retry),
        ("no_fast_producer_stall: on", |o| o.no_fast_producer_stall),
        ("no_header_support: on", |o| o.no_header_support),
        ("no_sublist_cache: on", |o| o.disable_sublist_cache),
        ("proxy_protocol: on", |o| o.proxy_protocol),
        ("lame_duck_duration: '30s'", |o| o.lame_duck_duration == Duration::from_secs(30)),
        ("lame_duck_grace_period: '3s'", |o| o.lame_duck_grace_period == Duration::from_secs(3)),
        ("connect_error_reports: 3", |o| o.connect_error_reports == 3),
        ("reconnect_error_reports: 3", |o| o.reconnect_error_reports == 3),
        ("debug: on", |o| o.debug && !o.trace),
        ("trace: on", |o| o.trace && !o.trace_verbose),
        ("trace_verbose: on", |o| o.trace && o.trace_verbose),
        ("trace_headers: on", |o| o.trace && o.trace_headers),
        ("logtime: off, logtime_utc: on", |o| !o.logtime && o.logtime_utc),
        ("logfile: x", |o| o.log_file.as_deref() == Some("x".as_ref())),
        ("log_size_limit: 1k, log_max_num: 3", |o| o.logfile_size_limit == 1000 && o.logfile_max_num == 3),
        ("syslog: on, remote_syslog: x", |o| o.syslog && o.remote_syslog.as_deref() == Some("x")),
        ("pidfile: x", |o| o.pid_file.as_deref() == Some("x".as_ref())),
        ("ports_file_dir: x", |o| o.ports_file_dir.as_deref() == Some("x".as_ref())),
        ("max_traced_msg_len: 3", |o| o.max_traced_msg_len == 3),
        ("jetstream: on, store_dir: x", |o| o.jetstream && o.store_dir.as_deref() == Some("x".as_ref())),
        ("jetstream { storedir: x, enabled: no }", |o| !o.jetstream && o.store_dir.is_some()),
        ("system: S, accounts: [S]", |o| o.system_account() == Some("S")),
        ("no_system: on", |o| o.system_account().is_none()),
    ];
    for (text, check) in cases {
        assert!(check(&read(text)), "{text}");
        assert!(!check(&Options::embedded()), "{text} is the default");
    }
}

#[test]
fn zero_and_nothing_stand_for_the_default() {
    let texts = [
        "port: 0",
        "http_base_path: ''",
        "server_name: '', client_advertise: '', pid_file: '', log_file: ''",
        "max_control_line: 0, max_payload: 0, max_pending: 0, max_closed_clients: 0",
        "max_subscriptions: -1",
        "ping_interval: '0s', ping_max: 0, write_deadline: '0s', lame_duck_grace_period: '0s'",
        "connect_error_reports: 0, reconnect_error_reports: 0",
        "host: ''",
    ];
    for text in texts {
        let options = Options { config_digest: None, ..read(text) };
        let port = if text == "port: 0" { DEFAULT_PORT } else { RANDOM_PORT };
        let host = if text == "host: ''" { "0.0.0.0" } else { "127.0.0.1" }.into();
        assert_eq!(options, Options { host, port, ..Options::embedded() }, "{text}");
    }
}

#[test]
fn the_last_of_several_aliases_counts() {
    assert_eq!(read("port: 1, listen: 2").port, 2);
    assert_eq!(read("listen: 2, port: 1").port, 1);
    assert_eq!(read("max_subs: 1, max_subscriptions: 2").max_subscriptions, 2);
}

#[test]
fn an_authorization_block_is_read_whole() {
    let options = read(
        "no_auth_user: b
         authorization {
            timeout: 1.5
            default_permissions { publish: 'd.>' }
            users: [
                { user: a, password: x, permissions { publish { allow: [p, q], deny: r }, subscribe: 's w' } }
                { user: b, pass: y, clients: [mqtt], permissions { allow_responses { max: -1, expires: '1s' } } }
                { username: c }
            ]
         }",
    );
    let auth = &options.authorization;
    assert_eq!(auth.timeout(), Duration::from_millis(1500));
    assert_eq!(auth.no_auth_user.as_deref(), Some("b"));
    let [a, b, c] = &auth.users.as_ref().unwrap()[..] else { panic!("{auth:?}") };
    let permissions = a.permissions.as_ref().unwrap();
    let allow = |subjects: &[&str]| Some(subjects.iter().map(|s| (*s).to_owned()).collect());
    let publish = SubjectPermission { allow: allow(&["p", "q"]), deny: vec!["r".into()] };
    assert_eq!(permissions.publish, Some(publish));
    assert_eq!(permissions.subscribe, Some(SubjectPermission { allow: allow(&["s w"]), deny: vec![] }));
    assert!(a.password.matches("x") && b.password.matches("y"));
    assert!(b.allowed_connection_types.allows(ConnectionKind::Mqtt));
    assert!(!b.allowed_connection_types.allows(ConnectionKind::Standard));
    let responses = ResponsePermission { max_msgs: None, expires: Some(Duration::from_secs(1)) };
    assert_eq!(b.permissions.as_ref().unwrap().responses, Some(responses));
    let inherited = c.permissions.as_ref().unwrap().publish.as_ref().unwrap();
    assert_eq!(inherited.allow, allow(&["d.>"]));
}

#[test]
fn accounts_are_read_whole() {
    let options = read(
        "accounts {
            B { limits { max_conn: 3, max_subs: -1, max_pay: 1kb, max_leafs: 0 } }
            A { default_permissions { publish: x }, users: [ {user: a, password: b} ] }
         }",
    );
    let [b, a] = &options.accounts[..] else { panic!("{options:?}") };
    assert_eq!((b.name.as_str(), a.name.as_str()), ("B", "A"));
    let limits = b.limits;
    assert_eq!((limits.max_connections, limits.max_subscriptions), (Some(3), None));
    assert_eq!((limits.max_payload, limits.max_leafnodes), (Some(1024), Some(0)));
    assert_eq!(a.users[0].account.as_deref(), Some("A"));
    assert_eq!(a.users[0].permissions, a.default_permissions);
}

#[test]
fn users_exclude_each_other_across_blocks() {
    let account = "accounts { A { users: [ {user: a, password: b} ] } }";
    let cases = [
        ("authorization { user: x, password: y }", "Can not have a single user/pass and accounts"),
        ("authorization { token: x }", "Can not have a token and accounts"),
        ("authorization { users: [ {user: a, password: c} ] }", "Duplicate user \"a\" detected"),
    ];
    for (block, message) in cases {
        for text in [format!("{block}\n{account}"), format!("{account}\n{block}")] {
            assert!(errors(&text).contains(message), "{text}");
        }
    }
}

#[test]
fn what_is_not_supported_is_noted_and_security_is_fatal() {
    let nkey = "UC6NLCN7AS34YOJVCYD4PJ3QB7QGLYG5B5IMBT25VW5K4TNUJODM7BOX";
    let account = "AAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB776S";
    let pinned = format!("tls {{ cert_file: c, key_file: k, pinned_certs: [{}] }}", "a".repeat(64));
    let user = format!("authorization {{ users: [ {{nkey: {nkey}}} ] }}");
    let cases = [
        ("cluster { port: 1 }", "cluster", true),
        ("gateway { name: g, port: 1 }", "gateway", true),
        ("leaf { port: 1 }", "leafnodes", true),
        ("ws { port: 1, no_tls: true }", "websocket", true),
        ("mqtt { port: 1 }", "mqtt", true),
        ("jetstream { unique_tag: x }", "jetstream.unique_tag", false),
        ("jetstream { limits { max_ha_assets: 1 } }", "jetstream.limits.max_ha_assets", false),
        ("jetstream { tpm { keys_file: x } }", "jetstream.tpm", true),
        ("mappings { a: b }", "mappings", false),
        ("prof_port: 1", "prof_port", false),
        ("accounts { A { exports: [ {service: a, latency: b} ] } }", "accounts.A.exports.latency", false),
        ("tls { cert_file: c, key_file: k, verify_and_map: true }", "tls.verify_and_map", true),
        (&pinned, "tls.pinned_certs", true),
        ("tls { cert_file: c, key_file: k, connection_rate_limit: 1 }", "tls.connection_rate_limit", true),
        ("tls { cert_file: c, key_file: k, ocsp_peer: true }", "tls.ocsp_peer", true),
        ("ocsp: true", "ocsp", false),
        ("ocsp { mode: MUST }", "ocsp.mode", true),
        ("ocsp { mode: always, url: u }", "ocsp.mode", true),
        ("ocsp { mode: auto }", "ocsp", false),
        ("jetstream { limits { batch { max_msgs: 1 } } }", "jetstream.limits.batch", true),
        (
            "accounts { A { exports: [ {stream: 'a.*', account_token_position: 2} ] } }",
            "accounts.A.exports.account_token_position",
            true,
        ),
        ("https: 8443", "https", true),
        ("https_port: 8443", "https_port", true),
        ("operator: op.jwt", "operator", true),
        ("resolver: MEMORY", "resolver", true),
        ("resolver_preload { A: x }", "resolver_preload", true),
        ("default_sentinel: x", "default_sentinel", true),
        ("proxies { trusted: [ {key: x} ] }", "proxies", true),
        ("authorization { auth_callout { issuer: x, auth_users: [a] } }", "authorization.auth_callout", true),
        ("authorization { proxy_required: true }", "authorization.proxy_required", true),
        (&user, "authorization.users.nkey", true),
        ("proxy_protocol: on", "proxy_protocol", true),
        ("syslog: on", "syslog", false),
        ("remote_syslog: \"udp://127.0.0.1:514\"", "remote_syslog", false),
        ("accounts { A { limits { max_conn: 1 } } }", "accounts.A.limits.max_conn", true),
        ("accounts { A { limits { max_subs: 0 } } }", "accounts.A.limits.max_subs", true),
        ("accounts { A { limits { max_payload: 1 } } }", "accounts.A.limits.max_payload", true),
    ];
    for (text, field, fatal) in cases {
        let noted = read(text).unsupported;
        let [noted] = &noted[..] else { panic!("{text}: {noted:?}") };
        assert_eq!((noted.field.as_str(), noted.is_fatal()), (field, fatal), "{text}");
        assert!(noted.position.is_some());
    }
    let options = read(&format!("accounts {{ A {{ nkey: {account} }} }}"));
    assert_eq!(
        options.unsupported[0].to_string(),
        "t:1:15: accounts.A.nkey is not supported yet by stonechat; a server without it would allow more than the \
         configuration does"
    );
    for harmless in [
        "jetstream: disabled",
        "jetstream: enabled",
        "https_port: 0",
        "prof_port: 0",
        "proxy_protocol: no",
        "syslog: off",
        "authorization { proxy_required: no }",
        "ocsp: false",
        "ocsp { mode: never }",
        "tls { cert_file: c, key_file: k, pinned_certs: [], connection_rate_limit: 0, ocsp_peer: false }",
        "tls { cert_file: c, key_file: k, curve_preferences: [X25519] }",
        "accounts { A { limits { max_conn: -1, max_subs: -1, max_payload: -1, max_leafnodes: 3 } } }",
        "accounts { A { exports: [ {stream: 'a.*', account_token_position: 0} ] } }",
        "jetstream { limits { max_ack_pending: -1, max_request_batch: 0 } }",
        "jetstream { limits { max_ack_pending: 10, max_request_batch: 20 } }",
    ] {
        assert_eq!(read(harmless).unsupported, [], "{harmless}");
    }
}

#[test]
fn missing_blocks_stop_a_start_unless_they_are_allowed() {
    let cluster = "cluster { port: 1 }";
    let refused = |options: &Options| options.refused().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        refused(&read(cluster)),
        [
            "t:1:0: cluster is not supported yet by stonechat; to start without it, set allow_unsupported: true or \
          --allow_unsupported"
        ]
    );
    let allowed = read(&format!("{cluster}\nallow_unsupported: true"));
    assert_eq!(refused(&allowed), [""; 0]);
    assert_eq!(
        allowed.unsupported[0].to_string(),
        "t:1:0: cluster is not supported yet by stonechat, ignored"
    );
    assert_eq!(refused(&read(&format!("allow_unsupported: false, {cluster}"))).len(), 1);
    let two = read("mqtt { port: 1 }, ws { port: 2 }, allow_unsupported: true, https: 1");
    assert_eq!(two.refused().map(|u| u.field.as_str()).collect::<Vec<_>>(), ["https"]);
}

#[test]
fn names_of_cipher_suites_and_curves_are_checked_as_nats_server_does() {
    let cases = [
        ("cipher_suites: []", Some("t:1:33: error parsing tls config, 'cipher_suites' cannot be empty")),
        ("cipher_suites: [TLS_NOPE]", Some("t:1:49: unrecognized cipher TLS_NOPE")),
        (
            "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA, TLS_AES_128_GCM_SHA256]",
            Some(
                "t:1:0: insecure cipher suites configured without 'allow_insecure_cipher_suites' option set: \
                 TLS_RSA_WITH_RC4_128_SHA",
            ),
        ),
        ("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA], allow_insecure_cipher_suites: true", None),
        ("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]", None),
        (
            "curve_preferences: []",
            Some("t:1:33: error parsing tls config, 'curve_preferences' cannot be empty"),
        ),
        ("curve_preferences: [CurveP256, GARBAGE]", Some("t:1:64: unrecognized curve preference GARBAGE")),
        ("curve_preferences: [CurveP521, X25519]", None),
        (
            "pinned_certs: [AB]",
            Some(
                "t:1:48: error parsing tls config, 'pinned_certs' key ab does not look like hex-encoded sha256 of DER \
                 encoded SubjectPublicKeyInfo",
            ),
        ),
        (
            "verify_cert_and_check_known_urls: true",
            Some("t:1:33: verify_cert_and_check_known_urls not supported in this context"),
        ),
        ("verify_cert_and_check_known_urls: false", None),
    ];
    for (text, expected) in cases {
        let text = format!("tls {{ cert_file: c, key_file: k, {text} }}");
        let got = load_text(&text, "t").map_err(|errors| errors.to_string()).err();
        assert_eq!(got.as_deref(), expected, "{text}");
        if expected.is_some() && text.contains("known_urls") {
            let peers = format!(
                "cluster {{ {text} }}, gateway {{ name: g, gateways: [ {{ name: h, {text} }} ], {text} }}"
            );
            assert!(load_text(&peers, "t").is_ok(), "{peers}");
            assert!(load_text(&format!("leafnodes {{ {text} }}"), "t").is_err());
        }
    }
}

#[test]
fn errors_name_the_field() {
    let cases = [
        ("port: x", "t:1:0: port: expected an integer, found a string"),
        ("port: 70000", "t:1:0: port: port 70000 is out of range"),
        ("Max_Payload: x", "t:1:0: Max_Payload: expected an integer, found a string"),
        (
            "authorization { users: [ {user: 1} ] }",
            "authorization.users.user: expected a string, found an integer",
        ),
        ("jetstream { max_mem: [] }", "jetstream.max_mem: expected a size, found a list"),
        ("jetstream { strict: 1 }", "jetstream.strict: expected a boolean, found an integer"),
        ("accounts { A { exports: [ {stream: 1} ] } }", "accounts.A.exports.stream: expected a string"),
        ("cluster { pool_size: x }", "cluster.pool_size: expected an integer, found a string"),
        ("server_tags: [a, 1]", "server_tags: expected a string, found an integer"),
    ];
    for (text, expected) in cases {
        assert!(errors(text).contains(expected), "{text}: {}", errors(text));
    }
}

#[test]
fn all_errors_are_collected_with_their_places() {
    let text = "port: x\nfoo: 1\nauthorization {\n users: [ {password: x}, {user: a, nope: 1} ]\n}\nping_interval: 1";
    let expected = "t:6:1: invalid use of field \"ping_interval\": ping_interval should be converted to a duration\n\
                    t:1:0: port: expected an integer, found a string\n\
                    t:2:1: unknown field \"foo\"\n\
                    t:4:11: User entry requires a user\n\
                    t:4:36: unknown field \"nope\"";
    assert_eq!(errors(text), expected);
}

#[test]
fn options_that_contradict_each_other_are_invalid() {
    let cases = [
        ("", Ok(())),
        ("max_payload: 9mb, max_pending: 9mb", Ok(())),
        ("max_payload: -1, max_pending: 1", Ok(())),
        ("max_payload: 100mb", Err("max_payload (104857600) cannot be higher than max_pending (67108864)")),
        (
            "lame_duck_duration: '30s', lame_duck_grace_period: '30s'",
            Err("lame duck grace period (30s) should be strictly lower than lame duck duration (30s)"),
        ),
        ("no_auth_user: z", Err("no_auth_user: \"z\" present, but users/nkeys are not defined")),
        (
            "no_auth_user: z, accounts { A { users: [ {user: a} ] } }",
            Err(
                "no_auth_user: \"z\" not present as user or nkey in authorization block or account configuration",
            ),
        ),
        ("no_auth_user: a, accounts { A { users: [ {user: a} ] } }", Ok(())),
        ("system_account: X", Err("error resolving system account: account missing: \"X\"")),
    ];
    for (text, expected) in cases {
        let validated = read(text).validate().map_err(|error| error.to_string());
        assert_eq!(validated, expected.map_err(str::to_owned), "{text}");
    }
    let named = Options { server_name: Some("a b".into()), ..Options::default() };
    assert_eq!(named.validate(), Err(InvalidOptions::ServerName));
}

#[test]
fn flags_override_the_file() {
    let text = "port: 1, debug: true, server_name: file, jetstream: on, logtime: false, max_conn: 5
                authorization { user: u, password: p }, tls { cert_file: c, key_file: k }";
    let source = MemorySource::default().with_file("f.conf", text);
    let args = "-c f.conf -p 2 -D=false -n flag -js=false --user v --tls=false";
    let invocation = flags::parse(args.split(' ').map(Into::into)).unwrap();
    let flags::Invocation::Run(flags) = invocation else { panic!() };
    let options = load_with(flags.config_file().unwrap(), &flags, &source).unwrap().options;
    assert_eq!((options.port, options.debug, options.jetstream), (2, false, false));
    assert_eq!(options.server_name.as_deref(), Some("flag"));
    assert_eq!(options.authorization.user.as_deref(), Some("v"));
    assert!(options.authorization.password.as_ref().unwrap().matches("p"));
    assert_eq!((options.logtime, options.max_connections), (false, 5));
    assert_eq!(options.unsupported, []);
    assert_eq!(options.config_file.as_deref(), Some("f.conf".as_ref()));
    assert!(options.config_digest.is_some());
}

#[test]
fn plain_passwords_are_noticed() {
    for (text, is_plain) in [
        ("", false),
        ("authorization { user: a, password: b }", true),
        ("authorization { token: b }", true),
        ("accounts { A { users: [ {user: a, password: b} ] } }", true),
        ("authorization { users: [ {user: a, password: $2a$04$x} ] }", false),
        ("authorization { users: [ {user: a} ] }", false),
    ] {
        assert_eq!(read(text).has_plain_passwords(), is_plain, "{text}");
    }
}

#[test]
fn jetstream_is_read() {
    let text = "jetstream { store_dir: /s, max_mem: 1G, max_file: 512MB, domain: hub, sync_interval: 10s, strict: no,
        limits { duplicate_window: 60s } }
        accounts { A { jetstream: enabled }, B { jetstream { max_mem: 1K, max_streams: 3 } }, C {} }";
    let options = read(text);
    let js = &options.jetstream_options;
    assert!(options.jetstream && !js.strict);
    assert_eq!((js.max_memory, js.max_file), (Some(1_000_000_000), Some(512 << 20)));
    assert_eq!(js.domain.as_deref(), Some("hub"));
    assert_eq!(js.sync_interval, Some(crate::SyncInterval::Every(std::time::Duration::from_secs(10))));
    assert_eq!(js.duplicate_window, Some(std::time::Duration::from_secs(60)));
    let accounts: Vec<_> = options
        .jetstream_accounts
        .iter()
        .map(|(name, a)| (name.as_str(), a.max_memory, a.max_streams))
        .collect();
    assert_eq!(accounts, [("A", -1, -1), ("B", 1000, 3)]);
    let always = read("jetstream { sync: always }").jetstream_options;
    assert_eq!(always.sync_interval, Some(crate::SyncInterval::Always));
}
