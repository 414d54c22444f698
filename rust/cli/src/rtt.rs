//! `stonechat rtt`: measures the round-trip time to each server.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tokio::net::lookup_host;

use crate::args::ConnectionArgs;
use crate::connection::{Connection, addresses};
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::output::{duration, json_line, line};
use crate::values::{api_nanoseconds, parse_duration};

const EXAMPLES: &str = "\
Examples:
  stonechat rtt
  stonechat rtt 20 --server nats://one:4222,nats://two:4222 --json";

/// Arguments of `stonechat rtt`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RttArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How many round trips are averaged
    #[arg(default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// How long to wait for a server
    #[arg(long, env = "NATS_TIMEOUT", default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// Print an object for each server, one a line
    #[arg(short, long)]
    json: bool,
}

/// Runs `stonechat rtt`.
pub(crate) async fn run(args: RttArgs) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    let work = async {
        for server in addresses(&args.connection)? {
            measure_all(&args, &server).await?;
        }
        Ok(())
    };
    tokio::select! {
        result = work => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}

/// Measures each address of a server.
async fn measure_all(args: &RttArgs, server: &async_nats::ServerAddr) -> Result<(), CliError> {
    let (host, port) = (server.host(), server.port());
    let url = format!("{}://{host}:{port}", server.scheme());
    // A certificate contains the server's name, so an encrypted connection uses the name instead of the addresses.
    let found = lookup_host((host, port)).await;
    let mut targets: Vec<String> = match found {
        Ok(found) if !server.tls_required() && !args.connection.is_encrypted() => {
            found.map(|address| format!("nats://{address}")).collect()
        }
        _ => vec![url.clone()],
    };
    targets.dedup();
    let mut results = Vec::new();
    for target in targets {
        results.push((target.clone(), measure(args, &target).await));
    }
    if !args.json {
        line(&format!("{url}:\n"))?;
        let width = results.iter().map(|(target, _)| target.len()).max().unwrap_or_default() + 3;
        for (target, result) in &results {
            let shown =
                result.as_ref().map_or_else(|error| format!("failed: {error}"), |time| duration(*time));
            line(&format!("{target:>width$}: {shown}"))?;
        }
        line("")?;
    } else {
        let results: Vec<_> = results
            .iter()
            .map(|(target, result)| match result {
                Ok(time) => json!({ "address": target, "rtt": api_nanoseconds(*time), "url": url }),
                Err(error) => json!({ "address": target, "rtt": 0, "url": url, "error": error.to_string() }),
            })
            .collect();
        json_line(&json!({ "url": url, "results": results }))?;
    }
    Ok(())
}

/// Returns the mean of several round trips.
async fn measure(args: &RttArgs, target: &str) -> Result<Duration, CliError> {
    let connection = ConnectionArgs { server: Some(target.to_owned()), ..args.connection.clone() };
    let mut connection = Connection::open(&connection, args.timeout).await?;
    connection.settle(args.timeout).await?;
    let began = Instant::now();
    for _ in 0..args.iterations {
        connection.settle(args.timeout).await?;
    }
    let mean = began.elapsed() / args.iterations;
    Ok(Duration::from_micros(mean.as_micros() as u64))
}
