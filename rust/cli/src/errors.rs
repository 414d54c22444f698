//! `stonechat errors`: explains the errors of JetStream's API.

use clap::{Args, Subcommand, ValueEnum};
use regex_lite::Regex;
use serde_json::json;
use stonechat_jetstream::error::{ALL, ApiError};

use crate::error::CliError;
use crate::message::write_out;
use crate::output::{Facts, Table, json_line, line, shown};

const EXAMPLES: &str = "\
Examples:
  stonechat errors lookup 10059
  stonechat errors ls 'not found' http";

/// Arguments of `stonechat errors`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ErrorsArgs {
    /// Print JSON: a value a line for lists
    #[arg(short, long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: ErrorsCommand,
}

/// By what errors are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    Code,
    Http,
    #[value(aliases = ["descr", "d"])]
    Description,
}

#[derive(Debug, Subcommand)]
enum ErrorsCommand {
    /// List the errors
    #[command(visible_alias = "list")]
    Ls {
        /// Only those whose code or description this regular expression matches
        #[arg(name = "MATCH")]
        text: Option<String>,
        /// By what they are sorted
        #[arg(value_enum, default_value = "code")]
        sort: Order,
        /// Turn the order around
        #[arg(short = 'R', long)]
        reverse: bool,
    },
    /// Look an error up by its number
    #[command(visible_aliases = ["find", "get", "l", "view", "show"])]
    Lookup {
        /// The number, such as 10059
        code: u16,
    },
}

/// Runs `stonechat errors`.
pub(crate) fn run(args: &ErrorsArgs) -> Result<(), CliError> {
    match &args.command {
        ErrorsCommand::Ls { text, sort, reverse } => list(text.as_deref(), *sort, *reverse, args.json),
        ErrorsCommand::Lookup { code } => lookup(*code, args.json),
    }
}

fn as_json(error: &ApiError) -> serde_json::Value {
    json!({ "error_code": error.err_code, "code": error.code, "description": error.description })
}

fn list(text: Option<&str>, sort: Order, is_reversed: bool, json: bool) -> Result<(), CliError> {
    let wanted = text.unwrap_or(".").to_lowercase();
    let pattern = Regex::new(&wanted)
        .map_err(|error| CliError::Client(format!("{wanted:?} is no regular expression: {error}")))?;
    let is_match = |error: &ApiError| {
        let texts = [error.err_code.to_string(), error.code.to_string(), error.description.to_lowercase()];
        texts.iter().any(|text| pattern.is_match(text))
    };
    let mut found: Vec<ApiError> = ALL.iter().map(|template| template.error()).filter(is_match).collect();
    if found.is_empty() {
        return Err(CliError::Client(format!(
            "no error matches {:?} in its code or description",
            shown(&wanted)
        )));
    }
    match sort {
        Order::Code => found.sort_by_key(|error| error.err_code),
        Order::Http => found.sort_by_key(|error| (error.code, error.err_code)),
        Order::Description => found.sort_by(|a, b| a.description.cmp(&b.description)),
    }
    if is_reversed {
        found.reverse();
    }
    if json {
        return found.iter().try_for_each(|error| json_line(&as_json(error)));
    }
    let mut table = Table::new("NATS Errors".to_owned(), &["NATS Code", "HTTP Error Code", "Description"]);
    for error in &found {
        table.row(vec![error.err_code.to_string(), error.code.to_string(), error.description.to_string()]);
    }
    line(table.render().trim_end())
}

fn lookup(code: u16, json: bool) -> Result<(), CliError> {
    let found = ALL.iter().map(|template| template.error()).find(|error| error.err_code == code);
    let error = found.ok_or_else(|| CliError::Client(format!("no error has the number {code}")))?;
    if json {
        return json_line(&as_json(&error));
    }
    let mut facts = Facts::new(format!("NATS Error Code: {code}"));
    facts.add("Description", error.description.to_string());
    facts.add("HTTP Code", error.code.to_string());
    write_out(facts.render().as_bytes())
}
