//! Sessions without sockets: their input, and every byte of their output.

use super::fixture::*;
use super::*;
use crate::{GLOBAL_ACCOUNT, Inlet, Message};
use stonechat_auth::{Authorization, User};

#[test]
fn operations_and_their_answers() {
    for (input, output, closed) in [
        ("SUB foo 1\r\n", "+OK\r\n", None),
        ("PING\r\n", "PONG\r\n", None),
        ("SUB foo 1\r\nPUB foo 2\r\nhi\r\n", "+OK\r\n+OK\r\nMSG foo 1 2\r\nhi\r\n", None),
        ("SUB a.>.b 1\r\n", "-ERR 'Invalid Subject'\r\n", None),
        (
            "SUB foo _sys_ 1\r\n",
            "-ERR 'Permissions Violation for Subscription to \"foo\" using queue \"_sys_\"'\r\n",
            None,
        ),
        ("PUB foo.* 0\r\n\r\n", "-ERR 'Invalid Publish Subject'\r\n+OK\r\n", None),
        ("FOO\r\n", "-ERR 'Unknown Protocol Operation'\r\n", Some(ClosedReason::ProtocolViolation)),
        ("PUB foo\r\n", "", Some(ClosedReason::ProtocolViolation)),
        ("CONNECT {\r\n", "", Some(ClosedReason::ProtocolViolation)),
        (
            "CONNECT {\"protocol\":7}\r\n",
            "-ERR 'invalid client protocol'\r\n",
            Some(ClosedReason::BadClientProtocolVersion),
        ),
        (
            "PUB foo 1048577\r\n",
            "-ERR 'Maximum Payload Violation'\r\n",
            Some(ClosedReason::MaxPayloadExceeded),
        ),
        ("-ERR x\r\n", "", Some(ClosedReason::ParseError)),
    ] {
        let broker = broker();
        let mut side = Side::new(&broker);
        let got = side.says(input);
        side.session.client().outbound.flush();
        let got = got + &side.output();
        assert_eq!((got.as_str(), side.session.client().closing()), (output, closed), "{input:?}");
    }
}

#[test]
fn a_request_that_nobody_takes() {
    let broker = broker();
    let mut side = Side::new(&broker);
    side.says(QUIET);
    let got = side.says("SUB inbox.* 9\r\nPUB svc inbox.1 0\r\n\r\n");
    assert_eq!(got, "HMSG inbox.1 9 35 35\r\nNATS/1.0 503\r\nNats-Subject: svc\r\n\r\n\r\n");
}

#[test]
fn headers_are_taken_off_for_those_who_know_none() {
    let broker = broker();
    let (mut old, mut new) = (Side::new(&broker), Side::new(&broker));
    old.says("CONNECT {\"verbose\":false}\r\nSUB foo 1\r\n");
    new.says(QUIET);
    new.says("SUB foo 2\r\nHPUB foo re 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    assert_eq!(old.output(), "MSG foo 1 re 2\r\nhi\r\n");
}

#[test]
fn auto_unsubscribe_counts_what_was_delivered() {
    let broker = broker();
    let mut side = Side::new(&broker);
    side.says(QUIET);
    let got =
        side.says("SUB a 1\r\nPUB a 1\r\nx\r\nUNSUB 1 2\r\nPUB a 1\r\ny\r\nPUB a 1\r\nz\r\nUNSUB 1\r\n");
    assert_eq!(got, "MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\n");
    assert_eq!(side.session.client().subscription_count(), 0);
}

#[test]
fn a_queue_group_gets_each_message_once_and_fairly() {
    let broker = broker();
    let mut members: Vec<Side> = (0..4).map(|_| Side::new(&broker)).collect();
    for member in &mut members {
        member.says(QUIET);
        member.says("SUB job workers 1\r\n");
    }
    let mut publisher = Side::new(&broker);
    publisher.says(QUIET);
    publisher.says(&"PUB job 1\r\nx\r\n".repeat(4000));
    let shares: Vec<usize> = members.iter().map(|m| m.output().matches("MSG").count()).collect();
    assert_eq!(shares.iter().sum::<usize>(), 4000);
    assert!(shares.iter().all(|&n| (700..1300).contains(&n)), "{shares:?}");
}

#[test]
fn a_queue_member_that_takes_no_more_leaves_the_order_to_others() {
    let broker = broker();
    let (mut steady, mut limited, mut publisher) =
        (Side::new(&broker), Side::new(&broker), Side::new(&broker));
    publisher.says(QUIET);
    publisher.says(&"PUB job 1\r\nx\r\n".repeat(2));
    for (side, more) in [(&mut steady, ""), (&mut limited, "UNSUB 1 3\r\n")] {
        side.says(QUIET);
        side.says(&format!("SUB job workers 1\r\n{more}"));
    }
    // The first message looks the members up; the others find them in the cache and make a run.
    let batch: String = (100..160).map(|n| format!("PUB job 3\r\n{n}\r\n")).collect();
    publisher.says("PUB job 2\r\n99\r\n");
    publisher.says(&batch);
    let numbers: Vec<u32> = steady.output().lines().filter_map(|l| l.parse().ok()).collect();
    assert!(numbers.len() >= 58 && numbers.is_sorted(), "{numbers:?}");
}

#[test]
fn any_fragmentation_gives_the_same_answers() {
    let text = format!(
        "{QUIET}SUB a.* 1\r\nPUB a.b re 5\r\nhello\r\nHPUB a.c 12 13\r\nNATS/1.0\r\n\r\nx\r\nPING\r\n"
    );
    let whole = Side::new(&broker()).says(&text);
    for size in [1, 2, 3, 7, 50] {
        let broker = broker();
        let mut side = Side::new(&broker);
        for piece in text.as_bytes().chunks(size) {
            let _ = side.send(std::str::from_utf8(piece).unwrap());
        }
        assert_eq!(side.output(), whole, "in pieces of {size}");
    }
}

#[test]
fn a_large_payload_is_read_in_place() {
    let broker = broker();
    let mut side = Side::new(&broker);
    side.says(QUIET);
    let body = "x".repeat(300_000);
    let mut rest = format!("SUB big 1\r\nPUB big {}\r\n{body}\r\nPING\r\n", body.len()).into_bytes();
    let mut buffer = vec![0; 8192];
    while !rest.is_empty() {
        let (now, broker_input) = (side.now, &mut side.session);
        match broker_input.prepare(&mut buffer) {
            Some(start) => {
                let n = rest.len().min(buffer.len() - start);
                buffer[start..start + n].copy_from_slice(&rest[..n]);
                rest.drain(..n);
                let _ = broker_input.ingest(&buffer[..start + n], now);
            }
            None => {
                let space = broker_input.partial_space();
                let (len, n) = (space.len(), rest.len().min(space.len()).min(10_000));
                space[..n].copy_from_slice(&rest[..n]);
                rest.drain(..n);
                let _ = broker_input.partial_filled(len, n, now);
            }
        }
    }
    assert_eq!(side.output(), format!("MSG big 1 300000\r\n{body}\r\nPONG\r\n"));
}

#[test]
fn a_receiver_that_never_reads_is_closed_and_stalls_its_publisher() {
    let options = BrokerOptions { max_pending: 10_000, ..BrokerOptions::default() };
    let broker = broker_of(options, Authorization::default());
    let (mut slow, mut publisher) = (Side::new(&broker), Side::new(&broker));
    slow.says(QUIET);
    slow.says("SUB a 1\r\n");
    slow.peer.0.lock().1 = true;
    publisher.says(QUIET);
    let message = format!("PUB a 1000\r\n{}\r\n", "x".repeat(1000));
    let Progress::Read(pause) = publisher.send(&message.repeat(9)) else { panic!("the publisher goes on") };
    assert!(!pause.is_zero(), "above three quarters the publisher pauses");
    let _ = publisher.send(&message.repeat(9));
    assert_eq!(slow.session.client().closing(), Some(ClosedReason::SlowConsumerPendingBytes));
    assert_eq!(publisher.session.client().closing(), None);
}

/// An inlet in which too much waits.
#[derive(Debug)]
struct Crowded;

impl Inlet for Crowded {
    fn push(&self, _: u64, _: &Arc<Client>, _: &Message<'_>) -> bool {
        true
    }

    fn flush(&self) -> Duration {
        Duration::from_millis(250)
    }
}

#[test]
fn a_publisher_pauses_as_long_as_an_inlet_asks() {
    let broker = broker_of(BrokerOptions::default(), Authorization::default());
    broker.account(GLOBAL_ACCOUNT).attach(Arc::new(Crowded), 0, b"crowded", None);
    let mut publisher = Side::new(&broker);
    publisher.says(QUIET);
    let pause = |progress| if let Progress::Read(pause) = progress { Some(pause) } else { None };
    assert_eq!(pause(publisher.send("PUB crowded 1\r\nx\r\n")), Some(Duration::from_millis(250)));
    assert_eq!(pause(publisher.send("PUB other 1\r\nx\r\n")), Some(Duration::ZERO));
}

#[test]
fn a_client_that_never_reads_its_answers_is_closed() {
    let options = BrokerOptions { max_pending: 10_000, ..BrokerOptions::default() };
    let broker = broker_of(options, Authorization::default());
    for (connect, asks) in [(QUIET, "PING\r\n"), ("CONNECT {\"verbose\":true}\r\n", "SUB a 1\r\nUNSUB 1\r\n")]
    {
        let mut deaf = Side::new(&broker);
        deaf.says(connect);
        deaf.peer.0.lock().1 = true;
        assert!(matches!(deaf.send(&asks.repeat(900)), Progress::Read(_)), "below max_pending it goes on");
        assert!(matches!(deaf.send(&asks.repeat(900)), Progress::Close));
        assert_eq!(deaf.session.client().closing(), Some(ClosedReason::SlowConsumerPendingBytes));
    }
}

#[test]
fn a_closed_connection_is_remembered_with_some_of_its_subscriptions() {
    let broker = broker();
    for (count, kept) in [(3, 3), (5000, 1024)] {
        let mut side = Side::new(&broker);
        side.says(QUIET);
        for sid in 0..count {
            side.says(&format!("SUB a.{sid} {sid}\r\n"));
        }
        side.session.close(ClosedReason::ClientClosed);
        let closed = broker.closed_clients();
        let facts = &closed.last().unwrap().facts;
        assert_eq!((facts.subscriptions, facts.subs.len()), (count, kept));
    }
}

#[test]
fn pings_until_the_connection_is_stale() {
    let options =
        BrokerOptions { ping_interval: Duration::from_secs(10), ping_max: 2, ..BrokerOptions::default() };
    let broker = broker_of(options, Authorization::default());
    let mut side = Side::new(&broker);
    side.says(QUIET);
    let step = Duration::from_secs(11);
    assert_eq!(
        [side.after(step), side.after(step), side.after(step)],
        ["PING\r\n", "PING\r\n", "-ERR 'Stale Connection'\r\n"]
    );
    assert_eq!(side.session.client().closing(), Some(ClosedReason::StaleConnection));
}

#[test]
fn the_first_ping_comes_after_connect_and_is_jittered() {
    let interval = Duration::from_secs(1);
    let options = BrokerOptions { ping_interval: interval, ..BrokerOptions::default() };
    let broker = broker_of(options, Authorization::default());
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let mut side = Side::new(&broker);
        assert_eq!(side.after(interval * 9 / 10), "", "who may still shake hands has the whole interval");
        side.says(QUIET);
        let first = side.session.deadline() - side.now;
        assert!((interval..=interval * 6 / 5).contains(&first), "{first:?}");
        firsts.insert(first);
        assert_eq!(side.after(first - Duration::from_millis(1)), "");
        assert_eq!(side.after(Duration::from_millis(1)), "PING\r\n");
        assert_eq!(side.session.deadline() - side.now, interval);
    }
    assert!(firsts.len() > 40, "{} of 50 differ", firsts.len());
}

#[test]
fn credentials_are_asked_for_and_in_time() {
    let authorization = Authorization {
        users: Some(vec![User::new("a", "b")]),
        is_defined: true,
        ..Authorization::default()
    };
    for (input, output, reason) in [
        ("CONNECT {\"user\":\"a\",\"pass\":\"b\"}\r\nPING\r\n", "+OK\r\nPONG\r\n", None),
        (
            "CONNECT {\"user\":\"a\",\"pass\":\"x\"}\r\n",
            "-ERR 'Authorization Violation'\r\n",
            Some(ClosedReason::AuthenticationFailure),
        ),
        ("PING\r\n", "-ERR 'Authorization Violation'\r\n", Some(ClosedReason::AuthenticationFailure)),
        ("", "-ERR 'Authentication Timeout'\r\n", Some(ClosedReason::AuthenticationTimeout)),
    ] {
        let broker = broker_of(BrokerOptions::default(), authorization.clone());
        let mut side = Side::new(&broker);
        let mut got = side.says(input);
        if input.is_empty() {
            got += &side.after(Duration::from_secs(3));
        }
        side.session.client().outbound.flush();
        got += &side.output();
        assert_eq!((got.as_str(), side.session.client().closing()), (output, reason), "{input:?}");
    }
}

#[test]
fn a_closed_session_leaves_nothing_behind() {
    let broker = broker();
    let before = broker.subscription_count();
    let mut side = Side::new(&broker);
    side.says(QUIET);
    side.says("SUB a 1\r\nSUB b.> 2\r\nSUB c q 3\r\n");
    assert_eq!(broker.subscription_count(), before + 3);
    side.session.close(ClosedReason::ClientClosed);
    assert_eq!((broker.subscription_count(), broker.client_count()), (before, 0));
    assert_eq!(broker.closed_clients().len(), 1);
}
