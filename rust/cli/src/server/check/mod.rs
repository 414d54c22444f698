//! `stonechat server check`: checks for monitoring systems, with the output formats and exit codes of `nats server check`.

mod assets;
mod connection;
mod limits;
mod result;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use regex_lite::Regex;

use crate::error::CliError;
use crate::message::write_out;
use crate::session::{JetStreamArgs, Session};
use crate::values::{parse_bucket, parse_duration, parse_key, parse_name, parse_pair, parse_subject};
use result::{Format, Outcome};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    jetstream: JetStreamArgs,
    /// The form of the result
    #[arg(long, value_enum, default_value = "nagios", global = true)]
    format: Format,
    /// How the names of metrics begin, for Prometheus
    #[arg(long, default_value = "nats", global = true)]
    namespace: String,
    /// Write the result into this file
    #[arg(long, value_name = "FILE", global = true)]
    outfile: Option<PathBuf>,
    #[command(subcommand)]
    what: Check,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Can we connect, and how long does it take?
    #[command(visible_alias = "conn")]
    Connection(connection::ConnectionCheck),
    /// Does a stream have its messages, subjects and sources?
    Stream(assets::StreamCheck),
    /// Does a consumer get on?
    Consumer(assets::ConsumerCheck),
    /// Is the last message of a subject young, and what it should be?
    Message(MessageCheck),
    /// Does a service answer?
    #[command(visible_alias = "req")]
    Request(RequestCheck),
    /// How much of what JetStream may use is used?
    #[command(visible_alias = "js")]
    Jetstream(limits::JetStreamCheck),
    /// Is a bucket there, and a key in it?
    Kv(KvCheck),
}

#[derive(Debug, Args)]
struct MessageCheck {
    /// The stream
    #[arg(long, value_parser = parse_name)]
    stream: String,
    /// The subject
    #[arg(long, value_parser = parse_subject, default_value = ">")]
    subject: String,
    /// Warn of an older message
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    age_warn: Option<Duration>,
    /// The message must not be older
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    age_critical: Option<Duration>,
    /// A regular expression that the body must match
    #[arg(long, value_name = "REGEX", default_value = ".", value_parser = parse_regex)]
    content: Regex,
    /// Take the age from the body, in seconds since 1970
    #[arg(long)]
    body_timestamp: bool,
}

#[derive(Debug, Args)]
struct RequestCheck {
    /// The subject of the service
    #[arg(long, value_parser = parse_subject)]
    subject: String,
    /// The body of the request
    #[arg(long, default_value = "")]
    payload: String,
    /// A header of the request, as name=value; may be given several times
    #[arg(long, value_parser = parse_pair, value_name = "NAME=VALUE")]
    headers: Vec<(String, String)>,
    /// A regular expression that the answer must match
    #[arg(long, value_name = "REGEX", value_parser = parse_regex)]
    match_payload: Option<Regex>,
    /// The answer must not take longer
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    response_critical: Option<Duration>,
    /// Warn of an answer that takes longer
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    response_warn: Option<Duration>,
}

#[derive(Debug, Args)]
struct KvCheck {
    /// The bucket
    #[arg(long, value_parser = parse_bucket)]
    bucket: String,
    /// The key, which must have a value
    #[arg(long, value_parser = parse_key)]
    key: Option<String>,
    /// How many values are critical; less than --values-warn turns both around
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "N")]
    values_critical: i64,
    /// How many values are worth a warning
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, value_name = "N")]
    values_warn: i64,
}

fn parse_regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| format!("it is no regular expression: {error}"))
}

/// Runs `stonechat server check`.
pub(super) async fn run(args: &CheckArgs) -> Result<(), CliError> {
    let mut outcome = Outcome::new(args.what.suite(), &args.what.name());
    match perform(args, &mut outcome).await {
        Ok(()) => {}
        Err(error @ (CliError::Output(_) | CliError::Interrupted)) => return Err(error),
        Err(error) => outcome.critical(format!("Check failed: {error}")),
    }
    let format = if args.jetstream.json { Format::Json } else { args.format };
    let text = outcome.render(format, &args.namespace);
    match &args.outfile {
        Some(file) => {
            let write = std::fs::write(file, format!("{text}\n"));
            write.map_err(|error| CliError::File { path: file.clone(), reason: error.to_string() })?;
        }
        None => write_out(format!("{text}\n").as_bytes())?,
    }
    match outcome.exit_code(format) {
        0 => Ok(()),
        code => Err(CliError::Exit(code)),
    }
}

async fn perform(args: &CheckArgs, outcome: &mut Outcome) -> Result<(), CliError> {
    if let Check::Connection(check) = &args.what {
        return connection::connection(&args.jetstream, check, outcome).await;
    }
    let mut session = Session::open(&args.jetstream).await?;
    match &args.what {
        Check::Connection(_) => Ok(()),
        Check::Stream(check) => assets::stream(&mut session, check, outcome).await,
        Check::Consumer(check) => assets::consumer(&mut session, check, outcome).await,
        Check::Message(check) => connection::message(&mut session, check, outcome).await,
        Check::Request(check) => connection::request(&mut session, check, outcome).await,
        Check::Jetstream(check) => limits::jetstream(&mut session, check, outcome).await,
        Check::Kv(check) => limits::kv(&mut session, check, outcome).await,
    }
}

impl Check {
    fn suite(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Stream(_) => "stream",
            Self::Consumer(_) => "consumer",
            Self::Message(_) => "message",
            Self::Request(_) => "request",
            Self::Jetstream(_) => "jetstream",
            Self::Kv(_) => "kv",
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Connection(_) => "Connection".to_owned(),
            Self::Stream(check) => check.stream.clone(),
            Self::Consumer(check) => format!("{}_{}", check.stream, check.consumer),
            Self::Message(_) => "Stream Message".to_owned(),
            Self::Request(check) => check.subject.clone(),
            Self::Jetstream(_) => "JetStream".to_owned(),
            Self::Kv(check) => check.bucket.clone(),
        }
    }
}
