//! `stonechat latency`: measures how long messages take from one server to another.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::Notify;

use crate::args::ConnectionArgs;
use crate::connection::{Connection, client_error};
use crate::error::CliError;
use crate::interrupt::Interrupt;
use crate::message::write_out;
use crate::output::{Facts, bytes, commas, duration, json as print_json};
use crate::values::{api_nanoseconds, parse_bytes, parse_duration};

const EXAMPLES: &str = "\
Examples:
  stonechat latency --server nats://one:4222 --server-b nats://two:4222
  stonechat latency --server-b nats://two:4222 --rate 10000 --size 512 --duration 1m --histogram run";

/// Size in bytes of the send time with which each message begins; no message is shorter.
const STAMP: i64 = 8;
/// Minimum time before the wait for the second server's interest gives up; interest spreads faster than this.
const ROUTE: Duration = Duration::from_secs(2);
/// Interval between the messages that test whether the interest has arrived.
const PROBE: Duration = Duration::from_millis(10);
/// The percentiles that are shown.
const SHARES: [f64; 9] = [10.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0];

/// Arguments of `stonechat latency`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Server that messages are received from; they are published to that of --server
    #[arg(long, value_name = "URL")]
    server_b: String,
    /// Bytes of a message, 8 at least
    #[arg(long, default_value = "8", value_parser = parse_size)]
    size: i64,
    /// Messages a second
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How long messages are sent
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    duration: Duration,
    /// Write the latencies to FILE.raw and their distribution to FILE.histogram
    #[arg(long, value_name = "FILE")]
    histogram: Option<PathBuf>,
    /// How long to wait for servers, and for the last messages
    #[arg(long, env = "NATS_TIMEOUT", default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// Print the figures as JSON, times in nanoseconds
    #[arg(short, long)]
    json: bool,
}

fn parse_size(text: &str) -> Result<i64, String> {
    match parse_bytes(text)? {
        size if size >= STAMP => Ok(size),
        _ => Err(format!("a message has {STAMP} bytes at least: the time at which it was sent")),
    }
}

/// The result of a measurement.
struct Figures {
    publisher_rtt: Duration,
    subscriber_rtt: Duration,
    sent: u64,
    sending: Duration,
    receiving: Duration,
    /// In order of arrival; sorted later.
    latencies: Vec<Duration>,
}

/// Runs `stonechat latency`.
pub(crate) async fn run(args: LatencyArgs) -> Result<(), CliError> {
    let mut interrupt = Interrupt::catch();
    tokio::select! {
        result = measure_and_show(&args) => result,
        () = interrupt.pressed() => Err(CliError::Interrupted),
    }
}

async fn measure_and_show(args: &LatencyArgs) -> Result<(), CliError> {
    let mut figures = measure(args).await?;
    if let Some(path) = &args.histogram {
        let raw: String =
            figures.latencies.iter().map(|time| format!("{:.6}\n", milliseconds(*time))).collect();
        write_file(path, "raw", &raw)?;
    }
    figures.latencies.sort_unstable();
    if let Some(path) = &args.histogram {
        write_file(path, "histogram", &distribution(&figures.latencies))?;
    }
    match args.json {
        true => print_json(&as_json(&figures))?,
        false => write_out(as_text(&figures, args).as_bytes())?,
    }
    let received = figures.latencies.len() as u64;
    if received < figures.sent {
        return Err(CliError::TooFew { received, expected: figures.sent });
    }
    Ok(())
}

async fn measure(args: &LatencyArgs) -> Result<Figures, CliError> {
    let mut publisher = Connection::open(&args.connection, args.timeout).await?;
    let second = ConnectionArgs { server: Some(args.server_b.clone()), ..args.connection.clone() };
    let mut subscriber = Connection::open(&second, args.timeout).await?;
    let max = publisher.client.server_info().max_payload;
    let size = usize::try_from(args.size).unwrap_or(usize::MAX);
    if size > max {
        return Err(CliError::Client(format!("--size is above the server's max_payload of {max} bytes")));
    }
    let publisher_rtt = round_trip(&mut publisher, args.timeout).await?;
    let subscriber_rtt = round_trip(&mut subscriber, args.timeout).await?;
    let subject = subscriber.client.new_inbox();
    let mut messages = subscriber.client.subscribe(subject.clone()).await.map_err(client_error)?;
    subscriber.settle(args.timeout).await?;
    wait_for_route(&publisher, &mut subscriber, args.timeout).await?;

    let count = (args.duration.as_secs_f64() * f64::from(args.rate)).round().max(1.0) as u64;
    let began = Instant::now();
    let is_sent = Notify::new();
    let mut latencies = Vec::new();
    let sending = async {
        let sending = send(&publisher, &subject, size, count, args.rate, began).await;
        is_sent.notify_one();
        sending
    };
    let receiving = async {
        tokio::select! {
            biased;
            result = receive(&mut messages, began, count, &mut latencies) => result,
            // Lost messages are reported at the end.
            () = async { is_sent.notified().await; tokio::time::sleep(args.timeout).await } => Ok(()),
        }
    };
    let (sending, ()) = tokio::try_join!(sending, receiving)?;
    Ok(Figures { publisher_rtt, subscriber_rtt, sent: count, sending, receiving: began.elapsed(), latencies })
}

/// Sends messages, each with its time, and returns how long that took. A message that is late is sent at once.
async fn send(
    publisher: &Connection,
    subject: &str,
    size: usize,
    count: u64,
    rate: u32,
    began: Instant,
) -> Result<Duration, CliError> {
    let mut payload = vec![0; size];
    for i in 0..count {
        let due = began + Duration::from_secs_f64(i as f64 / f64::from(rate));
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        payload[..STAMP as usize].copy_from_slice(&nanoseconds(began.elapsed()).to_le_bytes());
        let message = Bytes::copy_from_slice(&payload);
        publisher.client.publish(subject.to_owned(), message).await.map_err(client_error)?;
    }
    publisher.client.flush().await.map_err(client_error)?;
    Ok(began.elapsed())
}

async fn receive(
    messages: &mut Subscriber,
    began: Instant,
    count: u64,
    latencies: &mut Vec<Duration>,
) -> Result<(), CliError> {
    while (latencies.len() as u64) < count {
        let message = messages.next().await.ok_or(CliError::ConnectionLost)?;
        let now = nanoseconds(began.elapsed());
        let stamp = message.payload.first_chunk().map(|stamp| u64::from_le_bytes(*stamp));
        latencies.extend(stamp.map(|sent| Duration::from_nanos(now.saturating_sub(sent))));
    }
    Ok(())
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

async fn round_trip(connection: &mut Connection, timeout: Duration) -> Result<Duration, CliError> {
    connection.settle(timeout).await?;
    let began = Instant::now();
    connection.settle(timeout).await?;
    Ok(began.elapsed())
}

/// Waits until messages of one server reach the other: in a cluster, interest takes time to spread.
async fn wait_for_route(
    publisher: &Connection,
    subscriber: &mut Connection,
    timeout: Duration,
) -> Result<(), CliError> {
    let subject = subscriber.client.new_inbox();
    let mut probes = subscriber.client.subscribe(subject.clone()).await.map_err(client_error)?;
    subscriber.settle(timeout).await?;
    let began = Instant::now();
    while began.elapsed() < ROUTE.max(timeout) {
        publisher.client.publish(subject.clone(), Bytes::new()).await.map_err(client_error)?;
        if let Ok(Some(_)) = tokio::time::timeout(PROBE, probes.next()).await {
            return Ok(());
        }
    }
    Err(CliError::Client("no message reaches the second server from the first one".to_owned()))
}

/// Returns the latency that this percentage of all latencies does not exceed.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share / 100.0).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

fn microseconds(time: Duration) -> String {
    duration(Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
}

fn as_text(figures: &Figures, args: &LatencyArgs) -> String {
    let all = &figures.latencies;
    let size = args.size.unsigned_abs();
    let rate = figures.sent as f64 / figures.sending.as_secs_f64().max(1e-9);
    let mut facts = Facts::new("Latency between two servers".to_owned());
    facts.section("Test");
    facts.add("Pub Server RTT", microseconds(figures.publisher_rtt));
    facts.add("Sub Server RTT", microseconds(figures.subscriber_rtt));
    facts.add("Message Payload", bytes(size));
    facts.add("Target Duration", duration(args.duration));
    facts.add("Target Msgs/Sec", commas(u64::from(args.rate)));
    facts.add("Messages", format!("{} sent, {} received", commas(figures.sent), commas(all.len() as u64)));
    facts.section("Percentiles");
    for share in SHARES {
        facts.add(&share.to_string(), microseconds(percentile(all, share)));
    }
    facts.section("Result");
    facts.add("Actual Msgs/Sec", commas(rate.round() as u64));
    facts.add("Actual Band/Sec", bytes((rate * size as f64 * 2.0).round() as u64));
    facts.add("Minimum Latency", microseconds(percentile(all, 0.0)));
    facts.add("Median Latency", microseconds(percentile(all, 50.0)));
    facts.add("Maximum Latency", microseconds(percentile(all, 100.0)));
    facts.add("Last Sent Wall Time", microseconds(figures.sending));
    facts.add("Last Recv Wall Time", microseconds(figures.receiving));
    facts.render()
}

fn as_json(figures: &Figures) -> serde_json::Value {
    let all = &figures.latencies;
    let ns = |time: Duration| api_nanoseconds(time);
    let percentiles: serde_json::Map<_, _> =
        SHARES.iter().map(|share| (share.to_string(), json!(ns(percentile(all, *share))))).collect();
    json!({
        "pub_server_rtt": ns(figures.publisher_rtt),
        "sub_server_rtt": ns(figures.subscriber_rtt),
        "sent": figures.sent,
        "received": all.len(),
        "sending": ns(figures.sending),
        "receiving": ns(figures.receiving),
        "minimum": ns(percentile(all, 0.0)),
        "median": ns(percentile(all, 50.0)),
        "maximum": ns(percentile(all, 100.0)),
        "percentiles": percentiles,
    })
}

/// Formats the distribution for tools that draw HDR histograms: milliseconds, share, and the number of latencies up to it.
fn distribution(sorted: &[Duration]) -> String {
    let mut text = "Value  Percentile  TotalCount  1/(1-Percentile)\n\n".to_owned();
    for share in SHARES {
        let count = (sorted.len() as f64 * share / 100.0).ceil();
        let value = milliseconds(percentile(sorted, share));
        let inverse =
            if share < 100.0 { format!("{:.2}", 100.0 / (100.0 - share)) } else { "inf".to_owned() };
        // Writing to a string can't fail.
        let _ = writeln!(text, "{value:.6}  {:.8}  {count}  {inverse}", share / 100.0);
    }
    text
}

fn write_file(path: &Path, ending: &str, text: &str) -> Result<(), CliError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    let path = PathBuf::from(name);
    std::fs::write(&path, text).map_err(|error| CliError::File { path, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact() {
        let all: Vec<Duration> = (1..=1000).map(Duration::from_micros).collect();
        for (share, us) in [(0.0, 1), (10.0, 100), (50.0, 500), (99.9, 999), (100.0, 1000)] {
            assert_eq!(percentile(&all, share), Duration::from_micros(us), "{share}");
        }
        assert_eq!(percentile(&[], 99.0), Duration::ZERO);
        assert!(distribution(&all).ends_with("1.000000  1.00000000  1000  inf\n"));
        assert_eq!(distribution(&[]).lines().count(), SHARES.len() + 2);
    }

    #[test]
    fn a_message_has_room_for_its_time() {
        assert_eq!(parse_size("8"), Ok(8));
        assert_eq!(parse_size("1K"), Ok(1024));
        assert!(parse_size("7").is_err() && parse_size("-1").is_err());
    }
}
