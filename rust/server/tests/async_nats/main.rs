//! Tests of the server binary with async-nats, the Rust client. Each test starts its own server.

#![expect(clippy::expect_used, clippy::panic, reason = "tests end where something is not as expected")]

mod server;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, RequestErrorKind, Subscriber};
use futures_util::StreamExt;
use server::Server;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The longest time that an expected event may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn next(subscriber: &mut Subscriber) -> async_nats::Message {
    timeout(PATIENCE, subscriber.next()).await.expect("a message in time").expect("an open subscription")
}

/// Waits until the server has handled all earlier operations of the client.
///
/// A flush of async-nats only hands the bytes to the socket. So this function publishes to its own subscription and waits
/// for the message.
async fn settle(client: &Client) {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.expect("a subscription");
    client.publish(inbox, "".into()).await.expect("a publish");
    next(&mut echo).await;
}

async fn wait_for(events: &mut mpsc::UnboundedReceiver<Event>, wanted: fn(&Event) -> bool) {
    loop {
        let event =
            timeout(PATIENCE, events.recv()).await.expect("the event in time").expect("an open client");
        if wanted(&event) {
            return;
        }
    }
}

/// Returns options whose events arrive in a channel.
fn with_events(options: ConnectOptions) -> (ConnectOptions, mpsc::UnboundedReceiver<Event>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let options = options.event_callback(move |event| {
        let sender = sender.clone();
        async move {
            // The test may be over and have dropped the receiver.
            let _ = sender.send(event);
        }
    });
    (options, receiver)
}

#[tokio::test]
async fn info_tells_version_and_limits() {
    let server = Server::start("max_payload: 5000\nserver_name: parrot");
    let client = server.connect().await;
    let info = client.server_info();
    assert_eq!((info.server_name.as_str(), info.max_payload, info.port), ("parrot", 5000, server.port));
    assert!(info.headers && !info.auth_required && info.client_id > 0);
    assert!(client.is_server_compatible(2, 15, 0), "{}", info.version);
    assert!(info.server_id.starts_with('N') && info.server_id.len() == 56);
}

#[tokio::test]
async fn messages_arrive_in_order() {
    let server = Server::start("server_name: order");
    let (publisher, subscriber) = (server.connect().await, server.connect().await);
    let mut orders = subscriber.subscribe("orders.*").await.expect("a subscription");
    settle(&subscriber).await;
    for number in 0..1000 {
        publisher.publish(format!("orders.{number}"), number.to_string().into()).await.expect("a publish");
    }
    for number in 0..1000 {
        let message = next(&mut orders).await;
        assert_eq!(message.subject.as_str(), format!("orders.{number}"));
        assert_eq!(message.payload, number.to_string());
    }
}

#[tokio::test]
async fn many_publishers_lose_nothing_and_keep_their_order() {
    let server = Server::start("server_name: crowded");
    let subscriber = server.connect().await;
    let mut all = subscriber.subscribe("from.*").await.expect("a subscription");
    settle(&subscriber).await;
    for name in 0..8 {
        let publisher = server.connect().await;
        tokio::spawn(async move {
            for number in 0..500_u32 {
                let payload = number.to_string().into();
                publisher.publish(format!("from.{name}"), payload).await.expect("a publish");
            }
            settle(&publisher).await;
        });
    }
    let mut seen = [0_u32; 8];
    for _ in 0..8 * 500 {
        let message = next(&mut all).await;
        let name: usize = message.subject.trim_start_matches("from.").parse().expect("a name");
        assert_eq!(message.payload, seen[name].to_string());
        seen[name] += 1;
    }
    assert_eq!(seen, [500; 8]);
}

#[tokio::test]
async fn one_member_of_a_queue_group_gets_each_message() {
    let server = Server::start("server_name: queue");
    let client = server.connect().await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(client.queue_subscribe("work", "workers".into()).await.expect("a subscription"));
    }
    for number in 0..300 {
        client.publish("work", number.to_string().into()).await.expect("a publish");
    }
    settle(&client).await;
    let mut all = futures_util::stream::select_all(members);
    let mut seen = vec![0; 300];
    for _ in 0..300 {
        let message = timeout(PATIENCE, all.next()).await.expect("in time").expect("a message");
        let number: usize = std::str::from_utf8(&message.payload).expect("text").parse().expect("a number");
        seen[number] += 1;
    }
    assert!(seen.iter().all(|&times| times == 1));
}

#[tokio::test]
async fn requests_get_their_replies_and_headers() {
    let server = Server::start("server_name: requests");
    let (service, caller) = (server.connect().await, server.connect().await);
    let mut requests = service.subscribe("help").await.expect("a subscription");
    settle(&service).await;
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let reply = request.reply.expect("a reply subject");
            let headers = request.headers.unwrap_or_default();
            service.publish_with_headers(reply, headers, request.payload).await.expect("a reply");
        }
    });
    for number in 0..50 {
        let mut headers = HeaderMap::new();
        headers.insert("Number", number.to_string());
        let request = caller.request_with_headers("help", headers, "x".into());
        let reply = timeout(PATIENCE, request).await.expect("in time").expect("a reply");
        assert_eq!(reply.payload, "x");
        assert_eq!(
            reply.headers.and_then(|h| h.get("Number").map(ToString::to_string)),
            Some(number.to_string())
        );
    }
}

#[tokio::test]
async fn a_request_that_nobody_hears_fails_at_once() {
    let server = Server::start("server_name: silence");
    let client = server.connect().await;
    let request = client.request("nobody", "x".into());
    let error = timeout(PATIENCE, request).await.expect("in time").expect_err("no responders");
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn a_subscription_ends_after_its_maximum() {
    let server = Server::start("server_name: maximum");
    let client = server.connect().await;
    let mut limited = client.subscribe("foo").await.expect("a subscription");
    limited.unsubscribe_after(3).await.expect("an unsubscribe");
    for number in 0..10 {
        client.publish("foo", number.to_string().into()).await.expect("a publish");
    }
    settle(&client).await;
    let mut got = Vec::new();
    while let Some(message) = timeout(PATIENCE, limited.next()).await.expect("the end in time") {
        got.push(message.payload);
    }
    assert_eq!(got, ["0", "1", "2"]);
}

#[tokio::test]
async fn logins_and_permissions() {
    let server = Server::start(
        r#"authorization { users = [ {user: ann, password: a}, {user: bob, password: b, permissions: {publish: ["bob.>", "_INBOX.>"]}} ] }"#,
    );
    let refused =
        ConnectOptions::with_user_and_password("ann".into(), "x".into()).connect(server.url()).await;
    let error = refused.expect_err("a wrong password");
    assert_eq!(error.kind(), async_nats::ConnectErrorKind::AuthorizationViolation);

    let (options, mut events) = with_events(ConnectOptions::with_user_and_password("bob".into(), "b".into()));
    let bob = options.connect(server.url()).await.expect("bob");
    let ann = ConnectOptions::with_user_and_password("ann".into(), "a".into());
    let ann = ann.connect(server.url()).await.expect("ann");
    let mut heard = ann.subscribe("*.in").await.expect("a subscription");
    settle(&ann).await;
    bob.publish("ann.in", "no".into()).await.expect("a publish");
    bob.publish("bob.in", "yes".into()).await.expect("a publish");
    assert_eq!(next(&mut heard).await.payload, "yes");
    wait_for(&mut events, |event| {
        event.to_string().to_lowercase().contains("permissions violation for publish")
    })
    .await;
}

#[tokio::test]
async fn a_token_lets_in() {
    let server = Server::start("authorization { token: s3cret }");
    ConnectOptions::with_token("s3cret".into()).connect(server.url()).await.expect("the right token");
    ConnectOptions::with_token("other".into()).connect(server.url()).await.expect_err("a wrong token");
    async_nats::connect(server.url()).await.expect_err("no token");
}

#[tokio::test]
async fn the_client_comes_back_after_a_crash() {
    let mut server = Server::start("server_name: phoenix");
    let options = ConnectOptions::new().reconnect_delay_callback(|_| Duration::from_millis(10));
    let (options, mut events) = with_events(options);
    let client = options.connect(server.url()).await.expect("a connection");
    let mut subscriber = client.subscribe("foo").await.expect("a subscription");
    settle(&client).await;
    wait_for(&mut events, |event| matches!(event, Event::Connected)).await;

    server.kill();
    wait_for(&mut events, |event| matches!(event, Event::Disconnected)).await;
    server.restart();
    wait_for(&mut events, |event| matches!(event, Event::Connected)).await;

    client.publish("foo", "again".into()).await.expect("a publish");
    assert_eq!(next(&mut subscriber).await.payload, "again");
}

#[tokio::test]
async fn lame_duck_mode_is_announced() {
    let server = Server::start("lame_duck_duration: \"60s\"\nlame_duck_grace_period: \"50s\"");
    let (options, mut events) = with_events(ConnectOptions::new());
    let client = options.connect(server.url()).await.expect("a connection");
    settle(&client).await;
    server.signal("ldm");
    wait_for(&mut events, |event| matches!(event, Event::LameDuckMode)).await;
    let mut still = client.subscribe("foo").await.expect("a subscription");
    client.publish("foo", "x".into()).await.expect("a publish");
    assert_eq!(next(&mut still).await.payload, "x");
}

#[tokio::test]
async fn drain_delivers_what_was_sent_before() {
    let server = Server::start("server_name: drain");
    let (publisher, worker) = (server.connect().await, server.connect().await);
    let mut work = worker.subscribe("work").await.expect("a subscription");
    settle(&worker).await;
    for number in 0..500 {
        publisher.publish("work", number.to_string().into()).await.expect("a publish");
    }
    settle(&publisher).await;
    worker.drain().await.expect("a drain");
    let mut count = 0;
    while let Some(message) = timeout(PATIENCE, work.next()).await.expect("the end in time") {
        assert_eq!(message.payload, count.to_string());
        count += 1;
    }
    assert_eq!(count, 500);
}

#[tokio::test]
async fn a_hundred_clients_and_large_payloads() {
    let server = Server::start("server_name: crowd");
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(server.connect().await);
    }
    let mut inboxes = Vec::new();
    for client in &clients {
        inboxes.push(client.subscribe("big").await.expect("a subscription"));
        settle(client).await;
    }
    let payload = vec![7_u8; clients[0].server_info().max_payload];
    clients[0].publish("big", payload.clone().into()).await.expect("a publish");
    for inbox in &mut inboxes {
        assert_eq!(next(inbox).await.payload, payload);
    }
}
