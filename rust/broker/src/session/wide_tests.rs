//! Messages to very many receivers: they are delivered in slices, and follow the same rules as messages to few.

use super::fixture::*;
use super::*;
use crate::fanout::SLICE;
use stonechat_auth::Authorization;

/// Subscriptions that need several slices.
const MANY: usize = 3 * SLICE as usize + 100;

/// Returns a client with `count` subscriptions on `a`, whose sids begin at 0.
fn listener(broker: &Arc<Broker>, count: usize, group: impl Fn(usize) -> String) -> Side {
    let mut side = Side::new(broker);
    side.says(QUIET);
    let subs: String = (0..count).map(|sid| format!("SUB a {} {sid}\r\n", group(sid))).collect();
    side.says(&subs);
    side
}

fn plain(_: usize) -> String {
    String::new()
}

fn publisher(broker: &Arc<Broker>) -> Side {
    let mut side = Side::new(broker);
    side.says(QUIET);
    side
}

/// Returns the sids of the deliveries on `a` with this payload, in order.
fn sids(output: &str, payload: &str) -> Vec<usize> {
    let lines: Vec<&str> = output.split("\r\n").collect();
    let heads = lines.windows(2).filter(|pair| pair[0].starts_with("MSG a ") && pair[1] == payload);
    heads.map(|pair| pair[0].split(' ').nth(2).unwrap().parse().unwrap()).collect()
}

/// Resumes the session until it is done; returns the number of turns that other connections had.
fn finish(side: &mut Side, mut progress: Progress) -> usize {
    let mut turns = 0;
    while matches!(progress, Progress::Yield) {
        turns += 1;
        progress = side.session.resume(side.now);
    }
    assert!(matches!(progress, Progress::Read(_)), "{progress:?}");
    turns
}

#[test]
fn others_have_their_turn_and_the_answer_to_a_ping_comes_last() {
    for is_group in [false, true] {
        let broker = broker();
        let group = |sid: usize| if is_group { format!("g{sid}") } else { String::new() };
        let many = listener(&broker, MANY, group);
        let (mut one, mut other) = (publisher(&broker), publisher(&broker));
        // The rounds cover misses and hits of the cache.
        for round in 0..3 {
            let mut progress = one.begin("PUB a 2\r\nhi\r\nPING\r\nPUB a 3\r\nyou\r\nPING\r\n");
            let mut turns = 0;
            let mut got = many.output();
            while matches!(progress, Progress::Yield) {
                turns += 1;
                let pongs = one.output().matches("PONG").count();
                got += &many.output();
                if pongs == 1 {
                    assert_eq!(
                        sids(&got, "hi").len(),
                        MANY,
                        "the first PONG comes behind all of the first message"
                    );
                }
                assert_eq!(other.says("PING\r\n"), "PONG\r\n");
                progress = one.session.resume(one.now);
            }
            assert!(turns >= 6, "{turns} turns in round {round}");
            got += &many.output();
            for payload in ["hi", "you"] {
                let mut sids = sids(&got, payload);
                sids.sort_unstable();
                assert_eq!(sids, (0..MANY).collect::<Vec<_>>(), "each has it once");
            }
            assert!(got.rfind("hi").unwrap() < got.find("you").unwrap());
            assert!(!many.session.is_busy() && !one.session.is_busy());
        }
    }
}

#[test]
fn messages_that_arrive_together_keep_their_order() {
    let broker = broker();
    let many = listener(&broker, MANY, plain);
    let mut one = publisher(&broker);
    one.says(&"PUB a 0\r\n\r\n".repeat(2));
    many.output();
    let texts: Vec<String> = (0..7).map(|n| format!("m{n}")).collect();
    let all: String = texts.iter().map(|text| format!("PUB a 2\r\n{text}\r\n")).collect();
    let progress = one.begin(&(all + "HPUB a 12 14\r\nNATS/1.0\r\n\r\nhe\r\n"));
    assert!(finish(&mut one, progress) > 10);
    let got = many.output();
    let mut last = vec![0; MANY];
    for (n, text) in texts.iter().enumerate() {
        let sids = sids(&got, text);
        assert_eq!(sids.len(), MANY);
        sids.iter().for_each(|sid| {
            assert_eq!(last[*sid], n, "sid {sid} gets them in order");
            last[*sid] = n + 1;
        });
    }
    assert_eq!(got.matches("HMSG a ").count(), MANY);
}

#[test]
fn who_goes_gets_no_more_and_who_comes_gets_nothing_yet() {
    let broker = broker();
    let mut many = listener(&broker, MANY, plain);
    let (mut early, mut late) = (Side::new(&broker), publisher(&broker));
    early.says(QUIET);
    early.says("SUB a 1\r\n");
    let mut one = publisher(&broker);
    for warm in [false, false, true] {
        let progress = one.begin("PUB a 2\r\nhi\r\n");
        assert!(matches!(progress, Progress::Yield));
        let last = MANY - 1;
        many.says(&format!("UNSUB {last}\r\n"));
        early.session.close(ClosedReason::ClientClosed);
        late.says("SUB a 7\r\n");
        finish(&mut one, progress);
        assert_eq!(sids(&many.output(), "hi"), (0..last).collect::<Vec<_>>(), "cached: {warm}");
        assert_eq!((late.output(), early.output()), (String::new(), String::new()));
        many.says(&format!("SUB a {last}\r\n"));
        late.says("UNSUB 7\r\n");
        early = publisher(&broker);
        early.says("SUB a 1\r\n");
    }
    let next = one.begin("PUB a 3\r\nnew\r\n");
    finish(&mut one, next);
    assert_eq!((sids(&many.output(), "new").len(), early.output().matches("new").count()), (MANY, 1));
}

#[test]
fn a_limited_subscription_has_its_last_message_in_the_middle() {
    let broker = broker();
    let mut many = listener(&broker, MANY, plain);
    let limits: String = (0..MANY).map(|sid| format!("UNSUB {sid} 2\r\n")).collect();
    many.says(&limits);
    let mut one = publisher(&broker);
    for text in ["m1", "m2", "m3"] {
        let progress = one.begin(&format!("PUB a 2\r\n{text}\r\n"));
        finish(&mut one, progress);
    }
    let got = many.output();
    assert_eq!(["m1", "m2", "m3"].map(|text| sids(&got, text).len()), [MANY, MANY, 0]);
    assert_eq!(many.session.client().subscription_count(), 0);
    // Three messages at once; each subscription takes two.
    let subs: String = (0..MANY).map(|sid| format!("SUB a {sid}\r\nUNSUB {sid} 2\r\n")).collect();
    many.says(&subs);
    let progress = one.begin("PUB a 2\r\nm1\r\nPUB a 2\r\nm2\r\nPUB a 2\r\nm3\r\n");
    finish(&mut one, progress);
    let got = many.output();
    assert_eq!(["m1", "m2", "m3"].map(|text| sids(&got, text).len()), [MANY, MANY, 0]);
}

#[test]
fn a_receiver_that_never_reads_is_closed_in_the_middle() {
    let options = BrokerOptions { max_pending: 100_000, ..BrokerOptions::default() };
    let broker = broker_of(options, Authorization::default());
    let mut first = listener(&broker, MANY, plain);
    let slow = listener(&broker, MANY, plain);
    let mut last = listener(&broker, MANY, plain);
    slow.peer.0.lock().1 = true;
    let mut one = publisher(&broker);
    let progress = one.begin("PUB a 20\r\n01234567890123456789\r\nPING\r\n");
    finish(&mut one, progress);
    assert_eq!(one.output(), "PONG\r\n");
    assert_eq!(slow.session.client().closing(), Some(ClosedReason::SlowConsumerPendingBytes));
    for side in [&mut first, &mut last] {
        assert_eq!(sids(&side.output(), "01234567890123456789").len(), MANY);
    }
}

#[test]
fn nobody_takes_a_request() {
    let broker = broker();
    let mut one = Side::new(&broker);
    one.says("CONNECT {\"verbose\":false,\"echo\":false,\"headers\":true,\"no_responders\":true}\r\n");
    let subs: String = (0..MANY).map(|sid| format!("SUB a {sid}\r\n")).collect();
    one.says(&(subs + "SUB inbox x\r\n"));
    for _ in 0..3 {
        let progress = one.begin("PUB a inbox 0\r\n\r\nPING\r\n");
        assert!(finish(&mut one, progress) > 1);
        assert_eq!(one.output(), "HMSG inbox x 33 33\r\nNATS/1.0 503\r\nNats-Subject: a\r\n\r\n\r\nPONG\r\n");
    }
}

#[test]
fn many_connections_are_flushed_in_slices_and_the_publisher_last() {
    let broker = broker();
    let mut many: Vec<Side> = (0..700).map(|_| listener(&broker, 1, plain)).collect();
    let mut one = publisher(&broker);
    one.says("SUB a 0\r\n");
    let mut progress = one.begin("PUB a 2\r\nhi\r\nPING\r\n");
    let mut turns = 0;
    while matches!(progress, Progress::Yield) {
        turns += 1;
        assert_eq!(one.output(), "", "the publisher hears last");
        progress = one.session.resume(one.now);
    }
    assert!(turns >= 2, "{turns}");
    assert!(many.iter_mut().all(|side| side.output() == "MSG a 0 2\r\nhi\r\n"));
    assert_eq!(one.output(), "MSG a 0 2\r\nhi\r\nPONG\r\n");
}

#[test]
fn large_messages_fill_a_slice_with_few_receivers() {
    let broker = broker();
    let many = listener(&broker, 100, plain);
    let mut one = publisher(&broker);
    let progress = one.begin(&format!("PUB a 500000\r\n{}\r\n", "x".repeat(500_000)).repeat(2));
    assert!(finish(&mut one, progress) >= 1);
    assert_eq!(many.output().matches("MSG a ").count(), 200);
}

#[test]
fn a_message_that_was_taken_reaches_all_whatever_ends_its_publisher() {
    for is_dropped in [false, true] {
        let broker = broker();
        let many = listener(&broker, MANY, plain);
        let mut one = publisher(&broker);
        let progress = one.begin("PUB a 2\r\nhi\r\nPUB a 2\r\nno\r\n");
        assert!(matches!(progress, Progress::Yield));
        if is_dropped {
            drop(one);
        } else {
            one.session.client().close(ClosedReason::ServerShutdown);
            assert!(matches!(one.session.woken(one.now), Progress::Close));
            let mut turns = 1;
            while one.session.wind_up(one.now) {
                turns += 1;
            }
            assert!(turns > 1);
            one.session.close(ClosedReason::ServerShutdown);
            assert_eq!(sids(&many.output(), "hi").len(), MANY);
        }
        // No receiver is left marked for a flush that never comes.
        let mut other = publisher(&broker);
        other.says("PUB a 3\r\nnew\r\n");
        let got = many.output();
        assert_eq!((sids(&got, "new").len(), sids(&got, "no").len()), (MANY, 0));
    }
}

#[test]
fn flags_wait_until_the_message_is_out() {
    let broker = broker();
    let many = listener(&broker, MANY, plain);
    let mut one = publisher(&broker);
    let mut progress = one.begin("PUB a 2\r\nhi\r\n");
    one.session.client().raise(Flag::Reload);
    while matches!(progress, Progress::Yield) {
        progress = one.session.woken(one.now);
    }
    assert_eq!(sids(&many.output(), "hi").len(), MANY);
    assert!(one.session.client().is_flagged());
    let _ = one.session.woken(one.now);
    assert!(!one.session.client().is_flagged());
}

#[test]
fn imports_by_accounts_with_many_subscriptions() {
    use stonechat_auth::{AccountDef, Exchange, Export, Import, ResponseType};
    let export = Export {
        exchange: Exchange::Stream,
        subject: "a".into(),
        accounts: Vec::new(),
        response: ResponseType::Singleton,
    };
    let import = Import {
        exchange: Exchange::Stream,
        account: crate::GLOBAL_ACCOUNT.into(),
        subject: "a".into(),
        to: None,
        prefix: None,
        share: false,
    };
    let mut definitions = vec![AccountDef {
        name: crate::GLOBAL_ACCOUNT.into(),
        exports: vec![export],
        ..AccountDef::default()
    }];
    // Each account is small enough on its own, but all together are not; one account is large.
    let names: Vec<String> = (0..20).map(|n| format!("A{n}")).collect();
    definitions.extend(names.iter().map(|name| AccountDef {
        name: name.clone(),
        imports: vec![import.clone()],
        ..AccountDef::default()
    }));
    let broker = broker();
    broker.set_exchange(&definitions);
    let count = |n: usize| if n == 7 { MANY } else { 1000 };
    let sides: Vec<Side> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let mut side = publisher(&broker);
            side.session.bind(name, None, None);
            side.says(&(0..count(n)).map(|sid| format!("SUB a {sid}\r\n")).collect::<String>());
            side
        })
        .collect();
    let own = listener(&broker, 10, plain);
    let mut one = publisher(&broker);
    for _ in 0..3 {
        let progress = one.begin("PUB a 2\r\nm1\r\nPUB a 2\r\nm2\r\nPING\r\n");
        assert!(finish(&mut one, progress) > 4);
        assert_eq!(one.output(), "PONG\r\n");
        for (n, side) in sides.iter().enumerate() {
            let got = side.output();
            assert_eq!([sids(&got, "m1").len(), sids(&got, "m2").len()], [count(n); 2], "account {n}");
            assert!(got.rfind("m1").unwrap() < got.find("m2").unwrap());
        }
        assert_eq!(sids(&own.output(), "m2").len(), 10);
    }
}
