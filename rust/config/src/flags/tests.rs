//! Tests of command line flags.

use super::*;
use crate::{Options, RANDOM_PORT};

fn parse_line(line: &str) -> Result<Invocation, FlagError> {
    parse(line.split_whitespace().map(OsString::from))
}

fn options(line: &str) -> Result<Options, FlagError> {
    let Invocation::Run(flags) = parse_line(line)? else { panic!("{line} does not run") };
    let mut options = Options::default();
    flags.apply(&mut options)?;
    Ok(options)
}

#[test]
fn every_spelling_of_a_value() {
    for line in ["-p 4333", "-p=4333", "--p 4333", "--port=4333", "-port 4333", "-p 1 -p 0x10ED"] {
        assert_eq!(options(line).unwrap().port, 4333, "{line}");
    }
    for line in ["-D", "--debug", "-D=true", "-debug=1", "-D=T"] {
        assert!(options(line).unwrap().debug, "{line}");
    }
}

#[test]
fn the_flags_of_core_nats() {
    let all = options(
        "-a 127.0.0.1 -p -1 -n me -P p.pid -m 8222 --client_advertise h:1 --ports_file_dir /p -l l.log -T=false \
         --logtime_utc -s -r udp://h:514 --log_size_limit 1000 --max_traced_msg_len 10 --user u --pass p --auth t",
    )
    .unwrap();
    assert_eq!((all.host.as_str(), all.port, all.http_port), ("127.0.0.1", RANDOM_PORT, 8222));
    assert_eq!(all.server_name.as_deref(), Some("me"));
    assert_eq!(all.pid_file.as_deref(), Some("p.pid".as_ref()));
    assert_eq!(all.client_advertise.as_deref(), Some("h:1"));
    assert_eq!(all.ports_file_dir.as_deref(), Some("/p".as_ref()));
    assert_eq!(all.log_file.as_deref(), Some("l.log".as_ref()));
    assert!(!all.logtime && all.logtime_utc && all.syslog);
    assert_eq!(all.remote_syslog.as_deref(), Some("udp://h:514"));
    assert_eq!((all.logfile_size_limit, all.max_traced_msg_len), (1000, 10));
    let auth = &all.authorization;
    assert_eq!(auth.user.as_deref(), Some("u"));
    assert!(auth.password.as_ref().unwrap().matches("p") && auth.token.as_ref().unwrap().matches("t"));
    let noted: Vec<_> = all.unsupported.iter().map(|u| (u.field.as_str(), u.is_fatal())).collect();
    assert_eq!(noted, [("--syslog", false), ("--remote_syslog", false)]);
}

#[test]
fn debug_and_trace_in_all_combinations() {
    let cases = [
        ("", (false, false, false)),
        ("-D", (true, false, false)),
        ("-V", (false, true, false)),
        ("-VV", (false, true, true)),
        ("-DV", (true, true, false)),
        ("-DVV", (true, true, true)),
        ("-DV=false -D", (false, false, false)),
        ("-DV -VV=false", (true, false, false)),
    ];
    for (line, expected) in cases {
        let options = options(line).unwrap();
        assert_eq!((options.debug, options.trace, options.trace_verbose), expected, "{line}");
    }
}

#[test]
fn what_is_asked_for_besides_running() {
    let cases = [
        ("-v", Invocation::Version),
        ("--version -h", Invocation::Version),
        ("version", Invocation::Version),
        ("-D VERSION", Invocation::Version),
        ("-h", Invocation::Help),
        ("help", Invocation::Help),
        ("-- help", Invocation::Help),
        ("--help_tls", Invocation::HelpTls),
        ("healthcheck", Invocation::Healthcheck { url: "http://127.0.0.1:8222/healthz".into() }),
        ("healthcheck -m 9", Invocation::Healthcheck { url: "http://127.0.0.1:9/healthz".into() }),
        (
            "healthcheck --url http://h:1/healthz",
            Invocation::Healthcheck { url: "http://h:1/healthz".into() },
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(parse_line(line), Ok(expected), "{line}");
    }
    assert!(
        matches!(parse_line("-t -c f"), Ok(Invocation::TestConfig(flags)) if flags.config_file().is_some())
    );
    let request = SignalRequest { command: SignalCommand::Reload, target: Some("12".into()) };
    assert_eq!(parse_line("--signal reload=12 -c x"), Ok(Invocation::Signal(request)));
    let request = SignalRequest { command: SignalCommand::LameDuck, target: None };
    assert_eq!(parse_line("-sl=ldm"), Ok(Invocation::Signal(request)));
}

#[test]
fn what_is_wrong_with_a_line() {
    let cases = [
        ("-x", "flag provided but not defined: -x", 0),
        ("--nope=1", "flag provided but not defined: -nope", 0),
        ("-p", "flag needs an argument: -p", 0),
        ("-p x", "invalid value \"x\" for flag -p: parse error", 0),
        ("-D=x", "invalid boolean value \"x\" for -D: parse error", 0),
        ("---p", "bad flag syntax: ---p", 0),
        ("-=1", "bad flag syntax: -=1", 0),
        ("extra", "unrecognized command: \"extra\"", 1),
        ("-D false", "unrecognized command: \"false\"", 1),
        ("-", "unrecognized command: \"-\"", 1),
        ("-t", "must specify [-c, --config] option to check configuration file syntax", 1),
        ("-sl nope", "unknown signal \"nope\"", 1),
        ("-sl stop=1=2", "invalid signal parameters: [2]", 1),
        ("-sl stop=/no/such/file", "invalid pid: /no/such/file", 1),
    ];
    for (line, message, code) in cases {
        let error = parse_line(line).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.exit_code()), (message, code), "{line}");
    }
    let cases = [
        ("--routes nats://h:1", "solicited routes require cluster capabilities, e.g. --cluster"),
        ("--tls", "TLS Server certificate must be present and valid"),
        ("--tlsverify --tlscert x", "TLS Server private key must be present and valid"),
        ("--cluster nats://u@h:1", "expected cluster password to be set"),
        ("--cluster nope", "invalid cluster URL \"nope\": it must be of the form nats://host:port"),
        ("-p 65536", "port 65536 for flag -p is out of range"),
    ];
    for (line, message) in cases {
        assert_eq!(options(line).unwrap_err().to_string(), message, "{line}");
    }
}

#[test]
fn what_later_versions_do_is_noted() {
    let cases = [
        ("-js", vec![]),
        ("-sd /s", vec![]),
        ("--cluster nats://u:p@h:-1 --routes nats://h:1", vec![("--cluster", true), ("--routes", true)]),
        ("--tls --tlscert c --tlskey k", vec![]),
        ("--tls=false --tlscert c", vec![]),
        ("-s -r udp://h:514", vec![("--syslog", false), ("--remote_syslog", false)]),
        ("-s=false", vec![]),
        ("-ms 8443", vec![("--https_port", true)]),
    ];
    for (line, expected) in cases {
        let options = options(line).unwrap();
        let noted: Vec<_> = options.unsupported.iter().map(|u| (u.field.as_str(), u.is_fatal())).collect();
        assert_eq!(noted, expected, "{line}");
    }
}

#[test]
fn missing_capabilities_can_be_allowed() {
    for flag in ["--allow_unsupported", "-allow-unsupported=true"] {
        let mut options = options(&format!("--cluster nats://h:-1 {flag}")).unwrap();
        assert!(options.allow_unsupported);
        options.resolve();
        assert_eq!(options.refused().next(), None);
    }
    assert!(!options("--allow_unsupported=false").unwrap().allow_unsupported);
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let invocation = parse_line("--pass s3cret --auth t0ken").unwrap();
    let shown = format!("{invocation:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
}

#[test]
fn the_usage_lists_every_name() {
    let text = usage();
    for group in table::SERVER.iter().chain(table::HEALTHCHECK) {
        for name in group.specs.iter().flat_map(|spec| spec.names) {
            assert!(text.contains(&format!("-{name}")), "{name}");
        }
    }
    assert!(text.lines().all(|line| line.len() <= 110), "{text}");
}
