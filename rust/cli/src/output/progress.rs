//! Progress of long operations on a terminal: bytes or messages done, rate, and time left.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Args;

use super::text::{bytes, commas, long_duration};

/// Minimum time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);
/// Operations that end within this time show no progress.
const QUIET: Duration = Duration::from_secs(1);
/// Width of the bar in characters.
const WIDTH: u64 = 30;

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct ProgressArgs {
    /// Show no progress
    #[arg(long)]
    no_progress: bool,
    /// Show progress (as it is without this flag)
    #[arg(long, overrides_with = "no_progress")]
    progress: bool,
}

impl ProgressArgs {
    /// No progress, for steps of a larger operation.
    pub(crate) const QUIET: Self = Self { no_progress: true, progress: false };

    /// Whether the flags turn progress off.
    pub(crate) fn is_quiet(self) -> bool {
        self.no_progress
    }
}

/// The unit of the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Count,
}

/// A progress line on standard error; nothing is drawn if that is not a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    total: u64,
    done: u64,
    unit: Unit,
    began: Instant,
    drawn: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Creates a progress towards `total`; zero means that the total is unknown. Draws nothing unless `is_wanted`.
    pub(crate) fn new(total: u64, unit: Unit, is_wanted: bool) -> Self {
        let is_shown = is_wanted && io::stderr().is_terminal();
        Self { total, done: 0, unit, began: Instant::now(), drawn: None, is_shown }
    }

    /// Adds to the amount done, and redraws if that is due.
    pub(crate) fn add(&mut self, done: u64) {
        self.done = self.done.saturating_add(done);
        let is_due = self.drawn.map_or(self.began.elapsed() >= QUIET, |drawn| drawn.elapsed() >= REDRAW);
        if self.is_shown && is_due {
            self.drawn = Some(Instant::now());
            let line = line(self.done, self.total, self.unit, self.began.elapsed());
            let mut output = io::stderr().lock();
            let _ = write!(output, "\r\x1b[K{line}").and_then(|()| output.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// Formats a line like `[######      ] 1.2 MiB of 5.0 MiB, 300 KiB/s, 12.00s left`.
fn line(done: u64, total: u64, unit: Unit, elapsed: Duration) -> String {
    let shown = |amount: u64| if unit == Unit::Bytes { bytes(amount) } else { commas(amount) };
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = String::new();
    if let Some(filled) = done.min(total).saturating_mul(WIDTH).checked_div(total) {
        let bar = "#".repeat(filled as usize) + &" ".repeat((WIDTH - filled) as usize);
        let _ = write!(text, "[{bar}] {} of {}", shown(done), shown(total));
    } else {
        text.push_str(&shown(done));
    }
    let _ = write!(text, ", {}/s", shown(rate as u64));
    if total > done && rate > 0.0 {
        let left = Duration::try_from_secs_f64((total - done) as f64 / rate).unwrap_or_default();
        let _ = write!(text, ", {} left", long_duration(left));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let text = line(1 << 20, 4 << 20, Unit::Bytes, Duration::from_secs(2));
        assert!(text.starts_with("[#######   "), "{text}");
        assert!(text.ends_with("] 1.0 MiB of 4.0 MiB, 512 KiB/s, 6.00s left"), "{text}");
        assert_eq!(line(10, 0, Unit::Count, Duration::from_secs(5)), "10, 2/s");
        let _ = line(u64::MAX, 1, Unit::Count, Duration::ZERO);
    }
}
