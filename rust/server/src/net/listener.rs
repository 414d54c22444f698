//! Listening sockets, and the loop that accepts connections.

use parking_lot::RwLock;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use stonechat_broker::{Broker, PeerAddress};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::error;

use super::connection;
use super::ticker::Ticker;
use super::tls::TlsContext;
use super::turns::Turns;

/// The address that means all addresses of the machine.
const ANY: &str = "0.0.0.0";
const BACKLOG: i32 = 4096;
/// The wait after a failed accept, at first and at most. Usually there is no free file descriptor.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Opens a listening socket; port 0 means any free port.
pub(crate) fn open(host: &str, port: u16) -> io::Result<StdListener> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host == ANY {
        // Like Go, listens on IPv6 too for 0.0.0.0. A machine without IPv6 has only IPv4.
        if let Ok(listener) = open_at((Ipv6Addr::UNSPECIFIED, port).into()) {
            return Ok(listener);
        }
        return open_at((Ipv4Addr::UNSPECIFIED, port).into());
    }
    let addrs: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    // For a name with addresses of both families, the first IPv4 address counts, as in Go.
    let addr = addrs.iter().find(|addr| addr.is_ipv4()).or(addrs.first());
    let addr = addr
        .copied()
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address"))?;
    open_at(addr)
}

fn open_at(addr: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows this option would let other programs take the port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if addr.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts clients until told to stop.
pub(crate) async fn accept_clients(
    listener: TcpListener,
    broker: Arc<Broker>,
    ticker: Arc<Ticker>,
    turns: Arc<Turns>,
    tls: Arc<RwLock<Option<Arc<TlsContext>>>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut retry = RETRY_MIN;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, addr)) => {
                retry = RETRY_MIN;
                let peer = peer_address(addr);
                let tls = tls.read().clone();
                let (broker, ticker, turns) = (broker.clone(), ticker.clone(), turns.clone());
                tokio::spawn(connection::serve(stream, peer, broker, ticker, turns, tls));
            }
            Err(error) => {
                error!("Temporary Client Accept Error ({error}), sleeping {}ms", retry.as_millis());
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

fn peer_address(addr: SocketAddr) -> PeerAddress {
    PeerAddress { ip: addr.ip().to_canonical().to_string(), port: addr.port() }
}
