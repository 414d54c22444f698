//! Graphs of numbers over time, of block characters.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::text::{commas, shown};
use crate::error::CliError;
use crate::message::write_out;

/// Eighths of a character's height.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns for the numbers at the side.
const SIDE: u16 = 12;

/// Columns and rows of the terminal; 80 and 24 where they are unknown.
pub(crate) fn terminal_size() -> (u16, u16) {
    crossterm::terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24))
}

/// How a graph is drawn.
#[derive(Debug)]
struct Graph<'a> {
    title: &'a str,
    /// Columns, numbers included.
    width: u16,
    /// Rows, without the title.
    height: u16,
}

impl Graph<'_> {
    /// The text: the newest values stand to the right.
    fn render(&self, values: &[f64]) -> String {
        let columns = usize::from(self.width.saturating_sub(SIDE + 1).max(1));
        let values = &values[values.len().saturating_sub(columns)..];
        let highest = values.iter().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let scale = if highest > 0.0 { f64::from(self.height) * 8.0 / highest } else { 0.0 };
        let mut text = format!("{}\n", self.title);
        for row in (0..self.height).rev() {
            let label = match row {
                0 => "0".to_owned(),
                row if row + 1 == self.height => commas(highest.round() as u64),
                _ => String::new(),
            };
            text += &format!("{label:>width$} ", width = usize::from(SIDE));
            text.extend(values.iter().map(|value| {
                let eighths = (value * scale).round() - f64::from(row) * 8.0;
                BLOCKS[eighths.clamp(0.0, 8.0) as usize]
            }));
            text.push('\n');
        }
        text
    }
}

/// Least columns and rows of a terminal that has room for graphs.
const LEAST: u16 = 20;
/// Time between two drawings.
const TICK: Duration = Duration::from_secs(1);

/// What a graph shows of a number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measure {
    /// The number itself, under this title.
    Level(&'static str),
    /// How fast it grows.
    Rate(&'static str),
}

/// Graphs of numbers that are looked at again and again.
#[derive(Debug)]
pub(crate) struct LiveGraphs {
    heading: String,
    measures: Vec<Measure>,
    series: Vec<VecDeque<f64>>,
    before: Option<(Instant, Vec<f64>)>,
}

impl LiveGraphs {
    /// Graphs under a heading.
    ///
    /// # Errors
    /// Standard output is no terminal.
    pub(crate) fn open(heading: String, measures: Vec<Measure>) -> Result<Self, CliError> {
        match std::io::stdout().is_terminal() {
            true => {
                Ok(Self { heading, series: vec![VecDeque::new(); measures.len()], measures, before: None })
            }
            false => Err(CliError::Client("graphs need a terminal".to_owned())),
        }
    }

    /// Draws the numbers, one for each measure.
    ///
    /// # Errors
    /// The terminal is too small.
    pub(crate) fn draw(&mut self, numbers: &[f64]) -> Result<(), CliError> {
        let (columns, rows) = terminal_size();
        if columns < LEAST || rows < LEAST {
            return Err(CliError::Client(format!("graphs need a terminal of {LEAST} columns and rows")));
        }
        self.take(numbers, usize::from(columns));
        let height = (rows - 3) / u16::try_from(self.measures.len()).unwrap_or(1).max(1);
        let mut text = format!("\x1b[2J\x1b[H{}\n\n", shown(&self.heading));
        for (series, measure) in self.series.iter_mut().zip(&self.measures) {
            let (Measure::Level(title) | Measure::Rate(title)) = measure;
            let graph = Graph { title, width: columns, height: height.saturating_sub(2).max(1) };
            text += &graph.render(series.make_contiguous());
            text.push('\n');
        }
        write_out(text.as_bytes())
    }

    /// Adds to the series.
    fn take(&mut self, numbers: &[f64], columns: usize) {
        let now = Instant::now();
        let before = self.before.replace((now, numbers.to_vec()));
        for (i, (series, measure)) in self.series.iter_mut().zip(&self.measures).enumerate() {
            let number = numbers.get(i).copied().unwrap_or_default();
            let value = match (measure, &before) {
                (Measure::Level(_), _) => number,
                (Measure::Rate(_), None) => continue,
                (Measure::Rate(_), Some((at, old))) => {
                    let grown = (number - old.get(i).copied().unwrap_or_default()).max(0.0);
                    grown / now.duration_since(*at).as_secs_f64().max(0.001)
                }
            };
            series.push_back(value);
            while series.len() > columns {
                series.pop_front();
            }
        }
    }

    /// Waits until it is time for the next drawing.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(TICK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_fills_the_height() {
        let text = Graph { title: "T", width: 20, height: 2 }.render(&[0.0, 4.0, 8.0]);
        assert_eq!(text, "T\n           8   █\n           0  ██\n");
        let _ = Graph { title: "", width: 0, height: 0 }.render(&[f64::NAN, f64::INFINITY, -1.0]);
        let _ = Graph { title: "", width: 20, height: 3 }.render(&[f64::NAN, f64::INFINITY, -1.0]);
    }
}
