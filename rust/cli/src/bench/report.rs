//! The figures of a run: as text with a histogram, as JSON, and as CSV.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::measure::{Latencies, Outcome, Run};
use super::plan::Plan;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{Color, bytes, commas, json_line, paint, terminal_size};

/// The percentiles that are shown.
const SHARES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
/// Columns of the histogram's labels.
const LABELS: usize = 36;
/// Columns of a line if standard output is not a terminal.
const WIDTH: usize = 80;

/// Prints the figures of a run, and its differences from an earlier one.
pub(super) fn print(run: &Run, plan: &Plan, before: Option<&Run>, is_json: bool) -> Result<(), CliError> {
    match is_json {
        true => json_line(&as_json(run, plan, before)),
        false => write_out(as_text(run, plan, before).as_bytes()),
    }
}

fn as_text(run: &Run, plan: &Plan, before: Option<&Run>) -> String {
    let clients = run.clients.len();
    let mut text = format!(
        "{}, {} {} at {}\n\n",
        sentence(plan.title),
        clients,
        if clients == 1 { "client" } else { "clients" },
        run.server
    );
    // Writing to a string can't fail.
    if clients > 1 {
        for (i, client) in run.clients.iter().enumerate() {
            let _ = writeln!(
                text,
                "  client {:>3}: {}",
                i + 1,
                speed(client.rate(), client.byte_rate(), client.messages)
            );
        }
        let _ = writeln!(text, "  together  : {}", speed(run.rate(), run.byte_rate(), run.messages()));
        let _ = writeln!(text, "  clients   : {}", spread(&run.clients));
    } else {
        let _ = writeln!(text, "  rate      : {}", speed(run.rate(), run.byte_rate(), run.messages()));
    }
    let _ = writeln!(text, "  time      : {:.3} s", run.seconds());
    if let Some(latencies) = &run.latencies {
        let _ = writeln!(text, "\n  Time of {}, {} measured:\n", plan.timed, commas(latencies.count()));
        let figures = [
            ("least", latencies.least()),
            ("mean", latencies.mean()),
            ("most", latencies.most()),
            ("deviation", latencies.deviation()),
        ];
        let shares = SHARES.map(|(name, share)| (name, latencies.percentile(share)));
        text += &in_columns(&figures);
        text += &in_columns(&shares);
        text.push('\n');
        text += &histogram(latencies, width());
    }
    if let Some(before) = before {
        text += &comparison(run, before);
    }
    text.push('\n');
    text
}

/// Formats names above times, in columns.
fn in_columns(figures: &[(&str, Duration)]) -> String {
    let names: String = figures.iter().map(|(name, _)| format!("{name:>13}")).collect();
    let times: String = figures.iter().map(|(_, time)| format!("{:>13}", microseconds(*time))).collect();
    format!("{names}\n{times}\n")
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn speed(rate: f64, byte_rate: f64, messages: u64) -> String {
    let rate = commas(rate.round() as u64);
    format!("{rate:>12} messages/s, {}/s ({} messages)", bytes(byte_rate as u64), commas(messages))
}

/// Describes the spread of the clients' rates: slowest, mean, fastest and deviation.
fn spread(clients: &[Outcome]) -> String {
    let rates: Vec<f64> = clients.iter().map(Outcome::rate).collect();
    let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    let deviation =
        (rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len().max(1) as f64).sqrt();
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    let [least, mean, most, deviation] =
        [least, mean, most, deviation].map(|rate| commas(rate.round() as u64));
    format!("slowest {least}, mean {mean}, fastest {most}, deviation {deviation}")
}

/// Formats a time like `12.34 µs`, `1.25 ms` or `2.50 s`.
pub(super) fn microseconds(time: Duration) -> String {
    match time.as_nanos() as f64 / 1e3 {
        us if us < 1e3 => format!("{us:.2} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// Returns the width of a line in columns.
fn width() -> usize {
    match std::io::stdout().is_terminal() {
        true => usize::from(terminal_size().0),
        false => WIDTH,
    }
}

/// Returns the limits, in nanoseconds, of the histogram's rows: three in each power of ten.
pub(super) fn limits(latencies: &Latencies) -> Vec<u64> {
    let decades = (0..14).flat_map(|exponent| [1, 2, 5].map(|digit| digit * 10u64.pow(exponent)));
    let (least, most) = (latencies.least().as_nanos() as u64, latencies.most().as_nanos() as u64);
    let all: Vec<u64> = decades.collect();
    let first = all.partition_point(|limit| *limit <= least);
    let last = all.partition_point(|limit| *limit <= most);
    all[first..(last + 1).min(all.len())].to_vec()
}

/// Draws a bar for each range of latencies.
fn histogram(latencies: &Latencies, width: usize) -> String {
    let limits = limits(latencies);
    let mut counts = latencies.below(&limits);
    // The last limit is above the greatest latency.
    counts.truncate(limits.len());
    let highest = counts.iter().copied().max().unwrap_or_default().max(1);
    let room = width.saturating_sub(LABELS + 1).clamp(1, 100);
    let mut text = String::new();
    for (limit, count) in limits.iter().zip(&counts) {
        let eighths = (*count as f64 / highest as f64 * room as f64 * 8.0).round() as usize;
        let share = 100.0 * *count as f64 / latencies.count().max(1) as f64;
        let limit = microseconds(Duration::from_nanos(*limit));
        let bar = paint(&bar(eighths), Color::Green);
        let row = format!("    below {limit:>10} {share:>6.2} % {:>6} {bar}", short(*count));
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text
}

/// Returns a bar of this length, in eighths of a character.
fn bar(eighths: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// Formats a count like `999`, `12.3k` or `4.5M`.
fn short(count: u64) -> String {
    match count as f64 {
        number if number < 1e4 => count.to_string(),
        number if number < 1e6 => format!("{:.0}k", number / 1e3),
        number if number < 1e9 => format!("{:.1}M", number / 1e6),
        number => format!("{:.1}G", number / 1e9),
    }
}

/// Describes how the second server differs from the first.
fn comparison(run: &Run, before: &Run) -> String {
    let mut text = format!("\n  {} beside {}:\n\n", run.server, before.server);
    let mut line = |name: &str, first: String, second: String, factor: f64| {
        let _ = writeln!(text, "    {name:<6} {first:>16} {second:>16}   x {factor:.2}");
    };
    let rate = |run: &Run| format!("{}/s", commas(run.rate().round() as u64));
    line("rate", rate(before), rate(run), run.rate() / before.rate());
    if let (Some(first), Some(second)) = (&before.latencies, &run.latencies) {
        for (name, share) in SHARES {
            let (first, second) = (first.percentile(share), second.percentile(share));
            let factor = second.as_secs_f64() / first.as_secs_f64().max(1e-9);
            line(name, microseconds(first), microseconds(second), factor);
        }
    }
    text
}

fn as_json(run: &Run, plan: &Plan, before: Option<&Run>) -> Value {
    let client = |client: &Outcome| {
        json!({
            "messages": client.messages,
            "bytes": client.bytes,
            "seconds": client.seconds(),
            "rate": client.rate(),
            "bytes_per_second": client.byte_rate(),
        })
    };
    let mut value = json!({
        "bench": plan.title,
        "server": run.server,
        "messages": run.messages(),
        "bytes": run.bytes(),
        "seconds": run.seconds(),
        "rate": run.rate(),
        "bytes_per_second": run.byte_rate(),
        "clients": run.clients.iter().map(client).collect::<Vec<_>>(),
    });
    if let Some(latencies) = &run.latencies {
        value["latency"] = latency_json(latencies, plan.timed);
    }
    if let Some(before) = before {
        value["compared"] = json!({ "server": before.server, "rate": run.rate() / before.rate() });
    }
    value
}

/// Returns latencies as JSON, in microseconds.
fn latency_json(latencies: &Latencies, timed: &str) -> Value {
    let us = |time: Duration| time.as_nanos() as f64 / 1e3;
    let limits = limits(latencies);
    let counts = latencies.below(&limits);
    let row = |(limit, count): (&u64, &u64)| json!({ "below_us": *limit as f64 / 1e3, "count": count });
    let mut value = json!({
        "of": timed,
        "count": latencies.count(),
        "min_us": us(latencies.least()),
        "mean_us": us(latencies.mean()),
        "max_us": us(latencies.most()),
        "stddev_us": us(latencies.deviation()),
        "histogram": limits.iter().zip(&counts).map(row).collect::<Vec<_>>(),
    });
    for (name, share) in SHARES {
        value[format!("{name}_us")] = json!(us(latencies.percentile(share)));
    }
    value
}

/// Formats a line for each client of each run, in the columns of the `nats` tool.
pub(super) fn csv(runs: &[Run]) -> String {
    let latency = ["Min", "Avg", "Max", "P50", "P90", "P99", "P99.9", "StdDev"]
        .map(|name| format!("{name}LatencyMicroSecs"));
    let mut text = String::from("#RunID,ClientID,MsgCount,MsgBytes,MsgsPerSec,BytesPerSec,DurationSecs,");
    text += &latency.join(",");
    text.push('\n');
    for run in runs {
        for (i, client) in run.clients.iter().enumerate() {
            let _ = write!(
                text,
                "{},{i},{},{},{:.0},{:.0},{:.6}",
                run.server,
                client.messages,
                client.bytes,
                client.rate(),
                client.byte_rate(),
                client.seconds()
            );
            let empty = Latencies::new();
            let all = client.latencies.as_ref().unwrap_or(&empty);
            let times = [all.least(), all.mean(), all.most()]
                .into_iter()
                .chain([0.5, 0.9, 0.99, 0.999].map(|share| all.percentile(share)))
                .chain([all.deviation()]);
            for time in times {
                let _ = write!(text, ",{:.3}", time.as_nanos() as f64 / 1e3);
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies() -> Latencies {
        let mut latencies = Latencies::new();
        for us in [10, 11, 12, 30, 400] {
            latencies.record(Duration::from_micros(us));
        }
        latencies
    }

    #[test]
    fn a_histogram_has_every_latency_in_one_row() {
        let latencies = latencies();
        assert_eq!(
            limits(&latencies).iter().map(|ns| ns / 1000).collect::<Vec<_>>(),
            [20, 50, 100, 200, 500]
        );
        let text = histogram(&latencies, 60);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows.len(), 5, "{text}");
        assert!(rows[0].starts_with("    below   20.00 µs  60.00 %      3 █████"), "{text}");
        assert!(rows.iter().all(|row| row.chars().count() <= 60), "{text}");
        // No width is too small, and no latency out of range.
        let _ = histogram(&latencies, 0);
        let mut extreme = Latencies::new();
        extreme.record(Duration::ZERO);
        extreme.record(Duration::MAX);
        let _ = histogram(&extreme, 80);
    }

    #[test]
    fn bars_grow_by_eighths() {
        assert_eq!([0, 1, 8, 12].map(bar), ["", "▏", "█", "█▌"]);
        assert_eq!([0, 9_999, 123_456, 4_500_000].map(short), ["0", "9999", "123k", "4.5M"]);
        assert_eq!(microseconds(Duration::from_nanos(12_340)), "12.34 µs");
    }
}
