//! Tests of JetStream with very many receivers.

use crate::fault::tests::{Peer, start};
use std::io::Read;

const SUBSCRIBERS: usize = 2000;
const MESSAGES: usize = 600;

/// A consumer's messages to very many subscribers go out in slices. Requests of other clients are answered in between,
/// every subscriber gets all messages in order, and the consumer pauses when too many wait.
#[test]
fn a_consumer_with_many_subscribers() {
    let server = start(100, true);
    let mut one = Peer::connect(&server);
    let stream = r#"{"name":"s","subjects":["s"],"storage":"memory"}"#;
    one.says(&format!("SUB r 1\r\nPUB $JS.API.STREAM.CREATE.s r {}\r\n{stream}\r\n", stream.len()));
    one.until("stream_create_response");
    one.says(&"PUB s 2\r\nhi\r\n".repeat(MESSAGES));
    let mut many = Peer::connect(&server);
    many.until("PONG");
    let subs: String = (0..SUBSCRIBERS).map(|sid| format!("SUB d {sid}\r\n")).collect();
    many.says(&(subs + "PING\r\n"));
    many.until("PONG");
    let reader = std::thread::spawn(move || {
        let (mut rest, mut next) = (String::new(), vec![1; SUBSCRIBERS]);
        let (mut left, mut buffer) = (SUBSCRIBERS * MESSAGES, vec![0; 1 << 20]);
        while left > 0 {
            let n = many.0.read(&mut buffer).expect("a socket");
            assert!(n > 0, "{left} are missing");
            rest.push_str(&String::from_utf8_lossy(&buffer[..n]));
            let whole = rest.rfind("hi\r\n").map_or(0, |at| at + 4);
            for line in rest[..whole].split("\r\n").filter(|line| line.starts_with("MSG s ")) {
                // MSG s <sid> $JS.ACK.s.c.<count>.<sequence>.<sequence of the consumer>. …
                let mut parts = line.split(' ').skip(2);
                let sid: usize = parts.next().and_then(|sid| sid.parse().ok()).expect("a sid");
                let sequence = parts.next().and_then(|ack| ack.split('.').nth(5)).expect("a sequence");
                assert_eq!(sequence, next[sid].to_string(), "subscription {sid}");
                next[sid] += 1;
                left -= 1;
            }
            rest.drain(..whole);
        }
    });
    let consumer = r#"{"stream_name":"s","config":{"name":"c","deliver_subject":"d","ack_policy":"none"}}"#;
    one.says(&format!("PUB $JS.API.CONSUMER.CREATE.s.c r {}\r\n{consumer}\r\n", consumer.len()));
    one.until("consumer_create_response");
    let mut rounds = 0;
    while !reader.is_finished() {
        one.says("PUB $JS.API.INFO r 0\r\n\r\n");
        one.until("account_info_response");
        rounds += 1;
    }
    reader.join().expect("all of it");
    assert!(rounds > 20, "{rounds} answers");
}
