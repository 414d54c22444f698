//! The command line.

use crate::server::Spec;
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Runs the same load against several NATS servers in turn and compares them.
#[derive(Parser)]
#[command(name = "natsload", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the scenarios.
    List,
    /// Measure servers, run by run in turn (A, B, A, B, …); ratios are first server / other server.
    Run(RunArgs),
    /// Measure the machine itself: the same byte streams without a broker, disk syncs, memory copies.
    Limits(Common),
}

/// Options of every measurement.
#[derive(Args, Clone)]
pub(crate) struct Common {
    /// Runs for each server, alternating.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) runs: u16,
    /// Length of a measured span in seconds, 0.2 to 60.
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub(crate) secs: Duration,
    /// Priority of the load and the servers, -20 to 19; below 0 needs root and takes the processors from other work.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub(crate) nice: i32,
    /// Where directories of servers are made [default: the system's temporary directory].
    #[arg(long, default_value_os_t = std::env::temp_dir(), hide_default_value = true)]
    pub(crate) dir: PathBuf,
    /// Also write the results to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `natsload run`.
#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// A server to measure; give the option once for each.
    #[arg(long = "server", value_name = "NAME=PATH", required = true, value_parser = server)]
    pub(crate) servers: Vec<Spec>,
    /// Scenarios to run: names, or beginnings that end in *; all by default.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub(crate) scenario: Vec<String>,
    /// Scenarios to leave out, named in the same way.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// Runs of the heavy scenarios.
    #[arg(long, default_value_t = 2)]
    pub(crate) heavy_runs: u16,
    /// Factor on the numbers of messages, connections and subscriptions.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) scale: f64,
    /// Most undelivered bytes in flight, in MiB.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) window: u16,
    /// JetStream's `sync_interval` for all servers, such as 2m or always [default: each its own].
    #[arg(long, value_name = "INTERVAL")]
    pub(crate) sync_interval: Option<String>,
    /// Servers that keep their default instead of `--sync-interval`, by name.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "sync_interval")]
    pub(crate) default_sync: Vec<String>,
    /// Keep the histories that kv-cas-kills records in this directory, a file for each run.
    #[arg(long, value_name = "DIR")]
    pub(crate) histories: Option<PathBuf>,
    /// Keep the server on the first processor, the load on the last one.
    #[arg(long)]
    pub(crate) pin: bool,
}

impl RunArgs {
    /// Whether the command line selects the scenario `name`.
    pub(crate) fn wants(&self, name: &str) -> bool {
        (self.scenario.is_empty() || matches(name, &self.scenario)) && !matches(name, &self.skip)
    }
}

/// Whether one of `patterns` is `name`, or a prefix of it followed by `*`.
pub(crate) fn matches(name: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|p| p.strip_suffix('*').map_or(name == p, |start| name.starts_with(start)))
}

fn seconds(text: &str) -> Result<Duration> {
    let secs: f64 = text.parse()?;
    anyhow::ensure!((0.2..=60.0).contains(&secs), "a span is 0.2 to 60 seconds long");
    Ok(Duration::from_secs_f64(secs))
}

fn server(text: &str) -> Result<Spec> {
    let (name, path) = text.split_once('=').context("a server is given as NAME=PATH")?;
    let path = std::fs::canonicalize(path).with_context(|| format!("there is no file {path}"))?;
    Ok(Spec { name: name.into(), path })
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, matches};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        let patterns = ["pub-1".to_string(), "js-*".to_string()];
        assert!(matches("pub-1", &patterns) && matches("js-async-file", &patterns));
        assert!(!matches("pub-10", &patterns) && !matches("1to1-16", &patterns));
    }

    #[test]
    fn what_can_not_be_measured_is_refused() {
        for line in [
            "natsload run",
            "natsload run --server a",
            "natsload run --server a=/does/not/exist",
            "natsload limits --secs 0",
            "natsload limits --runs 0",
            "natsload limits --nice 20",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn scenarios_are_chosen_and_left_out() {
        let line = [
            "natsload",
            "run",
            "--server",
            "a=/",
            "--scenario",
            "js-*,pub-1",
            "--skip",
            "js-sync*",
            "--nice",
            "-15",
        ];
        let Ok(Cli { command: Command::Run(args) }) = Cli::try_parse_from(line) else { panic!("not parsed") };
        assert!(args.wants("js-async") && args.wants("pub-1"));
        assert!(!args.wants("js-sync-file") && !args.wants("pub-8"));
        assert_eq!(args.common.nice, -15);
    }
}
