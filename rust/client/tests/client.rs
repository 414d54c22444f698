//! A client in the server's own process, and that server.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;

use serde_json::{Value, json};
use stonechat_client::{Client, ClientError, Message, Taken};
use stonechat_config::Options;
use stonechat_server::{LogTarget, Server};

const WAIT: Duration = Duration::from_secs(20);

fn server(text: &str) -> Server {
    let text = format!("listen: \"127.0.0.1:-1\"\n{text}");
    let mut options = stonechat_config::load_text(&text, "test").unwrap().options;
    options.port = -1;
    Server::start(options, LogTarget::Discard).unwrap()
}

fn plain() -> Server {
    let mut options = Options::default();
    (options.host, options.port) = ("127.0.0.1".into(), -1);
    Server::start(options, LogTarget::Discard).unwrap()
}

fn connect(server: &Server, name: &str) -> Client {
    Client::connect(server, &json!({ "name": name }), name, WAIT).unwrap()
}

/// Returns the server's connections, as `/connz` lists them.
fn connections(server: &Server) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&server.connz("").unwrap()).unwrap();
    answer["connections"].as_array().unwrap().clone()
}

fn message(taken: Taken) -> Message {
    match taken {
        Taken::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_publishes_subscribes_and_asks() {
    let server = plain();
    let (one, two) = (connect(&server, "one"), connect(&server, "two"));
    let inbox = one.subscribe("a.*", 10).unwrap();
    // A reply proves that the server has read all earlier input.
    assert_eq!(message(one.request("nobody", None, b"").unwrap().take(WAIT)).status().unwrap().0, 503);
    two.publish("a.b", Some("r"), Some(&stonechat_client::headers([("K", "v")])), b"hi").unwrap();
    let got = message(inbox.take(WAIT));
    assert_eq!(
        (got.subject.as_str(), got.reply.as_deref(), &got.payload[..]),
        ("a.b", Some("r"), &b"hi"[..])
    );
    assert_eq!(got.headers.as_deref(), Some(&b"NATS/1.0\r\nK: v\r\n\r\n"[..]));
    assert_eq!(inbox.take(Duration::ZERO), Taken::Nothing);
    let names = connections(&server);
    assert_eq!((names.len(), &names[0]["ip"]), (2, &json!("pipe")));
    drop(two);
    inbox.close();
    assert_eq!(inbox.take(WAIT), Taken::Closed);
}

#[test]
fn long_messages_and_many_arrive_whole() {
    let server = plain();
    let client = connect(&server, "one");
    let receiver = client.subscribe("big", 10_000).unwrap();
    let long: Vec<u8> = (0..client.max_payload()).map(|at| (at % 251) as u8).collect();
    client.publish("big", None, None, &long).unwrap();
    assert_eq!(message(receiver.take(WAIT)).payload, long);
    for number in 0..5000_u32 {
        client.publish("big", None, None, &number.to_le_bytes()).unwrap();
    }
    for number in 0..5000_u32 {
        assert_eq!(&message(receiver.take(WAIT)).payload[..], number.to_le_bytes());
    }
}

#[test]
fn the_server_refuses_as_over_the_wire() {
    let server = server(
        r#"authorization { users = [{ user: "joe", password: "x", permissions: { publish: ["ok", "_INBOX.>"], subscribe: ["_INBOX.>"] } }] }"#,
    );
    let refused = Client::connect(&server, &json!({ "name": "a" }), "a", WAIT).err();
    assert_eq!(refused, Some(ClientError::Refused("Authorization Violation".into())));
    let login = json!({ "user": "joe", "pass": "x" });
    let client = Client::connect(&server, &login, "b", WAIT).unwrap();
    let Taken::Refused(text) = client.request("secret", None, b"").unwrap().take(WAIT) else { panic!() };
    assert_eq!(text, "Permissions Violation for Publish to \"secret\"");
    let Taken::Refused(text) = client.subscribe("secret", 1).unwrap().take(WAIT) else { panic!() };
    assert!(text.starts_with("Permissions Violation for Subscription to \"secret\""), "{text}");
    assert!(!client.is_closed());
}

#[test]
fn all_who_wait_are_told_when_the_server_ends() {
    let server = plain();
    let client = connect(&server, "one");
    let receiver = client.subscribe("a", 1).unwrap();
    receiver.tell(7);
    assert_eq!(client.notices(Duration::ZERO), Some(vec![]));
    drop(server);
    assert_eq!(receiver.take(WAIT), Taken::Closed);
    assert_eq!(client.notices(WAIT), Some(vec![7]));
    assert_eq!(client.notices(WAIT), None);
    assert!(client.is_closed());
    assert_eq!(client.publish("a", None, None, b"").err(), Some(ClientError::Closed));
    assert_eq!(client.subscribe("a", 1).err(), Some(ClientError::Closed));
}

#[test]
fn a_client_that_is_dropped_leaves_the_server() {
    let server = plain();
    let client = connect(&server, "one");
    let other = connect(&server, "two");
    drop(client);
    // Each request is a round trip to the server, which ends the dropped client's connection meanwhile.
    while connections(&server).len() > 1 {
        message(other.request("nobody", None, b"").unwrap().take(WAIT));
    }
}
