//! The consumer that a command is about: the one that is named, or one that is picked from a list.

use serde_json::Value;

use super::args::Place;
use crate::ask;
use crate::error::CliError;
use crate::listing;
use crate::session::Session;
use crate::stream::{SelectBy, select as select_stream};

/// Error of the API: there is no such consumer.
const CONSUMER_NOT_FOUND: u64 = 10014;
/// Error of the API: there is no such stream.
const STREAM_NOT_FOUND: u64 = 10059;

/// What the server says of a consumer.
///
/// # Errors
/// [`CliError::NoConsumer`] or [`CliError::NoStream`] if there is none.
pub(super) async fn info(session: &mut Session, stream: &str, consumer: &str) -> Result<Value, CliError> {
    match session.ask(&format!("CONSUMER.INFO.{stream}.{consumer}"), None).await {
        Err(CliError::Api { err_code: CONSUMER_NOT_FOUND, .. }) => {
            Err(CliError::NoConsumer { stream: stream.to_owned(), consumer: consumer.to_owned() })
        }
        Err(CliError::Api { err_code: STREAM_NOT_FOUND, .. }) => Err(CliError::NoStream(stream.to_owned())),
        result => result,
    }
}

/// The names of stream and consumer, as the server says them.
pub(super) fn names(info: &Value) -> (&str, &str) {
    (info["stream_name"].as_str().unwrap_or_default(), info["name"].as_str().unwrap_or_default())
}

/// What the server says of the consumer. Where a name is missing, or is not there, a list is offered on the terminal.
///
/// # Errors
/// There is no such consumer, and nobody can pick one.
pub(super) async fn select(session: &mut Session, place: Place, by: SelectBy) -> Result<Value, CliError> {
    let (stream, _) = select_stream(session, place.stream, by).await?;
    if let Some(consumer) = place.consumer {
        match info(session, &stream, &consumer).await {
            Err(CliError::NoConsumer { .. }) if ask::is_interactive() && !by.no_select => {
                crate::console::say(format_args!("stream {stream} has no consumer {consumer}"));
            }
            result => return result,
        }
    }
    let names = listing::consumer_names(session, &stream).await?;
    if names.is_empty() {
        return Err(CliError::Client(format!("stream {stream} has no consumers")));
    }
    let name = ask::choose("Select a Consumer", &names, "the name of a consumer").await?;
    info(session, &stream, &name).await
}
