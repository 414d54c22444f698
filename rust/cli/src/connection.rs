//! Connects a command to its server and listens to what the server complains about.

use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::mpsc;

use crate::args::ConnectionArgs;
use crate::error::CliError;

/// Complaints kept for the command; more than these say nothing new.
const COMPLAINTS_MAX: usize = 64;

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
        let mut options = ConnectOptions::new()
            .name("stonechat")
            .connection_timeout(timeout)
            .event_callback(move |event| report(event, sender.clone()));
        let servers = parse_servers(&args.server)?;
        let in_url = servers.iter().find(|server| server.has_user_pass());
        if let Some(token) = &args.token {
            options = options.token(token.clone());
        } else if let Some(user) = &args.user {
            options = options.user_and_password(user.clone(), args.password.clone().unwrap_or_default());
        } else if let Some(address) = in_url {
            // The client library leaves credentials in addresses to its caller.
            options = match (address.username(), address.password()) {
                (Some(user), Some(password)) => {
                    options.user_and_password(user.to_owned(), password.to_owned())
                }
                (Some(token), None) => options.token(token.to_owned()),
                (None, _) => options,
            };
        }
        let server = without_credentials(&args.server);
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
        other => eprintln!("stonechat: {other}"),
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
