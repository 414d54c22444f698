//! A plot of runs: messages a second over time, and latencies by percentile.

use std::fmt::Write;
use std::time::Duration;

use super::measure::Run;
use super::report::microseconds;

/// Colours of the runs, and their dashes, which differ too for readers without colour.
const COLORS: [(&str, &str); 2] = [("#2166ac", ""), ("#b2182b", "6 3")];
/// Inner size of a panel and the margins around it, in pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 50.0;
const BETWEEN: f64 = 80.0;
/// Marks of the percentile axis, from the least to 99.99 %. It is logarithmic: each further nine takes the same width.
const NINES: [(&str, f64); 6] =
    [("0", 0.0), ("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999), ("99.99 %", 0.9999)];

/// Draws the plot as SVG.
pub(super) fn svg(runs: &[Run], timed: &str) -> String {
    let has_latencies = runs.iter().any(|run| run.latencies.is_some());
    let panels = if has_latencies { 2.0 } else { 1.0 };
    let (width, height) = (LEFT + WIDTH + 30.0, TOP + panels * (HEIGHT + BETWEEN));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    legend(&mut text, runs);
    rates(&mut text, runs);
    if has_latencies {
        latencies(&mut text, runs, timed);
    }
    text.push_str("</svg>\n");
    text
}

/// Escapes text for an XML element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn legend(text: &mut String, runs: &[Run]) {
    for (i, (run, (color, dash))) in runs.iter().zip(COLORS).enumerate() {
        let x = LEFT + i as f64 * WIDTH / 2.0;
        let _ = writeln!(
            text,
            "<line x1=\"{x}\" y1=\"16\" x2=\"{}\" y2=\"16\" stroke=\"{color}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\
             <text x=\"{}\" y=\"20\">{}</text>",
            x + 30.0,
            x + 36.0,
            escaped(&run.server)
        );
    }
}

/// Draws the frame of a panel: its title, and labels with their positions.
fn frame(text: &mut String, top: f64, title: &str, across: &[(f64, String)], up: &[(f64, String)]) {
    let _ = writeln!(
        text,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>",
        top - 8.0,
        escaped(title)
    );
    let (right, bottom) = (LEFT + WIDTH, top + HEIGHT);
    for (x, label) in across {
        let x = LEFT + x * WIDTH;
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        );
    }
    for (y, label) in up {
        let y = bottom - y * HEIGHT;
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
}

/// Draws a line through points in a panel; coordinates are from 0 to 1.
fn curve(text: &mut String, top: f64, index: usize, points: impl Iterator<Item = (f64, f64)>) {
    let (color, dash) = COLORS[index % COLORS.len()];
    let _ = write!(
        text,
        "<polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" points=\""
    );
    for (x, y) in points {
        let (x, y) = (LEFT + x.clamp(0.0, 1.0) * WIDTH, top + HEIGHT - y.clamp(0.0, 1.0) * HEIGHT);
        let _ = write!(text, "{x:.1},{y:.1} ");
    }
    text.push_str("\"/>\n");
}

/// Returns the next round number that is at least `number`.
fn round_up(number: f64) -> f64 {
    let unit = 10f64.powf(number.max(1e-9).log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|digit| digit * unit)
        .into_iter()
        .find(|it| *it >= number)
        .unwrap_or(number)
}

fn rates(text: &mut String, runs: &[Run]) {
    let curves: Vec<Vec<(f64, f64)>> = runs.iter().map(Run::rates).collect();
    let longest = round_up(curves.iter().flatten().map(|(time, _)| *time).fold(1e-3, f64::max));
    let highest = round_up(curves.iter().flatten().map(|(_, rate)| *rate).fold(1.0, f64::max));
    let parts = [0.0, 0.25, 0.5, 0.75, 1.0];
    let across = parts.map(|part| (part, format!("{:.3} s", part * longest)));
    let up = parts.map(|part| (part, crate::output::commas((part * highest) as u64)));
    frame(text, TOP, "Messages a second", &across, &up);
    for (i, points) in curves.iter().enumerate() {
        // The first rate holds from the beginning.
        let first = points.first().map(|(_, rate)| (0.0, rate / highest));
        let points = points.iter().map(|(time, rate)| (time / longest, rate / highest));
        curve(text, TOP, i, first.into_iter().chain(points));
    }
}

fn latencies(text: &mut String, runs: &[Run], timed: &str) {
    let all = || runs.iter().filter_map(|run| run.latencies.as_ref());
    let ns = |time: Duration| (time.as_nanos() as f64).max(1.0).log10();
    let lowest = all().map(|one| ns(one.least())).fold(f64::INFINITY, f64::min).floor();
    let highest = all().map(|one| ns(one.most())).fold(0.0, f64::max).ceil().max(lowest + 1.0);
    let height = |time: Duration| (ns(time) - lowest) / (highest - lowest);
    let steps = NINES.len() as f64;
    let across: Vec<_> =
        NINES.iter().enumerate().map(|(i, (name, _))| (i as f64 / steps, (*name).to_owned())).collect();
    let decades = lowest as u32..=highest as u32;
    let up: Vec<_> = decades
        .map(|decade| Duration::from_nanos(10u64.saturating_pow(decade)))
        .map(|time| (height(time), microseconds(time)))
        .collect();
    let top = TOP + HEIGHT + BETWEEN;
    frame(text, top, &format!("Time of {timed} that a share of all does not exceed"), &across, &up);
    for (i, run) in runs.iter().enumerate() {
        let Some(one) = &run.latencies else { continue };
        let shares = NINES.iter().enumerate().flat_map(|(step, (_, share))| {
            let next = NINES.get(step + 1).map_or(1.0, |(_, next)| *next);
            (0..10).map(move |part| {
                let part = f64::from(part) / 10.0;
                ((step as f64 + part) / steps, share + (next - share) * part)
            })
        });
        let points = shares.chain([(1.0, 1.0)]).map(|(x, share)| (x, height(one.percentile(share))));
        curve(text, top, i, points);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::measure::{Latencies, Outcome};
    use super::*;

    fn run(server: &str, latencies: Option<Latencies>) -> Run {
        let began = Instant::now();
        let client =
            Outcome { messages: 10, bytes: 10, began, ended: began + Duration::from_secs(1), latencies };
        Run::new(server.to_owned(), vec![client], vec![(0.0, 0), (0.5, 5), (1.0, 10)])
    }

    #[test]
    fn a_picture_has_a_curve_for_each_run_and_panel() {
        let mut latencies = Latencies::new();
        (1..100).for_each(|us| latencies.record(Duration::from_micros(us)));
        let text = svg(&[run("a<b>", Some(latencies.clone())), run("b", Some(latencies))], "a get");
        assert_eq!(text.matches("<polyline").count(), 4);
        assert!(text.contains("a&lt;b&gt;") && !text.contains("a<b>") && !text.contains("NaN"), "{text}");
        assert_eq!(svg(&[run("a", None)], "").matches("<polyline").count(), 1);
        assert!(!svg(&[Run::new(String::new(), Vec::new(), Vec::new())], "").contains("NaN"));
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.9, 1.0, 1.1, 3.0, 730.0].map(round_up), [1.0, 1.0, 2.0, 5.0, 1000.0]);
    }
}
