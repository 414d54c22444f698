//! Connects a command to its server and listens to what the server complains about.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::mpsc;

use crate::args::ConnectionArgs;
use crate::console::say;
use crate::context::{Context, expand};
use crate::error::CliError;

/// Complaints kept for the command; more than these say nothing new.
const COMPLAINTS_MAX: usize = 64;

/// Messages that may wait for a command: more than the server sends before it waits for an answer, and it holds back what is
/// longer by their bytes. The library drops what is beyond, and a list would be read anew from there.
const WAITING_MAX: usize = 1 << 20;

/// A client with the errors that the server sent to it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    complaints: mpsc::Receiver<String>,
    server: String,
}

impl Connection {
    /// Connects or says why not; once connected, the client reconnects by itself and says so on standard error.
    pub(crate) async fn open(args: &ConnectionArgs, timeout: Duration) -> Result<Self, CliError> {
        let (sender, complaints) = mpsc::channel(COMPLAINTS_MAX);
        let context = Context::active(args.context.as_deref())?;
        let server = given(args.server.as_ref(), &context.url).unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        let servers = parse_servers(&server)?;
        let options = ConnectOptions::new()
            .name("stonechat")
            .connection_timeout(timeout)
            .subscription_capacity(WAITING_MAX)
            .event_callback(move |event| report(event, sender.clone()));
        let options = Login::resolve(args, &context, &servers).apply(options).await?;
        let options = encryption(options, args, &context)?;
        let server = without_credentials(&server);
        let connect_error =
            |error: ConnectError| CliError::Connect { server: server.clone(), reason: reason(&error) };
        let client = options.connect(servers).await.map_err(connect_error)?;
        Ok(Self { client, complaints, server })
    }

    /// Waits for the next complaint of the server. Pending for ever if the server is content.
    pub(crate) async fn complaint(&mut self) -> CliError {
        match self.complaints.recv().await {
            Some(text) => CliError::Server(text),
            None => CliError::ConnectionLost,
        }
    }

    /// Waits until the server has seen all that was sent, and reports what it refused.
    ///
    /// The client library has no PING of ours to wait for, and a message to ourselves would show up at everybody
    /// who listens on `>`. So we subscribe to a subject that can't exist: the refusal comes after the answers to
    /// everything before it, and nobody else sees a thing.
    pub(crate) async fn settle(&mut self, timeout: Duration) -> Result<(), CliError> {
        let _refused = self.client.subscribe(IMPOSSIBLE_SUBJECT).await.map_err(client_error)?;
        self.client.flush().await.map_err(client_error)?;
        match tokio::time::timeout(timeout, self.complaint()).await {
            Ok(CliError::Server(text)) if is_expected(&text) => Ok(()),
            Ok(error) => Err(error),
            Err(_) => Err(CliError::Connect {
                server: self.server.clone(),
                reason: format!("no answer within {} s", timeout.as_secs_f64()),
            }),
        }
    }
}

/// The servers that a command talks to, as the command line, the context or the default names them.
///
/// # Errors
/// There is no such context, or an address can't be read.
pub(crate) fn addresses(args: &ConnectionArgs) -> Result<Vec<ServerAddr>, CliError> {
    let context = Context::active(args.context.as_deref())?;
    parse_servers(&given(args.server.as_ref(), &context.url).unwrap_or_else(|| DEFAULT_SERVER.to_owned()))
}

/// The credentials of a connection.
#[derive(Debug)]
pub(crate) enum Login {
    /// No credentials.
    None,
    /// A file with a JWT and its seed.
    Credentials(PathBuf),
    /// A file with the seed of an nkey.
    Nkey(PathBuf),
    /// A token.
    Token(String),
    /// A user and a password.
    User { name: String, password: String },
}

/// Servers, credentials and encryption, for commands that speak the protocol themselves.
#[derive(Debug)]
pub(crate) struct Target {
    /// The addresses, in the order in which they were named.
    pub(crate) servers: Vec<ServerAddr>,
    /// The credentials.
    pub(crate) login: Login,
    /// Whether a flag, the context or an address asks for TLS.
    pub(crate) is_encrypted: bool,
}

impl Target {
    /// Resolves flags, the context and the address, as [`Connection::open`] does.
    ///
    /// # Errors
    /// There is no such context, or an address can't be read.
    pub(crate) fn resolve(args: &ConnectionArgs) -> Result<Self, CliError> {
        let context = Context::active(args.context.as_deref())?;
        let servers = addresses(args)?;
        let login = Login::resolve(args, &context, &servers);
        let is_encrypted = args.is_encrypted()
            || context.tls_first
            || !context.ca.is_empty()
            || !context.cert.is_empty()
            || servers.iter().any(ServerAddr::tls_required);
        Ok(Self { servers, login, is_encrypted })
    }
}

impl Login {
    /// The credentials that the command line names, else those of the context, else those of the address.
    fn resolve(args: &ConnectionArgs, context: &Context, servers: &[ServerAddr]) -> Self {
        // What is named on the command line replaces all that the context says about it.
        let is_named =
            args.user.is_some() || args.token.is_some() || args.creds.is_some() || args.nkey.is_some();
        let nothing = Context::default();
        let context = if is_named { &nothing } else { context };
        if let Some(path) = given_path(args.creds.as_ref(), &context.creds) {
            return Self::Credentials(path);
        }
        if let Some(path) = given_path(args.nkey.as_ref(), &context.nkey) {
            return Self::Nkey(path);
        }
        if let Some(token) = given(args.token.as_ref(), &context.token) {
            return Self::Token(token);
        }
        if let Some(name) = given(args.user.as_ref(), &context.user) {
            let password = given(args.password.as_ref(), &context.password).unwrap_or_default();
            return Self::User { name, password };
        }
        // The client library leaves credentials in addresses to its caller.
        let address = servers.iter().find(|server| server.has_user_pass());
        match address.map(|address| (address.username(), address.password())) {
            Some((Some(name), Some(password))) => {
                Self::User { name: name.to_owned(), password: password.to_owned() }
            }
            Some((Some(token), None)) => Self::Token(token.to_owned()),
            _ => Self::None,
        }
    }

    /// The client library's options with these credentials.
    async fn apply(self, options: ConnectOptions) -> Result<ConnectOptions, CliError> {
        let unusable = |path, error: io::Error| CliError::File { path, reason: error.to_string() };
        Ok(match self {
            Self::None => options,
            Self::Credentials(path) => {
                options.credentials_file(&path).await.map_err(|error| unusable(path, error))?
            }
            Self::Nkey(path) => {
                let seed = tokio::fs::read_to_string(&path).await.map_err(|error| unusable(path, error))?;
                options.nkey(seed.trim().to_owned())
            }
            Self::Token(token) => options.token(token),
            Self::User { name, password } => options.user_and_password(name, password),
        })
    }
}

/// How the connection is encrypted.
fn encryption(
    options: ConnectOptions,
    args: &ConnectionArgs,
    context: &Context,
) -> Result<ConnectOptions, CliError> {
    let mut options = options;
    if args.tls {
        options = options.require_tls(true);
    }
    if args.tls_first || context.tls_first {
        options = options.tls_first();
    }
    if let Some(ca) = given_path(args.tls_ca.as_ref(), &context.ca) {
        options = options.add_root_certificates(readable(ca)?).require_tls(true);
    }
    let cert = given_path(args.tls_cert.as_ref(), &context.cert);
    let key = given_path(args.tls_key.as_ref(), &context.key);
    if let (Some(cert), Some(key)) = (cert, key) {
        options = options.add_client_certificate(readable(cert)?, readable(key)?).require_tls(true);
    }
    if !context.inbox_prefix.is_empty() {
        options = options.custom_inbox_prefix(&context.inbox_prefix);
    }
    Ok(options)
}

/// What the command line says, else the context.
fn given(named: Option<&String>, in_context: &str) -> Option<String> {
    named.cloned().or_else(|| Some(in_context.to_owned()).filter(|text| !text.is_empty()))
}

fn given_path(named: Option<&PathBuf>, in_context: &str) -> Option<PathBuf> {
    named.cloned().or_else(|| Some(expand(in_context)).filter(|path| !path.as_os_str().is_empty()))
}

/// The path of a file that can be opened: the client library names none in its errors.
fn readable(path: PathBuf) -> Result<PathBuf, CliError> {
    match File::open(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(CliError::File { path, reason: error.to_string() }),
    }
}

/// Where a server is looked for if nothing says so.
const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// The subject that [`Connection::settle`] asks for; no command line can name it, see [`crate::args`].
const IMPOSSIBLE_SUBJECT: &str = "_stonechat.>.settle";

/// Tells the refusal of the impossible subject, which is a denial if our user may subscribe to little.
fn is_expected(complaint: &str) -> bool {
    complaint.eq_ignore_ascii_case("invalid subject") || complaint.contains(IMPOSSIBLE_SUBJECT)
}

/// Keeps the server's complaints for the command; shows what else happens to the connection.
async fn report(event: Event, complaints: mpsc::Sender<String>) {
    match event {
        // A full queue already holds enough to report.
        Event::ServerError(error) => drop(complaints.try_send(error_text(&error))),
        Event::Connected | Event::Draining | Event::Closed => {}
        other => say(format_args!("stonechat: {other}")),
    }
}

fn parse_servers(list: &str) -> Result<Vec<ServerAddr>, CliError> {
    let parse = |server: &str| {
        server.trim().parse::<ServerAddr>().map_err(|error| CliError::Connect {
            server: without_credentials(server),
            reason: error.to_string(),
        })
    };
    list.split(',').map(parse).collect()
}

/// The library's errors often repeat their source; one of the two is enough.
fn reason(error: &ConnectError) -> String {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => "authorization violation".to_owned(),
        _ => error.to_string(),
    }
}

/// Wraps the errors of client calls: they are many types, and all of them read well.
pub(crate) fn client_error(error: impl std::error::Error) -> CliError {
    CliError::Client(error.to_string())
}

/// The server's own words where there are any.
fn error_text(error: &async_nats::ServerError) -> String {
    match error {
        async_nats::ServerError::Other(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Server addresses as they may be shown: passwords in them stay secret.
fn without_credentials(servers: &str) -> String {
    let shown = servers.split(',').map(|server| match server.trim().rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://{host}"),
            None => host.to_owned(),
        },
        None => server.trim().to_owned(),
    });
    shown.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (given, shown) in [
            ("nats://h:1", "nats://h:1"),
            ("nats://joe:secret@h:1, tok@b:2", "nats://h:1,b:2"),
            ("tls://p@ss:w@h", "tls://h"),
        ] {
            assert_eq!(without_credentials(given), shown);
        }
    }
}
