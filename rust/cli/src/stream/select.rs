//! The stream of a command: named on the command line, or picked from a list.

use serde_json::Value;

use crate::ask;
use crate::error::CliError;
use crate::listing;
use crate::session::Session;

/// API error: the stream does not exist.
const STREAM_NOT_FOUND: u64 = 10059;

/// The streams that a list offers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SelectBy {
    /// Whether to include the streams of buckets.
    pub(crate) all: bool,
    /// Whether to show no list.
    pub(crate) no_select: bool,
}

impl SelectBy {
    pub(crate) fn all(all: bool) -> Self {
        Self { all, no_select: false }
    }
}

/// Whether a stream belongs to a bucket, an object store or MQTT.
pub(crate) fn is_internal(name: &str) -> bool {
    ["KV_", "OBJ_", "$MQTT_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the server's info about a stream.
///
/// # Errors
/// [`CliError::NoStream`] if it does not exist.
pub(super) async fn info(session: &mut Session, name: &str) -> Result<Value, CliError> {
    match session.ask(&format!("STREAM.INFO.{name}"), None).await {
        Err(CliError::Api { err_code: STREAM_NOT_FOUND, .. }) => Err(CliError::NoStream(name.to_owned())),
        result => result,
    }
}

/// Returns the name of the stream, and the server's info about it. If the name is missing or does not exist, the user picks from
/// a list on the terminal.
///
/// # Errors
/// The stream does not exist, and no list can be shown.
pub(crate) async fn select(
    session: &mut Session,
    name: Option<String>,
    by: SelectBy,
) -> Result<(String, Value), CliError> {
    if let Some(name) = name {
        match info(session, &name).await {
            Err(CliError::NoStream(_)) if ask::is_interactive() && !by.no_select => {
                crate::console::say(format_args!("there is no stream {name}"));
            }
            result => return result.map(|info| (name, info)),
        }
    }
    let mut names = listing::stream_names(session, None).await?;
    names.retain(|name| by.all || !is_internal(name));
    if names.is_empty() {
        return Err(CliError::Client("there are no streams".to_owned()));
    }
    let name = ask::choose("Select a Stream", &names, "the name of a stream").await?;
    let info = info(session, &name).await?;
    Ok((name, info))
}
