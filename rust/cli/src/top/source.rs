//! Where the figures come from: the monitoring port of a server, or its system account.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::args::TopArgs;
use crate::connection::{Login, Target};
use crate::error::CliError;
use crate::server::ask_all;
use crate::session::{JetStreamArgs, Session};

/// The port at which servers are usually monitored.
const PORT: u16 = 8222;
/// The longest answer that is read.
const LONGEST: u64 = 256 << 20;
/// The most connections that are asked for.
const CONNECTIONS: u64 = 100_000;

/// What a server is asked for.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// The server as a whole.
    Variables,
    /// The connections that are open.
    Connections,
    /// Connections that have ended.
    Closed,
    /// One connection with its subscriptions.
    Connection(u64),
    /// Streams and consumers.
    Streams,
}

/// A server that tells its figures.
pub(super) enum Source {
    /// Its monitoring port.
    Port { host: String, port: u16, base: String, patience: Duration },
    /// Its system account.
    Account { session: Box<Session>, id: String },
}

impl Source {
    /// Finds the way to the figures.
    ///
    /// # Errors
    /// The address can't be read, or no server answers to the system account.
    pub(super) async fn open(args: &TopArgs) -> Result<Self, CliError> {
        let patience = args.jetstream.timeout;
        if let Some(url) = &args.url {
            let (host, port, base) = parse(url)?;
            return Ok(Self::Port { host, port, base, patience });
        }
        let target = Target::resolve(&args.jetstream.connection)?;
        if !matches!(target.login, Login::None) {
            return Self::account(&args.jetstream).await;
        }
        let host =
            target.servers.first().map_or_else(|| "127.0.0.1".to_owned(), |server| server.host().to_owned());
        Ok(Self::Port { host, port: PORT, base: String::new(), patience })
    }

    /// The server that we are connected to, if its system account lets us ask.
    async fn account(args: &JetStreamArgs) -> Result<Self, CliError> {
        let session = Session::open(args).await?;
        let id = session.connection.client.server_info().server_id;
        // All answer this; one of them tells whether we may ask at all.
        ask_all(args, "$SYS.REQ.SERVER.PING", &Value::Null, Some(1)).await?;
        Ok(Self::Account { session: Box::new(session), id })
    }

    /// The address, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Port { host, port, .. } => format!("http://{host}:{port}"),
            Self::Account { .. } => "the system account".to_owned(),
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// No server answers, or its answer is no JSON.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Vec<u8>, CliError> {
        match self {
            Self::Port { host, port, base, patience } => {
                let path = format!("{base}{}", path(question));
                let failed =
                    |reason: String| CliError::Connect { server: format!("http://{host}:{port}"), reason };
                match tokio::time::timeout(*patience, get(host, *port, &path)).await {
                    Ok(answer) => answer.map_err(failed),
                    Err(_) => Err(failed(format!("no answer within {} s", patience.as_secs_f64()))),
                }
            }
            Self::Account { session, id } => {
                let (name, body) = request(question);
                let subject = format!("$SYS.REQ.SERVER.{id}.{name}");
                let answer =
                    session.ask_service(&subject, None, body.to_string().into()).await.map_err(|error| {
                        match error {
                            CliError::NoResponders(_) => CliError::Client(
                                "the server tells its figures on its monitoring port alone: name that, as \
                             http://HOST:8222"
                                    .to_owned(),
                            ),
                            other => other,
                        }
                    })?;
                let answer: Value = serde_json::from_slice(&answer.payload)
                    .map_err(|error| CliError::Client(format!("the server's answer is no JSON: {error}")))?;
                Ok(answer["data"].to_string().into_bytes())
            }
        }
    }
}

fn path(question: &Question) -> String {
    match question {
        Question::Variables => "/varz".to_owned(),
        Question::Connections => format!("/connz?auth=1&limit={CONNECTIONS}"),
        Question::Closed => "/connz?auth=1&state=closed&sort=stop&limit=1000".to_owned(),
        Question::Connection(id) => format!("/connz?auth=1&subs=1&cid={id}"),
        Question::Streams => "/jsz?accounts=1&streams=1&consumers=1&config=1".to_owned(),
    }
}

fn request(question: &Question) -> (&'static str, Value) {
    match question {
        Question::Variables => ("VARZ", json!({})),
        Question::Connections => ("CONNZ", json!({ "auth": true, "limit": CONNECTIONS })),
        Question::Closed => ("CONNZ", json!({ "auth": true, "state": 1, "sort": "stop", "limit": 1000 })),
        Question::Connection(id) => ("CONNZ", json!({ "auth": true, "subscriptions": true, "cid": id })),
        Question::Streams => {
            ("JSZ", json!({ "accounts": true, "streams": true, "consumer": true, "config": true }))
        }
    }
}

/// Host, port and path of the address of a monitoring port.
fn parse(url: &str) -> Result<(String, u16, String), CliError> {
    let wrong = |reason: &str| CliError::Client(format!("cannot use {url:?}: {reason}"));
    if url.starts_with("https://") {
        return Err(wrong("top speaks no TLS; name the port without it"));
    }
    let rest = url.strip_prefix("http://").unwrap_or(url);
    if rest.contains("://") || rest.contains(char::is_whitespace) {
        return Err(wrong("the monitoring port has an address like http://127.0.0.1:8222"));
    }
    let (authority, base) = rest.split_once('/').map_or((rest, ""), |(authority, base)| (authority, base));
    let base = if base.is_empty() { String::new() } else { format!("/{}", base.trim_end_matches('/')) };
    let port = authority.rsplit_once(':').filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit()));
    let (host, port) = match port {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong("its port is no port"))?),
        None => (authority, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(wrong("it names no host"));
    }
    Ok((host.to_owned(), port, base))
}

/// The body of a page. HTTP/1.0: the server closes the connection behind it, and sends it in one piece.
async fn get(host: &str, port: u16, path: &str) -> Result<Vec<u8>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut socket = TcpStream::connect((host, port)).await.map_err(text)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    socket.write_all(request.as_bytes()).await.map_err(text)?;
    let mut answer = Vec::new();
    socket.take(LONGEST).read_to_end(&mut answer).await.map_err(text)?;
    body(answer)
}

/// What follows the head of an answer.
fn body(mut answer: Vec<u8>) -> Result<Vec<u8>, String> {
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or("it is no monitoring port")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap_or_default();
    match (head.starts_with("HTTP/"), status) {
        (true, "200") => Ok(answer.split_off(end + 4)),
        (true, _) => Err(crate::output::shown(&format!("it answers with status {status}"))),
        (false, _) => Err("it is no monitoring port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_usual_port() {
        let found = |url| parse(url).map(|(host, port, base)| format!("{host} {port} {base}"));
        assert_eq!(found("http://h:1/x/").unwrap(), "h 1 /x");
        assert_eq!(found("h").unwrap(), "h 8222 ");
        assert_eq!(found("[::1]:5").unwrap(), "::1 5 ");
        for url in ["https://h", "nats://h:4222", "http://", "h:99999", "a b"] {
            assert!(found(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_a_good_answer_has_a_body() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}".to_vec()).unwrap(), b"{}");
        assert!(body(b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec()).unwrap_err().contains("404"));
        assert!(body(b"INFO {}\r\n\r\n".to_vec()).is_err());
        assert!(body(b"".to_vec()).is_err());
    }
}
