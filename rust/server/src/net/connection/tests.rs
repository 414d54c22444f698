//! Tests that connections share a thread fairly.

use super::*;
use crate::logging::LogTarget;
use crate::net::tls::INJECTED;
use crate::net::tls::oracle::{Secrets, Version, client_config, server_config};
use crate::server::Server;
use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;
use stonechat_broker::GLOBAL_ACCOUNT;
use stonechat_config::{HandshakeFirst, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const QUIET: &str = "CONNECT {\"verbose\":false}\r\n";

/// A client of a server whose connections all run on the current thread.
struct Peer(TcpStream);

impl Peer {
    async fn connect(broker: &Arc<Broker>, ticker: &Arc<Ticker>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("a port")).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("somebody connects");
        let address = PeerAddress { ip: "127.0.0.1".into(), port: 1 };
        tokio::spawn(serve(stream, address, broker.clone(), ticker.clone(), Turns::new(1), None));
        let mut peer = Self(peer);
        peer.says(QUIET).await;
        peer.asks().await;
        peer
    }

    async fn says(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("a socket");
    }

    /// Sends a PING and reads until the PONG; returns the number of bytes before it.
    async fn asks(&mut self) -> usize {
        self.says("PING\r\n").await;
        self.until_pong().await
    }

    async fn until_pong(&mut self) -> usize {
        let (mut got, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        let mut count = 0;
        loop {
            let n = self.0.read(&mut buffer).await.expect("a socket");
            assert!(n > 0, "{:?}", String::from_utf8_lossy(&got));
            count += n;
            got.extend_from_slice(&buffer[..n]);
            if got.ends_with(b"PONG\r\n") {
                return count - 6;
            }
            got.drain(..got.len().saturating_sub(16));
        }
    }
}

/// A server with its own runtime. The tests use only its broker.
fn server(max_connections: i64) -> Server {
    let mut options = Options::default();
    (options.host, options.port, options.max_connections) = ("127.0.0.1".into(), -1, max_connections as _);
    let start = move || Server::start(options, LogTarget::Discard).expect("it starts");
    std::thread::spawn(start).join().expect("it starts")
}

fn stop(server: Server) {
    std::thread::spawn(move || drop(server)).join().expect("it stops");
}

/// One message goes to 60,000 subscriptions, and a thousand messages to a few hundred. Other clients get replies in
/// between.
#[tokio::test(flavor = "current_thread")]
async fn others_are_served_while_a_message_goes_to_very_many() {
    let server = server(100);
    let broker = server.broker();
    let ticker = Arc::new(Ticker::default());
    for (subs, messages) in [(60_000, 1), (300, 1000)] {
        let mut many = Peer::connect(broker, &ticker).await;
        let lines: String = (0..subs).map(|sid| format!("SUB a {sid}\r\n")).collect();
        let subscribe = async {
            many.says(&lines).await;
            many.asks().await
        };
        subscribe.await;
        let mut publisher = Peer::connect(broker, &ticker).await;
        let mut other = Peer::connect(broker, &ticker).await;
        publisher.says(&("PUB a 2\r\nhi\r\n".repeat(messages) + "PING\r\n")).await;
        let rounds = AtomicUsize::new(0);
        let received = AtomicUsize::new(0);
        let published = async {
            publisher.until_pong().await;
            rounds.load(Ordering::Relaxed)
        };
        let others = async {
            loop {
                other.asks().await;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        let receives = async {
            let mut buffer = vec![0; 1 << 20];
            loop {
                let n = many.0.read(&mut buffer).await.expect("a socket");
                received.fetch_add(n, Ordering::Relaxed);
            }
        };
        let meanwhile = tokio::select! {
            rounds = published => rounds,
            () = others => 0,
            () = receives => 0,
        };
        assert!(meanwhile >= 4, "{meanwhile} answers for {subs} subscriptions");
    }
    stop(server);
}

/// Returns everything that a client of an encrypted connection reads until it is closed. The client sends `after` once it
/// has read a PONG.
fn encrypted(address: std::net::SocketAddr, name: &'static str, version: Version, after: &str) -> String {
    let config = client_config(version, Arc::new(Secrets::default()));
    let name = rustls_pki_types::ServerName::try_from(name).expect("a name");
    let connection = rustls::ClientConnection::new(config, name).expect("a client");
    let socket = std::net::TcpStream::connect(address).expect("it listens");
    let mut stream = rustls::StreamOwned::new(connection, socket);
    let (mut got, mut buffer, mut is_said) = (String::new(), [0; 4096], false);
    let hello = format!("{QUIET}SUB work q 1\r\nPING\r\n");
    if stream.write_all(hello.as_bytes()).is_err() {
        return got;
    }
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return got,
            Ok(n) => got.push_str(&String::from_utf8_lossy(&buffer[..n])),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock);
                return got;
            }
        }
        if got.ends_with("PONG\r\n") && !std::mem::replace(&mut is_said, true) {
            stream.write_all(after.as_bytes()).expect("it is open");
        }
    }
}

#[tokio::test]
async fn a_panic_in_the_encryption_is_the_end_of_its_connection_only() {
    let server = server(1);
    let broker = server.broker();
    let ticker = Arc::new(Ticker::default());
    let account = broker.account(GLOBAL_ACCOUNT);
    let context = TlsContext {
        config: server_config(),
        timeout: Duration::from_secs(60),
        first: HandshakeFirst::Always,
        optional: false,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("a port");
    let injected = &*format!("PUB work {}\r\n{INJECTED}\r\n", INJECTED.len());
    // The panic happens in the handshake, after it, or not at all. Each connection finds the server's only place free.
    for (name, after) in
        [(INJECTED, ""), ("good.test", injected), ("good.test", "PUB work 0\r\n\r\n-ERR\r\n")]
    {
        for version in [Version::Tls13, Version::Tls12] {
            let said = after.to_owned();
            let client = tokio::task::spawn_blocking(move || encrypted(address, name, version, &said));
            let (stream, _) = listener.accept().await.expect("somebody connects");
            let peer = PeerAddress { ip: "127.0.0.1".into(), port: 1 };
            let tls = Some(Arc::new(context.clone()));
            let task = tokio::spawn(serve(stream, peer, broker.clone(), ticker.clone(), Turns::new(1), tls));
            let got = client.await.expect("a client");
            let is_injected = name == INJECTED || after.contains(INJECTED);
            assert_eq!(task.await.is_err(), is_injected, "{name} {version:?}");
            assert_eq!(got.contains("PONG"), name != INJECTED, "{got}");
            assert!(!got.contains("maximum connections"), "{got}");
            assert_eq!(got.contains("MSG work"), !is_injected, "{got}");
            assert_eq!(broker.client_count(), 0, "nothing is left of it");
            assert!(!account.is_wanted(b"work"));
        }
    }
    assert_eq!(server.fault(), None, "the server goes on");
    stop(server);
}
