//! Tests of reloads.

use super::*;
use crate::load_text;

fn options(text: &str) -> Options {
    load_text(text, "t").unwrap().options
}

fn reload(old: &str, new: &str) -> Result<Vec<String>, String> {
    diff(&options(old), &options(new))
        .map(|changes| changes.iter().map(Change::to_string).collect())
        .map_err(|error| error.to_string())
}

#[test]
fn changes_are_reported_as_the_real_server_reports_them() {
    let all = "debug: true, trace: true, max_payload: 1000, max_control_line: 2000, ping_interval: '90s', ping_max: 3
        write_deadline: '1500ms', logtime: false, logtime_utc: true, max_connections: 0, server_tags: [a]
        server_metadata {a: b}, client_advertise: 'h:1', max_traced_msg_len: 5, connect_error_reports: 4
        reconnect_error_reports: 5, no_fast_producer_stall: true, trace_verbose: true, trace_headers: true
        pid_file: x.pid, ports_file_dir: x, log_file: x.log, syslog: true, remote_syslog: 'udp://h:1'";
    let expected = [
        "client_advertise = h:1",
        "trace = true",
        "debug = true",
        "trace_verbose = true",
        "trace_headers = true",
        "logtime = false",
        "logtime_utc = true",
        "max_connections = -1",
        "ping_interval = 1m30s",
        "ping_max = 3",
        "max_control_line = 2000",
        "max_payload = 1000",
        "fast producers will not be stalled",
        "pid_file = x.pid",
        "ports_file_dir = x",
        "log_file = x.log",
        "syslog = true",
        "remote_syslog = udp://h:1",
        "write_deadline = 1.5s",
        "max_traced_msg_len = 5",
        "connect_error_reports = 4",
        "reconnect_error_reports = 5",
        "tags",
        "metadata",
    ];
    assert_eq!(reload("", all).unwrap(), expected);
    assert_eq!(reload(all, all).unwrap(), [""; 0]);
}

#[test]
fn authorization_changes() {
    let users = "authorization { users = [ {user: a, password: b} ] }";
    let cases = [
        (
            "authorization {user: a, password: b, timeout: 1}",
            "authorization {user: c, password: d, timeout: 1.5}",
            vec!["authorization username", "authorization password", "authorization timeout = 1.5"],
        ),
        ("authorization {token: a}", users, vec!["authorization users", "authorization token"]),
        (users, "authorization { users = [ {user: a, password: c} ] }", vec!["authorization users"]),
        ("accounts { A {} }", "accounts { A {}, B {} }", vec!["accounts"]),
        (
            "accounts { A { users: [{user: a}, {user: b}] }, B { users: [{user: c}] } }",
            "accounts { B { users: [{user: c}] }, A { users: [{user: b}, {user: a}] } }",
            vec![],
        ),
        (
            "accounts { A { users: [{user: a}] } }",
            "accounts { A { users: [{user: a, permissions: {publish: x}}] } }",
            vec!["accounts"],
        ),
        ("server_tags: [a, b]", "server_tags: [b, a]", vec![]),
    ];
    for (old, new, expected) in cases {
        assert_eq!(reload(old, new).unwrap(), expected, "{old} => {new}");
    }
}

#[test]
fn what_needs_a_restart() {
    let cases = [
        ("", "http_port: 8333", "HTTPPort: old=0, new=8333"),
        ("", "max_pending: 70mb, max_subs: 3", "MaxSubs: old=0, new=3"),
        ("server_name: a", "server_name: b", "ServerName: old=a, new=b"),
        ("server_name: a", "", "ServerName: old=a, new="),
        ("port: 1", "port: 4444", "Port: old=1, new=4444"),
        ("", "host: 0.0.0.0", "Host: old=127.0.0.1, new=0.0.0.0"),
        ("lame_duck_duration: '40s'", "lame_duck_duration: '50s'", "LameDuckDuration: old=40s, new=50s"),
        ("", "lame_duck_grace_period: '3s'", "LameDuckGracePeriod: old=10s, new=3s"),
        ("", "max_closed_clients: 4", "MaxClosedClients: old=10000, new=4"),
        ("", "disable_sublist_cache: true", "NoSublistCache: old=false, new=true"),
        ("", "feature_flags {a: true}", "FeatureFlags: old=map[], new=map[a:true]"),
        ("", "no_header_support: true", "NoHeaderSupport: old=false, new=true"),
        ("", "proxy_protocol: true", "ProxyProtocol: old=false, new=true"),
        ("", "write_timeout: close", "WriteTimeout: old=, new=close"),
        ("", "logfile_size_limit: 100", "LogSizeLimit: old=0, new=100"),
        ("", "prof_port: 8999", "ProfPort: old=0, new=8999"),
        ("", "max_sub_tokens: 3", "MaxSubTokens: old=0, new=3"),
        ("", "system_account: A, accounts { A {} }", "SystemAccount: old=, new=A"),
        ("no_auth_user: a", "no_auth_user: b", "NoAuthUser: old=a, new=b"),
        ("no_auth_user: a", "accounts { A { users: [{user: a}] } }", "NoAuthUser: old=a, new="),
    ];
    for (old, new, message) in cases {
        let expected = format!("config reload not supported for {message}");
        assert_eq!(reload(old, new), Err(expected), "{old} => {new}");
    }
}

#[test]
fn what_needs_none_all_the_same() {
    for (old, new) in [
        ("no_auth_user: a, accounts { A { users: [{user: a}] } }", "accounts { A { users: [{user: b}] } }"),
        ("port: 4333", "port: -1"),
        ("system_account: $SYS", ""),
        ("", "jetstream: true, store_dir: x"),
    ] {
        let old = old.replace("$SYS", "'$SYS'");
        assert!(reload(&old, new).is_ok(), "{old} => {new}");
    }
}

#[test]
fn security_that_is_missing_stops_a_reload() {
    let error = reload("", "resolver_tls { cert_file: c, key_file: k }").unwrap_err();
    assert_eq!(
        error,
        "t:1:0: resolver_tls is not supported yet by stonechat; a server without it would allow more than the configuration \
         does"
    );
}

#[test]
fn a_store_stays_where_it_is() {
    for (old, new, what) in [
        ("jetstream { store_dir: a }", "jetstream { store_dir: b }", "jetstream storage directory"),
        ("jetstream { max_mem: 1 }", "jetstream { max_mem: 2 }", "jetstream max memory and max store"),
        (
            "jetstream { max_file: 2 }",
            "jetstream { max_file: 1 }",
            "decreasing jetstream max memory and store",
        ),
        ("jetstream { sync: always }", "jetstream { sync: '1m' }", "SyncInterval: old=2m0s, new=1m0s"),
        ("jetstream { sync: always }", "jetstream { sync: '2m' }", "SyncAlways"),
        ("jetstream { domain: a }", "jetstream { domain: b }", "JetStreamDomain: old=a, new=b"),
    ] {
        assert_eq!(reload(old, new).unwrap_err(), format!("config reload not supported for {what}"));
    }
    assert!(reload("jetstream { store_dir: a }", "jetstream: off").is_ok());
}
