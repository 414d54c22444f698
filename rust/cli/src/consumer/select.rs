//! The consumer of a command: named on the command line, or picked from a list.

use serde_json::Value;

use super::args::Place;
use crate::ask;
use crate::error::CliError;
use crate::listing;
use crate::session::Session;
use crate::stream::{SelectBy, select as select_stream};

/// API error: the consumer does not exist.
const CONSUMER_NOT_FOUND: u64 = 10014;
/// API error: the stream does not exist.
const STREAM_NOT_FOUND: u64 = 10059;

/// Returns the server's info about a consumer.
///
/// # Errors
/// [`CliError::NoConsumer`] or [`CliError::NoStream`] if it does not exist.
pub(super) async fn info(session: &mut Session, stream: &str, consumer: &str) -> Result<Value, CliError> {
    match session.ask(&format!("CONSUMER.INFO.{stream}.{consumer}"), None).await {
        Err(CliError::Api { err_code: CONSUMER_NOT_FOUND, .. }) => {
            Err(CliError::NoConsumer { stream: stream.to_owned(), consumer: consumer.to_owned() })
        }
        Err(CliError::Api { err_code: STREAM_NOT_FOUND, .. }) => Err(CliError::NoStream(stream.to_owned())),
        result => result,
    }
}

/// Returns the names of the stream and the consumer in a consumer's info.
pub(super) fn names(info: &Value) -> (&str, &str) {
    (info["stream_name"].as_str().unwrap_or_default(), info["name"].as_str().unwrap_or_default())
}

/// Returns the info of the consumer. If a name is missing or does not exist, the user picks from a list on the terminal.
///
/// # Errors
/// The consumer does not exist, and no list can be shown.
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
