//! Output of commands: tables, facts, JSON, and texts that are safe for a terminal.

mod api;
mod facts;
mod graph;
mod progress;
mod style;
mod table;
mod text;

pub(crate) use api::{
    ago_or_never, byte_count, byte_limit, count, limit, list, nanoseconds, since, text, text_or_empty, time,
    time_ago, without_envelope,
};
pub(crate) use facts::Facts;
pub(crate) use graph::{LiveGraphs, Measure, terminal_size};
pub(crate) use progress::{Progress, ProgressArgs, Unit};
pub(crate) use style::{Color, is_colored, paint};
pub(crate) use table::Table;
pub(crate) use text::{bytes, commas, duration, local_time, long_duration, shown, shown_value};

use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;
use crate::message::write_out;

/// Prints a line.
pub(crate) fn line(text: &str) -> Result<(), CliError> {
    write_out(format!("{text}\n").as_bytes())
}

/// Prints a value as JSON on one line, as in lists.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), CliError> {
    line(&serde_json::to_string(value).unwrap_or_default())
}

/// Prints a value as indented JSON.
pub(crate) fn json(value: &Value) -> Result<(), CliError> {
    line(&format!("{value:#}"))
}
