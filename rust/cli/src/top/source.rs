//! Source of the figures: a server's monitoring port, or its system account.

use std::io::ErrorKind;
use std::time::Duration;

use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::args::TopArgs;
use crate::connection::{Login, Target};
use crate::error::CliError;
use crate::server::ask_all;
use crate::session::{JetStreamArgs, Session};

/// Default monitoring port.
const PORT: u16 = 8222;
/// Maximum size of an answer in bytes.
const LONGEST: u64 = 256 << 20;
/// Maximum number of connections in an answer.
const CONNECTIONS: u64 = 100_000;

/// A request for figures.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// General figures of the server.
    Variables,
    /// Open connections.
    Connections,
    /// Closed connections.
    Closed,
    /// One connection, with its subscriptions.
    Connection(u64),
    /// Streams and consumers.
    Streams,
}

/// A source of a server's figures.
pub(super) enum Source {
    /// The server's monitoring port.
    Port { page: Page, patience: Duration },
    /// Requests in the system account.
    Account { session: Box<Session>, id: String },
}

/// Address of a monitoring port's pages.
pub(super) struct Page {
    host: String,
    port: u16,
    /// Path before the names of pages: `/x`, or empty.
    base: String,
    tls: Option<TlsConnector>,
}

impl Source {
    /// Chooses the source from the flags: the named address, the system account if there are credentials, or the default port.
    ///
    /// # Errors
    /// The address can't be parsed, or no server answers in the system account.
    pub(super) async fn open(args: &TopArgs) -> Result<Self, CliError> {
        let patience = args.jetstream.timeout;
        let target = Target::resolve(&args.jetstream.connection)?;
        if let Some(url) = &args.url {
            let address = parse(url)?;
            let tls = if address.is_encrypted { Some(target.encryption.config()?.into()) } else { None };
            let Address { host, port, base, .. } = address;
            return Ok(Self::Port { page: Page { host, port, base, tls }, patience });
        }
        if !matches!(target.login, Login::None) {
            return Self::account(&args.jetstream).await;
        }
        let host =
            target.servers.first().map_or_else(|| "127.0.0.1".to_owned(), |server| server.host().to_owned());
        Ok(Self::Port { page: Page { host, port: PORT, base: String::new(), tls: None }, patience })
    }

    /// Returns the connected server as the source, if the user belongs to the system account.
    async fn account(args: &JetStreamArgs) -> Result<Self, CliError> {
        let session = Session::open(args).await?;
        let id = session.connection.client.server_info().server_id;
        // All servers answer this request; one answer shows that the user may send such requests.
        ask_all(args, "$SYS.REQ.SERVER.PING", &Value::Null, Some(1)).await?;
        Ok(Self::Account { session: Box::new(session), id })
    }

    /// Returns the address, for output.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Port { page, .. } => page.to_string(),
            Self::Account { .. } => "the system account".to_owned(),
        }
    }

    /// Requests figures from the server.
    ///
    /// # Errors
    /// The server does not answer, or its answer is not valid JSON.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Vec<u8>, CliError> {
        match self {
            Self::Port { page, patience } => {
                let failed = |reason: String| CliError::Connect { server: page.to_string(), reason };
                match tokio::time::timeout(*patience, page.get(path(question))).await {
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

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Page {
    /// Fetches a page, and returns its body.
    async fn get(&self, path: String) -> Result<Vec<u8>, String> {
        let text = |error: std::io::Error| error.to_string();
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(text)?;
        match &self.tls {
            None => self.ask(socket, &path).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
                let stream = tls.connect(name, socket).await.map_err(|error| format!("TLS: {error}"))?;
                self.ask(stream, &path).await
            }
        }
    }

    /// Sends a request of HTTP/1.0: the server answers without chunks, and closes the connection after the answer.
    async fn ask(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        path: &str,
    ) -> Result<Vec<u8>, String> {
        let (host, base) = (&self.host, &self.base);
        let request =
            format!("GET {base}{path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        match stream.take(LONGEST).read_to_end(&mut answer).await {
            // A server may close the connection without the end message of TLS.
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error.to_string()),
            _ => body(answer),
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

/// The parsed address of a monitoring port.
struct Address {
    host: String,
    port: u16,
    base: String,
    is_encrypted: bool,
}

/// Parses an address; without a scheme it is an HTTP address.
fn parse(url: &str) -> Result<Address, CliError> {
    let wrong = |reason: &str| CliError::Client(format!("cannot use {url:?}: {reason}"));
    let (is_encrypted, rest) = match url.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("http://").unwrap_or(url)),
    };
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
    Ok(Address { host: host.to_owned(), port, base, is_encrypted })
}

/// Checks the status of an HTTP answer, and returns its body.
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
        let found = |url| parse(url).map(|a| format!("{} {} {} {}", a.host, a.port, a.base, a.is_encrypted));
        assert_eq!(found("http://h:1/x/").unwrap(), "h 1 /x false");
        assert_eq!(found("h").unwrap(), "h 8222  false");
        assert_eq!(found("https://h").unwrap(), "h 8222  true");
        assert_eq!(found("[::1]:5").unwrap(), "::1 5  false");
        for url in ["nats://h:4222", "http://", "h:99999", "a b"] {
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
