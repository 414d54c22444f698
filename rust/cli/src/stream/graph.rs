//! `stonechat stream graph`: what happens in a stream, drawn each second.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::select;
use crate::error::CliError;
use crate::message::write_out;
use crate::output::{Graph, terminal_size};
use crate::session::Session;

/// Least columns and rows of a terminal that has room for the graphs.
const LEAST: u16 = 20;
/// Time between two drawings.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(session: &mut Session, stream: &str) -> Result<(), CliError> {
    if !std::io::stdout().is_terminal() {
        return Err(CliError::Client("graphs need a terminal".to_owned()));
    }
    let mut series: [VecDeque<f64>; 3] = Default::default();
    let mut before: Option<(Instant, f64, f64)> = None;
    loop {
        let (columns, rows) = terminal_size();
        if columns < LEAST || rows < LEAST {
            return Err(CliError::Client(format!("graphs need a terminal of {LEAST} columns and rows")));
        }
        let info = select::info(session, stream).await?;
        let number = |name: &str| info["state"][name].as_f64().unwrap_or_default();
        let now = (Instant::now(), number("last_seq"), number("first_seq"));
        if let Some((at, last, first)) = before.replace(now) {
            let seconds = at.elapsed().as_secs_f64().max(0.001);
            let values =
                [number("messages"), (now.2 - first).max(0.0) / seconds, (now.1 - last).max(0.0) / seconds];
            for (series, value) in series.iter_mut().zip(values) {
                series.push_back(value);
                while series.len() > usize::from(columns) {
                    series.pop_front();
                }
            }
        }
        let titles = ["Messages Stored", "Messages Removed / second", "Messages Stored / second"];
        let mut text = format!("\x1b[2J\x1b[HStream Statistics for {stream}\n\n");
        for (series, title) in series.iter_mut().zip(titles) {
            text +=
                &Graph { title, width: columns, height: (rows - 3) / 3 - 2 }.render(series.make_contiguous());
            text.push('\n');
        }
        write_out(text.as_bytes())?;
        tokio::time::sleep(TICK).await;
    }
}
