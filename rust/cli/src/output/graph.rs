//! Graphs of numbers over time, drawn with block characters.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::text::{commas, shown};
use crate::error::CliError;
use crate::message::write_out;

/// Blocks of zero to eight eighths of a character's height.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of the labels at the side.
const SIDE: u16 = 12;

/// Returns the columns and rows of the terminal; 80 and 24 if they are unknown.
pub(crate) fn terminal_size() -> (u16, u16) {
    crossterm::terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24))
}

/// The layout of a graph.
#[derive(Debug)]
struct Graph<'a> {
    title: &'a str,
    /// Columns, labels included.
    width: u16,
    /// Rows, without the title.
    height: u16,
}

impl Graph<'_> {
    /// Returns the text of the graph; the newest values are at the right.
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

/// Minimum columns and rows of a terminal for graphs.
const LEAST: u16 = 20;
/// Interval between two drawings.
const TICK: Duration = Duration::from_secs(1);

/// The kind of a graph, with its title.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Measure {
    /// Shows the number itself.
    Level(&'static str),
    /// Shows the growth of the number a second.
    Rate(&'static str),
}

/// Graphs of numbers that are measured again and again.
#[derive(Debug)]
pub(crate) struct LiveGraphs {
    heading: String,
    measures: Vec<Measure>,
    series: Vec<VecDeque<f64>>,
    before: Option<(Instant, Vec<f64>)>,
}

impl LiveGraphs {
    /// Creates graphs under a heading.
    ///
    /// # Errors
    /// Standard output is not a terminal.
    pub(crate) fn open(heading: String, measures: Vec<Measure>) -> Result<Self, CliError> {
        match std::io::stdout().is_terminal() {
            true => {
                Ok(Self { heading, series: vec![VecDeque::new(); measures.len()], measures, before: None })
            }
            false => Err(CliError::Client("graphs need a terminal".to_owned())),
        }
    }

    /// Draws the graphs after adding the numbers, one for each measure.
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

    /// Adds the numbers to the series.
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

    /// Waits until the next drawing is due.
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
