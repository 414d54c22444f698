//! Tests that a panic in any part of the server leaves nothing inconsistent behind.

use super::{Fault, catch};
use crate::logging::{LogTarget, Logger};
use crate::server::Server;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stonechat_broker::{Client, GLOBAL_ACCOUNT, Inlet, Message};
use stonechat_config::Options;
use tokio::sync::watch;

/// The longest time that an expected event may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_panic_becomes_an_error_with_its_message() {
    assert_eq!(catch(|| 7), Ok(7));
    assert_eq!(catch(|| panic!("at {}", 7)), Err::<(), _>("panicked: at 7".to_owned()));
    assert_eq!(catch(|| std::panic::panic_any(7)), Err::<(), _>("panicked".to_owned()));
}

#[tokio::test]
async fn a_task_that_panics_ends_the_server() {
    let log = Logger::open(&Options::default(), LogTarget::Discard).unwrap_or_else(|_| unreachable!());
    let stop = watch::Sender::new(false);
    let fault = Fault::new(stop.clone(), log);
    assert!(tokio::spawn(fault.clone().watch("counts", async { 7 })).await.is_ok());
    assert_eq!((fault.reason(), *stop.borrow()), (None, false));
    let panics = async { panic!("injected") };
    assert!(tokio::spawn(fault.clone().watch("panics", panics)).await.is_err());
    assert_eq!(fault.reason().as_deref(), Some("the task that panics panicked"));
    assert!(*stop.borrow());
}

/// A receiver that panics when a message arrives, or at the end of the batch.
#[derive(Debug)]
pub(crate) struct Bomb {
    in_push: AtomicBool,
    in_flush: AtomicBool,
}

impl Inlet for Bomb {
    fn push(&self, _: u64, _: &Arc<Client>, _: &Message<'_>) -> bool {
        assert!(!self.in_push.load(Ordering::Relaxed), "injected into a push");
        true
    }

    fn flush(&self) -> Duration {
        assert!(!self.in_flush.load(Ordering::Relaxed), "injected into a flush");
        Duration::ZERO
    }
}

pub(crate) fn start(max_connections: usize, jetstream: bool) -> Server {
    let mut options = Options::default();
    (options.host, options.port, options.jetstream) = ("127.0.0.1".into(), -1, jetstream);
    options.max_connections = max_connections as _;
    options.http_port = -1;
    options.jetstream_options.is_throwaway = jetstream;
    Server::start(options, LogTarget::Discard).expect("it starts")
}

pub(crate) fn plant(server: &Server, in_push: bool, in_flush: bool) -> Arc<Bomb> {
    let bomb = Arc::new(Bomb { in_push: in_push.into(), in_flush: in_flush.into() });
    server.broker().account(GLOBAL_ACCOUNT).attach(bomb.clone(), 0, b"boom", None);
    bomb
}

pub(crate) struct Peer(pub(crate) TcpStream, pub(crate) String);

impl Peer {
    pub(crate) fn connect(server: &Server) -> Self {
        Self::connect_to(&server.client_addr().to_string())
    }

    pub(crate) fn connect_to(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut peer = Self(stream, String::new());
        peer.until("INFO");
        peer.says("CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nPING\r\n");
        peer
    }

    pub(crate) fn says(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("a socket");
    }

    /// Reads until `text` arrives, then discards everything read so far.
    pub(crate) fn until(&mut self, text: &str) {
        while !self.1.contains(text) {
            assert!(self.read() > 0, "{:?} before {text:?}", self.1);
        }
        self.1.clear();
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        while self.read() > 0 {}
        true
    }

    fn read(&mut self) -> usize {
        let mut buffer = [0; 4096];
        // A reset counts as the end too.
        let n = self.0.read(&mut buffer).unwrap_or(0);
        self.1.push_str(&String::from_utf8_lossy(&buffer[..n]));
        n
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_whose_task_panics_is_closed_and_leaves_nothing() {
    for (in_push, in_flush) in [(true, false), (false, true)] {
        let server = start(2, false);
        plant(&server, in_push, in_flush);
        let mut receiver = Peer::connect(&server);
        receiver.says("SUB a 1\r\nSUB work q 2\r\nPING\r\n");
        receiver.until("PONG\r\nPONG");
        let mut victim = Peer::connect(&server);
        victim.says("SUB work q 1\r\nPING\r\n");
        victim.until("PONG\r\nPONG");
        victim.says("PUB a 5\r\nfirst\r\nPUB boom 0\r\n\r\n");
        assert!(victim.is_closed(), "its socket");
        // Messages that were delivered before the panic arrive.
        receiver.until("first");
        wait_until("its place is free", || server.broker().client_count() == 1);
        let account = server.broker().account(GLOBAL_ACCOUNT);
        assert!(account.is_wanted(b"work"));
        // Another connection can take the place, and no message goes to the queue member that is gone.
        let mut next = Peer::connect(&server);
        for i in 0..50 {
            next.says(&format!("PUB work 3\r\n{i:03}\r\n"));
            receiver.until(&format!("{i:03}"));
        }
        assert_eq!(server.fault(), None, "the server goes on");
    }
}

/// Returns the status and the body of a GET.
fn get(server: &Server, path: &str) -> (u16, String) {
    let monitor = server.monitor_url().expect("it monitors");
    get_from(monitor.trim_start_matches("http://"), path)
}

/// Like [`get`], for the server at `address`.
pub(crate) fn get_from(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a socket");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

#[test]
fn monitoring_says_when_jetstream_does_not_answer() {
    let server = start(100, true);
    let mut client = Peer::connect(&server);
    let stream = r#"{"name":"s","subjects":["s"]}"#;
    client.says(&format!("SUB r 1\r\nPUB $JS.API.STREAM.CREATE.s r {}\r\n{stream}\r\n", stream.len()));
    client.until("stream_create_response");
    let of_stream = "/healthz?account=$G&stream=s";
    for path in ["/healthz", of_stream, "/jsz"] {
        assert_eq!(get(&server, path).0, 200, "{path}");
    }
    // The JetStream thread is blocked until all requests were sent.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (entered, enters) = std::sync::mpsc::channel();
    let jetstream = server.jetstream().expect("it is on");
    let holder = std::thread::spawn(move || {
        jetstream.ask(move |_| {
            let _ = entered.send(());
            let _ = held.recv();
        })
    });
    enters.recv().expect("it is held");
    let error = "JetStream did not answer within 2s";
    let unavailable = serde_json::json!({ "status": "unavailable", "error": error });
    for path in ["/healthz", of_stream, "/jsz"] {
        let (status, body) = get(&server, path);
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((status, &body), (503, &unavailable), "{path}");
    }
    let (status, body) = get(&server, "/healthz?details=true");
    assert!(status == 503 && body.contains("JETSTREAM") && body.contains(error), "{body}");
    for path in ["/healthz?js-server-only=true", "/varz", "/connz"] {
        assert_eq!(get(&server, path).0, 200, "{path} does not ask it");
    }
    drop(release);
    let _ = holder.join();
    for path in ["/healthz", of_stream, "/jsz"] {
        assert_eq!(get(&server, path).0, 200, "{path}");
    }
}

#[test]
fn a_server_whose_jetstream_panics_ends() {
    let server = start(100, true);
    let jetstream = server.jetstream().expect("it is on");
    let answer = jetstream.ask(|_| panic!("injected"));
    assert_eq!(answer, None::<()>);
    server.wait();
    assert_eq!(server.fault().as_deref(), Some("JetStream panicked: injected"));
    assert_eq!(jetstream.ask(|_| 7), None, "nobody waits for an answer");
}

/// Replies to a publish are delivered by the thread that holds the runner: the JetStream thread or the publisher's task.
#[test]
fn a_panic_while_jetstream_answers_ends_the_server() {
    let server = start(100, true);
    let mut publisher = Peer::connect(&server);
    let stream = r#"{"name":"s","subjects":["s"]}"#;
    publisher.says(&format!("SUB r 1\r\nPUB $JS.API.STREAM.CREATE.s r {}\r\n{stream}\r\n", stream.len()));
    publisher.until("stream_create_response");
    for _ in 0..20 {
        publisher.says("PUB s r 0\r\n\r\n");
        publisher.until("\"seq\":");
    }
    plant(&server, true, false);
    publisher.says("PUB s boom 0\r\n\r\n");
    server.wait();
    let fault = server.fault().expect("a fault");
    assert!(fault.starts_with("JetStream panicked: injected into a push"), "{fault}");
    assert!(publisher.is_closed());
}
