//! Connects a command to its server, and collects the errors that the server sends.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::mpsc;

use crate::args::ConnectionArgs;
use crate::console::say;
use crate::context::{Context, expand};
use crate::encryption::Encryption;
use crate::error::CliError;

/// Maximum number of the server's errors that are kept for the command.
const COMPLAINTS_MAX: usize = 64;

/// Capacity of a subscription, in messages. The server sends fewer than this before it waits for an answer to flow control, and
/// it limits long messages by their bytes. The library drops messages above the capacity, and a listing would have to restart at
/// the gap.
const WAITING_MAX: usize = 1 << 20;

/// A client, with the errors that the server sent to it.
pub(crate) struct Connection {
    pub(crate) client: Client,
    complaints: mpsc::Receiver<String>,
    server: String,
}

impl Connection {
    /// Connects. Afterwards the client reconnects by itself, and reports that on standard error.
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
        let mut options = Encryption::resolve(args, &context).apply(options)?;
        if !context.inbox_prefix.is_empty() {
            options = options.custom_inbox_prefix(&context.inbox_prefix);
        }
        let server = without_credentials(&server);
        let connect_error =
            |error: ConnectError| CliError::Connect { server: server.clone(), reason: reason(&error) };
        let client = options.connect(servers).await.map_err(connect_error)?;
        Ok(Self { client, complaints, server })
    }

    /// Waits for the next error that the server sends; waits for ever if there is none.
    pub(crate) async fn complaint(&mut self) -> CliError {
        match self.complaints.recv().await {
            Some(text) => CliError::Server(text),
            None => CliError::ConnectionLost,
        }
    }

    /// Waits until the server has processed everything that was sent; returns what it refused.
    ///
    /// The client library offers no PING to wait for, and a message to ourselves would reach every subscriber of `>`. So this
    /// subscribes to a subject that can't exist. The server's refusal follows its answers to everything before, and no other
    /// client sees it.
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

/// Returns the server addresses from the command line, the context or the default.
///
/// # Errors
/// The context does not exist, or an address can't be parsed.
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
    /// How the connection is encrypted.
    pub(crate) encryption: Encryption,
}

impl Target {
    /// Resolves the flags, the context and the address, as [`Connection::open`] does.
    ///
    /// # Errors
    /// The context does not exist, or an address can't be parsed.
    pub(crate) fn resolve(args: &ConnectionArgs) -> Result<Self, CliError> {
        let context = Context::active(args.context.as_deref())?;
        let servers = addresses(args)?;
        let login = Login::resolve(args, &context, &servers);
        let encryption = Encryption::resolve(args, &context);
        Ok(Self { servers, login, encryption })
    }
}

impl Login {
    /// Returns the credentials of the command line, else those of the context, else those in the address.
    fn resolve(args: &ConnectionArgs, context: &Context, servers: &[ServerAddr]) -> Self {
        // Credentials on the command line replace all credentials of the context.
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

    /// Adds these credentials to the client library's options.
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

/// Returns the value from the command line, else from the context.
fn given(named: Option<&String>, in_context: &str) -> Option<String> {
    named.cloned().or_else(|| Some(in_context.to_owned()).filter(|text| !text.is_empty()))
}

/// Returns the path from the command line, else from the context.
pub(crate) fn given_path(named: Option<&PathBuf>, in_context: &str) -> Option<PathBuf> {
    named.cloned().or_else(|| Some(expand(in_context)).filter(|path| !path.as_os_str().is_empty()))
}

/// The server if neither the command line nor the context names one.
const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// The subject of [`Connection::settle`]; [`crate::args`] lets no command line name it.
const IMPOSSIBLE_SUBJECT: &str = "_stonechat.>.settle";

/// Whether an error is the refusal of the impossible subject. It is a permissions violation if the user may not subscribe to it.
fn is_expected(complaint: &str) -> bool {
    complaint.eq_ignore_ascii_case("invalid subject") || complaint.contains(IMPOSSIBLE_SUBJECT)
}

/// Passes the server's errors to the command; prints other events of the connection.
async fn report(event: Event, complaints: mpsc::Sender<String>) {
    match event {
        // A full queue already holds enough errors.
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

/// Returns the reason of a failed connection, without the repetitions in the library's errors.
fn reason(error: &ConnectError) -> String {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => "authorization violation".to_owned(),
        _ => error.to_string(),
    }
}

/// Wraps an error of the client library; it has many error types, all with readable texts.
pub(crate) fn client_error(error: impl std::error::Error) -> CliError {
    CliError::Client(error.to_string())
}

/// Returns the server's own text, if there is one.
fn error_text(error: &async_nats::ServerError) -> String {
    match error {
        async_nats::ServerError::Other(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Removes the credentials from server addresses, for output.
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
